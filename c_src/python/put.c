/*
 * put.c: Put, one message on its way out of a coroutine.
 *
 * The message is made at the call of Channel.async_put(); the coroutine
 * (erlang/_channel_async.py) sends it when it begins, or waits for room in its loop.
 *
 *   Put --send()--> the channel's
 *    `--wait_put()--> that of a wait, which frees it when it is not sent
 */
#include "internal.h"

typedef struct pyb_put {
    PyObject_HEAD
    PyObject *channel;    /* a Channel: with it the other end in erlang.testing */
    pyb_message *message; /* NULL once it is somebody else's */
} pyb_put;

PyObject *
pyb__put_new(pyb_state *state, PyObject *to, PyObject *term, PyObject *home)
{
    pyb_message *message = pyb__message_new(state, term, home);
    if (message == NULL) {
        return NULL;
    }
    pyb_put *self = PyObject_GC_New(pyb_put, state->put_type);
    if (self == NULL) {
        message->base.release(&message->base);
        return NULL;
    }
    self->channel = Py_NewRef(to);
    self->message = message;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static channel *
channel_of(PyObject *self)
{
    return pyb_channel_of(pyb__state_of(self), ((pyb_put *)self)->channel);
}

static channel_item *
item_of(PyObject *self)
{
    pyb_message *message = ((pyb_put *)self)->message;
    if (message == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the message has been sent");
        return NULL;
    }
    return pyb__refuse_forked() < 0 ? NULL : &message->base;
}

PyDoc_STRVAR(send_doc, "send($self, /)\n--\n\n"
                       "Send it, where there is room: True.  False: it has to wait.\n\n"
                       "Raises ChannelClosed.");

static PyObject *
put_send(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    channel_item *item = item_of(self);
    if (item == NULL) {
        return NULL;
    }
    stream_status status = channel_send(channel_of(self), CHANNEL_OUT, item);
    if (status == STREAM_OK) {
        ((pyb_put *)self)->message = NULL;
    } else if (status == STREAM_CLOSED) {
        pyb__raise_closed(pyb__state_of(self));
        return NULL;
    }
    return PyBool_FromLong(status == STREAM_OK);
}

int
pyb__put_on_loop(PyObject *self, stream_waker *waker, void *user,
                 stream_pending **pending, stream_status *status)
{
    channel_item *item = item_of(self);
    if (item == NULL) {
        return -1;
    }
    *status =
        channel_send_on_loop(channel_of(self), CHANNEL_OUT, item, waker, user, pending);
    if (*status == STREAM_OK || *status == STREAM_AGAIN) {
        ((pyb_put *)self)->message = NULL;
    }
    return 0;
}

static int
put_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((pyb_put *)self)->channel);
    return pyb__visit_type(self, visit, arg);
}

static void
put_dealloc(PyObject *self)
{
    pyb_put *own = (pyb_put *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (own->message != NULL && !pyb__forked()) {
        own->message->base.release(&own->message->base);
    }
    Py_DECREF(own->channel);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef put_methods[] = {
    {"send", put_send, METH_NOARGS, send_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(put_doc, "One message on its way out of a coroutine.");

static PyType_Slot put_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)put_doc},
    {Py_tp_traverse, (void *)(uintptr_t)put_traverse},
    {Py_tp_dealloc, (void *)(uintptr_t)put_dealloc},
    {Py_tp_methods, put_methods},
    {0, NULL},
};

PyType_Spec pyb__put_spec = {
    .name = "_erlang.Put",
    .basicsize = sizeof(pyb_put),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = put_slots,
};
