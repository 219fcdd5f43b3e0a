"""Functions for the tests of PyBuffer.settimeout in the node."""
import time

import erlang
from erlang.testing import Writer


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word, create=True), value))


def invoke(buf, method, args):
    if method == "views":
        return next(buf.views())
    if method == "next":
        return next(buf)
    if method == "readinto":
        return buf.readinto(bytearray(*args))
    return getattr(buf, method)(*args)


def timed_out(buf, seconds, method, *args):
    """How many milliseconds it took, and how far the position has moved."""
    buf.settimeout(seconds)
    position, begin = buf.tell(), time.monotonic()
    try:
        invoke(buf, method, args)
    except TimeoutError:
        took = time.monotonic() - begin
        return int(took * 1000), buf.tell() - position, buf.gettimeout()
    return "no timeout"


def two_of_one_stream(one, other):
    assert one == other
    one.settimeout(0)
    try:
        one.read(1)
    except TimeoutError:
        return other.gettimeout(), other.read(5)


def patient_read(pid, buf, seconds):
    """Says how the read ended, whatever that was."""
    buf.settimeout(seconds)
    tell(pid, "running")
    try:
        return buf.read()
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


def write_too_much(pid):
    writer = Writer(high_watermark=1)
    buf = writer.buffer
    writer.write(b"full")
    tell(pid, "running")
    try:
        writer.write(b"more")
    except BaseException as error:
        info = writer.info()
        tell(pid, "ended", (type(error).__name__, info["written"], info["waiting_writers"]))
        raise
    finally:
        del buf
