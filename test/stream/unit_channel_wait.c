/* unit_channel_wait.c: threads that wait for a channel, and each thing that ends it. */
#include "test.h"

#include <signal.h>

#define IN CHANNEL_IN

static channel *
channel_of(uint64_t max_bytes)
{
    channel *c = channel_new(max_bytes);
    CHECK(c != NULL);
    return c;
}

static channel_want
want_for(int64_t after_ns, stream_token *token)
{
    channel_want want = {.deadline_ns = STREAM_FOREVER, .token = token};
    if (after_ns != STREAM_FOREVER) {
        want.deadline_ns = platform_now_ns() + after_ns;
    }
    return want;
}

static stream_status
wait_in(channel *c, int64_t after_ns, stream_token *token)
{
    channel_want want = want_for(after_ns, token);
    return channel_wait(c, IN, &want);
}

/* An item that is not taken is freed. */
static stream_status
send_within(channel *c, int64_t after_ns, stream_token *token, unsigned number)
{
    channel_want want = want_for(after_ns, token);
    channel_item *item = make_item(1, 0, number);
    stream_status status = channel_send_wait(c, IN, item, &want);
    if (status != STREAM_OK) {
        CHECK(use_item(item) == (int)number);
    }
    return status;
}

/* ---- Receivers ---- */

void
test_unit_channel_wait_answers_at_once(void)
{
    channel *c = channel_of(1);
    stream_token token;
    stream_token_init(&token);
    CHECK(wait_in(c, 0, NULL) == STREAM_TIMEDOUT);
    CHECK(wait_in(c, -1, NULL) == STREAM_TIMEDOUT);
    CHECK(wait_in(c, MS, &token) == STREAM_TIMEDOUT);
    stream_token_raise(&token);
    CHECK(wait_in(c, STREAM_FOREVER, &token) == STREAM_CANCELLED);
    CHECK(wait_in(c, 0, &token) == STREAM_CANCELLED);
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    CHECK(wait_in(c, STREAM_FOREVER, &token) == STREAM_OK); /* it did not wait */
    CHECK(receive_item(c, IN) == 1);
    stream_token_clear(&token);
    channel_close(c);
    CHECK(wait_in(c, STREAM_FOREVER, &token) == STREAM_OK);
    CHECK(channel_is_quiet(c));
    stream_token_destroy(&token);
    channel_release(c);
}

void
test_unit_channel_wait_times_out(void)
{
    channel *c = channel_of(1);
    int64_t begin = platform_now_ns();
    CHECK(wait_in(c, 20 * MS, NULL) == STREAM_TIMEDOUT);
    CHECK(platform_now_ns() - begin >= 20 * MS);
    channel_want spinning = want_for(MS, NULL);
    spinning.spin_ns = UINT32_MAX;
    CHECK(channel_wait(c, IN, &spinning) == STREAM_TIMEDOUT);
    CHECK(channel_is_quiet(c) && channel_info_of(c).way[IN].receivers == 0);
    channel_release(c);
}

void
test_unit_channel_wait_is_told(void)
{
    channel *c = channel_of(1);
    struct channel_sleeper sleepers[3];
    for (uint32_t i = 0; i < 3; i++) {
        start_channel_sleeper(&sleepers[i], c, IN, NULL, NULL);
        await_receivers(c, IN, i + 1);
    }
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    join_channel_sleeper(&sleepers[0], STREAM_OK);
    CHECK(channel_info_of(c).way[IN].receivers == 2);
    channel_pass(c, IN);
    join_channel_sleeper(&sleepers[1], STREAM_OK);
    CHECK(receive_item(c, IN) == 1 && channel_is_quiet(c));
    channel_close(c);
    join_channel_sleeper(&sleepers[2], STREAM_OK);
    channel_release(c);
}

void
test_unit_channel_wait_is_cancelled(void)
{
    channel *c = channel_of(1);
    struct channel_sleeper sleepers[2];
    stream_token token;
    stream_token_init(&token);
    start_channel_sleeper(&sleepers[0], c, IN, NULL, &token);
    await_receivers(c, IN, 1);
    start_channel_sleeper(&sleepers[1], c, IN, NULL, NULL);
    await_receivers(c, IN, 2);
    stream_token_raise(&token);
    stream_token_raise(&token);
    join_channel_sleeper(&sleepers[0], STREAM_CANCELLED);
    CHECK(channel_info_of(c).way[IN].receivers == 1 && channel_is_quiet(c));
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    join_channel_sleeper(&sleepers[1], STREAM_OK);
    stream_token_destroy(&token);
    channel_release(c);
}

/* ---- A thread that is held up by a signal handler ---- */

static atomic_int held;

static void
hold_up(int number)
{
    (void)number;
    held = 1;
    while (held == 1) {
        sleep_ms(1);
    }
}

static void
hold_thread(pthread_t thread)
{
    struct sigaction action = {.sa_handler = hold_up};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    held = 0;
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    while (held != 1) {
        sleep_ms(1);
    }
}

/* It has been told and cancelled before it could look: it takes nothing, and the next
 * one is told. */
void
test_unit_channel_wait_told_and_cancelled(void)
{
    channel *c = channel_of(1);
    struct channel_sleeper sleeper;
    struct test_receiver next = {0};
    stream_token token;
    stream_token_init(&token);
    start_channel_sleeper(&sleeper, c, IN, NULL, &token);
    await_receivers(c, IN, 1);
    CHECK(listen_to(c, IN, &next) == STREAM_AGAIN);
    hold_thread(sleeper.thread);
    CHECK(send_item(c, IN, 1) == STREAM_OK && next.notices == 0);
    stream_token_raise(&token);
    CHECK(next.notices == 0);
    held = 0;
    join_channel_sleeper(&sleeper, STREAM_CANCELLED);
    CHECK(next.notices == 1 && receive_item(c, IN) == 1);
    stream_token_destroy(&token);
    channel_release(c);
}

/* Told, and its deadline or a signal came first: it looks. */
void
test_unit_channel_wait_told_too_late(void)
{
    for (int interruptible = 0; interruptible < 2; interruptible++) {
        channel *c = channel_of(1);
        struct channel_sleeper sleeper;
        channel_want want = want_for(interruptible ? STREAM_FOREVER : 1000 * MS, NULL);
        want.interruptible = interruptible == 1;
        start_channel_want(&sleeper, c, IN, NULL, &want);
        await_receivers(c, IN, 1);
        hold_thread(sleeper.thread);
        CHECK(send_item(c, IN, 1) == STREAM_OK);
        while (!interruptible && platform_now_ns() <= want.deadline_ns) {
            sleep_ms(1);
        }
        held = 0;
        join_channel_sleeper(&sleeper, STREAM_OK);
        CHECK(receive_item(c, IN) == 1);
        channel_release(c);
    }
}

static void
on_signal(int number)
{
    (void)number;
}

void
test_unit_channel_waits_are_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    channel *c = channel_of(1);
    struct channel_sleeper receiver, sender;
    channel_want want = {.deadline_ns = STREAM_FOREVER, .interruptible = true};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    start_channel_want(&receiver, c, IN, NULL, &want);
    await_receivers(c, IN, 1);
    sleep_ms(20);
    CHECK(pthread_kill(receiver.thread, SIGUSR1) == 0);
    join_channel_sleeper(&receiver, STREAM_INTERRUPTED);
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    start_channel_want(&sender, c, IN, make_item(1, 0, 2), &want);
    await_senders(c, IN, 1);
    sleep_ms(20);
    CHECK(pthread_kill(sender.thread, SIGUSR1) == 0);
    join_channel_sleeper(&sender, STREAM_INTERRUPTED);
    CHECK(use_item(sender.item) == 2 && channel_is_quiet(c));
    CHECK(receive_item(c, IN) == 1 && receive_item(c, IN) == -1);
    channel_release(c);
}

/* ---- Spinning ---- */

static void *
raise_and_send(void *arg)
{
    struct channel_sleeper *self = arg;
    sleep_ms(5);
    if (self->want.token != NULL) {
        stream_token_raise(self->want.token);
    }
    CHECK(send_item(self->c, IN, 1) == STREAM_OK);
    return NULL;
}

/* Also when it is seen without sleeping, nothing is taken after a cancel. */
void
test_unit_channel_wait_spins(void)
{
    stream_token token;
    stream_token_init(&token);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        channel *c = channel_of(1);
        pthread_t thread;
        channel_want want = want_for(STREAM_FOREVER, cancelled ? &token : NULL);
        struct channel_sleeper self = {.c = c, .want = want};
        CHECK(pthread_create(&thread, NULL, raise_and_send, &self) == 0);
        want.spin_ns = 1000000000;
        CHECK(channel_wait(c, IN, &want) == (cancelled ? STREAM_CANCELLED : STREAM_OK));
        CHECK(pthread_join(thread, NULL) == 0 && receive_item(c, IN) == 1);
        channel_release(c);
    }
    stream_token_destroy(&token);
}

/* ---- Senders ---- */

void
test_unit_channel_send_wait(void)
{
    channel *c = channel_of(1);
    stream_token token;
    stream_token_init(&token);
    stream_token_raise(&token);
    CHECK(send_within(c, 0, &token, 1) == STREAM_OK); /* it did not wait */
    CHECK(send_within(c, STREAM_FOREVER, &token, 2) == STREAM_CANCELLED);
    stream_token_clear(&token);
    CHECK(send_within(c, 0, NULL, 3) == STREAM_TIMEDOUT);
    int64_t begin = platform_now_ns();
    CHECK(send_within(c, 20 * MS, &token, 4) == STREAM_TIMEDOUT);
    CHECK(platform_now_ns() - begin >= 20 * MS && channel_is_quiet(c));
    CHECK(channel_info_of(c).way[IN].senders == 0);
    channel_close(c);
    CHECK(send_within(c, STREAM_FOREVER, &token, 5) == STREAM_CLOSED);
    CHECK(receive_item(c, IN) == 1 && receive_item(c, IN) == -2);
    stream_token_destroy(&token);
    channel_release(c);
}

void
test_unit_channel_send_wait_gets_room(void)
{
    channel *c = channel_of(1);
    struct channel_sleeper sleepers[3];
    CHECK(send_item(c, IN, 0) == STREAM_OK);
    for (unsigned i = 0; i < 3; i++) {
        start_channel_sleeper(&sleepers[i], c, IN, make_item(1, 0, i + 1), NULL);
        await_senders(c, IN, i + 1);
    }
    CHECK(receive_item(c, IN) == 0);
    join_channel_sleeper(&sleepers[0], STREAM_OK);
    CHECK(channel_info_of(c).way[IN].senders == 2);
    channel_close(c);
    join_channel_sleeper(&sleepers[1], STREAM_CLOSED);
    join_channel_sleeper(&sleepers[2], STREAM_CLOSED);
    CHECK(use_item(sleepers[1].item) == 2 && use_item(sleepers[2].item) == 3);
    CHECK(receive_item(c, IN) == 1 && receive_item(c, IN) == -2);
    channel_release(c);
}

/* Who gives up, in whichever way, stood in the way of the one behind. */
void
test_unit_channel_send_wait_gives_up(void)
{
    stream_token token;
    stream_token_init(&token);
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        channel *c = channel_of(3);
        struct channel_sleeper large;
        struct test_sender small;
        channel_want want =
            want_for(cancelled ? STREAM_FOREVER : 100 * MS, cancelled ? &token : NULL);
        CHECK(channel_send(c, IN, make_item(2, 0, 0)) == STREAM_OK);
        start_channel_want(&large, c, IN, make_item(2, 0, 1), &want);
        await_senders(c, IN, 1);
        CHECK(park_item(c, IN, &small, make_item(1, 0, 2)) == STREAM_AGAIN);
        CHECK(small.notices == 0);
        if (cancelled) {
            stream_token_raise(&token);
        }
        join_channel_sleeper(&large, cancelled ? STREAM_CANCELLED : STREAM_TIMEDOUT);
        CHECK(was_sent(&small) && use_item(large.item) == 1 && channel_is_quiet(c));
        CHECK(receive_item(c, IN) == 0 && receive_item(c, IN) == 2);
        channel_release(c);
    }
    stream_token_destroy(&token);
}

/* What has been taken has been sent, whatever comes after. */
void
test_unit_channel_send_wait_let_in_and_cancelled(void)
{
    channel *c = channel_of(1);
    struct channel_sleeper sleeper;
    stream_token token;
    stream_token_init(&token);
    CHECK(send_item(c, IN, 0) == STREAM_OK);
    start_channel_sleeper(&sleeper, c, IN, make_item(1, 0, 1), &token);
    await_senders(c, IN, 1);
    hold_thread(sleeper.thread);
    CHECK(receive_item(c, IN) == 0);
    stream_token_raise(&token);
    held = 0;
    join_channel_sleeper(&sleeper, STREAM_OK);
    CHECK(receive_item(c, IN) == 1);
    stream_token_destroy(&token);
    channel_release(c);
}

/* ---- Races ---- */

struct cancel_race {
    channel *c;
    stream_token token;
    struct turns turns;
    bool sends;
};

enum { CANCEL_RACES = 5000 * SCALE };

static void *
race_to_cancel(void *arg)
{
    struct cancel_race *race = arg;
    struct choices choices = {.state = 61};
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        for (uint64_t pause = choose(&choices, 20); pause > 0; pause--) {
            platform_relax();
        }
        stream_token_raise(&race->token);
    }
    return NULL;
}

/* Raised at any moment while a wait begins, it is not lost. */
void
test_unit_channel_token_while_the_wait_begins(void)
{
    struct cancel_race race = {.c = channel_of(1)};
    struct crew crew = {0};
    stream_token_init(&race.token);
    turns_begin(&race.turns);
    crew_add(&crew, race_to_cancel, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, CANCEL_RACES); i++) {
        race.turns.now = i;
        if (i % 2 == 0) {
            CHECK(send_item(race.c, IN, 0) == STREAM_OK);
            CHECK(send_within(race.c, STREAM_FOREVER, &race.token, 1) ==
                  STREAM_CANCELLED);
            CHECK(receive_item(race.c, IN) == 0);
        } else {
            CHECK(wait_in(race.c, STREAM_FOREVER, &race.token) == STREAM_CANCELLED);
        }
        /* Of this turn, even if the wait saw it early. */
        stream_token_clear(&race.token);
    }
    crew_join(&crew);
    CHECK(channel_is_quiet(race.c));
    stream_token_destroy(&race.token);
    channel_release(race.c);
}

struct deadline_race {
    channel *c;
    struct turns turns;
    atomic_uint done;
    bool makes_room; /* the other receives, or sends */
    struct test_receiver behind;
};

static void *
race_the_deadline(void *arg)
{
    struct deadline_race *race = arg;
    struct choices choices = {.state = 67};
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        if (!race->makes_room) {
            CHECK(listen_to(race->c, IN, &race->behind) == STREAM_AGAIN);
        }
        for (uint64_t pause = choose(&choices, 60); pause > 0; pause--) {
            platform_relax();
        }
        if (race->makes_room) {
            CHECK(receive_item(race->c, IN) == 0);
        } else {
            CHECK(send_item(race->c, IN, 0) == STREAM_OK);
        }
        race->done = i;
    }
    return NULL;
}

static stream_status
wait_briefly(struct deadline_race *race, struct choices *choices)
{
    int64_t after_ns = 1 + (int64_t)choose(choices, 3000);
    return race->makes_room ? send_within(race->c, after_ns, NULL, 1)
                            : wait_in(race->c, after_ns, NULL);
}

/* A wait for an item that ended by its deadline was not told: the one behind it was. */
static void
check_told(struct deadline_race *race, stream_status status)
{
    bool told = !channel_unlisten(race->c, IN, &race->behind.receiver);
    CHECK(race->behind.notices == told && (told || status == STREAM_OK));
    CHECK(receive_item(race->c, IN) == 0);
}

static void
run_deadline_race(bool makes_room)
{
    struct deadline_race race = {.c = channel_of(1), .makes_room = makes_room};
    struct crew crew = {0};
    struct choices choices = {.state = 69};
    turns_begin(&race.turns);
    crew_add(&crew, race_the_deadline, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, 4 * CANCEL_RACES); i++) {
        CHECK(!makes_room || send_item(race.c, IN, 0) == STREAM_OK);
        race.turns.now = i;
        stream_status status = wait_briefly(&race, &choices);
        CHECK(status == STREAM_OK || status == STREAM_TIMEDOUT);
        await_count(&race.done, i);
        if (makes_room) {
            CHECK(receive_item(race.c, IN) == (status == STREAM_OK ? 1 : -1));
        } else {
            check_told(&race, status);
        }
    }
    crew_join(&crew);
    CHECK(channel_is_quiet(race.c));
    channel_release(race.c);
}

/* News at the very deadline is seen, or left to the next one. */
void
test_unit_channel_wait_deadline_beside_news(void)
{
    run_deadline_race(false);
}

/* Room at the very deadline is taken, or left alone. */
void
test_unit_channel_send_wait_deadline_beside_room(void)
{
    run_deadline_race(true);
}
