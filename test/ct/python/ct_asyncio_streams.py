"""Protocols of streams, each with its client, for ct_reactor_asyncio."""

import asyncio
import socket
import struct
import threading

from ct_asyncio_noted import BIG, Noted, Stream, read, read_all, read_to_the_end


class Echo(Stream):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)

    def client(self, end):
        end.sendall(b"hello")
        first = read(end, 5)
        end.sendall(b"more")
        end.shutdown(socket.SHUT_WR)
        return first + read_all(end)


class LargeEcho(Echo):
    def client(self, end):
        sender = threading.Thread(target=end.sendall, args=(bytes(BIG),))
        sender.start()
        data = read(end, BIG)
        sender.join()
        return data

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass


class GreetsAndCloses(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"good bye")
        self.note(transport.is_closing(), transport.is_reading())
        transport.close()
        self.note(transport.is_closing(), transport.is_reading())
        transport.close()
        transport.write(b"late")
        transport.resume_reading()

    def client(self, end):
        return read_all(end)


class ClosesWithMuch(Stream):
    def data_received(self, data):
        self.transport.write(bytes(BIG))
        self.transport.close()
        self.note(self.transport.get_write_buffer_size() > 0)
        self.transport.write(b"the last")
        self.run.wrote.set()

    def client(self, end):
        end.sendall(b"now")
        self.until(self.wrote)
        return read_all(end)


class AbortsAtOnce(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.abort()
        self.note(transport.is_closing())
        transport.abort()

    def client(self, end):
        return read_all(end)


class AbortsWithMuch(Stream):
    def data_received(self, data):
        self.transport.write(bytes(BIG))
        self.transport.abort()
        self.note(self.transport.get_write_buffer_size())

    def client(self, end):
        end.sendall(b"now")
        self.until(self.gone)
        return read_to_the_end(end) < BIG


class AbortsWhatCloses(Stream):
    def data_received(self, data):
        self.transport.write(bytes(BIG))
        self.transport.close()
        self.run.wrote.set()

    def client(self, end):
        end.sendall(b"now")
        self.until(self.wrote)
        read(end, 1)
        self.soon(self.transport().abort)
        return read_to_the_end(end) < BIG


class WritesOnAfterTheEnd(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.close()
        for _ in range(7):
            transport.write(b"x")
        transport.write(b"")

    def connection_lost(self, exc):
        self.transport.write(b"x")
        self.note(self.transport.is_closing(), self.transport.get_write_buffer_size())
        super().connection_lost(exc)

    def client(self, end):
        return read_all(end)


class HalfOpen(Stream):
    def eof_received(self):
        super().eof_received()
        self.transport.write(b"still here")
        return True

    def client(self, end):
        end.sendall(b"question")
        end.shutdown(socket.SHUT_WR)
        answer = read(end, 10)
        self.soon(self.transport().write, b", bye")
        self.soon(self.transport().close)
        return answer + read_all(end)


class ClosesAtTheEnd(Stream):
    def eof_received(self):
        super().eof_received()
        self.transport.write(bytes(BIG))
        self.run.wrote.set()

    def client(self, end):
        end.shutdown(socket.SHUT_WR)
        self.until(self.wrote)
        return read_all(end)


class WritesEof(Stream):
    size = 5

    def connection_made(self, transport):
        super().connection_made(transport)
        self.note(transport.can_write_eof())
        transport.write(b"x" * self.size)
        transport.write_eof()
        transport.write_eof()
        self.trying(transport.write, b"more")
        self.note(transport.is_closing(), transport.is_reading())
        self.run.wrote.set()

    def client(self, end):
        self.until(self.wrote)
        data = read_all(end)
        end.sendall(b"heard")
        return data


class WritesMuchAndEof(WritesEof):
    size = BIG


class Paused(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"ready")

    def data_received(self, data):
        super().data_received(data)
        self.transport.pause_reading()
        self.transport.pause_reading()
        self.note(self.transport.is_reading())
        self.transport.write(b"paused")

    def client(self, end):
        said = read(end, 5)
        for part in (b"one", b"two", b"three"):
            end.sendall(part)
            said += read(end, 6)
            self.soon(self.transport().resume_reading)
        return said


class PausesBeforeTheEnd(Paused):
    """The end of data comes after what has been read, and not while it is paused."""

    def client(self, end):
        said = read(end, 5)
        end.sendall(b"one")
        said += read(end, 6)
        end.shutdown(socket.SHUT_WR)
        self.soon(self.note, "resumed")
        self.soon(self.transport().resume_reading)
        return said + read_all(end)


class WritesMuch(Stream):
    limits = ()

    def connection_made(self, transport):
        super().connection_made(transport)
        if self.limits:
            transport.set_write_buffer_limits(*self.limits)
        self.note(transport.get_write_buffer_limits())
        transport.write(bytes(BIG))
        transport.write(b"more")
        self.run.wrote.set()

    def resume_writing(self):
        low = self.transport.get_write_buffer_limits()[0]
        self.note("resume_writing", self.transport.get_write_buffer_size() <= low)

    def client(self, end):
        self.until(self.wrote)
        data = read(end, BIG + 4)
        end.sendall(b"thanks")
        return data


class WritesMuchWithLimits(WritesMuch):
    limits = (100_000, 0)


class WritesMuchTwice(WritesMuch):
    def resume_writing(self):
        super().resume_writing()
        if not hasattr(self, "again"):
            self.again = True
            self.transport.write(bytes(BIG))
            self.run.wrote_again.set()

    def client(self, end):
        self.wrote_again = threading.Event()
        self.until(self.wrote)
        most = BIG - 40_000  # for the rest there is room on the way
        size = len(read(end, most))
        self.until(self.wrote_again)
        return size + len(read(end, 2 * BIG + 4 - most))


class WritesMuchButNotOver(WritesMuch):
    limits = (2 * BIG,)


class LimitsThatChange(Stream):
    def data_received(self, data):
        self.transport.set_write_buffer_limits(2 * BIG)
        self.transport.write(bytes(BIG))
        self.note("limits")
        self.transport.set_write_buffer_limits(10)
        self.transport.set_write_buffer_limits(low=5)
        self.note(self.transport.get_write_buffer_limits())
        for limits in ((1, 2), (-1,), (5, -1)):
            self.trying(self.transport.set_write_buffer_limits, *limits)
        self.run.wrote.set()

    def client(self, end):
        end.sendall(b"now")
        self.until(self.wrote)
        return read(end, BIG)


class Types(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        for data in ("text", 5, None, [b"x"]):
            self.trying(transport.write, data)
        for data in (b"bytes", bytearray(b"array"), memoryview(b"view"), memoryview(b"xview")[1:]):
            self.trying(transport.write, data)
        self.trying(transport.writelines, [b"a", bytearray(b"b"), memoryview(b"c")])
        self.trying(transport.writelines, ["a"], text=False)  # it differs between versions
        self.note(transport.get_protocol() is self, isinstance(transport, asyncio.Transport))

    def client(self, end):
        return read(end, 5 + 5 + 4 + 4 + 3)


class Buffered(Noted, asyncio.BufferedProtocol):
    size = 7

    def get_buffer(self, sizehint):
        self.hint = sizehint
        self.buffer = bytearray(self.size)
        return self.buffer

    def buffer_updated(self, nbytes):
        assert self.hint == -1 and 0 < nbytes <= self.size
        self.note("data", bytes(self.buffer[:nbytes]))

    def eof_received(self):
        self.note("eof")

    def client(self, end):
        end.sendall(b"0123456789" * 10)


class BufferedPart(Buffered):
    def get_buffer(self, sizehint):
        return memoryview(super().get_buffer(sizehint))[:3]


class NoBuffer(Buffered):
    size = 0

    def client(self, end):
        end.sendall(b"hello")
        read_to_the_end(end)


class BufferedFails(Buffered):
    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        raise ValueError("mine")

    def client(self, end):
        end.sendall(b"0123456")
        read_to_the_end(end)


class BufferedPauses(Buffered):
    size = 5

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        self.transport.pause_reading()
        self.transport.write(b"x")

    def client(self, end):
        end.sendall(b"0123456789" * 2)
        said = b""
        for _ in range(4):
            said += read(end, 1)
            self.soon(self.note, "resumed")
            self.soon(self.transport().resume_reading)
        return said


class BufferedCloses(Buffered):
    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        self.transport.close()

    def client(self, end):
        end.sendall(b"0123456789")
        read_to_the_end(end)


class Another(Stream):
    def __init__(self, run, transport):
        super().__init__(run)
        self.transport = transport

    def data_received(self, data):
        self.note("another", data)

    def connection_lost(self, exc):
        self.note("another lost")
        super().connection_lost(exc)


class Changes(Stream):
    def data_received(self, data):
        super().data_received(data)
        self.transport.set_protocol(Another(self.run, self.transport))
        self.note(type(self.transport.get_protocol()).__name__)
        self.transport.write(b"changed")

    def client(self, end):
        end.sendall(b"one")
        said = read(end, 7)
        end.sendall(b"two")
        return said


class BufferedChanges(Buffered):
    size = 4

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        self.transport.set_protocol(Another(self.run, self.transport))

    def client(self, end):
        end.sendall(b"headbody")


class Resets(Echo):
    kinds = ("tcp",)

    def client(self, end):
        end.sendall(b"hello")
        read(end, 5)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class WritesToNobody(Stream):
    def data_received(self, data):
        self.run.wrote.set()
        self.run.until(self.run.left)
        for _ in range(8):
            self.transport.write(b"x")

    def client(self, end):
        self.left = threading.Event()
        end.sendall(b"hello")
        self.until(self.wrote)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
        self.left.set()


class GoneWhileMuchWaits(WritesMuch):
    def client(self, end):
        self.until(self.wrote)
        read(end, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def connection_lost(self, exc):
        self.note(isinstance(exc, ConnectionError))
        super().connection_lost(None)


class GoneWhileItCloses(ClosesWithMuch):
    def client(self, end):
        end.sendall(b"now")
        self.until(self.wrote)
        read(end, 1)

    def connection_lost(self, exc):
        self.note(isinstance(exc, ConnectionError))
        super().connection_lost(None)


class FailsAtFirst(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        raise ValueError("mine")


class FailsAtData(Stream):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(bytes(BIG))
        raise ValueError("mine")

    def client(self, end):
        end.sendall(b"hello")
        self.until(self.gone)
        return read_to_the_end(end) < BIG


class FailsAtEof(Stream):
    def eof_received(self):
        super().eof_received()
        raise ValueError("mine")


class FailsAtTheEnd(Stream):
    def connection_lost(self, exc):
        super().connection_lost(exc)
        raise ValueError("mine")


class FailsAtPauses(WritesMuch):
    def pause_writing(self):
        super().pause_writing()
        raise ValueError("mine")

    def resume_writing(self):
        super().resume_writing()
        raise ValueError("mine")


class Extra(Stream):
    def connection_made(self, transport):
        super().connection_made(transport)
        ask = transport.get_extra_info
        self.note((ask("peername"), ask("sockname")) == self.run.names)
        self.socket = ask("socket")
        self.note(type(self.socket).__name__, self.socket.fileno() >= 0, self.socket.family)
        self.note(self.socket.getpeername() == ask("peername"), self.socket.gettimeout())
        self.note(ask("pipe"), ask("nothing", "the default"))
        if self.socket.family == socket.AF_INET:
            self.note(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) > 0)

    def connection_lost(self, exc):
        self.note(self.transport.get_extra_info("peername") == self.socket.getpeername())
        super().connection_lost(exc)
