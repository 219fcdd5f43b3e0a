"""ASGI 3 applications for requests that Erlang sends.

py_web makes the calls; run() and lifespan() are coroutines that they call, on an event
loop of erlpy:

    {ok, App} = py_web:load(<<"module:app">>),
    {ok, Exchange} = py_web:start(App, Request),

receive() takes the body from the buffer as it arrives; send() waits while the client is
slow.
"""

import asyncio
from urllib.parse import unquote_to_bytes

from erlang import BufferAborted, ChannelClosed, aio
from erlang._web import (
    Sizer,
    application,
    check_header,
    field,
    has_body,
    length_of,
    octets,
    phrase_of,
)

__all__ = ["ClientDisconnected", "lifespan", "make_scope", "run"]

#: Bytes of the body in an event of receive(), at most.
CHUNK_SIZE = 2**16
#: Seconds from http.disconnect, or a shutdown that nobody waits for, until an application
#: is cancelled that has not ended.
GRACE = 5.0

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}
_LIFESPAN_VERSIONS = {"version": "3.0", "spec_version": "2.0"}
_NO_WEBSOCKET = (
    501,
    b"Not Implemented",
    [(b"content-type", b"text/plain; charset=utf-8")],
    b"WebSocket is not supported here.\n",
)

# A loop keeps no reference to its tasks.
_running = set()
# The state of an application's lifespan, by application.
_states = {}


class ClientDisconnected(OSError):
    """send() has nobody to send to: the client is gone (ASGI, HTTP version 2.4)."""


# ---- The request ----


def make_scope(request, state=None):
    """The connection scope of a request (ASGI, "HTTP Connection Scope").

    request: as for erlang.wsgi.make_environ(); `script_name` is the root_path.
    state: what the lifespan of the application left, or None.
    """
    raw_path = octets(field(request, "raw_path"))
    scope = {
        "type": "http",
        "asgi": _VERSIONS.copy(),
        "http_version": _text(request.get("http_version", "1.1")),
        "method": _text(field(request, "method")),
        "scheme": _text(request.get("scheme", "http")),
        "path": _decoded(raw_path),
        "raw_path": raw_path,
        "query_string": octets(request.get("query_string", "")),
        "root_path": _text(request.get("script_name", "")),
        "headers": [
            (octets(name).lower(), octets(value)) for name, value in field(request, "headers")
        ],
        "client": _address(request.get("client")),
        "server": _address(request.get("server")),
    }
    if state is not None:
        scope["state"] = state.copy()
    return scope


def _decoded(raw_path):
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    return path.decode("utf-8", "replace")


def _text(text):
    return text if type(text) is str else bytes(text).decode("utf-8", "replace")


def _address(pair):
    return None if pair is None else (_text(pair[0]), pair[1])


# ---- One request ----


async def run(app, request):
    """Answers one request by an ASGI application.

    app: the application, or its name "module:attribute".
    request: a dict, as make_scope() takes it; `body` is a PyBuffer or None, `response`
        the Channel for the response.

    It ends with the response; what the application does after that goes on by itself.
    Returns and puts into the channel what erlang._web describes.  A cancelled call is a
    client that has gone: receive() gives http.disconnect, send() raises
    ClientDisconnected, and an application that has not ended after GRACE
    seconds is cancelled.  Raises what the application raises before its response is
    complete, and RuntimeError when it ends without one.
    """
    scope = make_scope(request, _states.get(app))
    exchange = _Exchange(request)
    try:
        if _wants_websocket(scope):
            return _NO_WEBSOCKET
        task = _start(application(app), scope, exchange)
        try:
            return await exchange.response
        except asyncio.CancelledError:
            _cancel_later(task)
            raise
    finally:
        exchange.finish()


async def _call(app, scope, connection):
    await app(scope, connection.receive, connection.send)


def _start(app, scope, connection):
    """The task of the application, which may outlast who started it."""
    task = asyncio.create_task(_call(app, scope, connection))
    _running.add(task)
    task.add_done_callback(_running.discard)
    task.add_done_callback(connection.ended)
    return task


def _cancel_later(task):
    late = asyncio.get_running_loop().call_later(GRACE, task.cancel)
    # It would hold what the application leaves.
    task.add_done_callback(lambda _: late.cancel())


def _wants_websocket(scope):
    return any(
        name == b"upgrade" and value.lower() == b"websocket"
        for name, value in scope["headers"]
    )


class _Exchange:
    """receive() and send() of one request."""

    def __init__(self, request):
        self.channel = field(request, "response")
        self.method = octets(field(request, "method"))
        self.body = request.get("body")
        self.reader = None if self.body is None else aio.reader(self.body)
        self.received = False  # all of the body
        self.head = None  # (status, phrase, headers)
        self.sizer = None
        self.sent = False  # the head
        loop = asyncio.get_running_loop()
        # The value of the call; cancelled with it.
        self.response = loop.create_future()
        # Done when nothing is received or sent any more.
        self.over = loop.create_future()

    def finish(self):
        self.over.set_result(None)
        # Only now: a reader that waits takes a closed buffer for one that has ended.
        if self.body is not None:
            self.body.close()

    def ended(self, task):
        """The application has."""
        error = None if task.cancelled() else task.exception()
        if not self.response.done():
            if error is None:
                error = RuntimeError("the application ended without a complete response")
            self.response.set_exception(error)
        elif error is not None and not self.response.cancelled():
            message = "an ASGI application failed after its response"
            context = {"message": message, "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def receive(self):
        if not self.over.done():
            if self.received:
                await asyncio.shield(self.over)
            else:
                event = await self.receive_body()
                if not self.over.done():
                    return event
        return {"type": "http.disconnect"}

    async def receive_body(self):
        data = b""
        try:
            if self.reader is not None:
                data = await self.reader.read(CHUNK_SIZE)
            self.received = self.reader is None or self.reader.at_eof()
        except BufferAborted:
            if not data:
                return {"type": "http.disconnect"}
        return {"type": "http.request", "body": data, "more_body": not self.received}

    async def send(self, message):
        kind = message["type"]
        if self.response.cancelled():
            raise ClientDisconnected("the client has disconnected")
        if self.response.done():
            raise RuntimeError(f"{kind!r} was sent after the end of the response")
        if kind == "http.response.start":
            self.start(message)
        elif kind == "http.response.body":
            await self.send_body(message)
        else:
            raise ValueError(f"an http connection cannot send {kind!r}")

    def start(self, message):
        if self.head is not None:
            raise RuntimeError("'http.response.start' was sent before")
        status = message["status"]
        if not isinstance(status, int) or not 100 <= status <= 999:
            raise ValueError(f"status must be an int from 100 to 999, not {status!r}")
        headers, length = _headers(message.get("headers", ()))
        self.head = (int(status), phrase_of(status), headers)
        self.sizer = Sizer(length, has_body(self.method, status))

    async def send_body(self, message):
        if self.head is None:
            raise RuntimeError("'http.response.body' was sent before 'http.response.start'")
        body, more = message.get("body", b""), message.get("more_body", False)
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"body must be bytes, not {type(body).__name__}")
        data = self.sizer.take(bytes(body))
        if len(data) < len(body) and self.sizer.has_body:
            raise RuntimeError("the response is longer than its Content-Length")
        if not more:
            self.sizer.check_end()
        if not self.sent and not more:
            self.response.set_result((*self.head, data))
            return
        if not self.sent:
            self.sent = True
            await self.put((*self.head, data))
        elif data:
            await self.put(data)
        if not more and not self.response.done():
            self.response.set_result(None)

    async def put(self, term):
        try:
            await self.channel.async_put(term)
        except ChannelClosed:
            raise ClientDisconnected("the client has disconnected") from None


def _headers(headers):
    """The pairs that are sent, and the Content-Length or None."""
    pairs, length = [], None
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError(f"headers must be pairs of bytes, not {(name, value)!r}")
        value = value.strip()
        check_header(name, value)
        lower = name.lower()
        # Whoever sends the response decides how (ASGI, "Response Start").
        if lower == b"transfer-encoding":
            continue
        if lower == b"content-length":
            length = length_of(value)
        pairs.append((name, value))
    return pairs, length


# ---- The lifespan of an application ----


async def lifespan(app, channel):
    """Runs the lifespan of an application (ASGI, "Lifespan Protocol").

    app: the application, or its name.
    channel: a Channel. "started" is put into it when the startup is complete, and
        Erlang closes it for the shutdown.

    Returns when the shutdown is complete; or at once, with a str that says why, when the
    application has no lifespan.  Raises RuntimeError when it says that its startup or
    shutdown has failed.  Requests get a copy of the state that the startup left.
    """
    state = {}
    scope = {"type": "lifespan", "asgi": _LIFESPAN_VERSIONS.copy(), "state": state}
    life = _Lifespan()
    task = _start(application(app), scope, life)
    try:
        reason = await life.started
        if reason is not None:
            return reason
        _states[app] = state
        channel.put("started")
        await _until_closed(channel, task)
        life.stop()
        await life.stopped
        await asyncio.wait((task,))
    except BaseException:
        # Nobody waits for the shutdown; it takes place all the same, after a startup.
        if app in _states:
            life.stop()
        _cancel_later(task)
        raise
    finally:
        _states.pop(app, None)


async def _until_closed(channel, task):
    """Waits for the end of the channel, or of the task."""
    closed = asyncio.ensure_future(_drain(channel))
    try:
        await asyncio.wait((closed, task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        closed.cancel()


async def _drain(channel):
    async for _ in channel:
        pass


class _Lifespan:
    """receive() and send() of a lifespan."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.starting = True  # until the application has asked for its first event
        self.started = loop.create_future()  # None, or why there is no lifespan
        self.stopping = loop.create_future()
        self.stopped = loop.create_future()

    def stop(self):
        if not self.stopping.done():
            self.stopping.set_result(None)

    async def receive(self):
        if self.starting:
            self.starting = False
            return {"type": "lifespan.startup"}
        await asyncio.shield(self.stopping)
        return {"type": "lifespan.shutdown"}

    async def send(self, message):
        kind = message["type"]
        _, phase, outcome = (kind + "..").split(".")[:3]
        waiting = {"startup": self.started, "shutdown": self.stopped}.get(phase)
        if waiting is None or outcome not in ("complete", "failed"):
            raise ValueError(f"a lifespan cannot send {kind!r}")
        if waiting.done():
            raise RuntimeError(f"{kind!r} was sent too late")
        if outcome == "complete":
            waiting.set_result(None)
        else:
            text = f"the {phase} of the application failed: {message.get('message', '')}"
            waiting.set_exception(RuntimeError(text))

    def ended(self, task):
        error = None if task.cancelled() else task.exception()
        if not self.started.done():
            self.started.set_result(f"no lifespan: {error!r}")
        elif self.stopped.done():
            return
        elif error is None:
            self.stopped.set_result(None)
        else:
            self.stopped.set_exception(error)
