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

void
model_look_or_pass(struct channel_model *m, int way, struct model_receiver *r)
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

void
model_unlist(struct model_way *w, struct model_receiver *r)
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
        model_unlist(w, r);
    } else if (r->receiver.absent) {
        r->state = IDLE;
    } else {
        model_look_or_pass(m, way, r);
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
