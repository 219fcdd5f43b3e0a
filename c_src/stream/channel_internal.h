/* channel_internal.h: what the files of a channel share. */
#ifndef ERLPY_STREAM_CHANNEL_INTERNAL_H
#define ERLPY_STREAM_CHANNEL_INTERNAL_H

#include <stdatomic.h>

#include "channel.h"
#include "platform.h"

struct channel_list {
    channel_link *first, *last;
    uint32_t count;
};

struct channel_queue {
    channel_item *first, *last;
    uint64_t size_bytes;     /* of the items, modulo 2^64 */
    uint32_t overflows;      /* how often that has been passed */
    _Atomic(uint64_t) count; /* written under the lock */
    struct channel_list senders, receivers;
    _Atomic(int) sender_processor; /* of the last send */
};

struct channel {
    _Atomic(uint32_t) refs;
    _Atomic(uint32_t) holders;
    uint64_t max_bytes;
    _Atomic(void *) attachment;
    stream_release_fn release_attachment; /* the lock; set with the attachment */
    platform_lock lock;
    atomic_bool closed; /* written under the lock */
    struct channel_queue queues[2];
};

/* ---- channel_queue.c: no lock may be held ---- */

/* There is a message, or the channel is closed.  A hint. */
bool channel__has_news(channel *c, channel_way way);
/* channel_unpark() without its second step, which is the other: lets senders in, now
 * that there may be room. */
bool channel__take_back(channel *c, channel_way way, channel_sender *sender);
void channel__admit(channel *c, channel_way way);

/* ---- validate.c ---- */

/* Checks every invariant that holds between the calls of one thread, with so many
 * receivers of each way told that have not looked yet; takes the lock.  For tests. */
bool channel__validate(channel *c, const uint64_t told[2]);

#endif
