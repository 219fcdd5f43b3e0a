"""Every method in every state of a stream."""

import io

import pytest

from erlang import BufferAborted, IncompleteReadError
from erlang.testing import Writer
from support import Background, wait_for_readers, write_layout

BODY = b"".join(b"line %d " % n + b"." * (n % 97) + b"\n" for n in range(150))


def make(layout="one write", *, skip=0, end="ended", data=BODY, length=None, **options):
    writer = Writer(length, **options)
    write_layout(writer, data, layout)
    buf = writer.buffer
    if skip:
        buf.read_nonblock(skip)
    if end == "ended":
        writer.close()
    elif end == "closed":
        buf.close()
    elif end == "aborted":
        writer.abort("broke off")
    return writer, buf, data[skip:]


def viewed():
    writer, buf, rest = make("mixed", skip=100)
    return writer, buf, rest, memoryview(buf), memoryview(buf)[5:]


def closed_then_aborted():
    """Python wanted no more before the writer failed: that is an end for it."""
    writer, buf, rest = make("mixed", skip=10, end="closed")
    writer.abort("nobody cares")
    return writer, buf, rest


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
    "closed, then aborted": closed_then_aborted,
    "not seekable": lambda: make("mixed", seekable=False),
    "not seekable, partial": lambda: make("mixed", skip=2345, seekable=False),
    "not seekable, drained": lambda: make("small writes", skip=len(BODY), seekable=False),
    "with watermarks": lambda: make(high_watermark=100, last_reader="keep"),
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
    "isatty": lambda buf, rest: not buf.isatty(),
    "timeout": lambda buf, rest: buf.gettimeout() is None,
    "tell": lambda buf, rest: not buf.seekable() or buf.seek(buf.tell()) == buf.tell(),
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
    if not buf.seekable():
        with pytest.raises(io.UnsupportedOperation, match="not seekable"):
            buf.seek(position)
        return
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


ABORTED = {
    "aborted, empty": lambda: make(data=b"", end="aborted"),
    "aborted": lambda: make("mixed", end="aborted"),
    "aborted, partial": lambda: make("mixed", skip=2345, end="aborted"),
    "aborted, drained": lambda: make("small writes", skip=len(BODY), end="aborted"),
    "aborted, short of its length": lambda: make(end="aborted", length=len(BODY) + 1),
    "aborted, not seekable": lambda: make("adopted", skip=99, end="aborted", seekable=False),
    "aborted, then closed": lambda: aborted_then_closed(),
}


def aborted_then_closed():
    """The close came too late to make an end of it."""
    writer, buf, rest = make("mixed", skip=10, end="aborted")
    buf.close()
    return writer, buf, rest


# Take what had arrived, then raise.
PIECEWISE = {
    "read(n)": lambda buf: buf.read(777),
    "read1()": lambda buf: buf.read1(),
    "read1(n)": lambda buf: buf.read1(50),
    "readinto": lambda buf: into(buf, "readinto"),
    "readinto1": lambda buf: into(buf, "readinto1"),
    "readline": lambda buf: buf.readline(),
    "readline(n)": lambda buf: buf.readline(3),
    "readlines(hint)": lambda buf: b"".join(buf.readlines(99)),
    "next": lambda buf: next(buf),
    "read_nonblock()": lambda buf: buf.read_nonblock(),
    "read_nonblock(n)": lambda buf: buf.read_nonblock(4000),
    "readview()": lambda buf: bytes(buf.readview()),
    "readview(n)": lambda buf: bytes(buf.readview(600)),
    "views": lambda buf: bytes(next(buf.views())),
}


def into(buf, method):
    memory = bytearray(1000)
    return bytes(memory[: getattr(buf, method)(memory)])


@pytest.mark.parametrize("state", ABORTED)
@pytest.mark.parametrize("method", PIECEWISE)
def test_what_had_arrived_is_read_before_the_abort_is_raised(state, method):
    writer, buf, rest = ABORTED[state]()
    out = b""
    while len(out) < len(rest):
        piece = PIECEWISE[method](buf)
        assert piece
        out += piece
    assert out == rest
    for _ in range(3):
        with pytest.raises(BufferAborted) as caught:
            PIECEWISE[method](buf)
        assert caught.value.reason == "broke off"
    assert buf.tell() == writer.info()["written"]


ALL_OR_NOTHING = {
    "read()": lambda buf: buf.read(),
    "read(None)": lambda buf: buf.read(None),
    "readall": lambda buf: buf.readall(),
    "readlines": lambda buf: buf.readlines(),
    "readlines(0)": lambda buf: buf.readlines(0),
    "readexactly": lambda buf: buf.readexactly(1),
    "readexactly(0)": lambda buf: buf.readexactly(0),
    "readexactly, all": lambda buf: buf.readexactly(len(buf)),
    "readexactly, more": lambda buf: buf.readexactly(len(buf) + 1),
    "readuntil": lambda buf: buf.readuntil(b"\n"),
    "readuntil, not there": lambda buf: buf.readuntil(b"nowhere"),
    "readuntil, limit": lambda buf: buf.readuntil(b"nowhere", 3),
    "readview_exactly": lambda buf: buf.readview_exactly(1),
    "readview_exactly, more": lambda buf: buf.readview_exactly(len(buf) + 1),
}


@pytest.mark.parametrize("state", ABORTED)
@pytest.mark.parametrize("method", ALL_OR_NOTHING)
def test_what_promises_all_raises_at_once_and_consumes_nothing(state, method):
    writer, buf, rest = ABORTED[state]()
    position = buf.tell()
    for _ in range(2):
        with pytest.raises(BufferAborted) as caught:
            ALL_OR_NOTHING[method](buf)
        assert caught.value.reason == "broke off"
        assert buf.tell() == position
    assert memoryview(buf) == rest


@pytest.mark.parametrize("state", ABORTED)
@pytest.mark.parametrize("method", LOOKING)
def test_looking_at_what_is_aborted(state, method):
    writer, buf, rest = ABORTED[state]()
    position = buf.tell()
    if not rest and (method == "at_eof" or method.startswith("peek")):
        with pytest.raises(BufferAborted):
            LOOKING[method](buf, rest)
    else:
        assert LOOKING[method](buf, rest)
    assert buf.tell() == position
    assert repr(buf).startswith("<erlang.PyBuffer aborted ")


@pytest.mark.parametrize("state", ABORTED)
def test_the_end_of_what_is_aborted_is_not_known(state):
    writer, buf, rest = ABORTED[state]()
    position = buf.tell()
    with pytest.raises(io.UnsupportedOperation):
        buf.seek(0, 2)
    assert buf.tell() == position
    assert buf.read(0) == buf.readline(0) == buf.readview(0) == b""
    assert buf.readinto(bytearray()) == 0


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("method", [*ALL_OR_NOTHING, *PIECEWISE, "peek"])
def test_an_abort_ends_a_wait(state, method):
    writer, buf, rest = OPEN[state]()
    calls = {**ALL_OR_NOTHING, **PIECEWISE, "peek": lambda buf: buf.peek()}
    buf.read_nonblock()
    if method in ("readexactly(0)", "readexactly, all", "read_nonblock()", "read_nonblock(n)"):
        return
    call = Background(calls[method], buf)
    wait_for_readers(writer)
    position = buf.tell()
    writer.abort("broke off")
    with pytest.raises(BufferAborted, match="broke off"):
        call.result()
    assert buf.tell() == position
