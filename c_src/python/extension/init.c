/*
 * init.c: `_erlang` as an extension for plain python3.  In an Erlang node the module is
 * built in, and a second copy, with no host and types of its own, must not load.
 */
#include "../pyb.h"

PyMODINIT_FUNC PyInit__erlang(void);

PyMODINIT_FUNC
PyInit__erlang(void)
{
    PyObject *builtin = PySys_GetObject("builtin_module_names"); /* borrowed */
    PyObject *name = PyUnicode_FromString("_erlang");
    if (name == NULL) {
        return NULL;
    }
    int found = builtin != NULL ? PySequence_Contains(builtin, name) : 0;
    Py_DECREF(name);
    if (found < 0) {
        return NULL;
    }
    if (found != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "the extension _erlang refuses to load in the node, where "
                        "_erlang is built in");
        return NULL;
    }
    stream_prepare();
    return pyb_module_init();
}
