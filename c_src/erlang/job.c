#include "job.h"

#include <pthread.h>
#include <stdlib.h>

#include "atoms.h"
#include "callback.h"
#include "executor.h"
#include "nif_env.h"
#include "shared.h"

/* So many are kept for the next calls. */
#define KEPT_JOBS 256

typedef struct job_handle {
    job *j;
    executor *ex;
} job_handle;

static ErlNifResourceType *handle_type;

static struct {
    pthread_mutex_t lock;
    job *first;
    unsigned count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
destroy_handle(ErlNifEnv *env, void *object)
{
    job_handle *handle = object;
    ErlNifEnv *before = nif_env_enter(env);
    job_release(handle->j);
    executor_release(handle->ex);
    nif_env_leave(before);
}

int
job_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type = nif_open_type(
        env, "erlpy_job", &(ErlNifResourceTypeInit){.dtor = destroy_handle}, flags);
    if (type == NULL) {
        return -1;
    }
    handle_type = type;
    return 0;
}

static void
free_job(job *j)
{
    if (j->request_env != NULL) {
        enif_free_env(j->request_env);
    }
    if (j->ref_env != NULL) {
        enif_free_env(j->ref_env);
    }
    free(j);
}

static job *
allocate_job(void)
{
    job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->request_env = enif_alloc_env();
    j->ref_env = enif_alloc_env();
    if (j->request_env != NULL && j->ref_env != NULL) {
        return j;
    }
    free_job(j);
    return NULL;
}

static job *
reuse_job(void)
{
    pthread_mutex_lock(&kept.lock);
    job *j = kept.first;
    if (j != NULL) {
        kept.first = j->next;
        kept.count--;
    }
    pthread_mutex_unlock(&kept.lock);
    if (j != NULL) {
        enif_clear_env(j->request_env);
        enif_clear_env(j->ref_env);
    }
    return j;
}

static bool
keep_job(job *j)
{
    pthread_mutex_lock(&kept.lock);
    bool room = kept.count < KEPT_JOBS;
    if (room) {
        j->next = kept.first;
        kept.first = j;
        kept.count++;
    }
    pthread_mutex_unlock(&kept.lock);
    return room;
}

job *
job_new(ErlNifEnv *env, ERL_NIF_TERM ref, ERL_NIF_TERM request, bool light, cargo *load)
{
    job *j = reuse_job();
    if (j == NULL) {
        j = allocate_job();
    }
    if (j == NULL) {
        cargo_clear(load);
        return NULL;
    }
    j->load = *load;
    cargo_send(load);
    *load = (cargo){0};
    atomic_init(&j->state, JOB_PENDING);
    atomic_init(&j->refs, 1);
    j->next = j->prev = NULL;
    j->place = JOB_NOWHERE;
    j->nest = NULL;
    j->outer = NULL;
    j->chain = NULL;
    j->depth = 1;
    j->cancel = CANCEL_NONE;
    j->unobeyed = false;
    j->on = NULL;
    j->watch = NULL;
    j->asked = false;
    j->loop = NULL;
    j->call = NULL;
    j->home = NULL;
    j->due = false;
    j->light = light;
    j->wants_reply = !enif_is_identical(ref, nif_am.am_none);
    enif_self(env, &j->caller);
    j->request = enif_make_copy(j->request_env, request);
    j->ref = enif_make_copy(j->ref_env, ref);
    return j;
}

job *
job_share(job *j)
{
    atomic_fetch_add_explicit(&j->refs, 1, memory_order_relaxed);
    return j;
}

void
job_release(job *j)
{
    if (j == NULL ||
        atomic_fetch_sub_explicit(&j->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    job_drop_request(j);
    callback_release(j->chain);
    j->chain = NULL;
    if (!keep_job(j)) {
        free_job(j);
    }
}

bool
job_term(ErlNifEnv *env, job *j, executor *ex, ERL_NIF_TERM *term)
{
    job_handle *handle = enif_alloc_resource(handle_type, sizeof *handle);
    if (handle == NULL) {
        return false;
    }
    handle->j = job_share(j);
    handle->ex = executor_share(ex);
    *term = enif_make_resource(env, handle);
    enif_release_resource(handle);
    return true;
}

job *
job_of_term(ErlNifEnv *env, ERL_NIF_TERM term, executor **ex)
{
    void *object;
    if (!enif_get_resource(env, term, handle_type, &object)) {
        return NULL;
    }
    job_handle *handle = object;
    *ex = handle->ex;
    return handle->j;
}

bool
job_is_pending(job *j)
{
    return atomic_load(&j->state) == JOB_PENDING;
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
    if (enif_is_identical(j->request, nif_am.am_none)) {
        return;
    }
    cargo_arrive(&j->load);
    if (!j->light) {
        enif_clear_env(j->request_env);
    }
    j->request = nif_am.am_none;
}
