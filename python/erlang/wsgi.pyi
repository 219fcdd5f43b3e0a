from collections.abc import Mapping
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import FileWrapper as _FileWrapper

__all__ = ["FileWrapper", "make_environ", "run"]

class FileWrapper(_FileWrapper):
    def __init__(self, filelike: Any, blksize: int = 65536) -> None: ...

def run(
    app: WSGIApplication | str, request: Mapping[str, Any]
) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes] | None: ...
def make_environ(request: Mapping[str, Any]) -> dict[str, Any]: ...
