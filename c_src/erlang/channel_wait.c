/*
 * channel_wait.c: processes that wait for a channel.
 *
 * A send that waits for room leaves its message with the channel:
 *
 *   state      by                                    then
 *   PARKED  -> decided    whoever made room, closed   it sends {py_sent, Ref, Result}
 *   PARKED  -> cancelled  the sender, or its death    nothing was or is sent
 *
 * A receive that waits is told, not given:
 *
 *   state        by                                  then
 *   LISTENING -> told       whoever sent, closed      it sends {py_channel, Ref}
 *   LISTENING -> cancelled  the receiver, its death
 *   told      -> looked     the receiver              it takes what there is
 *   told      -> passed on  its death                 the next one is told
 *
 * The channel's list is the one place where the first steps are decided
 * (channel_unpark, channel_unlisten); the monitor is where the last ones are: it is
 * taken away by the look, or it reports the death.  Each holds a reference to the wait,
 * which the one who decides drops.
 */
#include <stddef.h>
#include <string.h>

#include "atoms.h"
#include "channel.h"
#include "fork.h"
#include "nif_env.h"
#include "shared.h"
#include "waiter.h"

typedef struct send_wait {
    channel_sender sender;  /* first */
    channel *c;             /* shared, for as long as the sender may ask */
    channel_handle *handle; /* kept until decided: a send that waits is a holder */
    waiter process;
} send_wait;

typedef struct receive_wait {
    channel_receiver receiver; /* first */
    channel *c;                /* shared */
    waiter process;
} receive_wait;

static ErlNifResourceType *send_type, *receive_type;

static void
destroy_send(ErlNifEnv *env, void *object)
{
    send_wait *wait = object;
    ErlNifEnv *before = nif_env_enter(env);
    waiter_free(&wait->process);
    channel_release(wait->c);
    nif_env_leave(before);
}

static void
destroy_receive(ErlNifEnv *env, void *object)
{
    receive_wait *wait = object;
    ErlNifEnv *before = nif_env_enter(env);
    waiter_free(&wait->process);
    channel_release(wait->c);
    nif_env_leave(before);
}

/* ---- Sends ---- */

/* By the one who has decided. */
static void
let_go(send_wait *wait)
{
    if (wait->sender.item != NULL) {
        message_release(message_of_item(wait->sender.item));
        wait->sender.item = NULL;
    }
    nif_demonitor(wait, &wait->process.monitor);
    enif_release_resource(wait->handle);
    enif_release_resource(wait);
}

static void
tell_sender(channel_sender *sender, stream_status status)
{
    send_wait *wait = (send_wait *)(void *)sender;
    if (nif_forked()) {
        return;
    }
    waiter_tell(&wait->process, nif_am.am_py_sent,
                channel_status_term(wait->process.env, status));
    let_go(wait);
}

static bool
give_up_send(ErlNifEnv *env, send_wait *wait)
{
    ErlNifEnv *before = nif_env_enter(env);
    bool cancelled = channel_unpark(wait->c, CHANNEL_IN, &wait->sender);
    if (cancelled) {
        let_go(wait);
    }
    nif_env_leave(before);
    return cancelled;
}

static void
sender_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)pid;
    (void)monitor;
    give_up_send(env, object);
}

/* One reference for the caller.  NULL: no memory, or the process is on its way out. */
static send_wait *
new_send_wait(ErlNifEnv *env, channel_handle *handle, ERL_NIF_TERM ref)
{
    send_wait *wait = enif_alloc_resource(send_type, sizeof *wait);
    if (wait == NULL) {
        return NULL;
    }
    memset(wait, 0, sizeof *wait);
    wait->sender.notify = tell_sender;
    wait->c = channel_share(handle->c);
    wait->handle = handle;
    if (!waiter_begin(env, &wait->process, wait, ref)) {
        enif_release_resource(wait);
        return NULL;
    }
    return wait;
}

/* argv: {Channel, Term, Ref}.  On a dirty scheduler the process may die at any time:
 * before it was in the list its death was told for nothing. */
static ERL_NIF_TERM
park_message(ErlNifEnv *env, const ERL_NIF_TERM argv[], nif_message *message)
{
    channel_handle *handle = channel_handle_of(env, argv[0]);
    send_wait *wait = new_send_wait(env, handle, argv[2]);
    if (wait == NULL) {
        message_release(message);
        return channel_status_term(env, STREAM_NOMEM);
    }
    wait->sender.item = &message->base.base;
    enif_keep_resource(handle);
    enif_keep_resource(wait);
    stream_status status = channel_park(handle->c, CHANNEL_IN, &wait->sender);
    ERL_NIF_TERM answer;
    if (status == STREAM_AGAIN) {
        answer = enif_make_resource(env, wait);
        if (!enif_is_current_process_alive(env)) {
            give_up_send(env, wait);
        }
    } else {
        answer = channel_status_term(env, status);
        let_go(wait);
    }
    enif_release_resource(wait);
    return answer;
}

static ERL_NIF_TERM
park_whole_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return channel_send_whole(env, argv, park_message);
}

ERL_NIF_TERM
channel_park_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    if (channel_handle_of(env, argv[0]) == NULL || !enif_is_ref(env, argv[2])) {
        return enif_make_badarg(env);
    }
    return channel_send_weighed(env, "channel_park", argc, argv, park_message,
                                park_whole_nif);
}

ERL_NIF_TERM
channel_unpark_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], send_type, &object)) {
        return enif_make_badarg(env);
    }
    return give_up_send(env, object) ? nif_am.am_cancelled : nif_am.am_replied;
}

/* ---- Receives ---- */

static bool
tell_receiver(channel_receiver *receiver)
{
    receive_wait *wait = (receive_wait *)(void *)receiver;
    if (nif_forked()) {
        return false;
    }
    bool told = waiter_tell(&wait->process, nif_am.am_py_channel, 0);
    enif_release_resource(wait);
    return told;
}

/* The list lets go of it.  False: it has been told, or is about to be. */
static bool
delist(receive_wait *wait)
{
    bool listening = channel_unlisten(wait->c, CHANNEL_OUT, &wait->receiver);
    if (listening) {
        enif_release_resource(wait);
    }
    return listening;
}

static void
receiver_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    receive_wait *wait = object;
    (void)pid;
    (void)monitor;
    ErlNifEnv *before = nif_env_enter(env);
    if (!delist(wait)) {
        channel_pass(wait->c, CHANNEL_OUT);
    }
    enif_release_resource(wait);
    nif_env_leave(before);
}

/* From here on its death is that of a process that does not wait. */
static void
unwatch(ErlNifEnv *env, receive_wait *wait)
{
    if (enif_demonitor_process(env, wait, &wait->process.monitor) == 0) {
        enif_release_resource(wait);
    }
}

/* With the references of the list and of the monitor. */
static ERL_NIF_TERM
listen(ErlNifEnv *env, receive_wait *wait)
{
    ERL_NIF_TERM term = enif_make_resource(env, wait);
    enif_keep_resource(wait);
    if (channel_listen(wait->c, CHANNEL_OUT, &wait->receiver) == STREAM_AGAIN) {
        return term;
    }
    enif_release_resource(wait);
    unwatch(env, wait);
    return nif_am.am_empty;
}

/* As channel_take(), or the wait; `empty`: there may be something by now. */
static ERL_NIF_TERM
take_or_listen(ErlNifEnv *env, channel *c, ERL_NIF_TERM ref)
{
    ERL_NIF_TERM answer = channel_take(env, c);
    if (!enif_is_identical(answer, nif_am.am_empty)) {
        return answer;
    }
    receive_wait *wait = enif_alloc_resource(receive_type, sizeof *wait);
    if (wait == NULL) {
        return channel_status_term(env, STREAM_NOMEM);
    }
    memset(wait, 0, sizeof *wait);
    wait->receiver.notify = tell_receiver;
    wait->c = channel_share(c);
    if (waiter_begin(env, &wait->process, wait, ref)) {
        return listen(env, wait);
    }
    enif_release_resource(wait);
    return channel_status_term(env, STREAM_NOMEM);
}

ERL_NIF_TERM
channel_listen_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    channel *c = channel_of_term(env, argv[0]);
    (void)argc;
    if (c == NULL || !enif_is_ref(env, argv[1])) {
        return enif_make_badarg(env);
    }
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = take_or_listen(env, c, argv[1]);
    nif_env_leave(before);
    return answer;
}

/* By a process that was told. */
ERL_NIF_TERM
channel_look_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], receive_type, &object)) {
        return enif_make_badarg(env);
    }
    receive_wait *wait = object;
    ErlNifEnv *before = nif_env_enter(env);
    unwatch(env, wait);
    ERL_NIF_TERM answer = channel_take(env, wait->c);
    nif_env_leave(before);
    return answer;
}

ERL_NIF_TERM
channel_unlisten_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], receive_type, &object)) {
        return enif_make_badarg(env);
    }
    if (!delist(object)) {
        return nif_am.am_replied;
    }
    unwatch(env, object);
    return nif_am.am_cancelled;
}

int
channel_wait_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit sends = {.dtor = destroy_send, .down = sender_down};
    ErlNifResourceTypeInit receives = {.dtor = destroy_receive, .down = receiver_down};
    send_type = nif_open_type(env, "erlpy_channel_send", &sends, flags);
    receive_type = nif_open_type(env, "erlpy_channel_receive", &receives, flags);
    return send_type == NULL || receive_type == NULL ? -1 : 0;
}
