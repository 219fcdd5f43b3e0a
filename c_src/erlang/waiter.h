/*
 * waiter.h: a process that waits for one message of ours: {Tag, Ref} or
 * {Tag, Ref, What}.
 *
 * It is part of a resource, by which the process is monitored.
 */
#ifndef ERLPY_WAITER_H
#define ERLPY_WAITER_H

#include <erl_nif.h>
#include <stdbool.h>

/* Zeroed: half-made. */
typedef struct waiter {
    ErlNifPid pid;
    ErlNifMonitor monitor;
    ErlNifEnv *env; /* of the message; NULL: half-made */
    ERL_NIF_TERM ref;
} waiter;

/* The calling process, monitored by `resource`.  False: no memory, or the process is on
 * its way out. */
bool waiter_begin(ErlNifEnv *env, waiter *w, void *resource, ERL_NIF_TERM ref);
/* At most once, from anywhere (nif_env.h).  `what` belongs to the waiter's own
 * environment; 0: there is none.  False: the process is not alive. */
bool waiter_tell(waiter *w, ERL_NIF_TERM tag, ERL_NIF_TERM what);
/* By the destructor of the resource. */
void waiter_free(waiter *w);

#endif
