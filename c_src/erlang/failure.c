#include "failure.h"

#include <string.h>

#include "atoms.h"

static ERL_NIF_TERM
binary_term(ErlNifEnv *env, const char *data, size_t size)
{
    ERL_NIF_TERM term;
    memcpy(enif_make_new_binary(env, size, &term), data, size);
    return term;
}

/* Consumes `text`; NULL and whatever cannot be encoded become a fixed text. */
static ERL_NIF_TERM
text_term(ErlNifEnv *env, PyObject *text)
{
    static const char unprintable[] = "(it could not be printed)";
    PyObject *utf8 = text != NULL && PyUnicode_Check(text)
                         ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace")
                         : NULL;
    ERL_NIF_TERM term =
        utf8 != NULL
            ? binary_term(env, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8))
            : binary_term(env, unprintable, sizeof unprintable - 1);
    PyErr_Clear();
    Py_XDECREF(utf8);
    Py_XDECREF(text);
    return term;
}

static PyObject *
format_traceback(PyObject *exception)
{
    PyObject *text = NULL, *lines = NULL, *empty = NULL;
    PyObject *module = PyImport_ImportModule("traceback");
    if (module != NULL) {
        lines = PyObject_CallMethod(module, "format_exception", "O", exception);
    }
    if (lines != NULL) {
        empty = PyUnicode_FromString("");
    }
    if (empty != NULL) {
        text = PyUnicode_Join(empty, lines);
    }
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    return text;
}

PyObject *
failure_take_gil(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* What to do about a module that is not there. */
static PyObject *
path_note(void)
{
    PyObject *path = PySys_GetObject("path");
    PyObject *separator = PyUnicode_FromString("\n  ");
    PyObject *folders =
        path != NULL && separator != NULL ? PyUnicode_Join(separator, path) : NULL;
    PyObject *note = folders != NULL
                         ? PyUnicode_FromFormat("The settings python_path and venv of "
                                                "erlpy say where to look. It was in:"
                                                "\n  %U",
                                                folders)
                         : NULL;
    Py_XDECREF(folders);
    Py_XDECREF(separator);
    return note;
}

void
failure_note_path_gil(void)
{
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
        return;
    }
    PyObject *exception = failure_take_gil();
    PyObject *note = path_note();
    PyObject *none =
        note != NULL ? PyObject_CallMethod(exception, "add_note", "O", note) : NULL;
    /* Without the note it is as it was. */
    PyErr_Clear();
    Py_XDECREF(none);
    Py_XDECREF(note);
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
}

ERL_NIF_TERM
failure_term_gil(pyb_state *state, ErlNifEnv *env, bool in_python)
{
    PyObject *exception = failure_take_gil();
    ERL_NIF_TERM reason;
    if (exception == NULL) {
        reason = nif_am.am_undefined;
    } else if (!in_python &&
               Py_IS_TYPE(exception, (PyTypeObject *)state->not_convertible)) {
        reason = enif_make_tuple2(env, nif_am.am_not_convertible,
                                  text_term(env, PyObject_Str(exception)));
    } else {
        reason =
            enif_make_tuple3(env, text_term(env, PyType_GetName(Py_TYPE(exception))),
                             text_term(env, PyObject_Str(exception)),
                             text_term(env, format_traceback(exception)));
    }
    Py_XDECREF(exception);
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

ERL_NIF_TERM
failure_term_of_text(ErlNifEnv *env, const char *text)
{
    static const char type[] = "RuntimeError";
    ERL_NIF_TERM reason =
        enif_make_tuple3(env, binary_term(env, type, sizeof type - 1),
                         binary_term(env, text, strlen(text)), binary_term(env, "", 0));
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

/* {erlpy, kind, what}.  Frees the environment. */
static void
tell_runtime(ErlNifEnv *env, ERL_NIF_TERM kind, ERL_NIF_TERM what)
{
    ErlNifPid runtime;
    if (enif_whereis_pid(NULL, nif_am.am_erlpy_runtime, &runtime)) {
        enif_send(NULL, &runtime, env,
                  enif_make_tuple3(env, nif_am.am_erlpy, kind, what));
    }
    enif_free_env(env);
}

void
failure_report(ERL_NIF_TERM answer)
{
    ErlNifEnv *env = enif_alloc_env();
    if (env != NULL) {
        tell_runtime(env, nif_am.am_cast_failed, enif_make_copy(env, answer));
    }
}

void
failure_report_text(const char *utf8, size_t size)
{
    ErlNifEnv *env = enif_alloc_env();
    if (env != NULL) {
        tell_runtime(env, nif_am.am_loop_error, binary_term(env, utf8, size));
    }
}
