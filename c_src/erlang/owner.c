/*
 * owner.c: the process whose death aborts a stream, and those who are told of its end.
 */
#include <stdlib.h>

#include "atoms.h"
#include "buffer.h"
#include "core.h"
#include "fork.h"
#include "nif_env.h"
#include "reason.h"

/* ---- The owner ---- */

static void *
attachment(void *s)
{
    return stream_attachment(s);
}

static bool
attach(void *s, void *of, stream_release_fn release)
{
    return stream_attach(s, of, release);
}

static void *
try_share(void *s)
{
    return stream_try_share(s);
}

static void
drop(void *s)
{
    stream_release(s);
}

static void
abort_stream(void *s)
{
    stream_abort(s, nif_reason_owner_down());
}

static const core_kind stream_kind = {attachment, attach, try_share, drop,
                                      abort_stream};

bool
owner_set_copies(stream *s)
{
    core *of = core_of(&stream_kind, s);
    if (of != NULL) {
        core_mark(of);
    }
    return of != NULL;
}

bool
owner_copies(stream *s)
{
    return core_is_marked(stream_attachment(s));
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
    core *of = core_of(&stream_kind, s);
    if (of == NULL) {
        return enif_make_tuple2(env, nif_am.am_error, nif_am.am_enomem);
    }
    core_set_owner(env, of, &pid);
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
