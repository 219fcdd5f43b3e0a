/*
 * platform.c: clocks, processors, what is known of the process, and advice on memory.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "platform.h"

#include <errno.h>
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

/* Below this the system call and the zeroing of whole huge pages cost more than the
 * page faults that they save. */
#define HUGE_WORTH_BYTES ((size_t)4 << 20)

/* Of this size, and no more, glibc would keep blocks that a program uses again. */
#define KEPT_BLOCK_BYTES (4 << 20)

/* Looks at what is waited for between two at the clock. */
#define SPINS_PER_CLOCK 16

int64_t
platform_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * PLATFORM_NS_PER_SECOND + now.tv_nsec;
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

bool
platform_is_child(void)
{
    return atomic_load_explicit(&room->child, memory_order_relaxed);
}

int64_t
platform_lock_deadline_ns(void)
{
    return platform_is_child() ? platform_now_ns() + PLATFORM_CHILD_LOCK_NS : INT64_MAX;
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
    return room->spawn != NULL && !platform_is_child() && room->spawn(body, arg);
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
        return (int64_t)used.tv_sec * PLATFORM_NS_PER_SECOND + used.tv_nsec;
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
        /* cppcheck-suppress incorrectLogicOperator ; -1 only where it is not known */
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
    /* NOLINTBEGIN(concurrency-mt-unsafe): as everywhere, nobody changes the environment
     * while others read it; mallopt() takes the locks of malloc. */
    if (getenv("MALLOC_MMAP_THRESHOLD_") == NULL &&
        getenv("MALLOC_TRIM_THRESHOLD_") == NULL && getenv("GLIBC_TUNABLES") == NULL) {
        mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
        mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BLOCK_BYTES);
    }
    /* NOLINTEND(concurrency-mt-unsafe) */
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
