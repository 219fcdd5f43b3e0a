"""For interpreters with a GIL of their own."""
import asyncio
import atexit
import codecs
import contextvars
import copyreg
import gc
import importlib
import os
import subprocess
import sys
import threading

import erlang

left = []  # what the code of one context leaves to the next, if anything is


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word), value))


def interpreter():
    """A number that no other interpreter of the process has."""
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters

        return int(_xxsubinterpreters.get_current())
    return _interpreters.get_current()[0]


def held_for_good(pid):
    """One call of C code, of some seconds, that nothing reaches."""
    tell(pid, "running", interpreter())
    slow = "ERLPY_SANITIZER" in os.environ
    return sum(range(100_000_000 if slow else 400_000_000)) > 0


def spin(pid):
    tell(pid, "running", interpreter())
    try:
        while True:
            pass
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


def read_told(pid, buf):
    tell(pid, "running", interpreter())
    try:
        return buf.read(10)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise


def read_records(buf):
    """All records of 8 bytes that this interpreter gets, as numbers."""
    numbers = []
    while True:
        try:
            numbers.append(int.from_bytes(buf.readexactly(8), "big"))
        except EOFError:
            return numbers


def keep_view(buf):
    """A view that lives as long as the interpreter's modules do."""
    left.append(memoryview(buf))
    return bytes(left[-1][:4])


def compute(turns):
    total = 0
    for number in range(turns):
        total += number & 7
    return total


def callback(name, *args):
    return [interpreter(), erlang.call(name, *args)]


def echo(channel):
    """Sends back whatever comes, until the channel is closed."""
    count = 0
    for message in channel:
        channel.put([interpreter(), message])
        count += 1
    return count


async def aio(buf, name):
    import erlang.aio

    reader = erlang.aio.StreamReader(buf)
    line, answer = await asyncio.gather(reader.readline(), erlang.aio.call(name, 1))
    return [interpreter(), line, answer]


async def wait_for(pid, seconds):
    tell(pid, "running", interpreter())
    try:
        await asyncio.sleep(seconds)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise
    return "waited"


def coroutine(pid):
    tell(pid, "beginning")
    return asyncio.sleep(0)


def recurse():
    return recurse()


def change_much():
    """What a use should not leave to the next."""
    import json

    json.changed = sys.changed = os.changed = left
    left.append(1)
    sys.path.insert(0, "/changed")
    sys.modules["changed"] = sys
    threading.changed = 1
    import warnings

    warnings.simplefilter("error")
    warnings.changed = 1
    threading.Thread.changed = 1
    codecs.register(lambda name: codecs.lookup("utf-8") if name == "changed" else None)


def traces():
    import json
    import warnings

    found = [m.__name__ for m in (json, sys, os, threading, warnings) if hasattr(m, "changed")]
    if "/changed" in sys.path:
        found.append("path")
    if "changed" in sys.modules:
        found.append("modules")
    if left:
        found.append("left")
    if hasattr(threading.Thread, "changed"):
        found.append("class")
    try:
        codecs.lookup("changed")
    except LookupError:
        pass
    else:
        found.append("codec")
    try:
        warnings.warn("this is one", UserWarning, stacklevel=1)
    except UserWarning:
        found.append("filters")
    return found


def settings():
    return [
        *(str(ask()) for ask in (sys.getrecursionlimit, sys.getswitchinterval)),
        *(str(ask()) for ask in (sys.get_int_max_str_digits, sys.getdlopenflags)),
        *(str(ask()) for ask in (gc.isenabled, gc.get_threshold, gc.get_freeze_count)),
        *(str(sys.monitoring.get_tool(tool)) for tool in range(6)),
        str(sys.gettrace()),
        str(sys.getprofile()),
        copyreg.dispatch_table.get(erlang.PyBuffer),
        sys.stdout.closed,
    ]


def change_settings():
    def trace(*_arguments):
        return None

    sys.setrecursionlimit(77)
    sys.setswitchinterval(1)
    sys.set_int_max_str_digits(700)
    sys.setdlopenflags(sys.getdlopenflags() ^ os.RTLD_GLOBAL)
    gc.disable()
    gc.set_threshold(1)
    gc.freeze()
    event = sys.monitoring.events.CALL
    sys.monitoring.use_tool_id(1, "changed")
    sys.monitoring.register_callback(1, event, trace)
    copyreg.dispatch_table[erlang.PyBuffer] = "changed"
    sys.stdout.close()
    threading.settrace_all_threads(trace)
    threading.setprofile_all_threads(trace)
    sys.monitoring.set_events(1, event)


def add_audit_hook():
    sys.addaudithook(lambda *_arguments: None)


def refuse_interpreters():
    def hook(event, _arguments):
        if event == "cpython.PyInterpreterState_New":
            raise PermissionError(event)

    sys.addaudithook(hook)


def start_thread(buf, daemon):
    """A thread that goes on until the buffer ends; daemon: none: as is the default."""
    threading.Thread(target=buf.read, daemon=daemon).start()


def exit_at_the_end(pid):
    """SystemExit from all that is called then."""

    class Thread(threading.Thread):
        join = sys.exit

    Thread(target=tell, args=(pid, "ran"), daemon=False).start()
    threading._register_atexit(sys.exit)
    atexit.register(sys.exit)
    atexit._run_exitfuncs = threading.enumerate = threading.main_thread = sys.exit


def leave_thread_in_context(pid, buf):
    """A destructor, run when the thread has ended, starts a daemon."""

    class Starting:
        def __del__(self, thread=threading.Thread):
            thread(target=buf.read, daemon=True).start()
            tell(pid, "started")

    contextvars.ContextVar("starting").set(Starting())


def at_exit(pid):
    atexit.register(tell, pid, "exited", interpreter())


async def call_at_exit(name):
    """On an event loop, whose thread is the last to leave."""
    atexit.register(erlang.call, name, "exited")


class Reading:
    """Reads when it is dropped."""

    def __init__(self, pid, buf):
        self.pid = pid
        self.buf = buf

    def __del__(self):
        tell(self.pid, "dropping")
        self.buf.read(1)


def leave_reading(pid, buf):
    left.append(Reading(pid, buf))


def run_program():
    return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout


def fork():
    return os.fork()


def unsupported():
    """The error of the first extension module that does not load here, or None."""
    for name in ("_testsinglephase", "_tkinter", "readline", "_curses", "_ctypes", "_xxtestfuzz"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            pass
        except ImportError as error:
            return [name, str(error)]
    return None
