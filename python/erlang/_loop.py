"""The thread of an event loop: calls from Erlang whose functions answer an awaitable.

The host (c_src/erlang/loop_host.c) has an inbox with a descriptor, which becomes readable
when there are calls to be begun or cancelled, or when the loop is to end.
"""

import asyncio
import contextvars
import traceback
import types

#: So many calls are begun or cancelled before those that run have their turn.
BATCH = 100

#: The Call on whose behalf the code runs, also in tasks and threads that it starts.
current_call = contextvars.ContextVar("erlpy_call", default=None)


def serve(host):
    """Run the calls that the host brings, until it says that the loop is to end."""
    loop = _new_loop(host)
    try:
        asyncio.set_event_loop(loop)
        _Server(host, loop).run()
    finally:
        host.close()
        asyncio.set_event_loop(None)
        if not loop.is_running():  # uvloop's may say so when it could not start
            loop.close()


def _new_loop(host):
    if host.uvloop:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def _awaiting(awaitable):
    return await awaitable


def _of_user(error):
    """With the traceback of the user's code alone: without the frame that has caught it,
    and _awaiting.  A class of the user's may have another with_traceback()."""
    entry = BaseException.__traceback__.__get__(error).tb_next
    if entry is not None and entry.tb_frame.f_code is _awaiting.__code__:
        entry = entry.tb_next
    return BaseException.with_traceback(error, entry)


class _Server:
    def __init__(self, host, loop):
        self.host = host
        self.loop = loop
        self.calls = set()  # that have begun and have not ended
        self.finishing = None
        self.finished = False
        self.changed = None  # a future, while finish() waits for the host

    def run(self):
        self.loop.set_exception_handler(self.report)
        self.loop.add_reader(self.host.fileno(), self.look)
        self.host.open(self.loop)
        try:
            # SystemExit and KeyboardInterrupt in a task end that task, and would end
            # a program; here they are the answer of the call.
            while not self.finished:
                try:
                    self.loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    pass
        except BaseException as error:
            self.host.fail()
            for call in list(self.calls):
                call.fail(error)
            raise
        self.loop.remove_reader(self.host.fileno())

    def report(self, loop, context):
        lines = [context.get("message") or "unhandled error on an event loop"]
        for key, value in sorted(context.items()):
            if key not in ("message", "exception", "source_traceback"):
                lines.append(f"{key}: {value!r}")
        error = context.get("exception")
        if error is not None:
            lines.extend(traceback.format_exception(error))
        self.host.report("\n".join(line.rstrip("\n") for line in lines))

    # ---- Calls ----

    def look(self):
        self.host.collect()
        for _ in range(BATCH):
            if (call := self.host.next()) is None:
                break
            try:
                if call.task is None:
                    self.begin(call)
                if call.take_cancel():
                    call.task.cancel()
            except BaseException as error:
                call.fail(error)
        else:
            self.loop.call_soon(self.look)
            return
        if self.finishing is None:
            if self.host.ending():
                self.loop.set_task_factory(None)  # a user's may fail
                self.cancel_others()
                self.finish_with()
        elif self.changed is not None and not self.changed.done():
            self.changed.set_result(None)

    def begin(self, call):
        awaitable, context = call.take()
        (context or contextvars.copy_context()).run(self.create, call, awaitable)

    def create(self, call, awaitable):
        current_call.set(call)
        if type(awaitable) is not types.CoroutineType:  # noqa: E721
            awaitable = _awaiting(awaitable)
        call.task = self.loop.create_task(awaitable)
        self.calls.add(call)
        call.task.add_done_callback(lambda task: self.answer(call, task))

    def answer(self, call, task):
        self.calls.discard(call)
        try:
            result = task.result()
        except BaseException as error:
            call.fail(_of_user(error))
        else:
            call.reply(result)

    # ---- The end ----

    def cancel_others(self):
        """The calls are cancelled already: so is what they have started now."""
        of_calls = {call.task for call in self.calls}
        for task in asyncio.all_tasks():
            if task not in of_calls:
                task.cancel()

    def finish_with(self):
        self.finishing = self.loop.create_task(self.finish())
        self.finishing.add_done_callback(self.finish_ended)

    def finish_ended(self, task):
        """Code that cancels every task that it finds has cancelled this one as well."""
        if task.cancelled() and not self.host.over():
            self.finish_with()
        else:
            self.finished = True
            self.loop.stop()

    async def finish(self):
        while True:
            tasks = asyncio.all_tasks() - {self.finishing}
            if tasks:
                await asyncio.wait(tasks)
            elif self.host.over():
                break
            else:
                self.changed = self.loop.create_future()
                await self.changed
                self.changed = None
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()
