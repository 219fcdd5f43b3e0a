"""An HTTP/1.1 server that sends back what came: the body, or the head where there is none.

h11 is the parser; it knows nothing of sockets, and the reactor nothing of HTTP.
"""

from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal

import h11
from erlang import reactor

#: Bytes of a body, which is kept until it is whole.
MOST_BODY = 64 << 20
#: While so much is to be written, further requests of a pipeline are not looked at.
MOST_UNWRITTEN = 1 << 16

Action = Literal["continue", "write_pending", "close"]

NO_FIELDS: list[tuple[str, str]] = []
CONTINUE = h11.InformationalResponse(status_code=100, reason="Continue", headers=NO_FIELDS)


class Refused(Exception):
    """A request that is not read to its end."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class EchoHttp(reactor.Protocol):
    def connection_made(self, fd: int, client_info: dict[str, Any]) -> None:
        self.http = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None  # that is not answered yet
        self.body = bytearray()
        self.refused = False

    def data_received(self, data: Any) -> Action:
        if self.refused:
            return "continue"
        self.http.receive_data(data)
        return self.serve()

    def write_ready(self) -> Action:
        return self.serve()

    def eof_received(self) -> Action:
        if self.refused:
            return "close"
        self.http.receive_data(b"")
        return self.serve()

    def serve(self) -> Action:
        """Answers the requests that are whole; what is to be done next."""
        try:
            while len(self.write_buffer) < MOST_UNWRITTEN:
                action = self.handle(self.http.next_event())
                if action is not None:
                    return action
            return "write_pending"
        except h11.RemoteProtocolError as error:
            self.respond(error.error_status_hint, f"{error}\n".encode(), ("Connection", "close"))
            return "close"
        except Refused as error:
            # The client may be sending still: closing now could take the response from it.
            self.refused = True
            self.body.clear()
            self.respond(error.status, f"{error}\n".encode(), ("Connection", "close"))
            return "continue"

    def handle(self, event: Any) -> Action | None:
        if event is h11.NEED_DATA:
            if self.http.they_are_waiting_for_100_continue:
                self.send(CONTINUE)
            return "continue"
        if isinstance(event, h11.Request):
            self.begin(event)
        elif isinstance(event, h11.Data):
            self.body += event.data
            self.check_size(len(self.body))
        elif isinstance(event, h11.EndOfMessage):
            return self.answer()
        else:
            return "close"
        return None

    def begin(self, request: h11.Request) -> None:
        self.request = request
        for name, value in request.headers:
            if name == b"content-length":
                self.check_size(int(value))

    @staticmethod
    def check_size(size: int) -> None:
        if size > MOST_BODY:
            raise Refused(413, f"a body may have {MOST_BODY} bytes")

    def answer(self) -> Action | None:
        assert self.request is not None
        body, self.body = self.body, bytearray()
        if self.request.method == b"CONNECT":
            self.respond(405, b"no proxy\n", ("Allow", "GET, HEAD, POST, PUT"))
        elif self.request.method in (b"GET", b"HEAD"):
            self.respond(200, as_sent(self.request))
        else:
            self.respond(200, body)
        self.request = None
        if self.http.our_state is not h11.DONE:
            return "close"
        self.http.start_next_cycle()
        return None

    def respond(self, status: int, body: bytes | bytearray, *more: tuple[str, str]) -> None:
        headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", "application/octet-stream" if status == 200 else "text/plain"),
            ("Content-Length", str(len(body))),
            *more,
        ]
        reason = HTTPStatus(status).phrase
        self.send(h11.Response(status_code=status, reason=reason, headers=headers))
        if self.request is None or self.request.method != b"HEAD":
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())

    def send(self, event: Any) -> None:
        self.write_buffer += self.http.send(event) or b""


def as_sent(request: h11.Request) -> bytes:
    """The head of a request, but for the white space of its lines."""
    lines = [b"%b %b HTTP/%b" % (request.method, request.target, request.http_version)]
    lines += [b"%b: %b" % field for field in request.headers.raw_items()]
    return b"\r\n".join([*lines, b"", b""])
