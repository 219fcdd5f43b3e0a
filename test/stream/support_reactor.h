/*
 * support_reactor.h: a host for connections that are the test's own: it notes what is
 * to be watched, and tells of readiness when a test says so.
 */
#ifndef ERLPY_TEST_SUPPORT_REACTOR_H
#define ERLPY_TEST_SUPPORT_REACTOR_H

#include "test.h"

#include <sys/socket.h>

#include "../../c_src/stream/reactor_internal.h"

struct peer {
    connection base; /* first */
    atomic_int refs;
    int watched[3]; /* calls, by event */
    int unwatched;
    int failure; /* of the next watch */
    int other;   /* the test's end */
};

extern const reactor_host host;
/* Of the last look(). */
extern reactor_event events[REACTOR_BATCH];

void release(connection *c);
/* Its one reference is the test's. */
void peer_of(struct peer *p, int fd, int other);
void open_pair(struct peer *p, int type);
/* What there is now; how many. */
unsigned look(reactor *r);
void drop_events(unsigned count);
/* There is just this, of this connection. */
bool sees(reactor *r, struct peer *p, reactor_event_kind kind);
bool sees_data(reactor *r, struct peer *p, const char *text);
bool sees_nothing(reactor *r);
void say(struct peer *p, const char *text);
/* Opened and read from. */
void serve(reactor *r, struct peer *p, int type);
void leave(reactor *r, struct peer *p);

#endif
