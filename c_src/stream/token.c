/* token.c: see token.h. */
#include "token.h"

void
stream_token_init(stream_token *token)
{
    platform_lock_init(&token->lock);
    atomic_init(&token->raised, false);
    token->wake = NULL;
    token->arg = NULL;
}

void
stream_token_destroy(stream_token *token)
{
    platform_lock_destroy(&token->lock);
}

void
stream_token_raise(stream_token *token)
{
    platform_lock_take(&token->lock);
    atomic_store(&token->raised, true);
    if (token->wake != NULL) {
        token->wake(token->arg);
    }
    platform_unlock(&token->lock);
}

void
stream_token_clear(stream_token *token)
{
    platform_lock_take(&token->lock);
    atomic_store(&token->raised, false);
    platform_unlock(&token->lock);
}

bool
stream_token_is_raised(stream_token *token)
{
    return atomic_load(&token->raised);
}

bool
stream_token_enter(stream_token *token, stream_wake_fn wake, void *arg)
{
    platform_lock_take(&token->lock);
    bool may_wait = !atomic_load(&token->raised);
    if (may_wait) {
        token->wake = wake;
        token->arg = arg;
    }
    platform_unlock(&token->lock);
    return may_wait;
}

void
stream_token_leave(stream_token *token)
{
    platform_lock_take(&token->lock);
    token->wake = NULL;
    token->arg = NULL;
    platform_unlock(&token->lock);
}
