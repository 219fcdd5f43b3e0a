/*
 * object_message.c: messages that are Python objects, for channels without Erlang.
 *
 * They are passed as they are, but only what Erlang could take, and with the sizes that
 * its terms would have (erlang:external_size/1).
 *
 * The list of all messages of a channel is what the cycle collector sees of them; it
 * is the other end's.  Messages are made, taken and released with the GIL: whoever
 * works on a channel without it holds a Channel, so that the last reference is not
 * among what is dropped there.
 */
#include "internal.h"

#include "object_message.h"

/* From this size on, bytes are shown as a memoryview where that is asked for. */
enum { VIEW_MIN_BYTES = 2048 };

typedef struct object_message {
    pyb_message base; /* first */
    PyObject *object;
    PyInterpreterState *interpreter;
    pyb__object_list *list; /* in which it is, or NULL; GIL */
    struct object_message *next, *prev;
} object_message;

/* ---- The list ---- */

static void
link_message(pyb__object_list *list, object_message *message)
{
    platform_lock_take(&list->lock);
    message->list = list;
    message->prev = NULL;
    message->next = list->first;
    if (message->next != NULL) {
        message->next->prev = message;
    }
    list->first = message;
    platform_unlock(&list->lock);
}

static void
unlink_message(object_message *message)
{
    pyb__object_list *list = message->list;
    if (list == NULL) {
        return;
    }
    platform_lock_take(&list->lock);
    if (message->prev != NULL) {
        message->prev->next = message->next;
    } else {
        list->first = message->next;
    }
    if (message->next != NULL) {
        message->next->prev = message->prev;
    }
    message->list = NULL;
    platform_unlock(&list->lock);
}

int
pyb__object_list_traverse(pyb__object_list *list, visitproc visit, void *arg)
{
    int result = 0;
    platform_lock_take(&list->lock);
    for (object_message *message = list->first; message != NULL && result == 0;
         message = message->next) {
        result = visit(message->object, arg);
    }
    platform_unlock(&list->lock);
    return result;
}

void
pyb__object_list_forget(pyb__object_list *list)
{
    while (list->first != NULL) {
        unlink_message(list->first);
    }
}

/* ---- As Erlang would show it ---- */

static PyObject *show(PyObject *object);

static PyObject *
show_bytes(PyObject *object)
{
    return PyBytes_GET_SIZE(object) >= VIEW_MIN_BYTES ? PyMemoryView_FromObject(object)
                                                      : Py_NewRef(object);
}

static PyObject *
show_sequence(PyObject *object)
{
    PyObject *shown = PySequence_List(object);
    for (Py_ssize_t i = 0; shown != NULL && i < PyList_GET_SIZE(shown); i++) {
        PyObject *item = show(PyList_GET_ITEM(shown, i));
        if (item == NULL) {
            Py_CLEAR(shown);
        } else {
            PyList_SetItem(shown, i, item);
        }
    }
    if (shown != NULL && PyTuple_Check(object)) {
        Py_SETREF(shown, PyList_AsTuple(shown));
    }
    return shown;
}

static PyObject *
show_values(PyObject *dict)
{
    PyObject *shown = PyDict_New(), *key, *value;
    Py_ssize_t at = 0;
    while (shown != NULL && PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(key);
        PyObject *item = show(value);
        if (item == NULL || PyDict_SetItem(shown, key, item) < 0) {
            Py_CLEAR(shown);
        }
        Py_XDECREF(item);
        Py_DECREF(key);
    }
    return shown;
}

static PyObject *
show_nested(PyObject *object)
{
    if (PyBytes_CheckExact(object)) {
        return show_bytes(object);
    }
    if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) {
        return show_sequence(object);
    }
    return PyDict_CheckExact(object) ? show_values(object) : Py_NewRef(object);
}

/* With memoryviews for large bytes. */
static PyObject *
show(PyObject *object)
{
    if (Py_EnterRecursiveCall(" while showing a message")) {
        return NULL;
    }
    PyObject *shown = show_nested(object);
    Py_LeaveRecursiveCall();
    return shown;
}

/* ---- Messages ---- */

static bool
is_attached_to(PyInterpreterState *interpreter)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyThreadState *thread = PyThreadState_GetUnchecked();
#else
    PyThreadState *thread = _PyThreadState_UncheckedGet();
#endif
    return thread != NULL && PyThreadState_GetInterpreter(thread) == interpreter;
}

static PyObject *
to_python(pyb_state *Py_UNUSED(state), pyb_message *message, bool views)
{
    object_message *of = (object_message *)message;
    if (!is_attached_to(of->interpreter)) {
        PyErr_SetString(PyExc_RuntimeError, "the message is of another interpreter");
        return NULL;
    }
    return views ? show(of->object) : Py_NewRef(of->object);
}

/* On a thread that must not touch the object it is given up. */
static void
release(channel_item *item)
{
    object_message *message = (object_message *)(void *)item;
    if (is_attached_to(message->interpreter)) {
        PyObject *object = message->object;
        unlink_message(message);
        PyMem_RawFree(message);
        Py_DECREF(object);
    }
}

pyb_message *
pyb__object_message(pyb_state *state, PyObject *object, pyb__object_list *list)
{
    uint64_t size;
    if (pyb__external_size(state, object, &size) < 0) {
        return NULL;
    }
    object_message *message = PyMem_RawMalloc(sizeof *message);
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *message = (object_message){
        .base.base.size_bytes = size,
        .base.base.release = release,
        .base.to_python = to_python,
        .object = Py_NewRef(object),
        .interpreter = PyInterpreterState_Get(),
    };
    link_message(list, message);
    return &message->base;
}
