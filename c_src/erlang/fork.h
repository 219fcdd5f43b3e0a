/*
 * fork.h: children that Python code makes by os.fork().
 *
 * A child has one thread, that of the job, and a copy of the node's memory in which
 * locks of other threads stay taken for good.  So nothing of the node may be used in
 * it: host calls raise (pyb_host.forked), releases and sends do nothing, and a job that
 * returns ends the child.  Programs that a child executes, and so subprocess and
 * multiprocessing by spawn or forkserver, are not concerned.
 */
#ifndef ERLPY_FORK_H
#define ERLPY_FORK_H

#include <stdbool.h>

/* Once for each nif_shared, when it is made. */
bool nif_fork_prepare(void);
/* True in a child, and for ever. */
bool nif_forked(void);
/* In a child, when its job is at its end: the status is 0, or 1 when an exception is
 * set (which is printed), or what a SystemExit says. */
_Noreturn void nif_fork_end_child_gil(void);

#endif
