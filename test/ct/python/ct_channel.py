"""The Python ends of channels."""
import gc
import os
import threading
import time

import erlang
import erlang.channel

kept = {}


def tell(pid, word, value=None):
    erlang.send(pid, (erlang.Atom(word), value))


def echo(value):
    return value


def type_name(value):
    return type(value).__name__


def same(one, other):
    """Equal, of one hash, and still two objects or one."""
    return one == other and hash(one) == hash(other)


def invoke(channel, method, *args):
    return getattr(channel, method)(*args)


def raises(channel, method, *args):
    """The name of what it raises."""
    try:
        value = getattr(channel, method)(*args)
    except BaseException as error:
        return type(error).__name__
    return ["no exception", repr(value)]


def receive(channel, timeout=None):
    return channel.receive(timeout)


def receive_all(channel):
    return list(channel)


def receive_some(channel, count):
    return [channel.receive() for _ in range(count)]


def count_all(channel):
    return sum(1 for _ in channel)


def put(channel, term, timeout=None):
    channel.put(term, timeout)


def put_all(channel, terms):
    for term in terms:
        channel.put(term)


def put_numbers(channel, first, last, tag=None):
    for number in range(first, last + 1):
        channel.put(number if tag is None else (tag, number))


def put_larger_and_larger(channel, count):
    for size in range(count):
        channel.put(list(range(size)))


def put_slowly(channel, count, tag):
    for number in range(1, count + 1):
        channel.put((tag, number))
        time.sleep(0.001)


def forget_messages(channel, count):
    for _ in range(count):
        channel.receive()
    gc.collect()


def receive_and_close(channel):
    with channel:
        return len(channel.receive())


def bounce(channel):
    """Everything that comes in goes out again."""
    for message in channel:
        channel.put(message)


def pass_on(channel, count):
    for _ in range(count):
        channel.put(channel.receive())


def answer_by_pid(channel):
    """Messages (pid, ref, value): the answer goes to the process."""
    for pid, ref, value in channel:
        erlang.send(pid, (ref, value))


def read_buffer(channel):
    """The buffer comes in a message."""
    return channel.receive().read()


def inner(channel):
    """A channel comes in a message: what comes in there goes out here."""
    other = channel.receive()
    channel.put(other.receive())
    return other


def keep(name, value):
    kept[name] = value


def take(name):
    return kept[name]


def forget(name):
    del kept[name]
    gc.collect()


def told_receive(channel, pid, timeout=None):
    """Says how it ended."""
    tell(pid, "waiting")
    try:
        value = channel.receive(timeout)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise
    tell(pid, "ended", ("received", value))
    return value


def told_put(channel, pid, term, timeout=None):
    tell(pid, "waiting")
    try:
        channel.put(term, timeout)
    except BaseException as error:
        tell(pid, "ended", type(error).__name__)
        raise
    tell(pid, "ended", "put")


def receive_from_a_thread(channel, pid):
    """A thread of Python's own receives."""
    def run():
        for message in channel:
            tell(pid, "received", message)
    threading.Thread(target=run, daemon=True).start()


def describe(value):
    """Types and bytes of what a message holds."""
    if isinstance(value, memoryview):
        return ("view", value.readonly, value.ndim, value.format, bytes(value))
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    return (type(value).__name__, value)


def described(value):
    return repr(value)


def receive_repr(channel):
    return repr(channel.receive())


def receive_described(channel):
    return describe(channel.receive())


def keep_views(channel, count):
    kept["views"] = [channel.receive() for _ in range(count)]
    return sum(len(view) for view in kept["views"])


def sum_of_views():
    return sum(sum(view[:: max(1, len(view) // 16)]) for view in kept["views"])


def view_bytes(index):
    return bytes(kept["views"][index])


def write_into_view(channel):
    view = channel.receive()
    try:
        view[0] = 1
    except TypeError as error:
        return str(error)
    return "written"


def reply_raises(to, term):
    try:
        erlang.channel.reply(to, term)
    except Exception as error:
        return type(error).__name__
    return "sent"


def send_raises(to, term):
    try:
        erlang.send(to, term)
    except Exception as error:
        return type(error).__name__
    return "sent"


def seconds_of_receive(channel, timeout):
    began = time.monotonic()
    try:
        channel.receive(timeout)
    except TimeoutError:
        return time.monotonic() - began
    return -1.0


def throughput(channel, count):
    """Nanoseconds for so many."""
    began = time.perf_counter_ns()
    for _ in range(count):
        channel.receive()
    return time.perf_counter_ns() - began


def attempts_in_a_child(channel):
    reader, writer = os.pipe()
    if os.fork() == 0:
        names = [raises(channel, "receive", 0), raises(channel, "try_receive"),
                 raises(channel, "put", 1)]
        os.write(writer, " ".join(map(str, names)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    os.wait()
    return text
