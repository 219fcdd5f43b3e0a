/*
 * stream.c: locks, life, writing and the states of a stream.
 *
 * Lock order: merge lock, reader lock, writer lock, wait lock.  Nobody but a merge
 * holds two of the first three, and it holds reader and writer lock together only to
 * exchange pointers.  The wait lock is a leaf.  The merge lock is held while merging
 * copies; only other merges wait for it.
 *
 * Under the writer lock: checks, the linking of what is ready, and the copy of at most
 * APPEND_LOCKED_BYTES.  Never an allocation, a free, a release callback or a wake.
 *
 *            | write         end            close_reader
 *   open     | open          ended          reader closed
 *   ended    | CLOSED        -              reader closed (no difference to writers)
 *   closed   | CLOSED        ended          -
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
    s->max_bytes = options->max_bytes;
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

void
stream_release(stream *s)
{
    if (s == NULL ||
        atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    stream__chain_free(stream__next(&s->anchor), NULL);
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

void
stream__unlock_and_wake(stream *s)
{
    uint64_t position = stream__position(s);
    bool moved = s->front.told != position;
    s->front.told = position;
    bias_unlock(&s->front.lock);
    if (moved) {
        stream__wake(s);
    }
}

/* Sequentially consistent on both sides: a waiter counts itself, then looks at what is
 * published here; so one of the two sees the other. */
static void
unlock_writer_and_wake(stream *s)
{
    platform_unlock(&s->writer_lock);
    if (atomic_load(&s->front.waiters) != 0) {
        stream__wake(s);
    }
}

/* ---- Writing ---- */

static stream_status
check_write_locked(stream *s, uint64_t size)
{
    if (atomic_load_explicit(&s->writer, memory_order_relaxed) != STREAM_WRITER_OPEN ||
        atomic_load_explicit(&s->reader, memory_order_relaxed) != STREAM_READER_OPEN) {
        return STREAM_CLOSED;
    }
    if (size > s->max_bytes - stream__written(s)) {
        return STREAM_TOO_LARGE;
    }
    return STREAM_OK;
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
static bool
fill_tail_locked(stream *s, const void *bytes, size_t size)
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
static void
number_links(stream *s, struct stream_link *link, uint64_t from, uint64_t to)
{
    for (; link != NULL; link = stream__next(link)) {
        link->offset = link->offset - from + to;
        stream__segment_of(link)->home = s;
    }
}

static void
link_batch_locked(stream *s, const stream_batch *batch, uint64_t capacity)
{
    atomic_fetch_add_explicit(&s->retained, capacity, memory_order_relaxed);
    stream__chain_link_locked(s, batch->first, batch->last);
    publish_locked(s, batch->size_bytes);
}

static uint64_t
batch_capacity(const stream_batch *batch)
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
    uint64_t capacity = batch_capacity(batch);
    uint64_t numbered = 0;
    stream_status status = STREAM_AGAIN;
    for (int round = 0; status == STREAM_AGAIN; round++) {
        uint64_t guess = stream__written(s);
        number_links(s, batch->first, numbered, guess);
        numbered = guess;
        platform_lock_take(&s->writer_lock);
        status = check_write_locked(s, batch->size_bytes);
        if (status == STREAM_OK && stream__written(s) != numbered) {
            status = STREAM_AGAIN;
            if (round == 2) {
                number_links(s, batch->first, numbered, stream__written(s));
                status = STREAM_OK;
            }
        }
        if (status == STREAM_OK) {
            link_batch_locked(s, batch, capacity);
            unlock_writer_and_wake(s);
            *batch = STREAM_BATCH_INIT;
            return STREAM_OK;
        }
        platform_unlock(&s->writer_lock);
    }
    number_links(s, batch->first, numbered, 0);
    return status;
}

/* Writes a few bytes into the room of the tail, or into a new slab.  The slab is built
 * while the lock is not held; by then another writer may have brought room. */
static stream_status
append_small(stream *s, const void *bytes, size_t size)
{
    stream_batch batch = STREAM_BATCH_INIT;
    platform_lock_take(&s->writer_lock);
    stream_status status = check_write_locked(s, size);
    bool filled = status == STREAM_OK && fill_tail_locked(s, bytes, size);
    if (status != STREAM_OK || filled) {
        unlock_writer_and_wake(s);
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
    status = check_write_locked(s, size);
    filled = status == STREAM_OK && fill_tail_locked(s, bytes, size);
    if (status == STREAM_OK && !filled) {
        slab->link.offset = stream__written(s);
        link_batch_locked(s, &batch, slab_size);
        slab = NULL;
    }
    unlock_writer_and_wake(s);
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

static bool
batch_is_small_copy(const stream_batch *batch)
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
    if (batch_is_small_copy(batch)) {
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

/* ---- States ---- */

void
stream_end(stream *s)
{
    platform_lock_take(&s->writer_lock);
    atomic_store(&s->writer, STREAM_WRITER_ENDED);
    unlock_writer_and_wake(s);
}

/* Under the writer lock, so that no write lands after it. */
void
stream_close_reader(stream *s)
{
    platform_lock_take(&s->writer_lock);
    atomic_store(&s->reader, STREAM_READER_CLOSED);
    unlock_writer_and_wake(s);
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
    info->waiters = atomic_load(&s->front.waiters);
}
