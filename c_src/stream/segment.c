/*
 * segment.c: reference-counted runs of bytes, and batches of them off the chain.
 *
 * An owned segment is a header with its bytes behind it; an adopted one points at
 * foreign bytes, which are given back by its release callback.
 */
#include "internal.h"
#include "alloc.h"

stream_segment *
stream__segment_new(stream *home, size_t capacity_bytes)
{
    if (capacity_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    stream_segment *segment = stream__alloc(sizeof *segment + capacity_bytes);
    if (segment == NULL) {
        return NULL;
    }
    memset(segment, 0, sizeof *segment);
    segment->bytes = (const uint8_t *)(segment + 1);
    segment->capacity_bytes = capacity_bytes;
    segment->limit = segment->bytes + capacity_bytes;
    segment->link.data = segment->bytes;
    segment->home = home;
    atomic_init(&segment->refs, 1);
    platform_advise_huge(segment, sizeof *segment + capacity_bytes);
    return segment;
}

stream_segment *
stream__segment_adopt(const void *bytes, size_t size, stream_release_fn release,
                      void *arg)
{
    stream_segment *segment = stream__alloc(sizeof *segment);
    if (segment == NULL) {
        return NULL;
    }
    memset(segment, 0, sizeof *segment);
    segment->bytes = bytes;
    segment->capacity_bytes = size;
    segment->limit = segment->bytes + size;
    segment->link.data = bytes;
    segment->release = release;
    segment->arg = arg;
    atomic_init(&segment->refs, 1);
    return segment;
}

void
stream__segment_pin(stream_segment *segment)
{
    atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
}

void
stream__segment_unpin(stream_segment *segment)
{
    if (atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (segment->release != NULL) {
        segment->release(segment->arg);
    }
    stream__free(segment);
}

uint8_t *
stream__segment_room(stream_segment *segment, const uint8_t *used)
{
    return (uint8_t *)(segment + 1) + (used - segment->bytes);
}

/* ---- Batches ---- */

/* In a batch a link's offset counts from the start of the batch. */
static void
batch_link(stream_batch *batch, stream_segment *segment, size_t size)
{
    struct stream_link *link = &segment->link;
    link->offset = batch->size_bytes;
    link->prev = batch->last;
    if (batch->last == NULL) {
        batch->first = link;
    } else {
        atomic_store_explicit(&batch->last->next, link, memory_order_relaxed);
    }
    batch->last = link;
    batch->size_bytes += size;
}

static size_t
batch_room(const stream_batch *batch)
{
    if (batch->last == NULL) {
        return 0;
    }
    const stream_segment *last = stream__segment_of(batch->last);
    if (!stream__segment_is_owned(last)) {
        return 0;
    }
    return last->capacity_bytes - (size_t)(batch->size_bytes - batch->last->offset);
}

static void
batch_fill(stream_batch *batch, const uint8_t *bytes, size_t size)
{
    stream_segment *last = stream__segment_of(batch->last);
    const uint8_t *used = last->bytes + (batch->size_bytes - batch->last->offset);
    memcpy(stream__segment_room(last, used), bytes, size);
    batch->size_bytes += size;
    batch->copied_bytes += size;
}

/* The first slab is sized to its content; later ones grow with what was copied. */
static size_t
batch_slab_size(const stream_batch *batch, size_t size)
{
    size_t grown = batch->copied_bytes;
    if (grown > SLAB_MOST_BYTES) {
        grown = SLAB_MOST_BYTES;
    }
    if (grown < SLAB_LEAST_BYTES) {
        grown = SLAB_LEAST_BYTES;
    }
    return size > grown ? size : grown;
}

stream_status
stream_batch_append(stream_batch *batch, const void *bytes, size_t size)
{
    if (size == 0) {
        return STREAM_OK;
    }
    if (size > STREAM_OFFSET_MAX - batch->size_bytes) {
        return STREAM_TOO_LARGE;
    }
    const uint8_t *from = bytes;
    size_t room = batch_room(batch);
    if (room >= size) {
        batch_fill(batch, from, size);
        return STREAM_OK;
    }
    stream_segment *slab =
        stream__segment_new(NULL, batch_slab_size(batch, size - room));
    if (slab == NULL) {
        return STREAM_NOMEM;
    }
    if (room > 0) {
        batch_fill(batch, from, room);
    }
    batch_link(batch, slab, 0);
    batch_fill(batch, from + room, size - room);
    return STREAM_OK;
}

stream_status
stream_batch_adopt(stream_batch *batch, const void *bytes, size_t size,
                   stream_release_fn release, void *arg)
{
    if (size == 0) {
        release(arg);
        return STREAM_OK;
    }
    if (size > STREAM_OFFSET_MAX - batch->size_bytes) {
        return STREAM_TOO_LARGE;
    }
    stream_segment *segment = stream__segment_adopt(bytes, size, release, arg);
    if (segment == NULL) {
        return STREAM_NOMEM;
    }
    batch_link(batch, segment, size);
    return STREAM_OK;
}

void
stream_batch_holds(stream_batch *batch, size_t held_bytes)
{
    stream_segment *last = stream__segment_of(batch->last);
    if (held_bytes > last->capacity_bytes) {
        last->capacity_bytes = held_bytes;
    }
}

void
stream_batch_clear(stream_batch *batch)
{
    stream__chain_discard(batch->first);
    *batch = STREAM_BATCH_INIT;
}
