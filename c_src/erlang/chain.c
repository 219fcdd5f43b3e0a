#include "chain.h"

#include "executor_internal.h"

/* ---- Links ---- */

bool
chain_job(job *j, callback *call)
{
    if (call != NULL && call->depth >= CHAIN_MAX_DEPTH) {
        return false;
    }
    j->chain = call != NULL ? callback_share(call) : NULL;
    j->depth = call != NULL ? call->depth + 1 : 1;
    return true;
}

static void
link_call(callback *call, const job *j)
{
    call->depth = j->depth;
    call->parent = j->chain != NULL ? callback_share(j->chain) : NULL;
}

/* `running` is changed by this thread alone. */
void
chain_call(pyb_state *state, callback *call)
{
    worker *w = executor__current_worker();
    job *j = w != NULL ? w->running : NULL;
    if (j != NULL) {
        link_call(call, j);
        call->ex = executor_share(w->ex);
        call->job = j;
    } else if (w == NULL && (j = event_loop_job_gil(state)) != NULL) {
        link_call(call, j);
        job_release(j);
    }
}

/* ---- Jobs for a thread that waits ---- */

callback *
chain_nest(executor *ex, const job *j)
{
    callback *call = ex->context ? j->chain : NULL;
    while (call != NULL && call->ex != ex) {
        call = call->parent;
    }
    return call;
}

bool
chain_push_locked(callback *nest, job *j)
{
    if (!nest->open) {
        return false;
    }
    j->place = JOB_NESTED;
    j->nest = nest;
    j->next = NULL;
    j->prev = nest->last;
    if (nest->last != NULL) {
        nest->last->next = j;
    } else {
        nest->first = j;
    }
    nest->last = j;
    nest->ex->queued++;
    return true;
}

void
chain_unqueue_locked(job *j)
{
    callback *nest = j->nest;
    if (j->prev != NULL) {
        j->prev->next = j->next;
    } else {
        nest->first = j->next;
    }
    if (j->next != NULL) {
        j->next->prev = j->prev;
    } else {
        nest->last = j->prev;
    }
    j->next = j->prev = NULL;
    j->nest = NULL;
    j->place = JOB_NOWHERE;
    nest->ex->queued--;
}

callback *
chain_find_locked(callback *innermost, const job *j)
{
    callback *call = innermost;
    while (call != NULL && call->job != j) {
        call = call->outer;
    }
    return call;
}

/* ---- The thread that waits ---- */

/* Code of a sub-interpreter cannot have a job of the main one nested in it. */
void
chain_open(callback *call)
{
    if (call->ex == NULL) {
        event_loop_block_gil(+1);
        return;
    }
    worker *w = executor__current_worker();
    bool may_nest = PyThreadState_Get() == w->python;
    pthread_mutex_lock(&call->ex->lock);
    call->open = may_nest;
    call->outer = w->waiting;
    w->waiting = call;
    pthread_mutex_unlock(&call->ex->lock);
}

static void
give_back_locked(callback *call)
{
    while (call->last != NULL) {
        job *j = call->last;
        chain_unqueue_locked(j);
        executor__push_front_locked(call->ex, j);
    }
}

void
chain_give_back_locked(callback *innermost)
{
    for (callback *call = innermost; call != NULL; call = call->outer) {
        give_back_locked(call);
    }
}

void
chain_close(callback *call)
{
    if (call->ex == NULL) {
        event_loop_block_gil(-1);
        return;
    }
    worker *w = executor__current_worker();
    pthread_mutex_lock(&call->ex->lock);
    call->open = false;
    w->waiting = call->outer;
    give_back_locked(call);
    call->outer = NULL;
    pthread_mutex_unlock(&call->ex->lock);
}

/* Not once the job that made the call is to end: the wait ends by the token then. */
static bool
may_nest_locked(const worker *w)
{
    return w->running->cancel == CANCEL_NONE || w->running->cancel == CANCEL_DELIVERED;
}

job *
chain_next_job(callback *call)
{
    job *j = NULL;
    if (call->ex == NULL || !call->ex->context) {
        return NULL;
    }
    worker *w = executor__current_worker();
    pthread_mutex_lock(&call->ex->lock);
    if (call->first != NULL && may_nest_locked(w)) {
        j = call->first;
        chain_unqueue_locked(j);
        call->ex->taken++;
        executor__begin_job_locked(w, j);
    }
    pthread_mutex_unlock(&call->ex->lock);
    return j;
}

/* What the code around the call is handling is none of the nested job's business: it
 * gets a stack of handled exceptions of its own. */
static void
run_apart_gil(runner *run, job *j)
{
    PyThreadState *python = PyThreadState_Get();
    _PyErr_StackItem *handled = python->exc_info;
    _PyErr_StackItem nothing = {0};
    python->exc_info = &nothing;
    runner_run_gil(run, j);
    python->exc_info = handled;
    Py_XDECREF(nothing.exc_value);
}

void
chain_run_gil(job *j)
{
    worker *w = executor__current_worker();
    executor__check_caller(j);
    run_apart_gil(w->run, j);
    event_loop *moved;
    pthread_mutex_lock(&w->ex->lock);
    bool left = executor__end_job_locked(w, j, &moved);
    pthread_mutex_unlock(&w->ex->lock);
    if (left) {
        executor__take_back_gil();
    }
    executor__leave_job(j, moved);
}
