/*
 * flat.h: small terms as a run of bytes, which is quicker made, read and freed than a
 * copy in an environment of its own.
 *
 * Each term is a tag and what belongs to it; containers have the number of their
 * elements, and then these.  Not for keeping: words of the node are in it as they are.
 */
#ifndef ERLPY_FLAT_H
#define ERLPY_FLAT_H

#include "../python/pyb.h"
#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

/* Larger ones are as quick in an environment. */
#define FLAT_MAX_BYTES 2048

/* Writes the term to `to`, which has FLAT_MAX_BYTES, and its size as a message
 * (weight.h) to *size_bytes.  Answers how many bytes it took; 0: it is too large, or of
 * a kind that has to be kept alive, or that Python cannot take. */
size_t flat_write(ErlNifEnv *env, ERL_NIF_TERM term, unsigned char *to,
                  uint64_t *size_bytes);
/* The same of an object.  No exception is set; needs the GIL. */
size_t flat_write_object(pyb_state *state, PyObject *object, unsigned char *to,
                         uint64_t *size_bytes);
/* False: no memory. */
bool flat_to_term(ErlNifEnv *env, const unsigned char *data, ERL_NIF_TERM *term);
/* As convert_to_python() of the term.  Needs the GIL. */
PyObject *flat_to_python(pyb_state *state, const unsigned char *data);

#endif
