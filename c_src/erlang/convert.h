/*
 * convert.h: Erlang terms to Python objects and back.  All of it needs the GIL.
 *
 * A value that has no counterpart raises erlang.NotConvertibleError (a TypeError); its
 * text names what it was.
 */
#ifndef ERLPY_CONVERT_H
#define ERLPY_CONVERT_H

#include "../python/pyb.h"
#include <erl_nif.h>

/* Deeper nesting is an error in both directions. */
#define CONVERT_MAX_DEPTH 1000
/* Making a memoryview costs about what copying so much does. */
#define CONVERT_VIEW_MIN_BYTES 2048

/* A new reference, or NULL with an exception set. */
PyObject *convert_to_python(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term);
/* The same, with read-only memoryviews of binaries of CONVERT_VIEW_MIN_BYTES or more,
 * which share the bytes.  {str, Binary} stays a str. */
PyObject *convert_to_views(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term);
/* A binary's bytes: str when they are UTF-8, else bytes. */
PyObject *convert_bytes_to_python(const unsigned char *data, size_t size);
/* One pair of a map into its dict; false with an exception set. */
bool convert_put_pair(pyb_state *state, PyObject *dict, PyObject *key, PyObject *value);
/* An atom's text as str (also for true, none and the like), a binary's as str. */
PyObject *convert_name_to_python(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term);
/* True and *term in `env`, or false with an exception set. */
bool convert_to_erlang(pyb_state *state, ErlNifEnv *env, PyObject *object,
                       ERL_NIF_TERM *term);
/* An existing atom of this name, or (with `create`) a new one.  1: *term; 0: there is
 * none; -1: the name is too long. */
int convert_atom(ErlNifEnv *env, const char *utf8, size_t size, bool create,
                 ERL_NIF_TERM *term);

#endif
