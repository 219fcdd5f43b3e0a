/*
 * aborted.c: what Python sees of a stream that was aborted: BufferAborted, and the
 * reason in it.  A reason belongs to the stream, in a form that needs no interpreter;
 * it becomes a Python object each time it is raised.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Of a reason within a message; `reason` has all of it. */
enum { TEXT_MAX_CHARACTERS = 1000 };

static int
aborted_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        PyTuple_GET_SIZE(args) != 1) {
        PyErr_SetString(PyExc_TypeError,
                        "BufferAborted(reason) takes exactly one positional argument");
        return -1;
    }
    return ((PyTypeObject *)PyExc_OSError)->tp_init(self, args, kwargs);
}

static PyObject *
aborted_reason(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb__argument_at(self, 0, "reason");
}

/* The two reasons that nobody wrote down as such. */
static const char *
explanation(PyObject *text)
{
    if (PyUnicode_CompareWithASCIIString(text, "abandoned") == 0) {
        return " (no Erlang process holds it any more)";
    }
    if (PyUnicode_CompareWithASCIIString(text, "owner_down") == 0) {
        return " (the process that owned it has ended)";
    }
    return "";
}

static PyObject *
describe(PyObject *reason)
{
    PyObject *text =
        PyUnicode_Check(reason) ? Py_NewRef(reason) : PyObject_Repr(reason);
    if (text == NULL) {
        return NULL;
    }
    PyObject *message = NULL;
    if (PyUnicode_GET_LENGTH(text) <= TEXT_MAX_CHARACTERS) {
        message = PyUnicode_FromFormat("the stream was aborted: %U%s", text,
                                       explanation(text));
    } else {
        PyObject *start = PyUnicode_Substring(text, 0, TEXT_MAX_CHARACTERS);
        if (start != NULL) {
            message = PyUnicode_FromFormat("the stream was aborted: %U...", start);
            Py_DECREF(start);
        }
    }
    Py_DECREF(text);
    return message;
}

static PyObject *
aborted_str(PyObject *self)
{
    PyObject *reason = aborted_reason(self, NULL);
    PyObject *message = reason != NULL ? describe(reason) : NULL;
    Py_XDECREF(reason);
    return message;
}

PyDoc_STRVAR(
    aborted_doc,
    "BufferAborted(reason)\n--\n\n"
    "The writing side failed before the stream was whole: what has arrived is\n"
    "not all of it.\n\n"
    "reason: what Erlang gave as the reason; 'owner_down' when the process that\n"
    "owned the buffer ended, 'abandoned' when no process held it any more.");

static PyGetSetDef aborted_getset[] = {
    {"reason", aborted_reason, NULL, "Why the stream was aborted.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot aborted_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)aborted_doc},
    {Py_tp_init, aborted_init},
    {Py_tp_str, aborted_str},
    {Py_tp_getset, aborted_getset},
    {0, NULL},
};

static PyType_Spec aborted_spec = {
    .name = "erlang.BufferAborted",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = aborted_slots,
};

int
pyb__add_aborted(PyObject *module, pyb_state *state)
{
    state->buffer_aborted = pyb__add_error(module, &aborted_spec, PyExc_OSError);
    return state->buffer_aborted != NULL ? 0 : -1;
}

PyObject *
pyb__abort_reason(pyb_state *state, stream *s)
{
    const pyb_reason *reason = (const pyb_reason *)(void *)stream_abort_reason(s);
    return reason->to_python(state, reason);
}

void
pyb__raise_aborted(pyb_state *state, stream *s)
{
    PyObject *reason = pyb__abort_reason(state, s);
    PyObject *error =
        reason != NULL ? PyObject_CallOneArg(state->buffer_aborted, reason) : NULL;
    if (error != NULL) {
        PyErr_SetObject(state->buffer_aborted, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(reason);
}

/* ---- A reason that is text ---- */

/* From malloc: it may be released after its interpreter, on any thread. */
typedef struct text_reason {
    pyb_reason reason; /* first */
    size_t size;
    char utf8[];
} text_reason;

static void
release_text(stream_reason *reason)
{
    free(reason);
}

/* A str may hold surrogates, which UTF-8 proper has no room for. */
static PyObject *
text_to_python(pyb_state *Py_UNUSED(state), const pyb_reason *reason)
{
    const text_reason *text = (const text_reason *)(const void *)reason;
    return PyUnicode_DecodeUTF8(text->utf8, (Py_ssize_t)text->size, "surrogatepass");
}

stream_reason *
pyb__text_reason(PyObject *text)
{
    PyObject *utf8 = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (utf8 == NULL) {
        return NULL;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(utf8);
    text_reason *made = malloc(sizeof *made + size);
    if (made != NULL) {
        made->reason = (pyb_reason){{release_text}, text_to_python, NULL};
        made->size = size;
        memcpy(made->utf8, PyBytes_AS_STRING(utf8), size);
    }
    Py_DECREF(utf8);
    if (made == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    /* cppcheck-suppress memleak ; what is returned is its first member */
    return &made->reason.base;
}
