"""Functions for the tests of calls."""
import threading
import time

import erlang

ran = []


def arguments(*args, **kwargs):
    return [list(args), kwargs]


def ident():
    return threading.get_ident()


def slow(seconds, value):
    time.sleep(seconds)
    return value


def note(value):
    ran.append(value)


def noted():
    return list(ran)


def send(pid, value):
    erlang.send(pid, value)


def slow_send(pid, seconds, value):
    time.sleep(seconds)
    erlang.send(pid, value)


def fail(message):
    raise ValueError(message)


class Thing:
    class Inner:
        @staticmethod
        def method(value):
            return ["inner", value]


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def fail_unprintable():
    raise Unprintable


def fail_with_surrogate():
    raise ValueError("lone \ud800 half")


def recurse():
    return recurse()
