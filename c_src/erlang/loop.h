/*
 * loop.h: the event loops, on which calls that answer an awaitable go on.
 *
 *   worker                             loop's thread, Python's asyncio or uvloop
 *   runs the function,                 (python/erlang/_loop.py)
 *   which answers a coroutine
 *      `--post--> [job][job] --fd-->   a task for each --> its end: the answer
 *   cancel -post--^                    task.cancel()
 *
 * A setting says how many an interpreter has; each is started when it is first needed
 * and takes its turn.  A call that belongs to a chain (chain.h) takes another one than
 * a loop whose thread waits for an erlang.call, which could be that very chain; when
 * all wait, one more is started.  They live until the application stops, or their
 * interpreter is to end.
 *
 *   TAKING --stop--> ENDING --its calls, which are cancelled, have ended--> over
 *      |`--its interpreter is to end--> DRAINING --its calls have ended--> ENDING
 *      `--asyncio, or its start, fails--> FAILED --its calls have been told--> over
 *
 * `calls` counts those that were assigned to the loop and have not ended, also while
 * their worker still has them: so it does not go before they have come.
 *
 * LOCK.  One a loop, a leaf but for its token, held for a few instructions; an
 * executor's may be held around it.  No thread takes the GIL with it.
 */
#ifndef ERLPY_LOOP_H
#define ERLPY_LOOP_H

#include "../python/pyb.h"
#include <erl_nif.h>
#include <stdbool.h>

#include "../stream/platform.h"
#include "../stream/token.h"
#include "interpreter.h"
#include "job.h"
#include "runner.h"

typedef enum { LOOP_TAKING, LOOP_DRAINING, LOOP_ENDING, LOOP_FAILED } loop_state;

typedef struct event_loop {
    struct event_loop *next; /* rt->loops_lock: among those that take jobs */
    atomic_uint refs;
    interpreter *in; /* a reference */
    unsigned slot;   /* whose turn it is; LOOP_EXTRA: of a chain */
    uint64_t epoch;  /* of the application's starts */
    bool uvloop;
    /* erlang.calls that its thread waits in. */
    atomic_int blocked;
    platform_notifier notifier; /* there is something in the inbox, or it is to end */
    stream_token token;

    pthread_mutex_t lock; /* the rest of this group */
    loop_state state;
    size_t calls;
    job *first_due, *last_due; /* the inbox; a reference to each */
    job *first_taken;          /* from there, and not looked at yet; likewise */

    runner *run;  /* its thread's */
    void *python; /* the asyncio loop, borrowed while that runs; with the GIL */
} event_loop;

#define LOOP_EXTRA (~0u)

/* From now on loops may be started: so many an interpreter, at most. */
void event_loops_open(unsigned count, bool uvloop);
/* None may. */
void event_loops_close(void);

/* Those of this interpreter end, once their calls have: with `drain` those go on to
 * their end, without it they must have been cancelled. */
void event_loops_end(interpreter *in, bool drain);

/* Threads, also of those that a stop has left behind. */
unsigned event_loops_running(void);

event_loop *event_loop_share(event_loop *loop);
void event_loop_release(event_loop *loop);
/* For its thread: look into the inbox.  Takes the reference. */
void event_loop_wake(event_loop *loop);
/* Puts the job into the inbox, unless it is there; `cancel`: a wait of ours that its
 * thread is in ends.  To be followed by a wake. */
void event_loop_post(event_loop *loop, job *j, bool cancel);
/* For its thread: takes what is in the inbox, and then in order one after the other,
 * with a reference; NULL: no more. */
void event_loop_collect(event_loop *loop);
job *event_loop_next_due(event_loop *loop);
/* One call less. */
void event_loop_call_ended(event_loop *loop);
/* True when the loop is to end; with `finally` only when it has no calls. */
bool event_loop_is_ending(event_loop *loop, bool finally);
/* What futures say that they are bound to; NULL: none. */
void event_loop_set_python(event_loop *loop, PyObject *python);
/* Starts no further calls: they are answered with an exception. */
void event_loop_fail(event_loop *loop);

/* The loop of this interpreter for a call: that of the future which it has answered
 * (Python's loop), or NULL: any.  Shared, and counts the call.  NULL: the application
 * stops; or with an exception set: none could be started. */
event_loop *event_loop_pick_gil(interpreter *in, const job *j, PyObject *python);

/* ---- The calling thread, if it is a loop's ------------------------------------- */

/* Around an erlang.call. */
void event_loop_block_gil(int change);
/* As executor_wait_begin() and so on. */
stream_token *event_loop_wait_begin(void);
void event_loop_wait_end(void);
int event_loop_cancelled_gil(pyb_state *state);
/* Its next wait may wait. */
void event_loop_calm(void);
/* Or else the loop is to end: true. */
bool event_loop_is_ending_or_calm(event_loop *loop);

/* ---- loop_host.c: calls and loops as Python sees them --------------------------- */

/* `await` may be used on it. */
bool event_loop_is_awaitable(PyObject *object);
/* The job of the calling thread goes on with this awaitable, once the worker has left
 * it.  False with an exception set, or with none when the application stops. */
bool event_loop_take_gil(job *j, PyObject *awaitable, bool own_context);
/* The job for which the calling Python code runs, in whatever thread; shared, or NULL.
 */
job *event_loop_job_gil(pyb_state *state);
/* Serves the loop until it ends.  False: asyncio failed, with an exception set. */
bool event_loop_serve_gil(event_loop *loop);
/* Answers what is in the inbox with this exception. */
void event_loop_fail_due_gil(event_loop *loop, PyObject *exception);

#endif
