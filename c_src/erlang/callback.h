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
 *   WAITING -> GONE   the thread, cancelled            the process is killed
 *
 * Each arrow out of WAITING is one compare-and-swap: what comes later is dropped.
 *
 * The thread holds one reference; the term `Call` holds another through a resource
 * whose destructor says that nobody can answer any more, so no thread waits in vain
 * whatever process is killed.
 */
#ifndef ERLPY_CALLBACK_H
#define ERLPY_CALLBACK_H

#include "../python/pyb.h"
#include <erl_nif.h>

int callback_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);

/* erlang.call() of the host table. */
PyObject *callback_call_gil(pyb_state *state, PyObject *name, PyObject *const *args,
                            Py_ssize_t nargs);

/* py_nif:callback_take(Call) */
ERL_NIF_TERM callback_take_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:callback_reply(Call, Answer) */
ERL_NIF_TERM callback_reply_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
