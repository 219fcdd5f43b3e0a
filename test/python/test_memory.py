"""Each allocation of each method refused once: MemoryError, and nothing is consumed."""

import asyncio

import pytest

import refusals
from erlang import IncompleteReadError, LimitOverrunError, aio
from erlang.testing import Writer, make_buffer
from support import laid_out, write_layout

if refusals.why_not():
    pytest.skip(refusals.why_not(), allow_module_level=True)

DATA = b"".join(b"%04d" % n + b"." * 75 + b"\n" for n in range(1500))

METHODS = {
    "read": lambda buf: buf.read(),
    "read(n)": lambda buf: buf.read(100),
    "read1": lambda buf: buf.read1(),
    "readline": lambda buf: buf.readline(),
    "next": lambda buf: next(buf),
    "readlines": lambda buf: buf.readlines(),
    "readlines(hint)": lambda buf: buf.readlines(1000),
    "peek": lambda buf: buf.peek(),
    "readexactly": lambda buf: buf.readexactly(5000),
    "readuntil": lambda buf: buf.readuntil(b"0040"),
    "read_nonblock": lambda buf: buf.read_nonblock(),
    "readview": lambda buf: buf.readview(),
    "readview(n)": lambda buf: buf.readview(10),
    "readview_exactly": lambda buf: buf.readview_exactly(5000),
    "views": lambda buf: next(buf.views()),
    "memoryview": lambda buf: memoryview(buf),
    "find": lambda buf: buf.find(b"1499"),
    "incomplete": lambda buf: buf.readexactly(10**9),
    "overrun": lambda buf: buf.readuntil(b"\n", 10),
    "seek": lambda buf: buf.seek(10**9),
    "repr": lambda buf: repr(buf),
}

EXPECTED = (IncompleteReadError, LimitOverrunError, OSError)


def refused_once(call, buf, turn):
    """Whether the call met the refusal of its allocation number `turn`."""
    refusals.hooks.set_nomemory(turn, turn + 1)
    try:
        call(buf)
    except (MemoryError, SystemError):
        return True
    except EXPECTED:
        return False
    finally:
        refusals.hooks.remove_mem_hooks()
    return False


@pytest.mark.parametrize("layout", ["one write", "mixed"])
@pytest.mark.parametrize("name", METHODS)
def test_refused_allocations(name, layout):
    refusals = 0
    for turn in range(60):
        buf = laid_out(DATA, layout)
        if refused_once(METHODS[name], buf, turn):
            refusals += 1
            if name == "incomplete" and buf.at_eof():
                continue  # it had raised: making its traceback was refused
            assert buf.tell() == 0
            assert buf.read() == DATA
    # Python 3.14 has a free list of integers.
    assert refusals or name == "find"


def test_making_a_buffer():
    refusals = 0
    for turn in range(30):
        refusals += refused_once(lambda _: make_buffer(b"x" * 100), None, turn)
    assert refusals


FAILING = {
    "aborted": lambda buf: buf.read(),
    "aborted exactly": lambda buf: buf.readexactly(5),
    "aborted until": lambda buf: buf.readuntil(b"\n"),
    "aborted view": lambda buf: buf.readview_exactly(5000),
    "aborted lines": lambda buf: buf.readlines(),
}


@pytest.mark.parametrize("name", FAILING)
def test_refused_while_an_abort_is_raised(name):
    refusals = 0
    for turn in range(40):
        writer = Writer()
        write_layout(writer, DATA, "mixed")
        writer.abort("why")
        buf = writer.buffer
        refusals += refused_once(FAILING[name], buf, turn)
        assert buf.tell() == 0
        assert memoryview(buf) == DATA
    assert refusals


def test_refused_while_a_timeout_is_raised():
    refusals = 0
    for turn in range(40):
        buf = make_buffer(b"some", eof=False)
        buf.settimeout(0)
        refusals += refused_once(lambda buf: buf.read(), buf, turn)
        assert buf.read_nonblock() == b"some"
    assert refusals


@pytest.mark.parametrize("size", [5, 5000])
def test_refused_while_writing(size):
    refusals = 0
    for turn in range(40):
        writer = Writer(high_watermark=4)
        writer.write(b"full")
        refusals += refused_once(
            lambda _: writer.write(b"x" * size, timeout=0), writer.buffer, turn
        )
        assert writer.info()["written"] == 4
        refused_once(lambda _: writer.abort("why"), None, turn)
        assert writer.info()["state"] in ("open", ("aborted", "why"))
    assert refusals


AWAITED = {
    "read": (lambda reader: reader.read(), b"rest"),
    "some": (lambda reader: reader.read(100), b""),
    "exactly": (lambda reader: reader.readexactly(4), b"re"),
    "line": (lambda reader: reader.readline(), b"re"),
    "until": (lambda reader: reader.readuntil(b"!"), b"re"),
    "until any": (lambda reader: reader.readuntil((b"!", b"??")), b"re"),
    "view": (lambda reader: reader.readview(), b""),
}


@pytest.mark.parametrize("name", AWAITED)
def test_refused_while_a_wait_begins(name):
    """It waits, or raises and waits no more; a later one is not disturbed."""
    call, there = AWAITED[name]

    async def main(turn):
        writer = Writer()
        writer.write(there)
        reader = aio.reader(writer.buffer)
        coroutine = call(reader)
        refused = refused_once(lambda _: coroutine.send(None), None, turn)
        coroutine.close()
        assert writer.info()["waiting_readers"] == 0
        task = asyncio.ensure_future(call(reader))
        await asyncio.sleep(0)
        assert writer.info()["waiting_readers"] == 1
        writer.write(b"rest!"[len(there) :] + b"\n")
        writer.close()
        assert len(await task) > 0
        return refused

    refusals = 0
    for turn in range(60):
        refusals += asyncio.run(main(turn))
    assert refusals


@pytest.mark.parametrize("first", [True, False])
def test_refused_while_a_loop_is_given_its_waker(first):
    async def main(turn):
        if not first:
            aio._waker(asyncio.get_running_loop())
        loop = asyncio.get_running_loop()
        refused = refused_once(lambda _: aio._waker(loop), None, turn)
        waker = aio._waker(loop)
        assert aio._waker(loop) is waker
        return refused

    refusals = sum(asyncio.run(main(turn)) for turn in range(60))
    assert refusals if first else refusals < 60
