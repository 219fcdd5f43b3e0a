/*
 * executor.h: a queue of jobs and the threads that run them.
 *
 *      submit (scheduler)          worker threads
 *   ---------------------->  [job][job][job]  --> take --> run with the GIL --> reply
 *                                              `-> idle: spin, then sleep
 *
 * A pool is an executor with as many threads as it needs, a context one with a single
 * thread and a namespace of its own.  Each belongs to an interpreter (interpreter.h):
 * the main one, or one of its own, with a GIL of its own.
 *
 *   executor.c  the queue: submit, close, interrupt, counting
 *   worker.c    a thread: what it takes, when it parks, when it ends
 *   tasks.c     the jobs that have gone to an event loop
 *   cancel.c    how a cancel reaches a job that is queued, waits or runs
 *   watch.c     the looks of the main thread: queues that stand still, callers that may
 *               die, code that does not obey
 *
 * WHO IS WOKEN.  One thread of an interpreter runs Python at a time, so a second worker
 * for a short job would only fight for the GIL.  `active` counts workers that take
 * jobs; a submit wakes an idle worker when none is active.  Another joins when an
 * active one parks in a wait of ours (executor_wait_begin), or when the main thread
 * sees that a queued job has not moved for some milliseconds: the active worker may sit
 * in a sleep or a socket.
 *
 * LOCK.  One per executor, held for a few instructions and never while the GIL is being
 * taken: it may be taken with the GIL, and between two jobs a worker that has that only
 * tries it.  Under it: the lock of a token, and the wait lock of the stream behind
 * that.
 */
#ifndef ERLPY_EXECUTOR_H
#define ERLPY_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "../python/pyb.h"

#include "../stream/stream.h"
#include "interpreter.h"
#include "job.h"

typedef struct executor executor;

int executor_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);

/* With one reference and no thread; its jobs run in `in` (shares it), and with
 * `context` see a namespace of their own.  NULL when out of memory. */
executor *executor_new(interpreter *in, bool context);
executor *executor_share(executor *ex);
void executor_release(executor *ex);

/* The pool: it has at least `base` threads, at most `limit`, and those above the base
 * end when they have been idle for `idle_ns`. */
void executor_set_limits(executor *ex, unsigned base, unsigned limit, int64_t idle_ns);
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
    EXECUTOR_ABORT  /* all jobs are answered {error, reason} now and are cancelled */
} executor_ending;

/* No more jobs.  Threads end as soon as they are out of Python.  Idempotent.
 * `caller_env` is that of the running NIF or NULL. */
void executor_close(executor *ex, executor_ending how, ERL_NIF_TERM reason,
                    ErlNifEnv *caller_env);
/* Answers the running jobs {error, reason} and cancels them, also when they have been
 * cancelled before and went on. */
void executor_interrupt(executor *ex, ERL_NIF_TERM reason, ErlNifEnv *caller_env);

/* Nobody wants this job any more (its answer is claimed): it leaves the queue, or
 * Cancelled is raised in it, once.  No-op when it has ended or has been cancelled
 * before. */
void executor_cancel(executor *ex, job *j);

/* Jobs that have not ended, but for those that wait or are on a loop: a hint.  UINT_MAX
 * when its threads cannot enter the interpreter. */
unsigned executor_load(executor *ex);

typedef struct executor_counts {
    unsigned threads, parked, idle;
    size_t stuck, queued, tasks;
    uint64_t calls;
} executor_counts;

/* Of all executors together, those of destroyed contexts included. */
void executor_count_all(executor_counts *sum);

/* What the main thread does between its other duties: answers when it is to be called
 * again, INT64_MAX when it is woken for that. */
int64_t executor_look_around(int64_t now_ns);

/* Around a wait of the calling thread, without the GIL.  No-ops on foreign threads.
 * wait_begin answers what can cancel the wait, or NULL. */
stream_token *executor_wait_begin(void);
void executor_wait_end(void);
/* pyb_host.loop_waits: of a loop that a job runs on its own thread. */
void executor_loop_waits(stream_waker *waker);
/* pyb_host.cancelled */
int executor_cancelled_gil(pyb_state *state);
/* pyb_host.is_cancelled: also one that has been delivered. */
bool executor_is_cancelled(void);

/* ---- Jobs on event loops (tasks.c) ------------------------------------------- */

/* More jobs of it are on loops than an interrupt on a scheduler should have to do with.
 */
bool executor_has_many_tasks(executor *ex);
/* As at the end of executor_close(), for the jobs on loops of all executors. */
void executor_abandon_tasks(ERL_NIF_TERM reason, ErlNifEnv *caller_env);
/* By the thread of its loop.  True: its task is to be cancelled now. */
bool executor_take_cancel_gil(job *j);
/* The same from within a wait of ours in code of that job.  `outermost`: in its own
 * task; otherwise that is still to be cancelled. */
bool executor_wait_is_cancelled_gil(job *j, bool outermost);
/* The task has ended and its answer is sent.  Takes the reference of the move. */
void executor_end_task_gil(job *j);

#endif
