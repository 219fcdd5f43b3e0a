"""The bytes that come go back."""

from typing import Any, Literal

from erlang import reactor


class Echo(reactor.Protocol):
    """While the client leaves more than `write_limit` bytes unread, no more are taken."""

    def data_received(self, data: Any) -> Literal["continue"]:
        self.write_buffer += data
        return "continue"
