/*
 * channel.c: the life of a channel, and what goes with it.
 */
#include "channel_internal.h"

#include "alloc.h"

/* Takes about a millisecond: the last reference may go on a thread that others wait
 * for. */
#define FREED_AT_ONCE_ITEMS 4096

/* ---- Items that nobody received ---- */

/* An item may hold the last reference to a channel, with items that hold others: those
 * come into the list of the thread, not onto its stack. */
static _Thread_local struct {
    channel_item *first;
    bool busy;
} discarded;

static channel_item *
free_discarded(size_t most)
{
    discarded.busy = true;
    for (size_t i = 0; i < most && discarded.first != NULL; i++) {
        channel_item *item = discarded.first;
        discarded.first = item->next;
        item->release(item);
    }
    discarded.busy = false;
    channel_item *rest = discarded.first;
    discarded.first = NULL;
    return rest;
}

static void *
free_all(void *items)
{
    discarded.first = items;
    (void)free_discarded(SIZE_MAX);
    return NULL;
}

static void
discard(const struct channel_queue *q)
{
    if (q->first != NULL) {
        q->last->next = discarded.first;
        discarded.first = q->first;
    }
}

static void
discard_all(const channel *c)
{
    discard(&c->queues[CHANNEL_OUT]);
    discard(&c->queues[CHANNEL_IN]);
    if (!discarded.busy) {
        channel_item *rest = free_discarded(FREED_AT_ONCE_ITEMS);
        if (rest != NULL && !platform_run_elsewhere(free_all, rest)) {
            (void)free_all(rest);
        }
    }
}

/* ---- Life ---- */

static void
init_queue(struct channel_queue *q)
{
    *q = (struct channel_queue){0};
    atomic_init(&q->count, 0);
    atomic_init(&q->sender_processor, -1);
}

channel *
channel_new(uint64_t max_bytes)
{
    channel *c = stream__alloc(sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    atomic_init(&c->refs, 1);
    atomic_init(&c->holders, 0);
    c->max_bytes = max_bytes;
    atomic_init(&c->attachment, NULL);
    c->release_attachment = NULL;
    platform_lock_init(&c->lock);
    atomic_init(&c->closed, false);
    init_queue(&c->queues[CHANNEL_IN]);
    init_queue(&c->queues[CHANNEL_OUT]);
    return c;
}

channel *
channel_share(channel *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

channel *
channel_try_share(channel *c)
{
    uint32_t refs = atomic_load_explicit(&c->refs, memory_order_relaxed);
    while (refs != 0) {
        if (atomic_compare_exchange_weak_explicit(&c->refs, &refs, refs + 1,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return c;
        }
    }
    return NULL;
}

void
channel_release(channel *c)
{
    if (c == NULL ||
        atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    void *attachment = atomic_load(&c->attachment);
    if (attachment != NULL) {
        c->release_attachment(attachment);
    }
    discard_all(c);
    platform_lock_destroy(&c->lock);
    stream__free(c);
}

void
channel_add_holder(channel *c)
{
    atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
}

void
channel_drop_holder(channel *c)
{
    if (atomic_fetch_sub_explicit(&c->holders, 1, memory_order_acq_rel) == 1) {
        channel_close(c);
    }
}

bool
channel_attach(channel *c, void *attachment, stream_release_fn release)
{
    platform_lock_take(&c->lock);
    bool first = atomic_load(&c->attachment) == NULL;
    if (first) {
        c->release_attachment = release;
        atomic_store(&c->attachment, attachment);
    }
    platform_unlock(&c->lock);
    return first;
}

void *
channel_attachment(channel *c)
{
    return atomic_load(&c->attachment);
}

void
channel_get_info(channel *c, channel_info *info)
{
    platform_lock_take(&c->lock);
    info->closed = atomic_load(&c->closed);
    info->max_bytes = c->max_bytes;
    for (int way = 0; way < 2; way++) {
        const struct channel_queue *q = &c->queues[way];
        info->way[way].size_bytes = q->overflows == 0 ? q->size_bytes : UINT64_MAX;
        info->way[way].messages = atomic_load(&q->count);
        info->way[way].senders = q->senders.count;
        info->way[way].receivers = q->receivers.count;
    }
    platform_unlock(&c->lock);
}

bool
channel_is_closed(channel *c)
{
    return atomic_load(&c->closed);
}
