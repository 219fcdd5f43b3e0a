/* unit_waker.c: the descriptor of an event loop, and its waits for streams and
 * channels.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define IN CHANNEL_IN

static stream_waker *
new_waker(void)
{
    stream_waker *waker = stream_waker_new();
    CHECK(waker != NULL && !is_woken(waker));
    return waker;
}

/* ---- A wait for nothing in particular ---- */

struct plain_wait {
    stream_pending pending; /* first */
    bool armed;             /* withdraw() finds it */
    int withdrawn, lapsed, destroyed;
};

static bool
withdraw(stream_pending *pending)
{
    struct plain_wait *self = (struct plain_wait *)(void *)pending;
    bool armed = self->armed;
    self->armed = false;
    self->withdrawn += armed;
    return armed;
}

static void
lapse(stream_pending *pending)
{
    ((struct plain_wait *)(void *)pending)->lapsed++;
}

static void
destroy(stream_pending *pending)
{
    ((struct plain_wait *)(void *)pending)->destroyed++;
}

static void
arm(struct plain_wait *wait, stream_waker *waker)
{
    *wait = (struct plain_wait){.armed = true};
    stream_pending_init(&wait->pending, waker, wait);
    wait->pending.withdraw = withdraw;
    wait->pending.lapse = lapse;
    wait->pending.destroy = destroy;
    stream_pending_share(&wait->pending);
}

static bool
post(struct plain_wait *wait)
{
    wait->armed = false;
    return stream_pending_post(&wait->pending);
}

/* Takes what is over, which must be that, and lets it go. */
static bool
takes(stream_waker *waker, struct plain_wait *const *waits, size_t count)
{
    bool same = is_woken(waker) == (count > 0);
    stream_pending *pending = stream_waker_take(waker);
    for (size_t i = 0; i < count; i++) {
        same = same && pending == &waits[i]->pending && pending->user == waits[i];
        stream_pending *next = pending != NULL ? pending->next : NULL;
        if (pending != NULL) {
            stream_pending_release(pending);
        }
        pending = next;
    }
    return same && pending == NULL && !is_woken(waker);
}

void
test_unit_waker_tells_in_order(void)
{
    stream_waker *waker = new_waker();
    struct plain_wait waits[3];
    CHECK(takes(waker, NULL, 0));
    for (int i = 0; i < 3; i++) {
        arm(&waits[i], waker);
    }
    CHECK(post(&waits[1]) && is_woken(waker));
    CHECK(post(&waits[0]) && post(&waits[2]));
    CHECK(
        takes(waker, (struct plain_wait *const[]){&waits[1], &waits[0], &waits[2]}, 3));
    CHECK(takes(waker, NULL, 0));
    for (int i = 0; i < 3; i++) {
        CHECK(waits[i].destroyed == 0);
        stream_pending_release(&waits[i].pending);
        CHECK(waits[i].destroyed == 1 && waits[i].lapsed == 0);
    }
    arm(&waits[0], waker);
    CHECK(post(&waits[0]) && takes(waker, (struct plain_wait *const[]){&waits[0]}, 1));
    stream_pending_release(&waits[0].pending);
    stream_waker_release(waker);
}

void
test_unit_waker_descriptor(void)
{
    stream_waker *waker = new_waker();
    struct plain_wait wait;
    int fd = stream_waker_fd(waker);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    arm(&wait, waker);
    CHECK(stream_waker_share(waker) == waker);
    stream_waker_release(waker);
    stream_waker_release(waker);
    stream_waker_release(NULL);
    /* It lives as long as a wait. */
    CHECK(fcntl(fd, F_GETFD) >= 0 && post(&wait) && is_woken(waker));
    CHECK(takes(waker, (struct plain_wait *const[]){&wait}, 1));
    stream_pending_release(&wait.pending);
    CHECK(wait.destroyed == 1 && fcntl(fd, F_GETFD) < 0 && errno == EBADF);
}

void
test_unit_waker_close(void)
{
    stream_waker *waker = new_waker();
    struct plain_wait before, after, never;
    arm(&before, waker);
    arm(&after, waker);
    arm(&never, waker);
    CHECK(post(&before));
    stream_waker_close(waker);
    CHECK(before.lapsed == 1 && stream_waker_take(waker) == NULL);
    CHECK(!post(&after) && after.lapsed == 0 && stream_waker_take(waker) == NULL);
    stream_waker_close(waker);
    stream_pending_release(&before.pending);
    stream_pending_release(&after.pending);
    CHECK(before.destroyed == 1 && after.destroyed == 1 && before.lapsed == 1);
    stream_pending_cancel(&never.pending);
    CHECK(never.withdrawn == 1 && never.destroyed == 1 && never.lapsed == 0);
    stream_waker_release(waker);
}

void
test_unit_waker_cancel(void)
{
    stream_waker *waker = new_waker();
    struct plain_wait early, late, taken;
    arm(&early, waker);
    stream_pending_cancel(&early.pending);
    CHECK(early.withdrawn == 1 && early.lapsed == 0 && early.destroyed == 1);
    CHECK(!is_woken(waker));
    arm(&late, waker);
    CHECK(post(&late));
    stream_pending_cancel(&late.pending);
    CHECK(late.withdrawn == 0 && late.lapsed == 1 && late.destroyed == 0);
    CHECK(takes(waker, (struct plain_wait *const[]){&late}, 1));
    CHECK(late.destroyed == 1);
    arm(&taken, waker);
    CHECK(post(&taken) && takes(waker, (struct plain_wait *const[]){&taken}, 1));
    stream_pending_cancel(&taken.pending);
    CHECK(taken.withdrawn == 0 && taken.lapsed == 1 && taken.destroyed == 1);
    stream_waker_release(waker);
}

void
test_unit_waker_without_descriptors(void)
{
    struct rlimit before, none = {0};
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none.rlim_max = before.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(stream_waker_new() == NULL && memory_live_blocks() == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    memory_fail_at(1);
    CHECK(stream_waker_new() == NULL && memory_failed());
}

void
test_unit_notifier(void)
{
    platform_notifier notifier;
    CHECK(platform_notifier_open(&notifier));
    for (int i = 0; i < 100000; i++) {
        platform_notifier_set(&notifier); /* a pipe is full by then */
    }
    platform_notifier_clear(&notifier);
    char byte[8];
    errno = 0;
    CHECK(read(notifier.read_fd, byte, sizeof byte) < 0 && errno == EAGAIN);
    errno = 7;
    platform_notifier_set(&notifier);
    platform_notifier_clear(&notifier);
    platform_notifier_clear(&notifier);
    CHECK(errno == 7);
    platform_notifier_close(&notifier);
}

/* What a child by fork does with its copy is none of the parent's business. */
void
test_unit_notifier_of_a_child(void)
{
    stream_waker *waker = new_waker();
    struct plain_wait waits[2];
    int status;
    arm(&waits[0], waker);
    arm(&waits[1], waker);
    pid_t child = fork();
    if (child == 0) {
        platform_become_child();
        CHECK(post(&waits[0]));
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(!is_woken(waker) && post(&waits[1]) && is_woken(waker));
    child = fork();
    if (child == 0) {
        platform_become_child();
        CHECK(stream_waker_take(waker) == &waits[1].pending);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(takes(waker, (struct plain_wait *const[]){&waits[1]}, 1));
    stream_pending_release(&waits[1].pending);
    stream_pending_cancel(&waits[0].pending);
    stream_waker_release(waker);
}

/* ---- Waits for a stream ---- */

static stream_status
wait_on_loop(stream *s, stream_waker *waker, uint64_t need, stream_pending **pending)
{
    *pending = NULL;
    stream_status status =
        stream_wait_on_loop(s, waker, stream_position(s), need, pending, pending);
    CHECK((status == STREAM_AGAIN) == (*pending != NULL));
    CHECK(*pending == NULL || (*pending)->user == pending);
    return status;
}

/* Takes the one that is over, and lets it go. */
static void
take_one(stream_waker *waker, stream_pending *pending)
{
    CHECK(is_woken(waker) && stream_waker_take(waker) == pending);
    CHECK(pending->next == NULL);
    stream_pending_release(pending);
    stream_pending_release(pending);
}

static void
change_write(stream *s)
{
    write_text(s, "x");
}

static void
change_adopt(stream *s)
{
    adopt_text(s, "adopted");
}

static void
change_position(stream *s)
{
    drain(s, 1);
}

static void
change_abort(stream *s)
{
    static struct test_reason reason;
    CHECK(stream_abort(s, make_reason(&reason)));
}

void
test_unit_loop_wait_is_told_of_each_change(void)
{
    void (*const changes[])(stream *) = {change_write,    change_adopt,
                                         change_position, change_abort,
                                         stream_end,      stream_close_reader};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        stream *s = stream_unknown();
        stream_waker *waker = new_waker();
        stream_pending *pending;
        struct sleeper sleeper;
        write_text(s, "two");
        start_sleeper(&sleeper, s, 4, NULL);
        await_waiters(s, 1);
        CHECK(wait_on_loop(s, waker, 4, &pending) == STREAM_AGAIN);
        CHECK(info_of(s).waiters == 2 && stream__validate(s) && !is_woken(waker));
        changes[i](s);
        take_one(waker, pending);
        join_sleeper(&sleeper, STREAM_OK);
        CHECK(info_of(s).waiters == 0 && stream__validate(s));
        stream_release(s);
        stream_waker_release(waker);
    }
}

void
test_unit_loop_wait_answers(void)
{
    stream *s = stream_unknown(), *other = stream_unknown();
    stream_waker *waker = new_waker();
    stream_pending *pending, *second;
    write_text(s, "abc");
    CHECK(wait_on_loop(s, waker, 3, &pending) == STREAM_OK);
    CHECK(stream_wait_on_loop(s, waker, 1, 9, NULL, &pending) == STREAM_OK);
    memory_fail_at(1);
    CHECK(wait_on_loop(s, waker, 4, &pending) == STREAM_NOMEM && memory_failed());
    CHECK(wait_on_loop(s, waker, 5, &pending) == STREAM_AGAIN);
    CHECK(wait_on_loop(s, waker, 4, &second) == STREAM_BUSY);
    CHECK(wait_on_loop(s, waker, 3, &second) == STREAM_OK);
    CHECK(wait_on_loop(other, waker, 1, &second) == STREAM_AGAIN);
    write_text(s, "d");
    CHECK(!is_woken(waker)); /* too little */
    write_text(other, "e");
    write_text(s, "e");
    CHECK(is_woken(waker) && stream_waker_take(waker) == second);
    CHECK(second->next == pending && pending->next == NULL);
    /* It is over: another may wait. */
    stream_pending *third;
    CHECK(wait_on_loop(s, waker, UINT64_MAX, &third) == STREAM_AGAIN);
    stream_end(s);
    take_one(waker, third);
    CHECK(wait_on_loop(s, waker, UINT64_MAX, &third) == STREAM_OK);
    for (int i = 0; i < 2; i++) {
        stream_pending_release(pending);
        stream_pending_release(second);
    }
    stream_release(s);
    stream_release(other);
    stream_waker_release(waker);
}

/* Before it is over, after that, and after it was taken. */
void
test_unit_loop_wait_is_cancelled(void)
{
    stream *s = stream_unknown();
    stream_waker *waker = new_waker();
    stream_pending *pending;
    CHECK(wait_on_loop(s, waker, 1, &pending) == STREAM_AGAIN);
    stream_pending_cancel(pending);
    CHECK(info_of(s).waiters == 0 && stream__validate(s));
    write_text(s, "x");
    CHECK(!is_woken(waker));
    CHECK(wait_on_loop(s, waker, 2, &pending) == STREAM_AGAIN);
    write_text(s, "y");
    pending->user = NULL;
    stream_pending_cancel(pending);
    CHECK(is_woken(waker) && stream_waker_take(waker) == pending);
    CHECK(pending->user == NULL);
    stream_pending_release(pending);
    CHECK(wait_on_loop(s, waker, 3, &pending) == STREAM_AGAIN);
    write_text(s, "z");
    CHECK(stream_waker_take(waker) == pending);
    stream_pending_release(pending);
    stream_pending_cancel(pending);
    /* The stream and the waker live as long as the wait. */
    CHECK(wait_on_loop(s, waker, 4, &pending) == STREAM_AGAIN);
    stream_release(s);
    stream_waker_close(waker);
    stream_waker_release(waker);
    stream_pending_cancel(pending);
}

void
test_unit_loop_wait_of_a_closed_loop(void)
{
    stream *s = stream_unknown();
    stream_waker *waker = new_waker(), *next = new_waker();
    stream_pending *ready, *armed, *later;
    CHECK(wait_on_loop(s, waker, 1, &ready) == STREAM_AGAIN);
    write_text(s, "x");
    CHECK(wait_on_loop(s, waker, 2, &armed) == STREAM_AGAIN);
    stream_waker_close(waker);
    stream_pending_release(ready);
    write_text(s, "y");
    stream_pending_release(armed);
    CHECK(info_of(s).waiters == 0 && stream__validate(s));
    CHECK(wait_on_loop(s, next, 3, &later) == STREAM_AGAIN);
    write_text(s, "z");
    take_one(next, later);
    stream_waker_release(waker);
    stream_waker_release(next);
    stream_release(s);
}

/* While it lacks bytes, the marks mean nothing, as for a thread that waits. */
void
test_unit_loop_wait_suspends_the_mark(void)
{
    stream *s = stream_with_marks(2, 1);
    stream_waker *waker = new_waker();
    stream_pending *pending;
    struct parked_write first, second, third;
    write_text(s, "ab");
    CHECK(park_text(s, &first, "cd", false) == STREAM_AGAIN);
    CHECK(park_text(s, &second, "ef", true) == STREAM_AGAIN);
    CHECK(wait_on_loop(s, waker, 2, &pending) == STREAM_OK && is_parked(&first));
    /* What it lets in may be all that it needs. */
    CHECK(wait_on_loop(s, waker, 4, &pending) == STREAM_OK);
    CHECK(was_written(&first) && is_parked(&second) && info_of(s).waiters == 0);
    stream_pending *nobodys = stream_waker_take(waker);
    CHECK(nobodys != NULL && nobodys->user == NULL && nobodys->next == NULL);
    stream_pending_release(nobodys);
    CHECK(wait_on_loop(s, waker, 8, &pending) == STREAM_AGAIN && was_written(&second));
    write_text(s, "g");
    stream_pending_cancel(pending);
    CHECK(park_text(s, &third, "h", false) == STREAM_AGAIN && is_parked(&third));
    CHECK(stream__validate(s) && stream_unpark(s, &third.parked));
    stream_batch_clear(&third.parked.batch);
    stream_release(s);
    stream_waker_release(waker);
}

/* ---- Waits for a channel ---- */

static channel *
new_channel(void)
{
    channel *c = channel_new(1000000);
    CHECK(c != NULL);
    return c;
}

static stream_status
wait_for_item(channel *c, stream_waker *waker, stream_pending **pending)
{
    *pending = NULL;
    stream_status status = channel_wait_on_loop(c, IN, waker, pending, pending);
    CHECK((status == STREAM_AGAIN) == (*pending != NULL));
    return status;
}

void
test_unit_loop_wait_for_a_channel(void)
{
    channel *c = new_channel();
    stream_waker *waker = new_waker(), *other = new_waker();
    stream_pending *pending[4];
    memory_fail_at(1);
    CHECK(wait_for_item(c, waker, &pending[0]) == STREAM_NOMEM && memory_failed());
    CHECK(wait_for_item(c, waker, &pending[0]) == STREAM_AGAIN);
    CHECK(wait_for_item(c, other, &pending[1]) == STREAM_AGAIN);
    CHECK(wait_for_item(c, waker, &pending[2]) == STREAM_AGAIN);
    CHECK(wait_for_item(c, other, &pending[3]) == STREAM_AGAIN);
    CHECK(!is_woken(waker) && channel_is_quiet(c));
    CHECK(send_item(c, IN, 1) == STREAM_OK && is_woken(waker) && !is_woken(other));
    take_one(waker, pending[0]);
    CHECK(receive_item(c, IN) == 1);
    CHECK(send_item(c, IN, 2) == STREAM_OK && !is_woken(waker));
    take_one(other, pending[1]);
    CHECK(receive_item(c, IN) == 2);
    channel_close(c);
    take_one(waker, pending[2]);
    take_one(other, pending[3]);
    CHECK(wait_for_item(c, waker, &pending[0]) == STREAM_OK);
    stream_waker_release(waker);
    stream_waker_release(other);
    channel_release(c);
}

/* One that is cancelled after it was told passes that on, before that it just goes. */
void
test_unit_loop_wait_for_a_channel_is_cancelled(void)
{
    channel *c = new_channel();
    stream_waker *waker = new_waker();
    stream_pending *pending[3];
    for (int i = 0; i < 3; i++) {
        CHECK(wait_for_item(c, waker, &pending[i]) == STREAM_AGAIN);
    }
    stream_pending_cancel(pending[0]);
    CHECK(channel_info_of(c).way[IN].receivers == 2);
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    pending[1]->user = NULL;
    stream_pending_cancel(pending[1]);
    CHECK(channel_info_of(c).way[IN].receivers == 0);
    stream_pending *told = stream_waker_take(waker);
    CHECK(told == pending[1] && told->user == NULL && told->next == pending[2]);
    stream_pending_release(told);
    stream_pending_release(pending[2]);
    stream_pending_release(pending[2]);
    CHECK(receive_item(c, IN) == 1);
    /* The channel lives as long as the wait. */
    CHECK(wait_for_item(c, waker, &pending[0]) == STREAM_AGAIN);
    channel_release(c);
    stream_pending_cancel(pending[0]);
    stream_waker_release(waker);
}

/* The loop ends after it was told, or before: another that waits is told instead. */
void
test_unit_loop_wait_for_a_channel_of_a_closed_loop(void)
{
    channel *c = new_channel();
    stream_waker *waker = new_waker(), *other = new_waker();
    stream_pending *told, *dead, *alive;
    struct test_receiver last = {0};
    CHECK(wait_for_item(c, waker, &told) == STREAM_AGAIN);
    CHECK(wait_for_item(c, waker, &dead) == STREAM_AGAIN);
    CHECK(wait_for_item(c, other, &alive) == STREAM_AGAIN);
    CHECK(listen_to(c, IN, &last) == STREAM_AGAIN);
    CHECK(send_item(c, IN, 1) == STREAM_OK && !is_woken(other));
    stream_waker_close(waker);
    CHECK(is_woken(other) && last.notices == 0);
    stream_pending_release(told);
    stream_pending_cancel(dead); /* passes once more, which is only one look more */
    take_one(other, alive);
    CHECK(last.notices == 1 && receive_item(c, IN) == 1);
    stream_waker_release(waker);
    stream_waker_release(other);
    channel_release(c);
}

/* Ten thousand waits of a dead loop are passed over one after the other, on a stack of
 * one; each of a living one that is cancelled passes on to the next. */
void
test_unit_loop_wait_for_a_channel_many(void)
{
    enum { MANY = 10000 };
    static stream_pending *dead[MANY], *alive[MANY];
    channel *c = new_channel();
    stream_waker *gone = new_waker(), *waker = new_waker();
    struct test_receiver last = {0};
    for (int i = 0; i < MANY; i++) {
        CHECK(wait_for_item(c, gone, &dead[i]) == STREAM_AGAIN);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(wait_for_item(c, waker, &alive[i]) == STREAM_AGAIN);
    }
    CHECK(listen_to(c, IN, &last) == STREAM_AGAIN);
    stream_waker_close(gone);
    CHECK(send_item(c, IN, 1) == STREAM_OK && is_woken(waker));
    CHECK(channel_info_of(c).way[IN].receivers == MANY);
    for (int i = 0; i < MANY; i++) {
        stream_pending_release(dead[i]);
        stream_pending_cancel(alive[i]);
    }
    CHECK(last.notices == 1 && receive_item(c, IN) == 1);
    int taken = 0;
    for (stream_pending *p = stream_waker_take(waker), *next; p != NULL; p = next) {
        next = p->next;
        CHECK(p == alive[taken++]);
        stream_pending_release(p);
    }
    CHECK(taken == MANY && !is_woken(waker));
    stream_waker_release(gone);
    stream_waker_release(waker);
    channel_release(c);
}
