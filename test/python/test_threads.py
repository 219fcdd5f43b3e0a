"""Several threads, and waiting: every byte once, nothing stuck, no CPU."""

import queue
import random
import sys
import threading
import time

import pytest

from erlang import BufferAborted
from erlang.testing import Writer
from support import Background, laid_out, trickle, wait_for_readers

READS = {
    "read": lambda buf: buf.read(37),
    "read large": lambda buf: buf.read(100000),
    "read1": lambda buf: buf.read1(),
    "readline": lambda buf: buf.readline(),
    "readview": lambda buf: bytes(buf.readview(3000)),
    "readinto": lambda buf: into(buf),
    "readlines": lambda buf: b"".join(buf.readlines(200)),
}


def into(buf, size=5000):
    memory = bytearray(size)
    return bytes(memory[: buf.readinto(memory)])


def drain(buf, read):
    pieces = []
    while piece := read(buf):
        pieces.append(piece)
    return pieces


@pytest.fixture
def fast_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


RECORDS = [b"%06d" % n for n in range(20000)]


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("live", [False, True], ids=["all there", "live"])
def test_two_readers_get_every_byte_once(name, live, fast_switching):
    """Each record is a line, so pieces can be told apart wherever they were cut."""
    data = b"\n".join(RECORDS) + b"\n"
    writer = Writer()
    if live:
        source = Background(trickle, writer, data, 700)
    else:
        writer.write(data)
        writer.close()
    readers = [Background(drain, writer.buffer, READS[name]) for _ in range(2)]
    pieces = [piece for reader in readers for piece in reader.result()]
    if live:
        source.result()
    assert sum(map(len, pieces)) == len(data)
    assert sorted(b"".join(pieces)) == sorted(data)
    if name in ("readline", "readlines"):
        assert sorted(b"".join(pieces).split()) == RECORDS


LARGE_RECORDS = [bytes([65 + n]) * 150000 + b"\n" for n in range(20)]
LARGE_SIZE = len(LARGE_RECORDS[0])
LARGE = {
    "readexactly": lambda buf: buf.readexactly(LARGE_SIZE),
    "readview_exactly": lambda buf: bytes(buf.readview_exactly(LARGE_SIZE)),
    "readuntil": lambda buf: buf.readuntil(b"\n"),
    "readline": lambda buf: buf.readline(),
    "readlines": lambda buf: b"".join(buf.readlines(LARGE_SIZE)),
    "readinto": lambda buf: into(buf, LARGE_SIZE),
    "read": lambda buf: buf.read(LARGE_SIZE),
}


@pytest.mark.parametrize("layout", ["one write", "adopted"])
@pytest.mark.parametrize("name", LARGE)
def test_readers_of_large_records(name, layout, fast_switching):
    """What is copied or searched without lock and GIL is taken whole or not at all."""

    def read(buf):
        try:
            return LARGE[name](buf)
        except EOFError as error:
            return error.partial

    for _ in range(10):
        buf = laid_out(b"".join(LARGE_RECORDS), layout)
        readers = [Background(drain, buf, read) for _ in range(3)]
        pieces = [piece for reader in readers for piece in reader.result()]
        assert sorted(pieces) == LARGE_RECORDS


def test_bytes_that_make_it_whole_are_never_missed():
    """The write that reaches the known length, while a reader looks."""
    handed, out = queue.SimpleQueue(), []

    def write():
        while (writer := handed.get()) is not None:
            writer.write(b"x\n")

    other = Background(write)
    calls = [
        lambda buf: buf.read(2),
        lambda buf: buf.readexactly(2),
        lambda buf: buf.readlines()[0],
        lambda buf: buf.readuntil(b"\n"),
        lambda buf: bytes(buf.readview()),
        lambda buf: buf.read(),
    ]
    for n in range(10000):
        writer = Writer(2)
        handed.put(writer)
        out.append(calls[n % len(calls)](writer.buffer))
    handed.put(None)
    other.result()
    assert out == [b"x\n"] * len(out)


def test_everything_at_once(fast_switching):
    """No crash, no deadlock, no byte that was never written."""
    writer = Writer()
    data = b"".join(RECORDS)[:100000]
    source = Background(trickle, writer, data, 50, 5)
    done = threading.Event()

    def disturb(seed):
        chance, buf = random.Random(seed), writer.buffer
        while not done.is_set():
            action = chance.randrange(6)
            if action == 0:
                buf.seek(chance.randrange(buf.tell() + 1))
            elif action == 1:
                assert buf.find(b"x") == -1
            elif action == 2:
                assert memoryview(buf)[:0] == b""
            elif action == 3:
                buf.read_nonblock(chance.randrange(3000))
            elif action == 4:
                buf.readview_exactly(min(len(buf) // 2, 1000))
            else:
                buf.readline(chance.randrange(1, 300))

    others = [Background(disturb, seed) for seed in range(3)]
    source.result()
    time.sleep(0.2)
    done.set()
    for other in others:
        other.result()
    buf = writer.buffer
    buf.seek(0)
    assert buf.read() == data


def test_many_blocked_readers_all_wake():
    writer = Writer()
    calls = [Background(writer.buffer.read) for _ in range(50)]
    wait_for_readers(writer, 50)
    writer.write(b"once")
    writer.close()
    results = sorted(call.result() for call in calls)
    assert results == [b""] * 49 + [b"once"]


def test_a_seek_lets_waiting_readers_look_again():
    writer = Writer()
    writer.write(b"abcdef")
    buf = writer.buffer
    buf.read(6)
    call = Background(buf.read, 3)
    wait_for_readers(writer)
    buf.seek(2)
    assert call.result() == b"cde"


def test_waiting_takes_no_processor_time():
    writer = Writer()
    calls = [Background(call, writer.buffer) for call in READS.values()]
    wait_for_readers(writer, len(calls))
    before = time.process_time()
    time.sleep(0.5)
    used = time.process_time() - before
    writer.close()
    for call in calls:
        call.result()
    assert used < 0.1


def test_waiting_does_not_hold_the_gil():
    writer = Writer()
    call = Background(writer.buffer.read)
    wait_for_readers(writer)
    assert sum(range(100000)) > 0
    writer.close()
    assert call.result() == b""


SIZE = 16 << 20
LONG = {
    "read": lambda buf: buf.read(),
    "peek": lambda buf: buf.peek(SIZE),
    "readinto": lambda buf: buf.readinto(bytearray(SIZE)),
    "find": lambda buf: buf.find(b"abc"),
    "readuntil": lambda buf: buf.readuntil(b"\n"),
    "readline": lambda buf: buf.readline(),
    "readview_exactly": lambda buf: buf.readview_exactly(SIZE),
    "memoryview": lambda buf: memoryview(buf),
}


@pytest.mark.parametrize("name", LONG)
def test_others_run_while_megabytes_are_copied_or_searched(name):
    """A thread that only needs the GIL now and then gets it in the middle."""
    data = bytes(SIZE - 1) + b"\n"
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.0001)

    other, met = Background(tick), 0
    until = time.monotonic() + 30
    while met < 3 and time.monotonic() < until:
        writer = Writer()
        for at in range(0, SIZE, 1 << 20):
            writer.write(data[at : at + (1 << 20)])
        writer.close()
        buf = writer.buffer
        begin = time.monotonic()
        LONG[name](buf)
        end = time.monotonic()
        # Not near the ends, where the GIL may just change hands.
        edge = (end - begin) / 10
        met += any(begin + edge < when < end - edge for when in ticks[-1000:])
    done.set()
    other.result()
    assert met == 3


def test_ping_pong():
    there, back = Writer(), Writer()

    def echo():
        for _ in range(2000):
            back.write(there.buffer.readexactly(8))

    call = Background(echo)
    for n in range(2000):
        there.write(n.to_bytes(8, "big"))
        assert back.buffer.readexactly(8) == n.to_bytes(8, "big")
    call.result()


# ---- With failures ----


@pytest.mark.parametrize("name", READS)
def test_an_abort_at_any_moment(name, fast_switching):
    """Readers get what was written before it, each byte once, and then the exception."""

    def drain_until_aborted(buf, pieces):
        with pytest.raises(BufferAborted, match="at any moment"):
            while piece := READS[name](buf):
                pieces.append(piece)

    chance = random.Random(name)
    for _ in range(200):
        writer = Writer()
        pieces, data = [], b"".join(RECORDS[: chance.randrange(50)])
        readers = [Background(drain_until_aborted, writer.buffer, pieces) for _ in range(2)]
        for at in range(0, len(data), 33):
            writer.write(data[at : at + 33])
        writer.abort("at any moment")
        for reader in readers:
            reader.result()
        assert sorted(b"".join(pieces)) == sorted(data)


def test_an_abort_or_a_close_whichever_is_first(fast_switching):
    """All reads of one stream agree on which it was."""
    outcomes = set()

    def read(buf, seen):
        try:
            seen.append(buf.read())
        except BufferAborted:
            seen.append("aborted")

    for n in range(500):
        writer = Writer()
        writer.write(b"data")
        seen = []
        readers = [Background(read, writer.buffer, seen) for _ in range(2)]
        calls = [Background(writer.abort, "x"), Background(writer.buffer.close)]
        for call in [*calls, *readers]:
            call.result()
        if "aborted" in seen:
            assert seen == ["aborted"] * 2
            assert repr(writer.buffer).startswith("<erlang.PyBuffer aborted")
        else:
            assert sorted(seen) == [b"", b"data"]
            assert writer.buffer.at_eof()
        outcomes.add("aborted" in seen)
    assert outcomes


def test_timeouts_while_data_arrives(fast_switching):
    """A read that times out has taken nothing: the next one gets it."""
    data = b"\n".join(RECORDS[:5000]) + b"\n"
    writer = Writer()
    source = Background(trickle, writer, data, 70)

    def lines(buf, out):
        buf.settimeout(1e-5)
        while True:
            try:
                line = buf.readline()
            except TimeoutError:
                continue
            if not line:
                return
            out.append(line)

    out = []
    readers = [Background(lines, writer.buffer, out) for _ in range(2)]
    source.result()
    for reader in readers:
        reader.result()
    assert sorted(b"".join(out).split()) == RECORDS[:5000]


def test_writers_that_wait_and_give_up(fast_switching):
    """Every write is there once and whole, or not at all."""
    writer = Writer(high_watermark=500, low_watermark=100, seekable=False)
    buf = writer.buffer
    written = [[] for _ in range(4)]

    def write(n):
        chance = random.Random(n)
        for turn in range(1500):
            record = b"%d:%d" % (n, turn) + b"." * chance.choice((0, 50, 3000)) + b"\n"
            try:
                writer.write(record, timeout=chance.choice((0, 1e-5, 1e-3, None)))
            except TimeoutError:
                continue
            written[n].append(record)

    writers = [Background(write, n) for n in range(4)]
    call = Background(lambda: list(buf))
    for background in writers:
        background.result()
    writer.close()
    lines = call.result()
    assert len(lines) == sum(map(len, written))
    for n in range(4):
        mine = [line for line in lines if line.startswith(b"%d:" % n)]
        assert mine == written[n]
    assert writer.info()["waiting_writers"] == 0
