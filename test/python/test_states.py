"""Every method in every state of a stream."""

import pytest

from erlang import IncompleteReadError
from erlang.testing import Writer
from support import Background, wait_for_readers, write_layout

BODY = b"".join(b"line %d " % n + b"." * (n % 97) + b"\n" for n in range(150))


def make(layout="one write", *, skip=0, end="ended", data=BODY, length=None):
    writer = Writer(length)
    write_layout(writer, data, layout)
    buf = writer.buffer
    if skip:
        buf.read_nonblock(skip)
    if end == "ended":
        writer.close()
    elif end == "closed":
        buf.close()
    return writer, buf, data[skip:]


def viewed():
    writer, buf, rest = make("mixed", skip=100)
    return writer, buf, rest, memoryview(buf), memoryview(buf)[5:]


# All of these are whole: nothing waits.
WHOLE = {
    "empty, ended": lambda: make(data=b""),
    "empty, closed": lambda: make(data=b"", end="closed"),
    "empty, length 0": lambda: make(data=b"", end="open", length=0),
    "one segment": lambda: make(),
    "many segments": lambda: make("adopted"),
    "slabs": lambda: make("small writes"),
    "adopted and slabs": lambda: make("mixed"),
    "partial": lambda: make("mixed", skip=2345),
    "drained": lambda: make("mixed", skip=len(BODY)),
    "closed by Python": lambda: make("mixed", skip=10, end="closed"),
    "known length": lambda: make("mixed", end="open", length=len(BODY)),
    "past the known length": lambda: make("mixed", end="open", length=5),
    "viewed": viewed,
}


def gather(method, size):
    def run(target):
        out = b""
        while piece := getattr(target, method)(size):
            out += piece
        return out

    return run


def readinto(target, method="readinto"):
    memory, out = bytearray(1000), b""
    while count := getattr(target, method)(memory):
        out += memory[:count]
    return out


def exactly(buf, method):
    available = len(buf)
    out = bytes(getattr(buf, method)(available))
    with pytest.raises(IncompleteReadError) as caught:
        getattr(buf, method)(1)
    assert caught.value.partial == b""
    return out


def until(buf):
    out = b""
    try:
        while True:
            out += buf.readuntil(b"\n")
    except IncompleteReadError as error:
        return out + error.partial


# What each leaves when it is called until the end: all the rest.
CONSUMING = {
    "read()": lambda buf: buf.read(),
    "read(None)": lambda buf: buf.read(None),
    "read(n)": gather("read", 777),
    "readall": lambda buf: buf.readall(),
    "read1()": gather("read1", -1),
    "read1(n)": gather("read1", 50),
    "readinto": readinto,
    "readinto1": lambda buf: readinto(buf, "readinto1"),
    "readline": gather("readline", -1),
    "readline(n)": gather("readline", 3),
    "readlines": lambda buf: b"".join(buf.readlines()),
    "readlines(hint)": lambda buf: b"".join(sum(iter(lambda: buf.readlines(99), []), [])),
    "iteration": lambda buf: b"".join(buf),
    "readexactly": lambda buf: exactly(buf, "readexactly"),
    "readview_exactly": lambda buf: exactly(buf, "readview_exactly"),
    "readuntil": until,
    "read_nonblock()": gather("read_nonblock", -1),
    "read_nonblock(n)": gather("read_nonblock", 4000),
    "readview()": gather("readview", -1),
    "readview(n)": gather("readview", 600),
    "views": lambda buf: b"".join(buf.views()),
}


@pytest.mark.parametrize("state", WHOLE)
@pytest.mark.parametrize("method", CONSUMING)
def test_consuming(state, method):
    writer, buf, rest, *views = WHOLE[state]()
    seen = [bytes(view) for view in views]
    assert CONSUMING[method](buf) == rest
    assert buf.tell() == writer.info()["written"]
    assert buf.at_eof()
    assert CONSUMING[method](buf) == b""
    assert [bytes(view) for view in views] == seen


LOOKING = {
    "len": lambda buf, rest: len(buf) == len(rest),
    "readable_amount": lambda buf, rest: buf.readable_amount() == len(rest),
    "at_eof": lambda buf, rest: buf.at_eof() == (not rest),
    "peek": lambda buf, rest: buf.peek() == rest[:8192],
    "peek(n)": lambda buf, rest: buf.peek(3) == rest[:3],
    "read(0)": lambda buf, rest: buf.read(0) == b"",
    "readline(0)": lambda buf, rest: buf.readline(0) == b"",
    "memoryview": lambda buf, rest: memoryview(buf) == rest,
    "bytes": lambda buf, rest: bytes(buf) == rest,
    "find": lambda buf, rest: buf.find(b"line 70") == rest.find(b"line 70"),
    "find byte": lambda buf, rest: buf.find(10, 5, -5) == rest.find(10, 5, -5),
    "bool": lambda buf, rest: bool(buf) is True,
    "readable": lambda buf, rest: buf.readable() and not buf.writable(),
    "seekable": lambda buf, rest: buf.seekable() and not buf.isatty(),
    "tell": lambda buf, rest: buf.seek(buf.tell()) == buf.tell(),
    "repr": lambda buf, rest: f"available={len(rest)}" in repr(buf),
    "hash": lambda buf, rest: hash(buf) == hash(buf) and buf == buf,
}


@pytest.mark.parametrize("state", WHOLE)
@pytest.mark.parametrize("method", LOOKING)
def test_looking(state, method):
    writer, buf, rest, *views = WHOLE[state]()
    position = buf.tell()
    assert LOOKING[method](buf, rest)
    assert buf.tell() == position
    assert buf.read() == rest


@pytest.mark.parametrize("state", WHOLE)
def test_seek_back_and_read_again(state):
    writer, buf, rest, *views = WHOLE[state]()
    position = buf.tell()
    assert buf.read() == rest
    assert buf.seek(position) == position
    assert buf.read() == rest
    assert buf.seek(0) == 0
    assert buf.read()[position:] == rest


@pytest.mark.parametrize("state", WHOLE)
def test_closing_at_the_end_of_it(state):
    writer, buf, rest, *views = WHOLE[state]()
    seen = [bytes(view) for view in views]
    buf.close()
    assert buf.closed
    assert buf.read() == rest
    assert [bytes(view) for view in views] == seen


OPEN = {
    "open, empty": lambda: make(data=b"", end="open"),
    "open, partial": lambda: make("mixed", skip=100, end="open"),
    "open, drained": lambda: make("adopted", skip=len(BODY), end="open"),
    "open, short of its length": lambda: make(end="open", length=len(BODY) + 4),
}

COMPLETE = ["read()", "readall", "readlines", "views", "iteration"]


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("method", LOOKING)
def test_looking_while_open(state, method):
    writer, buf, rest = OPEN[state]()
    if method.startswith("peek") and not rest:
        writer.write(rest := b"x")
    position = buf.tell()
    assert buf.at_eof() is False
    if method != "at_eof":
        assert LOOKING[method](buf, rest)
    assert buf.tell() == position
    assert buf.read_nonblock() == rest


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("method", COMPLETE)
def test_complete_reads_wait_for_the_end(state, method):
    writer, buf, rest = OPEN[state]()
    call = Background(CONSUMING[method], buf)
    wait_for_readers(writer)
    writer.write(b"\nend")
    writer.close()
    assert call.result() == rest + b"\nend"
