/* stress_reactor.c: many connections, a host that watches on a thread of its own,
 * others that signal and close, and one that serves: every descriptor is closed once,
 * and every byte of those that end by themselves comes back.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../c_src/stream/reactor_internal.h"

enum { PEERS = 8, MESSAGES = 50, ROUNDS = 100 };

struct peer {
    connection base; /* first */
    atomic_int refs;
    atomic_int wanted; /* events that are watched for */
    atomic_int closed;
    int other;
};

static struct peer peers[PEERS];
static atomic_bool polling;

static int
watch(connection *c, int event)
{
    atomic_fetch_or(&((struct peer *)(void *)c)->wanted, event);
    return 0;
}

static void
unwatch(connection *c)
{
    struct peer *p = (struct peer *)(void *)c;
    atomic_store(&p->wanted, 0);
    CHECK(atomic_fetch_add(&p->closed, 1) == 0);
    connection_close_descriptor(c);
}

static void
share(connection *c)
{
    CHECK(atomic_fetch_add(&((struct peer *)(void *)c)->refs, 1) > 0);
}

static void
release(connection *c)
{
    if (atomic_fetch_sub(&((struct peer *)(void *)c)->refs, 1) == 1) {
        reactor_release(c->home);
    }
}

static const reactor_host host = {watch, unwatch, share, release};

/* Says that all that is watched for has come, which need not be so. */
static void *
poller(void *arg)
{
    struct choices choices = {.state = 1};
    while (atomic_load(&polling)) {
        for (int i = 0; i < PEERS; i++) {
            int wanted = atomic_exchange(&peers[i].wanted, 0);
            if (wanted & REACTOR_READABLE) {
                connection_ready(&peers[i].base, REACTOR_READABLE);
            }
            if (wanted & REACTOR_WRITABLE) {
                connection_ready(&peers[i].base, REACTOR_WRITABLE);
            }
        }
        pause_a_little(&choices, 200);
    }
    return arg;
}

/* Sends, and expects it back; every other one is closed by a stranger meanwhile. */
static void *
client(void *arg)
{
    struct peer *p = arg;
    bool whole = (p - peers) % 2 == 0;
    char message[100], back[100];
    memset(message, 'm', sizeof message);
    for (int i = 0; i < MESSAGES; i++) {
        bool gone = send(p->other, message, sizeof message, MSG_NOSIGNAL) < 0;
        size_t got = 0;
        while (!gone && got < sizeof back) {
            ssize_t some = recv(p->other, back, sizeof back - got, 0);
            gone = some <= 0;
            got += gone ? 0 : (size_t)some;
        }
        CHECK(!gone || !whole);
        if (i == MESSAGES / 2 && !whole) {
            connection_close(&p->base);
        }
        connection_signal(&p->base);
    }
    close(p->other);
    return NULL;
}

static void
serve_event(reactor_event *event)
{
    size_t sent;
    switch (event->kind) {
    case REACTOR_OPENED:
        connection_read(event->connection, true);
        break;
    case REACTOR_DATA:
        connection_send(event->connection, event->data, event->size, &sent);
        break;
    case REACTOR_END:
    case REACTOR_FAILED:
        connection_close(event->connection);
        break;
    default:
        break;
    }
    reactor_unpin(event->segment);
    release(event->connection);
}

static void *
server(void *arg)
{
    reactor_event *events = calloc(REACTOR_BATCH, sizeof *events);
    reactor_want want = {.wait = true, .spin_ns = 2000};
    unsigned count = 0;
    while (reactor_next(arg, &want, events, &count) == STREAM_OK) {
        for (unsigned i = 0; i < count; i++) {
            serve_event(&events[i]);
        }
    }
    reactor_leave(arg);
    free(events);
    return NULL;
}

static void
open_peer(reactor *r, struct peer *p)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(connection_init(&p->base, fds[0], &host) == 0);
    p->other = fds[1];
    atomic_store(&p->refs, 1);
    atomic_store(&p->wanted, 0);
    atomic_store(&p->closed, 0);
    CHECK(reactor_add(r, &p->base) == REACTOR_ADDED);
}

static void
one_round(void)
{
    struct crew clients = {.count = 0}, others = {.count = 0};
    reactor *r = reactor_new(PEERS);
    for (int i = 0; i < PEERS; i++) {
        open_peer(r, &peers[i]);
    }
    atomic_store(&polling, true);
    crew_add(&others, server, r);
    crew_add(&others, poller, NULL);
    for (int i = 0; i < PEERS; i++) {
        crew_add(&clients, client, &peers[i]);
    }
    crew_join(&clients);
    reactor_close(r);
    atomic_store(&polling, false);
    crew_join(&others);
    for (int i = 0; i < PEERS; i++) {
        CHECK(atomic_load(&peers[i].closed) == 1);
        CHECK(atomic_load(&peers[i].refs) == 1);
        release(&peers[i].base);
    }
    reactor_release(r);
}

void
test_stress_reactor(void)
{
    for (int round = 0; round < ROUNDS * SCALE / 4; round++) {
        one_round();
    }
}
