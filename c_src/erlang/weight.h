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
/* The size of a message that is a binary. */
uint64_t weigh_binary(size_t size);

#endif
