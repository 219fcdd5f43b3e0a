/*
 * cargo.h: the streams that a request carries.
 *
 * From its submission until Python has made objects of its arguments, a call counts as
 * a reader to come for each buffer in them, so that a buffer with last_reader => close
 * is not closed under way.
 */
#ifndef ERLPY_CARGO_H
#define ERLPY_CARGO_H

#include <erl_nif.h>
#include <stdbool.h>

#include "../stream/stream.h"

#define CARGO_FEW 4

/* Zero-initialised: empty.  The streams are borrowed from the terms. */
typedef struct cargo {
    unsigned count, capacity; /* capacity: of `more` */
    stream *few[CARGO_FEW];
    stream **more;
} cargo;

/* Puts the stream of a buffer in; another term is left alone.  False: no memory. */
bool cargo_add(cargo *c, ErlNifEnv *env, ERL_NIF_TERM term);
/* From now on its readers are expected. */
void cargo_send(const cargo *c);
/* They have come, or never will; empties it.  May notify (see nif_env.h). */
void cargo_arrive(cargo *c);
/* Empties one that was not sent. */
void cargo_clear(cargo *c);

#endif
