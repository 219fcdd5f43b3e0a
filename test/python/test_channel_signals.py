"""A signal ends a wait for a channel in the main thread of plain python3, and loses no
message."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from erlang.testing import make_channel
from support import Background, wait_for_channel

SCRIPT = """
import asyncio, os, threading, time
from erlang.testing import make_channel

peer = make_channel(max_size=1)
channel = peer.channel
if {full}:
    peer.send("kept"), channel.put("kept")

def waiting(way):
    return way["waiting_receivers"] + way["waiting_senders"]

def report():
    while waiting(peer.info()) + waiting(peer.info()["outbox"]) == 0:
        time.sleep(0.001)
    time.sleep(0.05)
    os.write(1, b"blocked\\n")

threading.Thread(target=report, daemon=True).start()
try:
    {call}
except KeyboardInterrupt:
    info = peer.info()
    left = waiting(info) + waiting(info["outbox"])
    if not {full}:
        peer.send("kept"), channel.put("kept")
    print("interrupted", channel.try_receive(), peer.recv(0), left, time.process_time() < 2)
    print(channel.try_receive("nothing"), peer.info()["outbox"]["messages"])
"""


@pytest.mark.parametrize(
    "call, full",
    [
        ("channel.receive()", False),
        ("channel.receive(50)", False),
        ("next(channel)", False),
        ("list(channel)", False),
        ("peer.recv()", False),
        ("channel.put('more')", True),
        ("channel.put('more', 50)", True),
        ("peer.send('more')", True),
        ("asyncio.run(channel.async_receive())", False),
        ("asyncio.run(channel.async_put('more'))", True),
    ],
)
def test_interrupt_key(call, full):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT.format(call=call, full=full))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"blocked\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert err == b""
    assert out == b"interrupted kept kept 0 True\nnothing 0\n"


@pytest.fixture
def handled():
    """Installs a handler for SIGUSR1."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, lambda *_: handler())
    signal.signal(signal.SIGUSR1, before)


def interrupt_when_waiting(peer, *, times=1, seen=(), way=None, then=None, **waiting):
    def other():
        for number in range(times):
            wait_for_channel(peer, way=way, **waiting)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            while number + 1 < times and len(seen) <= number:
                time.sleep(0.001)
        if then is not None:
            while len(seen) < times:
                time.sleep(0.001)
            wait_for_channel(peer, way=way, **waiting)
            then()

    thread = threading.Thread(target=other)
    thread.start()
    return thread


def test_a_handler_that_returns_lets_the_wait_go_on(handled):
    peer, seen = make_channel(), []
    handled(lambda: seen.append(1))
    thread = interrupt_when_waiting(
        peer, times=3, seen=seen, receivers=1, then=lambda: peer.send("x")
    )
    assert peer.channel.receive(30) == "x"
    thread.join()
    assert len(seen) == 3


def test_a_sender_that_is_interrupted_goes_on(handled):
    peer, seen = make_channel(max_size=1), []
    peer.channel.put("full")
    handled(lambda: seen.append(1))
    thread = interrupt_when_waiting(
        peer, times=3, seen=seen, way="outbox", senders=1, then=peer.recv
    )
    peer.channel.put("x", 30)
    thread.join()
    assert len(seen) == 3 and peer.recv() == "x"
    assert peer.info()["outbox"]["messages"] == 0


def test_a_handler_may_use_the_channel(handled):
    peer = make_channel()
    handled(lambda: peer.send("from the handler"))
    thread = interrupt_when_waiting(peer, receivers=1)
    assert peer.channel.receive() == "from the handler"
    thread.join()


@pytest.mark.parametrize("method", ["receive", "next"])
def test_a_handler_that_sends_and_raises_loses_nothing(handled, method):
    peer = make_channel()

    def handler():
        peer.send("kept")
        raise ZeroDivisionError

    handled(handler)
    thread = interrupt_when_waiting(peer, receivers=1)
    with pytest.raises(ZeroDivisionError):
        peer.channel.receive() if method == "receive" else next(peer.channel)
    thread.join()
    assert peer.channel.try_receive() == "kept"
    assert peer.info()["waiting_receivers"] == 0


@pytest.fixture
def slow_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("method", ["receive", "next"])
@pytest.mark.parametrize("other_waits", [True, False])
def test_a_signal_beside_a_message_passes_it_on(handled, slow_switching, method, other_waits):
    """The main thread is told of the message, and finds the signal when it has the GIL."""

    class Enough(Exception):
        pass

    def handler():
        raise Enough

    peer = make_channel()
    main = threading.main_thread().ident
    second = []

    def other():
        wait_for_channel(peer, receivers=1)
        if other_waits:
            second.append(Background(peer.channel.receive, 20))
            wait_for_channel(peer, receivers=2)
        # From here on it keeps the GIL.
        peer.send("x")
        signal.pthread_kill(main, signal.SIGUSR1)
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass

    handled(handler)
    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(Enough):
        peer.channel.receive() if method == "receive" else next(peer.channel)
    thread.join()
    assert (second[0].result() if other_waits else peer.channel.try_receive()) == "x"
    assert peer.info()["messages"] == peer.info()["waiting_receivers"] == 0
