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
#include "loop.h"
#include "shared.h"

/* CPython overflows smaller stacks before it reaches its recursion limit. */
#define STACK_BYTES ((size_t)8 << 20)

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

bool
runtime_spawn_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attr, body, arg);
    pthread_attr_destroy(&attr);
    return failed == 0;
}

typedef struct helper {
    void *(*body)(void *);
    void *arg;
} helper;

static void *
helper_main(void *arg)
{
    helper task = *(helper *)arg;
    free(arg);
    runtime_name_thread("erlpy_helper");
    return task.body(task.arg);
}

bool
runtime_spawn_helper(void *(*body)(void *), void *arg)
{
    helper *task = malloc(sizeof *task);
    if (task == NULL) {
        return false;
    }
    *task = (helper){body, arg};
    if (runtime_spawn_thread(helper_main, task)) {
        return true;
    }
    free(task);
    return false;
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

/* A stop is complete when the last thread of this epoch has ended; those that an
 * earlier stop has left behind are not waited for again. */
static void
count_thread(ErlNifEnv *caller_env, uint64_t epoch, int change)
{
    pthread_mutex_lock(&rt->lock);
    rt->threads += epoch == rt->epoch ? change : 0;
    bool tell = rt->stop_unanswered && rt->threads == 0;
    ErlNifPid owner = rt->owner;
    if (tell) {
        rt->stop_unanswered = false;
    }
    pthread_mutex_unlock(&rt->lock);
    if (tell) {
        tell_stopped(caller_env, &owner);
    }
}

uint64_t
runtime_thread_started(void)
{
    pthread_mutex_lock(&rt->lock);
    uint64_t epoch = rt->epoch;
    rt->threads++;
    pthread_mutex_unlock(&rt->lock);
    return epoch;
}

void
runtime_thread_ended(uint64_t epoch)
{
    count_thread(NULL, epoch, -1);
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
    runtime_config *config = rt->config;
    rt->config = NULL;
    if (failure == NULL) {
        executor_set_limits(rt->pool, config->threads, config->max_threads,
                            config->idle_ns);
        event_loops_open(config->event_loops, config->uvloop);
        executor_open(rt->pool);
        if (!executor_start_canceller() || !executor_start(rt->pool, config->threads)) {
            failure = strdup("no thread could be started");
        }
    }
    runtime_config_free(config);
    ErlNifPid owner = set_state(failure == NULL ? RUNTIME_UP : RUNTIME_PARKED);
    tell_started(&owner, failure);
    free(failure);
}

static void
serve_main(void)
{
    for (;;) {
        int64_t next_look = executor_look_around(rt->pool, platform_now_ns());
        platform_event_wait(&rt->main_event, next_look, 0, false);
        platform_event_clear(&rt->main_event);
        if (atomic_exchange(&rt->start_asked, false)) {
            take_up();
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
runtime_wake_main(void)
{
    platform_event_set(&rt->main_event);
}

/* ---- Start and stop ---- */

static bool
spawn_main_thread(void)
{
    platform_event_init(&rt->main_event);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    rt->cores = cores > 0 ? (int)cores : 1;
    return runtime_spawn_thread(main_thread, NULL);
}

static runtime_result
begin_start_locked(runtime_config *config, const ErlNifPid *owner)
{
    int before = atomic_load(&rt->state);
    if (before != RUNTIME_DOWN && before != RUNTIME_PARKED) {
        return RUNTIME_BUSY;
    }
    if (before == RUNTIME_DOWN && interpreter_is_there()) {
        return RUNTIME_FOREIGN;
    }
    rt->config = config;
    rt->owner = *owner;
    rt->stop_unanswered = false;
    rt->max_threads = config->max_threads;
    rt->epoch++;
    rt->threads = 0;
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
    rt->context_count = 0;
    rt->stop_unanswered = true;
    /* Counted like a worker, so that the answer comes after the last step here. */
    rt->threads++;
    uint64_t epoch = rt->epoch;
    pthread_mutex_unlock(&rt->lock);
    executor_close(rt->pool, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
    while (contexts != NULL) {
        context_entry *entry = contexts;
        contexts = entry->next;
        executor_close(entry->ex, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
        executor_release(entry->ex);
        free(entry);
    }
    executor_abandon_tasks(nif_am.am_stopped, caller_env);
    event_loops_end();
    count_thread(caller_env, epoch, -1);
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
        rt->context_count++;
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
        rt->context_count--;
    }
    pthread_mutex_unlock(&rt->lock);
    if (entry == NULL) {
        return;
    }
    executor_release(entry->ex);
    free(entry);
}

/* ---- Looking ---- */

void
runtime_get_info(runtime_info *info)
{
    executor_count_all(&info->counts);
    pthread_mutex_lock(&rt->lock);
    info->started = atomic_load(&rt->state) == RUNTIME_UP;
    info->contexts = rt->context_count;
    info->max_threads = rt->max_threads;
    pthread_mutex_unlock(&rt->lock);
}
