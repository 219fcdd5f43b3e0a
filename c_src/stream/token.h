/*
 * token.h: a cancel that reaches whatever one thread is waiting in.
 *
 * A thread that waits shows its token how it can be woken, and takes that back after
 * the wait; raising the token wakes it, or lets its next wait end at once.  A raised
 * token stays raised until it is cleared.
 *
 * LOCK.  Held while `wake` runs, so that nobody wakes a wait that is over.  `wake` may
 * take the wait lock of a stream or the lock of a channel and set an event, nothing
 * else.
 */
#ifndef ERLPY_STREAM_TOKEN_H
#define ERLPY_STREAM_TOKEN_H

#include "platform.h"

typedef void (*stream_wake_fn)(void *arg);

typedef struct stream_token {
    platform_lock lock;
    atomic_bool raised; /* written under the lock */
    stream_wake_fn wake;
    void *arg;
} stream_token;

void stream_token_init(stream_token *token);
void stream_token_destroy(stream_token *token);
/* Any thread. */
void stream_token_raise(stream_token *token);
/* By the thread that waits, outside of a wait. */
void stream_token_clear(stream_token *token);
bool stream_token_is_raised(stream_token *token);
/* Around a wait.  False: it is raised, do not wait (and do not leave). */
bool stream_token_enter(stream_token *token, stream_wake_fn wake, void *arg);
/* After this `wake` does not run and is not running. */
void stream_token_leave(stream_token *token);

#endif
