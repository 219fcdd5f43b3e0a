#include "runner.h"

#include <stdlib.h>
#include <string.h>

#include "atoms.h"
#include "convert.h"
#include "failure.h"
#include "fork.h"
#include "loop.h"

struct runner {
    pyb_state *state;
    ErlNifEnv *reply_env; /* NULL while a job is being answered in it */
    PyObject *own_main;   /* the context's '__main__', or NULL */
    PyObject *main_name;
};

static PyObject *
new_main_module(void)
{
    PyObject *module = PyModule_New("__main__");
    if (module == NULL) {
        return NULL;
    }
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (builtins == NULL ||
        PyObject_SetAttrString(module, "__builtins__", builtins) < 0) {
        Py_CLEAR(module);
    }
    Py_XDECREF(builtins);
    return module;
}

void
runner_free_gil(runner *run)
{
    if (run == NULL) {
        return;
    }
    Py_XDECREF(run->own_main);
    Py_XDECREF(run->main_name);
    if (run->reply_env != NULL) {
        enif_free_env(run->reply_env);
    }
    free(run);
}

runner *
runner_new_gil(interpreter *in, bool own_namespace)
{
    runner *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    run->state = in->module;
    run->reply_env = enif_alloc_env();
    run->main_name = PyUnicode_InternFromString("__main__");
    run->own_main = own_namespace ? new_main_module() : NULL;
    if (run->state != NULL && run->reply_env != NULL && run->main_name != NULL &&
        (run->own_main != NULL || !own_namespace)) {
        return run;
    }
    PyErr_Clear();
    runner_free_gil(run);
    return NULL;
}

/* ---- Calls ---- */

/* A new reference to the module that a call names. */
static PyObject *
find_module(runner *run, PyObject *name)
{
    if (run->own_main != NULL && PyUnicode_Compare(name, run->main_name) == 0) {
        return Py_NewRef(run->own_main);
    }
    /* With no list of names the import answers the top package of a dotted name. */
    PyObject *top = PyImport_ImportModuleLevelObject(name, NULL, NULL, NULL, 0);
    if (top == NULL) {
        failure_note_path_gil();
        return NULL;
    }
    if (PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1) < 0) {
        return top;
    }
    Py_DECREF(top);
    PyObject *module = PyImport_GetModule(name);
    if (module == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ImportError, "no module named %R after its import", name);
    }
    return module;
}

/* Follows the dots of `path` from `object`, which is consumed. */
static PyObject *
find_attribute(PyObject *object, PyObject *path)
{
    if (PyUnicode_FindChar(path, '.', 0, PyUnicode_GET_LENGTH(path), 1) < 0) {
        PyObject *found = PyObject_GetAttr(object, path);
        Py_DECREF(object);
        return found;
    }
    PyObject *names = PyObject_CallMethod(path, "split", "s", ".");
    for (Py_ssize_t i = 0; names != NULL && i < PyList_GET_SIZE(names); i++) {
        PyObject *next =
            object != NULL ? PyObject_GetAttr(object, PyList_GET_ITEM(names, i)) : NULL;
        Py_XDECREF(object);
        object = next;
    }
    if (names == NULL) {
        Py_CLEAR(object);
    }
    Py_XDECREF(names);
    return object;
}

typedef struct call_terms {
    PyObject *module, *function, *arguments, *keywords;
} call_terms;

static void
clear_call(call_terms *call)
{
    Py_CLEAR(call->module);
    Py_CLEAR(call->function);
    Py_CLEAR(call->arguments);
    Py_CLEAR(call->keywords);
}

/* A tuple, since nobody else may change it during the call. */
static PyObject *
read_arguments(runner *run, ErlNifEnv *env, ERL_NIF_TERM term)
{
    PyObject *list = convert_to_python(run->state, env, term);
    PyObject *arguments = list != NULL ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return arguments;
}

/* request: {call, Module, Function, Arguments, Keywords} */
static bool
read_call(runner *run, job *j, const ERL_NIF_TERM *request, call_terms *call)
{
    ErlNifEnv *env = j->request_env;
    call->module = convert_name_to_python(run->state, env, request[1]);
    if (call->module != NULL) {
        call->function = convert_name_to_python(run->state, env, request[2]);
    }
    if (call->function != NULL) {
        call->arguments = read_arguments(run, env, request[3]);
    }
    if (call->arguments != NULL) {
        call->keywords = convert_to_python(run->state, env, request[4]);
    }
    return call->keywords != NULL;
}

static PyObject *
invoke(PyObject *function, PyObject *arguments, PyObject *keywords)
{
    PyObject **items = ((PyTupleObject *)arguments)->ob_item;
    size_t count = (size_t)PyTuple_GET_SIZE(arguments);
    return PyObject_VectorcallDict(function, items, count,
                                   PyDict_GET_SIZE(keywords) > 0 ? keywords : NULL);
}

static PyObject *
run_call(runner *run, job *j, const ERL_NIF_TERM *request, bool *started)
{
    call_terms call = {0};
    PyObject *result = NULL;
    if (read_call(run, j, request, &call)) {
        job_drop_request(j);
        *started = true;
        PyObject *module = find_module(run, call.module);
        PyObject *function =
            module != NULL ? find_attribute(module, call.function) : NULL;
        if (function != NULL) {
            result = invoke(function, call.arguments, call.keywords);
        }
        Py_XDECREF(function);
    }
    clear_call(&call);
    return result;
}

/* ---- Source text ---- */

/* Borrowed. */
static PyObject *
namespace_of(runner *run)
{
    PyObject *module =
        run->own_main != NULL ? run->own_main : PyImport_AddModule("__main__");
    return module != NULL ? PyModule_GetDict(module) : NULL;
}

static PyObject *
compile_text(PyObject *text, const char *mode)
{
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *code = builtins != NULL ? PyObject_CallMethod(builtins, "compile", "Oss",
                                                            text, "<erlpy>", mode)
                                      : NULL;
    Py_XDECREF(builtins);
    return code;
}

static PyObject *
evaluate(PyObject *text, const char *mode, PyObject *namespace)
{
    PyObject *code = compile_text(text, mode);
    if (code == NULL) {
        return NULL;
    }
    PyObject *result = PyEval_EvalCode(code, namespace, namespace);
    Py_DECREF(code);
    return result;
}

/* The namespace with the locals laid over it: a copy, so that comprehensions and
 * lambdas of the expression see them too. */
static PyObject *
namespace_with(PyObject *namespace, PyObject *locals)
{
    if (PyDict_GET_SIZE(locals) == 0) {
        return Py_NewRef(namespace);
    }
    PyObject *both = PyDict_Copy(namespace);
    if (both != NULL && PyDict_Update(both, locals) < 0) {
        Py_CLEAR(both);
    }
    return both;
}

/* request: {eval, Code, Locals}.  Leading blanks are dropped, as eval() does. */
static PyObject *
run_eval(runner *run, job *j, const ERL_NIF_TERM *request, bool *started)
{
    PyObject *result = NULL, *stripped = NULL, *both = NULL;
    PyObject *text = convert_name_to_python(run->state, j->request_env, request[1]);
    PyObject *locals =
        text != NULL ? convert_to_python(run->state, j->request_env, request[2]) : NULL;
    PyObject *namespace = namespace_of(run);
    if (locals == NULL || namespace == NULL) {
        goto done;
    }
    job_drop_request(j);
    *started = true;
    stripped = PyObject_CallMethod(text, "lstrip", "s", " \t");
    both = stripped != NULL ? namespace_with(namespace, locals) : NULL;
    if (both != NULL) {
        result = evaluate(stripped, "eval", both);
    }
done:
    Py_XDECREF(both);
    Py_XDECREF(stripped);
    Py_XDECREF(locals);
    Py_XDECREF(text);
    return result;
}

/* request: {exec, Code} */
static PyObject *
run_exec(runner *run, job *j, const ERL_NIF_TERM *request, bool *started)
{
    PyObject *text = convert_name_to_python(run->state, j->request_env, request[1]);
    PyObject *namespace = namespace_of(run);
    if (text == NULL || namespace == NULL) {
        Py_XDECREF(text);
        return NULL;
    }
    job_drop_request(j);
    *started = true;
    PyObject *result = evaluate(text, "exec", namespace);
    Py_DECREF(text);
    return result;
}

/* ---- One job ---- */

static bool
write_answer(runner *run, ErlNifEnv *env, PyObject *result, bool is_exec,
             ERL_NIF_TERM *answer)
{
    ERL_NIF_TERM value;
    if (is_exec) {
        *answer = nif_am.am_ok;
        return true;
    }
    if (!convert_to_erlang(run->state, env, result, &value)) {
        return false;
    }
    *answer = enif_make_tuple2(env, nif_am.am_ok, value);
    return true;
}

/* `plain`: just ok. */
static ERL_NIF_TERM
answer_term(runner *run, ErlNifEnv *env, PyObject *result, bool plain)
{
    ERL_NIF_TERM answer;
    return write_answer(run, env, result, plain, &answer)
               ? answer
               : failure_term_gil(run->state, env, false);
}

/* A coroutine that has not begun complains when it is collected. */
static void
drop_result(PyObject *result)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (result != NULL && PyCoro_CheckExact(result)) {
        Py_XDECREF(PyObject_CallMethod(result, "close", NULL));
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
    Py_XDECREF(result);
}

/* The answer if the job does not go to a loop. */
static ERL_NIF_TERM
await_result(runner *run, job *j, ErlNifEnv *env, PyObject *result)
{
    if (event_loop_take_gil(j, result, run->own_main != NULL)) {
        Py_DECREF(result);
        return nif_am.am_ok;
    }
    drop_result(result);
    return PyErr_Occurred() ? failure_term_gil(run->state, env, true)
                            : enif_make_tuple2(env, nif_am.am_error, nif_am.am_stopped);
}

static ERL_NIF_TERM
run_request(runner *run, job *j, ErlNifEnv *env)
{
    int arity;
    const ERL_NIF_TERM *request;
    bool started = false;
    PyObject *result;
    enif_get_tuple(j->request_env, j->request, &arity, &request);
    bool is_exec = enif_is_identical(request[0], nif_am.am_exec);
    if (enif_is_identical(request[0], nif_am.am_call)) {
        result = run_call(run, j, request, &started);
    } else if (is_exec) {
        result = run_exec(run, j, request, &started);
    } else {
        result = run_eval(run, j, request, &started);
    }
    if (nif_forked()) {
        nif_fork_end_child_gil();
    }
    if (!job_is_pending(j)) {
        /* Nobody wants to know. */
        drop_result(result);
        PyErr_Clear();
        return nif_am.am_cancelled;
    }
    if (result == NULL) {
        return failure_term_gil(run->state, env, started);
    }
    if (!is_exec && event_loop_is_awaitable(result)) {
        return await_result(run, j, env, result);
    }
    ERL_NIF_TERM answer = answer_term(run, env, result, is_exec || !j->wants_reply);
    Py_DECREF(result);
    return answer;
}

/* A job may run nested in another one's erlang.call, at the latest while the answer is
 * being converted: then it has an environment of its own. */
static ErlNifEnv *
take_reply_env(runner *run)
{
    ErlNifEnv *env = run->reply_env;
    run->reply_env = NULL;
    return env != NULL ? env : enif_alloc_env();
}

static void
put_reply_env(runner *run, ErlNifEnv *env)
{
    if (run->reply_env == NULL) {
        run->reply_env = env;
    } else {
        enif_free_env(env);
    }
}

/* Gives the environment back. */
static void
reply(runner *run, job *j, ErlNifEnv *env, ERL_NIF_TERM answer)
{
    if (nif_forked()) {
        nif_fork_end_child_gil();
    }
    if (!j->wants_reply && !enif_is_identical(answer, nif_am.am_ok) &&
        job_is_pending(j)) {
        failure_report(answer);
    }
    job_reply(j, env, answer);
    put_reply_env(run, env);
}

void
runner_answer_gil(runner *run, job *j, PyObject *result)
{
    if (nif_forked()) {
        nif_fork_end_child_gil();
    }
    ErlNifEnv *env = run != NULL && job_is_pending(j) ? take_reply_env(run) : NULL;
    if (env == NULL) {
        job_fail(NULL, j, nif_am.am_enomem);
        PyErr_Clear();
        return;
    }
    reply(run, j, env,
          result != NULL ? answer_term(run, env, result, !j->wants_reply)
                         : failure_term_gil(run->state, env, true));
}

static void
answer_job(runner *run, job *j)
{
    if (run == NULL) {
        job_fail(NULL, j, nif_am.am_enomem);
        return;
    }
    if (!job_is_pending(j)) {
        return;
    }
    ErlNifEnv *env = take_reply_env(run);
    if (env == NULL) {
        job_fail(NULL, j, nif_am.am_enomem);
        return;
    }
    ERL_NIF_TERM answer = run_request(run, j, env);
    if (j->loop == NULL) {
        reply(run, j, env, answer);
    } else {
        put_reply_env(run, env);
    }
}

/* The caller may hold the job for long: it keeps nothing of the request, which may not
 * have been read. */
void
runner_run_gil(runner *run, job *j)
{
    answer_job(run, j);
    job_drop_request(j);
}
