/*
 * nif.c: the table of functions that the module py_nif gets, loading and upgrading.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "atoms.h"
#include "buffer.h"
#include "callback.h"
#include "channel.h"
#include "context.h"
#include "core.h"
#include "host.h"
#include "interpreter.h"
#include "job.h"
#include "loop.h"
#include "reactor.h"
#include "reason.h"
#include "runtime.h"
#include "shared.h"

/* ---- Starting and stopping ---- */

/* An owned copy of a binary as a C string, NULL when it is none or has a NUL in it. */
static char *
copy_text(ErlNifEnv *env, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary) ||
        memchr(binary.data, 0, binary.size) != NULL) {
        return NULL;
    }
    char *text = malloc(binary.size + 1);
    if (text == NULL) {
        return NULL;
    }
    memcpy(text, binary.data, binary.size);
    text[binary.size] = '\0';
    return text;
}

static char **
copy_texts(ErlNifEnv *env, ERL_NIF_TERM list)
{
    unsigned length;
    ERL_NIF_TERM head;
    if (!enif_get_list_length(env, list, &length)) {
        return NULL;
    }
    char **texts = calloc((size_t)length + 1, sizeof *texts);
    for (unsigned i = 0; texts != NULL && i < length; i++) {
        enif_get_list_cell(env, list, &head, &list);
        texts[i] = copy_text(env, head);
        if (texts[i] != NULL) {
            continue;
        }
        while (i > 0) {
            free(texts[--i]);
        }
        free(texts);
        texts = NULL;
    }
    return texts;
}

/* (Executable | none, PythonPath, SpinMicroseconds, Threads, MaxThreads, IdleMs,
 * EventLoops, Uvloop, OwnPools) */
static runtime_config *
read_config(ErlNifEnv *env, const ERL_NIF_TERM argv[])
{
    unsigned spin_us, idle_ms;
    runtime_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return NULL;
    }
    bool own = enif_is_identical(argv[0], nif_am.am_none);
    config->executable = own ? NULL : copy_text(env, argv[0]);
    config->python_path = copy_texts(env, argv[1]);
    if ((own || config->executable != NULL) && config->python_path != NULL &&
        enif_get_uint(env, argv[2], &spin_us) && spin_us <= 1000000 &&
        enif_get_uint(env, argv[3], &config->threads) && config->threads > 0 &&
        enif_get_uint(env, argv[4], &config->max_threads) &&
        config->max_threads >= config->threads &&
        enif_get_uint(env, argv[5], &idle_ms) &&
        enif_get_uint(env, argv[6], &config->event_loops) && config->event_loops > 0 &&
        enif_get_uint(env, argv[8], &config->own_pools) &&
        config->own_pools <= RUNTIME_MAX_POOLS) {
        config->uvloop = enif_is_identical(argv[7], nif_am.am_true);
        config->spin_ns = spin_us * 1000;
        config->idle_ns = (int64_t)idle_ms * 1000000;
        return config;
    }
    runtime_config_free(config);
    return NULL;
}

static ERL_NIF_TERM
text_term(ErlNifEnv *env, const char *text)
{
    ERL_NIF_TERM term;
    size_t size = strlen(text);
    memcpy(enif_make_new_binary(env, size, &term), text, size);
    return term;
}

static ERL_NIF_TERM
start_failure(ErlNifEnv *env, runtime_result result)
{
    switch (result) {
    case RUNTIME_BUSY:
        return nif_am.am_started;
    case RUNTIME_FOREIGN:
        return text_term(env,
                         "Python runs in this node already, started by another copy "
                         "of erlpy or another library: restart the node");
    default:
        return nif_am.am_enomem;
    }
}

static ERL_NIF_TERM
start_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifPid self;
    (void)argc;
    runtime_config *config = read_config(env, argv);
    if (config == NULL) {
        return enif_make_badarg(env);
    }
    enif_self(env, &self);
    runtime_result result = runtime_start(config, &self);
    if (result == RUNTIME_OK) {
        return nif_am.am_ok;
    }
    runtime_config_free(config);
    return enif_make_tuple2(env, nif_am.am_error, start_failure(env, result));
}

static ERL_NIF_TERM
stop_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    runtime_stop(env);
    return nif_am.am_ok;
}

static ERL_NIF_TERM
version_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return text_term(env, interpreter_version());
}

/* The keys are documented at py:info/0. */
static ERL_NIF_TERM
info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    runtime_info info;
    unsigned realms, idle_realms;
    runtime_get_info(&info);
    interpreters_count(&realms, &idle_realms);
    const executor_counts *counts = &info.counts;
    unsigned running = counts->threads - counts->parked - counts->idle;
    ERL_NIF_TERM keys[] = {
        nif_am.am_started,     nif_am.am_threads,      nif_am.am_running,
        nif_am.am_parked,      nif_am.am_idle,         nif_am.am_queued,
        nif_am.am_stuck,       nif_am.am_calls,        nif_am.am_contexts,
        nif_am.am_max_threads, nif_am.am_tasks,        nif_am.am_event_loops,
        nif_am.am_python,      nif_am.am_interpreters, nif_am.am_idle_interpreters,
        nif_am.am_erlpy};
    ERL_NIF_TERM values[] = {
        info.started ? nif_am.am_true : nif_am.am_false,
        enif_make_uint(env, counts->threads),
        enif_make_uint(env, running),
        enif_make_uint(env, counts->parked),
        enif_make_uint(env, counts->idle),
        enif_make_uint64(env, counts->queued),
        enif_make_uint64(env, counts->stuck),
        enif_make_uint64(env, counts->calls),
        enif_make_uint(env, info.contexts),
        enif_make_uint(env, info.max_threads),
        enif_make_uint64(env, counts->tasks),
        enif_make_uint(env, event_loops_running()),
        version_nif(env, argc, argv),
        enif_make_uint(env, realms),
        enif_make_uint(env, idle_realms),
        text_term(env, ERLPY_VERSION),
    };
    ERL_NIF_TERM map;
    enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

/* ---- The library ---- */

/* Tells the caller of erlang:load_nif/2, which passes {self(), Ref}, why it fails. */
static int
refuse(ErlNifEnv *env, ERL_NIF_TERM info, const char *why)
{
    int arity;
    const ERL_NIF_TERM *elements;
    ErlNifPid caller;
    if (enif_get_tuple(env, info, &arity, &elements) && arity == 2 &&
        enif_get_local_pid(env, elements[0], &caller)) {
        enif_send(env, &caller, NULL,
                  enif_make_tuple3(env, nif_am.am_erlpy_refused, elements[1],
                                   text_term(env, why)));
    }
    return 1;
}

static int
join(ErlNifEnv *env, void **priv_data, ERL_NIF_TERM info)
{
    ErlNifResourceFlags flags = ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER;
    if (core_open_type(env, flags) != 0 || buffer_open_types(env, flags) != 0 ||
        channel_open_types(env, flags) != 0 || context_open_type(env, flags) != 0 ||
        job_open_type(env, flags) != 0 || executor_open_type(env, flags) != 0 ||
        callback_open_type(env, flags) != 0 || reactor_open_types(env, flags) != 0) {
        return refuse(env, info, "its resource types cannot be had");
    }
    nif_reasons_init();
    pyb_set_host(host_table());
    *priv_data = rt;
    return 0;
}

/* The linker's -z nodelete says the same where there is one: Python cannot be unloaded,
 * and threads of ours run in this library for good. */
static bool
pin_library(void)
{
    Dl_info self;
    return dladdr(&rt, &self) != 0 &&
           /* cppcheck-suppress leakReturnValNotUsed ; to stay is the purpose */
           dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) != NULL;
}

static int
load(ErlNifEnv *env, void **priv_data, ERL_NIF_TERM info)
{
    nif_atoms_init(env);
    const char *failure = interpreter_publish_symbols();
    if (failure != NULL) {
        return refuse(env, info, failure);
    }
    if (!pin_library()) {
        return refuse(env, info, "it cannot be kept in memory");
    }
    if (!nif_shared_open()) {
        return refuse(env, info, "out of memory");
    }
    return join(env, priv_data, info);
}

/* This library, or another copy of it, has been loaded before, and Python may run. */
static int
upgrade(ErlNifEnv *env, void **priv_data, void **old_priv_data, ERL_NIF_TERM info)
{
    char why[200];
    nif_atoms_init(env);
    if (!pin_library()) {
        return refuse(env, info, "it cannot be kept in memory");
    }
    if (!nif_shared_adopt(*old_priv_data, why, sizeof why)) {
        return refuse(env, info, why);
    }
    return join(env, priv_data, info);
}

/* Called by the module as soon as it has been loaded. */
static ERL_NIF_TERM
loaded_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)env;
    (void)argc;
    (void)argv;
    nif_keep_types();
    return nif_am.am_ok;
}

/* Dirty: those that answer every pending call of an executor. */
static ErlNifFunc functions[] = {
    {"loaded", 0, loaded_nif, 0},
    {"start", 9, start_nif, 0},
    {"stop", 0, stop_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"version", 0, version_nif, 0},
    {"info", 0, info_nif, 0},
    {"context_new", 1, context_new_nif, 0},
    {"context_destroy", 1, context_destroy_nif, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"context_interrupt", 1, context_interrupt_nif, 0},
    {"is_context", 1, is_context_nif, 0},
    {"submit", 5, submit_nif, 0},
    {"cancel", 1, cancel_nif, 0},
    {"callback_take", 1, callback_take_nif, 0},
    {"callback_reply", 2, callback_reply_nif, 0},
    {"buffer_new", 1, buffer_new_nif, 0},
    {"buffer_write", 2, buffer_write_nif, 0},
    {"buffer_park", 3, buffer_park_nif, 0},
    {"buffer_unpark", 1, buffer_unpark_nif, 0},
    {"buffer_close", 1, buffer_close_nif, 0},
    {"buffer_abort", 3, buffer_abort_nif, 0},
    {"buffer_reason", 1, buffer_reason_nif, 0},
    {"buffer_set_owner", 2, buffer_set_owner_nif, 0},
    {"buffer_monitor", 1, buffer_monitor_nif, 0},
    {"buffer_info", 1, buffer_info_nif, 0},
    {"is_buffer", 1, is_buffer_nif, 0},
    {"channel_new", 2, channel_new_nif, 0},
    {"channel_send", 2, channel_send_nif, 0},
    {"channel_park", 3, channel_park_nif, 0},
    {"channel_unpark", 1, channel_unpark_nif, 0},
    {"channel_receive", 1, channel_receive_nif, 0},
    {"channel_listen", 2, channel_listen_nif, 0},
    {"channel_look", 1, channel_look_nif, 0},
    {"channel_unlisten", 1, channel_unlisten_nif, 0},
    {"channel_fetch", 2, channel_fetch_nif, 0},
    {"channel_close", 1, channel_close_nif, 0},
    {"channel_set_owner", 2, channel_set_owner_nif, 0},
    {"channel_info", 1, channel_info_nif, 0},
    {"reactor_new", 1, reactor_new_nif, 0},
    {"reactor_handoff", 3, reactor_handoff_nif, 0},
    {"reactor_ready", 2, reactor_ready_nif, 0},
    {"reactor_close", 1, reactor_close_nif, 0},
    {"reactor_info", 1, reactor_info_nif, 0},
    {"dup_fd", 1, dup_fd_nif, 0},
};

ERL_NIF_INIT(py_nif, functions, load, NULL, upgrade, NULL)
