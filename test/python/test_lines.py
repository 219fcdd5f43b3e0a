"""readline, readlines and iteration, against io.BytesIO."""

import io
import itertools

import pytest

from erlang.testing import Writer, make_buffer
from support import LAYOUTS, Background, laid_out, trickling, wait_for_readers

TEXTS = {
    "empty": b"",
    "newline": b"\n",
    "newlines": b"\n\n\n",
    "no newline": b"abc",
    "unterminated": b"one\ntwo\nthree",
    "carriage returns": b"a\r\nb\rc\n",
    "80 bytes": (b"x" * 79 + b"\n") * 3000,
    "long lines": b"".join(b"y" * n + b"\n" for n in (0, 1, 511, 65535, 65536, 200000)),
    "one long line": b"z" * 300000,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TEXTS)
class TestAgainstBytesIO:
    def test_iteration(self, name, layout):
        assert list(laid_out(TEXTS[name], layout)) == list(io.BytesIO(TEXTS[name]))

    def test_readline(self, name, layout):
        buf = laid_out(TEXTS[name], layout)
        assert list(iter(buf.readline, b"")) == list(io.BytesIO(TEXTS[name]))
        assert buf.readline() == b""

    @pytest.mark.parametrize("size", [1, 2, 80, 65536, 65537])
    def test_readline_size(self, name, layout, size):
        data = TEXTS[name][:20000] if size < 80 else TEXTS[name]
        buf, model = laid_out(data, layout), io.BytesIO(data)
        while line := model.readline(size):
            assert buf.readline(size) == line
        assert buf.readline(size) == b""

    @pytest.mark.parametrize("hint", [-1, 0, 1, 3, 100, 65536, 10**9])
    def test_readlines(self, name, layout, hint):
        buf, model = laid_out(TEXTS[name], layout), io.BytesIO(TEXTS[name])
        assert buf.readlines(hint) == model.readlines(hint)
        assert buf.tell() == model.tell()
        assert buf.readlines() == model.readlines()


def test_line_in_a_thousand_pieces():
    writer = Writer()
    call = Background(writer.buffer.readline)
    for _ in range(1000):
        writer.write(b"0123456789")
    wait_for_readers(writer)
    assert writer.buffer.tell() == 0
    writer.write(b"!\nrest")
    assert call.result() == b"0123456789" * 1000 + b"!\n"
    assert writer.buffer.read_nonblock() == b"rest"


def test_last_line_is_returned_after_close():
    writer = Writer()
    buf = writer.buffer
    writer.write(b"no newline")
    call = Background(buf.readline)
    wait_for_readers(writer)
    buf.close()
    assert call.result() == b"no newline"
    assert buf.readline() == b""


def test_readline_limit_needs_no_newline():
    buf = make_buffer(b"abcdef", eof=False)
    assert buf.readline(4) == b"abcd"


def test_readlines_hint_does_not_wait_for_the_end():
    buf = make_buffer(b"one\ntwo\nthree\nfou", eof=False)
    assert buf.readlines(5) == [b"one\n", b"two\n"]
    assert buf.readlines(hint=1) == [b"three\n"]
    assert buf.read_nonblock() == b"fou"


def test_readlines_hint_waits_for_the_line_that_reaches_it():
    writer = Writer()
    writer.write(b"one\ntw")
    call = Background(writer.buffer.readlines, 5)
    wait_for_readers(writer)
    assert writer.buffer.tell() == 0
    writer.write(b"o\nthree")
    assert call.result() == [b"one\n", b"two\n"]


def test_readline_after_a_seek_back():
    buf = make_buffer(b"first line\nsecond\n")
    assert buf.readline() == b"first line\n"
    buf.seek(6)
    assert buf.readline() == b"line\n"
    buf.seek(3)
    assert list(buf) == [b"st line\n", b"second\n"]


def test_search_memory_survives_reads_within_the_line():
    writer = Writer()
    buf = writer.buffer
    writer.write(b"abcdefgh")
    call = Background(buf.readline)
    wait_for_readers(writer)
    assert buf.read(3) == b"abc"
    writer.write(b"ij\n")
    assert call.result() == b"defghij\n"


def test_lines_trickled():
    lines = [b"%d:" % n + b"." * (n % 211) + b"\n" for n in range(500)]
    data = b"".join(lines)
    with trickling(data) as buf:
        assert list(buf) == lines
    with trickling(data) as buf:
        assert buf.readlines() == lines
    with trickling(data) as buf:
        assert list(itertools.islice(buf, 3)) == lines[:3]
        assert buf.readlines(1000) == io.BytesIO(b"".join(lines[3:])).readlines(1000)
        position = buf.tell()
        assert buf.read() == data[position:]


def test_the_iterator_goes_on_after_its_end_like_a_file():
    writer = Writer(2)
    writer.write(b"a\n")
    buf = writer.buffer
    assert list(buf) == [b"a\n"]
    writer.write(b"b\n")
    assert list(buf) == [b"b\n"]
