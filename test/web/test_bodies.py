"""Whole uploads: each application sees under our server what it sees under gunicorn or
uvicorn, which the same tests show."""

import hashlib
import subprocess

import pytest
from client import (
    CHUNKED,
    DEADLINE,
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

WSGI = (
    "erlpy flask",
    "erlpy flask validated",
    "gunicorn flask",
    "erlpy django",
    "erlpy django validated",
    "gunicorn django",
)
ASGI = (
    "erlpy django-asgi",
    "uvicorn django-asgi",
    "erlpy starlette",
    "uvicorn starlette",
)
SPOOLED = "erlpy django spooled"
#: Django's WSGI handler reads no body without a Content-Length.
BLIND_TO_CHUNKS = ("erlpy django", "erlpy django validated", "gunicorn django")
#: And no form, in WSGI and in ASGI.
FORMLESS = (*BLIND_TO_CHUNKS, "erlpy django-asgi", "uvicorn django-asgi")
#: Flask reads the whole body by read() without a size, which PEP 3333 allows and
#: wsgiref.validate does not.
VALIDATES_READ = "erlpy flask validated"

SIZES = (0, 1, 2**16 - 1, 2**16, 2**16 + 1)
LARGE = 100 * 2**20
#: No period of a buffer's size: a piece that is lost, doubled or moved is seen.
NOISE = hashlib.shake_256(b"noise").digest(2**20 + 7)


def seen(data):
    return {"length": len(data), "sha256": sha256(data), "error": None, "ended": True}


def body_seen(server, framing, data):
    return b"" if framing is CHUNKED and server.name in BLIND_TO_CHUNKS else data


@pytest.mark.on(*WSGI, SPOOLED, *ASGI)
@pytest.mark.parametrize("framing", (LENGTH, CHUNKED), ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ("stream", "whole"))
def test_body(server, way, size, framing):
    data = NOISE[:size]
    response = post(server.port, f"/{way}?id={new_id()}", data, framing)
    if way == "whole" and server.name == VALIDATES_READ:
        assert response.status == 500
        return
    assert response.json() == seen(body_seen(server, framing, data))


@pytest.mark.on(*WSGI, SPOOLED, *ASGI)
@pytest.mark.parametrize("framing", (LENGTH, CHUNKED), ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_multipart(server, size, framing):
    data = NOISE[:size]
    form = multipart("a file.bin", data, title="a title", number=7)
    response = post(server.port, f"/files?id={new_id()}", form, framing, MULTIPART)
    if framing is CHUNKED and server.name in FORMLESS:
        assert response.json() == {"files": {}, "form": {}}
        return
    assert response.json() == {
        "files": {"file": ["a file.bin", size, sha256(data)]},
        "form": {"title": ["a title"], "number": ["7"]},
    }


@pytest.mark.on(*WSGI, SPOOLED, *ASGI)
def test_form(port):
    data = b"name=caf%C3%A9+x&many=1&many=2"
    response = post(port, "/form", data, content_type="application/x-www-form-urlencoded")
    assert response.json() == {"name": ["caf\u00e9 x"], "many": ["1", "2"]}


@pytest.mark.on(*BLIND_TO_CHUNKS, SPOOLED)
def test_django_and_a_body_of_unknown_length(server):
    """As under gunicorn, Django's WSGI handler finds nothing.  What UNKNOWN_LENGTH=spool
    is for: it gives it a Content-Length."""
    response = post(server.port, f"/stream?id={new_id()}", NOISE, CHUNKED)
    assert response.json() == seen(NOISE if server.name == SPOOLED else b"")


@pytest.mark.on("erlpy flask", SPOOLED, "erlpy starlette", "gunicorn flask", "uvicorn starlette")
@pytest.mark.parametrize("size", (1, 2, 100))
def test_chunks_of_any_size(port, size):
    pieces = [NOISE[i : i + size] for i in range(0, 5000, size)]
    name = new_id()
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={name}", "Transfer-Encoding: chunked")
        connection.send(chunked(*pieces) + b"0\r\n\r\n")
        assert connection.response().json() == seen(b"".join(pieces))


@pytest.mark.on("erlpy flask", SPOOLED, "erlpy starlette", "gunicorn flask", "uvicorn starlette")
def test_extensions_of_chunks_and_trailers_are_passed_over(port):
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", "Transfer-Encoding: chunked")
        connection.send(b"00005;name=value\r\nhello\r\nA\r\n world wor\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert connection.response().json() == seen(b"hello world wor")
        assert connection.get("/").body == b"hello\n"


def large_pieces():
    left = LARGE
    while left:
        piece = NOISE[: min(left, len(NOISE))]
        left -= len(piece)
        yield piece


@pytest.fixture(scope="module")
def large_digest():
    digest = hashlib.sha256()
    for piece in large_pieces():
        digest.update(piece)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "large.bin"
    with open(path, "wb") as file:
        for piece in large_pieces():
            file.write(piece)
    return path


def send_100_mb(port, framing, digest):
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", framing.line(LARGE))
        for piece in large_pieces():
            connection.send(framing.framed(piece))
        connection.send(framing.last)
        answer = connection.response().json()
    assert answer == {"length": LARGE, "sha256": digest, "error": None, "ended": True}


@pytest.mark.on("erlpy flask", "erlpy flask validated", "erlpy django", *ASGI)
def test_100_mb(port, large_digest):
    send_100_mb(port, LENGTH, large_digest)


@pytest.mark.on("erlpy flask", SPOOLED, *ASGI)
def test_100_mb_in_chunks(port, large_digest):
    send_100_mb(port, CHUNKED, large_digest)


@pytest.mark.on("erlpy flask", "erlpy django", "erlpy starlette")
def test_100_mb_of_multipart_by_curl(port, large_file, large_digest):
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60"]
    url = f"http://127.0.0.1:{port}/files?id={new_id()}"
    result = subprocess.run(
        [*command, "--form", f"file=@{large_file};filename=l.bin", "--form", "title=x", url],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
    )
    assert result.returncode == 0, result.stderr
    assert f'["l.bin",{LARGE},"{large_digest}"]' in "".join(result.stdout.split())


@pytest.mark.on("erlpy flask", "erlpy starlette", "erlpy django")
def test_memory_stays_at_the_watermarks(server):
    """An upload of 100 MB raises the memory of the node by a few of them."""
    post(server.port, f"/stream?id={new_id()}", NOISE * 8)
    before = server.memory("VmRSS")
    with Connection(server.port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", f"Content-Length: {LARGE}")
        for piece in large_pieces():
            connection.send(piece)
        assert connection.response().json()["length"] == LARGE
    assert server.memory("VmRSS") - before < 32 * 2**20


@pytest.mark.on("erlpy flask", "gunicorn flask", "erlpy starlette", "uvicorn starlette")
def test_record_tells_of_the_upload(port):
    """The record that the tests of broken uploads go by."""
    name = new_id()
    post(port, f"/stream?id={name}", NOISE)
    assert record(port, name) == seen(NOISE)
    assert record(port, new_id(), wait=0) is None
