/*
 * platform_wait.c: the one-word lock, the latch and the notifier.
 *
 * On Linux locks and latches are futex words, and a notifier is an eventfd.  Elsewhere
 * (or with PLATFORM_NO_FUTEX) they are a pthread mutex and condition variable, and a
 * pipe; a condition variable does not say that a signal handler has run, so that an
 * interruptible wait there returns in slices and lets its caller look.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(PLATFORM_NO_FUTEX)
#    define PLATFORM_EVENTFD 1
#    include <sys/eventfd.h>
#else
#    define PLATFORM_EVENTFD 0
#endif
#if PLATFORM_FUTEX
#    include <linux/futex.h>
#    include <sys/syscall.h>
#endif

/* Looks at a held lock before sleeping: longer than most critical sections. */
#define LOCK_SPINS 60

#if PLATFORM_FUTEX

enum { EVENT_CLEAR = 0, EVENT_SLEEPER = 1, EVENT_SET = 2 };

static long
futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline_ns)
{
    struct timespec at, *timeout = NULL;
    if (deadline_ns != INT64_MAX) {
        at.tv_sec = (time_t)(deadline_ns / PLATFORM_NS_PER_SECOND);
        at.tv_nsec = (long)(deadline_ns % PLATFORM_NS_PER_SECOND);
        timeout = &at;
    }
    /* The bitset form takes an absolute time of CLOCK_MONOTONIC. */
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                   timeout, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void
futex_wake_one(_Atomic(uint32_t) *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

void
platform_lock_wait(platform_lock *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        platform_relax();
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            platform_trylock(lock)) {
            return;
        }
    }
    int64_t until_ns = platform_lock_deadline_ns();
    /* Taken as 2: others may sleep, which only this thread's unlock would tell. */
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        if (futex_wait(&lock->word, 2, until_ns) != 0 && errno == ETIMEDOUT) {
            platform_end_child();
        }
    }
}

void
platform_lock_wake(platform_lock *lock)
{
    futex_wake_one(&lock->word);
}

/* The latch is one futex word in the opaque bytes. */
static _Atomic(uint32_t) *
event_word(platform_event *event)
{
    return (_Atomic(uint32_t) *)(void *)event->opaque;
}

void
platform_event_init(platform_event *event)
{
    atomic_init(event_word(event), EVENT_CLEAR);
}

void
platform_event_destroy(platform_event *event)
{
    (void)event;
}

/* The waiter may be gone before the wake: a wake of an address that nobody sleeps on,
 * or that is not mapped any more, does nothing. */
void
platform_event_set(platform_event *event)
{
    _Atomic(uint32_t) *word = event_word(event);
    if (atomic_exchange_explicit(word, EVENT_SET, memory_order_acq_rel) ==
        EVENT_SLEEPER) {
        futex_wake_one(word);
    }
}

bool
platform_event_is_set(platform_event *event)
{
    return atomic_load_explicit(event_word(event), memory_order_acquire) == EVENT_SET;
}

void
platform_event_clear(platform_event *event)
{
    atomic_store_explicit(event_word(event), EVENT_CLEAR, memory_order_relaxed);
}

static platform_wait_result
event_sleep(platform_event *event, int64_t deadline_ns, bool interruptible)
{
    _Atomic(uint32_t) *word = event_word(event);
    uint32_t clear = EVENT_CLEAR;
    atomic_compare_exchange_strong(word, &clear, EVENT_SLEEPER);
    while (!platform_event_is_set(event)) {
        if (futex_wait(word, EVENT_SLEEPER, deadline_ns) == 0) {
            continue;
        }
        if (errno == ETIMEDOUT) {
            return platform_event_is_set(event) ? PLATFORM_SET : PLATFORM_TIMEDOUT;
        }
        if (errno == EINTR && interruptible) {
            return platform_event_is_set(event) ? PLATFORM_SET : PLATFORM_INTERRUPTED;
        }
    }
    return PLATFORM_SET;
}

#else /* pthreads alone */

#    define SLICE_NS (PLATFORM_NS_PER_SECOND / 10)

struct latch {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool set;
};

_Static_assert(sizeof(struct latch) <= sizeof(platform_event), "platform_event: room");

static struct latch *
event_latch(platform_event *event)
{
    return (struct latch *)(void *)event->opaque;
}

void
platform_lock_init(platform_lock *lock)
{
    pthread_mutex_init(&lock->mutex, NULL);
}

void
platform_lock_destroy(platform_lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

bool
platform_trylock(platform_lock *lock)
{
    return pthread_mutex_trylock(&lock->mutex) == 0;
}

void
platform_lock_take(platform_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
}

void
platform_unlock(platform_lock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
}

void
platform_event_init(platform_event *event)
{
    struct latch *latch = event_latch(event);
    pthread_mutex_init(&latch->mutex, NULL);
    pthread_cond_init(&latch->cond, NULL);
    latch->set = false;
}

void
platform_event_destroy(platform_event *event)
{
    pthread_cond_destroy(&event_latch(event)->cond);
    pthread_mutex_destroy(&event_latch(event)->mutex);
}

/* Signalled inside the lock: the waiter cannot destroy the latch before. */
void
platform_event_set(platform_event *event)
{
    struct latch *latch = event_latch(event);
    pthread_mutex_lock(&latch->mutex);
    latch->set = true;
    pthread_cond_signal(&latch->cond);
    pthread_mutex_unlock(&latch->mutex);
}

bool
platform_event_is_set(platform_event *event)
{
    struct latch *latch = event_latch(event);
    pthread_mutex_lock(&latch->mutex);
    bool set = latch->set;
    pthread_mutex_unlock(&latch->mutex);
    return set;
}

void
platform_event_clear(platform_event *event)
{
    event_latch(event)->set = false;
}

/* Condition variables count in CLOCK_REALTIME everywhere; the caller's loop looks at
 * the monotonic clock again, so that a step of the clock costs one early wake-up. */
static void
wait_slice(struct latch *latch, int64_t left_ns)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    int64_t ns = at.tv_nsec + left_ns % PLATFORM_NS_PER_SECOND;
    at.tv_sec +=
        (time_t)(left_ns / PLATFORM_NS_PER_SECOND + ns / PLATFORM_NS_PER_SECOND);
    at.tv_nsec = (long)(ns % PLATFORM_NS_PER_SECOND);
    pthread_cond_timedwait(&latch->cond, &latch->mutex, &at);
}

static platform_wait_result
event_sleep(platform_event *event, int64_t deadline_ns, bool interruptible)
{
    struct latch *latch = event_latch(event);
    platform_wait_result result = PLATFORM_SET;
    bool sliced = false;
    pthread_mutex_lock(&latch->mutex);
    while (!latch->set && result == PLATFORM_SET) {
        int64_t left =
            deadline_ns == INT64_MAX ? INT64_MAX : deadline_ns - platform_now_ns();
        if (left <= 0) {
            result = PLATFORM_TIMEDOUT;
        } else if (sliced && interruptible) {
            result = PLATFORM_INTERRUPTED;
        } else {
            wait_slice(latch, left < SLICE_NS ? left : SLICE_NS);
            sliced = true;
        }
    }
    pthread_mutex_unlock(&latch->mutex);
    return result;
}

#endif

static bool
is_set(void *event)
{
    return platform_event_is_set(event);
}

platform_wait_result
platform_event_wait(platform_event *event, int64_t deadline_ns, uint32_t spin_ns,
                    bool interruptible)
{
    if (platform_event_is_set(event) ||
        platform_spin(is_set, event, spin_ns, deadline_ns, -1)) {
        return PLATFORM_SET;
    }
    return event_sleep(event, deadline_ns, interruptible);
}

#if PLATFORM_EVENTFD

bool
platform_notifier_open(platform_notifier *notifier)
{
    notifier->read_fd = notifier->write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return notifier->read_fd >= 0;
}

#else

bool
platform_notifier_open(platform_notifier *notifier)
{
    int fds[2];
    if (pipe(fds) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    notifier->read_fd = fds[0];
    notifier->write_fd = fds[1];
    return true;
}

#endif

void
platform_notifier_close(platform_notifier *notifier)
{
    if (notifier->write_fd != notifier->read_fd) {
        close(notifier->write_fd);
    }
    close(notifier->read_fd);
}

/* A full pipe is readable already. */
void
platform_notifier_set(platform_notifier *notifier)
{
    uint64_t one = 1;
    int saved = errno;
    if (platform_is_child()) {
        return;
    }
    while (write(notifier->write_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
    errno = saved;
}

void
platform_notifier_clear(platform_notifier *notifier)
{
    uint64_t counts[16];
    int saved = errno;
    ssize_t got;
    if (platform_is_child()) {
        return;
    }
    do {
        got = read(notifier->read_fd, counts, sizeof counts);
    } while ((got < 0 && errno == EINTR) || got == (ssize_t)sizeof counts);
    errno = saved;
}
