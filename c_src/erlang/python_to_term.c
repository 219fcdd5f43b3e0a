/*
 * python_to_term.c: Python objects to Erlang terms.
 *
 * An object's own code runs only in __index__ and __buffer__; containers are read with
 * that in mind (it may change the very list that is being read).
 */
#include "convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "atoms.h"
#include "buffer.h"
#include "channel.h"

typedef struct writer {
    pyb_state *state;
    ErlNifEnv *env;
} writer;

/* Levels of nesting that the calling thread is in.  An __index__ may convert something
 * itself, on the same stack: what it nests counts on. */
static _Thread_local int thread_depth;

static bool write_term(writer *w, PyObject *object, ERL_NIF_TERM *term);

static bool
refuse(writer *w, const char *what)
{
    PyErr_SetString(w->state->not_convertible, what);
    return false;
}

static bool
write_binary(writer *w, const char *data, Py_ssize_t size, ERL_NIF_TERM *term)
{
    unsigned char *to = enif_make_new_binary(w->env, (size_t)size, term);
    if (to == NULL) {
        PyErr_NoMemory();
        return false;
    }
    memcpy(to, data, (size_t)size);
    return true;
}

/* ---- Our own types ---- */

static bool
write_external(writer *w, PyObject *external, ERL_NIF_TERM *term)
{
    size_t size = (size_t)PyBytes_GET_SIZE(external);
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(external);
    return enif_binary_to_term(w->env, data, size, term, 0) == size;
}

static bool
write_handle(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    pyb_handle *handle = (pyb_handle *)object;
    if (handle->word != 0) {
        *term = (ERL_NIF_TERM)handle->word;
        return true;
    }
    return write_external(w, handle->external, term) ||
           refuse(w, "a handle that did not come from a node");
}

/* The very reference that the buffer came by while that is alive, else a new one. */
static bool
write_buffer(writer *w, PyObject *object, stream *s, ERL_NIF_TERM *term)
{
    PyObject *origin = pyb_buffer_origin(object);
    if (origin != NULL && write_external(w, origin, term) &&
        buffer_stream_of(w->env, *term) == s) {
        return true;
    }
    if (buffer_term(w->env, s, term)) {
        return true;
    }
    PyErr_NoMemory();
    return false;
}

static bool
write_channel(writer *w, PyObject *object, channel *c, ERL_NIF_TERM *term)
{
    PyObject *origin = pyb_channel_origin(object);
    if (origin != NULL && write_external(w, origin, term) &&
        channel_of_term(w->env, *term) == c) {
        return true;
    }
    if (channel_term(w->env, c, term)) {
        return true;
    }
    PyErr_NoMemory();
    return false;
}

int
convert_atom(ErlNifEnv *env, const char *utf8, size_t size, bool create,
             ERL_NIF_TERM *term)
{
    /* ATOM_UTF8_EXT; decoding in safe mode refuses an atom that does not exist. */
    unsigned char external[4 + 255 * 4] = {131, 118};
    if (size > sizeof external - 4) {
        return -1;
    }
    external[2] = (unsigned char)(size >> 8);
    external[3] = (unsigned char)(size & 0xFF);
    memcpy(external + 4, utf8, size);
    ErlNifBinaryToTerm safe = create ? 0 : ERL_NIF_BIN2TERM_SAFE;
    if (enif_binary_to_term(env, external, 4 + size, term, safe) == 4 + size) {
        return 1;
    }
    return create ? -1 : 0;
}

static bool
write_atom(writer *w, PyObject *name, ERL_NIF_TERM *term)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(name, &size);
    if (utf8 == NULL) {
        return false;
    }
    /* The Atom object was allowed to exist, so its atom may be made. */
    return convert_atom(w->env, utf8, (size_t)size, true, term) > 0 ||
           refuse(w, "an Atom whose name is longer than 255 characters");
}

/* ---- Scalars ---- */

/* Beyond 64 bits: through LARGE_BIG_EXT, which takes the magnitude as it is. */
static bool
write_big_integer(writer *w, PyObject *value, ERL_NIF_TERM *term)
{
    bool done = false;
    unsigned char *external = NULL;
    PyObject *magnitude = PyNumber_Absolute(value), *bits = NULL, *bytes = NULL;
    PyObject *zero = PyLong_FromLong(0);
    int negative = zero != NULL ? PyObject_RichCompareBool(value, zero, Py_LT) : -1;
    bits =
        magnitude != NULL ? PyObject_CallMethod(magnitude, "bit_length", NULL) : NULL;
    Py_ssize_t size = bits != NULL ? (PyLong_AsSsize_t(bits) + 7) / 8 : -1;
    if (negative < 0 || size < 0) {
        goto done;
    }
    bytes = PyObject_CallMethod(magnitude, "to_bytes", "ns", size, "little");
    if (bytes == NULL) {
        goto done;
    }
    external = malloc((size_t)size + 7);
    if (external == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    external[0] = 131;
    external[1] = 111;
    for (int i = 0; i < 4; i++) {
        external[2 + i] = (unsigned char)((size_t)size >> (24 - 8 * i));
    }
    external[6] = (unsigned char)negative;
    memcpy(external + 7, PyBytes_AS_STRING(bytes), (size_t)size);
    done = (uint64_t)size <= UINT32_MAX &&
           enif_binary_to_term(w->env, external, (size_t)size + 7, term, 0) != 0;
    if (!done) {
        refuse(w, "an int larger than Erlang's largest integer");
    }
done:
    free(external);
    Py_XDECREF(bytes);
    Py_XDECREF(bits);
    Py_XDECREF(magnitude);
    Py_XDECREF(zero);
    return done;
}

static bool
write_integer(writer *w, PyObject *value, ERL_NIF_TERM *term)
{
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        /* An exact int: a subclass may have operators of its own. */
        PyObject *exact = PyNumber_Index(value);
        bool done = exact != NULL && write_big_integer(w, exact, term);
        Py_XDECREF(exact);
        return done;
    }
    if (small == -1 && PyErr_Occurred()) {
        return false;
    }
    *term = enif_make_int64(w->env, small);
    return true;
}

static bool
write_float(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    double value = PyFloat_AS_DOUBLE(object);
    if (isnan(value)) {
        return refuse(w, "the float nan, which Erlang has no term for");
    }
    if (isinf(value)) {
        return refuse(w, "an infinite float, which Erlang has no term for");
    }
    *term = enif_make_double(w->env, value);
    return true;
}

static bool
write_text(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    if (PyUnicode_IS_COMPACT_ASCII(object)) {
        Py_ssize_t size;
        const char *ascii = PyUnicode_AsUTF8AndSize(object, &size);
        return ascii != NULL && write_binary(w, ascii, size, term);
    }
    PyObject *utf8 = PyUnicode_AsUTF8String(object);
    if (utf8 == NULL) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            PyErr_Clear();
            refuse(w, "a str with lone surrogates, which has no UTF-8 form");
        }
        return false;
    }
    bool done = write_binary(w, PyBytes_AS_STRING(utf8), PyBytes_GET_SIZE(utf8), term);
    Py_DECREF(utf8);
    return done;
}

/* ---- Containers ---- */

typedef struct term_array {
    ERL_NIF_TERM *items;
    size_t count, capacity;
} term_array;

static bool
term_array_push(term_array *array, ERL_NIF_TERM term)
{
    if (array->count == array->capacity) {
        size_t capacity = array->capacity == 0 ? 16 : array->capacity * 2;
        ERL_NIF_TERM *items = realloc(array->items, capacity * sizeof *items);
        if (items == NULL) {
            PyErr_NoMemory();
            return false;
        }
        array->items = items;
        array->capacity = capacity;
    }
    array->items[array->count++] = term;
    return true;
}

static bool
push_object(writer *w, term_array *array, PyObject *object)
{
    ERL_NIF_TERM term;
    return write_term(w, object, &term) && term_array_push(array, term);
}

/* The list may change while its items run code of their own: every step looks anew. */
static bool
push_list(writer *w, term_array *array, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        Py_INCREF(item);
        bool done = push_object(w, array, item);
        Py_DECREF(item);
        if (!done) {
            return false;
        }
    }
    return true;
}

static bool
push_tuple(writer *w, term_array *array, PyObject *tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (!push_object(w, array, PyTuple_GET_ITEM(tuple, i))) {
            return false;
        }
    }
    return true;
}

static bool
write_sequence(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    term_array array = {0};
    bool tuple = PyTuple_Check(object);
    PyObject *copy = NULL;
    bool done;
    if (tuple) {
        done = push_tuple(w, &array, object);
    } else if (PyList_Check(object)) {
        done = push_list(w, &array, object);
    } else {
        copy = PySequence_List(object);
        done = copy != NULL && push_list(w, &array, copy);
    }
    Py_XDECREF(copy);
    if (done) {
        *term =
            tuple
                ? enif_make_tuple_from_array(w->env, array.items, (unsigned)array.count)
                : enif_make_list_from_array(w->env, array.items, (unsigned)array.count);
    }
    free(array.items);
    return done;
}

static bool
push_pairs(writer *w, PyObject *dict, term_array *keys, term_array *values)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, size = PyDict_GET_SIZE(dict);
    while (PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        bool done = push_object(w, keys, key) && push_object(w, values, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (!done) {
            return false;
        }
        if (PyDict_GET_SIZE(dict) != size) {
            return refuse(w, "a dict that changed while it was being read");
        }
    }
    return true;
}

/* Larger maps are trees, and to make one of arrays the runtime sorts with the help of
 * the scheduler's data: off the schedulers that ends the node (OTP 25). */
#define FLAT_MAP_PAIRS 32

/* False when two keys are the same. */
static bool
make_map(ErlNifEnv *env, const term_array *keys, const term_array *values,
         ERL_NIF_TERM *term)
{
    size_t size, flat = keys->count < FLAT_MAP_PAIRS ? keys->count : FLAT_MAP_PAIRS;
    if (!enif_make_map_from_arrays(env, keys->items, values->items, flat, term)) {
        return false;
    }
    for (size_t i = flat; i < keys->count; i++) {
        if (!enif_make_map_put(env, *term, keys->items[i], values->items[i], term)) {
            return false;
        }
    }
    return enif_get_map_size(env, *term, &size) && size == keys->count;
}

static bool
write_dict(writer *w, PyObject *dict, ERL_NIF_TERM *term)
{
    term_array keys = {0}, values = {0};
    bool done = push_pairs(w, dict, &keys, &values);
    if (done && !make_map(w->env, &keys, &values, term)) {
        done = refuse(w, "a dict with two keys that become the same term");
    }
    free(keys.items);
    free(values.items);
    return done;
}

/* ---- Everything else ---- */

static bool
is_byte_format(const char *format)
{
    if (format == NULL) {
        return true;
    }
    if (*format == '@' || *format == '=' || *format == '<' || *format == '>') {
        format++;
    }
    return (*format == 'B' || *format == 'b' || *format == 'c') && format[1] == '\0';
}

/* 1: *term; 0: not such a buffer (no exception); -1: an exception is set. */
static int
write_buffer_object(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    Py_buffer view;
    if (!PyObject_CheckBuffer(object)) {
        return 0;
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_FORMAT | PyBUF_ND | PyBUF_STRIDES) <
        0) {
        return -1;
    }
    int done = 0;
    if (view.ndim == 1 && is_byte_format(view.format) &&
        PyBuffer_IsContiguous(&view, 'C')) {
        done = write_binary(w, view.buf, view.len, term) ? 1 : -1;
    }
    PyBuffer_Release(&view);
    return done;
}

static bool
refuse_type(writer *w, PyObject *object)
{
    PyErr_Format(w->state->not_convertible, "an object of type '%.200s'",
                 Py_TYPE(object)->tp_name);
    return false;
}

static bool
write_other(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    if (PyIndex_Check(object)) {
        PyObject *value = PyNumber_Index(object);
        if (value != NULL) {
            bool done = write_integer(w, value, term);
            Py_DECREF(value);
            return done;
        }
        /* An array has the slot but is no integer. */
        if (!PyErr_ExceptionMatches(PyExc_TypeError) || !PyObject_CheckBuffer(object)) {
            return false;
        }
        PyErr_Clear();
    }
    int buffer = write_buffer_object(w, object, term);
    if (buffer != 0) {
        return buffer > 0;
    }
    return refuse_type(w, object);
}

static bool
write_own_type(writer *w, PyObject *object, ERL_NIF_TERM *term, bool *own)
{
    *own = true;
    stream *s = pyb_buffer_stream(w->state, object);
    if (s != NULL) {
        return write_buffer(w, object, s, term);
    }
    channel *c = pyb_channel_of(w->state, object);
    if (c != NULL) {
        return write_channel(w, object, c, term);
    }
    if (Py_IS_TYPE(object, w->state->pid_type) ||
        Py_IS_TYPE(object, w->state->ref_type)) {
        return write_handle(w, object, term);
    }
    PyObject *name = pyb_atom_name(w->state, object);
    if (name != NULL) {
        return write_atom(w, name, term);
    }
    *own = false;
    return false;
}

static bool
write_any(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    if (PyLong_CheckExact(object)) {
        return write_integer(w, object, term);
    }
    if (PyUnicode_Check(object)) {
        return write_text(w, object, term);
    }
    if (PyBytes_Check(object)) {
        return write_binary(w, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object),
                            term);
    }
    if (object == Py_None || PyBool_Check(object)) {
        *term = object == Py_None   ? nif_am.am_none
                : object == Py_True ? nif_am.am_true
                                    : nif_am.am_false;
        return true;
    }
    if (PyFloat_Check(object)) {
        return write_float(w, object, term);
    }
    if (PyLong_Check(object)) {
        return write_integer(w, object, term);
    }
    if (PyDict_Check(object)) {
        return write_dict(w, object, term);
    }
    if (PyList_Check(object) || PyTuple_Check(object) || PyAnySet_Check(object)) {
        return write_sequence(w, object, term);
    }
    bool own;
    bool done = write_own_type(w, object, term, &own);
    return own ? done : write_other(w, object, term);
}

static bool
write_term(writer *w, PyObject *object, ERL_NIF_TERM *term)
{
    if (thread_depth >= CONVERT_MAX_DEPTH) {
        return refuse(w, "an object nested deeper than 1000 levels");
    }
    thread_depth++;
    bool done = write_any(w, object, term);
    thread_depth--;
    return done;
}

bool
convert_to_erlang(pyb_state *state, ErlNifEnv *env, PyObject *object,
                  ERL_NIF_TERM *term)
{
    writer w = {.state = state, .env = env};
    return write_term(&w, object, term);
}
