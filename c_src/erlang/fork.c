#include "fork.h"

#include <Python.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "../stream/platform.h"
#include "shared.h"

/* Those that a thread causes itself: whoever handles them (faulthandler) means to. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};

/* The calling thread's, from before the fork to after it. */
static _Thread_local sigset_t mask_before;

static void
before_fork(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask_before);
}

static void
after_fork(void)
{
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}

static bool
is_fault(int number)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (faults[i] == number) {
            return true;
        }
    }
    return false;
}

/* The node's handlers write into a pipe that parent and child share: a child that is
 * sent SIGTERM would stop the node. */
static void
drop_handlers_of_node(void)
{
    for (int number = 1; number < 32; number++) {
        struct sigaction now;
        if (!is_fault(number) && sigaction(number, NULL, &now) == 0 &&
            now.sa_handler != SIG_IGN && now.sa_handler != SIG_DFL) {
            (void)signal(number, SIG_DFL);
        }
    }
}

static void
in_child(void)
{
    atomic_store(&rt->forked, true);
    platform_become_child();
    drop_handlers_of_node();
    after_fork();
}

bool
nif_fork_prepare(void)
{
    static bool prepared; /* while a module is being loaded: one thread at a time */
    prepared = prepared || pthread_atfork(before_fork, after_fork, in_child) == 0;
    return prepared;
}

bool
nif_forked(void)
{
    return atomic_load_explicit(&rt->forked, memory_order_relaxed);
}

/* As Python's own end of a program has it. */
static int
status_of_exit_gil(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *code = value != NULL ? PyObject_GetAttrString(value, "code") : NULL;
    if (code == Py_None) {
        return 0;
    }
    if (code != NULL && PyLong_Check(code)) {
        return (int)PyLong_AsLong(code);
    }
    return 1;
}

void
nif_fork_end_child_gil(void)
{
    int status = 0;
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_SystemExit)) {
        status = status_of_exit_gil();
    } else if (PyErr_Occurred()) {
        PyErr_PrintEx(0);
        status = 1;
    }
    _exit(status);
}
