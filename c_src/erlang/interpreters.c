/*
 * interpreters.c: who uses an interpreter, and what becomes of it then.
 */
#include "interpreter.h"

#include <stdlib.h>

#include "runtime.h"
#include "shared.h"

interpreter *
interpreter_new(bool own)
{
    interpreter *in = calloc(1, sizeof *in);
    if (in == NULL) {
        return NULL;
    }
    atomic_init(&in->refs, 1);
    in->own = own;
    pthread_mutex_init(&in->lock, NULL);
    pthread_cond_init(&in->changed, NULL);
    return in;
}

interpreter *
interpreter_share(interpreter *in)
{
    atomic_fetch_add_explicit(&in->refs, 1, memory_order_relaxed);
    return in;
}

void
interpreter_release(interpreter *in)
{
    if (in == NULL ||
        atomic_fetch_sub_explicit(&in->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pthread_cond_destroy(&in->changed);
    pthread_mutex_destroy(&in->lock);
    interpreter_free_text(in->failure);
    free(in);
}

void
interpreters_count(unsigned *all, unsigned *idle)
{
    pthread_mutex_lock(&rt->lock);
    *all = rt->realms;
    *idle = rt->idle_realms;
    pthread_mutex_unlock(&rt->lock);
}

static char no_memory[] = "out of memory";

char *
interpreter_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return no_memory;
    }
    return copy;
}

void
interpreter_free_text(char *text)
{
    if (text != no_memory) {
        free(text);
    }
}

bool
interpreter_is_ready(interpreter *in)
{
    pthread_mutex_lock(&in->lock);
    bool ready = in->state == INTERPRETER_READY;
    pthread_mutex_unlock(&in->lock);
    return ready;
}

const char *
interpreter_failure(interpreter *in)
{
    if (in->failure != NULL) {
        return in->failure;
    }
    return interpreter_is_ready(in) ? no_memory : "the interpreter has ended";
}

/* ---- The GIL ---- */

void
interpreter_take_gil(interpreter *in, PyThreadState *python)
{
    atomic_fetch_add_explicit(&in->gil_wanted, 1, memory_order_relaxed);
    PyEval_RestoreThread(python);
    atomic_fetch_sub_explicit(&in->gil_wanted, 1, memory_order_relaxed);
}

bool
interpreter_gil_is_wanted(interpreter *in)
{
    return atomic_load_explicit(&in->gil_wanted, memory_order_relaxed) > 0;
}

static PyThreadState *
attach(interpreter *in)
{
    PyThreadState *python = PyThreadState_New(in->python);
    if (python != NULL) {
        interpreter_take_gil(in, python);
    }
    return python;
}

static void
detach_gil(PyThreadState *python)
{
    PyThreadState_Clear(python);
    PyThreadState_DeleteCurrent();
}

/* ---- Realms ---- */

static realm *
take_idle_realm(void)
{
    pthread_mutex_lock(&rt->lock);
    realm *of = rt->realm;
    if (of != NULL) {
        rt->realm = of->next;
        rt->idle_realms--;
    }
    pthread_mutex_unlock(&rt->lock);
    return of;
}

static void
put_idle_realm(realm *of)
{
    pthread_mutex_lock(&rt->lock);
    of->next = rt->realm;
    rt->realm = of;
    rt->idle_realms++;
    pthread_mutex_unlock(&rt->lock);
}

/* A failure leaves it behind. */
static char *
find_realm(realm **found)
{
    *found = take_idle_realm();
    if (*found != NULL) {
        return NULL;
    }
    char *failure = interpreter_make_realm(found);
    if (*found != NULL) {
        pthread_mutex_lock(&rt->lock);
        rt->realms++;
        pthread_mutex_unlock(&rt->lock);
    }
    return failure;
}

static char *
prepare_realm(interpreter *in)
{
    char **python_path = runtime_copy_python_path();
    PyThreadState *python = python_path != NULL ? attach(in) : NULL;
    if (python == NULL) {
        runtime_free_texts(python_path);
        return interpreter_text("out of memory");
    }
    char *failure =
        interpreter_prepare_gil(in, python_path) ? NULL : interpreter_exception_gil();
    detach_gil(python);
    runtime_free_texts(python_path);
    return failure;
}

/* ---- Users ---- */

static void
set_state_locked(interpreter *in, interpreter_state state)
{
    in->state = state;
    pthread_cond_broadcast(&in->changed);
}

/* By the first thread. */
static void
make_locked(interpreter *in)
{
    set_state_locked(in, INTERPRETER_MAKING);
    pthread_mutex_unlock(&in->lock);
    char *failure = find_realm(&in->behind);
    if (failure == NULL) {
        in->python = in->behind->python;
        failure = prepare_realm(in);
    }
    pthread_mutex_lock(&in->lock);
    in->failure = failure;
    set_state_locked(in, failure == NULL ? INTERPRETER_READY : INTERPRETER_FAILED);
}

PyThreadState *
interpreter_enter(interpreter *in)
{
    pthread_mutex_lock(&in->lock);
    while (in->state == INTERPRETER_MAKING) {
        pthread_cond_wait(&in->changed, &in->lock);
    }
    if (in->state == INTERPRETER_NEW) {
        make_locked(in);
    }
    bool ready = in->state == INTERPRETER_READY;
    in->users += ready;
    pthread_mutex_unlock(&in->lock);
    PyThreadState *python = ready ? attach(in) : NULL;
    if (ready && python == NULL) {
        pthread_mutex_lock(&in->lock);
        in->users--;
        pthread_mutex_unlock(&in->lock);
    }
    return python;
}

void
interpreter_reserve(interpreter *in, int change)
{
    pthread_mutex_lock(&in->lock);
    in->users += (unsigned)change;
    pthread_mutex_unlock(&in->lock);
}

PyThreadState *
interpreter_new_thread(interpreter *in)
{
    return PyThreadState_New(in->python);
}

/* ---- Visitors ---- */

static void
count_visitor(interpreter *in, int change)
{
    pthread_mutex_lock(&in->lock);
    in->visitors += (unsigned)change;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
}

PyThreadState *
interpreter_visit(interpreter *in)
{
    pthread_mutex_lock(&in->lock);
    bool ready = in->state == INTERPRETER_READY;
    in->visitors += ready;
    pthread_mutex_unlock(&in->lock);
    PyThreadState *python = ready ? attach(in) : NULL;
    if (ready && python == NULL) {
        count_visitor(in, -1);
    }
    return python;
}

void
interpreter_end_visit_gil(interpreter *in, PyThreadState *python)
{
    detach_gil(python);
    count_visitor(in, -1);
}

/* ---- The end ---- */

static void
await_visitors(interpreter *in)
{
    pthread_mutex_lock(&in->lock);
    while (in->visitors > 0) {
        pthread_cond_wait(&in->changed, &in->lock);
    }
    pthread_mutex_unlock(&in->lock);
}

static void
drop_objects_gil(interpreter *in)
{
    PyObject *type = in->call_type, *host = in->host_type, *variable = in->call_var;
    in->call_type = in->host_type = in->call_var = NULL;
    in->module->host_data = NULL;
    pyb_forget(in->module);
    Py_XDECREF(type);
    Py_XDECREF(host);
    Py_XDECREF(variable);
}

/* A step of erlang/_interpreter.py.  Not PyErr_Print(): SystemExit would end the node.
 */
static bool
take_step_gil(PyObject *origin, const char *name)
{
    PyObject *done = PyObject_CallMethod(origin, name, NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(origin);
    }
    bool good = done != NULL && done != Py_False;
    Py_XDECREF(done);
    return good;
}

static bool
is_alone_gil(realm *of, PyThreadState *python)
{
    PyThreadState *each = PyInterpreterState_ThreadHead(of->python);
    while (each == of->first || each == python) {
        each = PyThreadState_Next(each);
    }
    return each == NULL;
}

/* Back to how it was at first.  By a new thread state: what the old one has, context
 * variables say, goes before, and its destructors may still leave something. */
static bool
restore(interpreter *in)
{
    realm *of = in->behind;
    PyThreadState *python = attach(in);
    if (python == NULL) {
        return false;
    }
    bool restored = is_alone_gil(of, python) && take_step_gil(of->origin, "restore") &&
                    is_alone_gil(of, python);
    detach_gil(python);
    return restored;
}

static void
end_gil(interpreter *in, PyThreadState *python)
{
    realm *of = in->behind;
    PyEval_SaveThread();
    await_visitors(in);
    interpreter_take_gil(in, python);
    bool ended = take_step_gil(of->origin, "end");
    drop_objects_gil(in);
    detach_gil(python);
    bool restored = restore(in) && ended;
    pthread_mutex_lock(&in->lock);
    set_state_locked(in, INTERPRETER_GONE);
    pthread_mutex_unlock(&in->lock);
    if (restored) {
        put_idle_realm(of);
    }
}

void
interpreter_leave_gil(interpreter *in, PyThreadState *python)
{
    pthread_mutex_lock(&in->lock);
    bool last = --in->users == 0 && in->own;
    if (last) {
        in->state = INTERPRETER_ENDING;
    }
    pthread_mutex_unlock(&in->lock);
    if (last) {
        end_gil(in, python);
    } else {
        detach_gil(python);
    }
}
