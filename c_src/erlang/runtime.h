/*
 * runtime.h: Python in the node, started once, and the threads around it.
 *
 *   DOWN --start--> STARTING --main thread--> UP --stop--> PARKED --start--> STARTING
 *                       `--> FAILED (CPython would not start; final)
 *
 * CPython is started once, on a thread of ours that stays: it is Python's main thread,
 * takes the application up again after a stop, and watches the pool while jobs queue.
 * The main interpreter is never finalised: extension modules do not survive it, and
 * threads that come back later would die.
 *
 * Calls that name no context run in the pool: one executor of the main interpreter, or
 * by a setting as many as it says, each in an interpreter with a GIL of its own.
 *
 * LOCK.  rt->lock guards the state and the list of contexts; an executor's lock
 * may be taken under it, never the other way round.
 */
#ifndef ERLPY_RUNTIME_H
#define ERLPY_RUNTIME_H

/* The pool is spread over so many interpreters at most. */
#define RUNTIME_MAX_POOLS 256

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

#include "executor.h"

typedef struct runtime_config {
    char *executable;   /* what sys.executable shall be */
    char **python_path; /* put in front of sys.path; NULL-terminated */
    uint32_t spin_ns;
    unsigned threads;     /* workers of the pool that always are there */
    unsigned max_threads; /* workers of the pool, at most */
    int64_t idle_ns;      /* after which the others end */
    unsigned event_loops; /* on which coroutines run, at most */
    bool uvloop;          /* they are of that kind */
    unsigned own_pools; /* interpreters that the pool is spread over; 0: the main one */
} runtime_config;

void runtime_config_free(runtime_config *config);

typedef enum {
    RUNTIME_OK,
    RUNTIME_BUSY,
    RUNTIME_FOREIGN,
    RUNTIME_NOMEM
} runtime_result;

/* Starts Python, or takes it up again, and later sends `owner` {erlpy, started, ok} or
 * {erlpy, started, {error, Text}}.  Takes the config.  RUNTIME_BUSY: it is up already,
 * or on its way.  RUNTIME_FOREIGN: Python runs in this process, but not started by us.
 */
runtime_result runtime_start(runtime_config *config, const ErlNifPid *owner);
/* Refuses new jobs, answers all pending ones {error, stopped} and cancels them, ends
 * every context, and
 * sends the owner {erlpy, stopped} once the last worker thread has ended.  One whose
 * code cannot be stopped is left behind. */
void runtime_stop(ErlNifEnv *caller_env);

bool runtime_is_up(void);
/* The executor for a call that names no context (shared), or NULL when not up. */
executor *runtime_share_pool(void);
/* Visits every one of these there is. */
void runtime_for_each_pool(void (*visit)(executor *pool, void *arg), void *arg);
/* A new context, known to runtime_stop(), in the main interpreter or in one of its own;
 * NULL when not up or out of memory. */
executor *runtime_context_new(bool own);
/* Forgets a context that is closed or has no thread any more.  Idempotent. */
void runtime_context_remove(executor *ex);

/* What is put in front of sys.path, as it is set now; owned, NULL-terminated.  NULL: no
 * memory. */
char **runtime_copy_python_path(void);
/* Such a list; NULL is none. */
void runtime_free_texts(char **texts);

/* Has the main thread look around (executor_look_around). */
void runtime_wake_main(void);
/* Threads of an interpreter that may run Python at the same time. */
unsigned runtime_parallelism(void);

/* How long a thread of ours spins before it sleeps. */
uint32_t runtime_spin_ns(void);

/* Answers the epoch that the end has to be told with. */
uint64_t runtime_thread_started(void);
void runtime_thread_ended(uint64_t epoch);
/* Detached, with a stack that is large enough for Python.  False: there are too many.
 */
bool runtime_spawn_thread(void *(*body)(void *), void *arg);
/* The same for a piece of work without Python. */
bool runtime_spawn_helper(void *(*body)(void *), void *arg);
void runtime_name_thread(const char *name);

typedef struct runtime_info {
    executor_counts counts;
    bool started;
    unsigned contexts;
    unsigned max_threads;
} runtime_info;

/* Also when it is not up. */
void runtime_get_info(runtime_info *info);

#endif
