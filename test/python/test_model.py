"""Random operations against io.BytesIO, over random layouts, with random arrivals."""

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

from erlang import IncompleteReadError, LimitOverrunError
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
    @initialize()
    def begin(self):
        self.writer = Writer()
        self.buf = self.writer.buffer
        self.model = io.BytesIO()
        self.ended = False
        self.views = []

    def rest(self):
        return self.model.getvalue()[self.model.tell() :]

    @precondition(lambda self: not self.ended)
    @rule(data=PIECES)
    def write(self, data):
        position = self.model.tell()
        self.model.seek(0, 2)
        assert self.writer.write(data) == self.model.write(data)
        self.model.seek(position)

    @precondition(lambda self: not self.ended)
    @rule(close=st.booleans())
    def end(self, close):
        if close:
            self.buf.close()
        self.writer.close()
        self.ended = True

    @rule(size=SIZES)
    def read_nonblock(self, size):
        assert self.buf.read_nonblock(size) == self.model.read(size)

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=SIZES, method=st.sampled_from(["read", "read1"]))
    def read_some(self, size, method):
        if method == "read" and not self.ended and (size is None or size < 0):
            return
        assert getattr(self.buf, method)(size) == self.model.read(size)

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=st.integers(0, 100000))
    def readinto(self, size):
        ours, theirs = bytearray(size), bytearray(size)
        assert self.buf.readinto(ours) == self.model.readinto(theirs)
        assert ours == theirs

    @rule(size=SIZES)
    def readline(self, size):
        if not self.ended and b"\n" not in self.rest():
            return
        assert self.buf.readline(size) == self.model.readline(size)

    @rule(hint=st.integers(1, 10000))
    def readlines(self, hint):
        if not self.ended and b"\n" not in self.rest()[hint - 1 :]:
            return
        assert self.buf.readlines(hint) == self.model.readlines(hint)

    @precondition(lambda self: self.ended)
    @rule()
    def readlines_to_the_end(self):
        assert self.buf.readlines() == self.model.readlines()

    @rule(size=st.integers(0, 20000), view=st.booleans())
    def readexactly(self, size, view):
        if not self.ended and size > len(self.rest()):
            return
        expected = self.model.read(size)
        try:
            if view:
                shown = self.buf.readview_exactly(size)
                self.views.append((shown, expected))
                assert shown == expected
            else:
                assert self.buf.readexactly(size) == expected
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
        assert self.buf.peek(size) == self.rest()[:size]

    @precondition(lambda self: self.ended or self.rest())
    @rule(size=SIZES)
    def readview(self, size):
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

    @rule(needle=NEEDLES, start=BOUNDS, end=BOUNDS)
    def find(self, needle, start, end):
        assert self.buf.find(needle, start or 0, end) == self.rest().find(
            needle, start or 0, end
        )

    @rule(data=st.data())
    def seek(self, data):
        size = len(self.model.getvalue())
        offset = data.draw(st.integers(0, size))
        whence = data.draw(st.sampled_from([0, 1, 2] if self.writer.closed else [0, 1]))
        base = (0, self.model.tell(), size)[whence]
        assert self.buf.seek(offset - base, whence) == self.model.seek(offset)

    @rule()
    def seek_outside(self):
        for offset in (-1, len(self.model.getvalue()) + 1):
            try:
                self.buf.seek(offset)
            except io.UnsupportedOperation:
                continue
            raise AssertionError("not refused")

    @invariant()
    def agree(self):
        rest = self.rest()
        assert self.buf.tell() == self.model.tell()
        assert len(self.buf) == len(rest)
        assert self.buf.at_eof() == (self.ended and not rest)
        for view, expected in self.views[-3:]:
            assert view == expected

    def teardown(self):
        for view, expected in getattr(self, "views", ()):
            assert view == expected


TestAgainstBytesIO = AgainstBytesIO.TestCase
TestAgainstBytesIO.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=False
)
