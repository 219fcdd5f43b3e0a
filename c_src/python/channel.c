/*
 * channel.c: Channel, the Python end of a channel.
 *
 * Python receives what comes in and puts what goes out.  A message becomes an object in
 * the moment in which it is taken, with the GIL.
 */
#include "internal.h"

#include <structmember.h>

typedef struct pyb_channel {
    PyObject_HEAD
    channel *channel; /* a reference; set once */
    PyObject *origin; /* the host's, or NULL; makes no cycle */
    PyObject *weakrefs;
    bool views;
} pyb_channel;

PyObject *
pyb_channel_new(pyb_state *state, channel *c, bool views, PyObject *origin)
{
    pyb_channel *self = PyObject_GC_New(pyb_channel, state->channel_type);
    if (self == NULL) {
        return NULL;
    }
    self->channel = channel_share(c);
    self->origin = Py_XNewRef(origin);
    self->weakrefs = NULL;
    self->views = views;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

channel *
pyb_channel_of(pyb_state *state, PyObject *object)
{
    return PyObject_TypeCheck(object, state->channel_type)
               ? ((pyb_channel *)object)->channel
               : NULL;
}

PyObject *
pyb_channel_origin(PyObject *object)
{
    return ((pyb_channel *)object)->origin;
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
    channel_release(own->channel);
    Py_XDECREF(own->origin);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef channel_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(pyb_channel, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(channel_doc, "Messages from and to Erlang.");

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)channel_doc},
    {Py_tp_traverse, (void *)(uintptr_t)pyb__visit_type},
    {Py_tp_dealloc, (void *)(uintptr_t)channel_dealloc},
    {Py_tp_members, channel_members},
    {0, NULL},
};

PyType_Spec pyb__channel_spec = {
    .name = "erlang.Channel",
    .basicsize = sizeof(pyb_channel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = channel_slots,
};
