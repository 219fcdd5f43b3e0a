/*
 * test.h: what the tests of the stream share.
 *
 * A test is a function without arguments, named in list.h.  The runner runs each in a
 * process of its own, with a deadline; a test that returns has passed, if by then all
 * memory and all foreign bytes have been given back.
 */
#ifndef ERLPY_STREAM_TEST_H
#define ERLPY_STREAM_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../c_src/stream/channel_internal.h"
#include "../../c_src/stream/internal.h"

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            check_failed(__FILE__, __LINE__, #condition);                              \
        }                                                                              \
    } while (0)

_Noreturn void check_failed(const char *file, int line, const char *condition);

#define TEST(group, name) void test_##group##_##name(void);
#include "list.h"
#undef TEST

/* ---- Memory: the stream's allocator counts, and fails on demand ---- */

/* The n-th allocation from now on fails, once (1: the next). */
void memory_fail_at(long n);
/* Each allocation fails with probability 1/n; 0: none. */
void memory_fail_often(unsigned n);
/* No more failures; was there one since the last call? */
bool memory_failed(void);
long memory_live_blocks(void);
/* Adopted blocks of which the release has not run. */
long foreign_live_blocks(void);
void *foreign_new(size_t size);
void foreign_free(void *block);

/* ---- Streams ---- */

stream *stream_unknown(void);
/* Adopts a copy of the bytes. */
stream_status adopt_copy(stream *s, const void *bytes, size_t size);
stream_status batch_adopt_copy(stream_batch *batch, const void *bytes, size_t size);
void release_nothing(void *arg);
/* Writes text: small pieces by append, or each piece as a segment of its own. */
void write_text(stream *s, const char *text);
void adopt_text(stream *s, const char *text);
/* Reads up to `size` bytes and consumes them, as a binding does. */
size_t read_some(stream *s, void *to, size_t size);
/* The next line into `line` (NUL-terminated), consuming it. */
stream_status next_line(stream *s, char *line, size_t size);
bool view_equals(const stream_view *view, const char *text);
stream_status wait_for(stream *s, uint64_t position, uint64_t need, int64_t after_ns);

/* ---- Writes that wait ---- */

struct parked_write {
    stream_parked parked; /* first */
    atomic_int notices;
    _Atomic(int) status; /* of the last notice */
};

/* Parks a copy of the text, as bytes of a slab or (`adopted`) of a foreign block. */
stream_status park_text(stream *s, struct parked_write *write, const char *text,
                        bool adopted);
stream_status park_batch(stream *s, struct parked_write *write, stream_batch *batch);
bool was_written(struct parked_write *write);
bool is_parked(struct parked_write *write);
/* The refused or given up bytes are those, and go. */
bool has_back(struct parked_write *write, const char *text);
stream_info info_of(stream *s);
/* Watermarks, no limit; STREAM_OFFSET_MAX for none. */
stream *stream_with_marks(uint64_t high_bytes, uint64_t low_bytes);
stream *stream_not_seekable(void);
void drain(stream *s, uint64_t size);
/* Reads all that is there and compares. */
bool reads(stream *s, const char *text);

/* ---- Channels ---- */

struct test_item {
    channel_item base; /* first */
    unsigned sender, number;
};

/* Counts as a foreign block. */
channel_item *make_item(uint64_t size, unsigned sender, unsigned number);
/* A test_item of size 1, sent: STREAM_BUSY or STREAM_CLOSED frees it. */
stream_status send_item(channel *c, channel_way way, unsigned number);
/* The number of the next item, which is freed; -1: none, -2: closed. */
int receive_item(channel *c, channel_way way);
/* Of an item that was received. */
int use_item(channel_item *item);
channel_info channel_info_of(channel *c);
/* Nobody was told and has not looked. */
bool channel_is_quiet(channel *c);

/* A send that waits. */
struct test_sender {
    channel_sender sender; /* first */
    atomic_int notices;
    _Atomic(int) status; /* of the last notice */
};

stream_status park_item(channel *c, channel_way way, struct test_sender *sender,
                        channel_item *item);
bool was_sent(struct test_sender *sender);

/* A receiver that notes that it was told. */
struct test_receiver {
    channel_receiver receiver; /* first */
    atomic_int notices;
    unsigned order; /* of the notice among all */
    bool absent;    /* answers that nobody will look */
};

stream_status listen_to(channel *c, channel_way way, struct test_receiver *receiver);

/* A thread that waits for a channel; for room, when `item` is set. */
struct channel_sleeper {
    channel *c;
    channel_way way;
    channel_want want;
    channel_item *item;
    stream_status status;
    pthread_t thread;
};

void start_channel_sleeper(struct channel_sleeper *sleeper, channel *c, channel_way way,
                           channel_item *item, stream_token *token);
void start_channel_want(struct channel_sleeper *sleeper, channel *c, channel_way way,
                        channel_item *item, const channel_want *want);
void join_channel_sleeper(struct channel_sleeper *sleeper, stream_status expected);
void await_senders(channel *c, channel_way way, uint32_t count);
void await_receivers(channel *c, channel_way way, uint32_t count);

/* A waker's descriptor is readable. */
bool is_woken(const stream_waker *waker);

/* ---- Reasons ---- */

struct test_reason {
    stream_reason base; /* first */
    atomic_int released;
};

stream_reason *make_reason(struct test_reason *reason);

/* ---- Threads ---- */

#define MS INT64_C(1000000)

void sleep_ms(long ms);

/* A thread that waits. */
struct sleeper {
    stream *s;
    stream_want want;
    stream_status status;
    pthread_t thread;
};

void start_want(struct sleeper *sleeper, stream *s, const stream_want *want);
/* From the position of now on, for ever. */
void start_sleeper(struct sleeper *sleeper, stream *s, uint64_t need,
                   stream_token *token);
void join_sleeper(struct sleeper *sleeper, stream_status expected);
void await_waiters(stream *s, uint32_t count);

/* How long the tests with threads run. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#    define SCALE 1
#else
#    define SCALE 4
#endif
#define THREADS_MOST 16

struct crew {
    pthread_t threads[THREADS_MOST];
    int count;
};

void crew_add(struct crew *crew, void *(*work)(void *), void *arg);
void crew_join(struct crew *crew);

/* Two threads that race again and again: the leader calls the turns, the other awaits
 * them.  They end after so many, or after two seconds on a busy machine. */
struct turns {
    atomic_uint now;
    int64_t until_ns;
};

void turns_begin(struct turns *turns);
bool turns_go_on(struct turns *turns, unsigned turn, unsigned most);
bool turns_await(struct turns *turns, unsigned turn);
void await_count(atomic_uint *count, unsigned value);

/* ---- Time and random numbers ---- */

/* That the calling thread has used. */
int64_t cpu_ns(void);

/* Choices come from a seed, or from bytes that a fuzzer made up. */
struct choices {
    uint64_t state;
    const uint8_t *bytes; /* NULL: from the seed */
    size_t left;
};

uint64_t choose(struct choices *choices, uint64_t below);
/* Nothing, a turn of another thread, or so many steps of a busy wait, at most. */
void pause_a_little(struct choices *choices, uint64_t most_steps);

#endif
