"""The version is that of src/erlpy.app.src wherever it is told."""

import pathlib
from collections.abc import Iterator


def differences(extension: pathlib.Path) -> Iterator[str]:
    yield from ()
