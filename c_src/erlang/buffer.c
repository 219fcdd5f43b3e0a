/*
 * buffer.c: buffers as Erlang terms.
 *
 * A write goes straight to the stream when it is one binary.  A list of binaries is
 * built up in a batch, a slice at a time so that no scheduler is held, and linked in
 * one step at its end:
 *
 *   buffer_write --> task {batch, rest of the list} --yield--> ... --> stream_commit
 *
 * A process that dies half-way leaves a task without references, which frees the batch.
 */
#include "buffer.h"

#include <string.h>

#include "atoms.h"
#include "fork.h"
#include "shared.h"

/* A binary of this size or more becomes a segment as it is; smaller ones are copied.
 * Adopting costs 72 ns (hot) to 2 us (cold), about what copying 2 KiB does. */
#define ADOPT_MIN_BYTES 2048
/* Work of one slice in bytes copied: well under 1 ms also into fresh memory. */
#define SLICE_BYTES ((size_t)256 << 10)
/* What an element of a list costs besides its bytes. */
#define ELEMENT_COST 512

typedef struct buffer_handle {
    stream *s;
    bool copies; /* option {copy, always}: nothing is adopted */
} buffer_handle;

typedef struct write_task {
    stream_batch batch;
} write_task;

static ErlNifResourceType *handle_type, *task_type;

static void
destroy_handle(ErlNifEnv *env, void *object)
{
    buffer_handle *handle = object;
    (void)env;
    stream_release(handle->s);
    handle->s = NULL;
}

static void
destroy_task(ErlNifEnv *env, void *object)
{
    write_task *task = object;
    (void)env;
    stream_batch_clear(&task->batch);
}

int
buffer_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *handles = nif_open_type(
        env, "erlpy_buffer", &(ErlNifResourceTypeInit){.dtor = destroy_handle}, flags);
    ErlNifResourceType *tasks = nif_open_type(
        env, "erlpy_write", &(ErlNifResourceTypeInit){.dtor = destroy_task}, flags);
    if (handles == NULL || tasks == NULL) {
        return -1;
    }
    handle_type = handles;
    task_type = tasks;
    return 0;
}

static buffer_handle *
handle_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, handle_type, &object) ? object : NULL;
}

stream *
buffer_stream_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    buffer_handle *handle = handle_of(env, term);
    return handle != NULL ? handle->s : NULL;
}

/* Takes the stream reference, also on failure. */
static bool
make_handle(ErlNifEnv *env, stream *s, bool copies, ERL_NIF_TERM *term)
{
    buffer_handle *handle = enif_alloc_resource(handle_type, sizeof *handle);
    if (handle == NULL) {
        stream_release(s);
        return false;
    }
    handle->s = s;
    handle->copies = copies;
    *term = enif_make_resource(env, handle);
    enif_release_resource(handle);
    return true;
}

bool
buffer_term(ErlNifEnv *env, stream *s, ERL_NIF_TERM *term)
{
    return make_handle(env, stream_share(s), false, term);
}

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

static ERL_NIF_TERM
status_term(ErlNifEnv *env, stream_status status)
{
    switch (status) {
    case STREAM_OK:
        return nif_am.am_ok;
    case STREAM_CLOSED:
        return error_tuple(env, nif_am.am_closed);
    case STREAM_TOO_LARGE:
        return error_tuple(env, nif_am.am_too_large);
    default:
        return error_tuple(env, nif_am.am_enomem);
    }
}

ERL_NIF_TERM
buffer_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifSInt64 length, max_bytes;
    stream_options options = STREAM_OPTIONS_DEFAULT;
    ERL_NIF_TERM term;
    (void)argc;
    if (enif_get_int64(env, argv[0], &length) && length >= 0) {
        options.known_length = (uint64_t)length;
    } else if (!enif_is_identical(argv[0], nif_am.am_undefined)) {
        return enif_make_badarg(env);
    }
    if (!enif_get_int64(env, argv[2], &max_bytes) || max_bytes < 0) {
        return enif_make_badarg(env);
    }
    options.max_bytes = (uint64_t)max_bytes;
    stream *s = stream_new_with(&options);
    if (s == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    bool copies = enif_is_identical(argv[1], nif_am.am_always);
    if (!make_handle(env, s, copies, &term)) {
        return error_tuple(env, nif_am.am_enomem);
    }
    return enif_make_tuple2(env, nif_am.am_ok, term);
}

/* ---- Writing ---- */

static void
release_iovec(void *iovec)
{
    if (!nif_forked()) {
        enif_free_iovec(iovec);
    }
}

/* Keeps the binary alive without an environment: the runtime's own way to hand bytes to
 * an asynchronous writer.  NULL when out of memory. */
static ErlNifIOVec *
keep_binary(ErlNifEnv *env, ERL_NIF_TERM binary)
{
    ErlNifIOVec *iovec = NULL;
    ERL_NIF_TERM tail, list = enif_make_list1(env, binary);
    if (!enif_inspect_iovec(NULL, 1, list, &tail, &iovec)) {
        return NULL;
    }
    if (iovec->iovcnt == 1) {
        return iovec;
    }
    enif_free_iovec(iovec);
    return NULL;
}

static stream_status
batch_binary(ErlNifEnv *env, stream_batch *batch, ERL_NIF_TERM binary)
{
    ErlNifIOVec *iovec = keep_binary(env, binary);
    if (iovec == NULL) {
        return STREAM_NOMEM;
    }
    stream_status status = stream_batch_adopt(
        batch, iovec->iov[0].iov_base, iovec->iov[0].iov_len, release_iovec, iovec);
    if (status != STREAM_OK) {
        enif_free_iovec(iovec);
    }
    return status;
}

static stream_status
adopt_binary(ErlNifEnv *env, stream *s, ERL_NIF_TERM binary)
{
    stream_batch batch = STREAM_BATCH_INIT;
    stream_status status = batch_binary(env, &batch, binary);
    if (status == STREAM_OK) {
        status = stream_commit(s, &batch);
    }
    stream_batch_clear(&batch);
    return status;
}

/* Where a list write stands: the list, and how much of its head has been copied. */
typedef struct list_place {
    ERL_NIF_TERM rest;
    size_t head_offset;
} list_place;

/* One step on: STREAM_OK, STREAM_AGAIN (the slice is used up), STREAM_NOMEM, or
 * STREAM_RANGE for an element that is no binary. */
static stream_status
batch_head(ErlNifEnv *env, bool copies, stream_batch *batch, list_place *place,
           size_t *budget)
{
    ErlNifBinary binary;
    ERL_NIF_TERM head, tail;
    if (!enif_get_list_cell(env, place->rest, &head, &tail) ||
        !enif_inspect_binary(env, head, &binary)) {
        return STREAM_RANGE;
    }
    bool adopt = binary.size >= ADOPT_MIN_BYTES && !copies;
    size_t left = adopt ? 0 : binary.size - place->head_offset;
    size_t part = left < *budget ? left : *budget;
    stream_status status =
        adopt ? batch_binary(env, batch, head)
              : stream_batch_append(batch, binary.data + place->head_offset, part);
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

static ERL_NIF_TERM
finish_list(ErlNifEnv *env, buffer_handle *handle, stream_batch *batch,
            stream_status status)
{
    if (status == STREAM_OK) {
        status = stream_commit(handle->s, batch);
    }
    stream_batch_clear(batch);
    return status == STREAM_RANGE ? enif_make_badarg(env) : status_term(env, status);
}

static ERL_NIF_TERM write_more_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM
yield_list(ErlNifEnv *env, ERL_NIF_TERM buffer, ERL_NIF_TERM task,
           const list_place *place)
{
    ERL_NIF_TERM argv[] = {buffer, task, place->rest,
                           enif_make_uint64(env, place->head_offset)};
    enif_consume_timeslice(env, 20);
    return enif_schedule_nif(env, "buffer_write", 0, write_more_nif, 4, argv);
}

/* (Buffer, Task, Rest, HeadOffset): the second and later slices. */
static ERL_NIF_TERM
write_more_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    write_task *task;
    ErlNifUInt64 head_offset;
    buffer_handle *handle = handle_of(env, argv[0]);
    (void)argc;
    if (handle == NULL || !enif_get_resource(env, argv[1], task_type, (void **)&task) ||
        !enif_get_uint64(env, argv[3], &head_offset)) {
        return enif_make_badarg(env);
    }
    list_place place = {argv[2], head_offset};
    stream_status status = batch_slice(env, handle->copies, &task->batch, &place);
    if (status == STREAM_AGAIN) {
        return yield_list(env, argv[0], argv[1], &place);
    }
    return finish_list(env, handle, &task->batch, status);
}

static ERL_NIF_TERM
write_list(ErlNifEnv *env, buffer_handle *handle, ERL_NIF_TERM buffer,
           ERL_NIF_TERM list)
{
    stream_batch batch = STREAM_BATCH_INIT;
    list_place place = {list, 0};
    stream_status status = batch_slice(env, handle->copies, &batch, &place);
    if (status != STREAM_AGAIN) {
        return finish_list(env, handle, &batch, status);
    }
    write_task *task = enif_alloc_resource(task_type, sizeof *task);
    if (task == NULL) {
        return finish_list(env, handle, &batch, STREAM_NOMEM);
    }
    task->batch = batch;
    ERL_NIF_TERM term = enif_make_resource(env, task);
    enif_release_resource(task);
    return yield_list(env, buffer, term, &place);
}

ERL_NIF_TERM
buffer_write_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifBinary binary;
    buffer_handle *handle = handle_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    if (!enif_inspect_binary(env, argv[1], &binary)) {
        return enif_is_list(env, argv[1]) ? write_list(env, handle, argv[0], argv[1])
                                          : enif_make_badarg(env);
    }
    if (binary.size < ADOPT_MIN_BYTES) {
        return status_term(env, stream_append(handle->s, binary.data, binary.size));
    }
    if (handle->copies) {
        return write_list(env, handle, argv[0], enif_make_list1(env, argv[1]));
    }
    return status_term(env, adopt_binary(env, handle->s, argv[1]));
}

ERL_NIF_TERM
buffer_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    buffer_handle *handle = handle_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    stream_end(handle->s);
    return nif_am.am_ok;
}

ERL_NIF_TERM
buffer_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    buffer_handle *handle = handle_of(env, argv[0]);
    (void)argc;
    if (handle == NULL) {
        return enif_make_badarg(env);
    }
    stream_info info;
    stream_get_info(handle->s, &info);
    uint64_t available = info.written_offset - info.read_offset;
    ERL_NIF_TERM keys[] = {
        nif_am.am_state,           nif_am.am_reader_closed,
        nif_am.am_written,         nif_am.am_read,
        nif_am.am_available,       nif_am.am_retained,
        nif_am.am_waiting_readers, nif_am.am_views,
    };
    ERL_NIF_TERM values[] = {
        info.writer == STREAM_WRITER_OPEN ? nif_am.am_open : nif_am.am_ended,
        info.reader == STREAM_READER_OPEN ? nif_am.am_false : nif_am.am_true,
        enif_make_uint64(env, info.written_offset),
        enif_make_uint64(env, info.read_offset),
        enif_make_uint64(env, available),
        enif_make_uint64(env, info.retained_bytes),
        enif_make_uint(env, info.waiters),
        enif_make_uint(env, info.views),
    };
    ERL_NIF_TERM map;
    enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

ERL_NIF_TERM
is_buffer_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    return handle_of(env, argv[0]) != NULL ? nif_am.am_true : nif_am.am_false;
}
