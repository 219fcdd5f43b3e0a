"""Clients that go: their handlers come to know at once, wherever they are, and no handler
goes on for nobody."""

import pytest
from client import Connection, new_id, record
from test_bodies import NOISE

GOODBYES = ("close", "reset")
#: Seconds until a handler has been told; they are given up by record() otherwise.
SOON = 10


def left_by(port, target, goodbye="close", pieces=0):
    """What the record says after the client of a handler that is at work has gone."""
    name = new_id()
    connection = Connection(port)
    connection.send_head("GET", f"{target}?id={name}")
    assert record(port, name, least=1)["ended"] is False
    if pieces:
        status, _, _ = connection.read_head()
        assert status == 200
        connection.file.read(pieces)
    getattr(connection, goodbye)()
    return record(port, name, wait=SOON)


@pytest.mark.on("erlpy flask", "erlpy flask validated", "erlpy django")
@pytest.mark.parametrize("goodbye", GOODBYES)
@pytest.mark.parametrize("busy", ("sleep", "compute"))
def test_handler_at_work_is_cancelled(port, busy, goodbye):
    assert left_by(port, f"/{busy}", goodbye)["error"] == "Cancelled"


@pytest.mark.on("erlpy starlette")
@pytest.mark.parametrize("goodbye", GOODBYES)
def test_handler_that_asks_is_told(port, goodbye):
    assert left_by(port, "/sleep", goodbye)["error"] == "Disconnected"


@pytest.mark.on("uvicorn starlette")
def test_handler_that_asks_is_told_by_uvicorn(port):
    assert left_by(port, "/sleep")["error"] == "Disconnected"


@pytest.mark.on("erlpy starlette")
def test_handler_that_does_not_ask_is_cancelled(port):
    assert left_by(port, "/stubborn")["error"] == "CancelledError"


@pytest.mark.on("erlpy django-asgi")
def test_async_view_is_cancelled(port):
    """Django 3.2 does not look for http.disconnect."""
    assert left_by(port, "/async-sleep")["error"] == "CancelledError"


@pytest.mark.on("erlpy flask", "erlpy flask validated", "erlpy django")
@pytest.mark.parametrize("goodbye", GOODBYES)
def test_streaming_ends_and_the_iterable_is_closed(port, goodbye):
    """By the exception, where the generator is running; else by its close()."""
    assert left_by(port, "/drip", goodbye, pieces=10)["error"] in ("Cancelled", "GeneratorExit")


@pytest.mark.on("erlpy starlette", "uvicorn starlette")
def test_streaming_ends(port):
    assert left_by(port, "/drip", pieces=10)["error"] in ("CancelledError", "GeneratorExit")


@pytest.mark.on("erlpy flask", "erlpy django")
def test_handler_that_has_read_its_body_is_cancelled(server):
    name = new_id()
    connection = Connection(server.port)
    connection.send_head("POST", f"/read-and-wait?id={name}", f"Content-Length: {len(NOISE)}")
    connection.send(NOISE)
    assert record(server.port, name, least=len(NOISE))["length"] == len(NOISE)
    connection.close()
    seen = record(server.port, name, wait=SOON)
    assert (seen["error"], seen["length"]) == ("Cancelled", len(NOISE))


@pytest.mark.on("erlpy flask", "erlpy django")
def test_handler_that_goes_on_after_half_a_body_is_cancelled(server):
    """It has its exception in the read, and waits nevertheless."""
    name = new_id()
    connection = Connection(server.port)
    connection.send_head("POST", f"/read-and-wait?id={name}", f"Content-Length: {len(NOISE)}")
    connection.send(NOISE[:1000])
    assert record(server.port, name, least=0)
    connection.close()
    assert record(server.port, name, wait=SOON)["error"] == "Cancelled"


@pytest.mark.on("erlpy starlette")
def test_starlette_handler_that_has_read_its_body_is_told(port):
    name = new_id()
    connection = Connection(port)
    connection.send_head("POST", f"/read-and-wait?id={name}", "Content-Length: 1000")
    connection.send(NOISE[:1000])
    assert record(port, name, least=1000)["length"] == 1000
    connection.close()
    assert record(port, name, wait=SOON)["error"] == "Disconnected"


@pytest.mark.on("erlpy flask", "erlpy starlette")
def test_many_that_go(server):
    """A hundred handlers at work, all left at once."""
    names = [new_id() for _ in range(100)]
    connections = [Connection(server.port) for _ in names]
    for connection, name in zip(connections, names):
        connection.send_head("GET", f"/sleep?id={name}")
    for name in names:
        assert record(server.port, name, least=1)["ended"] is False
    for connection in connections:
        connection.close()
    errors = {record(server.port, name, wait=SOON)["error"] for name in names}
    assert errors == {"Cancelled" if server.app == "flask" else "Disconnected"}
    with Connection(server.port) as connection:
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on("erlpy flask validated", "erlpy django validated")
def test_validator_has_seen_each_iterable_closed(server):
    """wsgiref.validate writes so when one is collected that was not."""
    left_by(server.port, "/drip", pieces=3)
    with Connection(server.port) as connection:
        assert connection.get("/").body == b"hello\n"
    assert b"without being closed" not in server.log.read_bytes()


def test_lifespan_ends_with_the_server(running_alone):
    server = running_alone("erlpy starlette")
    with Connection(server.port) as connection:
        assert connection.get("/started").json() is True
    assert server.end()
    assert b"lifespan: shutdown" in server.log.read_bytes()
