#include "context.h"

#include "atoms.h"
#include "executor.h"
#include "job.h"
#include "runtime.h"

/* Copying a larger request takes too long for a normal scheduler; nesting beyond the
 * second limit counts as large. */
#define REQUEST_MAX_TERMS 10000
#define REQUEST_MAX_DEPTH 100

typedef struct context_handle {
    executor *ex;
} context_handle;

static ErlNifResourceType *context_type;

/* The last term is gone: what is queued still runs, then the thread ends. */
static void
destroy_context(ErlNifEnv *env, void *object)
{
    context_handle *handle = object;
    (void)env;
    if (handle->ex == NULL) {
        return;
    }
    executor_close(handle->ex, EXECUTOR_DRAIN, nif_am.am_destroyed, NULL);
    runtime_context_remove(handle->ex);
    executor_release(handle->ex);
    handle->ex = NULL;
}

int
context_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type = enif_open_resource_type(env, NULL, "erlpy_context",
                                                       destroy_context, flags, NULL);
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
    (void)argc;
    (void)argv;
    if (runtime_pool() == NULL) {
        return error_tuple(env, nif_am.am_not_started);
    }
    context_handle *handle = enif_alloc_resource(context_type, sizeof *handle);
    if (handle == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    handle->ex = runtime_context_new();
    ERL_NIF_TERM answer;
    if (handle->ex == NULL) {
        answer = error_tuple(env, runtime_pool() == NULL ? nif_am.am_not_started
                                                         : nif_am.am_system_limit);
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

ERL_NIF_TERM
is_context_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return context_of(env, argv[0]) != NULL ? nif_am.am_true : nif_am.am_false;
}

/* ---- Jobs ---- */

static bool weigh(ErlNifEnv *env, ERL_NIF_TERM term, int *budget, int depth);

static bool
weigh_map(ErlNifEnv *env, ERL_NIF_TERM term, int *budget, int depth)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    bool light = true;
    enif_map_iterator_create(env, term, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (light && enif_map_iterator_get_pair(env, &at, &key, &value)) {
        light = weigh(env, key, budget, depth) && weigh(env, value, budget, depth);
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    return light;
}

/* Takes the number of terms in `term` off the budget; false once that is used up. */
static bool
weigh(ErlNifEnv *env, ERL_NIF_TERM term, int *budget, int depth)
{
    int arity;
    const ERL_NIF_TERM *elements;
    ERL_NIF_TERM head;
    if (--*budget < 0 || ++depth > REQUEST_MAX_DEPTH) {
        return false;
    }
    while (enif_get_list_cell(env, term, &head, &term)) {
        if (!weigh(env, head, budget, depth)) {
            return false;
        }
    }
    if (enif_get_tuple(env, term, &arity, &elements)) {
        for (int i = 0; i < arity; i++) {
            if (!weigh(env, elements[i], budget, depth)) {
                return false;
            }
        }
        return true;
    }
    return !enif_is_map(env, term) || weigh_map(env, term, budget, depth);
}

static executor *
target_of(ErlNifEnv *env, ERL_NIF_TERM target)
{
    if (enif_is_identical(target, nif_am.am_pool)) {
        return runtime_pool();
    }
    context_handle *handle = context_of(env, target);
    return handle != NULL ? handle->ex : NULL;
}

/* The answers of submit/4: Job when it can be cancelled, else ok. */
static ERL_NIF_TERM
queue_job(ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    bool pooled = enif_is_identical(argv[0], nif_am.am_pool);
    executor *ex = target_of(env, argv[0]);
    if (ex == NULL) {
        return pooled ? error_tuple(env, nif_am.am_not_started) : enif_make_badarg(env);
    }
    job *j = job_new(env, argv[1], argv[2]);
    if (j == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    ERL_NIF_TERM answer =
        enif_is_identical(argv[3], nif_am.am_true) ? job_term(env, j) : nif_am.am_ok;
    if (executor_submit(ex, j)) {
        return answer;
    }
    job_release(j);
    return error_tuple(env, pooled ? nif_am.am_stopped : nif_am.am_destroyed);
}

static ERL_NIF_TERM
submit_large_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return queue_job(env, argv);
}

ERL_NIF_TERM
submit_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    int budget = REQUEST_MAX_TERMS;
    if (weigh(env, argv[2], &budget, 0)) {
        return queue_job(env, argv);
    }
    return enif_schedule_nif(env, "submit", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                             submit_large_nif, argc, argv);
}

ERL_NIF_TERM
cancel_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    job *j;
    (void)argc;
    if (!job_from_term(env, argv[0], &j)) {
        return enif_make_badarg(env);
    }
    return job_claim(j, JOB_CANCELLED) ? nif_am.am_cancelled : nif_am.am_replied;
}
