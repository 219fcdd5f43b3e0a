"""Random operations against io.BytesIO, over random layouts, with random arrivals, over
streams that end, are closed, or are aborted, with and without marks and seeking."""

import errno
import io

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from erlang import BufferAborted, IncompleteReadError, LimitOverrunError
from erlang.testing import Writer

PIECES = st.one_of(
    st.binary(max_size=40),
    st.text(alphabet="ab\n", max_size=60).map(str.encode),
    st.builds(lambda n, byte: byte * n, st.integers(0, 6000), st.sampled_from([b"a", b"\n"])),
    st.just(b"b" * 70000 + b"\n"),
)
SIZES = st.one_of(st.integers(-2, 10), st.integers(0, 9000), st.just(200000), st.none())
NEEDLES = st.one_of(st.sampled_from([b"\n", b"ab", b"aab", b"a\nb"]), st.binary(max_size=3))
BOUNDS = st.one_of(st.none(), st.integers(-50, 50), st.integers(-100000, 100000))


class AgainstBytesIO(RuleBasedStateMachine):
    @initialize(
        seekable=st.booleans(),
        high=st.one_of(st.none(), st.integers(1, 20000)),
        low=st.floats(0, 1),
        most=st.one_of(st.none(), st.integers(0, 200000)),
    )
    def begin(self, seekable, high, low, most):
        self.high, self.low, self.most = high, high and int(high * low), most
        self.writer = Writer(
            high_watermark=high, low_watermark=self.low, max_size=most, seekable=seekable
        )
        self.buf = self.writer.buffer
        self.buf.settimeout(0)
        self.model = io.BytesIO()
        self.ended = self.aborted = False
        self.views = []
        self.merged = 0

    def all_or_nothing(self, call, position):
        """Of a stream that is aborted, a call that promises all gives nothing."""
        if not self.aborted:
            return False
        try:
            call()
        except BufferAborted as error:
            assert error.reason == "why"
            self.model.seek(position)
            return True
        raise AssertionError("not raised")

    def too_early(self, call):
        """It would wait: with a timeout of 0 it raises, and consumes nothing."""
        try:
            call()
        except TimeoutError:
            return
        raise AssertionError("not raised")

    def drained(self, call):
        """Once it is drained, every read raises."""
        if not self.aborted or self.rest():
            return False
        return self.all_or_nothing(call, self.model.tell())

    def rest(self):
        return self.model.getvalue()[self.model.tell() :]

    @precondition(lambda self: not self.ended)
    @rule(data=PIECES)
    def write(self, data):
        position = self.model.tell()
        written = self.model.seek(0, 2)
        full = self.high is not None and written - position >= self.high
        try:
            assert self.writer.write(data, timeout=0) == len(data)
            assert not (full and data)
            assert self.most is None or written + len(data) <= self.most
            self.model.write(data)
        except TimeoutError:
            assert full and data
        except OSError as error:
            assert error.errno == errno.EFBIG and written + len(data) > self.most
        self.model.seek(position)

    @precondition(lambda self: not self.ended)
    @rule(how=st.sampled_from(["end", "close", "abort", "close, abort", "abort, close"]))
    def end(self, how):
        for step in how.split(", "):
            if step == "abort":
                self.writer.abort("why")
            elif step == "close":
                self.buf.close()
        self.writer.close()
        self.ended = True
        self.aborted = how.startswith("abort")

    @rule(size=SIZES)
    def read_nonblock(self, size):
        if size != 0 and self.drained(lambda: self.buf.read_nonblock(size)):
            return
        assert self.buf.read_nonblock(size) == self.model.read(size)

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=SIZES, method=st.sampled_from(["read", "read1"]))
    def read_some(self, size, method):
        everything = method == "read" and (size is None or size < 0)
        if everything and not self.ended:
            return self.too_early(self.buf.read)
        if everything and self.all_or_nothing(self.buf.read, self.model.tell()):
            return
        if size != 0 and self.drained(lambda: getattr(self.buf, method)(size)):
            return
        assert getattr(self.buf, method)(size) == self.model.read(size)

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=st.integers(0, 100000))
    def readinto(self, size):
        ours, theirs = bytearray(size), bytearray(size)
        if size and self.drained(lambda: self.buf.readinto(ours)):
            return
        assert self.buf.readinto(ours) == self.model.readinto(theirs)
        assert ours == theirs

    @rule(size=SIZES)
    def readline(self, size):
        if not self.ended and b"\n" not in self.rest():
            limited = size is not None and 0 <= size <= len(self.rest())
            return None if limited else self.too_early(lambda: self.buf.readline(size))
        if size != 0 and self.drained(lambda: self.buf.readline(size)):
            return
        assert self.buf.readline(size) == self.model.readline(size)

    @rule(hint=st.integers(1, 10000))
    def readlines(self, hint):
        if not self.ended and b"\n" not in self.rest()[hint - 1 :]:
            return self.too_early(lambda: self.buf.readlines(hint))
        if self.drained(lambda: self.buf.readlines(hint)):
            return
        assert self.buf.readlines(hint) == self.model.readlines(hint)

    @precondition(lambda self: self.ended)
    @rule()
    def readlines_to_the_end(self):
        if self.all_or_nothing(self.buf.readlines, self.model.tell()):
            return
        assert self.buf.readlines() == self.model.readlines()

    @rule(size=st.integers(0, 20000), view=st.booleans())
    def readexactly(self, size, view):
        exactly = self.buf.readview_exactly if view else self.buf.readexactly
        if not self.ended and size > len(self.rest()):
            return self.too_early(lambda: exactly(size))
        if self.all_or_nothing(lambda: exactly(size), self.model.tell()):
            return
        expected = self.model.read(size)
        try:
            shown = exactly(size)
            assert shown == expected
            if view:
                self.views.append((shown, expected))
        except IncompleteReadError as error:
            assert error.partial == expected
            assert len(expected) < size

    @rule(sep=NEEDLES.filter(len), limit=st.one_of(st.none(), st.integers(0, 5000)))
    def readuntil(self, sep, limit):
        rest = self.rest()
        at = rest.find(sep)
        over = limit is not None and (
            at > limit or at == -1 and len(rest) >= limit + len(sep)
        )
        if at == -1 and not self.ended and not over:
            return self.too_early(lambda: self.buf.readuntil(sep, limit))
        if self.all_or_nothing(lambda: self.buf.readuntil(sep, limit), self.model.tell()):
            return
        try:
            assert self.buf.readuntil(sep, limit) == rest[: at + len(sep)]
            assert at != -1 and not over
            self.model.seek(at + len(sep), 1)
        except IncompleteReadError as error:
            assert at == -1 and not over
            assert error.partial == self.model.read()
        except LimitOverrunError:
            assert over

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=st.integers(1, 5000))
    def peek(self, size):
        if self.drained(lambda: self.buf.peek(size)):
            return
        assert self.buf.peek(size) == self.rest()[:size]

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=SIZES)
    def readview(self, size):
        if size != 0 and self.drained(lambda: self.buf.readview(size)):
            return
        view = self.buf.readview(size)
        assert size in (None, 0) or size < 0 or len(view) <= size
        assert bool(view) == bool(self.rest() and size != 0)
        expected = self.model.read(len(view))
        assert view == expected
        self.views.append((view, expected))

    @rule()
    def memoryview(self):
        view = memoryview(self.buf)
        assert view == self.rest()
        self.views.append((view, self.rest()))
        self.merged = max(self.merged, len(view))

    @rule(needle=NEEDLES, start=BOUNDS, end=BOUNDS)
    def find(self, needle, start, end):
        assert self.buf.find(needle, start or 0, end) == self.rest().find(
            needle, start or 0, end
        )

    @precondition(lambda self: self.buf.seekable())
    @rule(data=st.data())
    def seek(self, data):
        size = len(self.model.getvalue())
        offset = data.draw(st.integers(0, size))
        whence = data.draw(st.sampled_from([0, 1, 2] if self.ended and not self.aborted else [0, 1]))
        base = (0, self.model.tell(), size)[whence]
        assert self.buf.seek(offset - base, whence) == self.model.seek(offset)

    @rule()
    def seek_outside(self):
        refused = [(-1,), (len(self.model.getvalue()) + 1,)]
        if self.aborted or not self.ended or not self.buf.seekable():
            refused.append((0, 2))
        if not self.buf.seekable():
            refused += [(0,), (0, 1), (self.model.tell(),)]
        for where in refused:
            try:
                self.buf.seek(*where)
            except io.UnsupportedOperation:
                continue
            raise AssertionError("not refused")

    @invariant()
    def agree(self):
        rest = self.rest()
        assert self.buf.tell() == self.model.tell()
        assert len(self.buf) == len(rest)
        if not self.drained(self.buf.at_eof):
            assert self.buf.at_eof() == (self.ended and not rest)
        if not self.buf.seekable():
            # The segments at both ends, and what a view has brought together.
            self.merged = self.merged if rest else 0
            most = 150000 + 2 * max(self.merged, len(rest))
            assert self.writer.info()["retained"] <= most
        for view, expected in self.views[-3:]:
            assert view == expected

    def teardown(self):
        for view, expected in getattr(self, "views", ()):
            assert view == expected


TestAgainstBytesIO = AgainstBytesIO.TestCase
TestAgainstBytesIO.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=False
)
