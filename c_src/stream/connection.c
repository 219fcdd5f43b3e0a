/*
 * connection.c: one descriptor: what it is, system calls on it, and its end.
 */
#if !defined(_GNU_SOURCE)
#    define _GNU_SOURCE
#endif
#include "reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor_internal.h"

/* More is sent in several calls: one may copy this much in some 50 us. */
#define SEND_BYTES ((size_t)256 << 10)
/* And after so much others have their turn. */
#define TURN_BYTES ((size_t)1 << 20)

/* Of what nobody reads any more so much is taken before a close. */
#define DISCARD_BYTES ((size_t)16 << 10)
#define DISCARD_TIMES 8

#if defined(MSG_NOSIGNAL)
#    define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#    define SEND_FLAGS MSG_DONTWAIT
#endif

enum { USE_CALL = 1, USE_DOOMED = 2 };

/* ---- What it is ---- */

static int
look_at_socket(connection *c)
{
    int type = 0, listens = 0;
    socklen_t size = sizeof type;
    if (getsockopt(c->fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        return errno;
    }
    size = sizeof listens;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens) {
        return EINVAL;
    }
    c->is_socket = true;
    c->datagrams = type == SOCK_DGRAM;
    return 0;
}

static int
look_at(connection *c, int flags)
{
    struct stat status;
    if (fstat(c->fd, &status) != 0) {
        return errno;
    }
    c->reads = (flags & O_ACCMODE) != O_WRONLY;
    c->writes = (flags & O_ACCMODE) != O_RDONLY;
    if (S_ISSOCK(status.st_mode)) {
        return look_at_socket(c);
    }
    c->fresh = S_ISFIFO(status.st_mode);
    return c->fresh || isatty(c->fd) ? 0 : EINVAL;
}

int
connection_init(connection *c, int fd, const reactor_host *host)
{
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->host = host;
    atomic_init(&c->use, 0);
    int flags = fcntl(fd, F_GETFL);
    int error = flags < 0 ? errno : look_at(c, flags);
    if (error == 0 && !(flags & O_NONBLOCK) &&
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        error = errno;
    }
    return error;
}

/* ---- System calls, and the end ---- */

static bool
enter(connection *c)
{
    unsigned unused = 0;
    return atomic_compare_exchange_strong(&c->use, &unused, USE_CALL);
}

void
connection__leave(connection *c)
{
    if (atomic_fetch_and(&c->use, ~(unsigned)USE_CALL) & USE_DOOMED) {
        c->host->unwatch(c);
    }
}

bool
connection_is_open(connection *c)
{
    return !(atomic_load(&c->use) & USE_DOOMED);
}

void
connection_close(connection *c)
{
    unsigned before = atomic_fetch_or(&c->use, USE_DOOMED);
    if (before == 0) {
        c->host->unwatch(c);
    }
    if (reactor__remove(c)) {
        c->host->release(c);
    }
}

/* close() would wait for as long, whoever calls it. */
static void
end_lingering(int fd)
{
    struct linger linger;
    socklen_t size = sizeof linger;
    if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 &&
        linger.l_onoff != 0 && linger.l_linger > 0) {
        linger.l_onoff = 0;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
}

void
connection_close_descriptor(connection *c)
{
    if (c->is_socket && c->served) {
        end_lingering(c->fd);
    }
    close(c->fd);
    c->fd = -1;
}

int
connection__watch(connection *c, int event)
{
    if (c->watched & (unsigned)event || !enter(c)) {
        return 0;
    }
    c->watched |= (unsigned)event;
    int error = c->host->watch(c, event);
    if (error != 0) {
        c->watched &= ~(unsigned)event;
    }
    connection__leave(c);
    return error;
}

/* A datagram that does not fit is gone. */
static ssize_t
receive_datagram(int fd, void *room, size_t size, struct sockaddr_storage *address,
                 socklen_t *address_size)
{
    struct iovec part = {.iov_base = room, .iov_len = size};
    struct msghdr message = {.msg_name = address,
                             .msg_namelen = *address_size,
                             .msg_iov = &part,
                             .msg_iovlen = 1};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    *address_size = message.msg_namelen;
    if (got >= 0 && message.msg_flags & MSG_TRUNC) {
        errno = EMSGSIZE;
        return -1;
    }
    return got;
}

static ssize_t
receive(connection *c, void *room, size_t size, struct sockaddr_storage *address,
        socklen_t *address_size)
{
    if (!c->is_socket) {
        return read(c->fd, room, size);
    }
    return c->datagrams ? receive_datagram(c->fd, room, size, address, address_size)
                        : recv(c->fd, room, size, MSG_DONTWAIT);
}

int
connection__receive(connection *c, void *room, size_t *size,
                    struct sockaddr_storage *address, socklen_t *address_size)
{
    if (!enter(c)) {
        return EAGAIN;
    }
    ssize_t got;
    do {
        got = receive(c, room, *size, address, address_size);
    } while (got < 0 && errno == EINTR);
    int error = got < 0 ? errno : 0;
    connection__leave(c);
    *size = got > 0 ? (size_t)got : 0;
    return error == EWOULDBLOCK ? EAGAIN : error;
}

void
connection_read(connection *c, bool on)
{
    c->reading = on && c->reads && !c->ended;
    if (c->reading) {
        reactor__heat(c);
    }
}

/* 0 with *sent bytes, or an errno. */
static int
send_some(connection *c, const uint8_t *bytes, size_t size, size_t *sent)
{
    ssize_t done;
    size = size < SEND_BYTES ? size : SEND_BYTES;
    do {
        done = c->is_socket ? send(c->fd, bytes, size, SEND_FLAGS)
                            : write(c->fd, bytes, size);
    } while (done < 0 && errno == EINTR);
    *sent = done > 0 ? (size_t)done : 0;
    return done < 0 ? errno : 0;
}

static int
wait_for_room(connection *c, int error)
{
    if (error != EAGAIN && error != EWOULDBLOCK) {
        return error;
    }
    return connection__watch(c, REACTOR_WRITABLE);
}

int
connection_send(connection *c, const void *bytes, size_t size, size_t *sent)
{
    const uint8_t *from = bytes;
    int error = 0;
    *sent = 0;
    if (!c->writes) {
        return EBADF;
    }
    while (*sent < size && *sent < TURN_BYTES && error == 0) {
        size_t done = 0;
        if (!enter(c)) {
            return EPIPE;
        }
        error = send_some(c, from + *sent, size - *sent, &done);
        connection__leave(c);
        *sent += done;
    }
    atomic_fetch_add_explicit(&c->home->bytes_out, *sent, memory_order_relaxed);
    return wait_for_room(c, error == 0 && *sent < size ? EAGAIN : error);
}

int
connection_send_to(connection *c, const void *bytes, size_t size,
                   const struct sockaddr *address, socklen_t address_size)
{
    ssize_t done;
    if (!enter(c)) {
        return EPIPE;
    }
    do {
        done = sendto(c->fd, bytes, size, SEND_FLAGS, address, address_size);
    } while (done < 0 && errno == EINTR);
    int error = done < 0 ? errno : 0;
    connection__leave(c);
    if (error == 0) {
        atomic_fetch_add_explicit(&c->home->bytes_out, size, memory_order_relaxed);
        return 0;
    }
    int watched = wait_for_room(c, error);
    return watched != 0 ? watched : EAGAIN;
}

/* A socket that is closed with something unread is reset. */
void
connection_discard(connection *c)
{
    char unread[DISCARD_BYTES];
    ssize_t got = 1;
    if (!c->is_socket || c->datagrams || !enter(c)) {
        return;
    }
    for (int i = 0; i < DISCARD_TIMES && got > 0; i++) {
        got = recv(c->fd, unread, sizeof unread, MSG_DONTWAIT);
    }
    connection__leave(c);
}

int
connection_end(connection *c)
{
    if (!c->is_socket || !enter(c)) {
        return c->is_socket ? EPIPE : ENOTSOCK;
    }
    int error = shutdown(c->fd, SHUT_WR) != 0 ? errno : 0;
    connection__leave(c);
    return error;
}

int
connection_watch_room(connection *c)
{
    return connection__watch(c, REACTOR_WRITABLE);
}

int
connection_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? copy : -errno;
}

int
connection_duplicate(connection *c)
{
    if (!enter(c)) {
        return -EBADF;
    }
    int fd = connection_dup(c->fd);
    connection__leave(c);
    return fd;
}
