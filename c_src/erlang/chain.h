/*
 * chain.h: jobs that are run on behalf of a Python thread that waits in erlang.call().
 *
 *     py:call(A) -> job, on A's thread
 *                    erlang.call -> call ----> a process runs the function
 *                      A's thread waits         py:call(A) -> job, chained to the call
 *                      |<-------------------------'
 *                      runs it nested, goes on waiting for the answer
 *
 * A job is chained to the call whose process submitted it, a call to the job whose
 * thread makes it, and so on: each goes with its chain to whatever it needs.
 *  - A context whose one thread waits in the chain runs the job nested on that thread:
 * it is the only one that can, and would wait for ever.
 *  - In the pool the job comes first, and a thread is started for it when none is idle,
 *    also beyond max_threads: those that are there may all wait for this chain.
 *  - Elsewhere it queues like any other.
 *  - One that goes on as a coroutine takes another event loop than one whose thread
 *    waits in a call of its own (loop.c).
 *
 * All but chain_attach() is for the executor's lock: see its header.
 */
#ifndef ERLPY_CHAIN_H
#define ERLPY_CHAIN_H

#include "callback.h"
#include "executor.h"
#include "job.h"

/* A chain has at most so many jobs. */
#define CHAIN_MAX_DEPTH 256

/* Chains a new job to a call, or with NULL to none.  False: too deep. */
bool chain_job(job *j, callback *call);
/* Chains a new call to the job of the calling thread, or of the calling coroutine, if
 * it is one of ours.  With the GIL. */
void chain_call(pyb_state *state, callback *call);

/* Around the wait for the answer, by the thread that made the call, with the GIL. */
void chain_open(callback *call);
/* What it has not run queues for the context, before anything else. */
void chain_close(callback *call);
/* A job to be run nested; it has begun.  NULL: none. */
job *chain_next_job(callback *call);
void chain_run_gil(job *j);

/* The call in which a thread of this context waits for the job's chain (borrowed), or
 * NULL. */
callback *chain_nest(executor *ex, const job *j);
/* Gives it a job to be run nested.  False: it does not wait any more. */
bool chain_push_locked(callback *nest, job *j);
void chain_unqueue_locked(job *j);
/* Moves what is to be run nested in these open calls of a thread to the queue. */
void chain_give_back_locked(callback *innermost);
/* That of them in which the thread waits for this job of its own, or NULL. */
callback *chain_find_locked(callback *innermost, const job *j);

#endif
