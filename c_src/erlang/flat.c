#include "flat.h"

#include <string.h>

#include "atoms.h"
#include "buffer.h"
#include "channel.h"
#include "convert.h"
#include "utf8.h"
#include "weight.h"

/* Recursion is on a scheduler's stack, which is small. */
#define MAX_DEPTH 8

_Static_assert(FLAT_MAX_BYTES <= CONVERT_VIEW_MIN_BYTES, "views share the bytes");

enum {
    FLAT_NONE,
    FLAT_TRUE,
    FLAT_FALSE,
    FLAT_NAME,   /* size, ASCII: an atom */
    FLAT_INT,    /* int64_t */
    FLAT_FLOAT,  /* double */
    FLAT_BINARY, /* size, data: str or bytes */
    FLAT_BYTES,  /* size, data */
    FLAT_TEXT,   /* size, UTF-8 */
    FLAT_LIST,   /* count */
    FLAT_TUPLE,  /* count */
    FLAT_MAP,    /* count; key, value, key, ... */
    FLAT_PID,    /* uint64_t */
    FLAT_REF     /* size, external format */
};

/* ---- Writing ---- */

typedef struct flat_writer {
    ErlNifEnv *env;
    unsigned char *at, *end;
    uint64_t size_bytes;
    int depth;
} flat_writer;

static bool write_term(flat_writer *w, ERL_NIF_TERM term);

static bool
write_raw(flat_writer *w, const void *data, size_t size)
{
    if (size > (size_t)(w->end - w->at)) {
        return false;
    }
    memcpy(w->at, data, size);
    w->at += size;
    return true;
}

static bool
write_tag(flat_writer *w, unsigned char tag)
{
    return write_raw(w, &tag, 1);
}

static bool
write_count(flat_writer *w, unsigned char tag, size_t count)
{
    uint16_t narrow = (uint16_t)count;
    return count <= UINT16_MAX && write_tag(w, tag) &&
           write_raw(w, &narrow, sizeof narrow);
}

static bool
write_data(flat_writer *w, unsigned char tag, const void *data, size_t size)
{
    return write_count(w, tag, size) && write_raw(w, data, size);
}

static bool
is_ascii(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static bool
write_atom(flat_writer *w, ERL_NIF_TERM atom)
{
    char text[256];
    int room = enif_get_atom(w->env, atom, text, sizeof text, ERL_NIF_LATIN1);
    if (room <= 0 || !is_ascii(text, (size_t)room - 1)) {
        return false;
    }
    w->size_bytes += weight_of_atom((size_t)room - 1);
    if (enif_is_identical(atom, nif_am.am_true)) {
        return write_tag(w, FLAT_TRUE);
    }
    if (enif_is_identical(atom, nif_am.am_false)) {
        return write_tag(w, FLAT_FALSE);
    }
    if (enif_is_identical(atom, nif_am.am_none) ||
        enif_is_identical(atom, nif_am.am_nil) ||
        enif_is_identical(atom, nif_am.am_undefined)) {
        return write_tag(w, FLAT_NONE);
    }
    return write_data(w, FLAT_NAME, text, (size_t)room - 1);
}

static bool
write_integer(flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifSInt64 value;
    if (!enif_get_int64(w->env, term, &value)) {
        return false;
    }
    w->size_bytes += weight_of_integer(value);
    return write_tag(w, FLAT_INT) && write_raw(w, &value, sizeof value);
}

static bool
write_float(flat_writer *w, ERL_NIF_TERM term)
{
    double value;
    w->size_bytes += WEIGHT_FLOAT_BYTES;
    return enif_get_double(w->env, term, &value) && write_tag(w, FLAT_FLOAT) &&
           write_raw(w, &value, sizeof value);
}

static bool
write_binary(flat_writer *w, unsigned char tag, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(w->env, term, &binary) ||
        (tag == FLAT_TEXT && !utf8_is_valid(binary.data, binary.size))) {
        return false;
    }
    w->size_bytes += WEIGHT_BINARY_BYTES + binary.size;
    return write_data(w, tag, binary.data, binary.size);
}

/* The count is filled in at the end: the list may be long, or improper. */
static bool
write_list(flat_writer *w, ERL_NIF_TERM list)
{
    unsigned char *head = w->at;
    size_t count = 0;
    unsigned value;
    bool string = true;
    ERL_NIF_TERM item;
    if (!write_count(w, FLAT_LIST, 0)) {
        return false;
    }
    uint64_t before = w->size_bytes;
    for (; enif_get_list_cell(w->env, list, &item, &list); count++) {
        string = string && enif_get_uint(w->env, item, &value) && value <= UINT8_MAX;
        if (!write_term(w, item)) {
            return false;
        }
    }
    if (!enif_is_empty_list(w->env, list)) {
        return false;
    }
    w->size_bytes = weight_of_list(count, string, w->size_bytes - before) + before;
    uint16_t narrow = (uint16_t)count;
    memcpy(head + 1, &narrow, sizeof narrow);
    return true;
}

/* {bytes, B} and {str, B} stand for one thing.  1: written; -1: not flat; 0: an
 * ordinary tuple. */
static int
write_tagged(flat_writer *w, const ERL_NIF_TERM *elements)
{
    bool bytes = enif_is_identical(elements[0], nif_am.am_bytes);
    if ((!bytes && !enif_is_identical(elements[0], nif_am.am_str)) ||
        !enif_is_binary(w->env, elements[1])) {
        return 0;
    }
    w->size_bytes += weight_of_tuple(2) + weight_of_atom(bytes ? 5 : 3);
    return write_binary(w, bytes ? FLAT_BYTES : FLAT_TEXT, elements[1]) ? 1 : -1;
}

static bool
write_tuple(flat_writer *w, ERL_NIF_TERM tuple)
{
    int arity;
    const ERL_NIF_TERM *elements;
    enif_get_tuple(w->env, tuple, &arity, &elements);
    int tagged = arity == 2 ? write_tagged(w, elements) : 0;
    if (tagged != 0) {
        return tagged > 0;
    }
    w->size_bytes += weight_of_tuple(arity);
    bool written = write_count(w, FLAT_TUPLE, (size_t)arity);
    for (int i = 0; written && i < arity; i++) {
        written = write_term(w, elements[i]);
    }
    return written;
}

static bool
write_map(flat_writer *w, ERL_NIF_TERM map)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    size_t count;
    enif_get_map_size(w->env, map, &count);
    bool written = write_count(w, FLAT_MAP, count);
    w->size_bytes += WEIGHT_MAP_BYTES;
    enif_map_iterator_create(w->env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (written && enif_map_iterator_get_pair(w->env, &at, &key, &value)) {
        written = write_term(w, key) && write_term(w, value);
        enif_map_iterator_next(w->env, &at);
    }
    enif_map_iterator_destroy(w->env, &at);
    return written;
}

static bool
write_pid(flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifPid pid;
    if (!enif_get_local_pid(w->env, term, &pid)) {
        return false;
    }
    uint64_t word = pid.pid;
    w->size_bytes += WEIGHT_PID_BYTES;
    return write_tag(w, FLAT_PID) && write_raw(w, &word, sizeof word);
}

/* What it may refer to is kept alive by nobody here. */
static bool
write_reference(flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifBinary external;
    if (buffer_handle_of(w->env, term) != NULL ||
        channel_handle_of(w->env, term) != NULL ||
        !enif_term_to_binary(w->env, term, &external)) {
        return false;
    }
    w->size_bytes += WEIGHT_REFERENCE_BYTES;
    bool written = write_data(w, FLAT_REF, external.data, external.size);
    enif_release_binary(&external);
    return written;
}

static bool
write_any(flat_writer *w, ERL_NIF_TERM term)
{
    switch (enif_term_type(w->env, term)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return write_atom(w, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return write_integer(w, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return write_binary(w, FLAT_BINARY, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return write_float(w, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return write_list(w, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return write_tuple(w, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return write_map(w, term);
    case ERL_NIF_TERM_TYPE_PID:
        return write_pid(w, term);
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return write_reference(w, term);
    default:
        return false;
    }
}

static bool
write_term(flat_writer *w, ERL_NIF_TERM term)
{
    w->depth++;
    bool written = w->depth <= MAX_DEPTH && write_any(w, term);
    w->depth--;
    return written;
}

size_t
flat_write(ErlNifEnv *env, ERL_NIF_TERM term, unsigned char *to, uint64_t *size_bytes)
{
    flat_writer w = {.env = env,
                     .at = to,
                     .end = to + FLAT_MAX_BYTES,
                     .size_bytes = WEIGHT_VERSION_BYTES};
    if (!write_term(&w, term)) {
        return 0;
    }
    *size_bytes = w.size_bytes;
    return (size_t)(w.at - to);
}

/* ---- Reading ---- */

typedef struct flat_reader {
    pyb_state *state;
    const unsigned char *at;
} flat_reader;

static PyObject *read_term(flat_reader *r);

static uint64_t
read_word(flat_reader *r)
{
    uint64_t word;
    memcpy(&word, r->at, sizeof word);
    r->at += sizeof word;
    return word;
}

static uint16_t
read_count(flat_reader *r)
{
    uint16_t count;
    memcpy(&count, r->at, sizeof count);
    r->at += sizeof count;
    return count;
}

/* Past the data that `size` counts. */
static const unsigned char *
read_data(flat_reader *r, uint16_t *size)
{
    *size = read_count(r);
    const unsigned char *data = r->at;
    r->at += *size;
    return data;
}

static PyObject *
read_float(flat_reader *r)
{
    uint64_t word = read_word(r);
    double value;
    memcpy(&value, &word, sizeof value);
    return PyFloat_FromDouble(value);
}

static PyObject *
read_list(flat_reader *r)
{
    uint16_t count = read_count(r);
    PyObject *list = PyList_New(count);
    for (uint16_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = read_term(r);
        if (item != NULL) {
            PyList_SET_ITEM(list, i, item);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
read_tuple(flat_reader *r)
{
    uint16_t count = read_count(r);
    PyObject *tuple = PyTuple_New(count);
    for (uint16_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *item = read_term(r);
        if (item != NULL) {
            PyTuple_SET_ITEM(tuple, i, item);
        } else {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *
read_map(flat_reader *r)
{
    uint16_t count = read_count(r);
    PyObject *dict = PyDict_New();
    for (uint16_t i = 0; dict != NULL && i < count; i++) {
        PyObject *key = read_term(r);
        PyObject *value = key != NULL ? read_term(r) : NULL;
        if (value == NULL || !convert_put_pair(r->state, dict, key, value)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
read_reference(flat_reader *r)
{
    uint16_t size;
    const unsigned char *data = read_data(r, &size);
    PyObject *external = PyBytes_FromStringAndSize((const char *)data, size);
    if (external == NULL) {
        return NULL;
    }
    PyObject *handle = pyb_handle_new(r->state->ref_type, 0, external);
    Py_DECREF(external);
    return handle;
}

static PyObject *
read_text(flat_reader *r, unsigned char tag)
{
    uint16_t size;
    const unsigned char *data = read_data(r, &size);
    switch (tag) {
    case FLAT_BINARY:
        return convert_bytes_to_python(data, size);
    case FLAT_BYTES:
        return PyBytes_FromStringAndSize((const char *)data, size);
    default:
        return PyUnicode_DecodeUTF8((const char *)data, size, NULL);
    }
}

static PyObject *
read_term(flat_reader *r)
{
    unsigned char tag = *r->at++;
    switch (tag) {
    case FLAT_NONE:
        Py_RETURN_NONE;
    case FLAT_TRUE:
        Py_RETURN_TRUE;
    case FLAT_FALSE:
        Py_RETURN_FALSE;
    case FLAT_INT:
        return PyLong_FromLongLong((long long)read_word(r));
    case FLAT_FLOAT:
        return read_float(r);
    case FLAT_LIST:
        return read_list(r);
    case FLAT_TUPLE:
        return read_tuple(r);
    case FLAT_MAP:
        return read_map(r);
    case FLAT_PID:
        return pyb_handle_new(r->state->pid_type, read_word(r), NULL);
    case FLAT_REF:
        return read_reference(r);
    default:
        return read_text(r, tag);
    }
}

PyObject *
flat_to_python(pyb_state *state, const unsigned char *data)
{
    flat_reader r = {state, data};
    return read_term(&r);
}
