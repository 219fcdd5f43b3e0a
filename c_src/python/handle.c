/*
 * handle.c: Pid and Ref: names of Erlang things, opaque to Python.
 */
#include "internal.h"

PyObject *
pyb_handle_new(PyTypeObject *type, uint64_t word, PyObject *external)
{
    pyb_handle *self = PyObject_GC_New(pyb_handle, type);
    if (self == NULL) {
        return NULL;
    }
    self->word = word;
    self->external = Py_XNewRef(external);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static void
handle_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((pyb_handle *)self)->external);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static bool
handle_equal(const pyb_handle *a, const pyb_handle *b)
{
    if (a->word != 0 && b->word != 0) {
        return a->word == b->word;
    }
    if (a->external == NULL || b->external == NULL) {
        return false;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(a->external);
    return size == PyBytes_GET_SIZE(b->external) &&
           memcmp(PyBytes_AS_STRING(a->external), PyBytes_AS_STRING(b->external),
                  (size_t)size) == 0;
}

static PyObject *
handle_compare(PyObject *self, PyObject *other, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) ||
        !Py_IS_TYPE(other, Py_TYPE(self))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool equal = handle_equal((pyb_handle *)self, (pyb_handle *)other);
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

/* Multiplied by an odd constant: the low bits of the words of pids made one after the
 * other differ little. */
static Py_hash_t
handle_hash(PyObject *self)
{
    const pyb_handle *handle = (pyb_handle *)self;
    if (handle->word == 0 && handle->external != NULL) {
        return PyObject_Hash(handle->external);
    }
    uint64_t mixed = handle->word * UINT64_C(0x9E3779B97F4A7C15);
    Py_hash_t hash = (Py_hash_t)(mixed ^ mixed >> 32);
    return hash == -1 ? -2 : hash;
}

static PyObject *
handle_repr(PyObject *self)
{
    const pyb_host *host = pyb_get_host();
    if (host != NULL && host->describe != NULL && !pyb__forked()) {
        return host->describe((pyb_handle *)self);
    }
    return PyUnicode_FromFormat("<%s %llx>", Py_TYPE(self)->tp_name,
                                (unsigned long long)((pyb_handle *)self)->word);
}

/* Who takes it for the buffer that it would be elsewhere is told so. */
static PyObject *
ref_get_attribute(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Format(PyExc_AttributeError,
                     "'erlang.Ref' object has no attribute %R; a buffer or channel of "
                     "another node comes as a Ref: only Python of that node can use it",
                     name);
    }
    return value;
}

static PyMethodDef handle_methods[] = {
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#define HANDLE_SLOTS(doc, get_attribute)                                               \
    {                                                                                  \
        {Py_tp_doc, (void *)(uintptr_t)(doc)}, {Py_tp_dealloc, handle_dealloc},        \
            {Py_tp_traverse, pyb__visit_type}, {Py_tp_repr, handle_repr},              \
            {Py_tp_hash, handle_hash}, {Py_tp_richcompare, handle_compare},            \
            {Py_tp_getattro, get_attribute}, {Py_tp_methods, handle_methods},          \
            {0, NULL},                                                                 \
    }

static PyType_Slot pid_slots[] = HANDLE_SLOTS(
    "An Erlang process.  Comes from Erlang; good for erlang.send() and for "
    "passing back.",
    PyObject_GenericGetAttr);
static PyType_Slot ref_slots[] = HANDLE_SLOTS(
    "An Erlang reference.  Comes from Erlang; good for comparing and passing back.",
    ref_get_attribute);

#define HANDLE_FLAGS                                                                   \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |              \
     Py_TPFLAGS_DISALLOW_INSTANTIATION)

PyType_Spec pyb__pid_spec = {
    .name = "erlang.Pid",
    .basicsize = sizeof(pyb_handle),
    .flags = HANDLE_FLAGS,
    .slots = pid_slots,
};

PyType_Spec pyb__ref_spec = {
    .name = "erlang.Ref",
    .basicsize = sizeof(pyb_handle),
    .flags = HANDLE_FLAGS,
    .slots = ref_slots,
};
