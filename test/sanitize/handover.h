/*
 * handover.h: what ThreadSanitizer cannot see, told to it.
 *
 * The runtime hands resources from thread to thread (in messages, in environments) with
 * atomics of its own.  Included before everything else of a `thread` build: what a
 * thread did before it made a term of a resource, or let go of it, has happened before
 * another one gets at it by a term, and before its memory is that of another resource.
 */
#if __has_include(<erl_nif.h>)
#    include <erl_nif.h>

#    include <stddef.h>

/* More than any resource of ours has. */
#    define HANDOVER_MAX_BYTES 1024

void __tsan_acquire(void *address);
void __tsan_release(void *address);

/* The resource that was here before may have begun elsewhere. */
static inline void *
handover_alloc_resource(ErlNifResourceType *type, size_t size)
{
    char *object = enif_alloc_resource(type, size);
    if (object != NULL) {
        for (char *at = object - HANDOVER_MAX_BYTES; at < object + size; at += 8) {
            __tsan_acquire(at);
        }
    }
    return object;
}

static inline ERL_NIF_TERM
handover_make_resource(ErlNifEnv *env, void *object)
{
    __tsan_release(object);
    return enif_make_resource(env, object);
}

static inline int
handover_get_resource(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifResourceType *type,
                      void **object)
{
    int found = enif_get_resource(env, term, type, object);
    if (found) {
        __tsan_acquire(*object);
    }
    return found;
}

static inline void
handover_release_resource(void *object)
{
    __tsan_release(object);
    enif_release_resource(object);
}

#    define enif_alloc_resource   handover_alloc_resource
#    define enif_make_resource    handover_make_resource
#    define enif_get_resource     handover_get_resource
#    define enif_release_resource handover_release_resource
#endif
