"""Coroutines that receive from channels and send to Erlang."""
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


# ---- Senders ----


async def put(channel, term):
    await channel.async_put(term)


async def put_all(channel, count):
    for number in range(count):
        await channel.async_put(number)


async def put_and_tell(pid, channel, term):
    try:
        await channel.async_put(term)
        reply(pid, "sent")
    except ChannelClosed:
        reply(pid, "closed")


async def put_what_changes(channel):
    """The list as it is at the call is sent, though the task begins later."""
    term = [1]
    task = asyncio.create_task(channel.async_put(term))
    term.append(2)
    await task
    term.append(3)
    await asyncio.create_task(channel.async_put(term))


async def put_what_erlang_cannot_take(channel):
    channel.async_put([object()])


async def put_large(channel, size):
    await asyncio.gather(*(channel.async_put(bytes([n]) * size) for n in range(3)))


def put_in_a_loop_of_its_own(channel, count):
    asyncio.run(put_all(channel, count))


async def put_with_cancels(channel, sender, count):
    """Whose put has returned: those messages are to arrive."""
    chance, sent = random.Random(sender), []
    for number in range(count):
        task = asyncio.create_task(channel.async_put((sender, number)))
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice([0, 0, 0.0002, 0.002]))
            task.cancel()
        try:
            await task
            sent.append(number)
        except asyncio.CancelledError:
            pass
    return sent


def put_with_cancels_in_threads(channel, senders, count):
    """A loop in each of three threads.  What was sent, by sender."""
    sent = {}

    def run(sender):
        sent[sender] = asyncio.run(put_with_cancels(channel, sender, count))

    threads = [threading.Thread(target=run, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


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
