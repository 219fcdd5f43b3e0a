/*
 * shared.h: what all copies of this library in one process have in common.
 *
 *   copy loaded first            copy loaded later (upgrade)
 *     rt ---> [ nif_shared ] <--- rt
 *               layout, keys, runtime, ...
 *
 * CPython exists once a process, and threads of ours run in the copy that started them
 * for good.  So all state of the room that a copy may change lives in one heap object
 * that the first copy makes, the node passes on through priv_data, and nobody frees.
 *
 * Per copy are: the atoms (the same values in each), the pointers to the resource types
 * (an upgrade takes the types over as they are), the jobs that are kept for reuse (a
 * job is malloc memory and two environments of the node: it may be made by one copy and
 * kept by another, and each keeps some of its own), and counters that hold for one call
 * of one function.
 */
#ifndef ERLPY_SHARED_H
#define ERLPY_SHARED_H

#include <erl_nif.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../stream/platform.h"

/* To be raised whenever something changes that two copies reach: this struct, and what
 * hangs on it (executors, workers, jobs, resources, streams, pyb_state, pyb_host). */
#define NIF_LAYOUT 4

/* Resource types of the library, at most. */
#define NIF_MAX_TYPES 24

struct executor;
struct context_entry;
struct interpreter;
struct realm;
struct runtime_config;

typedef struct nif_shared {
    uint64_t layout;     /* first for ever: NIF_LAYOUT of the copy that made this */
    uint64_t python_abi; /* second for ever: interpreter_abi() of that copy */

    /* What a thread is to all copies (a _Thread_local would be one a copy). */
    pthread_key_t worker_key; /* executor.c: the worker that it is, or NULL */
    /* nif_env.c of the first copy: where the environment of the NIF is that the calling
     * thread is in.  A thread local, since each write sets it. */
    ErlNifEnv **(*env_here)(void);

    /* runtime.c */
    pthread_mutex_t lock;
    _Atomic int state;           /* written under the lock */
    struct interpreter *main;    /* made once, as the next one */
    struct executor *pool;       /* of the main interpreter */
    struct executor **own_pools; /* lock; those of the setting, or NULL */
    _Atomic unsigned own_pool_count;
    unsigned next_pool;             /* lock: whose turn it is */
    struct runtime_config *config;  /* of the start under way; the main thread's */
    ErlNifPid owner;                /* lock */
    struct context_entry *contexts; /* lock */
    unsigned context_count;         /* lock: of these */
    unsigned max_threads;           /* lock: the setting of the last start */
    uint64_t epoch;                 /* lock: counts the starts */
    int threads;                    /* lock: worker threads of this epoch alive */
    bool main_running;              /* lock: the main thread exists */
    bool stop_unanswered;           /* lock: the owner waits for {erlpy, stopped} */
    platform_event main_event;      /* start requested, or something to watch */
    atomic_bool start_asked;
    atomic_uint spin_ns;
    int cores;

    /* executor.c: every executor that lives.  The lock comes before an executor's. */
    pthread_mutex_t executors_lock;
    struct executor *executors;
    uint64_t calls_of_gone; /* the calls of those that are gone */

    /* watch.c */
    _Atomic int watch_level;
    int64_t fast_look_ns, slow_look_ns, restless_ns; /* the main thread's */

    pthread_mutex_t asked_lock; /* cancel.c: see interpreter.h.  A leaf */

    /* loop.c */
    pthread_key_t loop_key;     /* the event_loop that a thread is, or NULL */
    pthread_mutex_t loops_lock; /* the next ones; before a loop's and `lock` */
    unsigned loop_count;        /* the setting; 0: none may be started */
    unsigned loop_threads;      /* those that are there, of every start */
    bool uvloop;                /* the setting */

    atomic_uint_fast64_t last_call_id; /* callback.c */
    platform_room *platform;           /* that of the copy that made this */

    atomic_bool forked; /* this is a child of the node */

    /* interpreter.c: sys.executable of the interpreter that runs, to notice a start
     * with another one. */
    char *running_executable;
    /* lock: the directories in front of sys.path in interpreters that are made */
    char **python_path;
    /* interpreters.c, lock */
    unsigned realms, idle_realms;
    struct realm *realm; /* the idle ones */
} nif_shared;

/* Set at load, before any other function of the room runs. */
extern nif_shared *rt;

/* For load: makes the object unless this copy has one.  False: no memory. */
bool nif_shared_open(void);
/* For upgrade: from now on this copy works with the object of the one that was loaded
 * before it.  False: it cannot, and `why` says so. */
bool nif_shared_adopt(nif_shared *old, char *why, size_t size);

/* As enif_open_resource_type_x(), by which all types of the library are to be opened.
 */
ErlNifResourceType *nif_open_type(ErlNifEnv *env, const char *name,
                                  const ErlNifResourceTypeInit *callbacks,
                                  ErlNifResourceFlags flags);
/* Holds an object of each type, so that the node forgets none when the module is
 * deleted and purged: threads of ours go on making objects.  Once load has succeeded.
 */
void nif_keep_types(void);

#endif
