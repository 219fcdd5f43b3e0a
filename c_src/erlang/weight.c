#include "weight.h"

/* Copying a larger term takes too long for a normal scheduler; nesting beyond the
 * second limit counts as large. */
#define MAX_TERMS   10000
#define MAX_DEPTH   100
#define LIGHT_TERMS 100
/* Python does not get what is nested deeper (see convert.h). */
#define WHOLE_DEPTH 1000

typedef struct scale {
    int64_t budget; /* terms that may still be counted */
    int max_depth;
    cargo *found; /* or NULL */
    bool no_memory;
    bool references; /* met something that may keep a buffer or bytes alive */
} scale;

static bool count(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth);

static bool
count_map(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key, value;
    bool counted = true;
    enif_map_iterator_create(env, term, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    while (counted && enif_map_iterator_get_pair(env, &at, &key, &value)) {
        counted = count(env, key, s, depth) && count(env, value, s, depth);
        enif_map_iterator_next(env, &at);
    }
    enif_map_iterator_destroy(env, &at);
    return counted;
}

static bool
count_tuple(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth)
{
    int arity;
    const ERL_NIF_TERM *elements;
    enif_get_tuple(env, term, &arity, &elements);
    for (int i = 0; i < arity; i++) {
        if (!count(env, elements[i], s, depth)) {
            return false;
        }
    }
    return true;
}

/* Counts the terms in `term`; false once the budget is used up. */
static bool
count(ErlNifEnv *env, ERL_NIF_TERM term, scale *s, int depth)
{
    ERL_NIF_TERM head;
    if (--s->budget < 0 || ++depth > s->max_depth) {
        return false;
    }
    while (enif_get_list_cell(env, term, &head, &term)) {
        if (!count(env, head, s, depth)) {
            return false;
        }
    }
    switch (enif_term_type(env, term)) {
    case ERL_NIF_TERM_TYPE_TUPLE:
        return count_tuple(env, term, s, depth);
    case ERL_NIF_TERM_TYPE_MAP:
        return count_map(env, term, s, depth);
    case ERL_NIF_TERM_TYPE_REFERENCE:
        s->references = true;
        s->no_memory =
            s->no_memory || (s->found != NULL && !cargo_add(s->found, env, term));
        return !s->no_memory;
    case ERL_NIF_TERM_TYPE_BITSTRING:
    case ERL_NIF_TERM_TYPE_FUN:
        s->references = true;
        return true;
    default:
        return true;
    }
}

weight
weigh(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = MAX_TERMS, .max_depth = MAX_DEPTH, .found = found};
    if (!count(env, term, &s, 0)) {
        return WEIGHT_LARGE;
    }
    return !s.references && s.budget > MAX_TERMS - LIGHT_TERMS ? WEIGHT_LIGHT
                                                               : WEIGHT_NORMAL;
}

bool
weigh_cargo(ErlNifEnv *env, ERL_NIF_TERM term, cargo *found)
{
    scale s = {.budget = INT64_MAX, .max_depth = WHOLE_DEPTH, .found = found};
    count(env, term, &s, 0);
    return !s.no_memory;
}
