/*
 * oom.c: every allocation of every operation refused in turn.  An operation that
 * answers STREAM_NOMEM must have changed nothing; one that can do without answers OK.
 */
#include "test.h"

#define PIECE (2 * VIEW_COPY_BYTES + 40)

struct scene {
    stream *s;
    stream_batch batch;
    stream_view view;
    uint8_t bytes[4 * PIECE + 4 * APPEND_LOCKED_BYTES];
};

static stream_status
op_new(struct scene *scene)
{
    stream *s = stream_new(7);
    stream_release(s);
    (void)scene;
    return s == NULL ? STREAM_NOMEM : STREAM_OK;
}

static stream_status
op_append(struct scene *scene)
{
    return stream_append(scene->s, "a few bytes more", 7);
}

static stream_status
op_append_long(struct scene *scene)
{
    return stream_append(scene->s, scene->bytes, 2 * APPEND_LOCKED_BYTES);
}

static stream_status
op_adopt(struct scene *scene)
{
    return adopt_copy(scene->s, scene->bytes, PIECE);
}

static stream_status
op_batch_append(struct scene *scene)
{
    return stream_batch_append(&scene->batch, scene->bytes, PIECE);
}

static stream_status
op_batch_adopt(struct scene *scene)
{
    return batch_adopt_copy(&scene->batch, scene->bytes, PIECE);
}

static stream_status
op_commit(struct scene *scene)
{
    return stream_commit(scene->s, &scene->batch);
}

/* There is room: it is written, if need be in the slab of its own. */
static stream_status
op_park(struct scene *scene)
{
    struct parked_write write;
    stream_status status = park_batch(scene->s, &write, &scene->batch);
    CHECK(write.notices == 0);
    return status;
}

/* Over the mark nothing is allocated, and what was parked comes in with no memory. */
static stream_status
op_let_in(struct scene *scene)
{
    struct parked_write write;
    scene->s->high_bytes = scene->s->low_bytes = 1;
    scene->s->open_below = 0;
    CHECK(stream_append(scene->s, "x", 1) == STREAM_BUSY);
    CHECK(park_batch(scene->s, &write, &scene->batch) == STREAM_AGAIN);
    drain(scene->s, stream_available(scene->s));
    CHECK(was_written(&write) && reads(scene->s, "batch"));
    return STREAM_OK;
}

static stream_status
view_next(struct scene *scene, uint64_t max)
{
    stream_reader_lock(scene->s);
    stream_status status = stream_view_locked(scene->s, max, &scene->view);
    stream_reader_unlock(scene->s);
    return status;
}

static stream_status
op_view_small(struct scene *scene)
{
    return view_next(scene, VIEW_COPY_BYTES - 1);
}

static stream_status
op_view(struct scene *scene)
{
    return view_next(scene, UINT64_MAX);
}

static stream_status
op_view_all(struct scene *scene)
{
    return stream_view_all(scene->s, &scene->view);
}

static stream_status
op_view_take(struct scene *scene)
{
    uint64_t position = stream_position(scene->s);
    return stream_view_take_at(scene->s, position, (size_t)stream_available(scene->s),
                               &scene->view);
}

static stream_status
op_find(struct scene *scene)
{
    uint64_t found, to = stream_position(scene->s) + stream_available(scene->s);
    stream_status status =
        stream_find(scene->s, scene->bytes + 1, (size_t)to / 2, 0, to, &found);
    return status == STREAM_AGAIN ? STREAM_OK : status;
}

/* ---- Loops and channels ---- */

static stream_status
op_loop_wait(struct scene *scene)
{
    stream_pending *pending = NULL;
    stream_waker *waker = stream_waker_new();
    if (waker == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = stream_wait_on_loop(
        scene->s, waker, stream_position(scene->s), UINT64_MAX, NULL, &pending);
    CHECK((status == STREAM_AGAIN) == (pending != NULL));
    CHECK(info_of(scene->s).waiters == (pending != NULL));
    if (pending != NULL) {
        stream_pending_cancel(pending);
        status = STREAM_OK;
    }
    stream_waker_release(waker);
    return status;
}

static stream_status
wait_for_item(channel *c)
{
    stream_pending *pending = NULL;
    stream_waker *waker = stream_waker_new();
    if (waker == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = channel_wait_on_loop(c, CHANNEL_IN, waker, NULL, &pending);
    CHECK((status == STREAM_AGAIN) == (pending != NULL));
    CHECK(channel_info_of(c).way[CHANNEL_IN].receivers == (pending != NULL));
    if (pending != NULL) {
        CHECK(send_item(c, CHANNEL_IN, 1) == STREAM_OK);
        CHECK(stream_waker_take(waker) == pending);
        stream_pending_release(pending);
        stream_pending_release(pending);
        status = STREAM_OK;
    }
    stream_waker_release(waker);
    return status;
}

/* An item of the channel has taken all its room. */
static stream_status
wait_for_room(channel *c)
{
    stream_pending *pending = NULL;
    stream_waker *waker = stream_waker_new();
    if (waker == NULL) {
        return STREAM_NOMEM;
    }
    channel_item *item = make_item(1, 0, 2);
    stream_status status =
        channel_send_on_loop(c, CHANNEL_IN, item, waker, NULL, &pending);
    CHECK((status == STREAM_AGAIN) == (pending != NULL));
    CHECK(channel_info_of(c).way[CHANNEL_IN].senders == (pending != NULL));
    if (pending != NULL) {
        stream_pending_cancel(pending);
        status = STREAM_OK;
    } else {
        CHECK(use_item(item) == 2);
    }
    stream_waker_release(waker);
    return status;
}

static stream_status
op_channel(struct scene *scene)
{
    channel *c = channel_new(1);
    (void)scene;
    if (c == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = wait_for_item(c);
    bool full = status == STREAM_OK;
    if (full) {
        status = wait_for_room(c);
    }
    CHECK(receive_item(c, CHANNEL_IN) == (full ? 1 : -1));
    channel_release(c);
    return status;
}

static stream_status (*const operations[])(struct scene *) = {
    op_new,          op_append,      op_append_long, op_adopt,
    op_batch_append, op_batch_adopt, op_commit,      op_view_small,
    op_view,         op_view_all,    op_view_take,   op_find,
    op_park,         op_let_in,      op_loop_wait,   op_channel};

static void
setup(struct scene *scene, bool seekable)
{
    memset(scene, 0, sizeof *scene);
    for (size_t i = 0; i < sizeof scene->bytes; i++) {
        scene->bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    scene->s = seekable ? stream_unknown() : stream_not_seekable();
    CHECK(adopt_copy(scene->s, scene->bytes, PIECE) == STREAM_OK);
    CHECK(stream_append(scene->s, scene->bytes + PIECE, 3) == STREAM_OK);
    CHECK(adopt_copy(scene->s, scene->bytes + PIECE + 3, PIECE) == STREAM_OK);
    uint8_t skipped[3];
    CHECK(read_some(scene->s, skipped, 3) == 3);
    CHECK(stream_batch_append(&scene->batch, "batch", 5) == STREAM_OK);
}

static void
teardown(struct scene *scene)
{
    stream_view_release(&scene->view);
    stream_batch_clear(&scene->batch);
    stream_release(scene->s);
}

static void
check_unchanged(struct scene *scene, const stream_info *before)
{
    stream_info info;
    uint8_t bytes[2 * PIECE + 3];
    stream_get_info(scene->s, &info);
    CHECK(info.written_offset == before->written_offset);
    CHECK(info.read_offset == before->read_offset && info.views == 0);
    CHECK(info.retained_bytes == before->retained_bytes);
    CHECK(scene->batch.size_bytes == 5 && scene->view.data == NULL);
    CHECK(stream_copy_at(scene->s, 0, bytes, sizeof bytes) == STREAM_OK);
    CHECK(memcmp(bytes, scene->bytes, sizeof bytes) == 0);
    CHECK(foreign_live_blocks() == 2);
}

/* True when the operation never came to its n-th allocation. */
static bool
try_operation(stream_status (*operation)(struct scene *), bool seekable, long n)
{
    static struct scene scene;
    stream_info before;
    setup(&scene, seekable);
    stream_get_info(scene.s, &before);
    memory_fail_at(n);
    stream_status status = operation(&scene);
    bool failed = memory_failed();
    CHECK(status == STREAM_OK || (status == STREAM_NOMEM && failed));
    if (status == STREAM_NOMEM) {
        check_unchanged(&scene, &before);
    }
    CHECK(stream__validate(scene.s));
    teardown(&scene);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
    return !failed;
}

void
test_oom_each_allocation_of_each_operation(void)
{
    size_t count = sizeof operations / sizeof operations[0];
    for (size_t i = 0; i < 2 * count; i++) {
        long n = 1;
        while (!try_operation(operations[i / 2], i % 2 == 0, n)) {
            n++;
        }
        CHECK(n < 10);
    }
}
