/*
 * loop.c: the threads of the event loops, their inboxes, and who gets which call.
 */
#include "loop.h"

#include <poll.h>
#include <stdlib.h>

#include "executor.h"
#include "failure.h"
#include "runtime.h"
#include "shared.h"

/* ---- Life ---- */

event_loop *
event_loop_share(event_loop *loop)
{
    atomic_fetch_add_explicit(&loop->refs, 1, memory_order_relaxed);
    return loop;
}

void
event_loop_release(event_loop *loop)
{
    if (loop == NULL ||
        atomic_fetch_sub_explicit(&loop->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    /* Cancels that came too late. */
    event_loop_collect(loop);
    job *j;
    while ((j = event_loop_next_due(loop)) != NULL) {
        job_release(j);
    }
    platform_notifier_close(&loop->notifier);
    stream_token_destroy(&loop->token);
    pthread_mutex_destroy(&loop->lock);
    interpreter_release(loop->in);
    free(loop);
}

static event_loop *
current_loop(void)
{
    return pthread_getspecific(rt->loop_key);
}

static bool
is_ending_locked(const event_loop *loop)
{
    return loop->state == LOOP_ENDING || loop->state == LOOP_FAILED;
}

/* ---- The inbox ---- */

void
event_loop_post(event_loop *loop, job *j, bool cancel)
{
    pthread_mutex_lock(&loop->lock);
    if (!j->due) {
        j->due = true;
        j->next_due = NULL;
        *(loop->last_due != NULL ? &loop->last_due->next_due : &loop->first_due) =
            job_share(j);
        loop->last_due = j;
    }
    if (cancel) {
        stream_token_raise(&loop->token);
    }
    pthread_mutex_unlock(&loop->lock);
}

void
event_loop_wake(event_loop *loop)
{
    platform_notifier_set(&loop->notifier);
    event_loop_release(loop);
}

void
event_loop_collect(event_loop *loop)
{
    platform_notifier_clear(&loop->notifier);
    pthread_mutex_lock(&loop->lock);
    if (loop->first_due != NULL) {
        job **at = &loop->first_taken;
        while (*at != NULL) {
            at = &(*at)->next_due;
        }
        *at = loop->first_due;
        loop->first_due = loop->last_due = NULL;
    }
    pthread_mutex_unlock(&loop->lock);
}

/* Only from here on it may come into the inbox again, by the same link. */
job *
event_loop_next_due(event_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    job *j = loop->first_taken;
    if (j != NULL) {
        loop->first_taken = j->next_due;
        j->due = false;
    } else if (loop->first_due == NULL && !is_ending_locked(loop)) {
        /* No cancel is left that a wait should be ended for. */
        stream_token_clear(&loop->token);
    }
    pthread_mutex_unlock(&loop->lock);
    return j;
}

void
event_loop_call_ended(event_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->calls--;
    if (loop->calls == 0 && loop->state == LOOP_DRAINING) {
        loop->state = LOOP_ENDING;
    }
    bool last = loop->calls == 0 && is_ending_locked(loop);
    pthread_mutex_unlock(&loop->lock);
    if (last) {
        platform_notifier_set(&loop->notifier);
    }
    event_loop_release(loop);
}

bool
event_loop_is_ending(event_loop *loop, bool finally)
{
    pthread_mutex_lock(&loop->lock);
    bool ending = is_ending_locked(loop) && (!finally || loop->calls == 0);
    pthread_mutex_unlock(&loop->lock);
    return ending;
}

/* ---- The thread ---- */

static void
count_thread(int change)
{
    pthread_mutex_lock(&rt->loops_lock);
    rt->loop_threads += (unsigned)change;
    pthread_mutex_unlock(&rt->loops_lock);
}

unsigned
event_loops_running(void)
{
    pthread_mutex_lock(&rt->loops_lock);
    unsigned count = rt->loop_threads;
    pthread_mutex_unlock(&rt->loops_lock);
    return count;
}

/* Not to be picked any more. */
static void
forget(event_loop *loop)
{
    pthread_mutex_lock(&rt->loops_lock);
    event_loop **at = &loop->in->loops;
    while (*at != NULL && *at != loop) {
        at = &(*at)->next;
    }
    bool known = *at != NULL;
    if (known) {
        *at = loop->next;
    }
    pthread_mutex_unlock(&rt->loops_lock);
    if (known) {
        event_loop_release(loop);
    }
}

void
event_loop_fail(event_loop *loop)
{
    forget(loop);
    pthread_mutex_lock(&loop->lock);
    loop->state = LOOP_FAILED;
    pthread_mutex_unlock(&loop->lock);
}

void
event_loop_set_python(event_loop *loop, PyObject *python)
{
    pthread_mutex_lock(&rt->loops_lock);
    loop->python = python;
    pthread_mutex_unlock(&rt->loops_lock);
}

/* With the exception that is set.  Workers may still bring calls that were assigned
 * before. */
static void
fail_calls_gil(event_loop *loop)
{
    PyObject *exception = failure_take_gil();
    event_loop_fail(loop);
    event_loop_fail_due_gil(loop, exception);
    while (!event_loop_is_ending(loop, true)) {
        struct pollfd news = {.fd = loop->notifier.read_fd, .events = POLLIN};
        Py_BEGIN_ALLOW_THREADS
        poll(&news, 1, -1);
        Py_END_ALLOW_THREADS
        event_loop_fail_due_gil(loop, exception);
    }
    Py_XDECREF(exception);
}

static void
serve(event_loop *loop, PyThreadState *python)
{
    interpreter_take_gil(loop->in, python);
    loop->run = runner_new_gil(loop->in, false);
    if (loop->run == NULL) {
        PyErr_NoMemory();
    }
    if (loop->run == NULL || !event_loop_serve_gil(loop)) {
        fail_calls_gil(loop);
    }
    /* What waits from here on is not the loop's: destructors, functions of atexit. */
    pthread_setspecific(rt->loop_key, NULL);
    runner_free_gil(loop->run);
    interpreter_leave_gil(loop->in, python);
}

/* Whether there is a thread that serves; of the starter, until `known`. */
typedef struct birth {
    event_loop *loop;
    bool serves;
    platform_event known;
} birth;

/* Takes the thread's reference, if it serves. */
static void *
loop_main(void *arg)
{
    birth *of = arg;
    event_loop *loop = of->loop;
    uint64_t epoch = loop->epoch;
    runtime_name_thread("erlpy_loop");
    PyThreadState *python = interpreter_new_thread(loop->in);
    of->serves = python != NULL;
    platform_event_set(&of->known);
    if (python != NULL) {
        pthread_setspecific(rt->loop_key, loop);
        serve(loop, python);
        event_loop_release(loop);
        count_thread(-1);
    }
    runtime_thread_ended(epoch);
    return NULL;
}

/* ---- Starting ---- */

void
event_loops_open(unsigned count, bool uvloop)
{
    pthread_mutex_lock(&rt->loops_lock);
    rt->loop_count = count;
    rt->uvloop = uvloop;
    pthread_mutex_unlock(&rt->loops_lock);
}

void
event_loops_close(void)
{
    pthread_mutex_lock(&rt->loops_lock);
    rt->loop_count = 0;
    pthread_mutex_unlock(&rt->loops_lock);
}

/* With two references: of the list, and of its thread.  uvloop does not load into an
 * interpreter with a GIL of its own. */
static event_loop *
new_loop(interpreter *in, unsigned slot)
{
    event_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    if (!platform_notifier_open(&loop->notifier)) {
        free(loop);
        return NULL;
    }
    atomic_init(&loop->refs, 2);
    atomic_init(&loop->blocked, 0);
    stream_token_init(&loop->token);
    pthread_mutex_init(&loop->lock, NULL);
    loop->slot = slot;
    loop->uvloop = rt->uvloop && !in->own;
    loop->in = interpreter_share(in);
    return loop;
}

/* It takes jobs before its thread is there, which is not waited for with a lock. */
static event_loop *
add_loop_locked(interpreter *in, unsigned slot)
{
    event_loop *loop = new_loop(in, slot);
    if (loop != NULL) {
        loop->next = in->loops;
        in->loops = loop;
        rt->loop_threads++;
        loop->epoch = runtime_thread_started();
    }
    return loop;
}

static void
set_not_started(void)
{
    PyErr_SetString(PyExc_RuntimeError, "no event loop could be started");
}

static bool
start_thread_gil(event_loop *loop)
{
    birth of = {.loop = loop};
    platform_event_init(&of.known);
    interpreter_reserve(loop->in, 1);
    bool started;
    Py_BEGIN_ALLOW_THREADS
    started = runtime_spawn_thread(loop_main, &of);
    if (started) {
        platform_event_wait(&of.known, INT64_MAX, 0, false);
    } else {
        runtime_thread_ended(loop->epoch);
    }
    Py_END_ALLOW_THREADS
    platform_event_destroy(&of.known);
    if (!of.serves) {
        interpreter_reserve(loop->in, -1);
    }
    return of.serves;
}

/* In place of a thread: others may have brought calls already. */
static void
give_up_gil(event_loop *loop)
{
    loop->run = runner_new_gil(loop->in, false);
    set_not_started();
    fail_calls_gil(loop);
    runner_free_gil(loop->run);
    event_loop_release(loop);
    count_thread(-1);
}

/* ---- Who gets which call ---- */

static event_loop *
find_slot_locked(interpreter *in, unsigned slot)
{
    event_loop *loop = in->loops;
    while (loop != NULL && loop->slot != slot) {
        loop = loop->next;
    }
    return loop;
}

static event_loop *
find_python_locked(interpreter *in, PyObject *python)
{
    event_loop *loop = in->loops;
    while (loop != NULL && loop->python != python) {
        loop = loop->next;
    }
    return loop;
}

static event_loop *
find_unblocked_locked(interpreter *in)
{
    event_loop *loop = in->loops;
    while (loop != NULL && atomic_load(&loop->blocked) > 0) {
        loop = loop->next;
    }
    return loop;
}

/* `added`: its thread is to be started. */
static event_loop *
pick_locked(interpreter *in, const job *j, PyObject *python, bool *added)
{
    event_loop *loop = python != NULL ? find_python_locked(in, python) : NULL;
    if (loop != NULL) {
        return loop;
    }
    unsigned slot = in->next_loop++ % rt->loop_count;
    loop = find_slot_locked(in, slot);
    if (loop != NULL && j->chain != NULL && atomic_load(&loop->blocked) > 0) {
        loop = find_unblocked_locked(in);
        slot = LOOP_EXTRA;
    }
    if (loop == NULL) {
        loop = add_loop_locked(in, slot);
        *added = loop != NULL;
    }
    return loop;
}

static bool
start_gil(event_loop *loop)
{
    if (start_thread_gil(loop)) {
        return true;
    }
    event_loop_call_ended(loop);
    give_up_gil(loop);
    return false;
}

event_loop *
event_loop_pick_gil(interpreter *in, const job *j, PyObject *python)
{
    bool added = false;
    pthread_mutex_lock(&rt->loops_lock);
    bool open = rt->loop_count > 0;
    event_loop *loop = open ? pick_locked(in, j, python, &added) : NULL;
    if (loop != NULL) {
        event_loop_share(loop);
        pthread_mutex_lock(&loop->lock);
        loop->calls++;
        pthread_mutex_unlock(&loop->lock);
    }
    pthread_mutex_unlock(&rt->loops_lock);
    if (added && !start_gil(loop)) {
        loop = NULL;
    }
    if (open && loop == NULL) {
        set_not_started();
    }
    return loop;
}

/* ---- Ending ---- */

static void
end_loop(event_loop *loop, bool drain)
{
    pthread_mutex_lock(&loop->lock);
    if (loop->state == LOOP_TAKING || loop->state == LOOP_DRAINING) {
        loop->state = drain && loop->calls > 0 ? LOOP_DRAINING : LOOP_ENDING;
    }
    if (is_ending_locked(loop)) {
        stream_token_raise(&loop->token);
    }
    pthread_mutex_unlock(&loop->lock);
    event_loop_wake(loop);
}

void
event_loops_end(interpreter *in, bool drain)
{
    pthread_mutex_lock(&rt->loops_lock);
    event_loop *loop = in->loops;
    in->loops = NULL;
    in->next_loop = 0;
    pthread_mutex_unlock(&rt->loops_lock);
    while (loop != NULL) {
        event_loop *next = loop->next;
        end_loop(loop, drain);
        loop = next;
    }
}

/* ---- Waits of ours in a coroutine ---- */

void
event_loop_block_gil(int change)
{
    event_loop *loop = current_loop();
    if (loop != NULL) {
        atomic_fetch_add(&loop->blocked, change);
    }
}

stream_token *
event_loop_wait_begin(void)
{
    event_loop *loop = current_loop();
    return loop != NULL ? &loop->token : NULL;
}

/* The next wait may be another call's, with a cancel that is still in the inbox. */
void
event_loop_wait_end(void)
{
    event_loop *loop = current_loop();
    if (loop == NULL) {
        return;
    }
    pthread_mutex_lock(&loop->lock);
    if (loop->first_due != NULL || loop->first_taken != NULL ||
        is_ending_locked(loop)) {
        stream_token_raise(&loop->token);
    }
    pthread_mutex_unlock(&loop->lock);
}

bool
event_loop_is_ending_or_calm(event_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    bool ending = is_ending_locked(loop);
    if (!ending) {
        stream_token_clear(&loop->token);
    }
    pthread_mutex_unlock(&loop->lock);
    return ending;
}

void
event_loop_calm(void)
{
    event_loop *loop = current_loop();
    if (loop != NULL) {
        stream_token_clear(&loop->token);
    }
}
