"""Coroutines for the tests of event loops."""
import asyncio
import contextvars
import ctypes
import os
import signal
import sys
import threading
import types

import erlang
import erlang.aio

kept = {}
seen = []
variable = contextvars.ContextVar("variable", default="unset")


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word, create=True), value))


# ---- Awaitables ----


async def answer(value=None, seconds=0):
    await asyncio.sleep(seconds)
    return value


class Awaitable:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.value


def object_with_await(value):
    return Awaitable(value)


@types.coroutine
def generator_based(value):
    yield
    return value


def plain_generator():
    yield 1


async def async_generator():
    yield 1


def no_coroutine(value):
    return value


async def nothing_awaited(value):
    return value


async def returns_coroutine():
    return answer(1)


async def returns_buffer(buf):
    return buf


# ---- Failures ----


async def inner_failure(text):
    await asyncio.sleep(0)
    raise ValueError(text)


async def outer_failure(text):
    await inner_failure(text)


def failing_awaitable(text):
    class Failing:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            raise ValueError(text)

    return Failing()


async def raises(name):
    await asyncio.sleep(0)
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt,
           "Cancelled": erlang.Cancelled, "CancelledError": asyncio.CancelledError,
           "StopIteration": RuntimeError}[name]("on purpose")


async def raises_at_once(name):
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[name]()


async def background(name):
    """A task that nobody waits for."""

    async def fail():
        raise {"LookupError": LookupError, "SystemExit": SystemExit}[name]("in the background")

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0.01)
    del task
    import gc

    gc.collect()


# ---- One loop ----


async def wait_for_event(pid, name):
    """An Event of the loop that another call sets."""
    if name not in kept:
        kept[name] = (asyncio.Event(), [])
    event, waiting = kept[name]
    waiting.append(None)
    if pid is not None and len(waiting) == kept.get("wanted"):
        tell(pid, "waiting", len(waiting))
    await event.wait()
    return threading.get_ident()


def want(count):
    kept["wanted"] = count


async def set_event(name):
    kept.pop(name)[0].set()


async def thread_and_loop(seconds=0):
    await asyncio.sleep(seconds)
    return [threading.get_ident(), id(asyncio.get_running_loop())]


async def keep_loop(name):
    kept[name] = asyncio.get_running_loop()
    return threading.get_ident()


def future_of(name):
    loop = kept[name]
    future = loop.create_future()
    loop.call_soon_threadsafe(lambda: future.set_result(threading.get_ident()))
    return future


def foreign_future():
    return asyncio.Future(loop=asyncio.new_event_loop())


# ---- asyncio as usual ----


async def usual():
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    child = asyncio.create_task(answer("child"))
    gathered = await asyncio.gather(answer(1), answer(2))
    here = threading.get_ident()
    there = await asyncio.to_thread(threading.get_ident)
    executor = await loop.run_in_executor(None, threading.get_ident)
    async with asyncio.timeout(10):
        waited = await asyncio.wait_for(answer("waited"), 5)
    return [task is not None, await child, gathered, here != there, here != executor, waited,
            asyncio.get_event_loop() is loop]


async def run_program():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; print(sys.stdin.read()[::-1]); sys.exit(3)",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(b"abc")
    return [process.returncode, out.decode().strip()]


async def talk_over_tcp():
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    server.close()
    return line.decode()


async def add_signal_handler():
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
    except (RuntimeError, ValueError) as error:
        return type(error).__name__
    return "installed"


def set_variable(value):
    variable.set(value)


async def swap_variable(value):
    before = variable.get()
    variable.set(value)
    await asyncio.sleep(0)
    return [before, variable.get()]


async def numbers(path):
    try:
        for n in range(10):
            yield n
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        with open(path, "a") as file:
            file.write("closed\n")


async def leave_generator(path):
    generator = numbers(path)
    kept["generator"] = generator
    return await generator.__anext__()


async def hold_for_ever(pid):
    tell(pid, "running", threading.get_ident())
    await asyncio.get_running_loop().create_future()


# ---- Cancels ----


async def watched(pid, awaitable):
    tell(pid, "running")
    try:
        value = await awaitable
        tell(pid, "ended", "returned")
        return value
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


async def wait_watched(pid):
    await watched(pid, asyncio.get_running_loop().create_future())


async def wait_finally(pid):
    tell(pid, "running")
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.05)  # the loop still runs for it
        tell(pid, "ended", "finally")


async def wait_counting(pid):
    """Goes on for a while after its cancel: a second one would show."""
    count = 0
    tell(pid, "running")
    for _ in range(2):
        try:
            await asyncio.sleep(3600 if count == 0 else 0.3)
        except asyncio.CancelledError:
            count += 1
    tell(pid, "ended", count)


async def refuse(pid, key="released"):
    """Goes on until it is released, whatever is cancelled."""
    kept[key] = asyncio.Event()
    tell(pid, "running")
    while not kept[key].is_set():
        try:
            await kept[key].wait()
        except asyncio.CancelledError:
            tell(pid, "cancelled")
    tell(pid, "ended")


async def release(key="released"):
    kept[key].set()


def release_from_thread(key, loop):
    kept[loop].call_soon_threadsafe(kept[key].set)


def slow_function(pid, seconds):
    """Its coroutine is cancelled before it has begun."""
    import time

    tell(pid, "running")
    try:
        time.sleep(seconds)
    except erlang.Cancelled:
        tell(pid, "ended", "Cancelled")
    return watched(pid, answer())


async def hold_gil(pid, microseconds):
    usleep = ctypes.PyDLL(None).usleep
    tell(pid, "running")
    usleep(microseconds)


async def read_blocking(pid, buf):
    tell(pid, "running")
    try:
        return buf.read()
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


async def read_blocking_in_child(pid, buf):
    try:
        await asyncio.create_task(read_blocking(pid, buf))
    except BaseException as error:
        tell(pid, "outer", type(error).__name__)
        raise


async def background_for_ever(pid):
    async def for_ever():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            tell(pid, "background", "CancelledError")
            raise

    kept["task"] = asyncio.create_task(for_ever())
    await asyncio.sleep(0)


async def in_thread(pid, name):
    return await watched(pid, asyncio.to_thread(erlang.call, name))


# ---- Chains ----


async def call_erlang(name, *args):
    return erlang.call(name, *args)


async def call_erlang_in_thread(name, *args):
    return await asyncio.to_thread(erlang.call, name, *args)


async def call_erlang_in_child(name, *args):
    return await asyncio.create_task(call_erlang(name, *args))


# ---- The process ----


def descriptors():
    return len(os.listdir("/proc/self/fd"))


async def kind_of_loop():
    return type(asyncio.get_running_loop()).__module__.split(".")[0]


async def fork_and_exit(status):
    child = os.fork()
    if child == 0:
        raise SystemExit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---- erlang.aio.call ----


async def call_awaited(name, *args):
    return await erlang.aio.call(name, *args)


async def call_many(name, count):
    return sum(await asyncio.gather(*(erlang.aio.call(name, n) for n in range(count))))


async def call_watched(pid, name):
    return await watched(pid, erlang.aio.call(name))


def call_in_own_loop(name, *args):
    return asyncio.run(call_awaited(name, *args))


async def call_bad(name):
    try:
        await erlang.aio.call(name)
    except TypeError as error:
        return str(error)


async def break_loop():
    def fail(timeout):
        raise OSError("broken")

    asyncio.get_running_loop()._selector.select = fail
    await asyncio.sleep(1)


async def cancel_all(pid):
    """When it is cancelled, like a program that ends."""
    try:
        tell(pid, "running")
        await asyncio.sleep(60)
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)
        tell(pid, "ended")


async def raise_with_own_traceback():
    class Own(Exception):
        def with_traceback(self, traceback):
            raise TypeError("not this one")

    raise Own("told")


async def refuse_tasks():
    def fail(loop, coroutine, **kwargs):
        coroutine.close()
        raise OSError("no tasks")

    asyncio.get_running_loop().set_task_factory(fail)
