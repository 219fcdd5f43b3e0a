"""Slow clients, at either end of an upload: the application goes at their pace, and nobody
else does."""

import time
from contextlib import ExitStack

import pytest
from client import (
    CHUNKED,
    LENGTH,
    SMALL_WINDOW,
    Connection,
    chunked,
    new_id,
    record,
    sha256,
)
from test_bodies import LARGE, NOISE

STREAMING = ("erlpy flask", "erlpy flask validated", "erlpy django", "erlpy starlette")
GOOD = ("gunicorn flask", "gunicorn django", "uvicorn starlette")
SLOW_UPLOADS = 200
MIB = 2**20


def send_slowly(port, connection, name, framing, pieces):
    """A piece a second; each has been seen by the application before the next is sent."""
    connection.send_head("POST", f"/stream?id={name}&size=1024", framing.line(3072))
    sent = 0
    for piece in pieces:
        connection.send(framing.framed(piece))
        sent += len(piece)
        seen = record(port, name, least=sent)
        assert (seen["length"], seen["ended"]) == (sent, False)
        time.sleep(1)


@pytest.mark.on(*STREAMING, *GOOD)
def test_slow_upload_is_seen_as_it_comes(port):
    pieces = [NOISE[i : i + 1024] for i in range(0, 2048, 1024)]
    name = new_id()
    with Connection(port) as connection:
        send_slowly(port, connection, name, LENGTH, pieces)
        connection.send(NOISE[2048:3072])
        assert connection.response().json()["sha256"] == sha256(NOISE[:3072])


@pytest.mark.on("erlpy flask", "erlpy starlette", "uvicorn starlette")
def test_slow_chunks_are_seen_as_they_come(port):
    name = new_id()
    with Connection(port) as connection:
        send_slowly(port, connection, name, CHUNKED, [NOISE[:1024]])
        connection.send(chunked(NOISE[1024:3072]) + b"0\r\n\r\n")
        assert connection.response().json()["sha256"] == sha256(NOISE[:3072])


@pytest.mark.on("erlpy flask", "erlpy starlette", "uvicorn starlette")
def test_a_chunk_is_seen_before_its_end(port):
    name = new_id()
    with Connection(port) as connection:
        head = f"/stream?id={name}&size=1024"
        connection.send_head("POST", head, "Transfer-Encoding: chunked")
        connection.send(b"C00\r\n" + NOISE[:1024])
        assert record(port, name, least=1024)["length"] == 1024
        connection.send(NOISE[1024:3072] + b"\r\n0\r\n\r\n")
        assert connection.response().json()["sha256"] == sha256(NOISE[:3072])


@pytest.mark.on("erlpy flask", "erlpy starlette", "erlpy django")
def test_bytes_one_by_one(port):
    """Also those of the head."""
    head = f"POST /stream?id={new_id()} HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n"
    request = head.encode() + NOISE[:20]
    with Connection(port) as connection:
        for i in range(len(request)):
            connection.send(request[i : i + 1])
        assert connection.response().json()["sha256"] == sha256(NOISE[:20])
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on("erlpy flask", "erlpy starlette")
def test_chunks_byte_by_byte(port):
    body = b"5;x=y\r\nhello\r\nb\r\n wide world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", "Transfer-Encoding: chunked")
        for i in range(len(body)):
            connection.send(body[i : i + 1])
        assert connection.response().json()["sha256"] == sha256(b"hello wide world")
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on(*STREAMING)
def test_slow_reader_slows_the_application_down(server):
    """It is let run ahead by what the sockets hold and the window, not by what it makes."""
    pieces = 1600
    name = new_id()
    before = server.memory("VmRSS")
    with Connection(server.port, window=SMALL_WINDOW) as connection:
        connection.send_head("GET", f"/produce?id={name}&count={pieces}&size={2**16}")
        assert connection.read_head()[0] == 200
        ahead = record(server.port, name, wait=2, least=32 * MIB)
        assert 0 < ahead["length"] < 32 * MIB
        assert server.memory("VmRSS") - before < 32 * MIB
        assert sum(map(len, connection.chunks())) == pieces * 2**16
    assert record(server.port, name)["error"] is None


@pytest.mark.on("erlpy flask", "erlpy django", "erlpy starlette", "uvicorn starlette")
def test_slow_reader_that_goes(server):
    """The application waits in the middle of a piece, and is not left there."""
    name = new_id()
    connection = Connection(server.port, window=SMALL_WINDOW)
    connection.send_head("GET", f"/produce?id={name}&count=1600&size={2**16}")
    assert connection.read_head()[0] == 200
    record(server.port, name, wait=1, least=32 * MIB)
    connection.close()
    if server.app == "starlette":
        # It leaves the generator to the collector, and may be told only now.
        record(server.port, name, wait=0.5)
        with Connection(server.port) as other:
            assert other.get("/collect").json() is True
    seen = record(server.port, name)
    assert seen["ended"] and seen["length"] < 32 * MIB


@pytest.mark.on("erlpy flask", "erlpy django", "erlpy starlette")
def test_handler_that_does_not_read_stops_its_client(server):
    """The body waits in the client, not in the node."""
    target = "/stubborn" if server.app == "starlette" else "/sleep"
    before = server.memory("VmRSS")
    name = new_id()
    with Connection(server.port) as connection:
        connection.send_head("GET", f"{target}?id={name}", f"Content-Length: {LARGE}")
        connection.socket.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < LARGE:
                sent += connection.socket.send(NOISE)
        assert sent < 32 * MIB
        assert server.memory("VmRSS") - before < 32 * MIB
        assert record(server.port, name, wait=0)["ended"] is False


@pytest.mark.on("erlpy flask", "erlpy django", "erlpy starlette")
def test_200_slow_uploads_and_a_fast_one(server, capsys):
    """The fast one is through while all others are in the middle of theirs."""
    port = server.port
    alone = fast_upload(port)
    names = [new_id() for _ in range(SLOW_UPLOADS)]
    with ExitStack() as stack:
        slow = [stack.enter_context(Connection(port)) for _ in names]
        for connection, name in zip(slow, names):
            connection.send_head("POST", f"/stream?id={name}&size=10", "Content-Length: 1000")
            connection.send(NOISE[:10])
        for name in names:
            assert record(port, name, least=10)["ended"] is False
        beside = fast_upload(port, while_waiting=lambda: trickle(slow))
        for name in names:
            assert record(port, name, wait=0)["ended"] is False
        for connection in slow:
            connection.send(NOISE[11:1000])
        whole = sha256(NOISE[:1000])
        assert all(connection.response().json()["sha256"] == whole for connection in slow)
    with capsys.disabled():
        print(f"\n{server.name}: 4 MiB in {alone:.3f} s, {beside:.3f} s beside {SLOW_UPLOADS}")


def trickle(connections):
    """One more byte of each."""
    for connection in connections:
        connection.send(NOISE[10:11])


def fast_upload(port, while_waiting=lambda: None):
    """Seconds for 4 MiB."""
    data = NOISE * 4
    begun = time.monotonic()
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", f"Content-Length: {len(data)}")
        connection.send(data[: len(data) // 2])
        while_waiting()
        connection.send(data[len(data) // 2 :])
        assert connection.response().json()["sha256"] == sha256(data)
    return time.monotonic() - begun
