/*
 * channel.h: messages both ways between two rooms, where a stream carries bytes one
 * way.
 *
 *   senders --> [item][item][item] --> receivers      CHANNEL_IN
 *   receivers <-- [item][item] <-- senders            CHANNEL_OUT
 *
 * An item is whatever the host makes of a message: the channel sees its size and how to
 * free it.  Each way is a queue of its own with the same rules:
 *
 *   - Items leave in the order in which they entered, each to one receiver.
 *   - There is room for an item when the sizes in the queue and its own are together at
 *     most max_bytes, or when the queue is empty.  A sender that waits is let in, in
 *     order, by whoever makes room; none can overtake.
 *   - A receiver that waits is told that there is something, not given it: it looks
 *     again, and takes the item in the moment in which it can use it.  So one that
 *     gives up loses nothing: what it was told is passed on to the next one.  Another
 *     may have been quicker; then it waits again, behind those that wait by now.
 *   - Closing is for both ways at once.  What is queued can still be received; senders
 *     that wait are refused.
 *
 * LOCK.  One a channel, a leaf (a token's may be held before it), held for a few
 * instructions.  All notices are given and all items freed after unlocking.
 *
 * WORDS as in stream.h.
 */
#ifndef ERLPY_STREAM_CHANNEL_H
#define ERLPY_STREAM_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "stream.h"
#include "token.h"
#include "waker.h"

typedef struct channel channel;
typedef enum { CHANNEL_IN, CHANNEL_OUT } channel_way;

#define CHANNEL_UNLIMITED UINT64_MAX

/* To be the first member of whatever the host keeps of a message. */
typedef struct channel_item {
    struct channel_item *next; /* the queue's */
    uint64_t size_bytes;       /* stays as it is */
    /* Runs once, with no lock held, on any thread, for an item that nobody received. */
    void (*release)(struct channel_item *item);
} channel_item;

/* ---- Life -------------------------------------------------------------- */

/* `max_bytes` > 0 holds for each way.  NULL: no memory.  Returns owned:
 * channel_release(). */
channel *channel_new(uint64_t max_bytes);
channel *channel_share(channel *c);
/* For a thread that knows that the memory is still there: as stream_try_share(). */
channel *channel_try_share(channel *c);
/* NULL is fine.  The last one releases the attachment, then what is queued: very many
 * items on another thread, where the host can start one; and when the release of an
 * item has called this, after that has returned.  Nobody may wait on a channel of which
 * they hold no reference. */
void channel_release(channel *c);
/* Idempotent. */
void channel_close(channel *c);

/* Counts the terms through which the host's side may send and receive.  The drop closes
 * the channel with the last one. */
void channel_add_holder(channel *c);
void channel_drop_holder(channel *c);

/* As stream_attach(). */
bool channel_attach(channel *c, void *attachment, stream_release_fn release);
void *channel_attachment(channel *c);

typedef struct channel_info {
    bool closed;
    uint64_t max_bytes;
    struct {
        uint64_t size_bytes; /* of what is queued, at most UINT64_MAX */
        uint64_t messages;
        uint32_t senders, receivers; /* that wait */
    } way[2];
} channel_info;

void channel_get_info(channel *c, channel_info *info);
/* A hint, without the lock. */
bool channel_is_closed(channel *c);

/* ---- Sending ----------------------------------------------------------- */

/* Takes the item on STREAM_OK.  STREAM_BUSY: no room, or others wait for it;
 * STREAM_CLOSED. */
stream_status channel_send(channel *c, channel_way way, channel_item *item);

/* A place in a list of those who wait. */
typedef struct channel_link {
    struct channel_link *next, *prev;
    bool queued; /* the lock */
} channel_link;

/* A send that waits for room, which the caller keeps in place, with a reference to the
 * channel, until `notify` has begun or channel_unpark() has answered true. */
typedef struct channel_sender {
    channel_link link;  /* first; the channel's */
    channel_item *item; /* set before it waits; NULL once it was taken */
    /* Runs once, with no lock held: STREAM_OK, or STREAM_CLOSED (the item is its
     * owner's).  The sender may be gone as soon as it has begun. */
    void (*notify)(struct channel_sender *sender, stream_status status);
} channel_sender;

/* As channel_send() of its item, but waits its turn where that answers STREAM_BUSY:
 * STREAM_AGAIN, and `notify` runs later or has run already. */
stream_status channel_park(channel *c, channel_way way, channel_sender *sender);
/* Gives up.  True: it was still waiting, the item is its owner's and `notify` will not
 * run.  False: `notify` has run or is about to; or (its link being zeroed) it does not
 * wait yet. */
bool channel_unpark(channel *c, channel_way way, channel_sender *sender);

/* ---- Receiving --------------------------------------------------------- */

/* STREAM_OK: *item is the caller's; STREAM_AGAIN: there is none; STREAM_CLOSED: there
 * is none, and none will come. */
stream_status channel_receive(channel *c, channel_way way, channel_item **item);
/* Puts an item that was received, and could not be used, back to the front, whether
 * there is room or not, closed or not.  Of several the one that was received last comes
 * first, or their order is lost. */
void channel_unreceive(channel *c, channel_way way, channel_item *item);

/* Wants to be told once that there is something to look at: a message or the close. The
 * caller keeps it in place, with a reference to the channel, until `notify` has begun
 * or channel_unlisten() has answered true. */
typedef struct channel_receiver {
    channel_link link; /* first; the channel's */
    /* Runs once, with no lock held.  False: nobody will look, the next one is told.
     * The receiver may be gone as soon as it has begun. */
    bool (*notify)(struct channel_receiver *receiver);
} channel_receiver;

/* STREAM_OK: look now, `notify` will not run; STREAM_AGAIN: it waits. */
stream_status channel_listen(channel *c, channel_way way, channel_receiver *receiver);
/* Takes it out.  False: it has been told or is about to be; if it does not look then,
 * channel_pass() is due. */
bool channel_unlisten(channel *c, channel_way way, channel_receiver *receiver);
/* By one who was told and does not take anything: tells the next one, if there still is
 * something. */
void channel_pass(channel *c, channel_way way);

/* ---- Waiting ------------------------------------------------------------ */

typedef struct channel_want {
    int64_t deadline_ns; /* CLOCK_MONOTONIC, or STREAM_FOREVER */
    uint32_t spin_ns;    /* a receiver looks this long before sleeping */
    bool interruptible;  /* STREAM_INTERRUPTED when a signal handler has run */
    stream_token *token; /* NULL, or what can cancel the wait */
} channel_want;

/* These wait on the calling thread, which must hold no lock and no GIL.
 *
 * Until there is something to receive, or the channel is closed: STREAM_OK (look; or
 * channel_pass()), STREAM_TIMEDOUT, STREAM_INTERRUPTED, STREAM_CANCELLED (the token was
 * raised while it waited, also when there is something by now: no item is taken after
 * such a cancel). */
stream_status channel_wait(channel *c, channel_way way, const channel_want *want);
/* Until the item has been taken: STREAM_OK; or, and the item is still the caller's,
 * STREAM_CLOSED, STREAM_TIMEDOUT, STREAM_INTERRUPTED, STREAM_CANCELLED: another try
 * waits behind those that wait by now. */
stream_status channel_send_wait(channel *c, channel_way way, channel_item *item,
                                const channel_want *want);

/* channel_wait() for an event loop: STREAM_AGAIN, and *pending is armed (waker.h);
 * STREAM_OK: look now; STREAM_NOMEM.  Whoever takes it from the waker looks, or passes;
 * stream_pending_cancel() of one that is over passes by itself, and so does a waker
 * that is closed. */
stream_status channel_wait_on_loop(channel *c, channel_way way, stream_waker *waker,
                                   void *user, stream_pending **pending);
/* channel_send() for an event loop: where that answers STREAM_BUSY it waits its turn:
 * STREAM_AGAIN, and *pending is armed.  That is over when the item was sent, or the
 * channel is closed; stream_pending_cancel() before that means that it never is.  Takes
 * the item on STREAM_OK and STREAM_AGAIN, and frees it with the wait when it was not
 * sent; STREAM_CLOSED; STREAM_NOMEM. */
stream_status channel_send_on_loop(channel *c, channel_way way, channel_item *item,
                                   stream_waker *waker, void *user,
                                   stream_pending **pending);
/* Whether the item of such a wait, which is over, was sent; else the channel is closed.
 * By whoever armed it. */
bool channel_was_sent(const stream_pending *pending);

#endif
