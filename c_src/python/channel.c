/*
 * channel.c: Channel, the Python end of a channel.
 *
 * Python receives what comes in and puts what goes out.  A message becomes an object in
 * the moment in which it is taken, with the GIL.
 *
 * `home` is the other end in erlang.testing, whose messages are Python objects; it
 * shows them to the cycle collector, and breaks the cycles.
 */
#include "internal.h"

#include <structmember.h>

typedef struct pyb_channel {
    PyObject_HEAD
    channel *channel; /* a reference; set once */
    PyObject *origin; /* the host's, or NULL; makes no cycle */
    PyObject *home;   /* or NULL */
    PyObject *weakrefs;
    bool views;
} pyb_channel;

static inline channel *
channel_of(PyObject *self)
{
    return ((pyb_channel *)self)->channel;
}

static pyb_channel *
new_channel(pyb_state *state, channel *c, bool views)
{
    pyb_channel *self = PyObject_GC_New(pyb_channel, state->channel_type);
    if (self != NULL) {
        self->channel = channel_share(c);
        self->origin = NULL;
        self->home = NULL;
        self->weakrefs = NULL;
        self->views = views;
        PyObject_GC_Track(self);
    }
    return self;
}

PyObject *
pyb_channel_new(pyb_state *state, channel *c, bool views, PyObject *origin)
{
    pyb_channel *self = new_channel(state, c, views);
    if (self != NULL) {
        self->origin = Py_XNewRef(origin);
    }
    return (PyObject *)self;
}

PyObject *
pyb__channel_at_home(pyb_state *state, channel *c, bool views, PyObject *home)
{
    pyb_channel *self = new_channel(state, c, views);
    if (self != NULL) {
        self->home = Py_NewRef(home);
    }
    return (PyObject *)self;
}

channel *
pyb_channel_of(pyb_state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->channel_type) ? channel_of(object) : NULL;
}

PyObject *
pyb_channel_origin(PyObject *object)
{
    return ((pyb_channel *)object)->origin;
}

/* Channel(x): the very same. */
static PyObject *
channel_new_from(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) == 1 &&
        (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0) &&
        Py_IS_TYPE(PyTuple_GET_ITEM(args, 0), type)) {
        return Py_NewRef(PyTuple_GET_ITEM(args, 0));
    }
    PyErr_SetString(PyExc_TypeError,
                    "Channel() takes a Channel: new ones are made in Erlang, by "
                    "py_channel:new/0,1");
    return NULL;
}

static int
channel_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((pyb_channel *)self)->origin);
    Py_VISIT(((pyb_channel *)self)->home);
    return pyb__visit_type(self, visit, arg);
}

static void
channel_dealloc(PyObject *self)
{
    pyb_channel *own = (pyb_channel *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (own->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (!pyb__forked()) {
        /* In a child its lock may be taken for good. */
        channel_release(own->channel);
    }
    Py_XDECREF(own->origin);
    Py_XDECREF(own->home);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* ---- Receiving ---- */

static pyb__channel_call
receiving(PyObject *self)
{
    return (pyb__channel_call){
        .state = pyb__state_of(self),
        .channel = channel_of(self),
        .way = CHANNEL_IN,
        .views = ((pyb_channel *)self)->views,
        .timeout_ns = PYB_NO_TIMEOUT,
    };
}

static PyObject *
channel_receive_one(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    pyb__channel_call call = receiving(self);
    return pyb__channel_receive("receive", &call, args, nargs, kwnames);
}

static PyObject *
channel_try_receive(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const char *const names[] = {"default"};
    static const pyb__signature signature = {"try_receive", names, 0, 1};
    PyObject *value, *object = NULL;
    if (pyb__parse(&signature, args, nargs, kwnames, &value) < 0 ||
        pyb__refuse_forked() < 0) {
        return NULL;
    }
    pyb__channel_call call = receiving(self);
    stream_status status = pyb__channel_take(&call, &object);
    if (status == STREAM_AGAIN) {
        return Py_NewRef(value != NULL ? value : Py_None);
    }
    if (status == STREAM_CLOSED) {
        pyb__raise_closed(call.state);
    }
    return object;
}

/* Without an exception the iteration ends: at the close. */
static PyObject *
channel_next(PyObject *self)
{
    PyObject *object = NULL;
    if (pyb__refuse_forked() == 0) {
        pyb__channel_call call = receiving(self);
        pyb__channel_take_next(&call, &object);
    }
    return object;
}

/* A coroutine of erlang/_channel_async.py, of a Channel or a Put. */
static PyObject *
begin_coroutine(PyObject *argument, PyObject **function, const char *name)
{
    if (*function == NULL) {
        PyObject *module = PyImport_ImportModule("erlang._channel_async");
        *function = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
        Py_XDECREF(module);
    }
    return *function != NULL ? PyObject_CallOneArg(*function, argument) : NULL;
}

static PyObject *
channel_async_receive(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return begin_coroutine(self, &pyb__state_of(self)->async_receive, "receive");
}

static PyObject *
channel_async_next(PyObject *self)
{
    return begin_coroutine(self, &pyb__state_of(self)->async_next, "receive_next");
}

/* ---- Sending, closing ---- */

static PyObject *
channel_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    pyb__channel_call call = {
        .state = pyb__state_of(self),
        .channel = channel_of(self),
        .way = CHANNEL_OUT,
    };
    return pyb__channel_put("put", &call, ((pyb_channel *)self)->home, args, nargs,
                            kwnames);
}

static PyObject *
channel_async_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const char *const names[] = {"term"};
    static const pyb__signature signature = {"async_put", names, 1, 1};
    pyb_state *state = pyb__state_of(self);
    PyObject *term;
    if (pyb__parse(&signature, args, nargs, kwnames, &term) < 0 ||
        pyb__refuse_forked() < 0) {
        return NULL;
    }
    PyObject *put = pyb__put_new(state, self, term, ((pyb_channel *)self)->home);
    if (put == NULL) {
        return NULL;
    }
    PyObject *coroutine = begin_coroutine(put, &state->async_put, "put");
    Py_DECREF(put);
    return coroutine;
}

static PyObject *
channel_close_it(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return pyb__channel_close(channel_of(self));
}

static PyObject *
channel_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static PyObject *
channel_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    return pyb__channel_close(channel_of(self));
}

/* ---- Looking ---- */

static PyObject *
channel_closed(PyObject *self, void *Py_UNUSED(ignored))
{
    return PyBool_FromLong(channel_is_closed(channel_of(self)));
}

static PyObject *
channel_repr(PyObject *self)
{
    if (pyb__forked()) {
        return PyUnicode_FromFormat("<erlang.Channel of the parent process at %p>",
                                    (void *)self);
    }
    channel_info info;
    channel_get_info(channel_of(self), &info);
    return PyUnicode_FromFormat(
        "<erlang.Channel %s messages=%llu at %p>", info.closed ? "closed" : "open",
        (unsigned long long)info.way[CHANNEL_IN].messages, (void *)self);
}

static PyObject *
channel_compare(PyObject *self, PyObject *other, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) ||
        !Py_IS_TYPE(other, Py_TYPE(self))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = channel_of(self) == channel_of(other);
    return PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t
channel_hash(PyObject *self)
{
    return pyb__hash_address(channel_of(self));
}

PyDoc_STRVAR(
    channel_doc,
    "Channel(channel, /)\n--\n\n"
    "Messages from and to Erlang.\n\n"
    "A channel is made in Erlang, by py_channel:new/0,1, and arrives in an argument.\n"
    "receive() takes what Erlang has sent, put() sends to py_channel:recv/1,2: two\n"
    "queues, so that nobody reads back what it wrote.  Any number of threads and\n"
    "coroutines may receive: each message goes to one of them, in order.\n"
    "Iterating, with for or async for, receives until the channel is closed and\n"
    "empty.  As a context manager it is closed at the end of the block.\n"
    "Channels over the same queues are equal; Channel(x) of a Channel is x.");
PyDoc_STRVAR(
    receive_doc,
    "receive($self, timeout=None)\n--\n\n"
    "Wait for the next message and return it.\n\n"
    "timeout: seconds, 0 for not waiting at all, None for as long as it takes.\n"
    "Raises ChannelClosed when the channel is closed and empty, TimeoutError when\n"
    "nothing has come in time, ValueError when timeout is negative, and\n"
    "NotConvertibleError for a message that has no counterpart in Python (it has\n"
    "been taken).");
PyDoc_STRVAR(
    try_receive_doc,
    "try_receive($self, default=None)\n--\n\n"
    "The next message, or default when there is none; never waits.\n\n"
    "A message may be None: who wants to tell the two apart passes a default of\n"
    "their own.  Raises ChannelClosed when the channel is closed and empty, and\n"
    "NotConvertibleError as receive() does.");
PyDoc_STRVAR(async_receive_doc,
             "async_receive($self)\n--\n\n"
             "A coroutine that waits for the next message and returns it.\n\n"
             "It runs on any asyncio loop.  One that is cancelled takes no message.\n"
             "Raises ChannelClosed when the channel is closed and empty, and\n"
             "NotConvertibleError as receive() does.");
PyDoc_STRVAR(
    put_doc,
    "put($self, term, timeout=None)\n--\n\n"
    "Send a message to Erlang, where py_channel:recv/1,2 takes it.\n\n"
    "term: anything that converts to an Erlang term.\n"
    "While the max_size of the channel leaves no room it waits: timeout is\n"
    "in seconds, 0 for not waiting at all, None for as long as it takes.\n"
    "Raises ChannelClosed when the channel is closed, TimeoutError when there\n"
    "was no room in time, ValueError when timeout is negative, and\n"
    "NotConvertibleError; nothing is sent then.");
PyDoc_STRVAR(
    async_put_doc,
    "async_put($self, term)\n--\n\n"
    "A coroutine that sends a message to Erlang, as put() does.\n\n"
    "term: anything that converts to an Erlang term; it is converted at the call,\n"
    "which raises NotConvertibleError, and sent when the coroutine begins.\n"
    "While the max_size of the channel leaves no room it waits its turn, on any\n"
    "asyncio loop.  One that is cancelled while it waits for room has sent nothing\n"
    "and never will; where room had come before the cancel, the message has been\n"
    "sent.  Raises ChannelClosed when the channel is closed, also while it waits;\n"
    "nothing is sent then.");
PyDoc_STRVAR(close_doc,
             "close($self)\n--\n\n"
             "Nothing can be sent any more, in either direction.  What is queued can\n"
             "still be received; who waits for room or for a message is told.");
PyDoc_STRVAR(enter_doc, "__enter__($self)\n--\n\nThe channel itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, *args)\n--\n\nclose().");

#define FAST(name) (PyCFunction)(void (*)(void))(name), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef channel_methods[] = {
    {"receive", FAST(channel_receive_one), receive_doc},
    {"try_receive", FAST(channel_try_receive), try_receive_doc},
    {"async_receive", channel_async_receive, METH_NOARGS, async_receive_doc},
    {"put", FAST(channel_put), put_doc},
    {"async_put", FAST(channel_async_put), async_put_doc},
    {"close", channel_close_it, METH_NOARGS, close_doc},
    {"__enter__", channel_enter, METH_NOARGS, enter_doc},
    {"__exit__", channel_exit, METH_VARARGS, exit_doc},
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef channel_getset[] = {
    {"closed", channel_closed, NULL,
     "True after close() at either end; messages may still be queued.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef channel_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(pyb_channel, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)channel_doc},
    {Py_tp_new, (void *)(uintptr_t)channel_new_from},
    {Py_tp_traverse, (void *)(uintptr_t)channel_traverse},
    {Py_tp_dealloc, (void *)(uintptr_t)channel_dealloc},
    {Py_tp_repr, (void *)(uintptr_t)channel_repr},
    {Py_tp_hash, (void *)(uintptr_t)channel_hash},
    {Py_tp_richcompare, (void *)(uintptr_t)channel_compare},
    {Py_tp_iter, (void *)(uintptr_t)PyObject_SelfIter},
    {Py_tp_iternext, (void *)(uintptr_t)channel_next},
    {Py_am_aiter, (void *)(uintptr_t)PyObject_SelfIter},
    {Py_am_anext, (void *)(uintptr_t)channel_async_next},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL},
};

PyType_Spec pyb__channel_spec = {
    .name = "erlang.Channel",
    .basicsize = sizeof(pyb_channel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = channel_slots,
};
