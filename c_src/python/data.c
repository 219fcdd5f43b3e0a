/*
 * data.c: what a protocol of the reactor is given: a bytes-like object over the memory
 * that was read into.
 */
#include "internal.h"

#include <string.h>

/* A block is kept for this much, or more. */
#define PIN_LEAST_BYTES ((size_t)64 << 10)

typedef struct pyb_data {
    PyObject_HEAD
    const uint8_t *bytes;
    Py_ssize_t size;
    stream_segment *segment; /* a pin, or NULL: `copy` */
    uint8_t *copy;
    Py_ssize_t exports;
} pyb_data;

PyObject *
pyb__data_new(pyb_state *state, const uint8_t *bytes, size_t size,
              stream_segment *segment)
{
    pyb_data *self = PyObject_New(pyb_data, state->data_type);
    if (self == NULL) {
        reactor_unpin(segment);
        return NULL;
    }
    self->bytes = bytes;
    self->size = (Py_ssize_t)size;
    self->segment = segment;
    self->copy = NULL;
    self->exports = 0;
    return (PyObject *)self;
}

void
pyb__data_kept(PyObject *data)
{
#if !defined(Py_GIL_DISABLED)
    pyb_data *self = (pyb_data *)data;
    size_t size = (size_t)self->size;
    if (self->segment == NULL || self->exports > 0 || size >= PIN_LEAST_BYTES) {
        return;
    }
    uint8_t *copy = PyMem_RawMalloc(size > 0 ? size : 1);
    if (copy != NULL) {
        memcpy(copy, self->bytes, size);
        self->bytes = self->copy = copy;
        reactor_unpin(self->segment);
        self->segment = NULL;
    }
#else
    (void)data;
#endif
}

static void
data_dealloc(PyObject *object)
{
    pyb_data *self = (pyb_data *)object;
    PyTypeObject *type = Py_TYPE(self);
    reactor_unpin(self->segment);
    PyMem_RawFree(self->copy);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* ---- Buffer and sequence ---- */

static int
data_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    pyb_data *self = (pyb_data *)object;
    int result = PyBuffer_FillInfo(view, object, (void *)(uintptr_t)self->bytes,
                                   self->size, 1, flags);
    if (result == 0) {
        self->exports++;
    }
    return result;
}

static void
data_releasebuffer(PyObject *object, Py_buffer *Py_UNUSED(view))
{
    ((pyb_data *)object)->exports--;
}

static Py_ssize_t
data_length(PyObject *object)
{
    return ((pyb_data *)object)->size;
}

static PyObject *
copy_of(pyb_data *self, Py_ssize_t from, Py_ssize_t size)
{
    return PyBytes_FromStringAndSize((const char *)self->bytes + from, size);
}

static PyObject *
data_item(PyObject *object, Py_ssize_t index)
{
    pyb_data *self = (pyb_data *)object;
    if (index < 0 || index >= self->size) {
        PyErr_SetString(PyExc_IndexError, "index out of range");
        return NULL;
    }
    return PyLong_FromLong(self->bytes[index]);
}

static PyObject *
data_slice(pyb_data *self, PyObject *slice)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0) {
        return NULL;
    }
    Py_ssize_t count = PySlice_AdjustIndices(self->size, &start, &stop, step);
    if (step == 1) {
        return copy_of(self, start, count);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, count);
    for (Py_ssize_t i = 0; bytes != NULL && i < count; i++) {
        PyBytes_AS_STRING(bytes)[i] = (char)self->bytes[start + i * step];
    }
    return bytes;
}

static PyObject *
data_subscript(PyObject *object, PyObject *key)
{
    pyb_data *self = (pyb_data *)object;
    if (PySlice_Check(key)) {
        return data_slice(self, key);
    }
    if (!PyIndex_Check(key)) {
        PyErr_Format(PyExc_TypeError,
                     "data indices must be integers or slices, not %.200s",
                     Py_TYPE(key)->tp_name);
        return NULL;
    }
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return data_item(object, index < 0 ? index + self->size : index);
}

static PyObject *
data_concat(PyObject *object, PyObject *other)
{
    PyObject *bytes = copy_of((pyb_data *)object, 0, ((pyb_data *)object)->size);
    if (bytes != NULL) {
        PyBytes_ConcatAndDel(&bytes, Py_NewRef(other));
    }
    return bytes;
}

static PyObject *
data_compare(PyObject *object, PyObject *other, int operation)
{
    pyb_data *self = (pyb_data *)object;
    Py_buffer view;
    if ((operation != Py_EQ && operation != Py_NE) || !PyObject_CheckBuffer(other)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (PyObject_GetBuffer(other, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same =
        view.len == self->size && memcmp(view.buf, self->bytes, (size_t)view.len) == 0;
    PyBuffer_Release(&view);
    return PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t
data_hash(PyObject *object)
{
    PyObject *bytes = copy_of((pyb_data *)object, 0, ((pyb_data *)object)->size);
    Py_hash_t hash = bytes != NULL ? PyObject_Hash(bytes) : -1;
    Py_XDECREF(bytes);
    return hash;
}

static PyObject *
data_repr(PyObject *object)
{
    PyObject *bytes = copy_of((pyb_data *)object, 0, ((pyb_data *)object)->size);
    PyObject *repr =
        bytes != NULL ? PyUnicode_FromFormat("<erlang.reactor.Data %R>", bytes) : NULL;
    Py_XDECREF(bytes);
    return repr;
}

/* ---- Searching ---- */

/* Converting an argument may run code, and meanwhile the bytes may move: where they are
 * is looked up when no more code runs. */
typedef struct search {
    pyb_data *data;
    PyObject *needle;       /* bytes, owned */
    Py_ssize_t start, size; /* of the part that is searched */
} search;

static const uint8_t *
searched(const search *s)
{
    return s->data->bytes + (s->size > 0 ? s->start : 0);
}

static void
clip(Py_ssize_t *bound, Py_ssize_t size)
{
    if (*bound < 0) {
        *bound = *bound + size < 0 ? 0 : *bound + size;
    }
}

/* (sub, start=0, end=None) as bytes.find() takes them.  False: an exception is set. */
static bool
parse_search(PyObject *object, const char *name, PyObject *const *args,
             Py_ssize_t nargs, search *s)
{
    pyb_data *self = (pyb_data *)object;
    Py_ssize_t start = 0, end = PY_SSIZE_T_MAX;
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError, "%s() takes from 1 to 3 arguments (%zd given)",
                     name, nargs);
        return false;
    }
    if ((nargs > 1 && pyb__convert_bound(args[1], &start) < 0) ||
        (nargs > 2 && pyb__convert_bound(args[2], &end) < 0)) {
        return false;
    }
    clip(&start, self->size);
    clip(&end, self->size);
    end = end > self->size ? self->size : end;
    s->data = self;
    s->start = start;
    s->size = end - start; /* negative: not even nothing is found there */
    return true;
}

/* The offset of the first match in the part from `at` on, or -1. */
static Py_ssize_t
find_from(const search *s, Py_ssize_t at)
{
    size_t size = (size_t)PyBytes_GET_SIZE(s->needle);
    if (s->size - at < (Py_ssize_t)size) {
        return -1;
    }
    const uint8_t *from = searched(s);
    const uint8_t *found = size == 0 ? from + at
                                     : memmem(from + at, (size_t)(s->size - at),
                                              PyBytes_AS_STRING(s->needle), size);
    return found != NULL ? found - from : -1;
}

static PyObject *
data_find(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    search s;
    if (!parse_search(object, "find", args, nargs, &s) ||
        (s.needle = pyb__convert_needle(args[0], true)) == NULL) {
        return NULL;
    }
    Py_ssize_t found = find_from(&s, 0);
    Py_DECREF(s.needle);
    return PyLong_FromSsize_t(found < 0 ? -1 : s.start + found);
}

static PyObject *
data_count(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    search s;
    if (!parse_search(object, "count", args, nargs, &s) ||
        (s.needle = pyb__convert_needle(args[0], true)) == NULL) {
        return NULL;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(s.needle), count = 0, at = 0;
    while ((at = find_from(&s, at)) >= 0) {
        count++;
        at += size > 0 ? size : 1;
    }
    Py_DECREF(s.needle);
    return PyLong_FromSsize_t(count);
}

static int
data_contains(PyObject *object, PyObject *value)
{
    pyb_data *self = (pyb_data *)object;
    search s = {self, pyb__convert_needle(value, true), 0, self->size};
    if (s.needle == NULL) {
        return -1;
    }
    bool found = find_from(&s, 0) >= 0;
    Py_DECREF(s.needle);
    return found;
}

/* 1, 0 or -1. */
static int
matches_one(search *s, PyObject *value, bool at_end)
{
    s->needle = pyb__convert_needle(value, false);
    if (s->needle == NULL) {
        return -1;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(s->needle);
    bool same =
        s->size >= size && memcmp(searched(s) + (at_end ? s->size - size : 0),
                                  PyBytes_AS_STRING(s->needle), (size_t)size) == 0;
    Py_DECREF(s->needle);
    return same;
}

static PyObject *
matches(PyObject *object, const char *name, PyObject *const *args, Py_ssize_t nargs,
        bool at_end)
{
    search s;
    int same = 0;
    if (!parse_search(object, name, args, nargs, &s)) {
        return NULL;
    }
    if (!PyTuple_Check(args[0])) {
        same = matches_one(&s, args[0], at_end);
    } else {
        for (Py_ssize_t i = 0; same == 0 && i < PyTuple_GET_SIZE(args[0]); i++) {
            same = matches_one(&s, PyTuple_GET_ITEM(args[0], i), at_end);
        }
    }
    return same < 0 ? NULL : PyBool_FromLong(same);
}

static PyObject *
data_startswith(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    return matches(object, "startswith", args, nargs, false);
}

static PyObject *
data_endswith(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    return matches(object, "endswith", args, nargs, true);
}

static PyObject *
data_decode(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"encoding", "errors", NULL};
    const char *encoding = "utf-8", *errors = "strict";
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ss:decode", names, &encoding,
                                     &errors)) {
        return NULL;
    }
    return PyUnicode_FromEncodedObject(object, encoding, errors);
}

/* ---- The type ---- */

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

static PyMethodDef data_methods[] = {
    {"find", FAST(data_find),
     "find($self, sub, start=0, end=None, /)\n--\n\nAs bytes.find()."},
    {"count", FAST(data_count),
     "count($self, sub, start=0, end=None, /)\n--\n\nAs bytes.count()."},
    {"startswith", FAST(data_startswith),
     "startswith($self, prefix, start=0, end=None, /)\n--\n\nAs bytes.startswith()."},
    {"endswith", FAST(data_endswith),
     "endswith($self, suffix, start=0, end=None, /)\n--\n\nAs bytes.endswith()."},
    {"decode", (PyCFunction)(void (*)(void))data_decode, METH_VARARGS | METH_KEYWORDS,
     "decode($self, encoding='utf-8', errors='strict')\n--\n\nAs bytes.decode()."},
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(data_doc,
             "Bytes that were read from a connection, where they were read to.\n\n"
             "Bytes-like and read-only; slices are bytes.  Keeping it keeps\n"
             "its bytes.");

static PyType_Slot data_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)data_doc},
    {Py_tp_dealloc, data_dealloc},
    {Py_tp_repr, data_repr},
    {Py_tp_hash, data_hash},
    {Py_tp_richcompare, data_compare},
    {Py_tp_methods, data_methods},
    {Py_sq_length, data_length},
    {Py_sq_item, data_item},
    {Py_sq_concat, data_concat},
    {Py_sq_contains, data_contains},
    {Py_mp_length, data_length},
    {Py_mp_subscript, data_subscript},
    {Py_bf_getbuffer, data_getbuffer},
    {Py_bf_releasebuffer, data_releasebuffer},
    {0, NULL},
};

PyType_Spec pyb__data_spec = {
    .name = "erlang.reactor.Data",
    .basicsize = sizeof(pyb_data),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = data_slots,
};
