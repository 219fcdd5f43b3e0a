"""Position and state: seek, tell, close, closed, len, truth, equality."""

import gc
import io
import os
import weakref

import pytest

from erlang import PyBuffer
from erlang.testing import Writer, make_buffer
from support import laid_out


class TestSeek:
    @pytest.mark.parametrize("layout", ["one write", "mixed"])
    def test_within_what_was_written(self, layout):
        data = bytes(range(256)) * 50
        buf, model = laid_out(data, layout), io.BytesIO(data)
        for offset, whence in [
            (0, 0), (12800, 0), (5, 0), (10, 1), (-7, 1), (0, 1), (-1, 2), (0, 2),
            (-12800, 2), (7777, os.SEEK_SET), (True, 0),
        ]:  # fmt: skip
            assert buf.seek(offset, whence) == model.seek(offset, whence)
            assert buf.tell() == model.tell()
            assert buf.peek(100) == model.getvalue()[model.tell() :][:100]

    @pytest.mark.parametrize(
        "arguments",
        [
            (-1,), (7,), (7, 0), (2, 1), (-6, 1), (1, 2), (-7, 2), (0, 3), (0, -1),
            (2**63,), (2**100,), (-(2**100),), (0, 2**100), (2**63 - 1, 1),
        ],
    )  # fmt: skip
    def test_refused(self, arguments):
        buf = make_buffer(b"abcdef")
        buf.seek(5)
        for error in (io.UnsupportedOperation, OSError, ValueError):
            with pytest.raises(error):
                buf.seek(*arguments)
        assert buf.tell() == 5

    def test_the_end_needs_end_of_data(self):
        writer = Writer()
        writer.write(b"abc")
        with pytest.raises(io.UnsupportedOperation):
            writer.buffer.seek(0, 2)
        writer.close()
        assert writer.buffer.seek(-1, 2) == 2

    def test_past_what_has_been_written_so_far(self):
        writer = Writer()
        writer.write(b"abc")
        with pytest.raises(io.UnsupportedOperation):
            writer.buffer.seek(4)
        writer.write(b"d")
        assert writer.buffer.seek(4) == 4

    @pytest.mark.parametrize("arguments", [(), (1.0,), ("1",), (None,), (0, 0.0), (0, 0, 0)])
    def test_types(self, arguments):
        with pytest.raises(TypeError):
            make_buffer(b"abc").seek(*arguments)

    def test_keywords(self):
        assert make_buffer(b"abc").seek(offset=-1, whence=2) == 2


class TestClose:
    def test_what_had_arrived_can_be_drained(self):
        writer = Writer()
        writer.write(b"one\ntwo")
        buf = writer.buffer
        buf.close()
        assert buf.closed
        assert buf.readline() == b"one\n"
        assert buf.read() == b"two"
        assert buf.read() == buf.read(1) == buf.readline() == b""
        assert buf.at_eof()

    def test_the_writer_is_told(self):
        writer = Writer()
        writer.buffer.close()
        with pytest.raises(BrokenPipeError):
            writer.write(b"x")
        with pytest.raises(BrokenPipeError):
            writer.write(b"x" * 5000)
        assert writer.info()["written"] == 0
        assert writer.info()["reader_closed"]

    def test_end_of_data_is_not_closed(self):
        buf = make_buffer(b"")
        assert buf.read() == b""
        assert not buf.closed

    def test_twice(self):
        buf = make_buffer(b"")
        assert buf.close() is None
        assert buf.close() is None

    def test_with(self):
        with make_buffer(b"abc") as buf:
            assert buf.read() == b"abc"
            assert not buf.closed
        assert buf.closed
        with pytest.raises(ValueError):
            buf.__enter__()
        with pytest.raises(ValueError):
            buf.flush()

    def test_with_closes_on_an_exception(self):
        with pytest.raises(ZeroDivisionError):
            with make_buffer(b"abc") as buf:
                1 / 0
        assert buf.closed

    def test_it_is_the_streams(self):
        writer = Writer()
        a, b = writer.buffer, writer.buffer
        a.close()
        assert b.closed


class TestObject:
    def test_length(self):
        writer = Writer()
        buf = writer.buffer
        assert len(buf) == buf.readable_amount() == 0
        writer.write(b"abc")
        assert len(buf) == buf.readable_amount() == 3
        buf.read(1)
        assert len(buf) == buf.readable_amount() == 2

    def test_always_true(self):
        buf = make_buffer(b"")
        assert bool(buf) is True
        assert (buf or None) is buf
        buf.close()
        assert buf

    def test_equality_is_the_streams(self):
        writer = Writer()
        a, b, c = writer.buffer, writer.buffer, make_buffer(b"")
        assert a is not b
        assert a == b and not a != b and hash(a) == hash(b)
        assert a != c and not a == c
        assert a != "a" and a != None and a != writer  # noqa: E711
        assert len({a, b, c}) == 2
        with pytest.raises(TypeError):
            a < b

    def test_position_is_the_streams(self):
        writer = Writer()
        writer.write(b"abcdef")
        a, b = writer.buffer, writer.buffer
        assert a.read(2) == b"ab"
        assert b.tell() == 2
        assert b.read(2) == b"cd"

    def test_at_eof(self):
        writer = Writer()
        buf = writer.buffer
        writer.write(b"a")
        assert not buf.at_eof()
        buf.read(1)
        assert not buf.at_eof()
        writer.close()
        assert buf.at_eof()
        buf.seek(0)
        assert not buf.at_eof()

    def test_file_questions(self):
        buf = make_buffer(b"abc")
        assert buf.readable() is True
        assert buf.writable() is False
        assert buf.seekable() is True
        assert buf.isatty() is False
        assert buf.flush() is None

    @pytest.mark.parametrize(
        "call",
        [
            lambda buf: buf.fileno(),
            lambda buf: buf.write(b"x"),
            lambda buf: buf.writelines([b"x"]),
            lambda buf: buf.truncate(),
            lambda buf: buf.truncate(0),
        ],
    )
    def test_not_supported(self, call):
        buf = make_buffer(b"abc")
        with pytest.raises(io.UnsupportedOperation):
            call(buf)
        assert buf.read() == b"abc"

    def test_repr(self):
        buf = make_buffer(b"abc", eof=False)
        buf.read(1)
        assert repr(buf).startswith(
            "<erlang.PyBuffer open position=1 available=2 at 0x"
        )
        assert "ended" in repr(make_buffer())
        buf.close()
        assert "closed" in repr(buf)

    def test_is_a_raw_stream(self):
        assert isinstance(make_buffer(), io.RawIOBase)
        assert issubclass(PyBuffer, io.IOBase)
        assert not isinstance(make_buffer(), io.BufferedIOBase)

    def test_cannot_be_made_or_derived(self):
        with pytest.raises(TypeError):
            PyBuffer()
        with pytest.raises(TypeError):
            PyBuffer.__new__(PyBuffer)
        with pytest.raises(TypeError):
            object.__new__(PyBuffer)
        with pytest.raises(TypeError):
            type("Sub", (PyBuffer,), {})
        with pytest.raises(TypeError):
            PyBuffer.read = None

    def test_module(self):
        assert PyBuffer.__module__ == "erlang"
        assert PyBuffer.__name__ == PyBuffer.__qualname__ == "PyBuffer"

    def test_weakref(self):
        buf = make_buffer(b"abc")
        gone = []
        ref = weakref.ref(buf, gone.append)
        assert ref() is buf
        assert weakref.getweakrefcount(buf) == 1
        del buf
        gc.collect()
        assert ref() is None and gone == [ref]

    def test_no_attributes_of_its_own(self):
        with pytest.raises(AttributeError):
            make_buffer().name = "x"
        with pytest.raises(AttributeError):
            make_buffer().closed = True
