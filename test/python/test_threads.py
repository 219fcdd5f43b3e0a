"""Several threads, and waiting: every byte once, nothing stuck, no CPU."""

import random
import sys
import threading
import time

import pytest

from erlang.testing import Writer, make_buffer
from support import Background, trickle, wait_for_readers

READS = {
    "read": lambda buf: buf.read(37),
    "read large": lambda buf: buf.read(100000),
    "read1": lambda buf: buf.read1(),
    "readline": lambda buf: buf.readline(),
    "readview": lambda buf: bytes(buf.readview(3000)),
    "readinto": lambda buf: into(buf),
    "readlines": lambda buf: b"".join(buf.readlines(200)),
}


def into(buf):
    memory = bytearray(5000)
    return bytes(memory[: buf.readinto(memory)])


def exactly_or_end(buf, size):
    try:
        return buf.readexactly(size)
    except EOFError as error:
        return error.partial


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


def test_large_reads_by_two_threads(fast_switching):
    """Those that copy without the lock: each gets a run of its own."""
    size = 300000
    data = b"".join(bytes([n]) * size for n in range(20))
    buf = make_buffer(data)
    readers = [
        Background(drain, buf, lambda buf: exactly_or_end(buf, size)) for _ in range(2)
    ]
    pieces = [piece for reader in readers for piece in reader.result()]
    assert sorted(pieces) == [bytes([n]) * size for n in range(20)]


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


def test_large_operations_let_others_run():
    """A thread that only needs the GIL goes on while megabytes are copied and searched."""
    data = b"ab" * (16 << 20)
    buf, ticks, done = make_buffer(data), [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(0)
            time.sleep(0.0001)

    other = Background(tick)
    for _ in range(5):
        before = len(ticks)
        assert buf.find(b"abc") == -1
        assert len(buf.read()) == len(data)
        buf.seek(0)
        assert buf.readinto(bytearray(len(data))) == len(data)
        buf.seek(0)
        assert len(ticks) > before
    done.set()
    other.result()


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
