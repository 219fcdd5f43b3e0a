/* unit_reactor_end.c: how connections are closed, and the thread that waits for them.
 */
#include "support_reactor.h"

#include <errno.h>
#include <unistd.h>

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

/* Whoever hears of a signal may want to read no more: nothing is read beside it. */
void
test_unit_reactor_signal_before_data(void)
{
    struct peer p;
    reactor *r = reactor_new(2);
    serve(r, &p, SOCK_STREAM);
    say(&p, "one");
    connection_signal(&p.base);
    CHECK(sees(r, &p, REACTOR_SIGNALLED));
    connection_read(&p.base, false);
    CHECK(sees_nothing(r));
    connection_read(&p.base, true);
    CHECK(sees_data(r, &p, "one"));
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
