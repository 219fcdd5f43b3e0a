/*
 * executor.c: the queue of an executor, who is woken for it, and its end.
 */
#include "executor_internal.h"

#include <stdlib.h>

#include "atoms.h"
#include "chain.h"
#include "nif_env.h"
#include "runtime.h"
#include "shared.h"

/* ---- Life ---- */

static void
make_known(executor *ex)
{
    pthread_mutex_lock(&rt->executors_lock);
    ex->next_known = rt->executors;
    if (ex->next_known != NULL) {
        ex->next_known->known_link = &ex->next_known;
    }
    ex->known_link = &rt->executors;
    rt->executors = ex;
    pthread_mutex_unlock(&rt->executors_lock);
}

static void
forget(executor *ex)
{
    pthread_mutex_lock(&rt->executors_lock);
    *ex->known_link = ex->next_known;
    if (ex->next_known != NULL) {
        ex->next_known->known_link = ex->known_link;
    }
    rt->calls_of_gone += ex->taken;
    pthread_mutex_unlock(&rt->executors_lock);
}

void
executor__for_each(void (*look)(executor *ex, void *arg), void *arg)
{
    pthread_mutex_lock(&rt->executors_lock);
    for (executor *ex = rt->executors; ex != NULL; ex = ex->next_known) {
        look(ex, arg);
    }
    pthread_mutex_unlock(&rt->executors_lock);
}

int
executor_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    return executor__open_monitor_type(env, flags);
}

executor *
executor_new(interpreter *in, bool context)
{
    executor *ex = calloc(1, sizeof *ex);
    if (ex == NULL) {
        return NULL;
    }
    atomic_init(&ex->refs, 1);
    ex->context = context;
    ex->in = interpreter_share(in);
    ex->base = ex->limit = 1;
    pthread_mutex_init(&ex->lock, NULL);
    make_known(ex);
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
    forget(ex);
    interpreter_release(ex->in);
    pthread_mutex_destroy(&ex->lock);
    free(ex);
}

void
executor_set_limits(executor *ex, unsigned base, unsigned limit, int64_t idle_ns)
{
    pthread_mutex_lock(&ex->lock);
    ex->base = base;
    ex->limit = limit;
    ex->idle_ns = idle_ns;
    pthread_mutex_unlock(&ex->lock);
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
    while (started < threads && executor__start_worker(ex)) {
        started++;
    }
    return started > 0;
}

/* ---- The workers' states ---- */

static void
count_in_locked(worker *w)
{
    executor *ex = w->ex;
    ex->count[w->state]++;
    if (w->stuck) {
        ex->stuck++;
    } else if (w->generation == ex->generation) {
        ex->threads++;
        ex->active += w->state == WORKER_ACTIVE;
    }
}

static void
count_out_locked(worker *w)
{
    executor *ex = w->ex;
    ex->count[w->state]--;
    if (w->stuck) {
        ex->stuck--;
    } else if (w->generation == ex->generation) {
        ex->threads--;
        ex->active -= w->state == WORKER_ACTIVE;
    }
}

static void
link_locked(worker *w)
{
    worker **head = &w->ex->workers[w->state];
    w->prev = NULL;
    w->next = *head;
    if (w->next != NULL) {
        w->next->prev = w;
    }
    *head = w;
}

static void
unlink_locked(worker *w)
{
    if (w->prev != NULL) {
        w->prev->next = w->next;
    } else {
        w->ex->workers[w->state] = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
}

void
executor__add_worker_locked(worker *w)
{
    count_in_locked(w);
    link_locked(w);
}

void
executor__remove_worker_locked(worker *w)
{
    unlink_locked(w);
    count_out_locked(w);
}

void
executor__set_worker_locked(worker *w, worker_state state, bool stuck)
{
    executor__remove_worker_locked(w);
    w->state = state;
    w->stuck = stuck;
    executor__add_worker_locked(w);
}

worker *
executor__recruit_locked(executor *ex)
{
    worker *w = ex->workers[WORKER_IDLE];
    if (w != NULL) {
        executor__set_worker_locked(w, WORKER_ACTIVE, false);
    }
    return w;
}

worker *
executor__recruit_for_job_locked(executor *ex)
{
    return executor__may_take_locked(ex, executor__busy_locked(ex) + 1)
               ? executor__recruit_locked(ex)
               : NULL;
}

/* ---- The queue ---- */

/* Between `before` and `after`, the ends of the queue when NULL. */
static void
link_job_locked(executor *ex, job *before, job *j, job *after)
{
    *(before != NULL ? &before->next : &ex->first) = j;
    *(after != NULL ? &after->prev : &ex->last) = j;
    j->prev = before;
    j->next = after;
    j->place = JOB_QUEUED;
    ex->queued++;
    ex->chained += j->chain != NULL;
}

void
executor__push_front_locked(executor *ex, job *j)
{
    link_job_locked(ex, NULL, j, ex->first);
}

void
executor__unqueue_locked(executor *ex, job *j)
{
    if (j->place == JOB_NESTED) {
        chain_unqueue_locked(j);
        return;
    }
    *(j->prev != NULL ? &j->prev->next : &ex->first) = j->next;
    *(j->next != NULL ? &j->next->prev : &ex->last) = j->prev;
    j->next = j->prev = NULL;
    j->place = JOB_NOWHERE;
    ex->queued--;
    ex->chained -= j->chain != NULL;
}

job *
executor__pop_locked(executor *ex)
{
    job *j = ex->first;
    if (j != NULL) {
        executor__unqueue_locked(ex, j);
        ex->taken++;
    }
    return j;
}

/* The pool's threads may all wait for the chain that this job belongs to, so it comes
 * first, and there has to be one for it. */
static bool
queue_locked(executor *ex, job *j)
{
    if (j->chain == NULL || ex->context) {
        link_job_locked(ex, ex->last, j, NULL);
        return false;
    }
    executor__push_front_locked(ex, j);
    return ex->count[WORKER_IDLE] < ex->chained;
}

static void
submit_to_queue_unlock(executor *ex, job *j)
{
    bool lacking = queue_locked(ex, j);
    ex->submitter = platform_processor();
    worker *w = ex->active < runtime_parallelism()
                    ? executor__recruit_for_job_locked(ex)
                    : NULL;
    j->queued_ns = w != NULL ? 0 : platform_now_ns();
    pthread_mutex_unlock(&ex->lock);
    executor__wake(w);
    if (lacking) {
        executor__start_worker(ex);
    }
    executor__watch(w == NULL && !ex->context ? WATCH_FAST : WATCH_SLOW);
}

bool
executor_submit(executor *ex, job *j)
{
    callback *nest = chain_nest(ex, j);
    pthread_mutex_lock(&ex->lock);
    if (ex->state != EXECUTOR_OPEN) {
        pthread_mutex_unlock(&ex->lock);
        return false;
    }
    if (nest == NULL || !chain_push_locked(nest, j)) {
        submit_to_queue_unlock(ex, j);
        return true;
    }
    callback_share(nest);
    pthread_mutex_unlock(&ex->lock);
    callback_wake(nest);
    callback_release(nest);
    executor__watch(WATCH_SLOW);
    return true;
}

/* ---- Ending ---- */

static void
wake_all_idle_locked(executor *ex)
{
    worker *w;
    while ((w = executor__recruit_locked(ex)) != NULL) {
        executor__wake(w);
    }
}

/* All that has not begun, as a list that owns its references. */
static job *
empty_queue_locked(executor *ex)
{
    for (int state = 0; state < WORKER_STATES; state++) {
        for (worker *w = ex->workers[state]; w != NULL; w = w->next) {
            chain_give_back_locked(w->waiting);
        }
    }
    job *all = ex->first;
    for (job *j = all; j != NULL; j = j->next) {
        j->place = JOB_NOWHERE;
    }
    ex->first = ex->last = NULL;
    ex->queued = ex->chained = 0;
    return all;
}

/* The running job that has not been cancelled yet and has the least depth. */
static job *
find_running_locked(executor *ex)
{
    job *found = NULL;
    for (int state = 0; state < WORKER_STATES; state++) {
        for (worker *w = ex->workers[state]; w != NULL; w = w->next) {
            for (job *j = w->running; j != NULL; j = j->outer) {
                if (j->cancel == CANCEL_NONE &&
                    (found == NULL || j->depth < found->depth)) {
                    found = j;
                }
            }
            if (found != NULL && found->depth == 1) {
                return found;
            }
        }
    }
    return found;
}

/* Shared. */
static job *
find_running(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    job *j = find_running_locked(ex);
    if (j != NULL) {
        job_share(j);
    }
    pthread_mutex_unlock(&ex->lock);
    return j;
}

/* One at a time: a token may have to wake its thread, which is too much under the lock
 * for a thousand.  What a chain began with comes first: the end of a later link is no
 * answer that it goes on with. */
static void
cancel_all_running(executor *ex, ERL_NIF_TERM reason, ErlNifEnv *caller_env)
{
    job *j;
    while ((j = find_running(ex)) != NULL) {
        job_fail(caller_env, j, reason);
        executor__cancel(ex, j, false);
        job_release(j);
    }
    executor__cancel_tasks(ex, reason, caller_env, false);
}

void
executor_close(executor *ex, executor_ending how, ERL_NIF_TERM reason,
               ErlNifEnv *caller_env)
{
    job *queued = NULL;
    bool aborted = false;
    pthread_mutex_lock(&ex->lock);
    if (how == EXECUTOR_DRAIN && ex->state == EXECUTOR_OPEN) {
        ex->state = EXECUTOR_DRAINING;
        wake_all_idle_locked(ex);
    } else if (how == EXECUTOR_ABORT && ex->state != EXECUTOR_CLOSED) {
        ex->state = EXECUTOR_CLOSED;
        aborted = true;
        queued = empty_queue_locked(ex);
        wake_all_idle_locked(ex);
        ex->generation++;
        ex->active = ex->threads = 0;
    }
    pthread_mutex_unlock(&ex->lock);
    ErlNifEnv *before = nif_env_enter(caller_env);
    while (queued != NULL) {
        job *j = queued;
        queued = j->next;
        job_fail(caller_env, j, reason);
        job_drop_request(j);
        job_release(j);
    }
    if (aborted) {
        cancel_all_running(ex, reason, caller_env);
    }
    if (aborted && ex->in->own) {
        event_loops_end(ex->in, false);
    }
    nif_env_leave(before);
}

/* The jobs of one thread, the innermost first, shared; nested ones are of one chain and
 * not deeper than that may be. */
static unsigned
share_running(executor *ex, job *running[CHAIN_MAX_DEPTH])
{
    unsigned count = 0;
    pthread_mutex_lock(&ex->lock);
    for (int state = 0; state < WORKER_STATES && count == 0; state++) {
        worker *w = ex->workers[state];
        for (job *j = w != NULL ? w->running : NULL; j != NULL; j = j->outer) {
            running[count++] = job_share(j);
        }
    }
    pthread_mutex_unlock(&ex->lock);
    return count;
}

void
executor_interrupt(executor *ex, ERL_NIF_TERM reason, ErlNifEnv *caller_env)
{
    job *running[CHAIN_MAX_DEPTH];
    unsigned count = share_running(ex, running);
    ErlNifEnv *before = nif_env_enter(caller_env);
    while (count > 0) {
        job *j = running[--count];
        job_fail(caller_env, j, reason);
        executor__cancel(ex, j, true);
        job_release(j);
    }
    executor__cancel_tasks(ex, reason, caller_env, true);
    nif_env_leave(before);
}

/* ---- Counting ---- */

unsigned
executor_load(executor *ex)
{
    if (atomic_load_explicit(&ex->failed, memory_order_relaxed)) {
        return UINT_MAX;
    }
    pthread_mutex_lock(&ex->lock);
    unsigned load = (unsigned)ex->queued + executor__busy_locked(ex);
    load -= load < ex->count[WORKER_PARKED] ? load : ex->count[WORKER_PARKED];
    pthread_mutex_unlock(&ex->lock);
    return load;
}

static void
add_counts(executor *ex, void *arg)
{
    executor_counts *sum = arg;
    pthread_mutex_lock(&ex->lock);
    for (int state = 0; state < WORKER_STATES; state++) {
        sum->threads += ex->count[state];
    }
    sum->parked += ex->count[WORKER_PARKED];
    sum->idle += ex->count[WORKER_IDLE];
    sum->stuck += ex->stuck + ex->tasks[TASK_STUCK].count;
    for (int state = 0; state < TASK_STATES; state++) {
        sum->tasks += ex->tasks[state].count;
    }
    sum->queued += ex->queued;
    sum->calls += ex->taken;
    pthread_mutex_unlock(&ex->lock);
}

void
executor_count_all(executor_counts *sum)
{
    *sum = (executor_counts){0};
    executor__for_each(add_counts, sum);
    pthread_mutex_lock(&rt->executors_lock);
    sum->calls += rt->calls_of_gone;
    pthread_mutex_unlock(&rt->executors_lock);
}
