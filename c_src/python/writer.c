/*
 * writer.c: Writer, the writing side of a stream for tests without Erlang.  It treats
 * what is written as the node does: large pieces become segments of their own, small
 * ones fill a slab.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* From this size on a write becomes a segment of its own, as binaries do. */
enum { ADOPT_MIN_BYTES = 2048 };

typedef struct pyb_writer {
    PyObject_HEAD
    stream *stream; /* a reference; set once */
} pyb_writer;

static inline stream *
stream_of(PyObject *self)
{
    return ((pyb_writer *)self)->stream;
}

static int
convert_length(PyObject *value, uint64_t *length)
{
    if (value == Py_None) {
        return 0;
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
    if (overflow != 0 || converted < 0) {
        PyErr_SetString(PyExc_ValueError, "length must be from 0 to 2**63-1, or None");
        return -1;
    }
    *length = (uint64_t)converted;
    return 0;
}

static PyObject *
writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char length_word[] = "length";
    static char *const words[] = {length_word, NULL};
    PyObject *given = Py_None;
    uint64_t length = STREAM_LENGTH_UNKNOWN;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Writer",
                                     (char **)(uintptr_t)words, &given) ||
        convert_length(given, &length) < 0) {
        return NULL;
    }
    stream *s = stream_new(length);
    if (s == NULL) {
        return PyErr_NoMemory();
    }
    pyb_writer *self = PyObject_GC_New(pyb_writer, type);
    if (self == NULL) {
        stream_release(s);
        return NULL;
    }
    self->stream = s;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static void
writer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    stream_release(stream_of(self));
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* A segment may outlive the interpreter and be freed on any thread: its bytes come from
 * malloc, and are not a Python object's. */
static stream_status
write_bytes(stream *s, const void *bytes, size_t size)
{
    if (size < ADOPT_MIN_BYTES) {
        return stream_append(s, bytes, size);
    }
    void *copy = malloc(size);
    if (copy == NULL) {
        return STREAM_NOMEM;
    }
    memcpy(copy, bytes, size);
    stream_status status = stream_adopt(s, copy, size, free, copy);
    if (status != STREAM_OK) {
        free(copy);
    }
    return status;
}

static PyObject *
raise_status(stream *s, stream_status status)
{
    if (status == STREAM_NOMEM) {
        return PyErr_NoMemory();
    }
    if (status == STREAM_TOO_LARGE) {
        PyErr_SetString(PyExc_OverflowError, "a stream holds at most 2**63-1 bytes");
        return NULL;
    }
    if (!stream_reader_closed(s)) {
        PyErr_SetString(PyExc_ValueError, "write after close()");
        return NULL;
    }
    errno = EPIPE;
    return PyErr_SetFromErrno(PyExc_BrokenPipeError);
}

static PyObject *
writer_write(PyObject *self, PyObject *data)
{
    stream *s = stream_of(self);
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = write_bytes(s, view.buf, (size_t)view.len);
    Py_END_ALLOW_THREADS
    Py_ssize_t size = view.len;
    PyBuffer_Release(&view);
    return status == STREAM_OK ? PyLong_FromSsize_t(size) : raise_status(s, status);
}

static PyObject *
writer_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    stream *s = stream_of(self);
    Py_BEGIN_ALLOW_THREADS
    stream_end(s);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *
writer_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static PyObject *
writer_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    return writer_close(self, NULL);
}

static PyObject *
writer_info(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    stream *s = stream_of(self);
    stream_info info;
    stream_get_info(s, &info);
    return Py_BuildValue(
        "{s:s, s:O, s:K, s:K, s:K, s:K, s:I, s:I}", "state",
        info.writer == STREAM_WRITER_ENDED ? "ended" : "open", "reader_closed",
        info.reader == STREAM_READER_CLOSED ? Py_True : Py_False, "written",
        (unsigned long long)info.written_offset, "read",
        (unsigned long long)info.read_offset, "available",
        (unsigned long long)stream_available(s), "retained",
        (unsigned long long)info.retained_bytes, "views", (unsigned int)info.views,
        "waiting_readers", (unsigned int)info.waiters);
}

static PyObject *
writer_buffer(PyObject *self, void *Py_UNUSED(ignored))
{
    return pyb_buffer_new(pyb__state_of(self), stream_of(self), NULL);
}

static PyObject *
writer_closed(PyObject *self, void *Py_UNUSED(ignored))
{
    stream_info info;
    stream_get_info(stream_of(self), &info);
    return PyBool_FromLong(info.writer == STREAM_WRITER_ENDED);
}

PyDoc_STRVAR(writer_doc,
             "Writer(length=None)\n--\n\n"
             "The writing side of a stream, as an Erlang process has it.\n\n"
             "length: how many bytes are going to be written, when that is known: the\n"
             "stream is whole once they are there, without close().");
PyDoc_STRVAR(write_doc,
             "write($self, data, /)\n--\n\n"
             "Write a bytes-like object at once; return its size.\n\n"
             "Raises BrokenPipeError when Python closed the buffer, ValueError after\n"
             "close().");
PyDoc_STRVAR(close_doc, "close($self)\n--\n\n"
                        "End of data.  Readers get what is left, then b''.");
PyDoc_STRVAR(
    info_doc,
    "info($self)\n--\n\n"
    "A dict of counts: state ('open', 'ended'), reader_closed, written, read,\n"
    "available, retained (bytes of memory held), views, waiting_readers.");
PyDoc_STRVAR(enter_doc, "__enter__($self)\n--\n\nThe writer itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, *args)\n--\n\nEnd of data, as close().");

static PyMethodDef writer_methods[] = {
    {"write", writer_write, METH_O, write_doc},
    {"close", writer_close, METH_NOARGS, close_doc},
    {"info", writer_info, METH_NOARGS, info_doc},
    {"__enter__", writer_enter, METH_NOARGS, enter_doc},
    {"__exit__", writer_exit, METH_VARARGS, exit_doc},
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef writer_getset[] = {
    {"buffer", writer_buffer, NULL,
     "A new PyBuffer that reads the stream; all of them are equal.", NULL},
    {"closed", writer_closed, NULL, "True after close().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)writer_doc},
    {Py_tp_new, writer_new},
    {Py_tp_dealloc, writer_dealloc},
    {Py_tp_traverse, pyb__visit_type},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getset},
    {0, NULL},
};

PyType_Spec pyb__writer_spec = {
    .name = "erlang.testing.Writer",
    .basicsize = sizeof(pyb_writer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = writer_slots,
};
