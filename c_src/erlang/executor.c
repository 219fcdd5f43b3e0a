#include "executor.h"

#include <pthread.h>
#include <stdlib.h>

#include "../stream/platform.h"
#include "atoms.h"
#include "runner.h"
#include "runtime.h"
#include "shared.h"

/* CPython overflows smaller stacks before it reaches its recursion limit. */
#define WORKER_STACK_BYTES ((size_t)8 << 20)
/* A worker with more to do still lets others have the GIL this often. */
#define GIL_SLICE_NS 1000000

typedef enum { EXECUTOR_CLOSED, EXECUTOR_OPEN, EXECUTOR_DRAINING } executor_state;

typedef struct worker {
    executor *ex;
    uint64_t generation;
    platform_event wake;
    job *running;             /* executor's lock */
    struct worker *next_idle; /* executor's lock */
    struct worker *next;      /* executor's lock: all workers */
    runner *run;              /* this thread only, as what follows */
    PyThreadState *python;
    int64_t gil_since_ns;
} worker;

struct executor {
    atomic_uint refs;
    bool context;
    pthread_mutex_t lock; /* all below */
    executor_state state;
    uint64_t generation; /* counts closings: workers of an older one leave */
    job *first, *last;
    worker *idle, *workers;
    unsigned active; /* of this generation: taking jobs, or being woken to */
    uint64_t taken;
    int submitter; /* processor of the last submit */
};

/* The calling thread's, or NULL. */
static worker *
current_worker(void)
{
    return pthread_getspecific(rt->worker_key);
}

/* ---- Life ---- */

executor *
executor_new(bool context)
{
    executor *ex = calloc(1, sizeof *ex);
    if (ex == NULL) {
        return NULL;
    }
    atomic_init(&ex->refs, 1);
    ex->context = context;
    pthread_mutex_init(&ex->lock, NULL);
    return ex;
}

executor *
executor_share(executor *ex)
{
    atomic_fetch_add_explicit(&ex->refs, 1, memory_order_relaxed);
    return ex;
}

void
executor_release(executor *ex)
{
    if (ex == NULL ||
        atomic_fetch_sub_explicit(&ex->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pthread_mutex_destroy(&ex->lock);
    free(ex);
}

/* ---- The queue ---- */

static void
push_job_locked(executor *ex, job *j)
{
    j->next = NULL;
    if (ex->last != NULL) {
        ex->last->next = j;
    } else {
        ex->first = j;
    }
    ex->last = j;
}

static job *
pop_job_locked(executor *ex)
{
    job *j = ex->first;
    if (j == NULL) {
        return NULL;
    }
    ex->first = j->next;
    if (ex->first == NULL) {
        ex->last = NULL;
    }
    j->next = NULL;
    ex->taken++;
    return j;
}

/* An idle worker that now counts as active; the caller sets its event after unlocking.
 */
static worker *
recruit_locked(executor *ex)
{
    worker *w = ex->idle;
    if (w != NULL) {
        ex->idle = w->next_idle;
        ex->active++;
    }
    return w;
}

static void
wake(worker *w)
{
    if (w != NULL) {
        platform_event_set(&w->wake);
    }
}

bool
executor_submit(executor *ex, job *j)
{
    pthread_mutex_lock(&ex->lock);
    if (ex->state != EXECUTOR_OPEN) {
        pthread_mutex_unlock(&ex->lock);
        return false;
    }
    push_job_locked(ex, j);
    ex->submitter = platform_processor();
    worker *w = ex->active < runtime_parallelism() ? recruit_locked(ex) : NULL;
    bool behind = w == NULL && ex->idle != NULL;
    pthread_mutex_unlock(&ex->lock);
    wake(w);
    if (behind) {
        runtime_watch_pool();
    }
    return true;
}

bool
executor_is_behind(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    bool behind = ex->first != NULL && ex->idle != NULL;
    pthread_mutex_unlock(&ex->lock);
    return behind;
}

uint64_t
executor_taken(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    uint64_t taken = ex->taken;
    pthread_mutex_unlock(&ex->lock);
    return taken;
}

void
executor_add_hand(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    worker *w = ex->first != NULL ? recruit_locked(ex) : NULL;
    pthread_mutex_unlock(&ex->lock);
    wake(w);
}

/* ---- Waits inside Python ---- */

stream_token *
executor_wait_begin(void)
{
    worker *w = current_worker();
    if (w == NULL) {
        return NULL;
    }
    executor *ex = w->ex;
    worker *other = NULL;
    pthread_mutex_lock(&ex->lock);
    if (w->generation == ex->generation) {
        ex->active--;
        if (ex->first != NULL && ex->active < runtime_parallelism()) {
            other = recruit_locked(ex);
        }
    }
    pthread_mutex_unlock(&ex->lock);
    wake(other);
    runtime_thread_parked(+1);
    return NULL;
}

void
executor_wait_end(void)
{
    worker *w = current_worker();
    if (w == NULL) {
        return;
    }
    runtime_thread_parked(-1);
    pthread_mutex_lock(&w->ex->lock);
    if (w->generation == w->ex->generation) {
        w->ex->active++;
    }
    pthread_mutex_unlock(&w->ex->lock);
}

/* ---- A worker ---- */

static void
take_gil(worker *w)
{
    runtime_gil_wanted(+1);
    PyEval_RestoreThread(w->python);
    runtime_gil_wanted(-1);
    w->gil_since_ns = platform_now_ns();
}

static void
give_gil(worker *w)
{
    w->python = PyEval_SaveThread();
}

static bool
may_stay_locked(worker *w)
{
    executor *ex = w->ex;
    return w->generation == ex->generation &&
           (ex->state == EXECUTOR_OPEN || ex->first != NULL);
}

/* The next job, waiting for one; NULL when this worker is to end. */
static job *
await_job(worker *w)
{
    executor *ex = w->ex;
    pthread_mutex_lock(&ex->lock);
    for (;;) {
        bool stay = may_stay_locked(w);
        if (!stay || ex->first != NULL) {
            w->running = stay ? pop_job_locked(ex) : NULL;
            break;
        }
        platform_event_clear(&w->wake);
        w->next_idle = ex->idle;
        ex->idle = w;
        ex->active--;
        uint32_t spin_ns =
            ex->submitter == platform_processor() ? 0 : runtime_spin_ns();
        pthread_mutex_unlock(&ex->lock);
        platform_event_wait(&w->wake, INT64_MAX, spin_ns, false);
        pthread_mutex_lock(&ex->lock);
    }
    job *j = w->running;
    pthread_mutex_unlock(&ex->lock);
    return j;
}

/* The next job without letting the GIL go in between; NULL: give it up and ask again.
 */
static job *
next_job_gil(worker *w)
{
    executor *ex = w->ex;
    if (runtime_gil_is_wanted() || platform_now_ns() - w->gil_since_ns > GIL_SLICE_NS) {
        return NULL;
    }
    if (pthread_mutex_trylock(&ex->lock) != 0) {
        return NULL;
    }
    job *j = w->generation == ex->generation ? pop_job_locked(ex) : NULL;
    w->running = j;
    pthread_mutex_unlock(&ex->lock);
    return j;
}

/* From here on nobody else looks at the job on behalf of this worker. */
static void
finish_job(worker *w, job *j)
{
    pthread_mutex_lock(&w->ex->lock);
    w->running = NULL;
    pthread_mutex_unlock(&w->ex->lock);
    job_release(j);
}

static void
run_jobs(worker *w, job *j)
{
    take_gil(w);
    while (j != NULL) {
        runner_run_gil(w->run, j);
        job *done = j;
        j = next_job_gil(w);
        if (j != NULL) {
            job_release(done);
        } else {
            give_gil(w);
            finish_job(w, done);
        }
    }
}

static void
unlink_worker(worker *w)
{
    executor *ex = w->ex;
    pthread_mutex_lock(&ex->lock);
    worker **at = &ex->workers;
    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    if (w->generation == ex->generation) {
        ex->active--;
    }
    pthread_mutex_unlock(&ex->lock);
}

static void *
worker_main(void *arg)
{
    worker *w = arg;
    pthread_setspecific(rt->worker_key, w);
    runtime_name_thread(w->ex->context ? "erlpy_context" : "erlpy_pool");
    PyGILState_STATE gil = PyGILState_Ensure();
    w->run = runner_new_gil(w->ex->context);
    give_gil(w);
    job *j;
    while ((j = await_job(w)) != NULL) {
        run_jobs(w, j);
    }
    take_gil(w);
    runner_free_gil(w->run);
    PyGILState_Release(gil);
    unlink_worker(w);
    platform_event_destroy(&w->wake);
    executor_release(w->ex);
    free(w);
    runtime_thread_ended();
    return NULL;
}

static bool
spawn_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attr, body, arg);
    pthread_attr_destroy(&attr);
    return failed == 0;
}

/* Counted as active from the start: it looks at the queue before it goes idle. */
static bool
start_worker(executor *ex)
{
    worker *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return false;
    }
    platform_event_init(&w->wake);
    w->ex = executor_share(ex);
    pthread_mutex_lock(&ex->lock);
    w->generation = ex->generation;
    w->next = ex->workers;
    ex->workers = w;
    ex->active++;
    pthread_mutex_unlock(&ex->lock);
    runtime_thread_started();
    if (spawn_thread(worker_main, w)) {
        return true;
    }
    unlink_worker(w);
    runtime_thread_ended();
    executor_release(ex);
    free(w);
    return false;
}

void
executor_open(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    ex->state = EXECUTOR_OPEN;
    pthread_mutex_unlock(&ex->lock);
}

bool
executor_start(executor *ex, unsigned threads)
{
    unsigned started = 0;
    while (started < threads && start_worker(ex)) {
        started++;
    }
    return started > 0;
}

/* ---- Ending ---- */

/* Every job that is queued or running, as one list that owns a reference of each. */
static job *
take_all_jobs_locked(executor *ex)
{
    job *all = ex->first;
    ex->first = ex->last = NULL;
    for (worker *w = ex->workers; w != NULL; w = w->next) {
        if (w->running != NULL && w->generation == ex->generation) {
            w->running->next = all;
            all = job_share(w->running);
        }
    }
    return all;
}

static worker *
take_idle_locked(executor *ex)
{
    worker *idle = ex->idle;
    ex->idle = NULL;
    for (worker *w = idle; w != NULL; w = w->next_idle) {
        ex->active++;
    }
    return idle;
}

void
executor_close(executor *ex, executor_ending how, ERL_NIF_TERM reason,
               ErlNifEnv *caller_env)
{
    job *jobs = NULL;
    worker *idle = NULL;
    pthread_mutex_lock(&ex->lock);
    if (how == EXECUTOR_DRAIN && ex->state == EXECUTOR_OPEN) {
        ex->state = EXECUTOR_DRAINING;
        idle = take_idle_locked(ex);
    } else if (how == EXECUTOR_ABORT && ex->state != EXECUTOR_CLOSED) {
        ex->state = EXECUTOR_CLOSED;
        jobs = take_all_jobs_locked(ex);
        idle = take_idle_locked(ex);
        ex->generation++;
        ex->active = 0;
    }
    pthread_mutex_unlock(&ex->lock);
    while (idle != NULL) {
        worker *w = idle;
        idle = w->next_idle;
        wake(w);
    }
    while (jobs != NULL) {
        job *j = jobs;
        jobs = j->next;
        job_fail(caller_env, j, reason);
        job_release(j);
    }
}
