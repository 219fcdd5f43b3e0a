#include "interpreter.h"

#include "../python/pyb.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "python_config.h"
#include "runtime.h"
#include "shared.h"

const char *
interpreter_publish_symbols(void)
{
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&Py_InitializeFromConfig, &info) == 0) {
        return "libpython was not found in memory";
    }
    /* cppcheck-suppress leakReturnValNotUsed ; it stays, with its symbols global */
    if (dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) == NULL) {
        return dlerror(); /* NOLINT(concurrency-mt-unsafe): one a thread in glibc */
    }
    return NULL;
}

bool
interpreter_has_gil(void)
{
#ifdef Py_GIL_DISABLED
    return false;
#else
    return true;
#endif
}

uint64_t
interpreter_abi(void)
{
    return ((uint64_t)PY_VERSION_HEX >> 16) << 1 | (interpreter_has_gil() ? 1 : 0);
}

bool
interpreter_is_there(void)
{
    return Py_IsInitialized() != 0;
}

const char *
interpreter_version(void)
{
    return PY_VERSION;
}

static char *
status_text(PyStatus status)
{
    return interpreter_text(status.err_msg != NULL ? status.err_msg
                                                   : "unknown failure");
}

/* The directories of the setting in front of those of PYTHONPATH, as one owned text: so
 * sub-interpreters have them too.  NULL: no memory. */
static char *
join_path(char **dirs)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it while this reads it. */
    const char *inherited = getenv("PYTHONPATH");
    size_t size = inherited != NULL ? strlen(inherited) + 1 : 1;
    for (char **dir = dirs; *dir != NULL; dir++) {
        size += strlen(*dir) + 1;
    }
    char *joined = calloc(1, size);
    if (joined == NULL) {
        return NULL;
    }
    for (char **dir = dirs; *dir != NULL; dir++) {
        strcat(joined, *dir);
        strcat(joined, dir[1] != NULL ? ":" : "");
    }
    if (inherited != NULL && inherited[0] != '\0') {
        strcat(strcat(joined, ":"), inherited);
    }
    return joined;
}

/* As `python3` would start, but: no signal handlers (the node has its own), no command
 * line, and the C library's streams left as they are. */
static PyStatus
initialise(const char *executable, const char *python_path)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    config.configure_c_stdio = 0;
    PyStatus status =
        PyConfig_SetBytesString(&config, &config.program_name, executable);
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.executable, executable);
    }
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.pythonpath_env, python_path);
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    return status;
}

/* A line that is printed is seen at once, also when standard output is a file.  And
 * `threading` takes the thread that imports it first for the main thread: that ought to
 * be this one, since a later thread may get the identifier of one that has ended. */
static void
prepare_modules(void)
{
    static const char code[] = "import sys, threading\n"
                               "for f in (sys.stdout, sys.stderr):\n"
                               "    if f is not None:\n"
                               "        f.reconfigure(line_buffering=True)\n"
                               "del f, sys, threading\n";
    PyRun_SimpleString(code);
}

char *
interpreter_start(const runtime_config *config)
{
    const char *executable =
        config->executable != NULL ? config->executable : ERLPY_PYTHON_EXECUTABLE;
    if (PyImport_AppendInittab("_erlang", pyb_module_init) != 0) {
        return interpreter_text("out of memory");
    }
    char *python_path = join_path(config->python_path);
    rt->running_executable = strdup(executable);
    if (python_path == NULL || rt->running_executable == NULL) {
        free(python_path);
        return interpreter_text("out of memory");
    }
    platform_keep_freed_memory();
    PyStatus status = initialise(executable, python_path);
    free(python_path);
    if (PyStatus_Exception(status)) {
        return status_text(status);
    }
    prepare_modules();
    rt->main->python = PyInterpreterState_Get();
    rt->main->state = INTERPRETER_READY;
    PyEval_SaveThread();
    return NULL;
}

char *
interpreter_exception_gil(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = value != NULL ? PyObject_Str(value) : NULL;
    const char *utf8 = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    char *copy = interpreter_text(utf8 != NULL ? utf8 : "unknown failure");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return copy;
}

static int
put_in_front(PyObject *path, PyObject *dir)
{
    int known = PySequence_Contains(path, dir);
    Py_ssize_t at = known == 1 ? PySequence_Index(path, dir) : 0;
    if (known < 0 || at < 0) {
        return -1;
    }
    if (known == 1 && at == 0) {
        return 0;
    }
    if (PyList_Insert(path, 0, dir) < 0) {
        return -1;
    }
    return known == 1 ? PySequence_DelItem(path, at + 1) : 0;
}

/* Puts the directories in front of sys.path, in order, each once. */
static int
extend_path(char **dirs)
{
    PyObject *path = PySys_GetObject("path");
    if (path == NULL || !PyList_Check(path)) {
        PyErr_SetString(PyExc_RuntimeError, "sys.path is not a list");
        return -1;
    }
    size_t left = 0;
    while (dirs != NULL && dirs[left] != NULL) {
        left++;
    }
    int failed = 0;
    while (left > 0 && failed == 0) {
        PyObject *dir = PyUnicode_DecodeFSDefault(dirs[--left]);
        failed = dir != NULL ? put_in_front(path, dir) : -1;
        Py_XDECREF(dir);
    }
    return failed;
}

bool
interpreter_prepare_gil(interpreter *in, char **python_path)
{
    if (extend_path(python_path) < 0) {
        return false;
    }
    if (in->module == NULL) {
        PyObject *module = PyImport_ImportModule("_erlang");
        if (module == NULL) {
            return false;
        }
        in->module = PyModule_GetState(module);
        if (in->own) {
            Py_DECREF(module);
        }
    }
    in->module->host_data = in;
    return true;
}

char *
interpreter_configure(const runtime_config *config)
{
    if (config->executable != NULL &&
        strcmp(config->executable, rt->running_executable) != 0) {
        return interpreter_text(
            "Python is already running with another venv: restart the node");
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    char *failure = interpreter_prepare_gil(rt->main, config->python_path)
                        ? NULL
                        : interpreter_exception_gil();
    PyGILState_Release(gil);
    return failure;
}

#if PY_VERSION_HEX >= 0x030C0000

bool
interpreter_may_own_gil(void)
{
    return true;
}

/* Asked here first: CPython 3.13 ends the process when a hook raises, 3.12 says
 * nothing. */
static bool
is_refused_gil(void)
{
    bool refused = PySys_Audit("cpython.PyInterpreterState_New", NULL) < 0;
    PyErr_Clear();
    return refused;
}

/* What would replace or double the node is refused: exec and fork. */
static PyStatus
new_interpreter(PyThreadState **python)
{
    const PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 1,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *maker = PyThreadState_New(rt->main->python);
    if (maker == NULL) {
        return PyStatus_NoMemory();
    }
    interpreter_take_gil(rt->main, maker);
    *python = NULL;
    PyStatus status = is_refused_gil()
                          ? PyStatus_Error("an audit hook of Python's refuses "
                                           "interpreters")
                          : Py_NewInterpreterFromConfig(python, &config);
    if (!PyStatus_Exception(status) && *python == NULL) {
        status = PyStatus_NoMemory();
    }
    if (!PyStatus_Exception(status)) {
        PyEval_SaveThread();
        interpreter_take_gil(rt->main, maker);
    }
    PyThreadState_Clear(maker);
    PyThreadState_DeleteCurrent();
    return status;
}

/* An owned text when it does not load. */
static char *
load_extension_gil(const char *name, const char *file)
{
    PyObject *module = PyImport_ImportModule("erlang._interpreter");
    PyObject *done =
        module != NULL ? PyObject_CallMethod(module, "load_extension", "ss", name, file)
                       : NULL;
    char *failure = done == NULL ? interpreter_exception_gil() : NULL;
    Py_XDECREF(done);
    Py_XDECREF(module);
    return failure;
}

static char *
load_extension_in_main(const char *name, const char *file)
{
    PyThreadState *python = PyThreadState_New(rt->main->python);
    if (python == NULL) {
        return interpreter_text("out of memory");
    }
    interpreter_take_gil(rt->main, python);
    char *failure = load_extension_gil(name, file);
    PyThreadState_Clear(python);
    PyThreadState_DeleteCurrent();
    return failure;
}

static PyObject *
load_in_main(PyObject *Py_UNUSED(self), PyObject *args)
{
    const char *name, *file;
    if (!PyArg_ParseTuple(args, "ss", &name, &file)) {
        return NULL;
    }
    char *failure;
    Py_BEGIN_ALLOW_THREADS
    failure = load_extension_in_main(name, file);
    Py_END_ALLOW_THREADS
    if (failure != NULL) {
        PyErr_SetString(PyExc_ImportError, failure);
        interpreter_free_text(failure);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What its end goes back to (erlang/_interpreter.py). */
static PyObject *
take_origin_gil(void)
{
    static PyMethodDef load = {"load_in_main", load_in_main, METH_VARARGS,
                               "Create an extension module in the main interpreter."};
    PyObject *origin = NULL;
    PyObject *function = PyCFunction_New(&load, NULL);
    PyObject *module = PyImport_ImportModule("erlang._interpreter");
    if (module != NULL && function != NULL) {
        origin = PyObject_CallMethod(module, "Origin", "O", function);
    }
    Py_XDECREF(module);
    Py_XDECREF(function);
    return origin;
}

char *
interpreter_make_realm(realm **made)
{
    realm *of = calloc(1, sizeof *of);
    if (of == NULL) {
        return interpreter_text("out of memory");
    }
    PyStatus status = new_interpreter(&of->first);
    if (PyStatus_Exception(status)) {
        free(of);
        return status_text(status);
    }
    PyEval_RestoreThread(of->first);
    of->python = PyInterpreterState_Get();
    prepare_modules();
    PyObject *module = PyImport_ImportModule("_erlang");
    of->origin = module != NULL ? take_origin_gil() : NULL;
    Py_XDECREF(module);
    char *failure = of->origin == NULL ? interpreter_exception_gil() : NULL;
    PyEval_SaveThread();
    *made = of;
    return failure;
}

#else

bool
interpreter_may_own_gil(void)
{
    return false;
}

char *
interpreter_make_realm(realm **made)
{
    *made = NULL;
    return interpreter_text(
        "interpreters with a GIL of their own need CPython 3.12 or later; "
        "this is " PY_VERSION);
}

#endif
