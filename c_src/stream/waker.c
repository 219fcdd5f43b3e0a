/* waker.c: see waker.h. */
#include "waker.h"

#include "alloc.h"
#include "platform.h"

struct stream_waker {
    _Atomic(unsigned) refs;
    platform_notifier notifier;
    platform_lock lock;
    bool closed; /* lock, as all below */
    bool told;   /* the notifier has been or is about to be set */
    stream_pending *first, *last;
};

stream_waker *
stream_waker_new(void)
{
    stream_waker *waker = stream__alloc(sizeof *waker);
    if (waker == NULL) {
        return NULL;
    }
    if (!platform_notifier_open(&waker->notifier)) {
        stream__free(waker);
        return NULL;
    }
    atomic_init(&waker->refs, 1);
    platform_lock_init(&waker->lock);
    waker->closed = waker->told = false;
    waker->first = waker->last = NULL;
    return waker;
}

stream_waker *
stream_waker_share(stream_waker *waker)
{
    atomic_fetch_add_explicit(&waker->refs, 1, memory_order_relaxed);
    return waker;
}

void
stream_waker_release(stream_waker *waker)
{
    if (waker == NULL ||
        atomic_fetch_sub_explicit(&waker->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    platform_notifier_close(&waker->notifier);
    platform_lock_destroy(&waker->lock);
    stream__free(waker);
}

int
stream_waker_fd(const stream_waker *waker)
{
    return waker->notifier.read_fd;
}

void
stream_waker_poke(stream_waker *waker)
{
    platform_notifier_set(&waker->notifier);
}

static void
lapse(stream_pending *pending)
{
    if (pending->lapse != NULL) {
        pending->lapse(pending);
    }
}

static stream_pending *
take_all(stream_waker *waker, bool closing)
{
    platform_lock_take(&waker->lock);
    stream_pending *first = waker->first;
    waker->first = waker->last = NULL;
    waker->told = false;
    waker->closed |= closing;
    platform_unlock(&waker->lock);
    return first;
}

/* The notifier is cleared first: what is posted after the list has been taken sets it
 * again. */
stream_pending *
stream_waker_take(stream_waker *waker)
{
    platform_notifier_clear(&waker->notifier);
    return take_all(waker, false);
}

void
stream_waker_close(stream_waker *waker)
{
    for (stream_pending *pending = take_all(waker, true), *next; pending != NULL;
         pending = next) {
        next = pending->next;
        lapse(pending);
        stream_pending_release(pending);
    }
}

/* ---- Waits ---- */

void
stream_pending_init(stream_pending *pending, stream_waker *waker, void *user)
{
    pending->next = NULL;
    atomic_init(&pending->refs, 1);
    pending->waker = stream_waker_share(waker);
    pending->user = user;
}

void
stream_pending_share(stream_pending *pending)
{
    atomic_fetch_add_explicit(&pending->refs, 1, memory_order_relaxed);
}

void
stream_pending_release(stream_pending *pending)
{
    if (atomic_fetch_sub_explicit(&pending->refs, 1, memory_order_acq_rel) == 1) {
        stream_waker *waker = pending->waker;
        pending->destroy(pending);
        stream_waker_release(waker);
    }
}

void
stream_pending_cancel(stream_pending *pending)
{
    if (pending->withdraw(pending)) {
        stream_pending_release(pending);
    } else {
        lapse(pending);
    }
    stream_pending_release(pending);
}

bool
stream_pending_post(stream_pending *pending)
{
    stream_waker *waker = stream_waker_share(pending->waker);
    platform_lock_take(&waker->lock);
    bool closed = waker->closed, tell = !closed && !waker->told;
    if (!closed) {
        pending->next = NULL;
        if (waker->last != NULL) {
            waker->last->next = pending;
        } else {
            waker->first = pending;
        }
        waker->last = pending;
        waker->told = true;
    }
    platform_unlock(&waker->lock);
    if (tell) {
        platform_notifier_set(&waker->notifier);
    }
    if (closed) {
        stream_pending_release(pending);
    }
    stream_waker_release(waker);
    return !closed;
}
