"""_erlang.Waker: which waits are over, told by one descriptor."""

import gc
import os
import select
import sys
import threading
import weakref

import pytest

from _erlang import Wait, Waker
from erlang.testing import Writer, make_buffer
from support import Background


class Future:
    """What a Waker needs of a future."""

    def __init__(self, note=None):
        self.note = note
        self.resolved = False

    def done(self):
        return self.resolved

    def set_result(self, result):
        assert result is None
        self.resolved = True
        if self.note is not None:
            self.note(self)


def readable(waker, seconds=0):
    return select.select([waker.fileno()], [], [], seconds)[0] != []


def armed(waker, writer=None, count=1, note=None):
    writer = writer or Writer()
    future = Future(note)
    wait = waker.wait_buffer(writer.buffer, writer.buffer.tell(), count, future)
    assert type(wait) is Wait
    return writer, future, wait


def waiting(writer):
    return writer.info()["waiting_readers"]


def test_a_wait():
    waker = Waker()
    writer, future, wait = armed(waker, count=3)
    assert waiting(writer) == 1 and not readable(waker)
    writer.write(b"ab")
    assert waiting(writer) == 1 and not readable(waker)
    writer.write(b"c")
    assert waiting(writer) == 0 and readable(waker) and not future.resolved
    waker.drain()
    assert future.resolved and not readable(waker)
    wait.done()
    wait.cancel()


@pytest.mark.parametrize(
    "event", [Writer.close, lambda w: w.abort("why"), lambda w: w.buffer.close()]
)
@pytest.mark.parametrize("count", [1, 100, None, 2**64 - 2])
def test_the_end_is_news(event, count):
    waker = Waker()
    writer, future, wait = armed(waker, count=count)
    event(writer)
    waker.drain()
    assert future.resolved


def test_a_moved_position_is_news():
    waker, writer = Waker(), Writer()
    writer.write(b"abc")
    writer, future, wait = armed(waker, writer, 9)
    writer.buffer.read(1)
    waker.drain()
    assert future.resolved


def test_news_that_are_there_need_no_wait():
    waker, future = Waker(), Future()
    buf = make_buffer(b"abc", eof=False)
    assert waker.wait_buffer(buf, 0, 3, future) is None
    assert waker.wait_buffer(buf, 1, 9, future) is None
    assert waker.wait_buffer(make_buffer(b""), 0, 1, future) is None
    assert waker.wait_buffer(make_buffer(b"ab"), 0, None, future) is None
    assert not future.resolved and not readable(waker)


def test_a_wait_that_is_cancelled_is_not_told():
    waker = Waker()
    writer, future, wait = armed(waker)
    wait.cancel()
    assert waiting(writer) == 0
    writer.write(b"x")
    assert not readable(waker)
    writer, future, wait = armed(waker)
    writer.write(b"x")
    wait.cancel()
    waker.drain()
    assert not future.resolved
    wait.cancel()
    wait.done()


def test_done_before_it_is_over_is_a_cancel():
    waker = Waker()
    writer, future, wait = armed(waker)
    wait.done()
    assert waiting(writer) == 0


def test_a_future_that_is_done_is_left_alone():
    waker = Waker()
    writer, future, wait = armed(waker)
    future.resolved = True
    future.set_result = None
    writer.write(b"x")
    waker.drain()


def test_in_the_order_of_the_news():
    waker, order = Waker(), []
    waits = [armed(waker, note=order.append) for _ in range(50)]
    turn = [n * 7 % 50 for n in range(50)]
    for n in turn:
        waits[n][0].write(b"x")
    waker.drain()
    assert order == [waits[n][1] for n in turn]


def test_one_waiter_of_a_loop_a_buffer():
    waker = Waker()
    writer, future, wait = armed(waker)
    for other in (waker, Waker()):
        with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
            other.wait_buffer(writer.buffer, 0, 9, Future())
    wait.cancel()
    armed(Waker(), writer)


# ---- While it drains ----


def test_callbacks_that_do_what_they_like():
    waker = Waker()
    waits = {}

    def meddle(future):
        others = [key for key in waits if key is not future]
        waits[others[0]][2].cancel()
        waits[others[1]][2].done()
        waker.drain()
        more = armed(waker)
        more[0].write(b"x")
        waits[future][2].cancel()
        gc.collect()

    for _ in range(6):
        each = armed(waker, note=meddle)
        waits[each[1]] = each
    for each in list(waits.values()):
        each[0].write(b"x")
    waker.drain()
    told = sum(future.resolved for future in waits)
    assert 1 <= told <= 4
    while readable(waker):
        waker.drain()


def test_a_callback_that_drops_the_waker():
    kept = [Waker()]

    def drop(_):
        kept.clear()
        gc.collect()

    waits = [armed(kept[0], note=drop) for _ in range(5)]
    still = armed(kept[0])
    for each in waits:
        each[0].write(b"x")
    reference = weakref.ref(kept[0])
    kept[0].drain()
    assert all(each[1].resolved for each in waits)
    assert reference() is None
    assert waiting(still[0]) == 0


class Unlucky(Exception):
    pass


def test_exceptions_of_futures(monkeypatch):
    """The first is raised, the others are shown, and all are told."""
    waker, shown = Waker(), []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: shown.append(args.exc_type))

    def fail(_):
        raise Unlucky

    waits = [armed(waker, note=fail if n in (1, 3) else None) for n in range(5)]
    for each in waits:
        each[0].write(b"x")
    with pytest.raises(Unlucky):
        waker.drain()
    assert shown == [Unlucky]
    assert all(each[1].resolved for each in waits)
    waker.drain()


def test_futures_that_are_none():
    waker = Waker()
    for future in (None, 5, object()):
        writer = Writer()
        waker.wait_buffer(writer.buffer, 0, 1, future)
        writer.write(b"x")
        with pytest.raises(AttributeError):
            waker.drain()


# ---- What holds what ----


def test_a_waker_that_goes_lets_go_of_all():
    waker = Waker()
    writer, future, wait = armed(waker)
    told = armed(waker)
    told[0].write(b"x")
    left = [weakref.ref(future), weakref.ref(told[1]), weakref.ref(waker)]
    del waker
    assert left[2]() is None and waiting(writer) == 0
    writer.write(b"x")
    wait.cancel()
    wait.done()
    told[2].cancel()
    del future, wait, told
    assert [each() for each in left] == [None] * 3


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors")
def test_its_descriptor_is_closed():
    """Also when there are news that nobody has drained, and news that come later."""
    before = len(os.listdir("/proc/self/fd"))
    for news in ("none", "there", "later"):
        waker = Waker()
        writer, future, wait = armed(waker)
        if news == "there":
            writer.write(b"x")
        del waker
        writer.write(b"x")
        del wait, future
        assert len(os.listdir("/proc/self/fd")) == before, news


def test_cycles_are_collected():
    gc.collect()
    waker = Waker()
    writer, future, wait = armed(waker)
    future.cycle = (waker, wait, future)
    left = [weakref.ref(future), weakref.ref(waker)]
    del waker, future, wait
    assert left[0]() is not None
    gc.collect()
    assert [each() for each in left] == [None, None]
    assert waiting(writer) == 0


def test_a_wait_holds_the_stream_only():
    waker = Waker()
    buf = make_buffer(b"", eof=False)
    wait = waker.wait_buffer(buf, 0, 1, Future())
    reference = weakref.ref(buf)
    del buf
    assert reference() is None
    wait.cancel()


def test_notices_while_it_goes():
    """Writers on other threads, against wakers that come and go."""
    writers = [Writer() for _ in range(8)]
    stop = threading.Event()

    def write(writer):
        while not stop.is_set():
            writer.write(b"x")

    calls = [Background(write, writer) for writer in writers[:2]]
    for turn in range(2000):
        waker = Waker()
        waits = []
        for writer in writers[:2]:
            buf = writer.buffer
            wait = waker.wait_buffer(buf, buf.tell(), len(buf) + 1, Future())
            if wait is not None:
                waits.append(wait)
        if turn % 4 == 0:
            waker.drain()
        if turn % 4 == 1 and waits:
            waits[0].cancel()
        if turn % 4 == 2:
            del waker
        if turn % 4 == 3:
            readable(waker, 0.001)
            waker.drain()
        del waits
    stop.set()
    for call in calls:
        call.result()


def test_wrong_arguments():
    waker, buf = Waker(), make_buffer(b"", eof=False)
    with pytest.raises(TypeError, match="takes no arguments"):
        Waker(1)
    with pytest.raises(TypeError, match="cannot create"):
        Wait()
    with pytest.raises(TypeError, match="'buffer' must be a PyBuffer, not int"):
        waker.wait_buffer(1, 0, 1, Future())
    with pytest.raises(TypeError):
        waker.wait_buffer(buf, 0, 1)
    with pytest.raises(OverflowError):
        waker.wait_buffer(buf, -1, 1, Future())
    with pytest.raises(OverflowError):
        waker.wait_buffer(buf, 0, -1, Future())
    with pytest.raises(TypeError):
        waker.wait_buffer(buf, 0, "1", Future())
    with pytest.raises(TypeError, match="'channel' must be a Channel, not erlang.PyBuffer"):
        waker.wait_channel(buf, Future())
    with pytest.raises(TypeError, match="'put' must be a Put, not erlang.PyBuffer"):
        waker.wait_put(buf, Future())
    with pytest.raises(TypeError, match="takes 2 arguments"):
        waker.wait_put(buf)
