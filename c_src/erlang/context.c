#include "context.h"

#include "atoms.h"
#include "executor.h"
#include "job.h"
#include "runtime.h"

/* Copying a larger request takes too long for a normal scheduler; nesting beyond the
 * second limit counts as large. */
#define REQUEST_MAX_TERMS 10000
#define REQUEST_MAX_DEPTH 100
/* A request of so few terms, and without binaries, may stay until its job is used
 * again. */
#define REQUEST_LIGHT_TERMS 100

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

typedef struct weight {
    int budget;      /* terms that may still be counted */
    bool references; /* met something that may keep a buffer or bytes alive */
} weight;

static bool weigh(ErlNifEnv *env, ERL_NIF_TERM term, weight *w, int depth);

static bool
weigh_map(ErlNifEnv *env, ERL_NIF_TERM term, weight *w, int depth)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    bool counted = true;
    enif_map_iterator_create(env, term, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (counted && enif_map_iterator_get_pair(env, &at, &key, &value)) {
        counted = weigh(env, key, w, depth) && weigh(env, value, w, depth);
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    return counted;
}

static bool
weigh_tuple(ErlNifEnv *env, ERL_NIF_TERM term, weight *w, int depth)
{
    int arity;
    const ERL_NIF_TERM *elements;
    enif_get_tuple(env, term, &arity, &elements);
    for (int i = 0; i < arity; i++) {
        if (!weigh(env, elements[i], w, depth)) {
            return false;
        }
    }
    return true;
}

/* Counts the terms in `term`; false once the budget is used up. */
static bool
weigh(ErlNifEnv *env, ERL_NIF_TERM term, weight *w, int depth)
{
    ERL_NIF_TERM head;
    if (--w->budget < 0 || ++depth > REQUEST_MAX_DEPTH) {
        return false;
    }
    while (enif_get_list_cell(env, term, &head, &term)) {
        if (!weigh(env, head, w, depth)) {
            return false;
        }
    }
    switch (enif_term_type(env, term)) {
    case ERL_NIF_TERM_TYPE_TUPLE:
        return weigh_tuple(env, term, w, depth);
    case ERL_NIF_TERM_TYPE_MAP:
        return weigh_map(env, term, w, depth);
    case ERL_NIF_TERM_TYPE_BITSTRING:
    case ERL_NIF_TERM_TYPE_REFERENCE:
    case ERL_NIF_TERM_TYPE_FUN:
        w->references = true;
        return true;
    default:
        return true;
    }
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
queue_job(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool light)
{
    bool pooled = enif_is_identical(argv[0], nif_am.am_pool);
    executor *ex = target_of(env, argv[0]);
    if (ex == NULL) {
        return pooled ? error_tuple(env, nif_am.am_not_started) : enif_make_badarg(env);
    }
    ERL_NIF_TERM answer = nif_am.am_ok;
    job *j = job_new(env, argv[1], argv[2], light);
    if (j == NULL ||
        (enif_is_identical(argv[3], nif_am.am_true) && !job_term(env, j, &answer))) {
        job_release(j);
        return error_tuple(env, nif_am.am_enomem);
    }
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
    return queue_job(env, argv, false);
}

ERL_NIF_TERM
submit_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    weight w = {.budget = REQUEST_MAX_TERMS};
    if (weigh(env, argv[2], &w, 0)) {
        bool light =
            !w.references && w.budget > REQUEST_MAX_TERMS - REQUEST_LIGHT_TERMS;
        return queue_job(env, argv, light);
    }
    return enif_schedule_nif(env, "submit", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                             submit_large_nif, argc, argv);
}

ERL_NIF_TERM
cancel_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    job *j = job_of_term(env, argv[0]);
    (void)argc;
    if (j == NULL) {
        return enif_make_badarg(env);
    }
    return job_claim(j, JOB_CANCELLED) ? nif_am.am_cancelled : nif_am.am_replied;
}
