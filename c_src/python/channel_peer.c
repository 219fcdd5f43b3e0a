/*
 * channel_peer.c: ChannelPeer, the Erlang end of a channel for tests without Erlang: it
 * sends what the Channel receives, and receives what that puts.
 *
 * In a node its messages are made of terms as all are there; in plain python3 they are
 * Python objects, which may refer to the channel that they are in.  All Channels over
 * it hold it, and it shows the messages to the cycle collector.
 */
#include "internal.h"

#include "object_message.h"

typedef struct pyb_peer {
    PyObject_HEAD
    channel *channel; /* a reference; set once */
    pyb__object_list objects;
    bool views;
} pyb_peer;

static inline channel *
channel_of(PyObject *self)
{
    return ((pyb_peer *)self)->channel;
}

pyb_message *
pyb__message_new(pyb_state *state, PyObject *object, PyObject *home)
{
    const pyb_host *host = pyb_get_host();
    if (host != NULL && host->message != NULL) {
        return host->message(state, object);
    }
    if (host != NULL || home == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no Erlang node to make a message for");
        return NULL;
    }
    return pyb__object_message(state, object, &((pyb_peer *)home)->objects);
}

/* ---- Life ---- */

static int
convert_options(PyObject *args, PyObject *kwargs, uint64_t *max_bytes, int *views)
{
    static char words[][16] = {"max_size", "views"};
    char *const names[] = {words[0], words[1], NULL};
    PyObject *max = Py_None;
    return PyArg_ParseTupleAndKeywords(args, kwargs, "|O$p:ChannelPeer",
                                       (char **)(uintptr_t)names, &max, views)
               ? pyb__convert_limit(max, "max_size", 1, max_bytes)
               : -1;
}

static PyObject *
peer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    uint64_t max_bytes = CHANNEL_UNLIMITED;
    int views = 0;
    if (convert_options(args, kwargs, &max_bytes, &views) < 0) {
        return NULL;
    }
    channel *c = channel_new(max_bytes);
    if (c == NULL) {
        return PyErr_NoMemory();
    }
    pyb_peer *self = PyObject_GC_New(pyb_peer, type);
    if (self == NULL) {
        channel_release(c);
        return NULL;
    }
    self->channel = c;
    self->objects = (pyb__object_list){0};
    platform_lock_init(&self->objects.lock);
    self->views = views != 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
peer_traverse(PyObject *self, visitproc visit, void *arg)
{
    int result = pyb__object_list_traverse(&((pyb_peer *)self)->objects, visit, arg);
    return result != 0 ? result : pyb__visit_type(self, visit, arg);
}

/* Nobody refers to an end of the channel any more, but for objects that are in it. */
static int
peer_clear(PyObject *self)
{
    channel_item *item;
    for (int way = 0; way < 2; way++) {
        while (((pyb_peer *)self)->objects.first != NULL &&
               channel_receive(channel_of(self), (channel_way)way, &item) ==
                   STREAM_OK) {
            item->release(item);
        }
    }
    return 0;
}

static void
peer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (!pyb__forked()) {
        peer_clear(self);
        channel_release(channel_of(self));
    }
    pyb__object_list_forget(&((pyb_peer *)self)->objects);
    platform_lock_destroy(&((pyb_peer *)self)->objects.lock);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* ---- Messages ---- */

static PyObject *
peer_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    pyb__channel_call call = {
        .state = pyb__state_of(self),
        .channel = channel_of(self),
        .way = CHANNEL_IN,
    };
    return pyb__channel_put("send", &call, self, args, nargs, kwnames);
}

static PyObject *
peer_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    pyb__channel_call call = {
        .state = pyb__state_of(self),
        .channel = channel_of(self),
        .way = CHANNEL_OUT,
    };
    return pyb__channel_receive("recv", &call, args, nargs, kwnames);
}

static PyObject *
peer_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return pyb__channel_close(channel_of(self));
}

static PyObject *
peer_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static PyObject *
peer_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    return pyb__channel_close(channel_of(self));
}

/* ---- Looking ---- */

static PyObject *
way_info(const channel_info *info, channel_way way)
{
    return Py_BuildValue("{s:K, s:K, s:I, s:I}", "size",
                         (unsigned long long)info->way[way].size_bytes, "messages",
                         (unsigned long long)info->way[way].messages, "waiting_senders",
                         (unsigned int)info->way[way].senders, "waiting_receivers",
                         (unsigned int)info->way[way].receivers);
}

/* Of the way in itself, of the way out under `outbox`: as py_channel:info/1. */
static PyObject *
peer_info(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (pyb__refuse_forked() < 0) {
        return NULL;
    }
    channel_info info;
    channel_get_info(channel_of(self), &info);
    PyObject *whole = way_info(&info, CHANNEL_IN);
    PyObject *others =
        whole != NULL
            ? Py_BuildValue("{s:N, s:N, s:O}", "outbox", way_info(&info, CHANNEL_OUT),
                            "max_size",
                            pyb__limit_object(info.max_bytes, CHANNEL_UNLIMITED),
                            "closed", info.closed ? Py_True : Py_False)
            : NULL;
    if (others == NULL || PyDict_Update(whole, others) < 0) {
        Py_CLEAR(whole);
    }
    Py_XDECREF(others);
    return whole;
}

static PyObject *
peer_channel(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__channel_at_home(pyb__state_of(self), channel_of(self),
                                ((pyb_peer *)self)->views, self);
}

static PyObject *
peer_closed(PyObject *self, void *Py_UNUSED(ignored))
{
    return PyBool_FromLong(channel_is_closed(channel_of(self)));
}

PyDoc_STRVAR(
    peer_doc,
    "ChannelPeer(max_size=None, *, views=False)\n--\n\n"
    "The other end of a Channel, as Erlang processes have it.\n\n"
    "max_size: bytes that may be queued each way, measured as by\n"
    "erlang:external_size/1; a message larger than that fits into an empty queue.\n"
    "None: no limit.\n"
    "views: bytes of 2048 and more in what the Channel receives are memoryviews.\n"
    "In plain python3 messages arrive as the objects that were sent, not copied, but\n"
    "only what converts to an Erlang term may be sent.");
PyDoc_STRVAR(
    send_doc,
    "send($self, term, timeout=None)\n--\n\n"
    "Send a message that the Channel receives.\n\n"
    "While there is no room it waits, at most timeout seconds (0: not at all,\n"
    "None: for as long as it takes), and raises TimeoutError.\n"
    "Raises ChannelClosed when the channel is closed, NotConvertibleError for\n"
    "what Erlang has no term for.");
PyDoc_STRVAR(
    recv_doc,
    "recv($self, timeout=None)\n--\n\n"
    "Wait for the next message that was put into the Channel.\n\n"
    "timeout: seconds, 0 for not waiting at all, None for as long as it takes.\n"
    "Raises ChannelClosed when the channel is closed and empty, TimeoutError.");
PyDoc_STRVAR(close_doc, "close($self)\n--\n\nClose the channel, both ways.");
PyDoc_STRVAR(info_doc, "info($self)\n--\n\n"
                       "A dict, as that of py_channel:info/1: size (bytes), messages, "
                       "waiting_senders and\n"
                       "waiting_receivers of what the Channel is to receive; outbox, a "
                       "dict with the same\n"
                       "keys of what it has put; max_size (None: no limit); closed.");
PyDoc_STRVAR(enter_doc, "__enter__($self)\n--\n\nThe peer itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, *args)\n--\n\nclose().");

#define FAST(name) (PyCFunction)(void (*)(void))(name), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef peer_methods[] = {
    {"send", FAST(peer_send), send_doc},
    {"recv", FAST(peer_recv), recv_doc},
    {"close", peer_close, METH_NOARGS, close_doc},
    {"info", peer_info, METH_NOARGS, info_doc},
    {"__enter__", peer_enter, METH_NOARGS, enter_doc},
    {"__exit__", peer_exit, METH_VARARGS, exit_doc},
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef peer_getset[] = {
    {"channel", peer_channel, NULL,
     "A new Channel over the two queues; all of them are equal.", NULL},
    {"closed", peer_closed, NULL, "True after close() at either end.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot peer_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)peer_doc},
    {Py_tp_new, (void *)(uintptr_t)peer_new},
    {Py_tp_dealloc, (void *)(uintptr_t)peer_dealloc},
    {Py_tp_traverse, (void *)(uintptr_t)peer_traverse},
    {Py_tp_clear, (void *)(uintptr_t)peer_clear},
    {Py_tp_methods, peer_methods},
    {Py_tp_getset, peer_getset},
    {0, NULL},
};

PyType_Spec pyb__peer_spec = {
    .name = "erlang.testing.ChannelPeer",
    .basicsize = sizeof(pyb_peer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = peer_slots,
};
