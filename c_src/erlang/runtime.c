#include "runtime.h"

#include <limits.h>
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
runtime_free_texts(char **texts)
{
    for (char **text = texts; text != NULL && *text != NULL; text++) {
        free(*text);
    }
    free(texts);
}

void
runtime_config_free(runtime_config *config)
{
    if (config == NULL) {
        return;
    }
    free(config->executable);
    runtime_free_texts(config->python_path);
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

/* Opened, and with its first thread. */
static executor *
open_own_pool(const runtime_config *config)
{
    unsigned limit = config->max_threads / config->own_pools;
    interpreter *in = interpreter_new(true);
    executor *ex = in != NULL ? executor_new(in, false) : NULL;
    interpreter_release(in);
    if (ex == NULL) {
        return NULL;
    }
    executor_set_limits(ex, 1, limit > 0 ? limit : 1, config->idle_ns);
    executor_open(ex);
    if (executor_start(ex, 1)) {
        return ex;
    }
    executor_release(ex);
    return NULL;
}

static void
close_pools(executor **pools, unsigned count, ErlNifEnv *caller_env)
{
    for (unsigned i = 0; i < count; i++) {
        executor_close(pools[i], EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
        executor_release(pools[i]);
    }
    free(pools);
}

static bool
open_own_pools(const runtime_config *config)
{
    unsigned count = 0;
    executor **pools = calloc(config->own_pools, sizeof(executor *));
    while (pools != NULL && count < config->own_pools &&
           (pools[count] = open_own_pool(config)) != NULL) {
        count++;
    }
    if (count < config->own_pools) {
        close_pools(pools, count, NULL);
        return false;
    }
    pthread_mutex_lock(&rt->lock);
    rt->own_pools = pools;
    atomic_store(&rt->own_pool_count, count);
    pthread_mutex_unlock(&rt->lock);
    return true;
}

static bool
open_pools(const runtime_config *config)
{
    if (config->own_pools > 0) {
        return open_own_pools(config);
    }
    executor_set_limits(rt->pool, config->threads, config->max_threads,
                        config->idle_ns);
    executor_open(rt->pool);
    return executor_start(rt->pool, config->threads);
}

/* What later interpreters get. */
static void
keep_python_path(runtime_config *config)
{
    pthread_mutex_lock(&rt->lock);
    char **before = rt->python_path;
    rt->python_path = config->python_path;
    config->python_path = NULL;
    pthread_mutex_unlock(&rt->lock);
    runtime_free_texts(before);
}

/* NULL: no memory. */
static char **
copy_texts(char **texts)
{
    size_t count = 0;
    while (texts != NULL && texts[count] != NULL) {
        count++;
    }
    char **copy = calloc(count + 1, sizeof(char *));
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = strdup(texts[i]);
        if (copy[i] == NULL) {
            runtime_free_texts(copy);
            return NULL;
        }
    }
    return copy;
}

char **
runtime_copy_python_path(void)
{
    pthread_mutex_lock(&rt->lock);
    char **copy = copy_texts(rt->python_path);
    pthread_mutex_unlock(&rt->lock);
    return copy;
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
        keep_python_path(config);
        event_loops_open(config->event_loops, config->uvloop);
        failure =
            open_pools(config) ? NULL : interpreter_text("no thread could be started");
    }
    runtime_config_free(config);
    ErlNifPid owner = set_state(failure == NULL ? RUNTIME_UP : RUNTIME_PARKED);
    tell_started(&owner, failure);
    interpreter_free_text(failure);
}

static void
serve_main(void)
{
    for (;;) {
        int64_t next_look = executor_look_around(platform_now_ns());
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
    rt->pool = executor_new(rt->main, false);
    char *failure = rt->pool == NULL ? interpreter_text("out of memory")
                                     : interpreter_start(rt->config);
    if (failure != NULL) {
        runtime_config_free(rt->config);
        rt->config = NULL;
        ErlNifPid owner = set_state(RUNTIME_FAILED);
        tell_started(&owner, failure);
        interpreter_free_text(failure);
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
    executor **own_pools = rt->own_pools;
    unsigned own_pool_count = atomic_exchange(&rt->own_pool_count, 0);
    rt->own_pools = NULL;
    rt->stop_unanswered = true;
    /* Counted like a worker, so that the answer comes after the last step here. */
    rt->threads++;
    uint64_t epoch = rt->epoch;
    pthread_mutex_unlock(&rt->lock);
    event_loops_close();
    executor_close(rt->pool, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
    close_pools(own_pools, own_pool_count, caller_env);
    while (contexts != NULL) {
        context_entry *entry = contexts;
        contexts = entry->next;
        executor_close(entry->ex, EXECUTOR_ABORT, nif_am.am_stopped, caller_env);
        executor_release(entry->ex);
        free(entry);
    }
    executor_abandon_tasks(nif_am.am_stopped, caller_env);
    event_loops_end(rt->main, false);
    count_thread(caller_env, epoch, -1);
}

/* ---- Executors ---- */

bool
runtime_is_up(void)
{
    return atomic_load(&rt->state) == RUNTIME_UP;
}

/* The one with the least to do; among equals they take turns. */
static executor *
pick_own_pool_locked(unsigned count)
{
    unsigned least = UINT_MAX, first = rt->next_pool++;
    executor *found = count > 0 ? rt->own_pools[first % count] : NULL;
    for (unsigned i = 0; i < count && least > 0; i++) {
        executor *ex = rt->own_pools[(first + i) % count];
        unsigned load = executor_load(ex);
        if (load < least) {
            least = load;
            found = ex;
        }
    }
    return found;
}

executor *
runtime_share_pool(void)
{
    if (!runtime_is_up()) {
        return NULL;
    }
    if (atomic_load_explicit(&rt->own_pool_count, memory_order_relaxed) == 0) {
        return executor_share(rt->pool);
    }
    pthread_mutex_lock(&rt->lock);
    executor *found = pick_own_pool_locked(atomic_load(&rt->own_pool_count));
    if (found != NULL) {
        executor_share(found);
    }
    pthread_mutex_unlock(&rt->lock);
    return found;
}

void
runtime_for_each_pool(void (*visit)(executor *pool, void *arg), void *arg)
{
    executor *pools[RUNTIME_MAX_POOLS];
    pthread_mutex_lock(&rt->lock);
    unsigned count = atomic_load(&rt->own_pool_count);
    for (unsigned i = 0; i < count; i++) {
        pools[i] = executor_share(rt->own_pools[i]);
    }
    pthread_mutex_unlock(&rt->lock);
    visit(rt->pool, arg);
    for (unsigned i = 0; i < count; i++) {
        visit(pools[i], arg);
        executor_release(pools[i]);
    }
}

static executor *
new_context(bool own)
{
    interpreter *in = own ? interpreter_new(true) : interpreter_share(rt->main);
    executor *ex = in != NULL ? executor_new(in, true) : NULL;
    interpreter_release(in);
    return ex;
}

executor *
runtime_context_new(bool own)
{
    context_entry *entry = calloc(1, sizeof *entry);
    executor *ex = entry != NULL ? new_context(own) : NULL;
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
