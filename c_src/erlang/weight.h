/*
 * weight.h: how much work it is to copy a term, how large it is, and which buffers are
 * in it.
 *
 * The size is that of the external format, erlang:external_size/1, but for what the NIF
 * interface does not tell: each pid, port and reference counts with the same number of
 * bytes, whatever the name of its node.
 */
#ifndef ERLPY_WEIGHT_H
#define ERLPY_WEIGHT_H

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

#include "cargo.h"

typedef enum {
    WEIGHT_LIGHT,  /* few terms, none of which keeps a buffer or bytes alive */
    WEIGHT_NORMAL, /* may be copied on a normal scheduler */
    WEIGHT_LARGE   /* too much for one */
} weight;

/* Looks at a bounded number of terms.  `found` (NULL: none are wanted) gets the
 * buffers, all of them unless the term is large. */
weight weigh(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found);
/* All buffers of a term of any size; not for a normal scheduler.  False: no memory. */
bool weigh_cargo(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found);

/* The same for a message, with its size in *bytes unless it is large.  What can only be
 * measured by making the external format counts as large. */
weight weigh_message(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found, uint64_t *bytes);
bool measure_message(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found, uint64_t *bytes);

/* ---- Sizes ------------------------------------------------------------------------
 */

#define WEIGHT_VERSION_BYTES   1 /* of a message, beside its term */
#define WEIGHT_FLOAT_BYTES     9
#define WEIGHT_BINARY_BYTES    5  /* and the content */
#define WEIGHT_MAP_BYTES       5  /* and the keys and values */
#define WEIGHT_PID_BYTES       32 /* the name of the node has about 13 */
#define WEIGHT_PORT_BYTES      28
#define WEIGHT_REFERENCE_BYTES 38

uint64_t weight_of_atom(size_t length);
uint64_t weight_of_integer(int64_t value);
/* And the elements. */
uint64_t weight_of_tuple(int arity);
/* With the elements, which come to `bytes`; `string`: all are characters. */
uint64_t weight_of_list(uint64_t count, bool string, uint64_t bytes);

#endif
