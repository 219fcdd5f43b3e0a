/*
 * wait.c: readers that wait, and those who wake them.
 *
 * A waiter queues itself (which counts it in `attention`), then looks once more, then
 * sleeps.  Whoever changes something first publishes it, then looks at `attention`.
 *  - written, ended, closed: both sides are sequentially consistent, so one of the
 *    two sees the other.
 *  - position: it moves under the reader lock, and so that moving it costs no fence,
 *    the waiter looks at it under that lock.  If it takes the lock before the mover,
 *    the mover sees it counted; if after, it sees the new position.
 *
 * The waker takes waiters off the list under the wait lock and notifies them after.
 * A waiter that gives up and finds itself off the list has to wait for that notice:
 * the waker holds a pointer to it.  A token that is raised is such a waker, too.
 */
#include "internal.h"

bool
stream__has_news(stream *s, uint64_t position, uint64_t need_offset)
{
    return atomic_load(&s->written) >= need_offset || stream_is_whole(s) ||
           atomic_load(&s->front.position) != position;
}

/* ---- The list ---- */

void
stream__enqueue_waiter_locked(stream *s, struct stream_waiter *waiter)
{
    waiter->prev = NULL;
    waiter->next = s->waiting;
    if (waiter->next != NULL) {
        waiter->next->prev = waiter;
    }
    s->waiting = waiter;
    waiter->queued = true;
    atomic_fetch_add(&s->waiter_count, 1);
    atomic_fetch_add(&s->front.attention, 1);
}

static void
remove_locked(stream *s, struct stream_waiter *waiter)
{
    if (waiter->prev != NULL) {
        waiter->prev->next = waiter->next;
    } else {
        s->waiting = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->prev = waiter->prev;
    }
    waiter->queued = false;
    atomic_fetch_sub(&s->waiter_count, 1);
    atomic_fetch_sub(&s->front.attention, 1);
}

bool
stream__dequeue_waiter(stream *s, struct stream_waiter *waiter)
{
    platform_lock_take(&s->wait_lock);
    bool queued = waiter->queued;
    if (queued) {
        remove_locked(s, waiter);
    }
    platform_unlock(&s->wait_lock);
    return queued;
}

bool
stream__reader_lacks_bytes(stream *s)
{
    bool lacks = false;
    if (atomic_load(&s->waiter_count) != 0) {
        platform_lock_take(&s->wait_lock);
        for (struct stream_waiter *waiter = s->waiting; waiter != NULL && !lacks;
             waiter = waiter->next) {
            lacks = !stream__has_news(s, waiter->position, waiter->need_offset);
        }
        platform_unlock(&s->wait_lock);
    }
    return lacks;
}

void
stream__wake(stream *s)
{
    struct stream_waiter *woken = NULL;
    platform_lock_take(&s->wait_lock);
    for (struct stream_waiter *waiter = s->waiting, *next; waiter != NULL;
         waiter = next) {
        next = waiter->next;
        if (stream__has_news(s, waiter->position, waiter->need_offset)) {
            remove_locked(s, waiter);
            waiter->next = woken;
            woken = waiter;
        }
    }
    platform_unlock(&s->wait_lock);
    while (woken != NULL) {
        struct stream_waiter *next = woken->next;
        woken->notify(woken);
        woken = next;
    }
}

/* Unlocking the reader lock notes that the position of now is told, so that each
 * further move is news (front.told). */
bool
stream__look_from_list(stream *s, const struct stream_waiter *waiter)
{
    if (atomic_load(&s->parked_count) != 0) {
        stream__admit(s);
    }
    stream_reader_lock(s);
    bool news = stream__has_news(s, waiter->position, waiter->need_offset);
    stream_reader_unlock(s);
    return news;
}

/* ---- Threads ---- */

struct thread_waiter {
    struct stream_waiter waiter; /* first */
    stream *stream;
    bool cancelled; /* by whoever took it off the list, before the notice */
    platform_event event;
};

static void
notify_thread(struct stream_waiter *waiter)
{
    platform_event_set(&((struct thread_waiter *)(void *)waiter)->event);
}

struct looker {
    stream *stream;
    const stream_want *want;
};

static bool
sees_news(void *arg)
{
    const struct looker *self = arg;
    return stream__has_news(self->stream, self->want->position,
                            self->want->need_offset);
}

static bool
spin(stream *s, const stream_want *want)
{
    struct looker self = {s, want};
    int writers = atomic_load_explicit(&s->writer_processor, memory_order_relaxed);
    return platform_spin(sees_news, &self, want->spin_ns, want->deadline_ns, writers);
}

/* By a token, whose lock keeps the waiter in place. */
static void
cancel_thread(void *arg)
{
    struct thread_waiter *self = arg;
    if (stream__dequeue_waiter(self->stream, &self->waiter)) {
        self->cancelled = true;
        notify_thread(&self->waiter);
    }
}

static platform_wait_result
sleep_in_list(stream *s, const stream_want *want, struct thread_waiter *self)
{
    if (stream__look_from_list(s, &self->waiter)) {
        return PLATFORM_SET;
    }
    return platform_event_wait(&self->event, want->deadline_ns, 0, want->interruptible);
}

/* The token is shown a waiter that is in the list already: one that is raised from then
 * on finds it there. */
static platform_wait_result
sleep_queued(stream *s, const stream_want *want, struct thread_waiter *self)
{
    platform_wait_result result = PLATFORM_SET;
    bool raised = false;
    platform_lock_take(&s->wait_lock);
    stream__enqueue_waiter_locked(s, &self->waiter);
    platform_unlock(&s->wait_lock);
    if (want->token == NULL) {
        result = sleep_in_list(s, want, self);
    } else if (stream_token_enter(want->token, cancel_thread, self)) {
        result = sleep_in_list(s, want, self);
        stream_token_leave(want->token);
    } else {
        raised = true;
    }
    if (!stream__dequeue_waiter(s, &self->waiter)) {
        platform_event_wait(&self->event, INT64_MAX, 0, false);
        return PLATFORM_SET;
    }
    self->cancelled = raised;
    return result;
}

stream_status
stream_wait(stream *s, const stream_want *want)
{
    if (stream__has_news(s, want->position, want->need_offset) || spin(s, want)) {
        return STREAM_OK;
    }
    if (want->token != NULL && stream_token_is_raised(want->token)) {
        return STREAM_CANCELLED;
    }
    if (want->deadline_ns != STREAM_FOREVER && want->deadline_ns <= platform_now_ns()) {
        return STREAM_TIMEDOUT;
    }
    struct thread_waiter self = {.waiter = {.position = want->position,
                                            .need_offset = want->need_offset,
                                            .notify = notify_thread},
                                 .stream = s};
    platform_event_init(&self.event);
    platform_wait_result result = sleep_queued(s, want, &self);
    platform_event_destroy(&self.event);
    if (self.cancelled) {
        return STREAM_CANCELLED;
    }
    if (result == PLATFORM_TIMEDOUT) {
        return STREAM_TIMEDOUT;
    }
    return result == PLATFORM_INTERRUPTED ? STREAM_INTERRUPTED : STREAM_OK;
}
