/*
 * buffer_search.c: find and readuntil.  A short range in one piece is searched where it
 * lies, under the lock; anything else without lock and GIL, where the stream remembers
 * how far it has looked.
 */
#include "internal.h"

#include <string.h>

static const uint8_t *
search_bytes(const uint8_t *bytes, size_t size, PyObject *needle)
{
    const char *sought = PyBytes_AS_STRING(needle);
    size_t sought_size = (size_t)PyBytes_GET_SIZE(needle);
    return sought_size == 1 ? memchr(bytes, sought[0], size)
                            : memmem(bytes, size, sought, sought_size);
}

/* Searches [from, to), which is written.  STREAM_OK, STREAM_AGAIN (not there),
 * STREAM_CHANGED, STREAM_NOMEM. */
static stream_status
search_range(stream *s, PyObject *needle, uint64_t from, uint64_t to, uint64_t *found)
{
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = stream_find(s, PyBytes_AS_STRING(needle), (size_t)PyBytes_GET_SIZE(needle),
                         from, to, found);
    Py_END_ALLOW_THREADS
    return status;
}

/* The bounds of bytes.find(): negative ones count from the end. */
static void
clamp_bounds(Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *end)
{
    if (*end > length) {
        *end = length;
    } else if (*end < 0) {
        *end = *end + length < 0 ? 0 : *end + length;
    }
    if (*start < 0) {
        *start = *start + length < 0 ? 0 : *start + length;
    }
}

/* One attempt; *index is what find() answers.  PYB_RETRY when the bytes went away. */
static pyb__outcome
find_once(stream *s, PyObject *needle, Py_ssize_t start, Py_ssize_t end,
          Py_ssize_t *index)
{
    const uint8_t *data;
    pyb__lock(s);
    uint64_t position = stream_position(s);
    size_t contiguous = stream_peek_locked(s, &data);
    clamp_bounds((Py_ssize_t)stream_available_locked(s), &start, &end);
    *index = -1;
    if (start > end || end - start < PyBytes_GET_SIZE(needle)) {
        stream_reader_unlock(s);
        return PYB_DONE;
    }
    if (PyBytes_GET_SIZE(needle) == 0) {
        stream_reader_unlock(s);
        *index = start;
        return PYB_DONE;
    }
    size_t range = (size_t)(end - start);
    if (range <= STREAM_LOCKED_COPY_BYTES && (size_t)end <= contiguous) {
        const uint8_t *match = search_bytes(data + start, range, needle);
        *index = match != NULL ? match - data : -1;
        stream_reader_unlock(s);
        return PYB_DONE;
    }
    stream_reader_unlock(s);
    uint64_t found = 0;
    stream_status status = search_range(s, needle, position + (uint64_t)start,
                                        position + (uint64_t)end, &found);
    if (status == STREAM_NOMEM) {
        PyErr_NoMemory();
        return PYB_ERROR;
    }
    if (status == STREAM_CHANGED) {
        return PYB_RETRY;
    }
    *index = status == STREAM_OK ? (Py_ssize_t)(found - position) : -1;
    return PYB_DONE;
}

PyObject *
pyb__buffer_find(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const char *const names[] = {"sub", "start", "end"};
    static const pyb__signature signature = {"find", names, 1, 3};
    PyObject *values[3];
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    PyObject *needle = pyb__convert_needle(values[0], true);
    if (needle == NULL) {
        return NULL;
    }
    Py_ssize_t start = 0, end = PY_SSIZE_T_MAX, index = -1;
    pyb__outcome outcome = PYB_ERROR;
    if (pyb__convert_bound(values[1], &start) == 0 &&
        pyb__convert_bound(values[2], &end) == 0) {
        do {
            outcome =
                find_once(((pyb_buffer *)self)->stream, needle, start, end, &index);
        } while (outcome == PYB_RETRY);
    }
    Py_DECREF(needle);
    return outcome == PYB_DONE ? PyLong_FromSsize_t(index) : NULL;
}

typedef struct {
    PyObject *separator;
    Py_ssize_t limit; /* bytes before the separator, or -1 */
} until_args;

/* Where the search from `position` must stop: past the last place at which the
 * separator may end. */
static uint64_t
until_stop(const until_args *until, uint64_t position)
{
    if (until->limit < 0) {
        return UINT64_MAX;
    }
    return position + (uint64_t)until->limit +
           (uint64_t)PyBytes_GET_SIZE(until->separator);
}

/* The separator is not in the bytes up to `searched_offset`: more must come. */
static pyb__outcome
await_separator(pyb__reading *reading, const until_args *until, uint64_t position,
                uint64_t searched_offset)
{
    if (searched_offset >= until_stop(until, position)) {
        pyb__raise_overrun(pyb__state_of(reading->self), (uint64_t)until->limit + 1,
                           until->limit);
        return PYB_ERROR;
    }
    uint64_t need_offset = position + (uint64_t)PyBytes_GET_SIZE(until->separator);
    if (need_offset <= searched_offset) {
        need_offset = searched_offset + 1;
    }
    pyb__outcome outcome = pyb__wait_unless_whole(reading, position, need_offset);
    if (outcome == PYB_DONE) {
        outcome =
            pyb__read_incomplete(reading, position, searched_offset - position, -1);
    }
    return outcome;
}

static pyb__outcome
read_until_once(pyb__reading *reading, const until_args *until, PyObject **bytes)
{
    stream *s = reading->stream;
    size_t separator_size = (size_t)PyBytes_GET_SIZE(until->separator);
    const uint8_t *data;
    if (pyb__check_truncated(reading) == PYB_ERROR) {
        return PYB_ERROR;
    }
    pyb__lock(s);
    uint64_t position = stream_position(s);
    size_t contiguous = stream_peek_locked(s, &data);
    uint64_t to = position + stream_available_locked(s);
    if (to > until_stop(until, position)) {
        to = until_stop(until, position);
    }
    size_t range = (size_t)(to - position);
    if (range <= STREAM_LOCKED_COPY_BYTES && range <= contiguous) {
        const uint8_t *match =
            range < separator_size ? NULL : search_bytes(data, range, until->separator);
        if (match != NULL) {
            size_t size = (size_t)(match - data) + separator_size;
            return pyb__copy_unlock(s, size, true, bytes);
        }
        stream_reader_unlock(s);
        return await_separator(reading, until, position, to);
    }
    stream_reader_unlock(s);
    uint64_t found = 0;
    stream_status status = search_range(s, until->separator, position, to, &found);
    if (status == STREAM_OK) {
        return pyb__copy_from(s, position, found - position + separator_size, true,
                              bytes);
    }
    if (status == STREAM_NOMEM) {
        PyErr_NoMemory();
        return PYB_ERROR;
    }
    return status == STREAM_CHANGED ? PYB_RETRY
                                    : await_separator(reading, until, position, to);
}

static int
convert_until(PyObject *const *values, until_args *until)
{
    until->limit = -1;
    if (pyb__convert_size(values[1], &until->limit) < 0) {
        return -1;
    }
    if (until->limit < 0 && values[1] != NULL && values[1] != Py_None) {
        PyErr_SetString(PyExc_ValueError, "limit must be zero or more, or None");
        return -1;
    }
    until->separator = pyb__convert_needle(values[0], false);
    if (until->separator == NULL) {
        return -1;
    }
    if (PyBytes_GET_SIZE(until->separator) == 0) {
        PyErr_SetString(PyExc_ValueError, "separator must be at least one byte");
        Py_CLEAR(until->separator);
        return -1;
    }
    return 0;
}

PyObject *
pyb__buffer_readuntil(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const char *const names[] = {"sep", "limit"};
    static const pyb__signature signature = {"readuntil", names, 1, 2};
    PyObject *values[2];
    until_args until;
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0 ||
        convert_until(values, &until) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    PyObject *bytes = NULL;
    pyb__outcome outcome;
    do {
        outcome = read_until_once(&reading, &until, &bytes);
    } while (outcome == PYB_RETRY);
    Py_DECREF(until.separator);
    return bytes;
}
