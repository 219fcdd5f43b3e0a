"""A form parsed by the libraries of the web frameworks: Werkzeug, which Flask uses, and
python-multipart, which Starlette uses.  Both take a body piece by piece.
"""

import importlib
import logging
from collections.abc import Iterator
from typing import Any

from erlang import IncompleteReadError, LimitOverrunError, PyBuffer
from storage import Form

#: Bytes of a piece, at most; no line of a boundary is as long.
PIECE = 65536


def pieces(buf: PyBuffer) -> Iterator[bytes]:
    """The body in pieces that are cut behind a line break, or far from one.

    A parser may be given any pieces, but some are wrong about a cut between CR and LF, or
    within a boundary (Werkzeug 2.2 and 3.1: a CR more in the content).
    """
    while True:
        try:
            yield buf.readuntil(b"\r\n", PIECE)
        except LimitOverrunError as error:
            yield buf.readexactly(error.consumed)
        except IncompleteReadError as error:
            yield error.partial
            return


def by_werkzeug(buf: PyBuffer, boundary: bytes, form: Form) -> None:
    from werkzeug.sansio import multipart

    decoder = multipart.MultipartDecoder(boundary, max_parts=1000)
    for piece in pieces(buf):
        decoder.receive_data(piece)
        while not isinstance(event := decoder.next_event(), multipart.NeedData):
            match event:
                case multipart.File():
                    form.begin(event.name, event.filename)
                case multipart.Field():
                    form.begin(event.name, None)
                case multipart.Data():
                    form.write(event.data)
    decoder.receive_data(None)
    # Raises ValueError when there was no end boundary.
    decoder.next_event()


def by_python_multipart(buf: PyBuffer, boundary: bytes, form: Form) -> None:
    library = python_multipart()
    # It logs what it raises, too.
    logging.getLogger(library.__name__).setLevel(logging.ERROR)
    field, value = bytearray(), bytearray()
    disposition = b""
    whole = False

    def header_end() -> None:
        nonlocal disposition
        if field.lower() == b"content-disposition":
            disposition = bytes(value)
        field.clear()
        value.clear()

    def headers_finished() -> None:
        _, options = library.parse_options_header(disposition)
        name, filename = options.get(b"name", b""), options.get(b"filename")
        form.begin(name.decode(), None if filename is None else filename.decode())

    def end() -> None:
        nonlocal whole
        whole = True

    parser = library.MultipartParser(
        boundary,
        {
            "on_header_field": lambda data, start, stop: field.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": header_end,
            "on_headers_finished": headers_finished,
            "on_part_data": lambda data, start, stop: form.write(data[start:stop]),
            "on_end": end,
        },
    )
    for piece in pieces(buf):
        parser.write(piece)
    parser.finalize()
    # It takes the end of the data for the end of the form.
    if not whole:
        raise ValueError("the form ends before its end boundary")


def python_multipart() -> Any:
    """Its module, which had another name before version 0.0.13."""
    try:
        return importlib.import_module("python_multipart.multipart")
    except ImportError:
        return importlib.import_module("multipart.multipart")
