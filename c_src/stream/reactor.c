/*
 * reactor.c: the connections that are open, and the queue of what is new of them.
 */
#include "reactor.h"

#include <string.h>

#include "alloc.h"
#include "reactor_internal.h"

/* ---- Life ---- */

reactor *
reactor_new(uint64_t max_connections)
{
    reactor *r = stream__alloc(sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, sizeof *r);
    atomic_init(&r->refs, 1);
    platform_lock_init(&r->lock);
    platform_event_init(&r->wake);
    r->max = max_connections;
    r->spin_luck = SPIN_MOST_LUCK;
    return r;
}

reactor *
reactor_share(reactor *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void
reactor_release(reactor *r)
{
    if (r == NULL ||
        atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (r->block != NULL) {
        stream__segment_unpin(r->block);
    }
    platform_event_destroy(&r->wake);
    platform_lock_destroy(&r->lock);
    stream__free(r);
}

void
reactor_get_info(reactor *r, reactor_info *info)
{
    platform_lock_take(&r->lock);
    info->active = r->active;
    info->total = r->total;
    platform_unlock(&r->lock);
    info->max = r->max;
    info->bytes_in = atomic_load_explicit(&r->bytes_in, memory_order_relaxed);
    info->bytes_out = atomic_load_explicit(&r->bytes_out, memory_order_relaxed);
}

/* ---- News ---- */

static void
queue_locked(reactor *r, connection *c, unsigned news)
{
    c->news |= news;
    if (c->queued) {
        return;
    }
    c->queued = true;
    c->next_news = NULL;
    *(r->last_news != NULL ? &r->last_news->next_news : &r->news) = c;
    r->last_news = c;
}

void
reactor__wake(reactor *r)
{
    if (atomic_exchange(&r->waits, false)) {
        platform_event_set(&r->wake);
    }
}

static void
tell(connection *c, unsigned news)
{
    reactor *r = c->home;
    platform_lock_take(&r->lock);
    if (c->open) {
        queue_locked(r, c, news);
    }
    atomic_store(&r->has_news, r->news != NULL);
    platform_unlock(&r->lock);
    reactor__wake(r);
}

void
connection_ready(connection *c, int event)
{
    tell(c, event == REACTOR_READABLE ? NEWS_READABLE : NEWS_WRITABLE);
}

void
connection_signal(connection *c)
{
    tell(c, NEWS_SIGNAL);
}

reactor_added
reactor_add(reactor *r, connection *c)
{
    reactor_added result = REACTOR_ADDED;
    c->home = reactor_share(r);
    c->host->share(c);
    platform_lock_take(&r->lock);
    if (r->closed) {
        result = REACTOR_IS_CLOSED;
    } else if (r->active >= r->max) {
        result = REACTOR_FULL;
    } else {
        c->open = c->served = true;
        c->prev = NULL;
        c->next = r->first;
        if (c->next != NULL) {
            c->next->prev = c;
        }
        r->first = c;
        r->active++;
        r->total++;
        queue_locked(r, c, NEWS_OPENED);
        atomic_store(&r->has_news, true);
    }
    platform_unlock(&r->lock);
    if (result == REACTOR_ADDED) {
        reactor__wake(r);
    } else {
        c->host->release(c);
    }
    return result;
}

unsigned
reactor__take_news(reactor *r, unsigned most, reactor__news *taken)
{
    unsigned count = 0;
    platform_lock_take(&r->lock);
    while (r->news != NULL && count < most) {
        connection *c = r->news;
        r->news = c->next_news;
        taken[count++] = (reactor__news){c, c->news};
        c->host->share(c);
        c->news = 0;
        c->queued = false;
    }
    if (r->news == NULL) {
        r->last_news = NULL;
    }
    atomic_store(&r->has_news, r->news != NULL);
    platform_unlock(&r->lock);
    return count;
}

static void
unqueue_locked(reactor *r, connection *c)
{
    connection **at = &r->news, *before = NULL;
    while (*at != c) {
        before = *at;
        at = &before->next_news;
    }
    *at = c->next_news;
    if (r->last_news == c) {
        r->last_news = before;
    }
    c->queued = false;
}

bool
reactor__remove(connection *c)
{
    reactor *r = c->home;
    platform_lock_take(&r->lock);
    bool open = c->open;
    if (open) {
        c->open = false;
        r->active--;
        *(c->prev != NULL ? &c->prev->next : &r->first) = c->next;
        if (c->next != NULL) {
            c->next->prev = c->prev;
        }
        if (c->queued) {
            unqueue_locked(r, c);
        }
    }
    platform_unlock(&r->lock);
    return open;
}

void
reactor_close(reactor *r)
{
    platform_lock_take(&r->lock);
    r->closed = true;
    platform_unlock(&r->lock);
    reactor__wake(r);
}

bool
reactor_close_one(reactor *r)
{
    platform_lock_take(&r->lock);
    connection *c = r->first;
    if (c != NULL) {
        c->host->share(c);
    }
    platform_unlock(&r->lock);
    if (c == NULL) {
        return false;
    }
    connection_close(c);
    c->host->release(c);
    return true;
}
