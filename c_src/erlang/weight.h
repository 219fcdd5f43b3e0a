/*
 * weight.h: how much work it is to copy a term.
 */
#ifndef ERLPY_WEIGHT_H
#define ERLPY_WEIGHT_H

#include <erl_nif.h>
#include <stdbool.h>

typedef enum {
    WEIGHT_LIGHT,  /* few terms, none of which keeps a buffer or bytes alive */
    WEIGHT_NORMAL, /* may be copied on a normal scheduler */
    WEIGHT_LARGE   /* too much for one */
} weight;

/* Looks at a bounded number of terms. */
weight weigh(ErlNifEnv *env, ERL_NIF_TERM term);

#endif
