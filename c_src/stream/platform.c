/*
 * platform.c: clocks, the one-word lock, the latch, the notifier and advice on memory.
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
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#if defined(__GLIBC__)
#    include <malloc.h>
#endif
#include <sys/mman.h>

#if defined(__linux__)
#    include <linux/membarrier.h>
#    include <sys/syscall.h>
#endif
#if defined(__linux__) && !defined(PLATFORM_NO_FUTEX)
#    define PLATFORM_EVENTFD 1
#    include <sys/eventfd.h>
#else
#    define PLATFORM_EVENTFD 0
#endif
#if PLATFORM_FUTEX
#    include <linux/futex.h>
#endif

#define NS_PER_SECOND 1000000000

/* Below this the system call and the zeroing of whole huge pages cost more than the
 * page faults that they save. */
#define HUGE_WORTH_BYTES ((size_t)4 << 20)

/* Of this size, and no more, glibc would keep blocks that a program uses again. */
#define KEPT_BLOCK_BYTES (4 << 20)

/* Looks at a held lock before sleeping: longer than most critical sections. */
#define LOCK_SPINS 60

/* Looks at what is waited for between two at the clock. */
#define SPINS_PER_CLOCK 16

int64_t
platform_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

void
platform_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#else
    sched_yield();
#endif
}

struct platform_room {
    atomic_bool fence_registered;
    atomic_int spinners;
    atomic_int processors; /* 0: not asked yet */
    atomic_bool child;     /* of a fork, with locks that nobody will release */
    bool (*spawn)(void *(*body)(void *), void *arg); /* or NULL */
};

static platform_room own_room;
static platform_room *room = &own_room;

platform_room *
platform_get_room(void)
{
    return room;
}

void
platform_set_room(platform_room *other)
{
    room = other;
}

void
platform_become_child(void)
{
    atomic_store_explicit(&room->child, true, memory_order_relaxed);
}

static bool
is_child(void)
{
    return atomic_load_explicit(&room->child, memory_order_relaxed);
}

int64_t
platform_lock_deadline_ns(void)
{
    return is_child() ? platform_now_ns() + PLATFORM_CHILD_LOCK_NS : INT64_MAX;
}

void
platform_end_child(void)
{
    static const char why[] =
        "erlpy: a thread was using the buffer when this child was made\n";
    (void)!write(STDERR_FILENO, why, sizeof why - 1);
    _exit(1);
}

void
platform_set_spawner(bool (*spawn)(void *(*body)(void *), void *arg))
{
    room->spawn = spawn;
}

bool
platform_run_elsewhere(void *(*body)(void *), void *arg)
{
    return room->spawn != NULL && !is_child() && room->spawn(body, arg);
}

static int
processors(void)
{
    int known = atomic_load_explicit(&room->processors, memory_order_relaxed);
    if (known == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        known = online > 0 ? (int)online : 1;
        atomic_store_explicit(&room->processors, known, memory_order_relaxed);
    }
    return known;
}

int
platform_processor(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

int64_t
platform_thread_cpu_ns(pthread_t thread)
{
#if defined(_POSIX_THREAD_CPUTIME) && _POSIX_THREAD_CPUTIME >= 0
    clockid_t clock;
    struct timespec used;
    if (pthread_getcpuclockid(thread, &clock) == 0 &&
        clock_gettime(clock, &used) == 0) {
        return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
    }
#else
    (void)thread;
#endif
    return 0;
}

static bool
spin_until(bool (*is_over)(void *arg), void *arg, int64_t until_ns)
{
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (is_over(arg)) {
                return true;
            }
            platform_relax();
        }
    } while (platform_now_ns() < until_ns);
    return false;
}

bool
platform_spin(bool (*is_over)(void *arg), void *arg, uint32_t spin_ns,
              int64_t deadline_ns, int their_processor)
{
    bool over = false;
    if (spin_ns == 0 ||
        (their_processor >= 0 && their_processor == platform_processor())) {
        return false;
    }
    if (atomic_fetch_add_explicit(&room->spinners, 1, memory_order_relaxed) <
        processors()) {
        int64_t until_ns = platform_now_ns() + spin_ns;
        over =
            spin_until(is_over, arg, until_ns < deadline_ns ? until_ns : deadline_ns);
    }
    atomic_fetch_sub_explicit(&room->spinners, 1, memory_order_relaxed);
    return over;
}

#if defined(__linux__) && defined(SYS_membarrier)
static long
membarrier(int command)
{
    int saved = errno;
    long result = syscall(SYS_membarrier, command, 0, 0);
    errno = saved;
    return result;
}

void
platform_prepare(void)
{
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {
        atomic_store(&room->fence_registered, true);
    }
}

/* Registered, it cannot fail; going on without the fence would corrupt silently. */
void
platform_fence_all_threads(void)
{
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) {
        abort();
    }
}
#else
void
platform_prepare(void)
{
}

void
platform_fence_all_threads(void)
{
    abort();
}
#endif

bool
platform_has_fence_all_threads(void)
{
    return atomic_load_explicit(&room->fence_registered, memory_order_relaxed);
}

void
platform_keep_freed_memory(void)
{
#if defined(__GLIBC__)
    if (getenv("MALLOC_MMAP_THRESHOLD_") == NULL &&
        getenv("MALLOC_TRIM_THRESHOLD_") == NULL && getenv("GLIBC_TUNABLES") == NULL) {
        mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
        mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BLOCK_BYTES);
    }
#endif
}

void
platform_advise_huge(void *block, size_t size_bytes)
{
#if defined(MADV_HUGEPAGE)
    if (size_bytes < HUGE_WORTH_BYTES) {
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)block + page - 1) & ~(page - 1);
    uintptr_t last = ((uintptr_t)block + size_bytes) & ~(page - 1);
    int saved = errno;
    (void)madvise((void *)first, last - first, MADV_HUGEPAGE);
    errno = saved;
#else
    (void)block;
    (void)size_bytes;
#endif
}

#if PLATFORM_FUTEX

enum { EVENT_CLEAR = 0, EVENT_SLEEPER = 1, EVENT_SET = 2 };

static long
futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline_ns)
{
    struct timespec at, *timeout = NULL;
    if (deadline_ns != INT64_MAX) {
        at.tv_sec = (time_t)(deadline_ns / NS_PER_SECOND);
        at.tv_nsec = (long)(deadline_ns % NS_PER_SECOND);
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

#    define SLICE_NS (NS_PER_SECOND / 10)

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
    int64_t ns = at.tv_nsec + left_ns % NS_PER_SECOND;
    at.tv_sec += (time_t)(left_ns / NS_PER_SECOND + ns / NS_PER_SECOND);
    at.tv_nsec = (long)(ns % NS_PER_SECOND);
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

/* ---- Notifiers ---- */

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
    if (is_child()) {
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
    if (is_child()) {
        return;
    }
    do {
        got = read(notifier->read_fd, counts, sizeof counts);
    } while ((got < 0 && errno == EINTR) || got == (ssize_t)sizeof counts);
    errno = saved;
}
