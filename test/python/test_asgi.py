"""erlang.asgi: what ASGI 3 demands of a server, as applications and as Erlang see it."""

import asyncio

import pytest

import erlang
from erlang import asgi
from erlang.testing import Writer, make_buffer, make_channel
from web_support import make_request, response_of

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1")]}
DISCONNECT = {"type": "http.disconnect"}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def respond(app, content=None, *, max_size=None, **more):
    peer = make_channel(max_size)
    value = await asgi.run(app, make_request(content, response=peer.channel, **more))
    return response_of(peer, value)


def serve(app, content=None, **more):
    return asyncio.run(respond(app, content, **more))


def answering(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def scope_of(**more):
    found = []

    async def app(scope, receive, send):
        found.append(scope)
        await send(START)
        await send(body())

    serve(app, **more)
    return found[0]


async def settle():
    """What is ready to run has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


# ---- The scope ----


def test_scope_of_a_bare_request():
    assert scope_of() == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }


def test_a_scope_is_of_one_request():
    first, second = scope_of(), scope_of()
    first["asgi"]["version"] = "changed"
    assert second["asgi"]["version"] == "3.0" == scope_of()["asgi"]["version"]


def test_scope_of_a_full_request():
    scope = scope_of(
        method="PUT",
        raw_path="/mount/%C3%A9%20b",
        query_string="x=%20",
        script_name="/mount",
        http_version="2",
        scheme="https",
        server=("example.org", 8443),
        client=("10.0.0.1", 4711),
        headers=[("X-One", "1"), ("x_two", b"\xff"), ("X-One", "é")],
    )
    assert scope["method"] == "PUT" and scope["http_version"] == "2"
    assert scope["path"] == "/mount/é b" and scope["raw_path"] == b"/mount/%C3%A9%20b"
    assert scope["query_string"] == b"x=%20" and scope["root_path"] == "/mount"
    assert scope["scheme"] == "https"
    assert scope["server"] == ("example.org", 8443) and scope["client"] == ("10.0.0.1", 4711)
    assert scope["headers"] == [
        (b"x-one", b"1"), (b"x_two", b"\xff"), (b"x-one", "é".encode()),
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["method", "raw_path", "headers", "response"])
def test_a_part_that_is_missing_is_named(missing):
    request = make_request(response=make_channel().channel)
    del request[missing]
    with pytest.raises(ValueError, match=missing):
        asyncio.run(asgi.run(answering(START, body()), request))


# ---- receive() ----


def receiving(events, count):
    async def app(scope, receive, send):
        for _ in range(count):
            events.append(await receive())
        await send(START)
        await send(body())

    return app


def test_no_body_is_one_empty_event():
    events = []
    serve(receiving(events, 1))
    assert events == [{"type": "http.request", "body": b"", "more_body": False}]


def test_events_of_a_body():
    events = []
    data = bytes(range(256)) * 1024
    serve(receiving(events, 4), data)
    assert b"".join(event["body"] for event in events) == data
    assert [event["more_body"] for event in events] == [True, True, True, False]


def test_events_come_while_the_body_does():
    async def main():
        writer, events = Writer(), []
        peer = make_channel()
        request = make_request(writer.buffer, response=peer.channel)
        task = asyncio.create_task(asgi.run(receiving(events, 3), request))
        for number, piece in enumerate((b"one", b"two")):
            await settle()
            assert len(events) == number
            writer.write(piece)
            await until(lambda: len(events) > number)
            assert events[-1] == {"type": "http.request", "body": piece, "more_body": True}
        writer.close()
        await task
        assert events[-1] == {"type": "http.request", "body": b"", "more_body": False}
        assert writer.info()["reader_closed"]

    asyncio.run(main())


def test_an_aborted_body_is_a_disconnect():
    writer = Writer(length=100)
    writer.write(b"half")
    writer.abort("gone")
    events = []
    serve(receiving(events, 3), writer.buffer)
    assert events[0] == {"type": "http.request", "body": b"half", "more_body": True}
    assert events[1:] == [DISCONNECT, DISCONNECT]


def test_after_the_body_receive_waits_for_the_end():
    async def main():
        events = []

        async def app(scope, receive, send):
            await receive()
            waiting = asyncio.create_task(receive())
            await settle()
            assert not waiting.done()
            await send(START)
            await send(body())
            events.append(await waiting)
            events.append(await receive())

        await respond(app)
        await until(lambda: len(events) == 2)
        assert events == [DISCONNECT, DISCONNECT]

    asyncio.run(main())


# ---- send() ----


def test_one_body_is_the_value_of_the_call():
    response = serve(answering(START, body(b"all")))
    assert response.whole
    assert (response.status, response.phrase) == (200, b"OK")
    assert response.headers == [(b"x-one", b"1")] and response.body == b"all"


def test_bodies_are_sent_as_they_are_made():
    async def main():
        peer = make_channel()

        async def app(scope, receive, send):
            await send(START)
            assert peer.info()["outbox"]["messages"] == 0
            await send(body(b"one", True))
            assert peer.recv(0) == (200, b"OK", [(b"x-one", b"1")], b"one")
            await send(body(b"", True))
            await send(body(b"two", True))
            assert peer.recv(0) == b"two"
            await send(body(memoryview(b"three")))

        assert await asgi.run(app, make_request(response=peer.channel)) is None
        assert peer.recv(0) == b"three"

    asyncio.run(main())


def test_a_slow_client_slows_the_application_down():
    async def main():
        peer, sent = make_channel(max_size=1000), 0

        async def app(scope, receive, send):
            nonlocal sent
            await send(START)
            for _ in range(100):
                await send(body(b"x" * 400, True))
                sent += 1
            await send(body())

        task = asyncio.create_task(asgi.run(app, make_request(response=peer.channel)))
        await until(lambda: peer.info()["outbox"]["waiting_senders"] == 1)
        await settle()
        assert sent < 5
        received = 0
        while received < 40000:
            message = await asyncio.to_thread(peer.recv, 10)
            received += len(message[3] if isinstance(message, tuple) else message)
        await task
        assert sent == 100

    asyncio.run(main())


@pytest.mark.parametrize(
    "method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)]
)
@pytest.mark.parametrize("bodies", [[body(b"data")], [body(b"da", True), body(b"ta")]])
def test_responses_that_have_no_body(method, status, bodies):
    headers = [(b"content-length", b"4")] if method == "HEAD" else []
    start = {**START, "status": status, "headers": headers}
    response = serve(answering(start, *bodies), method=method)
    assert response.status == status and response.body == b""
    assert response.headers == headers


def test_transfer_encoding_is_for_the_server():
    start = {**START, "headers": [(b"Transfer-Encoding", b"chunked"), (b"a", b" b ")]}
    assert serve(answering(start, body())).headers == [(b"a", b"b")]


@pytest.mark.parametrize(
    "messages, error, text",
    [
        ([body()], RuntimeError, "before 'http.response.start'"),
        ([START, START], RuntimeError, "was sent before"),
        ([], RuntimeError, "without a complete response"),
        ([START], RuntimeError, "without a complete response"),
        ([START, body(b"x", True)], RuntimeError, "without a complete response"),
        ([START, body("text")], TypeError, "body must be bytes, not str"),
        ([{"type": "websocket.accept"}], ValueError, "websocket.accept"),
        ([{**START, "status": "200"}], ValueError, "status"),
        ([{**START, "status": 99}], ValueError, "status"),
        ([{**START, "headers": [("a", b"b")]}], TypeError, "pairs of bytes"),
        ([{**START, "headers": [(b"a", b"b\r\nc: d")]}], ValueError, "line break"),
        ([{**START, "headers": [(b"a b", b"c")]}], ValueError, "header name"),
        ([{**START, "headers": [(b"content-length", b"x")]}], ValueError, "no number"),
    ],
)
def test_messages_that_break_the_rules(messages, error, text):
    with pytest.raises(error, match=text):
        serve(answering(*messages))


LENGTH_4 = {**START, "headers": [(b"content-length", b"4")]}


@pytest.mark.parametrize(
    "bodies",
    [[body(b"123")], [body(b"123", True), body()], [body(b"12345")], [body(b"1234", True), body(b"5")]],
)
def test_a_body_of_another_length_than_declared(bodies):
    with pytest.raises(RuntimeError, match="Content-Length"):
        serve(answering(LENGTH_4, *bodies))


def test_an_application_that_fails():
    async def app(scope, receive, send):
        await send(START)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        serve(app)


# ---- The end of the response, and of the client ----


def test_the_application_goes_on_after_its_response():
    async def main():
        go, ended = asyncio.Event(), []

        async def app(scope, receive, send):
            await send(START)
            await send(body(b"x"))
            with pytest.raises(RuntimeError, match="after the end"):
                await send(body(b"more"))
            await go.wait()
            ended.append(True)

        assert (await respond(app)).body == b"x"
        assert not ended
        go.set()
        await until(lambda: ended and not asgi._running)

    asyncio.run(main())


def test_a_failure_after_the_response_is_reported():
    async def main():
        reports = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

        async def app(scope, receive, send):
            await send(START)
            await send(body())
            raise KeyError("late")

        await respond(app)
        await until(lambda: reports)
        assert isinstance(reports[0]["exception"], KeyError)

    asyncio.run(main())


async def cancelled(app, writer):
    """A request whose client goes away once the application waits."""
    peer = make_channel()
    request = make_request(writer.buffer, response=peer.channel)
    task = asyncio.create_task(asgi.run(app, request))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_client_that_has_gone():
    """receive() says so, a body that was not whole is none, send() raises."""

    async def main():
        seen, writer = [], Writer()

        async def app(scope, receive, send):
            seen.append(await receive())
            for message in (START, body()):
                try:
                    await send(message)
                except OSError as error:
                    seen.append(type(error))

        await cancelled(app, writer)
        await until(lambda: len(seen) == 3)
        assert seen == [DISCONNECT, asgi.ClientDisconnected, asgi.ClientDisconnected]
        assert writer.info()["reader_closed"]

    asyncio.run(main())


def test_an_application_that_does_not_care_is_cancelled(monkeypatch):
    monkeypatch.setattr(asgi, "GRACE", 0.05)

    async def main():
        ended = []

        async def app(scope, receive, send):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append(True)
                raise

        await cancelled(app, Writer())
        assert not ended
        await until(lambda: ended)

    asyncio.run(main())


def test_a_closed_channel_is_a_client_that_has_gone():
    peer = make_channel()
    peer.close()
    with pytest.raises(asgi.ClientDisconnected):
        app = answering(START, body(b"x", True), body())
        asyncio.run(asgi.run(app, make_request(response=peer.channel)))


def test_websocket_is_refused():
    called = []

    async def app(scope, receive, send):
        called.append(scope)

    headers = [("Connection", "Upgrade"), ("Upgrade", "WebSocket")]
    response = serve(app, headers=headers)
    assert response.status == 501 and b"WebSocket" in response.body and not called


# ---- Lifespan ----


class Life:
    """An application that records its lifespan."""

    def __init__(self, *, fails=None, stays=True):
        self.events, self.fails, self.stays = [], fails, stays

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.events.append(dict(scope["state"]))
            scope["state"]["own"] = "of one request"
            await send(START)
            await send(body())
            return
        scope["state"]["pool"] = self
        for phase in ("startup", "shutdown"):
            event = await receive()
            assert event == {"type": "lifespan." + phase}
            self.events.append(phase)
            outcome = "failed" if phase == self.fails else "complete"
            await send({"type": f"lifespan.{phase}.{outcome}", "message": "why"})
            if phase == "startup" and not self.stays:
                return
        await asyncio.sleep(0.01)
        self.events.append("returned")


async def begun(app):
    peer = make_channel()
    task = asyncio.create_task(asgi.lifespan(app, peer.channel))
    assert await asyncio.to_thread(peer.recv, 10) == "started"
    return peer, task


def test_lifespan():
    async def main():
        app = Life()
        peer, task = await begun(app)
        await respond(app)
        await respond(app)
        assert app.events == ["startup", {"pool": app}, {"pool": app}]
        peer.close()
        assert await task is None
        assert app.events[-2:] == ["shutdown", "returned"]
        with pytest.raises(KeyError):  # the state ends with the lifespan
            await respond(app)

    asyncio.run(main())


def test_an_application_without_lifespan():
    async def app(scope, receive, send):
        assert scope["type"] == "http"

    reason = asyncio.run(asgi.lifespan(app, make_channel().channel))
    assert reason.startswith("no lifespan: AssertionError")


def test_a_startup_that_fails():
    with pytest.raises(RuntimeError, match="the startup of the application failed: why"):
        asyncio.run(asgi.lifespan(Life(fails="startup"), make_channel().channel))


def test_a_shutdown_that_fails():
    async def main():
        peer, task = await begun(Life(fails="shutdown"))
        peer.close()
        with pytest.raises(RuntimeError, match="the shutdown of the application failed: why"):
            await task

    asyncio.run(main())


def test_a_lifespan_that_returns_early():
    async def main():
        _, task = await begun(Life(stays=False))
        assert await task is None

    asyncio.run(main())


def test_a_lifespan_that_is_cancelled():
    async def main():
        app = Life()
        _, task = await begun(app)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: app.events == ["startup", "shutdown", "returned"])

    asyncio.run(main())


def test_messages_that_are_none_of_a_lifespan():
    errors = []

    async def app(scope, receive, send):
        await receive()
        for message in ("http.response.start", "lifespan.startup.begun"):
            try:
                await send({"type": message})
            except ValueError as error:
                errors.append(str(error))
        await send({"type": "lifespan.startup.complete"})
        try:
            await send({"type": "lifespan.startup.complete"})
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        _, task = await begun(app)
        await task

    asyncio.run(main())
    assert len(errors) == 3


def test_module_is_an_attribute_of_the_package():
    assert erlang.asgi is asgi
    assert make_buffer  # the package has loaded
