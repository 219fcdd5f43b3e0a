/*
 * interpreter.h: bringing up CPython as the Python that was asked for, and the
 * interpreters in it: the main one, and those with a GIL of their own.
 *
 * An INTERPRETER is shared by executors, event loops and their threads:
 *
 *   NEW --first thread enters--> MAKING --> READY --last user leaves--> ENDING --> GONE
 *                                   `-----> FAILED           (the main one stays READY)
 *
 * A USER is a thread of ours that runs jobs or a loop there.  The last one to leave
 * ends the use of it.  A VISITOR is attached for a moment and keeps nothing: the end
 * waits for it.
 *
 * CPython's own interpreter behind it, a REALM, is never ended: CPython 3.12 and 3.13
 * give back little of the memory of one that was (some 2 MiB are lost each time), abort
 * the node when a thread is left in it, and do not allow for one without thread states.
 * It is emptied instead: its threads have come to their end, modules that were imported
 * are let go, the others are as they were at first.  Then it waits for the next user.
 * One where a thread goes on is left as it is, for good.
 *
 * LOCK.  One each, a leaf, held for a few instructions; no thread takes a GIL with it.
 */
#ifndef ERLPY_INTERPRETER_H
#define ERLPY_INTERPRETER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../python/pyb.h"

struct asked_job;
struct event_loop;
struct runtime_config;

typedef enum {
    INTERPRETER_NEW,
    INTERPRETER_MAKING,
    INTERPRETER_READY,
    INTERPRETER_FAILED,
    INTERPRETER_ENDING,
    INTERPRETER_GONE
} interpreter_state;

/* One of CPython's, with a GIL of its own. */
typedef struct realm {
    struct realm *next; /* rt->lock: among the idle ones */
    PyInterpreterState *python;
    PyThreadState *first; /* of no thread: there always is one */
    PyObject *origin;     /* how it was when it was made */
} realm;

typedef struct interpreter {
    atomic_uint refs;
    bool own;              /* it has a GIL of its own: it is not the main one */
    atomic_int gil_wanted; /* threads of ours that wait for its GIL */

    pthread_mutex_t lock; /* this group */
    pthread_cond_t changed;
    interpreter_state state;
    unsigned users, visitors;
    PyInterpreterState *python; /* constant once READY */
    realm *behind;              /* likewise; NULL for the main one */
    char *failure;              /* constant once FAILED: why */

    /* With its GIL. */
    pyb_state *module; /* of a module that lives as long, or as the realm */
    void *call_type, *host_type, *call_var; /* loop_host.c */

    /* cancel.c: the running jobs that an exception is to be left with; its lock */
    struct asked_job *asked_first, *asked_last;
    bool canceller_running;

    /* loop.c: the loops that take jobs; its lock */
    struct event_loop *loops;
    unsigned next_loop; /* whose turn it is */
} interpreter;

/* Makes the symbols of libpython visible to the extension modules that it will load.
 * Called once at load.  NULL, or what went wrong. */
const char *interpreter_publish_symbols(void);

/* Starts the main one on the calling thread, which becomes Python's main thread, and
 * gives the GIL up.  NULL, or an owned text that says what went wrong. */
char *interpreter_start(const struct runtime_config *config);
/* Applies what may differ from start to start.  Takes the GIL. */
char *interpreter_configure(const struct runtime_config *config);
/* A copy, of why something failed: never NULL, even without memory. */
char *interpreter_text(const char *text);
void interpreter_free_text(char *text);
/* The text of the exception that is set, which is cleared; owned. */
char *interpreter_exception_gil(void);
/* Makes a realm.  NULL, or what went wrong as above. */
char *interpreter_make_realm(realm **made);
/* Makes an interpreter's realm, or the main one, ready for it.  False with an exception
 * set. */
bool interpreter_prepare_gil(interpreter *in, char **python_path);

/* ---- The interpreters (interpreters.c) --------------------------------------- */

/* With one reference; made when the first thread enters.  NULL: no memory. */
interpreter *interpreter_new(bool own);
interpreter *interpreter_share(interpreter *in);
void interpreter_release(interpreter *in);
/* CPython can have interpreters with a GIL of their own. */
bool interpreter_may_own_gil(void);

/* The calling thread, which is attached to none, becomes a user and has the GIL then.
 * NULL: there is no such interpreter, interpreter_failure() says why. */
PyThreadState *interpreter_enter(interpreter *in);
/* By a user, for a thread that it starts: it counts as a user from here on, so that the
 * interpreter does not end before it has come.  -1: it could not be started. */
void interpreter_reserve(interpreter *in, int change);
/* For that thread, by it, which is to take the GIL then.  NULL: no memory. */
PyThreadState *interpreter_new_thread(interpreter *in);
/* The contrary, for good.  The last user of one with a GIL of its own ends it. */
void interpreter_leave_gil(interpreter *in, PyThreadState *python);
/* Takes the GIL again for a user who has given it up. */
void interpreter_take_gil(interpreter *in, PyThreadState *python);
/* A thread of ours waits for the GIL. */
bool interpreter_gil_is_wanted(interpreter *in);
/* It can be entered: what failed was memory. */
bool interpreter_is_ready(interpreter *in);
/* Borrowed. */
const char *interpreter_failure(interpreter *in);

/* The calling thread, which is attached to none, has the GIL for a moment.  NULL: there
 * is no such interpreter (any more). */
PyThreadState *interpreter_visit(interpreter *in);
void interpreter_end_visit_gil(interpreter *in, PyThreadState *python);

/* Realms: all there are, and those of them that nobody uses. */
void interpreters_count(unsigned *all, unsigned *idle);

/* ---- CPython itself ------------------------------------------------------------ */

/* False on a free-threaded build with its GIL off. */
bool interpreter_has_gil(void);
/* Equal for libraries that can share one Python: its version, and whether it has a GIL.
 */
uint64_t interpreter_abi(void);
/* True when Python runs in this process, whoever started it. */
bool interpreter_is_there(void);
/* The version text, "3.11.7"; needs no interpreter. */
const char *interpreter_version(void);

#endif
