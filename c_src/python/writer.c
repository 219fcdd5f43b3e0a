/*
 * writer.c: Writer, the writing side of a stream for tests without Erlang.  It treats
 * what is written as the node does: large pieces become segments of their own, small
 * ones fill a slab.
 */
#include "internal.h"

#include "../stream/platform.h"

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

/* ---- Making one ---- */

static int
convert_watermarks(PyObject *high, PyObject *low, stream_options *options)
{
    if (pyb__convert_limit(high, "high_watermark", 1, &options->high_bytes) < 0) {
        return -1;
    }
    if (high != Py_None) {
        options->low_bytes = options->high_bytes / 2;
    }
    if (pyb__convert_limit(low, "low_watermark", 0, &options->low_bytes) < 0) {
        return -1;
    }
    if (low != Py_None &&
        (high == Py_None || options->low_bytes > options->high_bytes)) {
        PyErr_SetString(PyExc_ValueError,
                        "low_watermark must be at most high_watermark");
        return -1;
    }
    return 0;
}

/* By default a writer that can wait is told when nobody will read any more. */
static int
convert_last_reader(PyObject *value, stream_options *options)
{
    if (value == Py_None) {
        options->close_on_last_reader = options->high_bytes != STREAM_OFFSET_MAX;
        return 0;
    }
    if (PyUnicode_Check(value)) {
        options->close_on_last_reader =
            PyUnicode_CompareWithASCIIString(value, "close") == 0;
        if (options->close_on_last_reader ||
            PyUnicode_CompareWithASCIIString(value, "keep") == 0) {
            return 0;
        }
    }
    PyErr_SetString(PyExc_ValueError, "last_reader must be 'keep', 'close' or None");
    return -1;
}

static int
convert_options(PyObject *args, PyObject *kwargs, stream_options *options)
{
    static char words[][16] = {"length",   "high_watermark", "low_watermark",
                               "max_size", "seekable",       "last_reader"};
    char *const names[] = {words[0], words[1], words[2], words[3],
                           words[4], words[5], NULL};
    PyObject *length = Py_None, *high = Py_None, *low = Py_None, *max = Py_None;
    PyObject *last_reader = Py_None;
    int seekable = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOOpO:Writer",
                                     (char **)(uintptr_t)names, &length, &high, &low,
                                     &max, &seekable, &last_reader) ||
        pyb__convert_limit(length, "length", 0, &options->known_length) < 0 ||
        convert_watermarks(high, low, options) < 0 ||
        pyb__convert_limit(max, "max_size", 0, &options->max_bytes) < 0 ||
        convert_last_reader(last_reader, options) < 0) {
        return -1;
    }
    options->seekable = seekable != 0;
    return 0;
}

static PyObject *
writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    stream_options options = STREAM_OPTIONS_DEFAULT;
    if (convert_options(args, kwargs, &options) < 0) {
        return NULL;
    }
    stream *s = stream_new_with(&options);
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

/* ---- Writing ---- */

/* A segment may outlive the interpreter and be freed on any thread: its bytes come from
 * malloc, and are not a Python object's. */
static stream_status
fill_batch(stream_batch *batch, const void *bytes, size_t size)
{
    if (size < ADOPT_MIN_BYTES) {
        return stream_batch_append(batch, bytes, size);
    }
    void *copy = malloc(size);
    if (copy == NULL) {
        return STREAM_NOMEM;
    }
    memcpy(copy, bytes, size);
    stream_status status = stream_batch_adopt(batch, copy, size, free, copy);
    if (status != STREAM_OK) {
        free(copy);
    }
    return status;
}

/* A write that waits for room. */
typedef struct {
    stream_parked parked; /* first */
    stream *stream;
    stream_status status;   /* set before the events are */
    platform_event woken;   /* by a decision, or by a token */
    platform_event decided; /* set last: nothing here is touched after it */
    int64_t deadline_ns;
} waiting_write;

static void
decide_write(stream_parked *parked, stream_status status)
{
    waiting_write *write = (waiting_write *)(void *)parked;
    write->status = status;
    platform_event_set(&write->woken);
    platform_event_set(&write->decided);
}

/* By a token, whose lock keeps the write in place. */
static void
cancel_write(void *arg)
{
    platform_event_set(&((waiting_write *)arg)->woken);
}

/* `status` when it was still waiting, or how it was decided meanwhile.  Without the
 * GIL, as the next. */
static stream_status
give_up(waiting_write *write, stream_status status)
{
    if (stream_unpark(write->stream, &write->parked)) {
        return status;
    }
    platform_event_wait(&write->decided, STREAM_FOREVER, 0, false);
    return write->status;
}

/* STREAM_INTERRUPTED: a signal has arrived; it still waits. */
static stream_status
sleep_parked(waiting_write *write)
{
    stream_token *token = pyb__park();
    platform_wait_result result = PLATFORM_SET;
    if (token == NULL || stream_token_enter(token, cancel_write, write)) {
        result = platform_event_wait(&write->woken, write->deadline_ns, 0,
                                     pyb_get_host() == NULL);
        if (token != NULL) {
            stream_token_leave(token);
        }
    }
    stream_status status = STREAM_INTERRUPTED;
    if (result != PLATFORM_INTERRUPTED) {
        status = give_up(write, result == PLATFORM_TIMEDOUT ? STREAM_TIMEDOUT
                                                            : STREAM_CANCELLED);
    }
    pyb__unpark();
    return status;
}

/* Until it is decided: STREAM_INTERRUPTED and STREAM_CANCELLED come with an exception,
 * all but STREAM_OK with the batch in write->parked.  STREAM_AGAIN: a cancel that is
 * none any more has taken it from the queue. */
static stream_status
await_decision(PyObject *self, waiting_write *write)
{
    stream_status status;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = sleep_parked(write);
        Py_END_ALLOW_THREADS
    } while (status == STREAM_INTERRUPTED && PyErr_CheckSignals() == 0);
    if (status == STREAM_INTERRUPTED) {
        /* It may have been let in while the handler ran: the exception comes anyway. */
        Py_BEGIN_ALLOW_THREADS
        give_up(write, STREAM_INTERRUPTED);
        Py_END_ALLOW_THREADS
    }
    if (status == STREAM_CANCELLED && pyb__check_cancelled(pyb__state_of(self)) == 0) {
        return STREAM_AGAIN;
    }
    return status;
}

/* STREAM_BUSY: the time is over. */
static stream_status
commit_waiting(PyObject *self, stream_batch *batch, int64_t timeout_ns)
{
    stream *s = stream_of(self);
    waiting_write write = {.parked.notify = decide_write,
                           .stream = s,
                           .deadline_ns = pyb__deadline(timeout_ns)};
    stream_status status;
    do {
        platform_event_init(&write.woken);
        platform_event_init(&write.decided);
        Py_BEGIN_ALLOW_THREADS
        status = stream_park(s, batch, &write.parked);
        Py_END_ALLOW_THREADS
        if (status == STREAM_AGAIN) {
            status = await_decision(self, &write);
            *batch = write.parked.batch;
        }
        platform_event_destroy(&write.decided);
        platform_event_destroy(&write.woken);
    } while (status == STREAM_AGAIN);
    return status == STREAM_TIMEDOUT ? STREAM_BUSY : status;
}

static stream_status
write_bytes(PyObject *self, const Py_buffer *data, int64_t timeout_ns)
{
    stream *s = stream_of(self);
    stream_batch batch = STREAM_BATCH_INIT;
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fill_batch(&batch, data->buf, (size_t)data->len);
    if (status == STREAM_OK) {
        status = stream_commit(s, &batch);
    }
    Py_END_ALLOW_THREADS
    if (status == STREAM_BUSY && timeout_ns != 0) {
        status = pyb__refuse_forked() == 0 ? commit_waiting(self, &batch, timeout_ns)
                                           : STREAM_INTERRUPTED;
    }
    stream_batch_clear(&batch);
    return status;
}

/* What a failed write raises. */
static PyObject *
raise_status(PyObject *self, stream_status status, int64_t timeout_ns)
{
    stream *s = stream_of(self);
    switch (status) {
    case STREAM_INTERRUPTED:
    case STREAM_CANCELLED:
        return NULL; /* an exception is set */
    case STREAM_NOMEM:
        return PyErr_NoMemory();
    case STREAM_BUSY:
        pyb__raise_timeout("no room", timeout_ns);
        return NULL;
    case STREAM_ABORTED:
        pyb__raise_aborted(pyb__state_of(self), s);
        return NULL;
    case STREAM_TOO_LARGE:
        errno = EFBIG;
        return PyErr_SetFromErrno(PyExc_OSError);
    default:
        break;
    }
    if (!stream_reader_closed(s)) {
        PyErr_SetString(PyExc_ValueError, "write after close()");
        return NULL;
    }
    errno = EPIPE;
    return PyErr_SetFromErrno(PyExc_BrokenPipeError);
}

static PyObject *
writer_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"data", "timeout"};
    static const pyb__signature signature = {"write", names, 1, 2};
    PyObject *values[2];
    int64_t timeout_ns = PYB_NO_TIMEOUT;
    Py_buffer view;
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0 ||
        (values[1] != NULL && pyb__convert_timeout(values[1], &timeout_ns) < 0) ||
        PyObject_GetBuffer(values[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    stream_status status = write_bytes(self, &view, timeout_ns);
    Py_ssize_t size = view.len;
    PyBuffer_Release(&view);
    return status == STREAM_OK ? PyLong_FromSsize_t(size)
                               : raise_status(self, status, timeout_ns);
}

/* ---- The end ---- */

static PyObject *
abort_with(PyObject *self, PyObject *text)
{
    stream_reason *reason = pyb__text_reason(text);
    if (reason == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    stream_abort(stream_of(self), reason);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *
writer_abort(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"reason"};
    static const pyb__signature signature = {"abort", names, 1, 1};
    PyObject *reason;
    if (pyb__parse(&signature, args, nargs, kwnames, &reason) < 0) {
        return NULL;
    }
    if (!PyUnicode_Check(reason)) {
        PyErr_Format(PyExc_TypeError, "reason must be str, not '%.200s'",
                     Py_TYPE(reason)->tp_name);
        return NULL;
    }
    return abort_with(self, reason);
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

/* A block that fails has not written all. */
static PyObject *
writer_exit(PyObject *self, PyObject *args)
{
    PyObject *error = PyTuple_GET_SIZE(args) > 1 ? PyTuple_GET_ITEM(args, 1) : Py_None;
    if (error == Py_None) {
        return writer_close(self, NULL);
    }
    PyObject *text = PyObject_Repr(error);
    PyObject *done = text != NULL ? abort_with(self, text) : NULL;
    Py_XDECREF(text);
    return done;
}

/* ---- Looking ---- */

static PyObject *
state_object(PyObject *self, const stream_info *info)
{
    if (info->writer != STREAM_WRITER_ABORTED) {
        return PyUnicode_FromString(info->writer == STREAM_WRITER_ENDED ? "ended"
                                                                        : "open");
    }
    PyObject *reason = pyb__abort_reason(pyb__state_of(self), stream_of(self));
    return reason != NULL ? Py_BuildValue("(sN)", "aborted", reason) : NULL;
}

static PyObject *
writer_info(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    stream *s = stream_of(self);
    stream_info info;
    stream_get_info(s, &info);
    PyObject *state = state_object(self, &info);
    if (state == NULL) {
        return NULL;
    }
    return Py_BuildValue(
        "{s:N, s:O, s:K, s:K, s:K, s:K, s:I, s:I, s:I, s:N, s:N}", "state", state,
        "reader_closed", info.reader == STREAM_READER_CLOSED ? Py_True : Py_False,
        "written", (unsigned long long)info.written_offset, "read",
        (unsigned long long)info.read_offset, "available",
        (unsigned long long)stream_available(s), "retained",
        (unsigned long long)info.retained_bytes, "views", (unsigned int)info.views,
        "waiting_readers", (unsigned int)info.waiters, "waiting_writers",
        (unsigned int)info.parked, "high_watermark",
        pyb__limit_object(info.high_bytes, STREAM_OFFSET_MAX), "low_watermark",
        pyb__limit_object(info.low_bytes, STREAM_OFFSET_MAX));
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
    return PyBool_FromLong(info.writer != STREAM_WRITER_OPEN);
}

PyDoc_STRVAR(
    writer_doc,
    "Writer(length=None, *, high_watermark=None, low_watermark=None, max_size=None,\n"
    "       seekable=True, last_reader=None)\n--\n\n"
    "The writing side of a stream, as an Erlang process has it.\n\n"
    "length: how many bytes are going to be written, when that is known: the\n"
    "stream is whole once they are there, without close().\n"
    "high_watermark: write() waits while so many bytes or more are unread, until\n"
    "no more than low_watermark (by default half of it) are; None: never.\n"
    "max_size: bytes that may be written in all; None: no limit.\n"
    "seekable: with False what has been read is freed, and seek() is refused.\n"
    "last_reader: 'close': when the last PyBuffer is gone, it is as if Python had\n"
    "closed it; 'keep': nothing happens.  By default 'close' with a high_watermark,\n"
    "else 'keep'.");
PyDoc_STRVAR(
    write_doc,
    "write($self, data, timeout=None)\n--\n\n"
    "Write a bytes-like object, all of it in one step; return its size.\n\n"
    "At or over the high watermark it waits, at most timeout seconds (None: for as\n"
    "long as it takes), and raises TimeoutError with nothing written.\n"
    "Raises BrokenPipeError when Python closed the buffer, ValueError after\n"
    "close(), BufferAborted after abort(), OSError (EFBIG) past max_size.");
PyDoc_STRVAR(close_doc, "close($self)\n--\n\n"
                        "End of data.  Readers get what is left, then b''.");
PyDoc_STRVAR(abort_doc, "abort($self, reason)\n--\n\n"
                        "The writing failed, for a reason that is a str: reads raise\n"
                        "BufferAborted.  Changes nothing when all has been written.");
PyDoc_STRVAR(
    info_doc,
    "info($self)\n--\n\n"
    "A dict: state ('open', 'ended' or ('aborted', reason)), reader_closed, written,\n"
    "read, available, retained (bytes of memory held), views, waiting_readers,\n"
    "waiting_writers, high_watermark and low_watermark (None: no limit).");
PyDoc_STRVAR(enter_doc, "__enter__($self)\n--\n\nThe writer itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, *args)\n--\n\n"
                       "End of data, as close(); abort() when the block raised.");

#define FAST(name) (PyCFunction)(void (*)(void))(name), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef writer_methods[] = {
    {"write", FAST(writer_write), write_doc},
    {"abort", FAST(writer_abort), abort_doc},
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
    {"closed", writer_closed, NULL, "True after close() or abort().", NULL},
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
