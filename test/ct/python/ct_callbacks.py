"""Functions for the tests of erlang.call()."""

import os
import pickle
import sys
import threading
import time

import erlang

outcome = []


def call(name, args):
    return erlang.call(name, *args)


def call_atom(name, args):
    return erlang.call(erlang.Atom(name), *args)


def failure(name, args):
    """What erlang.call() raised."""
    try:
        erlang.call(name, *args)
    except erlang.ErlangError as error:
        copied = pickle.loads(pickle.dumps(error))
        assert (copied.args, copied.__notes__) == (error.args, error.__notes__)
        return [error.kind, error.reason, error.stacktrace, str(error)]
    except (RuntimeError, TypeError) as error:
        return [type(error).__name__, str(error)]
    return None


def bounce(name, n):
    """The depth that was reached, or what stopped it."""
    if n == 0:
        return 0
    result = erlang.call(name, n - 1)
    return result + 1 if isinstance(result, int) else result


def bounce_failing(n):
    if n == 0:
        raise ValueError("at the bottom")
    return erlang.call("bounce_failing", n - 1)


order = []


def note(value):
    order.append(value)
    return value


def noted():
    return list(order)


def call_noting(name, args):
    order.clear()
    order.append("begin")
    result = erlang.call(name, *args)
    order.append("end")
    return result


def call_while_handling(name):
    """What a nested job sees of the exception that is being handled here."""
    try:
        raise KeyError("outer")
    except KeyError:
        result = erlang.call(name)
        return [result, type(sys.exc_info()[1]).__name__]


def call_in_generator_while_handling(name):
    """The same from a generator, which handles nothing itself."""

    def generator():
        yield erlang.call(name)
        yield sys.exc_info()[0] is None

    try:
        raise KeyError("outer")
    except KeyError:
        values = generator()
        first = next(values)
    return [first, next(values)]


def handling():
    return sys.exc_info()[0] is None


def read(buf):
    return buf.read()


ended = []


def call_noting_end(name, args):
    """How the wait for an Erlang function ended."""
    ended.clear()
    try:
        return erlang.call(name, *args)
    except BaseException as error:
        ended.append(type(error).__name__)
        raise


def read_noting_end(buf):
    try:
        return buf.read()
    except BaseException as error:
        ended.append(type(error).__name__)
        raise


def how_ended():
    return list(ended)


def thread():
    return threading.get_ident()


def threads_around(name):
    return [threading.get_ident(), erlang.call(name), threading.get_ident()]


def call_with_object():
    erlang.call("echo", 1, object())


def call_from_threads(threads, count):
    """Every thread makes `count` calls; how many of all came out right."""
    right = []

    def work(first):
        for n in range(first, first + count):
            if erlang.call("double", n) == 2 * n:
                right.append(n)

    workers = [threading.Thread(target=work, args=(n * count,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(right)


def call_in_thread(name, args):
    """In a thread that nobody joins; its outcome is there later."""
    outcome.clear()

    def work():
        try:
            outcome.append(["value", erlang.call(name, *args)])
        except Exception as error:
            outcome.append([type(error).__name__, str(error)])

    threading.Thread(target=work).start()


def call_in_joined_thread(name, args):
    call_in_thread(name, args)
    while not outcome:
        time.sleep(0.001)
    return outcome[0]


def call_until_it_fails(name, path):
    """In a thread of its own, which writes to a file how it ended."""

    def work():
        while True:
            try:
                erlang.call(name)
            except RuntimeError as error:
                with open(path + ".new", "w", encoding="utf-8") as file:
                    file.write(f"{type(error).__name__}: {error}")
                os.rename(path + ".new", path)
                return
            except erlang.ErlangError:
                pass
            time.sleep(0.005)

    threading.Thread(target=work).start()
