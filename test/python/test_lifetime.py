"""References and memory: balanced after 10^5 operations, gone when nobody looks."""

import gc
import os
import sys
import sysconfig
import weakref

import pytest

import erlang
from erlang import Atom, BufferAborted, IncompleteReadError, LimitOverrunError
from erlang.testing import Writer, make_buffer

ROUNDS = 100_000 // 20


def fails(error, function, *args):
    try:
        function(*args)
    except error:
        pass
    else:
        raise AssertionError("did not raise")


def once(target, sep):
    """About twenty operations, those that fail among them."""
    writer = Writer()
    writer.write(b"one\ntwo\nthree\nfour\n" + b"x" * 3000)
    buf = writer.buffer
    buf.readline(), next(buf), buf.peek(), buf.read(1), buf.readinto(target)
    buf.find(sep), buf.find(10, 1, 5), len(buf), hash(buf), repr(buf)
    memoryview(buf), buf.readview(600), buf.readview(3), buf.readview_exactly(700)
    buf.seek(0), buf.readuntil(sep), buf.readlines(5), buf == writer
    fails(LimitOverrunError, buf.readuntil, b"zz", 3)
    fails(ValueError, buf.seek, 10**9)
    fails(TypeError, buf.read, "x")
    fails(OSError, buf.write, b"x")
    writer.close()
    fails(IncompleteReadError, buf.readexactly, 10**6)
    list(buf.views()), buf.readlines(), list(buf), buf.read()
    with buf:
        pass
    fails(OSError, Writer(0).buffer.fileno)
    Atom("name") == Atom("name", create=True)
    failing()


def failing():
    """Those of streams that are aborted, full, or slow."""
    writer = Writer(high_watermark=4, max_size=9, seekable=False)
    buf = writer.buffer
    writer.write(b"some\n")
    buf.settimeout(0), buf.gettimeout(), writer.info(), repr(buf)
    fails(TimeoutError, writer.write, b"more", 0)
    fails(OSError, writer.write, b"x" * 3000)
    fails(TimeoutError, buf.read)
    fails(OSError, buf.seek, 0)
    writer.abort("why")
    fails(BufferAborted, writer.write, b"x")
    fails(BufferAborted, buf.readexactly, 1)
    writer.info(), buf.readline()
    fails(BufferAborted, buf.readline)
    fails(BufferAborted, buf.read_nonblock)
    fails(BufferAborted, buf.at_eof)
    fails(TypeError, Writer, None, 1)


def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGESIZE") // 1024)


def test_references_and_blocks_are_balanced():
    target, sep = bytearray(2), b"\n"
    watched = [
        None, True, False, target, sep, b"", erlang.PyBuffer, Writer, Atom,
        IncompleteReadError, LimitOverrunError, BufferAborted, TimeoutError,
        type(memoryview(make_buffer(b"x")).obj),
    ]  # fmt: skip

    def measure():
        gc.collect()
        return [sys.getrefcount(thing) for thing in watched], sys.getallocatedblocks()

    for _ in range(200):
        once(target, sep)
    counts, blocks = measure()
    for _ in range(ROUNDS):
        once(target, sep)
    counts_after, blocks_after = measure()
    for thing, before, after in zip(watched, counts, counts_after):
        assert abs(after - before) < 50, thing
    assert abs(blocks_after - blocks) < 500


# A sanitiser keeps freed memory for a while.
measures_memory = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm") or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="the resident size says nothing here",
)


@measures_memory
def test_buffers_leave_no_memory():
    def churn(count):
        for _ in range(count):
            writer = Writer()
            writer.write(b"x" * 100)
            writer.write(b"y" * 5000)
            writer.buffer.read(200)
            memoryview(writer.buffer)

    churn(2000)
    gc.collect()
    before = resident_kib()
    churn(100_000)
    gc.collect()
    assert resident_kib() - before < 4096


@measures_memory
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="CPython without a GIL keeps large blocks that it has freed",
)
def test_read_memory_of_a_large_stream_is_freed_with_it():
    before = resident_kib()
    for _ in range(5):
        buf = make_buffer(bytes(64 << 20))
        assert len(buf.read()) == 64 << 20
        del buf
    assert resident_kib() - before < 32 << 10


def test_types_are_tracked_and_free_of_cycles():
    buf, writer, atom = make_buffer(b"x"), Writer(), Atom("x")
    view = memoryview(buf).obj
    for thing in (buf, writer, atom, view):
        assert gc.is_tracked(thing)
        assert type(thing) in gc.get_referents(thing)
        assert type(thing).__flags__ & (1 << 8)  # immutable


def test_a_cycle_through_a_callback_is_collected():
    class Holder:
        pass

    holder = Holder()
    holder.views = make_buffer(b"x").views()
    holder.self = holder
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


def test_wait_keeps_the_stream_alive():
    from support import Background, wait_for_readers

    writer = Writer()
    call = Background(lambda: writer.buffer.read())
    wait_for_readers(writer)
    gc.collect()
    writer.close()
    assert call.result() == b""


@pytest.mark.parametrize("name", ["copy", "deepcopy", "pickle"])
def test_no_copies(name):
    import copy
    import pickle

    copies = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickle.dumps}
    for thing in (make_buffer(b"x"), Writer()):
        with pytest.raises(TypeError):
            copies[name](thing)
    with pytest.raises(TypeError):
        pickle.dumps(make_buffer(), 0)
