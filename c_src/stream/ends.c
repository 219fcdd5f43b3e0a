/*
 * ends.c: who is at the two ends of a stream, and who wants to know when the reading
 * is over.
 */
#include "internal.h"

/* ---- Readers and writers ---- */

void
stream_expect_reader(stream *s)
{
    atomic_fetch_add(&s->readers, 1);
}

void
stream_add_reader(stream *s)
{
    atomic_store(&s->had_reader, true);
    atomic_fetch_add(&s->readers, 1);
}

void
stream_drop_reader(stream *s)
{
    if (atomic_fetch_sub(&s->readers, 1) == 1 && s->close_on_last_reader &&
        atomic_load(&s->had_reader)) {
        stream_close_reader(s);
    }
}

void
stream_add_writer(stream *s)
{
    atomic_fetch_add(&s->writers, 1);
}

bool
stream_drop_writer(stream *s)
{
    return atomic_fetch_sub(&s->writers, 1) == 1 &&
           atomic_load(&s->writer) == STREAM_WRITER_OPEN && !stream__is_complete(s);
}

/* ---- Watchers ---- */

/* STREAM_AGAIN: there may be more to read, and somebody who does. */
static stream_status
reading_status(stream *s, bool ending)
{
    if (stream__is_complete(s) && stream_available(s) == 0) {
        return STREAM_OK;
    }
    return ending || stream_is_aborted(s) || stream_reader_closed(s) ? STREAM_CLOSED
                                                                     : STREAM_AGAIN;
}

/* A reader has moved the position and looks at the state, or a writer has changed the
 * state and looks at the position: with the fence one of the two sees the other. */
void
stream__tell_watchers(stream *s, bool ending)
{
    atomic_fetch_add(&s->front.attention, 0); /* the fence, as sanitisers know it */
    stream_status status = reading_status(s, ending);
    if (status == STREAM_AGAIN) {
        return;
    }
    platform_lock_take(&s->wait_lock);
    stream_watcher *watcher = s->watching;
    s->watching = NULL;
    uint32_t count = atomic_exchange(&s->watcher_count, 0);
    atomic_fetch_sub(&s->front.attention, count);
    platform_unlock(&s->wait_lock);
    while (watcher != NULL) {
        stream_watcher *next = watcher->next;
        watcher->notify(watcher, status);
        watcher = next;
    }
}

/* Counted first, then the look: as a waiter (see wait.c). */
void
stream_watch(stream *s, stream_watcher *watcher)
{
    platform_lock_take(&s->wait_lock);
    watcher->next = s->watching;
    s->watching = watcher;
    atomic_fetch_add(&s->watcher_count, 1);
    atomic_fetch_add(&s->front.attention, 1);
    platform_unlock(&s->wait_lock);
    stream_reader_lock(s);
    stream_reader_unlock(s);
    stream__tell_watchers(s, false);
}

/* ---- The host's own ---- */

bool
stream_attach(stream *s, void *attachment, stream_release_fn release)
{
    platform_lock_take(&s->wait_lock);
    bool first = s->release_attachment == NULL;
    if (first) {
        s->release_attachment = release;
        atomic_store(&s->attachment, attachment);
    }
    platform_unlock(&s->wait_lock);
    return first;
}

void *
stream_attachment(stream *s)
{
    return atomic_load(&s->attachment);
}
