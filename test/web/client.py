"""An HTTP/1.1 client that can do wrong: what is sent is bytes of the test's own, and what
comes back is read strictly."""

import hashlib
import itertools
import json
import socket
import struct
from dataclasses import dataclass

#: Seconds for which a client waits for any one thing.
DEADLINE = 30
SMALL_WINDOW = 65536

_names = itertools.count()


def new_id():
    """A name for a record, used once."""
    return f"r{next(_names)}"


@dataclass
class Response:
    status: int
    reason: str
    headers: list  # of (name in small letters, value)
    body: bytes

    def header(self, name):
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self):
        assert self.status == 200, (self.status, self.body[:500])
        return json.loads(self.body)


class Connection:
    """One connection to 127.0.0.1."""

    def __init__(self, port, window=None):
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE)
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """Goes without a goodbye (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def end(self):
        """Sends nothing more, and still reads."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.socket.sendall(data)

    def send_head(self, method, target, *lines):
        """The head of a request; lines are str in Latin-1, or bytes."""
        head = [f"{method} ".encode() + octets(target) + b" HTTP/1.1", b"Host: test"]
        self.send(b"\r\n".join([*head, *map(octets, lines), b"", b""]))

    def get(self, target, *lines):
        self.send_head("GET", target, *lines)
        return self.response()

    def read_head(self):
        """(status, reason, headers) of the next response."""
        line = self.file.readline()
        assert line.endswith(b"\r\n"), f"no status line: {line!r}"
        version, status, reason = line[:-2].decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1"
        headers = []
        while (line := self.file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), f"the head ends at {line!r}"
            name, value = line[:-2].decode("latin-1").split(":", 1)
            headers.append((name.lower(), value.strip()))
        return int(status), reason, headers

    def response(self, method="GET"):
        status, reason, headers = self.read_head()
        response = Response(status, reason, headers, b"")
        if method != "HEAD" and status >= 200 and status not in (204, 304):
            response.body = b"".join(self.body(response))
        return response

    def body(self, response):
        """The pieces of a response's body; EOFError when it is cut off."""
        length = response.header("content-length")
        if response.header("transfer-encoding") is not None:
            assert response.header("transfer-encoding") == "chunked"
            assert length is None
            return self.chunks()
        if length is not None:
            return iter([self.exactly(int(length))])
        assert response.header("connection") == "close", "nothing ends the body"
        return iter([self.file.read()])

    def chunks(self):
        while size := int(self.line(), 16):
            yield self.exactly(size)
            self.separator()
        self.separator()

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the response is cut off")
        return line[:-2]

    def separator(self):
        line = self.line()
        assert line == b"", f"no end of a chunk: {line!r}"

    def exactly(self, size):
        data = self.file.read(size)
        if len(data) < size:
            raise EOFError(f"the response ends {size - len(data)} bytes early")
        return data

    def is_closed(self):
        """Waits for the end of the connection; False when something comes instead."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def octets(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def chunked(*pieces):
    """A chunked body of these pieces, up to its last chunk."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)


LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Framing:
    """How the end of a request's body is told."""

    name: str

    def __str__(self):
        return self.name

    def line(self, length):
        if self.name == "length":
            return f"Content-Length: {length}"
        return "Transfer-Encoding: chunked"

    def framed(self, *pieces):
        return b"".join(pieces) if self.name == "length" else chunked(*pieces)

    @property
    def last(self):
        return b"" if self.name == "length" else LAST_CHUNK


LENGTH = Framing("length")
CHUNKED = Framing("chunked")


def post(port, target, data, framing=LENGTH, content_type="application/octet-stream"):
    """A whole upload on a connection of its own."""
    with Connection(port) as connection:
        connection.send_head(
            "POST", target, f"Content-Type: {content_type}", framing.line(len(data))
        )
        connection.send(framing.framed(data) + framing.last)
        return connection.response()


def record(port, name, wait=DEADLINE / 2, least=None):
    """What the handler has seen that was called with this id."""
    more = "" if least is None else f"&least={least}"
    with Connection(port) as connection:
        return connection.get(f"/record?id={name}&wait={wait}{more}").json()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


BOUNDARY = "-----a-boundary-of-tests"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def multipart(filename, data, **fields):
    """A form of some fields and one file, which is named "file"."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    end = f"\r\n--{BOUNDARY}--\r\n"
    return "".join(parts).encode() + head.encode() + data + end.encode()
