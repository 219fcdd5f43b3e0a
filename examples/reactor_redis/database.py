"""What the server keeps, and the commands for it.

A Database is of one reactor context: one thread executes all commands, one after the
other, and needs no locks.  What has expired goes when somebody looks at it.
"""

import fnmatch
import heapq
import inspect
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from resp import OK, CommandError, Reply, Status

MOST_NUMBER = (1 << 63) - 1

_number = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class Command(NamedTuple):
    call: Callable[..., Reply]
    least: float
    most: float


Method = TypeVar("Method", bound=Callable[..., Reply])


class Commands(dict[bytes, Command]):
    """Decorates methods: each is the command of its name, of as many arguments."""

    def __call__(self, method: Method) -> Method:
        _, *given = inspect.signature(method).parameters.values()
        plain = [one for one in given if one.kind is not one.VAR_POSITIONAL]
        needed = [one for one in plain if one.default is one.empty]
        most = len(plain) if plain == given else math.inf
        self[method.__name__.strip("_").encode()] = Command(method, len(needed), most)
        return method


class WrongNumber(Exception):
    """Of arguments."""


def integer(text: bytes) -> int:
    if not _number.fullmatch(text):
        raise CommandError("ERR value is not an integer or out of range")
    return in_range(int(text), "ERR value is not an integer or out of range")


def in_range(number: int, otherwise: str) -> int:
    if not ~MOST_NUMBER <= number <= MOST_NUMBER:
        raise CommandError(otherwise)
    return number


def pairs(items: tuple[bytes, ...]) -> Iterable[tuple[bytes, bytes]]:
    if len(items) % 2:
        raise WrongNumber
    return zip(items[::2], items[1::2], strict=True)


def now() -> int:
    """In milliseconds, of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


def from_now(milliseconds: int, command: str, least: int = -MOST_NUMBER) -> int:
    if not least <= milliseconds <= MOST_NUMBER - now():
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return now() + milliseconds


class Scores(dict[bytes, float]):
    """A sorted set: the scores of its members, and a heap that may have old ones too."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, bytes]] = []

    def put(self, member: bytes, score: float) -> None:
        if self.get(member) != score:
            self[member] = score
            heapq.heappush(self.heap, (score, member))
        if len(self.heap) > 2 * len(self) + 16:
            self.heap = sorted((score, member) for member, score in self.items())

    def pop_least(self) -> list[Reply]:
        while self:
            score, member = heapq.heappop(self.heap)
            if self.get(member) == score:
                del self[member]
                return [member, b"%.17g" % score]
        return []


KINDS: dict[type, bytes] = {
    bytes: b"string",
    deque: b"list",
    set: b"set",
    dict: b"hash",
    Scores: b"zset",
}


class Database:
    command = Commands()

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.deadlines: dict[bytes, int] = {}  # of keys that expire, in ms

    # ---- Keys

    def find(self, key: bytes, kind: type | None = None) -> Any:
        """The value of a key, which must be of this kind, or None."""
        if key in self.deadlines and self.deadlines[key] <= now():
            self.remove(key)
        value = self.values.get(key)
        if kind is not None and value is not None and type(value) is not kind:
            raise CommandError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def made(self, key: bytes, kind: type) -> Any:
        value = self.find(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def remove(self, key: bytes) -> None:
        self.deadlines.pop(key, None)
        del self.values[key]

    def take(self, key: bytes, kind: type, take: Callable[[Any], Any]) -> Reply:
        """Something out of a collection, which goes with its last item."""
        value = self.find(key, kind)
        if value is None:
            return None
        taken: Reply = take(value)
        if not value:
            self.remove(key)
        return taken

    @command
    def del_(self, key: bytes, *keys: bytes) -> Reply:
        gone = 0
        for one in (key, *keys):
            if self.find(one) is not None:
                self.remove(one)
                gone += 1
        return gone

    @command
    def exists(self, key: bytes, *keys: bytes) -> Reply:
        return sum(self.find(one) is not None for one in (key, *keys))

    @command
    def expire(self, key: bytes, seconds: bytes) -> Reply:
        deadline = from_now(integer(seconds) * 1000, "expire")
        if self.find(key) is None:
            return 0
        self.deadlines[key] = deadline
        return 1

    @command
    def ttl(self, key: bytes) -> Reply:
        if self.find(key) is None:
            return -2
        return (self.deadlines[key] - now() + 500) // 1000 if key in self.deadlines else -1

    @command
    def type_(self, key: bytes) -> Reply:
        value = self.find(key)
        return Status(b"none" if value is None else KINDS[type(value)])

    @command
    def keys(self, pattern: bytes) -> Reply:
        return [key for key in self.there() if fnmatch.fnmatchcase(key, pattern)]

    @command
    def dbsize(self) -> Reply:
        return len(self.there())

    def there(self) -> list[bytes]:
        return [key for key in list(self.values) if self.find(key) is not None]

    @command
    def flushall(self, mode: bytes = b"SYNC") -> Reply:
        self.values.clear()
        self.deadlines.clear()
        return OK

    # ---- Strings

    @command
    def get(self, key: bytes) -> Reply:
        value: bytes | None = self.find(key, bytes)
        return value

    @command
    def set_(self, key: bytes, value: bytes, *options: bytes) -> Reply:
        only, milliseconds = None, None
        words = iter(options)
        for word in words:
            match word.upper():
                case b"NX" | b"XX" as word if only is None:
                    only = word
                case b"EX" | b"PX" as word if milliseconds is None:
                    if (text := next(words, None)) is None:
                        raise CommandError("ERR syntax error")
                    milliseconds = integer(text) * (1000 if word == b"EX" else 1)
                case _:
                    raise CommandError("ERR syntax error")
        deadline = None if milliseconds is None else from_now(milliseconds, "set", 1)
        if only and (self.find(key) is not None) is (only == b"NX"):
            return None
        self.values[key] = value
        self.deadlines.pop(key, None)
        if deadline is not None:
            self.deadlines[key] = deadline
        return OK

    @command
    def append(self, key: bytes, more: bytes) -> Reply:
        value = self.values[key] = self.made(key, bytes) + more
        return len(value)

    @command
    def strlen(self, key: bytes) -> Reply:
        return len(self.find(key, bytes) or b"")

    @command
    def incrby(self, key: bytes, by: bytes) -> Reply:
        return self.add(key, integer(by))

    @command
    def decrby(self, key: bytes, by: bytes) -> Reply:
        return self.add(key, -integer(by))

    @command
    def incr(self, key: bytes) -> Reply:
        return self.add(key, 1)

    @command
    def decr(self, key: bytes) -> Reply:
        return self.add(key, -1)

    def add(self, key: bytes, by: int) -> int:
        value = self.find(key, bytes)
        number = 0 if value is None else integer(value)
        number = in_range(number + by, "ERR increment or decrement would overflow")
        self.values[key] = b"%d" % number
        return number

    @command
    def mset(self, key: bytes, value: bytes, *more: bytes) -> Reply:
        for one, its_value in pairs((key, value, *more)):
            self.set_(one, its_value)
        return OK

    @command
    def mget(self, key: bytes, *keys: bytes) -> Reply:
        values = [self.find(one) for one in (key, *keys)]
        return [value if type(value) is bytes else None for value in values]

    # ---- Lists

    @command
    def lpush(self, key: bytes, item: bytes, *more: bytes) -> Reply:
        items = self.made(key, deque)
        items.extendleft((item, *more))
        return len(items)

    @command
    def rpush(self, key: bytes, item: bytes, *more: bytes) -> Reply:
        items = self.made(key, deque)
        items.extend((item, *more))
        return len(items)

    @command
    def lpop(self, key: bytes) -> Reply:
        return self.take(key, deque, deque.popleft)

    @command
    def rpop(self, key: bytes) -> Reply:
        return self.take(key, deque, deque.pop)

    @command
    def lrange(self, key: bytes, first: bytes, last: bytes) -> Reply:
        start, stop = integer(first), integer(last)
        items = self.find(key, deque) or ()
        start = max(0, start + len(items) if start < 0 else start)
        stop = min(len(items), (stop + len(items) if stop < 0 else stop) + 1)
        return list(islice(items, start, stop)) if start < stop else []

    # ---- Sets, hashes, sorted sets

    @command
    def sadd(self, key: bytes, member: bytes, *more: bytes) -> Reply:
        members = self.made(key, set)
        before = len(members)
        members.update((member, *more))
        return len(members) - before

    @command
    def spop(self, key: bytes) -> Reply:
        """Any of them, not one that is drawn."""
        return self.take(key, set, set.pop)

    @command
    def smembers(self, key: bytes) -> Reply:
        return list(self.find(key, set) or ())

    @command
    def hset(self, key: bytes, field: bytes, value: bytes, *more: bytes) -> Reply:
        fields = pairs((field, value, *more))
        table = self.made(key, dict)
        before = len(table)
        table.update(fields)
        return len(table) - before

    @command
    def hget(self, key: bytes, field: bytes) -> Reply:
        value: bytes | None = (self.find(key, dict) or {}).get(field)
        return value

    @command
    def hgetall(self, key: bytes) -> Reply:
        return [text for item in (self.find(key, dict) or {}).items() for text in item]

    @command
    def zadd(self, key: bytes, score: bytes, member: bytes) -> Reply:
        try:
            number = float(score)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise CommandError("ERR value is not a valid float")
        scores = self.made(key, Scores)
        before = len(scores)
        scores.put(member, number)
        return len(scores) - before

    @command
    def zpopmin(self, key: bytes) -> Reply:
        return self.take(key, Scores, Scores.pop_least) or []
