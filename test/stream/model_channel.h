/*
 * model_channel.h: a channel against simple lists, driven by choices.
 *
 * The lists know who is to be told of what: each item that enters tells the first
 * receiver that will look.  One that was told looks later, gives up, or is cancelled.
 */
#ifndef ERLPY_STREAM_MODEL_CHANNEL_H
#define ERLPY_STREAM_MODEL_CHANNEL_H

#include "model.h"

enum {
    ITEMS_MOST = 24,
    SENDERS = 5,
    RECEIVERS = 4,
    WAITS = 6, /* of event loops, for an item */
    SENDS = 4, /* of event loops, for room */
    HELD_MOST = 3,
    WAKERS = 2,
    READY_MOST = 128
};

__extension__ typedef unsigned __int128 wide;

struct model_item {
    uint64_t size;
    unsigned number;
};

/* A sender with a notice of its own, or (`pending`) a wait of an event loop. */
struct model_sender {
    struct test_sender sender; /* first */
    stream_pending *pending;
    int waker; /* -1: closed */
    struct model_item item;
    bool in_use;
    stream_status expected; /* STREAM_AGAIN while it waits */
};

enum state { IDLE, LISTENING, TOLD, LOST /* told to a loop that is closed */ };

/* A receiver with a notice of its own, or (`pending`) a wait of an event loop. */
struct model_receiver {
    struct test_receiver receiver; /* first */
    stream_pending *pending;
    int waker; /* -1: closed */
    enum state state;
};

struct model_way {
    struct model_item items[ITEMS_MOST + SENDERS + SENDS + HELD_MOST];
    size_t count;
    struct model_sender senders[SENDERS + SENDS]; /* the last ones: of loops */
    struct model_sender *queue[SENDERS + SENDS];
    size_t queued;
    struct model_receiver receivers[RECEIVERS + WAITS]; /* the last ones: of loops */
    struct model_receiver *listening[RECEIVERS + WAITS];
    size_t listeners;
    channel_item *held[HELD_MOST];
    struct model_item held_items[HELD_MOST];
    size_t held_count;
};

struct model_waker {
    stream_waker *waker;
    struct {
        stream_pending *pending;
        void *user; /* a model_receiver or model_sender; NULL: cancelled */
        bool sends;
        int way;
    } ready[READY_MOST];
    size_t count;
};

struct channel_model {
    struct choices *choices;
    channel *c;
    uint64_t max_bytes;
    bool closed, may_fail;
    unsigned holders, next_number;
    struct model_way ways[2];
    struct model_waker wakers[WAKERS];
};

/* What the channel does by itself: tells the next one that there is something, lets
 * senders in; puts an item in a place. */
void model_pass(struct channel_model *m, int way);
void model_admit(struct channel_model *m, int way);
void model_insert_item(struct channel_model *m, int way, size_t place,
                       struct model_item item);

/* NULL: there are enough.  What the channel answers to a send. */
channel_item *model_new_item(struct channel_model *m, const struct model_way *w,
                             struct model_item *item);
stream_status model_expect_send(const struct channel_model *m,
                                const struct model_way *w, uint64_t size);
void model_leave_queue(struct model_way *w, const struct model_sender *sender);
void model_remove_listener(struct model_way *w, size_t place);
void model_unlist(struct model_way *w, struct model_receiver *r);
/* What one does who was told. */
void model_look_or_pass(struct channel_model *m, int way, struct model_receiver *r);
/* A wait of a loop is over: in the list of its waker, if that is open. */
bool model_post(struct channel_model *m, int waker, stream_pending *pending, void *user,
                bool sends, int way);
void model_close_waker(struct channel_model *m, int number);

void model_step_receive(struct channel_model *m, int way);
void model_step_unreceive(struct channel_model *m, int way);
void model_step_listen(struct channel_model *m, int way);
void model_step_unlisten(struct channel_model *m, int way);
void model_step_channel_wait(struct channel_model *m, int way);
void model_step_arm(struct channel_model *m, int way);
void model_step_cancel(struct channel_model *m, int way);
void model_step_arm_send(struct channel_model *m, int way);
void model_step_cancel_send(struct channel_model *m, int way);
void model_step_take(struct channel_model *m, int way);
void model_step_close_waker(struct channel_model *m, int way);

#endif
