/*
 * reactor_batch.c: the serving thread: what it reads, and how it waits.
 */
#include "reactor.h"

#include <errno.h>
#include <string.h>

#include "reactor_internal.h"

/* One that had nothing in so many batches is watched. */
#define MOST_TRIES 4
/* A spin that is worth it makes up for so many in vain. */
#define SPIN_GAIN  8
#define SPIN_PROBE 8
/* Of so many connections the news are taken at a time; each may make three events. */
#define MOST_NEWS     (REACTOR_BATCH / 4)
#define ADDRESS_ALIGN ((size_t)16)

/* ---- Those that are tried ---- */

static void
append_hot(reactor *r, connection *c)
{
    c->next_hot = NULL;
    *(r->hot != NULL ? &r->last_hot->next_hot : &r->hot) = c;
    r->last_hot = c;
}

static connection *
take_hot(reactor *r)
{
    connection *c = r->hot;
    r->hot = c->next_hot;
    return c;
}

static void
cool(connection *c)
{
    c->hot = false;
    c->host->release(c);
}

void
reactor__heat(connection *c)
{
    if (!c->hot && !(c->watched & REACTOR_READABLE)) {
        c->host->share(c);
        c->hot = true;
        c->tries = 0;
        append_hot(c->home, c);
    }
}

void
reactor_leave(reactor *r)
{
    reactor_close(r);
    while (reactor_close_one(r)) {
    }
    while (r->hot != NULL) {
        cool(take_hot(r));
    }
}

/* ---- The block that is read into ---- */

static bool
make_room(reactor *r)
{
    stream_segment *block = r->block;
    if (block != NULL && atomic_load(&block->refs) == 1) {
        r->used = 0;
    } else if (block != NULL && REACTOR_BLOCK_BYTES - r->used < REACTOR_LEAST_BYTES) {
        stream__segment_unpin(block);
        r->block = NULL;
    }
    if (r->block == NULL) {
        r->block = stream__segment_new(NULL, REACTOR_BLOCK_BYTES);
        r->used = 0;
    }
    return r->block != NULL;
}

void
reactor_unpin(stream_segment *segment)
{
    if (segment != NULL) {
        stream__segment_unpin(segment);
    }
}

/* ---- Batches ---- */

typedef struct batch {
    reactor *r;
    reactor_event *events;
    unsigned count;
} batch;

static bool
has_place(const batch *b)
{
    return b->count < REACTOR_BATCH &&
           REACTOR_BLOCK_BYTES - b->r->used >= REACTOR_LEAST_BYTES;
}

static reactor_event *
add_event(batch *b, connection *c, reactor_event_kind kind, int error)
{
    reactor_event *event = &b->events[b->count++];
    event->connection = c;
    event->kind = kind;
    event->error = error;
    event->data = NULL;
    event->size = 0;
    event->segment = NULL;
    event->address = NULL;
    event->address_size = 0;
    c->host->share(c);
    return event;
}

static void
add_data(batch *b, connection *c, const uint8_t *data, size_t size)
{
    reactor_event *event = add_event(b, c, REACTOR_DATA, 0);
    event->data = data;
    event->size = size;
    event->segment = b->r->block;
    stream__segment_pin(b->r->block);
    atomic_fetch_add_explicit(&b->r->bytes_in, size, memory_order_relaxed);
}

static void
add_failure(batch *b, connection *c, int error)
{
    c->reading = c->datagrams && c->reading;
    add_event(b, c, REACTOR_FAILED, error);
}

/* The address is kept in the block, before the bytes. */
static bool
read_datagram(batch *b, connection *c)
{
    reactor *r = b->r;
    uint8_t *room = stream__segment_room(r->block, r->block->bytes + r->used);
    struct sockaddr_storage address;
    socklen_t address_size = sizeof address;
    size_t size = REACTOR_BLOCK_BYTES - r->used - sizeof address;
    int error =
        connection__receive(c, room + sizeof address, &size, &address, &address_size);
    if (error == EAGAIN) {
        return false;
    }
    if (error != 0) {
        add_failure(b, c, error);
        return true;
    }
    memcpy(room, &address, sizeof address);
    add_data(b, c, room + sizeof address, size);
    b->events[b->count - 1].address = (const struct sockaddr *)(const void *)room;
    b->events[b->count - 1].address_size = address_size;
    r->used += (sizeof address + size + ADDRESS_ALIGN - 1) & ~(ADDRESS_ALIGN - 1);
    return true;
}

static bool
read_bytes(batch *b, connection *c)
{
    reactor *r = b->r;
    uint8_t *room = stream__segment_room(r->block, r->block->bytes + r->used);
    size_t size = REACTOR_BLOCK_BYTES - r->used;
    int error = connection__receive(c, room, &size, NULL, NULL);
    if (error == EAGAIN) {
        return false;
    }
    if (error != 0) {
        add_failure(b, c, error);
    } else if (size == 0) {
        c->reading = false;
        c->ended = true;
        add_event(b, c, REACTOR_END, 0);
    } else {
        add_data(b, c, room, size);
        r->used += (size + ADDRESS_ALIGN - 1) & ~(ADDRESS_ALIGN - 1);
    }
    return true;
}

static void
watch(batch *b, connection *c)
{
    int error = connection__watch(c, REACTOR_READABLE);
    if (error != 0) {
        c->reading = false;
        add_event(b, c, REACTOR_FAILED, error);
    }
}

/* What becomes of one that has nothing now. */
typedef enum {
    QUIET_COUNTS, /* it stays in the list for some batches */
    QUIET_STAYS,
    QUIET_LEAVES /* it is watched */
} quiet_rule;

/* True: it stays in the list. */
static bool
try_one(batch *b, connection *c, quiet_rule rule)
{
    if (!c->reading || !connection_is_open(c)) {
        return false;
    }
    if (c->passes) {
        c->passes = false;
        return true;
    }
    if (c->fresh) {
        c->fresh = false;
        watch(b, c);
        return false;
    }
    if (c->datagrams ? read_datagram(b, c) : read_bytes(b, c)) {
        c->tries = 0;
        return c->reading;
    }
    if (rule == QUIET_STAYS || (rule == QUIET_COUNTS && ++c->tries < MOST_TRIES)) {
        return true;
    }
    watch(b, c);
    return false;
}

/* Those that were read from, once more, in turns: the batch after this one begins with
 * whom this one has no place for. */
static void
try_hot(batch *b, quiet_rule rule)
{
    reactor *r = b->r;
    connection *last = r->hot != NULL ? r->last_hot : NULL, *c = NULL;
    while (c != last && has_place(b)) {
        c = take_hot(r);
        if (try_one(b, c, rule)) {
            append_hot(r, c);
        } else {
            cool(c);
        }
    }
}

static void
add_news(batch *b, connection *c, unsigned news)
{
    if (news & NEWS_READABLE) {
        c->watched &= ~(unsigned)REACTOR_READABLE;
        if (c->reading) {
            reactor__heat(c);
        }
    }
    if (news & NEWS_WRITABLE) {
        c->watched &= ~(unsigned)REACTOR_WRITABLE;
        add_event(b, c, REACTOR_ROOM, 0);
    }
    if (news & NEWS_OPENED) {
        add_event(b, c, REACTOR_OPENED, 0);
    }
    if (news & NEWS_SIGNAL) {
        add_event(b, c, REACTOR_SIGNALLED, 0);
        c->passes = c->hot;
    }
}

static void
collect_news(batch *b)
{
    reactor__news taken[MOST_NEWS];
    unsigned count = atomic_load_explicit(&b->r->has_news, memory_order_acquire)
                         ? reactor__take_news(b->r, MOST_NEWS, taken)
                         : 0;
    for (unsigned i = 0; i < count; i++) {
        add_news(b, taken[i].connection, taken[i].news);
        taken[i].connection->host->release(taken[i].connection);
    }
}

static stream_status
collect(batch *b, quiet_rule rule)
{
    if (!make_room(b->r)) {
        return STREAM_NOMEM;
    }
    collect_news(b);
    try_hot(b, rule);
    return b->count > 0 ? STREAM_OK : STREAM_AGAIN;
}

/* ---- Waiting ---- */

static bool
has_news(reactor *r)
{
    return atomic_load_explicit(&r->has_news, memory_order_acquire) ||
           atomic_load_explicit(&r->closed, memory_order_acquire);
}

static bool
is_raised(const reactor_want *want)
{
    return want->token != NULL && stream_token_is_raised(want->token);
}

typedef struct looker {
    batch *b;
    const reactor_want *want;
} looker;

static bool
sees_news(void *arg)
{
    const looker *self = arg;
    if (self->b->r->hot != NULL) {
        try_hot(self->b, QUIET_STAYS);
    }
    return self->b->count > 0 || has_news(self->b->r) || is_raised(self->want);
}

static void
wake_by_token(void *arg)
{
    reactor__wake(arg);
}

static void
sleep_for_news(reactor *r, const reactor_want *want)
{
    platform_event_clear(&r->wake);
    atomic_store(&r->waits, true);
    if (has_news(r) ||
        (want->token != NULL && !stream_token_enter(want->token, wake_by_token, r))) {
        if (!atomic_exchange(&r->waits, false)) {
            /* It is being set. */
            platform_event_wait(&r->wake, INT64_MAX, 0, false);
        }
        return;
    }
    platform_event_wait(&r->wake, INT64_MAX, 0, false);
    if (want->token != NULL) {
        stream_token_leave(want->token);
    }
}

/* Spinning is for those whose next request comes soon; where it was mostly in vain,
 * only one wait in SPIN_PROBE begins with it. */
static bool
spin(batch *b, const reactor_want *want)
{
    reactor *r = b->r;
    looker look = {b, want};
    if (r->spin_luck == 0 && ++r->unspun % SPIN_PROBE != 0) {
        return false;
    }
    bool seen = platform_spin(sees_news, &look, want->spin_ns, INT64_MAX, -1);
    if (b->count > 0) {
        r->spin_luck += SPIN_GAIN;
        if (r->spin_luck > SPIN_MOST_LUCK) {
            r->spin_luck = SPIN_MOST_LUCK;
        }
    } else if (!seen && r->spin_luck > 0) {
        r->spin_luck--;
    }
    return seen;
}

/* STREAM_AGAIN: it was woken for something. */
static stream_status
wait_for_news(batch *b, const reactor_want *want)
{
    if (is_raised(want)) {
        return STREAM_CANCELLED;
    }
    if (!spin(b, want)) {
        try_hot(b, QUIET_LEAVES);
    }
    if (b->count > 0) {
        return STREAM_OK;
    }
    if (has_news(b->r)) {
        return STREAM_AGAIN;
    }
    if (!want->wait) {
        return STREAM_TIMEDOUT;
    }
    sleep_for_news(b->r, want);
    return STREAM_AGAIN;
}

stream_status
reactor_next(reactor *r, const reactor_want *want, reactor_event events[REACTOR_BATCH],
             unsigned *count)
{
    batch b = {.r = r, .events = events};
    stream_status status = STREAM_AGAIN;
    while (status == STREAM_AGAIN) {
        if (atomic_load(&r->closed)) {
            return STREAM_CLOSED;
        }
        status = collect(&b, want->spin_ns > 0 ? QUIET_COUNTS : QUIET_LEAVES);
        if (status == STREAM_AGAIN) {
            status = wait_for_news(&b, want);
        }
    }
    *count = b.count;
    return status;
}
