from types import TracebackType
from typing import Any, Literal, SupportsIndex, final

from _typeshed import ReadableBuffer

from erlang import Channel, PyBuffer

__all__ = ["ChannelPeer", "Writer", "make_buffer", "make_channel"]

@final
class ChannelPeer:
    def __new__(
        cls, max_size: SupportsIndex | None = None, *, views: bool = False
    ) -> ChannelPeer: ...
    @property
    def channel(self) -> Channel: ...
    @property
    def closed(self) -> bool: ...
    def send(self, term: Any, timeout: float | None = None) -> None: ...
    def recv(self, timeout: float | None = None) -> Any: ...
    def close(self) -> None: ...
    def info(self) -> dict[str, Any]: ...
    def __enter__(self) -> ChannelPeer: ...
    def __exit__(
        self,
        type: type[BaseException] | None = None,
        value: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...

@final
class Writer:
    def __new__(
        cls,
        length: SupportsIndex | None = None,
        *,
        high_watermark: SupportsIndex | None = None,
        low_watermark: SupportsIndex | None = None,
        max_size: SupportsIndex | None = None,
        seekable: bool = True,
        last_reader: Literal["keep", "close"] | None = None,
    ) -> Writer: ...
    @property
    def buffer(self) -> PyBuffer: ...
    @property
    def closed(self) -> bool: ...
    def write(self, data: ReadableBuffer, timeout: float | None = None) -> int: ...
    def abort(self, reason: str) -> None: ...
    def close(self) -> None: ...
    def info(self) -> dict[str, Any]: ...
    def __enter__(self) -> Writer: ...
    def __exit__(
        self,
        type: type[BaseException] | None = None,
        value: BaseException | None = None,
        traceback: TracebackType | None = None,
        /,
    ) -> None: ...

def make_buffer(
    data: ReadableBuffer = b"",
    *,
    eof: bool = True,
    length: SupportsIndex | None = None,
    high_watermark: SupportsIndex | None = None,
    low_watermark: SupportsIndex | None = None,
    max_size: SupportsIndex | None = None,
    seekable: bool = True,
    last_reader: Literal["keep", "close"] | None = None,
) -> PyBuffer: ...
def make_channel(
    max_size: SupportsIndex | None = None, *, views: bool = False
) -> ChannelPeer: ...
