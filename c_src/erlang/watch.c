/*
 * watch.c: what the main thread looks at while jobs run.
 *
 *   every 5 ms while the pool's queue is behind
 *       does it stand still?  Then more hands, at once many when the active workers
 *       use no processor: they sit in a sleep or a socket.
 *   every 50 ms while jobs run
 *       a job that was there at the last look and is in no wait of ours: from now on
 * the death of its caller cancels it.  One that was cancelled a second ago: stuck.
 *
 * It goes on for a second after the last job, so that a submit seldom has to wake it,
 * and sleeps without a timeout when nothing is left to look at.  It never takes the
 * GIL.
 */
#include "executor_internal.h"

#include "runtime.h"
#include "shared.h"

/* Looks go on for so long after the last thing seen. */
#define QUIET_NS 1000000000
/* A worker that used less of the processor between two looks did not compute. */
#define BUSY_NS (EXECUTOR_FAST_LOOK_NS / 4)
/* So many looks without computing tell a blocked worker from one that waits its turn
 * for the GIL among many. */
#define PATIENCE_MAX 20
#define BURST_MAX    256
/* So many callers are monitored a look. */
#define SWEEP_JOBS 64

void
executor__watch(watch_level level)
{
    int now = atomic_load(&rt->watch_level);
    while (now < (int)level) {
        if (atomic_compare_exchange_weak(&rt->watch_level, &now, (int)level)) {
            runtime_wake_main();
            return;
        }
    }
}

/* ---- A queue that stands still ---- */

typedef struct activity {
    bool fresh;   /* somebody has just begun, or is between two jobs */
    bool waiting; /* somebody is about to come, once it has the GIL */
    bool busy;    /* somebody computes */
    unsigned blocked;
} activity;

static void
time_worker_locked(worker *w, activity *seen)
{
    if (atomic_load_explicit(&w->wants_gil, memory_order_relaxed)) {
        seen->waiting = true;
        return;
    }
    if (w->running == NULL) {
        seen->fresh = true;
        return;
    }
    int64_t before_ns = w->cpu_ns;
    w->cpu_ns = platform_thread_cpu_ns(w->thread);
    if (w->serial != w->timed_serial) {
        w->timed_serial = w->serial;
        w->looks = 0;
        seen->fresh = true;
    } else if (w->cpu_ns - before_ns >= BUSY_NS) {
        w->looks = 0;
        seen->busy = true;
    } else {
        w->looks++;
    }
}

/* Those that sit somewhere do not count as active any more, until their job has ended.
 */
static unsigned
stall_blocked_locked(executor *ex, bool busy)
{
    unsigned contenders = ex->count[WORKER_ACTIVE] + ex->count[WORKER_STALLED];
    unsigned patience = !busy                       ? 0
                        : contenders < PATIENCE_MAX ? contenders
                                                    : PATIENCE_MAX;
    unsigned blocked = 0;
    for (worker *w = ex->workers[WORKER_ACTIVE], *next; w != NULL; w = next) {
        next = w->next;
        if (w->running != NULL && w->serial == w->timed_serial && w->looks > patience) {
            executor__set_worker_locked(w, WORKER_STALLED, w->stuck);
            blocked++;
        }
    }
    return blocked;
}

/* Blocked workers are made up for in doubling numbers.  Among busy ones another hand
 * gets its turn of the GIL only after all of theirs, so it is given time. */
static size_t
hands_wanted_locked(executor *ex)
{
    activity seen = {0};
    ex->standing++;
    for (worker *w = ex->workers[WORKER_ACTIVE]; w != NULL; w = w->next) {
        time_worker_locked(w, &seen);
    }
    seen.blocked = stall_blocked_locked(ex, seen.busy);
    if (seen.waiting) {
        return 0;
    }
    if (seen.blocked > 0 || ex->active == 0) {
        size_t hands = ex->burst < ex->queued ? ex->burst : ex->queued;
        ex->burst = ex->burst < BURST_MAX ? ex->burst * 2 : BURST_MAX;
        return hands;
    }
    if (seen.fresh || ex->standing <= ex->active) {
        return 0;
    }
    ex->standing = 0;
    return 1;
}

/* Wakes idle workers; the rest of `hands` is to be started. */
static size_t
recruit_hands_locked(executor *ex, size_t hands)
{
    worker *w;
    while (hands > 0 && (w = executor__recruit_for_job_locked(ex)) != NULL) {
        executor__wake(w);
        hands--;
    }
    if (!executor__may_grow_locked(ex)) {
        return 0;
    }
    return hands < ex->limit - ex->threads ? hands : ex->limit - ex->threads;
}

static void
start_hands(executor *ex, size_t hands)
{
    while (hands > 0 && executor__start_worker(ex)) {
        hands--;
    }
}

static bool
is_behind_locked(const executor *ex)
{
    return executor__may_take_locked(ex, executor__busy_locked(ex) + 1) &&
           (ex->workers[WORKER_IDLE] != NULL || executor__may_grow_locked(ex));
}

/* *soon: it is to be looked at again soon. */
static void
look_at_queue(executor *ex, void *soon)
{
    size_t hands = 0;
    pthread_mutex_lock(&ex->lock);
    bool behind = is_behind_locked(ex);
    if (!behind || ex->taken > ex->expected_taken) {
        ex->expected_taken = ex->taken;
        ex->standing = 0;
        ex->burst = 1;
    } else {
        hands = hands_wanted_locked(ex);
        /* What these take is no sign that the others move. */
        ex->expected_taken = ex->taken + hands;
        hands = recruit_hands_locked(ex, hands);
    }
    pthread_mutex_unlock(&ex->lock);
    start_hands(ex, hands);
    if (behind) {
        *(bool *)soon = true;
    }
}

static bool
look_at_queues(void)
{
    bool soon = false;
    runtime_for_each_pool(look_at_queue, &soon);
    return soon;
}

/* ---- Jobs that run for long ---- */

/* Shared. */
typedef struct found_jobs {
    unsigned count;
    struct {
        executor *ex;
        job *j;
    } jobs[SWEEP_JOBS];
} found_jobs;

typedef struct sweep {
    int64_t now_ns;
    bool restless;
    bool replace; /* a worker of the pool is stuck */
    bool behind;
    found_jobs unwatched;
    found_jobs unreached; /* their cancel has not reached them, and may now */
} sweep;

static void
add_found_locked(found_jobs *found, executor *ex, job *j)
{
    if (found->count < SWEEP_JOBS) {
        found->jobs[found->count].ex = executor_share(ex);
        found->jobs[found->count].j = job_share(j);
        found->count++;
    }
}

static void
for_each_found(found_jobs *found, void (*visit)(executor *ex, job *j))
{
    for (unsigned i = 0; i < found->count; i++) {
        visit(found->jobs[i].ex, found->jobs[i].j);
        job_release(found->jobs[i].j);
        executor_release(found->jobs[i].ex);
    }
}

static void
sweep_worker_locked(worker *w, sweep *found)
{
    job *j = w->running;
    if (j == NULL || !j->wants_reply || j->watch != NULL) {
        return;
    }
    found->restless = true;
    if (w->seen_serial != w->serial) {
        w->seen_serial = w->serial;
    } else {
        add_found_locked(&found->unwatched, w->ex, j);
    }
}

static void
sweep_cancelled_locked(worker *w, sweep *found)
{
    job *j = w->running;
    if (j == NULL || j->cancel == CANCEL_NONE) {
        return;
    }
    if (j->cancel == CANCEL_REQUESTED && w->state != WORKER_PARKED) {
        found->restless = true;
        add_found_locked(&found->unreached, w->ex, j);
    }
    if (w->stuck) {
        return;
    }
    if (found->now_ns - j->cancelled_ns < EXECUTOR_STUCK_NS) {
        found->restless = true;
        return;
    }
    executor__set_worker_locked(w, w->state, true);
    executor__obeyed_locked(w->ex, j);
    found->replace = found->replace || !w->ex->context;
}

static void
for_each_worker_locked(executor *ex, worker_state state, sweep *found,
                       void (*look)(worker *w, sweep *found))
{
    for (worker *w = ex->workers[state], *next; w != NULL; w = next) {
        next = w->next;
        look(w, found);
    }
}

static void
sweep_executor(executor *ex, void *arg)
{
    sweep *found = arg;
    pthread_mutex_lock(&ex->lock);
    if (ex->taken != ex->seen_taken || ex->queued > 0) {
        ex->seen_taken = ex->taken;
        found->restless = true;
    }
    found->behind = found->behind || (!ex->context && is_behind_locked(ex));
    for_each_worker_locked(ex, WORKER_ACTIVE, found, sweep_worker_locked);
    for_each_worker_locked(ex, WORKER_STALLED, found, sweep_worker_locked);
    bool disobeyed = ex->unobeyed > 0 || ex->stuck > 0;
    for (int state = 0; disobeyed && state < WORKER_STATES; state++) {
        for_each_worker_locked(ex, (worker_state)state, found, sweep_cancelled_locked);
    }
    if (executor__look_at_tasks_locked(ex, found->now_ns)) {
        found->restless = true;
    }
    pthread_mutex_unlock(&ex->lock);
}

/* The place of a worker that does not come back is taken by another. */
static void
replace_stuck(executor *pool, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&pool->lock);
    bool lacking = pool->active < runtime_parallelism() &&
                   (pool->first != NULL || pool->workers[WORKER_IDLE] == NULL);
    size_t hands = lacking ? recruit_hands_locked(pool, 1) : 0;
    pthread_mutex_unlock(&pool->lock);
    start_hands(pool, hands);
}

/* True: something is there that may need another look. */
static bool
look_at_jobs(int64_t now_ns)
{
    sweep found = {.now_ns = now_ns};
    executor__for_each(sweep_executor, &found);
    for_each_found(&found.unwatched, executor__monitor_caller);
    for_each_found(&found.unreached, executor__ask_canceller);
    if (found.replace) {
        runtime_for_each_pool(replace_stuck, NULL);
    }
    if (found.behind) {
        executor__watch(WATCH_FAST);
    }
    return found.restless;
}

/* ---- When to look ---- */

/* `level` was seen before; a submit may have relied on it just before it is lowered, so
 * each of these looks once more. */
static void
look_fast(int64_t now_ns)
{
    int fast = WATCH_FAST;
    rt->fast_look_ns = now_ns + EXECUTOR_FAST_LOOK_NS;
    if (!look_at_queues() &&
        atomic_compare_exchange_strong(&rt->watch_level, &fast, WATCH_SLOW) &&
        look_at_queues()) {
        executor__watch(WATCH_FAST);
    }
}

static void
look_slow(int64_t now_ns)
{
    int slow = WATCH_SLOW;
    rt->slow_look_ns = now_ns + EXECUTOR_LOOK_NS;
    if (look_at_jobs(now_ns)) {
        rt->restless_ns = now_ns;
    } else if (now_ns - rt->restless_ns > QUIET_NS &&
               atomic_compare_exchange_strong(&rt->watch_level, &slow, WATCH_ASLEEP) &&
               look_at_jobs(now_ns)) {
        rt->restless_ns = now_ns;
        executor__watch(WATCH_SLOW);
    }
}

int64_t
executor_look_around(int64_t now_ns)
{
    int level = atomic_load(&rt->watch_level);
    if (level == WATCH_ASLEEP) {
        return INT64_MAX;
    }
    if (level == WATCH_FAST && now_ns >= rt->fast_look_ns) {
        look_fast(now_ns);
    }
    if (now_ns >= rt->slow_look_ns) {
        look_slow(now_ns);
    }
    level = atomic_load(&rt->watch_level);
    if (level == WATCH_ASLEEP) {
        return INT64_MAX;
    }
    return level == WATCH_FAST && rt->fast_look_ns < rt->slow_look_ns
               ? rt->fast_look_ns
               : rt->slow_look_ns;
}
