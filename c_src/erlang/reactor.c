#include "reactor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "atoms.h"
#include "fork.h"
#include "message.h"
#include "nif_env.h"
#include "runtime.h"
#include "shared.h"
#include "weight.h"

typedef struct reactor_handle {
    reactor *r;
    ErlNifPid process; /* hears of readiness */
    ErlNifMonitor monitor;
} reactor_handle;

typedef struct nif_connection {
    connection base; /* first */
    ErlNifPid process;
} nif_connection;

static ErlNifResourceType *handle_type, *connection_type;

/* ---- Connections ---- */

static int
watch(connection *c, int event)
{
    nif_connection *self = (nif_connection *)(void *)c;
    enum ErlNifSelectFlags mode =
        event == REACTOR_READABLE ? ERL_NIF_SELECT_READ : ERL_NIF_SELECT_WRITE;
    int result =
        enif_select(NULL, c->fd, mode, self, &self->process, nif_am.am_undefined);
    return result < 0 ? EBADF : 0;
}

/* The stop callback is called, or will be; but not for a descriptor whose number is
 * beyond what the node can watch, which then has never been watched. */
static void
unwatch(connection *c)
{
    if (!nif_forked() && enif_select(NULL, c->fd, ERL_NIF_SELECT_STOP, c, NULL,
                                     nif_am.am_undefined) < 0) {
        connection_close_descriptor(c);
    }
}

static void
share_connection(connection *c)
{
    enif_keep_resource(c);
}

static void
release_connection(connection *c)
{
    if (!nif_forked()) {
        enif_release_resource(c);
    }
}

static const reactor_host host = {
    .watch = watch,
    .unwatch = unwatch,
    .share = share_connection,
    .release = release_connection,
};

static void
stop_connection(ErlNifEnv *env, void *object, ErlNifEvent event, int is_direct_call)
{
    (void)env;
    (void)event;
    (void)is_direct_call;
    connection_close_descriptor(object);
}

static void
destroy_connection(ErlNifEnv *env, void *object)
{
    connection *c = object;
    ErlNifEnv *before = nif_env_enter(env);
    if (c->info != NULL) {
        message_release(c->info);
    }
    reactor_release(c->home);
    nif_env_leave(before);
}

/* ---- The reactor's end ---- */

static void *
close_all(void *arg)
{
    while (reactor_close_one(arg)) {
    }
    reactor_release(arg);
    return NULL;
}

/* Closing many takes a while, on a thread of its own.  The Python thread that serves
 * them hears of it, and tells their protocols. */
static void
end_reactor(reactor *r)
{
    reactor_info info;
    reactor_close(r);
    reactor_get_info(r, &info);
    if (info.active > 0 && !runtime_spawn_helper(close_all, reactor_share(r))) {
        close_all(r);
    }
}

static void
process_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)pid;
    (void)monitor;
    ErlNifEnv *before = nif_env_enter(env);
    end_reactor(((reactor_handle *)object)->r);
    nif_env_leave(before);
}

static void
destroy_handle(ErlNifEnv *env, void *object)
{
    reactor_handle *handle = object;
    if (handle->r == NULL) {
        return;
    }
    ErlNifEnv *before = nif_env_enter(env);
    end_reactor(handle->r);
    reactor_release(handle->r);
    nif_env_leave(before);
}

int
reactor_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit handles = {.dtor = destroy_handle, .down = process_down};
    ErlNifResourceTypeInit connections = {.dtor = destroy_connection,
                                          .stop = stop_connection};
    handle_type = nif_open_type(env, "erlpy_reactor", &handles, flags);
    connection_type = nif_open_type(env, "erlpy_connection", &connections, flags);
    return handle_type == NULL || connection_type == NULL ? -1 : 0;
}

static reactor_handle *
handle_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, handle_type, &object) ? object : NULL;
}

reactor *
reactor_of_term(ErlNifEnv *env, ERL_NIF_TERM term)
{
    reactor_handle *handle = handle_of(env, term);
    return handle != NULL ? handle->r : NULL;
}

/* ---- NIFs ---- */

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

ERL_NIF_TERM
reactor_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifUInt64 max;
    (void)argc;
    if (!enif_get_uint64(env, argv[0], &max)) {
        return enif_make_badarg(env);
    }
    reactor_handle *handle = enif_alloc_resource(handle_type, sizeof *handle);
    if (handle == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    handle->r = reactor_new(max);
    enif_self(env, &handle->process);
    ERL_NIF_TERM answer = error_tuple(env, nif_am.am_enomem);
    if (handle->r != NULL &&
        enif_monitor_process(env, handle, &handle->process, &handle->monitor) == 0) {
        answer = enif_make_tuple2(env, nif_am.am_ok, enif_make_resource(env, handle));
    }
    enif_release_resource(handle);
    return answer;
}

/* What was told at the handoff, with the buffers in it. */
typedef struct handed_info {
    ERL_NIF_TERM term;
    weight w;
    cargo load;
} handed_info;

static ERL_NIF_TERM
error_of_errno(int error)
{
    switch (error) {
    case EMFILE:
        return nif_am.am_emfile;
    case ENFILE:
        return nif_am.am_enfile;
    default:
        return nif_am.am_badfd;
    }
}

/* Takes the descriptor, and the load. */
static ERL_NIF_TERM
add_connection(ErlNifEnv *env, reactor_handle *handle, int fd, handed_info *info)
{
    nif_connection *self = enif_alloc_resource(connection_type, sizeof *self);
    if (self == NULL) {
        cargo_clear(&info->load);
        close(fd);
        return error_tuple(env, nif_am.am_enomem);
    }
    connection *c = &self->base;
    int error = connection_init(c, fd, &host);
    self->process = handle->process;
    ERL_NIF_TERM answer = nif_am.am_ok;
    if (error != 0) {
        answer = error_tuple(env, error_of_errno(error));
        cargo_clear(&info->load);
    } else if ((c->info = message_of_term(info->term, info->w, 0, &info->load)) ==
               NULL) {
        answer = error_tuple(env, nif_am.am_enomem);
    } else {
        switch (reactor_add(handle->r, c)) {
        case REACTOR_FULL:
            answer = error_tuple(env, nif_am.am_too_many_connections);
            break;
        case REACTOR_IS_CLOSED:
            answer = error_tuple(env, nif_am.am_closed);
            break;
        case REACTOR_ADDED:
            break;
        }
    }
    if (!enif_is_identical(answer, nif_am.am_ok)) {
        unwatch(c);
    }
    enif_release_resource(self);
    return answer;
}

/* Takes the load. */
static ERL_NIF_TERM
hand_over(ErlNifEnv *env, const ERL_NIF_TERM argv[], handed_info *info)
{
    int fd;
    reactor_handle *handle = handle_of(env, argv[0]);
    if (handle == NULL || !enif_get_int(env, argv[1], &fd)) {
        cargo_clear(&info->load);
        return enif_make_badarg(env);
    }
    int copy = connection_dup(fd);
    if (copy < 0) {
        cargo_clear(&info->load);
        return error_tuple(env, error_of_errno(-copy));
    }
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = add_connection(env, handle, copy, info);
    nif_env_leave(before);
    return answer;
}

static ERL_NIF_TERM
handoff_large_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    handed_info info = {.term = argv[2], .w = WEIGHT_LARGE};
    (void)argc;
    if (!weigh_cargo(env, argv[2], &info.load)) {
        cargo_clear(&info.load);
        return error_tuple(env, nif_am.am_enomem);
    }
    return hand_over(env, argv, &info);
}

ERL_NIF_TERM
reactor_handoff_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    handed_info info = {.term = argv[2]};
    info.w = weigh(env, argv[2], &info.load);
    if (info.w != WEIGHT_LARGE) {
        return hand_over(env, argv, &info);
    }
    cargo_clear(&info.load);
    return enif_schedule_nif(env, "reactor_handoff", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                             handoff_large_nif, argc, argv);
}

ERL_NIF_TERM
reactor_ready_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], connection_type, &object)) {
        return enif_make_badarg(env);
    }
    connection_ready(object, enif_is_identical(argv[1], nif_am.am_ready_input)
                                 ? REACTOR_READABLE
                                 : REACTOR_WRITABLE);
    return nif_am.am_ok;
}

ERL_NIF_TERM
reactor_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    reactor *r = reactor_of_term(env, argv[0]);
    (void)argc;
    if (r == NULL) {
        return enif_make_badarg(env);
    }
    reactor_close(r);
    return nif_am.am_ok;
}

ERL_NIF_TERM
reactor_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    reactor *r = reactor_of_term(env, argv[0]);
    (void)argc;
    if (r == NULL) {
        return enif_make_badarg(env);
    }
    reactor_info info;
    reactor_get_info(r, &info);
    ERL_NIF_TERM keys[] = {nif_am.am_active_connections, nif_am.am_total_connections,
                           nif_am.am_max_connections, nif_am.am_bytes_in,
                           nif_am.am_bytes_out};
    ERL_NIF_TERM values[] = {
        enif_make_uint64(env, info.active), enif_make_uint64(env, info.total),
        enif_make_uint64(env, info.max), enif_make_uint64(env, info.bytes_in),
        enif_make_uint64(env, info.bytes_out)};
    ERL_NIF_TERM map;
    enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

ERL_NIF_TERM
dup_fd_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    int fd;
    (void)argc;
    if (!enif_get_int(env, argv[0], &fd)) {
        return enif_make_badarg(env);
    }
    int copy = connection_dup(fd);
    return copy < 0 ? error_tuple(env, error_of_errno(-copy))
                    : enif_make_tuple2(env, nif_am.am_ok, enif_make_int(env, copy));
}
