#include "shared.h"

#include <stdio.h>
#include <stdlib.h>

#include "fork.h"
#include "interpreter.h"
#include "nif_env.h"
#include "runtime.h"

nif_shared *rt;

/* Of this copy; the node gives a type that is taken over the same address again. */
static ErlNifResourceType *types[NIF_MAX_TYPES];
static unsigned type_count;
/* Those of which this copy holds an object; it is never let go. */
static ErlNifResourceType *kept[NIF_MAX_TYPES];

/* In the file behind a name, so that tools can tell which layout a library has. */
static const volatile struct {
    char name[16];
    uint64_t layout;
} built = {"erlpy layout", NIF_LAYOUT};

bool
nif_shared_open(void)
{
    type_count = 0;
    if (rt != NULL) {
        return true;
    }
    nif_shared *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return false;
    }
    made->layout = built.layout;
    made->python_abi = interpreter_abi();
    made->platform = platform_get_room();
    platform_set_spawner(runtime_spawn_helper);
    if (pthread_key_create(&made->worker_key, NULL) != 0) {
        goto no_worker_key;
    }
    made->env_here = nif_env_of_thread;
    if (pthread_key_create(&made->loop_key, NULL) != 0) {
        goto no_loop_key;
    }
    if (!nif_fork_prepare()) {
        goto no_handlers;
    }
    made->main = interpreter_new(false);
    if (made->main == NULL) {
        goto no_handlers;
    }
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->executors_lock, NULL);
    pthread_mutex_init(&made->asked_lock, NULL);
    pthread_mutex_init(&made->loops_lock, NULL);
    rt = made;
    return true;
no_handlers:
    pthread_key_delete(made->loop_key);
no_loop_key:
    pthread_key_delete(made->worker_key);
no_worker_key:
    free(made);
    return false;
}

/* This copy may have an object of its own: when it was loaded as if it were the first,
 * and then again after another. */
static bool
runs_python_apart_from(const nif_shared *old)
{
    return rt != NULL && rt != old && rt->main_running;
}

bool
nif_shared_adopt(nif_shared *old, char *why, size_t size)
{
    type_count = 0;
    if (old == NULL) {
        (void)snprintf(why, size,
                       "the library that runs cannot be replaced while it does");
    } else if (old->layout != built.layout) {
        (void)snprintf(
            why, size, "its data has layout %llu, that of the library that runs %llu",
            (unsigned long long)built.layout, (unsigned long long)old->layout);
    } else if (old->python_abi != interpreter_abi()) {
        (void)snprintf(why, size, "it was built for another Python");
    } else if (runs_python_apart_from(old)) {
        (void)snprintf(why, size,
                       "it runs Python apart from the library that was loaded last");
    } else {
        /* Threads run in this copy already when it is the one that is adopted. */
        if (rt != old) {
            rt = old;
            platform_set_room(old->platform);
        }
        return true;
    }
    return false;
}

ErlNifResourceType *
nif_open_type(ErlNifEnv *env, const char *name, const ErlNifResourceTypeInit *callbacks,
              ErlNifResourceFlags flags)
{
    ErlNifResourceType *type =
        type_count < NIF_MAX_TYPES
            ? enif_open_resource_type_x(env, name, callbacks, flags, NULL)
            : NULL;
    if (type != NULL) {
        types[type_count++] = type;
    }
    return type;
}

void
nif_keep_types(void)
{
    for (unsigned i = 0; i < type_count; i++) {
        if (kept[i] != types[i] && enif_alloc_resource(types[i], 1) != NULL) {
            kept[i] = types[i];
        }
    }
}
