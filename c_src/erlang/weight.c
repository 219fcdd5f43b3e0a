#include "weight.h"

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

typedef struct pending {
    ERL_NIF_TERM term;
    int depth;
    bool tail; /* of a list whose head has been counted */
} pending;

/* What is still to be looked at is kept here and not on the C stack: a scheduler's is
 * small. */
typedef struct scale {
    int64_t budget; /* terms that may still be counted */
    int max_depth;
    cargo *found; /* or NULL */
    bool no_memory;
    bool references; /* met something that may keep a buffer or bytes alive */
    pending *items;
    size_t count, capacity;
    pending *few; /* FEW_TERMS of them, where it begins */
} scale;

static bool
grow(scale *s)
{
    pending *items = s->items == s->few ? NULL : s->items;
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
    s->items[s->count++] = (pending){term, depth, tail};
    return true;
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
        return push(s, tail, next->depth, true) &&
               push(s, head, next->depth + 1, false);
    }
    switch (enif_term_type(env, next->term)) {
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

weight
weigh(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = MAX_TERMS, .max_depth = MAX_DEPTH, .found = found};
    if (!count(env, term, &s)) {
        return WEIGHT_LARGE;
    }
    return !s.references && s.budget > MAX_TERMS - LIGHT_TERMS ? WEIGHT_LIGHT
                                                               : WEIGHT_NORMAL;
}

bool
weigh_cargo(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = INT64_MAX, .max_depth = WHOLE_DEPTH, .found = found};
    count(env, term, &s);
    return !s.no_memory;
}
