/*
 * external_size.c: what an object would measure in Erlang's external term format.  It
 * refuses what the node refuses: tests without Erlang shall see that too.
 */
#include "internal.h"

#include "object_message.h"

#include <math.h>

#define MAX_DEPTH 1000

/* A tag, the name of a node, and what names a thing there. */
#define HANDLE_BYTES 36
#define ATOM_HEAD    3
#define COUNTED_HEAD 5 /* a tag and a count of 32 bits */

typedef struct weigher {
    pyb_state *state;
    uint64_t total;
    int depth;
} weigher;

static int weigh(weigher *w, PyObject *object);

static int
add(weigher *w, uint64_t bytes)
{
    w->total += bytes;
    return 0;
}

static int
refuse(weigher *w, const char *what)
{
    PyErr_SetString(w->state->not_convertible, what);
    return -1;
}

static int
weigh_integer(weigher *w, PyObject *value)
{
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (small == -1 && overflow == 0 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow == 0 && small >= INT32_MIN && small <= INT32_MAX) {
        return add(w, small >= 0 && small <= 255 ? 2 : 5);
    }
    PyObject *bits = PyObject_CallMethod(value, "bit_length", NULL);
    Py_ssize_t count = bits != NULL ? PyLong_AsSsize_t(bits) : -1;
    Py_XDECREF(bits);
    if (count < 0) {
        return -1;
    }
    uint64_t bytes = ((uint64_t)count + 7) / 8;
    return add(w, bytes + (bytes <= 255 ? 3 : 6));
}

static int
weigh_text(weigher *w, PyObject *object, uint64_t head)
{
    PyObject *utf8 = PyUnicode_AsUTF8String(object);
    if (utf8 == NULL) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            PyErr_Clear();
            refuse(w, "a str with lone surrogates, which has no UTF-8 form");
        }
        return -1;
    }
    add(w, head + (uint64_t)PyBytes_GET_SIZE(utf8));
    Py_DECREF(utf8);
    return 0;
}

/* A list has a tail. */
static int
weigh_items(weigher *w, PyObject *object)
{
    PyObject *items = PySequence_Fast(object, "not iterable");
    if (items == NULL) {
        return -1;
    }
    int status = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items) && status == 0; i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(items, i));
        status = weigh(w, item);
        Py_DECREF(item);
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    Py_DECREF(items);
    if (PyTuple_Check(object)) {
        add(w, count <= 255 ? 2 : COUNTED_HEAD);
    } else {
        add(w, count == 0 ? 1 : COUNTED_HEAD + 1);
    }
    return status;
}

static int
weigh_dict(weigher *w, PyObject *dict)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, size = PyDict_GET_SIZE(dict);
    add(w, COUNTED_HEAD);
    while (PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        int status = weigh(w, key) < 0 ? -1 : weigh(w, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (status < 0) {
            return -1;
        }
        if (PyDict_GET_SIZE(dict) != size) {
            return refuse(w, "a dict that changed while it was being read");
        }
    }
    return 0;
}

static bool
is_byte_format(const char *format)
{
    if (format == NULL) {
        return true;
    }
    if (strchr("@=<>", *format) != NULL && *format != '\0') {
        format++;
    }
    return strcmp(format, "B") == 0 || strcmp(format, "b") == 0 ||
           strcmp(format, "c") == 0;
}

/* 1: it was one; 0: it is none (no exception); -1. */
static int
weigh_exporter(weigher *w, PyObject *object)
{
    Py_buffer view;
    if (!PyObject_CheckBuffer(object)) {
        return 0;
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_FORMAT | PyBUF_ND | PyBUF_STRIDES) <
        0) {
        return -1;
    }
    bool plain = view.ndim == 1 && is_byte_format(view.format) &&
                 PyBuffer_IsContiguous(&view, 'C');
    if (plain) {
        add(w, COUNTED_HEAD + (uint64_t)view.len);
    }
    PyBuffer_Release(&view);
    return plain;
}

static int
weigh_other(weigher *w, PyObject *object)
{
    if (PyIndex_Check(object)) {
        PyObject *value = PyNumber_Index(object);
        if (value != NULL) {
            int status = weigh_integer(w, value);
            Py_DECREF(value);
            return status;
        }
        if (!PyErr_ExceptionMatches(PyExc_TypeError) || !PyObject_CheckBuffer(object)) {
            return -1;
        }
        PyErr_Clear();
    }
    int exporter = weigh_exporter(w, object);
    if (exporter == 0) {
        PyErr_Format(w->state->not_convertible, "an object of type '%.200s'",
                     Py_TYPE(object)->tp_name);
    }
    return exporter > 0 ? 0 : -1;
}

static int
weigh_float(weigher *w, PyObject *object)
{
    if (!isfinite(PyFloat_AS_DOUBLE(object))) {
        return refuse(w, "a float that is no number, which Erlang has no term for");
    }
    return add(w, 9);
}

static int
weigh_own_type(weigher *w, PyObject *object)
{
    pyb_state *state = w->state;
    PyObject *name = pyb_atom_name(state, object);
    if (name != NULL) {
        return weigh_text(w, name, ATOM_HEAD);
    }
    if (pyb_buffer_stream(state, object) != NULL ||
        pyb_channel_of(state, object) != NULL || Py_IS_TYPE(object, state->pid_type) ||
        Py_IS_TYPE(object, state->ref_type)) {
        return add(w, HANDLE_BYTES);
    }
    return weigh_other(w, object);
}

static int
weigh_any(weigher *w, PyObject *object)
{
    if (PyUnicode_Check(object)) {
        return weigh_text(w, object, COUNTED_HEAD);
    }
    if (PyBytes_Check(object)) {
        return add(w, COUNTED_HEAD + (uint64_t)PyBytes_GET_SIZE(object));
    }
    if (object == Py_None || PyBool_Check(object)) {
        return add(w, ATOM_HEAD + (object == Py_False ? 5 : 4));
    }
    if (PyFloat_Check(object)) {
        return weigh_float(w, object);
    }
    if (PyLong_Check(object)) {
        return weigh_integer(w, object);
    }
    if (PyDict_Check(object)) {
        return weigh_dict(w, object);
    }
    if (PyList_Check(object) || PyTuple_Check(object) || PyAnySet_Check(object)) {
        return weigh_items(w, object);
    }
    return weigh_own_type(w, object);
}

static int
weigh(weigher *w, PyObject *object)
{
    if (w->depth == MAX_DEPTH) {
        return refuse(w, "nested too deeply");
    }
    w->depth++;
    int status = weigh_any(w, object);
    w->depth--;
    return status;
}

int
pyb__external_size(pyb_state *state, PyObject *object, uint64_t *size)
{
    weigher w = {.state = state, .total = 1};
    if (weigh(&w, object) < 0) {
        return -1;
    }
    *size = w.total;
    return 0;
}
