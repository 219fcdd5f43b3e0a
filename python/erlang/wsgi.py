"""WSGI applications (PEP 3333) for requests that Erlang sends.

py_web makes the calls; run() is what they call:

    {ok, App} = py_web:load(<<"module:app">>),
    {ok, Exchange} = py_web:start(App, Request),

The body is read while it arrives, the response is sent while it is made: a client that
is slow at either end slows the application down, and nothing grows.
"""

import io
import sys
from tempfile import SpooledTemporaryFile
from urllib.parse import unquote_to_bytes
from wsgiref.util import FileWrapper as _FileWrapper

from erlang._web import (
    HOP_BY_HOP,
    Sizer,
    application,
    check_header,
    field,
    has_body,
    length_of,
    octets,
)

__all__ = ["FileWrapper", "make_environ", "run"]

#: Bytes that the BufferedReader of a body takes from the stream at a time.
INPUT_SIZE = 2**16
#: Bytes of a body of unknown length that are kept in memory, when it is spooled.
SPOOL_MEMORY = 2**20
_FILE_BLOCK = 2**16


class FileWrapper(_FileWrapper):
    """wsgi.file_wrapper: the blocks of a file, for a response.

    filelike: has read(size), and close() if it is to be closed.
    blksize: bytes of a block.
    """

    def __init__(self, filelike, blksize=_FILE_BLOCK):
        super().__init__(filelike, blksize)


def run(app, request):
    """Answers one request by a WSGI application.

    app: the application, or its name "module:attribute".
    request: a dict, as make_environ() takes it; `response` is the Channel for the
        response, `spool` True when a body of unknown length is to be read, into a
        temporary file, before the application begins.

    Returns and puts into the channel what erlang._web describes.  The channel closed by
    Erlang, or a cancelled call, is a client that has gone: what the application does
    next with its body or response raises, and the iterable is closed.
    Raises what the application raises, and RuntimeError when it breaks PEP 3333.
    """
    app = application(app)
    body = request.get("body")
    try:
        environ = make_environ(request)
        if request.get("spool") and "CONTENT_LENGTH" not in environ and body is not None:
            _spool(body, environ)
        response = _Response(field(request, "response"), environ["REQUEST_METHOD"])
        return _respond(app(environ, response.start_response), response)
    finally:
        if body is not None:
            body.close()


def _respond(result, response):
    try:
        if type(result) in (list, tuple) and len(result) == 1:
            return response.whole(result[0])
        for data in result:
            response.send(data)
            if response.is_complete():
                break
        response.end()
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


def _spool(body, environ):
    file = SpooledTemporaryFile(SPOOL_MEMORY)  # noqa: SIM115, closed with the environ
    for view in body.views():
        file.write(view)
    environ["CONTENT_LENGTH"] = str(file.tell())
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    file.seek(0)
    environ["wsgi.input"] = file


# ---- The request ----


def _latin1(text):
    """Bytes of the request as PEP 3333 has them: a str of their code points."""
    if type(text) is str:
        return text if text.isascii() else text.encode().decode("latin-1")
    return bytes(text).decode("latin-1")


def make_environ(request):
    """The environ of a request (PEP 3333).

    request: a dict; text is str or bytes:
        method, raw_path    as they came, the path without the query and still encoded
        query_string        default ''
        headers             a list of (name, value)
        http_version        default '1.1'
        scheme              default 'http'
        script_name         the path, decoded, at which the application is, default ''
        server, client      (host, port), default ('localhost', 80) and none
        body                a PyBuffer, None for a request without a body

    Fields with one name are joined, by ', ', those of Cookie by '; '.  A name with an
    underscore is left out: it would pass for the one with a hyphen.
    """
    method = _latin1(field(request, "method"))
    raw_path = _latin1(field(request, "raw_path"))
    script_name = _latin1(request.get("script_name", ""))
    server, port = request.get("server") or ("localhost", 80)
    body = request.get("body")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": _path_info(raw_path, script_name),
        "RAW_URI": raw_path,
        "QUERY_STRING": _latin1(request.get("query_string", "")),
        "SERVER_NAME": _latin1(server),
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/" + _latin1(request.get("http_version", "1.1")),
        "SERVER_SOFTWARE": "erlpy",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": _latin1(request.get("scheme", "http")),
        "wsgi.input": io.BytesIO() if body is None else io.BufferedReader(body, INPUT_SIZE),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    if environ["QUERY_STRING"]:
        environ["RAW_URI"] += "?" + environ["QUERY_STRING"]
    if request.get("client"):
        host, port = request["client"]
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = _latin1(host), str(port)
    _add_headers(environ, field(request, "headers"))
    return environ


def _path_info(raw_path, script_name):
    path = raw_path
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    return path.removeprefix(script_name) if script_name else path


def _add_headers(environ, headers):
    for name, value in headers:
        name = _latin1(name)
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        value = _latin1(value)
        if key in environ:
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value
        environ[key] = value


# ---- The response ----


class _Response:
    """The head that start_response() was given, until there are bytes to send it with."""

    def __init__(self, channel, method):
        self.put = channel.put
        self.method = octets(method)
        self.head = None  # (status, phrase, headers)
        self.sizer = None
        self.sent = False  # the head

    def start_response(self, status, headers, exc_info=None):
        if exc_info is not None:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through this frame
        elif self.head is not None:
            raise RuntimeError("start_response() was called before, without exc_info now")
        code, phrase = _status(status)
        pairs, length = _headers(headers)
        self.head = (code, phrase, pairs)
        self.sizer = Sizer(length, has_body(self.method, code))
        return self.write

    def take(self, data):
        if self.head is None:
            raise RuntimeError("the application has not called start_response()")
        if not isinstance(data, bytes):
            what = type(data).__name__
            raise TypeError(f"the body of a response must be bytes, not {what}")
        return self.sizer.take(data)

    def write(self, data):
        """The write() of PEP 3333, for applications that have no iterable."""
        if len(self.take(data)) < len(data) and self.sizer.has_body:
            raise RuntimeError("write() of more than the Content-Length of the response")
        self._send(data if self.sizer.has_body else b"")

    def send(self, data):
        self._send(self.take(data))

    def _send(self, data):
        if not self.sent and (data or self.is_complete()):
            self.sent = True
            self.put((*self.head, data))
        elif data:
            self.put(data)

    def is_complete(self):
        """True when nothing that the application may still give would be sent."""
        return self.sizer is not None and self.sizer.complete()

    def whole(self, data):
        """The end of a response whose body is data; the value of the call."""
        data = self.take(data)
        self.sizer.check_end()
        if not self.sent:
            return (*self.head, data)
        self._send(data)
        return None

    def end(self):
        """The head of a response without a body is sent here."""
        self.take(b"")
        self.sizer.check_end()
        if not self.sent:
            self.sent = True
            self.put((*self.head, b""))


def _status(status):
    if not isinstance(status, str):
        raise TypeError(f"status must be a str, not {type(status).__name__}")
    code, _, phrase = status.partition(" ")
    if len(code) != 3 or not code.isdigit() or not "100" <= code:
        raise ValueError(f"status must be like '200 OK', not {status!r}")
    if any(ord(character) < 32 for character in phrase):
        raise ValueError(f"status has a control character: {status!r}")
    return int(code), phrase.encode("latin-1")


def _headers(headers):
    """The pairs as bytes, and the Content-Length or None."""
    pairs, length = [], None
    for name, value in headers:
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"headers must be pairs of str, not {(name, value)!r}")
        name, value = name.encode("latin-1"), value.strip().encode("latin-1")
        check_header(name, value)
        lower = name.lower()
        if lower in HOP_BY_HOP:
            raise ValueError(f"header {name.decode()!r} is for the server alone (PEP 3333)")
        if lower == b"content-length":
            length = length_of(value)
        pairs.append((name, value))
    return pairs, length
