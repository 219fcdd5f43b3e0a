/*
 * channel_wait.c: threads and event loops that wait for a channel.
 */
#include "alloc.h"
#include "channel_internal.h"

/* ---- Threads ---- */

/* A receiver or a sender. */
struct thread_wait {
    union {
        channel_receiver receiver;
        channel_sender sender;
    } as; /* first */
    channel *channel;
    channel_way way;
    stream_status status; /* a sender's; or STREAM_CANCELLED, by a token */
    platform_event event;
};

static bool
notify_receiver(channel_receiver *receiver)
{
    platform_event_set(&((struct thread_wait *)(void *)receiver)->event);
    return true;
}

static void
notify_sender(channel_sender *sender, stream_status status)
{
    struct thread_wait *self = (struct thread_wait *)(void *)sender;
    self->status = status;
    platform_event_set(&self->event);
}

/* By a token, whose lock keeps the wait in place.  It was not told: nothing is to be
 * passed on. */
static void
cancel_receiver(void *arg)
{
    struct thread_wait *self = arg;
    if (channel_unlisten(self->channel, self->way, &self->as.receiver)) {
        self->status = STREAM_CANCELLED;
        platform_event_set(&self->event);
    }
}

/* Those behind it are let in by the thread itself. */
static void
cancel_sender(void *arg)
{
    struct thread_wait *self = arg;
    if (channel__take_back(self->channel, self->way, &self->as.sender)) {
        self->status = STREAM_CANCELLED;
        platform_event_set(&self->event);
    }
}

static platform_wait_result
sleep_in_list(struct thread_wait *self, const channel_want *want, stream_wake_fn cancel)
{
    if (want->token == NULL) {
        return platform_event_wait(&self->event, want->deadline_ns, 0,
                                   want->interruptible);
    }
    if (!stream_token_enter(want->token, cancel, self)) {
        cancel(self);
        return PLATFORM_SET;
    }
    platform_wait_result result =
        platform_event_wait(&self->event, want->deadline_ns, 0, want->interruptible);
    stream_token_leave(want->token);
    return result;
}

static stream_status
status_of(platform_wait_result result)
{
    return result == PLATFORM_TIMEDOUT ? STREAM_TIMEDOUT : STREAM_INTERRUPTED;
}

static bool
is_raised(const channel_want *want)
{
    return want->token != NULL && stream_token_is_raised(want->token);
}

static bool
is_overdue(const channel_want *want)
{
    return want->deadline_ns != STREAM_FOREVER &&
           want->deadline_ns <= platform_now_ns();
}

struct looker {
    channel *channel;
    channel_way way;
};

static bool
sees_news(void *arg)
{
    const struct looker *self = arg;
    return channel__has_news(self->channel, self->way);
}

static bool
spin(channel *c, channel_way way, const channel_want *want)
{
    struct looker self = {c, way};
    int senders =
        atomic_load_explicit(&c->queues[way].sender_processor, memory_order_relaxed);
    return platform_spin(sees_news, &self, want->spin_ns, want->deadline_ns, senders);
}

static stream_status
listen_and_sleep(struct thread_wait *self, const channel_want *want)
{
    if (channel_listen(self->channel, self->way, &self->as.receiver) == STREAM_OK) {
        return STREAM_OK;
    }
    platform_wait_result result = sleep_in_list(self, want, cancel_receiver);
    if (result != PLATFORM_SET &&
        channel_unlisten(self->channel, self->way, &self->as.receiver)) {
        return status_of(result);
    }
    /* Whoever took it out of the list is about to set the event, or has. */
    platform_event_wait(&self->event, INT64_MAX, 0, false);
    return self->status;
}

stream_status
channel_wait(channel *c, channel_way way, const channel_want *want)
{
    if (channel__has_news(c, way)) {
        return STREAM_OK;
    }
    bool news = spin(c, way, want);
    if (is_raised(want)) {
        return STREAM_CANCELLED;
    }
    if (news) {
        return STREAM_OK;
    }
    if (is_overdue(want)) {
        return STREAM_TIMEDOUT;
    }
    struct thread_wait self = {.channel = c, .way = way, .status = STREAM_OK};
    self.as.receiver = (channel_receiver){.notify = notify_receiver};
    platform_event_init(&self.event);
    stream_status status = listen_and_sleep(&self, want);
    platform_event_destroy(&self.event);
    if (status == STREAM_OK && is_raised(want)) {
        channel_pass(c, way);
        status = STREAM_CANCELLED;
    }
    return status;
}

static stream_status
park_and_sleep(struct thread_wait *self, const channel_want *want)
{
    stream_status status = channel_park(self->channel, self->way, &self->as.sender);
    if (status != STREAM_AGAIN) {
        return status;
    }
    platform_wait_result result = sleep_in_list(self, want, cancel_sender);
    if (result != PLATFORM_SET &&
        channel_unpark(self->channel, self->way, &self->as.sender)) {
        return status_of(result);
    }
    platform_event_wait(&self->event, INT64_MAX, 0, false);
    if (self->status == STREAM_CANCELLED) {
        channel__admit(self->channel, self->way);
    }
    return self->status;
}

stream_status
channel_send_wait(channel *c, channel_way way, channel_item *item,
                  const channel_want *want)
{
    stream_status status = channel_send(c, way, item);
    if (status != STREAM_BUSY) {
        return status;
    }
    if (is_raised(want)) {
        return STREAM_CANCELLED;
    }
    if (is_overdue(want)) {
        return STREAM_TIMEDOUT;
    }
    struct thread_wait self = {.channel = c, .way = way, .status = STREAM_OK};
    self.as.sender = (channel_sender){.item = item, .notify = notify_sender};
    platform_event_init(&self.event);
    status = park_and_sleep(&self, want);
    platform_event_destroy(&self.event);
    return status;
}

/* ---- Event loops: receivers ---- */

struct loop_receiver {
    stream_pending pending; /* first */
    channel_receiver receiver;
    channel *channel; /* a reference */
    channel_way way;
};

static bool
notify_loop_receiver(channel_receiver *receiver)
{
    struct loop_receiver *self =
        (struct loop_receiver *)(void *)((char *)receiver -
                                         offsetof(struct loop_receiver, receiver));
    return stream_pending_post(&self->pending);
}

static bool
withdraw_receiver(stream_pending *pending)
{
    struct loop_receiver *self = (struct loop_receiver *)(void *)pending;
    return channel_unlisten(self->channel, self->way, &self->receiver);
}

static void
lapse_receiver(stream_pending *pending)
{
    struct loop_receiver *self = (struct loop_receiver *)(void *)pending;
    channel_pass(self->channel, self->way);
}

static void
destroy_receiver(stream_pending *pending)
{
    struct loop_receiver *self = (struct loop_receiver *)(void *)pending;
    channel_release(self->channel);
    stream__free(self);
}

stream_status
channel_wait_on_loop(channel *c, channel_way way, stream_waker *waker, void *user,
                     stream_pending **pending)
{
    if (channel__has_news(c, way)) {
        return STREAM_OK;
    }
    struct loop_receiver *self = stream__alloc(sizeof *self);
    if (self == NULL) {
        return STREAM_NOMEM;
    }
    stream_pending_init(&self->pending, waker, user);
    self->pending.withdraw = withdraw_receiver;
    self->pending.lapse = lapse_receiver;
    self->pending.destroy = destroy_receiver;
    self->receiver = (channel_receiver){.notify = notify_loop_receiver};
    self->channel = channel_share(c);
    self->way = way;
    stream_pending_share(&self->pending);
    if (channel_listen(c, way, &self->receiver) == STREAM_AGAIN) {
        *pending = &self->pending;
        return STREAM_AGAIN;
    }
    stream_pending_release(&self->pending);
    stream_pending_release(&self->pending);
    return STREAM_OK;
}

/* ---- Event loops: senders ---- */

struct loop_sender {
    stream_pending pending; /* first */
    channel_sender sender;  /* its item: still ours; NULL once it was taken */
    channel *channel;       /* a reference */
    channel_way way;
};

static void
notify_loop_sender(channel_sender *sender, stream_status status)
{
    struct loop_sender *self =
        (struct loop_sender *)(void *)((char *)sender -
                                       offsetof(struct loop_sender, sender));
    (void)status; /* the item tells */
    (void)stream_pending_post(&self->pending);
}

static bool
withdraw_sender(stream_pending *pending)
{
    struct loop_sender *self = (struct loop_sender *)(void *)pending;
    return channel_unpark(self->channel, self->way, &self->sender);
}

static void
destroy_sender(stream_pending *pending)
{
    struct loop_sender *self = (struct loop_sender *)(void *)pending;
    channel_item *item = self->sender.item;
    if (item != NULL) {
        item->release(item);
    }
    channel_release(self->channel);
    stream__free(self);
}

stream_status
channel_send_on_loop(channel *c, channel_way way, channel_item *item,
                     stream_waker *waker, void *user, stream_pending **pending)
{
    struct loop_sender *self = stream__alloc(sizeof *self);
    if (self == NULL) {
        return STREAM_NOMEM;
    }
    stream_pending_init(&self->pending, waker, user);
    self->pending.withdraw = withdraw_sender;
    self->pending.lapse = NULL;
    self->pending.destroy = destroy_sender;
    self->sender = (channel_sender){.item = item, .notify = notify_loop_sender};
    self->channel = channel_share(c);
    self->way = way;
    stream_pending_share(&self->pending);
    stream_status status = channel_park(c, way, &self->sender);
    if (status == STREAM_AGAIN) {
        *pending = &self->pending;
        return STREAM_AGAIN;
    }
    self->sender.item = NULL; /* the channel's by now, or the caller's */
    stream_pending_release(&self->pending);
    stream_pending_release(&self->pending);
    return status;
}

bool
channel_was_sent(const stream_pending *pending)
{
    return ((const struct loop_sender *)(const void *)pending)->sender.item == NULL;
}
