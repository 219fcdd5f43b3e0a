/*
 * channel.c: handles of channels, and messages that do not wait.
 *
 * A message to Python is copied into an environment of its own; what is too large for a
 * scheduler, on a dirty one.  One to Erlang is copied into the process that takes it. A
 * large one is not copied: it is taken into a resource, and fetched from there as a
 * message of the node, which hands its memory over.  A process that dies in between
 * leaves the resource, which puts the message back.
 */
#include "channel.h"

#include "../stream/platform.h"
#include "atoms.h"
#include "core.h"
#include "flat.h"
#include "nif_env.h"
#include "shared.h"

/* More than a scheduler tells of the end. */
#define MANY_WAITING 256

typedef struct taken_message {
    channel *c; /* shared */
    term_message *message;
} taken_message;

static ErlNifResourceType *handle_type, *taken_type;

/* On any thread: that of the last term, or of a Python thread that let a parked send
 * in. */
static void
destroy_handle(ErlNifEnv *env, void *object)
{
    channel_handle *handle = object;
    if (handle->c == NULL) {
        return;
    }
    ErlNifEnv *before = nif_env_enter(env);
    channel_drop_holder(handle->c);
    channel_release(handle->c);
    handle->c = NULL;
    nif_env_leave(before);
}

static void
destroy_taken(ErlNifEnv *env, void *object)
{
    taken_message *taken = object;
    ErlNifEnv *before = nif_env_enter(env);
    if (taken->message != NULL) {
        channel_unreceive(taken->c, CHANNEL_OUT, &taken->message->head.base.base);
    }
    channel_release(taken->c);
    nif_env_leave(before);
}

int
channel_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit handles = {.dtor = destroy_handle};
    ErlNifResourceTypeInit taken = {.dtor = destroy_taken};
    handle_type = nif_open_type(env, "erlpy_channel", &handles, flags);
    taken_type = nif_open_type(env, "erlpy_taken", &taken, flags);
    return handle_type == NULL || taken_type == NULL
               ? -1
               : channel_wait_open_types(env, flags);
}

channel_handle *
channel_handle_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, handle_type, &object) ? object : NULL;
}

channel *
channel_of_term(ErlNifEnv *env, ERL_NIF_TERM term)
{
    channel_handle *handle = channel_handle_of(env, term);
    return handle != NULL ? handle->c : NULL;
}

bool
channel_term(ErlNifEnv *env, channel *c, ERL_NIF_TERM *term)
{
    channel_handle *handle = enif_alloc_resource(handle_type, sizeof *handle);
    if (handle == NULL) {
        return false;
    }
    channel_info info;
    channel_get_info(c, &info);
    channel_add_holder(c);
    handle->c = channel_share(c);
    handle->limited = info.max_bytes != CHANNEL_UNLIMITED;
    *term = enif_make_resource(env, handle);
    enif_release_resource(handle);
    return true;
}

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

ERL_NIF_TERM
channel_status_term(ErlNifEnv *env, stream_status status)
{
    switch (status) {
    case STREAM_OK:
        return nif_am.am_ok;
    case STREAM_BUSY:
        return nif_am.am_busy;
    case STREAM_CLOSED:
        return error_tuple(env, nif_am.am_closed);
    default:
        return error_tuple(env, nif_am.am_enomem);
    }
}

/* ---- The core ---- */

static void *
attachment(void *c)
{
    return channel_attachment(c);
}

static bool
attach(void *c, void *of, stream_release_fn release)
{
    return channel_attach(c, of, release);
}

static void *
try_share(void *c)
{
    return channel_try_share(c);
}

static void
drop(void *c)
{
    channel_release(c);
}

/* Each is told by whoever closes, in about a microsecond. */
static bool
has_many_waiting(channel *c)
{
    channel_info info;
    channel_get_info(c, &info);
    uint64_t waiting = 0;
    for (int way = 0; way < 2; way++) {
        waiting += (uint64_t)info.way[way].senders + info.way[way].receivers;
    }
    return waiting > MANY_WAITING;
}

static void *
close_shared(void *c)
{
    channel_close(c);
    channel_release(c);
    return NULL;
}

static void
owner_is_down(void *c)
{
    channel_share(c);
    if (!has_many_waiting(c) || !platform_run_elsewhere(close_shared, c)) {
        close_shared(c);
    }
}

static const core_kind channel_kind = {attachment, attach, try_share, drop,
                                       owner_is_down};

bool
channel_gives_views(channel *c)
{
    return core_is_marked(channel_attachment(c));
}

ERL_NIF_TERM
channel_set_owner_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifPid pid;
    channel *c = channel_of_term(env, argv[0]);
    (void)argc;
    if (c == NULL || !enif_get_local_pid(env, argv[1], &pid)) {
        return enif_make_badarg(env);
    }
    core *of = core_of(&channel_kind, c);
    if (of == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    core_set_owner(env, of, &pid);
    return nif_am.am_ok;
}

/* ---- Making, closing ---- */

static bool
mark_views(channel *c)
{
    core *of = core_of(&channel_kind, c);
    if (of != NULL) {
        core_mark(of);
    }
    return of != NULL;
}

ERL_NIF_TERM
channel_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 max_bytes = CHANNEL_UNLIMITED;
    ERL_NIF_TERM term;
    (void)argc;
    if (!enif_is_identical(argv[0], nif_am.am_infinity) &&
        (!enif_get_uint64(env, argv[0], &max_bytes) || max_bytes == 0)) {
        return enif_make_badarg(env);
    }
    channel *c = channel_new(max_bytes);
    bool views = enif_is_identical(argv[1], nif_am.am_true);
    bool made = c != NULL && (!views || mark_views(c)) && channel_term(env, c, &term);
    channel_release(c);
    return made ? enif_make_tuple2(env, nif_am.am_ok, term)
                : error_tuple(env, nif_am.am_enomem);
}

static ERL_NIF_TERM
close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    ErlNifEnv *before = nif_env_enter(env);
    channel_close(channel_of_term(env, argv[0]));
    nif_env_leave(before);
    return nif_am.am_ok;
}

ERL_NIF_TERM
channel_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    channel *c = channel_of_term(env, argv[0]);
    if (c == NULL) {
        return enif_make_badarg(env);
    }
    if (has_many_waiting(c)) {
        return enif_schedule_nif(env, "channel_close", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                                 close_nif, argc, argv);
    }
    return close_nif(env, argc, argv);
}

/* ---- Looking ---- */

static ERL_NIF_TERM
outbox_term(ErlNifEnv *env, const channel_info *info)
{
    ERL_NIF_TERM map;
    ERL_NIF_TERM keys[] = {nif_am.am_size, nif_am.am_messages,
                           nif_am.am_waiting_senders, nif_am.am_waiting_receivers};
    ERL_NIF_TERM values[] = {
        enif_make_uint64(env, info->way[CHANNEL_OUT].size_bytes),
        enif_make_uint64(env, info->way[CHANNEL_OUT].messages),
        enif_make_uint(env, info->way[CHANNEL_OUT].senders),
        enif_make_uint(env, info->way[CHANNEL_OUT].receivers),
    };
    enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

ERL_NIF_TERM
channel_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    channel_info info;
    ERL_NIF_TERM map;
    channel *c = channel_of_term(env, argv[0]);
    (void)argc;
    if (c == NULL) {
        return enif_make_badarg(env);
    }
    channel_get_info(c, &info);
    ERL_NIF_TERM keys[] = {
        nif_am.am_size,   nif_am.am_messages,        nif_am.am_max_size,
        nif_am.am_closed, nif_am.am_waiting_senders, nif_am.am_waiting_receivers,
        nif_am.am_outbox,
    };
    ERL_NIF_TERM values[] = {
        enif_make_uint64(env, info.way[CHANNEL_IN].size_bytes),
        enif_make_uint64(env, info.way[CHANNEL_IN].messages),
        info.max_bytes == CHANNEL_UNLIMITED ? nif_am.am_infinity
                                            : enif_make_uint64(env, info.max_bytes),
        info.closed ? nif_am.am_true : nif_am.am_false,
        enif_make_uint(env, info.way[CHANNEL_IN].senders),
        enif_make_uint(env, info.way[CHANNEL_IN].receivers),
        outbox_term(env, &info),
    };
    enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

/* A process that does nothing but send or receive is to be taken off its scheduler in
 * time: copying a term takes about 5 ns for a byte of its size. */
static void
charge(ErlNifEnv *env, uint64_t size_bytes)
{
    uint64_t percent = size_bytes / 2000;
    if (percent > 0) {
        enif_consume_timeslice(env, percent < 100 ? (int)percent : 100);
    }
}

/* ---- Sending ---- */

static ERL_NIF_TERM
send_measured(ErlNifEnv *env, const ERL_NIF_TERM argv[], weight w, uint64_t size_bytes,
              cargo *load, channel_send_fn *send)
{
    ErlNifEnv *before = nif_env_enter(env);
    nif_message *message = message_of_term(argv[1], w, size_bytes, load);
    ERL_NIF_TERM answer = message != NULL ? send(env, argv, message)
                                          : channel_status_term(env, STREAM_NOMEM);
    nif_env_leave(before);
    return answer;
}

/* What needs no environment of its own.  NULL: it does, or there is no memory. */
static nif_message *
small_message(ErlNifEnv *env, ERL_NIF_TERM term)
{
    ErlNifBinary binary;
    uint64_t size_bytes;
    unsigned char flat[FLAT_MAX_BYTES];
    if (enif_inspect_binary(env, term, &binary)) {
        return binary.size <= MESSAGE_MAX_BYTES ? message_of_binary(&binary) : NULL;
    }
    size_t size = flat_write(env, term, flat, &size_bytes);
    return size != 0 ? message_of_flat(flat, size, size_bytes) : NULL;
}

static ERL_NIF_TERM
send_message(ErlNifEnv *env, const ERL_NIF_TERM argv[], nif_message *message,
             channel_send_fn *send)
{
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = send(env, argv, message);
    nif_env_leave(before);
    return answer;
}

ERL_NIF_TERM
channel_send_whole(ErlNifEnv *env, const ERL_NIF_TERM argv[], channel_send_fn *send)
{
    cargo load = {0};
    uint64_t size_bytes;
    if (!measure_message(env, argv[1], &load, &size_bytes)) {
        cargo_clear(&load);
        return channel_status_term(env, STREAM_NOMEM);
    }
    return send_measured(env, argv, WEIGHT_LARGE, size_bytes, &load, send);
}

ERL_NIF_TERM
channel_send_weighed(ErlNifEnv *env, const char *name, int argc,
                     const ERL_NIF_TERM argv[], channel_send_fn *send,
                     ERL_NIF_TERM (*whole)(ErlNifEnv *, int, const ERL_NIF_TERM[]))
{
    nif_message *small = small_message(env, argv[1]);
    if (small != NULL) {
        return send_message(env, argv, small, send);
    }
    cargo load = {0};
    uint64_t size_bytes;
    weight w = weigh_message(env, argv[1], &load, &size_bytes);
    if (w != WEIGHT_LARGE) {
        charge(env, size_bytes);
        return send_measured(env, argv, w, size_bytes, &load, send);
    }
    cargo_clear(&load);
    return enif_schedule_nif(env, name, ERL_NIF_DIRTY_JOB_CPU_BOUND, whole, argc, argv);
}

static ERL_NIF_TERM
send_now(ErlNifEnv *env, const ERL_NIF_TERM argv[], nif_message *message)
{
    stream_status status =
        channel_send(channel_of_term(env, argv[0]), CHANNEL_IN, &message->base.base);
    if (status != STREAM_OK) {
        message_release(message);
    }
    return channel_status_term(env, status);
}

static ERL_NIF_TERM
send_whole_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return channel_send_whole(env, argv, send_now);
}

/* Known before a term is copied for nothing. */
static stream_status
foresee(const channel_handle *handle)
{
    channel_info info;
    if (channel_is_closed(handle->c)) {
        return STREAM_CLOSED;
    }
    if (!handle->limited) {
        return STREAM_OK;
    }
    channel_get_info(handle->c, &info);
    return info.way[CHANNEL_IN].senders != 0 ||
                   (info.way[CHANNEL_IN].messages != 0 &&
                    info.way[CHANNEL_IN].size_bytes >= info.max_bytes)
               ? STREAM_BUSY
               : STREAM_OK;
}

ERL_NIF_TERM
channel_send_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    channel_handle *handle = channel_handle_of(env, argv[0]);
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    stream_status status = foresee(handle);
    if (status != STREAM_OK) {
        return channel_status_term(env, status);
    }
    return channel_send_weighed(env, "channel_send", argc, argv, send_now,
                                send_whole_nif);
}

/* ---- Receiving ---- */

static ERL_NIF_TERM
put_back(ErlNifEnv *env, channel *c, nif_message *message)
{
    channel_unreceive(c, CHANNEL_OUT, &message->base.base);
    return channel_status_term(env, STREAM_NOMEM);
}

static ERL_NIF_TERM
take_large(ErlNifEnv *env, channel *c, nif_message *message)
{
    taken_message *taken = enif_alloc_resource(taken_type, sizeof *taken);
    if (taken == NULL) {
        return put_back(env, c, message);
    }
    taken->c = channel_share(c);
    taken->message = (term_message *)(void *)message;
    ERL_NIF_TERM term = enif_make_resource(env, taken);
    enif_release_resource(taken);
    return enif_make_tuple2(env, nif_am.am_large, term);
}

ERL_NIF_TERM
channel_take(ErlNifEnv *env, channel *c)
{
    channel_item *item;
    stream_status status = channel_receive(c, CHANNEL_OUT, &item);
    if (status != STREAM_OK) {
        return status == STREAM_AGAIN ? nif_am.am_empty
                                      : channel_status_term(env, status);
    }
    nif_message *message = message_of_item(item);
    if (message_is_large(message)) {
        return take_large(env, c, message);
    }
    ERL_NIF_TERM term;
    if (!message_copy(message, env, &term)) {
        return put_back(env, c, message);
    }
    charge(env, item->size_bytes);
    message_release(message);
    return enif_make_tuple2(env, nif_am.am_ok, term);
}

ERL_NIF_TERM
channel_receive_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    channel *c = channel_of_term(env, argv[0]);
    (void)argc;
    if (c == NULL) {
        return enif_make_badarg(env);
    }
    ErlNifEnv **here = nif_env_here();
    *here = env;
    ERL_NIF_TERM answer = channel_take(env, c);
    *here = NULL;
    return answer;
}

/* Sends {py_channel, Ref, Term} to the caller. */
ERL_NIF_TERM
channel_fetch_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    ErlNifPid self;
    (void)argc;
    if (!enif_get_resource(env, argv[0], taken_type, &object) ||
        ((taken_message *)object)->message == NULL) {
        return enif_make_badarg(env);
    }
    term_message *message = ((taken_message *)object)->message;
    ((taken_message *)object)->message = NULL;
    enif_self(env, &self);
    ERL_NIF_TERM ref = enif_make_copy(message->env, argv[1]);
    enif_send(env, &self, message->env,
              enif_make_tuple3(message->env, nif_am.am_py_channel, ref, message->term));
    message_release(&message->head);
    return nif_am.am_ok;
}
