"""What Erlang calls: a form read from a buffer by one of three parsers."""

import importlib.metadata
from collections.abc import Callable
from email.message import Message
from typing import Any

import by_hand
import erlang
import libraries
from storage import Form


def hand(buf: erlang.PyBuffer, boundary: bytes, form: Form) -> None:
    for headers, content in by_hand.parts(buf, boundary):
        disposition = Message()
        disposition["content-disposition"] = headers.get("content-disposition", "")
        name, filename = (
            disposition.get_param(option, header="content-disposition")
            for option in ("name", "filename")
        )
        form.begin(str(name), None if filename is None else str(filename))
        for view in content:
            form.write(view)


PARSERS: dict[str, Callable[[erlang.PyBuffer, bytes, Form], None]] = {
    "by hand": hand,
    "Werkzeug": libraries.by_werkzeug,
    "python-multipart": libraries.by_python_multipart,
}


def version(name: str) -> list[str] | None:
    """The version of a parser, if it has one; None when it is not installed."""
    if name == "by hand":
        return []
    try:
        if name == "python-multipart":
            libraries.python_multipart()
        return [importlib.metadata.version(name)]
    except ImportError:
        return None


def parse(
    parser: str, buf: erlang.PyBuffer, boundary: str, listener: erlang.Pid
) -> list[dict[str, Any]] | dict[str, str]:
    """The parts of the form, or why it is none.  Raises BufferAborted."""
    form = Form(listener)
    try:
        # What still writes when this ends is told so.
        with buf:
            PARSERS[parser](buf, boundary.encode(), form)
        return form.report()
    except ValueError as error:
        return {"refused": str(error)}
    finally:
        form.close()
