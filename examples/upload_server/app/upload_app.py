"""The upload page: a WSGI application (PEP 3333) that reads a file while it arrives.

    GET  /                         the page, from the files beside this one
    POST /uploads/<id>?name=NAME   the body is a file; the answer is a Result, in JSON
    GET  /events?id=<id>           how that upload stands: Server-Sent Events, each with an
                                   Event, in JSON

The client makes up the id.  It asks for the events first and posts then, so that it misses
none.  Nothing is kept: neither the file nor, when nobody asks any more, that it has been.

Nothing here knows of Erlang.  It takes a server that passes a body on while it arrives,
and serves another request meanwhile.
"""

import hashlib
import json
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, TypedDict
from urllib.parse import parse_qs
from weakref import WeakValueDictionary
from wsgiref.types import StartResponse, WSGIEnvironment

HERE = Path(__file__).parent
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/upload.js": ("upload.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
SECURITY = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]

#: Most bytes that are read at once.
PIECE_BYTES = 2**18
#: Bytes at the beginning of a file, from which its type is told.
HEAD_BYTES = 2**16
#: Most characters of a file's name that are taken.
NAME_LENGTH = 255
#: Between two events, when there is no news that cannot wait.
EVENT_SECONDS = 0.2
#: The throughput of this moment is that of so many seconds.
RATE_SECONDS = 1.0
#: So long is an upload waited for.
BEGIN_SECONDS = 30.0
#: So long may file(1) take.
FILE_SECONDS = 5.0

State = Literal["waiting", "receiving", "done", "failed"]
ENDED: tuple[State, State] = ("done", "failed")


class Result(TypedDict):
    name: str
    bytes: int
    lines: int  # newline characters
    sha256: str  # in hexadecimal
    type: str  # a media type
    seconds: float


class Event(TypedDict):
    state: State
    received: int  # bytes, as are all amounts
    expected: int | None  # None: not told by the client
    lines: int
    seconds: float  # since the first byte was waited for
    rate: float  # bytes a second, of late
    average: float  # bytes a second, of the whole upload
    memory: int | None  # of the server's process; None: cannot be told here
    memory_before: int | None  # when the upload began
    memory_highest: int | None  # seen since then
    result: Result | None  # of an upload that is done
    reason: str | None  # why it failed


class Upload:
    """How one upload stands.  Its handler writes it, listeners read it.

    A handler may be cancelled by an exception at any point.  So there is no Condition
    here, nor an Event, which are Python code and would keep their lock then; locks and
    SimpleQueue are C.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state: State = "waiting"
        self.news: set[SimpleQueue[None]] = set()  # one a listener: the state has changed
        self.expected: int | None = None
        self.received = self.lines = 0
        self.began = self.ended = 0.0
        self.memory_before: int | None = None
        self.memory_highest: int | None = None
        self.result: Result | None = None
        self.reason: str | None = None

    def begin(self, expected: int | None) -> bool:
        """False when it has begun already."""
        with self.lock:
            if self.state != "waiting":
                return False
            self.began = time.monotonic()
            self.expected = expected
            self.memory_highest = None
            self.memory_before = self.sample_memory()
            self.enter_locked("receiving")
            return True

    def advance(self, piece: bytes) -> None:
        lines = piece.count(b"\n")
        with self.lock:
            self.received += len(piece)
            self.lines += lines

    def finish(self, result: Result) -> None:
        with self.lock:
            self.result = result
            self.enter_locked("done")

    def fail(self, reason: str) -> None:
        """Only the first reason counts, and none once it is done."""
        with self.lock:
            if self.state not in ENDED:
                self.reason = reason
                self.enter_locked("failed")

    def enter_locked(self, state: State) -> None:
        if state in ENDED:
            self.ended = time.monotonic()
        self.state = state
        for listener in self.news:
            listener.put(None)

    def seconds(self) -> float:
        if self.state == "waiting":
            return 0.0
        return (self.ended or time.monotonic()) - self.began

    def sample_memory(self) -> int | None:
        now = resident_bytes()
        if now is not None:
            self.memory_highest = max(now, self.memory_highest or 0)
        return now

    def event(self, rate: "Rate") -> Event:
        with self.lock:
            memory = self.sample_memory()
            seconds = self.seconds()
            return {
                "state": self.state,
                "received": self.received,
                "expected": self.expected,
                "lines": self.lines,
                "seconds": seconds,
                "rate": rate.after(seconds, self.received),
                "average": self.received / seconds if seconds else 0.0,
                "memory": memory,
                "memory_before": self.memory_before,
                "memory_highest": self.memory_highest,
                "result": self.result,
                "reason": self.reason,
            }


class Rate:
    """Bytes a second over the last RATE_SECONDS, as one listener sees them."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, int]] = deque()

    def after(self, seconds: float, received: int) -> float:
        """Of an upload that has received so much after so many seconds."""
        while len(self.samples) > 1 and self.samples[1][0] <= seconds - RATE_SECONDS:
            self.samples.popleft()
        self.samples.append((seconds, received))
        then, before = self.samples[0]
        return (received - before) / (seconds - then) if seconds > then else 0.0


def resident_bytes() -> int | None:
    """Memory of this process, which is that of the whole Erlang node when it is in one."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


# ---- The uploads that a handler or a listener has ----

_uploads: WeakValueDictionary[str, Upload] = WeakValueDictionary()
_uploads_lock = threading.Lock()


def upload_of(upload_id: str) -> Upload:
    """It is known by its id for as long as somebody has it."""
    with _uploads_lock:
        return _uploads.setdefault(upload_id, Upload())


# ---- Receiving ----


class Truncated(Exception):
    pass


def content_length(environ: WSGIEnvironment) -> int | None:
    """None: the body ends where the input does, which not every server can tell."""
    if text := environ.get("CONTENT_LENGTH"):
        return int(text)
    return None if environ.get("wsgi.input_terminated") else 0


def pieces(environ: WSGIEnvironment) -> Iterator[bytes]:
    """The body as it arrives.  Raises when it ends too early, and never takes a part of it
    for the whole."""
    left = content_length(environ)
    body = environ["wsgi.input"]
    # Not in PEP 3333, but of any BufferedReader: what is there, and not all of the size.
    read = getattr(body, "read1", body.read)
    while left is None or left > 0:
        piece: bytes = read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
        if piece:
            yield piece
        elif left:
            raise Truncated(f"the last {left} bytes are missing")
        else:
            return
        if left is not None:
            left -= len(piece)


def read_file(environ: WSGIEnvironment, upload: Upload) -> Result:
    digest = hashlib.sha256()
    head = b""
    for piece in pieces(environ):
        digest.update(piece)
        if len(head) < HEAD_BYTES:
            head += piece[: HEAD_BYTES - len(head)]
        upload.advance(piece)
    names = parse_qs(environ.get("QUERY_STRING", "")).get("name", [""])
    return {
        "name": names[0][:NAME_LENGTH],
        "bytes": upload.received,
        "lines": upload.lines,
        "sha256": digest.hexdigest(),
        "type": type_of(head, environ.get("CONTENT_TYPE") or "application/octet-stream"),
        "seconds": upload.seconds(),
    }


def type_of(head: bytes, declared: str) -> str:
    """What file(1) takes a file for that begins so; where there is none, what is declared."""
    command = ["file", "--brief", "--mime-type", "-"]
    try:
        done = subprocess.run(
            command, input=head, capture_output=True, timeout=FILE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return declared
    found = done.stdout.decode("ascii", "replace").strip()
    return found if re.fullmatch(r"[\w.+-]+/[\w.+-]+", found) else declared


# ---- Responses ----

Answer = tuple[str, list[tuple[str, str]], Iterable[bytes]]


def whole(status: str, media_type: str, body: bytes, *more: tuple[str, str]) -> Answer:
    length = ("Content-Length", str(len(body)))
    return status, [("Content-Type", media_type), length, *more], [body]


def as_json(status: str, value: object) -> Answer:
    body = json.dumps(value).encode()
    return whole(status, "application/json", body, ("Cache-Control", "no-store"))


def refused(status: str, why: str, *more: tuple[str, str]) -> Answer:
    return whole(status, "text/plain; charset=utf-8", why.encode() + b"\n", *more)


def page(path: str) -> Answer:
    name, media_type = FILES[path]
    body = (HERE / name).read_bytes()
    return whole("200 OK", media_type, body, ("Cache-Control", "no-cache"))


def receive(environ: WSGIEnvironment, upload_id: str) -> Answer:
    upload = upload_of(upload_id)
    if not upload.begin(content_length(environ)):
        return refused("409 Conflict", "An upload with this id is going on.")
    try:
        return received(environ, upload)
    finally:
        # Whatever has stopped it, in the middle of fail() perhaps.
        upload.fail("the handler was stopped")


def received(environ: WSGIEnvironment, upload: Upload) -> Answer:
    try:
        result = read_file(environ, upload)
    except (OSError, Truncated) as error:
        # The client has gone, or has sent less than it said: nobody's fault here.
        upload.fail(str(error))
        return refused("400 Bad Request", f"The file is not whole: {error}.")
    except Exception as error:
        upload.fail(str(error) or type(error).__name__)
        raise
    upload.finish(result)
    return as_json("200 OK", result)


def listen(environ: WSGIEnvironment) -> Answer:
    ids = parse_qs(environ.get("QUERY_STRING", "")).get("id", [""])
    if not re.fullmatch(UPLOAD_ID, ids[0]):
        return refused("400 Bad Request", "The id of an upload is missing.")
    headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]
    return "200 OK", headers, events(ids[0])


def events(upload_id: str) -> Iterator[bytes]:
    """How an upload stands, until it has ended; closed when the client has gone."""
    patience = time.monotonic() + BEGIN_SECONDS
    rate = Rate()
    upload = upload_of(upload_id)
    news: SimpleQueue[None] = SimpleQueue()
    try:
        with upload.lock:
            upload.news.add(news)
        while True:
            event = upload.event(rate)
            if event["state"] == "waiting" and time.monotonic() > patience:
                event["state"], event["reason"] = "failed", "it has not begun"
            yield f"data: {json.dumps(event)}\n\n".encode()
            if event["state"] in ENDED:
                return
            with suppress(Empty):
                news.get(timeout=EVENT_SECONDS)
    finally:
        with upload.lock:
            upload.news.discard(news)


# ---- Requests ----

UPLOAD_ID = "[A-Za-z0-9_-]{1,64}"


def answer(environ: WSGIEnvironment) -> Answer:
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    if upload := re.fullmatch(f"/uploads/({UPLOAD_ID})", path):
        return receive(environ, upload[1]) if method == "POST" else not_allowed("POST")
    if path == "/events":
        return listen(environ) if method == "GET" else not_allowed("GET")
    if path in FILES:
        return page(path) if method in ("GET", "HEAD") else not_allowed("GET, HEAD")
    return refused("404 Not Found", "There is nothing here.")


def not_allowed(methods: str) -> Answer:
    why = f"The methods here are {methods}."
    return refused("405 Method Not Allowed", why, ("Allow", methods))


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    status, headers, body = answer(environ)
    start_response(status, headers + SECURITY)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else body
