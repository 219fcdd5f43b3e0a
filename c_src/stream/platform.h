/*
 * platform.h: what differs between operating systems, in one place.  Every call
 * has a portable fallback behind one #if: in platform_wait.c locks, latches and the
 * notifier, in platform.c the rest.
 */
#ifndef ERLPY_PLATFORM_H
#define ERLPY_PLATFORM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For the compiler: the condition nearly always holds. */
#define PLATFORM_LIKELY(condition) __builtin_expect(!!(condition), 1)

#define PLATFORM_NS_PER_SECOND 1000000000

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t platform_now_ns(void);

/* One bounded step of a busy wait (a pause instruction). */
void platform_relax(void);

/* Names the calling thread; not 0.  A later thread may have the name of a dead one. */
static inline uintptr_t
platform_thread(void)
{
#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
    uintptr_t self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
#elif defined(__linux__) && defined(__aarch64__)
    return (uintptr_t)__builtin_thread_pointer();
#else
    return (uintptr_t)pthread_self();
#endif
}

/* What is known of the process.  Where this code is in one process twice, the second
 * copy is given that of the first (which must stay in memory) before it does anything.
 */
typedef struct platform_room platform_room;
platform_room *platform_get_room(void);
void platform_set_room(platform_room *other);

/* This process is a child by fork of one that had other threads: a lock that one of
 * those held stays taken, and what it guards may be half-way.  From now on whoever has
 * waited PLATFORM_CHILD_LOCK_NS for one, longer than any is ever held, ends the
 * process.  (Not where locks are pthread mutexes: there it waits.) */
#define PLATFORM_CHILD_LOCK_NS 1000000000
void platform_become_child(void);
bool platform_is_child(void);
/* When to give a lock up for lost: INT64_MAX if this is no such child. */
int64_t platform_lock_deadline_ns(void);
/* Says so and exits with status 1. */
_Noreturn void platform_end_child(void);

/* How the host starts a thread of which nobody awaits the end; before there is work for
 * one.  False from `spawn`: it could not. */
void platform_set_spawner(bool (*spawn)(void *(*body)(void *), void *arg));
/* Runs body(arg) on another thread.  False: there is no way to. */
bool platform_run_elsewhere(void *(*body)(void *), void *arg);

/* Makes every running thread of the process execute a full memory fence.  To be called
 * only when platform_has_fence_all_threads(), which is so when the system can and
 * platform_prepare() has been called.  That one may take ten milliseconds. */
void platform_prepare(void);
bool platform_has_fence_all_threads(void);
void platform_fence_all_threads(void);

/* The processor that runs the calling thread, or -1 where that cannot be told.  Whoever
 * is waited for notes its own: to spin on that very processor would keep it from
 * running. */
int platform_processor(void);
/* Processor time of a thread that lives; always 0 where that cannot be told. */
int64_t platform_thread_cpu_ns(pthread_t thread);
/* Looks again and again until is_over(arg), for `spin_ns` but not past the deadline:
 * some microseconds, before one sleeps.  False: it is not over; at once when sleeping
 * is better, since `their_processor` (of whoever is waited for; -1: not known) is this
 * one, or as many threads as there are processors spin already. */
bool platform_spin(bool (*is_over)(void *arg), void *arg, uint32_t spin_ns,
                   int64_t deadline_ns, int their_processor);

/* Asks for huge pages for the whole pages inside a fresh block.  Advice only: does
 * nothing where the system has none, or below the size at which it pays. */
void platform_advise_huge(void *block, size_t size_bytes);

/* Has malloc keep blocks of up to some megabytes that are freed, for the next ones. The
 * C library does so by itself until somebody sets one of its thresholds, as the Erlang
 * runtime does: from then on each large block is fresh memory, whose page faults cost
 * more than filling it.  Leaves alone what the environment sets. */
void platform_keep_freed_memory(void);

/* A mutual exclusion lock of one word: an uncontended pair costs two atomic
 * instructions.  Zero-initialised it is free.  Not recursive; unfair. */
#if defined(__linux__) && !defined(PLATFORM_NO_FUTEX)
#    define PLATFORM_FUTEX 1

typedef struct platform_lock {
    _Atomic(uint32_t) word; /* 0 free, 1 held, 2 held and somebody may sleep */
} platform_lock;

void platform_lock_wait(platform_lock *lock);
void platform_lock_wake(platform_lock *lock);

static inline void
platform_lock_init(platform_lock *lock)
{
    atomic_init(&lock->word, 0);
}

static inline void
platform_lock_destroy(platform_lock *lock)
{
    (void)lock;
}

static inline bool
platform_trylock(platform_lock *lock)
{
    uint32_t unheld = 0;
    return atomic_compare_exchange_strong_explicit(
        &lock->word, &unheld, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void
platform_lock_take(platform_lock *lock)
{
    if (!platform_trylock(lock)) {
        platform_lock_wait(lock);
    }
}

static inline void
platform_unlock(platform_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2) {
        platform_lock_wake(lock);
    }
}
#else
#    define PLATFORM_FUTEX 0

typedef struct platform_lock {
    pthread_mutex_t mutex;
} platform_lock;

void platform_lock_init(platform_lock *lock);
void platform_lock_destroy(platform_lock *lock);
bool platform_trylock(platform_lock *lock);
void platform_lock_take(platform_lock *lock);
void platform_unlock(platform_lock *lock);
#endif

/* A one-shot latch: set once, waited for by one thread.  Unlike a condition
 * variable, a signal handler that runs on the waiting thread ends the wait. */
typedef struct platform_event {
    _Alignas(16) unsigned char opaque[128];
} platform_event;

typedef enum {
    PLATFORM_SET,
    PLATFORM_TIMEDOUT,
    PLATFORM_INTERRUPTED
} platform_wait_result;

void platform_event_init(platform_event *event);
void platform_event_destroy(platform_event *event);
/* Sets the event and wakes its waiter, which may free the event as soon as its own
 * wait has returned PLATFORM_SET. */
void platform_event_set(platform_event *event);
bool platform_event_is_set(platform_event *event);
/* Not set again, for the next use; only by the waiting thread. */
void platform_event_clear(platform_event *event);
/* Spins for spin_ns, then sleeps until the event is set or `deadline_ns` (monotonic;
 * INT64_MAX: none).  With `interruptible`, a signal ends the wait; where the system
 * cannot tell (no futex), PLATFORM_INTERRUPTED comes every 100 ms instead. */
platform_wait_result platform_event_wait(platform_event *event, int64_t deadline_ns,
                                         uint32_t spin_ns, bool interruptible);

/* A descriptor that becomes readable when it is set, until it is cleared. */
typedef struct platform_notifier {
    int read_fd, write_fd; /* the same one, where the system has eventfd */
} platform_notifier;

/* Neither blocking nor passed on to other programs.  False: no descriptor. */
bool platform_notifier_open(platform_notifier *notifier);
void platform_notifier_close(platform_notifier *notifier);
/* Any thread.  Nothing in a child (platform_become_child()): the descriptor is still
 * the parent's. */
void platform_notifier_set(platform_notifier *notifier);
void platform_notifier_clear(platform_notifier *notifier);

#endif
