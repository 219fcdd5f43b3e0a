"""Channel, method by method: what each takes, answers and raises."""

import copy
import gc
import pickle
import sys
import time
import weakref

import pytest

import erlang
from erlang import Atom, Channel, ChannelClosed, NotConvertibleError
from erlang.channel import reply
from erlang.testing import ChannelPeer, make_buffer, make_channel
from support import Background, wait_for_channel

MESSAGES = [
    None, True, 0, -1, 2**70, 1.5, "text", "", b"\xff", (), (1, "two"), [3, [4]],
    {"key": (5, None)}, bytearray(b"x"), memoryview(b"y"), {6}, Atom("atom"),
]  # fmt: skip


# ---- Messages, both ways ----


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_there_and_back(message):
    peer = make_channel()
    channel = peer.channel
    peer.send(message)
    assert channel.receive() is message
    channel.put(message)
    assert peer.recv() is message


def test_channels_and_buffers_are_messages():
    peer, buf = make_channel(), make_buffer(b"x")
    peer.send([buf, peer.channel])
    assert peer.channel.receive() == [buf, peer.channel]


def test_messages_keep_their_order():
    peer = make_channel()
    for number in range(1000):
        peer.send(number)
        peer.channel.put(-number)
    assert [peer.channel.receive() for _ in range(1000)] == list(range(1000))
    assert [peer.recv() for _ in range(1000)] == [-number for number in range(1000)]


def test_nobody_reads_back_its_own():
    peer = make_channel()
    peer.channel.put("out")
    assert peer.channel.try_receive("nothing") == "nothing"
    peer.send("in")
    assert peer.recv() == "out"
    with pytest.raises(TimeoutError):
        peer.recv(0)


@pytest.mark.parametrize(
    "message",
    [object(), [object()], {1: object()}, {object(): 1}, "\ud800", float("nan"), 1j],
    ids=repr,
)
def test_only_what_converts_can_be_sent(message):
    peer = make_channel()
    for send in (peer.send, peer.channel.put):
        with pytest.raises(NotConvertibleError):
            send(message)
    assert peer.info()["messages"] == peer.info()["outbox"]["messages"] == 0


def test_too_deep_is_refused():
    nested = []
    nested.append(nested)
    with pytest.raises(NotConvertibleError, match="deep"):
        make_channel().send(nested)


# ---- receive, try_receive ----


def test_receive_waits():
    peer = make_channel()
    call = Background(peer.channel.receive)
    wait_for_channel(peer, receivers=1)
    peer.send("late")
    assert call.result() == "late"
    assert peer.info()["waiting_receivers"] == 0


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-12, 0.01])
def test_receive_in_time_or_not_at_all(timeout):
    peer = make_channel()
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="no message within the timeout"):
        peer.channel.receive(timeout=timeout)
    assert time.monotonic() - begun >= timeout
    assert peer.info()["waiting_receivers"] == 0
    peer.send("there")
    assert peer.channel.receive(timeout) == "there"


@pytest.mark.parametrize("method", ["receive", "put"])
@pytest.mark.parametrize(
    "timeout, error",
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (1e300, OverflowError)],
)
def test_wrong_timeouts(method, timeout, error):
    peer = make_channel()
    peer.send("there")
    args = () if method == "receive" else ("term",)
    with pytest.raises(error, match="timeout"):
        getattr(peer.channel, method)(*args, timeout=timeout)
    assert peer.info()["messages"] == 1


def test_a_deadline_is_not_put_off_by_others():
    """Messages that others take do not begin the time anew."""
    peer = make_channel()
    channel = peer.channel
    begun = time.monotonic()
    call = Background(channel.receive, 0.3)
    while not call.done() and time.monotonic() - begun < 20:
        peer.send("for the other one")
        channel.try_receive()
    try:
        assert call.result() == "for the other one"
    except TimeoutError:
        assert time.monotonic() - begun < 10


def test_try_receive():
    peer = make_channel()
    channel, mine = peer.channel, object()
    assert channel.try_receive() is None
    assert channel.try_receive(mine) is mine
    assert channel.try_receive(default=mine) is mine
    peer.send(None)
    assert channel.try_receive(mine) is None
    assert channel.try_receive(mine) is mine


@pytest.mark.parametrize(
    "call",
    [
        lambda channel: channel.receive(1, 2),
        lambda channel: channel.receive(time=1),
        lambda channel: channel.try_receive(1, 2),
        lambda channel: channel.put(),
        lambda channel: channel.put(1, 2, 3),
        lambda channel: channel.async_receive(1),
        lambda channel: channel.close(1),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(TypeError):
        call(make_channel().channel)


# ---- put ----


def test_put_waits_for_room():
    peer = make_channel(max_size=10)
    channel = peer.channel
    channel.put(b"12345")
    with pytest.raises(TimeoutError, match="no room within the timeout"):
        channel.put("x", timeout=0)
    with pytest.raises(TimeoutError, match="no room"):
        channel.put("x", timeout=0.01)
    assert peer.info()["outbox"]["messages"] == 1
    call = Background(channel.put, "let in")
    wait_for_channel(peer, way="outbox", senders=1)
    assert peer.recv() == b"12345"
    assert call.result() is None
    assert peer.recv() == "let in"
    assert peer.info()["outbox"]["waiting_senders"] == 0


def test_sends_are_let_in_in_order():
    peer = make_channel(max_size=1)
    peer.send(0)
    calls = []
    for number in range(1, 20):
        calls.append(Background(peer.send, number))
        wait_for_channel(peer, senders=number)
    assert [peer.channel.receive() for _ in range(20)] == list(range(20))
    for call in calls:
        call.result()


def test_a_large_message_fits_into_an_empty_queue():
    peer = make_channel(max_size=1)
    peer.send(b"x" * 1000)
    with pytest.raises(TimeoutError):
        peer.send(b"", timeout=0)
    assert len(peer.channel.receive()) == 1000
    peer.send(b"")


@pytest.mark.parametrize("max_size", [0, -1, 2**63])
def test_wrong_sizes(max_size):
    with pytest.raises(ValueError, match="max_size"):
        make_channel(max_size)
    with pytest.raises(TypeError, match="max_size must be an int or None, not str"):
        make_channel("1")


# What erlang:external_size/1 says of the term.  (It takes lists of bytes for strings,
# which are shorter; that is not imitated.)
SIZES = [
    (None, 8), (True, 8), (False, 9), (0, 3), (255, 3), (256, 6), (-1, 6), (2**31, 8),
    (-(2**63), 12), (2**2040, 263), (1.5, 10), ("", 6), ("abc", 9), ("\u00e9", 8),
    (b"abc", 9), ([], 2), ([-1], 12), ((), 3), ((1, 2), 7), ({}, 6), ({1: 2}, 10),
    (tuple([1] * 256), 518), (bytearray(5), 11), (memoryview(b"12"), 8), (Atom("abc"), 7),
]  # fmt: skip


@pytest.mark.parametrize("message, size", SIZES, ids=repr)
def test_sizes_are_those_of_terms(message, size):
    peer = make_channel()
    peer.send(message)
    assert peer.info()["size"] == size
    peer.channel.put(message)
    assert peer.info()["outbox"]["size"] == size
    peer.channel.receive(), peer.recv()
    assert peer.info()["size"] == peer.info()["outbox"]["size"] == 0


# ---- The end ----


@pytest.mark.parametrize("end", ["channel", "peer"])
def test_what_is_queued_is_received_after_a_close(end):
    peer = make_channel()
    channel = peer.channel
    peer.send(1), peer.send(2), peer.send(None)
    channel.put("a"), channel.put("b")
    assert not channel.closed and not peer.closed
    (channel if end == "channel" else peer).close()
    assert channel.closed is True and peer.closed is True
    channel.close(), peer.close()
    assert channel.receive() == 1
    assert channel.try_receive() == 2
    assert channel.try_receive("other") is None
    assert [peer.recv(), peer.recv()] == ["a", "b"]
    for call in (channel.receive, channel.try_receive, peer.recv):
        with pytest.raises(ChannelClosed, match="the channel is closed"):
            call()
    for call in (channel.put, peer.send):
        with pytest.raises(ChannelClosed):
            call("late")
    with pytest.raises(ChannelClosed):
        channel.receive(0)
    assert list(channel) == []


def test_a_close_ends_all_waits():
    peer = make_channel(max_size=1)
    peer.send("full"), peer.channel.put("full")
    calls = [Background(peer.channel.put, n) for n in range(3)]
    calls += [Background(peer.send, n) for n in range(3)]
    wait_for_channel(peer, senders=3)
    wait_for_channel(peer, way="outbox", senders=3)
    peer.close()
    for call in calls:
        with pytest.raises(ChannelClosed):
            call.result()
    empty = make_channel()
    calls = [Background(empty.channel.receive) for _ in range(3)]
    calls += [Background(list, empty.channel)]
    wait_for_channel(empty, receivers=4)
    empty.channel.close()
    for call in calls[:3]:
        with pytest.raises(ChannelClosed):
            call.result()
    assert calls[3].result() == []


def test_with():
    peer = make_channel()
    with peer.channel as channel:
        assert channel == peer.channel
        assert not peer.closed
    assert peer.closed
    peer = make_channel()
    with pytest.raises(ZeroDivisionError):
        with peer.channel:
            1 / 0
    assert peer.closed
    with make_channel() as peer:
        pass
    assert peer.closed


def test_for():
    peer = make_channel()
    call = Background(list, peer.channel)
    for number in (1, None, 3):
        peer.send(number)
    peer.close()
    assert call.result() == [1, None, 3]
    assert iter(peer.channel) == peer.channel


# ---- The object ----


def test_equal_by_what_is_behind():
    peer, other = make_channel(), make_channel()
    assert peer.channel == peer.channel and peer.channel is not peer.channel
    assert hash(peer.channel) == hash(peer.channel)
    assert peer.channel != other.channel and peer.channel != 1
    assert {peer.channel: 1}[peer.channel] == 1
    with pytest.raises(TypeError):
        peer.channel < peer.channel


def test_channel_of_a_channel():
    peer = make_channel()
    channel = peer.channel
    assert Channel(channel) == channel
    peer.send("x")
    assert Channel(channel).receive() == "x"


@pytest.mark.parametrize("args", [(), (1,), (None,), (ChannelPeer(),), ("x", 2)], ids=repr)
def test_channels_are_made_by_erlang(args):
    with pytest.raises(TypeError, match="made in Erlang"):
        Channel(*args)
    with pytest.raises(TypeError, match="made in Erlang"):
        Channel(make_channel().channel, name="x")


def test_repr():
    peer = make_channel()
    peer.send(1)
    assert repr(peer.channel).startswith("<erlang.Channel open messages=1 at 0x")
    peer.close()
    assert repr(peer.channel).startswith("<erlang.Channel closed messages=1 at 0x")


def test_weak_references():
    channel = make_channel().channel
    gone = weakref.ref(channel)
    assert gone() is channel
    del channel
    assert gone() is None


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(function):
    peer = make_channel()
    for thing in (peer, peer.channel):
        with pytest.raises(TypeError):
            function(thing)


def test_types():
    assert issubclass(ChannelClosed, Exception)
    assert pickle.loads(pickle.dumps(ChannelClosed("why"))).args == ("why",)
    for thing in (make_channel(), make_channel().channel):
        assert gc.is_tracked(thing)
        assert type(thing).__flags__ & (1 << 8)  # immutable
        with pytest.raises(TypeError):
            type("Sub", (type(thing),), {})
    assert erlang.Channel is Channel and erlang.channel is sys.modules["erlang.channel"]


def test_reply_names_its_argument():
    with pytest.raises(TypeError, match=r"reply\(\) argument 'pid' .*, not int"):
        reply(3, "term")


def test_reply_needs_a_node():
    with pytest.raises(RuntimeError, match="no Erlang node"):
        reply("name", 1)


# ---- Views ----


def test_views_of_large_bytes():
    peer = make_channel(views=True)
    large, small = b"x" * 2048, b"x" * 2047
    peer.send(large)
    view = peer.channel.receive()
    assert type(view) is memoryview and view.readonly and view.obj is large
    peer.send([small, (large, {"key": large}), {1: [large]}])
    one, (two, three), four = peer.channel.receive()
    assert one is small
    assert [v.obj is large for v in (two, three["key"], four[1][0])] == [True] * 3
    peer.channel.put(large)
    assert peer.recv() is large


def test_no_views_unless_asked_for():
    peer, large = make_channel(), b"x" * 5000
    peer.send(large)
    assert peer.channel.receive() is large


# ---- Threads ----


def test_a_wait_keeps_the_channel_alive():
    peer = make_channel()
    call = Background(lambda: peer.channel.receive())
    wait_for_channel(peer, receivers=1)
    gc.collect()
    peer.send("x")
    assert call.result() == "x"


def test_waiting_threads_use_no_processor():
    peer = make_channel()
    calls = [Background(peer.channel.receive) for _ in range(50)]
    wait_for_channel(peer, receivers=50)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.15
    for number in range(50):
        peer.send(number)
    assert sorted(call.result() for call in calls) == list(range(50))


def test_each_send_tells_one_receiver():
    peer = make_channel()
    calls = [Background(peer.channel.receive) for _ in range(3)]
    wait_for_channel(peer, receivers=3)
    peer.send("x")
    wait_for_channel(peer, receivers=2)
    peer.send("x"), peer.send("x")
    assert [call.result() for call in calls] == ["x"] * 3


def test_a_close_beside_sends_loses_nothing():
    for _ in range(30):
        peer, sent = make_channel(), []

        def send():
            try:
                while True:
                    peer.send(len(sent))
                    sent.append(len(sent))
            except ChannelClosed:
                pass

        source, sink = Background(send), Background(list, peer.channel)
        time.sleep(0.0002)
        peer.close()
        source.result()
        assert sink.result() == sent
