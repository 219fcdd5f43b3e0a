/*
 * job.h: one piece of work for Python, and who gets the answer.
 *
 *   state      by                                  then
 *   PENDING -> REPLIED    the thread that ran it   it sends {py_response, Ref, Result}
 *   PENDING -> REPLIED    stop, destroy, interrupt it sends the error
 *   PENDING -> CANCELLED  the caller               no message will ever come
 *
 *   PENDING -> CANCELLED  the caller's death       likewise
 *
 * Each arrow is one compare-and-swap, so there is at most one message, and none after
 * a cancel.  A job that is not PENDING before it has started does not run.  Whoever
 * claims the answer of a job that another thread runs then cancels it
 * (executor_cancel).
 *
 * A caller that may cancel holds the job through a resource; the queue holds one
 * reference, which passes to the thread that runs it.
 *
 * MEMORY.  What a scheduler has allocated is best freed by a scheduler: from another
 * thread each free may wake one up.  So jobs that are done are kept, with their
 * environments as they are, and the next call empties and uses one.
 */
#ifndef ERLPY_JOB_H
#define ERLPY_JOB_H

#include <erl_nif.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cargo.h"

struct callback;
struct event_loop;
struct executor;
struct worker;

typedef enum { JOB_PENDING, JOB_REPLIED, JOB_CANCELLED } job_state;

typedef enum {
    JOB_NOWHERE,
    JOB_QUEUED,
    JOB_NESTED,
    JOB_RUNNING,
    JOB_LOOPING /* what its function has answered is awaited on an event loop */
} job_place;

/* Which list of its executor a job on a loop is in: tasks.c. */
typedef enum { TASK_RUNNING, TASK_CANCELLED, TASK_STUCK, TASK_STATES } task_state;

/* The life of a cancel in a job that runs: executor_internal.h. */
typedef enum {
    CANCEL_NONE,
    CANCEL_REQUESTED,
    CANCEL_ASYNC,
    CANCEL_DELIVERED
} job_cancel;

typedef struct job {
    _Atomic int state;
    atomic_uint refs;
    bool wants_reply; /* false for a cast */
    bool light;       /* the request is small and refers to nothing: it may linger */
    ErlNifPid caller;
    /* {call, M, F, A, Kw} | {eval, Code, Locals} | {exec, Code}; once the job has
     * started both belong to the thread that runs it. */
    ErlNifEnv *request_env;
    ERL_NIF_TERM request;
    cargo load;         /* the buffers of the request */
    ErlNifEnv *ref_env; /* unchanged while in use: any thread may copy from it */
    ERL_NIF_TERM ref;
    struct callback *chain;  /* a reference: whose process submitted it, or NULL */
    unsigned depth;          /* in that chain, from 1 on */
    struct job *next, *prev; /* in an executor's queue, or among the kept ones */

    /* The executor's, under its lock. */
    job_place place;
    struct callback *nest; /* JOB_NESTED: the call in whose list it is */
    struct job *outer;     /* JOB_RUNNING: what it runs nested in, or NULL */
    job_cancel cancel;
    bool unobeyed;        /* its executor counts it as such */
    struct worker *on;    /* JOB_RUNNING: the worker */
    struct watch *watch;  /* on the caller's life, or NULL */
    bool asked;           /* it is in the canceller's list; lock of that */
    int64_t queued_ns;    /* since when it is in the queue; 0: it hardly was */
    int64_t cancelled_ns; /* since when it should end */

    /* From when it is to go to a loop until its task has ended. */
    struct event_loop *loop; /* a reference; set before the move */
    void *call;            /* its Call, a reference; with the GIL, as a hint without */
    struct executor *home; /* JOB_LOOPING: a reference */
    task_state task;       /* JOB_LOOPING: the executor's, under its lock */
    struct job *next_due;  /* in the inbox of the loop, under the lock of that */
    bool due;              /* it is there, or taken and not looked at yet; likewise */
} job;

int job_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);
/* A pending job with one reference, or NULL when out of memory.  Copies `request` and
 * `ref`; `ref` is the atom `none` for a cast.  Takes the load, also on failure.  Called
 * by a NIF. */
job *job_new(ErlNifEnv *env, ERL_NIF_TERM ref, ERL_NIF_TERM request, bool light,
             cargo *load);
job *job_share(job *j);
void job_release(job *j);
/* A term through which the caller may cancel (shares the job and its executor).  False:
 * no memory. */
bool job_term(ErlNifEnv *env, job *j, struct executor *ex, ERL_NIF_TERM *term);
/* The job behind such a term (borrowed, as *ex), or NULL. */
job *job_of_term(ErlNifEnv *env, ERL_NIF_TERM term, struct executor **ex);

/* Nobody has claimed the answer. */
bool job_is_pending(job *j);
/* Whoever gets true owns the answer. */
bool job_claim(job *j, job_state as);
/* Sends {py_response, Ref, result} to the caller if this thread wins the claim.
 * `result` belongs to `env`, which is process independent and is cleared. */
void job_reply(job *j, ErlNifEnv *env, ERL_NIF_TERM result);
/* As job_reply({error, reason}) with an environment of its own.  `reason` is an atom.
 * `caller_env` is that of the running NIF, NULL on our own threads. */
void job_fail(ErlNifEnv *caller_env, job *j, ERL_NIF_TERM reason);
/* The request has been read, or never will be: lets go of what it refers to.  By the
 * thread that runs the job or has taken it out of the queue.  May notify (nif_env.h).
 */
void job_drop_request(job *j);

#endif
