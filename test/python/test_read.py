"""The reads by size: what each waits for, and what it takes."""

import io

import pytest

from erlang import IncompleteReadError
from erlang.testing import Writer, make_buffer
from support import LAYOUTS, Background, laid_out, trickling, wait_for_readers

DATA = bytes(range(256)) * 40
LARGE = bytes(range(251)) * 4000


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("data", [DATA, LARGE], ids=["10 KiB", "1 MB"])
class TestLayouts:
    def test_read_all(self, layout, data):
        buf = laid_out(data, layout)
        assert buf.read() == data
        assert buf.read() == b""

    def test_readall(self, layout, data):
        assert laid_out(data, layout).readall() == data

    @pytest.mark.parametrize("size", [1000, 65536, 65537, 200000])
    def test_read_crosses_segments(self, layout, data, size):
        buf, model = laid_out(data, layout), io.BytesIO(data)
        while chunk := model.read(size):
            assert buf.read(size) == chunk
        assert buf.read(size) == b""

    def test_readinto(self, layout, data):
        buf, out, target = laid_out(data, layout), b"", bytearray(70000)
        while count := buf.readinto(target):
            out += target[:count]
        assert out == data

    def test_readexactly(self, layout, data):
        buf = laid_out(data, layout)
        assert buf.readexactly(len(data) - 5) == data[:-5]
        assert buf.readexactly(5) == data[-5:]

    def test_peek_consumes_nothing(self, layout, data):
        buf = laid_out(data, layout)
        assert buf.peek() == data[:8192]
        assert buf.peek(100000) == data[:100000]
        assert buf.tell() == 0
        assert buf.read() == data


class TestShortReads:
    def test_read_returns_what_is_there(self):
        buf = make_buffer(b"abc", eof=False)
        assert buf.read(10) == b"abc"

    def test_read1_and_readinto_too(self):
        target = bytearray(10)
        assert make_buffer(b"abc", eof=False).read1(10) == b"abc"
        assert make_buffer(b"abc", eof=False).read1() == b"abc"
        assert make_buffer(b"abc", eof=False).readinto(target) == 3
        assert make_buffer(b"abc", eof=False).readinto1(target) == 3
        assert target[:3] == b"abc"

    @pytest.mark.parametrize(
        "call",
        [
            lambda buf: buf.read(0),
            lambda buf: buf.read1(0),
            lambda buf: buf.readexactly(0),
            lambda buf: buf.readline(0),
            lambda buf: bytes(buf.readview(0)),
            lambda buf: bytes(buf.readview_exactly(0)),
            lambda buf: buf.read_nonblock(),
            lambda buf: buf.read_nonblock(5),
        ],
    )
    def test_nothing_asked_for_never_waits(self, call):
        assert call(make_buffer(eof=False)) == b""

    def test_readinto_nothing_never_waits(self):
        assert make_buffer(eof=False).readinto(bytearray()) == 0

    def test_read_nonblock(self):
        buf = make_buffer(b"abcdef", eof=False)
        assert buf.read_nonblock(2) == b"ab"
        assert buf.read_nonblock(0) == b""
        assert buf.read_nonblock(-1) == b"cdef"
        assert buf.read_nonblock() == b""


BLOCKING = {
    "read": lambda buf: buf.read(),
    "read(n)": lambda buf: buf.read(100),
    "read1": lambda buf: buf.read1(),
    "readall": lambda buf: buf.readall(),
    "readinto": lambda buf: buf.readinto(bytearray(9)),
    "readline": lambda buf: buf.readline(),
    "readlines": lambda buf: buf.readlines(),
    "next": lambda buf: next(buf),
    "peek": lambda buf: buf.peek(),
    "readexactly": lambda buf: buf.readexactly(2),
    "readuntil": lambda buf: buf.readuntil(b"\n"),
    "readview": lambda buf: bytes(buf.readview()),
    "readview_exactly": lambda buf: bytes(buf.readview_exactly(2)),
    "views": lambda buf: bytes(next(buf.views())),
}


@pytest.mark.parametrize("name", BLOCKING)
class TestBlocking:
    def test_waits_and_goes_on(self, name):
        writer = Writer()
        call = Background(BLOCKING[name], writer.buffer)
        wait_for_readers(writer)
        writer.write(b"x\n")
        writer.close()
        result = call.result()
        assert result in (b"x\n", [b"x\n"], 2)

    @pytest.mark.parametrize("end", ["end of data", "close"])
    def test_end_wakes_it(self, name, end):
        writer = Writer()
        buf = writer.buffer
        call = Background(BLOCKING[name], buf)
        wait_for_readers(writer)
        if end == "close":
            buf.close()
        else:
            writer.close()
        try:
            assert call.result() in (b"", [], 0)
        except (StopIteration, IncompleteReadError):
            pass


@pytest.mark.parametrize(
    "call",
    [
        lambda buf: buf.readline(),
        lambda buf: next(buf),
        lambda buf: buf.readlines(1)[0],
        lambda buf: buf.readlines(7)[0],
        lambda buf: buf.readexactly(7),
        lambda buf: buf.readuntil(b"\n"),
        lambda buf: buf.readuntil(b"ne\n"),
        lambda buf: bytes(buf.readview_exactly(7)),
    ],
)
@pytest.mark.parametrize("begun", [0, 1, 2])
def test_the_last_byte_is_enough(call, begun):
    """Bytes come one by one: the call waits for each, and needs no byte more."""
    writer, line = Writer(), b"a line\n"
    writer.write(line[:begun])
    running = Background(call, writer.buffer)
    for byte in line[begun:]:
        wait_for_readers(writer)
        writer.write(bytes([byte]))
    assert running.result() == line


class TestWhole:
    """A known length that has been written needs no end of data."""

    def test_read_until_the_known_length(self):
        writer = Writer(5)
        call = Background(writer.buffer.read)
        wait_for_readers(writer)
        writer.write(b"ab")
        writer.write(b"cde")
        assert call.result() == b"abcde"
        assert writer.buffer.read() == b""
        assert writer.buffer.read(1) == b""
        assert writer.buffer.readline() == b""
        assert writer.buffer.at_eof()

    def test_length_zero_is_whole_at_once(self):
        buf = Writer(0).buffer
        assert buf.read() == buf.read(1) == buf.readline() == b""
        assert list(buf) == list(buf.views()) == buf.readlines() == []

    def test_bytes_past_it_are_readable(self):
        writer = Writer(2)
        writer.write(b"abcd")
        assert writer.buffer.read() == b"abcd"
        writer.write(b"ef")
        assert writer.buffer.read() == b"ef"

    def test_short_of_it_is_a_normal_end(self):
        writer = Writer(100)
        writer.write(b"ab")
        writer.close()
        assert writer.buffer.read() == b"ab"

    @pytest.mark.parametrize("length", [-1, 2**63, 2**100])
    def test_bad_length(self, length):
        with pytest.raises(ValueError):
            Writer(length)

    def test_huge_length_takes_no_memory(self):
        writer = Writer(2**63 - 1)
        writer.write(b"x")
        assert writer.info()["retained"] < 1 << 20
        assert writer.buffer.read(1) == b"x"


class TestExactly:
    def test_waits_for_all_of_it(self):
        writer = Writer()
        call = Background(writer.buffer.readexactly, 300)
        for piece in (b"a" * 100, b"b" * 100):
            wait_for_readers(writer)
            writer.write(piece)
        wait_for_readers(writer)
        assert writer.buffer.tell() == 0
        writer.write(b"c" * 150)
        assert call.result() == b"a" * 100 + b"b" * 100 + b"c" * 100
        assert writer.buffer.read_nonblock() == b"c" * 50

    @pytest.mark.parametrize("method", ["readexactly", "readview_exactly"])
    @pytest.mark.parametrize("size", [0, 3, 100000])
    def test_short_raises_with_what_was_there(self, method, size):
        data = b"z" * size
        buf = make_buffer(data)
        with pytest.raises(EOFError) as caught:
            getattr(buf, method)(size + 1)
        assert type(caught.value) is IncompleteReadError
        assert caught.value.partial == data
        assert caught.value.expected == size + 1
        assert str(caught.value) == f"{size} bytes read of {size + 1} expected bytes"
        assert buf.tell() == size

    def test_huge_count_takes_no_memory(self):
        with pytest.raises(EOFError):
            make_buffer(b"x").readexactly(2**63 - 1)


def test_read_all_is_not_woken_by_each_write():
    """The wait names what it needs; this one needs the end."""
    writer = Writer()
    call = Background(writer.buffer.read)
    wait_for_readers(writer)
    for _ in range(1000):
        writer.write(b"0123456789")
        assert writer.info()["waiting_readers"] == 1
    writer.close()
    assert call.result() == b"0123456789" * 1000


@pytest.mark.parametrize("size", [1, 100, 4096, 100000])
def test_trickled(size):
    with trickling(DATA, 100) as buf:
        out = b""
        while chunk := buf.read(size):
            out += chunk
    assert out == DATA
