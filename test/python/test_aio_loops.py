"""erlang.aio on event loops: one descriptor each, nothing while idle, and no trace of a
loop that has gone."""

import asyncio
import contextvars
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from erlang import aio
from erlang.testing import Writer, make_buffer
from support import Background, wait_for_readers

LOOPS = ["asyncio", "uvloop"]


def new_loop(kind):
    if kind == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop()
    return asyncio.SelectorEventLoop()


@pytest.fixture(params=LOOPS)
def kind(request):
    new_loop(request.param).close()
    return request.param


def run(kind, coroutine):
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        return runner.run(coroutine)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


linux = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="counts the descriptors in /proc/self/fd"
)


async def until_waiting(writers):
    while not all(writer.info()["waiting_readers"] for writer in writers):
        await asyncio.sleep(0)


# ---- Many ----


@linux
def test_ten_thousand_waiters_take_one_descriptor(kind):
    count = 10_000

    async def main():
        # What the loop itself opens when it is first used.
        await asyncio.sleep(0.001)
        before = descriptors()
        writers = [Writer() for _ in range(count)]
        order = []

        async def read(number):
            assert await aio.reader(writers[number].buffer).read(9) == b"%d" % number
            order.append(number)

        tasks = [asyncio.ensure_future(read(number)) for number in range(count)]
        await until_waiting(writers)
        assert descriptors() == before + 1

        cpu, begin = time.process_time(), time.monotonic()
        await asyncio.sleep(0.5)
        assert time.monotonic() - begin >= 0.5
        assert time.process_time() - cpu < 0.1

        # Not in the order in which they began to wait, and from another thread.
        turn = [number * 7919 % count for number in range(count)]
        write = Background(lambda: [writers[n].write(b"%d" % n) for n in turn])
        await asyncio.gather(*tasks)
        assert order == turn
        write.result()
        assert descriptors() == before + 1

    run(kind, main())


def test_a_stream_from_another_thread(kind):
    data = bytes(range(256)) * 4000

    async def main():
        writer = Writer(high_watermark=5000, seekable=False)

        def write():
            for at in range(0, len(data), 700):
                writer.write(data[at : at + 700])
            writer.close()

        call = Background(write)
        reader, got = aio.reader(writer.buffer), []
        while piece := await reader.read(3000):
            got.append(piece)
        call.result()
        assert b"".join(got) == data

    run(kind, main())


def test_several_loops_in_several_threads(kind):
    """Each loop reads what another one writes."""
    writers = [Writer() for _ in range(4)]
    lines = 300

    async def work(number):
        to, reader = writers[(number + 1) % 4], aio.reader(writers[number].buffer)
        if number == 0:
            to.write(b"0\n")
        async for line in reader:
            if int(line) >= lines:
                break
            to.write(b"%d\n" % (int(line) + 1))
        to.write(b"%d\n" % lines)
        return number

    calls = [Background(lambda n=n: run(kind, work(n))) for n in range(4)]
    assert [call.result() for call in calls] == [0, 1, 2, 3]


def test_many_readers_in_many_threads(kind):
    def one(seed):
        async def main():
            writers = [Writer() for _ in range(20)]
            thread = Background(feed, writers)
            found = await asyncio.gather(*[count_lines(w) for w in writers])
            thread.result()
            return sum(found)

        return run(kind, main())

    def feed(writers):
        for turn in range(50):
            for writer in writers:
                writer.write(b"line %d\n" % turn)
        for writer in writers:
            writer.close()

    async def count_lines(writer):
        return len([line async for line in aio.reader(writer.buffer)])

    calls = [Background(one, seed) for seed in range(4)]
    assert [call.result() for call in calls] == [1000] * 4


# ---- Loops that go ----


class Leftovers:
    """What is there after the loop, as weak references."""

    def __init__(self):
        self.references = []

    def watch(self, *objects):
        self.references += [weakref.ref(each) for each in objects]

    def gone(self):
        gc.collect()
        return [each() for each in self.references if each() is not None] == []


@linux
def test_a_closed_loop_with_readers_is_dropped(kind, caplog, recwarn):
    caplog.set_level(logging.INFO)
    descriptors_before, left = descriptors(), Leftovers()
    writers = [Writer() for _ in range(50)]
    loop = new_loop(kind)

    async def begin():
        for writer in writers:
            task = loop.create_task(aio.reader(writer.buffer).read(9))  # noqa: F821
            left.watch(task)
            # "Task was destroyed but it is pending" is asyncio's own word.
            task._log_destroy_pending = False
        await until_waiting(writers)
        left.watch(aio._waker(loop))  # noqa: F821

    loop.run_until_complete(begin())
    loop.close()
    # At once, without the collector: nothing but the loop has held on to them.
    if kind == "asyncio":
        assert [w.info()["waiting_readers"] for w in writers] == [0] * 50
    left.watch(loop) if kind == "asyncio" else None
    del loop
    assert left.gone()
    for writer in writers:
        assert writer.info()["waiting_readers"] == 0
        writer.write(b"x" * 3000)
        writer.close()
    assert descriptors() == descriptors_before
    assert not recwarn.list
    assert [r.message for r in caplog.records if "erlang" in r.getMessage()] == []
    # They can be read elsewhere.
    for writer in writers:
        assert len(run(kind, aio.reader(writer.buffer).read())) == 3000


@linux
def test_a_loop_after_the_other_in_one_thread(kind):
    async def read():
        writer = Writer()
        task = asyncio.ensure_future(aio.reader(writer.buffer).readline())
        await until_waiting([writer])
        writer.write(b"line\n")
        return await task

    run(kind, read())
    gc.collect()
    before = descriptors()
    for _ in range(200):
        assert run(kind, read()) == b"line\n"
    gc.collect()
    assert descriptors() == before
    assert len(aio._wakers) <= 1


def test_writers_beside_loops_that_close(kind):
    """Notices that arrive while the loop, or its Waker, goes away."""
    writers = [Writer() for _ in range(20)]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for writer in writers:
                writer.write(b"x")

    call = Background(write)
    for turn in range(60):
        loop = new_loop(kind)

        async def begin():
            for writer in writers:
                reader = aio.reader(writer.buffer)
                task = loop.create_task(reader.readexactly(10**9))  # noqa: F821
                task._log_destroy_pending = False
                task = loop.create_task(take(reader))  # noqa: F821
                task._log_destroy_pending = False
            await asyncio.sleep(0)

        async def take(reader):
            while True:
                try:
                    await reader.read(10)
                except RuntimeError:
                    await asyncio.sleep(0)

        loop.run_until_complete(begin())
        if turn % 2:
            loop.run_until_complete(asyncio.sleep(0.002))
        loop.close()
        del loop
        if turn % 10 == 0:
            gc.collect()
    stop.set()
    call.result()
    gc.collect()
    assert [w.info()["waiting_readers"] for w in writers] == [0] * 20


def test_a_closed_loop_is_an_error(kind):
    loop = new_loop(kind)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        aio._waker(loop)


def test_the_first_reader_lends_no_context(kind):
    class Secret:
        pass

    variable = contextvars.ContextVar("variable")
    left = Leftovers()

    async def first():
        secret = Secret()
        left.watch(secret)
        variable.set(secret)
        writer = Writer()
        task = asyncio.ensure_future(aio.reader(writer.buffer).read(1))
        await until_waiting([writer])
        writer.write(b"x")
        await task
        assert variable.get() is secret

    async def main():
        await asyncio.get_running_loop().create_task(
            first(), context=contextvars.copy_context()
        )
        await asyncio.sleep(0)
        assert left.gone()

    run(kind, main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(kind):
    async def starts_at_once():
        task = asyncio.ensure_future(asyncio.sleep(0, "over"))
        begun = task.get_coro() is None or task.get_coro().cr_await is not None
        await task
        return begun

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        if not await starts_at_once():
            pytest.skip("this loop has no eager tasks")
        writer = Writer()
        reader = aio.reader(writer.buffer)
        task = asyncio.ensure_future(reader.readline())
        assert writer.info()["waiting_readers"] == 1
        writer.write(b"one\ntwo\n")
        assert await task == b"one\n"
        assert asyncio.ensure_future(reader.readline()).result() == b"two\n"

    run(kind, main())


def test_a_task_that_is_dropped_while_it_waits(kind):
    """Its coroutine is closed, not cancelled."""
    writer = Writer()
    reader = aio.reader(writer.buffer)

    async def main():
        coroutine = reader.read(9)
        # By hand: what it yields is the future it waits for.
        future = coroutine.send(None)
        assert asyncio.isfuture(future)
        assert writer.info()["waiting_readers"] == 1
        coroutine.close()
        assert writer.info()["waiting_readers"] == 0
        writer.write(b"abc")
        assert await reader.read(9) == b"abc"
        assert not future.done()

    run(kind, main())


@linux
def test_nothing_is_left_behind(kind):
    async def main():
        writer = Writer()
        reader = aio.reader(writer.buffer)
        for turn in range(300):
            task = asyncio.ensure_future(reader.read(9))
            await until_waiting([writer])
            if turn % 3 == 0:
                task.cancel()
                await asyncio.wait([task])
            else:
                writer.write(b"x")
                assert await task == b"x"
        waits = [o for o in gc.get_objects() if type(o).__name__ == "Wait"]
        # Python 3.14 keeps the traceback of the last one that was cancelled.
        assert len(waits) <= 1

    run(kind, main())


def test_no_cycles(kind):
    """Reads are freed by counting alone."""

    async def main():
        writer, left = Writer(), Leftovers()
        gc.collect()
        gc.disable()
        try:
            for outcome in ("data", "cancel", "abort"):
                reader = aio.reader(writer.buffer)
                task = asyncio.ensure_future(reader.read(9))
                await until_waiting([writer])
                left.watch(task, reader)
                if outcome == "data":
                    writer.write(b"x")
                elif outcome == "cancel":
                    task.cancel()
                else:
                    writer.abort("why")
                await asyncio.wait([task])
                assert task.cancelled() or task.exception() or task.result()
                del task, reader
                await asyncio.sleep(0)
            alive = [each() for each in left.references if each() is not None]
            assert alive == []
        finally:
            gc.enable()

    run(kind, main())


# ---- What may go wrong in between ----


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_a_future_is_resolved_ends_the_loop(error):
    loop = asyncio.SelectorEventLoop()
    writer = Writer()

    async def begin():
        task = loop.create_task(aio.reader(writer.buffer).read(9))
        await until_waiting([writer])
        call_soon = loop.call_soon

        def interrupted(*args, **kwargs):
            loop.call_soon = call_soon
            raise error

        writer.write(b"x")
        loop.call_soon = interrupted
        return task

    with pytest.raises(error):
        task = loop.run_until_complete(begin())
        loop.run_until_complete(task)
    loop.call_soon = type(loop).call_soon.__get__(loop)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_the_waker_of_another_loop_is_not_touched():
    """A thread that wakes, drains and cancels what belongs to others does no harm."""

    async def main():
        writer = Writer()
        reader = aio.reader(writer.buffer)
        task = asyncio.ensure_future(reader.readexactly(2000))
        await until_waiting([writer])
        waker, stop = aio._waker(asyncio.get_running_loop()), threading.Event()

        def meddle():
            other = Writer()
            while not stop.is_set():
                waker.drain()
                loop = asyncio.new_event_loop()
                future = loop.create_future()
                wait = waker.wait_buffer(other.buffer, 0, 1, future)
                other_wait = waker.wait_buffer(make_buffer(b"x"), 0, 1, future)
                assert other_wait is None
                wait.cancel()
                wait.done()
                loop.close()

        call = Background(meddle)
        for _ in range(1000):
            writer.write(b"ab")
            if writer.info()["written"] % 100 == 0:
                await asyncio.sleep(0)
        # A future that another thread has resolved does not wake the loop by itself.
        while not task.done():
            await asyncio.sleep(0.001)
        assert len(task.result()) == 2000
        stop.set()
        call.result()

    asyncio.run(main())


EXIT = """
import asyncio, gc, sys, threading
from erlang import aio
from erlang.testing import Writer
writer, kept = Writer(), []

async def main():
    for buffer in (writer.buffer, Writer().buffer):
        task = asyncio.ensure_future(aio.reader(buffer).read(9))
        task._log_destroy_pending = False
        kept.append(task)
    await asyncio.sleep(0)
    assert writer.info()["waiting_readers"] == 1

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
{then}
print("end")
"""


@pytest.mark.parametrize(
    "then",
    [
        "kept.append(loop)",
        "loop.close()",
        "sys.modules['__keep'] = (loop, kept, writer)",
        "import builtins; builtins.kept = (loop, kept, writer)",
        "threading.Thread(target=lambda: [writer.write(b'x') for _ in range(10**5)], "
        "daemon=True).start()",
    ],
)
def test_the_interpreter_ends_while_tasks_wait(then):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", EXIT.format(then=then)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


FORK = """
import asyncio, os
from erlang import aio
from erlang.testing import Writer

async def read(writer):
    task = asyncio.ensure_future(aio.reader(writer.buffer).readline())
    await asyncio.sleep(0)
    assert writer.info()["waiting_readers"] == 1
    child = os.fork()
    if child == 0:
        try:
            other = Writer()
            asyncio._set_running_loop(None)
            async def again():
                task = asyncio.ensure_future(aio.reader(other.buffer).readline())
                await asyncio.sleep(0)
                other.write(b"child\\n")
                return await task
            assert asyncio.run(again()) == b"child\\n"
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    writer.write(b"parent\\n")
    return await task

print(asyncio.run(read(Writer())))
"""


def test_fork():
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=50
    )
    assert (done.stdout, done.returncode) == ("b'parent\\n'\n", 0), done.stderr


# ---- On top ----


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_anyio(use_uvloop):
    anyio = pytest.importorskip("anyio")
    if use_uvloop:
        pytest.importorskip("uvloop")
    writer = Writer()
    lines = []

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            with anyio.move_on_after(0.01) as scope:
                await aio.reader(make_buffer(eof=False)).read(9)
            assert scope.cancel_called
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await aio.reader(make_buffer(eof=False)).readexactly(9)
            await anyio.to_thread.run_sync(writer.write, b"one\ntwo\n")
            await anyio.to_thread.run_sync(writer.close)

    async def read():
        async for line in aio.reader(writer.buffer):
            lines.append(line)

    anyio.run(main, backend_options={"use_uvloop": use_uvloop})
    assert lines == [b"one\n", b"two\n"]


def test_starlette(kind):
    """A body that arrives from Erlang, and an answer that does, without a server."""
    applications = pytest.importorskip("starlette.applications")
    responses = pytest.importorskip("starlette.responses")
    routing = pytest.importorskip("starlette.routing")
    body, answer, sent = Writer(), Writer(), []

    async def endpoint(request):
        answer.write((await request.body()).upper())
        return responses.StreamingResponse(pieces(aio.reader(answer.buffer)))

    async def pieces(reader):
        while piece := await reader.read(4096):
            yield piece

    app = applications.Starlette(routes=[routing.Route("/", endpoint, methods=["POST"])])
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
    }

    async def main():
        reader, gone = aio.reader(body.buffer), asyncio.Event()

        async def receive():
            if reader.at_eof():
                await gone.wait()
                return {"type": "http.disconnect"}
            piece = await reader.read(65536)
            more = not reader.at_eof()
            return {"type": "http.request", "body": piece, "more_body": more}

        async def send(message):
            sent.append(message)

        task = asyncio.ensure_future(app(scope, receive, send))
        for piece in (b"one ", b"two ", b"three"):
            await until_waiting([body])
            body.write(piece)
        await until_waiting([body])
        body.close()
        for piece in (b" four", b" five"):
            await until_waiting([answer])
            answer.write(piece)
        await until_waiting([answer])
        answer.close()
        await asyncio.wait_for(task, 20)

    run(kind, main())
    assert sent[0]["status"] == 200
    got = b"".join(bytes(m.get("body", b"")) for m in sent)
    assert got == b"ONE TWO THREE four five"


def test_waits_are_seen_from_outside(kind):
    writer = Writer()
    call = Background(lambda: run(kind, aio.reader(writer.buffer).readexactly(5)))
    wait_for_readers(writer)
    writer.write(b"abc")
    wait_for_readers(writer)
    writer.write(b"de")
    assert call.result() == b"abcde"
    wait_for_readers(writer, 0)
