"""erlang.testing: the writing side, in a test."""

import pytest

from erlang import BufferAborted, PyBuffer
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


def test_abort():
    writer = Writer()
    writer.abort("first")
    writer.abort(reason="second")
    writer.close()
    assert writer.closed
    assert writer.info()["state"] == ("aborted", "first")
    for data in (b"", b"x", b"x" * 5000):
        with pytest.raises(BufferAborted, match="first"):
            writer.write(data)
    for bad in (None, b"x", 1):
        with pytest.raises(TypeError, match="reason"):
            Writer().abort(bad)
    with pytest.raises(TypeError):
        Writer().abort()


@pytest.mark.parametrize("text", ["", "é\0x", "\ud800", "x" * 100000])
def test_any_text_is_a_reason(text):
    writer = Writer()
    writer.abort(text)
    with pytest.raises(BufferAborted) as caught:
        writer.buffer.read()
    assert caught.value.reason == text


def test_abort_of_what_is_complete_changes_nothing():
    ended, known = Writer(), Writer(3)
    ended.close()
    known.write(b"abc")
    for writer in (ended, known):
        state = writer.info()["state"]
        writer.abort("too late")
        assert writer.info()["state"] == state
        writer.buffer.read()
        assert writer.buffer.at_eof()


def test_a_block_that_fails_aborts():
    with pytest.raises(ZeroDivisionError):
        with Writer() as writer:
            writer.write(b"abc")
            1 / 0
    with pytest.raises(BufferAborted, match=r"ZeroDivisionError\('division by zero'\)"):
        writer.buffer.read()


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
        "waiting_writers": 0,
        "high_watermark": None,
        "low_watermark": None,
    }
    writer.close()
    assert writer.info()["state"] == "ended"


def test_info_of_the_options():
    info = Writer(high_watermark=100, low_watermark=7).info()
    assert (info["high_watermark"], info["low_watermark"]) == (100, 7)
    assert Writer(high_watermark=101).info()["low_watermark"] == 50
    writer = Writer()
    writer.abort("why")
    assert writer.info()["state"] == ("aborted", "why")


def test_length_argument():
    assert Writer(None).info()["state"] == "open"
    assert Writer(length=3).buffer.at_eof() is False
    for bad in ("3", 3.0, b""):
        with pytest.raises(TypeError):
            Writer(bad)
    with pytest.raises(TypeError):
        Writer(1, 2)
    with pytest.raises(ValueError, match="length"):
        Writer(-1)
    with pytest.raises(TypeError):
        Writer(size=1)
