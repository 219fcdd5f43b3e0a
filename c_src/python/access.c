/*
 * access.c: the way from a Python thread into a stream: lock, wait, copy, consume.
 * The rules are at the top of internal.h.
 */
#include "internal.h"

#include "../stream/platform.h"

/* The holder may be a thread that only the parent has: the lock stays taken then, and
 * what it guards may be half-way. */
static void
lock_in_child(stream *s)
{
    int64_t until_ns = platform_now_ns() + PLATFORM_CHILD_LOCK_NS;
    while (!stream_reader_trylock(s)) {
        if (platform_now_ns() > until_ns) {
            platform_end_child();
        }
        Py_BEGIN_ALLOW_THREADS
        platform_relax();
        Py_END_ALLOW_THREADS
    }
}

void
pyb__lock_contended(stream *s)
{
    if (pyb__forked()) {
        lock_in_child(s);
        return;
    }
    do {
        Py_BEGIN_ALLOW_THREADS
        stream_reader_lock(s);
        stream_reader_unlock(s);
        Py_END_ALLOW_THREADS
    } while (!stream_reader_trylock(s));
}

/* ---- Waiting ---- */

int64_t
pyb__deadline(int64_t timeout_ns)
{
    if (timeout_ns == PYB_NO_TIMEOUT) {
        return STREAM_FOREVER;
    }
    int64_t now = platform_now_ns();
    return timeout_ns < STREAM_FOREVER - now ? now + timeout_ns : STREAM_FOREVER;
}

/* Without a host this is plain python3, whose main thread runs signal handlers: there a
 * signal ends the wait, and nothing spins, since a signal that comes while spinning
 * would be missed.  (In the other threads PyErr_CheckSignals() does nothing.) */
pyb__pause
pyb__begin_pause(void)
{
    const pyb_host *host = pyb_get_host();
    return (pyb__pause){
        .spin_ns = host != NULL && host->spin_ns != NULL ? host->spin_ns() : 0,
        .interruptible = host == NULL,
    };
}

stream_token *
pyb__park(void)
{
    const pyb_host *host = pyb_get_host();
    return host != NULL && host->wait_begin != NULL ? host->wait_begin() : NULL;
}

void
pyb__unpark(void)
{
    const pyb_host *host = pyb_get_host();
    if (host != NULL && host->wait_end != NULL) {
        host->wait_end();
    }
}

int
pyb__check_cancelled(pyb_state *state)
{
    const pyb_host *host = pyb_get_host();
    if (host == NULL) {
        return PyErr_CheckSignals();
    }
    return host->cancelled != NULL ? host->cancelled(state) : 0;
}

int
pyb__check_wait(pyb_state *state, stream_status status, const char *lacking,
                int64_t timeout_ns)
{
    switch (status) {
    case STREAM_TIMEDOUT:
        pyb__raise_timeout(lacking, timeout_ns);
        return -1;
    case STREAM_INTERRUPTED:
    case STREAM_CANCELLED:
        return pyb__check_cancelled(state);
    default:
        return 0;
    }
}

static stream_status
wait_without_gil(stream *s, stream_want *want)
{
    pyb__pause pause = pyb__begin_pause();
    want->spin_ns = pause.spin_ns;
    want->interruptible = pause.interruptible;
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    want->token = pyb__park();
    status = stream_wait(s, want);
    pyb__unpark();
    Py_END_ALLOW_THREADS
    return status;
}

/* The clock is read only here, where the call would wait. */
pyb__outcome
pyb__wait(pyb__reading *reading, uint64_t position, uint64_t need_offset)
{
    if (pyb__refuse_forked() < 0 ||
        (pyb_get_host() == NULL && PyErr_CheckSignals() < 0)) {
        return PYB_ERROR;
    }
    int64_t timeout_ns = ((pyb_buffer *)reading->self)->timeout_ns;
    stream_status status = STREAM_TIMEDOUT;
    if (timeout_ns != 0) {
        if (reading->deadline_ns == 0) {
            reading->deadline_ns = pyb__deadline(timeout_ns);
        }
        stream_want want = {
            .position = position,
            .need_offset = need_offset,
            .deadline_ns = reading->deadline_ns,
        };
        status = wait_without_gil(reading->stream, &want);
    }
    return pyb__check_wait(pyb__state_of(reading->self), status, "no data",
                           timeout_ns) < 0
               ? PYB_ERROR
               : PYB_RETRY;
}

/* Whole is looked at before what is there: bytes that were written just before the end
 * count. */
pyb__outcome
pyb__wait_unless_whole(pyb__reading *reading, uint64_t position, uint64_t need_offset)
{
    stream *s = reading->stream;
    if (!stream_is_whole(s)) {
        return pyb__wait(reading, position, need_offset);
    }
    stream_info info;
    stream_get_info(s, &info);
    return info.written_offset >= need_offset ? PYB_RETRY : PYB_DONE;
}

/* ---- Copying ---- */

static pyb__outcome
copy_large(stream *s, uint64_t position, size_t size, bool consume, PyObject **bytes)
{
    PyObject *copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (copy == NULL) {
        return PYB_ERROR;
    }
    char *to = PyBytes_AS_STRING(copy);
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    platform_advise_huge(to, size);
    status = consume ? stream_read_at(s, position, to, size)
                     : stream_copy_at(s, position, to, size);
    Py_END_ALLOW_THREADS
    if (status != STREAM_OK) {
        Py_DECREF(copy);
        return PYB_RETRY;
    }
    *bytes = copy;
    return PYB_DONE;
}

pyb__outcome
pyb__copy_unlock(stream *s, size_t size, bool consume, PyObject **bytes)
{
    if (size > STREAM_LOCKED_COPY_BYTES) {
        uint64_t position = stream_position(s);
        stream_reader_unlock(s);
        return copy_large(s, position, size, consume, bytes);
    }
    PyObject *copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (copy != NULL) {
        stream_copy_locked(s, PyBytes_AS_STRING(copy), size);
        if (consume) {
            stream_drain_locked(s, size);
        }
    }
    stream_reader_unlock(s);
    *bytes = copy;
    return copy != NULL ? PYB_DONE : PYB_ERROR;
}

pyb__outcome
pyb__copy_from(stream *s, uint64_t position, uint64_t size, bool consume,
               PyObject **bytes)
{
    pyb__lock(s);
    if (stream_position(s) != position) {
        stream_reader_unlock(s);
        return PYB_RETRY;
    }
    return pyb__copy_unlock(s, (size_t)size, consume, bytes);
}

pyb__outcome
pyb__read_into_unlock(stream *s, void *to, size_t size)
{
    if (size <= STREAM_LOCKED_COPY_BYTES) {
        stream_copy_locked(s, to, size);
        stream_drain_locked(s, size);
        stream_reader_unlock(s);
        return PYB_DONE;
    }
    uint64_t position = stream_position(s);
    stream_reader_unlock(s);
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    status = stream_read_at(s, position, to, size);
    Py_END_ALLOW_THREADS
    return status == STREAM_OK ? PYB_DONE : PYB_RETRY;
}

pyb__outcome
pyb__consume(stream *s, uint64_t position, uint64_t size)
{
    pyb__lock(s);
    bool same = stream_position(s) == position;
    if (same) {
        stream_drain_locked(s, size);
    }
    stream_reader_unlock(s);
    return same ? PYB_DONE : PYB_RETRY;
}
