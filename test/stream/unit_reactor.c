/* unit_reactor.c: what is read from connections, written to them, and may be one. */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "support_reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

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

struct drain {
    int fd;
    size_t size;
};

static void *
drain_all(void *arg)
{
    struct drain *self = arg;
    uint8_t *to = malloc(self->size);
    for (size_t got = 0; got < self->size;) {
        ssize_t some = recv(self->fd, to, self->size, 0);
        CHECK(some > 0);
        got += (size_t)some;
    }
    free(to);
    return NULL;
}

/* However fast it is taken, a call ends after a megabyte or so, and goes on with an
 * event. */
void
test_unit_reactor_sends_in_turns(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    connection_read(&p.base, false);
    CHECK(sees_nothing(r));
    size_t size = 8 << 20, done = 0, turns = 0;
    uint8_t *bytes = calloc(1, size);
    struct drain drain = {p.other, size};
    struct crew crew = {.count = 0};
    crew_add(&crew, drain_all, &drain);
    while (done < size) {
        size_t sent;
        CHECK(connection_send(&p.base, bytes, size - done, &sent) == 0);
        CHECK(sent < ((size_t)1 << 20) + ((size_t)256 << 10));
        done += sent;
        turns++;
        if (done < size) {
            connection_ready(&p.base, REACTOR_WRITABLE);
            CHECK(sees(r, &p, REACTOR_ROOM));
        }
    }
    crew_join(&crew);
    CHECK(turns > 6 && p.watched[REACTOR_WRITABLE] == (int)turns - 1);
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
