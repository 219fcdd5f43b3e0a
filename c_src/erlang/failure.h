/*
 * failure.h: a Python exception as an Erlang term.
 */
#ifndef ERLPY_FAILURE_H
#define ERLPY_FAILURE_H

#include "../python/pyb.h"
#include <erl_nif.h>
#include <stdbool.h>

/* The exception that is set, normalised, with its traceback, or NULL: a new reference;
 * the error is cleared. */
PyObject *failure_take_gil(void);
/* The exception that is set, which is cleared, as {error, {Type, Message, Traceback}}:
 * three binaries.  With `in_python` false, a value that could not be converted is
 * {error, {not_convertible, Message}}. */
ERL_NIF_TERM failure_term_gil(pyb_state *state, ErlNifEnv *env, bool in_python);
/* {error, {<<"RuntimeError">>, Text, <<>>}}, of what Python did not come to. */
ERL_NIF_TERM failure_term_of_text(ErlNifEnv *env, const char *text);
/* To a ModuleNotFoundError that is set: adds where Python looked, as a note, which the
 * traceback shows.  Other exceptions stay as they are. */
void failure_note_path_gil(void);
/* Tells the application about a failed cast, which nobody waits for. */
void failure_report(ERL_NIF_TERM answer);

/* Tells it of an error in Python that belongs to no call. */
void failure_report_text(const char *utf8, size_t size);

#endif
