/*
 * load PORT CONNECTIONS MESSAGE_BYTES WARM_MS WINDOW_MS: sends messages to an echo
 * server on 127.0.0.1, on so many connections at once, each the next when it has the
 * whole echo.
 *
 * All send from one buffer of random bytes, each message from another place in it: the
 * echo is compared with that, and one that belongs to another message is found.
 *
 * The warm-up goes on until each connection has had an echo.  After it the program
 * prints "begin", after the window, which follows it, a line of JSON: what happened
 * within the window.  echo_bytes is what came back, of messages that did not end in it
 * too.
 */
#include "client.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64
/* One connection sends so much, or receives it, before the others have their turn. */
#define TURN_BYTES ((size_t)1 << 18)
/* Places in the buffer where a message can begin; the step has no factor in common. */
#define PLACES 4096
#define STEP   1009
/* The warm-up is an error when it takes longer. */
#define FIRST_ECHO_NS 20000000000
/* A server that fails all the time is not to be connected to for ever. */
#define MOST_ERRORS 100

struct connection {
    int fd;
    uint32_t watched; /* events */
    int answered;     /* since it was opened */
    const char *message;
    size_t sent, received;
    int64_t start_ns;
};

static struct {
    uint16_t port;
    size_t message_bytes;
    char *source;
    size_t messages; /* that have been begun */
    int epoll;
} load;

static struct {
    int counting;
    size_t unanswered; /* connections */
    size_t errors;
    uint64_t echo_bytes;
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
begin_message(struct connection *connection)
{
    connection->message = load.source + load.messages++ * STEP % PLACES;
    connection->sent = 0;
    connection->received = 0;
    connection->start_ns = now_ns();
}

static void
open_connection(struct connection *connection)
{
    connection->fd = connect_to(load.port);
    connection->watched = 0;
    connection->answered = 0;
    seen.unanswered++;
    begin_message(connection);
    watch(connection, EPOLLIN | EPOLLOUT);
}

static void
fail(struct connection *connection, const char *why)
{
    if (seen.errors++ == 0)
        fprintf(stderr, "load: %s, after %zu of %zu bytes\n", why, connection->received,
                load.message_bytes);
    if (seen.errors == MOST_ERRORS) {
        fputs("load: too many errors\n", stderr);
        exit(1);
    }
    seen.unanswered -= !connection->answered;
    close(connection->fd);
    open_connection(connection);
}

static size_t
turn(size_t bytes)
{
    return bytes < TURN_BYTES ? bytes : TURN_BYTES;
}

static void
send_more(struct connection *connection)
{
    size_t left = load.message_bytes - connection->sent;
    ssize_t count = left == 0
                        ? 0
                        : send(connection->fd, connection->message + connection->sent,
                               turn(left), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) {
        fail(connection, "the connection was closed in the middle of a message");
        return;
    }
    connection->sent += count < 0 ? 0 : (size_t)count;
    watch(connection,
          connection->sent == load.message_bytes ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void
end_message(struct connection *connection)
{
    if (seen.counting)
        note_latency(connection->start_ns);
    seen.unanswered -= !connection->answered;
    connection->answered = 1;
    begin_message(connection);
}

/* 0: the connection is another one now. */
static int
receive(struct connection *connection)
{
    static char bytes[TURN_BYTES];
    /* One more than is due: nothing may come behind the echo. */
    size_t due = load.message_bytes - connection->received;
    ssize_t count = recv(connection->fd, bytes, turn(due + 1), 0);
    if (count < 0 && errno == EAGAIN)
        return 1;
    if (count <= 0) {
        fail(connection, "the connection was closed before the whole echo");
        return 0;
    }
    if (connection->received + (size_t)count > connection->sent ||
        memcmp(bytes, connection->message + connection->received, (size_t)count) != 0) {
        fail(connection, "a wrong echo");
        return 0;
    }
    connection->received += (size_t)count;
    seen.echo_bytes += (uint64_t)count;
    if (connection->received == load.message_bytes)
        end_message(connection);
    return 1;
}

static void
advance(struct connection *connection, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(connection))
        return;
    if (connection->sent == 0 || events & EPOLLOUT)
        send_more(connection);
}

static void
turn_of_events(int64_t end_ns)
{
    struct epoll_event events[EVENTS];
    int64_t wait_ns = end_ns - now_ns();
    int wait_ms = wait_ns > 0 ? (int)(wait_ns / 1000000 + 1) : 0;
    int count = epoll_wait(load.epoll, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++)
        advance(events[i].data.ptr, events[i].events);
}

static void
run_until(int64_t end_ns)
{
    while (now_ns() < end_ns)
        turn_of_events(end_ns);
}

static void
warm_up(int64_t least_ns)
{
    int64_t begin_ns = now_ns(), deadline_ns = begin_ns + FIRST_ECHO_NS;
    run_until(begin_ns + least_ns);
    while (seen.unanswered > 0 && now_ns() < deadline_ns)
        turn_of_events(deadline_ns);
    if (seen.unanswered > 0) {
        fprintf(stderr, "load: %zu connections have no echo yet\n", seen.unanswered);
        exit(1);
    }
}

static void
make_source(void)
{
    size_t bytes = load.message_bytes + PLACES;
    uint64_t state = 88172645463325252;
    load.source = malloc(bytes);
    if (load.source == NULL)
        die("malloc");
    for (size_t i = 0; i < bytes; i++) {
        /* Marsaglia's xorshift. */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        load.source[i] = (char)state;
    }
}

/* Of the messages that have no whole echo yet, the age of the oldest. */
static double
oldest_ms(const struct connection *connections, size_t count)
{
    int64_t now = now_ns(), oldest_ns = now;
    for (size_t i = 0; i < count; i++) {
        if (connections[i].start_ns < oldest_ns)
            oldest_ns = connections[i].start_ns;
    }
    return (double)(now - oldest_ns) / 1e6;
}

static void
measure(const struct connection *connections, size_t count, int64_t window_ns)
{
    int64_t begin_ns = now_ns();
    double cpu = cpu_seconds();
    uint64_t bytes = seen.echo_bytes;
    seen.counting = 1;
    run_until(begin_ns + window_ns);
    double seconds = (double)(now_ns() - begin_ns) / 1e9;
    cpu = cpu_seconds() - cpu;
    bytes = seen.echo_bytes - bytes;
    double oldest = oldest_ms(connections, count), longest = latency_ms(100);

    printf("{\"seconds\": %.6f, \"messages\": %zu, \"errors\": %zu, ", seconds,
           latency_count(), seen.errors);
    printf("\"echo_bytes\": %llu, \"client_cpu_s\": %.6f, ", (unsigned long long)bytes,
           cpu);
    printf("\"p50_ms\": %.6f, \"p99_ms\": %.6f, \"longest_ms\": %.6f}\n",
           latency_ms(50), latency_ms(99), longest > oldest ? longest : oldest);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("load PORT CONNECTIONS MESSAGE_BYTES WARM_MS WINDOW_MS\n", stderr);
        return 2;
    }
    load.port = (uint16_t)atoi(argv[1]);
    size_t count = (size_t)atoi(argv[2]);
    load.message_bytes = (size_t)atoll(argv[3]);
    make_source();
    load.epoll = epoll_create1(0);
    struct connection *connections = calloc(count, sizeof *connections);
    if (connections == NULL || load.epoll < 0)
        die("no memory");
    for (size_t i = 0; i < count; i++)
        open_connection(&connections[i]);

    warm_up(atoll(argv[4]) * 1000000);
    puts("begin");
    fflush(stdout);
    measure(connections, count, atoll(argv[5]) * 1000000);
    return 0;
}
