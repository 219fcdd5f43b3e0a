/*
 * reactor.c: Reactor, with which erlang.reactor serves the connections of one context.
 */
#include "internal.h"

#include <structmember.h>

#include "../stream/platform.h"

typedef struct pyb_reactor {
    PyObject_HEAD
    reactor *reactor;
    PyObject *names[REACTOR_FAILED + 1]; /* of the kinds of events */
    PyObject *given[REACTOR_BATCH];      /* the data of the last batch */
    unsigned given_count;
    atomic_bool serving; /* a thread is in wait() */
} pyb_reactor;

static const char *const kind_names[] = {"opened", "data",      "end",
                                         "room",   "signalled", "failed"};

PyObject *
pyb_reactor_new(pyb_state *state, reactor *r)
{
    pyb_reactor *self = PyObject_New(pyb_reactor, state->reactor_type);
    if (self == NULL) {
        return NULL;
    }
    self->reactor = reactor_share(r);
    self->given_count = 0;
    atomic_init(&self->serving, false);
    bool named = true;
    for (int kind = 0; kind <= REACTOR_FAILED; kind++) {
        self->names[kind] = PyUnicode_InternFromString(kind_names[kind]);
        named = named && self->names[kind] != NULL;
    }
    if (!named) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* What of the last batch somebody still has, he keeps. */
static void
forget_given(pyb_reactor *self)
{
    while (self->given_count > 0) {
        PyObject *data = self->given[--self->given_count];
        if (Py_REFCNT(data) > 1) {
            pyb__data_kept(data);
        }
        Py_DECREF(data);
    }
}

static void
reactor_dealloc(PyObject *object)
{
    pyb_reactor *self = (pyb_reactor *)object;
    PyTypeObject *type = Py_TYPE(self);
    forget_given(self);
    for (int kind = 0; kind <= REACTOR_FAILED; kind++) {
        Py_XDECREF(self->names[kind]);
    }
    reactor_release(self->reactor);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* ---- Events ---- */

static PyObject *
data_of(pyb_state *state, pyb_reactor *self, reactor_event *event)
{
    PyObject *data = pyb__data_new(state, event->data, event->size, event->segment);
    event->segment = NULL;
    if (data == NULL) {
        return NULL;
    }
    self->given[self->given_count++] = Py_NewRef(data);
    if (event->address == NULL) {
        return data;
    }
    PyObject *address = pyb__address_object(event->address, event->address_size);
    PyObject *both = address != NULL ? PyTuple_Pack(2, data, address) : NULL;
    Py_XDECREF(address);
    Py_DECREF(data);
    return both;
}

static PyObject *
payload_of(pyb_state *state, pyb_reactor *self, reactor_event *event)
{
    switch (event->kind) {
    case REACTOR_DATA:
        return data_of(state, self, event);
    case REACTOR_FAILED:
        return PyLong_FromLong(event->error);
    default:
        return Py_NewRef(Py_None);
    }
}

static PyObject *
event_object(pyb_state *state, pyb_reactor *self, reactor_event *event)
{
    PyObject *of = pyb__connection_of(state, event->connection);
    PyObject *payload = of != NULL ? payload_of(state, self, event) : NULL;
    PyObject *object =
        payload != NULL ? PyTuple_Pack(3, of, self->names[event->kind], payload) : NULL;
    Py_XDECREF(payload);
    return object;
}

static void
drop_event(reactor_event *event)
{
    reactor_unpin(event->segment);
    event->connection->host->release(event->connection);
}

static PyObject *
list_events(pyb_reactor *self, reactor_event *events, unsigned count)
{
    pyb_state *state = pyb__state_of((PyObject *)self);
    PyObject *list = PyList_New(count);
    for (unsigned i = 0; i < count; i++) {
        PyObject *object = list != NULL ? event_object(state, self, &events[i]) : NULL;
        if (object != NULL) {
            PyList_SET_ITEM(list, i, object);
        } else {
            Py_CLEAR(list);
        }
        drop_event(&events[i]);
    }
    return list;
}

static stream_status
look(reactor *r, reactor_want *want, reactor_event *events, unsigned *count)
{
    want->wait = false;
    want->token = NULL;
    stream_status status = reactor_next(r, want, events, count);
    if (status == STREAM_TIMEDOUT) {
        want->wait = true;
        want->token = pyb__park();
        status = reactor_next(r, want, events, count);
        pyb__unpark();
    }
    return status;
}

/* PYB_DONE: *result; PYB_RETRY: it was woken for nothing. */
static pyb__outcome
wait_once(pyb_reactor *self, PyObject **result)
{
    reactor_event events[REACTOR_BATCH];
    reactor_want want = {.spin_ns = pyb__begin_pause().spin_ns};
    unsigned count = 0;
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = look(self->reactor, &want, events, &count);
    Py_END_ALLOW_THREADS
    if (status == STREAM_OK) {
        *result = list_events(self, events, count);
    } else if (status == STREAM_CLOSED) {
        *result = Py_NewRef(Py_None);
    } else if (status == STREAM_NOMEM) {
        PyErr_NoMemory();
    } else {
        int told = pyb__check_wait(pyb__state_of((PyObject *)self), status, "", 0);
        return told < 0 ? PYB_ERROR : PYB_RETRY;
    }
    return *result != NULL ? PYB_DONE : PYB_ERROR;
}

PyDoc_STRVAR(wait_doc, "wait($self, /)\n--\n\n"
                       "What is new: a list of (connection, kind, payload), or None\n"
                       "when the reactor is closed.");

/* One thread at a time. */
static bool
begin_serving(pyb_reactor *self)
{
    if (pyb__refuse_forked() < 0) {
        return false;
    }
    if (!atomic_exchange(&self->serving, true)) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, "another thread serves this reactor");
    return false;
}

static PyObject *
reactor_wait(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    pyb_reactor *self = (pyb_reactor *)object;
    PyObject *result = NULL;
    pyb__outcome outcome = PYB_RETRY;
    if (!begin_serving(self)) {
        return NULL;
    }
    forget_given(self);
    while (outcome == PYB_RETRY) {
        outcome = wait_once(self, &result);
    }
    atomic_store(&self->serving, false);
    return outcome == PYB_DONE ? result : NULL;
}

static PyObject *
reactor_leave_method(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    pyb_reactor *self = (pyb_reactor *)object;
    if (!begin_serving(self)) {
        return NULL;
    }
    forget_given(self);
    reactor_leave(self->reactor);
    atomic_store(&self->serving, false);
    Py_RETURN_NONE;
}

/* The host takes a lock of its own. */
static PyObject *
reactor_cancelled(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    const pyb_host *host = pyb_get_host();
    bool cancelled = false;
    Py_BEGIN_ALLOW_THREADS
    cancelled = host != NULL && host->is_cancelled != NULL && host->is_cancelled();
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(cancelled);
}

static PyObject *
reactor_report(PyObject *Py_UNUSED(self), PyObject *text)
{
    const pyb_host *host = pyb_get_host();
    PyObject *utf8 = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (utf8 == NULL) {
        return NULL;
    }
    if (host != NULL && host->report != NULL) {
        host->report(PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    }
    Py_DECREF(utf8);
    Py_RETURN_NONE;
}

static PyMethodDef reactor_methods[] = {
    {"wait", reactor_wait, METH_NOARGS, wait_doc},
    {"leave", reactor_leave_method, METH_NOARGS,
     "leave($self, /)\n--\n\nServe no more; what is open is closed."},
    {"cancelled", reactor_cancelled, METH_NOARGS,
     "cancelled($self, /)\n--\n\nHas the call that serves been cancelled?"},
    {"report", reactor_report, METH_O, "report($self, text, /)\n--\n\nLog an error."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reactor_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t) "The connections of one reactor context."},
    {Py_tp_dealloc, reactor_dealloc},
    {Py_tp_methods, reactor_methods},
    {0, NULL},
};

PyType_Spec pyb__reactor_spec = {
    .name = "_erlang.Reactor",
    .basicsize = sizeof(pyb_reactor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reactor_slots,
};
