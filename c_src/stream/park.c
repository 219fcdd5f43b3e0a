/*
 * park.c: writes that wait for room, and letting them in.
 *
 *   write --BUSY--> queue (writer lock) --turn comes--> chain --> notify(OK)
 *                     |                   `--refused--> notify(CLOSED, ...)
 *                     `--stream_unpark()--> the caller has it back
 *
 * Whoever takes a parked write out of the queue decides it: that is the claim, made
 * under the writer lock.  While the queue is not empty, or one write is between queue
 * and chain (`admitting`), other writes are BUSY: none can overtake, and `written`
 * stands still, so that the links are numbered without the lock.
 *
 * Writers are let in by the thread that made room: a reader that has come down to the
 * low mark, or that begins to wait for more than there is.  A write that parks counts
 * itself first and then takes the reader lock once: a reader that moved before it is
 * seen by the look that follows, one that moves later sees the count.
 */
#include "internal.h"

static void
enqueue_locked(stream *s, stream_parked *parked)
{
    parked->next = NULL;
    parked->prev = s->last_parked;
    parked->queued = true;
    if (s->last_parked != NULL) {
        s->last_parked->next = parked;
    } else {
        s->parked = parked;
    }
    s->last_parked = parked;
    atomic_fetch_add(&s->parked_count, 1);
    atomic_fetch_add(&s->front.attention, 1);
}

static void
dequeue_locked(stream *s, stream_parked *parked)
{
    if (parked->prev != NULL) {
        parked->prev->next = parked->next;
    } else {
        s->parked = parked->next;
    }
    if (parked->next != NULL) {
        parked->next->prev = parked->prev;
    } else {
        s->last_parked = parked->prev;
    }
    parked->queued = false;
    atomic_fetch_sub(&s->parked_count, 1);
    atomic_fetch_sub(&s->front.attention, 1);
}

/* ---- Letting in ---- */

/* The next one whose turn it is, out of the queue, or NULL.  One that is not refused
 * has the end of the chain to itself until link_in() is done. */
static stream_parked *
take_turn(stream *s, uint64_t mark, stream_status *status)
{
    platform_lock_take(&s->writer_lock);
    stream_parked *parked = s->admitting ? NULL : s->parked;
    if (parked != NULL) {
        *status = stream__check_open_locked(s, parked->batch.size_bytes);
        if (*status != STREAM_OK || stream__has_room(s, mark)) {
            dequeue_locked(s, parked);
            s->admitting = *status == STREAM_OK;
        } else {
            parked = NULL;
        }
    }
    platform_unlock(&s->writer_lock);
    return parked;
}

/* The stream may have been closed since its turn came. */
static stream_status
link_in(stream *s, stream_parked *parked)
{
    stream_batch *batch = &parked->batch, filled = STREAM_BATCH_INIT;
    uint64_t to = stream__written(s);
    uint64_t capacity = stream__batch_capacity(batch);
    stream__number_links(s, batch->first, 0, to);
    platform_lock_take(&s->writer_lock);
    stream_status status = stream__check_open_locked(s, batch->size_bytes);
    if (status == STREAM_OK) {
        if (stream__batch_is_small_copy(batch) &&
            stream__fill_tail_locked(s, batch->first->data,
                                     (size_t)batch->size_bytes)) {
            filled = *batch;
        } else {
            stream__link_batch_locked(s, batch, capacity);
        }
        *batch = STREAM_BATCH_INIT;
    }
    s->admitting = false;
    platform_unlock(&s->writer_lock);
    stream_batch_clear(&filled);
    if (status != STREAM_OK) {
        stream__number_links(s, batch->first, to, 0);
    } else if (atomic_load(&s->waiter_count) != 0) {
        stream__wake(s);
    }
    return status;
}

void
stream__admit(stream *s)
{
    stream_parked *parked;
    stream_status status = STREAM_OK;
    /* Only from the low mark on; then up to the high one. */
    uint64_t mark = stream__least(s->low_bytes + 1, s->high_bytes);
    while (atomic_load(&s->parked_count) != 0 &&
           (parked = take_turn(s, mark, &status)) != NULL) {
        if (status == STREAM_OK) {
            status = link_in(s, parked);
        }
        parked->notify(parked, status);
        mark = s->high_bytes;
    }
}

/* ---- The writer's side ---- */

/* BUSY: it is in the queue. */
static stream_status
enqueue_if_busy(stream *s, stream_batch *batch, stream_parked *parked)
{
    platform_lock_take(&s->writer_lock);
    stream_status status = stream__check_write_locked(s, batch->size_bytes);
    if (status == STREAM_BUSY) {
        parked->batch = *batch;
        *batch = STREAM_BATCH_INIT;
        enqueue_locked(s, parked);
    }
    platform_unlock(&s->writer_lock);
    return status;
}

stream_status
stream_park(stream *s, stream_batch *batch, stream_parked *parked)
{
    stream_status status;
    while ((status = stream_commit(s, batch)) == STREAM_BUSY) {
        if (enqueue_if_busy(s, batch, parked) == STREAM_BUSY) {
            stream_reader_lock(s);
            stream_reader_unlock(s);
            stream__admit(s);
            return STREAM_AGAIN;
        }
    }
    return status;
}

bool
stream_unpark(stream *s, stream_parked *parked)
{
    platform_lock_take(&s->writer_lock);
    bool queued = parked->queued;
    if (queued) {
        dequeue_locked(s, parked);
    }
    platform_unlock(&s->writer_lock);
    if (queued) {
        stream__admit(s); /* the next one may be one to refuse */
    }
    return queued;
}
