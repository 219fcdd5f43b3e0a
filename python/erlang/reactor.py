"""Protocols over descriptors that Erlang owns.

Erlang accepts connections, or opens whatever else can be waited for, and hands the
descriptor to a reactor context (py_reactor_context:handoff/3).  There, on one thread, a
protocol object serves it: bytes that have arrived are read and given to data_received(),
what is in write_buffer is written as the other side takes it.

    from erlang import reactor

    class Echo(reactor.Protocol):
        def data_received(self, data):
            self.write_buffer += data
            return "continue"

    reactor.set_protocol_factory(Echo)

The callbacks answer what is to be done next, one of:

    "continue"       go on: read, and write what is in write_buffer meanwhile
    "read_pending"   the same, said by who has written all that there was
    "write_pending"  read no more until write_buffer is written; then call write_ready().
                     From write_ready() itself, with nothing there: as "async_pending"
    "async_pending"  read no more until signal_write_ready(fd), which may come from any
                     thread
    "close"          write what is in write_buffer, then close

Anything else is an error, which closes the connection as an exception does: with a report
in Erlang's logger.  No other connection notices.
"""

import os
import sys
import threading
from traceback import format_exception

from _erlang import Cancelled, Data

__all__ = [
    "Data",
    "Protocol",
    "get_protocol",
    "set_protocol_factory",
    "signal_write_ready",
]

# Of the present mode of a connection.
_READING, _WRITING, _WAITING, _CLOSING = range(4)
_MODES = {
    "continue": _READING,
    "read_pending": _READING,
    "write_pending": _WRITING,
    "async_pending": _WAITING,
    "close": _CLOSING,
}
# Of the report of an exception more is left out.
_MOST_REPORT = 65536
# A protocol that always has more to write lets the others have their turn after so much.
_MOST_WRITES = 8

_protocols = {}
_default_factory = None
_local = threading.local()


class Protocol:
    """One connection.  Subclasses answer an action (see the module) from the callbacks.

    fd: the descriptor, the connection's own; -1 before connection_made(), and after
    connection_lost(), when its number may be that of another one.
    client_info: the map that was given to handoff, as a dict.
    write_buffer: a bytearray; what is put there is written.
    write_limit: over so many bytes in write_buffer nothing is read; it goes on at a
    quarter.  To be set by a subclass or an instance.

    Names of attributes that begin with _erlpy_ are the reactor's.
    """

    write_limit = 65536

    # Who decides for himself what comes next (_reactor_asyncio): is given the _Server.
    _erlpy_settle = None

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.fd = -1
        self.client_info = {}
        self.write_buffer = bytearray()
        self._erlpy_closed = False
        self._erlpy_connection = None
        self._erlpy_mode = _READING
        self._erlpy_reading = False
        self._erlpy_ended = False
        self._erlpy_finishing = False
        return self

    @property
    def closed(self):
        """Whether connection_lost() has been called, or is about to be."""
        return self._erlpy_closed

    def connection_made(self, fd, client_info):
        """Called once, before all others.  None is "continue"."""

    def data_received(self, data):
        """Some bytes have arrived, or one datagram.

        data: bytes-like, read-only, over the memory that was read into; keeping it
        keeps its bytes.
        """
        raise NotImplementedError(f"{type(self).__name__}.data_received()")

    def datagram_received(self, data, addr):
        """A datagram has arrived from addr, as the module socket writes it.

        What data_received(data) puts into write_buffer goes back there as one datagram.
        """
        return self.data_received(data)

    def write_ready(self):
        """write_buffer is written, after "write_pending" or signal_write_ready()."""
        return "read_pending"

    def eof_received(self):
        """The other side sends no more.

        Nothing more can be read: None, as every action but "async_pending" and "close",
        closes once write_buffer is written.
        """

    def error_received(self, exc):
        """A datagram could not be delivered (OSError).  The socket goes on."""

    def connection_lost(self, exc=None):
        """Called once, after all others.

        exc: None after "close" and after the end of data, else what went wrong.
        """

    def write_eof(self):
        """Nothing more is written after what is in write_buffer.

        The other side sees the end of data, and what it sends is read as before: who sends
        a last answer, and closes when eof_received() comes, loses nothing to a reset.  To be
        called in a callback.  On what is no socket, or one of datagrams, it does nothing.
        """
        connection = self._erlpy_connection
        if connection is not None and connection.is_socket and not connection.datagrams:
            self._erlpy_finishing = True

    def sendto(self, data, addr=None):
        """Send one datagram to addr, or to whom the socket is connected.

        It may be dropped where there is no room, as the network may drop it.  True: it
        was handed to the system.  An error of the system goes to error_received().  Raises
        ValueError for a host that is a name, and OSError when the connection is closed.
        """
        if self._erlpy_connection is None or self._erlpy_closed:
            raise OSError("the connection is closed")
        try:
            return self._erlpy_connection.sendto(data, addr)
        except OSError as error:
            self.error_received(error)
            return False


def set_protocol_factory(factory):
    """Who makes the protocol of each new connection: called without arguments.

    On the thread of a reactor context (in its setup_code) it is set for that one;
    elsewhere for all that have none of their own.  A class derived from Protocol will
    do, or any callable that answers an instance.

    It may also answer an asyncio.Protocol or BufferedProtocol, and for sockets of
    datagrams an asyncio.DatagramProtocol.  These get a transport that does what asyncio's
    does, and may be called by any thread; but there is no event loop on this one.
    """
    global _default_factory
    if not callable(factory):
        raise TypeError(
            f"set_protocol_factory() argument 'factory' must be callable, not {type(factory).__name__}"
        )
    if getattr(_local, "reactor", False):
        _local.factory = factory
    else:
        _default_factory = factory


def get_protocol(fd):
    """The protocol that serves this descriptor, or None."""
    return _protocols.get(fd)


def signal_write_ready(fd):
    """Have what is in write_buffer written, and write_ready() called then.

    From any thread.  False: no connection has this descriptor (any more).
    """
    protocol = _protocols.get(fd)
    connection = protocol._erlpy_connection if protocol is not None else None
    if connection is None:
        return False
    connection.signal()
    return True


# ---- A reactor context -----------------------------------------------------------------


def _begin():
    """The first call on the thread of a context: from now on it is a reactor's."""
    _local.reactor = True
    _local.factory = None


def _set_factory(module, name):
    """After the setup code, which may be what the module needs."""
    from importlib import import_module

    factory = import_module(module)
    for part in name.split("."):
        factory = getattr(factory, part)
    set_protocol_factory(factory)


def _serve(reactor):
    """Serves the connections until the reactor is closed or the call is cancelled."""
    server = _Server(reactor)
    try:
        server.run()
    finally:
        server.end()


class _Server:
    def __init__(self, reactor):
        self.reactor = reactor
        self.open = {}
        self.batch = ()
        self.handlers = {
            "data": self.data,
            "end": self.end_of_data,
            "room": self.room,
            "signalled": self.signalled,
            "failed": self.failed,
        }

    def run(self):
        wait, serve = self.reactor.wait, self.serve
        while serve(wait()):
            pass

    def serve(self, events):
        """No reference to any of them is left while the next are waited for."""
        if events is None:
            return False
        self.batch = events
        handlers = self.handlers
        for connection, kind, payload in events:
            protocol = connection.protocol
            try:
                if protocol is None:
                    if kind == "opened":
                        self.opened(connection)
                elif not protocol._erlpy_closed:
                    handlers[kind](protocol, payload)
            except BaseException as error:
                self.pass_on(error)
                self.fail(connection.protocol if protocol is None else protocol, error)
        self.batch = ()
        return True

    # Cancelled comes in wait(), or in code of a protocol: in code of this module it is not
    # raised, so that a protocol is told of its end once.

    def end(self):
        """Whoever is still there is told, whatever the others do."""
        gone = ConnectionAbortedError("the reactor has ended")
        while self.open:
            _, protocol = self.open.popitem()
            try:
                self.lose(protocol, gone)
            except Cancelled:
                pass
            except BaseException as error:
                self.report(protocol, error)
        for connection, _, _ in self.batch:
            if connection.protocol is None:
                connection.close()
        self.batch = ()
        self.handlers = None  # they refer to this object
        self.reactor.leave()

    # ---- Events

    def opened(self, connection):
        protocol = None
        try:
            protocol = connection.protocol = self.make(connection)
            self.open[id(protocol)] = protocol
            _protocols[connection.fd] = protocol
        except BaseException as error:
            connection.close()
            self.pass_on(error)
            self.report("the protocol factory", error)
            return
        action = protocol.connection_made(protocol.fd, protocol.client_info)
        self.obey(protocol, "continue" if action is None else action)

    def make(self, connection):
        factory = getattr(_local, "factory", None) or _default_factory
        if factory is None:
            raise RuntimeError("no protocol factory is set: set_protocol_factory()")
        protocol = factory()
        if not isinstance(protocol, Protocol):
            protocol = _adapted(protocol, self, connection)
        if protocol._erlpy_connection is not None:
            raise ValueError("the protocol factory must answer a new protocol each time")
        protocol._erlpy_connection = connection
        protocol.fd = connection.fd
        protocol.client_info = connection.info()
        return protocol

    def data(self, protocol, data):
        if type(data) is tuple:
            self.datagram(protocol, *data)
            return
        action = protocol.data_received(data)
        if (
            action == "continue"
            and protocol._erlpy_mode == _READING
            and not protocol.write_buffer
            and not protocol._erlpy_finishing
        ):
            return
        self.obey(protocol, action)

    def datagram(self, protocol, data, addr):
        """What was in write_buffer before is no answer to this one."""
        before = len(protocol.write_buffer)
        action = protocol.datagram_received(data, addr)
        if len(protocol.write_buffer) > before:
            answer = bytes(protocol.write_buffer[before:])
            del protocol.write_buffer[before:]
            protocol.sendto(answer, addr)
        self.obey(protocol, action)

    def end_of_data(self, protocol, _payload):
        protocol._erlpy_ended = True
        protocol._erlpy_reading = False
        action = protocol.eof_received()
        self.obey(protocol, "close" if action is None else action)

    def room(self, protocol, _payload):
        self.settle(protocol)

    def signalled(self, protocol, _payload):
        if protocol._erlpy_mode != _CLOSING:
            protocol._erlpy_mode = _WRITING
            self.settle(protocol)

    def failed(self, protocol, code):
        error = OSError(code, os.strerror(code))
        if protocol._erlpy_connection.datagrams:
            protocol.error_received(error)
        else:
            self.lose(protocol, error)

    # ---- What is done next

    def obey(self, protocol, action):
        if not protocol._erlpy_closed:
            self.enter(protocol, action)
            self.settle(protocol)

    @staticmethod
    def enter(protocol, action):
        """The mode that the action says; a close is for good."""
        mode = _MODES.get(action) if isinstance(action, str) else None
        if mode is None:
            raise ValueError(f"{action!r} is not an action")
        if protocol._erlpy_mode != _CLOSING:
            protocol._erlpy_mode = mode

    def settle(self, protocol):
        if protocol._erlpy_settle is not None:
            protocol._erlpy_settle(self)
            return
        for _ in range(_MOST_WRITES):
            left = self.write(protocol)
            if protocol._erlpy_closed:
                return
            if left or protocol._erlpy_mode != _WRITING:
                break
            self.written(protocol)
            if protocol._erlpy_closed:
                return
            if protocol._erlpy_mode == _WRITING and not protocol.write_buffer:
                protocol._erlpy_mode = _WAITING
        else:
            protocol._erlpy_connection.room()
        mode = protocol._erlpy_mode
        if mode == _READING:
            if protocol._erlpy_ended and not protocol.write_buffer:
                self.lose(protocol, None)
            else:
                self.read(protocol, self.wants_more(protocol))
        elif mode == _CLOSING and not protocol.write_buffer:
            self.lose(protocol, None)
        else:
            self.read(protocol, False)

    def write(self, protocol):
        buffer, left = protocol.write_buffer, 0
        if buffer and protocol._erlpy_connection.datagrams:
            # To whom the socket is connected: an error ends nothing.
            datagram = bytes(buffer)
            buffer.clear()
            protocol.sendto(datagram)
            return 0
        try:
            if buffer:
                left = protocol._erlpy_connection.send(buffer)
            if protocol._erlpy_finishing and not left:
                protocol._erlpy_finishing = False
                protocol._erlpy_connection.end()
        except OSError as error:
            self.lose(protocol, error)
            return 0
        return left

    def written(self, protocol):
        action = protocol.write_ready()
        if action == "continue" and protocol.write_buffer:
            action = "write_pending"
        if not protocol._erlpy_closed:
            self.enter(protocol, action)

    @staticmethod
    def wants_more(protocol):
        size = len(protocol.write_buffer)
        limit = protocol.write_limit
        return size <= (limit if protocol._erlpy_reading else limit // 4)

    @staticmethod
    def read(protocol, on):
        on = on and not protocol._erlpy_ended
        if on != protocol._erlpy_reading:
            protocol._erlpy_reading = on
            protocol._erlpy_connection.read(on)

    # ---- Ends

    def fail(self, protocol, error):
        self.report(protocol, error)
        try:
            self.lose(protocol, error)
        except BaseException as another:
            self.pass_on(another)
            self.report(protocol, another)

    def pass_on(self, error):
        """A cancel of the reactor ends it; a protocol may also raise another's."""
        if isinstance(error, Cancelled) and self.reactor.cancelled():
            raise error

    def lose(self, protocol, error):
        if protocol is None or protocol._erlpy_closed:
            return
        protocol._erlpy_closed = True
        connection = protocol._erlpy_connection
        self.open.pop(id(protocol), None)
        # The number may be that of a later connection by now.
        if _protocols.get(connection.fd) is protocol:
            del _protocols[connection.fd]
        try:
            protocol.connection_lost(error)
        finally:
            if error is None and not protocol._erlpy_ended:
                connection.discard()
            connection.close()
            connection.protocol = None
            protocol.fd = -1

    def report(self, protocol, error):
        try:
            who = protocol if isinstance(protocol, str) else type(protocol).__name__
            text = "".join(format_exception(error)).rstrip()
        except BaseException as another:
            self.pass_on(another)
            who, text = "a protocol", "(the exception cannot be shown)"
        if len(text) > _MOST_REPORT:
            half = _MOST_REPORT // 2
            text = f"{text[:half]}\n... {len(text) - 2 * half} characters ...\n{text[-half:]}"
        self.reactor.report(f"{who} of a reactor raised an exception\n{text}")


def _adapted(protocol, server, connection):
    # Whoever is one has imported it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(protocol, asyncio.BaseProtocol):
        from ._reactor_asyncio import Adapter

        return Adapter(protocol, server, connection)
    raise TypeError(
        "the protocol factory must answer a Protocol or an asyncio protocol, not "
        + type(protocol).__name__
    )
