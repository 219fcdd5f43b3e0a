/*
 * reason.h: why a stream was aborted, as an Erlang term that any thread may hold.
 *
 * The term is kept in external format, beside its printed text, and made anew for
 * whoever asks: its environment has that binary alone, and nothing is made there.
 */
#ifndef ERLPY_REASON_H
#define ERLPY_REASON_H

#include <erl_nif.h>
#include <stdbool.h>

#include "../stream/stream.h"

/* Fills in the reasons that need no memory.  At load, after the atoms. */
void nif_reasons_init(void);

/* These are never freed, and may be given to any number of streams. */
stream_reason *nif_reason_owner_down(void);
stream_reason *nif_reason_abandoned(void);
/* `term` is an atom, or a binary with a term in external format; `text`, a binary in
 * UTF-8, is what Python gets when it has nothing like the term.  NULL when they are not
 * of these types.  Returns owned: for stream_abort().  Without memory the reason is the
 * atom enomem. */
stream_reason *nif_reason_new(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM text);

/* The reason of an aborted stream: an atom or a binary in external format.  One that
 * Python code gave is the atom `python`. */
ERL_NIF_TERM nif_reason_term(ErlNifEnv *env, const stream_reason *reason);

#endif
