"""Channels in asyncio: waits that are told, cancelled, mixed with those of threads."""

import asyncio
import gc
import inspect
import random
import threading
import time
import weakref

import pytest

from erlang import ChannelClosed
from erlang.testing import make_channel
from loops import new_loop, on_each_kind_of_loop, run, settle  # noqa: F401
from support import Background, wait_for_channel


async def waiting(peer, count):
    end = time.monotonic() + 20
    while peer.info()["waiting_receivers"] != count:
        assert time.monotonic() < end, peer.info()
        await asyncio.sleep(0.0005)


# ---- One receiver ----


def test_it_is_a_coroutine():
    peer = make_channel()
    coroutine = peer.channel.async_receive()
    assert inspect.iscoroutine(coroutine)
    peer.send("x")
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == "x"


def test_what_is_there_is_taken_at_once():
    async def main():
        peer = make_channel()
        for message in (1, None, "x"):
            peer.send(message)
        return [await peer.channel.async_receive() for _ in range(3)]

    assert run(main) == [1, None, "x"]


@pytest.mark.parametrize("message", [None, "x"])
def test_a_message_ends_the_wait(message):
    async def main():
        peer = make_channel()
        task = asyncio.create_task(peer.channel.async_receive())
        await waiting(peer, 1)
        threading.Thread(target=peer.send, args=(message,)).start()
        assert await task is message
        assert peer.info()["waiting_receivers"] == 0

    run(main)


def test_a_close_ends_the_wait():
    async def main():
        peer = make_channel()
        tasks = [asyncio.create_task(peer.channel.async_receive()) for _ in range(3)]
        await waiting(peer, 3)
        threading.Thread(target=peer.close).start()
        for task in tasks:
            with pytest.raises(ChannelClosed):
                await task
        with pytest.raises(ChannelClosed):
            await peer.channel.async_receive()

    run(main)


def test_async_for():
    async def gather(channel):
        return [message async for message in channel]

    async def main():
        peer = make_channel()
        task = asyncio.create_task(gather(peer.channel))
        await waiting(peer, 1)
        for message in (1, None, [2]):
            peer.send(message)
        peer.close()
        assert await task == [1, None, [2]]
        assert await gather(peer.channel) == []

    run(main)


def test_waits_use_no_processor():
    async def main():
        peer = make_channel()
        tasks = [asyncio.create_task(peer.channel.async_receive()) for _ in range(500)]
        await waiting(peer, 500)
        before = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - before < 0.15
        for number in range(500):
            peer.send(number)
        assert await asyncio.gather(*tasks) == list(range(500))  # in the order of waiting

    run(main)


def test_works_between_reads_of_a_buffer():
    """The pattern of a buffer whose writer tells that there is something."""
    from erlang.testing import Writer

    async def read(buf, channel):
        chunks = []
        while not buf.at_eof():
            if available := buf.readable_amount():
                chunks.append(buf.read_nonblock(available))
            else:
                await channel.async_receive()
        return b"".join(chunks)

    writer, peer = Writer(), make_channel()

    def write():
        for number in range(200):
            writer.write(b"%03d" % number)
            peer.send("more")
        writer.close()
        peer.send("more")

    source = Background(write)
    body = run(read, writer.buffer, peer.channel)
    assert body == b"".join(b"%03d" % number for number in range(200))
    source.result()


# ---- Cancelling ----


def test_a_cancelled_receive_leaves_nothing_behind():
    async def main():
        peer = make_channel()
        task = asyncio.create_task(peer.channel.async_receive())
        await waiting(peer, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert peer.info()["waiting_receivers"] == 0
        peer.send("kept")
        assert peer.channel.try_receive() == "kept"

    run(main)


@pytest.mark.parametrize("rounds", range(6))
def test_a_receive_that_is_cancelled_after_it_was_told_passes_it_on(rounds):
    """So many turns of the loop after the send: the descriptor is readable, the future
    is resolved, the task has the message."""

    async def main():
        peer = make_channel()
        first = asyncio.create_task(peer.channel.async_receive())
        await waiting(peer, 1)
        second = asyncio.create_task(peer.channel.async_receive())
        await waiting(peer, 2)
        peer.send("x")
        for _ in range(rounds):
            await asyncio.sleep(0)
        if first.cancel():
            assert await asyncio.wait_for(second, 10) == "x"
            assert first.cancelled()
        else:
            assert first.result() == "x"
            second.cancel()
        await settle()
        assert peer.info()["waiting_receivers"] == peer.info()["messages"] == 0

    run(main)


def test_passed_on_to_a_thread():
    async def main():
        peer = make_channel()
        task = asyncio.create_task(peer.channel.async_receive())
        await waiting(peer, 1)
        call = Background(peer.channel.receive)
        await waiting(peer, 2)
        peer.send("x")
        task.cancel()
        await settle()
        assert call.result() == "x"

    run(main)


@pytest.mark.parametrize("limit", ["timeout", "wait_for"])
def test_timeouts(limit):
    async def main():
        peer = make_channel()
        with pytest.raises(TimeoutError):
            if limit == "wait_for":
                await asyncio.wait_for(peer.channel.async_receive(), 0.01)
            else:
                async with asyncio.timeout(0.01):
                    await peer.channel.async_receive()
        assert peer.info()["waiting_receivers"] == 0
        peer.send("kept")
        assert await peer.channel.async_receive() == "kept"

    run(main)


def test_a_task_that_is_dropped_passes_it_on():
    async def main():
        peer = make_channel()
        coroutine = peer.channel.async_receive()
        coroutine.send(None)
        call = Background(peer.channel.receive)
        await waiting(peer, 2)
        peer.send("x")
        del coroutine
        assert call.result() == "x"
        assert peer.info()["waiting_receivers"] == 0

    run(main)


def test_a_closed_loop_is_dropped():
    peer = make_channel()
    loop = new_loop()
    task = loop.create_task(peer.channel.async_receive())
    loop.run_until_complete(settle())
    assert peer.info()["waiting_receivers"] == 1
    call = Background(peer.channel.receive)
    wait_for_channel(peer, receivers=2)
    loop.close()
    gone = weakref.ref(loop)
    task._log_destroy_pending = False
    del loop, task
    gc.collect()
    assert gone() is None
    peer.send("x")
    assert call.result() == "x"
    assert peer.info()["waiting_receivers"] == 0


# ---- Against a model ----


class Model:
    """One thread, so that the order is exact: what was received is what was sent, so far."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.peer = make_channel()
        self.channel = self.peer.channel
        self.sent, self.received, self.tasks = [], [], []
        self.closed = False

    def took(self, message):
        assert message == self.sent[len(self.received)]
        self.received.append(message)

    async def receive(self):
        self.took(await self.channel.async_receive())

    async def iterate(self):
        async for message in self.channel:
            self.took(message)

    def send(self):
        for _ in range(self.random.randrange(1, 4)):
            if self.closed:
                with pytest.raises(ChannelClosed):
                    self.peer.send("late")
            else:
                message = len(self.sent) if self.random.random() < 0.8 else None
                self.peer.send(message)
                self.sent.append(message)

    def begin(self):
        kind = self.receive if self.random.random() < 0.8 else self.iterate
        self.tasks.append(asyncio.create_task(kind()))

    def cancel(self):
        if self.tasks:
            self.random.choice(self.tasks).cancel()

    def try_receive(self):
        nothing, call = object(), self.random.choice(["try", "receive"])
        try:
            if call == "try":
                message = self.channel.try_receive(nothing)
            else:
                message = self.channel.receive(0)
        except TimeoutError:
            message = nothing
        except ChannelClosed:
            assert self.closed
            message = nothing
        if message is nothing:
            assert len(self.received) == len(self.sent)
        else:
            self.took(message)

    def close(self):
        if self.random.random() < 0.03:
            self.closed = True
            self.peer.close()

    async def check(self):
        await settle()
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            if not task.cancelled() and task.exception() is not None:
                assert self.closed
                assert isinstance(task.exception(), ChannelClosed), task.exception()
        info = self.peer.info()
        assert info["messages"] == len(self.sent) - len(self.received)
        assert info["waiting_receivers"] == len(self.tasks)
        if self.tasks:
            assert info["messages"] == 0 and not self.closed

    async def run(self, steps):
        acts = [self.send, self.send, self.begin, self.begin, self.cancel, self.try_receive,
                self.close]  # fmt: skip
        for _ in range(steps):
            for _ in range(self.random.randrange(1, 5)):
                self.random.choice(acts)()
                if self.random.random() < 0.4:
                    await asyncio.sleep(0)
            await self.check()
        self.peer.close()
        self.closed = True
        await self.check()


@pytest.mark.parametrize("seed", range(30))
def test_model(seed):
    async def main():
        await Model(seed).run(150)

    run(main)


# ---- Mixed: threads, loops, cancels, timeouts, senders that wait ----


class Crowd:
    """Each sender's messages are numbered; every receiver sees those in order, and all
    together see each once."""

    def __init__(self, seed, max_size):
        self.random = random.Random(seed)
        self.peer = make_channel(max_size=max_size)
        self.channel = self.peer.channel
        self.lists = []

    def new_list(self):
        self.lists.append([])
        return self.lists[-1]

    def send(self, sender, count):
        for number in range(count):
            while True:
                try:
                    self.peer.send((sender, number), timeout=0.002)
                    break
                except TimeoutError:
                    pass

    def receive(self, seed):
        chance, mine = random.Random(seed), self.new_list()
        nothing = object()
        while True:
            try:
                if chance.random() < 0.2:
                    message = self.channel.try_receive(nothing)
                    if message is nothing:
                        continue
                else:
                    message = self.channel.receive(chance.choice([None, 0, 0.0001, 0.01]))
                mine.append(message)
            except TimeoutError:
                pass
            except ChannelClosed:
                return

    async def receive_one(self, mine):
        mine.append(await self.channel.async_receive())

    async def receive_async(self, seed):
        chance, mine = random.Random(seed), self.new_list()
        while True:
            task = asyncio.create_task(self.receive_one(mine))
            if chance.random() < 0.5:
                await asyncio.sleep(chance.choice([0, 0, 0.0002, 0.002]))
                task.cancel()
            try:
                await asyncio.wait_for(task, chance.choice([None, 0.0001, 0.01]))
            except (asyncio.CancelledError, TimeoutError):
                pass
            except ChannelClosed:
                return

    async def iterate_async(self):
        mine = self.new_list()
        async for message in self.channel:
            mine.append(message)

    async def loop(self, seeds):
        receivers = [self.receive_async(seed) for seed in seeds]
        await asyncio.gather(*receivers, self.iterate_async())

    def run(self, senders, count):
        seeds = iter(self.random.sample(range(10**6), 100))
        receivers = [Background(self.receive, next(seeds)) for _ in range(3)]
        receivers += [Background(list, self.channel)]
        receivers += [
            Background(run, self.loop, [next(seeds) for _ in range(3)])
            for _ in range(3)
        ]
        sending = [Background(self.send, sender, count) for sender in range(senders)]
        for call in sending:
            call.result()
        self.peer.close()
        self.lists += [receivers[3].result()]
        for call in receivers:
            call.result()


@pytest.mark.parametrize("max_size", [None, 30])
@pytest.mark.parametrize("seed", range(3))
def test_crowd(seed, max_size):
    crowd = Crowd(seed, max_size)
    crowd.run(senders=3, count=2000)
    everything = sorted(message for mine in crowd.lists for message in mine)
    assert everything == [(sender, number) for sender in range(3) for number in range(2000)]
    for mine in crowd.lists:
        for sender in range(3):
            numbers = [number for origin, number in mine if origin == sender]
            assert numbers == sorted(numbers)
    info = crowd.peer.info()
    assert info["waiting_receivers"] == info["waiting_senders"] == info["messages"] == 0
