"""Web applications for web_SUITE.  They tell what happens to them to the process that is
registered as web_test."""

import asyncio
import hashlib
import time
from wsgiref.validate import validator

import erlang
from erlang import Atom

PLAIN = [("Content-Type", "text/plain")]


def tell(word, value=None):
    erlang.send("web_test", (Atom(word), value))


def tell_whatever_comes(word, value=None):
    """A handler that has one exception may get Cancelled in the midst of telling it."""
    try:
        tell(word, value)
    except erlang.Cancelled:
        tell(word, value)
        raise


def digest(environ, start_response):
    """Reads all of the body; what it was is the response."""
    stream, state, size = environ["wsgi.input"], hashlib.sha256(), 0
    while data := stream.read(65536):
        state.update(data)
        size += len(data)
    start_response("200 OK", PLAIN)
    return [f"{size} {state.hexdigest()}".encode()]


valid_digest = validator(digest)


def environ(environ, start_response):
    start_response("200 OK", PLAIN)
    return [environ[environ["QUERY_STRING"]].encode("latin-1")]


def seekable(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(environ["wsgi.input"].seekable()).encode()]


def pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    for number in range(int(environ["QUERY_STRING"])):
        yield b"piece %d\n" % number


def large_pieces(environ, start_response):
    start_response("200 OK", PLAIN)
    for _ in range(int(environ["QUERY_STRING"])):
        yield b"x" * 1_000_000


def raises(environ, start_response):
    raise ValueError("mine")


def raises_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"begun"
    raise ValueError("late")


class Endless:
    latest = 0  # how many pieces the latest response has made

    def __init__(self):
        self.made = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.made += 1
        Endless.latest = self.made
        return b"x" * 1000

    def close(self):
        tell_whatever_comes("closed", self.made)


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    return Endless()


def reading(environ, start_response):
    """Waits for a body, and tells how that ended."""
    tell("begun")
    told = False
    try:
        try:
            tell("read", len(environ["wsgi.input"].read(-1)))
        except BaseException as error:
            tell("raised", error.__class__.__name__)
            told = True
            raise
    except erlang.Cancelled:
        # It may come between two steps of telling the other one.
        if not told:
            tell("raised", "Cancelled")
        raise
    start_response("200 OK", PLAIN)
    return [b"read"]


def computing(environ, start_response):
    tell("begun")
    try:
        while True:
            time.monotonic()
    except BaseException as error:
        tell("raised", type(error).__name__)
        raise


class SlowToClose:
    def __iter__(self):
        yield b"body"

    def close(self):
        tell("closing")
        time.sleep(0.2)


def slow_to_close(environ, start_response):
    start_response("200 OK", PLAIN)
    return SlowToClose()


# ---- ASGI ----


async def received(receive):
    data = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        data += event["body"]
        if not event["more_body"]:
            return data


async def answer(send, *bodies, status=200):
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for body in bodies:
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})


async def async_digest(scope, receive, send):
    data = await received(receive)
    text = f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text})


async def async_pieces(scope, receive, send):
    count = int(scope["query_string"])
    await answer(send, *(b"piece %d\n" % number for number in range(count)))


async def async_large_pieces(scope, receive, send):
    await answer(send, *[b"x" * 1_000_000] * int(scope["query_string"]))


async def async_reading(scope, receive, send):
    tell("begun")
    data = await received(receive)
    tell("read", data if data is None else len(data))
    try:
        await answer(send, b"x")
    except OSError as error:
        tell("raised", type(error).__name__)


async def async_endless(scope, receive, send):
    made = 0
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            made += 1
            Endless.latest = made
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
    except OSError:
        tell("closed", made)


async def async_raises(scope, receive, send):
    raise ValueError("mine")


class Life:
    """Tells of its lifespan; a request is answered with what the startup left."""

    def __init__(self, *, failing=None):
        self.failing = failing

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await answer(send, scope["state"]["word"])
            return
        scope["state"]["word"] = b"from the startup"
        while True:
            phase = (await receive())["type"].removeprefix("lifespan.")
            tell(phase)
            outcome = "failed" if phase == self.failing else "complete"
            await send({"type": f"lifespan.{phase}.{outcome}", "message": "on purpose"})
            if phase == "shutdown":
                await asyncio.sleep(0)
                return


life = Life()
failing_life = Life(failing="startup")
