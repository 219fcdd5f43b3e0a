/*
 * module.c: the module `_erlang`: its state, its slots, its functions, and the host.
 */
#include "internal.h"

/* All that is global here: set once, before the first interpreter starts. */
static struct {
    const pyb_host *host;
} room;

void
pyb_set_host(const pyb_host *host)
{
    room.host = host;
}

const pyb_host *
pyb_get_host(void)
{
    return room.host;
}

bool
pyb__forked(void)
{
    return room.host != NULL && room.host->forked != NULL && room.host->forked();
}

int
pyb__refuse_forked(void)
{
    if (!pyb__forked()) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "not in a child process: the Erlang node is in the parent");
    return -1;
}

void
pyb_forget(pyb_state *state)
{
    Py_CLEAR(state->async_receive);
    Py_CLEAR(state->async_next);
    Py_CLEAR(state->async_put);
}

int
pyb__visit_type(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

PyObject *
pyb__refuse_pickle(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyErr_Format(PyExc_TypeError, "cannot pickle '%.200s' object",
                 Py_TYPE(self)->tp_name);
    return NULL;
}

static PyObject *
module_send(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    static const char *const names[] = {"to", "term"};
    static const pyb__signature signature = {"send", names, 2, 2};
    PyObject *values[2];
    if (pyb__parse(&signature, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    const pyb_host *host = pyb_get_host();
    if (host == NULL || host->send == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no Erlang node to send to");
        return NULL;
    }
    if (pyb__refuse_forked() < 0) {
        return NULL;
    }
    return host->send(PyModule_GetState(module), values[0], values[1]);
}

PyDoc_STRVAR(send_doc,
             "send($module, to, term)\n--\n\n"
             "Send a message to an Erlang process, without waiting.\n\n"
             "to: a Pid, or a registered name as Atom or str.\n"
             "term: anything that converts to an Erlang term.\n"
             "Raises RuntimeError outside of an Erlang node, and in a child of it\n"
             "after os.fork().");

const pyb_host *
pyb__host_for_call(pyb_state *state, PyObject *name)
{
    if (!PyUnicode_Check(name) && pyb_atom_name(state, name) == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "call() argument 'name' must be a str or an Atom, not %.200s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    const pyb_host *host = pyb_get_host();
    if (host == NULL || host->call == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no Erlang node to call");
        return NULL;
    }
    return pyb__refuse_forked() < 0 ? NULL : host;
}

static PyObject *
module_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    pyb_state *state = PyModule_GetState(module);
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "call() missing required argument 'name' (pos 1)");
        return NULL;
    }
    const pyb_host *host = pyb__host_for_call(state, args[0]);
    return host != NULL ? host->call(state, args[0], args + 1, nargs - 1) : NULL;
}

PyDoc_STRVAR(
    call_doc,
    "call($module, name, /, *args)\n--\n\n"
    "Call an Erlang function and wait for its result.\n\n"
    "name: a str or Atom under which py:register_function/2 knows it.\n"
    "args: its arguments, anything that converts to Erlang terms.\n"
    "The function runs in an Erlang process of its own.  Raises ErlangError\n"
    "when it fails or there is none of that name, NotConvertibleError when an\n"
    "argument or the result has no counterpart on the other side, RuntimeError\n"
    "outside of an Erlang node, in a child of it after os.fork(), and when erlpy\n"
    "is not running there.");

PyDoc_STRVAR(nonblocking_doc,
             "nonblocking($module, buf, /)\n--\n\n"
             "Another PyBuffer over the same stream, with a timeout of 0.");

static PyMethodDef module_methods[] = {
    {"call", (PyCFunction)(void (*)(void))module_call, METH_FASTCALL, call_doc},
    {"nonblocking", pyb__nonblocking, METH_O, nonblocking_doc},
    {"send", (PyCFunction)(void (*)(void))module_send, METH_FASTCALL | METH_KEYWORDS,
     send_doc},
    {NULL, NULL, 0, NULL},
};

static int
add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    *slot = type;
    return type != NULL ? PyModule_AddType(module, type) : -1;
}

static PyObject *
import_attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return value;
}

/* A PyBuffer is a raw stream also where nothing imports the package. */
static int
register_raw_stream(PyTypeObject *type)
{
    PyObject *base = import_attribute("io", "RawIOBase");
    PyObject *done =
        base != NULL ? PyObject_CallMethod(base, "register", "O", type) : NULL;
    Py_XDECREF(base);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
module_exec(PyObject *module)
{
    pyb_state *state = PyModule_GetState(module);
    state->unsupported = import_attribute("io", "UnsupportedOperation");
    state->name_done = PyUnicode_InternFromString("done");
    state->name_set_result = PyUnicode_InternFromString("set_result");
    if (state->unsupported == NULL || state->name_done == NULL ||
        state->name_set_result == NULL || pyb__add_errors(module, state) < 0) {
        return -1;
    }
    const struct {
        PyType_Spec *spec;
        PyTypeObject **slot;
    } types[] = {
        {&pyb__buffer_spec, &state->buffer_type},
        {&pyb__view_spec, &state->view_type},
        {&pyb__writer_spec, &state->writer_type},
        {&pyb__pid_spec, &state->pid_type},
        {&pyb__ref_spec, &state->ref_type},
        {&pyb__atom_spec, &state->atom_type},
        {&pyb__waker_spec, &state->waker_type},
        {&pyb__wait_spec, &state->wait_type},
        {&pyb__channel_spec, &state->channel_type},
        {&pyb__peer_spec, &state->peer_type},
        {&pyb__put_spec, &state->put_type},
        {&pyb__reactor_spec, &state->reactor_type},
        {&pyb__connection_spec, &state->connection_type},
        {&pyb__data_spec, &state->data_type},
    };
    if (PyModule_AddStringConstant(module, "__version__", ERLPY_VERSION) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (add_type(module, types[i].spec, types[i].slot) < 0) {
            return -1;
        }
    }
    return register_raw_stream(state->buffer_type);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    pyb_state *state = PyModule_GetState(module);
    Py_VISIT(state->buffer_type);
    Py_VISIT(state->view_type);
    Py_VISIT(state->writer_type);
    Py_VISIT(state->pid_type);
    Py_VISIT(state->ref_type);
    Py_VISIT(state->atom_type);
    Py_VISIT(state->waker_type);
    Py_VISIT(state->wait_type);
    Py_VISIT(state->channel_type);
    Py_VISIT(state->peer_type);
    Py_VISIT(state->put_type);
    Py_VISIT(state->reactor_type);
    Py_VISIT(state->connection_type);
    Py_VISIT(state->data_type);
    Py_VISIT(state->async_receive);
    Py_VISIT(state->async_next);
    Py_VISIT(state->async_put);
    Py_VISIT(state->channel_closed);
    Py_VISIT(state->incomplete_read);
    Py_VISIT(state->limit_overrun);
    Py_VISIT(state->not_convertible);
    Py_VISIT(state->cancelled);
    Py_VISIT(state->erlang_error);
    Py_VISIT(state->buffer_aborted);
    Py_VISIT(state->unsupported);
    Py_VISIT(state->name_done);
    Py_VISIT(state->name_set_result);
    return 0;
}

static int
module_clear(PyObject *module)
{
    pyb_state *state = PyModule_GetState(module);
    Py_CLEAR(state->buffer_type);
    Py_CLEAR(state->view_type);
    Py_CLEAR(state->writer_type);
    Py_CLEAR(state->pid_type);
    Py_CLEAR(state->ref_type);
    Py_CLEAR(state->atom_type);
    Py_CLEAR(state->waker_type);
    Py_CLEAR(state->wait_type);
    Py_CLEAR(state->channel_type);
    Py_CLEAR(state->peer_type);
    Py_CLEAR(state->put_type);
    Py_CLEAR(state->reactor_type);
    Py_CLEAR(state->connection_type);
    Py_CLEAR(state->data_type);
    Py_CLEAR(state->async_receive);
    Py_CLEAR(state->async_next);
    Py_CLEAR(state->async_put);
    Py_CLEAR(state->channel_closed);
    Py_CLEAR(state->incomplete_read);
    Py_CLEAR(state->limit_overrun);
    Py_CLEAR(state->not_convertible);
    Py_CLEAR(state->cancelled);
    Py_CLEAR(state->erlang_error);
    Py_CLEAR(state->buffer_aborted);
    Py_CLEAR(state->unsupported);
    Py_CLEAR(state->name_done);
    Py_CLEAR(state->name_set_result);
    return 0;
}

static void
module_free(void *module)
{
    module_clear((PyObject *)module);
}

PyDoc_STRVAR(module_doc, "The types behind the package erlang.");

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)(uintptr_t)module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,         .m_name = "_erlang",         .m_doc = module_doc,
    .m_size = sizeof(pyb_state),   .m_methods = module_methods, .m_slots = module_slots,
    .m_traverse = module_traverse, .m_clear = module_clear,     .m_free = module_free,
};

PyMODINIT_FUNC
pyb_module_init(void)
{
    return PyModuleDef_Init(&module_def);
}
