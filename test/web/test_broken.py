"""Uploads that do not come as announced.  Our promise: the application gets an exception or
the end of its client, never a body that looks whole."""

import pytest
from client import (
    BOUNDARY,
    CHUNKED,
    LAST_CHUNK,
    LENGTH,
    MULTIPART,
    Connection,
    chunked,
    multipart,
    new_id,
    post,
    record,
    sha256,
)
from test_bodies import BLIND_TO_CHUNKS, NOISE, VALIDATES_READ

READERS = ("erlpy flask", "erlpy flask validated", "erlpy django", "erlpy starlette")
#: What an application sees when a body breaks off: the exception of the buffer, or what its
#: framework makes of that.
ERRORS = {
    "flask": "BufferAborted",
    "flask validated": "BufferAborted",
    "flask limited": "BufferAborted",
    "django": "UnreadablePostError",
    "starlette": "ClientDisconnect",
    "starlette limited": "ClientDisconnect",
}


def broken_off(port, way, framing, part, goodbye, announced=None):
    """Sends a part of an upload and goes; the id of the handler's record."""
    name = new_id()
    connection = Connection(port)
    connection.send_head("POST", f"/{way}?id={name}", framing.line(announced or len(part) + 1))
    connection.send(framing.framed(part))
    record(port, name, least=0)
    getattr(connection, goodbye)()
    if goodbye == "end":
        connection.file.read()
        connection.close()
    return name


@pytest.mark.on(*READERS)
@pytest.mark.parametrize("goodbye", ("close", "end", "reset"))
@pytest.mark.parametrize("framing", (LENGTH, CHUNKED), ids=str)
@pytest.mark.parametrize("way", ("stream", "whole"))
@pytest.mark.parametrize("size", (1, 2**16 + 1, 3 * 2**20))
def test_broken_off(server, way, framing, goodbye, size):
    part = NOISE[:size] * (1 + size // len(NOISE))
    seen = record(server.port, broken_off(server.port, way, framing, part, goodbye))
    assert seen["ended"]
    if framing is CHUNKED and server.name in BLIND_TO_CHUNKS:
        assert (seen["length"], seen["error"]) == (0, None)
    elif way == "whole" and server.name == VALIDATES_READ:
        assert seen["error"] == "AssertionError"
    else:
        assert seen["length"] <= len(part)
        assert seen["error"] == ERRORS[server.app]


@pytest.mark.on("erlpy django-asgi")
@pytest.mark.parametrize("framing", (LENGTH, CHUNKED), ids=str)
def test_django_calls_no_view_for_half_a_body(server, framing):
    """Its ASGI handler takes all of the body first."""
    with Connection(server.port) as other:
        name = new_id()
        connection = Connection(server.port)
        connection.send_head("POST", f"/stream?id={name}", framing.line(100))
        connection.send(framing.framed(NOISE[:50]))
        connection.end()
        assert connection.is_closed()
        assert other.get(f"/record?id={name}&wait=0.2").json() is None


@pytest.mark.on("gunicorn django")
def test_gunicorn_hands_out_a_short_body(port):
    """What the tests above are for: Django under gunicorn takes the part for the whole."""
    name = broken_off(port, "stream", LENGTH, NOISE[:1000], "end", announced=2000)
    assert record(port, name)["error"] is None


@pytest.mark.on("erlpy flask", "erlpy flask validated", "erlpy django", "erlpy starlette")
def test_half_a_form_is_no_form(server):
    """A file in a form that breaks off has not been uploaded."""
    form = multipart("half.bin", NOISE[: 2**17])[: 2**16]
    name = new_id()
    connection = Connection(server.port)
    head = (f"Content-Type: {MULTIPART}", "Content-Length: 200000")
    connection.send_head("POST", f"/files?id={name}", *head)
    connection.send(form)
    record(server.port, name, least=0)
    connection.close()
    assert record(server.port, name)["error"] == ERRORS[server.app]


@pytest.mark.on("gunicorn django")
def test_gunicorn_gives_half_a_form(port):
    """Without its file, and as if it were whole."""
    form = multipart("half.bin", NOISE[: 2**17])[: 2**16]
    name = new_id()
    with Connection(port) as connection:
        head = (f"Content-Type: {MULTIPART}", "Content-Length: 200000")
        connection.send_head("POST", f"/files?id={name}", *head)
        connection.send(form)
        connection.end()
        assert connection.response().json()["files"] == {}
    assert record(port, name)["error"] is None


BAD_CHUNKS = {
    "no number": b"xyz\r\nhello\r\n",
    "empty size": b"\r\nhello\r\n",
    "sign": b"+5\r\nhello\r\n",
    "negative": b"-5\r\nhello\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n",
    "words": b"5 5\r\nhello\r\n",
    "data too long": b"5\r\nhello!\r\n",
    "data without end": b"5\r\nhello5\r\nhello\r\n",
    "line feed alone": b"5\nhello\n",
    "line feed in extension": b"5;a\nb\r\nhello\r\n",
    "size too large": b"1" * 17 + b"\r\nhello\r\n",
    "endless line": b"5;" + b"x" * 20000,
}


@pytest.mark.on("erlpy flask", "erlpy starlette")
@pytest.mark.parametrize("bad", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
@pytest.mark.parametrize("before", (b"", b"first"), ids=("at once", "later"))
def test_malformed_chunk(server, bad, before):
    """The client may be there still: it is told, and the connection used no more."""
    name = new_id()
    with Connection(server.port) as connection:
        connection.send_head("POST", f"/stream?id={name}", "Transfer-Encoding: chunked")
        connection.send(chunked(before) + bad + LAST_CHUNK)
        response = connection.response()
        assert (response.status, response.header("connection")) == (400, "close")
        assert connection.is_closed()
    seen = record(server.port, name)
    assert seen["error"] == ERRORS[server.app]
    assert seen["length"] <= len(before) + 5


def hello_after(connection, body, framing):
    """A request and its answer, then another one on the same connection."""
    connection.send_head("POST", f"/stream?id={new_id()}", framing.line(len(body)))
    connection.send(framing.framed(body) + framing.last + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    first, second = connection.response(), connection.response()
    assert first.json()["sha256"] == sha256(body)
    assert second.body == b"hello\n"


@pytest.mark.on(*READERS, "erlpy django-asgi", "uvicorn starlette")
@pytest.mark.parametrize("size", (0, 5, 2**16, 2**20))
def test_what_follows_the_body_is_the_next_request(port, size):
    with Connection(port) as connection:
        hello_after(connection, NOISE[:size], LENGTH)
        hello_after(connection, NOISE[:size], LENGTH)


@pytest.mark.on("erlpy flask", "erlpy starlette", "erlpy django-asgi", "uvicorn starlette")
@pytest.mark.parametrize("size", (0, 5, 2**16, 2**20))
def test_what_follows_the_last_chunk_is_the_next_request(port, size):
    with Connection(port) as connection:
        hello_after(connection, NOISE[:size], CHUNKED)
        hello_after(connection, NOISE[:size], CHUNKED)


@pytest.mark.on(*READERS)
def test_too_long(server):
    """More bytes than the Content-Length: no part of the body, and no good request."""
    name = new_id()
    with Connection(server.port) as connection:
        connection.send_head("POST", f"/stream?id={name}", "Content-Length: 5")
        connection.send(b"hello\r\nworld \r\n")
        assert connection.response().json()["length"] == 5
    assert record(server.port, name)["sha256"] == sha256(b"hello")


@pytest.mark.on("erlpy flask limited", "erlpy starlette limited")
def test_larger_than_allowed(server):
    fits = NOISE[:100000]
    assert post(server.port, f"/stream?id={new_id()}", fits).json()["length"] == 100000
    assert post(server.port, f"/stream?id={new_id()}", fits, CHUNKED).json()["length"] == 100000
    name = new_id()
    assert post(server.port, f"/stream?id={name}", NOISE[:100001]).status == 413
    assert record(server.port, name, wait=0) is None
    assert post(server.port, f"/stream?id={name}", NOISE[:100001], CHUNKED).status == 413
    seen = record(server.port, name)
    assert seen["error"] == ERRORS[server.app]
    assert seen["length"] <= 100000


@pytest.mark.on("erlpy flask limited")
def test_a_form_larger_than_allowed(port):
    form = multipart("large.bin", NOISE[:200000])
    assert post(port, f"/files?id={new_id()}", form, LENGTH, MULTIPART).status == 413
    assert post(port, f"/files?id={new_id()}", form, CHUNKED, MULTIPART).status == 413


@pytest.mark.on("erlpy flask limited", "erlpy starlette limited")
def test_larger_than_allowed_is_not_asked_for(port):
    """413 comes in place of 100 Continue."""
    with Connection(port) as connection:
        head = ("Content-Length: 100001", "Expect: 100-continue")
        connection.send_head("POST", f"/stream?id={new_id()}", *head)
        assert connection.response().status == 413


@pytest.mark.on("erlpy flask")
def test_form_without_its_last_boundary(port):
    """The body is whole and the form is not: for Werkzeug to judge, as anywhere."""
    form = multipart("x.bin", NOISE[:1000]).replace(f"--{BOUNDARY}--".encode(), b"")
    assert post(port, f"/files?id={new_id()}", form, LENGTH, MULTIPART).json()["files"] == {}
