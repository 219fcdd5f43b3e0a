#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static struct {
    double *latencies_ms;
    size_t count, sorted, room;
} noted;

void
die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double
cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

int
connect_to(uint16_t port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void
note_latency(int64_t start_ns)
{
    if (noted.count == noted.room) {
        noted.room = noted.room * 2 + 1024;
        noted.latencies_ms = realloc(noted.latencies_ms, noted.room * sizeof(double));
        if (noted.latencies_ms == NULL)
            die("realloc");
    }
    noted.latencies_ms[noted.count++] = (double)(now_ns() - start_ns) / 1e6;
}

size_t
latency_count(void)
{
    return noted.count;
}

static int
by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double
latency_ms(size_t percent)
{
    if (noted.count == 0)
        return 0;
    if (noted.sorted != noted.count) {
        qsort(noted.latencies_ms, noted.count, sizeof(double), by_size);
        noted.sorted = noted.count;
    }
    return noted.latencies_ms[(noted.count * percent + 99) / 100 - 1];
}
