/*
 * terms.c: the conversion of terms, both ways, driven by libFuzzer inside a node.
 *
 * Linked into a copy of the library that is built with coverage counters and
 * AddressSanitizer; fuzz_terms.erl calls erlpy_fuzz() through ctypes, so that it runs
 * on a thread of the pool with the GIL.  From the bytes it makes either a term (through
 * the NIF interface), a term in the external format, or a Python object, and checks
 *
 *   [term ->] object -> term -> object -> term -> object -> term
 *
 * where the last two terms must be the same, and that a term that cannot be converted
 * raises NotConvertibleError and nothing else.  What has a flat form, as messages of
 * channels have it, must come out of it as it does from a conversion, and of the same
 * size.
 */
#include "../../c_src/erlang/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../c_src/erlang/buffer.h"
#include "../../c_src/erlang/flat.h"
#include "../../c_src/erlang/weight.h"

#define MOST_DEPTH 60

int LLVMFuzzerRunDriver(int *argc, char ***argv,
                        int (*test)(const uint8_t *data, size_t size));
__attribute__((visibility("default"))) int erlpy_fuzz(const char *arguments,
                                                      PyObject *helpers);

static pyb_state *state;
static PyObject *helper_objects; /* a list of what C cannot make easily */

typedef struct source {
    const uint8_t *bytes;
    size_t left;
    int depth;
    ErlNifEnv *env;
} source;

static unsigned
next(source *from)
{
    if (from->left == 0) {
        return 0;
    }
    from->left--;
    return *from->bytes++;
}

static const uint8_t *
next_bytes(source *from, size_t *size)
{
    *size = next(from) % 64;
    if (*size == 63) {
        *size = from->left;
    }
    *size = *size < from->left ? *size : from->left;
    const uint8_t *bytes = from->bytes;
    from->bytes += *size;
    from->left -= *size;
    return bytes;
}

static uint64_t
next_word(source *from)
{
    uint64_t word = 0;
    for (unsigned count = next(from) % 9; count > 0; count--) {
        word = word << 8 | next(from);
    }
    return word;
}

static double
next_double(source *from)
{
    double value;
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {
        word = word << 8 | next(from);
    }
    memcpy(&value, &word, sizeof value);
    return value;
}

static _Noreturn void
fail(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    if (PyErr_Occurred()) {
        PyErr_Print();
    }
    abort();
}

/* ---- Terms ---- */

static ERL_NIF_TERM make_term(source *from);

static ERL_NIF_TERM
make_binary(source *from)
{
    ERL_NIF_TERM term;
    size_t size;
    const uint8_t *bytes = next_bytes(from, &size);
    memcpy(enif_make_new_binary(from->env, size, &term), bytes, size);
    return term;
}

static ERL_NIF_TERM
make_atom(source *from)
{
    static const char *const names[] = {"true", "false", "none",  "nil", "undefined",
                                        "ok",   "bytes", "error", "",    "str"};
    return enif_make_atom(from->env, names[next(from) % 10]);
}

static ERL_NIF_TERM
make_large_integer(source *from)
{
    uint8_t external[4 + 64] = {131, 110};
    ERL_NIF_TERM term;
    size_t size;
    const uint8_t *bytes = next_bytes(from, &size);
    size = size < 64 ? size : 64;
    external[2] = (uint8_t)size;
    external[3] = next(from) % 2;
    memcpy(external + 4, bytes, size);
    return enif_binary_to_term(from->env, external, size + 4, &term, 0) != 0
               ? term
               : enif_make_int(from->env, 0);
}

static ERL_NIF_TERM
make_sequence(source *from, bool tuple)
{
    ERL_NIF_TERM items[16];
    unsigned count = next(from) % 16;
    for (unsigned i = 0; i < count; i++) {
        items[i] = make_term(from);
    }
    return tuple ? enif_make_tuple_from_array(from->env, items, count)
                 : enif_make_list_from_array(from->env, items, count);
}

static ERL_NIF_TERM
make_map(source *from)
{
    ERL_NIF_TERM map = enif_make_new_map(from->env);
    for (unsigned count = next(from) % 50; count > 0 && from->left > 0; count--) {
        ERL_NIF_TERM key = make_term(from);
        enif_make_map_put(from->env, map, key, make_term(from), &map);
    }
    return map;
}

static ERL_NIF_TERM
make_deep(source *from)
{
    unsigned depth = 900 + next(from);
    ERL_NIF_TERM term = make_term(from);
    while (depth-- > 0) {
        term = enif_make_list1(from->env, term);
    }
    return term;
}

static ERL_NIF_TERM
make_buffer(source *from)
{
    ERL_NIF_TERM term;
    stream *s = stream_new(STREAM_LENGTH_UNKNOWN);
    if (s == NULL || !buffer_term(from->env, s, &term)) {
        fail("no buffer");
    }
    stream_release(s);
    return term;
}

static ERL_NIF_TERM
make_external(source *from)
{
    ERL_NIF_TERM term;
    if (from->left > 0 && enif_binary_to_term(from->env, from->bytes, from->left, &term,
                                              ERL_NIF_BIN2TERM_SAFE) != 0) {
        from->left = 0;
        return term;
    }
    return enif_make_int(from->env, 1);
}

static ERL_NIF_TERM
make_any_term(source *from)
{
    double value;
    switch (next(from) % 14) {
    case 0:
        return make_atom(from);
    case 1:
        return enif_make_int64(from->env, (ErlNifSInt64)next_word(from));
    case 2:
        return make_large_integer(from);
    case 3:
        value = next_double(from);
        return enif_make_double(from->env, isfinite(value) ? value : 0.5);
    case 4:
        return make_binary(from);
    case 5:
        return make_sequence(from, false);
    case 6:
        return make_sequence(from, true);
    case 7:
        return make_map(from);
    case 8:
        return enif_make_tuple2(from->env, make_atom(from), make_binary(from));
    case 9:
        return enif_make_list_cell(from->env, make_term(from), make_term(from));
    case 10:
        return make_deep(from);
    case 11:
        return enif_make_ref(from->env);
    case 12:
        return make_buffer(from);
    default:
        return make_external(from);
    }
}

static ERL_NIF_TERM
make_term(source *from)
{
    if (from->depth >= MOST_DEPTH || from->left == 0) {
        return enif_make_int(from->env, (int)next(from));
    }
    from->depth++;
    ERL_NIF_TERM term = make_any_term(from);
    from->depth--;
    return term;
}

/* ---- Objects ---- */

static PyObject *make_object(source *from);

static PyObject *
make_str(source *from)
{
    size_t size;
    const uint8_t *bytes = next_bytes(from, &size);
    return PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)size,
                                next(from) % 2 ? "surrogateescape" : "replace");
}

static PyObject *
make_list(source *from)
{
    PyObject *list = PyList_New(0);
    for (unsigned count = next(from) % 16; count > 0; count--) {
        PyObject *item = make_object(from);
        PyList_Append(list, item);
        Py_DECREF(item);
    }
    return list;
}

/* What cannot be a key is left out. */
static PyObject *
make_dict(source *from)
{
    PyObject *dict = PyDict_New();
    for (unsigned count = next(from) % 50; count > 0 && from->left > 0; count--) {
        PyObject *key = make_object(from), *value = make_object(from);
        if (PyDict_SetItem(dict, key, value) < 0) {
            PyErr_Clear();
        }
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return dict;
}

/* One of the functions of fuzz_helpers.py, given an object. */
static PyObject *
make_by_helper(source *from)
{
    Py_ssize_t which = (Py_ssize_t)next(from) % PyList_GET_SIZE(helper_objects);
    PyObject *argument = make_object(from);
    PyObject *made =
        PyObject_CallOneArg(PyList_GET_ITEM(helper_objects, which), argument);
    if (made == NULL) {
        PyErr_Clear();
        return argument;
    }
    Py_DECREF(argument);
    return made;
}

static PyObject *
make_any_object(source *from)
{
    PyObject *list, *object;
    size_t size;
    const uint8_t *bytes;
    switch (next(from) % 10) {
    case 0:
        return Py_NewRef(Py_None);
    case 1:
        return PyBool_FromLong((long)next(from) % 2);
    case 2:
        return PyLong_FromLongLong((long long)next_word(from));
    case 3:
        bytes = next_bytes(from, &size);
        return _PyLong_FromByteArray(bytes, size, 1, (int)next(from) % 2);
    case 4:
        return PyFloat_FromDouble(next_double(from));
    case 5:
        return make_str(from);
    case 6:
        bytes = next_bytes(from, &size);
        return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size);
    case 7:
        list = make_list(from);
        object = next(from) % 2 ? PyList_AsTuple(list) : Py_NewRef(list);
        Py_DECREF(list);
        return object;
    case 8:
        return make_dict(from);
    default:
        return make_by_helper(from);
    }
}

static PyObject *
make_object(source *from)
{
    if (from->depth >= MOST_DEPTH || from->left == 0) {
        return PyLong_FromLong((long)next(from));
    }
    from->depth++;
    PyObject *object = make_any_object(from);
    from->depth--;
    if (object == NULL) {
        fail("no object");
    }
    return object;
}

/* ---- The checks ---- */

/* The objects of hostile classes raise what they like. */
static bool
refused(bool only_not_convertible)
{
    if (!PyErr_Occurred()) {
        fail("refused without an exception");
    }
    if (only_not_convertible && !PyErr_ExceptionMatches(state->not_convertible)) {
        fail("refused with another exception");
    }
    PyErr_Clear();
    return false;
}

static bool
to_python(ErlNifEnv *env, ERL_NIF_TERM term, PyObject **object)
{
    *object = convert_to_python(state, env, term);
    if (*object == NULL) {
        return refused(true);
    }
    if (PyErr_Occurred()) {
        fail("converted, and an exception");
    }
    return true;
}

static bool
to_erlang(ErlNifEnv *env, PyObject *object, bool own, ERL_NIF_TERM *term)
{
    if (!convert_to_erlang(state, env, object, term)) {
        return refused(own);
    }
    if (PyErr_Occurred()) {
        fail("converted, and an exception");
    }
    return true;
}

/* To Erlang and back, as `own' tells an object of the conversion's own making. */
static bool
round_trip(ErlNifEnv *env, PyObject *object, bool own, ERL_NIF_TERM *term,
           PyObject **back)
{
    return to_erlang(env, object, own, term) && to_python(env, *term, back);
}

/* ---- Flat ---- */

static void
check_size(ErlNifEnv *env, ERL_NIF_TERM term, uint64_t size_bytes)
{
    uint64_t expected;
    if (!measure_message(env, term, NULL, &expected)) {
        fail("no memory");
    }
    if (size_bytes != expected) {
        fail("flat, and of another size");
    }
}

static void
check_flat_object(ErlNifEnv *env, PyObject *object)
{
    unsigned char flat[FLAT_MAX_BYTES];
    uint64_t size_bytes;
    ERL_NIF_TERM expected, term;
    if (flat_write_object(state, object, flat, &size_bytes) == 0) {
        return;
    }
    if (!to_erlang(env, object, true, &expected)) {
        fail("flat, and refused");
    }
    if (!flat_to_term(env, flat, &term)) {
        fail("no memory");
    }
    if (!enif_is_identical(term, expected)) {
        fail("flat, and another term");
    }
    check_size(env, expected, size_bytes);
}

/* `expected` is NULL when the term was refused. */
static void
check_flat_term(ErlNifEnv *env, ERL_NIF_TERM term, PyObject *expected)
{
    unsigned char flat[FLAT_MAX_BYTES];
    uint64_t size_bytes;
    ERL_NIF_TERM first, second;
    if (flat_write(env, term, flat, &size_bytes) == 0) {
        return;
    }
    check_size(env, term, size_bytes);
    PyObject *object = flat_to_python(state, flat);
    if (object == NULL) {
        refused(true);
    }
    if ((object == NULL) != (expected == NULL)) {
        fail("flat, and converted in one way only");
    }
    if (object != NULL && to_erlang(env, object, true, &first) &&
        to_erlang(env, expected, true, &second) && !enif_is_identical(first, second)) {
        fail("flat, and another object");
    }
    Py_XDECREF(object);
}

/* ---- Rounds ---- */

/* The first round may change it: an atom becomes text, bytes that are UTF-8 become str,
 * and then two keys may be one.  The later ones may not. */
static void
check_object(ErlNifEnv *env, PyObject *object)
{
    ERL_NIF_TERM first, second, third;
    PyObject *once, *twice;
    check_flat_object(env, object);
    if (!round_trip(env, object, false, &first, &once)) {
        return;
    }
    if (round_trip(env, once, true, &second, &twice)) {
        if (!to_erlang(env, twice, true, &third)) {
            fail("refused after a round trip");
        }
        if (enif_compare(second, third) != 0) {
            fail("another term after a round trip");
        }
        Py_DECREF(twice);
    }
    Py_DECREF(once);
}

static void
check_term(ErlNifEnv *env, ERL_NIF_TERM term)
{
    PyObject *object = NULL;
    bool converted = to_python(env, term, &object);
    check_flat_term(env, term, converted ? object : NULL);
    if (converted) {
        check_object(env, object);
        Py_DECREF(object);
    }
}

static int
test_one(const uint8_t *data, size_t size)
{
    source from = {.bytes = data, .left = size, .env = enif_alloc_env()};
    if (next(&from) % 2 == 0) {
        check_term(from.env, make_term(&from));
    } else {
        PyObject *object = make_object(&from);
        check_object(from.env, object);
        Py_DECREF(object);
    }
    enif_free_env(from.env);
    return 0;
}

/* ---- Called from Python ---- */

/* libFuzzer ends by exit(), which would take down the runtime's threads one by one. */
static void
leave(void)
{
    fflush(NULL);
    _exit(0);
}

static pyb_state *
imported_state(void)
{
    PyObject *module = PyImport_ImportModule("_erlang");
    if (module == NULL) {
        fail("no module");
    }
    return PyModule_GetState(module);
}

/* `arguments`: those of libFuzzer, separated by newlines. */
int
erlpy_fuzz(const char *arguments, PyObject *helpers)
{
    char *words = strdup(arguments), *rest = words;
    char *items[64] = {NULL};
    char **argv = items;
    int argc = 0;
    for (char *word; argc < 63 && (word = strsep(&rest, "\n")) != NULL;) {
        items[argc++] = word;
    }
    state = imported_state();
    helper_objects = helpers;
    atexit(leave);
    return LLVMFuzzerRunDriver(&argc, &argv, test_one);
}
