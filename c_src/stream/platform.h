/*
 * platform.h: what differs between operating systems, in one place.  Every call
 * has a portable fallback in platform.c behind one #if.
 */
#ifndef ERLPY_PLATFORM_H
#define ERLPY_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t platform_now_ns(void);

/* One bounded step of a busy wait (a pause instruction). */
void platform_relax(void);

/* Asks for huge pages for the whole pages inside a fresh block.  Advice only: does
 * nothing where the system has none, or below the size at which it pays. */
void platform_advise_huge(void *block, size_t size_bytes);

/* A one-shot latch: set once, waited for by one thread.  Unlike a condition
 * variable, a signal handler that runs on the waiting thread ends the wait. */
typedef struct platform_event {
    _Alignas(16) unsigned char opaque[112];
} platform_event;

typedef enum {
    PLATFORM_SET,
    PLATFORM_TIMEDOUT,
    PLATFORM_INTERRUPTED
} platform_wait_result;

void platform_event_init(platform_event *event);
void platform_event_destroy(platform_event *event);
/* Sets the event and wakes its waiter, which may free the event as soon as its own
 * wait has returned PLATFORM_SET. */
void platform_event_set(platform_event *event);
bool platform_event_is_set(platform_event *event);
/* Not set again, for the next use; only by the waiting thread. */
void platform_event_clear(platform_event *event);
/* Spins for spin_ns, then sleeps until the event is set or `deadline_ns` (monotonic;
 * INT64_MAX: none).  With `interruptible`, a signal ends the wait. */
platform_wait_result platform_event_wait(platform_event *event, int64_t deadline_ns,
                                         uint32_t spin_ns, bool interruptible);

#endif
