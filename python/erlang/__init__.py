"""Python inside an Erlang node: the types that Erlang values arrive as.

PyBuffer is a stream of bytes that Erlang writes while Python reads it as a file.
Pid, Ref and Atom stand for the Erlang terms of that name; send() sends a message to
an Erlang process, call() calls an Erlang function.  erlang.testing makes buffers without Erlang, for unit tests.
"""

from _erlang import (
    Atom,
    BufferAborted,
    Cancelled,
    ErlangError,
    IncompleteReadError,
    LimitOverrunError,
    NotConvertibleError,
    Pid,
    PyBuffer,
    Ref,
    call,
    send,
)

__all__ = [
    "Atom",
    "BufferAborted",
    "Cancelled",
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
