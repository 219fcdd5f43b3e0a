/* unit_ends.c: counts of readers and writers, and watchers. */
#include "test.h"

#include <sched.h>

/* ---- Readers ---- */

static stream *
stream_that_closes(bool close_on_last_reader)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    options.close_on_last_reader = close_on_last_reader;
    stream *s = stream_new_with(&options);
    CHECK(s != NULL);
    return s;
}

void
test_unit_last_reader_closes(void)
{
    stream *s = stream_that_closes(true);
    struct parked_write write;
    stream_expect_reader(s); /* a call */
    stream_add_reader(s);    /* makes its reader */
    stream_drop_reader(s);   /* and is over */
    CHECK(!stream_reader_closed(s));
    stream_expect_reader(s);
    stream_drop_reader(s);
    CHECK(!stream_reader_closed(s));
    stream_add_reader(s);
    stream_drop_reader(s);
    CHECK(!stream_reader_closed(s));
    CHECK(park_text(s, &write, "taken", false) == STREAM_OK);
    stream_drop_reader(s);
    CHECK(stream_reader_closed(s) && stream_append(s, "x", 1) == STREAM_CLOSED);
    stream_release(s);
}

void
test_unit_expected_readers_that_never_come_close_nothing(void)
{
    stream *s = stream_that_closes(true);
    stream_expect_reader(s);
    stream_expect_reader(s);
    stream_drop_reader(s);
    stream_drop_reader(s);
    CHECK(!stream_reader_closed(s));
    stream_expect_reader(s);
    stream_add_reader(s);
    stream_drop_reader(s);
    stream_expect_reader(s); /* a second call that carries the buffer, */
    stream_drop_reader(s);   /* while the first reader goes */
    CHECK(!stream_reader_closed(s));
    stream_drop_reader(s);
    CHECK(stream_reader_closed(s));
    stream_release(s);
}

void
test_unit_last_reader_keeps(void)
{
    stream *s = stream_that_closes(false);
    stream_add_reader(s);
    stream_drop_reader(s);
    CHECK(!stream_reader_closed(s));
    write_text(s, "goes on");
    stream_release(s);
}

static void *
come_and_go(void *arg)
{
    for (int i = 0; i < 2000 * SCALE; i++) {
        stream_add_reader(arg);
        stream_expect_reader(arg);
        stream_drop_reader(arg);
        stream_drop_reader(arg);
    }
    return NULL;
}

void
test_unit_readers_count_from_many_threads(void)
{
    stream *s = stream_that_closes(true);
    struct crew crew = {0};
    stream_add_reader(s);
    for (int i = 0; i < 3; i++) {
        crew_add(&crew, come_and_go, s);
    }
    crew_join(&crew);
    CHECK(!stream_reader_closed(s));
    stream_drop_reader(s);
    CHECK(stream_reader_closed(s));
    stream_release(s);
}

/* ---- Writers ---- */

void
test_unit_last_writer(void)
{
    struct test_reason reason;
    stream *s = stream_unknown(), *known = stream_new(4), *ended = stream_unknown();
    stream_add_writer(s);
    stream_add_writer(s);
    CHECK(!stream_drop_writer(s) && stream_drop_writer(s));
    CHECK(!stream_is_aborted(s) && !stream_is_whole(s));
    stream_add_writer(s);
    CHECK(stream_abort(s, make_reason(&reason)) && !stream_drop_writer(s));
    stream_add_writer(known);
    write_text(known, "four");
    CHECK(!stream_drop_writer(known));
    stream_add_writer(ended);
    stream_end(ended);
    CHECK(!stream_drop_writer(ended));
    stream_release(s);
    stream_release(known);
    stream_release(ended);
}

/* ---- Watchers ---- */

struct watch {
    stream_watcher watcher; /* first */
    atomic_int notices;
    _Atomic(int) status;
};

static void
note_watch(stream_watcher *watcher, stream_status status)
{
    struct watch *watch = (struct watch *)(void *)watcher;
    watch->status = status;
    watch->notices++;
}

static void
start_watch(stream *s, struct watch *watch)
{
    *watch = (struct watch){.watcher = {.notify = note_watch}, .status = STREAM_AGAIN};
    stream_watch(s, &watch->watcher);
}

static bool
told(struct watch *watch, stream_status status)
{
    return watch->notices == 1 && watch->status == (int)status;
}

void
test_unit_watchers_are_told_that_all_was_read(void)
{
    stream *s = stream_unknown(), *known = stream_new(4);
    struct watch watches[3], of_known;
    write_text(s, "abc");
    start_watch(s, &watches[0]);
    start_watch(s, &watches[1]);
    drain(s, 3);
    CHECK(watches[0].notices == 0 && stream__validate(s));
    write_text(s, "d");
    stream_end(s);
    CHECK(watches[0].notices == 0 && watches[1].notices == 0);
    drain(s, 1);
    CHECK(told(&watches[0], STREAM_OK) && told(&watches[1], STREAM_OK));
    start_watch(s, &watches[2]);
    CHECK(told(&watches[2], STREAM_OK) && stream__validate(s));
    stream_close_reader(s);
    stream_release(s);
    CHECK(told(&watches[0], STREAM_OK));

    start_watch(known, &of_known);
    write_text(known, "four");
    CHECK(of_known.notices == 0);
    drain(known, 4);
    CHECK(told(&of_known, STREAM_OK));
    stream_release(known);
}

void
test_unit_watchers_are_told_of_an_end_after_the_reading(void)
{
    stream *s = stream_unknown();
    struct watch watch;
    write_text(s, "abc");
    drain(s, 3);
    start_watch(s, &watch);
    CHECK(watch.notices == 0);
    stream_end(s);
    CHECK(told(&watch, STREAM_OK));
    stream_release(s);
}

static void
check_closed(void (*close)(stream *))
{
    stream *s = stream_unknown();
    struct watch before, after;
    write_text(s, "abc");
    start_watch(s, &before);
    close(s);
    CHECK(told(&before, STREAM_CLOSED));
    start_watch(s, &after);
    CHECK(told(&after, STREAM_CLOSED) && stream__validate(s));
    drain(s, 3);
    stream_release(s);
    CHECK(told(&before, STREAM_CLOSED));
}

static struct test_reason reason;

static void
close_by_abort(stream *s)
{
    CHECK(stream_abort(s, make_reason(&reason)));
}

static void
close_by_last_reader(stream *s)
{
    s->close_on_last_reader = true;
    stream_add_reader(s);
    stream_drop_reader(s);
}

void
test_unit_watchers_are_told_that_nobody_reads(void)
{
    check_closed(stream_close_reader);
    check_closed(close_by_abort);
    check_closed(close_by_last_reader);
}

void
test_unit_watchers_are_told_at_free(void)
{
    stream *s = stream_unknown();
    struct watch open, unread;
    start_watch(s, &open);
    stream_release(s);
    CHECK(told(&open, STREAM_CLOSED));
    s = stream_unknown();
    write_text(s, "abc");
    stream_end(s);
    start_watch(s, &unread);
    CHECK(unread.notices == 0);
    stream_release(s);
    CHECK(told(&unread, STREAM_CLOSED));
}

/* ---- Beside the last read ---- */

/* Enough reads to make their thread the favourite of the lock, whose unlocking orders
 * nothing; the last of them is the race. */
enum { WATCH_RACES = 1500 * SCALE, READS_FIRST = 40 };

struct watch_race {
    stream *s;
    struct turns turns; /* two a race */
    atomic_uint ready, done;
};

static void *
race_to_read(void *arg)
{
    struct watch_race *race = arg;
    for (unsigned i = 1; turns_await(&race->turns, 2 * i - 1); i++) {
        for (int reads_first = READS_FIRST; reads_first > 0; reads_first--) {
            drain(race->s, 1);
        }
        race->ready = i;
        await_count(&race->turns.now, 2 * i);
        drain(race->s, 1);
        race->done = i;
    }
    return NULL;
}

/* One of the two tells: the last read, or the end (or the watcher) that comes then. */
static void
run_watch_race(bool watch_first)
{
    struct watch_race race = {0};
    struct crew crew = {0};
    struct choices choices = {.state = 31};
    char bytes[READS_FIRST + 1] = "";
    turns_begin(&race.turns);
    crew_add(&crew, race_to_read, &race);
    for (unsigned i = 1; turns_go_on(&race.turns, i, WATCH_RACES); i++) {
        struct watch watch;
        stream *s = race.s = stream_unknown();
        CHECK(stream_append(s, bytes, sizeof bytes) == STREAM_OK);
        if (watch_first) {
            start_watch(s, &watch);
        } else {
            stream_end(s);
        }
        race.turns.now = 2 * i - 1;
        await_count(&race.ready, i);
        uint64_t pause = choose(&choices, 8);
        race.turns.now = 2 * i;
        while (pause-- > 0) {
            platform_relax();
        }
        if (watch_first) {
            stream_end(s);
        } else {
            start_watch(s, &watch);
        }
        await_count(&race.done, i);
        CHECK(told(&watch, STREAM_OK));
        stream_release(s);
    }
    crew_join(&crew);
}

void
test_unit_the_end_beside_the_last_read(void)
{
    run_watch_race(true);
}

void
test_unit_a_watcher_beside_the_last_read(void)
{
    run_watch_race(false);
}

/* ---- What goes with the stream ---- */

/* What an attachment that knows its stream finds when it is released. */
static void
share_released(void *arg)
{
    stream **s = arg;
    CHECK(stream_try_share(*s) == NULL);
    *s = NULL;
}

void
test_unit_try_share(void)
{
    stream *s = stream_unknown(), *known = s;
    CHECK(stream_attach(s, &known, share_released));
    CHECK(stream_try_share(s) == s);
    stream_release(s);
    CHECK(known == s);
    stream_release(s);
    CHECK(known == NULL);
}

static void
count_release(void *arg)
{
    ++*(int *)arg;
}

void
test_unit_attachment(void)
{
    int released = 0;
    stream *s = stream_unknown();
    CHECK(stream_attachment(s) == NULL);
    CHECK(stream_attach(s, &released, count_release));
    CHECK(stream_attachment(s) == &released);
    int other = 0; /* the first stays */
    CHECK(!stream_attach(s, &other, count_release) && other == 0);
    CHECK(stream_attachment(s) == &released);
    stream_view view = {0};
    CHECK(adopt_copy(s, "bytes that a view keeps", 23) == STREAM_OK);
    stream_reader_lock(s);
    CHECK(stream_view_locked(s, UINT64_MAX, &view) == STREAM_OK);
    stream_reader_unlock(s);
    stream_release(stream_share(s));
    CHECK(released == 0);
    stream_release(s);
    CHECK(released == 1);
    stream_view_release(&view);
    CHECK(released == 1);
}

/* A part of something larger counts with all of it, until it leaves the chain. */
void
test_unit_adopted_bytes_hold_more(void)
{
    stream *s = stream_not_seekable();
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(stream_batch_adopt(&batch, "part", 4, release_nothing, NULL) == STREAM_OK);
    stream_batch_holds(&batch, 1000);
    CHECK(stream_batch_adopt(&batch, "whole", 5, release_nothing, NULL) == STREAM_OK);
    stream_batch_holds(&batch, 3);
    CHECK(stream_commit(s, &batch) == STREAM_OK && stream__validate(s));
    CHECK(info_of(s).retained_bytes == 1005 && info_of(s).written_offset == 9);
    drain(s, 9);
    CHECK(stream__validate(s) && info_of(s).retained_bytes == 0);
    stream_release(s);
}
