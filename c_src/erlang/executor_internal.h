/*
 * executor_internal.h: what executor.c, worker.c, cancel.c and watch.c share.
 *
 * A WORKER   is in one of the states below, and in the list of its state:
 *
 *      start --> ACTIVE <----> IDLE --> end (idle for long, and not needed)
 *                 |  ^
 *    wait of ours |  | the wait is over, the job has ended
 *                 v  |
 *              PARKED, STALLED (the watcher saw it blocked elsewhere)
 *
 * Only ACTIVE ones count in `active`, and of those only the ones that are not stuck and
 * belong to the present generation.
 *
 * A JOB      is queued, then runs on one worker, then has ended, or goes on as a task
 * of an event loop (tasks.c).  Its cancel:
 *
 *   NONE --cancel--> REQUESTED --the wait ends by the token--> DELIVERED
 *                        `--the canceller--> ASYNC --the wait--> DELIVERED
 *
 * In REQUESTED and ASYNC the token of the worker is raised.  ASYNC: CPython holds the
 * exception for the thread, or has raised it.  The end of the job, under the same lock,
 * takes back what was not delivered, and no other job begins before that is done.
 */
#ifndef ERLPY_EXECUTOR_INTERNAL_H
#define ERLPY_EXECUTOR_INTERNAL_H

#include <pthread.h>

#include "../stream/platform.h"
#include "executor.h"
#include "loop.h"
#include "runner.h"

#define EXECUTOR_LOOK_NS      50000000 /* between two looks while jobs run */
#define EXECUTOR_FAST_LOOK_NS 5000000  /* while the queue of the pool is behind */

typedef enum {
    WORKER_ACTIVE,
    WORKER_IDLE,
    WORKER_PARKED,
    WORKER_STALLED,
    WORKER_STATES
} worker_state;

typedef struct worker {
    executor *ex;
    uint64_t generation;
    platform_event wake;
    stream_token token;

    /* executor's lock */
    worker_state state;
    bool stuck;               /* its job was cancelled and goes on */
    job *running;             /* the innermost one */
    struct callback *waiting; /* the innermost erlang.call it waits in, or NULL */
    stream_waker *loop;       /* of the asyncio loop that its job runs, or NULL; set by
                                 this thread only; a reference */
    uint64_t serial;          /* jobs begun */
    struct worker *next, *prev;

    /* the watcher's, under the lock */
    uint64_t seen_serial, timed_serial;
    int64_t cpu_ns;
    unsigned looks;

    atomic_bool wants_gil; /* waits for it between its jobs */
    /* Set before its first job. */
    pthread_t thread;
    unsigned long ident; /* as Python names it */
    uint64_t epoch;      /* of the application's starts */

    /* this thread only */
    runner *run;
    PyThreadState *python;
    int64_t gil_since_ns;
} worker;

typedef enum { EXECUTOR_CLOSED, EXECUTOR_OPEN, EXECUTOR_DRAINING } executor_state;

typedef struct task_list {
    job *first, *last;
    size_t count;
} task_list;

struct executor {
    atomic_uint refs;
    bool context;
    atomic_bool failed;                 /* `in` cannot be entered (any more) */
    interpreter *in;                    /* a reference */
    executor *next_known, **known_link; /* lock of the registry */

    pthread_mutex_t lock; /* all below */
    executor_state state;
    uint64_t generation; /* counts closings: workers of an older one leave */
    job *first, *last;
    size_t queued;  /* with those that wait to be run nested */
    size_t chained; /* in the queue of the pool, on behalf of a thread that waits */
    worker *workers[WORKER_STATES];
    unsigned count[WORKER_STATES]; /* of every generation, as `stuck` */
    unsigned stuck;
    unsigned active;  /* of this generation, as the next two */
    unsigned threads; /* without the stuck ones */
    unsigned base, limit;
    int64_t idle_ns;
    unsigned unobeyed; /* jobs of which `unobeyed` is set: cancelled, not yet stuck */
    task_list tasks[TASK_STATES];
    uint64_t taken;
    int submitter; /* processor of the last submit */

    /* the watcher's */
    uint64_t seen_taken, expected_taken;
    unsigned standing, burst;
};

/* ---- executor.c ---- */

void executor__push_front_locked(executor *ex, job *j);
/* Also one that waits to be run nested. */
void executor__unqueue_locked(executor *ex, job *j);
job *executor__pop_locked(executor *ex);
/* Moves a worker between the states, and keeps the counts. */
void executor__set_worker_locked(worker *w, worker_state state, bool stuck);
void executor__add_worker_locked(worker *w);
void executor__remove_worker_locked(worker *w);
/* An idle worker that now counts as active, or NULL; wake it after unlocking. */
worker *executor__recruit_locked(executor *ex);
/* The same for the next job, if there is one that it may take. */
worker *executor__recruit_for_job_locked(executor *ex);
/* Calls `look` with each executor that lives; none comes or goes meanwhile. */
void executor__for_each(void (*look)(executor *ex, void *arg), void *arg);

static inline void
executor__wake(worker *w)
{
    if (w != NULL) {
        platform_event_set(&w->wake);
    }
}

/* May have one more thread. */
static inline bool
executor__may_grow_locked(const executor *ex)
{
    return !ex->context && ex->state == EXECUTOR_OPEN && ex->threads < ex->limit;
}

/* There is a job for one of `busy` workers that do not idle.  Those who were started
 * for a chain beyond the limit leave the others' jobs alone. */
static inline bool
executor__may_take_locked(const executor *ex, unsigned busy)
{
    return ex->first != NULL &&
           (ex->context || ex->first->chain != NULL || busy <= ex->limit);
}

/* Workers that count against the limit. */
static inline unsigned
executor__busy_locked(const executor *ex)
{
    return ex->threads - ex->count[WORKER_IDLE];
}

/* ---- worker.c ---- */

bool executor__start_worker(executor *ex);
/* The worker runs this job from now on, nested in the one that it runs. */
void executor__begin_job_locked(worker *w, job *j);
/* From here on nobody else looks at the job on behalf of this worker.  True: an
 * exception that was meant for it may still come: executor__take_back_gil().  *moved:
 * the loop that it has gone to, to be woken, or NULL. */
bool executor__end_job_locked(worker *w, job *j, event_loop **moved);
/* After that and the lock: the worker's reference is given up, or has gone to the loop.
 */
void executor__leave_job(job *j, event_loop *moved);
/* Nobody waits for the answer of a caller that has died while the job was queued. */
void executor__check_caller(job *j);
/* The worker of ours that is the calling thread, or NULL. */
worker *executor__current_worker(void);

/* ---- cancel.c ---- */

/* Has the canceller look at a running job; not under the lock. */
void executor__ask_canceller(executor *ex, job *j);
/* executor_cancel(); `again`: also a job that was cancelled before and goes on. */
void executor__cancel(executor *ex, job *j, bool again);
/* The end of a job that was cancelled.  True: an exception may be left with CPython,
 * and executor__take_back_gil() is due before the next job. */
bool executor__end_cancel_locked(worker *w, job *j);

/* It has ended, or counts as stuck. */
static inline void
executor__obeyed_locked(executor *ex, job *j)
{
    ex->unobeyed -= j->unobeyed;
    j->unobeyed = false;
}

void executor__take_back_gil(void);

/* The caller's death cancels the job from now on, if it still runs. */
void executor__monitor_caller(executor *ex, job *j);
void executor__demonitor_caller(job *j);
int executor__open_monitor_type(ErlNifEnv *env, ErlNifResourceFlags flags);

/* ---- tasks.c ---- */

/* The job goes to its loop, with the reference of the worker.  Returns shared: the
 * loop, to be woken. */
event_loop *executor__move_locked(executor *ex, job *j);
/* A cancel for the task; the loop as above, or NULL when it knows already. */
event_loop *executor__cancel_task_locked(executor *ex, job *j);
/* Those that were cancelled long ago are stuck.  True: some may become so. */
bool executor__look_at_tasks_locked(executor *ex, int64_t now_ns);
/* Answers them all {error, reason} and cancels them; `again`: also those that were
 * cancelled before. */
void executor__cancel_tasks(executor *ex, ERL_NIF_TERM reason, ErlNifEnv *caller_env,
                            bool again);

/* ---- watch.c ---- */

/* A cancelled job that still runs after so long is counted as stuck. */
#define EXECUTOR_STUCK_NS 1000000000

typedef enum { WATCH_ASLEEP, WATCH_SLOW, WATCH_FAST } watch_level;

/* Something is there to be looked at.  Cheap when it is being looked at. */
void executor__watch(watch_level level);

#endif
