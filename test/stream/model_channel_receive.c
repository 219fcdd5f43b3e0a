/* model_channel_receive.c: what the receivers of the model of a channel do. */
#include "model_channel.h"

/* ---- Receiving ---- */

/* True: there was one. */
static bool
take_item(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    channel_item *item;
    stream_status status = channel_receive(m->c, (channel_way)way, &item);
    CHECK(status == (w->count > 0 ? STREAM_OK
                     : m->closed  ? STREAM_CLOSED
                                  : STREAM_AGAIN));
    if (status != STREAM_OK) {
        return false;
    }
    struct model_item taken = w->items[0];
    w->count--;
    memmove(w->items, w->items + 1, w->count * sizeof w->items[0]);
    model_admit(m, way);
    CHECK(item->size_bytes == taken.size);
    if (w->held_count < HELD_MOST && choose(m->choices, 3) == 0) {
        w->held_items[w->held_count] = taken;
        w->held[w->held_count++] = item;
    } else {
        CHECK(use_item(item) == (int)taken.number);
    }
    return true;
}

void
model_step_receive(struct channel_model *m, int way)
{
    (void)take_item(m, way);
}

void
model_step_unreceive(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    if (w->held_count > 0) {
        w->held_count--;
        channel_unreceive(m->c, (channel_way)way, w->held[w->held_count]);
        model_insert_item(m, way, 0, w->held_items[w->held_count]);
    }
}

/* What one does who was told. */
static void
look_or_pass(struct channel_model *m, int way, struct model_receiver *r)
{
    r->state = IDLE;
    if (choose(m->choices, 3) != 0) {
        (void)take_item(m, way);
    } else {
        channel_pass(m->c, (channel_way)way);
        model_pass(m, way);
    }
}

void
model_step_listen(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_receiver *r = &w->receivers[choose(m->choices, RECEIVERS)];
    bool look = w->count > 0 || m->closed;
    if (r->state != IDLE) {
        return;
    }
    r->receiver.absent = choose(m->choices, 4) == 0;
    CHECK(listen_to(m->c, (channel_way)way, &r->receiver) ==
          (look ? STREAM_OK : STREAM_AGAIN));
    if (!look) {
        r->state = LISTENING;
        w->listening[w->listeners++] = r;
    }
}

static void
unlist(struct model_way *w, struct model_receiver *r)
{
    size_t place = 0;
    while (w->listening[place] != r) {
        place++;
    }
    model_remove_listener(w, place);
    r->state = IDLE;
}

/* Gives up, or does what is due. */
void
model_step_unlisten(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_receiver *r = &w->receivers[choose(m->choices, RECEIVERS)];
    if (r->state == IDLE) {
        return;
    }
    CHECK(channel_unlisten(m->c, (channel_way)way, &r->receiver.receiver) ==
          (r->state == LISTENING));
    CHECK(r->receiver.notices == (r->state == TOLD));
    if (r->state == LISTENING) {
        unlist(w, r);
    } else if (r->receiver.absent) {
        r->state = IDLE;
    } else {
        look_or_pass(m, way, r);
    }
}

/* A wait that does not. */
void
model_step_channel_wait(struct channel_model *m, int way)
{
    const struct model_way *w = &m->ways[way];
    stream_token token;
    stream_token_init(&token);
    channel_want want = {.token = choose(m->choices, 2) == 0 ? &token : NULL};
    want.spin_ns = (uint32_t)choose(m->choices, 2);
    stream_status expected = STREAM_TIMEDOUT;
    if (choose(m->choices, 2) == 0) {
        stream_token_raise(&token);
        expected = want.token != NULL ? STREAM_CANCELLED : expected;
    }
    CHECK(channel_wait(m->c, (channel_way)way, &want) ==
          (w->count > 0 || m->closed ? STREAM_OK : expected));
    stream_token_destroy(&token);
}

/* ---- Event loops ---- */

void
model_step_arm(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_receiver *r = &w->receivers[RECEIVERS + choose(m->choices, WAITS)];
    int waker = (int)choose(m->choices, WAKERS);
    if (r->state != IDLE) {
        return;
    }
    stream_status status = channel_wait_on_loop(m->c, (channel_way)way,
                                                m->wakers[waker].waker, r, &r->pending);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
        return;
    }
    CHECK(status == (w->count > 0 || m->closed ? STREAM_OK : STREAM_AGAIN));
    if (status == STREAM_AGAIN) {
        r->state = LISTENING;
        r->waker = waker;
        w->listening[w->listeners++] = r;
    }
}

static void
forget(struct channel_model *m, const struct model_receiver *r)
{
    for (int i = 0; i < WAKERS; i++) {
        for (size_t n = 0; n < m->wakers[i].count; n++) {
            if (m->wakers[i].ready[n].receiver == r) {
                m->wakers[i].ready[n].receiver = NULL;
            }
        }
    }
}

void
model_step_cancel(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_receiver *r = &w->receivers[RECEIVERS + choose(m->choices, WAITS)];
    if (r->state == IDLE) {
        return;
    }
    r->pending->user = NULL;
    stream_pending_cancel(r->pending);
    r->pending = NULL;
    if (r->state == LISTENING) {
        unlist(w, r);
        return;
    }
    forget(m, r);
    r->state = IDLE;
    model_pass(m, way);
}

void
model_step_take(struct channel_model *m, int way)
{
    struct model_waker *waker = &m->wakers[choose(m->choices, WAKERS)], taken = *waker;
    (void)way;
    CHECK(is_woken(waker->waker) == (waker->count > 0));
    stream_pending *pending = stream_waker_take(waker->waker), *next;
    waker->count = 0;
    for (size_t i = 0; i < taken.count; i++, pending = next) {
        struct model_receiver *r = taken.ready[i].receiver;
        CHECK(pending == taken.ready[i].pending && pending->user == r);
        next = pending->next;
        stream_pending_release(pending);
        if (r != NULL) {
            stream_pending_release(r->pending);
            r->pending = NULL;
            look_or_pass(m, taken.ready[i].way, r);
        }
    }
    CHECK(pending == NULL);
}

void
model_close_waker(struct channel_model *m, int number)
{
    struct model_waker *waker = &m->wakers[number], taken = *waker;
    waker->count = 0;
    stream_waker_close(waker->waker);
    stream_waker_release(waker->waker);
    for (int way = 0; way < 2; way++) {
        for (int i = RECEIVERS; i < RECEIVERS + WAITS; i++) {
            struct model_receiver *r = &m->ways[way].receivers[i];
            if (r->state != IDLE && r->waker == number) {
                r->waker = -1;
                r->state = r->state == TOLD ? LOST : r->state;
            }
        }
    }
    for (size_t i = 0; i < taken.count; i++) {
        model_pass(m, taken.ready[i].way);
    }
}

void
model_step_close_waker(struct channel_model *m, int way)
{
    int number = (int)choose(m->choices, WAKERS);
    (void)way;
    if (choose(m->choices, 4) == 0) {
        memory_fail_often(0);
        model_close_waker(m, number);
        m->wakers[number].waker = stream_waker_new();
        CHECK(m->wakers[number].waker != NULL);
    }
}
