#include "message.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "flat.h"
#include "fork.h"

/* So many of each kind are kept for the next ones. */
#define KEPT_MESSAGES 256

_Static_assert(MESSAGE_MAX_BYTES < CONVERT_VIEW_MIN_BYTES, "views share the bytes");

typedef struct bytes_message {
    nif_message head; /* first */
    size_t size;
    unsigned char data[];
} bytes_message;

static struct {
    pthread_mutex_t lock;
    channel_item *first;
    unsigned count;
} kept[] = {
    [MESSAGE_OF_ERLANG] = {.lock = PTHREAD_MUTEX_INITIALIZER},
    [MESSAGE_OF_PYTHON] = {.lock = PTHREAD_MUTEX_INITIALIZER},
};

nif_message *
message_of_item(channel_item *item)
{
    return (nif_message *)(void *)item;
}

static void
release_item(channel_item *item)
{
    message_release(message_of_item(item));
}

static void
init_head(nif_message *message, message_kind kind,
          PyObject *(*to_python)(pyb_state *, pyb_message *, bool))
{
    message->base.base.release = release_item;
    message->base.to_python = to_python;
    message->kind = kind;
}

/* ---- Bytes ---- */

static PyObject *
bytes_to_python(pyb_state *state, pyb_message *base, bool views)
{
    const bytes_message *message = (bytes_message *)(void *)base;
    (void)state;
    (void)views;
    return convert_bytes_to_python(message->data, message->size);
}

static PyObject *
flat_message_to_python(pyb_state *state, pyb_message *base, bool views)
{
    (void)views;
    return flat_to_python(state, ((bytes_message *)(void *)base)->data);
}

static nif_message *
new_bytes(const void *data, size_t size, uint64_t size_bytes)
{
    bytes_message *message = malloc(sizeof *message + size);
    if (message == NULL) {
        return NULL;
    }
    init_head(&message->head, MESSAGE_BYTES, bytes_to_python);
    message->head.base.base.size_bytes = size_bytes;
    message->size = size;
    memcpy(message->data, data, size);
    return &message->head;
}

static uint64_t
size_of_binary(size_t size)
{
    return WEIGHT_VERSION_BYTES + WEIGHT_BINARY_BYTES + (uint64_t)size;
}

nif_message *
message_of_binary(const ErlNifBinary *binary)
{
    return new_bytes(binary->data, binary->size, size_of_binary(binary->size));
}

nif_message *
message_of_flat(const unsigned char *data, size_t size, uint64_t size_bytes)
{
    nif_message *message = new_bytes(data, size, size_bytes);
    if (message != NULL) {
        init_head(message, MESSAGE_FLAT, flat_message_to_python);
    }
    return message;
}

/* ---- Terms ---- */

static term_message *
term_of(nif_message *message)
{
    return (term_message *)(void *)message;
}

static PyObject *
term_to_python(pyb_state *state, pyb_message *base, bool views)
{
    const term_message *message = (term_message *)(void *)base;
    return views ? convert_to_views(state, message->env, message->term)
                 : convert_to_python(state, message->env, message->term);
}

static term_message *
reuse_message(message_kind kind)
{
    pthread_mutex_lock(&kept[kind].lock);
    channel_item *item = kept[kind].first;
    if (item != NULL) {
        kept[kind].first = item->next;
        kept[kind].count--;
    }
    pthread_mutex_unlock(&kept[kind].lock);
    if (item == NULL) {
        return NULL;
    }
    term_message *message = term_of(message_of_item(item));
    enif_clear_env(message->env);
    return message;
}

static bool
keep_message(term_message *message)
{
    message_kind kind = message->head.kind;
    channel_item *item = &message->head.base.base;
    pthread_mutex_lock(&kept[kind].lock);
    bool room = kept[kind].count < KEPT_MESSAGES;
    if (room) {
        item->next = kept[kind].first;
        kept[kind].first = item;
        kept[kind].count++;
    }
    pthread_mutex_unlock(&kept[kind].lock);
    return room;
}

static term_message *
new_term(message_kind kind)
{
    term_message *message = reuse_message(kind);
    if (message != NULL) {
        return message;
    }
    message = calloc(1, sizeof *message);
    if (message == NULL) {
        return NULL;
    }
    message->env = enif_alloc_env();
    if (message->env == NULL) {
        free(message);
        return NULL;
    }
    init_head(&message->head, kind, term_to_python);
    return message;
}

static void
release_term(term_message *message)
{
    cargo_arrive(&message->load);
    if (message->weight != WEIGHT_LIGHT) {
        enif_clear_env(message->env);
    }
    if (!keep_message(message)) {
        enif_free_env(message->env);
        free(message);
    }
}

nif_message *
message_of_term(ERL_NIF_TERM term, weight w, uint64_t size_bytes, cargo *load)
{
    term_message *message = new_term(MESSAGE_OF_ERLANG);
    if (message == NULL) {
        cargo_clear(load);
        return NULL;
    }
    message->head.base.base.size_bytes = size_bytes;
    message->weight = w;
    message->term = enif_make_copy(message->env, term);
    message->load = *load;
    *load = (cargo){0};
    cargo_send(&message->load);
    return &message->head;
}

/* ---- Of Python objects ---- */

/* What needs no environment.  NULL: it does, or there is no memory. */
static nif_message *
small_message_gil(pyb_state *state, PyObject *object)
{
    unsigned char flat[FLAT_MAX_BYTES];
    uint64_t size_bytes;
    if (PyBytes_CheckExact(object) && PyBytes_GET_SIZE(object) <= MESSAGE_MAX_BYTES) {
        size_t size = (size_t)PyBytes_GET_SIZE(object);
        return new_bytes(PyBytes_AS_STRING(object), size, size_of_binary(size));
    }
    size_t size = flat_write_object(state, object, flat, &size_bytes);
    return size != 0 ? message_of_flat(flat, size, size_bytes) : NULL;
}

static bool
write_term_gil(pyb_state *state, term_message *message, PyObject *object)
{
    uint64_t *size_bytes = &message->head.base.base.size_bytes;
    if (!convert_to_erlang(state, message->env, object, &message->term)) {
        return false;
    }
    message->weight = weigh_message(message->env, message->term, NULL, size_bytes);
    if (message->weight == WEIGHT_LARGE &&
        !measure_message(message->env, message->term, NULL, size_bytes)) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

pyb_message *
message_of_object_gil(pyb_state *state, PyObject *object)
{
    nif_message *small = small_message_gil(state, object);
    if (small != NULL) {
        return &small->base;
    }
    term_message *message = new_term(MESSAGE_OF_PYTHON);
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    message->weight = WEIGHT_NORMAL;
    if (!write_term_gil(state, message, object)) {
        release_term(message);
        return NULL;
    }
    return &message->head.base;
}

/* ---- Of all kinds ---- */

void
message_release(nif_message *message)
{
    if (message == NULL || nif_forked()) {
        return;
    }
    if (message->kind == MESSAGE_BYTES || message->kind == MESSAGE_FLAT) {
        free(message);
    } else {
        release_term(term_of(message));
    }
}

bool
message_is_large(const nif_message *message)
{
    return (message->kind == MESSAGE_OF_ERLANG || message->kind == MESSAGE_OF_PYTHON) &&
           ((const term_message *)(const void *)message)->weight == WEIGHT_LARGE;
}

static bool
copy_bytes(const bytes_message *message, ErlNifEnv *env, ERL_NIF_TERM *term)
{
    unsigned char *to = enif_make_new_binary(env, message->size, term);
    if (to != NULL) {
        memcpy(to, message->data, message->size);
    }
    return to != NULL;
}

bool
message_copy(nif_message *message, ErlNifEnv *env, ERL_NIF_TERM *term)
{
    switch (message->kind) {
    case MESSAGE_BYTES:
        return copy_bytes((bytes_message *)(void *)message, env, term);
    case MESSAGE_FLAT:
        return flat_to_term(env, ((bytes_message *)(void *)message)->data, term);
    default:
        *term = enif_make_copy(env, term_of(message)->term);
        return true;
    }
}
