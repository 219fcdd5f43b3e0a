#include "nif_env.h"

#include "fork.h"
#include "shared.h"

/* A destructor has an environment on a thread of ours too, where only NULL will do. */
ErlNifEnv *
nif_env_enter(ErlNifEnv *env)
{
    ErlNifEnv *before = pthread_getspecific(rt->env_key);
    if (enif_thread_type() == ERL_NIF_THR_UNDEFINED) {
        env = NULL;
    }
    pthread_setspecific(rt->env_key, env);
    return before;
}

void
nif_env_leave(ErlNifEnv *before)
{
    pthread_setspecific(rt->env_key, before);
}

bool
nif_send(const ErlNifPid *to, ErlNifEnv *msg_env, ERL_NIF_TERM msg)
{
    return !nif_forked() &&
           enif_send(pthread_getspecific(rt->env_key), to, msg_env, msg) != 0;
}

bool
nif_whereis(ERL_NIF_TERM name, ErlNifPid *pid)
{
    return enif_whereis_pid(pthread_getspecific(rt->env_key), name, pid) != 0;
}

void
nif_demonitor(void *resource, const ErlNifMonitor *monitor)
{
    enif_demonitor_process(pthread_getspecific(rt->env_key), resource, monitor);
}
