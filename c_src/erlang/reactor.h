/*
 * reactor.h: the resources behind a reactor and its connections, and their NIFs.
 *
 *   process --term--> handle --> reactor <--home-- connection (resource)
 *                                   `--open ones------^
 *
 * Readiness is watched by the node (enif_select), which tells the reactor's process; it
 * passes that on by reactor_ready().  Watching again is asked for by the Python thread
 * that serves the reactor.  A descriptor is closed by the stop callback, once.
 */
#ifndef ERLPY_NIF_REACTOR_H
#define ERLPY_NIF_REACTOR_H

#include <erl_nif.h>

#include "../stream/reactor.h"

int reactor_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);

/* The reactor of a term (borrowed: valid while the term is), or NULL. */
reactor *reactor_of_term(ErlNifEnv *env, ERL_NIF_TERM term);

/* py_nif:reactor_new(MaxConnections) */
ERL_NIF_TERM reactor_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:reactor_handoff(Reactor, Fd, Info) */
ERL_NIF_TERM reactor_handoff_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:reactor_ready(Connection, ready_input | ready_output) */
ERL_NIF_TERM reactor_ready_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:reactor_close(Reactor) */
ERL_NIF_TERM reactor_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:reactor_info(Reactor) */
ERL_NIF_TERM reactor_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:dup_fd(Fd) */
ERL_NIF_TERM dup_fd_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
