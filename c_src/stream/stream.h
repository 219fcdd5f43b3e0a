/*
 * stream.h: a byte stream between one room of writers and one room of readers.
 *
 * LAYOUT.  A stream is a chain of links.  A link shows a run of a segment, and
 * a segment is a reference-counted block of bytes:
 *
 *   oldest                     read position             newest
 *     |                              |                      |
 *   [link]->[link]->[link]->[link]->[link]->[link]->[link (tail)]
 *      |       |                       |                |
 *   (adopted) (slab)                (adopted)         (slab: bytes | spare room)
 *
 * Published bytes never change and never move.  Room behind them is filled only
 * in segments that the stream owns; a view records its own end, so filling goes
 * on under live views.  No empty link enters the chain but the first one.
 *
 * SHARING.  The stream, and every segment, has a reference count.  A view pins a
 * segment, never the stream.  The release callback of an adopted segment runs
 * once, on whichever thread drops the last reference, with no lock held.
 *
 * SYNCHRONISATION.  Four locks, taken in this order: merge lock (one merge at a
 * time, held while it copies; nobody else waits for it), reader lock (position, scan
 * memory), writer lock (tail, writer state, parked writes), wait lock (lists of waiters
 * and watchers, a leaf); the last three for a bounded time each.  A write takes the
 * writer lock and the wait lock only: what readers do under the reader lock never holds
 * it up.  A write that parks also takes the reader lock once.
 * Functions named `_locked` need the reader lock; all others take what they need
 * and must be called with no lock of the stream held.
 *
 * WORDS.  borrows: valid only during the call.  shares: adds a reference.
 * takes: owner on success only.  returns owned: release it with the named call.
 *
 * All offsets are absolute (0 is the first byte ever written), 64 bits wide.
 */
#ifndef ERLPY_STREAM_H
#define ERLPY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "waker.h"

typedef enum {
    STREAM_OK = 0,
    STREAM_CLOSED = -1,      /* ended by the writer, or closed by the reader */
    STREAM_NOMEM = -2,       /* no memory; nothing was changed */
    STREAM_AGAIN = -3,       /* not enough is there yet; more may come */
    STREAM_SHORT = -4,       /* not enough is there, and no more will come */
    STREAM_CHANGED = -5,     /* the position moved meanwhile; nothing consumed */
    STREAM_RANGE = -6,       /* offset outside of what has been written */
    STREAM_NOT_ENDED = -7,   /* SEEK_END before end of data */
    STREAM_TIMEDOUT = -8,    /* the deadline has passed */
    STREAM_INTERRUPTED = -9, /* a signal arrived while waiting */
    STREAM_TOO_LARGE = -10,  /* an offset would pass max_bytes */
    STREAM_BUSY = -11,       /* over the high watermark, or others wait before */
    STREAM_ABORTED = -12,    /* the writer side failed: see stream_abort_reason() */
    STREAM_CANCELLED = -13   /* the token of the wait was raised */
} stream_status;

typedef enum {
    STREAM_WRITER_OPEN,
    STREAM_WRITER_ENDED,
    STREAM_WRITER_ABORTED
} stream_writer_state;
typedef enum { STREAM_READER_OPEN, STREAM_READER_CLOSED } stream_reader_state;

#define STREAM_LENGTH_UNKNOWN UINT64_MAX
#define STREAM_OFFSET_MAX     ((uint64_t)INT64_MAX)
#define STREAM_FOREVER        INT64_MAX

typedef struct stream stream;
typedef struct stream_segment stream_segment;
typedef void (*stream_release_fn)(void *arg);

/* ---- Life -------------------------------------------------------------- */

/* Once a process, before or beside any other call, from a thread that may wait some ten
 * milliseconds (in a process with one thread it takes none).  Without it everything
 * works, but a thread that reads alone pays for its lock. */
void stream_prepare(void);
/* A new stream, or NULL when out of memory.  `known_length` is what the writer
 * promises to write, or STREAM_LENGTH_UNKNOWN: a hint and the point at which the
 * stream is whole, not a cap.  An idle stream costs under 600 bytes.
 * Returns owned: stream_release(). */
stream *stream_new(uint64_t known_length);

typedef struct stream_options {
    uint64_t known_length;
    uint64_t max_bytes;  /* ever written; a write past it answers STREAM_TOO_LARGE */
    uint64_t high_bytes; /* > 0; a write waits while so many or more are unread, */
    uint64_t low_bytes;  /* until so few or fewer, and fewer than high, are */
    bool seekable;       /* false: what has been read is freed */
    bool close_on_last_reader; /* see stream_drop_reader() */
} stream_options;
/* Length unknown, no limits, seekable. */
#define STREAM_OPTIONS_DEFAULT                                                         \
    ((stream_options){STREAM_LENGTH_UNKNOWN, STREAM_OFFSET_MAX, STREAM_OFFSET_MAX,     \
                      STREAM_OFFSET_MAX, true, false})
stream *stream_new_with(const stream_options *options);
/* Adds a reference and returns the same stream. */
stream *stream_share(stream *s);
/* For a thread without a reference that knows that the memory is still there (its
 * attachment has not been released): as stream_share(), or NULL when the last reference
 * has gone. */
stream *stream_try_share(stream *s);
/* Drops a reference (NULL is fine); the last one frees the chain.  Views stay
 * valid.  No thread may wait on a stream of which it holds no reference. */
void stream_release(stream *s);

/* ---- Writing ----------------------------------------------------------- */

/* Segments under construction, off the chain.  Zero-initialise with
 * STREAM_BATCH_INIT; owned by one thread.  Either stream_commit() takes all of
 * it or stream_batch_clear() frees it. */
typedef struct stream_batch {
    struct stream_link *first, *last;
    uint64_t size_bytes;
    size_t copied_bytes;
} stream_batch;
#define STREAM_BATCH_INIT ((stream_batch){0})

/* Copies `size` bytes to the end of the batch.  Borrows `bytes`.
 * STREAM_OK; STREAM_NOMEM, STREAM_TOO_LARGE (the batch is as before). */
stream_status stream_batch_append(stream_batch *batch, const void *bytes, size_t size);
/* Puts `bytes` at the end of the batch without a copy.  Takes `arg`: `release(arg)`
 * runs once when the last user of the bytes is gone.  On failure it does not run.
 * A `size` of 0 runs `release` at once.  STREAM_OK, STREAM_NOMEM, STREAM_TOO_LARGE. */
stream_status stream_batch_adopt(stream_batch *batch, const void *bytes, size_t size,
                                 stream_release_fn release, void *arg);
/* What was adopted last keeps so many bytes of memory alive, when that is more than its
 * size: it counts so in retained_bytes.  The batch is not empty. */
void stream_batch_holds(stream_batch *batch, size_t held_bytes);
/* Frees what is in the batch (release callbacks run). */
void stream_batch_clear(stream_batch *batch);

/* Links the whole batch in one step and wakes the readers it concerns.  On
 * STREAM_OK the batch is empty again; on failure it is as before.  Never waits.
 * STREAM_OK, STREAM_CLOSED, STREAM_ABORTED, STREAM_TOO_LARGE, STREAM_BUSY. */
stream_status stream_commit(stream *s, stream_batch *batch);
/* One copied write (no more than a few KiB: it fills the tail's spare room under
 * the writer lock), and one adopted write; both as a batch of one.
 * As stream_commit(), and STREAM_NOMEM. */
stream_status stream_append(stream *s, const void *bytes, size_t size);
stream_status stream_adopt(stream *s, const void *bytes, size_t size,
                           stream_release_fn release, void *arg);

/* A write that waits for room.  The caller keeps it in place, and a reference to the
 * stream, from stream_park() until `notify` has begun or stream_unpark() has answered
 * true. */
typedef struct stream_parked {
    struct stream_parked *next, *prev;
    bool queued; /* writer lock */
    stream_batch batch;
    /* Runs once, with no lock held, on whichever thread decided the write: it was
     * written (STREAM_OK, the batch is empty) or refused (STREAM_CLOSED,
     * STREAM_ABORTED, STREAM_TOO_LARGE; the batch is the owner's again). */
    void (*notify)(struct stream_parked *parked, stream_status status);
} stream_parked;

/* As stream_commit(), but where that answers STREAM_BUSY the batch moves into `parked`
 * (of which only `notify` is set before) and waits its turn behind those that wait
 * already: STREAM_AGAIN, and `notify` runs later, or has run already.  Writers are let
 * in, in order, once the unread bytes have come down to the low mark, until they reach
 * the high mark; also while a reader in stream_wait() has not got what it needs. */
stream_status stream_park(stream *s, stream_batch *batch, stream_parked *parked);
/* Gives up: true when it was still waiting: nothing of it is written, `notify` will not
 * run, and the batch is the caller's.  False: `notify` has run or is about to. */
bool stream_unpark(stream *s, stream_parked *parked);

/* End of data.  The first of end and abort wins, later ones change nothing.  Writes
 * that wait are refused. */
void stream_end(stream *s);

/* Why a stream was aborted: to be the first member of whatever the host keeps.
 * `release` runs once, on any thread. */
typedef struct stream_reason {
    void (*release)(struct stream_reason *reason);
} stream_reason;
/* The stream failed: nobody is to take what has arrived for the whole.  Takes `reason`
 * (not NULL) in any case, and releases it at once when the stream has ended, was
 * aborted before, or has all of its known length; then it answers false. */
bool stream_abort(stream *s, stream_reason *reason);
/* Borrowed, as long as the stream is held; NULL when it was not aborted. */
stream_reason *stream_abort_reason(stream *s);

/* The reader wants no more: writes, also waiting ones, answer STREAM_CLOSED from now
 * on, waiting readers wake.  What is there can still be read.  Idempotent. */
void stream_close_reader(stream *s);

/* ---- Who is at the ends ---------------------------------------------------- */

/* Counts those who may read (PyBuffers), and those who will bring one about (pending
 * calls that carry the buffer).  When the last of both is dropped, one reader at least
 * has been there, and the option close_on_last_reader is set, the reader side closes.
 */
void stream_expect_reader(stream *s);
void stream_add_reader(stream *s);
void stream_drop_reader(stream *s);
/* Counts those who may write (terms).  The drop answers true when it was the last and
 * the stream is not complete: the host then aborts it. */
void stream_add_writer(stream *s);
bool stream_drop_writer(stream *s);

/* Wants to know, once, when nobody will read any more.  The caller keeps it in place
 * until `notify` has begun. */
typedef struct stream_watcher {
    struct stream_watcher *next;
    /* STREAM_OK: complete, and all of it has been read.  STREAM_CLOSED: the reader
     * closed, the stream was aborted, or it is being freed.  Runs with no lock held. */
    void (*notify)(struct stream_watcher *watcher, stream_status status);
} stream_watcher;
/* May notify at once. */
void stream_watch(stream *s, stream_watcher *watcher);

/* Something of the host's that goes with the stream: `release(attachment)` runs first
 * when the stream is freed.  Takes `attachment`; false when there is one already. */
bool stream_attach(stream *s, void *attachment, stream_release_fn release);
/* Borrowed, as long as the stream is held; NULL when there is none. */
void *stream_attachment(stream *s);

/* ---- Looking (no lock; exact for the thread that did the last step) ------ */

typedef struct stream_info {
    stream_writer_state writer;
    stream_reader_state reader;
    uint64_t known_length;   /* or STREAM_LENGTH_UNKNOWN */
    uint64_t written_offset; /* bytes ever written */
    uint64_t read_offset;    /* the read position */
    uint64_t retained_bytes; /* segment memory that the chain holds */
    uint64_t high_bytes, low_bytes, max_bytes;
    bool seekable;
    uint32_t views;   /* pins held by stream_view objects of this stream */
    uint32_t waiters; /* readers that wait */
    uint32_t parked;  /* writes that wait */
} stream_info;

void stream_get_info(stream *s, stream_info *info);
/* Unread bytes now. */
uint64_t stream_available(stream *s);
uint64_t stream_position(stream *s);
bool stream_reader_closed(stream *s);
/* No more bytes are to be waited for: ended, aborted, the known length has been
 * written, or the reader closed. */
bool stream_is_whole(stream *s);
/* Aborted before it was complete (ended, or its known length written). */
bool stream_is_aborted(stream *s);
/* Aborted while its reader was open: what is there must not be taken for the whole.
 * An abort that comes after the reader has closed does not make it so. */
bool stream_is_truncated(stream *s);
bool stream_is_seekable(stream *s);

/* ---- Reading ----------------------------------------------------------- */

/* The reader lock.  While it is held: only `_locked` calls, memory allocation,
 * and copies of up to STREAM_LOCKED_COPY_BYTES; nothing that waits. */
static inline bool stream_reader_trylock(stream *s);
static inline void stream_reader_lock(stream *s);
static inline void stream_reader_unlock(stream *s);

/* Largest copy or search done under the reader lock (64 KiB). */
#if defined(STREAM_TINY)
#    define STREAM_LOCKED_COPY_BYTES ((size_t)24)
#else
#    define STREAM_LOCKED_COPY_BYTES ((size_t)65536)
#endif

/* Unread bytes, contiguous from the read position on: returns how many and points
 * *data at them (valid until the lock is given up); 0 when nothing is unread. */
size_t stream_peek_locked(stream *s, const uint8_t **data);
uint64_t stream_available_locked(stream *s);
/* Copies `size` unread bytes to `to` without consuming.  size <= available. */
void stream_copy_locked(stream *s, void *to, size_t size);
/* Consumes `size` bytes.  size <= available. */
static inline void stream_drain_locked(stream *s, uint64_t size);

/* The next line, up to and including '\n', but at most `limit` bytes (0 < limit).
 * STREAM_OK: *size is its length, *data points at it when it is contiguous, else
 *   it is NULL (fetch it with stream_copy_locked or stream_read_at).  Also for an
 *   unterminated last line when the stream is whole.
 * STREAM_AGAIN: no newline yet.  What was searched is remembered, so a line that
 *   arrives in pieces is searched once.
 * STREAM_SHORT: whole, and nothing unread.
 * Without STREAM_OK *data and *size become NULL and 0.
 * Consumes nothing.  The search takes at most STREAM_LOCKED_COPY_BYTES a call; when
 * more is left to search it answers STREAM_CHANGED: give the lock up, call again. */
static inline stream_status stream_line_locked(stream *s, uint64_t limit,
                                               const uint8_t **data, uint64_t *size);

/* Copies the `size` bytes at `position` to `to` with no lock held, then consumes
 * them if the read position is still `position`.  For large reads: allocate, then
 * call this.  STREAM_OK; STREAM_CHANGED (contents of `to` are undefined); STREAM_RANGE:
 * more than has been written. */
stream_status stream_read_at(stream *s, uint64_t position, void *to, size_t size);
/* As above but consumes nothing and does not look at the read position.
 * STREAM_OK, STREAM_CHANGED (those bytes are not held any more), STREAM_RANGE. */
stream_status stream_copy_at(stream *s, uint64_t offset, void *to, size_t size);

/* whence: 0 from the start, 1 from the position, 2 from the end.  STREAM_OK and the
 * new position in *position; STREAM_RANGE, STREAM_NOT_ENDED, STREAM_CHANGED (the stream
 * is not seekable): nothing changed. */
stream_status stream_seek(stream *s, int64_t offset, int whence, uint64_t *position);

/* Lowest offset in [from, to) at which `needle` lies wholly inside that range.
 * STREAM_OK and *found; STREAM_AGAIN: not there; STREAM_CHANGED: those bytes are not
 * held any more; STREAM_RANGE: `needle_size` is 0, `from` > `to`, or `to` is past what
 * has been written; STREAM_NOMEM (only for a needle of hundreds of bytes).
 * One (needle, from, searched-to) is remembered, so that a call repeated after each
 * arrival costs one scan in all.  Matches across seams are found.  No lock is held
 * while searching, beyond a first step of at most STREAM_LOCKED_COPY_BYTES. */
stream_status stream_find(stream *s, const void *needle, size_t needle_size,
                          uint64_t from, uint64_t to, uint64_t *found);

/* ---- Views: bytes that outlive the stream -------------------------------- */

typedef struct stream_view {
    const uint8_t *data;
    size_t size_bytes;
    stream_segment *segment; /* NULL for an empty view */
} stream_view;

/* Pins what is contiguous at the read position, at most `max` bytes, and consumes
 * nothing.  Views under 512 bytes are copies (that may be STREAM_NOMEM).
 * STREAM_OK (possibly empty).  Returns owned: stream_view_release(). */
stream_status stream_view_locked(stream *s, uint64_t max, stream_view *view);
/* All unread bytes as one view, consuming nothing; merges segments when they are
 * several, keeping spare room so that repeated views of a growing stream cost
 * O(n) in all.  STREAM_OK, STREAM_NOMEM. */
stream_status stream_view_all(stream *s, stream_view *view);
/* Exactly `size` bytes from `position`, merging when needed, and consumes them if the
 * position is still that.  STREAM_OK, STREAM_CHANGED, STREAM_NOMEM, STREAM_RANGE. */
stream_status stream_view_take_at(stream *s, uint64_t position, size_t size,
                                  stream_view *view);
/* Another pin on the same bytes. */
stream_view stream_view_share(const stream_view *view);
/* NULL-safe and idempotent: clears the view. Any thread, no lock needed. */
void stream_view_release(stream_view *view);

/* ---- Waiting ------------------------------------------------------------ */

/* What a reader waits for.  It wakes when `written >= need_offset`, when the stream
 * becomes whole, when the reader side closes, or when the position is no longer
 * `position`.  Waking means: look again. */
typedef struct stream_want {
    uint64_t position;
    uint64_t need_offset;       /* UINT64_MAX: only when whole */
    int64_t deadline_ns;        /* CLOCK_MONOTONIC, or STREAM_FOREVER */
    uint32_t spin_ns;           /* look this long before sleeping */
    bool interruptible;         /* STREAM_INTERRUPTED when a signal handler has run */
    struct stream_token *token; /* NULL, or what can cancel the wait */
} stream_want;

/* Waits on the calling thread, which must hold no lock and no GIL.
 * STREAM_OK, STREAM_TIMEDOUT, STREAM_INTERRUPTED, STREAM_CANCELLED (at once when the
 * token is raised already and there is no news). */
stream_status stream_wait(stream *s, const stream_want *want);

/* The same on the thread of an event loop, which does not wait: STREAM_AGAIN, and
 * *pending is armed (waker.h); STREAM_OK: there is news; STREAM_BUSY: another wait of a
 * loop is in the stream already, and two would take turns at random; STREAM_NOMEM. */
stream_status stream_wait_on_loop(stream *s, stream_waker *waker, uint64_t position,
                                  uint64_t need_offset, void *user,
                                  stream_pending **pending);

#include "front.h"
#include "token.h"

#endif
