/*
 * context.h: the resource behind a context term, and the NIFs that queue jobs.
 */
#ifndef ERLPY_CONTEXT_H
#define ERLPY_CONTEXT_H

#include <erl_nif.h>

int context_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);

/* py_nif:context_new(worker | owngil) */
ERL_NIF_TERM context_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:context_destroy(Context) */
ERL_NIF_TERM context_destroy_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:context_interrupt(Context) */
ERL_NIF_TERM context_interrupt_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:is_context(Term) */
ERL_NIF_TERM is_context_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:submit(pool | Context, Ref | none, Request, Cancellable, Call | undefined) */
ERL_NIF_TERM submit_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:cancel(Job) */
ERL_NIF_TERM cancel_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
