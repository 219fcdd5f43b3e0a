"""asyncio protocols for reactor_asyncio_SUITE, each with a client.  Both are run twice,
under asyncio and under a reactor, and what the protocol has seen is compared."""

import asyncio
import logging
import socket
import threading

import ct_asyncio_others  # noqa: F401: adds to PAIRS
import ct_asyncio_streams
from ct_asyncio_noted import PAIRS, WITHIN, Noted

run = None  # that of the latest begin()


class Run:
    """One connection under test: .end is the client's, .handed the protocol's."""

    def __init__(self, name, kind):
        self.scenario = SCENARIOS[name]
        self.log = []
        self.made = threading.Event()
        self.wrote = threading.Event()  # so much that it waits: the client may read
        self.gone = threading.Event()
        self.soon = lambda call, *args: call(*args)  # from the client's thread
        self.handed, self.end = PAIRS[kind]()
        if isinstance(self.end, socket.socket):
            self.names = self.end.getsockname(), self.end.getpeername()
        self.protocol = None
        self.warnings = Warnings(self)
        logging.getLogger("asyncio").addHandler(self.warnings)

    def make(self):
        self.protocol = self.scenario(self)
        return self.protocol

    def until(self, event):
        assert event.wait(WITHIN), f"it has not come: {self.short()}"

    def transport(self):
        self.until(self.made)
        return self.protocol.transport

    def note(self, *what):
        if what[0] == "data" and self.log and self.log[-1][0] == "data":
            what = ("data", self.log.pop()[1] + what[1])
        self.log.append(what)

    def play(self):
        """The transcript: what the protocol has noted, and the client."""
        try:
            said = self.scenario.client(self, self.end)
        finally:
            self.end.close()
        self.until(self.gone)
        logging.getLogger("asyncio").removeHandler(self.warnings)
        return [*self.short(), ["client", shortened(said)]]

    def short(self):
        return [[shortened(part) for part in entry] for entry in self.log]


class Warnings(logging.Handler):
    def __init__(self, run):
        super().__init__(logging.WARNING)
        self.run = run

    def emit(self, record):
        if record.getMessage() == "socket.send() raised exception.":
            self.run.note("warning")


def shortened(value):
    if isinstance(value, bytes) and len(value) > 100:
        return f"{len(value)} bytes from {value[:10]!r} to {value[-10:]!r}"
    return repr(value)


def scenarios(base):
    for one in base.__subclasses__():
        yield one
        yield from scenarios(one)


SCENARIOS = {one.__name__: one for one in scenarios(Noted) if one is not ct_asyncio_streams.Another}


def names(kind):
    return [name for name, one in SCENARIOS.items() if kind in one.kinds]


# ---- Under a reactor, and under asyncio ------------------------------------------------


def begin(name, kind):
    """The descriptor that is to be handed to the reactor."""
    global run
    run = Run(name, kind)
    return run.handed.fileno()


def make():
    return run.make()


def play():
    run.handed.close()
    return run.play()


async def under_asyncio(name, kind):
    loop = asyncio.get_running_loop()
    this = Run(name, kind)
    this.soon = loop.call_soon_threadsafe
    handed = this.handed
    if kind in ("tcp", "unix"):
        await loop.connect_accepted_socket(this.make, handed)
    elif kind == "pipe_to_read":
        await loop.connect_read_pipe(this.make, handed)
    elif kind == "pipe_to_write":
        await loop.connect_write_pipe(this.make, handed)
    else:
        handed.setblocking(False)
        await loop.create_datagram_endpoint(this.make, sock=handed)
    return await asyncio.to_thread(this.play)
