/*
 * waker.h: tells an event loop, by one descriptor, which of its many waits are over.
 *
 *   stream --.                                   loop's thread
 *   stream ---+--over--> [ready list] --fd--> stream_waker_take() --> user, user, ...
 *   channel -'
 *
 * LIFE OF A WAIT.
 *
 *   ARMED --news--> READY --stream_waker_take()--> the taker's
 *     |               `--the waker is closed----> lapsed
 *     `--stream_pending_cancel()--> withdrawn; later it would be: lapsed
 *
 * It is counted: one reference for whoever armed it, one for the place that it is in
 * (the list of what it waits for, then the ready list, then the taker).
 *
 * LOCK.  One a waker, a leaf, held for a few instructions; never while the descriptor
 * is written or closed.
 *
 * The waker is counted too: by its loop and by each wait.  The last reference closes
 * the descriptor, so that no signal reaches one that has been given to somebody else.
 */
#ifndef ERLPY_STREAM_WAKER_H
#define ERLPY_STREAM_WAKER_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct stream_waker stream_waker;

typedef struct stream_pending {
    struct stream_pending *next; /* the waker's */
    _Atomic(unsigned) refs;
    stream_waker *waker; /* a reference */
    void *user; /* of whoever armed it, who may clear it; the loop's thread only */
    /* Takes it out of what it waits for.  False: it is over already. */
    bool (*withdraw)(struct stream_pending *pending);
    /* It is over, and nobody will look.  NULL: that does not matter. */
    void (*lapse)(struct stream_pending *pending);
    void (*destroy)(struct stream_pending *pending);
} stream_pending;

/* NULL: no memory or no descriptor.  Returns owned: stream_waker_release(). */
stream_waker *stream_waker_new(void);
stream_waker *stream_waker_share(stream_waker *waker);
void stream_waker_release(stream_waker *waker);
/* Becomes readable when a wait is over.  Close-on-exec; valid while the waker is. */
int stream_waker_fd(const stream_waker *waker);
/* All waits that are over, in that order; NULL: none.  The descriptor is not readable
 * any more; beside one that is being told it may become so once more, for nothing.
 * Returns owned: each is to be released. */
stream_pending *stream_waker_take(stream_waker *waker);
/* Makes the descriptor readable, though there may be nothing to take.  Any thread. */
void stream_waker_poke(stream_waker *waker);
/* The loop is gone: waits that are over, now or later, are dropped.  Idempotent. */
void stream_waker_close(stream_waker *waker);

/* Withdraws a wait, or lets one lapse that is over, and drops the reference of whoever
 * armed it.  stream_waker_take() may answer it later, if it was over. */
void stream_pending_cancel(stream_pending *pending);
void stream_pending_release(stream_pending *pending);

/* ---- For what can be waited for -------------------------------------------- */

/* A wait with one reference, for whoever arms it. */
void stream_pending_init(stream_pending *pending, stream_waker *waker, void *user);
/* It is in a list now, to which this reference belongs. */
void stream_pending_share(stream_pending *pending);
/* It is over.  Takes the reference of the list.  False: the waker is closed, nobody
 * will look, and it has not lapsed: that is the caller's to do. */
bool stream_pending_post(stream_pending *pending);

#endif
