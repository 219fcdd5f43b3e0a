/*
 * load PORT CONNECTIONS REQUEST HEAD_BYTES ANSWER WARM_MS WINDOW_MS: sends one request
 * to 127.0.0.1 over and over, on so many connections at once, each the next when it has
 * its answer.
 *
 * REQUEST is a file: the head, HEAD_BYTES long, and the body.  It is sent by sendfile,
 * so that the client takes little of the CPU that it shares with the server.  Each
 * answer must have status 200 and the body ANSWER.
 *
 * After the warm-up it prints "begin", after the window, which follows it, a line of
 * JSON: what happened within the window.  body_bytes is what the server's side has
 * taken of the bodies: with requests that are longer than the window most never end.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS 64
/* One connection sends so much before the others have their turn. */
#define TURN_BYTES ((size_t)1 << 20)
/* Below, one send() is cheaper than sendfile(). */
#define SMALL_BYTES ((off_t)1 << 16)

struct connection {
    int fd;
    uint32_t watched; /* events */
    off_t sent;
    int64_t start_ns;
    size_t filled; /* of answer */
    char answer[4096];
};

static struct {
    uint16_t port;
    int file;
    const char *bytes;
    off_t head_bytes, request_bytes;
    const char *answer;
    size_t answer_bytes;
    int epoll;
} load;

static struct {
    int counting;
    size_t errors;
    uint64_t body_bytes;
} seen;

static void
watch(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int operation = connection->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (connection->watched == events)
        return;
    if (epoll_ctl(load.epoll, operation, connection->fd, &event) != 0)
        die("epoll_ctl");
    connection->watched = events;
}

static void
begin_request(struct connection *connection)
{
    connection->sent = 0;
    connection->filled = 0;
    connection->start_ns = now_ns();
}

static void
open_connection(struct connection *connection)
{
    connection->fd = connect_to(load.port);
    begin_request(connection);
    connection->watched = 0;
    watch(connection, EPOLLIN | EPOLLOUT);
}

static void
fail(struct connection *connection, const char *why)
{
    if (seen.errors++ == 0)
        fprintf(stderr, "load: %s: %.*s\n", why, (int)connection->filled,
                connection->answer);
    close(connection->fd);
    open_connection(connection);
}

/* What the kernel has taken but the server's side has not is not counted. */
static uint64_t
unacknowledged(struct connection *connections, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        int bytes;
        if (ioctl(connections[i].fd, SIOCOUTQ, &bytes) != 0)
            die("SIOCOUTQ");
        sum += (uint64_t)bytes;
    }
    return sum;
}

static ssize_t
send_some(struct connection *connection)
{
    off_t left = load.request_bytes - connection->sent;
    if (load.request_bytes <= SMALL_BYTES)
        return send(connection->fd, load.bytes + connection->sent, (size_t)left,
                    MSG_NOSIGNAL);
    off_t from = connection->sent;
    return sendfile(connection->fd, load.file, &from,
                    (size_t)left < TURN_BYTES ? (size_t)left : TURN_BYTES);
}

static void
send_more(struct connection *connection)
{
    ssize_t count = send_some(connection);
    if (count < 0 && errno != EAGAIN) {
        fail(connection, "the connection was closed in the middle of a request");
        return;
    }
    count = count < 0 ? 0 : count;
    off_t body_before = connection->sent - load.head_bytes;
    connection->sent += count;
    off_t body = connection->sent - load.head_bytes;
    if (body > 0)
        seen.body_bytes += (uint64_t)(body - (body_before > 0 ? body_before : 0));
    watch(connection,
          connection->sent == load.request_bytes ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

/* 1: all of it, and right; 0: not all yet; -1: wrong. */
static int
judge(struct connection *connection)
{
    connection->answer[connection->filled] = '\0';
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (end == NULL)
        return connection->filled < sizeof connection->answer - 1 ? 0 : -1;
    if (strncmp(connection->answer, "HTTP/1.1 200 ", 13) != 0)
        return -1;
    char *body = end + 4;
    size_t bytes = connection->filled - (size_t)(body - connection->answer);
    if (bytes > load.answer_bytes || memcmp(body, load.answer, bytes) != 0)
        return -1;
    return bytes == load.answer_bytes;
}

static void
receive(struct connection *connection)
{
    ssize_t count = recv(connection->fd, connection->answer + connection->filled,
                         sizeof connection->answer - 1 - connection->filled, 0);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        fail(connection, "the connection was closed without an answer");
        return;
    }
    connection->filled += (size_t)count;
    int whole = judge(connection);
    if (whole == 0)
        return;
    if (whole < 0 || connection->sent < load.request_bytes) {
        fail(connection, "a wrong answer");
        return;
    }
    if (seen.counting)
        note_latency(connection->start_ns);
    begin_request(connection);
    send_more(connection);
}

static void
run_until(int64_t end_ns)
{
    struct epoll_event events[EVENTS];
    for (int64_t now = now_ns(); now < end_ns; now = now_ns()) {
        int count =
            epoll_wait(load.epoll, events, EVENTS, (int)((end_ns - now) / 1000000 + 1));
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(connection);
            else
                send_more(connection);
        }
    }
}

static void
map_request(const char *path)
{
    struct stat status;
    load.file = open(path, O_RDONLY);
    if (load.file < 0 || fstat(load.file, &status) != 0)
        die(path);
    load.request_bytes = status.st_size;
    load.bytes =
        mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, load.file, 0);
    if (load.bytes == MAP_FAILED)
        die("mmap");
}

int
main(int argc, char **argv)
{
    if (argc != 8) {
        fputs("load PORT CONNECTIONS REQUEST HEAD_BYTES ANSWER WARM_MS WINDOW_MS\n",
              stderr);
        return 2;
    }
    load.port = (uint16_t)atoi(argv[1]);
    size_t count = (size_t)atoi(argv[2]);
    map_request(argv[3]);
    load.head_bytes = atoll(argv[4]);
    load.answer = argv[5];
    load.answer_bytes = strlen(argv[5]);
    load.epoll = epoll_create1(0);
    struct connection *connections = calloc(count, sizeof *connections);
    if (connections == NULL || load.epoll < 0)
        die("no memory");
    for (size_t i = 0; i < count; i++)
        open_connection(&connections[i]);

    run_until(now_ns() + atoll(argv[6]) * 1000000);
    puts("begin");
    fflush(stdout);
    int64_t begin_ns = now_ns();
    double cpu = cpu_seconds();
    uint64_t bytes = seen.body_bytes - unacknowledged(connections, count);
    seen.counting = 1;
    run_until(begin_ns + atoll(argv[7]) * 1000000);
    double seconds = (double)(now_ns() - begin_ns) / 1e9;
    cpu = cpu_seconds() - cpu;
    bytes = seen.body_bytes - unacknowledged(connections, count) - bytes;

    printf(
        "{\"seconds\": %.6f, \"requests\": %zu, \"errors\": %zu, \"body_bytes\": %llu, "
        "\"p50_ms\": %.6f, \"p99_ms\": %.6f, \"client_cpu_s\": %.6f}\n",
        seconds, latency_count(), seen.errors, (unsigned long long)bytes,
        latency_ms(50), latency_ms(99), cpu);
    fflush(stdout);
    return 0;
}
