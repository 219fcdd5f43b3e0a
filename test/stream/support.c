/* support.c: the failing allocator, and short ways to do what many tests do. */
#include "test.h"
#include "../../c_src/stream/alloc.h"

#include <unistd.h>

void
check_failed(const char *file, int line, const char *condition)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    _exit(1);
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

/* What has been given back is spoiled, so that a use after it shows. */
static void
release_copy(void *arg)
{
    memory.foreign--;
    free(arg);
}

static void *
foreign_copy(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    memory.foreign++;
    return copy;
}

stream_status
adopt_copy(stream *s, const void *bytes, size_t size)
{
    void *copy = foreign_copy(bytes, size);
    stream_status status = stream_adopt(s, copy, size, release_copy, copy);
    if (status != STREAM_OK) {
        release_copy(copy);
    }
    return status;
}

stream_status
batch_adopt_copy(stream_batch *batch, const void *bytes, size_t size)
{
    void *copy = foreign_copy(bytes, size);
    stream_status status = stream_batch_adopt(batch, copy, size, release_copy, copy);
    if (status != STREAM_OK) {
        release_copy(copy);
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

/* ---- Threads ---- */

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

/* ---- Random numbers ---- */

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
