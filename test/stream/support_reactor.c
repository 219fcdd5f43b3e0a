/* support_reactor.c: see support_reactor.h. */
#include "support_reactor.h"

#include <unistd.h>

/* ---- The host ---- */

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

void
release(connection *c)
{
    if (atomic_fetch_sub(&((struct peer *)(void *)c)->refs, 1) == 1) {
        reactor_release(c->home);
        c->home = NULL;
    }
}

const reactor_host host = {watch, unwatch, share, release};

void
peer_of(struct peer *p, int fd, int other)
{
    CHECK(connection_init(&p->base, fd, &host) == 0);
    atomic_init(&p->refs, 1);
    p->watched[1] = p->watched[2] = p->unwatched = p->failure = 0;
    p->other = other;
}

void
open_pair(struct peer *p, int type)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
    peer_of(p, fds[0], fds[1]);
}

/* ---- The serving thread ---- */

reactor_event events[REACTOR_BATCH];

unsigned
look(reactor *r)
{
    unsigned count = 0;
    reactor_want want = {.wait = false};
    stream_status status = reactor_next(r, &want, events, &count);
    CHECK(status == (count > 0 ? STREAM_OK : STREAM_TIMEDOUT));
    return count;
}

void
drop_events(unsigned count)
{
    while (count > 0) {
        reactor_event *event = &events[--count];
        reactor_unpin(event->segment);
        event->connection->host->release(event->connection);
    }
}

bool
sees(reactor *r, struct peer *p, reactor_event_kind kind)
{
    unsigned count = look(r);
    bool same =
        count == 1 && events[0].connection == &p->base && events[0].kind == kind;
    drop_events(count);
    return same;
}

bool
sees_data(reactor *r, struct peer *p, const char *text)
{
    unsigned count = look(r);
    bool same = count == 1 && events[0].connection == &p->base &&
                events[0].kind == REACTOR_DATA && events[0].size == strlen(text) &&
                memcmp(events[0].data, text, events[0].size) == 0;
    drop_events(count);
    return same;
}

bool
sees_nothing(reactor *r)
{
    unsigned count = look(r);
    drop_events(count);
    return count == 0;
}

void
say(struct peer *p, const char *text)
{
    CHECK(send(p->other, text, strlen(text), 0) == (ssize_t)strlen(text));
}

void
serve(reactor *r, struct peer *p, int type)
{
    open_pair(p, type);
    CHECK(reactor_add(r, &p->base) == REACTOR_ADDED);
    CHECK(sees(r, p, REACTOR_OPENED));
    connection_read(&p->base, true);
}

void
leave(reactor *r, struct peer *p)
{
    reactor_leave(r);
    CHECK(p->unwatched == 1 && !connection_is_open(&p->base));
    CHECK(p->refs == 1);
    release(&p->base);
    close(p->other);
    reactor_release(r);
}
