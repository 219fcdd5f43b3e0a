#include "host.h"

#include <erl_nif.h>

#include "atoms.h"
#include "callback.h"
#include "convert.h"
#include "executor.h"
#include "failure.h"
#include "fork.h"
#include "message.h"
#include "runtime.h"

/* ---- erlang.send ---- */

/* 1: *pid; 0: nobody is registered under this name; -1: an exception is set. */
static int
find_registered(PyObject *name, ErlNifPid *pid)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(name, &size);
    if (utf8 == NULL) {
        return -1;
    }
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    ERL_NIF_TERM atom;
    int found = convert_atom(env, utf8, (size_t)size, false, &atom) > 0 &&
                enif_whereis_pid(NULL, atom, pid);
    enif_free_env(env);
    return found;
}

/* A process of another node: a NIF reaches local ones only, so a local process passes
 * the message on. */
static int
relay_through_runtime(ErlNifEnv *env, PyObject *external, ERL_NIF_TERM *message,
                      ErlNifPid *pid)
{
    ERL_NIF_TERM to;
    size_t size = (size_t)PyBytes_GET_SIZE(external);
    if (enif_binary_to_term(env, (unsigned char *)PyBytes_AS_STRING(external), size,
                            &to, 0) != size ||
        !enif_whereis_pid(NULL, nif_am.am_erlpy_runtime, pid)) {
        PyErr_SetString(PyExc_RuntimeError, "erlpy is not running");
        return -1;
    }
    *message = enif_make_tuple4(env, nif_am.am_erlpy, nif_am.am_relay, to, *message);
    return 1;
}

/* As find_registered(), and may wrap the message. */
static int
find_destination(pyb_state *state, PyObject *to, ErlNifEnv *env, ERL_NIF_TERM *message,
                 ErlNifPid *pid)
{
    if (Py_IS_TYPE(to, state->pid_type)) {
        pyb_handle *handle = (pyb_handle *)to;
        if (handle->word == 0) {
            return relay_through_runtime(env, handle->external, message, pid);
        }
        pid->pid = (ERL_NIF_TERM)handle->word;
        return 1;
    }
    PyObject *name = PyUnicode_Check(to) ? to : pyb_atom_name(state, to);
    if (name != NULL) {
        return find_registered(name, pid);
    }
    PyErr_Format(PyExc_TypeError,
                 "send() argument 'to' must be a Pid, an Atom or a str, not %.200s",
                 Py_TYPE(to)->tp_name);
    return -1;
}

static PyObject *
host_send(pyb_state *state, PyObject *to, PyObject *term)
{
    ErlNifPid pid;
    ERL_NIF_TERM message;
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        return PyErr_NoMemory();
    }
    int found = convert_to_erlang(state, env, term, &message)
                    ? find_destination(state, to, env, &message, &pid)
                    : -1;
    if (found > 0) {
        enif_send(NULL, &pid, env, message);
    } else if (found == 0) {
        PyErr_Format(PyExc_ValueError, "no process is registered as %R", to);
    }
    enif_free_env(env);
    if (found <= 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- Atoms and handles ---- */

static int
host_atom(const char *utf8, size_t size, int create)
{
    ERL_NIF_TERM atom;
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        return -1;
    }
    int known = convert_atom(env, utf8, size, create != 0, &atom);
    enif_free_env(env);
    return known;
}

static PyObject *
host_describe(pyb_handle *handle)
{
    char text[256];
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        return PyErr_NoMemory();
    }
    ERL_NIF_TERM term = (ERL_NIF_TERM)handle->word;
    if (term == 0) {
        enif_binary_to_term(env, (unsigned char *)PyBytes_AS_STRING(handle->external),
                            (size_t)PyBytes_GET_SIZE(handle->external), &term, 0);
    }
    enif_snprintf(text, sizeof text, "%T", term);
    enif_free_env(env);
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

const pyb_host *
host_table(void)
{
    static const pyb_host table = {
        .send = host_send,
        .atom = host_atom,
        .describe = host_describe,
        .call = callback_call_gil,
        .call_on_loop = callback_call_on_loop_gil,
        .call_result = callback_result_gil,
        .message = message_of_object_gil,
        .wait_begin = executor_wait_begin,
        .wait_end = executor_wait_end,
        .cancelled = executor_cancelled_gil,
        .loop_waits = executor_loop_waits,
        .is_cancelled = executor_is_cancelled,
        .report = failure_report_text,
        .forked = nif_forked,
        .spin_ns = runtime_spin_ns,
    };
    return &table;
}
