/*
 * model.c: random operations on a stream and on a flat array; both must agree, and the
 * stream be valid, after each.  With failing memory an operation may be refused, and
 * must then have changed nothing.
 */
#define _GNU_SOURCE
#include "model.h"

#include <time.h>

#if defined(STREAM_TINY)
#    define MODEL_BYTES   4096
#    define PIECE_BYTES   60
#    define MODEL_SECONDS 4
#else
#    define MODEL_BYTES   (1 << 20)
#    define PIECE_BYTES   20000
#    define MODEL_SECONDS 6
#endif
#define VIEWS_HELD 8

struct held_view {
    stream_view view;
    uint64_t offset;
};

struct model {
    struct choices *choices;
    stream *s;
    uint8_t *bytes; /* all that was ever written */
    uint64_t written, position, known_length;
    bool ended, closed, may_fail;
    struct held_view views[VIEWS_HELD];
    uint8_t scratch[MODEL_BYTES];
};

static bool
is_whole(const struct model *m)
{
    return m->ended || m->closed || m->written >= m->known_length;
}

static uint64_t
unread(const struct model *m)
{
    return m->written - m->position;
}

/* Sizes cluster at the small ones, at the limits, and spread over all. */
static uint64_t
choose_size(struct model *m, uint64_t most)
{
    static const uint64_t marks[] = {0,
                                     1,
                                     VIEW_COPY_BYTES,
                                     APPEND_LOCKED_BYTES,
                                     SLAB_FIRST_BYTES,
                                     STREAM_LOCKED_COPY_BYTES};
    uint64_t size = 0;
    switch (choose(m->choices, 4)) {
    case 0:
        size = choose(m->choices, 12);
        break;
    case 1:
        size = marks[choose(m->choices, sizeof marks / sizeof marks[0])] +
               choose(m->choices, 3);
        break;
    default:
        size = choose(m->choices, most + 1);
        break;
    }
    return size < most ? size : most;
}

/* Few letters, so that needles are found; newlines seldom or often. */
static size_t
make_bytes(struct model *m)
{
    uint64_t most = MODEL_BYTES - m->written;
    size_t size = (size_t)choose_size(m, most < PIECE_BYTES ? most : PIECE_BYTES);
    uint64_t letters = 1 + choose(m->choices, 4);
    uint64_t newline = 1 + choose(m->choices, 1000);
    struct choices fast = {.state = 1 + choose(m->choices, 65536)};
    for (size_t i = 0; i < size; i++) {
        m->scratch[i] = (uint8_t)('a' + choose(&fast, letters));
        if (choose(&fast, newline) == 0) {
            m->scratch[i] = '\n';
        }
    }
    return size;
}

static void
check_written(struct model *m, stream_status status, const uint8_t *bytes, size_t size)
{
    if (m->ended || m->closed) {
        CHECK(status == STREAM_CLOSED || (status == STREAM_NOMEM && m->may_fail));
    } else if (status == STREAM_OK) {
        memcpy(m->bytes + m->written, bytes, size);
        m->written += size;
    } else {
        CHECK(status == STREAM_NOMEM && m->may_fail);
    }
}

/* ---- Writing ---- */

static void
step_append(struct model *m)
{
    size_t size = make_bytes(m);
    check_written(m, stream_append(m->s, m->scratch, size), m->scratch, size);
}

static void
step_adopt(struct model *m)
{
    size_t size = make_bytes(m);
    check_written(m, adopt_copy(m->s, m->scratch, size), m->scratch, size);
}

static void
step_commit(struct model *m)
{
    stream_batch batch = STREAM_BATCH_INIT;
    size_t size = make_bytes(m), done = 0;
    while (done < size) {
        size_t n = 1 + (size_t)choose(m->choices, size - done);
        stream_status status = choose(m->choices, 3) == 0
                                   ? batch_adopt_copy(&batch, m->scratch + done, n)
                                   : stream_batch_append(&batch, m->scratch + done, n);
        if (status == STREAM_OK) {
            done += n;
        }
        CHECK(batch.size_bytes == done);
        CHECK(status == STREAM_OK || (status == STREAM_NOMEM && m->may_fail));
    }
    stream_status status = stream_commit(m->s, &batch);
    CHECK(status != STREAM_NOMEM);
    CHECK(batch.size_bytes == (status == STREAM_OK ? 0 : size));
    check_written(m, status, m->scratch, size);
    stream_batch_clear(&batch);
}

static void
step_end(struct model *m)
{
    if (choose(m->choices, 20) == 0) {
        stream_end(m->s);
        m->ended = true;
    } else if (choose(m->choices, 40) == 0) {
        stream_close_reader(m->s);
        m->closed = true;
    }
}

/* ---- Reading ---- */

static void
step_peek(struct model *m)
{
    const uint8_t *data;
    stream_reader_lock(m->s);
    size_t size = stream_peek_locked(m->s, &data);
    CHECK(size <= unread(m) && (size > 0 || unread(m) == 0));
    CHECK(memcmp(data, m->bytes + m->position, size) == 0);
    stream_reader_unlock(m->s);
}

static void
step_read(struct model *m)
{
    size_t asked = (size_t)choose_size(m, MODEL_BYTES);
    size_t n = read_some(m->s, m->scratch, asked);
    CHECK(n == (unread(m) < asked ? unread(m) : asked));
    CHECK(memcmp(m->scratch, m->bytes + m->position, n) == 0);
    m->position += n;
}

static void
step_drain(struct model *m)
{
    uint64_t n = choose_size(m, unread(m));
    stream_reader_lock(m->s);
    stream_drain_locked(m->s, n);
    stream_reader_unlock(m->s);
    m->position += n;
}

static void
step_read_at(struct model *m)
{
    uint64_t offset = choose(m->choices, m->written + 1);
    size_t n = (size_t)choose_size(m, m->written - offset + 1);
    stream_status status = stream_copy_at(m->s, offset, m->scratch, n);
    if (n > m->written - offset) {
        CHECK(status == STREAM_RANGE);
        return;
    }
    CHECK(status == STREAM_OK && memcmp(m->scratch, m->bytes + offset, n) == 0);
    if (choose(m->choices, 2) == 0) {
        offset = m->position;
        n = (size_t)choose_size(m, unread(m));
    }
    status = stream_read_at(m->s, offset, m->scratch, n);
    CHECK(status == (offset == m->position ? STREAM_OK : STREAM_CHANGED));
    if (status == STREAM_OK) {
        CHECK(memcmp(m->scratch, m->bytes + m->position, n) == 0);
        m->position += n;
    }
}

static void
expect_line(const struct model *m, uint64_t limit, stream_status *status,
            uint64_t *size)
{
    uint64_t most = unread(m) < limit ? unread(m) : limit;
    const uint8_t *begin = m->bytes + m->position;
    const uint8_t *newline = memchr(begin, '\n', (size_t)most);
    *status = STREAM_OK;
    *size = newline != NULL ? (uint64_t)(newline - begin) + 1 : most;
    if (newline == NULL && unread(m) < limit) {
        *status = !is_whole(m) ? STREAM_AGAIN : most == 0 ? STREAM_SHORT : STREAM_OK;
    }
}

static void
step_line(struct model *m)
{
    uint64_t limit = UINT64_MAX, expected_size, size;
    if (choose(m->choices, 3) == 0) {
        limit = 1 + choose_size(m, PIECE_BYTES);
    }
    stream_status status, expected;
    const uint8_t *data;
    expect_line(m, limit, &expected, &expected_size);
    stream_reader_lock(m->s);
    do {
        status = stream_line_locked(m->s, limit, &data, &size);
    } while (status == STREAM_CHANGED);
    CHECK(status == expected);
    if (status == STREAM_OK) {
        CHECK(size == expected_size);
        stream_copy_locked(m->s, m->scratch, (size_t)size);
        CHECK(memcmp(m->scratch, m->bytes + m->position, (size_t)size) == 0);
        CHECK(data == NULL || memcmp(data, m->scratch, (size_t)size) == 0);
        if (choose(m->choices, 4) != 0) {
            stream_drain_locked(m->s, size);
            m->position += size;
        }
    }
    stream_reader_unlock(m->s);
}

static void
step_seek(struct model *m)
{
    uint64_t target = choose(m->choices, m->written + 1), position = 0;
    uint64_t base[] = {0, m->position, m->written};
    int whence = (int)choose(m->choices, 3);
    stream_status status =
        stream_seek(m->s, (int64_t)(target - base[whence]), whence, &position);
    if (whence == 2 && !is_whole(m)) {
        CHECK(status == STREAM_NOT_ENDED);
        return;
    }
    CHECK(status == STREAM_OK && position == target);
    m->position = target;
    CHECK(stream_seek(m->s, (int64_t)m->written + 1, 0, &position) == STREAM_RANGE);
}

/* ---- Searching ---- */

/* Mostly something that is there, or all but its last byte. */
static size_t
choose_needle(struct model *m, uint8_t *needle, size_t most)
{
    size_t size = 1 + (size_t)choose(m->choices, most);
    if (m->written < size) {
        size = 1;
    }
    if (m->written == 0) {
        needle[0] = 'a';
        return 1;
    }
    uint64_t at = choose(m->choices, m->written - size + 1);
    memcpy(needle, m->bytes + at, size);
    if (choose(m->choices, 2) == 0) {
        needle[size - 1] = 'a';
    }
    return size;
}

static void
step_find(struct model *m)
{
    uint8_t needle[300];
    size_t most = choose(m->choices, 3) == 0 ? sizeof needle : 9;
    size_t size = choose_needle(m, needle, most);
    uint64_t polls = 1 + choose(m->choices, 3);
    uint64_t from = choose(m->choices, m->written + 1);
    for (uint64_t poll = 0; poll < polls; poll++) {
        uint64_t to = from + choose(m->choices, m->written - from + 1), found = 0;
        if (choose(m->choices, 2) == 0) {
            to = m->written;
        }
        stream_status status = stream_find(m->s, needle, size, from, to, &found);
        const uint8_t *match =
            memmem(m->bytes + from, (size_t)(to - from), needle, size);
        if (status == STREAM_NOMEM) {
            CHECK(m->may_fail);
            continue;
        }
        CHECK(status == (match == NULL ? STREAM_AGAIN : STREAM_OK));
        CHECK(match == NULL || found == (uint64_t)(match - m->bytes));
        from += choose(m->choices, 3) <= to - from ? choose(m->choices, 2) : 0;
        if (from > m->written) {
            from = m->written;
        }
    }
}

/* ---- Views ---- */

static void
check_view(const struct model *m, const struct held_view *held)
{
    CHECK(held->view.data != NULL);
    CHECK(memcmp(held->view.data, m->bytes + held->offset, held->view.size_bytes) == 0);
}

static struct held_view *
free_place(struct model *m)
{
    struct held_view *held = &m->views[choose(m->choices, VIEWS_HELD)];
    if (held->view.data != NULL) {
        check_view(m, held);
    }
    stream_view_release(&held->view);
    held->offset = m->position;
    return held;
}

static void
step_view(struct model *m)
{
    struct held_view *held = free_place(m);
    uint64_t max = choose_size(m, MODEL_BYTES);
    stream_reader_lock(m->s);
    stream_status status = stream_view_locked(m->s, max, &held->view);
    stream_reader_unlock(m->s);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK);
    CHECK(held->view.size_bytes <= max && held->view.size_bytes <= unread(m));
    CHECK(held->view.size_bytes > 0 || max == 0 || unread(m) == 0);
    check_view(m, held);
}

static void
step_view_all(struct model *m)
{
    struct held_view *held = free_place(m);
    stream_status status = stream_view_all(m->s, &held->view);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK && held->view.size_bytes == unread(m));
    check_view(m, held);
}

static void
step_view_take(struct model *m)
{
    struct held_view *held = free_place(m);
    size_t size = (size_t)choose_size(m, unread(m));
    stream_status status = stream_view_take_at(m->s, m->position, size, &held->view);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK && held->view.size_bytes == size);
    check_view(m, held);
    m->position += size;
}

static void
step_view_share(struct model *m)
{
    struct held_view *held = free_place(m);
    const struct held_view *other = &m->views[choose(m->choices, VIEWS_HELD)];
    if (other != held && other->view.data != NULL) {
        held->view = stream_view_share(&other->view);
        held->offset = other->offset;
        check_view(m, held);
    }
}

/* ---- The whole ---- */

static void (*const steps[])(struct model *) = {
    step_append,   step_append,    step_append,    step_adopt, step_adopt,
    step_commit,   step_commit,    step_end,       step_peek,  step_read,
    step_drain,    step_line,      step_line,      step_line,  step_seek,
    step_read_at,  step_find,      step_find,      step_view,  step_view_all,
    step_view_all, step_view_take, step_view_share};

static void
check_state(struct model *m)
{
    stream_info info;
    uint32_t views = 0;
    for (int i = 0; i < VIEWS_HELD; i++) {
        views += m->views[i].view.segment != NULL;
    }
    stream_get_info(m->s, &info);
    CHECK(stream__validate(m->s));
    CHECK(info.written_offset == m->written && info.read_offset == m->position);
    CHECK(info.writer == (m->ended ? STREAM_WRITER_ENDED : STREAM_WRITER_OPEN));
    CHECK(stream_reader_closed(m->s) == m->closed);
    CHECK(stream_is_whole(m->s) == is_whole(m));
    CHECK(stream_available(m->s) == unread(m) && info.views == views);
}

static void
end_of_model(struct model *m)
{
    (void)memory_failed();
    uint64_t position;
    CHECK(stream_seek(m->s, 0, 0, &position) == STREAM_OK);
    CHECK(read_some(m->s, m->scratch, MODEL_BYTES) == m->written);
    CHECK(memcmp(m->scratch, m->bytes, (size_t)m->written) == 0);
    stream_release(m->s);
    for (int i = 0; i < VIEWS_HELD; i++) {
        if (m->views[i].view.data != NULL) {
            check_view(m, &m->views[i]);
        }
        stream_view_release(&m->views[i].view);
    }
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

void
model_run(struct choices *choices, unsigned count, bool without_memory)
{
    static struct model model;
    static uint8_t bytes[MODEL_BYTES];
    struct model *m = &model;
    memset(m->views, 0, sizeof m->views);
    m->choices = choices;
    m->bytes = bytes;
    m->written = m->position = 0;
    m->ended = m->closed = false;
    m->known_length = choose(choices, 3) == 0 ? choose(choices, MODEL_BYTES / 2)
                                              : STREAM_LENGTH_UNKNOWN;
    m->s = stream_new(m->known_length);
    CHECK(m->s != NULL);
    m->may_fail = without_memory;
    for (unsigned i = 0; i < count; i++) {
        memory_fail_often(without_memory ? 3 : 0);
        steps[choose(choices, sizeof steps / sizeof steps[0])](m);
        memory_fail_often(0);
        check_state(m);
    }
    end_of_model(m);
}

static uint64_t
first_seed(void)
{
    const char *given = getenv("MODEL_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000;
}

/* Rounds with seeds that count up from the first one, for a few seconds; with
 * MODEL_SEED just the round of that seed. */
static void
run_rounds(bool without_memory)
{
    uint64_t seed = first_seed();
    int64_t until = platform_now_ns() + INT64_C(1000000000) * MODEL_SECONDS;
    uint64_t rounds = 0;
    printf("model: seeds from %llu\n", (unsigned long long)seed);
    do {
        struct choices choices = {.state = (seed + rounds) * 0x9e3779b97f4a7c15u | 1};
        model_run(&choices, 300, without_memory);
        rounds++;
    } while (platform_now_ns() < until && getenv("MODEL_SEED") == NULL);
    printf("model: %llu rounds\n", (unsigned long long)rounds);
}

void
test_model_random_operations(void)
{
    run_rounds(false);
}

void
test_model_random_operations_without_memory(void)
{
    run_rounds(true);
}
