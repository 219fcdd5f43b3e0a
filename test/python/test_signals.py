"""A signal ends a wait of the main thread of plain python3, and loses no byte."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from erlang.testing import Writer
from support import wait_for_readers

SCRIPT = """
import os, sys, threading, time
from erlang.testing import Writer

writer = Writer()
writer.write(b"kept")
buf = writer.buffer
if {drained}:
    buf.read(4)

def report():
    while writer.info()["waiting_readers"] == 0:
        time.sleep(0.001)
    time.sleep(0.05)
    os.write(1, b"blocked\\n")

threading.Thread(target=report, daemon=True).start()
try:
    {call}
except KeyboardInterrupt:
    buf.seek(0)
    print("interrupted", buf.read_nonblock().decode(), time.process_time() < 2)
"""


@pytest.mark.parametrize(
    "call, drained",
    [
        ("buf.read()", False),
        ("buf.read(1)", True),
        ("buf.readline()", False),
        ("buf.readlines()", False),
        ("buf.readexactly(100)", False),
        ("buf.readuntil(b'x')", False),
        ("buf.readinto(bytearray(1))", True),
        ("next(buf.views())", True),
        ("buf.peek()", True),
        ("list(buf)", False),
    ],
)
def test_interrupt_key(call, drained):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT.format(call=call, drained=drained))],
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
    assert out == b"interrupted kept True\n"


@pytest.fixture
def on_signal():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.monotonic()))
    yield seen
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_returns_lets_the_wait_go_on(on_signal):
    writer = Writer()

    def other():
        for n in range(1, 4):
            wait_for_readers(writer)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            while len(on_signal) < n:
                time.sleep(0.001)
        wait_for_readers(writer)
        writer.write(b"done")
        writer.close()

    thread = threading.Thread(target=other)
    thread.start()
    assert writer.buffer.read() == b"done"
    thread.join()
    assert len(on_signal) == 3


def test_a_handler_that_raises_ends_it_and_consumes_nothing():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    writer = Writer()
    writer.write(b"half of a li")
    before = signal.signal(signal.SIGUSR1, handler)

    def other():
        wait_for_readers(writer)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        with pytest.raises(Enough):
            writer.buffer.readline()
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
    assert writer.info()["waiting_readers"] == 0
    assert writer.buffer.tell() == 0
    writer.write(b"ne\n")
    assert writer.buffer.readline() == b"half of a line\n"


def test_a_handler_may_use_the_buffer(on_signal):
    writer = Writer()
    buf = writer.buffer

    def handler(*_):
        writer.write(b"from the handler\n")

    signal.signal(signal.SIGUSR1, handler)

    def other():
        wait_for_readers(writer)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    thread = threading.Thread(target=other)
    thread.start()
    assert buf.readline() == b"from the handler\n"
    thread.join()
