"""erlang.aio.reader against asyncio.StreamReader: the same cases, the same answers."""

import array
import asyncio
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import erlang
from erlang import BufferAborted, PyBuffer, aio
from erlang.testing import Writer, make_buffer
from support import Background, wait_for_readers

LIMIT = 16


class Theirs:
    """asyncio's own, fed by the test."""

    def __init__(self, limit=LIMIT):
        self.reader = asyncio.StreamReader(limit)
        self.write = self.reader.feed_data
        self.close = self.reader.feed_eof


class Ours:
    def __init__(self, limit=LIMIT):
        self.writer = Writer()
        self.reader = aio.reader(self.writer.buffer, limit)
        self.write = self.writer.write
        self.close = self.writer.close


async def settle():
    """Until each task waits for data.  A notice takes a turn of the loop to be seen, one
    to resolve the future and one to resume the task."""
    for _ in range(8):
        await asyncio.sleep(0)


def described(error):
    """What a caller can see of an exception."""
    values = [getattr(error, name, None) for name in ("partial", "expected", "consumed")]
    text = "" if isinstance(error, (RuntimeError, TypeError)) else str(error)
    return (type(error), text, *values)


async def attempt(reader, name, *args):
    try:
        return await getattr(reader, name)(*args)
    except (Exception, asyncio.CancelledError) as error:
        return described(error)


async def follow(side, reads, feeds):
    """Does the reads one after the other while the data is fed; answers what they did.
    A feed of None cancels the read that waits, b"" is the end."""
    seen, left = [], list(reads)
    task = None

    def begin():
        if not left:
            return None
        return asyncio.ensure_future(attempt(side.reader, *left.pop(0)))

    async def proceed():
        nonlocal task
        while True:
            await settle()
            if task is None or not task.done():
                return
            seen.append(task.result())
            task = begin()

    task = begin()
    await proceed()
    for feed in feeds:
        if feed is None:
            if task is not None:
                task.cancel()
        elif feed == b"":
            side.close()
        else:
            side.write(feed)
        await proceed()
        seen.append(side.reader.at_eof())
        if feed == b"":
            break
    if task is not None and not task.done():
        task.cancel()
        await task
        seen.append("waits")
    return seen


async def compare(reads, feeds, limit=LIMIT):
    theirs = await follow(Theirs(limit), reads, feeds)
    ours = await follow(Ours(limit), reads, feeds)
    assert ours == theirs


LONG = b"x" * (LIMIT + 4)
CASES = {
    "a line in pieces": ([["readline"]] * 3, [b"a", b"b\nc", b"", b"d"]),
    "lines at once": ([["readline"]] * 4, [b"a\n\nb\n", b""]),
    "the last line": ([["readline"]] * 2, [b"a\nb", b""]),
    "a line at the limit": ([["readline"]] * 2, [b"x" * LIMIT + b"\nb\n", b""]),
    "a line over it": ([["readline"]] * 2, [b"x" * (LIMIT + 1) + b"\nb\n", b""]),
    "a line over it in pieces": ([["readline"]] * 2, [b"x" * LIMIT, b"xx\n", b"b\n"]),
    "over it without end": ([["readline"]] * 3, [LONG, b"yy\nb\n", b""]),
    "over it at the end": ([["readline"]] * 2, [LONG, b""]),
    "exactly": ([["readexactly", 3]] * 3, [b"ab", b"cdef", b"g", b""]),
    "exactly nothing": ([["readexactly", 0], ["readexactly", -1]], [b""]),
    "exactly over the limit": ([["readexactly", 3 * LIMIT]], [LONG, LONG, LONG, b""]),
    "all": ([["read"], ["read"], ["read", -1]], [b"a", b"b" * 99, b""]),
    "some": ([["read", 3]] * 5, [b"ab", b"cdefg", b"", b"h"]),
    "nothing": ([["read", 0], ["read", 1]], [b"a", b""]),
    "until": ([["readuntil", b"--"]] * 3, [b"a-", b"-b--c", b""]),
    "until over the limit": ([["readuntil", b"--"]] * 2, [LONG, b"--", b""]),
    "until in a long chunk": ([["readuntil", b"--"]] * 2, [LONG + b"--", b""]),
    "until at the limit": ([["readuntil", b"--"]], [b"x" * LIMIT + b"-", b"-", b""]),
    "until in one step": ([["readuntil", b"--"]], [b"x" * (LIMIT + 1) + b"-", b""]),
    "until nothing": ([["readuntil", b""]], [b"a"]),
    "until a str": ([["readuntil", "--"]], [b"a--"]),
    "until by default": ([["readuntil"]] * 2, [b"a\nb", b""]),
    "cancelled": (
        [["readline"], ["readexactly", 3], ["readuntil", b"!"], ["read", 9]],
        [b"a", None, b"b", None, b"c", None, b"d", b"\n", b""],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_asyncio(name):
    asyncio.run(compare(*CASES[name]))


SEPARATORS = {
    "the first": ((b"!", b"?"), [b"a?b!", b""]),
    "the shortest": ((b"ab", b"b"), [b"xab", b"yb", b""]),
    "across pieces": ((b"<end>", b"\n"), [b"a<e", b"nd>b", b"\n", b"<en", b""]),
    "over the limit": ((b"--", b"\n"), [LONG, b"\n", b""]),
    "in a long chunk": ((b"--", b"\n"), [LONG + b"\n--", b""]),
    "the end": ((b"--", b"\n"), [b"abc", b""]),
    "none": ((), [b"abc"]),
    "empty": ((b"", b"a"), [b"abc"]),
}


@pytest.mark.parametrize("name", SEPARATORS)
def test_tuples_of_separators(name):
    separators, feeds = SEPARATORS[name]
    reads = [["readuntil", separators]] * 3
    if sys.version_info >= (3, 13):
        asyncio.run(compare(reads, feeds))
    else:
        seen = asyncio.run(follow(Ours(), reads, feeds))
        assert len(seen) > 1


def test_what_tuples_of_separators_mean():
    async def main():
        side = Ours()
        side.write(b"one!two??three")
        assert await side.reader.readuntil((b"??", b"!")) == b"one!"
        assert await side.reader.readuntil((b"??", b"!")) == b"two??"
        task = asyncio.ensure_future(side.reader.readuntil((b"??", b"!")))
        await settle()
        side.write(b"!")
        assert await task == b"three!"
        side.write(b"rest")
        side.close()
        with pytest.raises(asyncio.IncompleteReadError) as info:
            await side.reader.readuntil((b"??", b"!"))
        assert (info.value.partial, info.value.expected) == (b"rest", None)

    asyncio.run(main())


pieces = st.text(alphabet="ab\n-", min_size=1, max_size=12).map(str.encode)
feed_lists = st.lists(st.one_of(pieces, st.none()), max_size=12)
counts = st.integers(-1, 2 * LIMIT)
calls = st.one_of(
    st.just(["readline"]),
    st.tuples(st.just("readuntil"), st.sampled_from([b"\n", b"--", b"ab", b"a-b"])),
    st.tuples(st.just("readexactly"), counts),
    st.tuples(st.just("read"), st.integers(0, 2 * LIMIT)),
)
if sys.version_info >= (3, 13):
    several = st.lists(st.sampled_from([b"\n", b"--", b"ab", b"-b"]), min_size=1)
    calls |= st.tuples(st.just("readuntil"), several.map(tuple))


@settings(max_examples=300, deadline=None)
@given(st.lists(calls, max_size=10), feed_lists, st.booleans())
def test_any_reads_as_asyncio(reads, feeds, ends):
    asyncio.run(compare(reads, feeds + [b""] if ends else feeds))


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, max_size=20), st.integers(1, 40))
def test_lines_as_asyncio(feeds, limit):
    async def lines(side):
        found = []
        try:
            async for line in side.reader:
                found.append(line)
        except ValueError as error:
            found.append(str(error))
        return found

    async def both():
        sides = [Theirs(limit), Ours(limit)]
        tasks = [asyncio.ensure_future(lines(side)) for side in sides]
        for feed in [*feeds, b""]:
            for side in sides:
                side.write(feed) if feed else side.close()
            await settle()
        theirs, ours = await asyncio.gather(*tasks)
        assert ours == theirs

    asyncio.run(both())


def test_a_second_waiter_as_asyncio():
    async def main(side, other):
        first = asyncio.ensure_future(side.reader.readexactly(3))
        await settle()
        assert (await attempt(other, "read", 9))[0] is RuntimeError
        side.write(b"ab")
        await settle()
        # What is there needs no wait.
        assert await other.read(1) == b"a"
        side.write(b"cd")
        assert await first == b"bcd"

    async def both():
        for side in (Theirs(), Ours()):
            await main(side, side.reader)
        ours = Ours()
        await main(ours, aio.reader(ours.writer.buffer))

    asyncio.run(both())


def test_a_second_waiter_on_another_loop():
    writer = Writer()

    async def read():
        return await aio.reader(writer.buffer).read(9)

    first = Background(asyncio.run, read())
    wait_for_readers(writer)
    with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
        asyncio.run(read())
    writer.write(b"x")
    assert first.result() == b"x"


# ---- What asyncio has no word for ----


def started(coroutine):
    """A task that has come to its first wait."""

    async def start():
        task = asyncio.ensure_future(coroutine)
        await settle()
        return task

    return start()


WAITS = {
    "read": (b"abc", lambda r: r.read()),
    "some": (b"", lambda r: r.read(5)),
    "exactly": (b"abc", lambda r: r.readexactly(9)),
    "line": (b"abc", lambda r: r.readline()),
    "until": (b"abc", lambda r: r.readuntil(b"--")),
    "until any": (b"abc", lambda r: r.readuntil((b"--", b"!"))),
    "view": (b"", lambda r: r.readview()),
    "iteration": (b"abc", lambda r: anext(r)),
    "views": (b"", lambda r: anext(r.views())),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_cancelled_read_has_consumed_nothing(name):
    there, call = WAITS[name]

    async def main():
        side = Ours()
        side.write(there)
        task = await started(call(side.reader))
        assert side.writer.info()["waiting_readers"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert side.writer.info()["waiting_readers"] == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await call(side.reader)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(side.reader), 0.001)
        assert side.writer.info()["waiting_readers"] == 0
        assert side.writer.buffer.tell() == 0
        side.write(b"rest\n--")
        side.close()
        assert await side.reader.read() == there + b"rest\n--"

    asyncio.run(main())


def test_a_cancel_beside_the_notice_loses_nothing():
    async def main():
        for turns in range(6):
            side = Ours()
            task = await started(side.reader.read(9))
            side.write(b"data")
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            got = b""
            try:
                got = await task
            except asyncio.CancelledError:
                pass
            side.close()
            assert got + await side.reader.read() == b"data"

    asyncio.run(main())


def test_abort_while_it_waits():
    async def main():
        promises = [["read"], ["readexactly", 99], ["readuntil", b"--"]]
        promises.append(["readuntil", (b"--", b"!")])
        for call in promises:
            side = Ours()
            side.write(b"some\nmore")
            task = await started(getattr(side.reader, call[0])(*call[1:]))
            assert side.reader.exception() is None
            side.writer.abort("why")
            with pytest.raises(BufferAborted, match="why"):
                await task
            assert side.writer.buffer.tell() == 0
            assert side.reader.exception().reason == "why"
            assert not side.reader.at_eof()
            assert await side.reader.readline() == b"some\n"
            assert await side.reader.readline() == b"more"
            for _ in range(2):
                with pytest.raises(BufferAborted):
                    await side.reader.readline()
                with pytest.raises(BufferAborted):
                    await side.reader.read(1)
                with pytest.raises(BufferAborted):
                    await side.reader.readview()
                with pytest.raises(BufferAborted):
                    side.reader.at_eof()

    asyncio.run(main())


@pytest.mark.parametrize("call", ["read", "readview", "readline"])
def test_abort_while_nothing_is_there(call):
    async def main():
        side = Ours()
        args = [] if call == "readline" else [5]
        task = await started(getattr(side.reader, call)(*args))
        side.writer.abort("why")
        with pytest.raises(BufferAborted, match="why"):
            await task

    asyncio.run(main())


def test_iteration_ends_in_the_abort():
    async def main():
        side = Ours()
        side.write(b"a\nb")
        side.writer.abort("why")
        lines = []
        with pytest.raises(BufferAborted):
            async for line in side.reader:
                lines.append(line)
        assert lines == [b"a\n", b"b"]

    asyncio.run(main())


def test_close_of_the_reader_wakes_it():
    async def main():
        side = Ours()
        side.write(b"abc")
        task = await started(side.reader.readexactly(9))
        side.writer.buffer.close()
        with pytest.raises(asyncio.IncompleteReadError) as info:
            await task
        assert info.value.partial == b"abc"
        assert side.reader.at_eof()

    asyncio.run(main())


def test_the_known_length_is_the_end():
    async def main():
        writer = Writer(5)
        reader = aio.reader(writer.buffer)
        task = await started(reader.read())
        writer.write(b"12345")
        assert await task == b"12345"
        assert reader.at_eof() and await reader.read(1) == b""

    asyncio.run(main())


def test_views():
    async def main():
        side = Ours()
        big = [bytes([n]) * 5000 for n in range(5)]
        task = asyncio.ensure_future(collect(side.reader.views()))
        for piece in big:
            side.write(piece)
            await settle()
        side.close()
        views = await task
        assert views == big
        assert all(isinstance(view, memoryview) and view.readonly for view in views)

        writer = Writer()
        reader = aio.reader(writer.buffer)
        writer.write(b"x" * 9000)
        view = await reader.readview(4000)
        assert len(view) == 4000 and len(await reader.readview(0)) == 0
        # Not a copy: it pins what was written.
        assert writer.info()["views"] == 1
        rest = await reader.readview()
        assert len(rest) == 5000 and writer.info()["views"] == 2
        writer.close()
        assert len(await reader.readview()) == 0
        assert await collect(reader.views()) == []

    async def collect(views):
        return [view async for view in views]

    asyncio.run(main())


@pytest.mark.parametrize(
    "need",
    [
        lambda r: r.read(),
        lambda r: r.readexactly(100000),
        lambda r: r.readline(),
        lambda r: r.readuntil(b"\n"),
        lambda r: r.readuntil((b"!!", b"\n")),
    ],
)
def test_a_reader_that_needs_more_than_the_mark(need):
    data = b"x" * 99999 + b"\n"
    writer = Writer(high_watermark=100)
    reader = aio.reader(writer.buffer, 2**20)

    def write():
        for at in range(0, len(data), 50):
            writer.write(data[at : at + 50])
        writer.close()

    call = Background(write)

    async def main():
        async with asyncio.timeout(30):
            return await need(reader)

    assert asyncio.run(main()) == data
    call.result()


def test_the_mark_holds_while_nobody_lacks_bytes():
    async def main():
        writer = Writer(high_watermark=100)
        reader = aio.reader(writer.buffer)
        writer.write(b"x" * 100)
        assert await reader.read(10) == b"x" * 10
        task = await started(reader.readexactly(200))
        writer.write(b"y" * 60, timeout=0)
        writer.write(b"y" * 60, timeout=0)
        assert len(await task) == 200
        writer.write(b"z" * 100, timeout=0)
        with pytest.raises(TimeoutError):
            writer.write(b"z", timeout=0)

    asyncio.run(main())


def test_a_thread_may_read_beside_it():
    async def main():
        writer = Writer()
        reader = aio.reader(writer.buffer)
        task = await started(reader.readexactly(3))
        thread = Background(writer.buffer.readexactly, 5)
        wait_for_readers(writer, 2)
        writer.write(b"abc")
        assert await task == b"abc"
        writer.write(b"defgh")
        while thread.thread.is_alive():
            await asyncio.sleep(0.001)
        assert thread.result() == b"defgh"

    asyncio.run(main())


def test_one_that_takes_the_bytes_leaves_it_waiting():
    async def main():
        side = Ours()
        other = side.writer.buffer
        task = await started(side.reader.readuntil(b"!"))
        for _ in range(3):
            side.write(b"ab")
            assert other.read(2) == b"ab"
            await settle()
            assert not task.done()
            assert side.writer.info()["waiting_readers"] == 1
        side.write(b"cd!")
        assert await task == b"cd!"
        if other.seekable():
            task = await started(side.reader.read())
            other.seek(0)
            await settle()
            side.close()
            assert await task == b"abababcd!"

    asyncio.run(main())


def test_its_own_timeout_is_not_that_of_the_buffer():
    buf = make_buffer(b"", eof=False)
    buf.settimeout(7)
    aio.reader(buf)
    assert buf.gettimeout() == 7


def test_it_counts_as_a_reader():
    writer = Writer(high_watermark=1)
    reader = aio.reader(writer.buffer)
    assert not writer.info()["reader_closed"]
    del reader
    assert writer.info()["reader_closed"]


def test_wrong_arguments():
    with pytest.raises(TypeError, match="'buf' must be a PyBuffer, not bytes"):
        aio.reader(b"abc")
    with pytest.raises(TypeError, match="limit must be an int, not str"):
        aio.reader(make_buffer(), "5")
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            aio.reader(make_buffer(), limit)


@pytest.mark.parametrize(
    "method, argument, text",
    [
        ("read", "5", "n must be an int, not str"),
        ("read", None, "n must be an int, not NoneType"),
        ("readexactly", 1.5, "n must be an int, not float"),
        ("readview", "5", "n must be an int, not str"),
        ("readuntil", 5, "separator must be bytes-like, not int"),
        ("readuntil", "a", "separator must be bytes-like, not str"),
        ("readuntil", (b"a", "b"), "separator must be bytes-like, not str"),
    ],
)
def test_wrong_arguments_of_reads(method, argument, text):
    writer = Writer()
    with pytest.raises(TypeError, match=text):
        asyncio.run(getattr(aio.reader(writer.buffer), method)(argument))
    assert writer.info()["waiting_readers"] == 0


def test_separators_that_are_no_bytes():
    async def main():
        reader = aio.reader(make_buffer(b"a!?b?!c!?d!?"))
        wide = array.array("H", b"!?")
        assert await reader.readuntil(bytearray(b"!?")) == b"a!?"
        assert await reader.readuntil(wide) == b"b?!c!?"
        assert await reader.readuntil((wide, b"|")) == b"d!?"

    asyncio.run(main())
    text = repr(aio.reader(make_buffer(b"abc"), 2**80))
    assert "available=3" in text


def test_outside_of_a_loop():
    buf = make_buffer(b"abc", eof=False)
    reader = aio.reader(buf)
    read = reader.read(9)
    with pytest.raises(StopIteration) as info:
        read.send(None)
    assert info.value.value == b"abc"
    waits = reader.read(9)
    with pytest.raises(RuntimeError, match="no running event loop"):
        waits.send(None)


# ---- The pattern of a program without this module ----


async def read_buffer_async(buf):
    chunks = []
    while not buf.at_eof():
        available = buf.readable_amount()
        if available > 0:
            chunk = buf.read_nonblock(4096)
            chunks.append(chunk)
        else:
            await asyncio.sleep(0.001)
    return b"".join(chunks)


def test_polling_works_too():
    data = bytes(range(256)) * 200
    writer = Writer()

    def write():
        for at in range(0, len(data), 999):
            writer.write(data[at : at + 999])
            time.sleep(0.0005)
        writer.close()

    call = Background(write)
    assert asyncio.run(read_buffer_async(writer.buffer)) == data
    call.result()


def test_names():
    assert erlang.aio is aio
    assert isinstance(make_buffer(), PyBuffer)


class TestCall:
    def test_without_a_node(self):
        with pytest.raises(RuntimeError, match="no Erlang node"):
            asyncio.run(aio.call("name", 1))

    def test_names(self):
        with pytest.raises(TypeError, match="'name' must be a str or an Atom, not int"):
            asyncio.run(aio.call(1))
        with pytest.raises(TypeError):
            asyncio.run(aio.call())
