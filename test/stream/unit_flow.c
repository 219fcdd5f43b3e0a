/* unit_flow.c: watermarks, and writes that wait for room. */
#include "test.h"

#include <sched.h>

static const char ten[] = "0123456789";

/* Ten bytes are unread, as many as the high mark allows. */
static stream *
full_stream(uint64_t low_bytes)
{
    stream *s = stream_with_marks(10, low_bytes);
    write_text(s, ten);
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY);
    return s;
}

void
test_unit_marks_have_a_gap(void)
{
    stream *s = full_stream(4);
    struct parked_write write, second;
    CHECK(park_text(s, &write, "abc", false) == STREAM_AGAIN);
    drain(s, 5);
    CHECK(is_parked(&write) && info_of(s).parked == 1 && stream__validate(s));
    drain(s, 1);
    CHECK(was_written(&write) && info_of(s).parked == 0);
    CHECK(stream_available(s) == 7 && stream__validate(s));
    CHECK(park_text(s, &second, "defg", false) == STREAM_OK);
    CHECK(stream_append(s, "", 0) == STREAM_OK);
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY);
    CHECK(reads(s, "6789abcdefg"));
    stream_release(s);
}

void
test_unit_room_at_the_exact_marks(void)
{
    stream *s = stream_with_marks(10, 4);
    struct parked_write writes[3];
    write_text(s, "012345678");
    write_text(s, "9");
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY);
    CHECK(adopt_copy(s, "x", 1) == STREAM_BUSY);
    CHECK(foreign_live_blocks() == 0);
    CHECK(park_text(s, &writes[0], "abcde", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[1], "f", true) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[2], "g", false) == STREAM_AGAIN);
    drain(s, 6);
    CHECK(was_written(&writes[0]) && was_written(&writes[1]) && is_parked(&writes[2]));
    CHECK(stream_available(s) == 10 && stream__validate(s));
    drain(s, 5);
    CHECK(is_parked(&writes[2]));
    drain(s, 1);
    CHECK(was_written(&writes[2]) && reads(s, "cdefg"));
    stream_release(s);
}

void
test_unit_nobody_overtakes(void)
{
    stream *s = full_stream(2);
    struct parked_write writes[4];
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(park_text(s, &writes[0], "A", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[1], "BB", true) == STREAM_AGAIN);
    drain(s, 7);
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY);
    CHECK(adopt_copy(s, "x", 1) == STREAM_BUSY);
    CHECK(stream_batch_append(&batch, "x", 1) == STREAM_OK);
    CHECK(stream_commit(s, &batch) == STREAM_BUSY && batch.size_bytes == 1);
    stream_batch_clear(&batch);
    CHECK(park_text(s, &writes[2], "C", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[3], "D", true) == STREAM_AGAIN);
    CHECK(info_of(s).parked == 4 && stream__validate(s));
    drain(s, 1);
    for (int i = 0; i < 4; i++) {
        CHECK(was_written(&writes[i]));
    }
    CHECK(stream__validate(s) && reads(s, "89ABBCD"));
    stream_release(s);
}

void
test_unit_larger_than_the_mark(void)
{
    static char large[9000];
    stream *s = stream_with_marks(10, 0);
    struct parked_write write;
    memset(large, 'l', sizeof large - 1);
    write_text(s, "123456789");
    adopt_text(s, large);
    CHECK(park_text(s, &write, large, false) == STREAM_AGAIN);
    drain(s, stream_available(s) - 1);
    CHECK(is_parked(&write));
    drain(s, 1);
    CHECK(was_written(&write) && stream__validate(s) && reads(s, large));
    stream_release(s);
}

void
test_unit_one_byte_at_a_time(void)
{
    stream *s = stream_with_marks(1, 0);
    struct parked_write writes[3];
    static const char *const texts[] = {"b", "cc", "d"};
    write_text(s, "a");
    for (int i = 0; i < 3; i++) {
        CHECK(park_text(s, &writes[i], texts[i], i == 1) == STREAM_AGAIN);
    }
    CHECK(reads(s, "a") && was_written(&writes[0]) && is_parked(&writes[1]));
    CHECK(reads(s, "b") && was_written(&writes[1]) && is_parked(&writes[2]));
    drain(s, 1);
    CHECK(is_parked(&writes[2]));
    CHECK(reads(s, "c") && was_written(&writes[2]) && reads(s, "d"));
    stream_release(s);
}

/* Under the mark, not at it: unread bytes stay below the high mark plus one write. */
void
test_unit_both_marks_alike(void)
{
    stream *s = full_stream(10);
    struct parked_write writes[2];
    CHECK(park_text(s, &writes[0], "a", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[1], "b", false) == STREAM_AGAIN);
    CHECK(is_parked(&writes[0]));
    drain(s, 1);
    CHECK(was_written(&writes[0]) && is_parked(&writes[1]));
    drain(s, 1);
    CHECK(was_written(&writes[1]) && reads(s, "23456789ab"));
    stream_release(s);
}

void
test_unit_no_marks_no_waiting(void)
{
    stream *s = stream_unknown();
    struct parked_write write;
    for (int i = 0; i < 100; i++) {
        CHECK(park_text(s, &write, ten, i % 2 == 0) == STREAM_OK);
        CHECK(write.notices == 0);
    }
    CHECK(stream_available(s) == 1000);
    stream_release(s);
}

/* `out` of three gives up. */
static void
check_unpark(int out)
{
    stream *s = full_stream(5);
    struct parked_write writes[3];
    static const char *const texts[] = {"head", "middle", "tail"};
    for (int i = 0; i < 3; i++) {
        CHECK(park_text(s, &writes[i], texts[i], i == 1) == STREAM_AGAIN);
    }
    CHECK(stream_unpark(s, &writes[out].parked) && stream__validate(s));
    CHECK(!stream_unpark(s, &writes[out].parked));
    CHECK(writes[out].notices == 0 && has_back(&writes[out], texts[out]));
    CHECK(info_of(s).parked == 2);
    drain(s, 10);
    char rest[20] = "";
    for (int i = 0; i < 3; i++) {
        if (i != out) {
            CHECK(was_written(&writes[i]) && !stream_unpark(s, &writes[i].parked));
            strcat(rest, texts[i]);
        }
    }
    CHECK(stream__validate(s) && reads(s, rest));
    stream_release(s);
}

void
test_unit_unpark(void)
{
    for (int out = 0; out < 3; out++) {
        check_unpark(out);
    }
    stream *s = full_stream(5);
    struct parked_write write;
    CHECK(park_text(s, &write, "again", true) == STREAM_AGAIN);
    CHECK(stream_unpark(s, &write.parked) && stream__validate(s));
    drain(s, 1);
    write_text(s, "y");
    stream_batch batch = write.parked.batch;
    CHECK(park_batch(s, &write, &batch) == STREAM_AGAIN && batch.first == NULL);
    CHECK(reads(s, "123456789y") && was_written(&write) && reads(s, "again"));
    stream_release(s);
}

/* ---- Refusals ---- */

static void
refuse_by_end(stream *s)
{
    stream_end(s);
}

static void
refuse_by_close(stream *s)
{
    stream_close_reader(s);
}

static struct test_reason reason;

static void
refuse_by_abort(stream *s)
{
    CHECK(stream_abort(s, make_reason(&reason)));
}

static void
check_refusal(void (*refuse)(stream *), stream_status expected)
{
    stream *s = full_stream(5);
    struct parked_write small, adopted;
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(park_text(s, &small, "small", false) == STREAM_AGAIN);
    CHECK(park_text(s, &adopted, "adopted", true) == STREAM_AGAIN);
    refuse(s);
    CHECK(small.notices == 1 && small.status == expected);
    CHECK(adopted.notices == 1 && adopted.status == expected);
    CHECK(!stream_unpark(s, &small.parked) && stream__validate(s));
    CHECK(has_back(&small, "small") && has_back(&adopted, "adopted"));
    CHECK(stream_batch_append(&batch, "late", 4) == STREAM_OK);
    CHECK(park_batch(s, &small, &batch) == expected && batch.size_bytes == 4);
    CHECK(small.notices == 0 && reads(s, ten) && foreign_live_blocks() == 0);
    stream_batch_clear(&batch);
    stream_release(s);
}

void
test_unit_parked_writes_are_refused(void)
{
    check_refusal(refuse_by_end, STREAM_CLOSED);
    check_refusal(refuse_by_close, STREAM_CLOSED);
    check_refusal(refuse_by_abort, STREAM_ABORTED);
    CHECK(reason.released == 1);
}

void
test_unit_max_bytes(void)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.max_bytes = 15;
    options.high_bytes = options.low_bytes = 10;
    stream *s = stream_new_with(&options);
    struct parked_write writes[4];
    CHECK(stream_append(s, "more than fifteen", 17) == STREAM_TOO_LARGE);
    CHECK(adopt_copy(s, "more than fifteen", 17) == STREAM_TOO_LARGE);
    CHECK(park_text(s, &writes[0], "more than fifteen", true) == STREAM_TOO_LARGE);
    write_text(s, ten);
    CHECK(park_text(s, &writes[0], "sixsix", true) == STREAM_TOO_LARGE);
    CHECK(park_text(s, &writes[0], "abc", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[1], "three", true) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[2], "de", true) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[3], "f", false) == STREAM_AGAIN);
    drain(s, 10);
    CHECK(was_written(&writes[0]) && was_written(&writes[2]));
    CHECK(writes[1].notices == 1 && writes[1].status == STREAM_TOO_LARGE);
    CHECK(writes[3].notices == 1 && writes[3].status == STREAM_TOO_LARGE);
    CHECK(has_back(&writes[1], "three") && has_back(&writes[3], "f"));
    CHECK(!stream_is_whole(s) && stream__validate(s) && reads(s, "abcde"));
    CHECK(stream_append(s, "", 0) == STREAM_OK);
    CHECK(stream_append(s, "x", 1) == STREAM_TOO_LARGE);
    stream_release(s);
}

/* ---- A reader that needs more than the mark ---- */

void
test_unit_waiting_reader_suspends_the_mark(void)
{
    stream *s = full_stream(5);
    struct parked_write writes[3];
    struct sleeper sleeper;
    for (int i = 0; i < 3; i++) {
        CHECK(park_text(s, &writes[i], "12345678", i == 1) == STREAM_AGAIN);
    }
    start_sleeper(&sleeper, s, 25, NULL);
    join_sleeper(&sleeper, STREAM_OK);
    CHECK(was_written(&writes[0]) && was_written(&writes[1]) && is_parked(&writes[2]));
    CHECK(stream_available(s) == 26 && stream__validate(s));
    drain(s, 21);
    CHECK(was_written(&writes[2]) && reads(s, "4567812345678"));
    stream_release(s);
}

void
test_unit_writes_go_on_while_a_reader_waits(void)
{
    stream *s = full_stream(5);
    struct parked_write write;
    struct sleeper sleeper;
    start_sleeper(&sleeper, s, 40, NULL);
    await_waiters(s, 1);
    for (int i = 0; i < 2; i++) {
        write_text(s, ten);
        CHECK(park_text(s, &write, "five.", true) == STREAM_OK);
    }
    join_sleeper(&sleeper, STREAM_OK);
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY && stream_available(s) == 40);
    start_sleeper(&sleeper, s, UINT64_MAX, NULL);
    await_waiters(s, 1);
    write_text(s, "all of it");
    stream_end(s);
    join_sleeper(&sleeper, STREAM_OK);
    stream_release(s);
}

/* A waiter in the list that is at no moment of its own. */
struct list_waiter {
    struct stream_waiter waiter; /* first */
    int notices;
};

static void
note_wake(struct stream_waiter *waiter)
{
    ((struct list_waiter *)(void *)waiter)->notices++;
}

static void
put_in_list(stream *s, struct list_waiter *waiter, uint64_t need)
{
    *waiter = (struct list_waiter){
        .waiter = {.need_offset = need, .notify = note_wake, .queued = true}};
    platform_lock_take(&s->wait_lock);
    s->waiting = &waiter->waiter;
    s->waiter_count++;
    s->front.attention++;
    platform_unlock(&s->wait_lock);
}

/* Not woken yet, it has been given what it needs. */
void
test_unit_satisfied_reader_suspends_nothing(void)
{
    stream *s = full_stream(5);
    struct list_waiter waiter;
    put_in_list(s, &waiter, 10);
    CHECK(stream_append(s, "x", 1) == STREAM_BUSY && waiter.notices == 1);
    put_in_list(s, &waiter, 10);
    stream__admit(s);
    CHECK(waiter.notices == 0);
    stream__wake(s);
    CHECK(waiter.notices == 1 && stream__validate(s));
    stream_release(s);
}

/* Whoever lets a write in wakes those who wait for it. */
void
test_unit_letting_in_wakes(void)
{
    stream *s = full_stream(5);
    struct list_waiter waiter;
    struct parked_write write;
    CHECK(park_text(s, &write, "abc", true) == STREAM_AGAIN);
    put_in_list(s, &waiter, 12);
    stream__admit(s);
    CHECK(was_written(&write) && waiter.notices == 1 && stream__validate(s));
    stream_release(s);
}

/* The one whose turn it becomes does not fit any more. */
void
test_unit_unpark_passes_the_turn_on(void)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.max_bytes = 20;
    options.high_bytes = 10;
    options.low_bytes = 2;
    stream *s = stream_new_with(&options);
    struct parked_write writes[3];
    write_text(s, ten);
    CHECK(park_text(s, &writes[0], "12345678", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[1], "fi", false) == STREAM_AGAIN);
    CHECK(park_text(s, &writes[2], "sixsix", false) == STREAM_AGAIN);
    drain(s, 8);
    CHECK(was_written(&writes[0]) && is_parked(&writes[1]) && is_parked(&writes[2]));
    CHECK(stream_unpark(s, &writes[1].parked));
    CHECK(writes[2].notices == 1 && writes[2].status == STREAM_TOO_LARGE);
    CHECK(has_back(&writes[1], "fi") && has_back(&writes[2], "sixsix"));
    stream_release(s);
}

/* A write that parks while a reader comes down looks once more itself. */
struct room_race {
    stream *s;
    struct turns turns;
};

enum { RACES = 2000 * SCALE };

static void *
race_to_drain(void *arg)
{
    struct room_race *race = arg;
    for (unsigned i = 1; turns_await(&race->turns, i); i++) {
        drain(race->s, 1);
    }
    return NULL;
}

static void
ignore_watch(stream_watcher *watcher, stream_status status)
{
    (void)watcher;
    (void)status;
}

/* With a watcher each read looks around, and finds nobody parked yet. */
static void
run_room_race(bool watched)
{
    struct room_race race = {.s = stream_with_marks(1, 0)};
    struct crew crew = {0};
    struct choices choices = {.state = 11};
    stream_watcher watcher = {.notify = ignore_watch};
    if (watched) {
        stream_watch(race.s, &watcher);
    }
    turns_begin(&race.turns);
    crew_add(&crew, race_to_drain, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, RACES); i++) {
        struct parked_write write;
        stream_batch batch = STREAM_BATCH_INIT;
        write_text(race.s, "x");
        CHECK(stream_batch_append(&batch, "y", 1) == STREAM_OK);
        uint64_t pause = choose(&choices, 20);
        race.turns.now = i;
        while (pause-- > 0) {
            platform_relax();
        }
        if (park_batch(race.s, &write, &batch) == STREAM_AGAIN) {
            while (write.notices == 0) {
                sched_yield();
            }
            CHECK(was_written(&write));
        }
        while (stream_available(race.s) != 1) {
            sched_yield();
        }
        drain(race.s, 1);
    }
    crew_join(&crew);
    CHECK(stream__validate(race.s));
    stream_release(race.s);
}

void
test_unit_parking_beside_the_read_that_makes_room(void)
{
    run_room_race(false);
    run_room_race(true);
}

/* ---- Refused between queue and chain ---- */

enum { LONG_LINKS = 3000 };

static void *
let_in(void *arg)
{
    drain(arg, 1);
    return NULL;
}

static void
check_long_write(struct parked_write *write, stream *s, uint64_t written)
{
    stream_batch *batch = &write->parked.batch;
    CHECK(write->notices == 1 && info_of(s).written_offset == written);
    if (write->status == STREAM_OK) {
        CHECK(written == 1 + LONG_LINKS && batch->first == NULL);
        return;
    }
    CHECK(write->status == STREAM_CLOSED && written == 1);
    CHECK(batch->first->offset == 0 && batch->last->offset == LONG_LINKS - 1);
    stream *other = stream_unknown();
    CHECK(stream_commit(other, batch) == STREAM_OK && stream__validate(other));
    stream_release(other);
}

/* Its many links are numbered without the lock: time for the stream to be closed. */
void
test_unit_refused_while_it_comes_in(void)
{
    struct choices choices = {.state = 61};
    int64_t until = platform_now_ns() + 2000 * MS;
    for (int round = 0; round < 60 * SCALE && platform_now_ns() < until; round++) {
        stream *s = stream_with_marks(1, 0);
        stream_batch batch = STREAM_BATCH_INIT;
        struct parked_write write;
        struct crew crew = {0};
        write_text(s, "x");
        for (int i = 0; i < LONG_LINKS; i++) {
            CHECK(stream_batch_adopt(&batch, "y", 1, release_nothing, NULL) ==
                  STREAM_OK);
        }
        CHECK(park_batch(s, &write, &batch) == STREAM_AGAIN);
        crew_add(&crew, let_in, s);
        while (info_of(s).parked != 0) {
            platform_relax();
        }
        for (uint64_t pause = choose(&choices, 300); pause > 0; pause--) {
            platform_relax();
        }
        stream_close_reader(s);
        uint64_t written = info_of(s).written_offset;
        crew_join(&crew);
        check_long_write(&write, s, written);
        CHECK(stream__validate(s));
        stream_release(s);
    }
}

/* Small writes that waited share slabs as others do. */
void
test_unit_small_parked_writes_share_slabs(void)
{
    stream *s = stream_with_marks(100, 0);
    struct parked_write write;
    uint64_t most = 0;
    for (int i = 0; i < 2000; i++) {
        if (park_text(s, &write, ten, false) == STREAM_AGAIN) {
            drain(s, stream_available(s));
            CHECK(was_written(&write));
        }
        most = most > info_of(s).retained_bytes ? most : info_of(s).retained_bytes;
    }
    CHECK(most < 20000 * 2 + 2 * SLAB_MOST_BYTES);
    stream_release(s);
}
