"""Channels and asyncio: our half of the benchmarks and their anchors, in seconds."""

import asyncio
import queue
import socket
import threading
from time import perf_counter, process_time, sleep

import erlang
from erlang import aio

# ---- Messages in one direction: seconds from the first put to the last get -----------


def receive_all(channel, count):
    for _ in range(count):
        channel.receive()


def async_receive_all(channel, count):
    async def run():
        for _ in range(count):
            await channel.async_receive()

    asyncio.run(run())


def feed(put, data, count):
    """A thread that makes a new object of each message, as one would that has read it."""
    view = memoryview(data)

    def run():
        for _ in range(count):
            put(bytes(view))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def simple_queue(data, count):
    messages = queue.SimpleQueue()
    start = perf_counter()
    thread = feed(messages.put, data, count)
    for _ in range(count):
        messages.get()
    taken = perf_counter() - start
    thread.join()
    return taken


def asyncio_queue(data, count):
    async def run():
        loop = asyncio.get_running_loop()
        messages = asyncio.Queue()

        def put(message):
            loop.call_soon_threadsafe(messages.put_nowait, message)

        start = perf_counter()
        thread = feed(put, data, count)
        for _ in range(count):
            await messages.get()
        taken = perf_counter() - start
        thread.join()
        return taken

    return asyncio.run(run())


# ---- Round trips: microseconds at p50 and p99 ----------------------------------------


def percentiles(times):
    times.sort()
    return times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6


def echo_channel(channel, to):
    for message in channel:
        erlang.send(to, message)


def async_echo_channel(channel, to):
    async def run():
        async for message in channel:
            erlang.send(to, message)

    asyncio.run(run())


def async_echo_buffer(buf, to):
    async def run():
        reader = aio.reader(buf)
        while data := await reader.read(4096):
            erlang.send(to, data)

    asyncio.run(run())


def queue_pingpong(data, count):
    there, back = queue.SimpleQueue(), queue.SimpleQueue()

    def echo():
        while (message := there.get()) is not None:
            back.put(message)

    thread = threading.Thread(target=echo)
    thread.start()
    times = []
    for _ in range(count):
        start = perf_counter()
        there.put(data)
        back.get()
        times.append(perf_counter() - start)
    there.put(None)
    thread.join()
    return percentiles(times)


def in_loop_thread(serve):
    """Starts serve(loop), a coroutine, in a loop of its own thread."""
    ready = queue.SimpleQueue()

    async def run():
        await serve(asyncio.get_running_loop(), ready.put)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    return thread, ready.get()


def asyncio_queue_pingpong(data, count):
    back = queue.SimpleQueue()

    async def serve(loop, ready):
        messages = asyncio.Queue()
        ready(lambda message: loop.call_soon_threadsafe(messages.put_nowait, message))
        while (message := await messages.get()) is not None:
            back.put(message)

    thread, put = in_loop_thread(serve)
    times = []
    for _ in range(count):
        start = perf_counter()
        put(data)
        back.get()
        times.append(perf_counter() - start)
    put(None)
    thread.join()
    return percentiles(times)


def socketpair_pingpong(data, count, gap):
    ours, theirs = socket.socketpair()

    async def serve(loop, ready):
        reader, writer = await asyncio.open_connection(sock=theirs)
        ready(None)
        while message := await reader.read(4096):
            writer.write(message)
        writer.close()

    thread, _ = in_loop_thread(serve)
    times = []
    for _ in range(count):
        if gap:
            sleep(gap)
        start = perf_counter()
        ours.sendall(data)
        ours.recv(4096)
        times.append(perf_counter() - start)
    ours.close()
    thread.join()
    return percentiles(times)


# ---- Many at once ---------------------------------------------------------------------


def await_many(bufs, to, idle):
    """Awaits a byte of each buffer in one task a buffer.  Tells `to` when all wait.

    Returns the CPU seconds of the node in `idle` seconds of waiting, and the seconds
    from the first to the last that was woken.
    """

    async def run():
        woken = []

        async def one(buf):
            await aio.reader(buf).readexactly(1)
            woken.append(perf_counter())

        tasks = [asyncio.create_task(one(buf)) for buf in bufs]
        await asyncio.sleep(0.2)
        before = process_time()
        await asyncio.sleep(idle)
        cpu = process_time() - before
        erlang.send(to, "waiting")
        await asyncio.gather(*tasks)
        return cpu, woken[-1] - woken[0], woken == sorted(woken)

    return asyncio.run(run())


def resolve_many(count):
    """The anchor: futures that another thread resolves by call_soon_threadsafe."""

    async def run():
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(count)]
        woken = []

        async def one(future):
            await future
            woken.append(perf_counter())

        tasks = [asyncio.create_task(one(future)) for future in futures]
        await asyncio.sleep(0.2)

        def resolve():
            for future in futures:
                loop.call_soon_threadsafe(future.set_result, None)

        thread = threading.Thread(target=resolve)
        thread.start()
        await asyncio.gather(*tasks)
        thread.join()
        return woken[-1] - woken[0]

    return asyncio.run(run())


async def nap(seconds):
    await asyncio.sleep(seconds)


def coroutines_threadsafe(count, delay):
    """The anchor: calls from another thread by run_coroutine_threadsafe."""

    async def serve(loop, ready):
        stop = loop.create_future()
        ready((loop, stop))
        await stop

    thread, (loop, stop) = in_loop_thread(serve)
    start = perf_counter()
    futures = [
        asyncio.run_coroutine_threadsafe(nap(delay), loop) for _ in range(count)
    ]
    for future in futures:
        future.result()
    taken = perf_counter() - start
    loop.call_soon_threadsafe(stop.set_result, None)
    thread.join()
    return taken
