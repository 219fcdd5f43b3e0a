/*
 * owner.c: the process whose death aborts a stream, and those who are told of its end.
 *
 * What a stream needs of the node beyond its handles is in its core, a resource, since
 * only those can monitor.  Most streams never have one.
 *
 *   stream <--s, not counted--> core --monitor--> owner
 *
 * LOCK.  One per core, a leaf: monitors are set under it, so that the death that it
 * reports is seen to be that of the owner of the moment.
 */
#include <pthread.h>
#include <stdlib.h>

#include "atoms.h"
#include "buffer.h"
#include "fork.h"
#include "nif_env.h"
#include "reason.h"
#include "shared.h"

typedef struct buffer_core {
    pthread_mutex_t lock;
    stream *s;             /* lock; NULL once the stream is being freed */
    bool owned;            /* lock */
    ErlNifMonitor monitor; /* lock; if owned */
    bool copies;           /* before the stream is shared */
} buffer_core;

static ErlNifResourceType *core_type;

static void
destroy_core(ErlNifEnv *env, void *object)
{
    (void)env;
    pthread_mutex_destroy(&((buffer_core *)object)->lock);
}

/* The stream has lost its last reference, perhaps while its owner's death is told. */
static void
detach_core(void *object)
{
    buffer_core *core = object;
    if (nif_forked()) {
        return;
    }
    pthread_mutex_lock(&core->lock);
    core->s = NULL;
    pthread_mutex_unlock(&core->lock);
    enif_release_resource(core);
}

static void
owner_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    buffer_core *core = object;
    stream *s = NULL;
    (void)pid;
    pthread_mutex_lock(&core->lock);
    if (core->owned && enif_compare_monitors(&core->monitor, monitor) == 0) {
        core->owned = false;
        s = core->s != NULL ? stream_try_share(core->s) : NULL;
    }
    pthread_mutex_unlock(&core->lock);
    if (s == NULL) {
        return;
    }
    ErlNifEnv *before = nif_env_enter(env);
    stream_abort(s, nif_reason_owner_down());
    stream_release(s);
    nif_env_leave(before);
}

int
owner_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit init = {.dtor = destroy_core, .down = owner_down};
    ErlNifResourceType *type = nif_open_type(env, "erlpy_core", &init, flags);
    if (type == NULL) {
        return -1;
    }
    core_type = type;
    return 0;
}

/* Borrowed from the stream, or NULL without memory. */
static buffer_core *
core_of(stream *s)
{
    if (stream_attachment(s) != NULL) {
        return stream_attachment(s);
    }
    buffer_core *core = enif_alloc_resource(core_type, sizeof *core);
    if (core == NULL) {
        return NULL;
    }
    pthread_mutex_init(&core->lock, NULL);
    core->s = s;
    core->owned = false;
    core->copies = false;
    if (!stream_attach(s, core, detach_core)) {
        enif_release_resource(core);
    }
    return stream_attachment(s);
}

bool
owner_set_copies(stream *s)
{
    buffer_core *core = core_of(s);
    if (core != NULL) {
        core->copies = true;
    }
    return core != NULL;
}

bool
owner_copies(stream *s)
{
    const buffer_core *core = stream_attachment(s);
    return core != NULL && core->copies;
}

/* ---- The owner ---- */

static bool
watch_owner(ErlNifEnv *env, buffer_core *core, const ErlNifPid *pid)
{
    pthread_mutex_lock(&core->lock);
    if (core->owned) {
        enif_demonitor_process(env, core, &core->monitor);
    }
    core->owned = enif_monitor_process(env, core, pid, &core->monitor) == 0;
    bool alive = core->owned;
    pthread_mutex_unlock(&core->lock);
    return alive;
}

ERL_NIF_TERM
buffer_set_owner_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifPid pid;
    stream *s = buffer_stream_of(env, argv[0]);
    (void)argc;
    if (s == NULL || !enif_get_local_pid(env, argv[1], &pid)) {
        return enif_make_badarg(env);
    }
    buffer_core *core = core_of(s);
    if (core == NULL) {
        return enif_make_tuple2(env, nif_am.am_error, nif_am.am_enomem);
    }
    if (!watch_owner(env, core, &pid)) {
        ErlNifEnv *before = nif_env_enter(env);
        stream_abort(s, nif_reason_owner_down());
        nif_env_leave(before);
    }
    return nif_am.am_ok;
}

/* ---- Who is told ---- */

typedef struct end_watcher {
    stream_watcher base; /* first */
    ErlNifPid to;
    ErlNifEnv *env;
    ERL_NIF_TERM ref;
} end_watcher;

static void
tell_end(stream_watcher *base, stream_status status)
{
    end_watcher *watcher = (end_watcher *)base;
    if (nif_forked()) {
        return;
    }
    ERL_NIF_TERM what = status == STREAM_OK ? nif_am.am_drained : nif_am.am_closed;
    nif_send(&watcher->to, watcher->env,
             enif_make_tuple3(watcher->env, nif_am.am_py_buffer, watcher->ref, what));
    enif_free_env(watcher->env);
    free(watcher);
}

/* Answers the reference of the one message {py_buffer, Ref, closed | drained}. */
ERL_NIF_TERM
buffer_monitor_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream *s = buffer_stream_of(env, argv[0]);
    (void)argc;
    if (s == NULL) {
        return enif_make_badarg(env);
    }
    end_watcher *watcher = calloc(1, sizeof *watcher);
    ErlNifEnv *own = watcher != NULL ? enif_alloc_env() : NULL;
    if (own == NULL) {
        free(watcher);
        return nif_am.am_enomem;
    }
    ERL_NIF_TERM ref = enif_make_ref(env);
    watcher->base.notify = tell_end;
    enif_self(env, &watcher->to);
    watcher->env = own;
    watcher->ref = enif_make_copy(own, ref);
    ErlNifEnv *before = nif_env_enter(env);
    stream_watch(s, &watcher->base);
    nif_env_leave(before);
    return ref;
}
