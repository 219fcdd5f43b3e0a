"""The coroutines of Channel, which looks for them here when they are first used: asyncio
takes longer to load than all the rest."""

from _erlang import ChannelClosed, Waker

from erlang.aio import _until

_NOTHING = object()


async def receive(channel):
    """Channel.async_receive().

    A message is taken where nothing is awaited any more: what is cancelled has taken none.
    """
    while (message := channel.try_receive(_NOTHING)) is _NOTHING:
        await _until(Waker.wait_channel, channel)
    return message


async def put(message):
    """Channel.async_put(), of a Put: the loop has to do with it only where it waits."""
    if not message.send():
        await _until(Waker.wait_put, message)


async def receive_next(channel):
    """Channel.__anext__()."""
    try:
        return await receive(channel)
    except ChannelClosed:
        raise StopAsyncIteration from None
