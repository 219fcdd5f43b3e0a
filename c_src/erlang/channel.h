/*
 * channel.h: the resource behind an Erlang channel term, and its NIFs.
 *
 *   term --> handle --.
 *   term --> handle ---+--> channel <-- Channel, ...
 *   parked send -------'      `--> core (core.h), once there is something to keep
 *
 * A term refers to a handle; the channel behind it is counted apart and lives on in
 * Python when the last term is gone.  The handles are the channel's holders: with the
 * last one it closes.
 *
 *   channel.c       handles: making, closing, looking; messages that do not wait
 *   channel_wait.c  sends that wait for room, receives that wait for a message
 */
#ifndef ERLPY_NIF_CHANNEL_H
#define ERLPY_NIF_CHANNEL_H

#include <erl_nif.h>

#include "../stream/channel.h"
#include "message.h"

typedef struct channel_handle {
    channel *c;
    bool limited; /* it has a max_size */
} channel_handle;

int channel_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);
int channel_wait_open_types(ErlNifEnv *env, ErlNifResourceFlags flags);

/* The handle, or its channel, of a channel term (borrowed: valid while the term is), or
 * NULL. */
channel_handle *channel_handle_of(ErlNifEnv *env, ERL_NIF_TERM term);
channel *channel_of_term(ErlNifEnv *env, ERL_NIF_TERM term);
/* A term over the channel (shares it) with a handle of its own.  False: no memory. */
bool channel_term(ErlNifEnv *env, channel *c, ERL_NIF_TERM *term);
/* Large binaries in its messages are to be memoryviews in Python. */
bool channel_gives_views(channel *c);

/* ok, {error, closed} and the like. */
ERL_NIF_TERM channel_status_term(ErlNifEnv *env, stream_status status);
/* The next message to Erlang: {ok, Term}, {large, Taken}, empty, {error, closed}. */
ERL_NIF_TERM channel_take(ErlNifEnv *env, channel *c);

/* py_nif:channel_new(MaxSize | infinity, Views) */
ERL_NIF_TERM channel_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_send(Channel, Term) */
ERL_NIF_TERM channel_send_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_receive(Channel) */
ERL_NIF_TERM channel_receive_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_fetch(Taken, Ref) */
ERL_NIF_TERM channel_fetch_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_close(Channel) */
ERL_NIF_TERM channel_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_set_owner(Channel, Pid) */
ERL_NIF_TERM channel_set_owner_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_info(Channel) */
ERL_NIF_TERM channel_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* py_nif:channel_park(Channel, Term, Ref) */
ERL_NIF_TERM channel_park_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_unpark(Wait) */
ERL_NIF_TERM channel_unpark_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_listen(Channel, Ref) */
ERL_NIF_TERM channel_listen_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_look(Wait) */
ERL_NIF_TERM channel_look_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* py_nif:channel_unlisten(Wait) */
ERL_NIF_TERM channel_unlisten_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* A term that has been made a message of, by a NIF in nif_env_enter(). */
typedef ERL_NIF_TERM channel_send_fn(ErlNifEnv *env, const ERL_NIF_TERM argv[],
                                     nif_message *message);
/* Makes a message of argv[1] and sends it; on a dirty scheduler, under `name`, when it
 * is large. */
ERL_NIF_TERM channel_send_weighed(ErlNifEnv *env, const char *name, int argc,
                                  const ERL_NIF_TERM argv[], channel_send_fn *send,
                                  ERL_NIF_TERM (*whole)(ErlNifEnv *, int,
                                                        const ERL_NIF_TERM[]));
/* On a dirty scheduler. */
ERL_NIF_TERM channel_send_whole(ErlNifEnv *env, const ERL_NIF_TERM argv[],
                                channel_send_fn *send);

#endif
