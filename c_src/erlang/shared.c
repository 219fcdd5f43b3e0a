#include "shared.h"

#include <stdlib.h>

nif_shared *rt;

bool
nif_shared_open(void)
{
    if (rt != NULL) {
        return true;
    }
    nif_shared *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return false;
    }
    made->layout = NIF_LAYOUT;
    if (pthread_key_create(&made->worker_key, NULL) != 0) {
        goto no_worker_key;
    }
    if (pthread_key_create(&made->env_key, NULL) != 0) {
        goto no_env_key;
    }
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->executors_lock, NULL);
    pthread_mutex_init(&made->asked_lock, NULL);
    rt = made;
    return true;
no_env_key:
    pthread_key_delete(made->worker_key);
no_worker_key:
    free(made);
    return false;
}
