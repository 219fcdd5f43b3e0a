"""The module in sub-interpreters: state of its own in each."""

import subprocess
import sys
import textwrap

import pytest

CODE = """
import erlang, erlang.testing, io
buf = erlang.testing.make_buffer(b"one\\\\ntwo\\\\n")
assert list(buf) == [b"one\\\\n", b"two\\\\n"]
assert memoryview(erlang.testing.make_buffer(b"x" * 9999)) == b"x" * 9999
assert isinstance(buf, io.RawIOBase)
try:
    buf.seek(99)
except io.UnsupportedOperation:
    pass
else:
    raise AssertionError("did not raise")
writer = erlang.testing.Writer(high_watermark=1)
buf = writer.buffer
buf.settimeout(0)
try:
    buf.read()
except TimeoutError:
    writer.write(b"half")
try:
    writer.write(b"more", timeout=0.01)
except TimeoutError:
    writer.abort("why")
try:
    buf.read()
except erlang.BufferAborted as error:
    assert error.reason == "why" and buf.read(9) == b"half"
else:
    raise AssertionError("did not raise")
peer = erlang.testing.make_channel()
channel = peer.channel
peer.send([channel, 1])
channel.put("out")
assert channel.receive() == [channel, 1] and peer.recv() == "out"
peer.close()
try:
    channel.receive()
except erlang.ChannelClosed:
    pass
else:
    raise AssertionError("did not raise")
"""

ASYNC_CODE = """
import asyncio
peer = erlang.testing.make_channel()
async def receive():
    task = asyncio.ensure_future(peer.channel.async_receive())
    await asyncio.sleep(0)
    peer.send("awaited")
    return await task
assert asyncio.run(receive()) == "awaited"
async def read():
    writer = erlang.testing.Writer()
    task = asyncio.ensure_future(erlang.aio.reader(writer.buffer).readline())
    left = asyncio.ensure_future(erlang.aio.reader(buf).read())
    await asyncio.sleep(0)
    writer.write(b"line\\n")
    return await task
buf = erlang.testing.make_buffer(eof=False)
assert asyncio.run(read()) == b"line\\n"
"""

SHARED_GIL = """
import sys
import _testcapi
sys.path[:] = {path!r}
import erlang
for _ in range(20):
    assert _testcapi.run_in_subinterp({code!r}) == 0
assert erlang.PyBuffer is sys.modules["erlang"].PyBuffer
print("done")
"""

OWN_GIL = """
import sys
import {module} as interpreters
import threading
sys.path[:] = {path!r}
import erlang

def work():
    for _ in range(5):
        interpreter = interpreters.create({create})
        error = interpreters.run_string(interpreter, {code!r})
        assert error is None, error
        interpreters.destroy(interpreter)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def run(script):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, timeout=50
    )
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b"done\n", result.stderr.decode()


# In CPython 3.12 asyncio itself breaks down in interpreters with a GIL each.
def code(with_asyncio=True):
    text = CODE + ASYNC_CODE if with_asyncio else CODE
    return f"import sys; sys.path[:] = {sys.path!r}\n" + text.replace("\\\\", "\\")


def test_sharing_the_gil():
    pytest.importorskip("_testcapi", reason="this Python came without _testcapi")
    run(SHARED_GIL.format(path=sys.path, code=code()))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="one GIL for all before 3.12")
def test_with_a_gil_each():
    if sys.version_info >= (3, 13):
        module, create = "_interpreters", "'isolated'"
    else:
        module, create = "_xxsubinterpreters", "isolated=True"
    text = code(with_asyncio=sys.version_info >= (3, 13))
    run(OWN_GIL.format(module=module, create=create, path=sys.path, code=text))


HOLDS = """
import sys
import erlang.testing
whole = erlang.testing.make_buffer(b"one\\ntwo\\n" * 20000)
parts = erlang.testing.make_buffer(b"x" * 100000)
waiting = erlang.testing.Writer().buffer
waiting.settimeout(0.01)
try:
    waiting.read()
except TimeoutError as error:
    kept_error = error
views = parts.views()
sys.kept = [memoryview(whole), parts.readview(1000), views, next(views), iter(whole)]
sys.kept.append(sys.kept)
peer = erlang.testing.make_channel()
peer.send([peer.channel, sys.kept[0]])
peer.channel.put(peer.channel)
sys.kept += [peer, peer.channel]
"""

HOLDING_AT_THE_END = """
import sys
import {module} as interpreters
sys.path[:] = {path!r}
import erlang.testing
mine = memoryview(erlang.testing.make_buffer(b"mine"))
for _ in range(20):
    interpreter = interpreters.create()
    error = interpreters.run_string(interpreter, {code!r})
    assert error is None, error
    interpreters.destroy(interpreter)
assert mine == b"mine"
assert erlang.testing.make_buffer(b"still").read() == b"still"
print("done")
"""


def test_ends_while_it_holds_views():
    code = f"import sys; sys.path[:] = {sys.path!r}\n" + HOLDS.replace("\\\\", "\\")
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    run(HOLDING_AT_THE_END.format(module=module, path=sys.path, code=code))
