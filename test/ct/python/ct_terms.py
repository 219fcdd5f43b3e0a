"""Values for the tests of conversion."""
import array
import collections
import ctypes
import enum
import mmap
import types

import erlang


def echo(value):
    return value


def describe(value):
    """The type and repr, which convert whatever the value is."""
    return [type(value).__name__, repr(value)]


def is_same(a, b):
    return a == b


def nested_list(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def nested(kind, depth):
    value = None
    for _ in range(depth):
        value = {"list": lambda v: [v], "tuple": lambda v: (v,), "dict": lambda v: {1: v}}[kind](value)
    return value


def depth_of(value):
    depth = 0
    while isinstance(value, (list, tuple, dict)):
        depth += 1
        if not value:
            break
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return depth


def recursive_list():
    value = []
    value.append(value)
    return value


def recursive_dict():
    value = {}
    value["self"] = value
    return value


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Clearing:
    """Empties its list while that is converted."""

    def __init__(self, container):
        self.container = container

    def __index__(self):
        self.container.clear()
        return 7


def clears_its_list():
    values = []
    values.extend([Clearing(values), object(), object()])
    return values


def shrinks_its_list():
    values = [0] * 1000
    values[500] = Clearing(values)
    return values


def clears_its_dict():
    values = {}
    values.update({i: Clearing(values) for i in range(100)})
    return values


class Growing:
    def __init__(self, container):
        self.container = container

    def __index__(self):
        self.container[len(self.container)] = 1
        return 1


def grows_its_dict():
    values = {}
    values.update({i: Growing(values) for i in range(5)})
    return values


def index_raises(kind):
    return [1, Index({"zero": ZeroDivisionError("mine"), "type": TypeError("mine"),
                      "exit": SystemExit(3)}[kind])]


class NotAnIndex:
    def __index__(self):
        return "seven"


class HostileBuffer(bytearray):
    pass


class Subclass:
    class Int(int):
        pass

    class Float(float):
        pass

    class Str(str):
        pass

    class Bytes(bytes):
        pass

    class List(list):
        pass

    class Tuple(tuple):
        pass

    class Dict(dict):
        pass


class Colour(enum.IntEnum):
    RED = 3


class Plain(enum.Enum):
    RED = 3


def subclasses():
    s = Subclass
    return [s.Int(2), s.Float(2.5), s.Str("s"), s.Bytes(b"\xff"), s.List([1]),
            s.Tuple((1,)), s.Dict({1: 2}), Colour.RED]


Point = collections.namedtuple("Point", "x y")


def others():
    """Values that are bytes in another shape: all become one binary."""
    data = b"\x00\x01\xfe\xff"
    mapped = mmap.mmap(-1, 4)
    mapped[:] = data
    return [bytearray(data), memoryview(data), memoryview(b"xx" + data)[2:],
            array.array("B", data), array.array("b", [0, 1, -2, -1]),
            (ctypes.c_char * 4)(*data), mapped,
            memoryview(data).cast("c")]


def refused():
    data = bytes(16)
    return [object(), len, types, int, array.array("i", [1]), memoryview(data).cast("I"),
            memoryview(data).cast("B", [4, 4]), memoryview(data)[::2], 1j, range(3),
            iter([]), (x for x in []), Ellipsis, NotImplemented, ValueError("x"),
            Plain.RED, collections.deque([1]), types.SimpleNamespace(),
            array.array("d", [1.0])]


def refused_one(i):
    return refused()[i]


def refused_count():
    return len(refused())


def send(to, term):
    erlang.send(to, term)


def send_named(name, term):
    erlang.send(name, term)


def send_atom(name, term):
    erlang.send(erlang.Atom(name), term)


def atom(name, create=False):
    return erlang.Atom(name, create=create)


def compare_handles(a, b):
    return [a == b, hash(a) == hash(b), len({a, b}), a != b, a is b]


def key_types(value):
    return sorted(type(key).__name__ for key in value)


class Contrary(int):
    """An int whose operators lie."""

    def __abs__(self):
        return Lying()

    def __lt__(self, other):
        return True

    def bit_length(self):
        return 10**6

    def to_bytes(self, *args):
        return b""


class Lying(int):
    def to_bytes(self, *args):
        return 5


def contrary():
    return [Contrary(1 << 70), Contrary(-(1 << 70)), Contrary(3)]


class Reentrant:
    """Converts a deep value while it is being converted."""

    def __init__(self, to):
        self.to = to

    def __index__(self):
        value = self
        for _ in range(900):
            value = [value]
        erlang.send(self.to, value)
        return 1


def reentrant(to):
    return Reentrant(to)
