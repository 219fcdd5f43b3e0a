/*
 * runner.h: runs one job in the interpreter and answers it.
 */
#ifndef ERLPY_RUNNER_H
#define ERLPY_RUNNER_H

#include "../python/pyb.h"

#include "interpreter.h"
#include "job.h"

/* What one worker thread needs between its jobs.  Only that thread uses it. */
typedef struct runner runner;

/* `own_namespace`: eval, exec and the module '__main__' of a call mean a namespace that
 * lives as long as the runner; otherwise the interpreter's own.  NULL on failure. */
runner *runner_new_gil(interpreter *in, bool own_namespace);
void runner_free_gil(runner *run);
/* Runs the job, unless it is cancelled, and replies; or, when it answers an awaitable,
 * has it go on on an event loop (job.h: `loop`).  `run` may be NULL (it could not
 * be made): the job is answered {error, enomem}. */
void runner_run_gil(runner *run, job *j);
/* Replies to a job that has gone to an event loop; `result` is NULL when an exception
 * is set, which is cleared. */
void runner_answer_gil(runner *run, job *j, PyObject *result);

#endif
