/*
 * validate.c: every invariant of a stream, and of a channel, in one place.  For tests:
 * it takes all locks and walks the whole chain.
 */
#include "channel_internal.h"
#include "internal.h"

static bool
chain_is_valid(stream *s)
{
    uint64_t written = stream__written(s), capacity = 0;
    struct stream_link *link = &s->anchor, *next;
    if (link->prev != NULL || (s->front.seekable && link->offset != 0) ||
        s->trash != NULL) {
        return false;
    }
    while ((next = stream__next(link)) != NULL) {
        stream_segment *segment = stream__segment_of(next);
        uint64_t end = stream__link_end(next, written);
        bool inside = next->data >= segment->bytes &&
                      next->data + (end - next->offset) <= segment->limit &&
                      segment->limit <= segment->bytes + segment->capacity_bytes;
        if (next->prev != link || end <= next->offset || !inside ||
            segment->home != s || atomic_load(&segment->refs) == 0 ||
            (link == &s->anchor && next->offset != s->anchor.offset)) {
            return false;
        }
        capacity += segment->capacity_bytes;
        link = next;
    }
    return link == atomic_load(&s->tail) &&
           stream__link_end(link, written) == written &&
           capacity == atomic_load(&s->retained) &&
           (link != &s->anchor || written == s->anchor.offset);
}

static bool
cursor_is_valid(stream *s)
{
    const struct stream_cursor *cursor = &s->front.cursor;
    struct stream_link *link = &s->anchor;
    while (link != NULL && link != cursor->link) {
        link = stream__next(link);
    }
    uint64_t written = stream__written(s), position = stream__position(s);
    if (link == NULL || position > written || position < link->offset) {
        return false;
    }
    uint64_t end = stream__link_end(link, written);
    return position <= end && cursor->at == link->data + (position - link->offset) &&
           cursor->end >= cursor->at &&
           (uint64_t)(cursor->end - link->data) <= end - link->offset;
}

static bool
waiters_are_valid(stream *s)
{
    uint32_t count = 0;
    struct stream_waiter *previous = NULL;
    for (struct stream_waiter *w = s->waiting; w != NULL; w = w->next) {
        if (w->prev != previous || !w->queued) {
            return false;
        }
        previous = w;
        count++;
    }
    return count == atomic_load(&s->waiter_count);
}

static bool
parked_are_valid(stream *s)
{
    uint32_t count = 0;
    stream_parked *previous = NULL;
    for (stream_parked *p = s->parked; p != NULL; p = p->next) {
        if (p->prev != previous || !p->queued || p->batch.size_bytes == 0) {
            return false;
        }
        previous = p;
        count++;
    }
    bool open = atomic_load(&s->writer) == STREAM_WRITER_OPEN &&
                atomic_load(&s->reader) == STREAM_READER_OPEN;
    return previous == s->last_parked && count == atomic_load(&s->parked_count) &&
           (s->open_below == 0 || (open && count == 0 && !s->admitting));
}

static bool
watchers_are_valid(stream *s)
{
    uint32_t count = 0;
    for (stream_watcher *w = s->watching; w != NULL; w = w->next) {
        count++;
    }
    return count == atomic_load(&s->watcher_count);
}

static bool
counts_are_valid(stream *s)
{
    uint32_t attention = atomic_load(&s->waiter_count) + atomic_load(&s->parked_count) +
                         atomic_load(&s->watcher_count);
    return atomic_load(&s->refs) > 0 && atomic_load(&s->shells) > 0 &&
           attention == atomic_load(&s->front.attention) &&
           (atomic_load(&s->writer) == STREAM_WRITER_ABORTED) ==
               (atomic_load(&s->reason) != NULL);
}

bool
stream__validate(stream *s)
{
    platform_lock_take(&s->merge_lock);
    stream_reader_lock(s);
    platform_lock_take(&s->writer_lock);
    platform_lock_take(&s->wait_lock);
    bool valid = chain_is_valid(s) && cursor_is_valid(s) && waiters_are_valid(s) &&
                 parked_are_valid(s) && watchers_are_valid(s) && counts_are_valid(s);
    platform_unlock(&s->wait_lock);
    platform_unlock(&s->writer_lock);
    stream_reader_unlock(s);
    platform_unlock(&s->merge_lock);
    return valid;
}

/* ---- Channels ---- */

static bool
list_is_valid(const struct channel_list *list)
{
    uint32_t count = 0;
    const channel_link *previous = NULL;
    for (const channel_link *link = list->first; link != NULL; link = link->next) {
        if (link->prev != previous || !link->queued) {
            return false;
        }
        previous = link;
        count++;
    }
    return previous == list->last && count == list->count;
}

static bool
items_are_valid(const struct channel_queue *q)
{
    uint64_t count = 0, size = 0;
    uint32_t overflows = 0;
    const channel_item *last = NULL;
    for (const channel_item *item = q->first; item != NULL; item = item->next) {
        overflows += __builtin_add_overflow(size, item->size_bytes, &size);
        last = item;
        count++;
    }
    return last == q->last && count == atomic_load(&q->count) &&
           size == q->size_bytes && overflows == q->overflows;
}

/* Who waits has a reason to. */
static bool
waits_are_valid(const channel *c, const struct channel_queue *q, uint64_t told)
{
    bool closed = atomic_load(&c->closed);
    const channel_sender *sender = (const channel_sender *)(void *)q->senders.first;
    if (sender != NULL) {
        bool fits = q->overflows == 0 && q->size_bytes <= c->max_bytes &&
                    sender->item->size_bytes <= c->max_bytes - q->size_bytes;
        if (closed || q->first == NULL || fits) {
            return false;
        }
    }
    return q->receivers.first == NULL || (!closed && atomic_load(&q->count) <= told);
}

bool
channel__validate(channel *c, const uint64_t told[2])
{
    bool valid = atomic_load(&c->refs) > 0;
    platform_lock_take(&c->lock);
    for (int way = 0; way < 2; way++) {
        const struct channel_queue *q = &c->queues[way];
        valid = valid && list_is_valid(&q->senders) && list_is_valid(&q->receivers) &&
                items_are_valid(q) && waits_are_valid(c, q, told[way]);
    }
    platform_unlock(&c->lock);
    return valid;
}
