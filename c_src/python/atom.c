/*
 * atom.c: Atom, the way to send an atom that str does not stand for.
 */
#include "internal.h"

enum { ATOM_MAX_CHARACTERS = 255 };

typedef struct pyb_atom {
    PyObject_HEAD
    PyObject *name; /* an exact str */
} pyb_atom;

static PyObject *
atom_of(PyTypeObject *type, PyObject *name)
{
    pyb_atom *self = PyObject_GC_New(pyb_atom, type);
    if (self == NULL) {
        return NULL;
    }
    self->name = Py_NewRef(name);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
pyb_atom_name(pyb_state *state, PyObject *object)
{
    return Py_IS_TYPE(object, state->atom_type) ? ((pyb_atom *)object)->name : NULL;
}

/* Without a host any name that could be an atom will do. */
static int
check_name(PyObject *name, int create)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(name, &size);
    if (utf8 == NULL) {
        return -1;
    }
    if (PyUnicode_GET_LENGTH(name) > ATOM_MAX_CHARACTERS) {
        PyErr_SetString(PyExc_ValueError, "an atom has at most 255 characters");
        return -1;
    }
    const pyb_host *host = pyb_get_host();
    if (host == NULL || host->atom == NULL) {
        return 0;
    }
    if (pyb__refuse_forked() < 0) {
        return -1;
    }
    int exists = host->atom(utf8, (size_t)size, create);
    if (exists == 1) {
        return 0;
    }
    if (exists < 0) {
        PyErr_Format(PyExc_ValueError, "%R cannot be an atom", name);
    } else {
        PyErr_Format(PyExc_ValueError,
                     "no atom %R exists; Atom(name, create=True) makes one", name);
    }
    return -1;
}

static PyObject *
atom_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char name_word[] = "name", create_word[] = "create";
    static char *const words[] = {name_word, create_word, NULL};
    PyObject *given;
    int create = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|p:Atom",
                                     (char **)(uintptr_t)words, &given, &create)) {
        return NULL;
    }
    PyObject *name = PyUnicode_FromObject(given);
    if (name == NULL) {
        return NULL;
    }
    PyObject *self = check_name(name, create) == 0 ? atom_of(type, name) : NULL;
    Py_DECREF(name);
    return self;
}

static void
atom_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((pyb_atom *)self)->name);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *
atom_str(PyObject *self)
{
    return Py_NewRef(((pyb_atom *)self)->name);
}

static PyObject *
atom_name(PyObject *self, void *Py_UNUSED(ignored))
{
    return atom_str(self);
}

static PyObject *
atom_repr(PyObject *self)
{
    return PyUnicode_FromFormat("erlang.Atom(%R)", ((pyb_atom *)self)->name);
}

static PyObject *
atom_compare(PyObject *self, PyObject *other, int operation)
{
    if ((operation != Py_EQ && operation != Py_NE) ||
        !Py_IS_TYPE(other, Py_TYPE(self))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    return PyObject_RichCompare(((pyb_atom *)self)->name, ((pyb_atom *)other)->name,
                                operation);
}

/* Not the hash of the name itself: a dict may well hold both. */
static Py_hash_t
atom_hash(PyObject *self)
{
    Py_hash_t hash = PyObject_Hash(((pyb_atom *)self)->name);
    if (hash == -1) {
        return -1;
    }
    hash ^= 0x61746f6d;
    return hash == -1 ? -2 : hash;
}

static PyObject *
atom_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("O(O)", Py_TYPE(self), ((pyb_atom *)self)->name);
}

PyDoc_STRVAR(
    atom_doc,
    "Atom(name, create=False)\n--\n\n"
    "An Erlang atom, for where a str (which Erlang gets as a binary) will not "
    "do.\n\n"
    "name: a str of at most 255 characters.  The atom must exist in the node,\n"
    "else ValueError; with create=True it is made, which is for good: never do\n"
    "that with names that come from data.");

static PyMethodDef atom_methods[] = {
    {"__reduce__", atom_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef atom_getset[] = {
    {"name", atom_name, NULL, "The name, a str.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot atom_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)atom_doc},
    {Py_tp_new, atom_new},
    {Py_tp_dealloc, atom_dealloc},
    {Py_tp_traverse, pyb__visit_type},
    {Py_tp_repr, atom_repr},
    {Py_tp_str, atom_str},
    {Py_tp_hash, atom_hash},
    {Py_tp_richcompare, atom_compare},
    {Py_tp_methods, atom_methods},
    {Py_tp_getset, atom_getset},
    {0, NULL},
};

PyType_Spec pyb__atom_spec = {
    .name = "erlang.Atom",
    .basicsize = sizeof(pyb_atom),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = atom_slots,
};
