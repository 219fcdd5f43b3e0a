/*
 * core.h: what a stream or a channel needs of the node beyond its handles: a resource,
 * since only those can monitor.  Most never have one.
 *
 *   subject <--not counted-- core --monitor--> owner
 */
#ifndef ERLPY_CORE_H
#define ERLPY_CORE_H

#include <erl_nif.h>
#include <stdbool.h>

#include "../stream/stream.h"

/* What a core is the core of. */
typedef struct core_kind {
    void *(*attachment)(void *subject);
    bool (*attach)(void *subject, void *core, stream_release_fn release);
    /* A reference, or NULL when the last one is gone. */
    void *(*try_share)(void *subject);
    void (*release)(void *subject);
    void (*owner_down)(void *subject);
} core_kind;

typedef struct core core;

int core_open_type(ErlNifEnv *env, ErlNifResourceFlags flags);
/* The core of the subject, which gets one.  Borrowed from the subject; NULL: no
 * memory. */
core *core_of(const core_kind *kind, void *subject);
/* The one owner from now on, by whose death owner_down() runs: at once when it is dead
 * already.  By a NIF. */
void core_set_owner(ErlNifEnv *env, core *of, const ErlNifPid *pid);
/* A property of the subject, to be set before it is shared. */
void core_mark(core *of);
/* NULL: false. */
bool core_is_marked(const core *of);

#endif
