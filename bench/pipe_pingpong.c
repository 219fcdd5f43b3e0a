/*
 * pipe_pingpong COUNT GAP_US: two threads pass 64 bytes to and fro over two pipes, with
 * a pause before each round.  Prints p50, p99 and the CPU time of a round trip, in
 * nanoseconds.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 64

static int there[2], back[2];

static int64_t
now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int
by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void *
answer(void *arg)
{
    char message[MESSAGE_BYTES];
    (void)arg;
    while (read(there[0], message, sizeof message) == sizeof message &&
           write(back[1], message, sizeof message) == sizeof message)
        ;
    return NULL;
}

int
main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    long gap_us = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    struct timespec gap = {0, gap_us * 1000};
    char message[MESSAGE_BYTES];
    pthread_t thread;
    int64_t *times = calloc(count, sizeof *times);
    memset(message, 'x', sizeof message);
    if (times == NULL || pipe(there) != 0 || pipe(back) != 0 ||
        pthread_create(&thread, NULL, answer, NULL) != 0)
        return 1;
    int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < count; i++) {
        if (gap_us > 0)
            nanosleep(&gap, NULL);
        int64_t start = now_ns(CLOCK_MONOTONIC);
        if (write(there[1], message, sizeof message) != sizeof message ||
            read(back[0], message, sizeof message) != sizeof message)
            return 1;
        times[i] = now_ns(CLOCK_MONOTONIC) - start;
    }
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(times, count, sizeof *times, by_size);
    printf("%lld %lld %lld\n", (long long)times[count / 2],
           (long long)times[count * 99 / 100], (long long)(cpu / (int64_t)count));
    return 0;
}
