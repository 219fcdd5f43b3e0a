/*
 * callback.h: erlang.call(), a Python thread that waits for an Erlang function.
 *
 *   Python thread             erlpy_callbacks        a process for this call
 *   {erlpy, call, Id, Call} -----> spawns ------->   callback_take: name, arguments
 *   parks without the GIL                            runs the function
 *   wakes, converts <-----------------------------   callback_reply: the answer
 *
 *   state      by                                     then
 *   WAITING -> ANSWERING -> ANSWERED   callback_reply  the thread takes the answer
 *   WAITING -> LOST   the last term that could answer  the thread raises ErlangError
 *   WAITING -> GONE   the thread, cancelled,           the process is killed
 *                     or who cancels the job
 *
 * Each arrow out of WAITING is one compare-and-swap: what comes later is dropped.
 *
 * The thread holds one reference; the term `Call` holds another through a resource
 * whose destructor says that nobody can answer any more, so no thread waits in vain
 * whatever process is killed.
 *
 * erlang.aio.call() is the same without a thread: a wait of an event loop (waker.h) is
 * over with the answer, and GONE when it is withdrawn.
 */
#ifndef ERLPY_CALLBACK_H
#define ERLPY_CALLBACK_H

#include "../python/pyb.h"
#include <erl_nif.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../stream/platform.h"
#include "../stream/waker.h"

struct executor;
struct job;

typedef struct callback {
    atomic_uint refs;
    _Atomic int state;
    uint64_t id;
    platform_event event; /* look again; cleared by the thread alone */
    bool large;           /* the arguments: set once */
    /* erlang.aio.call: a loop's wait for the answer, which has the reference of the
     * thread, instead of the event. */
    bool on_loop;
    stream_pending pending;
    /* {Name, Args}, until it is taken: whoever exchanges it for NULL frees it. */
    _Atomic(ErlNifEnv *) request_env;
    ERL_NIF_TERM request;
    ErlNifEnv *answer_env; /* of whoever is ANSWERING; then the thread's */
    ERL_NIF_TERM answer;

    /* chain.c: set before anybody else sees the call. */
    struct executor *ex;     /* a reference: the thread's, or NULL when it has none */
    struct callback *parent; /* a reference: what that job is chained to, or NULL */
    struct job *job;         /* that the thread runs; for comparing */
    unsigned depth;          /* of that job, 0 when there is none */

    /* chain.c, under the lock of `ex`. */
    bool open;                /* the thread waits, and will look at the jobs again */
    struct job *first, *last; /* to be run nested */
    struct callback *outer;   /* open, of the same thread, below this one */
} callback;

callback *callback_share(callback *call);
void callback_release(callback *call);
/* The call behind a term (borrowed), or NULL. */
callback *callback_of_term(ErlNifEnv *env, ERL_NIF_TERM term);
/* Has its thread look again whether there is something to do. */
void callback_wake(callback *call);
/* Kills the process that works for the call, as nobody will wait for it any more.  The
 * thread is not woken.  False: it has an answer, or will have it now. */
bool callback_abandon(callback *call);

int callback_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);

/* erlang.call() of the host table. */
PyObject *callback_call_gil(pyb_state *state, PyObject *name, PyObject *const *args,
                            Py_ssize_t nargs);

/* erlang.aio.call(), likewise. */
stream_pending *callback_call_on_loop_gil(pyb_state *state, PyObject *name,
                                          PyObject *const *args, Py_ssize_t nargs,
                                          stream_waker *waker, void *user);
PyObject *callback_result_gil(pyb_state *state, stream_pending *pending);

/* py_nif:callback_take(Call) */
ERL_NIF_TERM callback_take_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:callback_reply(Call, Answer) */
ERL_NIF_TERM callback_reply_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
