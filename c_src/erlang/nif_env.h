/*
 * nif_env.h: sending from code that does not know who called it.
 *
 * enif_send() and the like want the environment of the calling NIF when they run on a
 * scheduler, and NULL on a thread of ours.  A notice of the stream comes from whichever
 * thread took the step that it tells of, so a NIF says for the time of a call which
 * environment it has.
 */
#ifndef ERLPY_NIF_ENV_H
#define ERLPY_NIF_ENV_H

#include <erl_nif.h>
#include <stdbool.h>

/* Around a piece of a NIF, a destructor or another callback of the node that may lead
 * to nif_send(): `env` is the one it was called with.  A destructor may run inside a
 * NIF: what enter answers is to be given to the leave that goes with it. */
ErlNifEnv *nif_env_enter(ErlNifEnv *env);
void nif_env_leave(ErlNifEnv *before);
/* Where it is kept: a NIF, which runs in no other, may set it and then clear it there,
 * at half the cost. */
ErlNifEnv **nif_env_here(void);
/* That of this copy of the library (see shared.h). */
ErlNifEnv **nif_env_of_thread(void);

/* As enif_send(), from anywhere.  False: the process is not alive, or this is a child
 * of the node after fork(). */
bool nif_send(const ErlNifPid *to, ErlNifEnv *msg_env, ERL_NIF_TERM msg);
/* As enif_whereis_pid(), from anywhere. */
bool nif_whereis(ERL_NIF_TERM name, ErlNifPid *pid);
/* As enif_demonitor_process(), from anywhere. */
void nif_demonitor(void *resource, const ErlNifMonitor *monitor);

#endif
