/* bias.c: the slow side of the lock of bias.h: everybody but the favourite. */
#include "bias.h"

#include <sched.h>

/* Before the first favour; each time it is taken back, so many times more. */
#if defined(STREAM_TINY)
#    define TURNS_FIRST  2
#    define TURNS_FACTOR 1
#else
#    define TURNS_FIRST  32
#    define TURNS_FACTOR 16
#endif
/* Looks at a favourite that is inside before the processor is given up. */
#define LOOKS 200

void
bias_lock_init(bias_lock *lock)
{
    platform_lock_init(&lock->lock);
    atomic_init(&lock->favourite, 0);
    atomic_init(&lock->inside, 0);
    lock->by_favour = false;
    lock->chosen = 0;
    lock->last = 0;
    lock->turns = 0;
    lock->turns_needed = TURNS_FIRST;
}

void
bias_lock_destroy(bias_lock *lock)
{
    platform_lock_destroy(&lock->lock);
}

/* From now on the favourite, if it is not inside, has to come for `lock`. */
static void
take_favour_back(bias_lock *lock)
{
    atomic_store_explicit(&lock->favourite, 0, memory_order_relaxed);
    platform_fence_all_threads();
    lock->turns = 0;
    if (lock->turns_needed < UINT32_MAX / TURNS_FACTOR) {
        lock->turns_needed *= TURNS_FACTOR;
    }
}

static bool
is_inside(bias_lock *lock)
{
    return atomic_load_explicit(&lock->inside, memory_order_acquire) != 0;
}

static bool
is_to_be_favoured(bias_lock *lock, uintptr_t self)
{
    if (lock->last != self) {
        lock->last = self;
        lock->turns = 0;
    }
    lock->turns++;
    return lock->turns >= lock->turns_needed && platform_has_fence_all_threads() &&
           (lock->chosen == 0 || lock->chosen == self);
}

/* `lock` is held and nobody is inside.  A thread that becomes the favourite goes inside
 * as one. */
static void
come_in(bias_lock *lock)
{
    uintptr_t self = platform_thread();
    lock->by_favour = is_to_be_favoured(lock, self);
    if (lock->by_favour) {
        lock->chosen = self;
        atomic_store_explicit(&lock->inside, 1, memory_order_relaxed);
        atomic_store_explicit(&lock->favourite, self, memory_order_relaxed);
        platform_unlock(&lock->lock);
    }
}

bool
bias_trylock_slow(bias_lock *lock)
{
    if (!platform_trylock(&lock->lock)) {
        return false;
    }
    if (atomic_load_explicit(&lock->favourite, memory_order_relaxed) != 0) {
        take_favour_back(lock);
    }
    if (is_inside(lock)) {
        platform_unlock(&lock->lock);
        return false;
    }
    come_in(lock);
    return true;
}

void
bias_lock_slow(bias_lock *lock)
{
    platform_lock_take(&lock->lock);
    if (atomic_load_explicit(&lock->favourite, memory_order_relaxed) != 0) {
        take_favour_back(lock);
    }
    int64_t until_ns = platform_lock_deadline_ns();
    for (unsigned looks = 0; is_inside(lock); looks++) {
        if (looks < LOOKS) {
            platform_relax();
            continue;
        }
        sched_yield();
        if (until_ns != INT64_MAX && platform_now_ns() > until_ns) {
            platform_end_child();
        }
    }
    come_in(lock);
}
