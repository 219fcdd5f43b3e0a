/*
 * front.h: the part of a stream that its reader touches for every line, with the few
 * functions on it that are inlined into the rooms above.  It is here for speed only:
 * they use the functions of stream.h and none of these fields.
 */
#ifndef ERLPY_STREAM_FRONT_H
#define ERLPY_STREAM_FRONT_H

#include <string.h>

#include "bias.h"

/* The next unread byte, as an address.  link->offset <= position <= its end. */
struct stream_cursor {
    struct stream_link *link;
    const uint8_t *at;  /* of `position` */
    const uint8_t *end; /* published end of the link when last looked */
};

/* All by the holder of the lock; `position` is read by anyone. */
struct stream_front {
    bias_lock lock;
    struct stream_cursor cursor;
    _Atomic(uint64_t) position;
    uint64_t told;       /* the position that those who wait were last woken for */
    uint64_t line_clear; /* no newline in [position, line_clear) */
    bool seekable;       /* never changed */
    char gap[64];        /* what follows is read by writers too, and seldom written */
    /* Waiters, watchers, parked writes, and one for links that are to be freed: while
     * there are any, unlocking looks for what they need. */
    _Atomic(uint32_t) attention;
};

/* A stream begins with its front. */
static inline struct stream_front *
stream__front(stream *s)
{
    return (struct stream_front *)(void *)s;
}

void stream__unlock_and_look(stream *s);
void stream__drain_further_locked(stream *s, uint64_t size);
stream_status stream__line_further_locked(stream *s, uint64_t limit,
                                          const uint8_t **data, uint64_t *size);

static inline bool
stream_reader_trylock(stream *s)
{
    return bias_trylock(&stream__front(s)->lock);
}

static inline void
stream_reader_lock(stream *s)
{
    bias_lock_take(&stream__front(s)->lock);
}

/* No fence between a store to `position` and the load of `attention`: whoever begins to
 * wait counts itself first and then looks at the position under this lock (see wait.c).
 */
static inline void
stream_reader_unlock(stream *s)
{
    struct stream_front *front = stream__front(s);
    if (PLATFORM_LIKELY(atomic_load_explicit(&front->attention, memory_order_relaxed) ==
                        0)) {
        bias_unlock(&front->lock);
    } else {
        stream__unlock_and_look(s);
    }
}

static inline void
stream_drain_locked(stream *s, uint64_t size)
{
    struct stream_front *front = stream__front(s);
    size_t known = (size_t)(front->cursor.end - front->cursor.at);
    if (!PLATFORM_LIKELY(size < known) && (size > known || !front->seekable)) {
        stream__drain_further_locked(s, size);
        return;
    }
    front->cursor.at += size;
    uint64_t position = atomic_load_explicit(&front->position, memory_order_relaxed);
    atomic_store_explicit(&front->position, position + size, memory_order_release);
}

/* A line within the cursor's link that no search has begun on is found here. */
static inline stream_status
stream_line_locked(stream *s, uint64_t limit, const uint8_t **data, uint64_t *size)
{
    struct stream_front *front = stream__front(s);
    const uint8_t *at = front->cursor.at;
    uint64_t position = atomic_load_explicit(&front->position, memory_order_relaxed);
    if (PLATFORM_LIKELY(front->line_clear <= position)) {
        size_t known = (size_t)(front->cursor.end - at);
        known = known < STREAM_LOCKED_COPY_BYTES ? known : STREAM_LOCKED_COPY_BYTES;
        known = known < limit ? known : (size_t)limit;
        const uint8_t *newline = memchr(at, '\n', known);
        if (PLATFORM_LIKELY(newline != NULL)) {
            *data = at;
            *size = (uint64_t)(newline - at) + 1;
            return STREAM_OK;
        }
        front->line_clear = position + known;
    }
    /* By its own variables, so that the caller's may stay in registers above. */
    const uint8_t *far_data = NULL;
    uint64_t far_size = 0;
    stream_status status = stream__line_further_locked(s, limit, &far_data, &far_size);
    *data = far_data;
    *size = far_size;
    return status;
}

#endif
