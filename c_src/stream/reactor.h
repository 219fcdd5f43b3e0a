/*
 * reactor.h: descriptors whose readiness the host watches, and the one thread that
 * serves them.
 *
 *   host (any thread)                        the serving thread
 *   reactor_add()      ---->  [news][news] ---> reactor_next(): reads what is there,
 *   connection_ready() ---->                    answers a batch of events
 *   connection_signal() --->                    connection_send(), connection_close(),
 * ... asks the host to watch again
 *
 * READING.  Into a block of REACTOR_BLOCK_BYTES, one read behind the other; an event
 * pins its part.  When nothing pins the block it is filled from its start again.
 *
 * WATCHING costs the host a system call, a message and two threads that wake up; to try
 * a read in vain costs a tenth of that.  So after it was read from, a descriptor is
 * tried again with some of the next batches, and for as long as the thread spins before
 * it sleeps, and only then given to the host.
 *
 * CLOSING.  connection_close(), by anyone, dooms the connection: no system call begins
 * on its descriptor after that, and as soon as none is under way the host is told to
 * unwatch it.  When nobody looks at it any more the host calls
 * connection_close_descriptor(), once.
 *
 * LOCK.  One per reactor, a leaf.  A connection's own calls are the serving thread's,
 * but for those that say otherwise.
 */
#ifndef ERLPY_STREAM_REACTOR_H
#define ERLPY_STREAM_REACTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "stream.h"
#include "token.h"

#define REACTOR_BLOCK_BYTES ((size_t)1 << 20)
/* A read is offered so much, at least: the largest datagram of UDP fits, and of Unix
 * sockets that of Linux's default buffers.  The address is kept beside it. */
#define REACTOR_LEAST_BYTES (((size_t)1 << 18) + sizeof(struct sockaddr_storage))
#define REACTOR_BATCH       128

typedef struct reactor reactor;
typedef struct connection connection;

/* Events to watch for. */
enum { REACTOR_READABLE = 1, REACTOR_WRITABLE = 2 };

/* What the host does for a connection. */
typedef struct reactor_host {
    /* Asks for one connection_ready() with this event.  0 or an errno. */
    int (*watch)(connection *c, int event);
    void (*unwatch)(connection *c);
    void (*share)(connection *c);
    void (*release)(connection *c);
} reactor_host;

/* The first field of the host's object; made by connection_init(). */
struct connection {
    const reactor_host *host;
    reactor *home; /* a reference, once it has been added */
    int fd;
    bool reads, writes, is_socket, datagrams;
    bool served; /* it was REACTOR_ADDED: before, the options are the caller's */
    void *user;  /* the serving thread's: what it keeps for this connection */
    void *info;  /* the host's: what it was told of the connection, until it is taken */

    atomic_uint use; /* a system call is under way; doomed */

    /* The reactor's lock. */
    connection *next, *prev; /* of those that are open */
    connection *next_news;   /* in the queue, if `queued` */
    bool open, queued;
    unsigned news;

    /* The serving thread's. */
    connection *next_hot;
    bool hot;     /* in the list of those to try, or to watch again */
    bool reading; /* what arrives is wanted */
    bool passes;  /* one look: whom a signal is for may want to read no more */
    bool fresh;   /* a pipe of which nobody has told that it is readable: before the
                     first writer comes a read would find its end */
    bool ended;   /* the end of what arrives has been told */
    unsigned watched;
    unsigned tries; /* batches in which it had nothing */
};

typedef enum {
    REACTOR_OPENED,
    REACTOR_DATA,
    REACTOR_END,  /* the other side sends no more */
    REACTOR_ROOM, /* it may take more: REACTOR_WRITABLE was watched */
    REACTOR_SIGNALLED,
    REACTOR_FAILED /* `error` is an errno */
} reactor_event_kind;

typedef struct reactor_event {
    connection *connection; /* a reference */
    reactor_event_kind kind;
    int error;
    const uint8_t *data;
    size_t size;
    stream_segment *segment; /* a pin, or NULL: reactor_unpin() */
    const struct sockaddr
        *address;           /* of the sender of a datagram, in the block; NULL */
    socklen_t address_size; /* 0: it has none */
} reactor_event;

typedef struct reactor_info {
    uint64_t active, total, max, bytes_in, bytes_out;
} reactor_info;

/* With one reference, or NULL: no memory. */
reactor *reactor_new(uint64_t max_connections);
reactor *reactor_share(reactor *r);
void reactor_release(reactor *r);
void reactor_get_info(reactor *r, reactor_info *info);

/* Zeroes the rest, and looks at the descriptor, which is to be a socket that does not
 * listen, a pipe or a terminal.  0 or an errno. */
int connection_init(connection *c, int fd, const reactor_host *host);

typedef enum { REACTOR_ADDED, REACTOR_FULL, REACTOR_IS_CLOSED } reactor_added;

/* Any thread.  Shares the connection, until it is closed. */
reactor_added reactor_add(reactor *r, connection *c);
/* Any thread: the event that was watched for has come. */
void connection_ready(connection *c, int event);
/* Any thread: a REACTOR_SIGNALLED event, one for all that come before it is taken. */
void connection_signal(connection *c);
/* Any thread.  No more connections; reactor_next() answers STREAM_CLOSED from now on.
 * Idempotent. */
void reactor_close(reactor *r);
/* Any thread: closes one that is still open.  False: none is. */
bool reactor_close_one(reactor *r);
/* The calling thread serves no more: closes the reactor and all that are open. */
void reactor_leave(reactor *r);

/* What is new, at least one event: *count of REACTOR_BATCH, whose references and pins
 * are the caller's.  Waits for it.  STREAM_OK, STREAM_CLOSED, STREAM_CANCELLED (by the
 * token), STREAM_TIMEDOUT (`wait` is false and there is nothing), STREAM_NOMEM. */
typedef struct reactor_want {
    bool wait;
    uint32_t spin_ns;
    stream_token *token;
} reactor_want;
stream_status reactor_next(reactor *r, const reactor_want *want,
                           reactor_event events[REACTOR_BATCH], unsigned *count);
void reactor_unpin(stream_segment *segment);

/* Whether what arrives is wanted. */
void connection_read(connection *c, bool on);
/* As much of it as goes without waiting; *sent of `size`.  When that is not all,
 * REACTOR_ROOM will come.  0 or an errno. */
int connection_send(connection *c, const void *bytes, size_t size, size_t *sent);
/* One datagram; no address: to whom the socket is connected.  EAGAIN: as above. */
int connection_send_to(connection *c, const void *bytes, size_t size,
                       const struct sockaddr *address, socklen_t address_size);
/* REACTOR_ROOM will come as soon as more may be sent.  0 or an errno. */
int connection_watch_room(connection *c);
/* Another descriptor of the same, or a negative errno. */
int connection_duplicate(connection *c);
/* Takes what has come and is not wanted: a close that follows does not reset the other
 * side before it has got what was sent. */
void connection_discard(connection *c);
/* The other side sees the end of data.  0 or an errno. */
int connection_end(connection *c);
/* Any thread.  Idempotent. */
void connection_close(connection *c);
bool connection_is_open(connection *c);
/* A duplicate of any descriptor, not passed on to other programs; or a negative errno.
 */
int connection_dup(int fd);
/* By the host, once, after unwatch(). */
void connection_close_descriptor(connection *c);

#endif
