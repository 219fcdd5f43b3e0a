/*
 * flat_term.c: terms to their flat form, and back.
 */
#include "flat_internal.h"

#include <string.h>

#include "atoms.h"
#include "buffer.h"
#include "channel.h"
#include "utf8.h"

/* ---- Writing ---- */

static bool write_term(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term);

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
write_atom(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM atom)
{
    char text[256];
    int room = enif_get_atom(env, atom, text, sizeof text, ERL_NIF_LATIN1);
    if (room <= 0 || !is_ascii(text, (size_t)room - 1)) {
        return false;
    }
    size_t length = (size_t)room - 1;
    if (enif_is_identical(atom, nif_am.am_true)) {
        return flat__write_atom(w, FLAT_TRUE, length);
    }
    if (enif_is_identical(atom, nif_am.am_false)) {
        return flat__write_atom(w, FLAT_FALSE, length);
    }
    if (enif_is_identical(atom, nif_am.am_none) ||
        enif_is_identical(atom, nif_am.am_nil) ||
        enif_is_identical(atom, nif_am.am_undefined)) {
        return flat__write_atom(w, FLAT_NONE, length);
    }
    w->size_bytes += weight_of_atom(length);
    return flat__write_data(w, FLAT_NAME, text, length);
}

static bool
write_integer(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifSInt64 value;
    return enif_get_int64(env, term, &value) && flat__write_integer(w, value);
}

static bool
write_float(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    double value;
    return enif_get_double(env, term, &value) && flat__write_float(w, value);
}

static bool
write_binary(ErlNifEnv *env, flat_writer *w, unsigned char tag, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary) ||
        (tag == FLAT_TEXT && !utf8_is_valid(binary.data, binary.size))) {
        return false;
    }
    w->size_bytes += WEIGHT_BINARY_BYTES + binary.size;
    return flat__write_data(w, tag, binary.data, binary.size);
}

/* The count is filled in at the end: the list may be long, or improper. */
static bool
write_list(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM list)
{
    unsigned char *head = w->at;
    size_t count = 0;
    unsigned value;
    bool string = true;
    ERL_NIF_TERM item;
    if (!flat__write_count(w, FLAT_LIST, 0)) {
        return false;
    }
    uint64_t before = w->size_bytes;
    for (; enif_get_list_cell(env, list, &item, &list); count++) {
        string = string && enif_get_uint(env, item, &value) && value <= UINT8_MAX;
        if (!write_term(env, w, item)) {
            return false;
        }
    }
    if (!enif_is_empty_list(env, list)) {
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
write_tagged(ErlNifEnv *env, flat_writer *w, const ERL_NIF_TERM *elements)
{
    bool bytes = enif_is_identical(elements[0], nif_am.am_bytes);
    if ((!bytes && !enif_is_identical(elements[0], nif_am.am_str)) ||
        !enif_is_binary(env, elements[1])) {
        return 0;
    }
    w->size_bytes += weight_of_tuple(2) + weight_of_atom(bytes ? 5 : 3);
    return write_binary(env, w, bytes ? FLAT_BYTES : FLAT_TEXT, elements[1]) ? 1 : -1;
}

static bool
write_tuple(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM tuple)
{
    int arity;
    const ERL_NIF_TERM *elements;
    enif_get_tuple(env, tuple, &arity, &elements);
    int tagged = arity == 2 ? write_tagged(env, w, elements) : 0;
    if (tagged != 0) {
        return tagged > 0;
    }
    w->size_bytes += weight_of_tuple(arity);
    bool written = flat__write_count(w, FLAT_TUPLE, (size_t)arity);
    for (int i = 0; written && i < arity; i++) {
        written = write_term(env, w, elements[i]);
    }
    return written;
}

static bool
write_map(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM map)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    size_t count;
    enif_get_map_size(env, map, &count);
    bool written = flat__write_count(w, FLAT_MAP, count);
    w->size_bytes += WEIGHT_MAP_BYTES;
    enif_map_iterator_create(env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (written && enif_map_iterator_get_pair(env, &at, &key, &value)) {
        written = write_term(env, w, key) && write_term(env, w, value);
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    return written;
}

static bool
write_pid(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifPid pid;
    return enif_get_local_pid(env, term, &pid) && flat__write_pid(w, pid.pid);
}

/* What it may refer to is kept alive by nobody here. */
static bool
write_reference(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    ErlNifBinary external;
    if (buffer_handle_of(env, term) != NULL || channel_handle_of(env, term) != NULL ||
        !enif_term_to_binary(env, term, &external)) {
        return false;
    }
    bool written = flat__write_reference(w, external.data, external.size);
    enif_release_binary(&external);
    return written;
}

static bool
write_any(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    switch (enif_term_type(env, term)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return write_atom(env, w, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return write_integer(env, w, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return write_binary(env, w, FLAT_BINARY, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return write_float(env, w, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return write_list(env, w, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return write_tuple(env, w, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return write_map(env, w, term);
    case ERL_NIF_TERM_TYPE_PID:
        return write_pid(env, w, term);
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return write_reference(env, w, term);
    default:
        return false;
    }
}

static bool
write_term(ErlNifEnv *env, flat_writer *w, ERL_NIF_TERM term)
{
    w->depth++;
    bool written = w->depth <= FLAT_MAX_DEPTH && write_any(env, w, term);
    w->depth--;
    return written;
}

size_t
flat_write(ErlNifEnv *env, ERL_NIF_TERM term, unsigned char *to, uint64_t *size_bytes)
{
    flat_writer w = flat__begin(to);
    if (!write_term(env, &w, term)) {
        return 0;
    }
    *size_bytes = w.size_bytes;
    return (size_t)(w.at - to);
}

/* ---- Reading ---- */

typedef struct term_reader {
    flat_reader from;
    ErlNifEnv *env;
    ERL_NIF_TERM *room; /* for elements: there are fewer than bytes */
    bool failed;
} term_reader;

static ERL_NIF_TERM read_term(term_reader *r);

/* The next elements, until the room is given back. */
static ERL_NIF_TERM *
read_elements(term_reader *r, unsigned count)
{
    ERL_NIF_TERM *elements = r->room;
    r->room += count;
    for (unsigned i = 0; i < count; i++) {
        elements[i] = read_term(r);
    }
    return elements;
}

static ERL_NIF_TERM
read_list(term_reader *r)
{
    unsigned count = flat__read_count(&r->from);
    ERL_NIF_TERM *elements = read_elements(r, count);
    r->room = elements;
    return enif_make_list_from_array(r->env, elements, count);
}

static ERL_NIF_TERM
read_tuple(term_reader *r)
{
    unsigned count = flat__read_count(&r->from);
    ERL_NIF_TERM *elements = read_elements(r, count);
    r->room = elements;
    return enif_make_tuple_from_array(r->env, elements, count);
}

static ERL_NIF_TERM
read_map(term_reader *r)
{
    unsigned count = flat__read_count(&r->from);
    ERL_NIF_TERM map = enif_make_new_map(r->env);
    for (unsigned i = 0; i < count; i++) {
        ERL_NIF_TERM key = read_term(r);
        ERL_NIF_TERM value = read_term(r);
        enif_make_map_put(r->env, map, key, value, &map);
    }
    return map;
}

static ERL_NIF_TERM
read_binary(term_reader *r)
{
    uint16_t size;
    ERL_NIF_TERM term = nif_am.am_none;
    const unsigned char *data = flat__read_data(&r->from, &size);
    unsigned char *to = enif_make_new_binary(r->env, size, &term);
    if (to != NULL) {
        memcpy(to, data, size);
    }
    r->failed = r->failed || to == NULL;
    return term;
}

static ERL_NIF_TERM
read_reference(term_reader *r)
{
    uint16_t size;
    ERL_NIF_TERM term = nif_am.am_none;
    const unsigned char *external = flat__read_data(&r->from, &size);
    bool made = enif_binary_to_term(r->env, external, size, &term, 0) == size;
    r->failed = r->failed || !made;
    return term;
}

static ERL_NIF_TERM
read_term(term_reader *r)
{
    switch (flat__read_tag(&r->from)) {
    case FLAT_TRUE:
        return nif_am.am_true;
    case FLAT_FALSE:
        return nif_am.am_false;
    case FLAT_INT:
        return enif_make_int64(r->env, (ErlNifSInt64)flat__read_word(&r->from));
    case FLAT_FLOAT:
        return enif_make_double(r->env, flat__read_float(&r->from));
    case FLAT_BINARY:
        return read_binary(r);
    case FLAT_LIST:
        return read_list(r);
    case FLAT_TUPLE:
        return read_tuple(r);
    case FLAT_MAP:
        return read_map(r);
    case FLAT_PID:
        return (ERL_NIF_TERM)flat__read_word(&r->from);
    case FLAT_REF:
        return read_reference(r);
    default:
        return nif_am.am_none;
    }
}

bool
flat_to_term(ErlNifEnv *env, const unsigned char *data, ERL_NIF_TERM *term)
{
    ERL_NIF_TERM room[FLAT_MAX_BYTES];
    term_reader r = {{data}, env, room, false};
    *term = read_term(&r);
    return !r.failed;
}
