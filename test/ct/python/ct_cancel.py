"""Functions for the tests of cancelling and of the pool."""
import collections
import ctypes
import threading
import time

import erlang

seen = collections.Counter()  # by job: how often Cancelled arrived
swallowed = []


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word), value))


def told(pid, function, *args):
    """Runs the function; says when it begins, and how it ended."""
    tell(pid, "running")
    try:
        value = function(*args)
        tell(pid, "ended", "returned")
        return value
    except Exception as error:
        tell(pid, "ended", "Exception " + type(error).__name__)
        raise
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


def spin():
    while True:
        pass


def run_spin(pid):
    return told(pid, spin)


def run_sleep(pid, seconds):
    return told(pid, time.sleep, seconds)


def run_read(pid, buf, method, *args):
    if method == "iterate":
        return told(pid, lambda: list(buf))
    if method == "views":
        return told(pid, lambda: [bytes(view) for view in buf.views()])
    if method == "readinto":
        return told(pid, buf.readinto, bytearray(*args))
    return told(pid, getattr(buf, method), *args)


def run_call(pid, name, *args):
    return told(pid, lambda: erlang.call(name, *args))


def run_hold_gil(pid, microseconds):
    """A C function that does not return for so long and keeps the GIL."""
    usleep = ctypes.PyDLL(None).usleep
    tell(pid, "running")
    usleep(microseconds)


def hold_gil_for_ever(pid):
    pause = ctypes.PyDLL(None).pause
    tell(pid, "running")
    while True:
        pause()


def never_return(pid):
    pause = ctypes.CDLL(None).pause
    tell(pid, "running")
    while True:
        pause()


def spin_with_finally(pid, buf):
    """Its finally waits, sleeps and computes, undisturbed."""
    tell(pid, "running")
    try:
        spin()
    finally:
        data = buf.readline()
        time.sleep(0.05)
        total = sum(range(100000))
        tell(pid, "ended", [data, total])


def read_with_finally(pid, first, second):
    tell(pid, "running")
    try:
        first.read()
    finally:
        tell(pid, "ended", second.readline())


def swallow_while_reading(pid, buf):
    tell(pid, "running")
    try:
        buf.read()
    except BaseException as error:
        tell(pid, "swallowed", type(error).__name__)
    line = buf.readline()
    tell(pid, "ended", line)
    return line


def swallow_while_running(pid, buf):
    tell(pid, "running")
    try:
        spin()
    except BaseException as error:
        tell(pid, "swallowed", type(error).__name__)
    line = buf.readline()
    tell(pid, "ended", line)
    return line


def swallow_and_spin(pid):
    """Goes on after the first; the second ends it."""
    tell(pid, "running")
    try:
        spin()
    except BaseException as error:
        tell(pid, "swallowed", type(error).__name__)
    told(pid, spin)


def swallow_and_call(pid, name):
    try:
        tell(pid, "running")
        spin()
    except erlang.Cancelled:
        time.sleep(1.5)
    erlang.call(name)
    tell(pid, "called")
    time.sleep(0.5)


def ignore_exceptions(pid):
    tell(pid, "running")
    while True:
        try:
            spin()
        except Exception:
            pass
        except BaseException as error:
            tell(pid, "ended", type(error).__name__)
            raise


def job(ident, steps, pause):
    """Notes whether Cancelled arrived while it ran."""
    try:
        for _ in range(steps):
            pass
        if pause:
            time.sleep(pause)
        return ident
    except erlang.Cancelled:
        seen[ident] += 1
        raise


def job_reading(ident, buf):
    try:
        return [ident, buf.read()]
    except erlang.Cancelled:
        seen[ident] += 1
        raise


def read_then_spin(buf):
    buf.readline()
    spin()


def job_swallowing(ident, buf):
    """Takes what comes, twice; more than once would be one too many."""
    for _ in range(2):
        try:
            buf.read()
        except erlang.Cancelled:
            seen[ident] += 1
    return ident


def take_seen():
    taken = dict(seen)
    seen.clear()
    return taken


def recurse_and_spin(pid):
    def deeper():
        deeper()

    try:
        deeper()
    except RecursionError:
        tell(pid, "running")
    spin()


def burn(seconds):
    """Uses the processor for so long, by this thread's own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return threading.get_ident()


def sleep_marked(pid, seconds, value):
    tell(pid, "running", value)
    time.sleep(seconds)
    return value
