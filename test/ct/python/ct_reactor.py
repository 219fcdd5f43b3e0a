"""Protocols for reactor_SUITE and reactor_fault_SUITE.  They tell what happens to them to
the process that is registered as reactor_test."""

import gc
import io
import operator
import os
import random
import socket
import threading
import time

import erlang
from erlang import Atom, reactor


def tell(word, value=None):
    erlang.send("reactor_test", (Atom(word), value))


def name_of(exc):
    return "none" if exc is None else type(exc).__name__


class Told(reactor.Protocol):
    """Tells of all that happens; answers what its client_info says, by callback."""

    def answer(self, callback, default):
        return self.client_info.get(callback, default)

    def connection_made(self, fd, client_info):
        assert fd == self.fd and client_info is self.client_info
        assert reactor.get_protocol(fd) is self and not self.closed
        tell("made", fd)
        self.write_buffer += self.answer("greeting", "").encode()
        return self.answer("made", None)

    def data_received(self, data):
        tell("data", bytes(data))
        if self.answer("echo", False):
            self.write_buffer += data
        return self.answer("data", "continue")

    def write_ready(self):
        assert not self.write_buffer
        tell("ready")
        return self.answer("ready", "read_pending")

    def eof_received(self):
        tell("eof")
        self.write_buffer += self.answer("farewell", "").encode()
        return self.answer("eof", None)

    def connection_lost(self, exc=None):
        assert self.closed and reactor.get_protocol(self.fd) is None
        tell("lost", name_of(exc))


class Echo(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer += data
        return "continue"


class PoliteEcho(reactor.Protocol):
    """Reads no more before the last is written."""

    def data_received(self, data):
        self.write_buffer += data
        return "write_pending"


class Freed(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer += data
        return "close"

    def __del__(self):
        tell("freed")


class Other(Told):
    def connection_made(self, fd, client_info):
        tell("other")


def raising(callback):
    """The class of a protocol whose callback raises."""

    def fail(self, *args):
        if callback == "connection_lost":
            tell("lost", name_of(args[0]))
        raise SystemExit("of " + callback) if self.client_info.get("exit") else OSError("of " + callback)

    return type("Raises", (Told,), {callback: fail})


class Nameless(type):
    @property
    def __name__(cls):
        raise TypeError("no name")


class Odd(Told, metaclass=Nameless):
    """Neither hashed nor true nor shown, and its exceptions are no better."""

    __hash__ = None

    def __eq__(self, other):
        raise TypeError("never equal")

    def __bool__(self):
        raise TypeError("neither true nor false")

    def data_received(self, data):
        tell("data", bytes(data))
        if data == b"raise":
            raise Unprintable
        if data == b"another's":
            raise erlang.Cancelled
        if data == b"long":
            raise OSError("long" * 1_000_000)
        self.fd = 7
        try:
            self.closed = True
        except AttributeError:
            return "close"


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class FailsToBegin:
    def __init__(self):
        raise ZeroDivisionError("of the factory")


def not_a_protocol():
    return 7


ONE = Echo()


def always_the_same():
    return ONE


class WithoutInit(reactor.Protocol):
    """Its __init__ calls no other."""

    def __init__(self):
        self.mine = 1

    def data_received(self, data):
        self.write_buffer += f"{self.mine} {self.fd == self.client_info['fd']} {self.closed}".encode()
        return "close"


# ---- Data


def check_data(data):
    """What of bytes-like does not hold of this b'hello hello'."""
    same = b"hello hello"
    checks = {
        "len": len(data) == 11,
        "index": data[0] == 104 and data[-1] == 111,
        "slice": data[1:4] == b"ell" and data[::-2] == same[::-2] and type(data[:2]) is bytes,
        "startswith": data.startswith(b"hell") and not data.startswith(b"lo"),
        "startswith of several": data.startswith((b"x", b"hel")) and data.startswith(b"hello", 6),
        "endswith": data.endswith(b"llo") and not data.endswith(b"l") and data.endswith(b"l", 0, 3),
        "find": data.find(b"lo") == 3 and data.find(b"lo", 5) == 9 and data.find(b"z") == -1,
        "find like bytes": all(
            data.find(sub, *rest) == same.find(sub, *rest)
            for sub in (b"", b"h", b"hello hello", b"hello hello!", 111, bytearray(b"o h"))
            for rest in ((), (3,), (-3,), (3, 5), (0, -1), (11,), (12,), (5, 2), (None, None), (-99, 99))
        ),
        "count": all(data.count(sub) == same.count(sub) for sub in (b"l", b"ll", b"", b"z", 104)),
        "count within": data.count(b"l", 4) == 2 and data.count(b"", 12) == 0,
        "decode": data.decode() == "hello hello" and data.decode("ascii", errors="strict") == "hello hello",
        "in": b"lo h" in data and 104 in data and b"z" not in data,
        "==": data == same and same == data and data == bytearray(same) and data == memoryview(same),
        "!=": data != b"hello" and data != "hello hello" and not data != same,
        "hash": hash(data) == hash(same) and {same: 1}[data] == 1,
        "bytes": bytes(data) == same and bytearray(data) == same,
        "memoryview": memoryview(data).readonly and memoryview(data)[2:4] == b"ll",
        "join": b"".join([data, data]) == same * 2 and data + b"!" == same + b"!" and b"!" + data == b"!" + same,
        "iterate": list(data) == list(same) and bool(data),
        "repr": repr(data) == "<erlang.reactor.Data b'hello hello'>",
    }
    wrong = [name for name, holds in checks.items() if not holds]
    for error, attempt in (
        (IndexError, lambda: data[11]),
        (IndexError, lambda: data[-12]),
        (TypeError, lambda: data["a"]),
        (TypeError, lambda: data.find("a")),
        (TypeError, lambda: data.find()),
        (TypeError, lambda: data.find(b"a", "b")),
        (ValueError, lambda: 256 in data),
        (TypeError, lambda: data.startswith(1)),
        (TypeError, lambda: operator.setitem(data, 0, 1)),
        (TypeError, lambda: io.BytesIO(b"x").readinto(data)),
        (TypeError, lambda: type(data)()),
        (TypeError, lambda: __import__("pickle").dumps(data)),
        (LookupError, lambda: data.decode("no such")),
    ):
        try:
            attempt()
            wrong.append(f"no {error.__name__}")
        except error:
            pass
        except Exception as another:
            wrong.append(f"{another!r} for {error.__name__}")
    return wrong


class Index:
    """As hostile as an index can be: it runs code in the midst of a search."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        gc.collect(0)
        return self.value


def outcome(call, *args):
    try:
        return call(*args)
    except Exception as error:
        return type(error).__name__


def differs_from_bytes(data, seed, count):
    """The first of so many random calls whose outcome is not that of bytes."""
    chance, same = random.Random(seed), bytes(data)
    bounds = [None, 0, 1, -1, 3, -3, 10, 11, 12, -11, -12, 10**30, -(10**30), Index(2), Index(-2)]
    needles = [b"", b"h", b"lo", b"hello", b"o h", same, same + b"x", 104, 255, 256, -1, "text", None,
               bytearray(b"l"), memoryview(b"ll"), Index(111), (b"h", b"lo"), (b"x", "x"), ()]
    for _ in range(count):
        name = chance.choice(["find", "count", "startswith", "endswith", "__contains__", "__getitem__", "decode"])
        if name == "__getitem__":
            bound = [chance.choice(bounds) for _ in range(3)]
            args = [slice(*bound) if chance.random() < 0.7 else bound[0]]
        elif name == "decode":
            args = chance.choice([(), ("ascii",), ("utf-16", "ignore"), ("none",), (1,)])
        else:
            rest = [] if name == "__contains__" else chance.choices(bounds, k=chance.randrange(3))
            args = [chance.choice(needles), *rest]
        got, wanted = outcome(getattr(data, name), *args), outcome(getattr(same, name), *args)
        if got != wanted or type(got) is not type(wanted):
            return f"{name}{args!r}: {got!r}, not {wanted!r}"
    return None


class Random(reactor.Protocol):
    def data_received(self, data):
        tell("wrong", differs_from_bytes(data, self.client_info["seed"], 20000))
        return "close"


class Checked(reactor.Protocol):
    def data_received(self, data):
        tell("wrong", check_data(data))
        return "close"


class Keeps(reactor.Protocol):
    """Keeps all that it gets, in several ways, and says whether it is still the same."""

    def connection_made(self, fd, client_info):
        self.kept = []

    def data_received(self, data):
        copy = bytes(data)
        self.kept.append((data, copy))
        self.kept.append((memoryview(data), copy))
        if not copy.endswith(b"?"):
            return "continue"
        same = all(bytes(kept) == was and kept == was for kept, was in self.kept)
        tell("kept", (same, sum(len(was) for _, was in self.kept)))
        return "close"


class Refuses(Told):
    """Answers at once, and reads on until the other side has sent all."""

    size = 0

    def data_received(self, data):
        if self.size == 0:
            self.write_buffer += b"refused" * 100_000
            self.write_eof()
        self.size += len(data)
        return "continue"

    def eof_received(self):
        tell("data", self.size)


# ---- Other threads, and time


class Later(reactor.Protocol):
    """Answers from another thread."""

    def data_received(self, data):
        threading.Thread(target=self.work, args=(bytes(data),)).start()
        return "async_pending"

    def work(self, data):
        self.write_buffer += data.upper()
        assert reactor.signal_write_ready(self.fd) is True

    def write_ready(self):
        tell("ready")
        return "read_pending"


class Chunks(reactor.Protocol):
    """A response that is made as it is taken."""

    def data_received(self, data):
        self.left = int(data)
        return "write_pending"

    def write_ready(self):
        if self.left == 0:
            return "close"
        self.left -= 1
        self.write_buffer += b"c" * 10_000
        return "write_pending"


class Slow(Told):
    def data_received(self, data):
        tell("asleep")
        time.sleep(float(data))
        return super().data_received(data)


class Busy(Told):
    """Python code, in which Cancelled can be raised."""

    def data_received(self, data):
        tell("asleep")
        while True:
            pass


class BusyMade(reactor.Protocol):
    """Takes long to begin, as its client_info says."""

    def connection_made(self, fd, client_info):
        tell("asleep")
        time.sleep(client_info.get("sleep", 0))
        while client_info.get("busy"):
            pass


def connections():
    """Objects of descriptors, of all reactors."""
    gc.collect()
    return sum(type(thing).__name__ == "Connection" for thing in gc.get_objects())


class Counted(Echo):
    made = lost = 0

    def connection_made(self, fd, client_info):
        Counted.made += 1

    def connection_lost(self, exc=None):
        Counted.lost += 1


def counts():
    gc.collect()
    alive = sum(type(thing) is Counted for thing in gc.get_objects())
    return (Counted.made, Counted.lost, alive)


def stranger(fd):
    """From a thread that is no reactor's."""
    protocol = reactor.get_protocol(fd)
    try:
        protocol._erlpy_connection.send(bytearray(b"x"))
    except RuntimeError as error:
        return str(error)
    return "sent"


# ---- Datagrams


class Datagrams(reactor.Protocol):
    def datagram_received(self, data, addr):
        tell("from", addr)
        if data == b"other":
            self.sendto(b"to " + data, addr)
            return "continue"
        return super().datagram_received(data, addr)

    def data_received(self, data):
        self.write_buffer += b"echo " + bytes(data)
        return "continue"

    def error_received(self, exc):
        tell("error", name_of(exc))


def bound(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as served:
        served.bind(path)
        return os.dup(served.fileno())


def ask_by_datagram(path, own, data):
    """The answer; None when nothing can come, since there is no name of one's own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        if own is not None:
            client.bind(own)
            client.settimeout(10)
        client.sendto(data, path)
        return client.recv(100) if own is not None else None


def bad_sendto(fd):
    wrong = []
    protocol = reactor.get_protocol(fd)
    hosts = [("localhost", 1), ("127.0.0.1",), 7, ("127.0.0.1", 70000)]
    for addr in [*hosts, "x" * 200, "a\0b", b"/tmp/a\0", b"\0" + bytes(108)]:
        try:
            reactor.Protocol.sendto(protocol, b"x", addr)
        except (ValueError, TypeError, OverflowError, OSError, RuntimeError) as error:
            wrong.append(type(error).__name__)
    return wrong


class BadSendto(reactor.Protocol):
    def data_received(self, data):
        tell("refused", bad_sendto(self.fd))
        return "continue"


def module_says():
    plain = [name for name in reactor.__all__ if not hasattr(reactor, name)]
    refused = []
    for attempt in (lambda: reactor.set_protocol_factory(7), lambda: reactor.set_protocol_factory(None)):
        try:
            attempt()
        except TypeError as error:
            refused.append("factory" in str(error))
    return (plain, refused, reactor.signal_write_ready(99999), reactor.get_protocol(99999))
