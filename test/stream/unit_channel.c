/* unit_channel.c: what goes into a channel, what comes out, and who is told. */
#include "test.h"

#define IN  CHANNEL_IN
#define OUT CHANNEL_OUT

static channel *
channel_of(uint64_t max_bytes)
{
    channel *c = channel_new(max_bytes);
    CHECK(c != NULL);
    return c;
}

static bool
sends(channel *c, uint64_t size, unsigned number, stream_status expected)
{
    channel_item *item = make_item(size, 0, number);
    stream_status status = channel_send(c, IN, item);
    if (status != STREAM_OK) {
        item->release(item);
    }
    return status == expected && channel_is_quiet(c);
}

/* ---- The queues ---- */

void
test_unit_channel_is_two_queues(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    CHECK(sizeof *c < 400);
    CHECK(receive_item(c, IN) == -1 && receive_item(c, OUT) == -1);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(send_item(c, IN, 10 + i) == STREAM_OK);
        CHECK(send_item(c, OUT, 20 + i) == STREAM_OK);
    }
    channel_info info = channel_info_of(c);
    CHECK(!info.closed && info.max_bytes == CHANNEL_UNLIMITED);
    CHECK(info.way[IN].messages == 3 && info.way[OUT].size_bytes == 3);
    for (int i = 0; i < 3; i++) {
        CHECK(receive_item(c, OUT) == 20 + i && channel_is_quiet(c));
    }
    CHECK(receive_item(c, OUT) == -1);
    for (int i = 0; i < 3; i++) {
        CHECK(receive_item(c, IN) == 10 + i && channel_is_quiet(c));
    }
    info = channel_info_of(c);
    CHECK(info.way[IN].messages == 0 && info.way[IN].size_bytes == 0);
    channel_release(c);
}

void
test_unit_channel_room(void)
{
    channel *c = channel_of(10);
    CHECK(sends(c, 4, 0, STREAM_OK) && sends(c, 7, 1, STREAM_BUSY));
    CHECK(sends(c, 6, 1, STREAM_OK) && sends(c, 1, 2, STREAM_BUSY));
    CHECK(sends(c, 0, 2, STREAM_OK));
    CHECK(receive_item(c, IN) == 0 && sends(c, 5, 3, STREAM_BUSY));
    CHECK(sends(c, 4, 3, STREAM_OK));
    CHECK(receive_item(c, IN) == 1 && receive_item(c, IN) == 2);
    /* Larger than all, it goes alone. */
    CHECK(sends(c, 11, 4, STREAM_BUSY));
    CHECK(receive_item(c, IN) == 3 && sends(c, 11, 4, STREAM_OK));
    CHECK(sends(c, 0, 5, STREAM_BUSY) && receive_item(c, IN) == 4);
    CHECK(sends(c, 1, 5, STREAM_OK));
    channel_release(c);
}

/* The sum of what is there never wraps. */
void
test_unit_channel_of_enormous_items(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    channel_item *item;
    CHECK(sends(c, UINT64_MAX, 0, STREAM_OK) && sends(c, 1, 1, STREAM_BUSY));
    CHECK(sends(c, 0, 1, STREAM_OK) && receive_item(c, IN) == 0);
    CHECK(sends(c, UINT64_MAX - 1, 2, STREAM_OK) && sends(c, 2, 3, STREAM_BUSY));
    CHECK(sends(c, 1, 3, STREAM_OK) && sends(c, 1, 4, STREAM_BUSY));
    CHECK(receive_item(c, IN) == 1);
    CHECK(channel_receive(c, IN, &item) == STREAM_OK);
    CHECK(sends(c, UINT64_MAX - 1, 4, STREAM_OK));
    channel_unreceive(c, IN, item);
    CHECK(channel_info_of(c).way[IN].size_bytes == UINT64_MAX);
    CHECK(sends(c, 0, 5, STREAM_BUSY) && channel_is_quiet(c));
    CHECK(receive_item(c, IN) == 2 && sends(c, 0, 5, STREAM_OK));
    CHECK(receive_item(c, IN) == 3 && receive_item(c, IN) == 4);
    CHECK(receive_item(c, IN) == 5 && channel_info_of(c).way[IN].size_bytes == 0);
    channel_release(c);
}

void
test_unit_channel_unreceive(void)
{
    channel *c = channel_of(2);
    struct test_sender parked;
    channel_item *first, *second;
    CHECK(sends(c, 1, 0, STREAM_OK) && sends(c, 1, 1, STREAM_OK));
    CHECK(park_item(c, IN, &parked, make_item(1, 0, 2)) == STREAM_AGAIN);
    CHECK(channel_receive(c, IN, &first) == STREAM_OK && was_sent(&parked));
    CHECK(channel_receive(c, IN, &second) == STREAM_OK);
    CHECK(sends(c, 1, 3, STREAM_OK));
    channel_unreceive(c, IN, second);
    channel_unreceive(c, IN, first);
    CHECK(channel_info_of(c).way[IN].size_bytes == 4);
    CHECK(sends(c, 0, 9, STREAM_BUSY));
    channel_close(c);
    for (int i = 0; i < 4; i++) {
        CHECK(receive_item(c, IN) == i);
    }
    CHECK(receive_item(c, IN) == -2);
    /* One that comes back late is not lost. */
    channel_unreceive(c, IN, make_item(1, 0, 7));
    CHECK(channel_is_quiet(c) && receive_item(c, IN) == 7);
    CHECK(receive_item(c, IN) == -2);
    channel_release(c);
}

/* ---- Senders that wait ---- */

void
test_unit_channel_lets_senders_in_in_order(void)
{
    channel *c = channel_of(3);
    struct test_sender parked[5];
    const uint64_t sizes[] = {2, 1, 3, 4, 0};
    CHECK(park_item(c, IN, &parked[0], make_item(3, 0, 0)) == STREAM_OK);
    CHECK(parked[0].sender.item == NULL && parked[0].notices == 0);
    for (unsigned i = 0; i < 5; i++) {
        channel_item *item = make_item(sizes[i], 0, i + 1);
        CHECK(park_item(c, IN, &parked[i], item) == STREAM_AGAIN);
    }
    CHECK(channel_info_of(c).way[IN].senders == 5 && channel_is_quiet(c));
    CHECK(receive_item(c, IN) == 0);
    CHECK(was_sent(&parked[0]) && was_sent(&parked[1]) && parked[2].notices == 0);
    /* There would be room; but others wait. */
    CHECK(receive_item(c, IN) == 1 && sends(c, 0, 9, STREAM_BUSY));
    CHECK(parked[2].notices == 0);
    CHECK(receive_item(c, IN) == 2 && was_sent(&parked[2]));
    CHECK(parked[3].notices == 0 && receive_item(c, IN) == 3);
    CHECK(was_sent(&parked[3]) && parked[4].notices == 0);
    CHECK(receive_item(c, IN) == 4 && was_sent(&parked[4]));
    CHECK(channel_is_quiet(c) && receive_item(c, IN) == 5);
    CHECK(receive_item(c, IN) == -1 && channel_info_of(c).way[IN].senders == 0);
    channel_release(c);
}

void
test_unit_channel_unpark(void)
{
    channel *c = channel_of(4);
    struct test_sender parked[4];
    CHECK(sends(c, 2, 0, STREAM_OK));
    const uint64_t sizes[] = {3, 1, 1, 1};
    for (unsigned i = 0; i < 4; i++) {
        channel_item *item = make_item(sizes[i], 0, i + 1);
        CHECK(park_item(c, IN, &parked[i], item) == STREAM_AGAIN);
    }
    CHECK(channel_unpark(c, IN, &parked[2].sender) && channel_is_quiet(c));
    CHECK(use_item(parked[2].sender.item) == 3 && parked[2].notices == 0);
    /* The first one stood in the way of the others. */
    CHECK(channel_unpark(c, IN, &parked[0].sender) && channel_is_quiet(c));
    CHECK(use_item(parked[0].sender.item) == 1 && parked[0].notices == 0);
    CHECK(was_sent(&parked[1]) && was_sent(&parked[3]));
    CHECK(!channel_unpark(c, IN, &parked[0].sender));
    CHECK(!channel_unpark(c, IN, &parked[1].sender) && parked[1].notices == 1);
    CHECK(receive_item(c, IN) == 0 && receive_item(c, IN) == 2);
    CHECK(receive_item(c, IN) == 4 && receive_item(c, IN) == -1);
    channel_release(c);
}

/* ---- Closing ---- */

void
test_unit_channel_close(void)
{
    channel *c = channel_of(1);
    struct test_sender in, out, late;
    struct test_receiver receivers[2] = {0};
    CHECK(listen_to(c, OUT, &receivers[0]) == STREAM_AGAIN);
    CHECK(listen_to(c, OUT, &receivers[1]) == STREAM_AGAIN);
    CHECK(send_item(c, IN, 0) == STREAM_OK && !channel_is_closed(c));
    CHECK(park_item(c, IN, &in, make_item(1, 0, 1)) == STREAM_AGAIN);
    channel_close(c);
    CHECK(in.notices == 1 && in.status == STREAM_CLOSED);
    CHECK(use_item(in.sender.item) == 1 && !channel_unpark(c, IN, &in.sender));
    CHECK(receivers[0].notices == 1 && receivers[1].notices == 1);
    CHECK(receivers[0].order < receivers[1].order);
    CHECK(!channel_unlisten(c, OUT, &receivers[0].receiver));
    channel_close(c);
    CHECK(channel_is_closed(c) && channel_info_of(c).closed && channel_is_quiet(c));
    CHECK(send_item(c, IN, 2) == STREAM_CLOSED &&
          send_item(c, OUT, 2) == STREAM_CLOSED);
    CHECK(park_item(c, IN, &late, make_item(1, 0, 3)) == STREAM_CLOSED);
    CHECK(park_item(c, OUT, &out, make_item(1, 0, 3)) == STREAM_CLOSED);
    CHECK(use_item(late.sender.item) == 3 && use_item(out.sender.item) == 3);
    CHECK(late.notices == 0 && !channel_unpark(c, IN, &late.sender));
    CHECK(listen_to(c, OUT, &receivers[0]) == STREAM_OK);
    CHECK(!channel_unlisten(c, OUT, &receivers[0].receiver));
    CHECK(receive_item(c, IN) == 0 && receive_item(c, IN) == -2);
    CHECK(receive_item(c, OUT) == -2);
    channel_release(c);
}

struct receiving_sender {
    channel_sender sender; /* first */
    channel *c;
    int received, then;
};

static void
receive_on_notice(channel_sender *sender, stream_status status)
{
    struct receiving_sender *self = (struct receiving_sender *)(void *)sender;
    CHECK(status == STREAM_CLOSED);
    self->received = receive_item(self->c, IN);
    self->then = receive_item(self->c, IN);
}

/* Whoever has heard that a channel is closed and empty misses nothing: the room that a
 * receiver makes while senders are being refused lets none in. */
void
test_unit_channel_close_lets_nobody_in(void)
{
    channel *c = channel_of(1);
    struct receiving_sender first = {.c = c, .sender.notify = receive_on_notice};
    struct test_sender second;
    CHECK(send_item(c, IN, 0) == STREAM_OK);
    first.sender.item = make_item(1, 0, 1);
    CHECK(channel_park(c, IN, &first.sender) == STREAM_AGAIN);
    CHECK(park_item(c, IN, &second, make_item(1, 0, 2)) == STREAM_AGAIN);
    channel_close(c);
    CHECK(first.received == 0 && first.then == -2);
    CHECK(second.notices == 1 && second.status == STREAM_CLOSED);
    CHECK(use_item(first.sender.item) == 1 && use_item(second.sender.item) == 2);
    channel_release(c);
}

void
test_unit_channel_holders(void)
{
    channel *c = channel_of(1);
    channel_add_holder(c);
    channel_add_holder(c);
    channel_drop_holder(c);
    CHECK(!channel_is_closed(c));
    channel_drop_holder(c);
    CHECK(channel_is_closed(c));
    channel_add_holder(c);
    CHECK(channel_is_closed(c));
    channel_drop_holder(c);
    channel_release(c);
    c = channel_of(1); /* nobody ever held it */
    CHECK(!channel_is_closed(c));
    channel_release(c);
    channel_release(NULL);
}

/* ---- Receivers that wait ---- */

void
test_unit_channel_tells_one_an_item(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    struct test_receiver r[4] = {0};
    for (int i = 0; i < 4; i++) {
        CHECK(listen_to(c, IN, &r[i]) == STREAM_AGAIN && channel_is_quiet(c));
    }
    CHECK(channel_info_of(c).way[IN].receivers == 4);
    channel_pass(c, IN); /* there is nothing */
    CHECK(send_item(c, OUT, 0) == STREAM_OK && r[0].notices == 0);
    CHECK(send_item(c, IN, 1) == STREAM_OK);
    CHECK(r[0].notices == 1 && r[1].notices == 0);
    CHECK(channel__validate(c, (const uint64_t[]){1, 0}) && !channel_is_quiet(c));
    CHECK(channel_unlisten(c, IN, &r[2].receiver));
    CHECK(!channel_unlisten(c, IN, &r[2].receiver));
    CHECK(send_item(c, IN, 2) == STREAM_OK);
    CHECK(r[1].notices == 1 && r[2].notices == 0 && r[3].notices == 0);
    CHECK(receive_item(c, IN) == 1 && receive_item(c, IN) == 2);
    CHECK(receive_item(c, IN) == -1 && channel_is_quiet(c));
    CHECK(send_item(c, IN, 3) == STREAM_OK && r[3].notices == 1);
    CHECK(listen_to(c, IN, &r[0]) == STREAM_OK && r[0].notices == 0);
    channel_release(c);
}

/* One that was told and does not look passes it on; so does one that is not there. */
void
test_unit_channel_passes_on(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    struct test_receiver r[5] = {0};
    for (int i = 0; i < 5; i++) {
        CHECK(listen_to(c, IN, &r[i]) == STREAM_AGAIN);
    }
    r[2].absent = r[3].absent = true;
    CHECK(send_item(c, IN, 1) == STREAM_OK && r[0].notices == 1);
    CHECK(!channel_unlisten(c, IN, &r[0].receiver));
    channel_pass(c, IN);
    CHECK(r[1].notices == 1 && r[2].notices == 0);
    channel_pass(c, IN);
    CHECK(r[2].notices == 1 && r[3].notices == 1 && r[4].notices == 1);
    CHECK(channel_info_of(c).way[IN].receivers == 0);
    channel_pass(c, IN); /* nobody is left */
    CHECK(receive_item(c, IN) == 1);
    CHECK(listen_to(c, IN, &r[0]) == STREAM_AGAIN);
    channel_pass(c, IN); /* somebody was quicker */
    CHECK(r[0].notices == 0 && channel_unlisten(c, IN, &r[0].receiver));
    channel_release(c);
}

/* A third takes what one was told of; the next item is told to the next, and each is
 * received. */
void
test_unit_channel_beside_one_who_was_told(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    struct test_receiver a = {0}, b = {0};
    channel_item *item;
    CHECK(listen_to(c, IN, &a) == STREAM_AGAIN && listen_to(c, IN, &b) == STREAM_AGAIN);
    CHECK(send_item(c, IN, 1) == STREAM_OK && a.notices == 1);
    CHECK(channel_receive(c, IN, &item) == STREAM_OK && b.notices == 0);
    channel_unreceive(c, IN, item); /* news again */
    CHECK(b.notices == 1 && listen_to(c, IN, &b) == STREAM_OK);
    CHECK(receive_item(c, IN) == 1);
    CHECK(listen_to(c, IN, &b) == STREAM_AGAIN);
    CHECK(receive_item(c, IN) == -1 && listen_to(c, IN, &a) == STREAM_AGAIN);
    CHECK(send_item(c, IN, 2) == STREAM_OK && b.notices == 1 && a.notices == 0);
    CHECK(send_item(c, IN, 3) == STREAM_OK && a.notices == 1);
    CHECK(receive_item(c, IN) == 2 && receive_item(c, IN) == 3);
    channel_release(c);
}

/* An item that is let in is told as one that is sent. */
void
test_unit_channel_tells_of_what_it_lets_in(void)
{
    channel *c = channel_of(1);
    struct test_sender parked[3];
    struct test_receiver told = {0}, waiting = {0}, more = {0};
    CHECK(listen_to(c, IN, &told) == STREAM_AGAIN);
    CHECK(listen_to(c, IN, &waiting) == STREAM_AGAIN);
    CHECK(listen_to(c, IN, &more) == STREAM_AGAIN);
    CHECK(send_item(c, IN, 0) == STREAM_OK && told.notices == 1);
    CHECK(park_item(c, IN, &parked[0], make_item(2, 0, 1)) == STREAM_AGAIN);
    CHECK(park_item(c, IN, &parked[1], make_item(1, 0, 2)) == STREAM_AGAIN);
    CHECK(park_item(c, IN, &parked[2], make_item(0, 0, 3)) == STREAM_AGAIN);
    CHECK(receive_item(c, IN) == 0);
    CHECK(was_sent(&parked[0]) && parked[1].notices == 0 && waiting.notices == 1);
    CHECK(channel__validate(c, (const uint64_t[]){1, 0}) && more.notices == 0);
    CHECK(channel_unpark(c, IN, &parked[1].sender) && parked[2].notices == 0);
    CHECK(use_item(parked[1].sender.item) == 2 && receive_item(c, IN) == 1);
    CHECK(was_sent(&parked[2]) && more.notices == 1 && receive_item(c, IN) == 3);
    channel_release(c);
}

/* ---- The end of a channel ---- */

struct attached {
    channel *c;
    int released;
};

static void
release_attached(void *arg)
{
    struct attached *self = arg;
    CHECK(channel_try_share(self->c) == NULL);
    CHECK(channel_attachment(self->c) == self && foreign_live_blocks() == 2);
    self->released++;
}

void
test_unit_channel_attachment(void)
{
    struct attached attached = {.c = channel_of(1)}, other = {0};
    channel *c = attached.c;
    CHECK(channel_attachment(c) == NULL);
    CHECK(channel_attach(c, &attached, release_attached));
    CHECK(!channel_attach(c, &other, release_attached));
    CHECK(channel_attachment(c) == &attached);
    CHECK(send_item(c, IN, 0) == STREAM_OK && send_item(c, OUT, 1) == STREAM_OK);
    CHECK(channel_share(c) == c && channel_try_share(c) == c);
    channel_release(c);
    channel_release(c);
    CHECK(attached.released == 0);
    channel_release(c);
    CHECK(attached.released == 1 && foreign_live_blocks() == 0);
}

struct nesting_item {
    channel_item base; /* first */
    channel *inner;
};

static void
release_nesting(channel_item *item)
{
    channel_release(((struct nesting_item *)(void *)item)->inner);
    foreign_free(item);
}

/* A channel in a channel in a channel...: the stack does not grow with them. */
void
test_unit_channel_in_a_channel(void)
{
    channel *c = NULL;
    for (int i = 0; i < 200000; i++) {
        struct nesting_item *item = foreign_new(sizeof *item);
        item->base = (channel_item){.size_bytes = 1, .release = release_nesting};
        item->inner = c;
        c = channel_of(1);
        CHECK(channel_send(c, i % 2 == 0 ? IN : OUT, &item->base) == STREAM_OK);
    }
    channel_release(c);
    CHECK(foreign_live_blocks() == 0);
}

static pthread_t spawned;

static bool
spawn(void *(*body)(void *), void *arg)
{
    CHECK(spawned == 0);
    return pthread_create(&spawned, NULL, body, arg) == 0;
}

/* The last reference may be a scheduler's: very many items go on another thread. */
void
test_unit_channel_with_very_many_items(void)
{
    channel *c = channel_of(CHANNEL_UNLIMITED);
    for (unsigned i = 0; i < 100000; i++) {
        CHECK(send_item(c, i % 2 == 0 ? IN : OUT, i) == STREAM_OK);
    }
    platform_set_spawner(spawn);
    channel_release(c);
    CHECK(pthread_join(spawned, NULL) == 0 && foreign_live_blocks() == 0);
    platform_set_spawner(NULL);
    c = channel_of(CHANNEL_UNLIMITED);
    for (unsigned i = 0; i < 10000; i++) {
        CHECK(send_item(c, IN, i) == STREAM_OK);
    }
    channel_release(c);
}
