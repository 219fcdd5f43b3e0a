/* stress_wait.c: many threads wait on one stream, end it and let it go. */
#include "test.h"

#include <poll.h>
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

/* ---- Event loops beside threads, on a stream with marks ---- */

enum { LOOP_WRITERS = 2, LOOP_WRITES = 300, LOOP_PIECE = 60, LOOP_HIGH = 100 };

struct loop_flow {
    stream *s;
    atomic_uint next;
    atomic_ullong written;
};

static void *
loop_writer(void *arg)
{
    static const char text[LOOP_PIECE + 1] =
        "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";
    struct loop_flow *flow = arg;
    struct choices choices = {.state = 81 + flow->next++};
    for (int i = 0; i < LOOP_WRITES; i++) {
        uint64_t size = 1 + choose(&choices, LOOP_PIECE);
        struct parked_write write;
        stream_status status =
            park_text(flow->s, &write, text + LOOP_PIECE - size, i % 2 == 0);
        while (status == STREAM_AGAIN && write.notices == 0) {
            sched_yield();
        }
        CHECK(status == STREAM_OK || was_written(&write));
        flow->written += size;
    }
    return NULL;
}

/* True: the one that somebody waits for was among them. */
static bool
take_over(stream_waker *waker, const stream_pending *awaited)
{
    bool taken = false;
    for (stream_pending *p = stream_waker_take(waker), *next; p != NULL; p = next) {
        next = p->next;
        CHECK((p == awaited) == (p->user != NULL));
        taken = taken || p == awaited;
        stream_pending_release(p);
    }
    return taken;
}

/* Waits for more than there is, often for more than the marks would let in; for ever,
 * or gives up, if need be while it is told. */
static void
wait_in_loop(stream *s, stream_waker *waker, struct choices *choices)
{
    stream_pending *pending = NULL;
    uint64_t position = stream_position(s);
    uint64_t need = position + stream_available(s) + 1 + choose(choices, 3 * LOOP_HIGH);
    stream_status status = stream_wait_on_loop(s, waker, position, need, s, &pending);
    if (status != STREAM_AGAIN) {
        CHECK(status == STREAM_OK || status == STREAM_BUSY);
    } else if (choose(choices, 2) == 0) {
        struct pollfd fd = {.fd = stream_waker_fd(waker), .events = POLLIN};
        do {
            CHECK(poll(&fd, 1, -1) == 1);
        } while (!take_over(waker, pending));
        stream_pending_release(pending);
    } else {
        pending->user = NULL;
        stream_pending_cancel(pending);
        (void)take_over(waker, NULL);
    }
}

static void *
loop_reader(void *arg)
{
    struct loop_flow *flow = arg;
    stream_waker *waker = stream_waker_new();
    struct choices choices = {.state = 91};
    uint64_t total = 0;
    CHECK(waker != NULL);
    for (bool whole = false; !whole;) {
        char bytes[2 * LOOP_HIGH];
        whole = stream_is_whole(flow->s);
        for (size_t n = 1; n > 0; total += n) {
            n = read_some(flow->s, bytes, 1 + choose(&choices, sizeof bytes - 1));
        }
        wait_in_loop(flow->s, waker, &choices);
    }
    CHECK(total == flow->written);
    stream_waker_close(waker);
    stream_waker_release(waker);
    return NULL;
}

static void *
loop_looker(void *arg)
{
    stream *s = arg;
    stream_waker *waker = stream_waker_new();
    struct choices choices = {.state = 95};
    CHECK(waker != NULL);
    while (!stream_is_whole(s)) {
        wait_in_loop(s, waker, &choices);
        sched_yield();
    }
    stream_waker_close(waker);
    stream_waker_release(waker);
    return NULL;
}

void
test_stress_loops_and_threads_wait(void)
{
    for (int round = 0; round < 10 * SCALE; round++) {
        struct loop_flow flow = {.s = stream_with_marks(LOOP_HIGH, LOOP_HIGH / 3)};
        struct crew writers = {0}, readers = {0};
        crew_add(&readers, loop_reader, &flow);
        if (round % 2 == 0) {
            crew_add(&readers, loop_looker, flow.s);
        }
        if (round % 3 == 0) {
            crew_add(&readers, impatient_reader, flow.s);
        }
        for (int i = 0; i < LOOP_WRITERS; i++) {
            crew_add(&writers, loop_writer, &flow);
        }
        crew_join(&writers);
        stream_end(flow.s);
        crew_join(&readers);
        CHECK(stream__validate(flow.s) && info_of(flow.s).waiters == 0);
        stream_release(flow.s);
        CHECK(memory_live_blocks() == 0);
    }
}
