/*
 * view.c: pins on bytes that outlive the stream, and the merging that makes several
 * segments one.
 *
 * A merge puts one owned block in the place of a run of links:
 *
 *   [A: half read | half unread] [B] [C] [D (tail): bytes | room]
 *   [A: half read] [ M: unread A, B, C, D  | spare room ]
 *
 * The copy is made from pinned links with no lock held but the merge lock; readers and
 * writers go on meanwhile, so that D may have grown: it stays then, with what M does
 * not have.  The exchange itself takes both locks and a bounded number of steps.
 * When the segment at the position has room enough for what follows it, that is
 * appended there and no new block is made: a view after each write costs O(n) in all.
 */
#include "internal.h"
#include "alloc.h"

static const uint8_t nothing[1];

/* ---- Views ---- */

static void
view_empty(stream_view *view)
{
    view->data = nothing;
    view->size_bytes = 0;
    view->segment = NULL;
}

/* Takes one reference to the segment. */
static void
view_of(stream_segment *segment, const uint8_t *data, size_t size, stream_view *view)
{
    atomic_fetch_add_explicit(&segment->home->shells, 1, memory_order_relaxed);
    view->data = data;
    view->size_bytes = size;
    view->segment = segment;
}

/* The next `size` > 0 bytes, which may span segments, in a segment of their own. */
static stream_status
view_copy_locked(stream *s, size_t size, stream_view *view)
{
    stream_segment *copy = stream__segment_new(s, size);
    if (copy == NULL) {
        return STREAM_NOMEM;
    }
    stream_copy_locked(s, stream__segment_room(copy, copy->bytes), size);
    view_of(copy, copy->bytes, size, view);
    return STREAM_OK;
}

/* The next `size` bytes, which lie in the cursor's link. */
static stream_status
view_contiguous_locked(stream *s, size_t size, stream_view *view)
{
    if (size == 0) {
        view_empty(view);
        return STREAM_OK;
    }
    if (size < VIEW_COPY_BYTES) {
        return view_copy_locked(s, size, view);
    }
    stream_segment *segment = stream__segment_of(s->front.cursor.link);
    stream__segment_pin(segment);
    view_of(segment, s->front.cursor.at, size, view);
    return STREAM_OK;
}

stream_status
stream_view_locked(stream *s, uint64_t max, stream_view *view)
{
    const uint8_t *data;
    size_t size = (size_t)stream__least(stream_peek_locked(s, &data), max);
    return view_contiguous_locked(s, size, view);
}

stream_view
stream_view_share(const stream_view *view)
{
    stream_view copy = *view;
    if (view->segment != NULL) {
        stream__segment_pin(view->segment);
        view_of(view->segment, view->data, view->size_bytes, &copy);
    }
    return copy;
}

void
stream_view_release(stream_view *view)
{
    if (view == NULL) {
        return;
    }
    stream_segment *segment = view->segment;
    view_empty(view);
    if (segment != NULL) {
        stream *home = segment->home;
        stream__segment_unpin(segment);
        stream__shell_release(home);
    }
}

/* ---- Views without merging ---- */

/* Under the reader lock: STREAM_AGAIN when the bytes have to be brought together. */
static stream_status
view_short_locked(stream *s, size_t size, stream_view *view)
{
    const uint8_t *data;
    size_t contiguous = stream_peek_locked(s, &data);
    if (size <= contiguous) {
        return view_contiguous_locked(s, size, view);
    }
    return size < VIEW_COPY_BYTES ? view_copy_locked(s, size, view) : STREAM_AGAIN;
}

static stream_status
take_short_at(stream *s, uint64_t position, size_t size, stream_view *view)
{
    stream_reader_lock(s);
    stream_status status = STREAM_CHANGED;
    if (stream__position(s) == position) {
        status = stream_available_locked(s) < size ? STREAM_RANGE
                                                   : view_short_locked(s, size, view);
        if (status == STREAM_OK) {
            stream_drain_locked(s, size);
        }
    }
    stream_reader_unlock(s);
    return status;
}

/* Bytes that are consumed are not put back into the chain. */
stream_status
stream_view_take_at(stream *s, uint64_t position, size_t size, stream_view *view)
{
    stream_status status = take_short_at(s, position, size, view);
    if (status != STREAM_AGAIN) {
        return status;
    }
    stream_segment *block = stream__segment_new(s, size);
    if (block == NULL) {
        return STREAM_NOMEM;
    }
    status =
        stream_read_at(s, position, stream__segment_room(block, block->bytes), size);
    if (status != STREAM_OK) {
        stream__segment_unpin(block);
        return status;
    }
    view_of(block, block->bytes, size, view);
    return STREAM_OK;
}

/* ---- Merging ---- */

struct merge {
    uint64_t position; /* first byte of the view */
    uint64_t from;     /* first byte to copy: `position`, or the end of `block` */
    uint64_t to;
    bool whole;                /* nothing more will come: no spare room */
    stream_segment *block;     /* pinned; where the bytes come together */
    uint8_t *room;             /* in the block, for `from` */
    struct stream_link *first; /* holds `from` */
    uint32_t generation;       /* in which `first` is in the chain */
    struct stream_run run;     /* its hint holds the last byte in the end */
};

/* Appends to the segment at the position if its room suffices.  It is not the tail, so
 * only merges, one at a time, write there. */
static bool
extend_block_locked(stream *s, struct merge *m)
{
    struct stream_link *link = s->front.cursor.link;
    stream_segment *segment = stream__segment_of(link);
    if (link == &s->anchor || s->front.cursor.at == s->front.cursor.end ||
        !stream__segment_is_owned(segment)) {
        return false;
    }
    const uint8_t *used = s->front.cursor.end;
    uint64_t end = link->offset + (uint64_t)(used - link->data);
    if ((uint64_t)(segment->limit - used) < m->to - end) {
        return false;
    }
    stream__segment_pin(segment);
    m->block = segment;
    m->room = stream__segment_room(segment, used);
    m->from = end;
    m->first = stream__next(link);
    return true;
}

/* STREAM_OK: no merge is needed, the view is made.  STREAM_AGAIN: the plan is. */
static stream_status
plan_merge(stream *s, struct merge *m, bool may_extend, stream_view *view)
{
    stream_reader_lock(s);
    m->whole = stream_is_whole(s);
    m->position = stream__position(s);
    m->to = stream__written(s);
    m->from = m->position;
    m->block = NULL;
    uint64_t size = m->to - m->position;
    stream_status status = STREAM_NOMEM;
    if (size <= SIZE_MAX) {
        status = view_short_locked(s, (size_t)size, view);
    }
    if (status == STREAM_AGAIN && !(may_extend && extend_block_locked(s, m))) {
        m->first = s->front.cursor.link;
    }
    stream__run_begin(&m->run, m->from, m->to);
    m->run.hint = m->first;
    m->generation = m->run.generation = s->generation;
    stream_reader_unlock(s);
    return status;
}

/* Twice the size while the stream may grow; just the size when memory is short. */
static stream_status
make_block(stream *s, struct merge *m)
{
    size_t size = (size_t)(m->to - m->position);
    size_t spare = m->whole ? 0 : size;
    uint64_t missing = s->known_length - m->to;
    if (s->known_length != STREAM_LENGTH_UNKNOWN && missing < spare) {
        spare = (size_t)missing;
    }
    m->block = spare <= SIZE_MAX - size ? stream__segment_new(s, size + spare) : NULL;
    if (m->block == NULL) {
        m->block = stream__segment_new(s, size);
    }
    if (m->block == NULL) {
        return STREAM_NOMEM;
    }
    m->room = stream__segment_room(m->block, m->block->bytes);
    m->block->link.offset = m->position;
    return STREAM_OK;
}

/* Ends a link early: its block takes no more bytes, some behind may be in use. */
static void
truncate_locked(struct stream_link *link, uint64_t end)
{
    stream__segment_of(link)->limit = link->data + (end - link->offset);
}

/* Puts the block in the place of the bytes [from, to), of which it has a copy; the
 * links from *gone up to, not including, the result have left the chain. */
static struct stream_link *
exchange_locked(stream *s, struct merge *m, struct stream_link **gone)
{
    struct stream_link *block = &m->block->link, *last = m->run.hint;
    struct stream_link *after = stream__next(last), *stop = after;
    *gone = m->first;
    if (m->from == m->position) {
        struct stream_link *before = m->first->prev;
        if (m->first->offset < m->from) {
            before = m->first;
            *gone = stream__next(before);
            truncate_locked(before, m->from);
        }
        stream__segment_pin(m->block);
        atomic_fetch_add(&s->retained, m->block->capacity_bytes);
        block->prev = before;
        atomic_store_explicit(&before->next, block, memory_order_release);
    }
    if (stream__link_end(last, stream__written(s)) > m->to) {
        last->data += m->to - last->offset;
        last->offset = m->to;
        after = stop = last;
    }
    atomic_store_explicit(&block->next, after, memory_order_release);
    if (after == NULL) {
        atomic_store_explicit(&s->tail, block, memory_order_release);
    } else {
        after->prev = block;
    }
    s->generation++;
    s->front.cursor.link = block;
    stream__cursor_set_locked(s, stream__position(s));
    return stop;
}

/* False when links of the plan have been read and freed meanwhile. */
static bool
exchange(stream *s, struct merge *m)
{
    struct stream_link *gone = NULL, *stop = NULL;
    stream_reader_lock(s);
    bool same = s->generation == m->generation;
    if (same) {
        platform_lock_take(&s->writer_lock);
        stop = exchange_locked(s, m, &gone);
        platform_unlock(&s->writer_lock);
        stream__trim_locked(s);
    }
    stream_reader_unlock(s);
    if (same) {
        atomic_fetch_sub(&s->retained, stream__chain_free(gone, stop));
    }
    return same;
}

/* A new block that has no place in the chain any more still shows what was unread when
 * the merge began.  The room of an older one is for what is in the chain only. */
static stream_status
merge_unread(stream *s, bool may_extend, stream_view *view)
{
    struct merge m;
    stream_status status = plan_merge(s, &m, may_extend, view);
    if (status != STREAM_AGAIN) {
        return status;
    }
    if (m.block == NULL && make_block(s, &m) != STREAM_OK) {
        return STREAM_NOMEM;
    }
    status = stream__run_copy(s, &m.run, m.room);
    if (status != STREAM_OK || (!exchange(s, &m) && m.from != m.position)) {
        stream__segment_unpin(m.block);
        return STREAM_CHANGED;
    }
    view_of(m.block, m.room - (m.from - m.position), (size_t)(m.to - m.position), view);
    return STREAM_OK;
}

stream_status
stream_view_all(stream *s, stream_view *view)
{
    platform_lock_take(&s->merge_lock);
    stream_status status = merge_unread(s, true, view);
    while (status == STREAM_CHANGED) {
        status = merge_unread(s, false, view);
    }
    platform_unlock(&s->merge_lock);
    return status;
}
