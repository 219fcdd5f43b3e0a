/*
 * stream.c: locks, life and the states of a stream.
 *
 * Lock order: token, merge lock, reader lock, writer lock, wait lock.  Reader and
 * writer lock are held together only to exchange pointers: by a merge, and by a reader
 * that frees the tail, which only tries the second.  The wait lock is a leaf.  The
 * merge lock is held while merging copies; only other merges wait for it.
 *
 *            | write      end      abort                    close_reader
 *   open     | open       ended    aborted (if incomplete)  reader closed
 *   ended    | CLOSED     -        -                        reader closed
 *   aborted  | ABORTED    -        -                        reader closed
 *
 * A closed reader makes the writes of an open stream CLOSED; the rest goes on.
 */
#include "internal.h"
#include "alloc.h"

/* ---- Life ---- */

void
stream_prepare(void)
{
    platform_prepare();
}

stream *
stream_new(uint64_t known_length)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.known_length = known_length;
    return stream_new_with(&options);
}

stream *
stream_new_with(const stream_options *options)
{
    stream *s = stream__alloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->known_length = options->known_length;
    s->max_bytes = stream__least(options->max_bytes, STREAM_OFFSET_MAX);
    s->high_bytes = options->high_bytes;
    s->low_bytes = options->low_bytes;
    s->open_below = s->high_bytes >= STREAM_OFFSET_MAX ? s->max_bytes + 1 : 0;
    s->front.seekable = options->seekable;
    s->close_on_last_reader = options->close_on_last_reader;
    atomic_init(&s->refs, 1);
    atomic_init(&s->shells, 1);
    atomic_init(&s->writer_processor, -1);
    bias_lock_init(&s->front.lock);
    platform_lock_init(&s->writer_lock);
    platform_lock_init(&s->merge_lock);
    platform_lock_init(&s->wait_lock);
    stream__chain_init(s);
    return s;
}

stream *
stream_share(stream *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

stream *
stream_try_share(stream *s)
{
    uint32_t refs = atomic_load(&s->refs);
    while (refs != 0) {
        if (atomic_compare_exchange_weak(&s->refs, &refs, refs + 1)) {
            return s;
        }
    }
    return NULL;
}

void
stream_release(stream *s)
{
    if (s == NULL ||
        atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (s->release_attachment != NULL) {
        s->release_attachment(atomic_load(&s->attachment));
    }
    stream__tell_watchers(s, true);
    stream_reason *reason = atomic_load(&s->reason);
    if (reason != NULL) {
        reason->release(reason);
    }
    stream__chain_discard(stream__next(&s->anchor));
    stream__free(s->find);
    bias_lock_destroy(&s->front.lock);
    platform_lock_destroy(&s->writer_lock);
    platform_lock_destroy(&s->merge_lock);
    platform_lock_destroy(&s->wait_lock);
    stream__shell_release(s);
}

void
stream__shell_release(stream *s)
{
    if (atomic_fetch_sub_explicit(&s->shells, 1, memory_order_acq_rel) == 1) {
        stream__free(s);
    }
}

/* ---- Locks ---- */

static void
look_around(stream *s)
{
    if (atomic_load(&s->waiter_count) != 0) {
        stream__wake(s);
    }
    if (atomic_load(&s->parked_count) != 0) {
        stream__admit(s);
    }
    if (atomic_load(&s->watcher_count) != 0) {
        stream__tell_watchers(s, false);
    }
}

void
stream__unlock_and_look(stream *s)
{
    uint64_t position = stream__position(s);
    bool moved = s->front.told != position;
    s->front.told = position;
    struct stream_link *trash = s->trash;
    if (trash != NULL) {
        s->trash = NULL;
        atomic_fetch_sub(&s->front.attention, 1);
    }
    bias_unlock(&s->front.lock);
    if (trash != NULL) {
        atomic_fetch_sub(&s->retained, stream__chain_free(trash, NULL));
    }
    if (moved) {
        look_around(s);
    }
}

/* Sequentially consistent on both sides: a waiter counts itself, then looks at what is
 * published here; so one of the two sees the other. */
void
stream__unlock_writer_and_look(stream *s)
{
    platform_unlock(&s->writer_lock);
    if (atomic_load(&s->front.attention) != 0) {
        look_around(s);
    }
}

/* ---- States ---- */

void
stream_end(stream *s)
{
    platform_lock_take(&s->writer_lock);
    if (atomic_load(&s->writer) == STREAM_WRITER_OPEN) {
        atomic_store(&s->writer, STREAM_WRITER_ENDED);
        s->open_below = 0;
    }
    stream__unlock_writer_and_look(s);
}

bool
stream_abort(stream *s, stream_reason *reason)
{
    platform_lock_take(&s->writer_lock);
    bool first =
        atomic_load(&s->writer) == STREAM_WRITER_OPEN && !stream__is_complete(s);
    if (first) {
        atomic_store(&s->reason, reason);
        atomic_store(&s->truncated, !stream_reader_closed(s));
        atomic_store(&s->writer, STREAM_WRITER_ABORTED);
        s->open_below = 0;
    }
    stream__unlock_writer_and_look(s);
    if (!first) {
        reason->release(reason);
    }
    return first;
}

stream_reason *
stream_abort_reason(stream *s)
{
    return atomic_load(&s->reason);
}

/* Under the writer lock, so that no write lands after it. */
void
stream_close_reader(stream *s)
{
    platform_lock_take(&s->writer_lock);
    atomic_store(&s->reader, STREAM_READER_CLOSED);
    s->open_below = 0;
    stream__unlock_writer_and_look(s);
}

bool
stream_reader_closed(stream *s)
{
    return atomic_load(&s->reader) == STREAM_READER_CLOSED;
}

bool
stream_is_whole(stream *s)
{
    return atomic_load(&s->writer) != STREAM_WRITER_OPEN || stream_reader_closed(s) ||
           atomic_load(&s->written) >= s->known_length;
}

bool
stream_is_aborted(stream *s)
{
    return atomic_load(&s->writer) == STREAM_WRITER_ABORTED;
}

bool
stream_is_truncated(stream *s)
{
    return atomic_load(&s->truncated);
}

bool
stream_is_seekable(stream *s)
{
    return s->front.seekable;
}

uint64_t
stream_position(stream *s)
{
    return atomic_load_explicit(&s->front.position, memory_order_acquire);
}

/* The position first: it is never past what has been written by then. */
uint64_t
stream_available(stream *s)
{
    uint64_t position = stream_position(s);
    return stream__written(s) - position;
}

void
stream_get_info(stream *s, stream_info *info)
{
    info->writer = (stream_writer_state)atomic_load(&s->writer);
    info->reader = (stream_reader_state)atomic_load(&s->reader);
    info->known_length = s->known_length;
    info->read_offset = stream_position(s);
    info->written_offset = stream__written(s);
    info->retained_bytes = atomic_load(&s->retained);
    info->views = atomic_load(&s->shells) - 1;
    info->waiters = atomic_load(&s->waiter_count);
    info->parked = atomic_load(&s->parked_count);
    info->high_bytes = s->high_bytes;
    info->low_bytes = s->low_bytes;
    info->max_bytes = s->max_bytes;
    info->seekable = s->front.seekable;
}
