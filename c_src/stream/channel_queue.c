/*
 * channel_queue.c: the two queues of a channel, and who is told of what.
 *
 * Senders wait only while there is no room, receivers only while there is nothing.
 * Each item that enters takes one receiver out of the list and tells it, so that while
 * some are still in the list, at least as many have been told, and have not looked yet,
 * as there are items.  One that was told and does not look passes that on.
 *
 * Whoever takes a sender or a receiver out of its list, under the lock, decides it.
 * Where a first sender finds room, a thread is about to let it in: whoever made the
 * room does so until there is none, one sender and one taking of the lock at a time.
 */
#include "channel_internal.h"

bool
channel__has_news(channel *c, channel_way way)
{
    return atomic_load(&c->queues[way].count) != 0 || atomic_load(&c->closed);
}

/* ---- Lists, under the lock ---- */

static void
enlist(struct channel_list *list, channel_link *link)
{
    link->next = NULL;
    link->prev = list->last;
    link->queued = true;
    if (list->last != NULL) {
        list->last->next = link;
    } else {
        list->first = link;
    }
    list->last = link;
    list->count++;
}

static bool
delist(struct channel_list *list, channel_link *link)
{
    if (!link->queued) {
        return false;
    }
    if (link->prev != NULL) {
        link->prev->next = link->next;
    } else {
        list->first = link->next;
    }
    if (link->next != NULL) {
        link->next->prev = link->prev;
    } else {
        list->last = link->prev;
    }
    list->count--;
    *link = (channel_link){0};
    return true;
}

static channel_sender *
first_sender(const struct channel_queue *q)
{
    return (channel_sender *)(void *)q->senders.first;
}

/* ---- The queue, under the lock ---- */

/* What was put back may have brought the sum past 2^64. */
static bool
has_room_locked(const channel *c, const struct channel_queue *q, uint64_t size)
{
    return q->first == NULL || (q->overflows == 0 && q->size_bytes <= c->max_bytes &&
                                size <= c->max_bytes - q->size_bytes);
}

static void
count_locked(struct channel_queue *q, uint64_t count)
{
    atomic_store_explicit(&q->count, count, memory_order_release);
}

static uint64_t
items_locked(const struct channel_queue *q)
{
    return atomic_load_explicit(&q->count, memory_order_relaxed);
}

static channel_receiver *
take_receiver_locked(struct channel_queue *q)
{
    channel_receiver *receiver = (channel_receiver *)(void *)q->receivers.first;
    if (receiver != NULL) {
        delist(&q->receivers, &receiver->link);
    }
    return receiver;
}

/* The item is between its neighbours.  Answers who is to be told of it. */
static channel_receiver *
enter_locked(struct channel_queue *q, channel_item *item)
{
    q->overflows +=
        __builtin_add_overflow(q->size_bytes, item->size_bytes, &q->size_bytes);
    count_locked(q, items_locked(q) + 1);
    return take_receiver_locked(q);
}

static channel_receiver *
append_locked(struct channel_queue *q, channel_item *item)
{
    item->next = NULL;
    if (q->last != NULL) {
        q->last->next = item;
    } else {
        q->first = item;
    }
    q->last = item;
    return enter_locked(q, item);
}

static channel_receiver *
prepend_locked(struct channel_queue *q, channel_item *item)
{
    item->next = q->first;
    q->first = item;
    if (q->last == NULL) {
        q->last = item;
    }
    return enter_locked(q, item);
}

static channel_item *
take_locked(struct channel_queue *q)
{
    channel_item *item = q->first;
    if (item != NULL) {
        q->first = item->next;
        if (q->first == NULL) {
            q->last = NULL;
        }
        item->next = NULL;
        q->overflows -=
            __builtin_sub_overflow(q->size_bytes, item->size_bytes, &q->size_bytes);
        count_locked(q, items_locked(q) - 1);
    }
    return item;
}

static bool
is_closed_locked(const channel *c)
{
    return atomic_load_explicit(&c->closed, memory_order_relaxed);
}

/* ---- Notices, without the lock ---- */

static channel_receiver *
next_to_tell(channel *c, channel_way way)
{
    struct channel_queue *q = &c->queues[way];
    platform_lock_take(&c->lock);
    channel_receiver *receiver = NULL;
    if (q->first != NULL || is_closed_locked(c)) {
        receiver = take_receiver_locked(q);
    }
    platform_unlock(&c->lock);
    return receiver;
}

/* `receiver` (NULL: nobody), or the first one after it that will look. */
static void
tell(channel *c, channel_way way, channel_receiver *receiver)
{
    while (receiver != NULL && !receiver->notify(receiver)) {
        receiver = next_to_tell(c, way);
    }
}

void
channel_pass(channel *c, channel_way way)
{
    tell(c, way, next_to_tell(c, way));
}

/* A sender whose turn has come, and who is to be told of its item. */
struct turn {
    channel_sender *sender;
    channel_receiver *receiver;
};

static bool
take_turn_locked(channel *c, struct channel_queue *q, struct turn *turn)
{
    channel_sender *sender = first_sender(q);
    if (sender == NULL || is_closed_locked(c) ||
        !has_room_locked(c, q, sender->item->size_bytes)) {
        return false;
    }
    delist(&q->senders, &sender->link);
    turn->sender = sender;
    turn->receiver = append_locked(q, sender->item);
    sender->item = NULL;
    return true;
}

static void
end_turn(channel *c, channel_way way, const struct turn *turn)
{
    tell(c, way, turn->receiver);
    turn->sender->notify(turn->sender, STREAM_OK);
}

void
channel__admit(channel *c, channel_way way)
{
    struct turn turn;
    bool taken;
    do {
        platform_lock_take(&c->lock);
        taken = take_turn_locked(c, &c->queues[way], &turn);
        platform_unlock(&c->lock);
        if (taken) {
            end_turn(c, way, &turn);
        }
    } while (taken);
}

/* ---- Closing ---- */

static channel_sender *
next_to_refuse(channel *c, struct channel_queue *q)
{
    platform_lock_take(&c->lock);
    channel_sender *sender = first_sender(q);
    if (sender != NULL) {
        delist(&q->senders, &sender->link);
    }
    platform_unlock(&c->lock);
    return sender;
}

/* Nobody comes into a list of a closed channel. */
void
channel_close(channel *c)
{
    platform_lock_take(&c->lock);
    atomic_store(&c->closed, true);
    platform_unlock(&c->lock);
    for (int way = 0; way < 2; way++) {
        channel_sender *sender;
        while ((sender = next_to_refuse(c, &c->queues[way])) != NULL) {
            sender->notify(sender, STREAM_CLOSED);
        }
        channel_receiver *receiver;
        while ((receiver = next_to_tell(c, (channel_way)way)) != NULL) {
            (void)receiver->notify(receiver);
        }
    }
}

/* ---- Sending ---- */

static stream_status
check_send_locked(const channel *c, const struct channel_queue *q, uint64_t size)
{
    if (is_closed_locked(c)) {
        return STREAM_CLOSED;
    }
    return q->senders.first == NULL && has_room_locked(c, q, size) ? STREAM_OK
                                                                   : STREAM_BUSY;
}

/* With a `sender`, where there is no room, it waits: STREAM_AGAIN. */
static stream_status
send_or_park(channel *c, channel_way way, channel_item *item, channel_sender *sender)
{
    struct channel_queue *q = &c->queues[way];
    channel_receiver *receiver = NULL;
    platform_lock_take(&c->lock);
    if (sender != NULL) {
        sender->link = (channel_link){0};
    }
    stream_status status = check_send_locked(c, q, item->size_bytes);
    if (status == STREAM_OK) {
        receiver = append_locked(q, item);
    } else if (status == STREAM_BUSY && sender != NULL) {
        enlist(&q->senders, &sender->link);
        status = STREAM_AGAIN;
    }
    platform_unlock(&c->lock);
    atomic_store_explicit(&q->sender_processor, platform_processor(),
                          memory_order_relaxed);
    tell(c, way, receiver);
    return status;
}

stream_status
channel_send(channel *c, channel_way way, channel_item *item)
{
    return send_or_park(c, way, item, NULL);
}

stream_status
channel_park(channel *c, channel_way way, channel_sender *sender)
{
    stream_status status = send_or_park(c, way, sender->item, sender);
    if (status == STREAM_OK) {
        sender->item = NULL;
    }
    return status;
}

bool
channel__take_back(channel *c, channel_way way, channel_sender *sender)
{
    platform_lock_take(&c->lock);
    bool queued = delist(&c->queues[way].senders, &sender->link);
    platform_unlock(&c->lock);
    return queued;
}

/* The one behind it may find room where it did not. */
bool
channel_unpark(channel *c, channel_way way, channel_sender *sender)
{
    bool queued = channel__take_back(c, way, sender);
    if (queued) {
        channel__admit(c, way);
    }
    return queued;
}

/* ---- Receiving ---- */

stream_status
channel_receive(channel *c, channel_way way, channel_item **item)
{
    struct channel_queue *q = &c->queues[way];
    struct turn turn;
    platform_lock_take(&c->lock);
    channel_item *taken = take_locked(q);
    bool closed = is_closed_locked(c);
    bool admitted = taken != NULL && take_turn_locked(c, q, &turn);
    platform_unlock(&c->lock);
    if (taken == NULL) {
        return closed ? STREAM_CLOSED : STREAM_AGAIN;
    }
    if (admitted) {
        end_turn(c, way, &turn);
        channel__admit(c, way);
    }
    *item = taken;
    return STREAM_OK;
}

void
channel_unreceive(channel *c, channel_way way, channel_item *item)
{
    platform_lock_take(&c->lock);
    channel_receiver *receiver = prepend_locked(&c->queues[way], item);
    platform_unlock(&c->lock);
    tell(c, way, receiver);
}

stream_status
channel_listen(channel *c, channel_way way, channel_receiver *receiver)
{
    struct channel_queue *q = &c->queues[way];
    stream_status status = STREAM_OK;
    platform_lock_take(&c->lock);
    receiver->link = (channel_link){0};
    if (q->first == NULL && !is_closed_locked(c)) {
        enlist(&q->receivers, &receiver->link);
        status = STREAM_AGAIN;
    }
    platform_unlock(&c->lock);
    return status;
}

bool
channel_unlisten(channel *c, channel_way way, channel_receiver *receiver)
{
    platform_lock_take(&c->lock);
    bool queued = delist(&c->queues[way].receivers, &receiver->link);
    platform_unlock(&c->lock);
    return queued;
}
