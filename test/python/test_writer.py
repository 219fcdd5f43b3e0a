"""erlang.testing: the writing side, in a test."""

import pytest

from erlang import PyBuffer
from erlang.testing import Writer, make_buffer


def test_make_buffer():
    assert make_buffer().read() == b""
    assert make_buffer(b"abc").read() == b"abc"
    assert make_buffer(bytearray(b"abc")).read() == b"abc"
    assert make_buffer(memoryview(b"abcdef")[1:3]).read() == b"bc"
    assert not make_buffer(b"abc", eof=False).at_eof()
    assert type(make_buffer()) is PyBuffer
    with pytest.raises(TypeError):
        make_buffer("abc")
    with pytest.raises(TypeError):
        make_buffer(b"abc", False)


def test_write():
    writer = Writer()
    assert writer.write(b"abc") == 3
    assert writer.write(b"") == 0
    assert writer.write(b"x" * 10000) == 10000
    assert writer.buffer.read(20000) == b"abc" + b"x" * 10000
    for bad in ("abc", 5, None):
        with pytest.raises(TypeError):
            writer.write(bad)


def test_written_bytes_are_its_own():
    data = bytearray(b"a" * 5000)
    writer = Writer()
    writer.write(data)
    data[:] = b"b" * 5000
    assert writer.buffer.read(5000) == b"a" * 5000


def test_close():
    writer = Writer()
    assert not writer.closed
    writer.close()
    writer.close()
    assert writer.closed
    with pytest.raises(ValueError):
        writer.write(b"x")


def test_with():
    with Writer() as writer:
        writer.write(b"abc")
    assert writer.closed
    assert writer.buffer.read() == b"abc"


def test_info():
    writer = Writer(10)
    writer.write(b"abcdef")
    writer.buffer.read(2)
    info = writer.info()
    assert info.pop("retained") >= 6
    assert info == {
        "state": "open",
        "reader_closed": False,
        "written": 6,
        "read": 2,
        "available": 4,
        "views": 0,
        "waiting_readers": 0,
    }
    writer.close()
    assert writer.info()["state"] == "ended"


def test_length_argument():
    assert Writer(None).info()["state"] == "open"
    assert Writer(length=3).buffer.at_eof() is False
    for bad in ("3", 3.0, b""):
        with pytest.raises(TypeError):
            Writer(bad)
    with pytest.raises(TypeError):
        Writer(1, 2)
    with pytest.raises(TypeError):
        Writer(size=1)

