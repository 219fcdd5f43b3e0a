/* model_channel_loop.c: what the event loops of the model of a channel do. */
#include "model_channel.h"

bool
model_post(struct channel_model *m, int number, stream_pending *pending, void *user,
           bool sends, int way)
{
    if (number < 0) {
        return false;
    }
    struct model_waker *waker = &m->wakers[number];
    CHECK(waker->count < READY_MOST);
    waker->ready[waker->count].pending = pending;
    waker->ready[waker->count].user = user;
    waker->ready[waker->count].sends = sends;
    waker->ready[waker->count++].way = way;
    return true;
}

static void
forget(struct channel_model *m, const void *user)
{
    for (int i = 0; i < WAKERS; i++) {
        for (size_t n = 0; n < m->wakers[i].count; n++) {
            if (m->wakers[i].ready[n].user == user) {
                m->wakers[i].ready[n].user = NULL;
            }
        }
    }
}

/* ---- Waits for an item ---- */

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
        model_unlist(w, r);
        return;
    }
    forget(m, r);
    r->state = IDLE;
    model_pass(m, way);
}

/* ---- Waits for room ---- */

void
model_step_arm_send(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_sender *sender = &w->senders[SENDERS + choose(m->choices, SENDS)];
    int waker = (int)choose(m->choices, WAKERS);
    channel_item *item = sender->in_use ? NULL : model_new_item(m, w, &sender->item);
    if (item == NULL) {
        return;
    }
    stream_status expected = model_expect_send(m, w, sender->item.size);
    stream_status status = channel_send_on_loop(
        m->c, (channel_way)way, item, m->wakers[waker].waker, sender, &sender->pending);
    if (status == STREAM_NOMEM) {
        CHECK(m->may_fail);
    } else {
        CHECK(status == (expected == STREAM_BUSY ? STREAM_AGAIN : expected));
    }
    if (status == STREAM_AGAIN) {
        sender->in_use = true;
        sender->waker = waker;
        sender->expected = STREAM_AGAIN;
        w->queue[w->queued++] = sender;
    } else if (status == STREAM_OK) {
        model_insert_item(m, way, w->count, sender->item);
    } else {
        CHECK(use_item(item) == (int)sender->item.number);
    }
}

void
model_step_cancel_send(struct channel_model *m, int way)
{
    struct model_way *w = &m->ways[way];
    struct model_sender *sender = &w->senders[SENDERS + choose(m->choices, SENDS)];
    if (!sender->in_use) {
        return;
    }
    sender->pending->user = NULL;
    stream_pending_cancel(sender->pending);
    sender->pending = NULL;
    sender->in_use = false;
    if (sender->expected == STREAM_AGAIN) {
        model_leave_queue(w, sender);
        model_admit(m, way);
    } else {
        forget(m, sender);
    }
}

/* ---- Their ends ---- */

static void
end_send(struct model_sender *sender)
{
    CHECK(channel_was_sent(sender->pending) == (sender->expected == STREAM_OK));
    stream_pending_release(sender->pending);
    sender->pending = NULL;
    sender->in_use = false;
}

static void
end_wait(struct channel_model *m, int way, struct model_receiver *r)
{
    stream_pending_release(r->pending);
    r->pending = NULL;
    model_look_or_pass(m, way, r);
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
        void *user = taken.ready[i].user;
        CHECK(pending == taken.ready[i].pending && pending->user == user);
        next = pending->next;
        stream_pending_release(pending);
        if (user != NULL && taken.ready[i].sends) {
            end_send(user);
        } else if (user != NULL) {
            end_wait(m, taken.ready[i].way, user);
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
        for (int i = SENDERS; i < SENDERS + SENDS; i++) {
            struct model_sender *sender = &m->ways[way].senders[i];
            sender->waker = sender->waker == number ? -1 : sender->waker;
        }
    }
    for (size_t i = 0; i < taken.count; i++) {
        if (!taken.ready[i].sends) {
            model_pass(m, taken.ready[i].way);
        }
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
