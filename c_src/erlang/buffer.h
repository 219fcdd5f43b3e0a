/*
 * buffer.h: the resource behind an Erlang buffer term, and its NIFs.
 *
 *   term --> handle --.
 *   term --> handle ---+--> stream <-- PyBuffer, ...
 *   parked write ------'      `--> core (core.h), once there is something to keep
 *
 * A term refers to a handle; the stream behind it is counted apart and lives on in
 * Python when the last term is gone.  The handles are the stream's writers: with the
 * last one, a stream that is not whole is aborted.
 *
 *   buffer.c  handles: making, ending, looking
 *   write.c   writes, and those that wait for room
 *   owner.c   whose death aborts the stream, and who is told of its end
 */
#ifndef ERLPY_BUFFER_H
#define ERLPY_BUFFER_H

#include <erl_nif.h>

#include "../stream/stream.h"

typedef struct buffer_handle {
    stream *s;
    bool copies; /* option {copy, always}: nothing is adopted */
} buffer_handle;

int buffer_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);
int write_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);

/* The handle, or its stream, of a buffer term (borrowed: valid while the term is), or
 * NULL. */
buffer_handle *buffer_handle_of(ErlNifEnv *env, ERL_NIF_TERM term);
stream *buffer_stream_of(ErlNifEnv *env, ERL_NIF_TERM term);
/* A term over the stream (shares it) with a handle of its own.  False: no memory. */
bool buffer_term(ErlNifEnv *env, stream *s, ERL_NIF_TERM *term);

/* Remembers that what is written to the stream is to be copied.  False: no memory. */
bool owner_set_copies(stream *s);
bool owner_copies(stream *s);

/* py_nif:buffer_new({Length | undefined, MaxSize, High | infinity, Low, Seekable,
 *                    CloseOnLastReader, Copies})  */
ERL_NIF_TERM buffer_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_close(Buffer) */
ERL_NIF_TERM buffer_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_abort(Buffer, Atom | ExternalFormat, PrintedText) */
ERL_NIF_TERM buffer_abort_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_reason(Buffer) -> Atom | ExternalFormat */
ERL_NIF_TERM buffer_reason_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_info(Buffer) */
ERL_NIF_TERM buffer_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:is_buffer(Term) */
ERL_NIF_TERM is_buffer_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* py_nif:buffer_write(Buffer, Data): Data is a binary, or a list of binaries and
 * {Binary, SizeOfTheBinaryItIsPartOf} */
ERL_NIF_TERM buffer_write_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_park(Buffer, Data, Ref) */
ERL_NIF_TERM buffer_park_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_unpark(Wait) */
ERL_NIF_TERM buffer_unpark_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* py_nif:buffer_set_owner(Buffer, Pid) */
ERL_NIF_TERM buffer_set_owner_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:buffer_monitor(Buffer) */
ERL_NIF_TERM buffer_monitor_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
