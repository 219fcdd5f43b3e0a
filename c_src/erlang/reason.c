#include "reason.h"

#include <stdlib.h>
#include <string.h>

#include "atoms.h"
#include "convert.h"
#include "fork.h"
#include "shared.h"

typedef struct nif_reason {
    pyb_reason base;
    /* Of `env`: a binary in the external format, which is large and so is not copied,
     * and is only read; NULL: an atom. */
    ErlNifEnv *env;
    ERL_NIF_TERM term;
    const unsigned char *external;
    size_t external_bytes;
    size_t text_bytes;
    unsigned char text[];
} nif_reason;

static nif_reason owner_down, abandoned, no_memory;

/* Memory, or a signal: not that the term has no counterpart. */
static bool
must_be_raised(void)
{
    return PyErr_Occurred() && (PyErr_ExceptionMatches(PyExc_MemoryError) ||
                                !PyErr_ExceptionMatches(PyExc_Exception));
}

static PyObject *
printed_reason(const nif_reason *reason)
{
    return PyUnicode_DecodeUTF8((const char *)reason->text,
                                (Py_ssize_t)reason->text_bytes, "replace");
}

static PyObject *
reason_to_python(pyb_state *state, const pyb_reason *base)
{
    const nif_reason *reason = (const nif_reason *)base;
    if (nif_forked()) {
        return printed_reason(reason);
    }
    ErlNifEnv *env = enif_alloc_env();
    if (env == NULL) {
        return PyErr_NoMemory();
    }
    ERL_NIF_TERM term = reason->term;
    PyObject *object = NULL;
    if (reason->env == NULL ||
        enif_binary_to_term(env, reason->external, reason->external_bytes, &term, 0) ==
            reason->external_bytes) {
        object = convert_to_python(state, env, term);
    }
    enif_free_env(env);
    if (object != NULL || must_be_raised()) {
        return object;
    }
    PyErr_Clear();
    return printed_reason(reason);
}

static void
keep_reason(stream_reason *reason)
{
    (void)reason;
}

static void
free_reason(stream_reason *base)
{
    nif_reason *reason = (nif_reason *)base;
    if (reason->env != NULL && !nif_forked()) {
        enif_free_env(reason->env);
    }
    free(reason);
}

static void
init_constant(nif_reason *reason, ERL_NIF_TERM atom)
{
    reason->base.base.release = keep_reason;
    reason->base.to_python = reason_to_python;
    reason->base.host = rt;
    reason->env = NULL;
    reason->term = atom;
}

static bool
keep_external(nif_reason *reason, ERL_NIF_TERM external)
{
    ErlNifBinary binary;
    reason->env = enif_alloc_env();
    if (reason->env == NULL) {
        return false;
    }
    reason->term = enif_make_copy(reason->env, external);
    enif_inspect_binary(reason->env, reason->term, &binary);
    reason->external = binary.data;
    reason->external_bytes = binary.size;
    return true;
}

void
nif_reasons_init(void)
{
    init_constant(&owner_down, nif_am.am_owner_down);
    init_constant(&abandoned, nif_am.am_abandoned);
    init_constant(&no_memory, nif_am.am_enomem);
}

stream_reason *
nif_reason_owner_down(void)
{
    return &owner_down.base.base;
}

stream_reason *
nif_reason_abandoned(void)
{
    return &abandoned.base.base;
}

stream_reason *
nif_reason_new(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM text)
{
    ErlNifBinary printed;
    bool is_atom = enif_is_atom(env, term);
    if ((!is_atom && !enif_is_binary(env, term)) ||
        !enif_inspect_binary(env, text, &printed)) {
        return NULL;
    }
    nif_reason *reason = malloc(sizeof *reason + printed.size);
    if (reason == NULL) {
        return &no_memory.base.base;
    }
    init_constant(reason, term);
    if (!is_atom && !keep_external(reason, term)) {
        free(reason);
        return &no_memory.base.base;
    }
    reason->base.base.release = free_reason;
    reason->text_bytes = printed.size;
    memcpy(reason->text, printed.data, printed.size);
    return &reason->base.base;
}

ERL_NIF_TERM
nif_reason_term(ErlNifEnv *env, const stream_reason *base)
{
    const nif_reason *reason = (const nif_reason *)(const void *)base;
    if (reason->base.host != rt) {
        return nif_am.am_python;
    }
    return reason->env == NULL ? reason->term : enif_make_copy(env, reason->term);
}
