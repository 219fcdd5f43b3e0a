#include "callback.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "../stream/platform.h"
#include "../stream/token.h"
#include "atoms.h"
#include "chain.h"
#include "convert.h"
#include "executor.h"
#include "host.h"
#include "nif_env.h"
#include "runtime.h"
#include "shared.h"
#include "weight.h"
#include "shared.h"

typedef enum {
    CALLBACK_WAITING,
    CALLBACK_ANSWERING,
    CALLBACK_ANSWERED,
    CALLBACK_LOST,
    CALLBACK_GONE
} callback_state;

typedef struct callback_handle {
    callback *call;
} callback_handle;

static ErlNifResourceType *callback_type;

/* ---- Life ---- */

callback *
callback_share(callback *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

static void
free_callback(callback *call)
{
    ErlNifEnv *request_env = atomic_load(&call->request_env);
    if (request_env != NULL) {
        enif_free_env(request_env);
    }
    if (call->answer_env != NULL) {
        enif_free_env(call->answer_env);
    }
    executor_release(call->ex);
    platform_event_destroy(&call->event);
    free(call);
}

/* In a loop: chains are long. */
void
callback_release(callback *call)
{
    while (call != NULL &&
           atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1) {
        callback *parent = call->parent;
        free_callback(call);
        call = parent;
    }
}

static bool
claim(callback *call, callback_state as)
{
    int expected = CALLBACK_WAITING;
    return atomic_compare_exchange_strong(&call->state, &expected, (int)as);
}

/* The answer is there, or none will come. */
static void
tell_answered(callback *call)
{
    if (call->on_loop) {
        (void)stream_pending_post(&call->pending);
    } else {
        platform_event_set(&call->event);
    }
}

static void
destroy_handle(ErlNifEnv *env, void *object)
{
    callback *call = ((callback_handle *)object)->call;
    (void)env;
    if (call == NULL) {
        return;
    }
    if (claim(call, CALLBACK_LOST)) {
        tell_answered(call);
    }
    callback_release(call);
}

int
callback_open_type(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type =
        nif_open_type(env, "erlpy_callback",
                      &(ErlNifResourceTypeInit){.dtor = destroy_handle}, flags);
    if (type == NULL) {
        return -1;
    }
    callback_type = type;
    return 0;
}

callback *
callback_of_term(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, callback_type, &object)
               ? ((callback_handle *)object)->call
               : NULL;
}

/* ---- The request ---- */

/* {Name, Args}: the name as a binary, whether it came as an atom or a str. */
static bool
write_request(pyb_state *state, callback *call, ErlNifEnv *env, PyObject *name,
              PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *text = PyUnicode_Check(name) ? name : pyb_atom_name(state, name);
    PyObject *list = PyList_New(nargs);
    if (list == NULL) {
        return false;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(args[i]));
    }
    ERL_NIF_TERM name_term, arguments;
    bool written = convert_to_erlang(state, env, text, &name_term) &&
                   convert_to_erlang(state, env, list, &arguments);
    Py_DECREF(list);
    if (written) {
        call->request = enif_make_tuple2(env, name_term, arguments);
        call->large = weigh(env, call->request, NULL) == WEIGHT_LARGE;
    }
    return written;
}

/* With one reference, or NULL with an exception set. */
static callback *
new_callback(pyb_state *state, PyObject *name, PyObject *const *args, Py_ssize_t nargs)
{
    callback *call = calloc(1, sizeof *call);
    ErlNifEnv *env = call != NULL ? enif_alloc_env() : NULL;
    if (env == NULL) {
        free(call);
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&call->refs, 1);
    atomic_init(&call->state, CALLBACK_WAITING);
    atomic_init(&call->request_env, env);
    platform_event_init(&call->event);
    call->id = atomic_fetch_add(&rt->last_call_id, 1);
    chain_call(state, call);
    if (write_request(state, call, env, name, args, nargs)) {
        return call;
    }
    callback_release(call);
    return NULL;
}

static bool
call_term(ErlNifEnv *env, callback *call, ERL_NIF_TERM *term)
{
    callback_handle *handle = enif_alloc_resource(callback_type, sizeof *handle);
    if (handle == NULL) {
        return false;
    }
    handle->call = callback_share(call);
    *term = enif_make_resource(env, handle);
    enif_release_resource(handle);
    return true;
}

static bool
find_server(ErlNifPid *server)
{
    return nif_whereis(nif_am.am_erlpy_callbacks, server);
}

/* {erlpy, call, Id, Call}.  False with an exception set. */
static bool
send_request(callback *call)
{
    ErlNifPid server;
    ERL_NIF_TERM term;
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL || !call_term(env, call, &term)) {
        PyErr_NoMemory();
        if (env != NULL) {
            enif_free_env(env);
        }
        return false;
    }
    ERL_NIF_TERM message = enif_make_tuple4(env, nif_am.am_erlpy, nif_am.am_call,
                                            enif_make_uint64(env, call->id), term);
    bool sent = find_server(&server) && enif_send(NULL, &server, env, message);
    enif_free_env(env);
    if (!sent) {
        PyErr_SetString(PyExc_RuntimeError, "erlpy is not running");
    }
    return sent;
}

/* {erlpy, abandon, Id} */
bool
callback_abandon(callback *call)
{
    ErlNifPid server;
    if (!claim(call, CALLBACK_GONE)) {
        return false;
    }
    ErlNifEnv *env = find_server(&server) ? enif_alloc_env() : NULL;
    if (env != NULL) {
        nif_send(&server, env,
                 enif_make_tuple3(env, nif_am.am_erlpy, nif_am.am_abandon,
                                  enif_make_uint64(env, call->id)));
        enif_free_env(env);
    }
    return true;
}

/* ---- The wait ---- */

typedef enum { PARK_ANSWERED, PARK_NESTED, PARK_CANCELLED } park_result;

void
callback_wake(callback *call)
{
    platform_event_set(&call->event);
}

static void
wake(void *call)
{
    callback_wake(call);
}

static bool
is_answered(callback *call)
{
    int state = atomic_load(&call->state);
    return state == CALLBACK_ANSWERED || state == CALLBACK_LOST;
}

static park_result
sleep_until_news(callback *call, stream_token *token, job **nested)
{
    for (;;) {
        platform_event_clear(&call->event);
        /* Before looking, or the notice of what comes just after could be cleared. */
        atomic_thread_fence(memory_order_seq_cst);
        if (token != NULL && stream_token_is_raised(token)) {
            return PARK_CANCELLED;
        }
        if (is_answered(call)) {
            return PARK_ANSWERED;
        }
        *nested = chain_next_job(call);
        if (*nested != NULL) {
            return PARK_NESTED;
        }
        if (token != NULL && !stream_token_enter(token, wake, call)) {
            return PARK_CANCELLED;
        }
        platform_event_wait(&call->event, INT64_MAX, runtime_spin_ns(), false);
        if (token != NULL) {
            stream_token_leave(token);
        }
    }
}

static park_result
park(callback *call, job **nested)
{
    park_result result;
    Py_BEGIN_ALLOW_THREADS
    stream_token *token = executor_wait_begin();
    result = sleep_until_news(call, token, nested);
    executor_wait_end();
    Py_END_ALLOW_THREADS
    return result;
}

static bool
is_cancelled_gil(pyb_state *state)
{
    const pyb_host *host = host_table();
    return host->cancelled != NULL && host->cancelled(state) < 0;
}

/* False with an exception set: nobody waits for the answer any more.  The process is
 * gone without a cancel that counts when one was told twice. */
static bool
await_answer(pyb_state *state, callback *call)
{
    for (;;) {
        job *nested;
        switch (park(call, &nested)) {
        case PARK_ANSWERED:
            return true;
        case PARK_NESTED:
            chain_run_gil(nested);
            break;
        case PARK_CANCELLED:
            if (is_cancelled_gil(state)) {
                return false;
            }
            if (atomic_load(&call->state) == CALLBACK_GONE) {
                return true;
            }
        }
    }
}

/* ---- The answer ---- */

/* The error as ErlangError(kind, reason, text) with the text as a note, which
 * tracebacks show.  Takes the references; NULLs are passed on. */
static void
raise_erlang_error(pyb_state *state, PyObject *kind, PyObject *reason, PyObject *text)
{
    PyObject *error = NULL, *noted = NULL;
    if (kind != NULL && reason != NULL && text != NULL) {
        error =
            PyObject_CallFunctionObjArgs(state->erlang_error, kind, reason, text, NULL);
    }
    if (error != NULL) {
        noted = PyObject_CallMethod(error, "add_note", "O", text);
    }
    if (noted != NULL) {
        PyErr_SetObject(state->erlang_error, error);
    }
    Py_XDECREF(noted);
    Py_XDECREF(error);
    Py_XDECREF(kind);
    Py_XDECREF(reason);
    Py_XDECREF(text);
}

/* answer: {Kind, Reason, ReasonText, Text} */
static void
raise_answer(pyb_state *state, ErlNifEnv *env, const ERL_NIF_TERM *answer)
{
    PyObject *reason = convert_to_python(state, env, answer[1]);
    if (reason == NULL) {
        PyErr_Clear();
        reason = convert_name_to_python(state, env, answer[2]);
    }
    PyObject *kind =
        reason != NULL ? convert_name_to_python(state, env, answer[0]) : NULL;
    PyObject *text =
        kind != NULL ? convert_name_to_python(state, env, answer[3]) : NULL;
    raise_erlang_error(state, kind, reason, text);
}

static void
raise_lost(pyb_state *state)
{
    PyObject *kind = PyUnicode_FromString("exit");
    PyObject *reason = PyUnicode_FromString("killed");
    raise_erlang_error(state, kind, reason,
                       PyUnicode_FromString("the process that ran the function ended "
                                            "without an answer"));
}

static PyObject *
read_answer(pyb_state *state, callback *call)
{
    int arity;
    const ERL_NIF_TERM *answer;
    if (atomic_load(&call->state) != CALLBACK_ANSWERED) {
        raise_lost(state);
        return NULL;
    }
    if (call->answer_env == NULL) {
        return PyErr_NoMemory();
    }
    enif_get_tuple(call->answer_env, call->answer, &arity, &answer);
    if (arity == 2) {
        return convert_to_python(state, call->answer_env, answer[1]);
    }
    raise_answer(state, call->answer_env, answer);
    return NULL;
}

/* Those who are chained to the call may hold it for longer. */
static void
drop_answer(callback *call)
{
    if (atomic_load(&call->state) == CALLBACK_ANSWERED && call->answer_env != NULL) {
        enif_free_env(call->answer_env);
        call->answer_env = NULL;
    }
}

PyObject *
callback_call_gil(pyb_state *state, PyObject *name, PyObject *const *args,
                  Py_ssize_t nargs)
{
    callback *call = new_callback(state, name, args, nargs);
    if (call == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    bool sent, answered = false;
    chain_open(call);
    sent = send_request(call);
    if (sent) {
        answered = await_answer(state, call);
    }
    chain_close(call);
    if (answered) {
        result = read_answer(state, call);
    } else if (sent) {
        (void)callback_abandon(call);
    }
    drop_answer(call);
    callback_release(call);
    return result;
}

/* ---- A wait of an event loop ---- */

static callback *
callback_of_pending(stream_pending *pending)
{
    return (callback *)(void *)((char *)pending - offsetof(callback, pending));
}

static bool
withdraw(stream_pending *pending)
{
    return callback_abandon(callback_of_pending(pending));
}

static void
destroy_pending(stream_pending *pending)
{
    callback *call = callback_of_pending(pending);
    drop_answer(call);
    callback_release(call);
}

/* One reference to the wait is the caller's, one whose who answers or withdraws. */
stream_pending *
callback_call_on_loop_gil(pyb_state *state, PyObject *name, PyObject *const *args,
                          Py_ssize_t nargs, stream_waker *waker, void *user)
{
    callback *call = new_callback(state, name, args, nargs);
    if (call == NULL) {
        return NULL;
    }
    call->on_loop = true;
    stream_pending_init(&call->pending, waker, user);
    stream_pending_share(&call->pending);
    call->pending.withdraw = withdraw;
    call->pending.lapse = NULL;
    call->pending.destroy = destroy_pending;
    if (send_request(call)) {
        return &call->pending;
    }
    call->pending.user = NULL;
    stream_pending_cancel(&call->pending);
    return NULL;
}

PyObject *
callback_result_gil(pyb_state *state, stream_pending *pending)
{
    if (pending->withdraw != withdraw) {
        PyErr_SetString(PyExc_TypeError, "result() is for calls");
        return NULL;
    }
    return read_answer(state, callback_of_pending(pending));
}

/* ---- The process that runs the function ---- */

static ERL_NIF_TERM
take_request(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    callback *call = callback_of_term(env, argv[0]);
    (void)argc;
    ErlNifEnv *request_env = atomic_exchange(&call->request_env, NULL);
    if (request_env == NULL) {
        return nif_am.am_gone;
    }
    ERL_NIF_TERM request = enif_make_copy(env, call->request);
    enif_free_env(request_env);
    return request;
}

ERL_NIF_TERM
callback_take_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    callback *call = callback_of_term(env, argv[0]);
    if (call == NULL) {
        return enif_make_badarg(env);
    }
    if (atomic_load(&call->state) != CALLBACK_WAITING) {
        return nif_am.am_gone;
    }
    if (call->large) {
        return enif_schedule_nif(env, "callback_take", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                                 take_request, argc, argv);
    }
    return take_request(env, argc, argv);
}

static ERL_NIF_TERM
write_answer(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    callback *call = callback_of_term(env, argv[0]);
    (void)argc;
    if (claim(call, CALLBACK_ANSWERING)) {
        call->answer_env = enif_alloc_env();
        if (call->answer_env != NULL) {
            call->answer = enif_make_copy(call->answer_env, argv[1]);
        }
        atomic_store(&call->state, CALLBACK_ANSWERED);
        tell_answered(call);
    }
    return nif_am.am_ok;
}

ERL_NIF_TERM
callback_reply_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    int arity;
    const ERL_NIF_TERM *answer;
    callback *call = callback_of_term(env, argv[0]);
    if (call == NULL || !enif_get_tuple(env, argv[1], &arity, &answer) ||
        (arity != 2 && arity != 4)) {
        return enif_make_badarg(env);
    }
    if (atomic_load(&call->state) != CALLBACK_WAITING) {
        return nif_am.am_ok;
    }
    if (weigh(env, argv[1], NULL) == WEIGHT_LARGE) {
        return enif_schedule_nif(env, "callback_reply", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                                 write_answer, argc, argv);
    }
    return write_answer(env, argc, argv);
}
