/*
 * core.c: see core.h.
 *
 * LOCK.  One per core, a leaf: monitors are set under it, so that the death that it
 * reports is seen to be that of the owner of the moment.
 */
#include "core.h"

#include <pthread.h>

#include "fork.h"
#include "nif_env.h"
#include "shared.h"

struct core {
    pthread_mutex_t lock;
    const core_kind *kind;
    void *subject;         /* lock; NULL once it is being freed */
    bool owned;            /* lock */
    ErlNifMonitor monitor; /* lock; if owned */
    bool marked;           /* before the subject is shared */
};

static ErlNifResourceType *core_type;

static void
destroy_core(ErlNifEnv *env, void *object)
{
    (void)env;
    pthread_mutex_destroy(&((core *)object)->lock);
}

/* The subject has lost its last reference, perhaps while its owner's death is told. */
static void
detach_core(void *object)
{
    core *of = object;
    if (nif_forked()) {
        return;
    }
    pthread_mutex_lock(&of->lock);
    of->subject = NULL;
    pthread_mutex_unlock(&of->lock);
    enif_release_resource(of);
}

static void
end_subject(ErlNifEnv *env, const core_kind *kind, void *subject)
{
    ErlNifEnv *before = nif_env_enter(env);
    kind->owner_down(subject);
    kind->release(subject);
    nif_env_leave(before);
}

static void
owner_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    core *of = object;
    void *subject = NULL;
    (void)pid;
    pthread_mutex_lock(&of->lock);
    if (of->owned && enif_compare_monitors(&of->monitor, monitor) == 0) {
        of->owned = false;
        subject = of->subject != NULL ? of->kind->try_share(of->subject) : NULL;
    }
    pthread_mutex_unlock(&of->lock);
    if (subject != NULL) {
        end_subject(env, of->kind, subject);
    }
}

int
core_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit init = {.dtor = destroy_core, .down = owner_down};
    ErlNifResourceType *type = nif_open_type(env, "erlpy_core", &init, flags);
    if (type == NULL) {
        return -1;
    }
    core_type = type;
    return 0;
}

core *
core_of(const core_kind *kind, void *subject)
{
    if (kind->attachment(subject) != NULL) {
        return kind->attachment(subject);
    }
    core *of = enif_alloc_resource(core_type, sizeof *of);
    if (of == NULL) {
        return NULL;
    }
    pthread_mutex_init(&of->lock, NULL);
    of->kind = kind;
    of->subject = subject;
    of->owned = false;
    of->marked = false;
    if (!kind->attach(subject, of, detach_core)) {
        enif_release_resource(of);
    }
    return kind->attachment(subject);
}

void
core_set_owner(ErlNifEnv *env, core *of, const ErlNifPid *pid)
{
    pthread_mutex_lock(&of->lock);
    if (of->owned) {
        enif_demonitor_process(env, of, &of->monitor);
    }
    of->owned = enif_monitor_process(env, of, pid, &of->monitor) == 0;
    void *ended = of->owned ? NULL : of->kind->try_share(of->subject);
    pthread_mutex_unlock(&of->lock);
    if (ended != NULL) {
        end_subject(env, of->kind, ended);
    }
}

void
core_mark(core *of)
{
    of->marked = true;
}

bool
core_is_marked(const core *of)
{
    return of != NULL && of->marked;
}
