from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from erlang import Channel

__all__ = ["ClientDisconnected", "lifespan", "make_scope", "run"]

_Message: TypeAlias = MutableMapping[str, Any]
_Application: TypeAlias = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[_Message]],
        Callable[[_Message], Awaitable[None]],
    ],
    Awaitable[None],
]

class ClientDisconnected(OSError): ...

async def run(
    app: _Application | str, request: Mapping[str, Any]
) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes] | None: ...
async def lifespan(app: _Application | str, channel: Channel) -> str | None: ...
def make_scope(
    request: Mapping[str, Any], state: Mapping[str, Any] | None = None
) -> dict[str, Any]: ...
