/* model_read.c: what the reader of the model does. */
#define _GNU_SOURCE
#include "model.h"

/* ---- Reading ---- */

void
model_step_peek(struct model *m)
{
    const uint8_t *data;
    stream_reader_lock(m->s);
    size_t size = stream_peek_locked(m->s, &data);
    CHECK(size <= model_unread(m) && (size > 0 || model_unread(m) == 0));
    CHECK(memcmp(data, m->bytes + m->position, size) == 0);
    stream_reader_unlock(m->s);
}

void
model_step_read(struct model *m)
{
    size_t asked = (size_t)model_choose_size(m, MODEL_BYTES);
    size_t n = read_some(m->s, m->scratch, asked);
    CHECK(n == (model_unread(m) < asked ? model_unread(m) : asked));
    CHECK(memcmp(m->scratch, m->bytes + m->position, n) == 0);
    m->position += n;
}

void
model_step_drain(struct model *m)
{
    uint64_t n = model_choose_size(m, model_unread(m));
    stream_reader_lock(m->s);
    stream_drain_locked(m->s, n);
    stream_reader_unlock(m->s);
    m->position += n;
}

/* A stream that is not seekable answers for what it has read only by chance. */
static bool
may_be_freed(const struct model *m, uint64_t offset)
{
    return !m->options.seekable && offset < m->position;
}

void
model_step_read_at(struct model *m)
{
    uint64_t offset = choose(m->choices, m->written + 1);
    size_t n = (size_t)model_choose_size(m, m->written - offset + 1);
    stream_status status = stream_copy_at(m->s, offset, m->scratch, n);
    if (n > m->written - offset) {
        CHECK(status == STREAM_RANGE);
        return;
    }
    CHECK(status == STREAM_OK || (status == STREAM_CHANGED && may_be_freed(m, offset)));
    CHECK(status != STREAM_OK || memcmp(m->scratch, m->bytes + offset, n) == 0);
    if (choose(m->choices, 2) == 0) {
        offset = m->position;
        n = (size_t)model_choose_size(m, model_unread(m));
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
    uint64_t most = model_unread(m) < limit ? model_unread(m) : limit;
    const uint8_t *begin = m->bytes + m->position;
    const uint8_t *newline = memchr(begin, '\n', (size_t)most);
    *status = STREAM_OK;
    *size = newline != NULL ? (uint64_t)(newline - begin) + 1 : most;
    if (newline == NULL && model_unread(m) < limit) {
        *status = !model_is_whole(m) ? STREAM_AGAIN
                  : most == 0        ? STREAM_SHORT
                                     : STREAM_OK;
    }
}

void
model_step_line(struct model *m)
{
    uint64_t limit = UINT64_MAX, expected_size, size;
    if (choose(m->choices, 3) == 0) {
        limit = 1 + model_choose_size(m, PIECE_BYTES);
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

void
model_step_seek(struct model *m)
{
    uint64_t target = choose(m->choices, m->written + 1), position = 0;
    uint64_t base[] = {0, m->position, m->written};
    int whence = (int)choose(m->choices, 3);
    stream_status status =
        stream_seek(m->s, (int64_t)(target - base[whence]), whence, &position);
    if (!m->options.seekable) {
        CHECK(status == STREAM_CHANGED && position == 0);
        return;
    }
    if (whence == 2 && (m->truncated || !model_is_whole(m))) {
        CHECK(status == STREAM_NOT_ENDED);
        return;
    }
    CHECK(status == STREAM_OK && position == target);
    m->position = target;
    model_settle(m);
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

void
model_step_find(struct model *m)
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
        if (status == STREAM_NOMEM || status == STREAM_CHANGED) {
            CHECK(status == STREAM_NOMEM ? m->may_fail : may_be_freed(m, from));
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

void
model_check_view(const struct model *m, const struct held_view *held)
{
    CHECK(held->view.data != NULL);
    CHECK(memcmp(held->view.data, m->bytes + held->offset, held->view.size_bytes) == 0);
}

static struct held_view *
free_place(struct model *m)
{
    struct held_view *held = &m->views[choose(m->choices, VIEWS_HELD)];
    if (held->view.data != NULL) {
        model_check_view(m, held);
    }
    stream_view_release(&held->view);
    held->offset = m->position;
    return held;
}

void
model_step_view(struct model *m)
{
    struct held_view *held = free_place(m);
    uint64_t max = model_choose_size(m, MODEL_BYTES);
    stream_reader_lock(m->s);
    stream_status status = stream_view_locked(m->s, max, &held->view);
    stream_reader_unlock(m->s);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK);
    CHECK(held->view.size_bytes <= max && held->view.size_bytes <= model_unread(m));
    CHECK(held->view.size_bytes > 0 || max == 0 || model_unread(m) == 0);
    model_check_view(m, held);
}

void
model_step_view_all(struct model *m)
{
    struct held_view *held = free_place(m);
    stream_status status = stream_view_all(m->s, &held->view);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK && held->view.size_bytes == model_unread(m));
    model_check_view(m, held);
}

void
model_step_view_take(struct model *m)
{
    struct held_view *held = free_place(m);
    size_t size = (size_t)model_choose_size(m, model_unread(m));
    stream_status status = stream_view_take_at(m->s, m->position, size, &held->view);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == STREAM_OK && held->view.size_bytes == size);
    model_check_view(m, held);
    m->position += size;
}

void
model_step_view_share(struct model *m)
{
    struct held_view *held = free_place(m);
    const struct held_view *other = &m->views[choose(m->choices, VIEWS_HELD)];
    if (other != held && other->view.data != NULL) {
        held->view = stream_view_share(&other->view);
        held->offset = other->offset;
        model_check_view(m, held);
    }
}

/* ---- Waiting, as far as it does not ---- */

void
model_step_wait(struct model *m)
{
    stream_token token;
    stream_want want = {.position = choose(m->choices, 4) == 0
                                        ? choose(m->choices, m->written + 1)
                                        : m->position};
    want.need_offset = choose(m->choices, m->written + 3);
    bool news = want.position != m->position || want.need_offset <= m->written ||
                model_is_whole(m);
    stream_token_init(&token);
    want.token = choose(m->choices, 2) == 0 ? &token : NULL;
    if (choose(m->choices, 2) == 0) {
        stream_token_raise(&token);
    }
    stream_status expected = want.token != NULL && stream_token_is_raised(&token)
                                 ? STREAM_CANCELLED
                                 : STREAM_TIMEDOUT;
    CHECK(stream_wait(m->s, &want) == (news ? STREAM_OK : expected));
    stream_token_destroy(&token);
}

bool
model_loop_lacks(const struct model *m)
{
    return m->loop != NULL && !m->loop_over && m->loop_position == m->position &&
           m->loop_need > m->written && !model_is_whole(m);
}

static void
forget_loop_wait(struct model *m)
{
    m->loop = NULL;
    m->loop_over = false;
}

/* Takes it, if it is over, or cancels it before or after. */
static void
end_loop_wait(struct model *m)
{
    stream_pending *loop = m->loop;
    bool over = m->loop_over, cancel = choose(m->choices, 2) == 0;
    if (cancel) {
        stream_pending_cancel(loop);
    } else if (!over) {
        return;
    }
    stream_pending *taken = stream_waker_take(m->waker);
    CHECK(taken == (over ? loop : NULL));
    if (over) {
        CHECK(taken->user == m && taken->next == NULL);
        stream_pending_release(taken);
    }
    if (!cancel) {
        stream_pending_release(loop);
    }
    forget_loop_wait(m);
}

/* It may be over at once, by what it has let in. */
static void
check_begun(struct model *m, stream_status status, stream_pending *pending)
{
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        forget_loop_wait(m);
        return;
    }
    model_settle(m);
    CHECK(status == (m->loop_over ? STREAM_OK : STREAM_AGAIN));
    if (status == STREAM_AGAIN) {
        m->loop = pending;
        return;
    }
    forget_loop_wait(m);
    stream_pending *nobodys = stream_waker_take(m->waker);
    if (nobodys != NULL) {
        CHECK(nobodys->user == NULL && nobodys->next == NULL);
        stream_pending_release(nobodys);
    }
}

void
model_step_loop_wait(struct model *m)
{
    static stream_pending beginning;
    stream_pending *pending = NULL;
    uint64_t need = m->position + choose(m->choices, model_unread(m) + 2 * PIECE_BYTES);
    bool news = model_is_whole(m) || need <= m->written;
    if (m->loop != NULL && (m->loop_over || choose(m->choices, 3) != 0)) {
        end_loop_wait(m);
        return;
    }
    stream_status status =
        stream_wait_on_loop(m->s, m->waker, m->position, need, m, &pending);
    if (m->loop != NULL) {
        CHECK(status == (news ? STREAM_OK : STREAM_BUSY) ||
              (status == STREAM_NOMEM && m->may_fail && !news));
        return;
    }
    m->loop = &beginning;
    m->loop_position = m->position;
    m->loop_need = need;
    check_begun(m, status, pending);
}
