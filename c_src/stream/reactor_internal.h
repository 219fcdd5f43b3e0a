/*
 * reactor_internal.h: what the files of the reactor share.
 */
#ifndef ERLPY_STREAM_REACTOR_INTERNAL_H
#define ERLPY_STREAM_REACTOR_INTERNAL_H

#include "internal.h"
#include "reactor.h"

enum { NEWS_READABLE = 1, NEWS_WRITABLE = 2, NEWS_OPENED = 4, NEWS_SIGNAL = 8 };

/* Of spinning, at most and to begin with. */
#define SPIN_MOST_LUCK 32

struct reactor {
    atomic_uint refs;
    uint64_t max;
    _Atomic(uint64_t) bytes_in, bytes_out;
    platform_event wake;
    atomic_bool waits;    /* the thread does, and has not been woken */
    atomic_bool has_news; /* written under the lock */
    atomic_bool closed;   /* likewise */

    platform_lock lock;
    connection *first; /* the open ones; each is a reference */
    connection *news, *last_news;
    uint64_t active, total;

    /* The serving thread's. */
    connection *hot, *last_hot; /* in turns; each is a reference */
    stream_segment *block;
    size_t used;
    unsigned spin_luck, unspun;
};

/* ---- reactor.c ---- */

typedef struct reactor__news {
    connection *connection; /* a reference */
    unsigned news;
} reactor__news;

/* The first ones of the queue, at most so many; how many. */
unsigned reactor__take_news(reactor *r, unsigned most, reactor__news *taken);
/* Sets the event at most once for each time that the thread waits. */
void reactor__wake(reactor *r);

/* False: it is not open any more. */
bool reactor__remove(connection *c);

/* ---- reactor_batch.c ---- */

/* What arrives is wanted: it is tried, and then watched. */
void reactor__heat(connection *c);

/* ---- connection.c ---- */

/* 0 with *size bytes, or an errno; EAGAIN also for one that is doomed. */
int connection__receive(connection *c, void *room, size_t *size,
                        struct sockaddr_storage *address, socklen_t *address_size);
int connection__watch(connection *c, int event);
/* The end of a system call. */
void connection__leave(connection *c);

#endif
