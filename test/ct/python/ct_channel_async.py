"""Coroutines that receive from channels."""
import asyncio
import random
import threading

from erlang import ChannelClosed
from erlang.channel import reply


async def receive(channel):
    return await channel.async_receive()


async def receive_within(channel, seconds):
    async with asyncio.timeout(seconds):
        return await channel.async_receive()


async def gather(channel):
    return [message async for message in channel]


async def answer(channel):
    async for pid, question in channel:
        reply(pid, ("answer", question))


async def first_of(channels):
    """One message of several channels; the other receives are cancelled."""
    tasks = [asyncio.create_task(channel.async_receive()) for channel in channels]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() for task in done]


def in_a_loop_of_its_own(channel):
    return asyncio.run(gather(channel))


# ---- Many at once: what is received is put into another channel, in the same step ----


async def forward(channel, out):
    out.put(await channel.async_receive())


async def forward_all(channel, out):
    try:
        while True:
            await forward(channel, out)
    except ChannelClosed:
        pass


async def forward_with_cancels(channel, out, seed):
    chance = random.Random(seed)
    while True:
        task = asyncio.create_task(forward(channel, out))
        await asyncio.sleep(chance.choice([0, 0, 0.0002, 0.002]))
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        except ChannelClosed:
            return


def forward_in_a_thread(channel, out, seed):
    chance = random.Random(seed)
    while True:
        try:
            out.put(channel.receive(chance.choice([None, 0, 0.0001, 0.01])))
        except TimeoutError:
            pass
        except ChannelClosed:
            return


def forward_in_loops(channel, out, seed):
    """Three loops in three threads."""

    async def both(seed):
        await asyncio.gather(
            forward_with_cancels(channel, out, seed), forward_all(channel, out)
        )

    threads = [
        threading.Thread(target=asyncio.run, args=(both(seed + number),))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
