#include "message.h"

#include <pthread.h>
#include <stdlib.h>

#include "convert.h"
#include "fork.h"

/* So many of each source are kept for the next ones. */
#define KEPT_MESSAGES 256

static struct {
    pthread_mutex_t lock;
    channel_item *first;
    unsigned count;
} kept[] = {
    [MESSAGE_OF_ERLANG] = {.lock = PTHREAD_MUTEX_INITIALIZER},
    [MESSAGE_OF_PYTHON] = {.lock = PTHREAD_MUTEX_INITIALIZER},
};

static void
release_item(channel_item *item)
{
    message_release(message_of_item(item));
}

static PyObject *
to_python(pyb_state *state, pyb_message *base, bool views)
{
    nif_message *message = (nif_message *)base;
    return views ? convert_to_views(state, message->env, message->term)
                 : convert_to_python(state, message->env, message->term);
}

/* ---- Life ---- */

static nif_message *
reuse_message(message_source source)
{
    pthread_mutex_lock(&kept[source].lock);
    channel_item *item = kept[source].first;
    if (item != NULL) {
        kept[source].first = item->next;
        kept[source].count--;
    }
    pthread_mutex_unlock(&kept[source].lock);
    if (item == NULL) {
        return NULL;
    }
    nif_message *message = message_of_item(item);
    enif_clear_env(message->env);
    return message;
}

static bool
keep_message(nif_message *message)
{
    message_source source = message->source;
    pthread_mutex_lock(&kept[source].lock);
    bool room = kept[source].count < KEPT_MESSAGES;
    if (room) {
        message->base.base.next = kept[source].first;
        kept[source].first = &message->base.base;
        kept[source].count++;
    }
    pthread_mutex_unlock(&kept[source].lock);
    return room;
}

static nif_message *
new_message(message_source source)
{
    nif_message *message = reuse_message(source);
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
    message->base.base.release = release_item;
    message->base.to_python = to_python;
    message->source = source;
    return message;
}

nif_message *
message_of_item(channel_item *item)
{
    return (nif_message *)(void *)item;
}

void
message_release(nif_message *message)
{
    if (message == NULL || nif_forked()) {
        return;
    }
    cargo_arrive(&message->load);
    if (message->weight != WEIGHT_LIGHT) {
        enif_clear_env(message->env);
    }
    if (!keep_message(message)) {
        enif_free_env(message->env);
        free(message);
    }
}

/* ---- Making ---- */

nif_message *
message_of_term(ErlNifEnv *env, ERL_NIF_TERM term, weight w, uint64_t size_bytes,
                cargo *load)
{
    (void)env;
    nif_message *message = new_message(MESSAGE_OF_ERLANG);
    if (message == NULL) {
        cargo_clear(load);
        return NULL;
    }
    message->base.base.size_bytes = size_bytes;
    message->weight = w;
    message->term = enif_make_copy(message->env, term);
    message->load = *load;
    *load = (cargo){0};
    cargo_send(&message->load);
    return message;
}

static bool
write_object_gil(pyb_state *state, nif_message *message, PyObject *object)
{
    channel_item *item = &message->base.base;
    if (!convert_to_erlang(state, message->env, object, &message->term)) {
        return false;
    }
    message->weight =
        weigh_message(message->env, message->term, NULL, &item->size_bytes);
    if (message->weight == WEIGHT_LARGE &&
        !measure_message(message->env, message->term, NULL, &item->size_bytes)) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

pyb_message *
message_of_object_gil(pyb_state *state, PyObject *object)
{
    nif_message *message = new_message(MESSAGE_OF_PYTHON);
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (!write_object_gil(state, message, object)) {
        message->weight = WEIGHT_NORMAL;
        message_release(message);
        return NULL;
    }
    return &message->base;
}
