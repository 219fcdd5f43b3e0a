"""Channels: messages both ways between Python and Erlang processes.

    def work(jobs):
        for job in jobs:                    # until Erlang closes the channel
            jobs.put(handle(job))           # for py_channel:recv/1,2

    async def work(jobs):
        async for job in jobs:
            await jobs.async_put(await handle(job))

A Channel arrives in an argument; erlang.testing.make_channel() makes one without Erlang.
reply() answers a message that carries the pid of its sender.
"""

from _erlang import Atom, Channel, ChannelClosed, Pid, send

__all__ = ["Channel", "ChannelClosed", "reply"]


def reply(pid, term):
    """Send term to the process that asked: the pid that came with its message.

    pid: a Pid, or a registered name as Atom or str.
    term: anything that converts to an Erlang term.
    A process that is dead is no error.  Raises what erlang.send() raises.
    """
    if not isinstance(pid, (Pid, Atom, str)):
        raise TypeError(
            "reply() argument 'pid' must be a Pid, an Atom or a str, not "
            f"{type(pid).__name__}"
        )
    send(pid, term)
