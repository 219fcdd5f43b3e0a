/*
 * executor.h: a queue of jobs and the threads that run them.
 *
 *      submit (scheduler)          worker threads
 *   ---------------------->  [job][job][job]  --> take --> run with the GIL --> reply
 *                                              `-> idle: spin, then sleep
 *
 * The pool is one executor with several threads, a context one with a single thread and
 * a namespace of its own.
 *
 * WHO IS WOKEN.  One thread runs Python at a time, so a second worker for a short job
 * would only fight for the GIL.  `active` counts workers that take jobs; a submit wakes
 * an idle worker when none is active.  Another joins when an active one parks in a wait
 * of ours (executor_wait_begin), or when the main thread sees that a queued job has not
 * moved for some milliseconds (executor_add_hand): the active worker may sit in a sleep
 * or a socket.
 *
 * LOCK.  One per executor, a leaf, held for a few instructions and never while the GIL
 * is being taken.  A worker that holds the GIL only tries it.
 */
#ifndef ERLPY_EXECUTOR_H
#define ERLPY_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "../stream/stream.h"
#include "job.h"

typedef struct executor executor;

/* With one reference and no thread; `context`: its jobs see a namespace of their own.
 * NULL when out of memory. */
executor *executor_new(bool context);
executor *executor_share(executor *ex);
void executor_release(executor *ex);

/* From now on it takes jobs. */
void executor_open(executor *ex);
/* Starts `threads` workers; those of an executor that has been closed meanwhile end at
 * once.  False when no thread could be started. */
bool executor_start(executor *ex, unsigned threads);

/* Queues the job and takes the caller's reference.  False: it is not open, the job is
 * still the caller's. */
bool executor_submit(executor *ex, job *j);

typedef enum {
    EXECUTOR_DRAIN, /* queued jobs still run, then the threads end */
    EXECUTOR_ABORT  /* queued and running jobs are answered {error, reason} now */
} executor_ending;

/* No more jobs.  Threads end as soon as they are out of Python.  Idempotent.
 * `caller_env` is that of the running NIF or NULL. */
void executor_close(executor *ex, executor_ending how, ERL_NIF_TERM reason,
                    ErlNifEnv *caller_env);

/* Has queued jobs, and an idle worker that could take one. */
bool executor_is_behind(executor *ex);
/* Jobs taken so far; unchanged between two looks means that the queue stands still. */
uint64_t executor_taken(executor *ex);
/* Sets one more worker to work on the queue, if there is an idle one. */
void executor_add_hand(executor *ex);

/* Around a wait of the calling thread, without the GIL.  No-ops on foreign threads. */
/* wait_begin answers what can cancel the wait, or NULL. */
stream_token *executor_wait_begin(void);
void executor_wait_end(void);

#endif
