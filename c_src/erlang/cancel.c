/*
 * cancel.c: how a cancel reaches a job, wherever it is.
 *
 *   queued           it leaves the queue
 *   in a wait        the token of its thread ends the wait; the thread, once it has the
 *   of ours          GIL, raises Cancelled (executor_cancelled_gil)
 *   running          the canceller, a thread that is started for it, takes the GIL and
 *                    leaves the exception with CPython, which raises it at the next
 *                    check of the thread; a loop that waits there for something of ours
 *                    is woken
 *   on a loop        it is put into the inbox of the loop, whose thread cancels its
 *                    task
 *
 * A C function may hold the GIL for ever: so each interpreter has a canceller of its
 * own, one at a time, and no other thread of ours takes the GIL for the sake of a
 * cancel.
 */
#include "executor_internal.h"

#include <stdlib.h>

#include "atoms.h"
#include "chain.h"
#include "interpreter.h"
#include "nif_env.h"
#include "runtime.h"
#include "shared.h"

/* Running jobs that the canceller shall look at, each with a reference of its own and
 * one of its executor. */
typedef struct asked_job {
    struct asked_job *next;
    executor *ex;
    job *j;
} asked_job;

/* ---- The caller's death ---- */

typedef struct watch {
    executor *ex;
    job *j;
    ErlNifMonitor monitor;
} watch;

static ErlNifResourceType *watch_type;

static void
destroy_watch(ErlNifEnv *env, void *object)
{
    watch *caller = object;
    ErlNifEnv *before = nif_env_enter(env);
    job_release(caller->j);
    executor_release(caller->ex);
    nif_env_leave(before);
}

static void
cancel_for_dead(executor *ex, job *j)
{
    if (job_claim(j, JOB_CANCELLED)) {
        executor__cancel(ex, j, false);
    }
}

static void
caller_is_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    watch *caller = object;
    ErlNifEnv *before = nif_env_enter(env);
    (void)pid;
    (void)monitor;
    cancel_for_dead(caller->ex, caller->j);
    nif_env_leave(before);
}

int
executor__open_monitor_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit init = {.dtor = destroy_watch, .down = caller_is_down};
    ErlNifResourceType *type = nif_open_type(env, "erlpy_watch", &init, flags);
    if (type == NULL) {
        return -1;
    }
    watch_type = type;
    return 0;
}

/* False: it has ended, or another thread was quicker. */
static bool
attach_watch(executor *ex, job *j, watch *caller)
{
    pthread_mutex_lock(&ex->lock);
    bool wanted =
        (j->place == JOB_RUNNING || j->place == JOB_LOOPING) && j->watch == NULL;
    if (wanted) {
        j->watch = caller;
    }
    pthread_mutex_unlock(&ex->lock);
    return wanted;
}

void
executor__monitor_caller(executor *ex, job *j)
{
    watch *caller = enif_alloc_resource(watch_type, sizeof *caller);
    if (caller == NULL) {
        return;
    }
    caller->ex = executor_share(ex);
    caller->j = job_share(j);
    int failed = enif_monitor_process(NULL, caller, &j->caller, &caller->monitor);
    if (failed > 0) {
        cancel_for_dead(ex, j);
    }
    if (failed == 0 && attach_watch(ex, j, caller)) {
        return;
    }
    if (failed == 0) {
        enif_demonitor_process(NULL, caller, &caller->monitor);
    }
    enif_release_resource(caller);
}

void
executor__demonitor_caller(job *j)
{
    watch *caller = j->watch;
    if (caller != NULL) {
        j->watch = NULL;
        enif_demonitor_process(NULL, caller, &caller->monitor);
        enif_release_resource(caller);
    }
}

/* ---- Cancelling ---- */

/* A job that has another one nested in it gets its cancel when that has ended; the call
 * that it waits in, shared, is to be abandoned meanwhile, which makes the other end. */
static callback *
request_locked(executor *ex, job *j)
{
    if (j->cancel == CANCEL_NONE) {
        ex->unobeyed++;
        j->unobeyed = true;
    }
    j->cancel = CANCEL_REQUESTED;
    j->cancelled_ns = platform_now_ns();
    if (j->on->running == j) {
        stream_token_raise(&j->on->token);
        return NULL;
    }
    callback *call = chain_find_locked(j->on->waiting, j);
    return call != NULL ? callback_share(call) : NULL;
}

void
executor__cancel(executor *ex, job *j, bool again)
{
    bool unqueued = false, running = false, parked = false;
    callback *abandoned = NULL;
    event_loop *loop = NULL;
    pthread_mutex_lock(&ex->lock);
    if (j->place == JOB_QUEUED || j->place == JOB_NESTED) {
        executor__unqueue_locked(ex, j);
        unqueued = true;
    } else if (j->place == JOB_RUNNING && (again || j->cancel == CANCEL_NONE)) {
        abandoned = request_locked(ex, j);
        running = true;
        parked = j->on->running != j || j->on->state == WORKER_PARKED;
    } else if (j->place == JOB_LOOPING && (again || j->cancel == CANCEL_NONE)) {
        loop = executor__cancel_task_locked(ex, j);
    }
    pthread_mutex_unlock(&ex->lock);
    if (unqueued) {
        job_drop_request(j);
        job_release(j);
    }
    if (running || loop != NULL) {
        executor__watch(WATCH_SLOW);
    }
    if (loop != NULL) {
        event_loop_wake(loop);
    }
    if (abandoned != NULL) {
        (void)callback_abandon(abandoned);
        callback_release(abandoned);
    }
    if (running && !parked) {
        executor__ask_canceller(ex, j);
    }
}

void
executor_cancel(executor *ex, job *j)
{
    executor__cancel(ex, j, false);
}

bool
executor__end_cancel_locked(worker *w, job *j)
{
    stream_token_clear(&w->token);
    executor__obeyed_locked(w->ex, j);
    /* Also REQUESTED: a second cancel may have found it ASYNC. */
    return j->cancel == CANCEL_ASYNC || j->cancel == CANCEL_REQUESTED;
}

void
executor__take_back_gil(void)
{
    PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
}

/* ---- Delivery at a wait ---- */

/* An exception that is on its way by CPython is taken back and raised here; one that
 * was raised by it is not raised again.  It is on its way to the code of our own
 * interpreter: a wait in another one below that ends too, and leaves it there. */
static bool
is_due_gil(const worker *w, job_cancel state)
{
    if (state == CANCEL_REQUESTED) {
        return true;
    }
    return state == CANCEL_ASYNC && w->python->async_exc != NULL;
}

int
executor_cancelled_gil(pyb_state *state)
{
    worker *w = executor__current_worker();
    if (w == NULL) {
        return event_loop_cancelled_gil(state);
    }
    bool due = false, elsewhere = PyThreadState_Get() != w->python;
    pthread_mutex_lock(&w->ex->lock);
    job *j = w->running;
    if (j != NULL && j->cancel != CANCEL_NONE) {
        due = is_due_gil(w, j->cancel);
        if (j->cancel != CANCEL_ASYNC || !elsewhere) {
            j->cancel = CANCEL_DELIVERED;
        }
    }
    stream_token_clear(&w->token);
    pthread_mutex_unlock(&w->ex->lock);
    if (!due) {
        return 0;
    }
    if (!elsewhere) {
        executor__take_back_gil();
    }
    PyErr_SetNone(state->cancelled);
    return -1;
}

bool
executor_is_cancelled(void)
{
    worker *w = executor__current_worker();
    if (w == NULL) {
        return false;
    }
    pthread_mutex_lock(&w->ex->lock);
    bool cancelled = w->running != NULL && w->running->cancel != CANCEL_NONE;
    pthread_mutex_unlock(&w->ex->lock);
    return cancelled;
}

/* ---- The canceller ---- */

static void
free_asked(asked_job *asked)
{
    job_release(asked->j);
    executor_release(asked->ex);
    free(asked);
}

static void
link_asked_locked(interpreter *in, asked_job *asked)
{
    if (in->asked_last != NULL) {
        in->asked_last->next = asked;
    } else {
        in->asked_first = asked;
    }
    in->asked_last = asked;
    asked->j->asked = true;
}

static asked_job *
unlink_asked_locked(interpreter *in)
{
    asked_job *asked = in->asked_first;
    if (asked != NULL) {
        in->asked_first = asked->next;
        if (asked->next == NULL) {
            in->asked_last = NULL;
        }
        asked->j->asked = false;
    }
    return asked;
}

/* NULL: the canceller has ended. */
static asked_job *
next_asked(interpreter *in)
{
    pthread_mutex_lock(&rt->asked_lock);
    asked_job *asked = unlink_asked_locked(in);
    if (asked == NULL) {
        in->canceller_running = false;
    }
    pthread_mutex_unlock(&rt->asked_lock);
    return asked;
}

static void *canceller_main(void *arg);

/* One that cannot be started is tried again when the job is looked at next (watch.c).
 */
static void
start_canceller(interpreter *in)
{
    if (!runtime_spawn_thread(canceller_main, interpreter_share(in))) {
        asked_job *asked;
        while ((asked = next_asked(in)) != NULL) {
            free_asked(asked);
        }
        interpreter_release(in);
    }
}

/* A job is in the list once, however often it is interrupted while the GIL is not to be
 * had. */
void
executor__ask_canceller(executor *ex, job *j)
{
    asked_job *asked = malloc(sizeof *asked);
    if (asked == NULL) {
        return;
    }
    *asked = (asked_job){.ex = executor_share(ex), .j = job_share(j)};
    interpreter *in = ex->in;
    pthread_mutex_lock(&rt->asked_lock);
    bool wanted = !j->asked, lacking = wanted && !in->canceller_running;
    if (wanted) {
        link_asked_locked(in, asked);
        in->canceller_running = true;
    }
    pthread_mutex_unlock(&rt->asked_lock);
    if (!wanted) {
        free_asked(asked);
    }
    if (lacking) {
        start_canceller(in);
    }
}

static bool
wants_exception_locked(const job *j)
{
    return j->place == JOB_RUNNING && j->cancel == CANCEL_REQUESTED &&
           j->on->running == j && j->on->state != WORKER_PARKED;
}

static bool
wants_exception(executor *ex, job *j)
{
    pthread_mutex_lock(&ex->lock);
    bool wanted = wants_exception_locked(j);
    pthread_mutex_unlock(&ex->lock);
    return wanted;
}

static bool
is_import(PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool same = PyUnicode_CompareWithASCIIString(code->co_filename,
                                                 "<frozen importlib._bootstrap>") == 0;
    Py_DECREF(code);
    return same;
}

static bool
is_reactor(PyFrameObject *frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    PyObject *name = PyDict_GetItemString(globals, "__name__");
    bool same =
        name != NULL && PyUnicode_Check(name) &&
        (PyUnicode_CompareWithASCIIString(name, "erlang.reactor") == 0 ||
         PyUnicode_CompareWithASCIIString(name, "erlang._reactor_asyncio") == 0);
    Py_DECREF(globals);
    return same;
}

/* The thread of the job is in CPython's own code of imports: most likely it waits for a
 * lock of that, which an exception would leave held for ever.  Or in that of a reactor,
 * between two protocols, where it is soon in a wait of ours.  Later looks (watch.c) ask
 * again.  Without a GIL nobody can tell. */
static bool
is_unsafe_gil(executor *ex, job *j)
{
    PyThreadState *python = NULL;
    pthread_mutex_lock(&ex->lock);
    if (interpreter_has_gil() && wants_exception_locked(j)) {
        python = j->on->python;
    }
    pthread_mutex_unlock(&ex->lock);
    /* It cannot go on, or end, while this thread has the GIL. */
    PyFrameObject *frame = python != NULL ? PyThreadState_GetFrame(python) : NULL;
    if (frame == NULL) {
        return false;
    }
    bool unsafe = is_import(frame) || is_reactor(frame);
    Py_DECREF(frame);
    return unsafe;
}

/* An asyncio loop on that thread may be in its selector, where no exception comes. */
static void
raise_gil(executor *ex, job *j)
{
    stream_waker *loop = NULL;
    pthread_mutex_lock(&ex->lock);
    /* 0: the thread has no state yet; later looks ask again. */
    if (wants_exception_locked(j) &&
        PyThreadState_SetAsyncExc(j->on->ident, j->on->ex->in->module->cancelled) > 0) {
        j->cancel = CANCEL_ASYNC;
        loop = j->on->loop != NULL ? stream_waker_share(j->on->loop) : NULL;
    }
    pthread_mutex_unlock(&ex->lock);
    if (loop != NULL) {
        stream_waker_poke(loop);
        stream_waker_release(loop);
    }
}

static void
serve_asked(asked_job *asked)
{
    interpreter *in = asked->ex->in;
    PyThreadState *python =
        wants_exception(asked->ex, asked->j) ? interpreter_visit(in) : NULL;
    if (python != NULL) {
        if (!is_unsafe_gil(asked->ex, asked->j)) {
            raise_gil(asked->ex, asked->j);
        }
        interpreter_end_visit_gil(in, python);
    }
    free_asked(asked);
}

/* Works until there is nothing to do. */
static void *
canceller_main(void *arg)
{
    interpreter *in = arg;
    asked_job *asked;
    runtime_name_thread("erlpy_cancel");
    while ((asked = next_asked(in)) != NULL) {
        serve_asked(asked);
    }
    interpreter_release(in);
    return NULL;
}
