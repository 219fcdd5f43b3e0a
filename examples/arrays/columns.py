"""NumPy over the bytes of a buffer."""

import re
from typing import Any

import erlang
import numpy


def resident() -> int:
    """Bytes of memory that the process has, without files that it maps."""
    with open("/proc/self/status", encoding="ascii") as status:
        found = re.search(r"^RssAnon:\s+(\d+) kB", status.read(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def doubles(buf: erlang.PyBuffer, count: int) -> "numpy.ndarray[Any, numpy.dtype[numpy.float64]]":
    """The next `count` numbers, which Erlang wrote as <<X:64/float-little>>.

    The array is a view of the stream: read-only, and it keeps the memory alive.
    """
    return numpy.frombuffer(buf.readview_exactly(8 * count), dtype="<f8")


def compare(one: erlang.PyBuffer, two: erlang.PyBuffer, count: int) -> dict[str, Any]:
    """The same binary was written to both: are these the same bytes of memory?"""
    before = resident()
    first, second = doubles(one, count), doubles(two, count)
    grown = resident() - before
    return {
        "same_address": first.__array_interface__["data"] == second.__array_interface__["data"],
        "shared": numpy.shares_memory(first, second),
        "writeable": first.flags.writeable,
        "base": type(first.base).__name__,
        "grown": grown,
        "sum": float(first.sum()),
    }


def means(buf: erlang.PyBuffer, window: int) -> list[float]:
    """The mean of each window of numbers, while they arrive.  The last may be shorter."""
    found = []
    while True:
        try:
            numbers = doubles(buf, window)
        except erlang.IncompleteReadError as error:
            numbers = numpy.frombuffer(error.partial, dtype="<f8")
            if len(numbers):
                found.append(float(numbers.mean()))
            return found
        found.append(float(numbers.mean()))
