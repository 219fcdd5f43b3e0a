"""What programs write, for mypy --strict (examples.py): it is checked, and never run."""

import asyncio
import csv
import io
import json

import erlang
from erlang import Channel, ChannelClosed, PyBuffer, aio, channel
from erlang.testing import ChannelPeer, Writer, make_buffer, make_channel


async def in_coroutines(buf: PyBuffer, ch: Channel) -> None:
    r = aio.reader(buf, 10)
    x: bytes = await r.read(10)
    y: bytes = await r.readuntil((b"a", b"b"))
    z: memoryview = await r.readview()
    async for line in r:
        line.decode()
    async for view in r.views():
        view.tobytes()
    e: erlang.BufferAborted | None = r.exception()
    if e is not None:
        print(e.reason)
    m = await ch.async_receive()
    task: asyncio.Task[object] = asyncio.create_task(ch.async_receive())
    await asyncio.wait_for(ch.async_receive(), 1)
    async for message in ch:
        channel.reply(message[0], 1)
    v = await aio.call("f", 1, "two")
    await asyncio.to_thread(ch.put, 1, 2.5)
    await ch.async_put({"a": [1]})
    await asyncio.wait_for(ch.async_put(term=2), 1)
    print(m, v, x, y, z, task)


def in_threads(ch: Channel) -> None:
    with ch as same:
        for message in same:
            same.put(message, timeout=0)
    sentinel = object()
    if ch.try_receive(sentinel) is sentinel:
        pass
    try:
        ch.receive(timeout=1)
    except (ChannelClosed, TimeoutError):
        pass
    Channel(ch).close()
    assert ch.closed and ch == Channel(ch)


def as_a_file(buf: PyBuffer) -> None:
    json.load(io.BufferedReader(buf))
    rows = csv.reader(io.TextIOWrapper(io.BufferedReader(buf)))
    for line in buf:
        line.strip()
    buf.find(10)
    print(rows)


def in_tests() -> None:
    peer: ChannelPeer = make_channel(max_size=10, views=True)
    with peer:
        peer.send(1, timeout=1)
        peer.recv()
        peer.info()["size"]
    in_threads(peer.channel)
    with Writer(high_watermark=10) as w:
        w.write(memoryview(b"x"))
    as_a_file(make_buffer(bytearray(b"x"), eof=False))
