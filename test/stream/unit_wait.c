/* unit_wait.c: a reader that waits, and each thing that ends its wait. */
#include "test.h"

#include <errno.h>
#include <signal.h>

void
test_unit_wait_answers_at_once(void)
{
    stream *s = stream_unknown();
    write_text(s, "abc");
    CHECK(wait_for(s, 0, 3, STREAM_FOREVER) == STREAM_OK);
    CHECK(wait_for(s, 1, 4, STREAM_FOREVER) == STREAM_OK);
    CHECK(wait_for(s, 0, 4, 0) == STREAM_TIMEDOUT);
    CHECK(wait_for(s, 0, 4, -1) == STREAM_TIMEDOUT);
    stream_end(s);
    CHECK(wait_for(s, 0, UINT64_MAX, STREAM_FOREVER) == STREAM_OK);
    CHECK(info_of(s).waiters == 0);
    stream_release(s);
}

void
test_unit_wait_times_out(void)
{
    stream *s = stream_unknown();
    int64_t begin = platform_now_ns();
    CHECK(wait_for(s, 0, 1, 20 * MS) == STREAM_TIMEDOUT);
    CHECK(platform_now_ns() - begin >= 20 * MS);
    stream_want spinning = {
        .need_offset = 1, .deadline_ns = platform_now_ns() + MS, .spin_ns = UINT32_MAX};
    CHECK(stream_wait(s, &spinning) == STREAM_TIMEDOUT);
    CHECK(info_of(s).waiters == 0 && stream__validate(s));
    stream_release(s);
}

static void
change_append(stream *s)
{
    write_text(s, "x");
}

static void
change_adopt(stream *s)
{
    adopt_text(s, "adopted");
}

static void
change_commit(stream *s)
{
    stream_batch batch = STREAM_BATCH_INIT;
    CHECK(batch_adopt_copy(&batch, "batch", 5) == STREAM_OK);
    CHECK(stream_commit(s, &batch) == STREAM_OK);
}

static void
change_drain(stream *s)
{
    char byte;
    CHECK(read_some(s, &byte, 1) == 1);
}

static void
change_seek(stream *s)
{
    uint64_t position;
    CHECK(stream_seek(s, 1, 0, &position) == STREAM_OK);
}

static void
change_read_at(stream *s)
{
    char byte;
    CHECK(stream_read_at(s, 0, &byte, 1) == STREAM_OK);
}

static void
change_take(stream *s)
{
    stream_view view;
    CHECK(stream_view_take_at(s, 0, 2, &view) == STREAM_OK);
    stream_view_release(&view);
}

void
test_unit_wait_is_woken_by_each_change(void)
{
    void (*const changes[])(stream *) = {
        change_append, change_adopt,   change_commit, stream_end,         change_drain,
        change_seek,   change_read_at, change_take,   stream_close_reader};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        stream *s = stream_unknown();
        write_text(s, "two");
        struct sleeper sleepers[3];
        for (int n = 0; n < 3; n++) {
            start_sleeper(&sleepers[n], s, 4, NULL);
        }
        await_waiters(s, 3);
        CHECK(stream__validate(s));
        changes[i](s);
        for (int n = 0; n < 3; n++) {
            join_sleeper(&sleepers[n], STREAM_OK);
        }
        CHECK(info_of(s).waiters == 0);
        stream_release(s);
    }
}

/* A move back to where the stream began, or to a position for which somebody was woken
 * before, is news as any other. */
void
test_unit_wait_is_woken_by_an_old_position(void)
{
    stream *s = stream_unknown();
    char bytes[8];
    write_text(s, "abcdefgh");
    for (int64_t target = 0; target < 2; target++) {
        struct sleeper sleeper;
        uint64_t position;
        CHECK(read_some(s, bytes, 3) == 3);
        start_sleeper(&sleeper, s, 9, NULL);
        await_waiters(s, 1);
        sleep_ms(5);
        CHECK(stream_seek(s, 1, 0, &position) == STREAM_OK);
        join_sleeper(&sleeper, STREAM_OK);
        CHECK(read_some(s, bytes, 3) == 3);
        start_sleeper(&sleeper, s, 9, NULL);
        await_waiters(s, 1);
        sleep_ms(5);
        CHECK(stream_seek(s, target, 0, &position) == STREAM_OK);
        join_sleeper(&sleeper, STREAM_OK);
    }
    stream_release(s);
}

void
test_unit_wait_sleeps_through_what_is_too_little(void)
{
    stream *s = stream_unknown();
    struct sleeper six, whole;
    start_sleeper(&six, s, 6, NULL);
    start_sleeper(&whole, s, UINT64_MAX, NULL);
    await_waiters(s, 2);
    write_text(s, "five.");
    sleep_ms(5);
    CHECK(info_of(s).waiters == 2);
    write_text(s, "6");
    join_sleeper(&six, STREAM_OK);
    CHECK(info_of(s).waiters == 1);
    stream_end(s);
    join_sleeper(&whole, STREAM_OK);
    stream_release(s);
}

static void
on_signal(int number)
{
    (void)number;
}

void
test_unit_wait_is_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    stream *s = stream_unknown();
    struct sleeper sleeper;
    start_want(&sleeper, s,
               &(stream_want){.need_offset = 1,
                              .deadline_ns = STREAM_FOREVER,
                              .interruptible = true});
    await_waiters(s, 1);
    sleep_ms(20);
    CHECK(pthread_kill(sleeper.thread, SIGUSR1) == 0);
    join_sleeper(&sleeper, STREAM_INTERRUPTED);
    CHECK(info_of(s).waiters == 0);

    start_sleeper(&sleeper, s, 1, NULL);
    await_waiters(s, 1);
    write_text(s, "x");
    join_sleeper(&sleeper, STREAM_OK);
    stream_release(s);
}

static void *
set_event(void *arg)
{
    sleep_ms(5);
    platform_event_set(arg);
    return NULL;
}

void
test_unit_event(void)
{
    platform_event event;
    platform_event_init(&event);
    CHECK(!platform_event_is_set(&event));
    int64_t soon = platform_now_ns() + 2 * MS;
    CHECK(platform_event_wait(&event, soon, 1000, false) == PLATFORM_TIMEDOUT);
    for (uint32_t spin_ns = 0; spin_ns <= 100000000; spin_ns += 50000000) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, set_event, &event) == 0);
        CHECK(platform_event_wait(&event, INT64_MAX, spin_ns, false) == PLATFORM_SET);
        CHECK(pthread_join(thread, NULL) == 0 && platform_event_is_set(&event));
        platform_event_clear(&event);
    }
    platform_event_set(&event);
    platform_event_set(&event);
    CHECK(platform_event_wait(&event, 0, 0, true) == PLATFORM_SET);
    platform_event_destroy(&event);
}
