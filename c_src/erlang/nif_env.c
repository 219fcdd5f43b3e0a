#include "nif_env.h"

#include "fork.h"
#include "shared.h"

static _Thread_local ErlNifEnv *env_of_thread;

ErlNifEnv **
nif_env_of_thread(void)
{
    return &env_of_thread;
}

ErlNifEnv **
nif_env_here(void)
{
    return rt->env_here();
}

/* A destructor has an environment on a thread of ours too, where only NULL will do. */
ErlNifEnv *
nif_env_enter(ErlNifEnv *env)
{
    ErlNifEnv **here = nif_env_here();
    ErlNifEnv *before = *here;
    *here = enif_thread_type() != ERL_NIF_THR_UNDEFINED ? env : NULL;
    return before;
}

void
nif_env_leave(ErlNifEnv *before)
{
    *nif_env_here() = before;
}

bool
nif_send(const ErlNifPid *to, ErlNifEnv *msg_env, ERL_NIF_TERM msg)
{
    return !nif_forked() && enif_send(*nif_env_here(), to, msg_env, msg) != 0;
}

bool
nif_whereis(ERL_NIF_TERM name, ErlNifPid *pid)
{
    return enif_whereis_pid(*nif_env_here(), name, pid) != 0;
}

void
nif_demonitor(void *resource, const ErlNifMonitor *monitor)
{
    enif_demonitor_process(*nif_env_here(), resource, monitor);
}
