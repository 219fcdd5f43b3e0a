#include "context.h"

#include "atoms.h"
#include "chain.h"
#include "executor.h"
#include "job.h"
#include "nif_env.h"
#include "runtime.h"
#include "weight.h"
#include "shared.h"

typedef struct context_handle {
    executor *ex;
} context_handle;

static ErlNifResourceType *context_type;

/* The last term is gone: what is queued still runs, then the thread ends and the
 * runtime forgets the context; until then a stop reaches it. */
static void
destroy_context(ErlNifEnv *env, void *object)
{
    context_handle *handle = object;
    (void)env;
    if (handle->ex == NULL) {
        return;
    }
    executor_close(handle->ex, EXECUTOR_DRAIN, nif_am.am_destroyed, NULL);
    executor_release(handle->ex);
    handle->ex = NULL;
}

int
context_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type =
        nif_open_type(env, "erlpy_context",
                      &(ErlNifResourceTypeInit){.dtor = destroy_context}, flags);
    if (type == NULL) {
        return -1;
    }
    context_type = type;
    return 0;
}

static context_handle *
context_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, context_type, &object) ? object : NULL;
}

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

ERL_NIF_TERM
context_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    bool own = enif_is_identical(argv[0], nif_am.am_owngil);
    (void)argc;
    if (!runtime_is_up()) {
        return error_tuple(env, nif_am.am_not_started);
    }
    if (own && !interpreter_may_own_gil()) {
        return error_tuple(env, nif_am.am_not_supported);
    }
    context_handle *handle = enif_alloc_resource(context_type, sizeof *handle);
    if (handle == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    handle->ex = runtime_context_new(own);
    ERL_NIF_TERM answer;
    if (handle->ex == NULL) {
        answer = error_tuple(env, runtime_is_up() ? nif_am.am_system_limit
                                                  : nif_am.am_not_started);
    } else {
        answer = enif_make_tuple2(env, nif_am.am_ok, enif_make_resource(env, handle));
    }
    enif_release_resource(handle);
    return answer;
}

ERL_NIF_TERM
context_destroy_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    context_handle *handle = context_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    executor_close(handle->ex, EXECUTOR_ABORT, nif_am.am_destroyed, env);
    runtime_context_remove(handle->ex);
    return nif_am.am_ok;
}

static ERL_NIF_TERM
interrupt_many_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    executor_interrupt(context_of(env, argv[0])->ex, nif_am.am_interrupted, env);
    return nif_am.am_ok;
}

ERL_NIF_TERM
context_interrupt_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    context_handle *handle = context_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    if (executor_has_many_tasks(handle->ex)) {
        return enif_schedule_nif(env, "context_interrupt", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                                 interrupt_many_nif, argc, argv);
    }
    executor_interrupt(handle->ex, nif_am.am_interrupted, env);
    return nif_am.am_ok;
}

ERL_NIF_TERM
is_context_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return context_of(env, argv[0]) != NULL ? nif_am.am_true : nif_am.am_false;
}

/* ---- Jobs ---- */

/* Shared. */
static executor *
share_target(ErlNifEnv *env, ERL_NIF_TERM target)
{
    if (enif_is_identical(target, nif_am.am_pool)) {
        return runtime_share_pool();
    }
    context_handle *handle = context_of(env, target);
    return handle != NULL ? executor_share(handle->ex) : NULL;
}

/* Takes the load. */
static ERL_NIF_TERM
queue_on(ErlNifEnv *env, const ERL_NIF_TERM argv[], executor *ex, bool light,
         cargo *load)
{
    ERL_NIF_TERM answer = nif_am.am_ok;
    job *j = job_new(env, argv[1], argv[2], light, load);
    if (j != NULL && !chain_job(j, callback_of_term(env, argv[4]))) {
        job_release(j);
        return error_tuple(env, nif_am.am_too_deep);
    }
    if (j == NULL || (enif_is_identical(argv[3], nif_am.am_true) &&
                      !job_term(env, j, ex, &answer))) {
        job_release(j);
        return error_tuple(env, nif_am.am_enomem);
    }
    if (executor_submit(ex, j)) {
        return answer;
    }
    job_release(j);
    return error_tuple(env, enif_is_identical(argv[0], nif_am.am_pool)
                                ? nif_am.am_stopped
                                : nif_am.am_destroyed);
}

/* Takes the load.  The answers of submit/4: Job when it can be cancelled, else ok. */
static ERL_NIF_TERM
queue_job(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool light, cargo *load)
{
    executor *ex = share_target(env, argv[0]);
    if (ex == NULL) {
        cargo_clear(load);
        return enif_is_identical(argv[0], nif_am.am_pool)
                   ? error_tuple(env, nif_am.am_not_started)
                   : enif_make_badarg(env);
    }
    ERL_NIF_TERM answer = queue_on(env, argv, ex, light, load);
    executor_release(ex);
    return answer;
}

static ERL_NIF_TERM
submit_large_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    cargo load = {0};
    (void)argc;
    if (!weigh_cargo(env, argv[2], &load)) {
        cargo_clear(&load);
        return error_tuple(env, nif_am.am_enomem);
    }
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = queue_job(env, argv, false, &load);
    nif_env_leave(before);
    return answer;
}

ERL_NIF_TERM
submit_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    cargo load = {0};
    weight w = weigh(env, argv[2], &load);
    if (w != WEIGHT_LARGE) {
        ErlNifEnv *before = nif_env_enter(env);
        ERL_NIF_TERM answer = queue_job(env, argv, w == WEIGHT_LIGHT, &load);
        nif_env_leave(before);
        return answer;
    }
    cargo_clear(&load);
    return enif_schedule_nif(env, "submit", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                             submit_large_nif, argc, argv);
}

ERL_NIF_TERM
cancel_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    executor *ex;
    job *j = job_of_term(env, argv[0], &ex);
    (void)argc;
    if (j == NULL) {
        return enif_make_badarg(env);
    }
    if (!job_claim(j, JOB_CANCELLED)) {
        return nif_am.am_replied;
    }
    ErlNifEnv *before = nif_env_enter(env);
    executor_cancel(ex, j);
    nif_env_leave(before);
    return nif_am.am_cancelled;
}
