/*
 * buffer_read.c: the reads of PyBuffer that answer with bytes, by size.  read(n),
 * read1, readinto and peek take what is there and wait only for the first byte;
 * read(-1) and readexactly wait until their condition holds.  On a stream that was
 * aborted the former take what is there first, the latter raise at once.
 */
#include "internal.h"

/* What peek() shows when it is not told how much. */
enum { PEEK_DEFAULT_BYTES = 8192 };

static inline size_t
at_most(uint64_t available, Py_ssize_t size)
{
    return size < 0 || available < (uint64_t)size ? (size_t)available : (size_t)size;
}

static PyObject *
empty_bytes(void)
{
    return PyBytes_FromStringAndSize(NULL, 0);
}

/* Gives the reader lock up, with nothing unread, and waits for a byte.  PYB_DONE at the
 * end. */
static pyb__outcome
wait_first_unlock(pyb__reading *reading)
{
    uint64_t position = stream_position(reading->stream);
    stream_reader_unlock(reading->stream);
    pyb__outcome outcome = pyb__wait_unless_whole(reading, position, position + 1);
    return outcome == PYB_DONE ? pyb__check_truncated(reading) : outcome;
}

/* At most `size` bytes (-1: all that is there). */
static PYB_NOINLINE PyObject *
read_some(PyObject *self, Py_ssize_t size, bool consume)
{
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    PyObject *bytes = NULL;
    pyb__outcome outcome;
    do {
        pyb__lock(s);
        size_t count = at_most(stream_available_locked(s), size);
        if (count != 0) {
            outcome = pyb__copy_unlock(s, count, consume, &bytes);
            continue;
        }
        outcome = wait_first_unlock(&reading);
        if (outcome == PYB_DONE) {
            return empty_bytes();
        }
    } while (outcome == PYB_RETRY);
    return bytes;
}

static PyObject *
read_whole(PyObject *self)
{
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    PyObject *bytes = NULL;
    pyb__outcome outcome;
    do {
        outcome = pyb__wait_unless_whole(&reading, stream_position(s), UINT64_MAX);
        if (outcome == PYB_DONE) {
            outcome = pyb__check_truncated(&reading);
        }
        if (outcome == PYB_DONE) {
            pyb__lock(s);
            size_t count = (size_t)stream_available_locked(s);
            outcome = pyb__copy_unlock(s, count, true, &bytes);
        }
    } while (outcome == PYB_RETRY);
    return bytes;
}

/* As read_some(), for 0 < size: short and in one piece is the common case. */
static PyObject *
read_at_most(PyObject *self, Py_ssize_t size)
{
    stream *s = ((pyb_buffer *)self)->stream;
    const uint8_t *data;
    pyb__lock(s);
    if ((size_t)size > STREAM_LOCKED_COPY_BYTES ||
        (size_t)size > stream_peek_locked(s, &data)) {
        stream_reader_unlock(s);
        return read_some(self, size, true);
    }
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)data, size);
    if (bytes != NULL) {
        stream_drain_locked(s, (uint64_t)size);
    }
    stream_reader_unlock(s);
    return bytes;
}

PyObject *
pyb__buffer_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_size("read", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    if (size < 0) {
        return read_whole(self);
    }
    return size == 0 ? empty_bytes() : read_at_most(self, size);
}

PyObject *
pyb__buffer_readall(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return read_whole(self);
}

PyObject *
pyb__buffer_read1(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_size("read1", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    return size == 0 ? empty_bytes() : read_some(self, size, true);
}

PyObject *
pyb__buffer_peek(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    Py_ssize_t size = 0;
    if (pyb__parse_size("peek", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    return read_some(self, size > 0 ? size : PEEK_DEFAULT_BYTES, false);
}

PyObject *
pyb__buffer_read_nonblock(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_size("read_nonblock", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    PyObject *bytes = NULL;
    pyb__outcome outcome;
    do {
        /* Before the look: what was written before an abort comes first. */
        bool truncated = stream_is_truncated(s);
        pyb__lock(s);
        size_t count = at_most(stream_available_locked(s), size);
        outcome = pyb__copy_unlock(s, count, true, &bytes);
        if (outcome == PYB_DONE && count == 0 && size != 0 && truncated) {
            Py_CLEAR(bytes);
            outcome = pyb__check_truncated(&reading);
        }
    } while (outcome == PYB_RETRY);
    return bytes;
}

PyObject *
pyb__buffer_readexactly(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_count("readexactly", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    PyObject *bytes = NULL;
    pyb__outcome outcome;
    do {
        if (pyb__check_truncated(&reading) == PYB_ERROR) {
            return NULL;
        }
        pyb__lock(s);
        uint64_t available = stream_available_locked(s);
        if (available >= (uint64_t)size) {
            outcome = pyb__copy_unlock(s, (size_t)size, true, &bytes);
            continue;
        }
        uint64_t position = stream_position(s);
        stream_reader_unlock(s);
        outcome = pyb__wait_unless_whole(&reading, position, position + (uint64_t)size);
        if (outcome == PYB_DONE) {
            outcome = pyb__read_incomplete(&reading, position, available, size);
        }
    } while (outcome == PYB_RETRY);
    return bytes;
}

static Py_ssize_t
read_into(PyObject *self, const Py_buffer *target)
{
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    if (target->len == 0) {
        return 0;
    }
    for (;;) {
        pyb__lock(s);
        size_t count = at_most(stream_available_locked(s), target->len);
        pyb__outcome outcome;
        if (count != 0) {
            outcome = pyb__read_into_unlock(s, target->buf, count);
            if (outcome == PYB_DONE) {
                return (Py_ssize_t)count;
            }
        } else {
            outcome = wait_first_unlock(&reading);
            if (outcome == PYB_DONE) {
                return 0;
            }
        }
        if (outcome == PYB_ERROR) {
            return -1;
        }
    }
}

static PyObject *
read_into_object(PyObject *self, PyObject *target, const char *function)
{
    Py_buffer view;
    if (PyObject_GetBuffer(target, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() argument must be read-write bytes-like object, not %.200s",
                     function, Py_TYPE(target)->tp_name);
        return NULL;
    }
    Py_ssize_t count = read_into(self, &view);
    PyBuffer_Release(&view);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

PyObject *
pyb__buffer_readinto(PyObject *self, PyObject *target)
{
    return read_into_object(self, target, "readinto");
}

PyObject *
pyb__buffer_readinto1(PyObject *self, PyObject *target)
{
    return read_into_object(self, target, "readinto1");
}
