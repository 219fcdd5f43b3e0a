/*
 * buffer.c: PyBuffer as an object: making and freeing it, comparing, and the methods
 * that look at the stream or move in it without reading.
 */
#include "internal.h"

static inline stream *
stream_of(PyObject *self)
{
    return ((pyb_buffer *)self)->stream;
}

PyObject *
pyb_buffer_new(pyb_state *state, stream *s, PyObject *origin)
{
    pyb_buffer *self = PyObject_GC_New(pyb_buffer, state->buffer_type);
    if (self == NULL) {
        return NULL;
    }
    self->stream = stream_share(s);
    stream_add_reader(s);
    self->origin = Py_XNewRef(origin);
    self->weakrefs = NULL;
    atomic_init(&self->timeout_ns, PYB_NO_TIMEOUT);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
pyb__nonblocking(PyObject *module, PyObject *buffer)
{
    pyb_state *state = PyModule_GetState(module);
    if (!Py_IS_TYPE(buffer, state->buffer_type)) {
        PyErr_Format(PyExc_TypeError, "argument 'buf' must be a PyBuffer, not %.200s",
                     Py_TYPE(buffer)->tp_name);
        return NULL;
    }
    PyObject *other =
        pyb_buffer_new(state, stream_of(buffer), ((pyb_buffer *)buffer)->origin);
    if (other != NULL) {
        ((pyb_buffer *)other)->timeout_ns = 0;
    }
    return other;
}

stream *
pyb_buffer_stream(pyb_state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->buffer_type) ? stream_of(object) : NULL;
}

PyObject *
pyb_buffer_origin(PyObject *buffer)
{
    return ((pyb_buffer *)buffer)->origin;
}

int
pyb__buffer_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((pyb_buffer *)self)->origin);
    return pyb__visit_type(self, visit, arg);
}

void
pyb__buffer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (((pyb_buffer *)self)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    Py_XDECREF(((pyb_buffer *)self)->origin);
    if (!pyb__forked()) {
        /* In a child the stream's locks may be taken for good. */
        stream_drop_reader(stream_of(self));
        stream_release(stream_of(self));
    }
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

Py_ssize_t
pyb__buffer_length(PyObject *self)
{
    return (Py_ssize_t)stream_available(stream_of(self));
}

/* A file is true, also while nothing is there: `stream or default` must not lose it. */
int
pyb__buffer_bool(PyObject *Py_UNUSED(self))
{
    return 1;
}

PyObject *
pyb__buffer_repr(PyObject *self)
{
    stream_info info;
    stream_get_info(stream_of(self), &info);
    const char *state = stream_is_truncated(stream_of(self))  ? "aborted"
                        : info.reader == STREAM_READER_CLOSED ? "closed"
                        : info.writer == STREAM_WRITER_ENDED  ? "ended"
                                                              : "open";
    return PyUnicode_FromFormat(
        "<erlang.PyBuffer %s position=%llu available=%llu at %p>", state,
        (unsigned long long)info.read_offset,
        (unsigned long long)stream_available(stream_of(self)), (void *)self);
}

PyObject *
pyb__buffer_compare(PyObject *self, PyObject *other, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) ||
        !Py_IS_TYPE(other, Py_TYPE(self))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = stream_of(self) == stream_of(other);
    return PyBool_FromLong(same == (operation == Py_EQ));
}

Py_hash_t
pyb__buffer_hash(PyObject *self)
{
    return pyb__hash_address(stream_of(self));
}

PyObject *
pyb__buffer_readable_amount(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(stream_available(stream_of(self)));
}

PyObject *
pyb__buffer_at_eof(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    pyb__reading reading = pyb__begin_reading(self);
    if (!stream_is_whole(reading.stream) || stream_available(reading.stream) != 0) {
        Py_RETURN_FALSE;
    }
    return pyb__check_truncated(&reading) == PYB_DONE ? Py_NewRef(Py_True) : NULL;
}

PyObject *
pyb__buffer_settimeout(PyObject *self, PyObject *seconds)
{
    int64_t timeout_ns;
    if (pyb__convert_timeout(seconds, &timeout_ns) < 0) {
        return NULL;
    }
    ((pyb_buffer *)self)->timeout_ns = timeout_ns;
    Py_RETURN_NONE;
}

PyObject *
pyb__buffer_gettimeout(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t timeout_ns = ((pyb_buffer *)self)->timeout_ns;
    if (timeout_ns == PYB_NO_TIMEOUT) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)timeout_ns / 1e9);
}

PyObject *
pyb__buffer_tell(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(stream_position(stream_of(self)));
}

static int
convert_offset(PyObject *value, int64_t *offset, int *overflow)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    *offset = PyLong_AsLongLongAndOverflow(index, overflow);
    Py_DECREF(index);
    return *offset == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
refuse_seek(PyObject *self, const char *reason)
{
    PyErr_Format(pyb__state_of(self)->unsupported, "seek: %s", reason);
    return NULL;
}

PyObject *
pyb__buffer_seek(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const char *const names[] = {"offset", "whence"};
    static const pyb__signature signature = {"seek", names, 1, 2};
    PyObject *values[2];
    int64_t offset = 0, whence = 0;
    int offset_overflow = 0, whence_overflow = 0;
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0 ||
        convert_offset(values[0], &offset, &offset_overflow) < 0 ||
        (values[1] != NULL &&
         convert_offset(values[1], &whence, &whence_overflow) < 0)) {
        return NULL;
    }
    if (whence < 0 || whence > 2 || whence_overflow != 0) {
        return refuse_seek(self, "whence must be 0, 1 or 2");
    }
    stream *s = stream_of(self);
    uint64_t position = 0;
    stream_status status = STREAM_RANGE;
    if (offset_overflow == 0) {
        Py_BEGIN_ALLOW_THREADS
        status = stream_seek(s, offset, (int)whence, &position);
        Py_END_ALLOW_THREADS
    }
    if (status == STREAM_NOT_ENDED) {
        return refuse_seek(self, stream_is_truncated(s)
                                     ? "the stream was aborted: its end is not known"
                                     : "the end is not known before end of data");
    }
    if (status == STREAM_CHANGED || !stream_is_seekable(s)) {
        return refuse_seek(self, "the stream is not seekable");
    }
    if (status != STREAM_OK) {
        return refuse_seek(self, "outside of what has been written");
    }
    return PyLong_FromUnsignedLongLong(position);
}

PyObject *
pyb__buffer_closed(PyObject *self, void *Py_UNUSED(ignored))
{
    return PyBool_FromLong(stream_reader_closed(stream_of(self)));
}

PyObject *
pyb__buffer_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    stream *s = stream_of(self);
    if (!stream_reader_closed(s)) {
        Py_BEGIN_ALLOW_THREADS
        stream_close_reader(s);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static int
refuse_closed(PyObject *self)
{
    if (stream_reader_closed(stream_of(self))) {
        PyErr_SetString(PyExc_ValueError, "I/O operation on closed file.");
        return -1;
    }
    return 0;
}

PyObject *
pyb__buffer_flush(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return refuse_closed(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *
pyb__buffer_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return refuse_closed(self) < 0 ? NULL : Py_NewRef(self);
}

PyObject *
pyb__buffer_exit(PyObject *self, PyObject *Py_UNUSED(args))
{
    return pyb__buffer_close(self, NULL);
}

PyObject *
pyb__buffer_seekable(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(stream_is_seekable(stream_of(self)));
}

PyObject *
pyb__buffer_true(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_TRUE;
}

PyObject *
pyb__buffer_false(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_FALSE;
}

static PyObject *
refuse(PyObject *self, const char *what)
{
    PyErr_SetString(pyb__state_of(self)->unsupported, what);
    return NULL;
}

PyObject *
pyb__buffer_fileno(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return refuse(self, "fileno");
}

PyObject *
pyb__buffer_refuse_write(PyObject *self, PyObject *Py_UNUSED(args))
{
    return refuse(self, "a PyBuffer is not writable from Python");
}

PyObject *
pyb__buffer_refuse_truncate(PyObject *self, PyObject *Py_UNUSED(args))
{
    return refuse(self, "truncate");
}
