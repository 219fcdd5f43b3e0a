"""What the tests share: buffers of every layout, live writers, waiting for waiters."""

import threading
import time
from contextlib import contextmanager

from erlang.testing import Writer

# How the same bytes may lie in a stream: the sizes of the writes, repeated.  Writes of
# 2 KiB and more become segments of their own, smaller ones share slabs.
LAYOUTS = {
    "one write": [1 << 30],
    "small writes": [7],
    "adopted": [2048],
    "mixed": [3, 5000, 1, 2100, 600],
}


def write_layout(writer, data, layout):
    at, turn = 0, 0
    while at < len(data):
        size = LAYOUTS[layout][turn % len(LAYOUTS[layout])]
        writer.write(data[at : at + size])
        at, turn = at + size, turn + 1


def laid_out(data, layout, *, eof=True):
    writer = Writer()
    write_layout(writer, data, layout)
    if eof:
        writer.close()
    return writer.buffer


def wait_for_readers(writer, count=1):
    """Until that many readers really sleep on the stream."""
    end = time.monotonic() + 20
    while writer.info()["waiting_readers"] != count:
        assert time.monotonic() < end, writer.info()
        time.sleep(0.0005)


def wait_for_channel(peer, *, way=None, **waiting):
    """Until that many receivers or senders really wait in that way of a channel."""
    end = time.monotonic() + 20
    while True:
        info = peer.info()[way] if way else peer.info()
        if all(info["waiting_" + who] == count for who, count in waiting.items()):
            return
        assert time.monotonic() < end, info
        time.sleep(0.0005)


class Background:
    """A call on another thread; its result or its exception is the caller's."""

    def __init__(self, function, *args):
        self.function, self.args = function, args
        self.value = self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as error:
            self.error = error

    def done(self):
        return not self.thread.is_alive()

    def result(self):
        self.thread.join(30)
        assert not self.thread.is_alive(), "still running"
        if self.error is not None:
            raise self.error
        return self.value


def trickle(writer, data, size=100, pause_every=20):
    """Writes in small pieces, now and then letting the reader run dry."""
    for turn, at in enumerate(range(0, len(data), size)):
        writer.write(data[at : at + size])
        if turn % pause_every == 0:
            time.sleep(0.0005)
    writer.close()


@contextmanager
def trickling(data, size=100):
    writer = Writer()
    background = Background(trickle, writer, data, size)
    yield writer.buffer
    background.result()
