"""Objects that C cannot make easily, for terms.c: each is made of the argument.

None has its argument in it twice, or all of its text: nested, that would grow to any
size.
"""
import array
import collections
import enum

import erlang
from erlang.testing import make_buffer


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Raising:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        raise (ValueError, TypeError, KeyError, RecursionError)[len(repr(self.value)) % 4]


class Clears:
    """Empties its container while it is being converted, and then answers or not."""

    def __init__(self, container, answer):
        self.container = container
        self.answer = answer

    def __index__(self):
        self.container.clear()
        return self.answer


def clearing_list(value):
    values = []
    values += [value, Clears(values, value), 1, 2]
    return values


def clearing_dict(value):
    values = {}
    values.update({1: Clears(values, value), 2: value})
    return values


class Int(int):
    def __abs__(self):
        return "abs"

    def bit_length(self):
        return -1


class Str(str):
    pass


class Dict(dict):
    def __getitem__(self, key):
        raise KeyError(key)


class Number(enum.IntEnum):
    ONE = 1


def self_containing(value):
    values = [value]
    values.append(values)
    return values


def deep(value):
    for _ in range(990):
        value = [value]
    return value


def as_text(value):
    return repr(value)[:500]


def as_bytes(value):
    return as_text(value).encode("utf-8", "replace")


HELPERS = [
    Index,
    Raising,
    clearing_list,
    clearing_dict,
    lambda value: Int(value) << 40,
    lambda value: Int(value),
    lambda value: Str(as_text(value)),
    lambda value: Dict({1: value}),
    lambda value: Number.ONE,
    self_containing,
    deep,
    lambda value: bytearray(as_bytes(value)),
    lambda value: memoryview(as_bytes(value)),
    lambda value: memoryview(as_bytes(value) * 4)[::2],
    lambda value: memoryview(as_bytes(value) * 16)[:16].cast("B", [4, 4]),
    lambda value: array.array("i", [len(as_bytes(value))]),
    lambda value: {value},
    lambda value: frozenset([value]),
    lambda value: collections.OrderedDict(a=value),
    lambda value: collections.namedtuple("Point", "x y")(value, 1),
    lambda value: erlang.Atom("ok"),
    lambda value: make_buffer(as_bytes(value)),
    lambda value: object(),
    lambda value: type(value),
    lambda value: iter([value]),
    lambda value: 1 << (len(as_bytes(value)) * 1000),
    lambda value: chr(0xD800) + as_text(value),
]


def run(library, arguments):
    """Ends the process."""
    import ctypes

    fuzz = ctypes.PyDLL(library).erlpy_fuzz
    fuzz.argtypes = [ctypes.c_char_p, ctypes.py_object]
    return fuzz("\n".join(arguments).encode(), HELPERS)
