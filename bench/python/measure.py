"""The Python half of the benchmarks: each function runs in the node and answers seconds."""

import ctypes
import io
import os
import random
import re
import sys
import threading
from time import perf_counter, process_time, sleep, thread_time

import erlang

# ---- Reading ----------------------------------------------------------------------

kept = None  # what the anchors read: bytes, or pieces of them


def keep(data):
    global kept
    kept = data
    return True


def seconds(function, *args):
    start = perf_counter()
    result = function(*args)
    taken = perf_counter() - start
    del result  # freeing it is not counted
    return taken


def read_all(buf):
    return seconds(buf.read)


def join():
    return seconds(b"".join, kept)


def through_bytesio():
    file = io.BytesIO()
    for piece in kept:
        file.write(piece)
    file.seek(0)
    return file.read()


def bytesio():
    return seconds(through_bytesio)


def read_to_end(read, size):
    while read(size):
        pass


def read_loop(buf, size):
    return seconds(read_to_end, buf.read, size)


def bytesio_read_loop(size):
    return read_loop(io.BytesIO(kept), size)


def consume(buf, size):
    total = 0
    while data := buf.read(size):
        total += len(data)
    return total


def size_of_all(buf):
    return len(buf.read())


def drain_by_read(buf):
    return consume(buf, 65536)


def drain_by_views(buf):
    return sum(map(len, buf.views()))


def drain_in_turn(buf):
    """Every way of reading, in turn."""
    total = 0
    while not buf.at_eof():
        total += len(buf.read(65536)) + len(buf.readline()) + len(buf.readview(65536))
        for view in buf.views():
            total += len(view)
            break
        view = memoryview(buf)
        total += len(buf.read(len(view)))
    return total


DRAINS = {"read": drain_by_read, "views": drain_by_views, "mixed": drain_in_turn}


def drain(buf, how):
    return DRAINS[how](buf)


# ---- Lines and searching ------------------------------------------------------------


def iterate(file):
    for _ in file:
        pass


def readline(file):
    next_line = file.readline
    while next_line():
        pass


LOOPS = {"iterate": iterate, "readline": readline}


def lines(file, loop):
    return seconds(LOOPS[loop], file)


def bytesio_lines(loop):
    return lines(io.BytesIO(kept), loop)


def readline_cpu(buf):
    start = thread_time()
    line = buf.readline()
    return thread_time() - start, len(line)


HAYSTACK_BYTES = 64 << 20
WORDS = (
    "the of and to in a is that it was for on are as with his they at be this from have or "
    "by one had not but what all were when we there can an your which their said if will "
    "each about how up out them then she many some so these would other into has more two "
    "content disposition form data name boundary multipart header length upload field"
).split()
NEEDLES = {8: b"boundary", 28: b"--boundary-of-the-last-part\n"}


def text(size, rng):
    page = " ".join(rng.choices(WORDS, k=200_000)).replace("boundary", "bound").encode()
    return (page * (size // len(page) + 1))[:size]


def haystack(kind, size):
    needle = NEEDLES[size]
    near = needle[:-1] + b"x"
    rng = random.Random(1)
    if kind == "random":
        data = rng.randbytes(HAYSTACK_BYTES)
    elif kind == "text":
        data = text(HAYSTACK_BYTES, rng)
    else:
        data = near * (HAYSTACK_BYTES // len(near))
    keep(data + needle)
    return kept, needle


def find(buf, needle):
    taken = seconds(buf.find, needle)
    if buf.find(needle) != len(buf) - len(needle):
        raise AssertionError("not found where it is")
    return taken


def bytes_find(needle):
    return seconds(kept.find, needle)


# ---- Waking ------------------------------------------------------------------------------


def echo(buf, pid):
    while data := buf.read(4096):
        erlang.send(pid, data)


def answer(source, target):
    while data := os.read(source, 64):
        os.write(target, data)


def pipe_pingpong(count, gap_ms):
    """Microseconds: p50, p99, CPU of a round trip of 64 bytes between two threads."""
    there, back = os.pipe(), os.pipe()
    thread = threading.Thread(target=answer, args=(there[0], back[1]))
    thread.start()
    message = b"x" * 64
    times = []
    cpu = process_time()
    for _ in range(count):
        if gap_ms:
            sleep(gap_ms / 1000)
        start = perf_counter()
        os.write(there[1], message)
        os.read(back[0], 64)
        times.append(perf_counter() - start)
    cpu = process_time() - cpu
    os.close(there[1])
    thread.join()
    for fd in (there[0], *back):
        os.close(fd)
    times.sort()
    return times[count // 2] * 1e6, times[count * 99 // 100] * 1e6, cpu / count * 1e6


# ---- Cancelling ---------------------------------------------------------------------------


def switch_interval_ms():
    return sys.getswitchinterval() * 1000


def block(buf, pid):
    erlang.send(pid, erlang.Atom("started"))
    return buf.read()


def spin(buf, pid):
    erlang.send(pid, erlang.Atom("started"))
    while True:
        pass


# ---- Memory ------------------------------------------------------------------------------


class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]


def malloced():
    """Bytes that malloc has given out; 0 where it does not tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = Mallinfo
    info = mallinfo2()
    return info.uordblks + info.hblkhd


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak():
    """Bytes, the most that were resident."""
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024


def forget_peak():
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    return peak()
