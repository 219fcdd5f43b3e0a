"""Protocols and helpers for reactor_edges_SUITE."""

import asyncio
import os
import socket
import threading
import time

from ct_reactor import name_of, tell
from erlang import reactor

SO_SNDBUFFORCE = 32  # of Linux


# ---- Datagrams


class LaterDatagrams(reactor.Protocol):
    """Answers from another thread, but for "now"."""

    def data_received(self, data):
        if data == b"now":
            self.write_buffer += b"at once"
            return "continue"
        threading.Thread(target=self.work, args=(bytes(data),)).start()
        return "async_pending"

    def work(self, data):
        time.sleep(0.05)  # the callback has returned
        self.write_buffer += data.upper()
        assert reactor.signal_write_ready(self.fd) is True

    def write_ready(self):
        assert not self.write_buffer
        tell("ready")
        return "read_pending"

    def error_received(self, exc):
        tell("error", name_of(exc))


class Sizes(reactor.Protocol):
    """Keeps what has come, so that its memory is not used again."""

    def connection_made(self, fd, client_info):
        self.kept = []

    def data_received(self, data):
        self.kept.append(memoryview(data))
        tell("size", (len(data), data[-1]))
        return "continue"

    def error_received(self, exc):
        tell("error", name_of(exc))


def unix_pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return [one.detach(), other.detach()]


def send(fd, data):
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.sendall(data)


def receive_one(fd):
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.settimeout(10)
        return sock.recv(1000)


def send_large(fd, size):
    """False: not as this user."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 * size)
        except PermissionError:
            return False
        sock.sendall(bytes(size))
        return True


# ---- Others


def open_to_read(path):
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def open_to_write(path):
    return os.open(path, os.O_WRONLY)


class Plain(asyncio.Protocol):
    def connection_made(self, transport):
        tell("made")

    def data_received(self, data):
        tell("data", data)

    def eof_received(self):
        tell("eof")

    def connection_lost(self, exc):
        tell("lost", name_of(exc))


def plain():
    return Plain()


class OwnNames(reactor.Protocol):
    def __init__(self):
        self._connection = object()

    def connection_made(self, fd, client_info):
        self._closed = self._ended = self._finishing = True
        self._mode, self._reading = 3, "header"

    def _settle(self, *args):
        raise AssertionError("called by somebody else")

    def data_received(self, data):
        if data == b"close":
            return "close"
        self.write_buffer += data
        return "continue"

    def connection_lost(self, exc=None):
        tell("lost", name_of(exc))


class Answers(reactor.Protocol):
    """So many bytes, and that is all."""

    def data_received(self, data):
        self.write_buffer += bytes(int(data))
        return "close"

    def connection_lost(self, exc=None):
        tell("lost", name_of(exc))


class Info(reactor.Protocol):
    def connection_made(self, fd, client_info):
        tell("size", [len(client_info["list"]), len(client_info["deep"])])
