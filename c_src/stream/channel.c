/*
 * channel.c: the two queues of a channel, and who is told of what.
 *
 * Senders wait only while there is no room, receivers only while there is nothing.
 * Each item that enters tells one receiver.  Whoever takes a sender or a receiver out
 * of its list, under the lock, decides it.
 */
#include "channel_internal.h"

#include "alloc.h"

/* ---- Life ---- */

static void
init_queue(struct channel_queue *q)
{
    *q = (struct channel_queue){0};
    atomic_init(&q->count, 0);
    atomic_init(&q->sender_processor, -1);
}

channel *
channel_new(uint64_t max_bytes)
{
    channel *c = stream__alloc(sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    atomic_init(&c->refs, 1);
    atomic_init(&c->holders, 0);
    c->max_bytes = max_bytes;
    atomic_init(&c->attachment, NULL);
    c->release_attachment = NULL;
    platform_lock_init(&c->lock);
    atomic_init(&c->closed, false);
    init_queue(&c->queues[CHANNEL_IN]);
    init_queue(&c->queues[CHANNEL_OUT]);
    return c;
}

channel *
channel_share(channel *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

channel *
channel_try_share(channel *c)
{
    uint32_t refs = atomic_load_explicit(&c->refs, memory_order_relaxed);
    while (refs != 0) {
        if (atomic_compare_exchange_weak_explicit(&c->refs, &refs, refs + 1,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return c;
        }
    }
    return NULL;
}

static void
free_items(channel_item *item)
{
    while (item != NULL) {
        channel_item *next = item->next;
        item->release(item);
        item = next;
    }
}

void
channel_release(channel *c)
{
    if (c == NULL ||
        atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    void *attachment = atomic_load(&c->attachment);
    if (attachment != NULL) {
        c->release_attachment(attachment);
    }
    free_items(c->queues[CHANNEL_IN].first);
    free_items(c->queues[CHANNEL_OUT].first);
    platform_lock_destroy(&c->lock);
    stream__free(c);
}

void
channel_add_holder(channel *c)
{
    atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
}

void
channel_drop_holder(channel *c)
{
    if (atomic_fetch_sub_explicit(&c->holders, 1, memory_order_acq_rel) == 1) {
        channel_close(c);
    }
}

bool
channel_attach(channel *c, void *attachment, stream_release_fn release)
{
    platform_lock_take(&c->lock);
    bool first = atomic_load(&c->attachment) == NULL;
    if (first) {
        c->release_attachment = release;
        atomic_store(&c->attachment, attachment);
    }
    platform_unlock(&c->lock);
    return first;
}

void *
channel_attachment(channel *c)
{
    return atomic_load(&c->attachment);
}

void
channel_get_info(channel *c, channel_info *info)
{
    platform_lock_take(&c->lock);
    info->closed = atomic_load(&c->closed);
    info->max_bytes = c->max_bytes;
    for (int way = 0; way < 2; way++) {
        const struct channel_queue *q = &c->queues[way];
        info->way[way].size_bytes = q->size_bytes;
        info->way[way].messages = atomic_load(&q->count);
        info->way[way].senders = q->senders.count;
        info->way[way].receivers = q->receivers.count;
    }
    platform_unlock(&c->lock);
}

bool
channel_is_closed(channel *c)
{
    return atomic_load(&c->closed);
}

bool
channel__has_news(channel *c, channel_way way)
{
    return atomic_load(&c->queues[way].count) != 0 || atomic_load(&c->closed);
}

/* ---- Lists, under the lock ---- */

static void
enlist(struct channel_list *list, channel_link *link)
{
    *link = (channel_link){.prev = list->last, .queued = true};
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

static channel_receiver *
first_receiver(const struct channel_queue *q)
{
    return (channel_receiver *)(void *)q->receivers.first;
}

/* ---- The queue, under the lock ---- */

static bool
has_room_locked(const channel *c, const struct channel_queue *q, uint64_t size)
{
    return q->first == NULL ||
           (q->size_bytes <= c->max_bytes && size <= c->max_bytes - q->size_bytes);
}

static void
append_locked(struct channel_queue *q, channel_item *item)
{
    item->next = NULL;
    if (q->last != NULL) {
        q->last->next = item;
    } else {
        q->first = item;
    }
    q->last = item;
    q->size_bytes += item->size_bytes;
    atomic_fetch_add(&q->count, 1);
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
        q->size_bytes -= item->size_bytes;
        atomic_fetch_sub(&q->count, 1);
    }
    return item;
}

/* The next sender whose turn has come, out of the list: its item is in the queue now.
 */
static channel_sender *
admit_next_locked(channel *c, struct channel_queue *q)
{
    channel_sender *sender = first_sender(q);
    if (sender == NULL || !has_room_locked(c, q, sender->item->size_bytes)) {
        return NULL;
    }
    delist(&q->senders, &sender->link);
    append_locked(q, sender->item);
    sender->item = NULL;
    return sender;
}

static stream_status
check_send_locked(const channel *c, const struct channel_queue *q, uint64_t size)
{
    if (atomic_load(&c->closed)) {
        return STREAM_CLOSED;
    }
    return q->senders.first == NULL && has_room_locked(c, q, size) ? STREAM_OK
                                                                   : STREAM_BUSY;
}

/* ---- Notices, without the lock ---- */

/* One receiver learns that there is something. */
static void
tell_one(channel *c, channel_way way)
{
    struct channel_queue *q = &c->queues[way];
    channel_receiver *receiver;
    do {
        platform_lock_take(&c->lock);
        receiver = channel__has_news(c, way) ? first_receiver(q) : NULL;
        if (receiver != NULL) {
            delist(&q->receivers, &receiver->link);
        }
        platform_unlock(&c->lock);
    } while (receiver != NULL && !receiver->notify(receiver));
}

void
channel__admit(channel *c, channel_way way)
{
    struct channel_queue *q = &c->queues[way];
    channel_sender *sender;
    do {
        platform_lock_take(&c->lock);
        sender = admit_next_locked(c, q);
        platform_unlock(&c->lock);
        if (sender != NULL) {
            sender->notify(sender, STREAM_OK);
            tell_one(c, way);
        }
    } while (sender != NULL);
}

/* None comes after: the channel is closed. */
static void
refuse_senders(channel *c, struct channel_queue *q)
{
    channel_sender *sender;
    do {
        platform_lock_take(&c->lock);
        sender = first_sender(q);
        if (sender != NULL) {
            delist(&q->senders, &sender->link);
        }
        platform_unlock(&c->lock);
        if (sender != NULL) {
            sender->notify(sender, STREAM_CLOSED);
        }
    } while (sender != NULL);
}

static void
tell_all(channel *c, channel_way way)
{
    struct channel_queue *q = &c->queues[way];
    bool more;
    do {
        tell_one(c, way);
        platform_lock_take(&c->lock);
        more = q->receivers.first != NULL;
        platform_unlock(&c->lock);
    } while (more);
}

void
channel_close(channel *c)
{
    platform_lock_take(&c->lock);
    atomic_store(&c->closed, true);
    platform_unlock(&c->lock);
    for (int way = 0; way < 2; way++) {
        refuse_senders(c, &c->queues[way]);
        tell_all(c, (channel_way)way);
    }
}

/* ---- Sending ---- */

stream_status
channel_send(channel *c, channel_way way, channel_item *item)
{
    struct channel_queue *q = &c->queues[way];
    platform_lock_take(&c->lock);
    stream_status status = check_send_locked(c, q, item->size_bytes);
    if (status == STREAM_OK) {
        append_locked(q, item);
    }
    bool tell = status == STREAM_OK && q->receivers.first != NULL;
    platform_unlock(&c->lock);
    atomic_store_explicit(&q->sender_processor, platform_processor(),
                          memory_order_relaxed);
    if (tell) {
        tell_one(c, way);
    }
    return status;
}

stream_status
channel_park(channel *c, channel_way way, channel_sender *sender)
{
    struct channel_queue *q = &c->queues[way];
    platform_lock_take(&c->lock);
    stream_status status = check_send_locked(c, q, sender->item->size_bytes);
    if (status == STREAM_OK) {
        append_locked(q, sender->item);
        sender->item = NULL;
    } else if (status == STREAM_BUSY) {
        enlist(&q->senders, &sender->link);
        status = STREAM_AGAIN;
    }
    platform_unlock(&c->lock);
    if (status == STREAM_OK) {
        tell_one(c, way);
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
    platform_lock_take(&c->lock);
    channel_item *taken = take_locked(q);
    bool closed = atomic_load(&c->closed);
    bool waited_for = q->senders.first != NULL;
    platform_unlock(&c->lock);
    if (taken == NULL) {
        return closed ? STREAM_CLOSED : STREAM_AGAIN;
    }
    if (waited_for) {
        channel__admit(c, way);
    }
    *item = taken;
    return STREAM_OK;
}

void
channel_unreceive(channel *c, channel_way way, channel_item *item)
{
    struct channel_queue *q = &c->queues[way];
    platform_lock_take(&c->lock);
    item->next = q->first;
    q->first = item;
    if (q->last == NULL) {
        q->last = item;
    }
    q->size_bytes += item->size_bytes;
    atomic_fetch_add(&q->count, 1);
    platform_unlock(&c->lock);
    tell_one(c, way);
}

stream_status
channel_listen(channel *c, channel_way way, channel_receiver *receiver)
{
    struct channel_queue *q = &c->queues[way];
    stream_status status = STREAM_OK;
    platform_lock_take(&c->lock);
    if (!channel__has_news(c, way)) {
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

void
channel_pass(channel *c, channel_way way)
{
    tell_one(c, way);
}
