#include "weight.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Copying a larger term takes too long for a normal scheduler; nesting beyond the
 * second limit counts as large. */
#define MAX_TERMS   10000
#define MAX_DEPTH   100
#define LIGHT_TERMS 100
/* Python does not get what is nested deeper (see convert.h). */
#define WHOLE_DEPTH 1000

/* Looking at most terms needs no more. */
#define FEW_TERMS 32

#define LIST_BYTES   5 /* and the elements */
#define NIL_BYTES    1
#define STRING_BYTES 3 /* and the characters */
/* A list of more characters, or of anything else, is no string. */
#define MAX_STRING 65535
#define NO_STRING  UINT32_MAX

typedef struct pending {
    ERL_NIF_TERM term;
    int depth;
    bool tail;           /* of a list whose head has been counted */
    uint32_t characters; /* of such a list so far, or NO_STRING */
} pending;

/* What is still to be looked at is kept here and not on the C stack: a scheduler's is
 * small. */
typedef struct scale {
    int64_t budget; /* terms that may still be counted */
    int max_depth;
    cargo *found; /* or NULL */
    bool no_memory;
    bool references; /* met something that may keep a buffer or bytes alive */
    bool measures;   /* adds to `bytes` */
    bool encodes;    /* may measure by making the external format */
    uint64_t bytes;
    pending *items;
    size_t count, capacity;
    pending *few; /* FEW_TERMS of them, where it begins */
} scale;

static bool
grow(scale *s)
{
    pending *items = s->items == s->few ? NULL : s->items;
    /* cppcheck-suppress memleakOnRealloc ; s->items still has it */
    items = realloc(items, 2 * s->capacity * sizeof *items);
    if (items == NULL) {
        s->no_memory = true;
        return false;
    }
    if (s->items == s->few) {
        memcpy(items, s->few, FEW_TERMS * sizeof *items);
    }
    s->items = items;
    s->capacity *= 2;
    return true;
}

/* False: more than the budget allows, or no memory. */
static bool
push(scale *s, ERL_NIF_TERM term, int depth, bool tail)
{
    if ((int64_t)s->count > s->budget || (s->count == s->capacity && !grow(s))) {
        return false;
    }
    s->items[s->count++] = (pending){term, depth, tail, 0};
    return true;
}

/* ---- Sizes ---- */

static bool
add_encoded(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    ErlNifBinary external;
    if (!s->encodes) {
        return false;
    }
    if (!enif_term_to_binary(env, term, &external)) {
        s->no_memory = true;
        return false;
    }
    s->bytes += external.size - 1;
    enif_release_binary(&external);
    return true;
}

uint64_t
weight_of_atom(size_t length)
{
    return 3 + (uint64_t)length;
}

uint64_t
weight_of_integer(int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX) {
        return 2;
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        return 5;
    }
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return 3 + (71 - (unsigned)__builtin_clzll(magnitude)) / 8;
}

uint64_t
weight_of_tuple(int arity)
{
    return arity <= UINT8_MAX ? 2 : 5;
}

uint64_t
weight_of_list(uint64_t count, bool string, uint64_t bytes)
{
    if (count == 0) {
        return NIL_BYTES;
    }
    return string && count <= MAX_STRING ? STRING_BYTES + count
                                         : LIST_BYTES + bytes + NIL_BYTES;
}

static bool
add_integer(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    ErlNifSInt64 value;
    if (!enif_get_int64(env, term, &value)) {
        return add_encoded(env, term, s);
    }
    s->bytes += weight_of_integer(value);
    return true;
}

static bool
add_atom(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    unsigned length;
    if (!enif_get_atom_length(env, term, &length, ERL_NIF_LATIN1)) {
        return add_encoded(env, term, s);
    }
    s->bytes += weight_of_atom(length);
    return true;
}

static bool
add_bitstring(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary)) {
        return add_encoded(env, term, s);
    }
    s->bytes += WEIGHT_BINARY_BYTES + binary.size;
    return true;
}

/* A list is a header, its elements and its tail; with the last character of a string,
 * all that it came to is taken back for what a string has. */
static void
add_nil(const pending *next, scale *s)
{
    s->bytes += NIL_BYTES;
    if (next->tail && next->characters <= MAX_STRING) {
        s->bytes -= LIST_BYTES + 2 * (uint64_t)next->characters + NIL_BYTES;
        s->bytes += STRING_BYTES + next->characters;
    }
}

/* What a term has beside its elements.  False: it cannot be measured here. */
static bool
add_size(ErlNifEnv *env, const pending *next, ErlNifTermType type, scale *s)
{
    int arity;
    const ERL_NIF_TERM *elements;
    switch (type) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return add_atom(env, next->term, s);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return add_integer(env, next->term, s);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return add_bitstring(env, next->term, s);
    case ERL_NIF_TERM_TYPE_FLOAT:
        s->bytes += WEIGHT_FLOAT_BYTES;
        return true;
    case ERL_NIF_TERM_TYPE_LIST:
        add_nil(next, s);
        return true;
    case ERL_NIF_TERM_TYPE_TUPLE:
        enif_get_tuple(env, next->term, &arity, &elements);
        s->bytes += weight_of_tuple(arity);
        return true;
    case ERL_NIF_TERM_TYPE_MAP:
        s->bytes += WEIGHT_MAP_BYTES;
        return true;
    case ERL_NIF_TERM_TYPE_PID:
        s->bytes += WEIGHT_PID_BYTES;
        return true;
    case ERL_NIF_TERM_TYPE_PORT:
        s->bytes += WEIGHT_PORT_BYTES;
        return true;
    case ERL_NIF_TERM_TYPE_REFERENCE:
        s->bytes += WEIGHT_REFERENCE_BYTES;
        return true;
    default:
        return add_encoded(env, next->term, s);
    }
}

/* ---- Looking ---- */

/* How many characters a list has with this one. */
static uint32_t
count_characters(ErlNifEnv *env, const pending *list, ERL_NIF_TERM head)
{
    unsigned value;
    bool character = list->characters < MAX_STRING &&
                     enif_get_uint(env, head, &value) && value <= UINT8_MAX;
    return character ? list->characters + 1 : NO_STRING;
}

static bool
push_cell(ErlNifEnv *env, const pending *next, ERL_NIF_TERM head, ERL_NIF_TERM tail,
          scale *s)
{
    if (!push(s, tail, next->depth, true)) {
        return false;
    }
    if (s->measures) {
        s->bytes += next->tail ? 0 : LIST_BYTES;
        s->items[s->count - 1].characters = count_characters(env, next, head);
    }
    return push(s, head, next->depth + 1, false);
}

static bool
push_map(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    bool pushed = true;
    enif_map_iterator_create(env, term, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (pushed && enif_map_iterator_get_pair(env, &at, &key, &value)) {
        pushed = push(s, key, depth, false) && push(s, value, depth, false);
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    return pushed;
}

static bool
push_tuple(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth)
{
    int arity;
    const ERL_NIF_TERM *elements;
    bool pushed = true;
    enif_get_tuple(env, term, &arity, &elements);
    for (int i = arity - 1; pushed && i >= 0; i--) {
        pushed = push(s, elements[i], depth, false);
    }
    return pushed;
}

static bool
look(ErlNifEnv *env, const pending *next, scale *s)
{
    ERL_NIF_TERM head, tail;
    if (enif_get_list_cell(env, next->term, &head, &tail)) {
        return push_cell(env, next, head, tail, s);
    }
    ErlNifTermType type = enif_term_type(env, next->term);
    if (s->measures && !add_size(env, next, type, s)) {
        return false;
    }
    switch (type) {
    case ERL_NIF_TERM_TYPE_TUPLE:
        return push_tuple(env, next->term, s, next->depth + 1);
    case ERL_NIF_TERM_TYPE_MAP:
        return push_map(env, next->term, s, next->depth + 1);
    case ERL_NIF_TERM_TYPE_REFERENCE:
        s->references = true;
        s->no_memory =
            s->no_memory || (s->found != NULL && !cargo_add(s->found, env, next->term));
        return !s->no_memory;
    case ERL_NIF_TERM_TYPE_BITSTRING:
    case ERL_NIF_TERM_TYPE_FUN:
        s->references = true;
        return true;
    default:
        return true;
    }
}

/* Counts the terms in `term`; false once the budget is used up. */
static bool
count(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    pending few[FEW_TERMS];
    s->items = s->few = few;
    s->capacity = FEW_TERMS;
    bool going = push(s, term, 1, false);
    while (going && s->count > 0) {
        pending next = s->items[--s->count];
        going = next.tail || (--s->budget >= 0 && next.depth <= s->max_depth);
        going = going && look(env, &next, s);
    }
    if (s->items != few) {
        free(s->items);
    }
    return going;
}

static weight
read_scale(ErlNifEnv *env, ERL_NIF_TERM term, scale *s)
{
    if (!count(env, term, s)) {
        return WEIGHT_LARGE;
    }
    return !s->references && s->budget > MAX_TERMS - LIGHT_TERMS ? WEIGHT_LIGHT
                                                                 : WEIGHT_NORMAL;
}

weight
weigh(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = MAX_TERMS, .max_depth = MAX_DEPTH, .found = found};
    return read_scale(env, term, &s);
}

bool
weigh_cargo(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = INT64_MAX, .max_depth = WHOLE_DEPTH, .found = found};
    count(env, term, &s);
    return !s.no_memory;
}

weight
weigh_message(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found, uint64_t *bytes)
{
    scale s = {
        .budget = MAX_TERMS, .max_depth = MAX_DEPTH, .found = found, .measures = true};
    weight w = read_scale(env, term, &s);
    *bytes = WEIGHT_VERSION_BYTES + s.bytes;
    return w;
}

bool
measure_message(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found, uint64_t *bytes)
{
    scale s = {.budget = INT64_MAX,
               .max_depth = INT_MAX,
               .found = found,
               .measures = true,
               .encodes = true};
    count(env, term, &s);
    *bytes = WEIGHT_VERSION_BYTES + s.bytes;
    return !s.no_memory;
}
