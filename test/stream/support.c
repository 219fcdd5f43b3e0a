/* support.c: the failing allocator, and short ways to do what many tests do. */
#include "test.h"
#include "../../c_src/stream/alloc.h"

#include <limits.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

void
check_failed(const char *file, int line, const char *condition)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
#if defined(STREAM_FUZZ)
    abort(); /* libFuzzer then keeps the input */
#else
    _exit(1);
#endif
}

/* ---- Memory ---- */

static struct {
    atomic_long live;
    atomic_long foreign;
    atomic_long fail_at; /* counts down; fails at 1 */
    atomic_uint often;
    atomic_uint random;
    atomic_bool failed;
} memory;

void
memory_fail_at(long n)
{
    memory.fail_at = n;
}

void
memory_fail_often(unsigned n)
{
    memory.often = n;
}

bool
memory_failed(void)
{
    memory.fail_at = 0;
    memory.often = 0;
    return atomic_exchange(&memory.failed, false);
}

long
memory_live_blocks(void)
{
    return memory.live;
}

long
foreign_live_blocks(void)
{
    return memory.foreign;
}

static bool
memory_refuses(void)
{
    if (memory.often != 0) {
        memory.random = memory.random * 1103515245u + 12345u;
        return (memory.random >> 16) % memory.often == 0;
    }
    return memory.fail_at > 0 && atomic_fetch_sub(&memory.fail_at, 1) == 1;
}

void *
stream__alloc(size_t size_bytes)
{
    if (memory_refuses()) {
        memory.failed = true;
        return NULL;
    }
    void *block = malloc(size_bytes);
    if (block != NULL) {
        memory.live++;
        memset(block, 0xa5, size_bytes);
    }
    return block;
}

void
stream__free(void *block)
{
    if (block != NULL) {
        memory.live--;
        free(block);
    }
}

/* ---- Streams ---- */

stream *
stream_unknown(void)
{
    stream *s = stream_new(STREAM_LENGTH_UNKNOWN);
    CHECK(s != NULL);
    return s;
}

void
foreign_free(void *block)
{
    memory.foreign--;
    free(block);
}

void *
foreign_new(size_t size)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    memory.foreign++;
    return block;
}

static void *
foreign_copy(const void *bytes, size_t size)
{
    return memcpy(foreign_new(size + 1), bytes, size);
}

stream_status
adopt_copy(stream *s, const void *bytes, size_t size)
{
    void *copy = foreign_copy(bytes, size);
    stream_status status = stream_adopt(s, copy, size, foreign_free, copy);
    if (status != STREAM_OK) {
        foreign_free(copy);
    }
    return status;
}

stream_status
batch_adopt_copy(stream_batch *batch, const void *bytes, size_t size)
{
    void *copy = foreign_copy(bytes, size);
    stream_status status = stream_batch_adopt(batch, copy, size, foreign_free, copy);
    if (status != STREAM_OK) {
        foreign_free(copy);
    }
    return status;
}

void
release_nothing(void *arg)
{
    (void)arg;
}

void
write_text(stream *s, const char *text)
{
    CHECK(stream_append(s, text, strlen(text)) == STREAM_OK);
}

void
adopt_text(stream *s, const char *text)
{
    CHECK(adopt_copy(s, text, strlen(text)) == STREAM_OK);
}

size_t
read_some(stream *s, void *to, size_t size)
{
    stream_reader_lock(s);
    size_t n = (size_t)stream__least(stream_available_locked(s), size);
    stream_copy_locked(s, to, n);
    stream_drain_locked(s, n);
    stream_reader_unlock(s);
    return n;
}

stream_status
next_line(stream *s, char *line, size_t size)
{
    const uint8_t *data;
    uint64_t length;
    stream_status status;
    stream_reader_lock(s);
    do {
        status = stream_line_locked(s, UINT64_MAX, &data, &length);
    } while (status == STREAM_CHANGED);
    if (status == STREAM_OK) {
        CHECK(length < size);
        stream_copy_locked(s, line, (size_t)length);
        CHECK(data == NULL || memcmp(data, line, (size_t)length) == 0);
        line[length] = '\0';
        stream_drain_locked(s, length);
    }
    stream_reader_unlock(s);
    return status;
}

bool
view_equals(const stream_view *view, const char *text)
{
    return view->size_bytes == strlen(text) &&
           memcmp(view->data, text, view->size_bytes) == 0;
}

stream_status
wait_for(stream *s, uint64_t position, uint64_t need, int64_t after_ns)
{
    stream_want want = {.position = position, .need_offset = need};
    want.deadline_ns =
        after_ns == STREAM_FOREVER ? STREAM_FOREVER : platform_now_ns() + after_ns;
    return stream_wait(s, &want);
}

/* ---- Writes that wait ---- */

static void
note_status(stream_parked *parked, stream_status status)
{
    struct parked_write *write = (struct parked_write *)(void *)parked;
    write->status = status;
    write->notices++;
}

stream_status
park_batch(stream *s, struct parked_write *write, stream_batch *batch)
{
    write->parked.notify = note_status;
    write->notices = 0;
    write->status = STREAM_AGAIN;
    return stream_park(s, batch, &write->parked);
}

stream_status
park_text(stream *s, struct parked_write *write, const char *text, bool adopted)
{
    stream_batch batch = STREAM_BATCH_INIT;
    size_t size = strlen(text);
    CHECK((adopted ? batch_adopt_copy(&batch, text, size)
                   : stream_batch_append(&batch, text, size)) == STREAM_OK);
    stream_status status = park_batch(s, write, &batch);
    CHECK(status != STREAM_AGAIN || batch.first == NULL);
    stream_batch_clear(&batch);
    return status;
}

bool
was_written(struct parked_write *write)
{
    return write->notices == 1 && write->status == STREAM_OK &&
           write->parked.batch.first == NULL && write->parked.batch.size_bytes == 0;
}

bool
is_parked(struct parked_write *write)
{
    return write->notices == 0 && write->parked.queued;
}

/* A batch that was given back is as good as new. */
bool
has_back(struct parked_write *write, const char *text)
{
    stream *s = stream_unknown();
    stream_batch *batch = &write->parked.batch;
    bool same = batch->size_bytes == strlen(text) &&
                stream_commit(s, batch) == STREAM_OK && stream__validate(s) &&
                reads(s, text);
    stream_release(s);
    return same;
}

stream_info
info_of(stream *s)
{
    stream_info info;
    stream_get_info(s, &info);
    return info;
}

stream *
stream_with_marks(uint64_t high_bytes, uint64_t low_bytes)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.high_bytes = high_bytes;
    options.low_bytes = low_bytes;
    stream *s = stream_new_with(&options);
    CHECK(s != NULL);
    return s;
}

stream *
stream_not_seekable(void)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.seekable = false;
    stream *s = stream_new_with(&options);
    CHECK(s != NULL);
    return s;
}

void
drain(stream *s, uint64_t size)
{
    stream_reader_lock(s);
    stream_drain_locked(s, size);
    stream_reader_unlock(s);
}

bool
reads(stream *s, const char *text)
{
    size_t size = strlen(text);
    char *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    bool same = read_some(s, bytes, size + 1) == size && memcmp(bytes, text, size) == 0;
    free(bytes);
    return same;
}

/* ---- Reasons ---- */

static void
note_release(stream_reason *reason)
{
    ((struct test_reason *)(void *)reason)->released++;
}

stream_reason *
make_reason(struct test_reason *reason)
{
    reason->base.release = note_release;
    reason->released = 0;
    return &reason->base;
}

/* ---- Threads ---- */

void
sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * MS};
    nanosleep(&time, NULL);
}

static void *
sleep_in_stream(void *arg)
{
    struct sleeper *sleeper = arg;
    sleeper->status = stream_wait(sleeper->s, &sleeper->want);
    return NULL;
}

void
start_want(struct sleeper *sleeper, stream *s, const stream_want *want)
{
    *sleeper = (struct sleeper){.s = s, .want = *want};
    CHECK(pthread_create(&sleeper->thread, NULL, sleep_in_stream, sleeper) == 0);
}

void
start_sleeper(struct sleeper *sleeper, stream *s, uint64_t need, stream_token *token)
{
    start_want(sleeper, s,
               &(stream_want){.position = stream_position(s),
                              .need_offset = need,
                              .deadline_ns = STREAM_FOREVER,
                              .token = token});
}

void
join_sleeper(struct sleeper *sleeper, stream_status expected)
{
    CHECK(pthread_join(sleeper->thread, NULL) == 0);
    CHECK(sleeper->status == expected);
}

void
await_waiters(stream *s, uint32_t count)
{
    while (info_of(s).waiters != count) {
        sleep_ms(1);
    }
}

void
crew_add(struct crew *crew, void *(*work)(void *), void *arg)
{
    CHECK(pthread_create(&crew->threads[crew->count++], NULL, work, arg) == 0);
}

void
crew_join(struct crew *crew)
{
    for (int i = 0; i < crew->count; i++) {
        CHECK(pthread_join(crew->threads[i], NULL) == 0);
    }
    crew->count = 0;
}

void
await_count(atomic_uint *count, unsigned value)
{
    for (unsigned looks = 0; *count < value; looks++) {
        if (looks < 2000) {
            platform_relax();
        } else {
            sched_yield();
        }
    }
}

void
turns_begin(struct turns *turns)
{
    turns->now = 0;
    turns->until_ns = platform_now_ns() + 2000 * MS;
}

bool
turns_go_on(struct turns *turns, unsigned turn, unsigned most)
{
    if (turn <= most && platform_now_ns() < turns->until_ns) {
        return true;
    }
    turns->now = UINT_MAX;
    return false;
}

bool
turns_await(struct turns *turns, unsigned turn)
{
    await_count(&turns->now, turn);
    return turns->now != UINT_MAX;
}

/* ---- Time and random numbers ---- */

int64_t
cpu_ns(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
    return (int64_t)time.tv_sec * 1000 * MS + time.tv_nsec;
}

uint64_t
choose(struct choices *choices, uint64_t below)
{
    if (choices->bytes != NULL) {
        uint64_t value = 0;
        for (uint64_t bound = below; bound > 1 && choices->left > 0; bound >>= 8) {
            value = value << 8 | *choices->bytes++;
            choices->left--;
        }
        return value % below;
    }
    choices->state ^= choices->state << 13;
    choices->state ^= choices->state >> 7;
    choices->state ^= choices->state << 17;
    return (choices->state >> 11) % below;
}

void
pause_a_little(struct choices *choices, uint64_t most_steps)
{
    switch (choose(choices, 4)) {
    case 0:
        sched_yield();
        break;
    case 1:
        for (uint64_t n = choose(choices, most_steps); n > 0; n--) {
            platform_relax();
        }
        break;
    default:
        break;
    }
}
