/* unit_reactor.c: connections, and the thread that serves them.  The host is this file:
 * it notes what is to be watched, and tells of readiness when a test says so.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../c_src/stream/reactor_internal.h"

/* ---- The host ---- */

struct peer {
    connection base; /* first */
    atomic_int refs;
    int watched[3]; /* calls, by event */
    int unwatched;
    int failure; /* of the next watch */
    int other;   /* the test's end */
};

static int
watch(connection *c, int event)
{
    struct peer *p = (struct peer *)(void *)c;
    p->watched[event] += p->failure == 0;
    return p->failure;
}

static void
unwatch(connection *c)
{
    ((struct peer *)(void *)c)->unwatched++;
    connection_close_descriptor(c);
}

static void
share(connection *c)
{
    atomic_fetch_add(&((struct peer *)(void *)c)->refs, 1);
}

static void
release(connection *c)
{
    if (atomic_fetch_sub(&((struct peer *)(void *)c)->refs, 1) == 1) {
        reactor_release(c->home);
        c->home = NULL;
    }
}

static const reactor_host host = {watch, unwatch, share, release};

/* Its one reference is the test's. */
static void
peer_of(struct peer *p, int fd, int other)
{
    CHECK(connection_init(&p->base, fd, &host) == 0);
    atomic_init(&p->refs, 1);
    p->watched[1] = p->watched[2] = p->unwatched = p->failure = 0;
    p->other = other;
}

static void
open_pair(struct peer *p, int type)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
    peer_of(p, fds[0], fds[1]);
}

/* ---- The serving thread ---- */

static reactor_event events[REACTOR_BATCH];

/* What there is now; how many. */
static unsigned
look(reactor *r)
{
    unsigned count = 0;
    reactor_want want = {.wait = false};
    stream_status status = reactor_next(r, &want, events, &count);
    CHECK(status == (count > 0 ? STREAM_OK : STREAM_TIMEDOUT));
    return count;
}

static void
drop_events(unsigned count)
{
    while (count > 0) {
        reactor_event *event = &events[--count];
        reactor_unpin(event->segment);
        event->connection->host->release(event->connection);
    }
}

/* There is just this, of this connection. */
static bool
sees(reactor *r, struct peer *p, reactor_event_kind kind)
{
    unsigned count = look(r);
    bool same =
        count == 1 && events[0].connection == &p->base && events[0].kind == kind;
    drop_events(count);
    return same;
}

static bool
sees_data(reactor *r, struct peer *p, const char *text)
{
    unsigned count = look(r);
    bool same = count == 1 && events[0].connection == &p->base &&
                events[0].kind == REACTOR_DATA && events[0].size == strlen(text) &&
                memcmp(events[0].data, text, events[0].size) == 0;
    drop_events(count);
    return same;
}

static bool
sees_nothing(reactor *r)
{
    unsigned count = look(r);
    drop_events(count);
    return count == 0;
}

static void
say(struct peer *p, const char *text)
{
    CHECK(send(p->other, text, strlen(text), 0) == (ssize_t)strlen(text));
}

/* Opened and read from. */
static void
serve(reactor *r, struct peer *p, int type)
{
    open_pair(p, type);
    CHECK(reactor_add(r, &p->base) == REACTOR_ADDED);
    CHECK(sees(r, p, REACTOR_OPENED));
    connection_read(&p->base, true);
}

static void
leave(reactor *r, struct peer *p)
{
    reactor_leave(r);
    CHECK(p->unwatched == 1 && !connection_is_open(&p->base));
    CHECK(p->refs == 1);
    release(&p->base);
    close(p->other);
    reactor_release(r);
}

/* ---- Reading ---- */

void
test_unit_reactor_reads(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    say(&p, "one");
    CHECK(sees_data(r, &p, "one"));
    say(&p, "two");
    say(&p, "three");
    CHECK(sees_data(r, &p, "twothree"));
    CHECK(p.watched[REACTOR_READABLE] == 0);
    leave(r, &p);
}

/* It is given to the host when a second look has found nothing, and not again. */
void
test_unit_reactor_watches(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    CHECK(sees_nothing(r) && p.watched[REACTOR_READABLE] == 1);
    CHECK(sees_nothing(r) && p.watched[REACTOR_READABLE] == 1);
    say(&p, "one");
    CHECK(sees_nothing(r));
    connection_ready(&p.base, REACTOR_READABLE);
    CHECK(sees_data(r, &p, "one") && p.watched[REACTOR_READABLE] == 1);
    CHECK(sees_nothing(r) && p.watched[REACTOR_READABLE] == 2);
    connection_read(&p.base, false);
    say(&p, "two");
    connection_ready(&p.base, REACTOR_READABLE);
    CHECK(sees_nothing(r) && p.watched[REACTOR_READABLE] == 2);
    connection_read(&p.base, true);
    CHECK(sees_data(r, &p, "two"));
    leave(r, &p);
}

void
test_unit_reactor_watch_fails(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    p.failure = EPERM;
    unsigned count = look(r);
    CHECK(count == 1 && events[0].kind == REACTOR_FAILED && events[0].error == EPERM);
    drop_events(count);
    CHECK(sees_nothing(r));
    leave(r, &p);
}

void
test_unit_reactor_end(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    say(&p, "last");
    shutdown(p.other, SHUT_WR);
    CHECK(sees_data(r, &p, "last"));
    CHECK(sees(r, &p, REACTOR_END));
    connection_read(&p.base, true);
    CHECK(sees_nothing(r) && p.watched[REACTOR_READABLE] == 0);
    leave(r, &p);
}

void
test_unit_reactor_datagrams(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_DGRAM);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, "\0erlpy", 6);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 6);
    CHECK(bind(p.other, (struct sockaddr *)&name, size) == 0);
    say(&p, "one");
    CHECK(send(p.other, "", 0, 0) == 0);
    unsigned count = look(r);
    CHECK(count == 1 && events[0].kind == REACTOR_DATA && events[0].size == 3);
    CHECK(memcmp(events[0].data, "one", 3) == 0);
    CHECK(events[0].address_size == size);
    CHECK(memcmp(events[0].address, &name, size) == 0);
    drop_events(count);
    CHECK(sees_data(r, &p, ""));
    CHECK(connection_send_to(&p.base, "back", 4, NULL, 0) == 0);
    char back[8];
    CHECK(recv(p.other, back, sizeof back, 0) == 4);
    leave(r, &p);
}

/* More than a batch has place for, and all of them have always something: each has its
 * turn before another one has the next. */
void
test_unit_reactor_turns(void)
{
    enum { MANY = 2 * REACTOR_BATCH + 44 };
    static struct peer peers[MANY];
    reactor *r = reactor_new(MANY);
    for (int i = 0; i < MANY; i++) {
        open_pair(&peers[i], SOCK_STREAM);
        CHECK(reactor_add(r, &peers[i].base) == REACTOR_ADDED);
        CHECK(sees(r, &peers[i], REACTOR_OPENED));
    }
    for (int i = 0; i < MANY; i++) {
        say(&peers[i], "?");
        connection_read(&peers[i].base, true);
    }
    int served[MANY] = {0};
    for (int reads = 0; reads < 3 * MANY;) {
        unsigned count = look(r);
        for (unsigned i = 0; i < count; i++) {
            struct peer *p = (struct peer *)(void *)events[i].connection;
            CHECK(served[p - peers]++ == reads++ / MANY);
            say(p, "?");
        }
        drop_events(count);
    }
    reactor_leave(r);
    for (int i = 0; i < MANY; i++) {
        CHECK(peers[i].refs == 1);
        release(&peers[i].base);
        close(peers[i].other);
    }
    reactor_release(r);
}

/* What is pinned stays as it is, however much is read behind it. */
void
test_unit_reactor_pins(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    int size = 4 << 20;
    setsockopt(p.other, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    say(&p, "kept");
    CHECK(look(r) == 1);
    reactor_event kept = events[0];
    uint8_t *more = malloc(100000);
    for (int turn = 0; turn < 64; turn++) {
        memset(more, turn, 100000);
        CHECK(send(p.other, more, 100000, 0) == 100000);
        for (size_t got = 0; got < 100000;) {
            unsigned count = look(r);
            CHECK(count == 1 && events[0].data[0] == turn);
            got += events[0].size;
            drop_events(count);
        }
    }
    free(more);
    CHECK(memcmp(kept.data, "kept", 4) == 0);
    reactor_unpin(kept.segment);
    release(kept.connection);
    leave(r, &p);
}

void
test_unit_reactor_no_memory(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    open_pair(&p, SOCK_STREAM);
    CHECK(reactor_add(r, &p.base) == REACTOR_ADDED);
    unsigned count = 0;
    reactor_want want = {.wait = true};
    memory_fail_at(1);
    CHECK(reactor_next(r, &want, events, &count) == STREAM_NOMEM && count == 0);
    CHECK(memory_failed());
    CHECK(sees(r, &p, REACTOR_OPENED));
    leave(r, &p);
    memory_fail_at(1);
    CHECK(reactor_new(1) == NULL);
    CHECK(memory_failed());
}

/* ---- Writing ---- */

void
test_unit_reactor_sends(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    size_t size = 8 << 20, sent = 0, got = 0;
    uint8_t *bytes = calloc(1, size);
    CHECK(connection_send(&p.base, bytes, size, &sent) == 0);
    CHECK(sent > 0 && sent < size && p.watched[REACTOR_WRITABLE] == 1);
    CHECK(connection_watch_room(&p.base) == 0 && p.watched[REACTOR_WRITABLE] == 1);
    while (got < sent) {
        ssize_t some = recv(p.other, bytes, size, 0);
        CHECK(some > 0);
        got += (size_t)some;
    }
    connection_ready(&p.base, REACTOR_WRITABLE);
    CHECK(sees(r, &p, REACTOR_ROOM));
    CHECK(connection_send(&p.base, bytes, 1, &sent) == 0 && sent == 1);
    reactor_info info;
    reactor_get_info(r, &info);
    CHECK(info.bytes_out == got + 1 && info.active == 1 && info.total == 1);
    CHECK(connection_end(&p.base) == 0);
    CHECK(recv(p.other, bytes, size, 0) == 1 && recv(p.other, bytes, size, 0) == 0);
    CHECK(connection_send(&p.base, bytes, 1, &sent) == EPIPE && sent == 0);
    close(p.other);
    p.other = -1;
    free(bytes);
    leave(r, &p);
}

/* A close with something unread resets the other side. */
void
test_unit_reactor_discards(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    connection_read(&p.base, false);
    size_t sent;
    char back[8];
    CHECK(connection_send(&p.base, "last", 4, &sent) == 0 && sent == 4);
    say(&p, "unread");
    connection_discard(&p.base);
    connection_close(&p.base);
    connection_discard(&p.base);
    CHECK(recv(p.other, back, sizeof back, 0) == 4);
    CHECK(recv(p.other, back, sizeof back, 0) == 0);
    leave(r, &p);
}

/* ---- What may be added ---- */

static int
look_at(int fd)
{
    struct peer p;
    int error = connection_init(&p.base, fd, &host);
    close(fd);
    return error;
}

void
test_unit_reactor_descriptors(void)
{
    struct peer p;
    int fds[2];
    CHECK(pipe(fds) == 0);
    peer_of(&p, fds[0], fds[1]);
    CHECK(p.base.reads && !p.base.writes && (fcntl(fds[0], F_GETFL) & O_NONBLOCK));
    size_t sent;
    CHECK(connection_send(&p.base, "a", 1, &sent) == EBADF);
    close(fds[0]);
    peer_of(&p, fds[1], -1);
    CHECK(!p.base.reads && p.base.writes && !p.base.is_socket);
    CHECK(connection_end(&p.base) == ENOTSOCK);
    close(fds[1]);
    CHECK(look_at(fds[1]) == EBADF);
    CHECK(look_at(open("/dev/null", O_RDWR)) == EINVAL);
    CHECK(look_at(open("/", O_RDONLY)) == EINVAL);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listen(listening, 1) == 0 && look_at(listening) == EINVAL);
    CHECK(connection_dup(-1) == -EBADF);
    int copy = connection_dup(STDERR_FILENO);
    CHECK(copy > 2 && (fcntl(copy, F_GETFD) & FD_CLOEXEC));
    close(copy);
}

void
test_unit_reactor_full(void)
{
    struct peer p, q;
    reactor *r = reactor_new(1);
    serve(r, &p, SOCK_STREAM);
    open_pair(&q, SOCK_STREAM);
    CHECK(reactor_add(r, &q.base) == REACTOR_FULL && q.refs == 1);
    connection_close(&p.base);
    reactor_release(q.base.home);
    CHECK(reactor_add(r, &q.base) == REACTOR_ADDED);
    CHECK(sees(r, &q, REACTOR_OPENED));
    reactor_close(r);
    struct peer late;
    open_pair(&late, SOCK_STREAM);
    CHECK(reactor_add(r, &late.base) == REACTOR_IS_CLOSED && late.refs == 1);
    connection_close(&late.base);
    CHECK(late.unwatched == 1);
    release(&late.base);
    close(late.other);
    unsigned count = 0;
    reactor_want want = {.wait = true};
    CHECK(reactor_next(r, &want, events, &count) == STREAM_CLOSED);
    release(&p.base);
    close(p.other);
    leave(r, &q);
}

/* ---- Closing ---- */

void
test_unit_reactor_close(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    CHECK(sees_nothing(r));
    say(&p, "unread");
    connection_ready(&p.base, REACTOR_READABLE);
    connection_signal(&p.base);
    connection_close(&p.base);
    connection_close(&p.base);
    connection_ready(&p.base, REACTOR_READABLE);
    connection_signal(&p.base);
    CHECK(sees_nothing(r) && p.unwatched == 1 && p.base.fd == -1);
    size_t sent;
    CHECK(connection_send(&p.base, "a", 1, &sent) == EPIPE);
    CHECK(connection_end(&p.base) == EPIPE && connection_duplicate(&p.base) == -EBADF);
    CHECK(connection_watch_room(&p.base) == 0 && p.watched[REACTOR_WRITABLE] == 0);
    reactor_info info;
    reactor_get_info(r, &info);
    CHECK(info.active == 0 && info.total == 1);
    CHECK(!reactor_close_one(r));
    leave(r, &p);
}

/* A close in the middle of a call: the descriptor is closed after it. */
void
test_unit_reactor_close_in_call(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    atomic_store(&p.base.use, 1);
    connection_close(&p.base);
    CHECK(p.unwatched == 0 && !connection_is_open(&p.base));
    connection_close(&p.base);
    CHECK(p.unwatched == 0);
    connection__leave(&p.base);
    CHECK(p.unwatched == 1);
    leave(r, &p);
}

void
test_unit_reactor_signals(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    connection_signal(&p.base);
    connection_signal(&p.base);
    CHECK(sees(r, &p, REACTOR_SIGNALLED) && sees_nothing(r));
    connection_signal(&p.base);
    CHECK(sees(r, &p, REACTOR_SIGNALLED));
    leave(r, &p);
}

/* More than fit into a batch, and none twice. */
void
test_unit_reactor_many(void)
{
    enum { MANY = 300 };
    static struct peer peers[MANY];
    reactor *r = reactor_new(MANY);
    for (int i = 0; i < MANY; i++) {
        open_pair(&peers[i], SOCK_STREAM);
        CHECK(reactor_add(r, &peers[i].base) == REACTOR_ADDED);
        say(&peers[i], "x");
    }
    unsigned opened = 0, read = 0, count;
    while ((count = look(r)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            opened += events[i].kind == REACTOR_OPENED;
            read += events[i].kind == REACTOR_DATA;
            if (events[i].kind == REACTOR_OPENED) {
                connection_read(events[i].connection, true);
            }
        }
        drop_events(count);
    }
    CHECK(opened == MANY && read == MANY);
    reactor_leave(r);
    for (int i = 0; i < MANY; i++) {
        CHECK(peers[i].watched[REACTOR_READABLE] == 1 && peers[i].unwatched == 1);
        CHECK(peers[i].refs == 1);
        release(&peers[i].base);
        close(peers[i].other);
    }
    reactor_release(r);
}

/* ---- Waiting ---- */

struct server {
    reactor *r;
    reactor_want want;
    stream_status status;
    unsigned count;
    pthread_t thread;
};

static void *
wait_on_thread(void *arg)
{
    struct server *server = arg;
    server->status = reactor_next(server->r, &server->want, events, &server->count);
    return NULL;
}

static void
begin_wait(struct server *server, reactor *r, stream_token *token, uint32_t spin_ns)
{
    server->r = r;
    server->want = (reactor_want){.wait = true, .spin_ns = spin_ns, .token = token};
    server->count = 0;
    CHECK(pthread_create(&server->thread, NULL, wait_on_thread, server) == 0);
    while (!atomic_load(&r->waits)) {
        sleep_ms(1);
    }
}

static void
end_wait(struct server *server, stream_status status, unsigned count)
{
    CHECK(pthread_join(server->thread, NULL) == 0);
    CHECK(server->status == status && server->count == count);
    drop_events(count);
}

void
test_unit_reactor_waits(void)
{
    struct peer p;
    struct server server;
    stream_token token;
    stream_token_init(&token);
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    begin_wait(&server, r, NULL, 1000);
    CHECK(p.watched[REACTOR_READABLE] == 1);
    say(&p, "x");
    connection_ready(&p.base, REACTOR_READABLE);
    end_wait(&server, STREAM_OK, 1);
    begin_wait(&server, r, &token, 0);
    connection_signal(&p.base);
    end_wait(&server, STREAM_OK, 1);
    begin_wait(&server, r, &token, 0);
    stream_token_raise(&token);
    end_wait(&server, STREAM_CANCELLED, 0);
    stream_token_clear(&token);
    begin_wait(&server, r, &token, 0);
    reactor_close(r);
    end_wait(&server, STREAM_CLOSED, 0);
    stream_token_destroy(&token);
    leave(r, &p);
}
