/* unit_loop_send.c: senders that wait for room in a channel, in an event loop. */
#include "test.h"

#define IN CHANNEL_IN

struct scene {
    channel *c;
    stream_waker *waker;
};

/* With one item, 0, in a channel that has room for `max_bytes`. */
static struct scene
full_channel(uint64_t max_bytes)
{
    struct scene scene = {channel_new(max_bytes), stream_waker_new()};
    CHECK(scene.c != NULL && scene.waker != NULL);
    CHECK(channel_send(scene.c, IN, make_item(max_bytes, 0, 0)) == STREAM_OK);
    return scene;
}

static void
end_scene(struct scene *scene)
{
    CHECK(channel_is_quiet(scene->c));
    channel_release(scene->c);
    stream_waker_release(scene->waker);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

/* An item of that size; it is freed where the channel does not take it. */
static stream_status
send_on_loop(struct scene *scene, stream_waker *waker, uint64_t size, unsigned number,
             stream_pending **pending)
{
    channel_item *item = make_item(size, 0, number);
    *pending = NULL;
    stream_status status =
        channel_send_on_loop(scene->c, IN, item, waker, pending, pending);
    CHECK((status == STREAM_AGAIN) == (*pending != NULL));
    CHECK(*pending == NULL || (*pending)->user == pending);
    if (status == STREAM_CLOSED || status == STREAM_NOMEM) {
        CHECK(use_item(item) == (int)number);
    }
    return status;
}

static stream_pending *
waiting_send(struct scene *scene, uint64_t size, unsigned number)
{
    stream_pending *pending;
    CHECK(send_on_loop(scene, scene->waker, size, number, &pending) == STREAM_AGAIN);
    pending->user = NULL;
    return pending;
}

static void
take_one(stream_waker *waker, stream_pending *pending, bool sent)
{
    CHECK(is_woken(waker) && stream_waker_take(waker) == pending);
    CHECK(pending->next == NULL && channel_was_sent(pending) == sent);
    stream_pending_release(pending);
    stream_pending_release(pending);
}

void
test_unit_loop_send_answers_at_once(void)
{
    struct scene scene = full_channel(1);
    stream_pending *pending;
    memory_fail_at(1);
    CHECK(send_on_loop(&scene, scene.waker, 1, 1, &pending) == STREAM_NOMEM);
    CHECK(memory_failed() && channel_info_of(scene.c).way[IN].senders == 0);
    CHECK(receive_item(scene.c, IN) == 0);
    CHECK(send_on_loop(&scene, scene.waker, 1, 2, &pending) == STREAM_OK);
    CHECK(receive_item(scene.c, IN) == 2 && !is_woken(scene.waker));
    channel_close(scene.c);
    CHECK(send_on_loop(&scene, scene.waker, 1, 3, &pending) == STREAM_CLOSED);
    end_scene(&scene);
}

/* In their order, among threads and whoever else waits. */
void
test_unit_loop_send_gets_room(void)
{
    struct scene scene = full_channel(1);
    struct test_sender between;
    struct channel_sleeper last;
    stream_pending *first = waiting_send(&scene, 1, 1);
    CHECK(park_item(scene.c, IN, &between, make_item(1, 0, 2)) == STREAM_AGAIN);
    stream_pending *third = waiting_send(&scene, 1, 3);
    start_channel_sleeper(&last, scene.c, IN, make_item(1, 0, 4), NULL);
    await_senders(scene.c, IN, 4);
    CHECK(send_item(scene.c, IN, 5) == STREAM_BUSY && !is_woken(scene.waker));
    CHECK(receive_item(scene.c, IN) == 0);
    take_one(scene.waker, first, true);
    CHECK(receive_item(scene.c, IN) == 1 && was_sent(&between));
    CHECK(!is_woken(scene.waker) && receive_item(scene.c, IN) == 2);
    take_one(scene.waker, third, true);
    CHECK(receive_item(scene.c, IN) == 3);
    join_channel_sleeper(&last, STREAM_OK);
    CHECK(receive_item(scene.c, IN) == 4);
    end_scene(&scene);
}

void
test_unit_loop_send_tells_who_receives(void)
{
    struct scene scene = full_channel(1);
    struct test_receiver receiver = {0};
    stream_pending *pending = waiting_send(&scene, 1, 1);
    CHECK(receive_item(scene.c, IN) == 0 && receive_item(scene.c, IN) == 1);
    CHECK(listen_to(scene.c, IN, &receiver) == STREAM_AGAIN);
    stream_pending *none;
    CHECK(send_on_loop(&scene, scene.waker, 1, 2, &none) == STREAM_OK);
    CHECK(receiver.notices == 1 && receive_item(scene.c, IN) == 2);
    take_one(scene.waker, pending, true);
    end_scene(&scene);
}

void
test_unit_loop_send_is_refused(void)
{
    struct scene scene = full_channel(1);
    stream_pending *first = waiting_send(&scene, 1, 1);
    stream_pending *second = waiting_send(&scene, 1, 2);
    channel_close(scene.c);
    CHECK(is_woken(scene.waker) && stream_waker_take(scene.waker) == first);
    CHECK(first->next == second && second->next == NULL);
    CHECK(!channel_was_sent(first) && !channel_was_sent(second));
    for (int i = 0; i < 2; i++) {
        stream_pending_release(first);
        stream_pending_release(second);
    }
    CHECK(foreign_live_blocks() == 1); /* what was queued */
    CHECK(receive_item(scene.c, IN) == 0 && receive_item(scene.c, IN) == -2);
    end_scene(&scene);
}

/* Before its turn has come it was not sent, and those behind it are let in. */
void
test_unit_loop_send_is_cancelled(void)
{
    struct scene scene = full_channel(3);
    struct test_sender behind;
    CHECK(receive_item(scene.c, IN) == 0);
    CHECK(channel_send(scene.c, IN, make_item(2, 0, 1)) == STREAM_OK);
    stream_pending *large = waiting_send(&scene, 2, 2);
    CHECK(park_item(scene.c, IN, &behind, make_item(1, 0, 3)) == STREAM_AGAIN);
    stream_pending *next = waiting_send(&scene, 1, 4);
    CHECK(behind.notices == 0 && foreign_live_blocks() == 4);
    stream_pending_cancel(large);
    CHECK(was_sent(&behind) && foreign_live_blocks() == 3);
    CHECK(!is_woken(scene.waker) && channel_info_of(scene.c).way[IN].senders == 1);
    CHECK(receive_item(scene.c, IN) == 1 && receive_item(scene.c, IN) == 3);
    take_one(scene.waker, next, true);
    CHECK(receive_item(scene.c, IN) == 4 && receive_item(scene.c, IN) == -1);
    end_scene(&scene);
}

/* What has been taken has been sent, whatever comes after; told or not. */
void
test_unit_loop_send_let_in_and_cancelled(void)
{
    struct scene scene = full_channel(1);
    stream_pending *told = waiting_send(&scene, 1, 1);
    CHECK(receive_item(scene.c, IN) == 0);
    stream_pending_cancel(told);
    CHECK(is_woken(scene.waker) && stream_waker_take(scene.waker) == told);
    stream_pending_release(told);
    stream_pending *taken = waiting_send(&scene, 1, 2);
    CHECK(receive_item(scene.c, IN) == 1 && stream_waker_take(scene.waker) == taken);
    stream_pending_release(taken);
    stream_pending_cancel(taken);
    CHECK(receive_item(scene.c, IN) == 2);
    end_scene(&scene);
}

void
test_unit_loop_send_refused_and_cancelled(void)
{
    struct scene scene = full_channel(1);
    stream_pending *pending = waiting_send(&scene, 1, 1);
    channel_close(scene.c);
    stream_pending_cancel(pending);
    CHECK(is_woken(scene.waker) && stream_waker_take(scene.waker) == pending);
    stream_pending_release(pending);
    CHECK(foreign_live_blocks() == 1 && receive_item(scene.c, IN) == 0);
    end_scene(&scene);
}

/* The loop is gone: what was let in stays sent, told or not; what is cancelled was not
 * sent; what is refused is freed. */
void
test_unit_loop_send_of_a_closed_loop(void)
{
    struct scene scene = full_channel(1);
    stream_pending *sent[2] = {waiting_send(&scene, 1, 1), waiting_send(&scene, 1, 2)};
    stream_pending *cancelled = waiting_send(&scene, 1, 3);
    stream_pending *refused = waiting_send(&scene, 1, 4);
    CHECK(receive_item(scene.c, IN) == 0 && is_woken(scene.waker));
    stream_waker_close(scene.waker);
    CHECK(receive_item(scene.c, IN) == 1 && stream_waker_take(scene.waker) == NULL);
    CHECK(channel_was_sent(sent[0]) && channel_was_sent(sent[1]));
    stream_pending_release(sent[0]);
    stream_pending_cancel(sent[1]);
    stream_pending_cancel(cancelled);
    CHECK(channel_info_of(scene.c).way[IN].senders == 1);
    channel_close(scene.c);
    CHECK(!channel_was_sent(refused) && foreign_live_blocks() == 2);
    stream_pending_release(refused);
    CHECK(receive_item(scene.c, IN) == 2 && foreign_live_blocks() == 0);
    end_scene(&scene);
}

/* Channel and waker live as long as the wait. */
void
test_unit_loop_send_holds_its_channel(void)
{
    struct scene scene = full_channel(1);
    stream_pending *pending = waiting_send(&scene, 1, 1);
    channel_release(scene.c);
    stream_waker_release(scene.waker);
    CHECK(foreign_live_blocks() == 2);
    stream_pending_cancel(pending);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

/* ---- A cancel beside the room ---- */

struct room_race {
    channel *c;
    struct turns turns;
    atomic_uint done;
};

static void *
race_for_room(void *arg)
{
    struct room_race *race = arg;
    struct choices choices = {.state = 73};
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        for (uint64_t pause = choose(&choices, 60); pause > 0; pause--) {
            platform_relax();
        }
        CHECK(receive_item(race->c, IN) == 0);
        race->done = i;
    }
    return NULL;
}

/* STREAM_OK: there was room already. */
static stream_status
cancel_once(struct scene *scene, struct choices *choices)
{
    stream_pending *pending;
    stream_status status = send_on_loop(scene, scene->waker, 1, 1, &pending);
    if (status == STREAM_AGAIN) {
        for (uint64_t pause = choose(choices, 60); pause > 0; pause--) {
            platform_relax();
        }
        pending->user = NULL;
        stream_pending_cancel(pending);
    }
    return status;
}

/* Whoever comes first decides whether it was sent. */
void
test_unit_loop_send_cancel_beside_room(void)
{
    struct scene scene = full_channel(1);
    struct room_race race = {.c = scene.c};
    struct crew crew = {0};
    struct choices choices = {.state = 75};
    turns_begin(&race.turns);
    crew_add(&crew, race_for_room, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, 20000 * SCALE); i++) {
        CHECK(i == 1 || send_item(scene.c, IN, 0) == STREAM_OK);
        race.turns.now = i;
        stream_status status = cancel_once(&scene, &choices);
        await_count(&race.done, i);
        int got = receive_item(scene.c, IN);
        CHECK(got == 1 || (got == -1 && status == STREAM_AGAIN));
        stream_pending *told = stream_waker_take(scene.waker);
        CHECK((told != NULL) == (got == 1 && status == STREAM_AGAIN));
        if (told != NULL) {
            CHECK(told->next == NULL);
            stream_pending_release(told);
        }
    }
    crew_join(&crew);
    end_scene(&scene);
}
