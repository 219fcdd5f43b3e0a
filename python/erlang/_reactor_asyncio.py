"""asyncio's protocols on a reactor: an adapter, and the transports that they are given.

A protocol factory of erlang.reactor may answer an asyncio.Protocol, a BufferedProtocol or,
for sockets of datagrams, a DatagramProtocol.  Its callbacks come in the order and with the
meanings of asyncio, and transport is an asyncio.Transport or asyncio.DatagramTransport.
What differs:

No event loop runs on the thread of a reactor.  A protocol that needs one (call_later(),
tasks, futures, asyncio.StreamReaderProtocol, start_tls()) gets asyncio's RuntimeError.

The methods of a transport may be called by any thread.  Elsewhere than on the thread of
the reactor they note what is to be done there, in order.  get_extra_info() of "socket" and
"pipe" is for that thread: others get what it has asked for before, or the default.

What a callback raises is reported to Erlang's logger.  sendto() raises ValueError for an
address that is a name, and sends a datagram without bytes, as asyncio does from 3.13 on.
A pipe that is written to hears at the next write that its reader is gone.
"""

import asyncio
import contextlib
import fcntl
import io
import os
import socket
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from collections import deque
from threading import Lock, get_ident

from _erlang import Cancelled

from .reactor import Protocol

__all__ = ["Adapter"]

# asyncio's.
_HIGH_WATER = 64 * 1024
_QUIET_WRITES = 5  # so many after the end are not worth a warning


class Adapter(Protocol):
    """One connection, as the reactor has it: it hands on to the transport.

    transport: as the asyncio protocol has it; None before connection_made() and after
    connection_lost().
    """

    def __init__(self, protocol, server, connection):
        kind = _DatagramTransport if connection.datagrams else _StreamTransport
        if not any(hasattr(protocol, name) for name in kind._needs):
            raise TypeError(
                f"{type(protocol).__name__} has no {kind._needs[0]}(): "
                "the protocol does not fit the kind of the descriptor"
            )
        self.transport = None
        self._kind = kind
        self._server = server
        self._protocol = protocol

    def connection_made(self, fd, client_info):
        self.transport = self._kind(self, self._protocol, self._server)
        del self._protocol, self._server
        return self._run(self.transport._begin)

    def data_received(self, data):
        return self._run(self.transport._arrived, data)

    def datagram_received(self, data, addr):
        return self._run(self.transport._arrived, bytes(data), addr)

    def eof_received(self):
        return self._run(self.transport._arrived, None)

    def error_received(self, exc):
        self.transport._failed(exc)

    def connection_lost(self, exc=None):
        transport, self.transport = self.transport, None
        if transport is not None:
            transport._end(exc)

    def _run(self, callback, *args):
        """The action: anything but "continue" has _erlpy_settle() called."""
        transport = self.transport
        transport._inside = True
        callback(*args)
        transport._inside = False
        return "read_pending" if transport._due else "continue"

    def _erlpy_settle(self, server):
        """By the reactor, where it would do what an action says."""
        if self.transport._settle():
            server.lose(self, self.transport._error)


class _Transport(asyncio.BaseTransport):
    """What streams and datagrams have in common.

    _closing: close() or abort() was called, or the connection has failed: nothing is read.
    _lost: connection_lost() is due, or done; it counts on with what is written after that.
    _due: _settle() has something to do; _inside: it will be called when what runs returns.
    """

    def __init__(self, adapter, protocol, server):
        super().__init__(dict(adapter.client_info))
        self._connection = adapter._erlpy_connection
        self._server = server
        self._fd = adapter.fd
        self._file = None
        self._thread = get_ident()
        self._lock = Lock()
        self._calls = deque()  # by other threads
        self._queued = 0  # bytes in them
        self._asked_to_close = False
        self._inside = self._due = False
        self._closing = self._paused = False
        self._lost = 0
        self._error = None
        self._writing_paused = False
        self._set_limits(None, None)
        self.set_protocol(protocol)
        if self._connection.is_socket:
            self._look_at_socket()

    def __repr__(self):
        state = "closing" if self._closing else "open"
        if self._protocol is None:
            state = "closed"
        size = self.get_write_buffer_size()
        return f"<{type(self).__name__} {state} fd={self._fd} bufsize={size}>"

    # ---- For the protocol

    def set_protocol(self, protocol):
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self):
        return self._protocol

    def is_closing(self):
        return self._closing or self._asked_to_close

    def close(self):
        if self._elsewhere():
            self._asked_to_close = True
            self._later(self._close)
        else:
            self._run_calls()
            self._close()

    def _close(self):
        if not self._closing:
            self._stop_reading()
            if not self._buffer:
                self._lose(None)

    def abort(self):
        if self._elsewhere():
            self._asked_to_close = True
            self._later(self.abort)
        else:
            self._force_close(None)

    def get_write_buffer_limits(self):
        return self._low, self._high

    def set_write_buffer_limits(self, high=None, low=None):
        self._set_limits(high, low)
        if self._elsewhere():
            self._later(self._maybe_pause)
        else:
            self._maybe_pause()

    def get_write_buffer_size(self):
        return self._size() + self._queued

    def get_extra_info(self, name, default=None):
        if name == self._file_name and self._file is None and not self._elsewhere():
            self._open_file()
        return self._extra.get(name, default)

    # ---- What lies below

    @property
    def _file_name(self):
        return "socket" if self._connection.is_socket else "pipe"

    def _look_at_socket(self):
        # Now: a socket that has failed tells its peer no more.
        with socket.socket(fileno=self._connection.dup()) as sock:
            self._extra.pop("socket", None)
            self._extra["sockname"] = _name(sock.getsockname)
            if "peername" not in self._extra:
                self._extra["peername"] = _name(sock.getpeername)
            if sock.proto == socket.IPPROTO_TCP:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _open_file(self):
        if self._protocol is None:
            return
        fd = self._connection.dup()
        if self._connection.is_socket:
            self._file = socket.socket(fileno=fd)
            self._file.setblocking(False)
            self._extra["socket"] = TransportSocket(self._file)
        else:
            mode = {os.O_RDONLY: "rb", os.O_WRONLY: "wb"}.get(_access(fd), "r+b")
            self._extra["pipe"] = self._file = io.FileIO(fd, mode)

    # ---- Calls by other threads

    def _elsewhere(self):
        return get_ident() != self._thread

    def _later(self, call, *args, size=0):
        with self._lock:
            if self._protocol is not None:
                self._calls.append((call, args, size))
                self._queued += size
        self._connection.signal()

    def _run_calls(self):
        """Those that are there now, in order also when one of them comes here again."""
        for _ in range(len(self._calls)):
            if not self._calls:
                break
            with self._lock:
                call, args, size = self._calls.popleft()
                self._queued -= size
            call(*args)

    def _soon(self):
        self._due = True
        if not self._inside:
            self._connection.signal()

    # ---- The protocol's callbacks

    def _begin(self):
        self._guarded(self._protocol.connection_made, self)
        if not self._paused and not self._closing:
            self._connection.read(True)

    def _guarded(self, callback, *args):
        """What it raises is reported, and changes nothing, as in a callback of a loop."""
        try:
            callback(*args)
        except Cancelled:
            raise
        except BaseException as error:
            self._report(error)

    def _report(self, error):
        self._server.report(type(self._protocol).__name__, error)

    def _settle(self):
        """Does what is due.  True: connection_lost() is."""
        self._inside = self._due = True
        while self._due and not self._lost:
            self._due = False
            self._run_calls()
            self._flush()
        self._inside = False
        return self._lost > 0

    # ---- Flow control

    def _set_limits(self, high, low):
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._low, self._high = low, high

    def _maybe_pause(self):
        if not self._writing_paused and self._size() > self._high:
            self._writing_paused = True
            self._guarded(self._protocol.pause_writing)

    def _maybe_resume(self):
        if self._writing_paused and self._size() <= self._low:
            self._writing_paused = False
            self._guarded(self._protocol.resume_writing)

    # ---- Ends

    def _stop_reading(self):
        self._closing = True
        self._connection.read(False)

    def _lose(self, error):
        self._lost += 1
        self._error = error
        self._soon()

    def _force_close(self, error):
        if self._lost:
            return
        self._clear()
        if not self._closing:
            self._stop_reading()
        self._lose(error)

    def _fatal(self, error):
        self._report(error)
        self._force_close(error)

    def _refuses(self):
        """It is over: what is written counts, and is dropped."""
        if not self._lost:
            return False
        if self._lost >= _QUIET_WRITES:
            logger.warning("socket.send() raised exception.")
        self._lost += 1
        return True

    def _end(self, error):
        """connection_lost(): from now on the connection is no more."""
        if not self._lost:
            self._lost = 1
            self._error = error
        self._closing = True
        self._clear()
        try:
            self._guarded(self._protocol.connection_lost, self._error)
        finally:
            if self._file is not None:
                self._file.close()
            with self._lock:
                self._protocol = self._error = None
                self._calls.clear()
                self._queued = 0


class _StreamTransport(_Transport, asyncio.Transport):
    """Of sockets, pipes and terminals.

    _eof: write_eof() was called; _ending: so it is as soon as all is written.
    """

    _needs = ("data_received", "get_buffer")

    def __init__(self, adapter, protocol, server):
        self._buffer = adapter.write_buffer
        self._held = deque()  # what arrived while reading was paused
        self._eof = self._ending = False
        access = os.O_RDWR if adapter._erlpy_connection.is_socket else _access(adapter.fd)
        self._reads = access != os.O_WRONLY
        self._writes = access != os.O_RDONLY
        super().__init__(adapter, protocol, server)

    # ---- Reading

    def is_reading(self):
        return not self._paused and not self._closing

    def pause_reading(self):
        if self._elsewhere():
            self._later(self.pause_reading)
        elif not self._closing and not self._paused:
            self._paused = True
            self._connection.read(False)

    def resume_reading(self):
        if self._elsewhere():
            self._later(self.resume_reading)
        elif not self._closing and self._paused:
            self._paused = False
            self._connection.read(True)
            if self._held:
                self._soon()

    def _arrived(self, data):
        """Some bytes, or None: the end.  They may have been read before all was paused."""
        if self._closing:
            return
        if self._paused or self._held:
            self._held.append(bytes(data) if data is not None else None)
        else:
            self._give(data)

    def _give(self, data):
        try:
            if data is None:
                keep_open = self._protocol.eof_received()
                if not keep_open or not self._writes:
                    self.close()
            elif self._buffered:
                self._fill(memoryview(data))
            else:
                self._protocol.data_received(bytes(data))
        except Cancelled:
            raise
        except BaseException as error:
            self._fatal(error)

    def _fill(self, rest):
        """The protocol may be another one after each part, or have paused or closed."""
        while rest and not self._closing:
            if self._paused or not self._buffered:
                self._held.appendleft(bytes(rest))
                self._due = True
                return
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            with memoryview(buffer) as view, view.cast("B") as room:
                count = min(len(room), len(rest))
                room[:count] = rest[:count]
            rest = rest[count:]
            self._protocol.buffer_updated(count)

    # ---- Writing

    def write(self, data):
        _check_bytes(data)
        if not self._writes:
            raise NotImplementedError("the pipe is not open for writing")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data:
            return
        if self._elsewhere():
            data = bytes(data)
            self._later(self._write, data, size=len(data))
        else:
            self._run_calls()
            self._write(data)

    def writelines(self, list_of_data):
        self.write(b"".join(list_of_data))

    def can_write_eof(self):
        return self._writes and (self._connection.is_socket or not self._reads)

    def write_eof(self):
        if not self.can_write_eof():
            raise NotImplementedError("this descriptor cannot be closed for writing alone")
        if self.is_closing() or self._eof:
            return
        if not self._reads:
            self.close()
            return
        self._eof = True
        if self._elsewhere():
            self._later(self._shut)
        else:
            self._run_calls()
            self._shut()

    def _write(self, data):
        if self._refuses() or (self._closing and not self._reads):
            return
        waits = len(self._buffer) > 0
        self._buffer += data
        if not waits:
            self._send()
        self._maybe_pause()

    def _send(self):
        try:
            self._connection.send(self._buffer)
        except OSError as error:
            self._force_close(error)

    def _shut(self):
        self._ending = True
        if not self._buffer and not self._lost:
            self._ending = False
            # The other side is gone: whoever reads or writes hears of it.
            with contextlib.suppress(OSError):
                self._connection.end()

    def _size(self):
        return len(self._buffer)

    def _clear(self):
        self._buffer.clear()
        self._held.clear()

    def _flush(self):
        while self._held and not self._paused and not self._closing:
            self._give(self._held.popleft())
        if self._buffer:
            self._send()
            if not self._lost:
                self._maybe_resume()
        if self._buffer or self._lost:
            return
        if self._closing:
            self._lose(None)
        elif self._ending:
            self._shut()


class _DatagramTransport(_Transport, asyncio.DatagramTransport):
    """Of sockets of datagrams.  _buffer: pairs of the bytes and the address."""

    _needs = ("datagram_received",)

    def __init__(self, adapter, protocol, server):
        self._buffer = deque()
        self._buffered_bytes = 0
        super().__init__(adapter, protocol, server)

    def sendto(self, data, addr=None):
        _check_bytes(data)
        peer = self._extra.get("peername")
        if peer:
            if addr not in (None, peer):
                raise ValueError(f"Invalid address: must be None or {peer}")
            addr = None
        if self._elsewhere():
            data = bytes(data)
            self._later(self._append, data, addr, size=len(data))
        else:
            self._run_calls()
            self._sendto(data, addr)

    def _sendto(self, data, addr):
        if self._refuses():
            return
        try:
            if not self._buffer and self._connection.sendto(data, addr):
                return
        except OSError as error:
            self._failed(error)
            return
        self._append(bytes(data), addr)

    def _append(self, data, addr):
        if self._lost:
            return
        self._buffer.append((data, addr))
        self._buffered_bytes += len(data)
        self._maybe_pause()

    def _arrived(self, data, addr):
        if not self._closing:
            self._guarded(self._protocol.datagram_received, data, addr)

    def _failed(self, error):
        self._guarded(self._protocol.error_received, error)

    def _size(self):
        return self._buffered_bytes

    def _clear(self):
        self._buffer.clear()
        self._buffered_bytes = 0

    def _flush(self):
        while self._buffer and self._send_first():
            pass
        self._maybe_resume()
        if not self._buffer and self._closing and not self._lost:
            self._lose(None)

    def _send_first(self):
        data, addr = self._buffer[0]
        failure = None
        try:
            if not self._connection.sendto(data, addr):
                return False
        except Exception as error:
            failure = error
        self._buffer.popleft()
        self._buffered_bytes -= len(data)
        if isinstance(failure, OSError):
            self._failed(failure)
        elif failure is not None:
            # An address that another thread gave.
            self._report(failure)
        return True


def _check_bytes(data):
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"data argument must be a bytes-like object, not {type(data).__name__!r}"
        )


def _name(ask):
    try:
        return ask()
    except OSError:
        return None


def _access(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
