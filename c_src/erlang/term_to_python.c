/*
 * term_to_python.c: Erlang terms to Python objects.
 */
#include "convert.h"

#include <string.h>

#include "atoms.h"
#include "binary.h"
#include "buffer.h"
#include "channel.h"
#include "reactor.h"
#include "utf8.h"

typedef struct reader {
    pyb_state *state;
    ErlNifEnv *env;
    int depth;
    bool views;
} reader;

static PyObject *read_term(reader *r, ERL_NIF_TERM term);

static PyObject *
refuse(reader *r, const char *what)
{
    PyErr_SetString(r->state->not_convertible, what);
    return NULL;
}

/* The external format of a term, for what the NIF interface cannot look into. */
static PyObject *
external_bytes(ErlNifEnv *env, ERL_NIF_TERM term)
{
    ErlNifBinary external;
    if (!enif_term_to_binary(env, term, &external)) {
        return PyErr_NoMemory();
    }
    PyObject *bytes =
        PyBytes_FromStringAndSize((char *)external.data, (Py_ssize_t)external.size);
    enif_release_binary(&external);
    return bytes;
}

/* ---- Atoms and text ---- */

/* enif_get_atom() of OTP 25 knows Latin-1 only, the external format has UTF-8:
 * 131, 119 (SMALL_ATOM_UTF8_EXT), length, bytes  or  118 (ATOM_UTF8_EXT), 2 bytes. */
static PyObject *
wide_atom_text(ErlNifEnv *env, ERL_NIF_TERM atom)
{
    PyObject *external = external_bytes(env, atom);
    if (external == NULL) {
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(external);
    size_t skip = at[1] == 119 ? 3 : 4;
    PyObject *text = PyUnicode_DecodeUTF8(
        (const char *)at + skip, PyBytes_GET_SIZE(external) - (Py_ssize_t)skip, NULL);
    Py_DECREF(external);
    return text;
}

static PyObject *
atom_text(ErlNifEnv *env, ERL_NIF_TERM atom)
{
    char latin1[256];
    int size = enif_get_atom(env, atom, latin1, sizeof latin1, ERL_NIF_LATIN1);
    if (size > 0) {
        return PyUnicode_DecodeLatin1(latin1, size - 1, NULL);
    }
    return wide_atom_text(env, atom);
}

static PyObject *
read_atom(reader *r, ERL_NIF_TERM atom)
{
    if (enif_is_identical(atom, nif_am.am_true)) {
        Py_RETURN_TRUE;
    }
    if (enif_is_identical(atom, nif_am.am_false)) {
        Py_RETURN_FALSE;
    }
    if (enif_is_identical(atom, nif_am.am_none) ||
        enif_is_identical(atom, nif_am.am_nil) ||
        enif_is_identical(atom, nif_am.am_undefined)) {
        Py_RETURN_NONE;
    }
    return atom_text(r->env, atom);
}

static PyObject *
binary_as_bytes(const ErlNifBinary *binary)
{
    return PyBytes_FromStringAndSize((const char *)binary->data,
                                     (Py_ssize_t)binary->size);
}

static PyObject *
binary_as_text(const ErlNifBinary *binary)
{
    return PyUnicode_DecodeUTF8((const char *)binary->data, (Py_ssize_t)binary->size,
                                NULL);
}

static PyObject *
binary_as_view(reader *r, ERL_NIF_TERM term)
{
    ErlNifIOVec *iovec = binary_keep(r->env, term);
    if (iovec == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *view = pyb_memory_view(r->state, iovec->iov[0].iov_base,
                                     iovec->iov[0].iov_len, binary_release, iovec);
    if (view == NULL) {
        enif_free_iovec(iovec);
    }
    return view;
}

static PyObject *
read_bitstring(reader *r, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(r->env, term, &binary)) {
        return refuse(r, "a bitstring whose size is not a whole number of bytes");
    }
    if (r->views && binary.size >= CONVERT_VIEW_MIN_BYTES) {
        return binary_as_view(r, term);
    }
    return convert_bytes_to_python(binary.data, binary.size);
}

PyObject *
convert_bytes_to_python(const unsigned char *data, size_t size)
{
    if (utf8_is_valid(data, size)) {
        return PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)size, NULL);
    }
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
}

PyObject *
convert_name_to_python(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (enif_is_atom(env, term)) {
        return atom_text(env, term);
    }
    if (enif_inspect_binary(env, term, &binary)) {
        return binary_as_text(&binary);
    }
    PyErr_SetString(state->not_convertible, "a name must be an atom or a binary");
    return NULL;
}

/* ---- Numbers ---- */

/* 131, 110 (SMALL_BIG_EXT), size, sign, bytes  or  111 (LARGE_BIG_EXT), 4 of size: the
 * magnitude in little-endian order. */
static PyObject *
read_big_integer(reader *r, ERL_NIF_TERM term)
{
    PyObject *external = external_bytes(r->env, term);
    if (external == NULL) {
        return NULL;
    }
    const char *at = PyBytes_AS_STRING(external);
    Py_ssize_t skip = at[1] == 110 ? 4 : 7;
    bool negative = at[skip - 1] != 0;
    PyObject *value =
        PyObject_CallMethod((PyObject *)&PyLong_Type, "from_bytes", "y#s", at + skip,
                            PyBytes_GET_SIZE(external) - skip, "little");
    Py_DECREF(external);
    if (value == NULL || !negative) {
        return value;
    }
    PyObject *opposite = PyNumber_Negative(value);
    Py_DECREF(value);
    return opposite;
}

static PyObject *
read_integer(reader *r, ERL_NIF_TERM term)
{
    ErlNifSInt64 small;
    if (enif_get_int64(r->env, term, &small)) {
        return PyLong_FromLongLong(small);
    }
    return read_big_integer(r, term);
}

static PyObject *
read_float(reader *r, ERL_NIF_TERM term)
{
    double value;
    if (!enif_get_double(r->env, term, &value)) {
        return refuse(r, "a float");
    }
    return PyFloat_FromDouble(value);
}

/* ---- Containers ---- */

static PyObject *
read_list(reader *r, ERL_NIF_TERM term)
{
    unsigned length;
    if (!enif_get_list_length(r->env, term, &length)) {
        return refuse(r, "an improper list");
    }
    PyObject *list = PyList_New((Py_ssize_t)length);
    if (list == NULL) {
        return NULL;
    }
    ERL_NIF_TERM head, tail = term;
    for (unsigned i = 0; i < length; i++) {
        enif_get_list_cell(r->env, tail, &head, &tail);
        PyObject *item = read_term(r, head);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

/* {bytes, B} and {str, B}.  NULL without an exception: an ordinary tuple. */
static PyObject *
read_tagged_binary(reader *r, const ERL_NIF_TERM *elements)
{
    ErlNifBinary binary;
    bool bytes = enif_is_identical(elements[0], nif_am.am_bytes);
    bool text = enif_is_identical(elements[0], nif_am.am_str);
    if (!(bytes || text) || !enif_inspect_binary(r->env, elements[1], &binary)) {
        return NULL;
    }
    if (bytes) {
        return r->views && binary.size >= CONVERT_VIEW_MIN_BYTES
                   ? binary_as_view(r, elements[1])
                   : binary_as_bytes(&binary);
    }
    if (!utf8_is_valid(binary.data, binary.size)) {
        return refuse(r, "{str, Binary} with a binary that is not UTF-8");
    }
    return binary_as_text(&binary);
}

static PyObject *
read_tuple(reader *r, ERL_NIF_TERM term)
{
    int arity;
    const ERL_NIF_TERM *elements;
    enif_get_tuple(r->env, term, &arity, &elements);
    if (arity == 2) {
        PyObject *tagged = read_tagged_binary(r, elements);
        if (tagged != NULL || PyErr_Occurred()) {
            return tagged;
        }
    }
    PyObject *tuple = PyTuple_New(arity);
    if (tuple == NULL) {
        return NULL;
    }
    for (int i = 0; i < arity; i++) {
        PyObject *item = read_term(r, elements[i]);
        if (item == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

/* Python may hold two keys equal that Erlang does not. */
bool
convert_put_pair(pyb_state *state, PyObject *dict, PyObject *key, PyObject *value)
{
    Py_ssize_t before = PyDict_GET_SIZE(dict);
    if (PyDict_SetItem(dict, key, value) < 0) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(state->not_convertible,
                         "a map key that Python cannot hash: %.100s",
                         Py_TYPE(key)->tp_name);
        }
        return false;
    }
    if (PyDict_GET_SIZE(dict) == before) {
        PyErr_Format(state->not_convertible,
                     "a map with two keys that Python holds equal: %.100R", key);
        return false;
    }
    return true;
}

static bool
read_pair(reader *r, PyObject *dict, ERL_NIF_TERM key_term, ERL_NIF_TERM value_term)
{
    PyObject *key = read_term(r, key_term);
    PyObject *value = key != NULL ? read_term(r, value_term) : NULL;
    bool done = value != NULL && convert_put_pair(r->state, dict, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return done;
}

static PyObject *
read_map(reader *r, ERL_NIF_TERM term)
{
    ErlNifMapIterator at;
    PyObject *dict = PyDict_New();
    if (dict == NULL) {
        return NULL;
    }
    enif_map_iterator_create(r->env, term, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    ERL_NIF_TERM key, value;
    bool going = true;
    while (going && enif_map_iterator_get_pair(r->env, &at, &key, &value)) {
        going = read_pair(r, dict, key, value);
        enif_map_iterator_next(r->env, &at);
    }
    enif_map_iterator_destroy(r->env, &at);
    if (!going) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* ---- Pids, references, buffers, channels ---- */

static PyObject *
read_pid(reader *r, ERL_NIF_TERM term)
{
    ErlNifPid pid;
    if (enif_get_local_pid(r->env, term, &pid)) {
        return pyb_handle_new(r->state->pid_type, (uint64_t)pid.pid, NULL);
    }
    PyObject *external = external_bytes(r->env, term);
    if (external == NULL) {
        return NULL;
    }
    PyObject *handle = pyb_handle_new(r->state->pid_type, 0, external);
    Py_DECREF(external);
    return handle;
}

static PyObject *
read_resource(reader *r, ERL_NIF_TERM term, PyObject *external)
{
    stream *s = buffer_stream_of(r->env, term);
    if (s != NULL) {
        return pyb_buffer_new(r->state, s, external);
    }
    channel *c = channel_of_term(r->env, term);
    if (c != NULL) {
        return pyb_channel_new(r->state, c, channel_gives_views(c), external);
    }
    reactor *served = reactor_of_term(r->env, term);
    if (served != NULL) {
        return pyb_reactor_new(r->state, served);
    }
    return pyb_handle_new(r->state->ref_type, 0, external);
}

static PyObject *
read_reference(reader *r, ERL_NIF_TERM term)
{
    PyObject *external = external_bytes(r->env, term);
    if (external == NULL) {
        return NULL;
    }
    PyObject *object = read_resource(r, term, external);
    Py_DECREF(external);
    return object;
}

static PyObject *
read_any(reader *r, ERL_NIF_TERM term)
{
    switch (enif_term_type(r->env, term)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return read_atom(r, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return read_bitstring(r, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return read_float(r, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return read_integer(r, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return read_list(r, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return read_tuple(r, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return read_map(r, term);
    case ERL_NIF_TERM_TYPE_PID:
        return read_pid(r, term);
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return read_reference(r, term);
    case ERL_NIF_TERM_TYPE_FUN:
        return refuse(r, "a fun");
    case ERL_NIF_TERM_TYPE_PORT:
        return refuse(r, "a port");
    default:
        return refuse(r, "a term of an unknown type");
    }
}

static PyObject *
read_term(reader *r, ERL_NIF_TERM term)
{
    if (r->depth >= CONVERT_MAX_DEPTH) {
        return refuse(r, "a term nested deeper than 1000 levels");
    }
    r->depth++;
    PyObject *object = read_any(r, term);
    r->depth--;
    return object;
}

PyObject *
convert_to_python(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term)
{
    reader r = {.state = state, .env = env};
    return read_term(&r, term);
}

PyObject *
convert_to_views(pyb_state *state, ErlNifEnv *env, ERL_NIF_TERM term)
{
    reader r = {.state = state, .env = env, .views = true};
    return read_term(&r, term);
}
