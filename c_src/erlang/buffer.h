/*
 * buffer.h: the resource behind an Erlang buffer term, and its NIFs.
 *
 * A term refers to a handle; the stream behind it is counted apart and lives on in
 * Python when the last term is gone.
 */
#ifndef ERLPY_BUFFER_H
#define ERLPY_BUFFER_H

#include <erl_nif.h>

#include "../stream/stream.h"

int buffer_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);
/* The stream of a buffer term (borrowed: valid while the term is), or NULL. */
stream *buffer_stream_of(ErlNifEnv *env, ERL_NIF_TERM term);
/* A term over the stream (shares it) with a handle of its own.  False: no memory. */
bool buffer_term(ErlNifEnv *env, stream *s, ERL_NIF_TERM *term);

/* py_nif:buffer_new(Length | undefined, auto | always, MaxSize) */
ERL_NIF_TERM buffer_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_write(Buffer, Binary | [Binary]) */
ERL_NIF_TERM buffer_write_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_close(Buffer) */
ERL_NIF_TERM buffer_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_info(Buffer) */
ERL_NIF_TERM buffer_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:is_buffer(Term) */
ERL_NIF_TERM is_buffer_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
