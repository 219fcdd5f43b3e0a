"""Writers that wait for readers, readers that go away, memory that is freed."""

import csv
import errno
import gc
import gzip
import io
import signal
import tarfile
import threading
import time

import pytest

from erlang import BufferAborted
from erlang.testing import Writer, make_buffer
from support import Background, wait_for_readers


def wait_for_writers(writer, count=1):
    end = time.monotonic() + 20
    while writer.info()["waiting_writers"] != count:
        assert time.monotonic() < end, writer.info()
        time.sleep(0.0005)


# ---- Watermarks ----


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_write_over_the_mark_waits_for_the_low_one(size):
    writer = Writer(high_watermark=10 * size, low_watermark=4 * size)
    buf = writer.buffer
    for _ in range(10):
        assert writer.write(b"a" * size) == size
    call = Background(writer.write, b"b" * size)
    wait_for_writers(writer)
    assert buf.read(6 * size - 1) == b"a" * (6 * size - 1)
    assert writer.info()["waiting_writers"] == 1
    assert writer.info()["available"] == 4 * size + 1
    assert buf.read(1) == b"a"
    assert call.result() == size
    assert writer.info()["available"] == 5 * size
    writer.close()
    assert buf.read() == b"a" * 4 * size + b"b" * size


def test_one_write_larger_than_the_mark():
    writer = Writer(high_watermark=10)
    assert writer.write(b"x" * 100000) == 100000
    with pytest.raises(TimeoutError):
        writer.write(b"y", timeout=0)
    assert writer.info()["written"] == 100000


@pytest.mark.parametrize("seconds", [0, 0.03])
def test_a_write_that_times_out_has_written_nothing(seconds):
    writer = Writer(high_watermark=4)
    writer.write(b"full")
    for data in (b"x", b"x" * 5000):
        begin = time.monotonic()
        with pytest.raises(TimeoutError, match="no room within the timeout"):
            writer.write(data, timeout=seconds)
        assert seconds <= time.monotonic() - begin < seconds + 5
    assert writer.info()["written"] == 4
    assert writer.info()["waiting_writers"] == 0
    assert writer.write(b"", timeout=0) == 0
    writer.close()
    assert writer.buffer.read() == b"full"


@pytest.mark.parametrize("bad", [-1, float("nan"), "1"])
def test_timeouts_that_are_none(bad):
    with pytest.raises((ValueError, TypeError), match="timeout"):
        Writer().write(b"x", timeout=bad)


def test_writers_are_let_in_in_their_order():
    writer = Writer(high_watermark=1, low_watermark=0)
    buf = writer.buffer
    writer.write(b"0")
    calls = []
    for n in range(1, 10):
        calls.append(Background(writer.write, b"%d" % n))
        wait_for_writers(writer, n)
    with pytest.raises(TimeoutError):
        writer.write(b"overtaking", timeout=0)
    assert b"".join(buf.read(1) for _ in range(10)) == b"0123456789"
    for call in calls:
        assert call.result() == 1


def test_one_that_gives_up_passes_its_turn_on():
    writer = Writer(high_watermark=1, low_watermark=0)
    buf = writer.buffer
    writer.write(b"0")
    first = Background(lambda: writer.write(b"never", timeout=1))
    wait_for_writers(writer)
    second = Background(writer.write, b"2")
    wait_for_writers(writer, 2)
    with pytest.raises(TimeoutError):
        first.result()
    assert buf.read(1) + buf.read(1) == b"02"
    second.result()


@pytest.mark.parametrize(
    "need",
    [
        lambda buf: buf.read(),
        lambda buf: buf.readexactly(100000),
        lambda buf: buf.readline(),
        lambda buf: buf.readuntil(b"\n"),
        lambda buf: bytes(buf.readview_exactly(100000)),
    ],
)
def test_a_reader_that_needs_more_than_the_mark(need):
    writer = Writer(high_watermark=100)
    buf = writer.buffer
    data = b"x" * 99999 + b"\n"

    def write():
        for at in range(0, len(data), 50):
            writer.write(data[at : at + 50])
        writer.close()

    call = Background(write)
    assert need(buf) == data
    call.result()


def test_a_stream_through_small_marks():
    writer = Writer(high_watermark=3000, low_watermark=1000, seekable=False)
    buf, most, data = writer.buffer, 0, bytes(range(256)) * 4000

    def write():
        for at in range(0, len(data), 700):
            writer.write(data[at : at + 700])
        writer.close()

    call, out = Background(write), []
    while piece := buf.read(500):
        out.append(piece)
        most = max(most, writer.info()["available"])
    call.result()
    assert b"".join(out) == data
    assert most < 3000 + 700 + 700


# ---- What ends a wait of a writer ----


def blocked_writer(**options):
    writer = Writer(high_watermark=1, **options)
    buf = writer.buffer
    writer.write(b"full")
    call = Background(writer.write, b"x" * 5000)
    wait_for_writers(writer)
    return writer, buf, call


def test_a_reader_that_closes_ends_it():
    writer, buf, call = blocked_writer()
    buf.close()
    with pytest.raises(BrokenPipeError):
        call.result()
    assert buf.read() == b"full"


def test_an_abort_ends_it():
    writer, buf, call = blocked_writer()
    writer.abort("enough")
    with pytest.raises(BufferAborted, match="enough"):
        call.result()
    assert buf.read(100) == b"full"


def test_an_end_ends_it():
    writer, buf, call = blocked_writer()
    writer.close()
    with pytest.raises(ValueError):
        call.result()
    assert buf.read() == b"full"


def test_the_last_reader_that_goes_ends_it():
    writer, buf, call = blocked_writer()
    other = writer.buffer
    del buf
    gc.collect()
    assert not writer.info()["reader_closed"]
    del other
    with pytest.raises(BrokenPipeError):
        call.result()
    assert writer.info()["reader_closed"]


def test_a_signal_handler_that_raises_ends_it():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    writer = Writer(high_watermark=1)
    writer.write(b"full")
    before = signal.signal(signal.SIGUSR1, handler)

    def other():
        wait_for_writers(writer)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    call = Background(other)
    try:
        with pytest.raises(Enough):
            writer.write(b"x")
    finally:
        signal.signal(signal.SIGUSR1, before)
        call.result()
    assert writer.info()["written"] == 4
    assert writer.info()["waiting_writers"] == 0


def test_a_signal_handler_that_returns_lets_it_wait_on():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    writer = Writer(high_watermark=4, low_watermark=0)
    buf = writer.buffer
    writer.write(b"full")

    def other():
        for n in range(1, 4):
            wait_for_writers(writer)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            while len(seen) < n:
                time.sleep(0.001)
        buf.read(4)

    call = Background(other)
    try:
        assert writer.write(b"next") == 4
    finally:
        signal.signal(signal.SIGUSR1, before)
        call.result()
    assert buf.read(10) == b"next"


def test_waiting_takes_no_processor_time():
    writer, buf, call = blocked_writer()
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    buf.close()
    with pytest.raises(BrokenPipeError):
        call.result()


# ---- The last reader ----


def test_by_default_only_a_writer_that_may_wait_is_told():
    for options, closed in [
        ({}, False),
        ({"high_watermark": 1}, True),
        ({"high_watermark": 1, "last_reader": "keep"}, False),
        ({"last_reader": "close"}, True),
        ({"last_reader": None}, False),
    ]:
        writer = Writer(**options)
        writer.buffer  # made and dropped
        assert writer.info()["reader_closed"] is closed, options


def test_before_the_first_reader_nothing_is_closed():
    writer = Writer(last_reader="close")
    writer.write(b"x")
    assert not writer.info()["reader_closed"]


def test_a_cycle_that_holds_the_last_reader():
    writer = Writer(last_reader="close")
    cycle = [writer.buffer]
    cycle.append(cycle)
    del cycle
    gc.collect()
    with pytest.raises(BrokenPipeError):
        writer.write(b"x")


def test_a_wait_is_a_reader():
    writer = Writer(last_reader="close")
    call = Background(lambda: writer.buffer.read(1))
    wait_for_readers(writer)
    gc.collect()
    writer.write(b"x")
    assert call.result() == b"x"


# ---- max_size ----


def test_max_size_refuses_and_stays_open():
    writer = Writer(max_size=10)
    writer.write(b"x" * 8)
    for data in (b"xyz", b"x" * 5000):
        with pytest.raises(OSError) as caught:
            writer.write(data)
        assert caught.value.errno == errno.EFBIG
    writer.write(b"xy")
    writer.close()
    assert writer.buffer.read() == b"x" * 9 + b"y"


@pytest.mark.parametrize(
    "options, error",
    [
        ({"high_watermark": 0}, ValueError),
        ({"high_watermark": -1}, ValueError),
        ({"high_watermark": 2**63}, ValueError),
        ({"high_watermark": 1.5}, TypeError),
        ({"high_watermark": 10, "low_watermark": 11}, ValueError),
        ({"high_watermark": 10, "low_watermark": -1}, ValueError),
        ({"low_watermark": 1}, ValueError),
        ({"max_size": -1}, ValueError),
        ({"max_size": "1"}, TypeError),
        ({"last_reader": "maybe"}, ValueError),
        ({"last_reader": 1}, ValueError),
        ({"other": 1}, TypeError),
    ],
)
def test_options_that_are_refused(options, error):
    (name,) = list(options)[-1:]
    with pytest.raises(error) as caught:
        Writer(**options)
    assert name in str(caught.value) or error is TypeError
    with pytest.raises(error):
        make_buffer(b"", **options)


def test_make_buffer_takes_the_options():
    assert make_buffer(b"abc", eof=False, length=3).read() == b"abc"
    assert not make_buffer(b"abc", seekable=False).seekable()
    assert make_buffer(b"abc", high_watermark=1).read() == b"abc"
    with pytest.raises(OSError):
        make_buffer(b"abc", max_size=2)


# ---- Not seekable ----

ROWS = b"".join(b"%d,%d,text\n" % (n, n * n) for n in range(20000))


def stream_in(data, size=1000, **options):
    """A writer on another thread that never gets far ahead."""
    writer = Writer(high_watermark=8192, seekable=False, last_reader="keep", **options)

    def write():
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
        writer.close()

    return writer, writer.buffer, Background(write)


def test_seeking_is_refused():
    buf = make_buffer(b"abcdef", seekable=False)
    assert buf.seekable() is False
    assert buf.read(2) == b"ab" and buf.tell() == 2
    for args in [(0,), (2,), (0, 1), (0, 2), (9,), (2**70,), (0, 5)]:
        with pytest.raises(io.UnsupportedOperation):
            buf.seek(*args)
    assert buf.read() == b"cdef" and buf.tell() == 6


FREEING = {
    "read": lambda buf: len(buf.read(3000)),
    "read1": lambda buf: len(buf.read1()),
    "readinto": lambda buf: buf.readinto(bytearray(5000)),
    "readline": lambda buf: len(buf.readline()),
    "next": lambda buf: len(next(buf, b"")),
    "readexactly": lambda buf: len(buf.readexactly(len(buf))) or len(buf.read(1)),
    "readview": lambda buf: len(buf.readview()),
    "views": lambda buf: sum(len(view) for view in buf.views()),
    "memoryview": lambda buf: len(buf.read(len(memoryview(buf)) or 1)),
    "readlines": lambda buf: sum(map(len, buf.readlines(2000))),
}


@pytest.mark.parametrize("size", [100, 5000])
@pytest.mark.parametrize("method", FREEING)
def test_what_has_been_read_is_freed(method, size):
    writer, buf, call = stream_in(ROWS, size)
    most = total = 0
    while count := FREEING[method](buf):
        total += count
        most = max(most, writer.info()["retained"])
    call.result()
    assert total == len(ROWS)
    assert most < 200_000
    del buf
    assert writer.info()["retained"] < 70_000


def test_a_view_outlives_what_is_freed():
    writer = Writer(seekable=False)
    buf = writer.buffer
    writer.write(b"a" * 5000)
    view = buf.readview(2000)
    shown = memoryview(buf)
    buf.read(3000)
    writer.write(b"b" * 5000)
    buf.read(5000)
    assert view == b"a" * 2000 and shown == b"a" * 3000


def test_wrappers_over_a_stream_that_passes_by():
    writer, buf, call = stream_in(ROWS)
    assert io.BufferedReader(buf).read() == ROWS
    call.result()

    writer, buf, call = stream_in(ROWS)
    text = io.TextIOWrapper(io.BufferedReader(buf), newline="")
    assert not text.seekable()
    assert sum(int(row[0]) for row in csv.reader(text)) == sum(range(20000))
    call.result()

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for n in range(5):
            member = tarfile.TarInfo(f"file{n}")
            member.size = len(ROWS)
            tar.addfile(member, io.BytesIO(ROWS))
    writer, buf, call = stream_in(packed.getvalue())
    with tarfile.open(fileobj=buf, mode="r|*") as tar:
        assert [tar.extractfile(member).read() == ROWS for member in tar] == [True] * 5
    io.BufferedReader(buf).read()
    call.result()

    writer, buf, call = stream_in(gzip.compress(ROWS))
    with gzip.open(buf) as unpacked:
        assert unpacked.read() == ROWS
    call.result()


def test_many_megabytes_leave_little():
    writer, buf, call = stream_in(bytes(64 << 20), 1 << 20)
    most = total = 0
    while piece := buf.read(300_000):
        total += len(piece)
        most = max(most, writer.info()["retained"])
    call.result()
    assert total == 64 << 20
    assert most < 4 << 20
