/*
 * pyb.h: what the Python room shows to the room that embeds it.
 *
 * `_erlang` is one multi-phase module with its state per interpreter.  It knows the
 * stream and CPython; whatever needs an Erlang node goes through pyb_host, a
 * table of functions that the node fills in before the interpreter starts.  With no
 * host (plain python3) those calls raise RuntimeError and everything else works.
 *
 * Every function here needs the GIL.
 */
#ifndef ERLPY_PYB_H
#define ERLPY_PYB_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "../stream/channel.h"
#include "../stream/stream.h"
#include "../stream/waker.h"

struct reactor;

/* A pid or reference: opaque to Python.  `word` is the host's own immediate form, or
 * 0; `external` is the external term format as bytes, or NULL when word is enough.
 * Two handles are equal when both have a word and it is the same, or when their
 * external forms are. */
typedef struct pyb_handle {
    PyObject_HEAD
    uint64_t word;
    PyObject *external;
} pyb_handle;

/* Per-interpreter state of the module: its types and exceptions. */
typedef struct pyb_state {
    PyTypeObject *buffer_type;  /* erlang.PyBuffer */
    PyTypeObject *view_type;    /* exporter behind memoryviews */
    PyTypeObject *writer_type;  /* erlang.testing.Writer */
    PyTypeObject *pid_type;     /* erlang.Pid, a pyb_handle */
    PyTypeObject *ref_type;     /* erlang.Ref, a pyb_handle */
    PyTypeObject *atom_type;    /* erlang.Atom */
    PyTypeObject *waker_type;   /* the descriptor of one event loop */
    PyTypeObject *wait_type;    /* one wait of an event loop */
    PyTypeObject *channel_type; /* erlang.Channel */
    PyTypeObject *peer_type;    /* erlang.testing.ChannelPeer */
    PyTypeObject *put_type;     /* a message on its way out of a coroutine */
    PyTypeObject *reactor_type; /* the serving thread's side of a reactor */
    PyTypeObject *connection_type;
    PyTypeObject *data_type; /* what was read from a connection */
    PyObject *async_receive; /* coroutines of Channel, or NULL until first used */
    PyObject *async_next;
    PyObject *async_put;
    PyObject *channel_closed;  /* erlang.ChannelClosed(Exception) */
    PyObject *incomplete_read; /* erlang.IncompleteReadError(EOFError) */
    PyObject *limit_overrun;   /* erlang.LimitOverrunError(ValueError) */
    PyObject *not_convertible; /* erlang.NotConvertibleError(TypeError) */
    PyObject *buffer_aborted;  /* erlang.BufferAborted(OSError) */
    PyObject *cancelled;       /* erlang.Cancelled(BaseException) */
    PyObject *erlang_error;    /* erlang.ErlangError(Exception) */
    PyObject *unsupported;     /* io.UnsupportedOperation */
    PyObject *name_done;       /* "done" */
    PyObject *name_set_result; /* "set_result" */
    void *host_data;           /* the host's own, or NULL */
} pyb_state;

/* Why a stream was aborted.  Every reason that is given to stream_abort() is one. */
typedef struct pyb_reason {
    stream_reason base; /* first */
    /* What BufferAborted.reason shall be: a new reference, or NULL with an exception.
     */
    PyObject *(*to_python)(pyb_state *state, const struct pyb_reason *reason);
    /* What the host knows its own by; NULL for those of this room. */
    const void *host;
} pyb_reason;

/* A message in a channel.  Every item of every channel is one. */
typedef struct pyb_message {
    channel_item base; /* first */
    /* A new reference, or NULL with an exception set.  With `views`, large binaries
     * become memoryviews.  The message stays as it is. */
    PyObject *(*to_python)(pyb_state *state, struct pyb_message *message, bool views);
} pyb_message;

/* What the module asks of the node.  Python objects are borrowed; results follow the
 * usual conventions (new reference or NULL with an exception set; 0 or -1). */
typedef struct pyb_host {
    /* erlang.send(to, term): `to` is a Pid, an Atom or a str (registered name). */
    PyObject *(*send)(pyb_state *state, PyObject *to, PyObject *term);
    /* Does this atom exist?  1, 0; with `create` it is made: 1, or -1 when the name
     * is longer than 255 characters. */
    int (*atom)(const char *utf8, size_t size, int create);
    /* The printed form of a handle, as the Erlang shell shows it. */
    PyObject *(*describe)(pyb_handle *handle);
    /* erlang.call(name, *args): the result of an Erlang function that was registered
     * under `name` (a str or an Atom).  Waits without the GIL. */
    PyObject *(*call)(pyb_state *state, PyObject *name, PyObject *const *args,
                      Py_ssize_t nargs);
    /* The same for an event loop: a wait that is over with the answer, and then the
     * result.  Returns owned: stream_pending_cancel(), or _release() once it is told.
     */
    stream_pending *(*call_on_loop)(pyb_state *state, PyObject *name,
                                    PyObject *const *args, Py_ssize_t nargs,
                                    stream_waker *waker, void *user);
    PyObject *(*call_result)(pyb_state *state, stream_pending *pending);
    /* A message of anything that converts, for Channel.put(); NULL with an exception
     * set.  Returns owned: base.release(). */
    pyb_message *(*message)(pyb_state *state, PyObject *object);
    /* Around every wait of a Python thread; called without the GIL.  wait_begin()
     * answers what can cancel the wait, or NULL. */
    stream_token *(*wait_begin)(void);
    void (*wait_end)(void);
    /* With the GIL, when a wait ended with STREAM_CANCELLED: -1 with Cancelled set, or
     * 0 when there is nothing (any more) to tell: wait again, with the token cleared.
     */
    int (*cancelled)(pyb_state *state);
    /* With the GIL: the loop of this waker, on the calling thread, waits for something.
     * A cancel that leaves an exception with the thread then pokes the waker, so that
     * the loop comes out of its system call.  Shares it. */
    void (*loop_waits)(stream_waker *waker);
    /* The job of the calling thread has been cancelled. */
    bool (*is_cancelled)(void);
    /* Log an error that belongs to no call. */
    void (*report)(const char *utf8, size_t size);
    /* In a child of the node after fork(): nothing may wait or reach the node. */
    bool (*forked)(void);
    /* How long a reader looks before it sleeps. */
    uint32_t (*spin_ns)(void);
} pyb_host;

/* Before the interpreter starts; `host` must live as long as the process. */
void pyb_set_host(const pyb_host *host);
const pyb_host *pyb_get_host(void);

/* The init function of the module, for PyImport_AppendInittab("_erlang", ...). */
PyMODINIT_FUNC pyb_module_init(void);

/* Lets go of what was made on demand: the modules that it comes from may be imported
 * anew. */
void pyb_forget(pyb_state *state);

/* A new PyBuffer over the stream (shares it).  `origin` (shares it, may be NULL) is
 * whatever the host wants to remember of where it came from. */
PyObject *pyb_buffer_new(pyb_state *state, stream *s, PyObject *origin);
/* That of a PyBuffer (borrowed), or NULL. */
PyObject *pyb_buffer_origin(PyObject *buffer);
/* The stream of a PyBuffer (borrowed), or NULL (no exception) for another object. */
stream *pyb_buffer_stream(pyb_state *state, PyObject *object);

/* A read-only memoryview of memory that does not change until `release` runs: once, on
 * any thread, when the last view of it is gone.  NULL with an exception: it does not
 * run. */
PyObject *pyb_memory_view(pyb_state *state, const void *data, size_t size,
                          void (*release)(void *arg), void *arg);

/* A new Channel over `c` (shares it), with `origin` as above.  `views`: what it
 * receives may be memoryviews. */
PyObject *pyb_channel_new(pyb_state *state, channel *c, bool views, PyObject *origin);
PyObject *pyb_channel_origin(PyObject *object);
/* The channel of a Channel (borrowed), or NULL (no exception) for another object. */
channel *pyb_channel_of(pyb_state *state, PyObject *object);

/* A new Reactor over `r` (shares it).  The `info` of its connections is a pyb_message.
 */
PyObject *pyb_reactor_new(pyb_state *state, struct reactor *r);

/* A new Pid or Ref; `external` may be NULL when `word` is not 0 (shares it). */
PyObject *pyb_handle_new(PyTypeObject *type, uint64_t word, PyObject *external);
/* The name of an Atom (borrowed str), or NULL (no exception) for another object. */
PyObject *pyb_atom_name(pyb_state *state, PyObject *object);

#endif
