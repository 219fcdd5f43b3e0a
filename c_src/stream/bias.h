/*
 * bias.h: a lock that one thread gets for nearly nothing.
 *
 * A stream is mostly read by one thread, and reading a short line costs hardly more
 * than the two atomic instructions of an uncontended lock.  So the thread that took
 * this lock many times running becomes its favourite: from then on it enters by a
 * plain store and leaves by another.
 *
 *   favourite                              anybody else, holding `lock`
 *     inside = 1                             favourite = none
 *     (compiler barrier)                     platform_fence_all_threads()
 *     favourite still me? then it is in      inside == 0? then it is in
 *
 * The fence makes each running thread of the process execute one, which is dear (ten
 * microseconds) and seldom paid: a lock that had to take the favour back gives it again
 * only after many more turns, and never to another thread: one that was held up between
 * looking at `favourite` and setting `inside` may write `inside` at any later time,
 * which must not be while somebody else depends on it.  Where the system has no such
 * fence, or platform_prepare() was not called, nobody is favoured.
 */
#ifndef ERLPY_STREAM_BIAS_H
#define ERLPY_STREAM_BIAS_H

#include "platform.h"

typedef struct bias_lock {
    _Atomic(uintptr_t) favourite; /* a thread or 0; changed by holders of `lock` */
    _Atomic(uint32_t) inside;     /* the favourite is in, or about to see it is not */
    bool
        by_favour; /* how the present holder came in; true while there is a favourite */
    platform_lock lock;
    /* By the holder of `lock`. */
    uintptr_t chosen;      /* the only thread that is ever favoured; 0: not known yet */
    uintptr_t last;        /* who held it last, */
    uint32_t turns;        /* how often running, */
    uint32_t turns_needed; /* and how often that must be to be favoured */
} bias_lock;

void bias_lock_init(bias_lock *lock);
void bias_lock_destroy(bias_lock *lock);
bool bias_trylock_slow(bias_lock *lock);
void bias_lock_slow(bias_lock *lock);

static inline bool
bias_enter(bias_lock *lock)
{
    uintptr_t self = platform_thread();
    if (!PLATFORM_LIKELY(
            atomic_load_explicit(&lock->favourite, memory_order_relaxed) == self &&
            atomic_load_explicit(&lock->inside, memory_order_relaxed) == 0)) {
        return false; /* `inside` and the favourite: it has the lock already */
    }
    atomic_store_explicit(&lock->inside, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (PLATFORM_LIKELY(atomic_load_explicit(&lock->favourite, memory_order_relaxed) ==
                        self)) {
        return true;
    }
    atomic_store_explicit(&lock->inside, 0, memory_order_release);
    return false;
}

static inline bool
bias_trylock(bias_lock *lock)
{
    return bias_enter(lock) || bias_trylock_slow(lock);
}

static inline void
bias_lock_take(bias_lock *lock)
{
    if (!bias_enter(lock)) {
        bias_lock_slow(lock);
    }
}

static inline void
bias_unlock(bias_lock *lock)
{
    if (PLATFORM_LIKELY(lock->by_favour)) {
        atomic_store_explicit(&lock->inside, 0, memory_order_release);
    } else {
        platform_unlock(&lock->lock);
    }
}

#endif
