"""settimeout: one deadline for all the waits of a call, and nothing lost by it."""

import decimal
import fractions
import io
import math
import signal
import threading
import time

import pytest

from erlang.testing import Writer, make_buffer
from support import Background, wait_for_readers

WAITING = {
    "read()": lambda buf: buf.read(),
    "read(n)": lambda buf: buf.read(5),
    "readall": lambda buf: buf.readall(),
    "read1": lambda buf: buf.read1(),
    "readinto": lambda buf: buf.readinto(bytearray(5)),
    "readinto1": lambda buf: buf.readinto1(bytearray(5)),
    "peek": lambda buf: buf.peek(),
    "readline": lambda buf: buf.readline(),
    "readline(n)": lambda buf: buf.readline(50),
    "next": lambda buf: next(buf),
    "readlines": lambda buf: buf.readlines(),
    "readlines(hint)": lambda buf: buf.readlines(50),
    "readexactly": lambda buf: buf.readexactly(50),
    "readuntil": lambda buf: buf.readuntil(b"!"),
    "readview": lambda buf: buf.readview(),
    "readview_exactly": lambda buf: buf.readview_exactly(50),
    "views": lambda buf: next(buf.views()),
    "BufferedReader": lambda buf: io.BufferedReader(buf).read(),
}
# Those that wait although something is there.
WANT_MORE = [
    "read()", "readall", "readline", "readline(n)", "next", "readlines",
    "readlines(hint)", "readexactly", "readuntil", "readview_exactly",
]  # fmt: skip


@pytest.mark.parametrize("seconds", [0, 0.03], ids=["at once", "later"])
@pytest.mark.parametrize("method", WAITING)
def test_nothing_there(method, seconds):
    writer = Writer()
    buf = writer.buffer
    buf.settimeout(seconds)
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        WAITING[method](buf)
    assert seconds <= time.monotonic() - begin < seconds + 5
    assert str(caught.value) == f"no data within the timeout of {float(seconds)} seconds"
    assert caught.value.errno is None
    assert writer.info()["waiting_readers"] == 0


@pytest.mark.parametrize("seconds", [0, 0.03], ids=["at once", "later"])
@pytest.mark.parametrize("method", WANT_MORE)
def test_too_little_there(method, seconds):
    buf = make_buffer(b"abcde", eof=False)
    buf.read(1)
    buf.settimeout(seconds)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            WAITING[method](buf)
        assert buf.tell() == 1
    assert buf.read_nonblock() == b"bcde"


@pytest.mark.parametrize("method", WAITING)
def test_zero_is_no_hindrance_to_what_is_there(method):
    buf = make_buffer(b"x" * 100 + b"!\n" + b"y" * 100 + b"\n")
    buf.settimeout(0)
    WAITING[method](buf)
    buf.read_nonblock()
    assert buf.read(1) == b""


def test_the_deadline_is_that_of_the_call():
    """A writer that keeps sending pieces does not keep the call alive."""
    writer = Writer()
    buf = writer.buffer
    buf.settimeout(0.3)
    done = threading.Event()

    def drip():
        while not done.wait(0.01):
            writer.write(b".")

    call = Background(drip)
    for method in (buf.readline, buf.read, buf.readlines, lambda: buf.readuntil(b"!")):
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            method()
        assert 0.3 <= time.monotonic() - begin < 3
    done.set()
    call.result()
    assert buf.tell() == 0


def test_each_call_has_its_own():
    writer = Writer()
    buf = writer.buffer
    buf.settimeout(5)
    for n in range(20):
        timer = threading.Timer(0.005, writer.write, [b"x"])
        timer.start()
        assert buf.read(1) == b"x"
        timer.join()


def test_it_belongs_to_the_object():
    writer = Writer()
    one, other = writer.buffer, writer.buffer
    one.settimeout(0)
    assert one == other and other.gettimeout() is None
    call = Background(other.read, 1)
    wait_for_readers(writer)
    with pytest.raises(TimeoutError):
        one.read(1)
    writer.write(b"x")
    assert call.result() == b"x"


def test_a_wait_keeps_the_timeout_it_began_with():
    writer = Writer()
    buf = writer.buffer
    call = Background(buf.read, 1)
    wait_for_readers(writer)
    buf.settimeout(0)
    time.sleep(0.05)
    writer.write(b"x")
    assert call.result() == b"x"


@pytest.mark.parametrize(
    "given, seconds",
    [
        (None, None),
        (0, 0.0),
        (0.0, 0.0),
        (-0.0, 0.0),
        (5, 5.0),
        (0.1, 0.1),
        (1.5, 1.5),
        (1e-9, 1e-9),
        (True, 1.0),
        (10**9, 1e9),
        (decimal.Decimal("0.25"), 0.25),
        (fractions.Fraction(1, 4), 0.25),
    ],
)
def test_values(given, seconds):
    buf = make_buffer()
    assert buf.gettimeout() is None
    assert buf.settimeout(given) is None
    assert buf.gettimeout() == seconds
    assert type(buf.gettimeout()) is type(seconds)


def test_only_zero_is_zero():
    buf = make_buffer()
    buf.settimeout(1e-30)
    assert 0 < buf.gettimeout() < 1e-6


@pytest.mark.parametrize(
    "bad, error",
    [
        (-1, ValueError),
        (-0.001, ValueError),
        (math.nan, ValueError),
        (-math.inf, ValueError),
        (math.inf, OverflowError),
        (1e300, OverflowError),
        (10**400, OverflowError),
        ("1", TypeError),
        (b"1", TypeError),
        ([], TypeError),
        (1j, TypeError),
    ],
)
def test_refused_values_change_nothing(bad, error):
    buf = make_buffer()
    buf.settimeout(7)
    with pytest.raises(error):
        buf.settimeout(bad)
    assert buf.gettimeout() == 7
    with pytest.raises(TypeError, match="str"):
        buf.settimeout("1")
    with pytest.raises(TypeError):
        buf.settimeout()


def test_a_signal_does_not_lengthen_it():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    buf = make_buffer(eof=False)
    buf.settimeout(0.3)
    done = threading.Event()

    def disturb():
        while not done.wait(0.01):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    call = Background(disturb)
    begin = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            buf.read()
        assert 0.3 <= time.monotonic() - begin < 3
    finally:
        done.set()
        call.result()
        signal.signal(signal.SIGUSR1, before)
    assert seen


def test_a_buffered_reader_lets_it_pass():
    writer = Writer()
    buf = writer.buffer
    reader = io.BufferedReader(buf)
    buf.settimeout(0.01)
    with pytest.raises(TimeoutError):
        reader.readline()
    writer.write(b"line\n")
    assert reader.readline() == b"line\n"
    text = io.TextIOWrapper(io.BufferedReader(buf))
    with pytest.raises(TimeoutError):
        text.read()


def test_what_a_buffered_reader_had_taken_may_be_lost_with_it():
    """As documented: that is io.BufferedReader's, over sockets too."""
    writer = Writer()
    buf = writer.buffer
    buf.settimeout(0.01)
    writer.write(b"abc")
    with pytest.raises(TimeoutError):
        io.BufferedReader(buf).read(10)
    assert buf.tell() == 3


def test_many_time_out_together():
    writer = Writer()
    calls = []
    for n in range(30):
        buf = writer.buffer
        buf.settimeout(0.05 + n / 1000)
        calls.append(Background(buf.read))
    for call in calls:
        with pytest.raises(TimeoutError):
            call.result()
    assert writer.info()["waiting_readers"] == 0
    writer.write(b"still there")
    writer.close()
    assert writer.buffer.read() == b"still there"
