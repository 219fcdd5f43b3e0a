#include "nif_env.h"

#include "shared.h"

void
nif_env_enter(ErlNifEnv *env)
{
    pthread_setspecific(rt->env_key, env);
}

void
nif_env_leave(void)
{
    pthread_setspecific(rt->env_key, NULL);
}

bool
nif_send(const ErlNifPid *to, ErlNifEnv *msg_env, ERL_NIF_TERM msg)
{
    return enif_send(pthread_getspecific(rt->env_key), to, msg_env, msg) != 0;
}
