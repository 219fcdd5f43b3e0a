"""Buffers and calls in asyncio: what waits for Erlang is awaited, and nothing polls.

    from erlang import aio

    async def handle(body):
        async for line in aio.reader(body):
            ...

reader(buf) has the interface and the meanings of asyncio.StreamReader.  It works on any
asyncio loop that has add_reader(), uvloop included: each loop has one descriptor,
however many buffers are awaited in it.
"""

import asyncio
import weakref
from contextvars import Context
from operator import index

from _erlang import (
    BufferAborted,
    IncompleteReadError,
    LimitOverrunError,
    Waker,
    nonblocking,
)

__all__ = ["StreamReader", "call", "reader"]

DEFAULT_LIMIT = 2**16
_LONGEST = 2**62

# The messages of asyncio.
_EMPTY = "Separator should be at least one-byte string"
_FOUND = "Separator is found, but chunk is longer than limit"
_NOT_FOUND = "Separator is not found, and chunk exceed the limit"

# A loop holds its Waker by the callback of its descriptor, and nothing else does: a loop
# that is closed lets go of it and of all that waits.
_wakers = weakref.WeakKeyDictionary()


def _waker(loop):
    known = _wakers.get(loop)
    waker = known() if known is not None else None
    if waker is None:
        waker = Waker()
        _wakers[loop] = weakref.ref(waker)
        try:
            # Not in the context of the task that happens to be the first.
            Context().run(loop.add_reader, waker.fileno(), waker.drain)
        except BaseException:
            del _wakers[loop]
            raise
    return waker


def _count(n):
    try:
        return index(n)
    except TypeError:
        raise TypeError(f"n must be an int, not {type(n).__name__}") from None


def _bytes(separator):
    """The separator, of which nobody else changes the bytes while it is looked for."""
    if not isinstance(separator, bytes):
        try:
            separator = memoryview(separator).tobytes()
        except TypeError:
            what = type(separator).__name__
            raise TypeError(f"separator must be bytes-like, not {what}") from None
    if not separator:
        raise ValueError(_EMPTY)
    return separator


async def _until(arm, *args):
    """Waits in the running loop until there may be something new to look at, or what is
    to be sent has been.

    arm: Waker.wait_buffer, .wait_channel or .wait_put; args: what it takes before the
    future.  An exception, also a cancellation, passes the news on to whoever waits as
    well.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    # The Waker is not held here: it goes with its loop, also while this waits.
    wait = arm(_waker(loop), *args, future)
    if wait is not None:
        try:
            await future
        except BaseException:
            wait.cancel()
            raise
        wait.done()


async def call(name, /, *args):
    """erlang.call() for a coroutine: the loop goes on meanwhile, and no thread waits.

    A cancellation kills the Erlang process that works for the call.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    wait = _waker(loop).call(future, name, *args)
    try:
        await future
    except BaseException:
        wait.cancel()
        raise
    return wait.done()


def reader(buf, limit=DEFAULT_LIMIT):
    """A StreamReader that reads from buf, a PyBuffer.

    limit: how many bytes of a line, or before the separator of readuntil(), are taken
    at most; a positive integer.
    """
    return StreamReader(buf, limit)


class StreamReader:
    """The interface of asyncio.StreamReader over a PyBuffer.

    Position, end and data are those of the buffer; several readers of one buffer share
    them.  Only one task may wait in a buffer at a time: a second one gets RuntimeError.
    A task that is cancelled while it waits has consumed nothing.

    When the writer aborts, calls that promise completeness (read(-1), readexactly(),
    readuntil()) raise erlang.BufferAborted at once and consume nothing; the others hand
    out first what had arrived.
    """

    def __init__(self, buf, limit=DEFAULT_LIMIT):
        if not isinstance(limit, int):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit <= 0:
            raise ValueError("limit cannot be <= 0")
        self._buf = nonblocking(buf)
        self._limit = min(limit, _LONGEST)

    def __repr__(self):
        return f"<erlang.aio.StreamReader limit={self._limit} {self._buf!r}>"

    def at_eof(self):
        """True at the end: no more will come, and all has been read.

        Raises BufferAborted when what came before the abort has been read.
        """
        return self._buf.at_eof()

    def exception(self):
        """A BufferAborted when the writer has aborted, else None."""
        try:
            self._buf.readexactly(0)
        except BufferAborted as error:
            return error
        return None

    async def _call(self, need, read, *args):
        """What read(*args) answers, once it need not wait.

        need: how many bytes it takes, from the position on; None: all of them.
        """
        buf = self._buf
        while True:
            position = buf.tell()
            try:
                return read(*args)
            except TimeoutError:
                pass
            await _until(Waker.wait_buffer, buf, position, need)

    async def _search(self, least, read, *args):
        """As _call(), for what looks again at each byte from the `least`th on."""
        buf = self._buf
        while True:
            position, available = buf.tell(), buf.readable_amount()
            try:
                return read(*args)
            except TimeoutError:
                pass
            need = max(least, available + 1)
            await _until(Waker.wait_buffer, buf, position, need)

    async def read(self, n=-1):
        """At most n bytes, as soon as there are any; all until the end for n < 0.

        b'' at the end, and for n = 0.
        """
        n = _count(n)
        return await self._call(1 if n >= 0 else None, self._buf.read, n)

    async def readexactly(self, n):
        """Exactly n bytes.

        Raises asyncio.IncompleteReadError, whose .partial has been consumed, when the
        end comes before.
        """
        n = _count(n)
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        try:
            return await self._call(n, self._buf.readexactly, n)
        except IncompleteReadError as error:
            raise asyncio.IncompleteReadError(error.partial, n) from None

    async def readline(self):
        """A line with its b'\\n'; without one the last line; b'' at the end.

        Raises ValueError when the line is longer than the limit; what has arrived of it
        has been consumed then.
        """
        line = await self._search(1, self._buf.readline, self._limit + 1)
        if len(line) > self._limit and not line.endswith(b"\n"):
            raise ValueError(self._drop_line())
        return line

    def _drop_line(self):
        """Consumes what has arrived of a line whose beginning has been consumed."""
        found = self._buf.find(b"\n")
        left = found + 1 if found >= 0 else self._buf.readable_amount()
        while left > 0:
            left -= len(self._buf.readview(left))
        return _FOUND if found >= 0 else _NOT_FOUND

    async def readuntil(self, separator=b"\n"):
        """Bytes up to and including the separator, or the first of a tuple of them.

        Raises asyncio.LimitOverrunError, with nothing consumed, when more than the
        limit comes before it, and asyncio.IncompleteReadError, whose .partial has been
        consumed, when the end does.
        """
        if isinstance(separator, tuple):
            read = _UntilAny(self._buf, separator, self._limit).read
            least = 1
        else:
            separator = _bytes(separator)
            read, least = self._read_until, len(separator)
        try:
            return await self._search(least, read, separator)
        except IncompleteReadError as error:
            raise asyncio.IncompleteReadError(error.partial, None) from None

    def _read_until(self, separator):
        buf = self._buf
        try:
            return buf.readuntil(separator, self._limit)
        except LimitOverrunError:
            found = buf.find(separator)
        if found >= 0:
            raise asyncio.LimitOverrunError(_FOUND, found)
        consumed = buf.readable_amount() + 1 - len(separator)
        raise asyncio.LimitOverrunError(_NOT_FOUND, consumed)

    async def readview(self, n=-1):
        """At most n bytes as a memoryview, without a copy, as soon as there are any.

        It shows what lies in one piece, which may be less than has arrived.  It is
        empty at the end, and for n = 0.
        """
        return await self._call(1, self._buf.readview, _count(n))

    def views(self):
        """Memoryviews of the rest, as it arrives, for `async for`."""
        return _Views(self)

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


class _UntilAny:
    """One readuntil() with several separators: whichever ends first, the shortest of
    those.  What has been searched is not searched again."""

    def __init__(self, buf, separators, limit):
        if not separators:
            raise ValueError("Separator should contain at least one element")
        self.separators = sorted(map(_bytes, separators), key=len)
        self.buf = buf
        self.limit = limit
        self.position = None  # `clear` and `seen` count from here
        self.clear = 0  # no separator begins before
        self.seen = None  # all that was there when it was last searched

    def read(self, _):
        self.buf.readexactly(0)  # raises BufferAborted
        position, available = self.buf.tell(), self.buf.readable_amount()
        if position != self.position:
            self.position, self.clear, self.seen = position, 0, None
        if available == self.seen:
            # The wait is over and nothing came: this is the end, or TimeoutError.
            return self.buf.readuntil(self.separators[0])
        start, separator = self.find()
        if separator is not None:
            return self.take(start, separator)
        self.seen = available
        self.clear = max(0, available + 1 - len(self.separators[-1]))
        if self.clear > self.limit:
            raise asyncio.LimitOverrunError(_NOT_FOUND, self.clear)
        raise TimeoutError

    def find(self):
        first, start, separator = None, None, None
        for candidate in self.separators:
            found = self.buf.find(candidate, self.clear)
            end = found + len(candidate)
            if found >= 0 and (first is None or end < first):
                first, start, separator = end, found, candidate
        return start, separator

    def take(self, start, separator):
        if start > self.limit:
            raise asyncio.LimitOverrunError(_FOUND, start)
        try:
            return self.buf.readuntil(separator, start)
        except LimitOverrunError:
            # Another thread has read meanwhile: look again.
            raise TimeoutError from None


class _Views:
    def __init__(self, reader):
        self._reader = reader

    def __aiter__(self):
        return self

    async def __anext__(self):
        view = await self._reader.readview()
        if not view:
            raise StopAsyncIteration
        return view
