"""Channels: references, cycles, refused memory, and the end of the interpreter."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import weakref

import pytest

import erlang
import refusals
from erlang import ChannelClosed, NotConvertibleError
from erlang.testing import ChannelPeer, make_channel


class Thing:
    """Converts as a number."""

    def __index__(self):
        return 5


def fails(error, function, *args):
    try:
        function(*args)
    except error:
        pass
    else:
        raise AssertionError("did not raise")


async def once_async(peer, message):
    channel = peer.channel
    task = asyncio.create_task(channel.async_receive())
    await asyncio.sleep(0)
    peer.send(message)
    await task
    task = asyncio.create_task(channel.async_receive())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    peer.send(message), peer.close()
    async for _ in channel:
        pass


async def put_once_async(message):
    peer = make_channel(max_size=1)
    channel = peer.channel
    await channel.async_put(message)
    fails(NotConvertibleError, channel.async_put, object())
    channel.async_put(message).close()
    tasks = [asyncio.create_task(channel.async_put([message])) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    peer.recv()
    await tasks[0]
    peer.close()
    await asyncio.wait(tasks)
    assert tasks[1].cancelled() and isinstance(tasks[2].exception(), ChannelClosed)


def once(message):
    """About twenty operations, those that fail among them."""
    peer = make_channel(max_size=60, views=True)
    channel = peer.channel
    for _ in range(3):
        peer.send(message), channel.put(message)
    channel.receive(), channel.try_receive(), channel.try_receive(None), peer.recv()
    channel.try_receive(message), repr(channel), hash(channel), channel == peer.channel
    fails(TimeoutError, channel.receive, 0)
    fails(ValueError, channel.receive, -1)
    fails(NotConvertibleError, channel.put, object())
    peer.send(b"x" * 5000)
    fails(TimeoutError, peer.send, message, 0.0001)
    channel.receive(), peer.info(), erlang.Channel(channel)
    fails(TypeError, erlang.Channel, peer)
    peer.send([message, channel])
    with channel:
        peer.send(message)
    fails(ChannelClosed, channel.put, message)
    list(channel)
    fails(ChannelClosed, channel.receive)


def test_references_and_blocks_are_balanced():
    thing = Thing()
    watched = [None, True, False, thing, erlang.Channel, ChannelPeer, ChannelClosed,
               TimeoutError, NotConvertibleError]  # fmt: skip

    def measure():
        gc.collect()
        return [sys.getrefcount(thing) for thing in watched], sys.getallocatedblocks()

    async def rounds(count):
        for _ in range(count):
            once(thing)
            await once_async(make_channel(), thing)
            await put_once_async(thing)

    asyncio.run(rounds(200))
    counts, blocks = measure()
    asyncio.run(rounds(4000))
    counts_after, blocks_after = measure()
    for thing, before, after in zip(watched, counts, counts_after):
        assert abs(after - before) < 50, thing
    assert abs(blocks_after - blocks) < 500


# ---- Who holds what ----


@pytest.mark.parametrize("where", ["in", "out", "both"])
def test_messages_go_with_the_channel(where):
    peer, thing = make_channel(), Thing()
    gone = weakref.ref(thing)
    if where != "out":
        peer.send([thing])
    if where != "in":
        peer.channel.put((thing,))
    del thing
    assert gone() is not None
    channel = peer.channel
    del peer
    assert gone() is not None
    del channel
    assert gone() is None


@pytest.mark.parametrize("where", ["in", "out"])
@pytest.mark.parametrize("what", ["channel", "nested"])
def test_a_channel_that_holds_itself_is_collected(where, what):
    peer, thing = make_channel(), Thing()
    gone = [weakref.ref(thing), weakref.ref(peer.channel)]
    channel = peer.channel
    gone[1] = weakref.ref(channel)
    message = [channel, thing] if what == "channel" else {"deep": [(channel, [thing])]}
    peer.send(message) if where == "in" else channel.put(message)
    del message, thing
    gc.collect()
    assert None not in (gone[0](), gone[1]())
    del peer, channel
    gc.collect()
    assert (gone[0](), gone[1]()) == (None, None)


def test_two_channels_that_hold_each_other_are_collected():
    first, second, thing = make_channel(), make_channel(), Thing()
    gone = weakref.ref(thing)
    for _ in range(3):
        first.send([second.channel, thing]), second.send([first.channel, first.channel])
        first.channel.put(second.channel)
    del thing
    gc.collect()
    assert gone() is not None
    channel = first.channel
    del first, second
    gc.collect()
    assert gone() is not None and channel.receive()[1] is gone()
    del channel
    gc.collect()
    assert gone() is None


def test_the_collector_sees_what_is_held():
    peer, thing = make_channel(), Thing()
    peer.send(thing), peer.channel.put(thing)
    assert gc.get_referents(peer).count(thing) == 2
    assert peer in gc.get_referents(peer.channel)
    peer.channel.receive()
    assert gc.get_referents(peer).count(thing) == 1
    peer.recv()
    assert thing not in gc.get_referents(peer)


def test_a_waiting_task_that_nobody_holds_is_collected():
    async def main():
        peer = make_channel()
        coroutine = peer.channel.async_receive()
        coroutine.send(None)
        peer.send([Thing()])
        gone = weakref.ref(coroutine)
        del coroutine
        gc.collect()
        assert gone() is None
        assert peer.info()["waiting_receivers"] == 0
        assert isinstance(peer.channel.try_receive()[0], Thing)

    asyncio.run(main())


# ---- Refused memory ----


def refused_once(call, turn):
    refusals.hooks.set_nomemory(turn, turn + 1)
    try:
        call()
    except (MemoryError, SystemError):
        return True
    except (TimeoutError, ChannelClosed, NotConvertibleError):
        return False
    finally:
        refusals.hooks.remove_mem_hooks()
    return False


needs_refusals = pytest.mark.skipif(
    refusals.why_not() is not None, reason=str(refusals.why_not())
)
LARGE = b"x" * 4096


@needs_refusals
@pytest.mark.parametrize("method", ["receive", "receive(0)", "try_receive", "next"])
def test_a_message_that_memory_was_refused_for_is_next_again(method):
    call = {
        "receive": lambda channel: channel.receive(),
        "receive(0)": lambda channel: channel.receive(timeout=0),
        "try_receive": lambda channel: channel.try_receive(),
        "next": lambda channel: next(channel),
    }[method]
    refusals = 0
    for turn in range(30):
        peer = make_channel(views=True)
        channel = peer.channel
        peer.send([LARGE, {1: LARGE}]), peer.send("second")
        size = peer.info()["size"]
        if refused_once(lambda: call(channel), turn):
            refusals += 1
            assert peer.info()["size"] == size and peer.info()["messages"] == 2
            assert channel.receive() == [LARGE, {1: LARGE}]
        assert channel.receive() == "second"
    assert refusals


@needs_refusals
@pytest.mark.parametrize("message", [["\u00e9", b"x", {1: 2**100}], "x"], ids=repr)
def test_refused_while_sending(message):
    refusals = 0
    for turn in range(30):
        peer = make_channel()
        channel = peer.channel
        for send, count in (
            (peer.send, lambda: peer.info()["messages"]),
            (channel.put, lambda: peer.info()["outbox"]["messages"]),
        ):
            refused = refused_once(lambda: send(message), turn)
            refusals += refused
            assert count() == (0 if refused else 1)
    assert refusals


@needs_refusals
def test_refused_elsewhere():
    refusals = 0
    for turn in range(40):
        full = make_channel(max_size=1)
        full.send("x")
        channel = full.channel
        calls = [
            make_channel, lambda: full.channel, full.info, lambda: repr(channel),
            lambda: full.send("y", 0), lambda: full.recv(0.001),
        ]  # fmt: skip
        for call in calls:
            refusals += refused_once(call, turn)
        assert full.info()["waiting_senders"] == full.info()["waiting_receivers"] == 0
        assert channel.receive() == "x"
    assert refusals


@needs_refusals
def test_refused_while_waiting_in_a_loop():
    """Nothing of it is left: neither the wait nor its message."""

    async def main():
        refusals = 0
        for turn in range(60):
            full = make_channel(max_size=1)
            full.channel.put("x")
            message = make_channel().channel
            gone = weakref.ref(message)

            def put():
                full.channel.async_put([message]).send(None)  # noqa: F821

            refusals += refused_once(put, turn)
            del message, put
            gc.collect()
            assert gone() is None
            assert full.info()["outbox"]["waiting_senders"] == 0
        assert refusals

    asyncio.run(main())


# ---- The end of the interpreter ----

AT_THE_END = {
    "blocked threads": """
        for call in (peer.channel.receive, peer.recv, lambda: list(peer.channel)):
            threading.Thread(target=call, daemon=True).start()
        full = make_channel(max_size=1)
        full.send("x"), full.channel.put("x")
        for call in (full.send, full.channel.put):
            threading.Thread(target=call, args=("y",), daemon=True).start()
        time.sleep(0.1)
        """,
    "messages": """
        import builtins
        builtins.kept = peer
        peer.send([peer.channel, object.__new__(Thing)])
        peer.channel.put({1: peer.channel})
        """,
    "busy threads": """
        def receive():
            for _ in peer.channel:
                pass
        def send():
            while True:
                peer.send([peer.channel])
        for call in (receive, receive, send):
            threading.Thread(target=call, daemon=True).start()
        time.sleep(0.1)
        """,
    "tasks": """
        import asyncio
        loop = asyncio.new_event_loop()
        kept = [peer.channel.async_receive() for _ in range(3)]
        full = make_channel(max_size=1)
        full.channel.put("x")
        kept += [full.channel.async_put([full.channel]) for _ in range(3)]
        async def begin():
            for coroutine in kept[:-1]:
                coroutine.send(None)
        loop.run_until_complete(begin())
        peer.send(kept[0].cr_frame and "x")
        """,
}


@pytest.mark.parametrize("name", AT_THE_END)
def test_python_ends_while_channels_are_in_use(name):
    script = """
import threading, time
from erlang.testing import make_channel
class Thing:
    def __index__(self):
        return 5
peer = make_channel()
""" + textwrap.dedent(AT_THE_END[name])
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", script],
            capture_output=True,
            timeout=50,
        )
        # asyncio may complain of a loop that nobody closed.
        assert done.returncode == 0 and b"Fatal" not in done.stderr, done.stderr.decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_has_its_own_copy():
    peer = make_channel()
    peer.send("both"), peer.channel.put("both")
    child = os.fork()
    if child == 0:
        try:
            good = peer.channel.receive() == "both" and peer.recv() == "both"
            peer.send("mine")
            os._exit(0 if good and peer.channel.receive() == "mine" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert peer.channel.receive() == "both" and peer.recv() == "both"
