"""Where the parts of a form go."""

import hashlib
from tempfile import SpooledTemporaryFile
from typing import Any

import erlang

#: Bytes of a content that are kept in memory; above it goes to a file.
MEMORY = 262144


class Form:
    """The parts of a form, with their contents in temporary files.

    listener: is sent the name of each part when it begins.
    """

    def __init__(self, listener: erlang.Pid) -> None:
        self.listener = listener
        self.parts: list[tuple[str, str | None, SpooledTemporaryFile[bytes]]] = []

    def begin(self, name: str, filename: str | None) -> None:
        self.parts.append((name, filename, SpooledTemporaryFile(MEMORY)))
        erlang.send(self.listener, name)

    def write(self, data: bytes | memoryview) -> None:
        self.parts[-1][2].write(data)

    def report(self) -> list[dict[str, Any]]:
        """What was stored, by reading it again."""
        report = []
        for name, filename, file in self.parts:
            file.seek(0)
            digest = hashlib.sha256()
            size = 0
            while data := file.read(65536):
                digest.update(data)
                size += len(data)
            report.append(
                {"name": name, "filename": filename, "size": size, "sha256": digest.hexdigest().upper()}
            )
        return report

    def close(self) -> None:
        for *_, file in self.parts:
            file.close()
