/*
 * message.h: the messages in channels, as the node keeps them: a term in an environment
 * of its own.  Large binaries are there by reference.
 *
 * MEMORY.  What a scheduler has allocated is best freed by a scheduler: from another
 * thread each free may wake one up.  So messages are kept, with their environments, and
 * emptied when they are used again: those that were made on schedulers by schedulers,
 * those that were made on Python threads by these.
 */
#ifndef ERLPY_MESSAGE_H
#define ERLPY_MESSAGE_H

#include "../python/pyb.h"
#include <erl_nif.h>
#include <stdbool.h>

#include "cargo.h"
#include "weight.h"

/* Who made it. */
typedef enum { MESSAGE_OF_ERLANG, MESSAGE_OF_PYTHON } message_source;

typedef struct nif_message {
    pyb_message base; /* first */
    message_source source;
    weight weight;
    ErlNifEnv *env;
    ERL_NIF_TERM term;
    cargo load; /* the buffers in it: Python will be their reader */
} nif_message;

/* For a channel to Python: copies the term, which has been weighed, and takes the load,
 * also on failure.  By a NIF, in nif_env_enter().  NULL: no memory.  Returns owned:
 * message_release(). */
nif_message *message_of_term(ErlNifEnv *env, ERL_NIF_TERM term, weight w,
                             uint64_t size_bytes, cargo *load);
/* pyb_host.message. */
pyb_message *message_of_object_gil(pyb_state *state, PyObject *object);
/* The message that an item of a channel is. */
nif_message *message_of_item(channel_item *item);
/* May notify (nif_env.h). */
void message_release(nif_message *message);

#endif
