"""asyncio protocols that are run only under a reactor, for reactor_asyncio_SUITE.  They
tell the process that is registered as reactor_test."""

import asyncio
import gc
import threading
import weakref

import erlang
from erlang import Atom

WITHIN = 10
latest = None  # the transport that was made last
refs = []
TRANSPORTS = {}  # by the key "name" of the handoff


def tell(word, value=None):
    erlang.send("reactor_test", (Atom(word), value))


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        global latest
        latest = self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, exc):
        tell("lost", type(exc).__name__)


class BufferedEcho(Echo, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.write(self.buffer[:nbytes])


class Named(Echo):
    def connection_made(self, transport):
        super().connection_made(transport)
        self.name = transport.get_extra_info("name")
        TRANSPORTS[self.name] = transport
        tell("made", self.name)


class First(Named):
    """The first that gets data does something to the other, whose data has come too."""

    is_first = True
    hold = threading.Event()
    then = staticmethod(lambda transport: None)

    def data_received(self, data):
        if data == b"hold":
            tell("holding")
            assert self.hold.wait(WITHIN)
        elif data == b"go" and First.is_first:
            First.is_first = False
            (other,) = [t for name, t in TRANSPORTS.items() if name not in ("holder", self.name)]
            self.then(other)
            tell("first", self.name)
        else:
            tell("data", (self.name, data))

    def eof_received(self):
        tell("eof", self.name)

    def connection_lost(self, exc):
        tell("lost", (self.name, type(exc).__name__))


def begin_first(then):
    TRANSPORTS.clear()
    First.hold.clear()
    First.is_first = True
    First.then = staticmethod(lambda transport: getattr(transport, then)())


class Needs(asyncio.Protocol):
    def data_received(self, data):
        asyncio.get_running_loop()

    def connection_lost(self, exc):
        tell("lost", type(exc).__name__)


class Asks(Echo):
    def data_received(self, data):
        ask = self.transport.get_extra_info
        sock = ask("socket")
        tell("asked", [ask("name"), ask("peername"), sock is ask("socket"), sock.fileno() != self.fd()])

    def fd(self):
        return self.transport._fd

    def connection_lost(self, exc):
        refs[:] = [weakref.ref(self), weakref.ref(self.transport)]
        super().connection_lost(exc)


def freed():
    return all(ref() is None for ref in refs) and len(refs) == 2


def collecting(on):
    (gc.enable if on else gc.disable)()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        global latest
        latest = self.transport = transport
        tell("made", isinstance(transport, asyncio.DatagramTransport))

    def datagram_received(self, data, addr):
        try:
            self.transport.sendto(data, ("localhost", addr[1]))
        except ValueError as error:
            tell("refused", str(error))
        self.transport.sendto(b"", addr)
        self.transport.sendto(data, addr)

    def connection_lost(self, exc):
        tell("lost", type(exc).__name__)


class Pipe(asyncio.Protocol):
    def connection_made(self, transport):
        said = []
        for call in (lambda: transport.write(b"x"), transport.write_eof, transport.can_write_eof):
            try:
                said.append(call())
            except NotImplementedError as error:
                said.append(str(error))
        tell("made", said)

    def connection_lost(self, exc):
        tell("lost", type(exc).__name__)


# ---- Other threads ---------------------------------------------------------------------


def write_after_close():
    """By another thread than that of the reactor, which has seen none of it yet."""
    latest.write(b"before")
    latest.close()
    latest.write(b", and after")


def write_by_threads(threads, count):
    """Each writes its number and the message's; then the connection is closed."""
    transport, errors = latest, []

    def write(number):
        try:
            for message in range(count):
                transport.write(b"%04d%06d" % (number, message))
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(WITHIN)
    transport.write_eof()
    try:
        transport.write(b"more")
    except RuntimeError as error:
        errors.append(str(error))
    before = transport.is_closing()
    transport.close()
    return [*errors, before, transport.is_closing()]


def in_order(data, threads, count):
    """Whole messages, those of each thread in order."""
    seen = [0] * threads
    for at in range(0, len(data), 10):
        number, message = int(data[at : at + 4]), int(data[at + 4 : at + 10])
        if seen[number] != message:
            return False
        seen[number] += 1
    return seen == [count] * threads


def pause_at_random(count):
    for _ in range(count):
        latest.pause_reading()
        latest.resume_reading()


def from_here(method, *args):
    """On the latest transport, by the thread that calls."""
    return getattr(latest, method)(*args)


def send_from_here(port):
    latest.sendto(b"hello", ("localhost", port))
    latest.sendto(b"world", ("127.0.0.1", port))


def limits_from_here():
    latest.set_write_buffer_limits(10)
    return [*latest.get_write_buffer_limits(), latest.get_extra_info("socket", "none")]


def resume(name):
    TRANSPORTS[name].resume_reading()
