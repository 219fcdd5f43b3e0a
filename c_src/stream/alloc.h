/*
 * alloc.h: where the stream's memory comes from.  A test build defines
 * STREAM_ALLOC_HOOKS and brings its own two functions, which fail on demand.
 */
#ifndef ERLPY_STREAM_ALLOC_H
#define ERLPY_STREAM_ALLOC_H

#include <stddef.h>

#if defined(STREAM_ALLOC_HOOKS)
void *stream__alloc(size_t size_bytes);
void stream__free(void *block);
#else
#    include <stdlib.h>

static inline void *
stream__alloc(size_t size_bytes)
{
    return malloc(size_bytes);
}

static inline void
stream__free(void *block)
{
    free(block);
}
#endif

#endif
