/*
 * message.h: the messages in channels, as the node keeps them.
 *
 *   a binary or bytes that is not large   its bytes, behind the message
 *   another small term                    likewise, in a form of ours (flat.h)
 *   any other term                        a copy in an environment of its own, large
 *                                         binaries by reference
 *
 * MEMORY.  What a scheduler has allocated is best freed by a scheduler: from another
 * thread each free may wake one up.  So messages with an environment are kept, and
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

typedef enum {
    MESSAGE_BYTES,
    MESSAGE_FLAT,
    MESSAGE_OF_ERLANG, /* a term that was sent by a process */
    MESSAGE_OF_PYTHON  /* one that was put in Python */
} message_kind;

typedef struct nif_message {
    pyb_message base; /* first */
    message_kind kind;
} nif_message;

/* Of the two last kinds. */
typedef struct term_message {
    nif_message head; /* first */
    weight weight;
    ErlNifEnv *env;
    ERL_NIF_TERM term;
    cargo load; /* the buffers in it: Python will be their reader */
} term_message;

/* Larger ones are kept by reference. */
#define MESSAGE_MAX_BYTES 2047

/* For a channel to Python.  Copies the binary, which has at most MESSAGE_MAX_BYTES.
 * NULL: no memory.  Returns owned: base.base.release(). */
nif_message *message_of_binary(const ErlNifBinary *binary);
/* The same of what flat_write() has written. */
nif_message *message_of_flat(const unsigned char *data, size_t size,
                             uint64_t size_bytes);
/* The same of a term that has been weighed; takes the load, also on failure.  By a NIF,
 * in nif_env_enter(). */
nif_message *message_of_term(ERL_NIF_TERM term, weight w, uint64_t size_bytes,
                             cargo *load);
/* pyb_host.message. */
pyb_message *message_of_object_gil(pyb_state *state, PyObject *object);

/* The message that an item of a channel is. */
nif_message *message_of_item(channel_item *item);
/* May notify (nif_env.h). */
void message_release(nif_message *message);
/* Too large to be copied on a scheduler. */
bool message_is_large(const nif_message *message);
/* A copy of the message for `env`.  False: no memory. */
bool message_copy(nif_message *message, ErlNifEnv *env, ERL_NIF_TERM *term);

#endif
