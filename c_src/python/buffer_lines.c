/*
 * buffer_lines.c: readline, readlines and iteration.
 */
#include "internal.h"

/* A line that is not there yet, or whose search takes more than one step under the
 * lock: search on without the GIL, then wait.  PYB_RETRY or PYB_ERROR. */
static pyb__outcome
await_line(pyb__reading *reading, uint64_t limit)
{
    stream *s = reading->stream;
    const uint8_t *data;
    uint64_t size, position, searched_offset;
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    do {
        stream_reader_lock(s);
        /* Before the search: what is written meanwhile has not been searched. */
        position = stream_position(s);
        searched_offset = position + stream_available_locked(s);
        status = stream_line_locked(s, limit, &data, &size);
        stream_reader_unlock(s);
    } while (status == STREAM_CHANGED);
    Py_END_ALLOW_THREADS
    return status == STREAM_AGAIN ? pyb__wait(reading, position, searched_offset + 1)
                                  : PYB_RETRY;
}

/* Apart, so that the common case above it stays small enough to be inlined. */
static PYB_NOINLINE PyObject *
next_line_slow(PyObject *self, uint64_t limit)
{
    pyb__reading reading = pyb__begin_reading(self);
    stream *s = reading.stream;
    PyObject *line = NULL;
    pyb__outcome outcome;
    do {
        const uint8_t *data;
        uint64_t size;
        pyb__lock(s);
        stream_status status = stream_line_locked(s, limit, &data, &size);
        if (status == STREAM_OK) {
            outcome = pyb__copy_unlock(s, (size_t)size, true, &line);
            continue;
        }
        stream_reader_unlock(s);
        outcome = status == STREAM_SHORT ? pyb__check_truncated(&reading)
                                         : await_line(&reading, limit);
    } while (outcome == PYB_RETRY);
    return line;
}

/* NULL without an exception at the end. */
static inline PyObject *
next_line(PyObject *self, uint64_t limit)
{
    stream *s = ((pyb_buffer *)self)->stream;
    const uint8_t *data = NULL;
    uint64_t size = 0;
    pyb__lock(s);
    stream_status status = stream_line_locked(s, limit, &data, &size);
    if (status != STREAM_OK || data == NULL || size > STREAM_LOCKED_COPY_BYTES) {
        stream_reader_unlock(s);
        return next_line_slow(self, limit);
    }
    PyObject *line = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
    if (line != NULL) {
        stream_drain_locked(s, size);
    }
    stream_reader_unlock(s);
    return line;
}

PyObject *
pyb__buffer_next(PyObject *self)
{
    return next_line(self, UINT64_MAX);
}

PyObject *
pyb__buffer_readline(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_size("readline", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    PyObject *line = NULL;
    if (size != 0) {
        uint64_t limit = size < 0 ? UINT64_MAX : (uint64_t)size;
        line = next_line(self, limit);
    }
    if (line == NULL && !PyErr_Occurred()) {
        line = PyBytes_FromStringAndSize(NULL, 0);
    }
    return line;
}

static PyObject *
split_lines(const char *bytes, size_t size)
{
    PyObject *lines = PyList_New(0);
    while (lines != NULL && size != 0) {
        const char *newline = memchr(bytes, '\n', size);
        size_t length = newline != NULL ? (size_t)(newline - bytes) + 1 : size;
        PyObject *line = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)length);
        if (line == NULL || PyList_Append(lines, line) < 0) {
            Py_CLEAR(lines);
        }
        Py_XDECREF(line);
        bytes += length;
        size -= length;
    }
    return lines;
}

/* The end of the line that reaches `hint`, searched without the GIL. */
static stream_status
find_hinted_end(stream *s, uint64_t position, uint64_t hint, uint64_t *size)
{
    uint64_t found;
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = stream_find(s, "\n", 1, position + hint - 1, position + *size, &found);
    Py_END_ALLOW_THREADS
    if (status == STREAM_OK) {
        *size = found + 1 - position;
    }
    return status;
}

/* How many bytes the lines take that readlines(hint) answers with: up to the end of
 * the line that reaches `hint`, or all of them.  Waits until that is known.  Of a
 * stream that was aborted, lines up to a hint are taken first; all of them are refused.
 */
static pyb__outcome
measure_lines(pyb__reading *reading, Py_ssize_t hint, uint64_t *position,
              uint64_t *size)
{
    stream *s = reading->stream;
    pyb__outcome outcome;
    do {
        bool whole = stream_is_whole(s);
        pyb__lock(s);
        *position = stream_position(s);
        *size = stream_available_locked(s);
        stream_reader_unlock(s);
        uint64_t need_offset = UINT64_MAX;
        if (hint > 0 && *size >= (uint64_t)hint) {
            need_offset = *position + *size + 1;
            stream_status status = find_hinted_end(s, *position, (uint64_t)hint, size);
            if (status == STREAM_NOMEM) {
                PyErr_NoMemory();
                return PYB_ERROR;
            }
            whole = whole || status == STREAM_OK;
        } else if (hint > 0) {
            need_offset = *position + (uint64_t)hint;
        }
        outcome = whole ? PYB_DONE : pyb__wait(reading, *position, need_offset);
    } while (outcome == PYB_RETRY);
    if (outcome == PYB_DONE && (hint <= 0 || *size == 0)) {
        outcome = pyb__check_truncated(reading);
    }
    return outcome;
}

/* All in one step, so that an exception on the way loses no line. */
static pyb__outcome
take_lines(stream *s, uint64_t position, uint64_t size, PyObject **lines)
{
    PyObject *bytes = NULL;
    pyb__outcome outcome = pyb__copy_from(s, position, size, false, &bytes);
    if (outcome != PYB_DONE) {
        return outcome;
    }
    PyObject *split = split_lines(PyBytes_AS_STRING(bytes), (size_t)size);
    Py_DECREF(bytes);
    outcome = split != NULL ? pyb__consume(s, position, size) : PYB_ERROR;
    if (outcome == PYB_DONE) {
        *lines = split;
    } else {
        Py_XDECREF(split);
    }
    return outcome;
}

PyObject *
pyb__buffer_readlines(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    Py_ssize_t hint = -1;
    if (pyb__parse_size("readlines", "hint", args, nargs, kwnames, &hint) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    PyObject *lines = NULL;
    uint64_t position, size;
    pyb__outcome outcome;
    do {
        outcome = measure_lines(&reading, hint, &position, &size);
        if (outcome == PYB_DONE) {
            outcome = take_lines(reading.stream, position, size, &lines);
        }
    } while (outcome == PYB_RETRY);
    return lines;
}
