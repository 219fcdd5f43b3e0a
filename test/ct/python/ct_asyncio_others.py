"""Protocols of pipes and of datagrams, each with its client, for ct_reactor_asyncio."""

import asyncio
import threading

from ct_asyncio_noted import BIG, WITHIN, Noted, Stream, read, read_all


# ---- Pipes -----------------------------------------------------------------------------


class PipeRead(Stream):
    kinds = ("pipe_to_read",)

    def eof_received(self):
        self.note("eof")
        return True

    def client(self, end):
        end.sendall(b"hello")
        end.sendall(b"more")


class PipeExtra(PipeRead):
    def connection_made(self, transport):
        super().connection_made(transport)
        ask = transport.get_extra_info
        self.note(ask("pipe").fileno() >= 0, ask("socket"), ask("peername", "none"))


class PipePaused(Stream):
    kinds = ("pipe_to_read",)

    def connection_made(self, transport):
        self.paused = threading.Semaphore(0)
        Stream.connection_made(self, transport)

    def data_received(self, data):
        Stream.data_received(self, data)
        self.transport.pause_reading()
        self.paused.release()

    def eof_received(self):
        self.note("eof")

    def client(self, end):
        for part in (b"one", b"two"):
            end.sendall(part)
            self.transport()
            assert self.protocol.paused.acquire(timeout=WITHIN)
            self.soon(self.note, "resumed")
            self.soon(self.transport().resume_reading)


class PipeWrites(Stream):
    kinds = ("pipe_to_write",)

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"x" * BIG)
        transport.write(bytearray(b"y"))
        self.note(transport.can_write_eof(), transport.is_closing())
        transport.write_eof()
        self.note(transport.is_closing())
        transport.write(b"late")
        self.run.wrote.set()

    def client(self, end):
        self.until(self.wrote)
        return read_all(end)


class PipeCloses(PipeWrites):
    def connection_made(self, transport):
        Stream.connection_made(self, transport)
        transport.write(b"hello")

    def client(self, end):
        data = read(end, 5)
        self.soon(self.transport().close)
        return data + read_all(end)


class PipeBreaks(PipeWrites):
    def connection_made(self, transport):
        Stream.connection_made(self, transport)
        transport.write(b"x" * BIG)

    def client(self, end):
        return read(end, 1)


# ---- Datagrams -------------------------------------------------------------------------


class Datagrams(Noted, asyncio.DatagramProtocol):
    kinds = ("udp", "connected_udp", "unix_datagrams")

    def datagram_received(self, data, addr):
        assert type(data) is bytes
        self.note("datagram", data, addr == (self.run.names[0] or None))
        if data == b"close":
            self.transport.close()

    def error_received(self, exc):
        self.note("error", type(exc).__name__)

    def client(self, end):
        end.send(b"one")
        end.send(b"two")
        end.send(b"")
        end.send(b"close")


class DatagramEcho(Datagrams):
    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)
        super().datagram_received(data, addr)

    def client(self, end):
        said = []
        for data in (b"one", b"x" * 9000, b"close"):
            end.send(data)
            said.append(end.recv(10000))
        return said


class DatagramFails(Datagrams):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        raise ValueError("mine")


class DatagramTypes(Datagrams):
    kinds = ("udp",)

    def datagram_received(self, data, addr):
        send = self.transport.sendto
        self.trying(send, "text", addr)
        self.trying(send, 5, addr)
        for data in (b"bytes", bytearray(b"array"), memoryview(b"view")):
            self.trying(send, data, addr)
        self.transport.abort()
        self.transport.sendto(b"late", addr)

    def client(self, end):
        end.send(b"now")
        return [end.recv(100) for _ in range(3)]


class DatagramsWait(Datagrams):
    """There is room for a few; the others wait in the transport."""

    kinds = ("unix_datagrams",)
    count = 1000

    def datagram_received(self, data, addr):
        for number in range(self.count):
            self.transport.sendto(b"%1000d" % number)
        self.note(self.transport.get_write_buffer_size() > 64 * 1024)
        self.transport.close()
        self.run.wrote.set()

    def client(self, end):
        end.send(b"now")
        self.until(self.wrote)
        return [int(end.recv(2000)) for _ in range(DatagramsWait.count)] == [
            *range(DatagramsWait.count)
        ]


class DatagramsDropped(DatagramsWait):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.transport.abort()

    def client(self, end):
        end.send(b"now")
        self.until(self.gone)
        return int(end.recv(2000))


class DatagramToNobody(Datagrams):
    kinds = ("connected_udp",)

    def error_received(self, exc):
        super().error_received(exc)
        self.transport.close()

    def client(self, end):
        end.close()
        self.soon(self.transport().sendto, b"hello")
