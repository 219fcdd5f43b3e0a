"""One application twice, for WSGI and for ASGI: it digests what is uploaded.

    POST /digest    the size and the SHA-256 of the body, as text
    GET /lines      a response that is sent while it is made
    GET /half       one that fails in the middle
    GET /error      one that fails at once
"""

import hashlib
import queue
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse

LINES = 1000
PIECE = 65536

Event = dict[str, Any]

#: Why bodies were not whole.
broken: queue.SimpleQueue[str] = queue.SimpleQueue()


def next_broken(seconds: float) -> str:
    """Waits for the next body that is not whole.  Raises queue.Empty."""
    return broken.get(timeout=seconds)


def lines(path: str) -> Iterator[bytes]:
    for number in range(LINES):
        if path == "/half" and number == LINES // 2:
            raise RuntimeError("half of the lines are enough")
        yield b"%d\n" % number


def wsgi(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/error":
        raise RuntimeError("not even a head")
    if path == "/digest":
        digest, size = hashlib.sha256(), 0
        try:
            while data := environ["wsgi.input"].read1(PIECE):
                digest.update(data)
                size += len(data)
        except BaseException as error:  # BufferAborted, or Cancelled
            broken.put(str(error))
            raise
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{size} {digest.hexdigest()}".encode()]
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    start_response("200 OK", headers)
    return lines(path)


async def asgi(
    scope: Event,
    receive: Callable[[], Awaitable[Event]],
    send: Callable[[Event], Awaitable[None]],
) -> None:
    if scope["path"] == "/error":
        raise RuntimeError("not even a head")
    last = await digest_of(receive) if scope["path"] == "/digest" else b""
    headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] != "/digest":
        for line in lines(scope["path"]):
            await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": last})


async def digest_of(receive: Callable[[], Awaitable[Event]]) -> bytes:
    digest, size = hashlib.sha256(), 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            broken.put(event["type"])
            raise ConnectionError("the body is not whole")
        digest.update(event["body"])
        size += len(event["body"])
        if not event["more_body"]:
            return f"{size} {digest.hexdigest()}".encode()
