#include "buffer.h"

#include "atoms.h"
#include "nif_env.h"
#include "reason.h"
#include "shared.h"

static ErlNifResourceType *handle_type;

/* On any thread: that of the last term, of a worker that has read its arguments, of a
 * reader that let the last parked write in. */
static void
destroy_handle(ErlNifEnv *env, void *object)
{
    buffer_handle *handle = object;
    if (handle->s == NULL) {
        return;
    }
    ErlNifEnv *before = nif_env_enter(env);
    if (stream_drop_writer(handle->s)) {
        stream_abort(handle->s, nif_reason_abandoned());
    }
    stream_release(handle->s);
    handle->s = NULL;
    nif_env_leave(before);
}

int
buffer_open_types(ErlNifEnv *env, ErlNifResourceFlags flags)
{
    ErlNifResourceType *type = nif_open_type(
        env, "erlpy_buffer", &(ErlNifResourceTypeInit){.dtor = destroy_handle}, flags);
    if (type == NULL) {
        return -1;
    }
    handle_type = type;
    return write_open_types(env, flags);
}

buffer_handle *
buffer_handle_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    void *object;
    return enif_get_resource(env, term, handle_type, &object) ? object : NULL;
}

stream *
buffer_stream_of(ErlNifEnv *env, ERL_NIF_TERM term)
{
    buffer_handle *handle = buffer_handle_of(env, term);
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
    stream_add_writer(s);
    handle->s = s;
    handle->copies = copies;
    *term = enif_make_resource(env, handle);
    enif_release_resource(handle);
    return true;
}

bool
buffer_term(ErlNifEnv *env, stream *s, ERL_NIF_TERM *term)
{
    return make_handle(env, stream_share(s), owner_copies(s), term);
}

static ERL_NIF_TERM
error_tuple(ErlNifEnv *env, ERL_NIF_TERM reason)
{
    return enif_make_tuple2(env, nif_am.am_error, reason);
}

/* ---- Making ---- */

/* A number of bytes, or `unlimited` for the atom. */
static bool
read_bytes(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM none, uint64_t unlimited,
           uint64_t *bytes)
{
    ErlNifSInt64 value;
    if (enif_is_identical(term, none)) {
        *bytes = unlimited;
        return true;
    }
    if (!enif_get_int64(env, term, &value) || value < 0) {
        return false;
    }
    *bytes = (uint64_t)value;
    return true;
}

static bool
read_options(ErlNifEnv *env, ERL_NIF_TERM term, stream_options *options, bool *copies)
{
    int arity;
    const ERL_NIF_TERM *o;
    ERL_NIF_TERM none = nif_am.am_infinity;
    if (!enif_get_tuple(env, term, &arity, &o) || arity != 7 ||
        !read_bytes(env, o[0], nif_am.am_undefined, STREAM_LENGTH_UNKNOWN,
                    &options->known_length) ||
        !read_bytes(env, o[1], none, STREAM_OFFSET_MAX, &options->max_bytes) ||
        !read_bytes(env, o[2], none, STREAM_OFFSET_MAX, &options->high_bytes) ||
        !read_bytes(env, o[3], none, STREAM_OFFSET_MAX, &options->low_bytes)) {
        return false;
    }
    options->seekable = enif_is_identical(o[4], nif_am.am_true);
    options->close_on_last_reader = enif_is_identical(o[5], nif_am.am_true);
    *copies = enif_is_identical(o[6], nif_am.am_true);
    return options->low_bytes <= options->high_bytes;
}

ERL_NIF_TERM
buffer_new_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream_options options;
    bool copies;
    ERL_NIF_TERM term;
    (void)argc;
    if (!read_options(env, argv[0], &options, &copies)) {
        return enif_make_badarg(env);
    }
    stream *s = stream_new_with(&options);
    if (s == NULL) {
        return error_tuple(env, nif_am.am_enomem);
    }
    if (copies && !owner_set_copies(s)) {
        stream_release(s);
        return error_tuple(env, nif_am.am_enomem);
    }
    if (!make_handle(env, s, copies, &term)) {
        return error_tuple(env, nif_am.am_enomem);
    }
    return enif_make_tuple2(env, nif_am.am_ok, term);
}

/* ---- Ending ---- */

ERL_NIF_TERM
buffer_close_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream *s = buffer_stream_of(env, argv[0]);
    (void)argc;
    if (s == NULL) {
        return enif_make_badarg(env);
    }
    ErlNifEnv *before = nif_env_enter(env);
    stream_end(s);
    nif_env_leave(before);
    return nif_am.am_ok;
}

ERL_NIF_TERM
buffer_abort_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream *s = buffer_stream_of(env, argv[0]);
    stream_reason *reason = s != NULL ? nif_reason_new(env, argv[1], argv[2]) : NULL;
    (void)argc;
    if (reason == NULL) {
        return enif_make_badarg(env);
    }
    ErlNifEnv *before = nif_env_enter(env);
    stream_abort(s, reason);
    nif_env_leave(before);
    return nif_am.am_ok;
}

ERL_NIF_TERM
buffer_reason_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream *s = buffer_stream_of(env, argv[0]);
    (void)argc;
    if (s == NULL || stream_abort_reason(s) == NULL) {
        return enif_make_badarg(env);
    }
    return nif_reason_term(env, stream_abort_reason(s));
}

/* ---- Looking ---- */

static ERL_NIF_TERM
state_term(stream_writer_state state)
{
    switch (state) {
    case STREAM_WRITER_OPEN:
        return nif_am.am_open;
    case STREAM_WRITER_ENDED:
        return nif_am.am_ended;
    default:
        return nif_am.am_aborted;
    }
}

static ERL_NIF_TERM
mark_term(ErlNifEnv *env, uint64_t bytes)
{
    return bytes >= STREAM_OFFSET_MAX ? nif_am.am_infinity
                                      : enif_make_uint64(env, bytes);
}

ERL_NIF_TERM
buffer_info_nif(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    stream *s = buffer_stream_of(env, argv[0]);
    (void)argc;
    if (s == NULL) {
        return enif_make_badarg(env);
    }
    stream_info info;
    stream_get_info(s, &info);
    uint64_t available = info.written_offset - info.read_offset;
    ERL_NIF_TERM keys[] = {
        nif_am.am_state,           nif_am.am_reader_closed,
        nif_am.am_written,         nif_am.am_read,
        nif_am.am_available,       nif_am.am_retained,
        nif_am.am_waiting_readers, nif_am.am_waiting_writers,
        nif_am.am_high_watermark,  nif_am.am_low_watermark,
        nif_am.am_views,
    };
    ERL_NIF_TERM values[] = {
        state_term(info.writer),
        info.reader == STREAM_READER_OPEN ? nif_am.am_false : nif_am.am_true,
        enif_make_uint64(env, info.written_offset),
        enif_make_uint64(env, info.read_offset),
        enif_make_uint64(env, available),
        enif_make_uint64(env, info.retained_bytes),
        enif_make_uint(env, info.waiters),
        enif_make_uint(env, info.parked),
        mark_term(env, info.high_bytes),
        mark_term(env, info.low_bytes),
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
    return buffer_handle_of(env, argv[0]) != NULL ? nif_am.am_true : nif_am.am_false;
}
