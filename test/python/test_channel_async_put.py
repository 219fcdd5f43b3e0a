"""Channels in asyncio: sends that wait for room, are let in, refused, cancelled."""

import asyncio
import gc
import inspect
import random
import threading
import time
import weakref

import pytest

from erlang import ChannelClosed, NotConvertibleError
from erlang.testing import make_channel
from loops import new_loop, on_each_kind_of_loop, run, settle  # noqa: F401
from support import Background, wait_for_channel


def full_channel(max_size=6):
    """The other end of one with no room: it has taken a message that is too large."""
    peer = make_channel(max_size=max_size)
    peer.channel.put("x" * max_size)
    return peer


def waiting(peer):
    return peer.info()["outbox"]["waiting_senders"]


def queued(peer):
    """Takes what is there."""
    messages = []
    while peer.info()["outbox"]["messages"] > 0:
        messages.append(peer.recv(0))
    return messages


async def begun(peer, *terms):
    """Tasks that wait for room, in this order, one after the other."""
    tasks = []
    for term in terms:
        before = waiting(peer)
        tasks.append(asyncio.create_task(peer.channel.async_put(term)))
        await asyncio.sleep(0)
        assert waiting(peer) == before + 1
    return tasks


# ---- One sender ----


def test_where_there_is_room_no_loop_is_needed():
    peer = make_channel()
    coroutine = peer.channel.async_put({"a": [1, None]})
    assert inspect.iscoroutine(coroutine)
    assert peer.info()["outbox"]["messages"] == 0
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value is None
    assert peer.recv(0) == {"a": [1, None]}


def test_in_a_full_channel_it_needs_one():
    peer = full_channel()
    with pytest.raises(RuntimeError, match="no running event loop"):
        peer.channel.async_put(1).send(None)
    assert waiting(peer) == 0 and queued(peer) == ["xxxxxx"]


def test_what_is_not_awaited_is_not_sent():
    peer = make_channel()
    message = make_channel().channel
    gone = weakref.ref(message)
    coroutine = peer.channel.async_put([message])
    del message
    assert gone() is not None
    coroutine.close()
    del coroutine
    assert gone() is None
    assert peer.info()["outbox"]["messages"] == 0


def test_it_is_converted_at_the_call():
    peer = make_channel()
    with pytest.raises(NotConvertibleError, match="object"):
        peer.channel.async_put([object()])
    assert peer.info()["outbox"]["messages"] == 0


def test_wrong_arguments():
    channel = make_channel().channel
    with pytest.raises(TypeError, match="missing required argument 'term'"):
        channel.async_put()
    with pytest.raises(TypeError, match="timeout"):
        channel.async_put(1, timeout=0)
    with pytest.raises(TypeError):
        channel.async_put(1, 2)
    with pytest.raises(TypeError, match="cannot create"):
        type(put_of(channel))()


def put_of(channel):
    """What the coroutine sends."""
    coroutine = channel.async_put(1)
    try:
        return next(iter(coroutine.cr_frame.f_locals.values()))
    finally:
        coroutine.close()


def test_it_is_sent_once():
    peer = make_channel()
    put = put_of(peer.channel)
    assert put.send() is True
    with pytest.raises(RuntimeError, match="has been sent"):
        put.send()
    assert queued(peer) == [1]


def test_room_ends_the_wait():
    async def main():
        peer = full_channel()
        [task] = await begun(peer, "late")
        call = Background(peer.recv)
        assert await task is None
        assert call.result() == "xxxxxx"
        assert waiting(peer) == 0 and queued(peer) == ["late"]

    run(main)


def test_a_close_ends_the_wait():
    async def main():
        peer = full_channel()
        tasks = await begun(peer, 1, 2, 3)
        threading.Thread(target=peer.close).start()
        for task in tasks:
            with pytest.raises(ChannelClosed, match="the channel is closed"):
                await task
        with pytest.raises(ChannelClosed, match="the channel is closed"):
            await peer.channel.async_put(4)
        assert queued(peer) == ["xxxxxx"]

    run(main)


def test_nobody_overtakes():
    """Coroutines, threads, and what would fit where those before it do not."""

    async def main():
        peer = full_channel()
        [first] = await begun(peer, "first")
        thread = Background(peer.channel.put, "2nd")
        while waiting(peer) != 2:
            await asyncio.sleep(0.0005)
        third, fourth = await begun(peer, "third", 4)
        with pytest.raises(TimeoutError):
            peer.channel.put(5, 0)
        got = []
        for _ in range(5):
            got.append(peer.recv(0))
        assert got == ["xxxxxx", "first", "2nd", "third", 4]
        await asyncio.gather(first, third, fourth)
        thread.result()

    run(main)


def test_many_are_let_in_in_order():
    async def main():
        peer = full_channel()
        channel = peer.channel
        tasks = [asyncio.create_task(channel.async_put(n)) for n in range(500)]
        await asyncio.sleep(0)
        assert waiting(peer) == 500
        call = Background(lambda: [peer.recv() for _ in range(501)])
        await asyncio.gather(*tasks)
        assert call.result() == ["xxxxxx", *range(500)]

    run(main)


def test_one_loop_receives_and_sends():
    """Both ways of one channel, each with a wait in the same loop."""

    async def main():
        peer = full_channel()
        [put] = await begun(peer, "out")
        receive = asyncio.create_task(peer.channel.async_receive())
        await asyncio.sleep(0)
        peer.send("in"), peer.recv()
        assert await asyncio.gather(put, receive) == [None, "in"]
        assert queued(peer) == ["out"]

    run(main)


# ---- Cancelling ----


def test_a_cancelled_put_sends_nothing_and_lets_others_in():
    async def main():
        peer = make_channel(max_size=20)
        peer.channel.put("x" * 5)
        large, small = await begun(peer, "y" * 19, "z")
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        await small
        assert waiting(peer) == 0 and queued(peer) == ["xxxxx", "z"]

    run(main)


@pytest.mark.parametrize("rounds", range(6))
def test_what_was_let_in_before_the_cancel_is_sent(rounds):
    """So many turns of the loop after there was room: the descriptor is readable, the
    future is resolved, the task has ended."""

    async def main():
        peer = full_channel()
        first, second = await begun(peer, "first", "second")
        assert peer.recv(0) == "xxxxxx"
        for _ in range(rounds):
            await asyncio.sleep(0)
        assert first.cancel() != first.done()
        await settle()
        assert first.cancelled() or first.result() is None
        assert waiting(peer) == 1 and peer.recv(0) == "first"
        await second
        assert queued(peer) == ["second"]

    run(main)


def test_a_task_that_is_cancelled_does_not_go_on():
    """Though its message has been sent."""

    async def main():
        peer = full_channel()
        [task] = await begun(peer, "sent")
        peer.recv(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queued(peer) == ["sent"]

    run(main)


@pytest.mark.parametrize("rounds", range(4))
def test_a_cancel_beside_the_close(rounds):
    async def main():
        peer = full_channel()
        message = make_channel().channel
        gone = weakref.ref(message)
        [task] = await begun(peer, [message])
        del message
        peer.close()
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ChannelClosed)):
            await task
        del task
        await settle()
        gc.collect()
        assert queued(peer) == ["xxxxxx"] and gone() is None

    run(main)


@pytest.mark.parametrize("limit", ["timeout", "wait_for"])
def test_timeouts(limit):
    async def main():
        peer = full_channel()
        with pytest.raises(TimeoutError):
            if limit == "wait_for":
                await asyncio.wait_for(peer.channel.async_put("late"), 0.01)
            else:
                async with asyncio.timeout(0.01):
                    await peer.channel.async_put("late")
        assert waiting(peer) == 0 and queued(peer) == ["xxxxxx"]
        await peer.channel.async_put("next")
        assert queued(peer) == ["next"]

    run(main)


# ---- Those that go ----


def let_go(how):
    """A wait for room that ends in this way; a reference to what its message held."""

    async def main():
        peer = full_channel()
        message = make_channel().channel
        gone = weakref.ref(message)
        coroutine = peer.channel.async_put([message])
        del message
        coroutine.send(None)
        gc.collect()
        assert gone() is not None and waiting(peer) == 1
        if how == "closed":
            coroutine.close()
        elif how == "dropped":
            del coroutine
        elif how == "thrown":
            with pytest.raises(ValueError):
                coroutine.throw(ValueError("x"))
        assert waiting(peer) == 0
        return gone, queued(peer)

    return run(main)


@pytest.mark.parametrize("how", ["closed", "dropped", "thrown"])
def test_a_coroutine_that_goes_takes_its_message_along(how):
    gone, messages = let_go(how)
    assert messages == ["xxxxxx"]
    gc.collect()
    assert gone() is None


def test_a_closed_loop_is_dropped():
    """With all that waits in it; whoever waits behind is let in."""
    peer = make_channel(max_size=20)
    peer.channel.put("x" * 5)
    loop = new_loop()
    message = make_channel().channel
    gone = [weakref.ref(message), weakref.ref(loop)]
    tasks = [
        loop.create_task(peer.channel.async_put(["y" * 19, message])),
        loop.create_task(peer.channel.async_put("y")),
    ]
    loop.run_until_complete(settle())
    call = Background(peer.channel.put, "z")
    wait_for_channel(peer, way="outbox", senders=3)
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False
    del loop, message, task, tasks
    gc.collect()
    assert [each() for each in gone] == [None, None]
    call.result()
    assert waiting(peer) == 0 and queued(peer) == ["xxxxx", "z"]


def test_a_full_channel_that_holds_itself_is_collected():
    """By a message that waits in a loop that nobody runs any more."""
    peer = full_channel()
    channel = peer.channel
    gone = weakref.ref(channel)
    loop = new_loop()
    task = loop.create_task(channel.async_put([channel]))
    loop.run_until_complete(settle())
    assert waiting(peer) == 1
    loop.close()
    task._log_destroy_pending = False
    del peer, channel, loop, task
    gc.collect()
    assert gone() is None


# ---- Against a model ----


class Model:
    """One thread, so that the order is exact: what is queued, and who waits."""

    MAX_SIZE = 40

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.peer = make_channel(max_size=self.MAX_SIZE)
        self.channel = self.peer.channel
        self.queue, self.waiting, self.tasks = [], [], []
        self.closed = False
        self.number = 0

    def has_room(self, message):
        size = sum(len(each) + 6 for each in self.queue)
        return not self.queue or size + len(message) + 6 <= self.MAX_SIZE

    def admit(self):
        while self.waiting and self.has_room(self.waiting[0]):
            self.queue.append(self.waiting.pop(0))

    def message(self):
        self.number += 1
        return b"%d" % self.number + b"." * self.random.choice([0, 5, 20, 40])

    def expect(self, message):
        """Whether it is sent at once, or None: it waits."""
        if self.closed:
            return False
        if not self.waiting and self.has_room(message):
            self.queue.append(message)
            return True
        return None

    async def put(self):
        message = self.message()
        expected = self.expect(message)
        if expected is None:
            self.waiting.append(message)
        try:
            await self.channel.async_put(message)
            assert expected is not False and message not in self.waiting
        except ChannelClosed:
            assert self.closed and expected is not True and message not in self.waiting
        except asyncio.CancelledError:
            assert expected is None
            if message in self.waiting:
                self.waiting.remove(message)
                self.admit()
            raise

    def begin(self):
        self.tasks.append(asyncio.create_task(self.put()))

    def cancel(self):
        if self.tasks:
            self.random.choice(self.tasks).cancel()

    def put_now(self):
        message = self.message()
        expected = self.expect(message)
        try:
            self.channel.put(message, 0)
            assert expected is True
        except TimeoutError:
            assert expected is None
        except ChannelClosed:
            assert expected is False

    def receive(self):
        for _ in range(self.random.randrange(1, 4)):
            try:
                message = self.peer.recv(0)
            except (TimeoutError, ChannelClosed) as error:
                assert not self.queue and isinstance(error, ChannelClosed) == self.closed
                return
            assert message == self.queue.pop(0)
            if not self.closed:
                self.admit()

    def close(self):
        if self.random.random() < 0.03:
            self.closed = True
            self.waiting.clear()
            self.peer.close()

    async def check(self):
        await settle()
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            assert task.cancelled() or task.exception() is None, task.exception()
        info = self.peer.info()["outbox"]
        assert info["messages"] == len(self.queue)
        assert info["waiting_senders"] == len(self.waiting) == len(self.tasks)

    async def run(self, steps):
        acts = [self.begin] * 5 + [self.receive] * 3
        acts += [self.cancel, self.cancel, self.put_now, self.close]
        for _ in range(steps):
            for _ in range(self.random.randrange(1, 5)):
                self.random.choice(acts)()
                if self.random.random() < 0.4:
                    await asyncio.sleep(0)
            await self.check()
        self.closed = True
        self.waiting.clear()
        self.peer.close()
        await self.check()


@pytest.mark.parametrize("seed", range(30))
def test_model(seed):
    async def main():
        await Model(seed).run(150)

    run(main)


# ---- Mixed: threads, loops, cancels, timeouts ----


class Crowd:
    """Each sender numbers its messages.  What was sent arrives once and in order; of
    what was cancelled, that may be."""

    def __init__(self, seed, count):
        self.random = random.Random(seed)
        self.peer = make_channel(max_size=30)
        self.channel = self.peer.channel
        self.count = count
        self.sent, self.refused = set(), set()

    def put(self, sender):
        chance = random.Random(sender)
        for number in range(self.count):
            try:
                self.channel.put((sender, number), chance.choice([None, 0, 0.0005]))
                self.sent.add((sender, number))
            except TimeoutError:
                self.refused.add((sender, number))

    async def put_one(self, message):
        await self.channel.async_put(message)
        self.sent.add(message)

    async def put_with_cancels(self, sender):
        chance = random.Random(sender)
        for number in range(self.count):
            task = asyncio.create_task(self.put_one((sender, number)))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.choice([0, 0, 0.0002]))
                task.cancel()
            try:
                await asyncio.wait_for(task, chance.choice([None, None, 0.0005]))
            except (asyncio.CancelledError, TimeoutError):
                pass

    async def put_all(self, sender):
        for number in range(self.count):
            await self.put_one((sender, number))

    async def loop(self, senders):
        patient, *others = senders
        await asyncio.gather(self.put_all(patient), *map(self.put_with_cancels, others))

    def receive(self):
        chance, messages = random.Random(1), []
        try:
            while True:
                messages.append(self.peer.recv())
                if chance.random() < 0.01:
                    time.sleep(0.001)
        except ChannelClosed:
            return messages

    def run(self):
        receiving = Background(self.receive)
        sending = [Background(self.put, sender) for sender in range(2)]
        sending += [
            Background(run, self.loop, range(10 * loop, 10 * loop + 4))
            for loop in range(1, 4)
        ]
        for call in sending:
            call.result()
        self.peer.close()
        return receiving.result()


@pytest.mark.parametrize("seed", range(3))
def test_crowd(seed):
    crowd = Crowd(seed, count=500)
    messages = crowd.run()
    assert len(set(messages)) == len(messages)
    assert crowd.sent <= set(messages) and not crowd.refused & set(messages)
    for sender in {origin for origin, _ in messages}:
        numbers = [number for origin, number in messages if origin == sender]
        assert numbers == sorted(numbers)
        if sender in (10, 20, 30):
            assert numbers == list(range(500))
    info = crowd.peer.info()["outbox"]
    assert info["waiting_senders"] == info["waiting_receivers"] == info["messages"] == 0
