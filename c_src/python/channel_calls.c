/*
 * channel_calls.c: receiving from one way of a channel and sending on the other, with
 * their waits.  Both ends do it: a Channel, and the other one of erlang.testing.
 *
 * A message is taken in the moment in which it is returned: no wait, and no check for a
 * cancel or a signal, comes between the two.
 */
#include "internal.h"

void
pyb__raise_closed(pyb_state *state)
{
    PyErr_SetString(state->channel_closed, "the channel is closed");
}

static channel_want
want_of(pyb__channel_call *call)
{
    if (call->deadline_ns == 0) {
        call->deadline_ns = pyb__deadline(call->timeout_ns);
    }
    pyb__pause pause = pyb__begin_pause();
    return (channel_want){
        .deadline_ns = call->deadline_ns,
        .spin_ns = pause.spin_ns,
        .interruptible = pause.interruptible,
    };
}

static int
refuse_wait(pyb__channel_call *call)
{
    if (pyb_get_host() == NULL && PyErr_CheckSignals() < 0) {
        return -1;
    }
    return call->timeout_ns == 0 ? pyb__check_wait(call->state, STREAM_TIMEDOUT,
                                                   call->lacking, call->timeout_ns)
                                 : 0;
}

/* ---- Receiving ---- */

/* 0: look again; or -1 with an exception. */
static int
await_message(pyb__channel_call *call)
{
    if (refuse_wait(call) < 0) {
        return -1;
    }
    channel_want want = want_of(call);
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    want.token = pyb__park();
    status = channel_wait(call->channel, call->way, &want);
    pyb__unpark();
    Py_END_ALLOW_THREADS
    if (status != STREAM_OK) {
        return pyb__check_wait(call->state, status, call->lacking, call->timeout_ns);
    }
    /* It has been told of a message; a cancel may have come while it took the GIL. */
    if (pyb__check_cancelled(call->state) < 0) {
        channel_pass(call->channel, call->way);
        return -1;
    }
    return 0;
}

/* What failed through no fault of the message leaves it for the next attempt. */
static bool
is_to_be_kept(void)
{
    return PyErr_ExceptionMatches(PyExc_MemoryError) ||
           !PyErr_ExceptionMatches(PyExc_Exception);
}

static PyObject *
unpack(pyb__channel_call *call, channel_item *item)
{
    pyb_message *message = (pyb_message *)(void *)item;
    PyObject *object = message->to_python(call->state, message, call->views);
    if (object == NULL && is_to_be_kept()) {
        channel_unreceive(call->channel, call->way, item);
    } else {
        item->release(item);
    }
    return object;
}

stream_status
pyb__channel_take(pyb__channel_call *call, PyObject **object)
{
    channel_item *item;
    stream_status status = channel_receive(call->channel, call->way, &item);
    if (status == STREAM_OK) {
        *object = unpack(call, item);
    }
    return status;
}

stream_status
pyb__channel_take_next(pyb__channel_call *call, PyObject **object)
{
    stream_status status;
    call->lacking = "no message";
    while ((status = pyb__channel_take(call, object)) == STREAM_AGAIN) {
        if (await_message(call) < 0) {
            return STREAM_TIMEDOUT;
        }
    }
    return status;
}

PyObject *
pyb__channel_receive(const char *function, pyb__channel_call *call,
                     PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    const pyb__signature signature = {function, names, 0, 1};
    PyObject *timeout, *object = NULL;
    call->timeout_ns = PYB_NO_TIMEOUT;
    if (pyb__parse(&signature, args, nargs, kwnames, &timeout) < 0 ||
        (timeout != NULL && pyb__convert_timeout(timeout, &call->timeout_ns) < 0) ||
        pyb__refuse_forked() < 0) {
        return NULL;
    }
    if (pyb__channel_take_next(call, &object) == STREAM_CLOSED) {
        pyb__raise_closed(call->state);
    }
    return object;
}

/* ---- Sending ---- */

static stream_status
await_room(pyb__channel_call *call, channel_item *item)
{
    if (refuse_wait(call) < 0) {
        return STREAM_TIMEDOUT;
    }
    channel_want want = want_of(call);
    stream_status status;
    Py_BEGIN_ALLOW_THREADS
    want.token = pyb__park();
    status = channel_send_wait(call->channel, call->way, item, &want);
    pyb__unpark();
    Py_END_ALLOW_THREADS
    if (status == STREAM_OK || status == STREAM_CLOSED) {
        return status;
    }
    return pyb__check_wait(call->state, status, call->lacking, call->timeout_ns) < 0
               ? STREAM_TIMEDOUT
               : STREAM_BUSY;
}

/* Takes the message. */
static int
send_message(pyb__channel_call *call, pyb_message *message)
{
    channel_item *item = &message->base;
    stream_status status = channel_send(call->channel, call->way, item);
    while (status == STREAM_BUSY) {
        status = await_room(call, item);
    }
    if (status == STREAM_OK) {
        return 0;
    }
    if (status == STREAM_CLOSED) {
        pyb__raise_closed(call->state);
    }
    item->release(item);
    return -1;
}

PyObject *
pyb__channel_put(const char *function, pyb__channel_call *call, PyObject *home,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"term", "timeout"};
    const pyb__signature signature = {function, names, 1, 2};
    PyObject *values[2];
    call->lacking = "no room";
    call->timeout_ns = PYB_NO_TIMEOUT;
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0 ||
        (values[1] != NULL && pyb__convert_timeout(values[1], &call->timeout_ns) < 0) ||
        pyb__refuse_forked() < 0) {
        return NULL;
    }
    pyb_message *message = pyb__message_new(call->state, values[0], home);
    if (message == NULL || send_message(call, message) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- Closing ---- */

PyObject *
pyb__channel_close(channel *c)
{
    if (pyb__refuse_forked() < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    channel_close(c);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
