/*
 * waker.c: Waker, the descriptor of one event loop, and Wait, one thing that the loop
 * waits for.
 *
 *   loop --add_reader--> Waker --armed--> Wait --future--> task, ...
 *                         |                |
 *                   stream_waker <--- stream_pending
 *
 * A Waker holds its Waits until they are over or cancelled, and nothing holds a Waker
 * but its loop and the tasks in it: when the loop is closed and collected, all go
 * together.
 *
 * `user` of a pending is its Wait, borrowed; the Wait clears it when it lets go.
 *
 * All of it belongs to the thread of the loop.  In a child after fork() the locks of
 * the streams may be taken for good, and the descriptor is the parent's: there nothing
 * is withdrawn, and nothing is drained.
 */
#include "internal.h"

#include <structmember.h>

#include "../stream/waker.h"

typedef struct pyb_wait pyb_wait;

typedef struct pyb_waker {
    PyObject_HEAD
    stream_waker *waker; /* a reference; set once */
    pyb_wait *first;     /* armed; a reference to each */
    PyObject *weakrefs;
} pyb_waker;

struct pyb_wait {
    PyObject_HEAD
    pyb_waker *home; /* in whose list it is, or NULL; borrowed */
    pyb_wait *next, *prev;
    stream_pending *pending; /* a reference, until it is told or cancelled */
    PyObject *future;
    bool told; /* the future has been resolved, and nobody has looked yet */
    /* What it means that it is over, or an exception.  NULL: its owner looks. */
    PyObject *(*result)(pyb_state *state, stream_pending *pending);
};

/* ---- Wait ---- */

static void
link_wait(pyb_waker *home, pyb_wait *wait)
{
    wait->home = home;
    wait->prev = NULL;
    wait->next = home->first;
    if (wait->next != NULL) {
        wait->next->prev = wait;
    }
    home->first = wait;
    Py_INCREF(wait);
}

/* The reference of the list is the caller's. */
static void
unlink_wait(pyb_wait *wait)
{
    if (wait->prev != NULL) {
        wait->prev->next = wait->next;
    } else {
        wait->home->first = wait->next;
    }
    if (wait->next != NULL) {
        wait->next->prev = wait->prev;
    }
    wait->home = NULL;
    wait->next = wait->prev = NULL;
}

/* What it waited for is somebody else's to look at. */
static void
cancel_pending(pyb_wait *wait)
{
    stream_pending *pending = wait->pending;
    if (pending != NULL) {
        wait->pending = NULL;
        pending->user = NULL;
        if (!pyb__forked()) {
            stream_pending_cancel(pending);
        }
    }
}

static void
cancel_wait(pyb_wait *wait)
{
    cancel_pending(wait);
    if (wait->home != NULL) {
        unlink_wait(wait);
        Py_DECREF(wait);
    }
}

PyDoc_STRVAR(wait_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Do not wait any longer; what has been told is passed on.");

static PyObject *
wait_cancel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Py_INCREF(self);
    cancel_wait((pyb_wait *)self);
    Py_DECREF(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    wait_done_doc,
    "done($self, /)\n--\n\n"
    "The wait is over: the result of a call, None of a put (or ChannelClosed)\n"
    "and of what its owner looks at now.");

static PyObject *
wait_done(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    pyb_wait *wait = (pyb_wait *)self;
    if (wait->told && wait->pending != NULL) {
        stream_pending *pending = wait->pending;
        wait->pending = NULL;
        PyObject *result = wait->result != NULL
                               ? wait->result(pyb__state_of(self), pending)
                               : Py_NewRef(Py_None);
        stream_pending_release(pending);
        return result;
    }
    return wait_cancel(self, NULL);
}

static int
wait_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((pyb_wait *)self)->future);
    return 0;
}

static int
wait_clear(PyObject *self)
{
    Py_CLEAR(((pyb_wait *)self)->future);
    return 0;
}

/* It is in no list any more. */
static void
wait_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    cancel_pending((pyb_wait *)self);
    wait_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef wait_methods[] = {
    {"cancel", wait_cancel, METH_NOARGS, wait_cancel_doc},
    {"done", wait_done, METH_NOARGS, wait_done_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(wait_doc, "One thing that an event loop waits for.");

static PyType_Slot wait_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)wait_doc},
    {Py_tp_traverse, (void *)(uintptr_t)wait_traverse},
    {Py_tp_clear, (void *)(uintptr_t)wait_clear},
    {Py_tp_dealloc, (void *)(uintptr_t)wait_dealloc},
    {Py_tp_methods, wait_methods},
    {0, NULL},
};

PyType_Spec pyb__wait_spec = {
    .name = "_erlang.Wait",
    .basicsize = sizeof(pyb_wait),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wait_slots,
};

/* ---- Waker ---- */

static PyObject *
waker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || kwargs != NULL) {
        PyErr_SetString(PyExc_TypeError, "Waker() takes no arguments");
        return NULL;
    }
    errno = 0;
    stream_waker *waker = stream_waker_new();
    if (waker == NULL) {
        return errno == 0 || errno == ENOMEM ? PyErr_NoMemory()
                                             : PyErr_SetFromErrno(PyExc_OSError);
    }
    pyb_waker *self = PyObject_GC_New(pyb_waker, type);
    if (self == NULL) {
        stream_waker_release(waker);
        return NULL;
    }
    self->waker = waker;
    self->first = NULL;
    self->weakrefs = NULL;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
waker_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (pyb_wait *wait = ((pyb_waker *)self)->first; wait != NULL; wait = wait->next) {
        Py_VISIT(wait);
    }
    return 0;
}

static int
waker_clear(PyObject *self)
{
    pyb_waker *waker = (pyb_waker *)self;
    while (waker->first != NULL) {
        cancel_wait(waker->first);
    }
    return 0;
}

static void
waker_dealloc(PyObject *self)
{
    pyb_waker *waker = (pyb_waker *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (waker->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (!pyb__forked()) {
        stream_waker_close(waker->waker);
    }
    waker_clear(self);
    if (!pyb__forked()) {
        stream_waker_release(waker->waker);
    }
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(waker_fileno_doc,
             "fileno($self, /)\n--\n\n"
             "The descriptor that becomes readable when drain() is due.");

static PyObject *
waker_fileno(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(stream_waker_fd(((pyb_waker *)self)->waker));
}

static pyb_wait *
new_wait(PyObject *self, PyObject *future)
{
    pyb_wait *wait = PyObject_GC_New(pyb_wait, pyb__state_of(self)->wait_type);
    if (wait != NULL) {
        wait->home = NULL;
        wait->next = wait->prev = NULL;
        wait->pending = NULL;
        wait->future = Py_NewRef(future);
        wait->told = false;
        wait->result = NULL;
        PyObject_GC_Track((PyObject *)wait);
    }
    return wait;
}

/* What arming has answered: the Wait, or None when there is nothing to wait for. */
static PyObject *
armed_wait(PyObject *self, pyb_wait *wait, stream_status status)
{
    if (status == STREAM_AGAIN) {
        const pyb_host *host = pyb_get_host();
        link_wait((pyb_waker *)self, wait);
        if (host != NULL && host->loop_waits != NULL) {
            host->loop_waits(((pyb_waker *)self)->waker);
        }
        return (PyObject *)wait;
    }
    Py_DECREF(wait);
    if (status == STREAM_OK) {
        Py_RETURN_NONE;
    }
    if (status == STREAM_BUSY) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another coroutine is already waiting for incoming data");
        return NULL;
    }
    if (status == STREAM_CLOSED) {
        pyb__raise_closed(pyb__state_of(self));
        return NULL;
    }
    return PyErr_NoMemory();
}

/* wait_buffer(buffer, position, count, future) */
PyDoc_STRVAR(wait_buffer_doc,
             "wait_buffer($self, buffer, position, count, future, /)\n--\n\n"
             "Resolve the future when count bytes from position on are there, the\n"
             "buffer is whole, or its position is another one.\n\n"
             "count: None for all that will come.\n"
             "Returns a Wait, or None when there is something to look at already.");

static PyObject *
waker_wait_buffer(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    uint64_t need_offset = UINT64_MAX;
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "wait_buffer() takes 4 arguments");
        return NULL;
    }
    stream *s = pyb_buffer_stream(pyb__state_of(self), args[0]);
    if (s == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "wait_buffer() argument 'buffer' must be a PyBuffer, not %.200s",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    uint64_t position = PyLong_AsUnsignedLongLong(args[1]);
    if (position == UINT64_MAX && PyErr_Occurred()) {
        return NULL;
    }
    if (args[2] != Py_None) {
        uint64_t count = PyLong_AsUnsignedLongLong(args[2]);
        if (count == UINT64_MAX && PyErr_Occurred()) {
            return NULL;
        }
        if (count < UINT64_MAX - position) {
            need_offset = position + count;
        }
    }
    pyb_wait *wait = pyb__refuse_forked() < 0 ? NULL : new_wait(self, args[3]);
    if (wait == NULL) {
        return NULL;
    }
    return armed_wait(self, wait,
                      stream_wait_on_loop(s, ((pyb_waker *)self)->waker, position,
                                          need_offset, wait, &wait->pending));
}

/* wait_channel(channel, future) */
PyDoc_STRVAR(wait_channel_doc,
             "wait_channel($self, channel, future, /)\n--\n\n"
             "Resolve the future when the channel has a message or is closed.\n\n"
             "Returns a Wait, or None when there is something to look at already.");

static PyObject *
waker_wait_channel(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "wait_channel() takes 2 arguments");
        return NULL;
    }
    channel *c = pyb_channel_of(pyb__state_of(self), args[0]);
    if (c == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "wait_channel() argument 'channel' must be a Channel, not %.200s",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    pyb_wait *wait = pyb__refuse_forked() < 0 ? NULL : new_wait(self, args[1]);
    if (wait == NULL) {
        return NULL;
    }
    return armed_wait(self, wait,
                      channel_wait_on_loop(c, CHANNEL_IN, ((pyb_waker *)self)->waker,
                                           wait, &wait->pending));
}

static PyObject *
put_result(pyb_state *state, stream_pending *pending)
{
    if (channel_was_sent(pending)) {
        Py_RETURN_NONE;
    }
    pyb__raise_closed(state);
    return NULL;
}

/* wait_put(put, future) */
PyDoc_STRVAR(wait_put_doc,
             "wait_put($self, put, future, /)\n--\n\n"
             "Send the message of a Put; resolve the future when it has been sent, or\n"
             "the channel is closed.\n\n"
             "Returns a Wait, or None when it has been sent already.");

static PyObject *
waker_wait_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "wait_put() takes 2 arguments");
        return NULL;
    }
    if (!Py_IS_TYPE(args[0], pyb__state_of(self)->put_type)) {
        PyErr_Format(PyExc_TypeError,
                     "wait_put() argument 'put' must be a Put, not %.200s",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    pyb_wait *wait = new_wait(self, args[1]);
    if (wait == NULL) {
        return NULL;
    }
    wait->result = put_result;
    stream_status status;
    if (pyb__put_on_loop(args[0], ((pyb_waker *)self)->waker, wait, &wait->pending,
                         &status) < 0) {
        Py_DECREF(wait);
        return NULL;
    }
    return armed_wait(self, wait, status);
}

/* call(future, name, *args) */
PyDoc_STRVAR(waker_call_doc,
             "call($self, future, name, /, *args)\n--\n\n"
             "Call an Erlang function; resolve the future when it has answered.\n\n"
             "Returns a Wait.");

static PyObject *
waker_call(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    pyb_state *state = pyb__state_of(self);
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "call() takes at least 2 arguments");
        return NULL;
    }
    const pyb_host *host = pyb__host_for_call(state, args[1]);
    pyb_wait *wait = host != NULL ? new_wait(self, args[0]) : NULL;
    if (wait == NULL) {
        return NULL;
    }
    wait->result = host->call_result;
    wait->pending = host->call_on_loop(state, args[1], args + 2, nargs - 2,
                                       ((pyb_waker *)self)->waker, wait);
    if (wait->pending == NULL) {
        Py_DECREF(wait);
        return NULL;
    }
    return armed_wait(self, wait, STREAM_AGAIN);
}

/* A future that is done is one whose task was cancelled. */
static int
resolve(const pyb_state *state, PyObject *future)
{
    PyObject *done = PyObject_CallMethodNoArgs(future, state->name_done);
    int is_done = done != NULL ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    if (is_done != 0) {
        return is_done < 0 ? -1 : 0;
    }
    PyObject *result =
        PyObject_CallMethodOneArg(future, state->name_set_result, Py_None);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* With the reference of the list, which it drops. */
static int
tell_wait(const pyb_state *state, pyb_wait *wait)
{
    wait->told = true;
    unlink_wait(wait);
    int status = wait->future != NULL ? resolve(state, wait->future) : 0;
    Py_DECREF(wait);
    return status;
}

/* The first exception stays, the others are shown. */
static void
keep_first_error(PyObject *self, PyObject *error[3])
{
    if (error[0] == NULL) {
        PyErr_Fetch(&error[0], &error[1], &error[2]);
    } else {
        PyErr_WriteUnraisable(self);
    }
}

PyDoc_STRVAR(drain_doc, "drain($self, /)\n--\n\n"
                        "Resolve the futures of the waits that are over, in order.");

/* Resolving a future runs Python code of the loop, where a signal handler or an
 * interrupt may raise; the waits behind it are told all the same. */
static PyObject *
waker_drain(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const pyb_state *state = pyb__state_of(self);
    PyObject *error[3] = {NULL, NULL, NULL};
    if (pyb__refuse_forked() < 0) {
        return NULL;
    }
    stream_pending *pending = stream_waker_take(((pyb_waker *)self)->waker), *next;
    for (; pending != NULL; pending = next) {
        next = pending->next;
        if (pending->user != NULL && tell_wait(state, pending->user) < 0) {
            keep_first_error(self, error);
        }
        stream_pending_release(pending);
    }
    if (error[0] != NULL) {
        PyErr_Restore(error[0], error[1], error[2]);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef waker_methods[] = {
    {"call", (PyCFunction)(void (*)(void))waker_call, METH_FASTCALL, waker_call_doc},
    {"drain", waker_drain, METH_NOARGS, drain_doc},
    {"fileno", waker_fileno, METH_NOARGS, waker_fileno_doc},
    {"wait_buffer", (PyCFunction)(void (*)(void))waker_wait_buffer, METH_FASTCALL,
     wait_buffer_doc},
    {"wait_channel", (PyCFunction)(void (*)(void))waker_wait_channel, METH_FASTCALL,
     wait_channel_doc},
    {"wait_put", (PyCFunction)(void (*)(void))waker_wait_put, METH_FASTCALL,
     wait_put_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef waker_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(pyb_waker, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(waker_doc, "Waker()\n--\n\nTells an event loop which waits are over.");

static PyType_Slot waker_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)waker_doc},
    {Py_tp_new, (void *)(uintptr_t)waker_new},
    {Py_tp_traverse, (void *)(uintptr_t)waker_traverse},
    {Py_tp_clear, (void *)(uintptr_t)waker_clear},
    {Py_tp_dealloc, (void *)(uintptr_t)waker_dealloc},
    {Py_tp_methods, waker_methods},
    {Py_tp_members, waker_members},
    {0, NULL},
};

PyType_Spec pyb__waker_spec = {
    .name = "_erlang.Waker",
    .basicsize = sizeof(pyb_waker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = waker_slots,
};
