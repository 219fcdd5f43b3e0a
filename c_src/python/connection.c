/*
 * connection.c: Connection, one descriptor as erlang.reactor has it.
 *
 *   connection --user--> Connection --protocol--> ...
 *       ^--------------------'   until it is closed: then the first arrow is gone
 *
 * All calls but signal() are the serving thread's: Reactor.wait() notes which that is.
 */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <structmember.h>
#include <sys/un.h>

#include "../stream/platform.h"

typedef struct pyb_connection {
    PyObject_HEAD
    connection *connection; /* a reference */
    uintptr_t thread;
    int fd;             /* also when it is closed */
    PyObject *protocol; /* whatever the module keeps there */
} pyb_connection;

PyObject *
pyb__connection_of(pyb_state *state, connection *c)
{
    if (c->user != NULL) {
        return c->user;
    }
    pyb_connection *self = PyObject_GC_New(pyb_connection, state->connection_type);
    if (self == NULL) {
        return NULL;
    }
    c->host->share(c);
    self->connection = c;
    self->thread = platform_thread();
    self->fd = c->fd;
    self->protocol = NULL;
    PyObject_GC_Track(self);
    c->user = self;
    return (PyObject *)self;
}

static connection *
connection_for_call(PyObject *object)
{
    pyb_connection *self = (pyb_connection *)object;
    if (self->thread != platform_thread()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a connection may be used only by the thread of its reactor");
        return NULL;
    }
    return pyb__refuse_forked() < 0 ? NULL : self->connection;
}

static PyObject *
raise_errno(int error)
{
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* ---- Addresses ---- */

static PyObject *
address_in(int family, const void *host, in_port_t port)
{
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(family, host, text, sizeof text) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(si)", text, (int)ntohs(port));
}

static PyObject *
address_in6(const struct sockaddr_in6 *address)
{
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(siII)", text, (int)ntohs(address->sin6_port),
                         (unsigned)ntohl(address->sin6_flowinfo),
                         (unsigned)address->sin6_scope_id);
}

/* An abstract name begins with a null byte and is bytes. */
static PyObject *
address_unix(const struct sockaddr_un *address, socklen_t size)
{
    size_t length = (size_t)size - offsetof(struct sockaddr_un, sun_path);
    if (address->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(address->sun_path, (Py_ssize_t)length);
    }
    return PyUnicode_DecodeFSDefaultAndSize(
        address->sun_path, (Py_ssize_t)strnlen(address->sun_path, length));
}

PyObject *
pyb__address_object(const struct sockaddr *address, socklen_t size)
{
    const void *whole = address;
    if (size > offsetof(struct sockaddr_un, sun_path) &&
        address->sa_family == AF_UNIX) {
        return address_unix(whole, size);
    }
    if (size >= sizeof(struct sockaddr_in) && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = whole;
        return address_in(AF_INET, &in->sin_addr, in->sin_port);
    }
    if (size >= sizeof(struct sockaddr_in6) && address->sa_family == AF_INET6) {
        return address_in6(whole);
    }
    Py_RETURN_NONE;
}

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} any_address;

static bool
read_host(const char *host, int port, unsigned flow, unsigned scope, any_address *a,
          socklen_t *size)
{
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->in.sin_addr) == 1) {
        a->in.sin_family = AF_INET;
        a->in.sin_port = htons((in_port_t)port);
        *size = sizeof a->in;
        return true;
    }
    if (inet_pton(AF_INET6, host, &a->in6.sin6_addr) == 1) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons((in_port_t)port);
        a->in6.sin6_flowinfo = htonl(flow);
        a->in6.sin6_scope_id = scope;
        *size = sizeof a->in6;
        return true;
    }
    PyErr_Format(PyExc_ValueError,
                 "sendto() argument 'addr' must have a numeric address, not '%.200s'",
                 host);
    return false;
}

/* Null bytes are part of an abstract name, which begins with one. */
static const char *
find_fault_of_path(const char *path, size_t length, size_t room)
{
    bool abstract = length > 0 && path[0] == '\0';
    if (!abstract && memchr(path, '\0', length) != NULL) {
        return "sendto() argument 'addr' must be a path without a null byte";
    }
    return length < room + abstract ? NULL
                                    : "sendto() argument 'addr' is too long a path";
}

static bool
read_path(PyObject *path, any_address *a, socklen_t *size)
{
    PyObject *bytes =
        PyBytes_Check(path) ? Py_NewRef(path) : PyUnicode_EncodeFSDefault(path);
    if (bytes == NULL) {
        return false;
    }
    const char *text = PyBytes_AS_STRING(bytes);
    size_t length = (size_t)PyBytes_GET_SIZE(bytes);
    const char *fault = find_fault_of_path(text, length, sizeof a->un.sun_path);
    if (fault == NULL) {
        memset(a, 0, sizeof *a);
        a->un.sun_family = AF_UNIX;
        memcpy(a->un.sun_path, text, length);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
                            (length > 0 && text[0] != '\0'));
    } else {
        PyErr_SetString(PyExc_ValueError, fault);
    }
    Py_DECREF(bytes);
    return fault == NULL;
}

/* As pyb__address_object() shows them.  False: an exception is set. */
static bool
read_address(PyObject *object, any_address *a, socklen_t *size)
{
    const char *host;
    int port;
    unsigned flow = 0, scope = 0;
    if (PyUnicode_Check(object) || PyBytes_Check(object)) {
        return read_path(object, a, size);
    }
    if (!PyTuple_Check(object)) {
        PyErr_Format(PyExc_TypeError,
                     "sendto() argument 'addr' must be a tuple or a path, not %.200s",
                     Py_TYPE(object)->tp_name);
        return false;
    }
    if (!PyArg_ParseTuple(object, "si|II;sendto() argument 'addr' must be (host, port)",
                          &host, &port, &flow, &scope)) {
        return false;
    }
    if (port < 0 || port > 65535) {
        PyErr_SetString(PyExc_OverflowError,
                        "sendto() argument 'addr' must have a port from 0 to 65535");
        return false;
    }
    return read_host(host, port, flow, scope, a, size);
}

/* ---- Calls ---- */

PyDoc_STRVAR(read_doc, "read($self, on, /)\n--\n\nWhether what arrives is wanted.");

static PyObject *
object_read(PyObject *self, PyObject *on)
{
    connection *c = connection_for_call(self);
    int wanted = c != NULL ? PyObject_IsTrue(on) : -1;
    if (wanted < 0) {
        return NULL;
    }
    connection_read(c, wanted != 0);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(send_doc,
             "send($self, buffer, /)\n--\n\n"
             "Send a bytearray, and take out of it what has gone: how much is left.\n"
             "When that is not 0, the event 'room' will come.  Raises OSError.");

static PyObject *
object_send(PyObject *self, PyObject *buffer)
{
    connection *c = connection_for_call(self);
    if (c == NULL) {
        return NULL;
    }
    if (!PyByteArray_Check(buffer)) {
        PyErr_Format(PyExc_TypeError, "write_buffer must be a bytearray, not %.200s",
                     Py_TYPE(buffer)->tp_name);
        return NULL;
    }
    size_t size = (size_t)PyByteArray_GET_SIZE(buffer), sent = 0;
    int error =
        size == 0 ? 0 : connection_send(c, PyByteArray_AS_STRING(buffer), size, &sent);
    int cut = 0;
    if (sent == size && size > 0) {
        cut = PyByteArray_Resize(buffer, 0);
    } else if (sent > 0) {
        cut = PySequence_DelSlice(buffer, 0, (Py_ssize_t)sent);
    }
    if (cut < 0) {
        return NULL;
    }
    return error != 0 ? raise_errno(error) : PyLong_FromSize_t(size - sent);
}

PyDoc_STRVAR(sendto_doc, "sendto($self, data, addr, /)\n--\n\n"
                         "Send a datagram.  False: it has to wait, and the event\n"
                         "'room' will come.  Raises OSError.");

static PyObject *
object_sendto(PyObject *self, PyObject *args)
{
    Py_buffer data;
    PyObject *object;
    any_address address;
    socklen_t size = 0;
    connection *c = connection_for_call(self);
    if (c == NULL || !PyArg_ParseTuple(args, "y*O:sendto", &data, &object)) {
        return NULL;
    }
    if (object != Py_None && !read_address(object, &address, &size)) {
        PyBuffer_Release(&data);
        return NULL;
    }
    int error = connection_send_to(c, data.buf, (size_t)data.len,
                                   size > 0 ? &address.any : NULL, size);
    PyBuffer_Release(&data);
    return error != 0 && error != EAGAIN ? raise_errno(error)
                                         : PyBool_FromLong(error == 0);
}

static PyObject *
object_end(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    int error = c != NULL ? connection_end(c) : 0;
    if (c == NULL || error != 0) {
        return c != NULL ? raise_errno(error) : NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
object_discard(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    if (c == NULL) {
        return NULL;
    }
    connection_discard(c);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(room_doc, "room($self, /)\n--\n\n"
                       "Have the event 'room' come when more may be sent.");

static PyObject *
object_room(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    int error = c != NULL ? connection_watch_room(c) : 0;
    if (c == NULL || error != 0) {
        return c != NULL ? raise_errno(error) : NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
object_dup(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    int fd = c != NULL ? connection_duplicate(c) : 0;
    if (c == NULL || fd < 0) {
        return c != NULL ? raise_errno(-fd) : NULL;
    }
    return PyLong_FromLong(fd);
}

static PyObject *
object_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    if (c == NULL) {
        return NULL;
    }
    connection_close(c);
    if (c->user != NULL) {
        c->user = NULL;
        Py_DECREF(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
object_signal(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (pyb__refuse_forked() < 0) {
        return NULL;
    }
    connection_signal(((pyb_connection *)self)->connection);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(info_doc, "info($self, /)\n--\n\nWhat was told at the handoff.  Once.");

static PyObject *
object_info(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    connection *c = connection_for_call(self);
    pyb_message *message = c != NULL ? c->info : NULL;
    if (message == NULL) {
        return c != NULL ? PyDict_New() : NULL;
    }
    c->info = NULL;
    PyObject *info = message->to_python(pyb__state_of(self), message, false);
    message->base.release(&message->base);
    return info;
}

/* ---- The type ---- */

static int
object_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((pyb_connection *)self)->protocol);
    return pyb__visit_type(self, visit, arg);
}

static int
object_clear(PyObject *self)
{
    Py_CLEAR(((pyb_connection *)self)->protocol);
    return 0;
}

static void
object_dealloc(PyObject *object)
{
    pyb_connection *self = (pyb_connection *)object;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    object_clear(object);
    if (!pyb__forked()) {
        self->connection->host->release(self->connection);
    }
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *
object_fd(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(((pyb_connection *)self)->fd);
}

static PyObject *
object_datagrams(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((pyb_connection *)self)->connection->datagrams);
}

static PyObject *
object_is_socket(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((pyb_connection *)self)->connection->is_socket);
}

static PyGetSetDef object_getset[] = {
    {"fd", object_fd, NULL, "The descriptor.", NULL},
    {"datagrams", object_datagrams, NULL, "Is it a socket of datagrams?", NULL},
    {"is_socket", object_is_socket, NULL, "Is it a socket?", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef object_members[] = {
    {"protocol", T_OBJECT, offsetof(pyb_connection, protocol), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef object_methods[] = {
    {"read", object_read, METH_O, read_doc},
    {"send", object_send, METH_O, send_doc},
    {"sendto", object_sendto, METH_VARARGS, sendto_doc},
    {"room", object_room, METH_NOARGS, room_doc},
    {"end", object_end, METH_NOARGS,
     "end($self, /)\n--\n\nThe other side sees the end of data.  Raises OSError."},
    {"discard", object_discard, METH_NOARGS,
     "discard($self, /)\n--\n\nTake what has come and is not wanted, before a close."},
    {"dup", object_dup, METH_NOARGS,
     "dup($self, /)\n--\n\nAnother descriptor of the same."},
    {"close", object_close, METH_NOARGS, "close($self, /)\n--\n\nClose it."},
    {"signal", object_signal, METH_NOARGS,
     "signal($self, /)\n--\n\nHave the event 'signalled' come.  Any thread."},
    {"info", object_info, METH_NOARGS, info_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot object_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t) "One descriptor of a reactor."},
    {Py_tp_dealloc, object_dealloc},
    {Py_tp_traverse, object_traverse},
    {Py_tp_clear, object_clear},
    {Py_tp_methods, object_methods},
    {Py_tp_members, object_members},
    {Py_tp_getset, object_getset},
    {0, NULL},
};

PyType_Spec pyb__connection_spec = {
    .name = "_erlang.Connection",
    .basicsize = sizeof(pyb_connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = object_slots,
};
