/*
 * errors.c: the exceptions of the package.  Each keeps its values in `args` alone, so
 * that copying and pickling work as for any exception; the attributes are names for
 * them.
 */
#include "internal.h"

PyObject *
pyb__argument_at(PyObject *self, Py_ssize_t index, const char *name)
{
    PyObject *args = PyObject_GetAttrString(self, "args");
    if (args == NULL) {
        return NULL;
    }
    PyObject *value = NULL;
    if (PyTuple_Check(args) && index < PyTuple_GET_SIZE(args)) {
        value = Py_NewRef(PyTuple_GET_ITEM(args, index));
    } else {
        PyErr_SetString(PyExc_AttributeError, name);
    }
    Py_DECREF(args);
    return value;
}

static int
init_pair(PyObject *self, PyObject *args, PyObject *kwargs, const char *signature)
{
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        PyTuple_GET_SIZE(args) != 2) {
        PyErr_Format(PyExc_TypeError, "%s takes exactly two positional arguments",
                     signature);
        return -1;
    }
    return ((PyTypeObject *)PyExc_Exception)->tp_init(self, args, kwargs);
}

static int
incomplete_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init_pair(self, args, kwargs, "IncompleteReadError(partial, expected)");
}

static PyObject *
incomplete_partial(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 0, "partial");
}

static PyObject *
incomplete_expected(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 1, "expected");
}

static PyObject *
incomplete_str(PyObject *self)
{
    PyObject *partial = incomplete_partial(self, NULL);
    PyObject *expected = incomplete_expected(self, NULL);
    PyObject *text = NULL;
    if (partial != NULL && expected != NULL) {
        Py_ssize_t size = PyObject_Size(partial);
        if (size >= 0 && expected == Py_None) {
            text = PyUnicode_FromFormat("%zd bytes read and the separator not found",
                                        size);
        } else if (size >= 0) {
            text = PyUnicode_FromFormat("%zd bytes read of %S expected bytes", size,
                                        expected);
        }
    }
    Py_XDECREF(partial);
    Py_XDECREF(expected);
    return text;
}

PyDoc_STRVAR(incomplete_doc,
             "IncompleteReadError(partial, expected)\n--\n\n"
             "The stream ended before what was asked for had arrived.\n\n"
             "partial: the bytes that were there (they have been consumed).\n"
             "expected: how many bytes were asked for, or None for readuntil().");

static PyGetSetDef incomplete_getset[] = {
    {"partial", incomplete_partial, NULL, "The bytes that were there.", NULL},
    {"expected", incomplete_expected, NULL,
     "How many bytes were asked for; None after readuntil().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot incomplete_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)incomplete_doc},
    {Py_tp_init, incomplete_init},
    {Py_tp_str, incomplete_str},
    {Py_tp_getset, incomplete_getset},
    {0, NULL},
};

static PyType_Spec incomplete_spec = {
    .name = "erlang.IncompleteReadError",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = incomplete_slots,
};

static int
overrun_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init_pair(self, args, kwargs, "LimitOverrunError(message, consumed)");
}

static PyObject *
overrun_consumed(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 1, "consumed");
}

static PyObject *
overrun_str(PyObject *self)
{
    PyObject *message = pyb__argument_at(self, 0, "message");
    PyObject *text = message != NULL ? PyObject_Str(message) : NULL;
    Py_XDECREF(message);
    return text;
}

PyDoc_STRVAR(overrun_doc, "LimitOverrunError(message, consumed)\n--\n\n"
                          "readuntil() met no separator within its limit; nothing was "
                          "consumed.\n\n"
                          "consumed: how many bytes, from the read position on, hold "
                          "no start of the separator\n"
                          "and may be read away before the next attempt.");

static PyGetSetDef overrun_getset[] = {
    {"consumed", overrun_consumed, NULL,
     "Bytes from the read position on that hold no start of the separator.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot overrun_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)overrun_doc},
    {Py_tp_init, overrun_init},
    {Py_tp_str, overrun_str},
    {Py_tp_getset, overrun_getset},
    {0, NULL},
};

static PyType_Spec overrun_spec = {
    .name = "erlang.LimitOverrunError",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = overrun_slots,
};

static int
erlang_error_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || count < 2 || count > 3) {
        PyErr_SetString(PyExc_TypeError, "ErlangError(kind, reason, stacktrace='') "
                                         "takes two or three positional arguments");
        return -1;
    }
    return ((PyTypeObject *)PyExc_Exception)->tp_init(self, args, kwargs);
}

static PyObject *
erlang_error_kind(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 0, "kind");
}

static PyObject *
erlang_error_reason(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 1, "reason");
}

static PyObject *
erlang_error_stacktrace(PyObject *self, void *Py_UNUSED(ignored))
{
    PyObject *text = pyb__argument_at(self, 2, "stacktrace");
    if (text == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        text = PyUnicode_FromString("");
    }
    return text;
}

/* So many characters of a reason are shown: it may hold the message of another error,
 * which holds that of a third, each time with more quotes in it. */
#define REASON_SHOWN 1000

static PyObject *
shown_reason(PyObject *reason)
{
    PyObject *whole =
        PyUnicode_Check(reason) ? Py_NewRef(reason) : PyObject_Repr(reason);
    if (whole == NULL || PyUnicode_GET_LENGTH(whole) <= REASON_SHOWN) {
        return whole;
    }
    PyObject *shown = NULL;
    PyObject *part = PyUnicode_Substring(whole, 0, REASON_SHOWN);
    if (part != NULL) {
        shown = PyUnicode_FromFormat("%U...", part);
    }
    Py_XDECREF(part);
    Py_DECREF(whole);
    return shown;
}

/* "error: badarith", "throw: ('not_found', 7)" */
static PyObject *
erlang_error_str(PyObject *self)
{
    PyObject *text = NULL, *shown = NULL;
    PyObject *kind = erlang_error_kind(self, NULL);
    PyObject *reason = kind != NULL ? erlang_error_reason(self, NULL) : NULL;
    if (reason != NULL) {
        shown = shown_reason(reason);
    }
    if (shown != NULL) {
        text = PyUnicode_FromFormat("%S: %U", kind, shown);
    }
    Py_XDECREF(shown);
    Py_XDECREF(reason);
    Py_XDECREF(kind);
    return text;
}

PyDoc_STRVAR(
    erlang_error_doc,
    "ErlangError(kind, reason, stacktrace='')\n--\n\n"
    "An Erlang function that erlang.call() ran has failed.\n\n"
    "kind: 'error', 'exit' or 'throw'.\n"
    "reason: the reason as a Python value, or its printed text when it has no\n"
    "counterpart in Python.\n"
    "stacktrace: the error as Erlang's shell shows it.");

static PyGetSetDef erlang_error_getset[] = {
    {"kind", erlang_error_kind, NULL, "'error', 'exit' or 'throw'.", NULL},
    {"reason", erlang_error_reason, NULL, "The reason, or its printed text.", NULL},
    {"stacktrace", erlang_error_stacktrace, NULL,
     "The error as Erlang's shell shows it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot erlang_error_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)erlang_error_doc},
    {Py_tp_init, erlang_error_init},
    {Py_tp_str, erlang_error_str},
    {Py_tp_getset, erlang_error_getset},
    {0, NULL},
};

static PyType_Spec erlang_error_spec = {
    .name = "erlang.ErlangError",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = erlang_error_slots,
};

PyObject *
pyb__add_error(PyObject *module, PyType_Spec *spec, PyObject *base)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

PyDoc_STRVAR(not_convertible_doc,
             "A value that has no counterpart on the other side, Erlang or Python.");
PyDoc_STRVAR(
    cancelled_doc,
    "The call that runs this code was cancelled: its caller's time is over or "
    "the caller\nis dead, or it was interrupted, or its context or erlpy ends.\n"
    "Not an Exception, so that 'except Exception' lets it through.");
PyDoc_STRVAR(channel_closed_doc,
             "The channel is closed, and holds no message that could be received.");

/* One that is like its base but for the name. */
static PyObject *
add_plain_error(PyObject *module, const char *name, const char *doc, PyObject *base)
{
    PyObject *type = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

static int
add_plain_errors(PyObject *module, pyb_state *state)
{
    state->cancelled =
        add_plain_error(module, "erlang.Cancelled", cancelled_doc, PyExc_BaseException);
    if (state->cancelled == NULL) {
        return -1;
    }
    state->not_convertible = add_plain_error(module, "erlang.NotConvertibleError",
                                             not_convertible_doc, PyExc_TypeError);
    if (state->not_convertible == NULL) {
        return -1;
    }
    state->channel_closed = add_plain_error(module, "erlang.ChannelClosed",
                                            channel_closed_doc, PyExc_Exception);
    return state->channel_closed != NULL ? 0 : -1;
}

int
pyb__add_errors(PyObject *module, pyb_state *state)
{
    state->incomplete_read = pyb__add_error(module, &incomplete_spec, PyExc_EOFError);
    if (state->incomplete_read == NULL) {
        return -1;
    }
    state->limit_overrun = pyb__add_error(module, &overrun_spec, PyExc_ValueError);
    if (state->limit_overrun == NULL || pyb__add_aborted(module, state) < 0) {
        return -1;
    }
    state->erlang_error = pyb__add_error(module, &erlang_error_spec, PyExc_Exception);
    return state->erlang_error != NULL ? add_plain_errors(module, state) : -1;
}

/* The exception is made before anything is consumed: it may be refused memory. */
static pyb__outcome
raise_incomplete(pyb_state *state, stream *s, uint64_t position, PyObject *partial,
                 Py_ssize_t expected)
{
    PyObject *count = expected < 0 ? Py_NewRef(Py_None) : PyLong_FromSsize_t(expected);
    if (count == NULL) {
        return PYB_ERROR;
    }
    pyb__outcome outcome = PYB_ERROR;
    PyObject *error =
        PyObject_CallFunctionObjArgs(state->incomplete_read, partial, count, NULL);
    if (error != NULL) {
        outcome = pyb__consume(s, position, (uint64_t)PyBytes_GET_SIZE(partial));
    }
    if (outcome == PYB_DONE) {
        PyErr_SetObject(state->incomplete_read, error);
        outcome = PYB_ERROR;
    }
    Py_XDECREF(error);
    Py_DECREF(count);
    return outcome;
}

pyb__outcome
pyb__read_incomplete(pyb__reading *reading, uint64_t position, uint64_t size,
                     Py_ssize_t expected)
{
    stream *s = reading->stream;
    pyb__outcome outcome = pyb__check_truncated(reading);
    if (outcome != PYB_DONE) {
        return outcome;
    }
    if (stream_available(s) != size) {
        return PYB_RETRY;
    }
    PyObject *partial = NULL;
    outcome = pyb__copy_from(s, position, size, false, &partial);
    if (outcome == PYB_DONE) {
        outcome = raise_incomplete(pyb__state_of(reading->self), s, position, partial,
                                   expected);
        Py_DECREF(partial);
    }
    return outcome;
}

void
pyb__raise_overrun(pyb_state *state, uint64_t consumed, Py_ssize_t limit)
{
    PyObject *message =
        PyUnicode_FromFormat("no separator within the limit of %zd bytes", limit);
    PyObject *count = PyLong_FromUnsignedLongLong(consumed);
    if (message != NULL && count != NULL) {
        PyObject *error =
            PyObject_CallFunctionObjArgs(state->limit_overrun, message, count, NULL);
        if (error != NULL) {
            PyErr_SetObject(state->limit_overrun, error);
            Py_DECREF(error);
        }
    }
    Py_XDECREF(message);
    Py_XDECREF(count);
}

void
pyb__raise_timeout(const char *what, int64_t timeout_ns)
{
    PyObject *seconds = PyFloat_FromDouble((double)timeout_ns / 1e9);
    if (seconds != NULL) {
        PyErr_Format(PyExc_TimeoutError, "%s within the timeout of %R seconds", what,
                     seconds);
        Py_DECREF(seconds);
    }
}
