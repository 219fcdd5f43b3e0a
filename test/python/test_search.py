"""find, against bytes.find, and readuntil, as asyncio.StreamReader has it."""

import asyncio
import itertools
import random

import pytest

from erlang import IncompleteReadError, LimitOverrunError
from erlang.testing import Writer, make_buffer
from support import LAYOUTS, Background, laid_out, trickling, wait_for_readers

BOUNDS = [None, 0, 1, 2, 5, 6, 7, 100, -1, -2, -6, -7, -100, 2**70, -(2**70)]


@pytest.mark.parametrize("sub", [b"", b"a", b"b", b"ab", b"bab", b"abcabc", b"x", 97, 0])
def test_bounds_as_bytes_find(sub):
    data = b"ababab"
    for position in (0, 2):
        buf = make_buffer(data)
        buf.seek(position)
        rest = data[position:]
        for start, end in itertools.product(BOUNDS, BOUNDS):
            assert buf.find(sub, start or 0, end) == rest.find(sub, start, end)
            assert buf.tell() == position


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [5000, 300000])
def test_needles_everywhere(layout, size):
    chance = random.Random(size)
    data = bytes(chance.choices(b"ab\n", k=size))
    buf = laid_out(data, layout)
    buf.seek(17)
    rest = data[17:]
    for _ in range(200):
        at = chance.randrange(len(rest))
        needle = rest[at : at + chance.choice([1, 2, 8, 28, 3000])]
        start = chance.choice([0, at, at // 2, at + 1])
        assert buf.find(needle, start) == rest.find(needle, start)
        assert buf.find(needle, start, at + 5) == rest.find(needle, start, at + 5)
    assert buf.find(b"absent") == -1
    assert buf.read() == rest


def test_argument_types():
    buf = make_buffer(b"hello")
    assert buf.find(bytearray(b"l")) == buf.find(memoryview(b"l")) == 2
    assert buf.find(sub=b"l", start=3) == 3
    assert buf.find(True) == -1
    for value in (256, -1, 2**80):
        with pytest.raises(ValueError):
            buf.find(value)
    for value in ("l", None, 1.0, [b"l"]):
        with pytest.raises(TypeError):
            buf.find(value)
    for value in ("0", 1.0):
        with pytest.raises(TypeError):
            buf.find(b"l", value)
        with pytest.raises(TypeError):
            buf.find(b"l", 0, value)
    with pytest.raises(TypeError):
        buf.find()
    with pytest.raises(TypeError):
        buf.find(b"l", 0, 1, 2)


def test_find_sees_only_what_has_arrived():
    writer = Writer()
    buf = writer.buffer
    assert buf.find(b"x") == buf.find(b"") - 1 == -1
    writer.write(b"bound")
    assert buf.find(b"boundary") == -1
    writer.write(b"ary")
    assert buf.find(b"boundary") == 0


def test_find_polled_after_every_arrival():
    writer = Writer()
    buf = writer.buffer
    for n in range(3000):
        writer.write(b"boundar" * 10)
        assert buf.find(b"boundary") == -1
    writer.write(b"y")
    assert buf.find(b"boundary") == 3000 * 70 - 7
    buf.read(10)
    assert buf.find(b"boundary") == 3000 * 70 - 17


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sep", [b"\n", b"\r\n", b"--boundary"])
def test_readuntil(layout, sep):
    parts = [b"a" * n + sep for n in (0, 1, 9, 3000, 70000, 2)]
    buf = laid_out(b"".join(parts) + b"tail", layout)
    for part in parts:
        assert buf.readuntil(sep) == part
    with pytest.raises(IncompleteReadError) as caught:
        buf.readuntil(sep)
    assert caught.value.partial == b"tail"
    assert caught.value.expected is None
    assert "separator" in str(caught.value)
    assert buf.at_eof()


def test_readuntil_trickled():
    parts = [b"x" * (n % 300) + b"--sep--" for n in range(300)]
    with trickling(b"".join(parts)) as buf:
        assert [buf.readuntil(b"--sep--") for _ in parts] == parts


def test_readuntil_waits_without_consuming():
    writer = Writer()
    writer.write(b"ab\r")
    call = Background(writer.buffer.readuntil, b"\r\n")
    wait_for_readers(writer)
    assert writer.buffer.tell() == 0
    writer.write(b"\nrest")
    assert call.result() == b"ab\r\n"


def streamreader_until(data, eof, sep, limit):
    async def call():
        reader = asyncio.StreamReader(limit=limit)
        reader.feed_data(data)
        if eof:
            reader.feed_eof()
        try:
            return await asyncio.wait_for(reader.readuntil(sep), 0.01)
        except asyncio.IncompleteReadError as error:
            return ("incomplete", error.partial)
        except asyncio.LimitOverrunError:
            return "overrun"

    return asyncio.run(call())


def buffer_until(data, eof, sep, limit):
    buf = make_buffer(data, eof=eof)
    try:
        return buf.readuntil(sep, limit)
    except IncompleteReadError as error:
        return ("incomplete", error.partial)
    except LimitOverrunError as error:
        assert buf.tell() == 0
        assert sep not in data[: error.consumed + len(sep) - 1]
        return "overrun"


@pytest.mark.parametrize("data", [b"", b"abcd", b"abcd\r\n", b"abcd\r\nx", b"abcde\r"])
@pytest.mark.parametrize("limit", [1, 3, 4, 5, 6, 100])
def test_limit_as_streamreader(data, limit):
    """At most `limit` bytes before the separator."""
    expected = streamreader_until(data, True, b"\r\n", limit)
    assert buffer_until(data, True, b"\r\n", limit) == expected


def test_limit_is_reached_while_the_stream_is_open():
    buf = make_buffer(b"a" * 100, eof=False)
    with pytest.raises(LimitOverrunError) as caught:
        buf.readuntil(b"\n", 50)
    assert isinstance(caught.value, ValueError)
    assert caught.value.consumed == 51
    assert buf.tell() == 0
    assert buf.read(caught.value.consumed) == b"a" * 51


def test_limit_zero():
    assert make_buffer(b"\nx", eof=False).readuntil(b"\n", 0) == b"\n"
    with pytest.raises(LimitOverrunError):
        make_buffer(b"x\n", eof=False).readuntil(b"\n", limit=0)


def test_readuntil_arguments():
    buf = make_buffer(b"abc")
    assert buf.readuntil(sep=bytearray(b"b"), limit=None) == b"ab"
    with pytest.raises(ValueError):
        buf.readuntil(b"")
    with pytest.raises(ValueError):
        buf.readuntil(b"c", -1)
    for bad in ("c", 99, None):
        with pytest.raises(TypeError):
            buf.readuntil(bad)
    with pytest.raises(TypeError):
        buf.readuntil(b"c", 1.5)
    with pytest.raises(OverflowError):
        buf.readuntil(b"c", 2**100)
    with pytest.raises(TypeError):
        buf.readuntil()
    assert buf.read() == b"c"
