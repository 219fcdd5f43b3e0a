"""What erlang.wsgi and erlang.asgi have in common: applications by name, the parts of a
request that Erlang sends, and the form of a response that it gets.

A response is messages in the channel of the request, then the value of the call:

    (status, phrase, headers, data)     the head, with the first bytes of the body
    bytes                               more of the body
    value of the call: None             the end of what was begun
    value of the call: the 4-tuple      all of it

status is an int, phrase and data are bytes, headers a list of pairs of bytes.
"""

import http
import inspect
import re
from importlib import import_module

#: Attributes that are looked for in a module that is named without one.
DEFAULT_NAMES = ("application", "app")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PHRASES = {status.value: status.phrase.encode() for status in http.HTTPStatus}
#: They belong to one connection, which is the server's (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

# ---- Applications ----

_applications = {}


def application(app):
    """The application of the name "module:attribute", or app when it is no str.

    The attribute may be dotted; without one it is `application` or `app`.  The module is
    imported at the first call.  Raises ImportError, or AttributeError when the module
    has no such attribute.
    """
    if not isinstance(app, str):
        return app
    found = _applications.get(app)
    if found is None:
        found = _applications[app] = _imported(app)
    return found


def _imported(name):
    module_name, colon, attribute = name.partition(":")
    if not module_name or (colon and not attribute):
        raise ValueError(f"app must be 'module:attribute' or 'module', not {name!r}")
    found = import_module(module_name)
    if not colon:
        return _default(found, name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            message = f"module {module_name!r} has no attribute {attribute!r}"
            raise AttributeError(message) from None
    return _callable(found, name)


def _default(module, name):
    for attribute in DEFAULT_NAMES:
        if hasattr(module, attribute):
            return _callable(getattr(module, attribute), name)
    names = " or ".join(map(repr, DEFAULT_NAMES))
    raise AttributeError(f"module {name!r} has no attribute {names}: name 'module:attribute'")


def _callable(found, name):
    if not callable(found):
        raise TypeError(f"app {name!r} is no application: {type(found).__name__} is not callable")
    return found


def interface(app):
    """'asgi' when calling app, or app's name, gives a coroutine; else 'wsgi'."""
    found = application(app)
    call = found if inspect.isroutine(found) else type(found).__call__
    return "asgi" if inspect.iscoroutinefunction(call) else "wsgi"


# ---- Requests ----


def octets(text):
    """Bytes of a request, which arrive as str where they happen to be UTF-8."""
    return text.encode() if type(text) is str else bytes(text)


def field(request, name):
    try:
        return request[name]
    except KeyError:
        raise ValueError(f"the request has no {name!r}") from None


def has_body(method, status):
    """Whether a response to method with this status has one (RFC 9110, 6.4.1)."""
    return method != b"HEAD" and status >= 200 and status not in (204, 304)


# ---- Responses ----


def phrase_of(status):
    return _PHRASES.get(status, b"")


def check_header(name, value):
    """Raises ValueError for bytes that would break out of their header field."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not a header name: {name!r}")
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise ValueError(f"header {name.decode()!r} has a line break or NUL in {value!r}")


def length_of(value):
    """The value of a Content-Length, which is bytes (RFC 9110, 8.6)."""
    if not value.isdigit():
        raise ValueError(f"header 'content-length' is no number: {value!r}")
    return int(value)


class Sizer:
    """How much of a body its Content-Length leaves.

    has_body: with False all of it is left out, as for HEAD, and none of it is missed.
    """

    def __init__(self, length, has_body):
        self.left = length  # None: not declared
        self.has_body = has_body

    def complete(self):
        """True when the declared length has been reached."""
        return self.left == 0 or not self.has_body

    def take(self, data):
        """The part of data that belongs to the response."""
        if not self.has_body:
            return b""
        if self.left is not None:
            if len(data) > self.left:
                data = data[: self.left]
            self.left -= len(data)
        return data

    def check_end(self):
        if self.left and self.has_body:
            raise RuntimeError(f"the response ended {self.left} bytes before its Content-Length")
