"""Readers of streams that fail."""

import gc

from erlang import BufferAborted


def _views(buf):
    return [bytes(view) for view in buf.views()]


WAYS = {
    "read": lambda buf: buf.read(),
    "readall": lambda buf: buf.readall(),
    "readlines": lambda buf: buf.readlines(),
    "readexactly": lambda buf: buf.readexactly(1_000_000),
    "readuntil": lambda buf: buf.readuntil(b"\0never\0"),
    "readview_exactly": lambda buf: bytes(buf.readview_exactly(1_000_000)),
    "read_some": lambda buf: buf.read(10),
    "read1": lambda buf: buf.read1(10),
    "readinto": lambda buf: buf.readinto(bytearray(10)),
    "peek": lambda buf: buf.peek(10),
    "readline": lambda buf: buf.readline(),
    "next": lambda buf: next(buf),
    "readview": lambda buf: bytes(buf.readview(10)),
    "views": _views,
    "read_nonblock": lambda buf: buf.read_nonblock(),
    "at_eof": lambda buf: buf.at_eof(),
}


def attempt(buf, way):
    """("raised", reason, is an OSError) or ("returned", value)."""
    try:
        return "returned", WAYS[way](buf)
    except BufferAborted as error:
        return "raised", error.reason, isinstance(error, OSError)


def reason(buf):
    """What the reason became: its type's name, its repr, the exception's text."""
    try:
        buf.read()
    except BufferAborted as error:
        return type(error.reason).__name__, repr(error.reason), str(error)


def reason_back(buf):
    try:
        buf.read()
    except BufferAborted as error:
        return error.reason


def raise_through(buf):
    return buf.read()


def position(buf):
    return buf.tell()


def is_aborted(buf):
    try:
        buf.read()
    except BufferAborted:
        return True


kept = {}


def keep(name, buf):
    kept[name] = buf


def kept_attempt(name, way):
    return attempt(kept[name], way)


def give_back(name):
    return kept[name]


def let_go(name):
    del kept[name]
    gc.collect()


def pending(gate, buf):
    gate.read(1)
    return len(buf)
