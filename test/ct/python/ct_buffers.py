"""What the suites do with buffers on the Python side."""
import collections
import gc
import hashlib
import threading
import weakref

import erlang

kept = {}


def echo(value):
    return value


def invoke(obj, method, *args):
    return getattr(obj, method)(*args)


def attribute(obj, name):
    return getattr(obj, name)


def raises(obj, method, *args):
    """The name of the exception that the method raises."""
    try:
        value = getattr(obj, method)(*args)
    except BaseException as error:
        return type(error).__name__
    return ["no exception", repr(value)]


def keep(name, value):
    kept[name] = value


def take(name):
    return kept[name]


def forget(name):
    del kept[name]
    gc.collect()


def keep_view(name, buf):
    kept[name] = memoryview(buf)


def view_bytes(name):
    return bytes(kept[name])


def digest(data):
    return hashlib.sha256(data).hexdigest()


def view_digest(name):
    return digest(kept[name])


def read_digest(buf):
    return digest(buf.read())


def is_buffer(value):
    return isinstance(value, erlang.PyBuffer)


def type_name(value):
    return type(value).__name__


def tell_started(pid, tag):
    erlang.send(pid, (erlang.Atom("reading"), tag))


def read_after_word(pid, tag, buf):
    """Says that it is about to read, then reads all."""
    tell_started(pid, tag)
    return buf.read()


def read_some_after_word(pid, tag, buf, size):
    tell_started(pid, tag)
    return buf.read(size)


def read_by(buf, threads, method, *args):
    """What each of the threads read, call by call."""
    results = [[] for _ in range(threads)]

    def run(mine):
        try:
            while part := getattr(buf, method)(*args):
                mine.append(part)
        except EOFError:
            pass

    workers = [threading.Thread(target=run, args=(mine,)) for mine in results]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def count_bytes(buf, threads, size):
    """How often each byte value arrived at any of the threads."""
    counts = collections.Counter()
    for chunks in read_by(buf, threads, "read", size):
        for chunk in chunks:
            counts.update(chunk)
    return dict(counts)


def weak_reference_dies(buf):
    reference = weakref.ref(buf)
    alive = reference() is buf
    return alive, reference
