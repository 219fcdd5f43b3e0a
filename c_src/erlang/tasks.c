/*
 * tasks.c: jobs that have gone from their worker to an event loop.
 *
 *   RUNNING --cancel--> CANCELLED --a second--> STUCK
 *      `--------------------+---------------------`--> its task has ended
 *
 * Each state is a list of its executor.  CANCELLED is in the order of the cancels.  A
 * cancel is in the inbox of the loop from REQUESTED on; the loop's thread takes it from
 * there and cancels the task.
 *
 * A job here is the loop's: that has the reference which the worker had.
 */
#include "executor_internal.h"

#include "nif_env.h"
#include "shared.h"

/* ---- The lists ---- */

static void
link_task_locked(executor *ex, job *j, task_state state)
{
    task_list *list = &ex->tasks[state];
    j->task = state;
    j->next = NULL;
    j->prev = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = j;
    list->last = j;
    list->count++;
}

static void
unlink_task_locked(executor *ex, job *j)
{
    task_list *list = &ex->tasks[j->task];
    *(j->prev != NULL ? &j->prev->next : &list->first) = j->next;
    *(j->next != NULL ? &j->next->prev : &list->last) = j->prev;
    j->next = j->prev = NULL;
    list->count--;
}

static void
relink_task_locked(executor *ex, job *j, task_state state)
{
    unlink_task_locked(ex, j);
    link_task_locked(ex, j, state);
}

event_loop *
executor__move_locked(executor *ex, job *j)
{
    j->place = JOB_LOOPING;
    j->home = executor_share(ex);
    link_task_locked(ex, j, TASK_RUNNING);
    if (j->cancel != CANCEL_NONE) {
        /* It did not reach the function: its coroutine gets it. */
        j->cancel = CANCEL_NONE;
        return executor__cancel_task_locked(ex, j);
    }
    event_loop_post(j->loop, j, false);
    return event_loop_share(j->loop);
}

/* ---- Cancelling ---- */

event_loop *
executor__cancel_task_locked(executor *ex, job *j)
{
    bool known = j->cancel == CANCEL_REQUESTED || j->cancel == CANCEL_ASYNC;
    j->cancel = CANCEL_REQUESTED;
    j->cancelled_ns = platform_now_ns();
    relink_task_locked(ex, j, j->task == TASK_STUCK ? TASK_STUCK : TASK_CANCELLED);
    event_loop_post(j->loop, j, true);
    return known ? NULL : event_loop_share(j->loop);
}

/* The first of a list, shared. */
static job *
first_task(executor *ex, task_state state)
{
    pthread_mutex_lock(&ex->lock);
    job *j = ex->tasks[state].first;
    if (j != NULL) {
        job_share(j);
    }
    pthread_mutex_unlock(&ex->lock);
    return j;
}

static size_t
count_tasks(executor *ex, task_state state)
{
    pthread_mutex_lock(&ex->lock);
    size_t count = ex->tasks[state].count;
    pthread_mutex_unlock(&ex->lock);
    return count;
}

/* Each goes to the end of its list, or to that of another one. */
static void
cancel_first(executor *ex, task_state state, size_t count, ERL_NIF_TERM reason,
             ErlNifEnv *caller_env)
{
    job *j;
    while (count-- > 0 && (j = first_task(ex, state)) != NULL) {
        job_fail(caller_env, j, reason);
        executor__cancel(ex, j, true);
        job_release(j);
    }
}

/* One at a time, as executor.c has it. */
void
executor__cancel_tasks(executor *ex, ERL_NIF_TERM reason, ErlNifEnv *caller_env,
                       bool again)
{
    for (int state = TASK_STATES - 1; again && state > TASK_RUNNING; state--) {
        cancel_first(ex, (task_state)state, count_tasks(ex, (task_state)state), reason,
                     caller_env);
    }
    cancel_first(ex, TASK_RUNNING, count_tasks(ex, TASK_RUNNING), reason, caller_env);
}

bool
executor_has_many_tasks(executor *ex)
{
    pthread_mutex_lock(&ex->lock);
    size_t count = 0;
    for (int state = 0; state < TASK_STATES; state++) {
        count += ex->tasks[state].count;
    }
    pthread_mutex_unlock(&ex->lock);
    return count > 16;
}

/* A job on a loop holds its executor, which can be shared as long as there is one. */
static void
find_running_tasks(executor *ex, void *arg)
{
    executor **found = arg;
    pthread_mutex_lock(&ex->lock);
    if (*found == NULL && ex->tasks[TASK_RUNNING].first != NULL) {
        *found = executor_share(ex);
    }
    pthread_mutex_unlock(&ex->lock);
}

void
executor_abandon_tasks(ERL_NIF_TERM reason, ErlNifEnv *caller_env)
{
    for (;;) {
        executor *found = NULL;
        executor__for_each(find_running_tasks, &found);
        if (found == NULL) {
            return;
        }
        ErlNifEnv *before = nif_env_enter(caller_env);
        executor__cancel_tasks(found, reason, caller_env, false);
        nif_env_leave(before);
        executor_release(found);
    }
}

bool
executor__look_at_tasks_locked(executor *ex, int64_t now_ns)
{
    task_list *cancelled = &ex->tasks[TASK_CANCELLED];
    while (cancelled->first != NULL &&
           now_ns - cancelled->first->cancelled_ns >= EXECUTOR_STUCK_NS) {
        relink_task_locked(ex, cancelled->first, TASK_STUCK);
    }
    return cancelled->first != NULL;
}

/* ---- The thread of the loop ---- */

/* It gives the GIL up before it waits for the lock, and so does nothing with objects
 * until unlock_gil(). */
static PyThreadState *
lock_gil(executor *ex)
{
    if (pthread_mutex_trylock(&ex->lock) == 0) {
        return NULL;
    }
    PyThreadState *python = PyEval_SaveThread();
    pthread_mutex_lock(&ex->lock);
    return python;
}

static void
unlock_gil(executor *ex, PyThreadState *python)
{
    pthread_mutex_unlock(&ex->lock);
    if (python != NULL) {
        PyEval_RestoreThread(python);
    }
}

bool
executor_take_cancel_gil(job *j)
{
    executor *ex = j->home;
    PyThreadState *python = lock_gil(ex);
    bool due = j->place == JOB_LOOPING &&
               (j->cancel == CANCEL_REQUESTED || j->cancel == CANCEL_ASYNC);
    if (due) {
        j->cancel = CANCEL_DELIVERED;
    }
    unlock_gil(ex, python);
    return due;
}

/* ASYNC: told in a wait of another task of the job, and its own is to be cancelled. */
bool
executor_wait_is_cancelled_gil(job *j, bool outermost)
{
    executor *ex = j->home;
    PyThreadState *python = lock_gil(ex);
    bool due = j->place == JOB_LOOPING && j->cancel == CANCEL_REQUESTED;
    if (due) {
        j->cancel = outermost ? CANCEL_DELIVERED : CANCEL_ASYNC;
    } else {
        event_loop_calm();
    }
    unlock_gil(ex, python);
    return due;
}

void
executor_end_task_gil(job *j)
{
    executor *ex = j->home;
    PyThreadState *python = lock_gil(ex);
    unlink_task_locked(ex, j);
    j->place = JOB_NOWHERE;
    unlock_gil(ex, python);
    executor__demonitor_caller(j);
    executor_release(ex);
    job_release(j);
}
