/*
 * model.h: the stream against a flat array, driven by choices.
 *
 * ENCODING.  choose(n) takes as many bytes of the fuzzer's as n - 1 fills, high byte
 * first, and their value modulo n; when there are none left it is 0.  In this order:
 * the options (choose_options() in model.c), then for each step its number, which is
 * its place in `steps` in model.c, and what that step chooses.  fuzz.c takes the number
 * of steps from the size, and from the first byte whether memory fails.  New steps go
 * to the end of the table, so that a corpus keeps most of its meaning.
 */
#ifndef ERLPY_STREAM_MODEL_H
#define ERLPY_STREAM_MODEL_H

#include "test.h"

#if defined(STREAM_TINY)
#    define MODEL_BYTES   4096
#    define PIECE_BYTES   60
#    define MODEL_SECONDS 4
#else
#    define MODEL_BYTES   (1 << 20)
#    define PIECE_BYTES   20000
#    define MODEL_SECONDS 6
#endif
#define VIEWS_HELD  8
#define WRITES_HELD 5

struct held_view {
    stream_view view;
    uint64_t offset;
};

/* A write that waits, and what is to become of it. */
struct held_write {
    struct parked_write write; /* first */
    bool in_use;
    stream_status expected; /* STREAM_AGAIN while it waits */
    size_t size;
    uint8_t bytes[PIECE_BYTES];
};

struct held_watch {
    stream_watcher watcher; /* first */
    stream_status expected, told;
};

struct model {
    struct choices *choices;
    stream *s;
    stream_options options;
    uint8_t *bytes; /* all that was ever written */
    uint64_t written, position;
    bool ended, aborted, truncated, closed, may_fail;
    struct test_reason reason;
    struct held_view views[VIEWS_HELD];
    struct held_write writes[WRITES_HELD];
    struct held_write *queue[WRITES_HELD]; /* in the order of their turn */
    size_t queued;
    struct held_watch watch;
    stream_waker *waker;
    stream_pending *loop; /* a wait of an event loop, or NULL */
    uint64_t loop_position, loop_need;
    bool loop_over;
    uint8_t scratch[MODEL_BYTES];
};

/* One stream from birth to death, `steps` random operations long; one channel. */
void model_run(struct choices *choices, unsigned steps, bool without_memory);
void model_run_channel(struct choices *choices, unsigned steps, bool without_memory);
/* Runs with seeds that count up from the first one, for a few seconds; with MODEL_SEED
 * just that of the seed. */
void model_rounds(void (*run)(struct choices *, unsigned steps, bool without_memory),
                  bool without_memory);

bool model_is_whole(const struct model *m);
uint64_t model_unread(const struct model *m);
uint64_t model_choose_size(struct model *m, uint64_t most);
/* Does what the stream does by itself after each change. */
void model_settle(struct model *m);
void model_check_view(const struct model *m, const struct held_view *held);

void model_step_peek(struct model *m);
void model_step_read(struct model *m);
void model_step_drain(struct model *m);
void model_step_line(struct model *m);
void model_step_seek(struct model *m);
void model_step_read_at(struct model *m);
void model_step_find(struct model *m);
void model_step_view(struct model *m);
void model_step_view_all(struct model *m);
void model_step_view_take(struct model *m);
void model_step_view_share(struct model *m);
void model_step_wait(struct model *m);
void model_step_loop_wait(struct model *m);
/* It waits, and has not got what it waits for. */
bool model_loop_lacks(const struct model *m);

#endif
