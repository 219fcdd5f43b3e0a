"""Objects that C cannot make easily, for terms.c: each is made of the argument."""
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


class Clearing(list):
    """Loses its items while they are being read."""

    class Item:
        def __init__(self, container):
            self.container = container

        def __index__(self):
            self.container.clear()
            return 1

    def __init__(self, value):
        super().__init__([value, Clearing.Item(self), value, value])


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


def as_bytes(value):
    return repr(value).encode("utf-8", "replace")


HELPERS = [
    Index,
    Raising,
    Clearing,
    lambda value: Int(value) << 40,
    lambda value: Int(value),
    lambda value: Str(value),
    lambda value: Dict({value: value}),
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
    lambda value: collections.namedtuple("Point", "x y")(value, value),
    lambda value: erlang.Atom("ok"),
    lambda value: make_buffer(as_bytes(value)),
    lambda value: object(),
    lambda value: type(value),
    lambda value: iter([value]),
    lambda value: 1 << (len(as_bytes(value)) * 1000),
    lambda value: chr(0xD800) + str(value),
]


def run(library, arguments):
    """Ends the process."""
    import ctypes

    fuzz = ctypes.PyDLL(library).erlpy_fuzz
    fuzz.argtypes = [ctypes.c_char_p, ctypes.py_object]
    return fuzz("\n".join(arguments).encode(), HELPERS)
