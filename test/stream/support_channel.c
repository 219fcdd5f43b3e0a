/* support_channel.c: short ways to do what many tests of channels do. */
#include "test.h"

#include <poll.h>

/* ---- Items ---- */

static void
release_item(channel_item *item)
{
    foreign_free(item);
}

channel_item *
make_item(uint64_t size, unsigned sender, unsigned number)
{
    struct test_item *item = foreign_new(sizeof *item);
    item->base = (channel_item){.size_bytes = size, .release = release_item};
    item->sender = sender;
    item->number = number;
    return &item->base;
}

int
use_item(channel_item *item)
{
    int number = (int)((struct test_item *)(void *)item)->number;
    item->release(item);
    return number;
}

stream_status
send_item(channel *c, channel_way way, unsigned number)
{
    channel_item *item = make_item(1, 0, number);
    stream_status status = channel_send(c, way, item);
    if (status != STREAM_OK) {
        item->release(item);
    }
    return status;
}

int
receive_item(channel *c, channel_way way)
{
    channel_item *item = NULL;
    stream_status status = channel_receive(c, way, &item);
    CHECK((status == STREAM_OK) == (item != NULL));
    if (item == NULL) {
        CHECK(status == STREAM_AGAIN || status == STREAM_CLOSED);
        return status == STREAM_AGAIN ? -1 : -2;
    }
    return use_item(item);
}

channel_info
channel_info_of(channel *c)
{
    channel_info info;
    channel_get_info(c, &info);
    return info;
}

bool
channel_is_quiet(channel *c)
{
    return channel__validate(c, (const uint64_t[]){0, 0});
}

/* ---- Senders and receivers ---- */

static void
note_status(channel_sender *sender, stream_status status)
{
    struct test_sender *self = (struct test_sender *)(void *)sender;
    self->status = status;
    self->notices++;
}

stream_status
park_item(channel *c, channel_way way, struct test_sender *sender, channel_item *item)
{
    memset(&sender->sender.link, 0xff, sizeof sender->sender.link);
    sender->sender.item = item;
    sender->sender.notify = note_status;
    sender->notices = 0;
    sender->status = STREAM_AGAIN;
    return channel_park(c, way, &sender->sender);
}

bool
was_sent(struct test_sender *sender)
{
    return sender->notices == 1 && sender->status == STREAM_OK &&
           sender->sender.item == NULL;
}

static bool
note_told(channel_receiver *receiver)
{
    static atomic_uint order;
    struct test_receiver *self = (struct test_receiver *)(void *)receiver;
    self->order = ++order;
    self->notices++;
    return !self->absent;
}

stream_status
listen_to(channel *c, channel_way way, struct test_receiver *receiver)
{
    memset(&receiver->receiver.link, 0xff, sizeof receiver->receiver.link);
    receiver->receiver.notify = note_told;
    receiver->notices = 0;
    return channel_listen(c, way, &receiver->receiver);
}

/* ---- Threads ---- */

static void *
sleep_in_channel(void *arg)
{
    struct channel_sleeper *self = arg;
    self->status = self->item == NULL
                       ? channel_wait(self->c, self->way, &self->want)
                       : channel_send_wait(self->c, self->way, self->item, &self->want);
    return NULL;
}

void
start_channel_want(struct channel_sleeper *sleeper, channel *c, channel_way way,
                   channel_item *item, const channel_want *want)
{
    *sleeper = (struct channel_sleeper){.c = c, .way = way, .want = *want};
    sleeper->item = item;
    CHECK(pthread_create(&sleeper->thread, NULL, sleep_in_channel, sleeper) == 0);
}

void
start_channel_sleeper(struct channel_sleeper *sleeper, channel *c, channel_way way,
                      channel_item *item, stream_token *token)
{
    start_channel_want(sleeper, c, way, item,
                       &(channel_want){.deadline_ns = STREAM_FOREVER, .token = token});
}

void
join_channel_sleeper(struct channel_sleeper *sleeper, stream_status expected)
{
    CHECK(pthread_join(sleeper->thread, NULL) == 0);
    CHECK(sleeper->status == expected);
}

void
await_senders(channel *c, channel_way way, uint32_t count)
{
    while (channel_info_of(c).way[way].senders != count) {
        sleep_ms(1);
    }
}

void
await_receivers(channel *c, channel_way way, uint32_t count)
{
    while (channel_info_of(c).way[way].receivers != count) {
        sleep_ms(1);
    }
}

bool
is_woken(const stream_waker *waker)
{
    struct pollfd fd = {.fd = stream_waker_fd(waker), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}
