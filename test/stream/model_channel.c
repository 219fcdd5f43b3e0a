/*
 * model_channel.c: random operations on a channel and on simple lists; both must agree
 * on every item, status and notice, and the channel be valid, after each.
 */
#include "model_channel.h"

/* ---- What the channel does by itself ---- */

static wide
sum_of(const struct model_way *w)
{
    wide sum = 0;
    for (size_t i = 0; i < w->count; i++) {
        sum += w->items[i].size;
    }
    return sum;
}

static bool
has_room(const struct channel_model *m, const struct model_way *w, uint64_t size)
{
    return w->count == 0 || sum_of(w) + size <= m->max_bytes;
}

void
model_remove_listener(struct model_way *w, size_t place)
{
    w->listeners--;
    memmove(w->listening + place, w->listening + place + 1,
            (w->listeners - place) * sizeof w->listening[0]);
}

/* False: nobody will look. */
static bool
tell_receiver(struct channel_model *m, int way, struct model_receiver *r)
{
    r->state = TOLD;
    if (r->pending == NULL) {
        return !r->receiver.absent;
    }
    bool posted = model_post(m, r->waker, r->pending, r, false, way);
    r->state = posted ? TOLD : LOST;
    return posted;
}

void
model_pass(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    bool told = false;
    while (!told && w->listeners > 0 && (w->count > 0 || m->closed)) {
        struct model_receiver *r = w->listening[0];
        model_remove_listener(w, 0);
        told = tell_receiver(m, way, r);
    }
}

void
model_insert_item(struct channel_model *m, int way, size_t place,
                  struct model_item item)
{
    struct model_way *w = &m->ways[way];
    CHECK(w->count < sizeof w->items / sizeof w->items[0]);
    memmove(w->items + place + 1, w->items + place,
            (w->count - place) * sizeof w->items[0]);
    w->items[place] = item;
    w->count++;
    model_pass(m, way);
}

void
model_leave_queue(struct model_way *w, const struct model_sender *sender)
{
    size_t place = 0;
    while (w->queue[place] != sender) {
        place++;
    }
    w->queued--;
    memmove(w->queue + place, w->queue + place + 1,
            (w->queued - place) * sizeof w->queue[0]);
}

static void
tell_sender(struct channel_model *m, int way, struct model_sender *sender,
            stream_status status)
{
    sender->expected = status;
    if (sender->pending != NULL) {
        (void)model_post(m, sender->waker, sender->pending, sender, true, way);
    }
}

void
model_admit(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    while (w->queued > 0 && !m->closed && has_room(m, w, w->queue[0]->item.size)) {
        struct model_sender *sender = w->queue[0];
        model_leave_queue(w, sender);
        model_insert_item(m, way, w->count, sender->item);
        tell_sender(m, way, sender, STREAM_OK);
    }
}

static void
note_close(struct channel_model *m)
{
    m->closed = true;
    for (int way = 0; way < 2; way++) {
        struct model_way *w = &m->ways[way];
        while (w->queued > 0) {
            struct model_sender *sender = w->queue[0];
            model_leave_queue(w, sender);
            tell_sender(m, way, sender, STREAM_CLOSED);
        }
        while (w->listeners > 0) {
            model_pass(m, way);
        }
    }
}

/* ---- Sending ---- */

channel_item *
model_new_item(struct channel_model *m, const struct model_way *w,
               struct model_item *item)
{
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2,
                                     UINT64_MAX / 2 + 2};
    if (w->count >= ITEMS_MOST) {
        return NULL;
    }
    item->size = choose(m->choices, 8) == 0 ? sizes[choose(m->choices, 4)]
                                            : choose(m->choices, 8);
    item->number = m->next_number++;
    return make_item(item->size, 0, item->number);
}

stream_status
model_expect_send(const struct channel_model *m, const struct model_way *w,
                  uint64_t size)
{
    if (m->closed) {
        return STREAM_CLOSED;
    }
    return w->queued == 0 && has_room(m, w, size) ? STREAM_OK : STREAM_BUSY;
}

static stream_status
send_or_wait(struct channel_model *m, int way, channel_item *item, bool waits)
{
    if (!waits) {
        return channel_send(m->c, (channel_way)way, item);
    }
    stream_token token;
    stream_token_init(&token);
    channel_want want = {.token = choose(m->choices, 2) == 0 ? &token : NULL};
    if (choose(m->choices, 2) == 0) {
        stream_token_raise(&token);
    }
    stream_status status = channel_send_wait(m->c, (channel_way)way, item, &want);
    bool raised = want.token != NULL && stream_token_is_raised(&token);
    stream_token_destroy(&token);
    if (status == (raised ? STREAM_CANCELLED : STREAM_TIMEDOUT)) {
        return STREAM_BUSY;
    }
    CHECK(status == STREAM_OK || status == STREAM_CLOSED);
    return status;
}

static void
step_send(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_item made;
    channel_item *item = model_new_item(m, w, &made);
    if (item == NULL) {
        return;
    }
    stream_status status = send_or_wait(m, way, item, choose(m->choices, 4) == 0);
    CHECK(status == model_expect_send(m, w, made.size));
    if (status == STREAM_OK) {
        model_insert_item(m, way, w->count, made);
    } else {
        CHECK(use_item(item) == (int)made.number);
    }
}

static void
step_park(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_sender *sender = &w->senders[choose(m->choices, SENDERS)];
    channel_item *item = sender->in_use ? NULL : model_new_item(m, w, &sender->item);
    if (item == NULL) {
        return;
    }
    stream_status status = park_item(m->c, (channel_way)way, &sender->sender, item);
    stream_status expected = model_expect_send(m, w, sender->item.size);
    CHECK(status == (expected == STREAM_BUSY ? STREAM_AGAIN : expected));
    CHECK(sender->sender.notices == 0);
    if (status == STREAM_AGAIN) {
        sender->in_use = true;
        sender->expected = STREAM_AGAIN;
        w->queue[w->queued++] = sender;
    } else if (status == STREAM_OK) {
        CHECK(sender->sender.sender.item == NULL);
        model_insert_item(m, way, w->count, sender->item);
    } else {
        CHECK(use_item(sender->sender.sender.item) == (int)sender->item.number);
    }
}

static void
step_unpark(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_sender *sender = &w->senders[choose(m->choices, SENDERS)];
    if (!sender->in_use) {
        return;
    }
    CHECK(channel_unpark(m->c, (channel_way)way, &sender->sender.sender));
    model_leave_queue(w, sender);
    model_admit(m, way);
    CHECK(use_item(sender->sender.sender.item) == (int)sender->item.number);
    sender->in_use = false;
}

/* Those that were decided since the last step. */
static void
check_senders(struct model_way *w)
{
    for (int i = 0; i < SENDERS; i++) {
        struct model_sender *sender = &w->senders[i];
        if (!sender->in_use) {
            continue;
        }
        CHECK(sender->sender.notices == (sender->expected != STREAM_AGAIN));
        CHECK(sender->sender.status == (int)sender->expected);
        if (sender->expected != STREAM_AGAIN) {
            sender->in_use = false;
            channel_item *back = sender->sender.sender.item;
            CHECK((back == NULL) == (sender->expected == STREAM_OK));
            CHECK(back == NULL || use_item(back) == (int)sender->item.number);
        }
    }
    for (int i = SENDERS; i < SENDERS + SENDS; i++) {
        struct model_sender *sender = &w->senders[i];
        CHECK(sender->in_use == (sender->pending != NULL));
        CHECK(!sender->in_use || sender->expected == STREAM_AGAIN ||
              channel_was_sent(sender->pending) == (sender->expected == STREAM_OK));
    }
}

/* ---- The ends ---- */

static void
step_close(struct channel_model *m, int way)
{
    switch (choose(m->choices, 60)) {
    case 1:
        channel_close(m->c);
        note_close(m);
        break;
    case 2:
    case 3:
        channel_add_holder(m->c);
        m->holders++;
        break;
    case 4:
        if (m->holders > 0) {
            channel_drop_holder(m->c);
            if (--m->holders == 0) {
                note_close(m);
            }
        }
        break;
    default:
        model_step_receive(m, way);
    }
}

/* ---- The whole ---- */

static void (*const channel_steps[])(struct channel_model *,
                                     int way) = {step_send,
                                                 step_send,
                                                 step_send,
                                                 step_park,
                                                 step_park,
                                                 step_unpark,
                                                 model_step_arm_send,
                                                 model_step_arm_send,
                                                 model_step_cancel_send,
                                                 model_step_receive,
                                                 model_step_receive,
                                                 model_step_listen,
                                                 model_step_listen,
                                                 model_step_listen,
                                                 model_step_unlisten,
                                                 model_step_unlisten,
                                                 model_step_arm,
                                                 model_step_arm,
                                                 model_step_arm,
                                                 model_step_cancel,
                                                 model_step_take,
                                                 model_step_take,
                                                 step_close,
                                                 model_step_channel_wait,
                                                 model_step_unreceive,
                                                 model_step_close_waker};

static uint64_t
told_of(const struct model_way *w)
{
    uint64_t told = 0;
    for (int i = 0; i < RECEIVERS + WAITS; i++) {
        const struct model_receiver *r = &w->receivers[i];
        told += r->state == TOLD && (r->pending != NULL || !r->receiver.absent);
    }
    return told;
}

static void
check_channel(struct channel_model *m)
{
    channel_info info = channel_info_of(m->c);
    uint64_t told[2];
    CHECK(info.closed == m->closed && channel_is_closed(m->c) == m->closed);
    for (int way = 0; way < 2; way++) {
        struct model_way *w = &m->ways[way];
        wide sum = sum_of(w);
        check_senders(w);
        told[way] = told_of(w);
        CHECK(info.way[way].messages == w->count);
        CHECK(info.way[way].size_bytes ==
              (sum < UINT64_MAX ? (uint64_t)sum : UINT64_MAX));
        CHECK(info.way[way].senders == w->queued);
        CHECK(info.way[way].receivers == w->listeners);
        for (int i = 0; i < RECEIVERS; i++) {
            const struct model_receiver *r = &w->receivers[i];
            CHECK(r->state == IDLE || r->receiver.notices == (r->state == TOLD));
        }
    }
    CHECK(channel__validate(m->c, told));
    for (int i = 0; i < WAKERS; i++) {
        CHECK(is_woken(m->wakers[i].waker) == (m->wakers[i].count > 0));
    }
}

static void
end_way(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    for (int i = 0; i < RECEIVERS + WAITS; i++) {
        struct model_receiver *r = &w->receivers[i];
        if (r->pending != NULL) {
            stream_pending_cancel(r->pending);
        } else if (r->state == LISTENING) {
            CHECK(channel_unlisten(m->c, (channel_way)way, &r->receiver.receiver));
        }
    }
    for (; w->queued > 0; w->queued--) {
        struct model_sender *sender = w->queue[w->queued - 1];
        if (sender->pending == NULL) {
            CHECK(channel_unpark(m->c, (channel_way)way, &sender->sender.sender));
            (void)use_item(sender->sender.sender.item);
        } else {
            stream_pending_cancel(sender->pending);
            sender->pending = NULL;
        }
    }
    for (int i = SENDERS; i < SENDERS + SENDS; i++) {
        if (w->senders[i].pending != NULL) {
            stream_pending_cancel(w->senders[i].pending);
        }
    }
    for (; w->held_count > 0; w->held_count--) {
        (void)use_item(w->held[w->held_count - 1]);
    }
}

/* What is queued is received, or freed with the channel. */
static void
end_of_channel_model(struct channel_model *m)
{
    for (int i = 0; i < WAKERS; i++) {
        model_close_waker(m, i);
    }
    end_way(m, 0);
    end_way(m, 1);
    for (int way = 0; way < 2 && choose(m->choices, 2) == 0; way++) {
        for (size_t i = 0; i < m->ways[way].count; i++) {
            CHECK(receive_item(m->c, (channel_way)way) ==
                  (int)m->ways[way].items[i].number);
        }
    }
    channel_release(m->c);
    CHECK(memory_live_blocks() == 0 && foreign_live_blocks() == 0);
}

void
model_run_channel(struct choices *choices, unsigned count, bool without_memory)
{
    static struct channel_model model;
    struct channel_model *m = &model;
    memset(m, 0, sizeof *m);
    m->choices = choices;
    m->may_fail = without_memory;
    m->max_bytes = choose(m->choices, 4) == 0 ? UINT64_MAX - choose(m->choices, 3)
                                              : 1 + choose(m->choices, 20);
    m->c = channel_new(m->max_bytes);
    CHECK(m->c != NULL);
    for (int i = 0; i < WAKERS; i++) {
        m->wakers[i].waker = stream_waker_new();
        CHECK(m->wakers[i].waker != NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        memory_fail_often(without_memory ? 3 : 0);
        int way = (int)choose(m->choices, 2);
        channel_steps[choose(m->choices,
                             sizeof channel_steps / sizeof channel_steps[0])](m, way);
        memory_fail_often(0);
        check_channel(m);
    }
    (void)memory_failed();
    end_of_channel_model(m);
}

void
test_model_channel(void)
{
    model_rounds(model_run_channel, false);
}

void
test_model_channel_without_memory(void)
{
    model_rounds(model_run_channel, true);
}
