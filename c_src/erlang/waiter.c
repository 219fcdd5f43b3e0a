#include "waiter.h"

#include "nif_env.h"

bool
waiter_begin(ErlNifEnv *env, waiter *w, void *resource, ERL_NIF_TERM ref)
{
    enif_self(env, &w->pid);
    w->env = enif_alloc_env();
    if (w->env == NULL) {
        return false;
    }
    w->ref = enif_make_copy(w->env, ref);
    return enif_monitor_process(env, resource, &w->pid, &w->monitor) == 0;
}

bool
waiter_tell(waiter *w, ERL_NIF_TERM tag, ERL_NIF_TERM what)
{
    ERL_NIF_TERM message = what != 0 ? enif_make_tuple3(w->env, tag, w->ref, what)
                                     : enif_make_tuple2(w->env, tag, w->ref);
    return nif_send(&w->pid, w->env, message);
}

void
waiter_free(waiter *w)
{
    if (w->env != NULL) {
        enif_free_env(w->env);
        w->env = NULL;
    }
}
