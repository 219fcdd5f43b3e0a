"""erlang.wsgi: what PEP 3333 demands of a server, with wsgiref's validator around each
application that does not break the rules on purpose."""

import io
import sys
from wsgiref.validate import validator

import pytest

import erlang
from erlang import BufferAborted, ChannelClosed, wsgi
from erlang.testing import Writer, make_buffer, make_channel
from support import Background, wait_for_channel, wait_for_readers
from web_support import make_request, response_of

PLAIN = [("Content-Type", "text/plain")]


def serve(app, body=None, *, valid=True, **more):
    peer = make_channel()
    if valid:
        app = validator(app)
    return response_of(peer, wsgi.run(app, make_request(body, response=peer.channel, **more)))


def environ_of(**more):
    """What an application is given."""
    found = []

    def app(environ, start_response):
        found.append(environ)
        start_response("200 OK", PLAIN)
        return [b""]

    serve(app, **more)
    return found[0]


class Body:
    """The iterable of a response, which records how it is used."""

    def __init__(self, items):
        self.items, self.closed, self.taken = iter(items), 0, 0

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.taken += 1
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self):
        self.closed += 1


def answering(body, headers=PLAIN, status="200 OK"):
    def app(environ, start_response):
        start_response(status, list(headers))
        return body

    return app


# ---- environ ----


def test_environ_of_a_bare_request():
    environ = environ_of()
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == "" and environ["PATH_INFO"] == "/"
    assert environ["QUERY_STRING"] == ""
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["wsgi.version"] == (1, 0) and environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is True
    assert environ["wsgi.multiprocess"] is environ["wsgi.run_once"] is False
    assert environ["wsgi.input_terminated"] is True
    assert "CONTENT_LENGTH" not in environ and "CONTENT_TYPE" not in environ
    assert "REMOTE_ADDR" not in environ


def test_environ_of_a_full_request():
    environ = environ_of(
        method="PUT",
        raw_path="/mount/a%20b",
        query_string="x=1&y=%20",
        script_name="/mount",
        http_version="1.0",
        scheme="https",
        server=("example.org", 8443),
        client=("10.0.0.1", 4711),
        headers=[("Content-Type", "a/b"), ("Content-Length", "0"), ("X-One", "1")],
    )
    assert environ["REQUEST_METHOD"] == "PUT"
    assert environ["SCRIPT_NAME"] == "/mount" and environ["PATH_INFO"] == "/a b"
    assert environ["QUERY_STRING"] == "x=1&y=%20"
    assert environ["RAW_URI"] == "/mount/a%20b?x=1&y=%20"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert environ["wsgi.url_scheme"] == "https"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", "8443")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.1", "4711")
    assert environ["CONTENT_TYPE"] == "a/b" and environ["CONTENT_LENGTH"] == "0"
    assert environ["HTTP_X_ONE"] == "1"
    assert "HTTP_CONTENT_TYPE" not in environ and "HTTP_CONTENT_LENGTH" not in environ


@pytest.mark.parametrize("octets", ["é", "é".encode(), b"\xe9", b"\xff\xc3"])
def test_bytes_are_their_code_points(octets):
    """Whether they arrive as str, since they are UTF-8, or as bytes."""
    raw = octets.encode() if isinstance(octets, str) else octets
    name = b"/" + raw if isinstance(octets, bytes) else "/" + octets
    environ = environ_of(
        raw_path=name, query_string=octets, headers=[("X-Text", octets)], client=("a", 1)
    )
    for key in ("QUERY_STRING", "HTTP_X_TEXT"):
        assert environ[key].encode("latin-1") == raw
    assert environ["PATH_INFO"].encode("latin-1") == b"/" + raw


def test_percent_encoded_path():
    environ = environ_of(raw_path="/%C3%A9%2F%zz")
    assert environ["PATH_INFO"].encode("latin-1") == b"/\xc3\xa9/%zz"


def test_headers_of_one_name_are_joined():
    headers = [("Accept", "a"), ("Cookie", "x=1"), ("accept", "b"), ("cookie", "y=2")]
    environ = environ_of(headers=headers)
    assert environ["HTTP_ACCEPT"] == "a, b" and environ["HTTP_COOKIE"] == "x=1; y=2"


def test_underscores_do_not_pass_for_hyphens():
    environ = environ_of(headers=[("X_Forwarded_For", "evil"), ("X-Forwarded-For", "good")])
    assert environ["HTTP_X_FORWARDED_FOR"] == "good"


@pytest.mark.parametrize("missing", ["method", "raw_path", "headers", "response"])
def test_a_part_that_is_missing_is_named(missing):
    request = make_request(response=make_channel().channel)
    del request[missing]
    with pytest.raises(ValueError, match=missing):
        wsgi.run(answering([b""]), request)


# ---- wsgi.input ----


def test_reads_of_the_input_are_full():
    """Those of PEP 3333 are, while a PyBuffer gives what is there."""
    writer, read = Writer(), []

    def app(environ, start_response):
        read.append(environ["wsgi.input"].read(8))
        start_response("200 OK", PLAIN)
        return [b""]

    peer = make_channel()
    background = Background(
        wsgi.run, validator(app), make_request(writer.buffer, response=peer.channel)
    )
    wait_for_readers(writer)
    writer.write(b"four")
    wait_for_readers(writer)
    writer.write(b"four and more")
    background.result()
    assert read == [b"fourfour"]
    assert writer.info()["reader_closed"]


def test_lines_of_the_input():
    def app(environ, start_response):
        stream = environ["wsgi.input"]
        start_response("200 OK", PLAIN)
        return [b"|".join([stream.readline(), *stream.readlines(1), *iter(stream)])]

    assert serve(app, b"a\nb\nc\nd").body == b"a\n|b\n|c\n|d"


def test_no_body_is_an_empty_input():
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return [repr(environ["wsgi.input"].read(1)).encode()]

    assert serve(app).body == b"b''"


def test_an_aborted_body_never_looks_whole():
    writer = Writer(length=100)
    writer.write(b"half")
    writer.abort("client_gone")

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return [environ["wsgi.input"].read(100)]

    with pytest.raises(BufferAborted, match="client_gone"):
        serve(app, writer.buffer)


def test_the_body_is_closed_when_the_application_fails():
    writer, kept = Writer(), []

    def app(environ, start_response):
        kept.append(environ)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        serve(app, writer.buffer, valid=False)
    assert writer.info()["reader_closed"]


@pytest.mark.parametrize("size", [0, 1, 5000000])
def test_spooled_body_has_a_length(size):
    data = b"x" * size

    def app(environ, start_response):
        length = int(environ["CONTENT_LENGTH"])
        assert "HTTP_TRANSFER_ENCODING" not in environ
        start_response("200 OK", PLAIN)
        return [b"%d %d" % (length, len(environ["wsgi.input"].read(length)))]

    headers = [("Transfer-Encoding", "chunked")]
    response = serve(app, make_buffer(data), headers=headers, spool=True)
    assert response.body == b"%d %d" % (size, size)


def test_spooled_body_that_fails():
    writer = Writer()
    writer.write(b"half")
    writer.abort("gone")
    with pytest.raises(BufferAborted):
        serve(answering([b""]), writer.buffer, spool=True)


# ---- The response ----


def test_one_item_is_the_value_of_the_call():
    response = serve(answering([b"body"]), valid=False)
    assert response.whole
    assert (response.status, response.phrase) == (200, b"OK")
    assert response.headers == [(b"Content-Type", b"text/plain")]
    assert response.body == b"body"


def test_items_are_sent_as_they_are_made():
    peer = make_channel()

    def items():
        yield b""
        assert peer.info()["outbox"]["messages"] == 0
        yield b"one"
        assert peer.recv(0) == (200, b"OK", [(b"Content-Type", b"text/plain")], b"one")
        yield b""
        yield b"two"
        assert peer.recv(0) == b"two"

    assert wsgi.run(answering(items()), make_request(response=peer.channel)) is None
    assert peer.info()["outbox"]["messages"] == 0


def test_a_response_without_items():
    body = Body([])
    response = serve(answering(body))
    assert response.status == 200 and response.body == b"" and body.closed == 1


def test_status_may_come_with_the_first_item():
    def app(environ, start_response):
        start_response("404 Not here", PLAIN)
        yield b"body"

    response = serve(app)
    assert (response.status, response.phrase) == (404, b"Not here")


def test_a_slow_client_slows_the_application_down():
    peer = make_channel(max_size=1000)
    body = Body(b"x" * 400 for _ in range(100))
    background = Background(
        wsgi.run, answering(body), make_request(response=peer.channel)
    )
    wait_for_channel(peer, way="outbox", senders=1)
    assert body.taken < 5
    received = 0
    for message in iter(lambda: peer.recv(5), None):
        received += len(message[3] if isinstance(message, tuple) else message)
        if received == 40000:
            break
    background.result()
    assert body.closed == 1


def test_a_client_that_has_gone_ends_the_response():
    peer = make_channel()
    peer.close()
    body = Body([b"one", b"two"])
    with pytest.raises(ChannelClosed):
        wsgi.run(answering(body), make_request(response=peer.channel))
    assert body.closed == 1


@pytest.mark.parametrize("items", [[b"x", ValueError("mine")], [ValueError("mine")]])
def test_close_is_called_when_an_item_fails(items):
    body = Body(items)
    with pytest.raises(ValueError, match="mine"):
        serve(answering(body), valid=False)
    assert body.closed == 1


def test_close_is_called_before_the_input_is_closed():
    class Reading(Body):
        def close(self):
            super().close()
            self.left = self.input.read(4)

    body = Reading([b"x"])

    def app(environ, start_response):
        body.input = environ["wsgi.input"]
        start_response("200 OK", PLAIN)
        return body

    serve(app, b"left", valid=False)
    assert body.left == b"left"


def test_write_callable():
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        write(b"one,")
        write(b"")
        write(b"two,")
        return [b"three"]

    response = serve(app)
    assert response.pieces == [b"one,", b"two,", b"three"]


def test_file_wrapper():
    class File(io.BytesIO):
        closes = 0

        def close(self):
            File.closes += 1
            super().close()

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](File(b"x" * 150000), 65536)

    response = serve(app)
    assert [len(piece) for piece in response.pieces] == [65536, 65536, 18928]
    assert File.closes == 1


# ---- Length ----


def test_nothing_is_iterated_after_the_declared_length():
    body = Body([b"four", b"more"])
    headers = [*PLAIN, ("Content-Length", "4")]
    response = serve(answering(body, headers), valid=False)
    assert response.body == b"four" and body.taken == 1 and body.closed == 1


def test_what_exceeds_the_length_is_cut_off():
    headers = [*PLAIN, ("Content-Length", "4")]
    assert serve(answering(Body([b"123456"]), headers)).body == b"1234"
    assert serve(answering([b"123456"], headers), valid=False).body == b"1234"


@pytest.mark.parametrize("body", [[b"123"], Body([b"1", b"23"]), Body([])])
def test_a_response_that_is_too_short_is_an_error(body):
    with pytest.raises(RuntimeError, match="before its Content-Length"):
        serve(answering(body, [*PLAIN, ("Content-Length", "4")]), valid=False)


def test_write_of_too_much_is_an_error():
    def app(environ, start_response):
        start_response("200 OK", [*PLAIN, ("Content-Length", "4")])(b"12345")
        return []

    with pytest.raises(RuntimeError, match="Content-Length"):
        serve(app, valid=False)


@pytest.mark.parametrize(
    "method, status, headers",
    [
        ("HEAD", "200 OK", [*PLAIN, ("Content-Length", "4")]),
        ("GET", "204 No Content", []),
        ("GET", "304 Not Modified", []),
    ],
)
@pytest.mark.parametrize("body", [[b"body"], (b"bo", b"dy"), []])
def test_responses_that_have_no_body(method, status, headers, body):
    response = serve(answering(body, headers, status), method=method, valid=False)
    assert response.status == int(status[:3]) and response.body == b""
    assert len(response.headers) == len(headers)


# ---- start_response ----


def raised():
    try:
        raise LookupError("late")
    except LookupError:
        return sys.exc_info()


def test_exc_info_replaces_a_head_that_was_not_sent():
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        start_response("500 Oops", [*PLAIN, ("X-Error", "1")], raised())
        return [b"error"]

    response = serve(app)
    assert response.status == 500 and response.header(b"x-error") == [b"1"]


def test_exc_info_is_raised_after_the_head():
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"begun"
        start_response("500 Oops", PLAIN, raised())

    with pytest.raises(LookupError, match="late"):
        serve(app)


def test_start_response_twice():
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)
        return []

    with pytest.raises(RuntimeError, match="start_response"):
        serve(app, valid=False)


def test_start_response_never():
    for body in ([b"x"], Body([b"x"]), []):
        with pytest.raises(RuntimeError, match="has not called start_response"):
            serve(lambda environ, start_response, body=body: body, valid=False)


@pytest.mark.parametrize(
    "status, headers, error",
    [
        (200, [], TypeError),
        ("200", [("A", 1)], TypeError),
        (b"200 OK", [], TypeError),
        ("", [], ValueError),
        ("20", [], ValueError),
        ("2000 OK", [], ValueError),
        ("099 No", [], ValueError),
        ("abc", [], ValueError),
        ("200 OK\r\nX: y", [], ValueError),
        ("200 OK", [("A", "b\r\nC: d")], ValueError),
        ("200 OK", [("A", "b\nd")], ValueError),
        ("200 OK", [("A", "b\0")], ValueError),
        ("200 OK", [("A b", "c")], ValueError),
        ("200 OK", [("A:", "c")], ValueError),
        ("200 OK", [("", "c")], ValueError),
        ("200 OK", [(b"A", "c")], TypeError),
        ("200 OK", [("Content-Length", "-1")], ValueError),
        ("200 OK", [("Content-Length", "x")], ValueError),
        ("200 OK", [("Connection", "close")], ValueError),
        ("200 OK", [("Transfer-Encoding", "chunked")], ValueError),
        ("200 OK", [("A", "\u0100")], ValueError),
    ],
)
def test_bad_heads_are_refused(status, headers, error):
    with pytest.raises(error):
        serve(answering([b""], headers, status), valid=False)


@pytest.mark.parametrize("item", ["text", bytearray(b"x"), None, 7])
def test_items_that_are_not_bytes(item):
    for body in ([item], [item, item]):
        with pytest.raises(TypeError, match=type(item).__name__):
            serve(answering(body), valid=False)


# ---- Applications by name ----


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


SOURCE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from " + environ["PATH_INFO"].encode()]

class Holder:
    held = staticmethod(application)

number = 7

async def asgi(scope, receive, send):
    pass

class Asgi:
    async def __call__(self, scope, receive, send):
        pass

instance = Asgi()
"""


def test_applications_by_name(modules):
    from erlang._web import interface

    (modules / "named_app.py").write_text(SOURCE)
    names = ["named_app", "named_app:application", "named_app:Holder.held"]
    for name in names:
        assert serve(name, valid=False, raw_path="/x").body == b"from /x"
        assert interface(name) == "wsgi"
    assert interface("named_app:asgi") == interface("named_app:instance") == "asgi"


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("absent_module:app", ModuleNotFoundError, "absent_module"),
        ("named_bad:nothing", AttributeError, "'nothing'"),
        ("named_bad:number", TypeError, "not callable"),
        ("named_empty", AttributeError, "module:attribute"),
        (":app", ValueError, "module:attribute"),
        ("named_bad:", ValueError, "module:attribute"),
    ],
)
def test_names_of_no_application(modules, name, error, message):
    (modules / "named_bad.py").write_text(SOURCE)
    (modules / "named_empty.py").write_text("")
    with pytest.raises(error, match=message):
        serve(name, valid=False)


def test_module_is_an_attribute_of_the_package():
    assert erlang.wsgi is wsgi
