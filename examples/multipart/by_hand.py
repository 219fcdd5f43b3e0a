"""A form (multipart/form-data, RFC 7578) parsed by the methods of a buffer alone.

It shows what `readuntil`, `find` and `readview` are for.  In an application take a
library (libraries.py): it knows more of what browsers send.
"""

from collections.abc import Iterator

from erlang import IncompleteReadError, LimitOverrunError, PyBuffer

#: Bytes of a line of a part's headers, and how many lines and parts there may be.
MOST_LINE = 4096
MOST_HEADERS = 16
MOST_PARTS = 1000

Headers = dict[str, str]


class FormError(ValueError):
    """The body is no form, or not all of one."""


def parts(buf: PyBuffer, boundary: bytes) -> Iterator[tuple[Headers, Iterator[memoryview]]]:
    """Yields (headers, content) of each part as soon as its headers have arrived.

    boundary: that of the Content-Type.
    Names of headers are in lower case.  The content is an iterator of views, which cost no
    copy; what is not taken of it is skipped.  How long a body may be is for the buffer to
    say (`max_size`).  Raises FormError, and BufferAborted when the client has gone.
    """
    delimiter = b"\r\n--" + boundary
    if line(buf, delimiter[2:]):
        raise FormError("the form does not begin with its boundary")
    for _ in range(MOST_PARTS):
        match exactly(buf, 2):
            case b"--":
                return
            case b"\r\n":
                headers = read_headers(buf)
            case _:
                raise FormError("a boundary with something behind it")
        rest = content(buf, delimiter)
        yield headers, rest
        for _view in rest:
            pass
    raise FormError(f"more than {MOST_PARTS} parts")


def read_headers(buf: PyBuffer) -> Headers:
    headers: Headers = {}
    while text := line(buf, b"\r\n").decode("utf-8", "replace"):
        name, colon, value = text.partition(":")
        if not colon or len(headers) == MOST_HEADERS:
            raise FormError(f"not a header, or too many: {text[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    return headers


def content(buf: PyBuffer, delimiter: bytes) -> Iterator[memoryview]:
    """Yields what comes before the delimiter, in the pieces in which it arrives."""
    while True:
        # In this order: what arrives after the search has not been searched.
        arrived = len(buf)
        found = buf.find(delimiter)
        # The last bytes may be the beginning of the delimiter.
        size = found if found >= 0 else arrived - len(delimiter) + 1
        if size > 0:
            yield buf.readview(size)
        elif is_next(buf, delimiter):
            return
        else:
            yield buf.readview(1)


def is_next(buf: PyBuffer, delimiter: bytes) -> bool:
    """Waits until it can tell whether the delimiter is next, and consumes it if so."""
    try:
        buf.readuntil(delimiter, 0)
    except LimitOverrunError:
        return False
    except IncompleteReadError:
        raise FormError("the form ends in the middle of a part") from None
    return True


def line(buf: PyBuffer, end: bytes) -> bytes:
    """What comes before `end`, which is consumed as well."""
    try:
        return buf.readuntil(end, MOST_LINE).removesuffix(end)
    except LimitOverrunError:
        raise FormError(f"no {end!r} in {MOST_LINE} bytes") from None
    except IncompleteReadError:
        raise FormError(f"the form ends before {end!r}") from None


def exactly(buf: PyBuffer, size: int) -> bytes:
    try:
        return buf.readexactly(size)
    except IncompleteReadError:
        raise FormError("the form ends in a boundary") from None
