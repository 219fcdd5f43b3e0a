"""Calls that are under way while the Erlang modules are exchanged."""
import threading

import erlang
import erlang.testing

gates = {}


def gate(name):
    return gates.setdefault(name, threading.Event())


def pass_gate(pid, name, value):
    """Says that it is there, and answers the value once the gate has been opened."""
    opened = gate(name)
    erlang.send(pid, (erlang.Atom("reading"), name))
    opened.wait(20)
    return value


def open_gate(name):
    gate(name).set()


def read_in_turns(pid, tag, buf, size):
    """Pieces of `size`, as they come, each of them told."""
    erlang.send(pid, (erlang.Atom("reading"), tag))
    pieces = []
    while piece := buf.read(size):
        pieces.append(piece)
        erlang.send(pid, (erlang.Atom("piece"), tag, len(piece)))
    return b"".join(pieces)


def send_buffers(pid, fifo, count):
    """Buffers that Erlang has not seen, once something is written to the fifo."""
    erlang.send(pid, (erlang.Atom("reading"), "fifo"))
    with open(fifo, "rb") as go:
        go.read()
    for _ in range(count):
        erlang.send(pid, erlang.testing.make_buffer(b"made meanwhile"))
