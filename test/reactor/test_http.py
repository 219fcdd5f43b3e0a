"""examples/reactor_echo with HTTP: curl, wrk, and requests that no client sends."""

import random
import re
import threading

import pytest
from servers import DEADLINE, MIB, run

CLOSE = b"Connection: close\r\n"


def curl(server, *options, path="/", input=None):
    url = f"http://127.0.0.1:{server.port}{path}"
    return run("curl", "--silent", "--show-error", "--fail", *options, url, input=input)


def head(method, *lines, target="/", version="1.1"):
    first = f"{method} {target} HTTP/{version}"
    return "\r\n".join([first, "Host: test", *lines, "", ""]).encode()


def response(client, method="GET"):
    """(status, headers, body) of the next response."""
    status = client.file.readline()
    assert status.startswith(b"HTTP/1.1 "), status
    headers = {}
    while (line := client.file.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        assert name.lower() not in headers
        headers[name.lower()] = value.strip()
    has_body = method != "HEAD" and not status.startswith(b"HTTP/1.1 1")
    body = client.exactly(int(headers["content-length"])) if has_body else b""
    return int(status.split()[1]), headers, body


# ---- curl ----


def test_get_brings_the_head(http):
    assert re.fullmatch(
        rb"GET /a\?b=c HTTP/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n"
        rb"User-Agent: curl/[\d.]+\r\nAccept: \*/\*\r\nX-Test: yes\r\n\r\n",
        curl(http, "--header", "X-Test: yes", path="/a?b=c"),
    )


def test_post_brings_the_body(http):
    assert curl(http, "--data-binary", "some words") == b"some words"


def test_a_body_of_20_mb(http, tmp_path):
    data = random.randbytes(20_000_000)
    (tmp_path / "body").write_bytes(data)
    assert curl(http, "--data-binary", f"@{tmp_path}/body") == data


def test_a_chunked_body(http):
    data = random.randbytes(3 * MIB)
    options = ("--header", "Transfer-Encoding: chunked", "--data-binary", "@-")
    assert curl(http, *options, input=data) == data


def test_expect_100_continue(http):
    """curl would wait 20 s for the answer, and be killed."""
    options = ["--header", "Expect: 100-continue", "--expect100-timeout", "20"]
    data = b"a" * MIB
    output = curl(http, *options, "--max-time", "15", "--include", "--data-binary", "@-", input=data)
    assert output.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert output.endswith(b"\r\n\r\n" + data)


def test_head(http):
    output = curl(http, "--head")
    assert output.startswith(b"HTTP/1.1 200 OK\r\n")
    assert int(re.search(rb"Content-Length: (\d+)", output)[1]) > 0
    assert output.endswith(b"\r\n\r\n")


def test_keep_alive(http):
    url = f"http://127.0.0.1:{http.port}/"
    output = run(
        *("curl", "--silent", "--show-error", "--write-out", "%{num_connects} ", "--data", "x"),
        *("--output", "/dev/null", url) * 5,
    )
    assert output.split() == [b"1", b"0", b"0", b"0", b"0"]


def test_http_1_0_is_closed(http):
    assert curl(http, "--http1.0", "--data", "old") == b"old"
    with http.connect() as client:
        client.send(head("GET", version="1.0"))
        assert client.rest().endswith(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")


def test_wrk(http):
    output = run("wrk", "-t1", "-c50", "-d2", f"http://127.0.0.1:{http.port}/").decode()
    assert "Socket errors" not in output and "Non-2xx" not in output, output
    assert int(re.search(r"(\d+) requests in", output)[1]) > 50, output


# ---- Raw requests ----


def test_pipelined_requests(http):
    bodies = [random.randbytes(size) for size in (0, 1, 70_000, 5)]
    requests = [head("POST", f"Content-Length: {len(body)}") + body for body in bodies]
    with http.connect() as client:
        client.send(b"".join(requests))
        for body in bodies:
            assert response(client)[::2] == (200, body)


def test_a_long_pipeline_is_answered_up_to_its_end(http):
    """More than is answered at once, of a client that sends all before it reads."""
    body = b"b" * 1000
    count = 1000
    with http.connect() as client:

        def send():
            client.send((head("POST", "Content-Length: 1000") + body) * count)
            client.end()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for _ in range(count):
            assert response(client)[::2] == (200, body)
        assert client.rest() == b""
        sender.join(DEADLINE)


def test_requests_cut_at_every_byte(http):
    chunked = head("POST", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    requests = head("GET") + chunked + head("HEAD")
    with http.connect() as client:
        for cut in range(len(requests)):
            client.send(requests[:cut])
            client.send(requests[cut:])
            assert response(client)[::2] == (200, head("GET"))
            assert response(client)[::2] == (200, b"abcde")
            assert response(client, "HEAD")[1]["content-length"] == str(len(head("HEAD")))


def test_a_client_that_ends_its_side(http):
    with http.connect() as client:
        client.send(head("POST", "Content-Length: 3") + b"abc")
        client.end()
        assert response(client)[::2] == (200, b"abc")
        assert client.rest() == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        head("GET", "no colon"),
        head("POST", "Content-Length: x"),
        head("POST", "Content-Length: 1", "Content-Length: 2"),
        head("POST", "Transfer-Encoding: chunked") + b"zz\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
    ],
    ids=["no-request", "no-host", "no-field", "length", "lengths", "chunk", "large"],
)
def test_errors(http, request_):
    """Answered, and the end of the connection; what came before them is answered too."""
    with http.connect() as client:
        client.send(head("GET") + request_)
        assert response(client)[0] == 200
        status, headers, body = response(client)
        assert 400 <= status < 500 and headers["connection"] == "close" and body
        assert client.is_closed()


def test_an_error_in_what_follows_a_head_request(http):
    with http.connect() as client:
        client.send(head("HEAD", "Transfer-Encoding: chunked") + b"zz\r\n")
        assert response(client, "HEAD")[0] == 400
        assert client.is_closed()


def test_half_a_request(http):
    with http.connect() as client:
        client.send(head("POST", "Content-Length: 10") + b"half")
        client.end()
        assert response(client)[0] == 400
        assert client.rest() == b""


def test_a_body_that_is_too_large(http):
    """Refused before it is sent, or while it is."""
    size = 65 * MIB
    with http.connect() as client:
        client.send(head("POST", f"Content-Length: {size}", "Expect: 100-continue"))
        assert response(client)[0] == 413
    with http.connect() as client:
        client.send(head("POST", "Transfer-Encoding: chunked"))
        for _ in range(65):
            client.send(b"%x\r\n%b\r\n" % (MIB, bytes(MIB)))
        assert response(client)[0] == 413
        client.end()
        assert client.rest() == b""


def test_other_methods(http):
    with http.connect() as client:
        client.send(head("CONNECT", target="test:80"))
        status, headers, _ = response(client)
        assert (status, headers["allow"]) == (405, "GET, HEAD, POST, PUT")
    with http.connect() as client:
        client.send(head("GET", "Upgrade: websocket", "Connection: upgrade"))
        assert response(client)[0] == 200
        client.send(head("PUT", "Content-Length: 1", "Connection: close") + b"p")
        assert response(client)[::2] == (200, b"p")
        assert client.rest() == b""
