"""What this interpreter holds."""
import gc
import sys
import threading

import erlang

WATCHED = [None, True, False, 0, "", b"", (), erlang.PyBuffer, erlang.Pid, erlang.Atom,
           erlang.Ref, int, str, list, dict, memoryview]


def references():
    """The counts of objects that every conversion touches; immortal ones stand still."""
    return [sys.getrefcount(value) for value in WATCHED]


def blocks():
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks()


def threads():
    return threading.active_count()


def use(buf):
    line = buf.readline()
    view = memoryview(buf)
    part = bytes(view[:2])
    view.release()
    return [line, part, buf.find(b"x"), buf.read(3), buf]


def everything(value, *rest, **kwargs):
    return [value, list(rest), kwargs, erlang.Atom("ok"), {1: b"x"}, (1.5, None, True), 2**70]


def fail(value):
    raise ValueError(value)
