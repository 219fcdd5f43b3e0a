/*
 * stress_channel.c: threads and event loops that send, wait for room, park and give up;
 * threads and event loops that receive, wait, are cancelled and go away; and a close at
 * any moment.  Each item that was taken is received once, and those of a sender in
 * their order.
 */
#include "test.h"

#include <limits.h>
#include <poll.h>
#include <sched.h>

enum {
    CH_SENDERS = 3,
    CH_ITEMS = 400, /* of each sender */
    CH_PARKED = 3,  /* of one sender at a time */
    CH_THREADS = 2,
    CH_LOOPS = 2,
    CH_WAITS = 4, /* of one loop */
    CH_ROUNDS = 100 * SCALE
};

struct ch_sender {
    struct ch_room *room;
    unsigned number;
    struct choices choices;
    bool accepted[CH_ITEMS];
    struct test_sender parked[CH_PARKED];
    unsigned parked_number[CH_PARKED];
    bool pending[CH_PARKED];
    stream_waker *waker;
    stream_pending *waits[CH_PARKED];
    unsigned waits_number[CH_PARKED];
};

struct ch_receiver {
    struct ch_room *room;
    struct choices choices;
    int last[CH_SENDERS];
    stream_waker *waker;
    stream_pending *waits[CH_WAITS];
    unsigned armed;
};

/* One way of the channel and who uses it. */
struct ch_room {
    channel *c;
    channel_way way;
    uint64_t max_bytes;
    bool gives_back; /* receivers do; then the order is not kept */
    bool patient;    /* no receiver's wait has a deadline */
    uint64_t seed;
    stream_token token;
    atomic_bool over;
    struct ch_sender senders[CH_SENDERS];
    struct ch_receiver receivers[CH_THREADS + CH_LOOPS];
    atomic_uchar seen[CH_SENDERS][CH_ITEMS];
};

static channel_want
choose_want(struct ch_room *room, struct choices *choices)
{
    channel_want want = {.deadline_ns = STREAM_FOREVER};
    if (!room->patient && choose(choices, 2) == 0) {
        want.deadline_ns = platform_now_ns() + (int64_t)choose(choices, 50000);
    }
    want.spin_ns = (uint32_t)choose(choices, 3) * 1000;
    return want;
}

/* ---- Senders ---- */

/* True: the channel is closed. */
static bool
settle(struct ch_sender *self, channel_item *item, unsigned number,
       stream_status status)
{
    CHECK(status != STREAM_AGAIN && status != STREAM_INTERRUPTED);
    self->accepted[number] = status == STREAM_OK;
    if (status != STREAM_OK) {
        CHECK(use_item(item) == (int)number);
    }
    return status == STREAM_CLOSED;
}

static bool
settle_parked(struct ch_sender *self, int place)
{
    struct test_sender *parked = &self->parked[place];
    self->pending[place] = false;
    CHECK(parked->notices <= 1);
    CHECK((parked->status == STREAM_OK) == (parked->sender.item == NULL));
    return settle(self, parked->sender.item, self->parked_number[place],
                  parked->notices == 0 ? STREAM_BUSY : (stream_status)parked->status);
}

static bool
resolve(struct ch_sender *self, int place, bool patiently)
{
    struct test_sender *parked = &self->parked[place];
    uint64_t looks = choose(&self->choices, 30);
    while (parked->notices == 0 && (patiently || looks-- > 0)) {
        sched_yield();
    }
    if (parked->notices == 0 &&
        channel_unpark(self->room->c, self->room->way, &parked->sender)) {
        CHECK(parked->notices == 0);
        return settle_parked(self, place);
    }
    while (parked->notices == 0) {
        sched_yield();
    }
    return settle_parked(self, place);
}

static bool
park(struct ch_sender *self, channel_item *item, unsigned number)
{
    int place = (int)choose(&self->choices, CH_PARKED);
    bool closed = false;
    if (self->pending[place]) {
        closed = resolve(self, place, choose(&self->choices, 3) == 0);
    }
    self->parked_number[place] = number;
    stream_status status =
        park_item(self->room->c, self->room->way, &self->parked[place], item);
    self->pending[place] = status == STREAM_AGAIN;
    if (status != STREAM_AGAIN) {
        closed = settle(self, item, number, status) || closed;
    }
    return closed;
}

/* ---- Senders that wait in an event loop ---- */

static void
note_outcome(struct ch_sender *self, int place)
{
    stream_pending *pending = self->waits[place];
    self->accepted[self->waits_number[place]] = channel_was_sent(pending);
    self->waits[place] = NULL;
    stream_pending_release(pending);
}

static void
cancel_send(struct ch_sender *self, int place)
{
    stream_pending *pending = self->waits[place];
    if (pending != NULL) {
        pending->user = NULL;
        stream_pending_share(pending); /* to be asked afterwards */
        stream_pending_cancel(pending);
        note_outcome(self, place);
    }
}

static void
take_sends(struct ch_sender *self)
{
    for (stream_pending *p = stream_waker_take(self->waker), *next; p != NULL;
         p = next) {
        stream_pending **place = p->user;
        next = p->next;
        stream_pending_release(p);
        if (place != NULL) {
            CHECK(*place == p);
            note_outcome(self, (int)(place - self->waits));
        }
    }
}

/* With sends that wait, some told, that are then the dead loop's. */
static void
change_sending_loop(struct ch_sender *self)
{
    stream_waker_close(self->waker);
    stream_waker_release(self->waker);
    pause_a_little(&self->choices, 1000);
    for (int place = 0; place < CH_PARKED; place++) {
        cancel_send(self, place);
    }
    self->waker = stream_waker_new();
    CHECK(self->waker != NULL);
}

static bool
send_on_loop(struct ch_sender *self, channel_item *item, unsigned number)
{
    int place = (int)choose(&self->choices, CH_PARKED);
    stream_pending **pending = &self->waits[place];
    if (choose(&self->choices, 20) == 0) {
        change_sending_loop(self);
    }
    if (*pending != NULL && choose(&self->choices, 3) != 0) {
        struct pollfd fd = {.fd = stream_waker_fd(self->waker), .events = POLLIN};
        CHECK(poll(&fd, 1, self->room->patient ? -1 : 0) >= 0);
        take_sends(self);
    }
    cancel_send(self, place);
    self->waits_number[place] = number;
    stream_status status = channel_send_on_loop(self->room->c, self->room->way, item,
                                                self->waker, pending, pending);
    return status != STREAM_AGAIN && settle(self, item, number, status);
}

static bool
send_one(struct ch_sender *self, unsigned number)
{
    struct ch_room *room = self->room;
    uint64_t size = choose(&self->choices, room->max_bytes + 1);
    channel_item *item = make_item(size, self->number, number);
    if (choose(&self->choices, 3) == 0) {
        return park(self, item, number);
    }
    if (choose(&self->choices, 3) == 0) {
        return send_on_loop(self, item, number);
    }
    if (choose(&self->choices, 3) == 0) {
        return settle(self, item, number, channel_send(room->c, room->way, item));
    }
    channel_want want = choose_want(room, &self->choices);
    return settle(self, item, number,
                  channel_send_wait(room->c, room->way, item, &want));
}

static void *
ch_sender(void *arg)
{
    struct ch_sender *self = arg;
    bool closed = false;
    self->waker = stream_waker_new();
    CHECK(self->waker != NULL);
    for (unsigned i = 0; i < CH_ITEMS && !closed; i++) {
        closed = send_one(self, i);
        pause_a_little(&self->choices, 1000);
    }
    for (int place = 0; place < CH_PARKED; place++) {
        if (self->pending[place]) {
            (void)resolve(self, place, true);
        }
    }
    change_sending_loop(self);
    stream_waker_release(self->waker);
    return NULL;
}

/* ---- Receivers ---- */

static void
note_item(struct ch_receiver *self, channel_item *item)
{
    struct test_item *got = (struct test_item *)(void *)item;
    unsigned sender = got->sender, number = got->number;
    struct ch_room *room = self->room;
    CHECK(sender < CH_SENDERS && number < CH_ITEMS);
    CHECK(room->seen[sender][number]++ == 0);
    CHECK(room->gives_back || (int)number > self->last[sender]);
    self->last[sender] = (int)number;
    item->release(item);
}

/* STREAM_OK: there was something, which may have been given back. */
static stream_status
receive_one(struct ch_receiver *self)
{
    channel_item *item;
    struct ch_room *room = self->room;
    stream_status status = channel_receive(room->c, room->way, &item);
    if (status == STREAM_OK) {
        if (room->gives_back && choose(&self->choices, 8) == 0) {
            pause_a_little(&self->choices, 1000);
            channel_unreceive(room->c, room->way, item);
        } else {
            note_item(self, item);
        }
    }
    return status;
}

static void *
ch_thread(void *arg)
{
    struct ch_receiver *self = arg;
    struct ch_room *room = self->room;
    stream_status status;
    while ((status = receive_one(self)) != STREAM_CLOSED) {
        if (status == STREAM_AGAIN) {
            channel_want want = choose_want(room, &self->choices);
            want.token = choose(&self->choices, 2) == 0 ? &room->token : NULL;
            status = channel_wait(room->c, room->way, &want);
            if (status == STREAM_CANCELLED) {
                stream_token_clear(&room->token);
            } else if (status == STREAM_OK && choose(&self->choices, 4) == 0) {
                channel_pass(room->c, room->way);
                pause_a_little(&self->choices, 1000);
            }
        }
        pause_a_little(&self->choices, 1000);
    }
    return NULL;
}

/* ---- Event loops ---- */

static void
forget_wait(struct ch_receiver *self, int place)
{
    self->waits[place] = NULL;
    self->armed--;
}

static void
cancel_wait(struct ch_receiver *self, int place)
{
    if (self->waits[place] != NULL) {
        self->waits[place]->user = NULL;
        stream_pending_cancel(self->waits[place]);
        forget_wait(self, place);
    }
}

/* With waits armed that are then the dead loop's. */
static void
change_loop(struct ch_receiver *self)
{
    stream_waker_close(self->waker);
    stream_waker_release(self->waker);
    pause_a_little(&self->choices, 1000);
    for (int place = 0; place < CH_WAITS; place++) {
        cancel_wait(self, place);
    }
    self->waker = stream_waker_new();
    CHECK(self->waker != NULL);
}

/* False: closed, and all has been received. */
static bool
arm_wait(struct ch_receiver *self, int place)
{
    stream_status status = STREAM_OK;
    while (self->waits[place] == NULL && status == STREAM_OK) {
        status = channel_wait_on_loop(self->room->c, self->room->way, self->waker,
                                      &self->waits[place], &self->waits[place]);
        if (status == STREAM_AGAIN) {
            self->armed++;
        } else if (receive_one(self) == STREAM_CLOSED) {
            return false;
        }
    }
    return true;
}

static void
take_waits(struct ch_receiver *self)
{
    struct pollfd fd = {.fd = stream_waker_fd(self->waker), .events = POLLIN};
    bool looks = self->armed > 0 && (self->room->patient || choose(&self->choices, 2));
    CHECK(poll(&fd, 1, looks ? -1 : 0) >= 0);
    for (stream_pending *p = stream_waker_take(self->waker), *next; p != NULL;
         p = next) {
        stream_pending **place = p->user;
        next = p->next;
        stream_pending_release(p);
        if (place == NULL) {
            continue;
        }
        CHECK(*place == p);
        pause_a_little(&self->choices, 1000);
        if (choose(&self->choices, 4) == 0) {
            cancel_wait(self, (int)(place - self->waits)); /* it passes */
            continue;
        }
        forget_wait(self, (int)(place - self->waits));
        stream_pending_release(p);
        (void)receive_one(self);
    }
}

static void *
ch_loop(void *arg)
{
    struct ch_receiver *self = arg;
    bool open = true;
    self->waker = stream_waker_new();
    CHECK(self->waker != NULL);
    while (open) {
        for (int place = 0; place < CH_WAITS && open; place++) {
            open = arm_wait(self, place);
        }
        if (choose(&self->choices, 3) == 0) {
            cancel_wait(self, (int)choose(&self->choices, CH_WAITS));
        }
        if (choose(&self->choices, 20) == 0) {
            change_loop(self);
        }
        if (open) {
            take_waits(self);
        }
    }
    change_loop(self);
    stream_waker_release(self->waker);
    return NULL;
}

/* ---- The others ---- */

static void *
ch_canceller(void *arg)
{
    struct ch_room *room = arg;
    struct choices choices = {.state = 71};
    while (!room->over) {
        stream_token_raise(&room->token);
        for (uint64_t n = choose(&choices, 20); n > 0; n--) {
            pause_a_little(&choices, 1000);
            sched_yield();
        }
    }
    return NULL;
}

/* At any moment, or not before all is sent. */
static void *
ch_closer(void *arg)
{
    struct ch_room *room = arg;
    struct choices choices = {.state = room->seed};
    if (choose(&choices, 2) == 0) {
        for (uint64_t n = choose(&choices, 3000); n > 0; n--) {
            pause_a_little(&choices, 1000);
        }
        channel_close(room->c);
    }
    return NULL;
}

/* ---- A round ---- */

static void
start_room(struct ch_room *room, channel *c, channel_way way, struct choices *choices)
{
    memset(room, 0, sizeof *room);
    room->c = c;
    room->way = way;
    room->max_bytes = channel_info_of(c).max_bytes;
    room->gives_back = choose(choices, 3) == 0;
    room->patient = choose(choices, 2) == 0;
    room->seed = choices->state;
    stream_token_init(&room->token);
    for (unsigned i = 0; i < CH_SENDERS; i++) {
        room->senders[i].room = room;
        room->senders[i].number = i;
        room->senders[i].choices.state = choices->state * (3 + 2 * i) | 1;
    }
    for (unsigned i = 0; i < CH_THREADS + CH_LOOPS; i++) {
        room->receivers[i].room = room;
        room->receivers[i].choices.state = choices->state * (11 + 2 * i) | 1;
        memset(room->receivers[i].last, 0xff, sizeof room->receivers[i].last);
    }
}

static void
check_room(struct ch_room *room)
{
    channel_info info = channel_info_of(room->c);
    CHECK(info.way[room->way].messages == 0 && info.way[room->way].size_bytes == 0);
    CHECK(info.way[room->way].senders == 0 && info.way[room->way].receivers == 0);
    for (int s = 0; s < CH_SENDERS; s++) {
        for (int i = 0; i < CH_ITEMS; i++) {
            CHECK(room->seen[s][i] == room->senders[s].accepted[i]);
        }
    }
    stream_token_destroy(&room->token);
}

static void
run_channel(struct ch_room rooms[2], uint64_t seed)
{
    struct choices choices = {.state = seed * 0x9e3779b97f4a7c15u | 1};
    struct crew senders = {0}, receivers = {0}, others = {0};
    channel *c = channel_new(1 + choose(&choices, choose(&choices, 2) == 0 ? 4 : 60));
    CHECK(c != NULL);
    int ways = 1 + (int)choose(&choices, 2);
    int threads = (int)choose(&choices, CH_THREADS + 1);
    int loops = (int)choose(&choices, CH_LOOPS + 1);
    loops = threads + loops == 0 ? 1 : loops;
    for (int w = 0; w < ways; w++) {
        start_room(&rooms[w], c, (channel_way)w, &choices);
        for (int i = 0; i < threads; i++) {
            crew_add(&receivers, ch_thread, &rooms[w].receivers[i]);
        }
        for (int i = 0; i < loops; i++) {
            crew_add(&receivers, ch_loop, &rooms[w].receivers[CH_THREADS + i]);
        }
        for (int i = 0; i < CH_SENDERS; i++) {
            crew_add(&senders, ch_sender, &rooms[w].senders[i]);
        }
        crew_add(&others, ch_canceller, &rooms[w]);
    }
    crew_add(&senders, ch_closer, rooms);
    crew_join(&senders);
    channel_close(c);
    crew_join(&receivers);
    for (int w = 0; w < ways; w++) {
        rooms[w].over = true;
    }
    crew_join(&others);
    CHECK(channel_is_quiet(c));
    for (int w = 0; w < ways; w++) {
        check_room(&rooms[w]);
    }
    channel_release(c);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

void
test_stress_channel(void)
{
    static struct ch_room rooms[2];
    const char *given = getenv("MODEL_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    int64_t until = platform_now_ns() + 10000 * MS;
    for (int n = 0; n < CH_ROUNDS && platform_now_ns() < until; n++, seed++) {
        run_channel(rooms, seed);
    }
}
