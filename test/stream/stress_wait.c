/* stress_wait.c: many threads wait on one stream, end it and let it go. */
#include "test.h"

#include <sched.h>

/* ---- Waiters that time out while they are woken, and closing ---- */

static void *
impatient_reader(void *arg)
{
    stream *s = arg;
    struct choices choices = {.state = (uint64_t)(uintptr_t)&choices | 1};
    while (!stream_is_whole(s)) {
        uint64_t position = stream_position(s);
        uint64_t need = position + stream_available(s) + 1 + choose(&choices, 3);
        stream_want want = {.position = position, .need_offset = need};
        want.deadline_ns = platform_now_ns() + (int64_t)choose(&choices, 30000);
        want.spin_ns = (uint32_t)choose(&choices, 3) * 1000;
        stream_status status = stream_wait(s, &want);
        CHECK(status == STREAM_OK || status == STREAM_TIMEDOUT);
    }
    return NULL;
}

static void *
patient_reader(void *arg)
{
    stream *s = arg;
    while (!stream_is_whole(s)) {
        CHECK(wait_for(s, stream_position(s), UINT64_MAX, STREAM_FOREVER) == STREAM_OK);
    }
    return NULL;
}

void
test_stress_waiters_and_closing(void)
{
    for (int round = 0; round < 40 * SCALE; round++) {
        stream *s = stream_unknown();
        struct crew crew = {0};
        crew_add(&crew, impatient_reader, s);
        crew_add(&crew, impatient_reader, s);
        crew_add(&crew, patient_reader, s);
        crew_add(&crew, patient_reader, s);
        for (int i = 0; i < 100; i++) {
            char byte = 'x';
            CHECK(stream_append(s, &byte, 1) == STREAM_OK);
            if (i % 4 == 0) {
                CHECK(read_some(s, &byte, 1) == 1);
            }
            sched_yield();
        }
        if (round % 2 == 0) {
            stream_end(s);
        } else {
            stream_close_reader(s);
        }
        crew_join(&crew);
        CHECK(stream__validate(s));
        stream_release(s);
    }
}

/* ---- Nothing lands after the end ---- */

/* Each write needs a slab of its own: it lets the lock go between check and link. */
static void *
append_until_closed(void *arg)
{
    static const char bytes[APPEND_LOCKED_BYTES];
    while (stream_append(arg, bytes, sizeof bytes) == STREAM_OK) {
    }
    return NULL;
}

void
test_stress_nothing_lands_after_the_end(void)
{
    for (int round = 0; round < 500 * SCALE; round++) {
        stream *s = stream_unknown();
        struct crew crew = {0};
        crew_add(&crew, append_until_closed, s);
        crew_add(&crew, append_until_closed, s);
        while (stream_available(s) < 100 * APPEND_LOCKED_BYTES) {
            platform_relax();
        }
        if (round % 2 == 0) {
            stream_end(s);
        } else {
            stream_close_reader(s);
        }
        uint64_t written = stream_available(s);
        crew_join(&crew);
        CHECK(stream_available(s) == written);
        stream_release(s);
    }
}

/* ---- A position that moves wakes who waits for another ---- */

struct moves {
    stream *s;
    atomic_uint turn;
};

enum { MOVES = 20000 * SCALE };

/* Waits, with no deadline, until the other has moved the position on. */
static void *
position_follower(void *arg)
{
    struct moves *shared = arg;
    for (uint64_t position = 0; position < MOVES; position++) {
        shared->turn++;
        CHECK(wait_for(shared->s, position, UINT64_MAX, STREAM_FOREVER) == STREAM_OK);
        CHECK(stream_position(shared->s) == position + 1);
    }
    return NULL;
}

void
test_stress_moved_position_wakes(void)
{
    struct moves shared = {.s = stream_unknown()};
    struct crew crew = {0};
    struct choices choices = {.state = 9};
    for (int i = 0; i < MOVES; i++) {
        CHECK(stream_append(shared.s, "x", 1) == STREAM_OK);
    }
    crew_add(&crew, position_follower, &shared);
    for (unsigned i = 0; i < MOVES; i++) {
        while (shared.turn <= i) {
            platform_relax();
        }
        for (uint64_t pause = choose(&choices, 200); pause > 0; pause--) {
            platform_relax();
        }
        char byte;
        CHECK(read_some(shared.s, &byte, 1) == 1);
    }
    crew_join(&crew);
    stream_release(shared.s);
}

/* ---- References dropped by everyone at once ---- */

static void *
drop_references(void *arg)
{
    stream *s = arg;
    stream_view view, copy;
    char byte;
    CHECK(stream_view_all(s, &view) == STREAM_OK);
    (void)stream_append(s, "more", 4);
    copy = stream_view_share(&view);
    stream_view_release(&view);
    (void)read_some(s, &byte, 1);
    stream_release(s);
    CHECK(copy.size_bytes == 0 || copy.data[0] != 0);
    stream_view_release(&copy);
    return NULL;
}

void
test_stress_references(void)
{
    static char block[2000];
    memset(block, 'r', sizeof block);
    for (int round = 0; round < 300 * SCALE; round++) {
        stream *s = stream_unknown();
        struct crew crew = {0};
        CHECK(adopt_copy(s, block, sizeof block) == STREAM_OK);
        CHECK(adopt_copy(s, block, sizeof block) == STREAM_OK);
        for (int i = 0; i < 4; i++) {
            crew_add(&crew, drop_references, stream_share(s));
        }
        stream_release(s);
        crew_join(&crew);
        CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
    }
}
