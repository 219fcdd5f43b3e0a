/*
 * worker.c: a thread that runs jobs: what it takes, when it parks, when it ends.
 */
#include "executor_internal.h"

#include <stdlib.h>

#include "atoms.h"
#include "failure.h"
#include "runtime.h"
#include "shared.h"

/* A worker with more to do still lets others have the GIL this often. */
#define GIL_SLICE_NS 1000000
/* The caller of a job that was queued for longer may have died meanwhile. */
#define QUEUED_LONG_NS 1000000

worker *
executor__current_worker(void)
{
    return pthread_getspecific(rt->worker_key);
}

/* ---- Waits inside Python ---- */

/* Nobody is left who would take the next job. */
static bool
lacks_hands_locked(const executor *ex)
{
    return ex->active < runtime_parallelism() && ex->workers[WORKER_IDLE] == NULL &&
           executor__may_grow_locked(ex);
}

stream_token *
executor_wait_begin(void)
{
    worker *w = executor__current_worker();
    if (w == NULL) {
        return event_loop_wait_begin();
    }
    executor *ex = w->ex;
    worker *other = NULL;
    pthread_mutex_lock(&ex->lock);
    executor__set_worker_locked(w, WORKER_PARKED, w->stuck);
    if (ex->active < runtime_parallelism()) {
        other = executor__recruit_for_job_locked(ex);
    }
    bool lacking = lacks_hands_locked(ex);
    job *j = w->running;
    bool unwatched = j != NULL && j->wants_reply && j->watch == NULL;
    pthread_mutex_unlock(&ex->lock);
    executor__wake(other);
    if (lacking) {
        executor__start_worker(ex);
    }
    if (unwatched) {
        executor__monitor_caller(ex, j);
    }
    return &w->token;
}

void
executor_wait_end(void)
{
    worker *w = executor__current_worker();
    if (w == NULL) {
        event_loop_wait_end();
        return;
    }
    executor *ex = w->ex;
    pthread_mutex_lock(&ex->lock);
    executor__set_worker_locked(w, WORKER_ACTIVE, w->stuck);
    job *j = w->running;
    /* The wait may have ended by other news; then this is running code again. */
    bool cancelled = j != NULL && j->cancel == CANCEL_REQUESTED;
    pthread_mutex_unlock(&ex->lock);
    if (cancelled) {
        executor__ask_canceller(ex, j);
    }
}

/* ---- The GIL ---- */

static void
take_gil(worker *w)
{
    atomic_store_explicit(&w->wants_gil, true, memory_order_relaxed);
    interpreter_take_gil(w->ex->in, w->python);
    atomic_store_explicit(&w->wants_gil, false, memory_order_relaxed);
    w->gil_since_ns = platform_now_ns();
}

/* w->python stays as it is: who cancels the job reads it. */
static void
give_gil(void)
{
    PyEval_SaveThread();
}

/* ---- Jobs ---- */

void
executor__begin_job_locked(worker *w, job *j)
{
    j->place = JOB_RUNNING;
    j->on = w;
    j->outer = w->running;
    w->running = j;
    w->serial++;
}

static job *
begin_next_locked(worker *w)
{
    job *j = executor__pop_locked(w->ex);
    if (j != NULL) {
        executor__begin_job_locked(w, j);
    }
    return j;
}

/* The job, or one that it runs nested in, goes on although it should have ended. */
static bool
is_stuck_locked(const job *j)
{
    while (j != NULL && (j->cancel == CANCEL_NONE || j->unobeyed)) {
        j = j->outer;
    }
    return j != NULL;
}

/* A cancel of the outer job that has come meanwhile is its again. */
bool
executor__end_job_locked(worker *w, job *j, event_loop **moved)
{
    bool left = j->cancel != CANCEL_NONE && executor__end_cancel_locked(w, j);
    j->on = NULL;
    w->running = j->outer;
    j->outer = NULL;
    j->place = JOB_NOWHERE;
    *moved = j->loop != NULL ? executor__move_locked(w->ex, j) : NULL;
    bool stuck = is_stuck_locked(w->running);
    if (w->state != WORKER_ACTIVE || w->stuck != stuck) {
        executor__set_worker_locked(w, WORKER_ACTIVE, stuck);
    }
    if (w->running != NULL && w->running->cancel == CANCEL_REQUESTED) {
        stream_token_raise(&w->token);
    }
    return left;
}

void
executor__leave_job(job *j, event_loop *moved)
{
    if (moved != NULL) {
        event_loop_wake(moved);
        return;
    }
    executor__demonitor_caller(j);
    job_release(j);
}

static bool
may_stay_locked(worker *w)
{
    executor *ex = w->ex;
    return w->generation == ex->generation &&
           (ex->state == EXECUTOR_OPEN || ex->first != NULL);
}

/* There are enough without this idle one: in the pool one idle worker is kept for the
 * next job, whatever the others do. */
static bool
is_surplus_locked(const executor *ex)
{
    return ex->threads > ex->base && ex->count[WORKER_IDLE] > 1;
}

/* Sleeps until it is recruited (true, and it is active), or until it has been idle for
 * too long (false).  Gives up the lock meanwhile. */
static bool
idle_locked(worker *w)
{
    executor *ex = w->ex;
    platform_event_clear(&w->wake);
    executor__set_worker_locked(w, WORKER_IDLE, false);
    uint32_t spin_ns = ex->submitter == platform_processor() ? 0 : runtime_spin_ns();
    int64_t idle_ns = is_surplus_locked(ex) ? ex->idle_ns : INT64_MAX;
    pthread_mutex_unlock(&ex->lock);
    int64_t deadline_ns =
        idle_ns == INT64_MAX ? INT64_MAX : platform_now_ns() + idle_ns;
    platform_wait_result result =
        platform_event_wait(&w->wake, deadline_ns, spin_ns, false);
    pthread_mutex_lock(&ex->lock);
    if (result == PLATFORM_SET) {
        return true;
    }
    if (w->state == WORKER_IDLE) {
        bool surplus = is_surplus_locked(ex);
        executor__set_worker_locked(w, WORKER_ACTIVE, false);
        return !surplus;
    }
    /* Whoever has recruited it is about to set the event. */
    pthread_mutex_unlock(&ex->lock);
    platform_event_wait(&w->wake, INT64_MAX, 0, false);
    pthread_mutex_lock(&ex->lock);
    return true;
}

/* The next job, waiting for one; NULL when this worker is to end: it is in no list
 * then.
 */
static job *
await_job(worker *w)
{
    executor *ex = w->ex;
    job *j = NULL;
    bool stay = true;
    pthread_mutex_lock(&ex->lock);
    while (stay && j == NULL) {
        if (!may_stay_locked(w)) {
            stay = false;
        } else if (executor__may_take_locked(ex, executor__busy_locked(ex))) {
            j = begin_next_locked(w);
        } else {
            stay = idle_locked(w);
        }
    }
    if (!stay) {
        executor__remove_worker_locked(w);
    }
    pthread_mutex_unlock(&ex->lock);
    return j;
}

/* The next job without letting the GIL go in between; NULL: give it up and ask again.
 * `done` has been left when there is a next one. */
static job *
next_job_gil(worker *w, job *done)
{
    executor *ex = w->ex;
    if (interpreter_gil_is_wanted(ex->in) ||
        platform_now_ns() - w->gil_since_ns > GIL_SLICE_NS) {
        return NULL;
    }
    if (pthread_mutex_trylock(&ex->lock) != 0) {
        return NULL;
    }
    job *j = NULL;
    event_loop *moved;
    if (executor__may_take_locked(ex, executor__busy_locked(ex)) &&
        w->generation == ex->generation && done->cancel == CANCEL_NONE &&
        (done->watch == NULL || done->loop != NULL)) {
        executor__end_job_locked(w, done, &moved);
        j = begin_next_locked(w);
    }
    pthread_mutex_unlock(&ex->lock);
    if (j != NULL) {
        executor__leave_job(done, moved);
    }
    return j;
}

static void
finish_job(worker *w, job *j)
{
    event_loop *moved;
    pthread_mutex_lock(&w->ex->lock);
    bool left = executor__end_job_locked(w, j, &moved);
    pthread_mutex_unlock(&w->ex->lock);
    if (left && w->python != NULL) {
        take_gil(w);
        executor__take_back_gil();
        give_gil();
    }
    executor__leave_job(j, moved);
}

void
executor__check_caller(job *j)
{
    if (j->queued_ns != 0 && j->wants_reply &&
        platform_now_ns() - j->queued_ns > QUEUED_LONG_NS &&
        !enif_is_process_alive(NULL, &j->caller)) {
        job_claim(j, JOB_CANCELLED);
    }
}

static void
set_loop(worker *w, stream_waker *loop)
{
    pthread_mutex_lock(&w->ex->lock);
    stream_waker *before = w->loop;
    w->loop = loop;
    pthread_mutex_unlock(&w->ex->lock);
    stream_waker_release(before);
}

void
executor_loop_waits(stream_waker *waker)
{
    worker *w = executor__current_worker();
    if (w != NULL && w->loop != waker) {
        set_loop(w, stream_waker_share(waker));
    }
}

static void
run_jobs(worker *w, job *j)
{
    take_gil(w);
    while (j != NULL) {
        executor__check_caller(j);
        runner_run_gil(w->run, j);
        if (w->loop != NULL) {
            set_loop(w, NULL);
        }
        job *done = j;
        j = next_job_gil(w, done);
        if (j == NULL) {
            give_gil();
            finish_job(w, done);
        }
    }
}

/* ---- The thread ---- */

static void
free_worker(worker *w)
{
    platform_event_destroy(&w->wake);
    stream_token_destroy(&w->token);
    executor_release(w->ex);
    free(w);
}

/* The interpreter could not be made, or entered. */
static void
answer_failure(worker *w, job *j)
{
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        job_fail(NULL, j, nif_am.am_enomem);
    } else {
        job_reply(j, env, failure_term_of_text(env, interpreter_failure(w->ex->in)));
        enif_free_env(env);
    }
    job_drop_request(j);
}

/* Enters the interpreter.  When that fails it is tried again with each job, which is
 * answered, or handed back to be run.  NULL, and w->python may be NULL too: there is
 * none, and this worker is to end. */
static job *
enter(worker *w)
{
    job *j = NULL;
    PyThreadState *python;
    while ((python = interpreter_enter(w->ex->in)) == NULL) {
        atomic_store_explicit(&w->wants_gil, false, memory_order_relaxed);
        atomic_store_explicit(&w->ex->failed, !interpreter_is_ready(w->ex->in),
                              memory_order_relaxed);
        if (j != NULL) {
            answer_failure(w, j);
            finish_job(w, j);
        }
        j = await_job(w);
        if (j == NULL) {
            return NULL;
        }
    }
    w->python = python;
    atomic_store_explicit(&w->ex->failed, false, memory_order_relaxed);
    return j;
}

static bool
is_last_to_go(worker *w)
{
    executor *ex = w->ex;
    pthread_mutex_lock(&ex->lock);
    bool last = ex->state != EXECUTOR_OPEN && ex->threads == 0;
    pthread_mutex_unlock(&ex->lock);
    return last;
}

/* `first`: a job that it has already, or NULL. */
static void
serve(worker *w, job *first)
{
    w->run = runner_new_gil(w->ex->in, w->ex->context);
    give_gil();
    atomic_store_explicit(&w->wants_gil, false, memory_order_relaxed);
    job *j = first != NULL ? first : await_job(w);
    while (j != NULL) {
        run_jobs(w, j);
        j = await_job(w);
    }
    /* It is in no list any more: destructors may come to a wait of ours. */
    pthread_setspecific(rt->worker_key, NULL);
    take_gil(w);
    runner_free_gil(w->run);
    if (w->ex->in->own && is_last_to_go(w)) {
        event_loops_end(w->ex->in, true);
    }
    interpreter_leave_gil(w->ex->in, w->python);
}

static void *
worker_main(void *arg)
{
    worker *w = arg;
    pthread_setspecific(rt->worker_key, w);
    runtime_name_thread(w->ex->context ? "erlpy_context" : "erlpy_pool");
    w->ident = PyThread_get_thread_ident();
    w->thread = pthread_self();
    job *first = enter(w);
    if (w->python != NULL) {
        serve(w, first);
    }
    uint64_t epoch = w->epoch;
    if (w->ex->context) {
        runtime_context_remove(w->ex);
    }
    free_worker(w);
    runtime_thread_ended(epoch);
    return NULL;
}

static worker *
new_worker(executor *ex)
{
    worker *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    platform_event_init(&w->wake);
    stream_token_init(&w->token);
    atomic_init(&w->wants_gil, true);
    w->ex = executor_share(ex);
    return w;
}

/* Counted as active from the start: it looks at the queue before it goes idle. */
bool
executor__start_worker(executor *ex)
{
    worker *w = new_worker(ex);
    if (w == NULL) {
        return false;
    }
    pthread_mutex_lock(&ex->lock);
    w->generation = ex->generation;
    executor__add_worker_locked(w);
    pthread_mutex_unlock(&ex->lock);
    w->epoch = runtime_thread_started();
    uint64_t epoch = w->epoch;
    if (runtime_spawn_thread(worker_main, w)) {
        return true;
    }
    pthread_mutex_lock(&ex->lock);
    executor__remove_worker_locked(w);
    pthread_mutex_unlock(&ex->lock);
    free_worker(w);
    runtime_thread_ended(epoch);
    return false;
}
