/*
 * buffer_views.c: the reads of PyBuffer that answer with memoryviews.  Making a
 * memoryview may start a garbage collection, and so Python code: the bytes are pinned
 * under the lock, shown without it, and consumed afterwards if they are still the next.
 */
#include "internal.h"

/* A memoryview of all of `exporter`, which holds the `size` bytes at `position`. */
static pyb__outcome
show_and_consume(stream *s, PyObject *exporter, uint64_t position, size_t size,
                 PyObject **result)
{
    PyObject *shown = PyMemoryView_FromObject(exporter);
    if (shown == NULL) {
        return PYB_ERROR;
    }
    pyb__outcome outcome = pyb__consume(s, position, size);
    if (outcome == PYB_DONE) {
        *result = shown;
    } else {
        Py_DECREF(shown);
    }
    return outcome;
}

/* What one look at the stream finds: at most `max` bytes in one piece, pinned. */
typedef struct {
    pyb_view *exporter; /* a reference */
    uint64_t position;
    uint64_t available;
} pinned_look;

static pyb__outcome
look_pinning(PyObject *self, uint64_t max, pinned_look *look)
{
    stream *s = ((pyb_buffer *)self)->stream;
    look->exporter = pyb__view_new(pyb__state_of(self));
    if (look->exporter == NULL) {
        return PYB_ERROR;
    }
    pyb__lock(s);
    look->position = stream_position(s);
    look->available = stream_available_locked(s);
    stream_status status = stream_view_locked(s, max, &look->exporter->view);
    stream_reader_unlock(s);
    if (status != STREAM_OK) {
        Py_CLEAR(look->exporter);
        PyErr_NoMemory();
        return PYB_ERROR;
    }
    return PYB_DONE;
}

static pyb__outcome
view_next(pyb__reading *reading, Py_ssize_t size, PyObject **result)
{
    stream *s = reading->stream;
    pinned_look look;
    pyb__outcome outcome =
        look_pinning(reading->self, size < 0 ? UINT64_MAX : (uint64_t)size, &look);
    if (outcome != PYB_DONE) {
        return outcome;
    }
    size_t pinned = look.exporter->view.size_bytes;
    if (pinned == 0 && size != 0) {
        outcome = pyb__wait_unless_whole(reading, look.position, look.position + 1);
        if (outcome == PYB_DONE) {
            outcome = pyb__check_truncated(reading);
        }
    }
    if (outcome == PYB_DONE) {
        outcome = show_and_consume(s, (PyObject *)look.exporter, look.position, pinned,
                                   result);
    }
    Py_DECREF(look.exporter);
    return outcome;
}

PyObject *
pyb__buffer_readview(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    Py_ssize_t size = -1;
    if (pyb__parse_size("readview", "size", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    PyObject *result = NULL;
    pyb__outcome outcome;
    do {
        outcome = view_next(&reading, size, &result);
    } while (outcome == PYB_RETRY);
    return result;
}

/* Bytes that are there but in several pieces: a copy in one. */
static pyb__outcome
view_copied(stream *s, uint64_t position, Py_ssize_t size, PyObject **result)
{
    PyObject *bytes = NULL;
    pyb__outcome outcome = pyb__copy_from(s, position, (uint64_t)size, false, &bytes);
    if (outcome == PYB_DONE) {
        outcome = show_and_consume(s, bytes, position, (size_t)size, result);
        Py_DECREF(bytes);
    }
    return outcome;
}

static pyb__outcome
view_exactly(pyb__reading *reading, Py_ssize_t size, PyObject **result)
{
    stream *s = reading->stream;
    pinned_look look;
    pyb__outcome outcome = pyb__check_truncated(reading);
    if (outcome == PYB_DONE) {
        outcome = look_pinning(reading->self, (uint64_t)size, &look);
    }
    if (outcome != PYB_DONE) {
        return outcome;
    }
    if (look.exporter->view.size_bytes == (size_t)size) {
        outcome = show_and_consume(s, (PyObject *)look.exporter, look.position,
                                   (size_t)size, result);
    } else if (look.available >= (uint64_t)size) {
        outcome = view_copied(s, look.position, size, result);
    } else {
        outcome = pyb__wait_unless_whole(reading, look.position,
                                         look.position + (uint64_t)size);
        if (outcome == PYB_DONE) {
            outcome =
                pyb__read_incomplete(reading, look.position, look.available, size);
        }
    }
    Py_DECREF(look.exporter);
    return outcome;
}

PyObject *
pyb__buffer_readview_exactly(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    Py_ssize_t size = 0;
    if (pyb__parse_count("readview_exactly", args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    pyb__reading reading = pyb__begin_reading(self);
    PyObject *result = NULL;
    pyb__outcome outcome;
    do {
        outcome = view_exactly(&reading, size, &result);
    } while (outcome == PYB_RETRY);
    return result;
}

/* iter(self.readview, b''): an empty view is the end. */
PyObject *
pyb__buffer_views(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *iterator = NULL;
    PyObject *readview = PyObject_GetAttrString(self, "readview");
    PyObject *sentinel = PyBytes_FromStringAndSize(NULL, 0);
    if (readview != NULL && sentinel != NULL) {
        iterator = PyCallIter_New(readview, sentinel);
    }
    Py_XDECREF(readview);
    Py_XDECREF(sentinel);
    return iterator;
}
