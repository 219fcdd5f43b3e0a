/*
 * loop_host.c: what the thread of an event loop and python/erlang/_loop.py see of each
 * other: Host, the loop, and Call, one call that goes on there.
 *
 * A job on a loop and its Call refer to each other until the answer; from then on only
 * the Call refers to the job: code that goes on in its context (the context variable
 * `current_call`) still belongs to the same chain.
 */
#include "loop.h"

#include <structmember.h>

#include "executor_internal.h"
#include "failure.h"
#include "fork.h"
#include "shared.h"

typedef struct loop_call {
    PyObject_HEAD
    job *j; /* a reference */
    PyObject *awaitable;
    PyObject *context; /* that it is to run in, or NULL */
    PyObject *task;    /* Python's */
} loop_call;

typedef struct loop_host {
    PyObject_HEAD
    event_loop *loop; /* a reference */
    char uvloop;
} loop_host;

/* ---- Call ---- */

static int
call_traverse(PyObject *self, visitproc visit, void *arg)
{
    loop_call *call = (loop_call *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(call->awaitable);
    Py_VISIT(call->context);
    Py_VISIT(call->task);
    return 0;
}

static int
call_clear(PyObject *self)
{
    loop_call *call = (loop_call *)self;
    Py_CLEAR(call->awaitable);
    Py_CLEAR(call->context);
    Py_CLEAR(call->task);
    return 0;
}

static void
call_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    call_clear(self);
    job_release(((loop_call *)self)->j);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* (awaitable, context or None) */
static PyObject *
call_take(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    loop_call *call = (loop_call *)self;
    PyObject *both =
        PyTuple_Pack(2, call->awaitable != NULL ? call->awaitable : Py_None,
                     call->context != NULL ? call->context : Py_None);
    if (both != NULL) {
        Py_CLEAR(call->awaitable);
        Py_CLEAR(call->context);
    }
    return both;
}

static PyObject *
call_take_cancel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    loop_call *call = (loop_call *)self;
    return PyBool_FromLong(call->j->call == call && executor_take_cancel_gil(call->j));
}

/* The exception that is set, or the result, is the answer; only once. */
static void
end_call(loop_call *call, PyObject *result)
{
    job *j = call->j;
    if (j->call != call) {
        PyErr_Clear();
        return;
    }
    event_loop *loop = j->loop;
    runner_answer_gil(loop->run, j, result);
    PyErr_Clear();
    j->call = NULL;
    executor_end_task_gil(j);
    j->loop = NULL;
    event_loop_call_ended(loop);
    call_clear((PyObject *)call);
    Py_DECREF(call);
}

static PyObject *
call_reply(PyObject *self, PyObject *result)
{
    Py_INCREF(self);
    end_call((loop_call *)self, result);
    Py_DECREF(self);
    Py_RETURN_NONE;
}

static void
fail_call(PyObject *self, PyObject *exception)
{
    Py_INCREF(self);
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), Py_NewRef(exception),
                  PyException_GetTraceback(exception));
    end_call((loop_call *)self, NULL);
    Py_DECREF(self);
}

static PyObject *
call_fail(PyObject *self, PyObject *exception)
{
    if (!PyExceptionInstance_Check(exception)) {
        PyErr_SetString(PyExc_TypeError, "fail() needs an exception");
        return NULL;
    }
    fail_call(self, exception);
    Py_RETURN_NONE;
}

static PyMethodDef call_methods[] = {
    {"fail", call_fail, METH_O, "Answer with this exception."},
    {"reply", call_reply, METH_O, "Answer with this result."},
    {"take", call_take, METH_NOARGS, "The awaitable, and the context for it or None."},
    {"take_cancel", call_take_cancel, METH_NOARGS,
     "Is the task to be cancelled now?  Once for each cancel."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef call_members[] = {
    {"task", T_OBJECT, offsetof(loop_call, task), 0, "Its task, once it has begun."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t) "A call from Erlang that goes on on a loop."},
    {Py_tp_traverse, (void *)(uintptr_t)call_traverse},
    {Py_tp_clear, (void *)(uintptr_t)call_clear},
    {Py_tp_dealloc, (void *)(uintptr_t)call_dealloc},
    {Py_tp_methods, call_methods},
    {Py_tp_members, call_members},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "erlang._loop.Call",
    .basicsize = sizeof(loop_call),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};

/* Made by whoever is first. */
static PyTypeObject *
type_gil(void **slot, PyType_Spec *spec)
{
    if (*slot == NULL) {
        *slot = PyType_FromSpec(spec);
    }
    return *slot;
}

/* `own_context`: it runs in a copy of the context of the calling thread. */
static loop_call *
new_call(job *j, PyObject *awaitable, bool own_context)
{
    PyTypeObject *type = type_gil(&j->on->ex->in->call_type, &call_spec);
    PyObject *context = NULL;
    if (type == NULL || (own_context && (context = PyContext_CopyCurrent()) == NULL)) {
        return NULL;
    }
    loop_call *call = PyObject_GC_New(loop_call, type);
    if (call == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    call->j = job_share(j);
    call->awaitable = Py_NewRef(awaitable);
    call->context = context;
    call->task = NULL;
    PyObject_GC_Track((PyObject *)call);
    return call;
}

/* ---- Going to a loop ---- */

bool
event_loop_is_awaitable(PyObject *object)
{
    PyAsyncMethods *methods = Py_TYPE(object)->tp_as_async;
    if (methods != NULL && methods->am_await != NULL) {
        return true;
    }
    if (!PyGen_CheckExact(object)) {
        return false;
    }
    PyObject *code = PyObject_GetAttrString(object, "gi_code");
    bool is_coroutine = code != NULL && PyCode_Check(code) &&
                        (((PyCodeObject *)code)->co_flags & CO_ITERABLE_COROUTINE) != 0;
    PyErr_Clear();
    Py_XDECREF(code);
    return is_coroutine;
}

/* The loop that a future is bound to, or NULL: it is no future. */
static PyObject *
loop_of_future(PyObject *awaitable)
{
    PyObject *python = NULL;
    if (!PyCoro_CheckExact(awaitable) &&
        PyObject_HasAttrString(awaitable, "_asyncio_future_blocking")) {
        python = PyObject_CallMethod(awaitable, "get_loop", NULL);
        PyErr_Clear();
    }
    return python;
}

bool
event_loop_take_gil(job *j, PyObject *awaitable, bool own_context)
{
    PyObject *python = loop_of_future(awaitable);
    event_loop *loop = event_loop_pick_gil(j->on->ex->in, j, python);
    Py_XDECREF(python);
    if (loop == NULL) {
        return false;
    }
    loop_call *call = new_call(j, awaitable, own_context);
    if (call == NULL) {
        event_loop_call_ended(loop);
        return false;
    }
    j->call = call;
    j->loop = loop;
    if (j->wants_reply) {
        executor__monitor_caller(j->on->ex, j);
    }
    return true;
}

/* ---- The calling code ---- */

/* A new reference, or NULL. */
static loop_call *
current_call(pyb_state *state)
{
    PyObject *value = NULL;
    const interpreter *in = state->host_data; /* NULL: not of ours, or it ends */
    if (in == NULL || in->call_var == NULL) {
        return NULL;
    }
    if (PyContextVar_Get(in->call_var, NULL, &value) < 0) {
        PyErr_Clear();
    }
    if (value != NULL && !Py_IS_TYPE(value, (PyTypeObject *)in->call_type)) {
        Py_CLEAR(value);
    }
    return (loop_call *)value;
}

job *
event_loop_job_gil(pyb_state *state)
{
    loop_call *call = current_call(state);
    job *j = call != NULL ? job_share(call->j) : NULL;
    Py_XDECREF(call);
    return j;
}

static bool
is_outermost(const loop_call *call)
{
    PyObject *module = PyImport_ImportModule("asyncio");
    PyObject *task =
        module != NULL ? PyObject_CallMethod(module, "current_task", NULL) : NULL;
    bool outermost = task != NULL && task == call->task;
    PyErr_Clear();
    Py_XDECREF(task);
    Py_XDECREF(module);
    return outermost;
}

/* Code of no call, or of one that has ended, is to end with the loop. */
int
event_loop_cancelled_gil(pyb_state *state)
{
    event_loop *loop = pthread_getspecific(rt->loop_key);
    if (loop == NULL) {
        return 0;
    }
    loop_call *call = current_call(state);
    bool due = call != NULL && call->j->loop == loop
                   ? executor_wait_is_cancelled_gil(call->j, is_outermost(call))
                   : event_loop_is_ending_or_calm(loop);
    Py_XDECREF(call);
    if (!due) {
        return 0;
    }
    PyErr_SetNone(state->cancelled);
    return -1;
}

/* ---- Host ---- */

static void
host_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    event_loop_release(((loop_host *)self)->loop);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *
host_fileno(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(((loop_host *)self)->loop->notifier.read_fd);
}

/* A child of the node after fork() has nothing to do here. */
static PyObject *
host_collect(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (nif_forked()) {
        nif_fork_end_child_gil();
    }
    event_loop_collect(((loop_host *)self)->loop);
    Py_RETURN_NONE;
}

/* The next Call for which there are news, new or to be cancelled, or None. */
static PyObject *
host_next(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    event_loop *loop = ((loop_host *)self)->loop;
    job *j;
    while ((j = event_loop_next_due(loop)) != NULL) {
        PyObject *call = Py_XNewRef(j->call);
        job_release(j);
        if (call != NULL) {
            return call;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
host_ending(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(event_loop_is_ending(((loop_host *)self)->loop, false));
}

static PyObject *
host_over(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(event_loop_is_ending(((loop_host *)self)->loop, true));
}

static PyObject *
host_open(PyObject *self, PyObject *python)
{
    event_loop_set_python(((loop_host *)self)->loop, python);
    Py_RETURN_NONE;
}

static PyObject *
host_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    event_loop_set_python(((loop_host *)self)->loop, NULL);
    Py_RETURN_NONE;
}

static PyObject *
host_fail(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    event_loop_fail(((loop_host *)self)->loop);
    Py_RETURN_NONE;
}

static PyObject *
host_report(PyObject *self, PyObject *text)
{
    (void)self;
    PyObject *utf8 = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (utf8 == NULL) {
        return NULL;
    }
    failure_report_text(PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    Py_DECREF(utf8);
    Py_RETURN_NONE;
}

static PyMethodDef host_methods[] = {
    {"close", host_close, METH_NOARGS, "Futures of this loop cannot be awaited now."},
    {"collect", host_collect, METH_NOARGS, "Take the inbox, for next()."},
    {"ending", host_ending, METH_NOARGS, "Is the loop to end?"},
    {"fail", host_fail, METH_NOARGS, "Calls go to other loops from now on."},
    {"fileno", host_fileno, METH_NOARGS, "Readable when collect() is due."},
    {"next", host_next, METH_NOARGS, "A Call that is new or cancelled, or None."},
    {"open", host_open, METH_O, "Futures of this loop can be awaited."},
    {"over", host_over, METH_NOARGS, "Is it to end, and has no calls?"},
    {"report", host_report, METH_O, "Log an error."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef host_members[] = {
    {"uvloop", T_BOOL, offsetof(loop_host, uvloop), READONLY, "The setting."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot host_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t) "The thread of an event loop."},
    {Py_tp_dealloc, (void *)(uintptr_t)host_dealloc},
    {Py_tp_methods, host_methods},
    {Py_tp_members, host_members},
    {0, NULL},
};

static PyType_Spec host_spec = {
    .name = "erlang._loop.Host",
    .basicsize = sizeof(loop_host),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = host_slots,
};

static PyObject *
new_host(event_loop *loop)
{
    PyTypeObject *type = type_gil(&loop->in->host_type, &host_spec);
    loop_host *host = type != NULL ? PyObject_New(loop_host, type) : NULL;
    if (host != NULL) {
        host->loop = event_loop_share(loop);
        host->uvloop = loop->uvloop ? 1 : 0;
    }
    return (PyObject *)host;
}

/* ---- The thread ---- */

static bool
find_call_var(interpreter *in, PyObject *module)
{
    if (in->call_var == NULL) {
        in->call_var = PyObject_GetAttrString(module, "current_call");
    }
    return in->call_var != NULL;
}

bool
event_loop_serve_gil(event_loop *loop)
{
    PyObject *result = NULL;
    PyObject *module = PyImport_ImportModule("erlang._loop");
    PyObject *host =
        module != NULL && find_call_var(loop->in, module) ? new_host(loop) : NULL;
    if (host != NULL) {
        result = PyObject_CallMethod(module, "serve", "O", host);
        event_loop_set_python(loop, NULL);
    }
    Py_XDECREF(host);
    Py_XDECREF(module);
    Py_XDECREF(result);
    return result != NULL;
}

void
event_loop_fail_due_gil(event_loop *loop, PyObject *exception)
{
    job *due;
    event_loop_collect(loop);
    while ((due = event_loop_next_due(loop)) != NULL) {
        if (due->call != NULL) {
            fail_call(due->call, exception);
        }
        job_release(due);
    }
}
