"""Requests and responses of HTTP/1.1, one connection at a time."""

import pytest
from client import CHUNKED, LAST_CHUNK, LENGTH, Connection, chunked, new_id, post, record, sha256
from test_bodies import NOISE

OURS = ("erlpy flask", "erlpy django", "erlpy django-asgi", "erlpy starlette")
VALIDATED = ("erlpy flask validated", "erlpy django validated")
GOOD = ("gunicorn flask", "uvicorn starlette")


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_keep_alive(port):
    with Connection(port) as connection:
        for _ in range(20):
            response = connection.get("/")
            assert (response.status, response.reason, response.body) == (200, "OK", b"hello\n")
            assert response.header("content-length") == "6"
            assert response.header("date").endswith("GMT")


@pytest.mark.on(*OURS, *GOOD)
def test_connection_close(port):
    with Connection(port) as connection:
        assert connection.get("/", "Connection: close").header("connection") == "close"
        assert connection.is_closed()


@pytest.mark.on(*OURS, "uvicorn starlette")
def test_pipelined_requests(port):
    with Connection(port) as connection:
        connection.send(b"GET /request?n=1 HTTP/1.1\r\nHost: test\r\n\r\n" * 10)
        for _ in range(10):
            assert connection.response().json()["query"] == {"n": ["1"]}


@pytest.mark.on(*OURS)
def test_http_1_0(port):
    with Connection(port) as connection:
        connection.send(b"GET /produce?id=%s&count=3&size=10 HTTP/1.0\r\n\r\n" % new_id().encode())
        response = connection.response()
        assert response.header("transfer-encoding") is None
        assert response.body == bytes(30)


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_head_has_no_body(port):
    with Connection(port) as connection:
        connection.send_head("HEAD", "/")
        response = connection.response("HEAD")
        assert (response.status, response.header("content-length")) == (200, "6")
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on(*OURS, *GOOD)
def test_204_has_no_body(port):
    with Connection(port) as connection:
        response = connection.get("/empty")
        assert response.status == 204
        assert response.header("transfer-encoding") is None
        assert response.header("content-length") in (None, "0")
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_streamed_response(port):
    with Connection(port) as connection:
        response = connection.get(f"/produce?id={new_id()}&count=100&size=1000")
        assert response.header("transfer-encoding") == "chunked"
        assert response.body == bytes(100000)
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_expect_100_continue(port):
    with Connection(port) as connection:
        head = ("Content-Length: 5", "Expect: 100-continue")
        connection.send_head("POST", f"/stream?id={new_id()}", *head)
        assert connection.read_head()[0] == 100
        connection.send(b"hello")
        assert connection.response().json()["sha256"] == sha256(b"hello")


@pytest.mark.on("erlpy flask", "erlpy starlette", *GOOD)
def test_expect_100_continue_in_chunks(port):
    with Connection(port) as connection:
        head = ("Transfer-Encoding: chunked", "Expect: 100-Continue")
        connection.send_head("POST", f"/stream?id={new_id()}", *head)
        assert connection.read_head()[0] == 100
        connection.send(chunked(b"hello") + LAST_CHUNK)
        assert connection.response().json()["sha256"] == sha256(b"hello")


BAD_FRAMING = {
    "both": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "list of lengths": ("Content-Length: 5, 5",),
    "letters": ("Content-Length: five",),
    "negative": ("Content-Length: -5",),
    "plus": ("Content-Length: +5",),
    "empty": ("Content-Length:",),
    "hexadecimal": ("Content-Length: 0x5",),
    "space inside": ("Content-Length: 5 5",),
}


@pytest.mark.on("erlpy flask", "erlpy starlette")
@pytest.mark.parametrize("lines", BAD_FRAMING.values(), ids=BAD_FRAMING)
def test_framing_that_can_be_misunderstood(port, lines):
    name = new_id()
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={name}", *lines)
        connection.send(b"0\r\n\r\n")
        response = connection.response()
        assert (response.status, response.header("connection")) == (400, "close")
        assert connection.is_closed()
    assert record(port, name, wait=0) is None


@pytest.mark.on("erlpy flask", "erlpy starlette")
@pytest.mark.parametrize("coding", ("gzip, chunked", "identity", "chunked, chunked", "xchunked"))
def test_unknown_transfer_encoding(port, coding):
    with Connection(port) as connection:
        connection.send_head("POST", f"/stream?id={new_id()}", f"Transfer-Encoding: {coding}")
        connection.send(LAST_CHUNK)
        assert connection.response().status == 501
        assert connection.is_closed()


@pytest.mark.on("erlpy flask", "erlpy django", "erlpy starlette", *VALIDATED)
@pytest.mark.parametrize("framing", (LENGTH, CHUNKED), ids=str)
def test_answer_without_reading_a_large_body(port, framing):
    """The client sends all of it and still gets to read the response."""
    for status in (200, 403):
        response = post(port, f"/ignore?status={status}", NOISE * 10, framing)
        assert (response.status, response.body) == (status, b"not wanted\n")
        assert response.header("connection") == "close"


@pytest.mark.on(*OURS, *VALIDATED)
def test_answer_without_reading_a_small_body(port):
    """The connection is kept."""
    with Connection(port) as connection:
        for _ in range(3):
            connection.send_head("POST", "/ignore", "Content-Length: 1000")
            connection.send(NOISE[:1000])
            assert connection.response().body == b"not wanted\n"


@pytest.mark.on("erlpy flask", *VALIDATED, "erlpy starlette")
def test_application_that_raises(server):
    """Before the head: 500.  After it the response is cut off, as it must not look whole."""
    with Connection(server.port) as connection:
        response = connection.get("/raise")
        assert response.status == 500
        assert b"by intent" not in response.body
    with Connection(server.port) as connection:
        connection.send_head("GET", "/raise-after")
        with pytest.raises(EOFError):
            connection.response()
    assert server.has_logged(b"by intent")
    with Connection(server.port) as connection:
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on("erlpy starlette")
def test_websocket_is_refused(port):
    with Connection(port) as connection:
        head = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        response = connection.get("/socket", *head, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        assert (response.status, response.reason) == (501, "Not Implemented")
        assert response.header("content-type").startswith("text/plain")
        assert b"WebSocket" in response.body
        assert connection.get("/").body == b"hello\n"


@pytest.mark.on("erlpy starlette")
def test_lifespan_has_started(port):
    with Connection(port) as connection:
        assert connection.get("/started").json() is True


# ---- Headers ----


def seen_request(port, target, *lines):
    with Connection(port) as connection:
        return connection.get(target, *lines).json()


def values(seen, name):
    return [value for key, value in seen["headers"] if key == name]


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_duplicate_fields_are_joined(port):
    seen = seen_request(port, "/request", "X-Many: one", "X-Other: x", "X-Many: two")
    assert ", ".join(values(seen, "x-many")).replace(",two", ", two") == "one, two"


@pytest.mark.on("erlpy flask", "erlpy django", *VALIDATED)
def test_name_with_underscore_is_dropped(port):
    """It would pass for X-Role, which a proxy may have checked."""
    seen = seen_request(port, "/request", "X_Role: admin", "X-Role: guest")
    assert values(seen, "x-role") == ["guest"]
    assert values(seen_request(port, "/request", "X_Role: admin"), "x-role") == []


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_latin_1(port):
    seen = seen_request(port, "/request", "X-Name: caf\u00e9", b"X-Utf: caf\xc3\xa9")
    assert values(seen, "x-name") == ["caf\u00e9"]
    assert values(seen, "x-utf") == ["caf\u00c3\u00a9"]
    with Connection(port) as connection:
        assert connection.get("/header?value=caf%C3%A9").header("x-back") == "caf\u00e9"


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
@pytest.mark.parametrize("size", (100, 4000, 7900))
def test_long_cookie(port, size):
    value = "c" * size
    seen = seen_request(port, "/request", f"Cookie: first=1; long={value}; last=2")
    assert seen["cookies"] == {"first": "1", "long": value, "last": "2"}


@pytest.mark.on(*OURS, *VALIDATED, *GOOD)
def test_path_and_query(port):
    seen = seen_request(port, "/request/caf%C3%A9/x%20y+z?q=%C3%BC&q=+1&empty=")
    assert seen["path"] == "/request/caf\u00e9/x y+z"
    assert seen["query"] == {"q": ["\u00fc", " 1"], "empty": [""]}


@pytest.mark.on(*OURS, *VALIDATED)
def test_path_in_bare_utf_8(port):
    """Not allowed, and sent by some."""
    assert seen_request(port, b"/request/caf\xc3\xa9")["path"] == "/request/caf\u00e9"


@pytest.mark.on(*OURS, *VALIDATED, "gunicorn flask")
def test_encoded_slash_and_dots(port):
    seen = seen_request(port, "/request/a%2Fb/%2e%2e/c")
    assert seen["path"] == "/request/a/b/../c"


@pytest.mark.on(*OURS)
@pytest.mark.parametrize("method", ("PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"))
def test_other_methods_reach_the_application(port, method):
    with Connection(port) as connection:
        connection.send_head(method, "/nowhere")
        assert connection.response().status == 404
        assert connection.get("/").status == 200
