/*
 * fresh_memcpy SIZE COUNT: memcpy of SIZE bytes into newly mapped pages, COUNT times.
 * Mapping and unmapping are not counted, the page faults are.  The source is written
 * memory, another part of it for each copy.
 * Prints the median time and the mean CPU time of a copy, in nanoseconds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SOURCE_BYTES ((size_t)16 << 20)

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

int
main(int argc, char **argv)
{
    size_t size = argc > 1 ? strtoull(argv[1], NULL, 10) : 65536;
    size_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    size_t source_bytes = size > SOURCE_BYTES ? size : SOURCE_BYTES;
    char *source = malloc(source_bytes);
    int64_t *times = calloc(count, sizeof *times);
    int64_t cpu_ns = 0;
    if (source == NULL || times == NULL)
        return 1;
    memset(source, 'x', source_bytes);
    for (size_t i = 0; i < count; i++) {
        char *from = source + i % (source_bytes / size) * size;
        char *to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
        if (to == MAP_FAILED)
            return 1;
        int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        int64_t start = now_ns(CLOCK_MONOTONIC);
        memcpy(to, from, size);
        times[i] = now_ns(CLOCK_MONOTONIC) - start;
        cpu_ns += now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        if (memcmp(to, from, size) != 0)
            return 1;
        munmap(to, size);
    }
    qsort(times, count, sizeof *times, by_size);
    printf("%lld %lld\n", (long long)times[count / 2],
           (long long)(cpu_ns / (int64_t)count));
    return 0;
}
