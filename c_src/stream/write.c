/*
 * write.c: bytes become links at the end of the chain.
 *
 * Under the writer lock: checks, the linking of what is ready, and the copy of at most
 * APPEND_LOCKED_BYTES.  Never an allocation, a free, a release callback or a wake.
 */
#include "internal.h"
#include "alloc.h"

/* Whether `size` bytes may be written at all, room or not. */
stream_status
stream__check_open_locked(stream *s, uint64_t size)
{
    uint32_t writer = atomic_load_explicit(&s->writer, memory_order_relaxed);
    if (writer == STREAM_WRITER_ABORTED) {
        return STREAM_ABORTED;
    }
    if (writer != STREAM_WRITER_OPEN ||
        atomic_load_explicit(&s->reader, memory_order_relaxed) != STREAM_READER_OPEN) {
        return STREAM_CLOSED;
    }
    return size > s->max_bytes - stream__written(s) ? STREAM_TOO_LARGE : STREAM_OK;
}

/* The same for a write that comes now: nobody overtakes those that wait.  Without a
 * high mark nobody ever waits. */
stream_status
stream__check_write_locked(stream *s, uint64_t size)
{
    uint64_t written = stream__written(s);
    if (PLATFORM_LIKELY(written < s->open_below && size < s->open_below - written)) {
        return STREAM_OK;
    }
    stream_status status = stream__check_open_locked(s, size);
    if (status == STREAM_OK && size > 0 &&
        (s->parked != NULL || s->admitting || !stream__has_room(s, s->high_bytes))) {
        return STREAM_BUSY;
    }
    return status;
}

static void
publish_locked(stream *s, uint64_t size)
{
    atomic_store_explicit(&s->writer_processor, platform_processor(),
                          memory_order_relaxed);
    atomic_store(&s->written, stream__written(s) + size);
}

static struct stream_link *
tail_locked(stream *s)
{
    return atomic_load_explicit(&s->tail, memory_order_relaxed);
}

/* The tail's segment when the stream owns it, or NULL. */
static stream_segment *
tail_slab_locked(stream *s)
{
    struct stream_link *tail = tail_locked(s);
    if (tail == &s->anchor || !stream__segment_is_owned(stream__segment_of(tail))) {
        return NULL;
    }
    return stream__segment_of(tail);
}

/* Fills the room of the tail; false when there is not enough. */
bool
stream__fill_tail_locked(stream *s, const void *bytes, size_t size)
{
    if (size == 0) {
        return true;
    }
    stream_segment *slab = tail_slab_locked(s);
    if (slab == NULL) {
        return false;
    }
    const uint8_t *used = slab->link.data + (stream__written(s) - slab->link.offset);
    if ((size_t)(slab->limit - used) < size) {
        return false;
    }
    memcpy(stream__segment_room(slab, used), bytes, size);
    publish_locked(s, size);
    return true;
}

/* Slabs double while small writes go on; the last one of a known length fits. */
static size_t
slab_size_locked(stream *s, size_t size)
{
    stream_segment *slab = tail_slab_locked(s);
    size_t grown = SLAB_FIRST_BYTES;
    if (slab != NULL) {
        grown = slab->capacity_bytes < SLAB_MOST_BYTES / 2 ? 2 * slab->capacity_bytes
                                                           : SLAB_MOST_BYTES;
    } else if (tail_locked(s) != &s->anchor) {
        grown = SLAB_LEAST_BYTES;
    }
    uint64_t written = stream__written(s);
    if (s->known_length != STREAM_LENGTH_UNKNOWN && s->known_length > written &&
        s->known_length - written <= SLAB_MOST_BYTES) {
        grown = (size_t)(s->known_length - written);
    }
    return size > grown ? size : grown;
}

/* Turns offsets from the start of the batch into absolute ones. */
void
stream__number_links(stream *s, struct stream_link *link, uint64_t from, uint64_t to)
{
    for (; link != NULL; link = stream__next(link)) {
        link->offset = link->offset - from + to;
        stream__segment_of(link)->home = s;
    }
}

static inline void
link_batch_locked(stream *s, const stream_batch *batch, uint64_t capacity)
{
    atomic_fetch_add_explicit(&s->retained, capacity, memory_order_relaxed);
    stream__chain_link_locked(s, batch->first, batch->last);
    publish_locked(s, batch->size_bytes);
}

void
stream__link_batch_locked(stream *s, const stream_batch *batch, uint64_t capacity)
{
    link_batch_locked(s, batch, capacity);
}

uint64_t
stream__batch_capacity(const stream_batch *batch)
{
    uint64_t capacity = 0;
    for (struct stream_link *link = batch->first; link != NULL;
         link = stream__next(link)) {
        capacity += stream__segment_of(link)->capacity_bytes;
    }
    return capacity;
}

/* A batch may have very many links: they are numbered before the lock is taken, by a
 * guess at where they will stand.  Under the lock only when the guess failed twice. */
static stream_status
commit_links(stream *s, stream_batch *batch)
{
    uint64_t capacity = stream__batch_capacity(batch);
    uint64_t numbered = 0;
    stream_status status = STREAM_AGAIN;
    for (int round = 0; status == STREAM_AGAIN; round++) {
        uint64_t guess = stream__written(s);
        stream__number_links(s, batch->first, numbered, guess);
        numbered = guess;
        platform_lock_take(&s->writer_lock);
        status = stream__check_write_locked(s, batch->size_bytes);
        if (status == STREAM_OK && stream__written(s) != numbered) {
            status = STREAM_AGAIN;
            if (round == 2) {
                stream__number_links(s, batch->first, numbered, stream__written(s));
                status = STREAM_OK;
            }
        }
        if (status == STREAM_OK) {
            link_batch_locked(s, batch, capacity);
            stream__unlock_writer_and_look(s);
            *batch = STREAM_BATCH_INIT;
            return STREAM_OK;
        }
        platform_unlock(&s->writer_lock);
    }
    stream__number_links(s, batch->first, numbered, 0);
    return status;
}

/* Writes a few bytes into the room of the tail, or into a new slab.  The slab is built
 * while the lock is not held; by then another writer may have brought room. */
static stream_status
append_small(stream *s, const void *bytes, size_t size)
{
    stream_batch batch = STREAM_BATCH_INIT;
    platform_lock_take(&s->writer_lock);
    stream_status status = stream__check_write_locked(s, size);
    bool filled = status == STREAM_OK && stream__fill_tail_locked(s, bytes, size);
    if (status != STREAM_OK || filled) {
        stream__unlock_writer_and_look(s);
        return status;
    }
    size_t slab_size = slab_size_locked(s, size);
    platform_unlock(&s->writer_lock);

    stream_segment *slab = stream__segment_new(s, slab_size);
    if (slab == NULL) {
        return STREAM_NOMEM;
    }
    memcpy(stream__segment_room(slab, slab->bytes), bytes, size);
    batch.first = batch.last = &slab->link;
    batch.size_bytes = size;

    platform_lock_take(&s->writer_lock);
    status = stream__check_write_locked(s, size);
    filled = status == STREAM_OK && stream__fill_tail_locked(s, bytes, size);
    if (status == STREAM_OK && !filled) {
        slab->link.offset = stream__written(s);
        link_batch_locked(s, &batch, slab_size);
        slab = NULL;
    }
    stream__unlock_writer_and_look(s);
    if (slab != NULL) {
        stream__segment_unpin(slab);
    }
    return status;
}

stream_status
stream_append(stream *s, const void *bytes, size_t size)
{
    if (size <= APPEND_LOCKED_BYTES) {
        return append_small(s, bytes, size);
    }
    stream_batch batch = STREAM_BATCH_INIT;
    stream_status status = stream_batch_append(&batch, bytes, size);
    if (status == STREAM_OK) {
        status = commit_links(s, &batch);
    }
    stream_batch_clear(&batch);
    return status;
}

bool
stream__batch_is_small_copy(const stream_batch *batch)
{
    return batch->first == batch->last && batch->size_bytes <= APPEND_LOCKED_BYTES &&
           stream__segment_is_owned(stream__segment_of(batch->first));
}

/* A few copied bytes join the tail as an append does: many small batches must not
 * become many small segments.  Without memory for a slab the batch's own will do. */
stream_status
stream_commit(stream *s, stream_batch *batch)
{
    if (batch->size_bytes == 0) {
        return append_small(s, "", 0);
    }
    if (stream__batch_is_small_copy(batch)) {
        stream_status status =
            append_small(s, batch->first->data, (size_t)batch->size_bytes);
        if (status == STREAM_OK) {
            stream_batch_clear(batch);
        }
        if (status != STREAM_NOMEM) {
            return status;
        }
    }
    return commit_links(s, batch);
}

stream_status
stream_adopt(stream *s, const void *bytes, size_t size, stream_release_fn release,
             void *arg)
{
    if (size == 0) {
        stream_status empty = append_small(s, "", 0);
        if (empty == STREAM_OK) {
            release(arg);
        }
        return empty;
    }
    stream_segment *segment = stream__segment_adopt(bytes, size, release, arg);
    if (segment == NULL) {
        return STREAM_NOMEM;
    }
    stream_batch batch = {&segment->link, &segment->link, size, 0};
    stream_status status = commit_links(s, &batch);
    if (status != STREAM_OK) {
        /* The caller keeps the bytes: its callback must not run. */
        stream__free(segment);
    }
    return status;
}
