"""Readers in asyncio, run by asyncio.run() on the thread of a call."""

import asyncio
import gc
import hashlib
import json
import os
import random
import time

import erlang
from erlang import aio


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word), value))


def run(name, *args):
    return asyncio.run(globals()[name](*args))


def run_on(kind, name, *args):
    """The same on another kind of loop."""
    if kind == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        factory = asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(globals()[name](*args))


# ---- Every way to read ----


async def digest(reads):
    """The hash of all bytes, and the largest piece."""
    total, largest = hashlib.sha256(), 0
    async for piece in reads:
        total.update(piece)
        largest = max(largest, len(piece))
    return [total.hexdigest(), largest]


async def read_by(buf, how, *args):
    reader = aio.reader(buf, 2**20)
    pieces = {
        "lines": lambda: reader,
        "views": reader.views,
        "read": lambda: repeated(reader.read, *args),
        "exactly": lambda: repeated(reader.readexactly, *args),
        "until": lambda: repeated(reader.readuntil, *args),
        "readview": lambda: repeated(reader.readview, *args),
        "all": lambda: repeated(reader.read),
    }
    return await digest(pieces[how]())


async def repeated(read, *args):
    while True:
        try:
            piece = await read(*args)
        except asyncio.IncompleteReadError as error:
            piece = error.partial
            if piece:
                yield piece
            return
        if not piece:
            return
        yield piece


async def invoke(buf, name, *args):
    """One call; an exception as [type, what it holds]."""
    reader = aio.reader(buf)
    try:
        value = await getattr(reader, name)(*args)
        return bytes(value)
    except erlang.BufferAborted as error:
        return ["BufferAborted", error.reason, buf.tell()]
    except asyncio.IncompleteReadError as error:
        return ["IncompleteReadError", error.partial, error.expected]
    except asyncio.LimitOverrunError as error:
        return ["LimitOverrunError", error.consumed]


async def many(bufs):
    """All at once; what each holds, and how many descriptors that took."""
    await asyncio.sleep(0)
    before = len(os.listdir("/proc/self/fd"))
    tasks = [asyncio.ensure_future(aio.reader(buf).read()) for buf in bufs]
    await asyncio.sleep(0)
    more = len(os.listdir("/proc/self/fd")) - before
    return [more, await asyncio.gather(*tasks)]


async def idle(pid, bufs, seconds):
    """The processor time of a loop that waits for all of them, for so long."""
    tasks = [asyncio.ensure_future(aio.reader(buf).read()) for buf in bufs]
    await asyncio.sleep(0.05)
    before = time.thread_time()
    await asyncio.sleep(seconds)
    took = time.thread_time() - before
    tell(pid, "idle")
    return [took, len(await asyncio.gather(*tasks))]


async def acknowledge(pairs):
    """Tells the writer of each buffer about each byte; how many there were."""
    taken = erlang.Atom("taken")

    async def one(pid, buf):
        reader, count = aio.reader(buf), 0
        while await reader.read(1):
            count += 1
            erlang.send(pid, taken)
        return count

    return await asyncio.gather(*[one(pid, buf) for pid, buf in pairs])


async def random_reads(buf, seed):
    """Reads all in random ways, with cancels in between: the hash, and how it ended."""
    rng, reader = random.Random(seed), aio.reader(buf, 2**20)
    total = hashlib.sha256()
    while True:
        size = rng.choice([1, 7, 100, 3000])
        read = rng.choice(
            [
                lambda: reader.readline(),
                lambda: reader.read(size),
                lambda: reader.readexactly(size),
                lambda: reader.readuntil(b"7\n"),
                lambda: reader.readuntil((b"3\n", b"55")),
                lambda: reader.readview(size),
            ]
        )
        try:
            piece = await perhaps_cancelled(rng, read)
        except asyncio.IncompleteReadError as error:
            total.update(error.partial)
            return [total.hexdigest(), "ended"]
        except erlang.BufferAborted:
            break
        if piece is not None:
            total.update(piece)
            if not piece:
                return [total.hexdigest(), "ended"]
    # What had come before the abort is there.
    try:
        while True:
            total.update(await reader.read(rng.choice([1, 50, 5000])))
    except erlang.BufferAborted as error:
        return [total.hexdigest(), str(error.reason)]


async def perhaps_cancelled(rng, read):
    """None: it was, before it had anything."""
    how = rng.randrange(6)
    if how == 0:
        task = asyncio.ensure_future(read())
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()
    if how == 1:
        task = asyncio.ensure_future(read())
        await asyncio.wait([task], timeout=rng.random() * 0.003)
        task.cancel()
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()
    return await read()


async def all_random_reads(bufs, seed):
    return await asyncio.gather(
        *[random_reads(buf, seed + n) for n, buf in enumerate(bufs)]
    )


# ---- What ends a wait ----


async def times_out(pid, buf, seconds):
    reader = aio.reader(buf)
    for attempt in range(3):
        try:
            async with asyncio.timeout(seconds):
                await reader.readexactly(10)
        except TimeoutError:
            pass
        else:
            return "did not time out"
        if buf.tell() != 0:
            return "consumed"
    tell(pid, "timed_out")
    return await reader.readexactly(10)


async def cancelled(pid, buf):
    """A task that is cancelled while it waits; then all of it is read."""
    task = asyncio.ensure_future(aio.reader(buf).read())
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        tell(pid, "cancelled")
    return await aio.reader(buf).read()


async def two_tasks(buf, other):
    first = asyncio.ensure_future(aio.reader(buf).read())
    await asyncio.sleep(0)
    try:
        await aio.reader(other).read()
    except RuntimeError as error:
        return [str(error), await first]


def waits_in_loop(pid, buf):
    return told_how_it_ends(pid, says_and_waits(pid, buf))


def sleeps_in_loop(pid, seconds):
    return told_how_it_ends(pid, says_and_sleeps(pid, seconds))


def told_how_it_ends(pid, coroutine):
    """Tells what came out of the whole loop."""
    try:
        return asyncio.run(coroutine)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


async def says_and_sleeps(pid, seconds):
    tell(pid, "waits")
    await asyncio.sleep(seconds)


async def says_and_waits(pid, buf):
    tell(pid, "waits")
    return await aio.reader(buf).read()


async def watched(pid, buf):
    """Tells how the wait ended."""
    try:
        return await says_and_waits(pid, buf)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


async def close_early(buf):
    line = await aio.reader(buf).readline()
    buf.close()
    return line


kept = []


def abandon_loop(buf):
    """A closed loop with a reader that waits."""
    loop = asyncio.new_event_loop()

    async def begin():
        task = loop.create_task(aio.reader(buf).read())
        task._log_destroy_pending = False
        await asyncio.sleep(0)

    loop.run_until_complete(begin())
    loop.close()


def keep_loop(buf):
    """A loop that is neither run nor closed, with a reader that waits."""
    loop = asyncio.new_event_loop()

    async def begin():
        task = loop.create_task(aio.reader(buf).read())
        await asyncio.sleep(0)
        return task

    kept.append((loop, loop.run_until_complete(begin())))


def finish_loops():
    """What the kept ones wait for has come."""
    values = []
    while kept:
        loop, task = kept.pop(0)
        values.append(loop.run_until_complete(task))
        loop.close()
    return values


def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def forks(buf, other):
    """A child that drops the loop while its parent's readers wait."""
    reader = aio.reader(buf)
    task = asyncio.ensure_future(reader.readline())
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = in_child(task, other)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [status, await task]


def in_child(task, other):
    coroutine = task.get_coro()
    coroutine.close()
    waker = next(iter(aio._wakers.values()))()
    for call in (waker.drain, lambda: waker.wait_buffer(other, 0, 1, task)):  # noqa: F821
        try:
            call()
        except RuntimeError as error:
            if "not in a child process" not in str(error):
                return 2
        else:
            return 3
    del waker
    asyncio._set_running_loop(None)
    gc.collect()
    return 0


# ---- Programs that do without this module, or with a channel ----


async def read_buffer_async(buf):
    """Read from buffer without blocking the event loop."""
    chunks = []
    while not buf.at_eof():
        available = buf.readable_amount()
        if available > 0:
            # Read available data
            chunk = buf.read_nonblock(4096)
            chunks.append(chunk)
        else:
            # Yield to event loop, check again soon
            await asyncio.sleep(0.001)
    return b''.join(chunks)


async def process_body_async(environ):
    """Process body in async context."""
    buf = environ['body']
    # Read body without blocking
    body = await read_buffer_async(buf)
    return json.loads(body)


async def read_with_notification(buf, notify_channel):
    """Read using Erlang channel for data-ready notifications."""
    chunks = []
    while not buf.at_eof():
        available = buf.readable_amount()
        if available > 0:
            chunk = buf.read_nonblock(available)
            chunks.append(chunk)
        else:
            # Wait for Erlang to signal data is ready
            await notify_channel.async_receive()
    return b''.join(chunks)
