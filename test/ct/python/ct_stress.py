"""What the stress suite runs in Python: readers that do something else at every step."""
import ctypes
import gc
import random
import time

import erlang

PATTERN = b"abcdefg\n" * 40000
VIEWS_HELD = 5


def check(piece):
    """Whatever was read is a piece of what is written again and again."""
    for at in range(0, len(piece), len(PATTERN) // 2):
        if bytes(piece[at : at + len(PATTERN) // 2]) not in PATTERN:
            raise AssertionError(f"not what was written: {bytes(piece[:20])!r}")


def read_into(buf, size):
    memory = bytearray(size)
    return memory[: buf.readinto(memory)]


def look(buf):
    view = memoryview(buf)
    piece = bytes(view[:100])
    view.release()
    return piece


def find(buf):
    at = buf.find(b"g\na", buf.tell())
    return PATTERN[6:9] if at >= 0 else b""


READS = [
    lambda buf, n: buf.read(n),
    lambda buf, n: buf.read(n),
    lambda buf, n: buf.read1(n),
    lambda buf, n: buf.readline(),
    lambda buf, n: buf.readline(),
    read_into,
    lambda buf, n: buf.readview(n),
    lambda buf, n: next(iter(buf.views()), b""),
    lambda buf, n: buf.read_nonblock(n) or b"",
    lambda buf, n: buf.peek(10),
    lambda buf, n: look(buf),
    lambda buf, n: memoryview(buf),
    lambda buf, n: find(buf),
]


def read(buf, seed, steps):
    """Random reads; the views of some are held for a while."""
    rng = random.Random(seed)
    held, total = [], 0
    try:
        for _ in range(steps):
            if rng.randrange(200) == 0:
                buf.close()
                break
            piece = rng.choice(READS)(buf, rng.choice([1, 7, 100, 5000, 100000]))
            check(piece)
            total += len(piece)
            if isinstance(piece, memoryview) and len(held) < VIEWS_HELD:
                held.append(piece)
            if buf.at_eof():
                break
        for view in held:
            check(view)
    except erlang.BufferAborted:
        return -1
    except ValueError:
        if not buf.closed:
            raise
    return total


def read_slowly(buf, seed):
    """All of a stream, with pauses."""
    rng = random.Random(seed)
    total = 0
    while piece := buf.read(rng.choice([1000, 65536, 300000])):
        check(piece[:5000])
        total += len(piece)
        if rng.randrange(20) == 0:
            time.sleep(rng.random() / 50)
    return total


def message(rng):
    n = rng.randrange(1000)
    return n, chr(97 + n % 26) * rng.choice([0, 1, 10, 100, 1000, 1900, 3000, 20000])


def check_message(received):
    n, letters = received
    if isinstance(letters, memoryview):
        letters = bytes(letters).decode()
    if letters != chr(97 + n % 26) * len(letters):
        raise AssertionError(f"not what was sent: {n} {letters[:20]!r}")


def use_channel(channel, seed, steps):
    rng = random.Random(seed)
    held = []
    for _ in range(steps):
        try:
            way = rng.randrange(6)
            if way < 2:
                received = channel.receive(rng.random() / 20)
            elif way == 2:
                received = channel.try_receive((1, "b"))
            elif way == 3 and rng.randrange(100) == 0:
                return channel.close()
            else:
                channel.put(message(rng), rng.random() / 20)
                continue
        except TimeoutError:
            continue
        except erlang.ChannelClosed:
            return
        check_message(received)
        if len(held) < VIEWS_HELD:
            held.append(received)
    for received in held:
        check_message(received)


def fail(n):
    raise ValueError(n)


def busy(milliseconds):
    until = time.monotonic() + milliseconds / 1000
    while time.monotonic() < until:
        pass


def chain(depth):
    return erlang.call("stress_chain", depth)


def buffers():
    """How many PyBuffers and views there are."""
    gc.collect()
    names = ("PyBuffer", "View", "_View", "Channel")
    return sum(type(value).__name__ in names for value in gc.get_objects())


class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
        "uordblks", "fordblks", "keepcost")]


def malloc_bytes():
    """What malloc has given out; 0 where the C library does not tell."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = MallInfo
    info = mallinfo()
    return info.uordblks + info.hblkhd
