/*
 * internal.h: what the files of this room share.
 *
 * A link is one place in the chain, a segment one block of bytes.  A segment enters
 * at most one chain, once, so its link lives inside it and both are one allocation.
 *
 *   link.offset          next link's offset, or `written`
 *     |                    |
 *     [ published bytes    | room, filled by the writer when this is the tail ]
 *     ^                                                                       ^
 *   link.data                                                         segment->limit
 *
 * `written` is the only variable that publishes: what lies below it, links included,
 * may be read; what lies above does not exist yet for a reader.
 */
#ifndef ERLPY_STREAM_INTERNAL_H
#define ERLPY_STREAM_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "platform.h"
#include "stream.h"

#if defined(STREAM_TINY)
/* Every test crosses segments and takes the long ways. */
#    define SLAB_FIRST_BYTES    ((size_t)16)
#    define SLAB_LEAST_BYTES    ((size_t)4)
#    define SLAB_MOST_BYTES     ((size_t)32)
#    define APPEND_LOCKED_BYTES ((size_t)8)
#    define VIEW_COPY_BYTES     ((size_t)3)
#    define RUN_SPANS           2
#    define FIND_STACK_BYTES    ((size_t)16)
#    define FIND_LEAST_BYTES    ((size_t)2)
#else
/* Block sizes with their header: what malloc rounds well.  The first slab of a
 * stream is a page; behind an adopted segment a slab is sized to what is written, so
 * that headers between large bodies cost about their size. */
#    define SLAB_FIRST_BYTES    ((size_t)4096 - sizeof(stream_segment) - 16)
#    define SLAB_LEAST_BYTES    ((size_t)512 - sizeof(stream_segment) - 16)
#    define SLAB_MOST_BYTES     ((size_t)65536 - sizeof(stream_segment) - 16)
/* Copying this much costs about as much as taking the lock twice. */
#    define APPEND_LOCKED_BYTES ((size_t)4096)
/* Below this a view is a copy, so that ten bytes never keep ten megabytes. */
#    define VIEW_COPY_BYTES     ((size_t)512)
/* Segments pinned for one step of reading without the lock. */
#    define RUN_SPANS           8
/* Window for matches over seams that needs no allocation. */
#    define FIND_STACK_BYTES    ((size_t)1024)
/* Room for a needle that is remembered: few are longer, so it is taken once. */
#    define FIND_LEAST_BYTES    ((size_t)64)
#endif

struct stream_link {
    _Atomic(struct stream_link *) next;
    struct stream_link *prev;
    const uint8_t *data; /* first byte of the link, within the segment */
    uint64_t offset;     /* of that byte */
};

struct stream_segment {
    struct stream_link link; /* first: see stream__segment_of() */
    stream *home;            /* whose views are counted; set before publishing */
    const uint8_t *bytes;
    size_t capacity_bytes;
    const uint8_t *limit; /* end of the room; writer lock, reader lock to lower it */
    stream_release_fn release; /* NULL: owned, its bytes follow the header */
    void *arg;
    _Atomic(uint32_t) refs;
};

/* No match of `needle` starts in [from, next). */
struct stream_find_memory {
    uint64_t from;
    uint64_t next;
    size_t capacity_bytes;
    size_t needle_bytes; /* 0: nothing is known */
    uint8_t needle[];
};

/* A reader that waits. */
struct stream_waiter {
    struct stream_waiter *next, *prev;
    uint64_t position;
    uint64_t need_offset;
    bool queued; /* wait lock */
    /* Run once, with no lock held, after the waiter has left the list; the waiter may
     * be gone as soon as it has begun. */
    void (*notify)(struct stream_waiter *waiter);
};

#define CACHE_LINE_BYTES 64

struct stream {
    struct stream_front front; /* first: see stream__front() */

    /* Seldom written, read by both sides. */
    uint64_t known_length;
    uint64_t max_bytes;
    uint64_t high_bytes, low_bytes;
    bool close_on_last_reader;
    _Atomic(void *) attachment;
    stream_release_fn release_attachment; /* wait lock; set with the attachment */
    _Atomic(uint32_t) readers;            /* at this end, or expected */
    atomic_bool had_reader;
    _Atomic(uint32_t) writers;
    _Atomic(stream_reason *) reason; /* set before `writer` becomes ABORTED */
    atomic_bool truncated;           /* as that */
    _Atomic(uint32_t) writer; /* stream_writer_state; set under the writer lock */
    _Atomic(uint32_t) reader; /* stream_reader_state; set under the writer lock */
    _Atomic(uint32_t) refs;
    _Atomic(uint32_t) shells; /* views, and one for the stream: this memory's users */
    platform_lock merge_lock; /* one merge at a time */
    platform_lock wait_lock;
    struct stream_waiter *waiting; /* wait lock, as the next */
    struct stream_watcher *watching;
    _Atomic(uint32_t) waiter_count;  /* length of `waiting` */
    _Atomic(uint32_t) watcher_count; /* length of `watching` */

    /* Reader lock. */
    uint32_t generation; /* counts removals of links */
    uint32_t line_generation;
    struct stream_link *line_hint; /* the link searched last, if of line_generation */
    struct stream_find_memory *find;
    struct stream_link *trash; /* has left the chain; freed after the lock */
    char gap[CACHE_LINE_BYTES];

    /* Writer lock.  The atomics are read by anyone. */
    platform_lock writer_lock;
    _Atomic(int) writer_processor; /* of the last write */
    _Atomic(uint64_t) written;
    _Atomic(struct stream_link *) tail;
    _Atomic(uint64_t) retained; /* sum of the capacities in the chain */
    struct stream_link anchor;  /* the empty first link: no chain is empty */
    uint64_t
        open_below; /* a write that ends below needs no further look; 0: each does */
    struct stream_parked *parked, *last_parked; /* in the order of their turn */
    bool admitting;                             /* one is between queue and chain */
    _Atomic(uint32_t) parked_count;
};

static inline stream_segment *
stream__segment_of(struct stream_link *link)
{
    return (stream_segment *)(void *)link;
}

static inline struct stream_link *
stream__next(struct stream_link *link)
{
    return atomic_load_explicit(&link->next, memory_order_acquire);
}

static inline uint64_t
stream__written(stream *s)
{
    return atomic_load_explicit(&s->written, memory_order_acquire);
}

/* By the holder of the reader lock. */
static inline uint64_t
stream__position(stream *s)
{
    return atomic_load_explicit(&s->front.position, memory_order_relaxed);
}

static inline void
stream__position_set_locked(stream *s, uint64_t position)
{
    atomic_store_explicit(&s->front.position, position, memory_order_release);
}

/* Complete: nothing that may still happen changes that all bytes are there. */
static inline bool
stream__is_complete(stream *s)
{
    return atomic_load(&s->writer) == STREAM_WRITER_ENDED ||
           atomic_load(&s->written) >= s->known_length;
}

/* A reader waits that has not got what it waits for. */
bool stream__reader_lacks_bytes(stream *s);

/* Under `mark` unread bytes.  While a reader lacks bytes, however many there are, marks
 * mean nothing, or both sides would wait for ever. */
static inline bool
stream__has_room(stream *s, uint64_t mark)
{
    uint64_t position = atomic_load_explicit(&s->front.position, memory_order_acquire);
    return stream__written(s) - position < mark || stream__reader_lacks_bytes(s);
}

static inline uint64_t
stream__least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- segment.c ---- */

/* A segment with room of its own, or NULL.  Refs is 1.  Returns owned. */
stream_segment *stream__segment_new(stream *home, size_t capacity_bytes);
stream_segment *stream__segment_adopt(const void *bytes, size_t size,
                                      stream_release_fn release, void *arg);
void stream__segment_pin(stream_segment *segment);
/* May run a release callback: no lock may be held. */
void stream__segment_unpin(stream_segment *segment);
static inline bool
stream__segment_is_owned(const stream_segment *segment)
{
    return segment->release == NULL;
}
/* The room of an owned segment from `used` on.  Only the tail's writer, a merger and
 * whoever built it may write there. */
uint8_t *stream__segment_room(stream_segment *segment, const uint8_t *used);

/* ---- chain.c: no locks of its own ---- */

void stream__chain_init(stream *s);
/* Drops the links from `link` up to, not including, `stop`; gives back the sum of the
 * capacities.  No lock may be held. */
uint64_t stream__chain_free(struct stream_link *link, struct stream_link *stop);
/* Drops all links from `link` on, which is NULL or in no chain any more; very many on
 * another thread where the host can start one. */
void stream__chain_discard(struct stream_link *link);
/* Writer lock.  Puts first..last, whose offsets are right, behind the tail. */
void stream__chain_link_locked(stream *s, struct stream_link *first,
                               struct stream_link *last);
/* Reader lock.  End of what the link shows of the first `written` bytes.  A link behind
 * may be there already that `written` does not count yet. */
static inline uint64_t
stream__link_end(struct stream_link *link, uint64_t written)
{
    struct stream_link *next = stream__next(link);
    return next == NULL ? written : stream__least(next->offset, written);
}
/* Reader lock.  The link that holds the byte at `offset` < written.  `hint` (NULL:
 * none) is a link of the chain from which to look too. */
struct stream_link *stream__chain_locate_locked(stream *s, uint64_t offset,
                                                struct stream_link *hint);
/* Reader lock.  From the end of its link, which is current, the cursor steps on; links
 * that have been read may be freed. */
void stream__cursor_step_locked(stream *s, uint64_t written);
/* Reader lock.  Makes cursor.end current, stepping to the next link when the cursor is
 * at the end of its own. */
static inline void
stream__cursor_refresh_locked(stream *s)
{
    struct stream_cursor *cursor = &s->front.cursor;
    uint64_t written = stream__written(s);
    uint64_t end = stream__link_end(cursor->link, written);
    cursor->end = cursor->link->data + (end - cursor->link->offset);
    if (!PLATFORM_LIKELY(cursor->at < cursor->end)) {
        stream__cursor_step_locked(s, written);
    }
}
/* Reader lock.  Puts the cursor on `offset` <= written, leaving `position` alone. */
void stream__cursor_set_locked(stream *s, uint64_t offset);
/* ---- read.c ---- */

struct stream_span {
    const uint8_t *data;
    size_t size_bytes;
    stream_segment *segment; /* pinned */
};

/* Walks the bytes [offset, to) in pinned spans with no lock held between the steps. */
struct stream_run {
    uint64_t offset, to;
    struct stream_link *hint; /* link of the last span; means nothing any more when
                                 the stream's generation is another */
    uint32_t generation;
    size_t count;
    struct stream_span spans[RUN_SPANS];
};

void stream__run_begin(struct stream_run *run, uint64_t offset, uint64_t to);
/* Gives up the last spans and pins the next ones: run->count of them, 0 at the end.
 * STREAM_OK, STREAM_RANGE, STREAM_CHANGED (they have been freed). */
stream_status stream__run_next(stream *s, struct stream_run *run);
void stream__run_end(struct stream_run *run);
/* Copies what is left of the run, and ends it. */
stream_status stream__run_copy(stream *s, struct stream_run *run, uint8_t *to);

/* ---- scan.c ---- */

/* The first match, or NULL.  Takes time linear in the sum of both sizes. */
const uint8_t *stream__scan(const uint8_t *hay, size_t hay_size, const uint8_t *needle,
                            size_t needle_size);

/* Reader lock.  Unless the stream is seekable, takes the links behind the cursor out of
 * the chain; unlocking frees them. */
void stream__trim_locked(stream *s);

/* ---- write.c ---- */

/* Writer lock.  May so many bytes be written at all?  And now, too? */
stream_status stream__check_open_locked(stream *s, uint64_t size);
stream_status stream__check_write_locked(stream *s, uint64_t size);
/* Writer lock.  Fills the room of the tail; false when there is not enough. */
bool stream__fill_tail_locked(stream *s, const void *bytes, size_t size);
/* Writer lock.  Puts the batch, whose links are numbered, behind the tail. */
void stream__link_batch_locked(stream *s, const stream_batch *batch, uint64_t capacity);
/* Moves the offsets of the links of a batch, which count from `from`, to `to`. */
void stream__number_links(stream *s, struct stream_link *link, uint64_t from,
                          uint64_t to);
uint64_t stream__batch_capacity(const stream_batch *batch);
/* A few copied bytes, which belong into the room of the tail. */
bool stream__batch_is_small_copy(const stream_batch *batch);

/* ---- park.c: no lock may be held ---- */

/* Lets parked writes in as far as there is room, or refuses them. */
void stream__admit(stream *s);

/* ---- wait.c: no lock may be held ---- */

/* Wakes the waiters that have something to look at. */
void stream__wake(stream *s);
/* There is something to look at for one who waits for this. */
bool stream__has_news(stream *s, uint64_t position, uint64_t need_offset);
/* Wait lock.  Puts the waiter into the list. */
void stream__enqueue_waiter_locked(stream *s, struct stream_waiter *waiter);
/* Takes it out.  False when a waker has it already. */
bool stream__dequeue_waiter(stream *s, struct stream_waiter *waiter);
/* What a waiter does once it is in the list: a reader that waits for more than there is
 * lets the writers go on, and what came before it was counted is seen (true). */
bool stream__look_from_list(stream *s, const struct stream_waiter *waiter);

/* ---- ends.c: no lock may be held ---- */

/* Notifies the watchers if their moment has come; all of them when `ending`. */
void stream__tell_watchers(stream *s, bool ending);

/* ---- stream.c ---- */

/* After a change by the writer side: wakes, admits and notifies whom it concerns. */
void stream__unlock_writer_and_look(stream *s);
/* Drops one user of the memory of the stream itself. */
void stream__shell_release(stream *s);

/* ---- validate.c ---- */

/* Checks every invariant; takes the locks itself.  For tests. */
bool stream__validate(stream *s);

#endif
