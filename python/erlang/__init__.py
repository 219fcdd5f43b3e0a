"""Python inside an Erlang node: the types that Erlang values arrive as.

PyBuffer is a stream of bytes that Erlang writes while Python reads it as a file.
Channel carries messages both ways.  Pid, Ref and Atom stand for the Erlang terms of that
name; send() sends a message to an Erlang process, call() calls an Erlang function.
erlang.aio reads buffers in asyncio, erlang.channel answers messages, erlang.wsgi and
erlang.asgi run web applications, erlang.reactor serves descriptors, erlang.testing makes
buffers and channels without Erlang, for unit tests.
"""

from _erlang import (  # noqa: F401: __version__, which import * is not to take
    Atom,
    BufferAborted,
    Cancelled,
    Channel,
    ChannelClosed,
    ErlangError,
    IncompleteReadError,
    LimitOverrunError,
    NotConvertibleError,
    Pid,
    PyBuffer,
    Ref,
    __version__,
    call,
    send,
)

__all__ = [
    "Atom",
    "BufferAborted",
    "Cancelled",
    "Channel",
    "ChannelClosed",
    "ErlangError",
    "IncompleteReadError",
    "LimitOverrunError",
    "NotConvertibleError",
    "Pid",
    "PyBuffer",
    "Ref",
    "call",
    "send",
]

# Imported when they are first used: asyncio takes longer to load than all of this.
_SUBMODULES = ("aio", "asgi", "channel", "reactor", "wsgi")


def __getattr__(name):
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module("erlang." + name)
    raise AttributeError(f"module 'erlang' has no attribute {name!r}")
