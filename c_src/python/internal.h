/*
 * internal.h: what the files of the Python room share.
 *
 * THE LOCK AND THE GIL.  A thread that holds the GIL never blocks on a lock of the
 * stream, and no lock of the stream is held while the GIL is being acquired: those
 * two together make a deadlock impossible.  pyb__lock() is the only way in: it tries,
 * and gives the GIL up before it blocks.  (Freeing a PyBuffer, which may close the
 * stream, and arming a wait of a loop take locks under the GIL: the second rule alone
 * keeps that free of deadlocks.) Under the reader lock no Python code may run: only
 * bytes objects are allocated there (they are not tracked, so that no collection
 * starts), and every argument has been converted before.
 *
 * THE SHAPE OF A READ.  Look under the lock; when the condition holds, allocate,
 * copy, consume, in this order, so that an exception leaves the position where it
 * was.  A large copy runs without lock and GIL, and consumes only when the position is
 * still the one it copied from; else the read looks again (PYB_RETRY).
 */
#ifndef ERLPY_PYB_INTERNAL_H
#define ERLPY_PYB_INTERNAL_H

#include "pyb.h"

#include <stdbool.h>

#include "../stream/reactor.h"

#define PYB_NOINLINE __attribute__((noinline))

typedef struct pyb_buffer {
    PyObject_HEAD
    stream *stream;   /* a reference; set once, before anyone else sees the object */
    PyObject *origin; /* the host's, or NULL; set once; makes no cycle */
    PyObject *weakrefs;
    _Atomic(int64_t) timeout_ns; /* of each call, or PYB_NO_TIMEOUT */
} pyb_buffer;

#define PYB_NO_TIMEOUT INT64_C(-1)

/* One call of a reading method: what its waits have in common. */
typedef struct pyb__reading {
    PyObject *self;
    stream *stream;
    int64_t deadline_ns; /* of all its waits; 0 until the first one */
} pyb__reading;

static inline pyb__reading
pyb__begin_reading(PyObject *self)
{
    return (pyb__reading){self, ((pyb_buffer *)self)->stream, 0};
}

typedef enum {
    PYB_ERROR = -1, /* an exception is set; nothing was consumed */
    PYB_RETRY = 0,  /* the stream has changed: look again; nothing was consumed */
    PYB_DONE = 1
} pyb__outcome;

/* ---- arguments.c: everything is converted before a lock is taken --------- */

typedef struct pyb__signature {
    const char *function;
    const char *const *names;
    Py_ssize_t required_count;
    Py_ssize_t count;
} pyb__signature;

/* Sorts a vector call into `values` (borrowed; NULL where not given).  0 or -1. */
int pyb__parse(const pyb__signature *signature, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames, PyObject **values);
/* None or an index.  *size is untouched when `value` is NULL; None is -1.  0 or -1. */
int pyb__convert_size(PyObject *value, Py_ssize_t *size);
/* A bound of find(): None leaves *bound; what is too large is clamped.  0 or -1. */
int pyb__convert_bound(PyObject *value, Py_ssize_t *bound);
/* The bytes to look for, as an immutable bytes object of our own.  With `allow_byte`,
 * an integer stands for one byte.  A new reference or NULL. */
PyObject *pyb__convert_needle(PyObject *value, bool allow_byte);
/* A number of bytes from `least` on; None leaves *limit.  0 or -1. */
int pyb__convert_limit(PyObject *value, const char *name, int least, uint64_t *limit);
/* The other way: None for the value that stands for it. */
PyObject *pyb__limit_object(uint64_t limit, uint64_t none);
/* The one optional size of a read method; *size comes with the default. */
int pyb__parse_size_slow(const char *function, const char *name, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames, Py_ssize_t *size);

/* The one required count of an ...exactly method, not negative.  0 or -1. */
int pyb__parse_count(const char *function, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames, Py_ssize_t *count);

static inline int
pyb__parse_size(const char *function, const char *name, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames, Py_ssize_t *size)
{
    if (kwnames == NULL && nargs == 0) {
        return 0;
    }
    if (kwnames == NULL && nargs == 1 && PyLong_CheckExact(args[0])) {
        *size = PyLong_AsSsize_t(args[0]);
        return *size == -1 && PyErr_Occurred() ? -1 : 0;
    }
    return pyb__parse_size_slow(function, name, args, nargs, kwnames, size);
}

/* ---- module.c -------------------------------------------------------------- */

/* In a child of the node after fork(), where nothing may wait or reach the node. */
bool pyb__forked(void);
/* There: -1 with RuntimeError; else 0. */
int pyb__refuse_forked(void);
/* Who can call the Erlang function of this name, or NULL with an exception. */
const pyb_host *pyb__host_for_call(pyb_state *state, PyObject *name);

/* ---- access.c: lock, wait, copy, consume --------------------------------- */

void pyb__lock_contended(stream *s);

/* Takes the reader lock.  Needs the GIL, and may give it up meanwhile. */
static inline void
pyb__lock(stream *s)
{
    if (!stream_reader_trylock(s)) {
        pyb__lock_contended(s);
    }
}

/* Waits until `need_offset` is written, the stream is whole or closed, or the position
 * is not `position` any more.  PYB_RETRY, or PYB_ERROR: the timeout has passed, a
 * signal handler raised, the host cancels. */
pyb__outcome pyb__wait(pyb__reading *reading, uint64_t position, uint64_t need_offset);
/* For a read that found less than it needs at `position`.  PYB_DONE: no more will come
 * (but look at what is there).  Else as pyb__wait(). */
pyb__outcome pyb__wait_unless_whole(pyb__reading *reading, uint64_t position,
                                    uint64_t need_offset);
/* What every wait of a thread needs to know; with the GIL, before it. */
typedef struct pyb__pause {
    uint32_t spin_ns;
    bool interruptible;
} pyb__pause;
pyb__pause pyb__begin_pause(void);
/* Around the wait itself, without the GIL.  Answers what can cancel it, or NULL. */
stream_token *pyb__park(void);
void pyb__unpark(void);
/* What the end of a wait means: 0 (look again), or -1 with an exception.  `lacking` is
 * what there was not in time. */
int pyb__check_wait(pyb_state *state, stream_status status, const char *lacking,
                    int64_t timeout_ns);
/* Whether the call is to end in an exception by now: a signal handler raises, the host
 * cancels.  0 or -1. */
int pyb__check_cancelled(pyb_state *state);
/* A timeout in seconds, or None.  0 or -1 with TypeError, ValueError, OverflowError. */
int pyb__convert_timeout(PyObject *value, int64_t *timeout_ns);
/* When a wait that begins now and may take `timeout_ns` must end. */
int64_t pyb__deadline(int64_t timeout_ns);
/* Called with the reader lock, returns without it: copies the next `size` bytes (no
 * more than available) to a new bytes object, and consumes them when `consume`. */
pyb__outcome pyb__copy_unlock(stream *s, size_t size, bool consume, PyObject **bytes);
/* The same without the lock, for `size` bytes known to be there at `position`. */
pyb__outcome pyb__copy_from(stream *s, uint64_t position, uint64_t size, bool consume,
                            PyObject **bytes);
/* As pyb__copy_unlock() into memory of the caller's, always consuming. */
pyb__outcome pyb__read_into_unlock(stream *s, void *to, size_t size);
/* Consumes `size` bytes that were copied from `position`.  PYB_DONE or PYB_RETRY. */
pyb__outcome pyb__consume(stream *s, uint64_t position, uint64_t size);

/* ---- errors.c ------------------------------------------------------------ */

/* The value of that index in `args` of an exception, under the name of an attribute. */
PyObject *pyb__argument_at(PyObject *self, Py_ssize_t index, const char *name);
/* A new exception type, added to the module: a reference for the state, or NULL. */
PyObject *pyb__add_error(PyObject *module, PyType_Spec *spec, PyObject *base);
/* The exception types of the module: 0 or -1. */
int pyb__add_errors(PyObject *module, pyb_state *state);
/* No more will come, and the `size` bytes at `position` are not what was asked for:
 * consumes them and raises IncompleteReadError with them.  `expected` is -1 when that
 * was a separator.  PYB_ERROR, or PYB_RETRY when that is not all that is there. */
pyb__outcome pyb__read_incomplete(pyb__reading *reading, uint64_t position,
                                  uint64_t size, Py_ssize_t expected);
void pyb__raise_overrun(pyb_state *state, uint64_t consumed, Py_ssize_t limit);
/* TimeoutError, for what took longer than `timeout_ns`. */
void pyb__raise_timeout(const char *what, int64_t timeout_ns);

/* ---- aborted.c ------------------------------------------------------------ */

int pyb__add_aborted(PyObject *module, pyb_state *state);
/* Raises BufferAborted with the reason of the stream, which is aborted. */
void pyb__raise_aborted(pyb_state *state, stream *s);
/* The reason of an aborted stream as Python shows it: a new reference or NULL. */
PyObject *pyb__abort_reason(pyb_state *state, stream *s);
/* A reason that is a str; NULL with an exception when out of memory. */
stream_reason *pyb__text_reason(PyObject *text);

/* Nothing is unread, or the whole was asked for: PYB_DONE, or PYB_ERROR when the stream
 * was aborted before its reader closed. */
static inline pyb__outcome
pyb__check_truncated(pyb__reading *reading)
{
    if (!stream_is_truncated(reading->stream)) {
        return PYB_DONE;
    }
    pyb__raise_aborted(PyType_GetModuleState(Py_TYPE(reading->self)), reading->stream);
    return PYB_ERROR;
}

/* ---- the types ------------------------------------------------------------ */

extern PyType_Spec pyb__buffer_spec; /* buffer_type.c */
extern PyType_Spec pyb__view_spec;   /* view.c */
extern PyType_Spec pyb__writer_spec; /* writer.c */
extern PyType_Spec pyb__pid_spec;    /* handle.c */
extern PyType_Spec pyb__ref_spec;
extern PyType_Spec pyb__atom_spec;  /* atom.c */
extern PyType_Spec pyb__waker_spec; /* waker.c */
extern PyType_Spec pyb__wait_spec;
extern PyType_Spec pyb__channel_spec;    /* channel.c */
extern PyType_Spec pyb__peer_spec;       /* channel_peer.c */
extern PyType_Spec pyb__put_spec;        /* put.c */
extern PyType_Spec pyb__reactor_spec;    /* reactor.c */
extern PyType_Spec pyb__connection_spec; /* connection.c */
extern PyType_Spec pyb__data_spec;       /* data.c */

/* The state behind one of our (final) types' instances. */
static inline pyb_state *
pyb__state_of(PyObject *object)
{
    return PyType_GetModuleState(Py_TYPE(object));
}

/* tp_traverse of an object that refers to nothing but its type; and a __reduce__ that
 * says no. */
int pyb__visit_type(PyObject *self, visitproc visit, void *arg);
PyObject *pyb__refuse_pickle(PyObject *self, PyObject *ignored);

/* What stands for an object that is equal to another over the same thing.  Allocations
 * are aligned to 16 bytes: the low bits would make poor hash buckets. */
static inline Py_hash_t
pyb__hash_address(const void *thing)
{
    uintptr_t address = (uintptr_t)thing;
    Py_hash_t hash = (Py_hash_t)(address >> 4 | address << (8 * sizeof(address) - 4));
    return hash == -1 ? -2 : hash;
}

/* view.c.  A new exporter, still without bytes; fill it, then show it. */
typedef struct pyb_view {
    PyObject_HEAD
    stream_view view;
    void (*release)(void *arg); /* NULL: the view is a pin; else it is the host's */
    void *arg;
} pyb_view;
pyb_view *pyb__view_new(pyb_state *state);
int pyb__buffer_getbuffer(PyObject *self, Py_buffer *view, int flags);

/* ---- channel_calls.c, channel.c, channel_peer.c ------------------------------ */

/* One call of a method of a channel's ends. */
typedef struct pyb__channel_call {
    pyb_state *state;
    channel *channel; /* borrowed, of an object that the caller holds */
    channel_way way;
    bool views;          /* of receiving */
    int64_t timeout_ns;  /* this and the next are set from the arguments */
    int64_t deadline_ns; /* of all its waits; 0 until the first one */
    const char *lacking; /* for a TimeoutError */
} pyb__channel_call;

/* STREAM_OK: *object, or NULL with an exception (no message was lost by that);
 * STREAM_AGAIN, STREAM_CLOSED: there is none. */
stream_status pyb__channel_take(pyb__channel_call *call, PyObject **object);
/* Waits for one, for call->timeout_ns.  The same, without STREAM_AGAIN; any other
 * status comes with an exception. */
stream_status pyb__channel_take_next(pyb__channel_call *call, PyObject **object);
void pyb__raise_closed(pyb_state *state);
/* The methods receive(timeout=None), put(term, timeout=None), close(). */
PyObject *pyb__channel_receive(const char *function, pyb__channel_call *call,
                               PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames);
PyObject *pyb__channel_put(const char *function, pyb__channel_call *call,
                           PyObject *home, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);
PyObject *pyb__channel_close(channel *c);
/* A new Channel over `c` (shares it), of the ChannelPeer `home` (shares it). */
PyObject *pyb__channel_at_home(pyb_state *state, channel *c, bool views,
                               PyObject *home);
/* What can be sent: of the node, or, where there is none, of the ChannelPeer `home`
 * (which may be NULL).  Returns owned (base.release), or NULL with an exception. */
pyb_message *pyb__message_new(pyb_state *state, PyObject *object, PyObject *home);

/* put.c.  A new Put to this Channel, of the term as it is now, or NULL with an
 * exception. */
PyObject *pyb__put_new(pyb_state *state, PyObject *to, PyObject *term, PyObject *home);
/* channel_send_on_loop() of its message.  0, or -1 with an exception. */
int pyb__put_on_loop(PyObject *put, stream_waker *waker, void *user,
                     stream_pending **pending, stream_status *status);

/* ---- reactor.c, connection.c, data.c ------------------------------------------ */

/* The object of a connection, made when it is first asked for; borrowed from it until
 * it is closed.  By the serving thread. */
PyObject *pyb__connection_of(pyb_state *state, connection *c);
/* A socket's address as the module socket has it, or None.  A new reference. */
PyObject *pyb__address_object(const struct sockaddr *address, socklen_t size);
/* What was read; takes the pin of the segment, also on failure. */
PyObject *pyb__data_new(pyb_state *state, const uint8_t *bytes, size_t size,
                        stream_segment *segment);
/* Somebody keeps it, for long perhaps: a small one gives up its pin on the block, which
 * is large, unless there are views. */
void pyb__data_kept(PyObject *data);

/* The methods of PyBuffer, by file; buffer_type.c has the table and their docs. */
#define PYB_METHOD_FAST(name)                                                          \
    PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t nargs,            \
                   PyObject *kwnames)
#define PYB_METHOD_NOARGS(name) PyObject *name(PyObject *self, PyObject *ignored)

/* buffer_read.c */
PYB_METHOD_FAST(pyb__buffer_read);
PYB_METHOD_FAST(pyb__buffer_read1);
PYB_METHOD_FAST(pyb__buffer_read_nonblock);
PYB_METHOD_FAST(pyb__buffer_peek);
PYB_METHOD_FAST(pyb__buffer_readexactly);
PYB_METHOD_NOARGS(pyb__buffer_readall);
PyObject *pyb__buffer_readinto(PyObject *self, PyObject *target);
PyObject *pyb__buffer_readinto1(PyObject *self, PyObject *target);
/* buffer_lines.c */
PYB_METHOD_FAST(pyb__buffer_readline);
PYB_METHOD_FAST(pyb__buffer_readlines);
PyObject *pyb__buffer_next(PyObject *self);
/* buffer_search.c */
PYB_METHOD_FAST(pyb__buffer_find);
PYB_METHOD_FAST(pyb__buffer_readuntil);
/* buffer_views.c */
PYB_METHOD_FAST(pyb__buffer_readview);
PYB_METHOD_FAST(pyb__buffer_readview_exactly);
PYB_METHOD_NOARGS(pyb__buffer_views);
/* buffer.c */
PYB_METHOD_FAST(pyb__buffer_seek);
PYB_METHOD_NOARGS(pyb__buffer_tell);
PYB_METHOD_NOARGS(pyb__buffer_close);
PYB_METHOD_NOARGS(pyb__buffer_flush);
PYB_METHOD_NOARGS(pyb__buffer_readable_amount);
PYB_METHOD_NOARGS(pyb__buffer_at_eof);
PYB_METHOD_NOARGS(pyb__buffer_enter);
PyObject *pyb__buffer_exit(PyObject *self, PyObject *args);
PyObject *pyb__buffer_closed(PyObject *self, void *ignored);
PYB_METHOD_NOARGS(pyb__buffer_seekable);
PyObject *pyb__buffer_settimeout(PyObject *self, PyObject *seconds);
PYB_METHOD_NOARGS(pyb__buffer_gettimeout);
PYB_METHOD_NOARGS(pyb__buffer_true);
PYB_METHOD_NOARGS(pyb__buffer_false);
PYB_METHOD_NOARGS(pyb__buffer_fileno);
PyObject *pyb__buffer_refuse_write(PyObject *self, PyObject *args);
PyObject *pyb__buffer_refuse_truncate(PyObject *self, PyObject *args);
Py_ssize_t pyb__buffer_length(PyObject *self);
int pyb__buffer_bool(PyObject *self);
/* Another PyBuffer over the stream of `buffer`, which raises TimeoutError where it
 * would wait.  A new reference, or NULL with TypeError for anything but a PyBuffer. */
PyObject *pyb__nonblocking(PyObject *module, PyObject *buffer);
PyObject *pyb__buffer_repr(PyObject *self);
PyObject *pyb__buffer_compare(PyObject *self, PyObject *other, int operation);
Py_hash_t pyb__buffer_hash(PyObject *self);
int pyb__buffer_traverse(PyObject *self, visitproc visit, void *arg);
void pyb__buffer_dealloc(PyObject *self);

#endif
