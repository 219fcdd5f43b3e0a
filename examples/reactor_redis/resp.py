"""RESP2, the protocol of Redis: requests from bytes as they come, replies to bytes."""

import re
import shlex
from typing import Any

MOST_ARGUMENTS = 1 << 20
MOST_BULK = 512 << 20
MOST_LINE = 64 << 10

_number = re.compile(rb"-?[0-9]{1,19}")
_one_line = {13: " ", 10: " "}


class ProtocolError(Exception):
    """What is no request; nothing that comes after it is one either."""


class CommandError(Exception):
    """The reply is an error: its code and text."""


class Status(bytes):
    """A reply that is no string but a word of the protocol."""


OK = Status(b"OK")

Reply = int | bytes | list[Any] | None


class Parser:
    """Takes bytes, cut anywhere, and gives whole requests: lists of bytes."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.at = 0  # what is before has been parsed
        self.searched = 0  # and up to here there is no end of a line
        self.arguments: list[bytes] = []
        self.missing = 0  # arguments of the present request
        self.bulk = -1  # the length of the present argument, when that is known

    def feed(self, data: bytes) -> None:
        """More bytes; what has been parsed is forgotten."""
        del self.buffer[: self.at]
        self.searched = max(0, self.searched - self.at)
        self.at = 0
        self.buffer += data

    def next(self) -> list[bytes] | None:
        """The next request, or None when it has not come to its end."""
        while self.missing == 0:
            line = self.line()
            if line is None:
                return None
            if not line.startswith(b"*"):
                if words := inline(line):
                    return words
            elif (count := number(line[1:], MOST_ARGUMENTS, "multibulk")) > 0:
                self.arguments, self.missing = [], count
        while self.missing > 0:
            if not self.argument():
                return None
        return self.arguments

    def argument(self) -> bool:
        """Takes an argument; False when it is not there."""
        if self.bulk < 0:
            line = self.line()
            if line is None:
                return False
            if not line.startswith(b"$"):
                raise ProtocolError(f"expected '$', got '{chr(line[0]) if line else ''}'")
            self.bulk = number(line[1:], MOST_BULK, "bulk", 0)
        end = self.at + self.bulk
        if len(self.buffer) < end + 2:
            return False
        with memoryview(self.buffer) as view:
            self.arguments.append(bytes(view[self.at : end]))
        self.at = self.searched = end + 2
        self.bulk = -1
        self.missing -= 1
        return True

    def line(self) -> bytes | None:
        end = self.buffer.find(b"\n", self.searched)
        if (end if end >= 0 else len(self.buffer)) - self.at > MOST_LINE:
            raise ProtocolError("too big request line")
        if end < 0:
            self.searched = len(self.buffer)
            return None
        line = bytes(self.buffer[self.at : end]).removesuffix(b"\r")
        self.at = self.searched = end + 1
        return line


def number(text: bytes, most: int, what: str, least: int = -(1 << 63)) -> int:
    if not _number.fullmatch(text) or not least <= int(text) <= most:
        raise ProtocolError(f"invalid {what} length")
    return int(text)


def inline(line: bytes) -> list[bytes]:
    """The words of a line, as a shell would quote them."""
    try:
        words = shlex.split(line.decode("latin-1"))
    except ValueError:
        raise ProtocolError("unbalanced quotes in request") from None
    return [word.encode("latin-1") for word in words]


def put_reply(out: bytearray, reply: Reply) -> None:
    if isinstance(reply, Status):
        out += b"+%b\r\n" % reply
    elif isinstance(reply, bytes):
        out += b"$%d\r\n%b\r\n" % (len(reply), reply)
    elif isinstance(reply, int):
        out += b":%d\r\n" % reply
    elif reply is None:
        out += b"$-1\r\n"
    else:
        out += b"*%d\r\n" % len(reply)
        for one in reply:
            put_reply(out, one)


def put_error(out: bytearray, text: str) -> None:
    out += b"-%b\r\n" % text.translate(_one_line).encode("latin-1", "replace")
