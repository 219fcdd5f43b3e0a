/* unit_token.c: what cancels a wait, before, during and after it. */
#include "test.h"

#include <sched.h>

static stream_status
wait_with(stream *s, uint64_t need, int64_t after_ns, stream_token *token)
{
    stream_want want = {.position = stream_position(s), .need_offset = need};
    want.token = token;
    want.deadline_ns =
        after_ns == STREAM_FOREVER ? STREAM_FOREVER : platform_now_ns() + after_ns;
    return stream_wait(s, &want);
}

void
test_unit_token_before_the_wait(void)
{
    stream *s = stream_unknown();
    stream_token token;
    stream_token_init(&token);
    CHECK(!stream_token_is_raised(&token));
    stream_token_raise(&token);
    stream_token_raise(&token);
    CHECK(stream_token_is_raised(&token));
    CHECK(wait_with(s, 1, STREAM_FOREVER, &token) == STREAM_CANCELLED);
    CHECK(wait_with(s, 1, 0, &token) == STREAM_CANCELLED);
    write_text(s, "news first");
    CHECK(wait_with(s, 1, STREAM_FOREVER, &token) == STREAM_OK);
    CHECK(wait_with(s, 99, STREAM_FOREVER, &token) == STREAM_CANCELLED);
    stream_token_clear(&token);
    CHECK(!stream_token_is_raised(&token));
    CHECK(wait_with(s, 99, MS, &token) == STREAM_TIMEDOUT);
    CHECK(info_of(s).waiters == 0 && stream__validate(s));
    stream_token_destroy(&token);
    stream_release(s);
}

void
test_unit_token_during_the_wait(void)
{
    stream *s = stream_unknown();
    stream_token tokens[3];
    struct sleeper sleepers[3];
    for (int i = 0; i < 3; i++) {
        stream_token_init(&tokens[i]);
        start_sleeper(&sleepers[i], s, 1, &tokens[i]);
    }
    await_waiters(s, 3);
    stream_token_raise(&tokens[1]);
    join_sleeper(&sleepers[1], STREAM_CANCELLED);
    CHECK(info_of(s).waiters == 2 && stream__validate(s));
    stream_token_raise(&tokens[0]);
    join_sleeper(&sleepers[0], STREAM_CANCELLED);
    write_text(s, "x");
    join_sleeper(&sleepers[2], STREAM_OK);
    stream_token_raise(&tokens[2]);
    CHECK(info_of(s).waiters == 0 && stream__validate(s));
    stream_release(s);
    for (int i = 0; i < 3; i++) {
        stream_token_destroy(&tokens[i]);
    }
}

/* Raised between two waits, and twice, it ends just the waits until it is cleared. */
void
test_unit_token_after_the_wait(void)
{
    stream *s = stream_unknown();
    stream_token token;
    struct sleeper sleeper;
    stream_token_init(&token);
    CHECK(wait_with(s, 1, MS, &token) == STREAM_TIMEDOUT);
    stream_token_raise(&token);
    stream_token_clear(&token);
    start_sleeper(&sleeper, s, 1, &token);
    await_waiters(s, 1);
    sleep_ms(5);
    CHECK(info_of(s).waiters == 1);
    stream_token_raise(&token);
    stream_token_raise(&token);
    join_sleeper(&sleeper, STREAM_CANCELLED);
    stream_token_clear(&token);
    start_sleeper(&sleeper, s, 1, &token);
    await_waiters(s, 1);
    write_text(s, "x");
    join_sleeper(&sleeper, STREAM_OK);
    stream_token_destroy(&token);
    stream_release(s);
}

/* A cancelled reader does not suspend the high mark. */
void
test_unit_cancelled_reader_lets_nobody_in(void)
{
    stream *s = stream_with_marks(2, 1);
    struct parked_write write;
    stream_token token;
    stream_token_init(&token);
    write_text(s, "ab");
    stream_token_raise(&token);
    CHECK(park_text(s, &write, "c", false) == STREAM_AGAIN);
    CHECK(wait_with(s, 3, STREAM_FOREVER, &token) == STREAM_CANCELLED);
    CHECK(is_parked(&write) && stream_unpark(s, &write.parked));
    CHECK(has_back(&write, "c"));
    stream_token_destroy(&token);
    stream_release(s);
}

/* ---- Races ---- */

struct token_race {
    stream *s;
    stream_token token;
    struct turns turns;
    uint64_t pause_below;
};

enum { TOKEN_RACES = 10000 * SCALE };

static void *
race_to_raise(void *arg)
{
    struct token_race *race = arg;
    struct choices choices = {.state = 41};
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        for (uint64_t pause = choose(&choices, race->pause_below); pause > 0; pause--) {
            platform_relax();
        }
        stream_token_raise(&race->token);
    }
    return NULL;
}

/* Raised at any moment while the wait begins, it is not lost: no wait has a deadline
 * that would end it otherwise. */
void
test_unit_token_while_the_wait_begins(void)
{
    struct token_race race = {.s = stream_unknown(), .pause_below = 20};
    struct crew crew = {0};
    stream_token_init(&race.token);
    turns_begin(&race.turns);
    crew_add(&crew, race_to_raise, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, TOKEN_RACES); i++) {
        race.turns.now = i;
        CHECK(wait_with(race.s, 1, STREAM_FOREVER, &race.token) == STREAM_CANCELLED);
        stream_token_clear(&race.token);
    }
    crew_join(&crew);
    CHECK(info_of(race.s).waiters == 0 && stream__validate(race.s));
    stream_token_destroy(&race.token);
    stream_release(race.s);
}

/* The gap between showing the token and sleeping, made wide: the wait is raised from
 * within it, by a parked write's notice. */
struct raising_write {
    struct parked_write write; /* first */
    stream_token *token;
};

static void
raise_on_notice(stream_parked *parked, stream_status status)
{
    struct raising_write *raising = (struct raising_write *)(void *)parked;
    raising->write.status = status;
    raising->write.notices++;
    stream_token_raise(raising->token);
}

void
test_unit_token_raised_within_the_wait(void)
{
    stream *s = stream_with_marks(1, 0);
    struct raising_write raising = {0};
    stream_token token;
    stream_batch batch = STREAM_BATCH_INIT;
    stream_token_init(&token);
    raising.token = &token;
    raising.write.parked.notify = raise_on_notice;
    write_text(s, "a");
    CHECK(stream_batch_append(&batch, "b", 1) == STREAM_OK);
    CHECK(stream_park(s, &batch, &raising.write.parked) == STREAM_AGAIN);
    CHECK(wait_with(s, 3, STREAM_FOREVER, &token) == STREAM_CANCELLED);
    CHECK(raising.write.notices == 1 && stream_available(s) == 2);
    stream_token_destroy(&token);
    stream_release(s);
}

static void *
race_to_write(void *arg)
{
    struct token_race *race = arg;
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        CHECK(stream_append(race->s, "x", 1) == STREAM_OK);
    }
    return NULL;
}

/* News, cancel and deadline together: each wait ends once, as one of the three. */
void
test_unit_token_beside_news_and_deadline(void)
{
    struct token_race race = {.s = stream_unknown(), .pause_below = 1000};
    struct crew crew = {0};
    struct choices choices = {.state = 51};
    stream_token_init(&race.token);
    turns_begin(&race.turns);
    crew_add(&crew, race_to_write, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, TOKEN_RACES / 4); i++) {
        uint64_t position = stream_position(race.s);
        stream_status status = STREAM_TIMEDOUT;
        race.turns.now = i;
        if (choose(&choices, 2) == 0) {
            stream_token_raise(&race.token);
        }
        while (status != STREAM_OK) {
            bool raised = stream_token_is_raised(&race.token);
            status = wait_with(race.s, position + 1, (int64_t)choose(&choices, 60000),
                               &race.token);
            CHECK(status == STREAM_OK ||
                  status == (raised ? STREAM_CANCELLED : STREAM_TIMEDOUT));
            stream_token_clear(&race.token);
        }
        drain(race.s, 1);
    }
    crew_join(&crew);
    CHECK(stream_available(race.s) == 0 && stream__validate(race.s));
    stream_token_destroy(&race.token);
    stream_release(race.s);
}
