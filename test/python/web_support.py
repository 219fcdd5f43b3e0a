"""What the tests of erlang.wsgi and erlang.asgi share: a request, and the response that it
gets as Erlang sees it."""

from dataclasses import dataclass, field

from erlang.testing import make_buffer


def make_request(body=None, *, response, **more):
    """As py_web sends it; body is bytes, a PyBuffer or None."""
    headers = list(more.pop("headers", []))
    if isinstance(body, bytes):
        headers.append(("Content-Length", str(len(body))))
        body = make_buffer(body)
    request = {
        "method": "GET" if body is None else "POST",
        "raw_path": "/",
        "headers": headers,
        "body": body,
        "response": response,
    }
    return {**request, **more}


@dataclass
class Response:
    status: int = None
    phrase: bytes = None
    headers: list = field(default_factory=list)
    body: bytes = b""
    pieces: list = field(default_factory=list)  # of the body, as they came
    whole: bool = False  # it came as the value of the call

    def add(self, message):
        if isinstance(message, tuple):
            assert self.status is None, "a second head"
            self.status, self.phrase, self.headers, message = message
        assert isinstance(message, bytes)
        self.body += message
        self.pieces.append(message)

    def header(self, name):
        return [value for key, value in self.headers if key.lower() == name]


def response_of(peer, value=None):
    """What lies in the channel, and then the value of the call."""
    response = Response()
    while True:
        try:
            response.add(peer.recv(0))
        except TimeoutError:
            break
    if value is not None:
        response.whole = True
        response.add(value)
    return response
