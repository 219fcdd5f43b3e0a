"""What the protocols of ct_reactor_asyncio share: pairs of descriptors, reading from the
client's end, and protocols that note what is called."""

import asyncio
import contextlib
import os
import socket

WITHIN = 15
BIG = 2_000_000  # more than there is room for on the way


# ---- Pairs -----------------------------------------------------------------------------


class Pipe:
    """An end of a pipe, with some of the methods of a socket."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def recv(self, size):
        return os.read(self.fd, size)

    def sendall(self, data):
        os.write(self.fd, data)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def tcp():
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        end.settimeout(WITHIN)
        end.connect(listening.getsockname())
        handed = listening.accept()[0]
        handed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return handed, end


def unix():
    handed, end = socket.socketpair()
    end.settimeout(WITHIN)
    return handed, end


def udp():
    handed, end = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for each in (handed, end):
        each.bind(("127.0.0.1", 0))
        each.settimeout(WITHIN)
    end.connect(handed.getsockname())
    return handed, end


def connected_udp():
    handed, end = udp()
    handed.connect(end.getsockname())
    return handed, end


def unix_datagrams():
    handed, end = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    for each in (handed, end):
        each.bind("")  # Linux chooses an abstract name
        each.settimeout(WITHIN)
    end.connect(handed.getsockname())
    handed.connect(end.getsockname())
    return handed, end


def pipe_to_read():
    return tuple(map(Pipe, os.pipe()))


def pipe_to_write():
    return tuple(map(Pipe, reversed(os.pipe())))


PAIRS = {
    function.__name__: function
    for function in (tcp, unix, udp, connected_udp, unix_datagrams, pipe_to_read, pipe_to_write)
}


def read(end, size):
    data = bytearray()
    while len(data) < size and (more := end.recv(min(1 << 20, size - len(data)))):
        data += more
    return bytes(data)


def read_all(end):
    return read(end, 1 << 30)


def read_to_the_end(end):
    """How much came, whatever the end is: what is closed before all is read is reset."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while more := end.recv(1 << 20):
            size += len(more)
    return size


# ---- Protocols -------------------------------------------------------------------------


class Noted:
    kinds = ("tcp", "unix")
    client = None

    def __init__(self, run):
        self.run = run
        self.note = run.note

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")
        self.run.made.set()

    def connection_lost(self, exc):
        self.note("lost", type(exc).__name__)
        self.run.gone.set()

    def pause_writing(self):
        self.note("pause_writing", self.transport.get_write_buffer_size() > 0)

    def resume_writing(self):
        self.note("resume_writing")

    def trying(self, call, *args, text=True):
        try:
            self.note(call.__name__, call(*args))
        except Exception as error:
            self.note(call.__name__, type(error).__name__, *([str(error)] if text else []))


class Stream(Noted, asyncio.Protocol):
    def data_received(self, data):
        assert type(data) is bytes
        self.note("data", data)

    def eof_received(self):
        self.note("eof", self.transport.is_closing())

    def client(self, end):
        end.sendall(b"hello")
