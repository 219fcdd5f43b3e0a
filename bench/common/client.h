/*
 * What the load clients of the benchmarks share: connections, the clock, and the
 * latencies of the window that is measured.  One thread.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

/* Tells errno and ends the program. */
_Noreturn void die(const char *what);

int64_t now_ns(void);

/* User and system time of this process. */
double cpu_seconds(void);

/* A connection to 127.0.0.1, with TCP_NODELAY, that does not block. */
int connect_to(uint16_t port);

void note_latency(int64_t start_ns);

/* How many have been noted. */
size_t latency_count(void);

/* Of the noted latencies, by the nearest rank, in ms; 0 without any. */
double latency_ms(size_t percent);

#endif
