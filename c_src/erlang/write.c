/*
 * write.c: writes, and those that wait for room.
 *
 * A write goes straight to the stream when it is one binary.  A list of binaries is
 * built up in a batch, a slice at a time so that no scheduler is held, and linked in
 * one step at its end:
 *
 *   buffer_write --> task {batch, rest of the list} --yield--> ... --> stream_commit
 *
 * A process that dies half-way leaves a task without references, which frees the batch.
 *
 * buffer_write never waits: `busy` says that nothing was taken.  buffer_park builds a
 * batch in any case and leaves it with the stream when there is no room:
 *
 *   state      by                                   then
 *   PARKED  -> decided    whoever made room, closed  it sends {py_written, Ref, Result}
 *   PARKED  -> cancelled  the writer, or its death   nothing of it was or is written
 *
 * The stream's queue is the one place where that is decided (stream_unpark).  The queue
 * holds a reference to the wait, which the one who decides drops.
 */
#include <stddef.h>
#include <string.h>

#include "atoms.h"
#include "binary.h"
#include "buffer.h"
#include "fork.h"
#include "nif_env.h"
#include "shared.h"
#include "waiter.h"

/* A binary of this size or more becomes a segment as it is; smaller ones are copied.
 * Adopting costs 72 ns (hot) to 2 us (cold), about what copying 2 KiB does. */
#define ADOPT_MIN_BYTES 2048
/* Work of one slice in bytes copied: well under 1 ms also into fresh memory. */
#define SLICE_BYTES ((size_t)256 << 10)
/* What an element of a list costs besides its bytes. */
#define ELEMENT_COST 512

typedef struct write_task {
    stream_batch batch;
} write_task;

typedef struct write_wait {
    stream_parked parked;
    stream *s;             /* shared, for as long as the writer may ask */
    buffer_handle *handle; /* kept until decided: a write that waits is a writer */
    waiter writer;
} write_wait;

static ErlNifResourceType *task_type, *wait_type;

static void
destroy_task(ErlNifEnv *env, void *object)
{
    write_task *task = object;
    (void)env;
    stream_batch_clear(&task->batch);
}

static void
destroy_wait(ErlNifEnv *env, void *object)
{
    write_wait *wait = object;
    ErlNifEnv *before = nif_env_enter(env);
    waiter_free(&wait->writer);
    stream_release(wait->s);
    nif_env_leave(before);
}

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

/* `aborted`: buffer_reason() tells why. */
static ERL_NIF_TERM
status_term(ErlNifEnv *env, stream_status status)
{
    switch (status) {
    case STREAM_OK:
        return nif_am.am_ok;
    case STREAM_BUSY:
        return nif_am.am_busy;
    case STREAM_ABORTED:
        return nif_am.am_aborted;
    case STREAM_CLOSED:
        return error_tuple(env, nif_am.am_closed);
    case STREAM_TOO_LARGE:
        return error_tuple(env, nif_am.am_too_large);
    default:
        return error_tuple(env, nif_am.am_enomem);
    }
}

/* ---- Waiting for room ---- */

/* By the one who has decided. */
static void
let_go(write_wait *wait)
{
    stream_batch_clear(&wait->parked.batch);
    nif_demonitor(wait, &wait->writer.monitor);
    enif_release_resource(wait->handle);
    enif_release_resource(wait);
}

static void
tell_writer(stream_parked *parked, stream_status status)
{
    write_wait *wait =
        (write_wait *)(void *)((char *)parked - offsetof(write_wait, parked));
    if (nif_forked()) {
        return;
    }
    waiter_tell(&wait->writer, nif_am.am_py_written,
                status_term(wait->writer.env, status));
    let_go(wait);
}

static bool
give_up(ErlNifEnv *env, write_wait *wait)
{
    ErlNifEnv *before = nif_env_enter(env);
    bool cancelled = stream_unpark(wait->s, &wait->parked);
    if (cancelled) {
        let_go(wait);
    }
    nif_env_leave(before);
    return cancelled;
}

static void
writer_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)pid;
    (void)monitor;
    give_up(env, object);
}

/* One reference for the caller.  NULL: no memory, or the process is on its way out. */
static write_wait *
make_wait(ErlNifEnv *env, buffer_handle *handle, ERL_NIF_TERM ref)
{
    write_wait *wait = enif_alloc_resource(wait_type, sizeof *wait);
    if (wait == NULL) {
        return NULL;
    }
    memset(wait, 0, sizeof *wait);
    wait->parked.notify = tell_writer;
    wait->s = stream_share(handle->s);
    wait->handle = handle;
    if (!waiter_begin(env, &wait->writer, wait, ref)) {
        enif_release_resource(wait);
        return NULL;
    }
    return wait;
}

/* Takes what it can of the batch: ok and the like, or the wait. */
static ERL_NIF_TERM
park_batch(ErlNifEnv *env, buffer_handle *handle, stream_batch *batch, ERL_NIF_TERM ref)
{
    write_wait *wait = make_wait(env, handle, ref);
    if (wait == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    enif_keep_resource(handle);
    enif_keep_resource(wait);
    stream_status status = stream_park(handle->s, batch, &wait->parked);
    ERL_NIF_TERM answer;
    if (status == STREAM_AGAIN) {
        answer = enif_make_resource(env, wait);
    } else {
        answer = status_term(env, status);
        let_go(wait);
    }
    enif_release_resource(wait);
    return answer;
}

ERL_NIF_TERM
buffer_unpark_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], wait_type, &object)) {
        return enif_make_badarg(env);
    }
    return give_up(env, object) ? nif_am.am_cancelled : nif_am.am_replied;
}

int
write_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceTypeInit tasks = {.dtor = destroy_task};
    ErlNifResourceTypeInit waits = {.dtor = destroy_wait, .down = writer_down};
    task_type = nif_open_type(env, "erlpy_write", &tasks, flags);
    wait_type = nif_open_type(env, "erlpy_wait", &waits, flags);
    return task_type == NULL || wait_type == NULL ? -1 : 0;
}

/* ---- Binaries ---- */

/* `held_bytes`: the size of what the binary is a part of. */
static stream_status
batch_binary(ErlNifEnv *env, stream_batch *batch, ERL_NIF_TERM binary,
             size_t held_bytes)
{
    ErlNifIOVec *iovec = binary_keep(env, binary);
    if (iovec == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = stream_batch_adopt(
        batch, iovec->iov[0].iov_base, iovec->iov[0].iov_len, binary_release, iovec);
    if (status != STREAM_OK) {
        enif_free_iovec(iovec);
    } else if (held_bytes != 0) {
        stream_batch_holds(batch, held_bytes);
    }
    return status;
}

static stream_status
adopt_binary(ErlNifEnv *env, stream *s, ERL_NIF_TERM binary)
{
    stream_batch batch = STREAM_BATCH_INIT;
    stream_status status = batch_binary(env, &batch, binary, 0);
    if (status == STREAM_OK) {
        status = stream_commit(s, &batch);
    }
    stream_batch_clear(&batch);
    return status;
}

/* ---- Lists ---- */

/* Where a list write stands: the list, and how much of its head has been copied. */
typedef struct list_place {
    ERL_NIF_TERM rest;
    size_t head_offset;
} list_place;

typedef struct list_element {
    ERL_NIF_TERM binary;
    const unsigned char *data;
    size_t size;
    size_t held_bytes; /* 0: as many as it has */
} list_element;

/* Binary | {Binary, HeldBytes} */
static bool
read_element(ErlNifEnv *env, ERL_NIF_TERM term, list_element *element)
{
    int arity;
    const ERL_NIF_TERM *pair;
    ErlNifUInt64 held = 0;
    ErlNifBinary binary;
    if (!enif_inspect_binary(env, term, &binary)) {
        if (!enif_get_tuple(env, term, &arity, &pair) || arity != 2 ||
            !enif_inspect_binary(env, pair[0], &binary) ||
            !enif_get_uint64(env, pair[1], &held)) {
            return false;
        }
        term = pair[0];
    }
    *element = (list_element){term, binary.data, binary.size, held};
    return true;
}

/* One step on: STREAM_OK, STREAM_AGAIN (the slice is used up), STREAM_NOMEM, or
 * STREAM_RANGE for an element that is no binary. */
static stream_status
batch_head(ErlNifEnv *env, bool copies, stream_batch *batch, list_place *place,
           size_t *budget)
{
    list_element element;
    ERL_NIF_TERM head, tail;
    if (!enif_get_list_cell(env, place->rest, &head, &tail) ||
        !read_element(env, head, &element)) {
        return STREAM_RANGE;
    }
    bool adopt = element.size >= ADOPT_MIN_BYTES && !copies;
    size_t left = adopt ? 0 : element.size - place->head_offset;
    size_t part = left < *budget ? left : *budget;
    stream_status status =
        adopt ? batch_binary(env, batch, element.binary, element.held_bytes)
              : stream_batch_append(batch, element.data + place->head_offset, part);
    if (status != STREAM_OK) {
        return status;
    }
    bool whole = part == left;
    place->head_offset = whole ? 0 : place->head_offset + part;
    place->rest = whole ? tail : place->rest;
    size_t cost = part + ELEMENT_COST;
    *budget = *budget > cost ? *budget - cost : 0;
    return *budget > 0 ? STREAM_OK : STREAM_AGAIN;
}

/* Fills the batch for one slice.  STREAM_OK: the list is at its end. */
static stream_status
batch_slice(ErlNifEnv *env, bool copies, stream_batch *batch, list_place *place)
{
    size_t budget = SLICE_BYTES;
    stream_status status = STREAM_OK;
    while (status == STREAM_OK && !enif_is_empty_list(env, place->rest)) {
        status = batch_head(env, copies, batch, place, &budget);
    }
    if (status == STREAM_AGAIN && enif_is_empty_list(env, place->rest)) {
        status = STREAM_OK;
    }
    return status;
}

/* A write under way: `ref` is the atom none for one that does not wait. */
typedef struct list_write {
    buffer_handle *handle;
    ERL_NIF_TERM buffer;
    ERL_NIF_TERM ref;
} list_write;

static ERL_NIF_TERM
finish_list(ErlNifEnv *env, const list_write *write, stream_batch *batch,
            stream_status status)
{
    ERL_NIF_TERM answer;
    if (status != STREAM_OK) {
        answer =
            status == STREAM_RANGE ? enif_make_badarg(env) : status_term(env, status);
    } else if (enif_is_identical(write->ref, nif_am.am_none)) {
        answer = status_term(env, stream_commit(write->handle->s, batch));
    } else {
        answer = park_batch(env, write->handle, batch, write->ref);
    }
    stream_batch_clear(batch);
    return answer;
}

static ERL_NIF_TERM write_more_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM
yield_list(ErlNifEnv *env, const list_write *write, ERL_NIF_TERM task,
           const list_place *place)
{
    ERL_NIF_TERM argv[] = {write->buffer, write->ref, task, place->rest,
                           enif_make_uint64(env, place->head_offset)};
    enif_consume_timeslice(env, 20);
    return enif_schedule_nif(env, "buffer_write", 0, write_more_nif, 5, argv);
}

/* (Buffer, Ref, Task, Rest, HeadOffset): the second and later slices. */
static ERL_NIF_TERM
write_more_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    write_task *task;
    ErlNifUInt64 head_offset;
    list_write write = {buffer_handle_of(env, argv[0]), argv[0], argv[1]};
    (void)argc;
    if (write.handle == NULL ||
        !enif_get_resource(env, argv[2], task_type, (void **)&task) ||
        !enif_get_uint64(env, argv[4], &head_offset)) {
        return enif_make_badarg(env);
    }
    list_place place = {argv[3], head_offset};
    stream_status status = batch_slice(env, write.handle->copies, &task->batch, &place);
    if (status == STREAM_AGAIN) {
        return yield_list(env, &write, argv[2], &place);
    }
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = finish_list(env, &write, &task->batch, status);
    nif_env_leave(before);
    return answer;
}

/* Known before the rest of a long list is gone through. */
static bool
is_full(stream *s)
{
    stream_info info;
    stream_get_info(s, &info);
    bool over = info.written_offset - info.read_offset >= info.high_bytes;
    return info.writer == STREAM_WRITER_OPEN && info.reader == STREAM_READER_OPEN &&
           (info.parked != 0 || (over && info.waiters == 0));
}

static ERL_NIF_TERM
write_list(ErlNifEnv *env, const list_write *write, ERL_NIF_TERM list)
{
    stream_batch batch = STREAM_BATCH_INIT;
    list_place place = {list, 0};
    stream_status status = batch_slice(env, write->handle->copies, &batch, &place);
    if (status != STREAM_AGAIN) {
        return finish_list(env, write, &batch, status);
    }
    if (enif_is_identical(write->ref, nif_am.am_none) && is_full(write->handle->s)) {
        stream_batch_clear(&batch);
        return nif_am.am_busy;
    }
    write_task *task = enif_alloc_resource(task_type, sizeof *task);
    if (task == NULL) {
        return finish_list(env, write, &batch, STREAM_NOMEM);
    }
    task->batch = batch;
    ERL_NIF_TERM term = enif_make_resource(env, task);
    enif_release_resource(task);
    return yield_list(env, write, term, &place);
}

/* ---- The functions ---- */

static ERL_NIF_TERM
write_data(ErlNifEnv *env, buffer_handle *handle, const ERL_NIF_TERM argv[])
{
    ErlNifBinary binary;
    list_write write = {handle, argv[0], nif_am.am_none};
    if (!enif_inspect_binary(env, argv[1], &binary)) {
        if (!enif_is_list(env, argv[1])) {
            return enif_make_badarg(env);
        }
        return write_list(env, &write, argv[1]);
    }
    if (binary.size < ADOPT_MIN_BYTES) {
        return status_term(env, stream_append(handle->s, binary.data, binary.size));
    }
    if (handle->copies) {
        return write_list(env, &write, enif_make_list1(env, argv[1]));
    }
    return status_term(env, adopt_binary(env, handle->s, argv[1]));
}

ERL_NIF_TERM
buffer_write_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    buffer_handle *handle = buffer_handle_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    ErlNifEnv **here = nif_env_here();
    *here = env;
    ERL_NIF_TERM answer = write_data(env, handle, argv);
    *here = NULL;
    return answer;
}

ERL_NIF_TERM
buffer_park_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    list_write write = {buffer_handle_of(env, argv[0]), argv[0], argv[2]};
    (void)argc;
    if (write.handle == NULL || !enif_is_ref(env, argv[2])) {
        return enif_make_badarg(env);
    }
    ERL_NIF_TERM list =
        enif_is_list(env, argv[1]) ? argv[1] : enif_make_list1(env, argv[1]);
    ErlNifEnv *before = nif_env_enter(env);
    ERL_NIF_TERM answer = write_list(env, &write, list);
    nif_env_leave(before);
    return answer;
}
