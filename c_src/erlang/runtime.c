#include "runtime.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../stream/platform.h"
#include "../stream/stream.h"
#include "atoms.h"
#include "interpreter.h"
#include "shared.h"

/* A queued job that has not moved for this long gets another worker. */
#define WATCH_INTERVAL_NS 5000000

typedef enum {
    RUNTIME_DOWN,
    RUNTIME_STARTING,
    RUNTIME_UP,
    RUNTIME_PARKED,
    RUNTIME_FAILED
} runtime_state;

typedef struct context_entry {
    executor *ex;
    struct context_entry *next;
} context_entry;

void
runtime_config_free(runtime_config *config)
{
    if (config == NULL) {
        return;
    }
    free(config->executable);
    for (char **dir = config->python_path; dir != NULL && *dir != NULL; dir++) {
        free(*dir);
    }
    free(config->python_path);
    free(config);
}

void
runtime_name_thread(const char *name)
{
#if defined(__linux__)
    pthread_setname_np(pthread_self(), name);
#else
    (void)name;
#endif
}

/* ---- Small shared counters ---- */

unsigned
runtime_parallelism(void)
{
    return interpreter_has_gil() ? 1 : (unsigned)rt->cores;
}

uint32_t
runtime_spin_ns(void)
{
    return atomic_load_explicit(&rt->spin_ns, memory_order_relaxed);
}

void
runtime_gil_wanted(int change)
{
    atomic_fetch_add_explicit(&rt->gil_wanted, change, memory_order_relaxed);
}

bool
runtime_gil_is_wanted(void)
{
    return atomic_load_explicit(&rt->gil_wanted, memory_order_relaxed) > 0;
}

/* ---- Messages to the owner ---- */

static void
tell_started(const ErlNifPid *owner, const char *failure)
{
    ErlNifEnv *env = enif_alloc_env();
    ERL_NIF_TERM result = nif_am.am_ok;
    if (failure != NULL) {
        ERL_NIF_TERM text;
        size_t size = strlen(failure);
        memcpy(enif_make_new_binary(env, size, &text), failure, size);
        result = enif_make_tuple2(env, nif_am.am_error, text);
    }
    enif_send(NULL, owner, env,
              enif_make_tuple3(env, nif_am.am_erlpy, nif_am.am_started, result));
    enif_free_env(env);
}

static void
tell_stopped(ErlNifEnv *caller_env, const ErlNifPid *owner)
{
    ErlNifEnv *env = enif_alloc_env();
    enif_send(caller_env, owner, env,
              enif_make_tuple2(env, nif_am.am_erlpy, nif_am.am_stopped));
    enif_free_env(env);
}

/* A stop is complete when every thread that is left is parked in a wait of ours: it has
 * no work to finish, and its caller has had the answer. */
static void
count_threads(ErlNifEnv *caller_env, int alive, int parked)
{
    pthread_mutex_lock(&rt->lock);
    rt->threads += alive;
    rt->parked += parked;
    bool tell = rt->stop_unanswered && rt->threads == rt->parked;
    ErlNifPid owner = rt->owner;
    if (tell) {
        rt->stop_unanswered = false;
    }
    pthread_mutex_unlock(&rt->lock);
    if (tell) {
        tell_stopped(caller_env, &owner);
    }
}

void
runtime_thread_started(void)
{
    count_threads(NULL, +1, 0);
}

void
runtime_thread_ended(void)
{
    count_threads(NULL, -1, 0);
}

void
runtime_thread_parked(int change)
{
    count_threads(NULL, 0, change);
}

/* ---- The main thread ---- */

/* Answers who asked for the change. */
static ErlNifPid
set_state(runtime_state state)
{
    pthread_mutex_lock(&rt->lock);
    atomic_store(&rt->state, state);
    ErlNifPid owner = rt->owner;
    pthread_mutex_unlock(&rt->lock);
    return owner;
}

/* Takes the application up: Python exists and this thread does not hold the GIL. */
static void
take_up(void)
{
    char *failure = interpreter_configure(rt->config);
    atomic_store(&rt->spin_ns, rt->config->spin_ns);
    unsigned threads = rt->config->threads;
    runtime_config_free(rt->config);
    rt->config = NULL;
    if (failure == NULL) {
        executor_open(rt->pool);
        if (!executor_start(rt->pool, threads)) {
            failure = strdup("no thread could be started");
        }
    }
    ErlNifPid owner = set_state(failure == NULL ? RUNTIME_UP : RUNTIME_PARKED);
    tell_started(&owner, failure);
    free(failure);
}

/* Gives the pool another worker whenever its queue stood still between two looks.
 * Returns when to look again. */
static int64_t
watch_pool(uint64_t *taken_before)
{
    if (!atomic_load(&rt->watching)) {
        return INT64_MAX;
    }
    if (!executor_is_behind(rt->pool)) {
        atomic_store(&rt->watching, false);
        /* A submit may have seen `watching` just before: look once more. */
        if (!executor_is_behind(rt->pool)) {
            return INT64_MAX;
        }
        atomic_store(&rt->watching, true);
    }
    uint64_t taken = executor_taken(rt->pool);
    if (taken == *taken_before) {
        executor_add_hand(rt->pool);
    }
    *taken_before = taken;
    return platform_now_ns() + WATCH_INTERVAL_NS;
}

static void
serve_main(void)
{
    uint64_t taken_before = 0;
    int64_t next_look = INT64_MAX;
    for (;;) {
        platform_event_wait(&rt->main_event, next_look, 0, false);
        platform_event_clear(&rt->main_event);
        if (atomic_exchange(&rt->start_asked, false)) {
            take_up();
        }
        if (next_look == INT64_MAX && atomic_load(&rt->watching)) {
            taken_before = executor_taken(rt->pool);
            next_look = platform_now_ns() + WATCH_INTERVAL_NS;
        } else if (platform_now_ns() >= next_look) {
            next_look = watch_pool(&taken_before);
        }
    }
}

static void *
main_thread(void *arg)
{
    (void)arg;
    runtime_name_thread("erlpy_main");
    stream_prepare();
    rt->pool = executor_new(false);
    char *failure =
        rt->pool == NULL ? strdup("out of memory") : interpreter_start(rt->config);
    if (failure != NULL) {
        runtime_config_free(rt->config);
        rt->config = NULL;
        ErlNifPid owner = set_state(RUNTIME_FAILED);
        tell_started(&owner, failure);
        free(failure);
        return NULL;
    }
    take_up();
    serve_main();
    return NULL;
}

void
runtime_watch_pool(void)
{
    if (!atomic_load(&rt->watching) && !atomic_exchange(&rt->watching, true)) {
        platform_event_set(&rt->main_event);
    }
}

/* ---- Start and stop ---- */

static bool
spawn_main_thread(void)
{
    platform_event_init(&rt->main_event);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    rt->cores = cores > 0 ? (int)cores : 1;
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)8 << 20);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attr, main_thread, NULL);
    pthread_attr_destroy(&attr);
    return failed == 0;
}

static runtime_result
begin_start_locked(runtime_config *config, const ErlNifPid *owner)
{
    int before = atomic_load(&rt->state);
    if (before != RUNTIME_DOWN && before != RUNTIME_PARKED) {
        return RUNTIME_BUSY;
    }
    rt->config = config;
    rt->owner = *owner;
    rt->stop_unanswered = false;
    atomic_store(&rt->state, RUNTIME_STARTING);
    if (rt->main_running) {
        atomic_store(&rt->start_asked, true);
        platform_event_set(&rt->main_event);
        return RUNTIME_OK;
    }
    rt->main_running = spawn_main_thread();
    if (rt->main_running) {
        return RUNTIME_OK;
    }
    rt->config = NULL;
    atomic_store(&rt->state, before);
    return RUNTIME_NOMEM;
}

runtime_result
runtime_start(runtime_config *config, const ErlNifPid *owner)
{
    pthread_mutex_lock(&rt->lock);
    runtime_result result = begin_start_locked(config, owner);
    pthread_mutex_unlock(&rt->lock);
    return result;
}

void
runtime_stop(ErlNifEnv *caller_env)
{
    pthread_mutex_lock(&rt->lock);
    if (atomic_load(&rt->state) != RUNTIME_UP) {
        pthread_mutex_unlock(&rt->lock);
        return;
    }
    atomic_store(&rt->state, RUNTIME_PARKED);
    context_entry *contexts = rt->contexts;
    rt->contexts = NULL;
    rt->stop_unanswered = true;
    /* Counted like a worker, so that the answer comes after the last step here. */
    rt->threads++;
    pthread_mutex_unlock(&rt->lock);
    executor_close(rt->pool, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
    while (contexts != NULL) {
        context_entry *entry = contexts;
        contexts = entry->next;
        executor_close(entry->ex, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
        executor_release(entry->ex);
        free(entry);
    }
    count_threads(caller_env, -1, 0);
}

/* ---- Executors ---- */

executor *
runtime_pool(void)
{
    return atomic_load(&rt->state) == RUNTIME_UP ? rt->pool : NULL;
}

executor *
runtime_context_new(void)
{
    context_entry *entry = calloc(1, sizeof *entry);
    executor *ex = entry != NULL ? executor_new(true) : NULL;
    if (ex == NULL) {
        goto fail;
    }
    pthread_mutex_lock(&rt->lock);
    bool up = atomic_load(&rt->state) == RUNTIME_UP;
    if (up) {
        entry->ex = executor_share(ex);
        entry->next = rt->contexts;
        rt->contexts = entry;
        executor_open(ex);
    }
    pthread_mutex_unlock(&rt->lock);
    if (!up) {
        goto fail;
    }
    if (executor_start(ex, 1)) {
        return ex;
    }
    runtime_context_remove(ex);
    executor_release(ex);
    return NULL;
fail:
    executor_release(ex);
    free(entry);
    return NULL;
}

void
runtime_context_remove(executor *ex)
{
    pthread_mutex_lock(&rt->lock);
    context_entry **at = &rt->contexts;
    while (*at != NULL && (*at)->ex != ex) {
        at = &(*at)->next;
    }
    context_entry *entry = *at;
    if (entry != NULL) {
        *at = entry->next;
    }
    pthread_mutex_unlock(&rt->lock);
    if (entry == NULL) {
        return;
    }
    executor_release(entry->ex);
    free(entry);
}
