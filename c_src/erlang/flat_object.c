/*
 * flat_object.c: Python objects to their flat form, and back.
 *
 * Only of the very types that need no code of their own to be read: so nothing changes
 * meanwhile.
 */
#include "flat_internal.h"

#include <math.h>

#include "convert.h"

/* ---- Writing ---- */

static bool write_object(pyb_state *state, flat_writer *w, PyObject *object);

static bool
write_integer(flat_writer *w, PyObject *object)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow == 0 && flat__write_integer(w, value);
}

/* Others would have to be encoded first. */
static bool
write_text(flat_writer *w, PyObject *object)
{
    return PyUnicode_IS_COMPACT_ASCII(object) &&
           flat__write_binary(w, PyUnicode_DATA(object),
                              (size_t)PyUnicode_GET_LENGTH(object));
}

static bool
is_character(PyObject *object)
{
    int overflow;
    if (!PyLong_CheckExact(object)) {
        return false;
    }
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow == 0 && value >= 0 && value <= UINT8_MAX;
}

static bool
write_list(pyb_state *state, flat_writer *w, PyObject *list)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    uint64_t before = w->size_bytes;
    bool string = true, written = flat__write_count(w, FLAT_LIST, (size_t)count);
    for (Py_ssize_t i = 0; written && i < count; i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        string = string && is_character(item);
        written = write_object(state, w, item);
    }
    w->size_bytes =
        before + weight_of_list((uint64_t)count, string, w->size_bytes - before);
    return written;
}

static bool
write_tuple(pyb_state *state, flat_writer *w, PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    bool written = flat__write_count(w, FLAT_TUPLE, (size_t)count);
    for (Py_ssize_t i = 0; written && i < count; i++) {
        written = write_object(state, w, PyTuple_GET_ITEM(tuple, i));
    }
    w->size_bytes += weight_of_tuple((int)count);
    return written;
}

/* With keys that cannot become the same term. */
static bool
write_dict(pyb_state *state, flat_writer *w, PyObject *dict)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    bool written = flat__write_count(w, FLAT_MAP, (size_t)PyDict_GET_SIZE(dict));
    while (written && PyDict_Next(dict, &at, &key, &value)) {
        written = (PyUnicode_CheckExact(key) || PyLong_CheckExact(key)) &&
                  write_object(state, w, key) && write_object(state, w, value);
    }
    w->size_bytes += WEIGHT_MAP_BYTES;
    return written;
}

static bool
write_handle(pyb_state *state, flat_writer *w, PyObject *object)
{
    const pyb_handle *handle = (pyb_handle *)object;
    if (Py_IS_TYPE(object, state->pid_type)) {
        return handle->word != 0 && flat__write_pid(w, handle->word);
    }
    return Py_IS_TYPE(object, state->ref_type) && handle->external != NULL &&
           flat__write_reference(w, PyBytes_AS_STRING(handle->external),
                                 (size_t)PyBytes_GET_SIZE(handle->external));
}

static bool
write_any(pyb_state *state, flat_writer *w, PyObject *object)
{
    if (PyLong_CheckExact(object)) {
        return write_integer(w, object);
    }
    if (PyUnicode_CheckExact(object)) {
        return write_text(w, object);
    }
    if (PyBytes_CheckExact(object)) {
        return flat__write_binary(w, PyBytes_AS_STRING(object),
                                  (size_t)PyBytes_GET_SIZE(object));
    }
    if (object == Py_None) {
        return flat__write_atom(w, FLAT_NONE, 4);
    }
    if (PyBool_Check(object)) {
        return object == Py_True ? flat__write_atom(w, FLAT_TRUE, 4)
                                 : flat__write_atom(w, FLAT_FALSE, 5);
    }
    if (PyFloat_CheckExact(object)) {
        double value = PyFloat_AS_DOUBLE(object);
        return isfinite(value) && flat__write_float(w, value);
    }
    if (PyList_CheckExact(object)) {
        return write_list(state, w, object);
    }
    if (PyTuple_CheckExact(object)) {
        return write_tuple(state, w, object);
    }
    if (PyDict_CheckExact(object)) {
        return write_dict(state, w, object);
    }
    return write_handle(state, w, object);
}

static bool
write_object(pyb_state *state, flat_writer *w, PyObject *object)
{
    w->depth++;
    bool written = w->depth <= FLAT_MAX_DEPTH && write_any(state, w, object);
    w->depth--;
    return written;
}

size_t
flat_write_object(pyb_state *state, PyObject *object, unsigned char *to,
                  uint64_t *size_bytes)
{
    flat_writer w = flat__begin(to);
    if (!write_object(state, &w, object)) {
        return 0;
    }
    *size_bytes = w.size_bytes;
    return (size_t)(w.at - to);
}

/* ---- Reading ---- */

typedef struct object_reader {
    flat_reader from;
    pyb_state *state;
} object_reader;

static PyObject *read_term(object_reader *r);

static PyObject *
read_list(object_reader *r)
{
    uint16_t count = flat__read_count(&r->from);
    PyObject *list = PyList_New(count);
    for (uint16_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = read_term(r);
        if (item != NULL) {
            PyList_SET_ITEM(list, i, item);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
read_tuple(object_reader *r)
{
    uint16_t count = flat__read_count(&r->from);
    PyObject *tuple = PyTuple_New(count);
    for (uint16_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *item = read_term(r);
        if (item != NULL) {
            PyTuple_SET_ITEM(tuple, i, item);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *
read_map(object_reader *r)
{
    uint16_t count = flat__read_count(&r->from);
    PyObject *dict = PyDict_New();
    for (uint16_t i = 0; dict != NULL && i < count; i++) {
        PyObject *key = read_term(r);
        PyObject *value = key != NULL ? read_term(r) : NULL;
        if (value == NULL || !convert_put_pair(r->state, dict, key, value)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
read_reference(object_reader *r)
{
    uint16_t size;
    const unsigned char *data = flat__read_data(&r->from, &size);
    PyObject *external = PyBytes_FromStringAndSize((const char *)data, size);
    if (external == NULL) {
        return NULL;
    }
    PyObject *handle = pyb_handle_new(r->state->ref_type, 0, external);
    Py_DECREF(external);
    return handle;
}

static PyObject *
read_text(object_reader *r, unsigned char tag)
{
    uint16_t size;
    const unsigned char *data = flat__read_data(&r->from, &size);
    switch (tag) {
    case FLAT_BINARY:
        return convert_bytes_to_python(data, size);
    case FLAT_BYTES:
        return PyBytes_FromStringAndSize((const char *)data, size);
    default:
        return PyUnicode_DecodeUTF8((const char *)data, size, NULL);
    }
}

static PyObject *
read_term(object_reader *r)
{
    unsigned char tag = flat__read_tag(&r->from);
    switch (tag) {
    case FLAT_NONE:
        Py_RETURN_NONE;
    case FLAT_TRUE:
        Py_RETURN_TRUE;
    case FLAT_FALSE:
        Py_RETURN_FALSE;
    case FLAT_INT:
        return PyLong_FromLongLong((long long)flat__read_word(&r->from));
    case FLAT_FLOAT:
        return PyFloat_FromDouble(flat__read_float(&r->from));
    case FLAT_LIST:
        return read_list(r);
    case FLAT_TUPLE:
        return read_tuple(r);
    case FLAT_MAP:
        return read_map(r);
    case FLAT_PID:
        return pyb_handle_new(r->state->pid_type, flat__read_word(&r->from), NULL);
    case FLAT_REF:
        return read_reference(r);
    default:
        return read_text(r, tag);
    }
}

PyObject *
flat_to_python(pyb_state *state, const unsigned char *data)
{
    object_reader r = {{data}, state};
    return read_term(&r);
}
