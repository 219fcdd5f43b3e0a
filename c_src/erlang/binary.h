/*
 * binary.h: the bytes of a binary, kept without an environment.
 */
#ifndef ERLPY_BINARY_H
#define ERLPY_BINARY_H

#include <erl_nif.h>

/* The runtime's own way to hand bytes to an asynchronous writer: they are in iov[0].
 * For binaries of more than 64 bytes (others are copied).  NULL: no memory.  Returns
 * owned: binary_release(). */
ErlNifIOVec *binary_keep(ErlNifEnv *env, ERL_NIF_TERM binary);
/* On any thread. */
void binary_release(void *iovec);

#endif
