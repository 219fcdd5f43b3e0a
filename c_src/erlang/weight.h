/*
 * weight.h: how much work it is to copy a term, and which buffers are in it.
 */
#ifndef ERLPY_WEIGHT_H
#define ERLPY_WEIGHT_H

#include <erl_nif.h>
#include <stdbool.h>

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

#endif
