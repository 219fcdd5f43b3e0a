/*
 * chain.c: the links of a stream and the read cursor on them.  Takes no lock: the
 * caller holds the one that each function names.
 *
 * Links are added by writers (writer lock) and removed by merging (both locks) and by
 * trimming (reader lock; both for the tail).  So a reader that holds its lock may
 * follow `next` and `prev` while writers add: `next` is published, and `prev` and
 * `offset` are set before.
 */
#include "internal.h"

/* Takes about half a millisecond: the last reference to a stream may go on a thread
 * that others wait for. */
#define FREED_AT_ONCE_LINKS 4096

void
stream__chain_init(stream *s)
{
    s->anchor.data = (const uint8_t *)&s->anchor;
    atomic_init(&s->tail, &s->anchor);
    s->front.cursor.link = &s->anchor;
    s->front.cursor.at = s->anchor.data;
    s->front.cursor.end = s->anchor.data;
}

uint64_t
stream__chain_free(struct stream_link *link, struct stream_link *stop)
{
    uint64_t capacity = 0;
    while (link != stop) {
        struct stream_link *next = stream__next(link);
        stream_segment *segment = stream__segment_of(link);
        capacity += segment->capacity_bytes;
        stream__segment_unpin(segment);
        link = next;
    }
    return capacity;
}

static void *
free_all(void *link)
{
    stream__chain_free(link, NULL);
    return NULL;
}

void
stream__chain_discard(struct stream_link *link)
{
    for (int i = 0; i < FREED_AT_ONCE_LINKS && link != NULL; i++) {
        struct stream_link *next = stream__next(link);
        stream__segment_unpin(stream__segment_of(link));
        link = next;
    }
    if (link != NULL && !platform_run_elsewhere(free_all, link)) {
        stream__chain_free(link, NULL);
    }
}

void
stream__chain_link_locked(stream *s, struct stream_link *first,
                          struct stream_link *last)
{
    struct stream_link *tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    first->prev = tail;
    atomic_store_explicit(&tail->next, first, memory_order_release);
    atomic_store_explicit(&s->tail, last, memory_order_release);
}

static uint64_t
distance(uint64_t a, uint64_t b)
{
    return a < b ? b - a : a - b;
}

/* Bytes stand for links: the walk starts where fewest bytes lie between. */
static struct stream_link *
nearest(stream *s, uint64_t offset, struct stream_link *hint)
{
    struct stream_link *from[] = {hint, s->front.cursor.link, &s->anchor,
                                  atomic_load_explicit(&s->tail, memory_order_acquire)};
    struct stream_link *best = NULL;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        if (from[i] != NULL && (best == NULL || distance(from[i]->offset, offset) <
                                                    distance(best->offset, offset))) {
            best = from[i];
        }
    }
    return best;
}

struct stream_link *
stream__chain_locate_locked(stream *s, uint64_t offset, struct stream_link *hint)
{
    struct stream_link *link = nearest(s, offset, hint);
    while (link->offset > offset) {
        link = link->prev;
    }
    struct stream_link *next;
    while ((next = stream__next(link)) != NULL && next->offset <= offset) {
        link = next;
    }
    return link;
}

/* ---- Freeing what has been read ---- */

/* The links from `first` on have left the chain. */
static void
discard_locked(stream *s, struct stream_link *first, struct stream_link *last)
{
    if (s->trash == NULL) {
        atomic_fetch_add(&s->front.attention, 1);
    }
    atomic_store_explicit(&last->next, s->trash, memory_order_relaxed);
    s->trash = first;
    s->generation++;
}

/* A slab's room is for the writes to come; what a merge has made may be large. */
static bool
is_worth_keeping(stream_segment *segment)
{
    return stream__segment_is_owned(segment) &&
           segment->capacity_bytes <= SLAB_MOST_BYTES;
}

/* The tail is the writers'.  When all has been read, and no room in it is worth
 * keeping, the chain becomes empty; not now if a writer is at work. */
static void
trim_tail_locked(stream *s)
{
    struct stream_link *tail = s->front.cursor.link;
    uint64_t position = stream__position(s);
    if (tail == &s->anchor || is_worth_keeping(stream__segment_of(tail)) ||
        stream__written(s) != position || !platform_trylock(&s->writer_lock)) {
        return;
    }
    bool all = stream__written(s) == position &&
               atomic_load_explicit(&s->tail, memory_order_relaxed) == tail;
    if (all) {
        s->anchor.offset = position;
        atomic_store_explicit(&s->anchor.next, NULL, memory_order_relaxed);
        atomic_store_explicit(&s->tail, &s->anchor, memory_order_release);
    }
    platform_unlock(&s->writer_lock);
    if (all) {
        s->front.cursor.link = &s->anchor;
        s->front.cursor.at = s->front.cursor.end = s->anchor.data;
        discard_locked(s, tail, tail);
    }
}

void
stream__trim_locked(stream *s)
{
    if (s->front.seekable) {
        return;
    }
    struct stream_link *first = stream__next(&s->anchor);
    struct stream_link *keep = s->front.cursor.link;
    if (keep != &s->anchor && keep != first) {
        struct stream_link *last = keep->prev;
        s->anchor.offset = keep->offset;
        keep->prev = &s->anchor;
        atomic_store_explicit(&s->anchor.next, keep, memory_order_release);
        discard_locked(s, first, last);
    }
    if (s->front.cursor.at == s->front.cursor.end) {
        trim_tail_locked(s);
    }
}

/* ---- The cursor ---- */

void
stream__cursor_step_locked(stream *s, uint64_t written)
{
    struct stream_cursor *cursor = &s->front.cursor;
    uint64_t end = stream__link_end(cursor->link, written);
    while (cursor->at == cursor->end && end != written) {
        cursor->link = stream__next(cursor->link);
        cursor->at = cursor->link->data;
        end = stream__link_end(cursor->link, written);
        cursor->end = cursor->link->data + (end - cursor->link->offset);
    }
    if (!s->front.seekable) {
        stream__trim_locked(s);
    }
}

void
stream__cursor_set_locked(stream *s, uint64_t offset)
{
    struct stream_link *link = &s->anchor;
    if (offset > s->anchor.offset) {
        link = stream__chain_locate_locked(s, offset - 1, NULL);
    }
    s->front.cursor.link = link;
    s->front.cursor.at = link->data + (offset - link->offset);
    s->front.cursor.end = s->front.cursor.at;
    stream__cursor_refresh_locked(s);
}
