from typing import Any

from erlang import Atom as _Atom
from erlang import Channel as Channel
from erlang import ChannelClosed as ChannelClosed
from erlang import Pid as _Pid

__all__ = ["Channel", "ChannelClosed", "reply"]

def reply(pid: _Pid | _Atom | str, term: Any) -> None: ...
