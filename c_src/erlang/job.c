#include "job.h"

#include <string.h>

#include "atoms.h"

static ErlNifResourceType *job_type;

static void
job_destroy(ErlNifEnv *env, void *object)
{
    job *j = object;
    (void)env;
    if (j->request_env != NULL) {
        enif_free_env(j->request_env);
    }
    if (j->ref_env != NULL) {
        enif_free_env(j->ref_env);
    }
}

int
job_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type =
        enif_open_resource_type(env, NULL, "erlpy_job", job_destroy, flags, NULL);
    if (type == NULL) {
        return -1;
    }
    job_type = type;
    return 0;
}

job *
job_new(ErlNifEnv *env, ERL_NIF_TERM ref, ERL_NIF_TERM request)
{
    job *j = enif_alloc_resource(job_type, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    memset(j, 0, sizeof *j);
    atomic_init(&j->state, JOB_PENDING);
    enif_self(env, &j->caller);
    j->wants_reply = !enif_is_identical(ref, nif_am.am_none);
    j->request_env = enif_alloc_env();
    if (j->wants_reply) {
        j->ref_env = enif_alloc_env();
    }
    if (j->request_env == NULL || (j->wants_reply && j->ref_env == NULL)) {
        enif_release_resource(j);
        return NULL;
    }
    j->request = enif_make_copy(j->request_env, request);
    j->ref = j->wants_reply ? enif_make_copy(j->ref_env, ref) : ref;
    return j;
}

void
job_release(job *j)
{
    enif_release_resource(j);
}

ERL_NIF_TERM
job_term(ErlNifEnv *env, job *j)
{
    return enif_make_resource(env, j);
}

int
job_from_term(ErlNifEnv *env, ERL_NIF_TERM term, job **j)
{
    return enif_get_resource(env, term, job_type, (void **)j);
}

bool
job_claim(job *j, job_state as)
{
    int expected = JOB_PENDING;
    return atomic_compare_exchange_strong(&j->state, &expected, (int)as);
}

static void
job_send(ErlNifEnv *caller_env, job *j, ErlNifEnv *env, ERL_NIF_TERM result)
{
    ERL_NIF_TERM ref = enif_make_copy(env, j->ref);
    ERL_NIF_TERM message = enif_make_tuple3(env, nif_am.am_py_response, ref, result);
    enif_send(caller_env, &j->caller, env, message);
}

void
job_reply(job *j, ErlNifEnv *env, ERL_NIF_TERM result)
{
    if (job_claim(j, JOB_REPLIED) && j->wants_reply) {
        job_send(NULL, j, env, result);
    }
    enif_clear_env(env);
}

void
job_fail(ErlNifEnv *caller_env, job *j, ERL_NIF_TERM reason)
{
    if (!job_claim(j, JOB_REPLIED) || !j->wants_reply) {
        return;
    }
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        return;
    }
    job_send(caller_env, j, env, enif_make_tuple2(env, nif_am.am_error, reason));
    enif_free_env(env);
}

void
job_drop_request(job *j)
{
    enif_clear_env(j->request_env);
    j->request = nif_am.am_none;
}
