/*
 * read.c: looking at unread bytes, copying and consuming them, and moving about.
 *
 * Short reads copy under the reader lock.  Long ones go by a run: a step takes the
 * lock, pins a few segments and gives the lock up; the copy is made without it.
 */
#include "internal.h"

/* ---- Under the reader lock ---- */

size_t
stream_peek_locked(stream *s, const uint8_t **data)
{
    stream__cursor_refresh_locked(s);
    *data = s->front.cursor.at;
    return (size_t)(s->front.cursor.end - s->front.cursor.at);
}

uint64_t
stream_available_locked(stream *s)
{
    return stream__written(s) - stream__position(s);
}

void
stream_copy_locked(stream *s, void *to, size_t size)
{
    const uint8_t *data;
    size_t n = stream_peek_locked(s, &data);
    if (size <= n) {
        memcpy(to, data, size);
        return;
    }
    uint8_t *out = to;
    memcpy(out, data, n);
    uint64_t written = stream__written(s);
    struct stream_link *link = s->front.cursor.link;
    for (size_t done = n; done < size; done += n) {
        link = stream__next(link);
        n = (size_t)(stream__link_end(link, written) - link->offset);
        if (n > size - done) {
            n = size - done;
        }
        memcpy(out + done, link->data, n);
    }
}

/* Past what the cursor knows, or to the very end of it, where it may be freed then. */
void
stream__drain_further_locked(stream *s, uint64_t size)
{
    struct stream_cursor *cursor = &s->front.cursor;
    uint64_t position = stream__position(s) + size;
    stream__cursor_refresh_locked(s);
    stream__position_set_locked(s, position);
    if (size > (size_t)(cursor->end - cursor->at)) {
        stream__cursor_set_locked(s, position);
    } else {
        cursor->at += size;
    }
    if (!s->front.seekable) {
        stream__cursor_refresh_locked(s);
        stream__trim_locked(s);
    }
}

/* ---- Runs ---- */

void
stream__run_begin(struct stream_run *run, uint64_t offset, uint64_t to)
{
    run->offset = offset;
    run->to = to;
    run->hint = NULL;
    run->generation = 0;
    run->count = 0;
}

void
stream__run_end(struct stream_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        stream__segment_unpin(run->spans[i].segment);
    }
    run->count = 0;
}

static void
pin_spans_locked(stream *s, struct stream_run *run)
{
    uint64_t written = stream__written(s);
    struct stream_link *hint = run->generation == s->generation ? run->hint : NULL;
    struct stream_link *link = stream__chain_locate_locked(s, run->offset, hint);
    while (run->count < RUN_SPANS) {
        uint64_t end = stream__least(stream__link_end(link, written), run->to);
        struct stream_span *span = &run->spans[run->count++];
        span->data = link->data + (run->offset - link->offset);
        span->size_bytes = (size_t)(end - run->offset);
        span->segment = stream__segment_of(link);
        stream__segment_pin(span->segment);
        run->hint = link;
        run->offset = end;
        if (end == run->to) {
            break;
        }
        link = stream__next(link);
    }
    run->generation = s->generation;
}

stream_status
stream__run_next(stream *s, struct stream_run *run)
{
    stream__run_end(run);
    if (run->offset >= run->to) {
        return STREAM_OK;
    }
    stream_status status = STREAM_OK;
    stream_reader_lock(s);
    if (run->to > stream__written(s)) {
        status = STREAM_RANGE;
    } else if (run->offset < s->anchor.offset) {
        status = STREAM_CHANGED;
    } else {
        pin_spans_locked(s, run);
    }
    stream_reader_unlock(s);
    return status;
}

stream_status
stream__run_copy(stream *s, struct stream_run *run, uint8_t *to)
{
    stream_status status;
    while ((status = stream__run_next(s, run)) == STREAM_OK && run->count > 0) {
        for (size_t i = 0; i < run->count; i++) {
            memcpy(to, run->spans[i].data, run->spans[i].size_bytes);
            to += run->spans[i].size_bytes;
        }
    }
    return status;
}

/* ---- Without the lock ---- */

stream_status
stream_copy_at(stream *s, uint64_t offset, void *to, size_t size)
{
    struct stream_run run;
    if (size > UINT64_MAX - offset) {
        return STREAM_RANGE;
    }
    stream__run_begin(&run, offset, offset + size);
    return stream__run_copy(s, &run, to);
}

/* Consumes if the position is still that. */
static stream_status
drain_at(stream *s, uint64_t position, size_t size)
{
    stream_reader_lock(s);
    bool same = stream__position(s) == position;
    if (same) {
        stream_drain_locked(s, size);
    }
    stream_reader_unlock(s);
    return same ? STREAM_OK : STREAM_CHANGED;
}

stream_status
stream_read_at(stream *s, uint64_t position, void *to, size_t size)
{
    if (stream_position(s) != position) {
        return STREAM_CHANGED;
    }
    stream_status status = stream_copy_at(s, position, to, size);
    return status == STREAM_OK ? drain_at(s, position, size) : status;
}

/* ---- Seeking ---- */

/* `base` + `offset`, if it is within [0, written]. */
static stream_status
seek_target(uint64_t base, int64_t offset, uint64_t written, uint64_t *target)
{
    if (offset < 0) {
        uint64_t back = (uint64_t)0 - (uint64_t)offset;
        if (back > base) {
            return STREAM_RANGE;
        }
        *target = base - back;
        return STREAM_OK;
    }
    if (base > written || (uint64_t)offset > written - base) {
        return STREAM_RANGE;
    }
    *target = base + (uint64_t)offset;
    return STREAM_OK;
}

static stream_status
seek_locked(stream *s, int64_t offset, int whence, uint64_t *position)
{
    bool whole = stream_is_whole(s) && !stream_is_truncated(s);
    uint64_t written = stream__written(s);
    uint64_t base = 0;
    if (!s->front.seekable) {
        return STREAM_CHANGED;
    }
    if (whence == 1) {
        base = stream__position(s);
    } else if (whence == 2) {
        if (!whole) {
            return STREAM_NOT_ENDED;
        }
        base = written;
    } else if (whence != 0) {
        return STREAM_RANGE;
    }
    uint64_t target;
    stream_status status = seek_target(base, offset, written, &target);
    if (status == STREAM_OK) {
        stream__cursor_set_locked(s, target);
        stream__position_set_locked(s, target);
        s->front.line_clear = 0;
        *position = target;
    }
    return status;
}

stream_status
stream_seek(stream *s, int64_t offset, int whence, uint64_t *position)
{
    stream_reader_lock(s);
    stream_status status = seek_locked(s, offset, whence, position);
    stream_reader_unlock(s);
    return status;
}
