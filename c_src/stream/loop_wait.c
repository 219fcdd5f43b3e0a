/*
 * loop_wait.c: a reader that waits in an event loop: a waiter like a thread's, whose
 * notice goes to a waker.
 */
#include "alloc.h"
#include "internal.h"

struct loop_waiter {
    stream_pending pending; /* first */
    struct stream_waiter waiter;
    stream *stream; /* a reference */
};

static struct loop_waiter *
loop_waiter_of(struct stream_waiter *waiter)
{
    return (struct loop_waiter *)(void *)((char *)waiter -
                                          offsetof(struct loop_waiter, waiter));
}

static void
notify_loop(struct stream_waiter *waiter)
{
    (void)stream_pending_post(&loop_waiter_of(waiter)->pending);
}

static bool
withdraw(stream_pending *pending)
{
    struct loop_waiter *self = (struct loop_waiter *)(void *)pending;
    return stream__dequeue_waiter(self->stream, &self->waiter);
}

static void
destroy(stream_pending *pending)
{
    struct loop_waiter *self = (struct loop_waiter *)(void *)pending;
    stream_release(self->stream);
    stream__free(self);
}

static struct loop_waiter *
new_loop_waiter(stream *s, stream_waker *waker, uint64_t position, uint64_t need_offset,
                void *user)
{
    struct loop_waiter *self = stream__alloc(sizeof *self);
    if (self != NULL) {
        stream_pending_init(&self->pending, waker, user);
        self->pending.withdraw = withdraw;
        self->pending.lapse = NULL;
        self->pending.destroy = destroy;
        self->waiter = (struct stream_waiter){
            .position = position, .need_offset = need_offset, .notify = notify_loop};
        self->stream = stream_share(s);
    }
    return self;
}

/* False: there is one of a loop already. */
static bool
enqueue(stream *s, struct stream_waiter *waiter)
{
    bool alone = true;
    platform_lock_take(&s->wait_lock);
    for (struct stream_waiter *other = s->waiting; other != NULL && alone;
         other = other->next) {
        alone = other->notify != notify_loop;
    }
    if (alone) {
        stream_pending_share(&loop_waiter_of(waiter)->pending);
        stream__enqueue_waiter_locked(s, waiter);
    }
    platform_unlock(&s->wait_lock);
    return alone;
}

stream_status
stream_wait_on_loop(stream *s, stream_waker *waker, uint64_t position,
                    uint64_t need_offset, void *user, stream_pending **pending)
{
    if (stream__has_news(s, position, need_offset)) {
        return STREAM_OK;
    }
    struct loop_waiter *self = new_loop_waiter(s, waker, position, need_offset, user);
    if (self == NULL) {
        return STREAM_NOMEM;
    }
    if (!enqueue(s, &self->waiter)) {
        stream_pending_release(&self->pending);
        return STREAM_BUSY;
    }
    if (stream__look_from_list(s, &self->waiter)) {
        /* It may be over, and in the waker's list: nobody's then. */
        self->pending.user = NULL;
        stream_pending_cancel(&self->pending);
        return STREAM_OK;
    }
    *pending = &self->pending;
    return STREAM_AGAIN;
}
