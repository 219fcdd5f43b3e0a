/*
 * model.c: random operations on a stream and on a flat array; both must agree, and the
 * stream be valid, after each.  With failing memory an operation may be refused, and
 * must then have changed nothing.
 */
#include "model.h"

#include <time.h>

bool
model_is_whole(const struct model *m)
{
    return m->ended || m->aborted || m->closed || m->written >= m->options.known_length;
}

uint64_t
model_unread(const struct model *m)
{
    return m->written - m->position;
}

/* Sizes cluster at the small ones, at the limits, and spread over all. */
uint64_t
model_choose_size(struct model *m, uint64_t most)
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
    for (size_t i = 0; i < m->queued; i++) {
        most -= m->queue[i]->size;
    }
    size_t size = (size_t)model_choose_size(m, most < PIECE_BYTES ? most : PIECE_BYTES);
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

/* ---- What is to be expected ---- */

static bool
is_complete(const struct model *m)
{
    return m->ended || m->written >= m->options.known_length;
}

static stream_status
expect_open(const struct model *m, uint64_t size)
{
    if (m->aborted) {
        return STREAM_ABORTED;
    }
    if (m->ended || m->closed) {
        return STREAM_CLOSED;
    }
    return size > m->options.max_bytes - m->written ? STREAM_TOO_LARGE : STREAM_OK;
}

static stream_status
expect_write(const struct model *m, uint64_t size)
{
    stream_status status = expect_open(m, size);
    if (status == STREAM_OK && size > 0 &&
        (m->queued > 0 ||
         (model_unread(m) >= m->options.high_bytes && !model_loop_lacks(m)))) {
        return STREAM_BUSY;
    }
    return status;
}

static void
take_bytes(struct model *m, const uint8_t *bytes, size_t size)
{
    memcpy(m->bytes + m->written, bytes, size);
    m->written += size;
}

static void
check_written(struct model *m, stream_status status, const uint8_t *bytes, size_t size)
{
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == expect_write(m, size));
    if (status == STREAM_OK) {
        take_bytes(m, bytes, size);
    }
}

static void
leave_queue(struct model *m, size_t place)
{
    m->queued--;
    memmove(m->queue + place, m->queue + place + 1,
            (m->queued - place) * sizeof m->queue[0]);
}

static void
admit(struct model *m)
{
    uint64_t mark = stream__least(m->options.low_bytes + 1, m->options.high_bytes);
    while (m->queued > 0) {
        struct held_write *held = m->queue[0];
        stream_status status = expect_open(m, held->size);
        if (status == STREAM_OK && model_unread(m) >= mark && !model_loop_lacks(m)) {
            break;
        }
        leave_queue(m, 0);
        held->expected = status;
        if (status == STREAM_OK) {
            take_bytes(m, held->bytes, held->size);
        }
        mark = m->options.high_bytes;
    }
}

void
model_settle(struct model *m)
{
    m->loop_over = m->loop_over || (m->loop != NULL && !model_loop_lacks(m));
    admit(m);
    m->loop_over = m->loop_over || (m->loop != NULL && !model_loop_lacks(m));
    if (m->watch.watcher.notify != NULL && m->watch.expected == STREAM_AGAIN) {
        if (is_complete(m) && model_unread(m) == 0) {
            m->watch.expected = STREAM_OK;
        } else if (m->aborted || m->closed) {
            m->watch.expected = STREAM_CLOSED;
        }
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
fill_batch(struct model *m, stream_batch *batch, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t n = 1 + (size_t)choose(m->choices, size - done);
        stream_status status = choose(m->choices, 3) == 0
                                   ? batch_adopt_copy(batch, m->scratch + done, n)
                                   : stream_batch_append(batch, m->scratch + done, n);
        if (status == STREAM_OK) {
            done += n;
        }
        CHECK(batch->size_bytes == done);
        CHECK(status == STREAM_OK || (status == STREAM_NOMEM && m->may_fail));
    }
}

/* Of which the bytes are in `bytes`. */
static void
commit_batch(struct model *m, stream_batch *batch, const uint8_t *bytes, size_t size)
{
    stream_status status = stream_commit(m->s, batch);
    CHECK(status != STREAM_NOMEM);
    CHECK(batch->size_bytes == (status == STREAM_OK ? 0 : size));
    check_written(m, status, bytes, size);
    stream_batch_clear(batch);
}

static void
step_commit(struct model *m)
{
    stream_batch batch = STREAM_BATCH_INIT;
    size_t size = make_bytes(m);
    fill_batch(m, &batch, size);
    commit_batch(m, &batch, m->scratch, size);
}

/* ---- Writes that wait ---- */

static void
step_park(struct model *m)
{
    struct held_write *held = &m->writes[choose(m->choices, WRITES_HELD)];
    stream_batch batch = STREAM_BATCH_INIT;
    if (held->in_use) {
        return;
    }
    held->size = make_bytes(m);
    memcpy(held->bytes, m->scratch, held->size);
    fill_batch(m, &batch, held->size);
    stream_status status = park_batch(m->s, &held->write, &batch);
    if (status == STREAM_AGAIN) {
        CHECK(expect_write(m, held->size) == STREAM_BUSY && batch.first == NULL);
        held->in_use = true;
        held->expected = STREAM_AGAIN;
        m->queue[m->queued++] = held;
        return;
    }
    CHECK(status != STREAM_NOMEM && status != STREAM_BUSY && held->write.notices == 0);
    check_written(m, status, held->bytes, held->size);
    stream_batch_clear(&batch);
}

/* What is given back can be written again, as soon as it may be. */
static void
use_again(struct model *m, struct held_write *held)
{
    stream_batch *batch = &held->write.parked.batch;
    CHECK(batch->size_bytes == held->size);
    held->in_use = false;
    if (m->written + held->size <= MODEL_BYTES / 2) {
        commit_batch(m, batch, held->bytes, held->size);
    }
    stream_batch_clear(batch);
}

static void
step_unpark(struct model *m)
{
    struct held_write *held = &m->writes[choose(m->choices, WRITES_HELD)];
    if (!held->in_use) {
        return;
    }
    CHECK(stream_unpark(m->s, &held->write.parked) && held->write.notices == 0);
    size_t place = 0;
    while (m->queue[place] != held) {
        place++;
    }
    leave_queue(m, place);
    model_settle(m);
    use_again(m, held);
}

/* Those that were decided since the last step. */
static void
check_writes(struct model *m)
{
    for (int i = 0; i < WRITES_HELD; i++) {
        struct held_write *held = &m->writes[i];
        if (held->in_use) {
            CHECK(held->write.notices == (held->expected != STREAM_AGAIN));
            CHECK(held->write.status == (int)held->expected);
            CHECK(held->write.parked.queued == (held->expected == STREAM_AGAIN));
        }
        if (held->in_use && held->expected == STREAM_OK) {
            CHECK(held->write.parked.batch.first == NULL);
            held->in_use = false;
        } else if (held->in_use && held->expected != STREAM_AGAIN) {
            use_again(m, held);
        }
    }
}

/* ---- The ends ---- */

static void
step_end(struct model *m)
{
    if (choose(m->choices, 20) == 0) {
        stream_end(m->s);
        m->ended = m->ended || !m->aborted;
    } else if (choose(m->choices, 20) == 0) {
        bool first = !m->aborted && !is_complete(m);
        struct test_reason late;
        CHECK(stream_abort(m->s, make_reason(first ? &m->reason : &late)) == first);
        CHECK(first || late.released == 1);
        m->aborted = m->aborted || first;
        m->truncated = m->truncated || (first && !m->closed);
    } else if (choose(m->choices, 40) == 0) {
        stream_close_reader(m->s);
        m->closed = true;
    }
}

static void
note_told(stream_watcher *watcher, stream_status status)
{
    struct held_watch *watch = (struct held_watch *)(void *)watcher;
    CHECK(watch->told == STREAM_AGAIN && status != STREAM_AGAIN);
    watch->told = status;
}

static void
step_watch(struct model *m)
{
    if (m->watch.watcher.notify == NULL || m->watch.told != STREAM_AGAIN) {
        m->watch =
            (struct held_watch){{.notify = note_told}, STREAM_AGAIN, STREAM_AGAIN};
        stream_watch(m->s, &m->watch.watcher);
    }
}

/* ---- The whole ---- */

/* The number of a step is its place here: see model.h. */
static void (*const steps[])(struct model *) = {step_append,
                                                step_append,
                                                step_append,
                                                step_adopt,
                                                step_adopt,
                                                step_commit,
                                                step_commit,
                                                step_end,
                                                model_step_peek,
                                                model_step_read,
                                                model_step_drain,
                                                model_step_line,
                                                model_step_line,
                                                model_step_line,
                                                model_step_seek,
                                                model_step_read_at,
                                                model_step_find,
                                                model_step_find,
                                                model_step_view,
                                                model_step_view_all,
                                                model_step_view_all,
                                                model_step_view_take,
                                                model_step_view_share,
                                                step_park,
                                                step_park,
                                                step_park,
                                                step_unpark,
                                                step_watch,
                                                model_step_wait,
                                                model_step_read,
                                                model_step_drain,
                                                model_step_loop_wait,
                                                model_step_loop_wait};

static void
check_state(struct model *m)
{
    stream_info info;
    uint32_t views = 0;
    model_settle(m);
    check_writes(m);
    model_settle(m);
    for (int i = 0; i < VIEWS_HELD; i++) {
        views += m->views[i].view.segment != NULL;
    }
    stream_get_info(m->s, &info);
    CHECK(stream__validate(m->s));
    CHECK(info.written_offset == m->written && info.read_offset == m->position);
    CHECK(info.writer == (m->ended     ? STREAM_WRITER_ENDED
                          : m->aborted ? STREAM_WRITER_ABORTED
                                       : STREAM_WRITER_OPEN));
    CHECK(info.parked == m->queued && m->watch.told == m->watch.expected);
    CHECK(info.waiters == (m->loop != NULL && !m->loop_over));
    CHECK(is_woken(m->waker) == m->loop_over);
    CHECK(m->options.seekable || model_unread(m) > 0 ||
          info.retained_bytes <= SLAB_MOST_BYTES);
    CHECK(stream_reader_closed(m->s) == m->closed);
    CHECK(stream_is_truncated(m->s) == m->truncated);
    CHECK(stream_is_whole(m->s) == model_is_whole(m));
    CHECK(stream_available(m->s) == model_unread(m) && info.views == views);
}

static void
end_of_model(struct model *m)
{
    (void)memory_failed();
    if (m->loop != NULL) {
        stream_pending_cancel(m->loop);
    }
    stream_waker_close(m->waker);
    stream_waker_release(m->waker);
    for (; m->queued > 0; m->queued--) {
        struct held_write *held = m->queue[m->queued - 1];
        CHECK(stream_unpark(m->s, &held->write.parked));
        stream_batch_clear(&held->write.parked.batch);
    }
    uint64_t from = m->options.seekable ? 0 : m->position;
    CHECK(!m->options.seekable || stream_seek(m->s, 0, 0, &from) == STREAM_OK);
    CHECK(read_some(m->s, m->scratch, MODEL_BYTES) == m->written - from);
    CHECK(memcmp(m->scratch, m->bytes + from, (size_t)(m->written - from)) == 0);
    stream_release(m->s);
    CHECK(m->reason.released == m->aborted);
    CHECK(m->watch.watcher.notify == NULL || m->watch.told != STREAM_AGAIN);
    for (int i = 0; i < VIEWS_HELD; i++) {
        if (m->views[i].view.data != NULL) {
            model_check_view(m, &m->views[i]);
        }
        stream_view_release(&m->views[i].view);
    }
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

static void
choose_options(struct model *m)
{
    m->options = STREAM_OPTIONS_DEFAULT;
    if (choose(m->choices, 3) == 0) {
        m->options.known_length = choose(m->choices, MODEL_BYTES / 2);
    }
    m->options.seekable = choose(m->choices, 2) == 0;
    if (choose(m->choices, 3) != 0) {
        m->options.high_bytes = 1 + model_choose_size(m, 4 * PIECE_BYTES);
        m->options.low_bytes = choose(m->choices, m->options.high_bytes + 1);
    }
    if (choose(m->choices, 5) == 0) {
        m->options.max_bytes = choose(m->choices, MODEL_BYTES / 2);
    }
}

void
model_run(struct choices *choices, unsigned count, bool without_memory)
{
    static struct model model;
    static uint8_t bytes[MODEL_BYTES];
    struct model *m = &model;
    memset(m->views, 0, sizeof m->views);
    for (int i = 0; i < WRITES_HELD; i++) {
        m->writes[i].in_use = false;
    }
    m->choices = choices;
    m->bytes = bytes;
    m->written = m->position = 0;
    m->ended = m->aborted = m->truncated = m->closed = false;
    m->queued = 0;
    m->reason.released = 0;
    m->watch = (struct held_watch){.expected = STREAM_AGAIN, .told = STREAM_AGAIN};
    choose_options(m);
    m->s = stream_new_with(&m->options);
    m->waker = stream_waker_new();
    m->loop = NULL;
    m->loop_over = false;
    CHECK(m->s != NULL && m->waker != NULL);
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

void
model_rounds(void (*run)(struct choices *, unsigned steps, bool without_memory),
             bool without_memory)
{
    uint64_t seed = first_seed();
    int64_t until = platform_now_ns() + INT64_C(1000000000) * MODEL_SECONDS;
    uint64_t rounds = 0;
    printf("model: seeds from %llu\n", (unsigned long long)seed);
    do {
        struct choices choices = {.state = (seed + rounds) * 0x9e3779b97f4a7c15u | 1};
        run(&choices, 300, without_memory);
        rounds++;
    } while (platform_now_ns() < until && getenv("MODEL_SEED") == NULL);
    printf("model: %llu rounds\n", (unsigned long long)rounds);
}

void
test_model_random_operations(void)
{
    model_rounds(model_run, false);
}

void
test_model_random_operations_without_memory(void)
{
    model_rounds(model_run, true);
}
