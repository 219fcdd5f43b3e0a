/*
 * arguments.c: what Python passes, turned into C values.  All of this runs code of the
 * caller's (__index__, the buffer protocol), which may call the same buffer again: it
 * is done before any lock is taken.
 */
#include "internal.h"

#include <math.h>

static Py_ssize_t
find_name(const pyb__signature *signature, PyObject *name)
{
    for (Py_ssize_t i = 0; i < signature->count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                 signature->function, name);
    return -1;
}

static int
parse_keywords(const pyb__signature *signature, PyObject *const *args,
               PyObject *kwnames, PyObject **values)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        Py_ssize_t at = find_name(signature, PyTuple_GET_ITEM(kwnames, i));
        if (at < 0) {
            return -1;
        }
        if (values[at] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'",
                         signature->function, signature->names[at]);
            return -1;
        }
        values[at] = args[i];
    }
    return 0;
}

int
pyb__parse(const pyb__signature *signature, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames, PyObject **values)
{
    if (nargs > signature->count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd argument%s (%zd given)",
                     signature->function, signature->count,
                     signature->count == 1 ? "" : "s", nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < signature->count; i++) {
        values[i] = i < nargs ? args[i] : NULL;
    }
    if (kwnames != NULL &&
        parse_keywords(signature, args + nargs, kwnames, values) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < signature->required_count; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'",
                         signature->function, signature->names[i]);
            return -1;
        }
    }
    return 0;
}

int
pyb__convert_size(PyObject *value, Py_ssize_t *size)
{
    if (value == NULL) {
        return 0;
    }
    if (value == Py_None) {
        *size = -1;
        return 0;
    }
    if (!PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError,
                     "argument should be integer or None, not '%.200s'",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_ssize_t converted = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (converted == -1 && PyErr_Occurred()) {
        return -1;
    }
    *size = converted;
    return 0;
}

int
pyb__parse_size_slow(const char *function, const char *name, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, Py_ssize_t *size)
{
    PyObject *value = nargs == 1 ? args[0] : NULL;
    if (value == NULL || kwnames != NULL) {
        const pyb__signature signature = {function, &name, 0, 1};
        if (pyb__parse(&signature, args, nargs, kwnames, &value) < 0) {
            return -1;
        }
    }
    return pyb__convert_size(value, size);
}

int
pyb__parse_count(const char *function, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, Py_ssize_t *count)
{
    static const char *const names[] = {"n"};
    const pyb__signature signature = {function, names, 1, 1};
    PyObject *value;
    if (pyb__parse(&signature, args, nargs, kwnames, &value) < 0) {
        return -1;
    }
    Py_ssize_t converted = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (converted == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (converted < 0) {
        PyErr_Format(PyExc_ValueError, "%s() needs a count of zero or more", function);
        return -1;
    }
    *count = converted;
    return 0;
}

int
pyb__convert_bound(PyObject *value, Py_ssize_t *bound)
{
    if (value == NULL || value == Py_None) {
        return 0;
    }
    if (!PyIndex_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "slice indices must be integers or None or "
                                         "have an __index__ method");
        return -1;
    }
    Py_ssize_t converted = PyNumber_AsSsize_t(value, NULL);
    if (converted == -1 && PyErr_Occurred()) {
        return -1;
    }
    *bound = converted;
    return 0;
}

static PyObject *
convert_byte(PyObject *value)
{
    Py_ssize_t byte = PyNumber_AsSsize_t(value, NULL);
    if (byte == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (byte < 0 || byte > 255) {
        PyErr_SetString(PyExc_ValueError, "byte must be in range(0, 256)");
        return NULL;
    }
    char octet = (char)(unsigned char)byte;
    return PyBytes_FromStringAndSize(&octet, 1);
}

/* A copy, unless it is bytes already: another thread may change a bytearray while we
 * search without the GIL. */
PyObject *
pyb__convert_needle(PyObject *value, bool allow_byte)
{
    if (PyBytes_CheckExact(value)) {
        return Py_NewRef(value);
    }
    if (PyObject_CheckBuffer(value)) {
        Py_buffer view;
        if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0) {
            return NULL;
        }
        PyObject *copy = PyBytes_FromStringAndSize(view.buf, view.len);
        PyBuffer_Release(&view);
        return copy;
    }
    if (allow_byte && PyIndex_Check(value)) {
        return convert_byte(value);
    }
    PyErr_Format(PyExc_TypeError,
                 "argument should be %sbytes-like object, not '%.200s'",
                 allow_byte ? "integer or " : "a ", Py_TYPE(value)->tp_name);
    return NULL;
}

/* Rounded up, so that only 0 means 0. */
int
pyb__convert_timeout(PyObject *value, int64_t *timeout_ns)
{
    if (value == Py_None) {
        *timeout_ns = PYB_NO_TIMEOUT;
        return 0;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "timeout must be a number of seconds or None, not '%.200s'",
                         Py_TYPE(value)->tp_name);
        }
        return -1;
    }
    if (isnan(seconds) || seconds < 0) {
        PyErr_SetString(PyExc_ValueError, "timeout must be zero or more, or None");
        return -1;
    }
    if (seconds > (double)(INT64_MAX / 1000000000)) {
        PyErr_SetString(PyExc_OverflowError,
                        "timeout is too large: None stands for no timeout");
        return -1;
    }
    *timeout_ns = (int64_t)ceil(seconds * 1e9);
    return 0;
}

int
pyb__convert_limit(PyObject *value, const char *name, int least, uint64_t *limit)
{
    if (value == Py_None) {
        return 0;
    }
    if (!PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int or None, not %.200s", name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    int overflow;
    int64_t converted = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (converted == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow != 0 || converted < least) {
        PyErr_Format(PyExc_ValueError, "%s must be from %d to 2**63-1, or None", name,
                     least);
        return -1;
    }
    *limit = (uint64_t)converted;
    return 0;
}

PyObject *
pyb__limit_object(uint64_t limit, uint64_t none)
{
    return limit == none ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(limit);
}
