"""Jobs that fork.  Every child has an alarm: one that hangs dies of it."""
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import erlang

kept = []


def run_child(work):
    """[What work() answered in the child, its exit status or minus the signal]"""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os.close(reader)
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as report:
        answer = report.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return [json.loads(answer) if answer else None, status]


def outcome(action):
    try:
        return ["value", repr(action())]
    except BaseException as error:
        return [type(error).__name__, str(error)]


def host_calls(pid, empty):
    """What reaches the node, or would wait, each in one child."""
    actions = {
        "send": lambda: erlang.send(pid, "from the child"),
        "send_registered": lambda: erlang.send("erlpy_runtime", "from the child"),
        "call": lambda: erlang.call("ct_function"),
        "atom": lambda: erlang.Atom("ok"),
        "new_atom": lambda: erlang.Atom("made_in_a_child", create=True),
        "read": lambda: empty.read(10),
        "read_all": lambda: empty.read(),
        "readline": lambda: empty.readline(),
        "next": lambda: next(empty),
        "readexactly": lambda: empty.readexactly(3),
        "readuntil": lambda: empty.readuntil(b"x"),
        "views": lambda: next(iter(empty.views())),
    }
    return run_child(lambda: {name: outcome(do) for name, do in actions.items()})


def harmless(pid, buf):
    """What has arrived can be read, and everything be printed."""

    def work():
        return [
            repr(pid) != "",
            repr(buf) != "",
            buf.read(3).decode(),
            buf.readline().decode(),
            bytes(buf.readview(4)).decode(),
            str(memoryview(buf)[:2], "ascii"),
            buf.tell(),
        ]

    return run_child(work)


def let_go(views):
    """The child releases all that this process holds."""

    def work():
        for view in views:
            view.release()
        views.clear()
        kept.clear()
        gc.collect()
        return "released"

    return run_child(work)


def keep(buf):
    kept.append(buf)


def forget():
    kept.clear()


def view_and_let_go(buf):
    views = [buf.readview(100000) for _ in range(3)]
    answer = let_go(views)
    return [answer, [bytes(view[:3]).decode() for view in views]]


def fork_and_return(how):
    """The child leaves the job as `how` says; the parent answers its exit status."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        if how == "raise":
            sys.stderr = open(os.devnull, "w")
            raise ValueError("in the child")
        if how == "exit":
            sys.exit(3)
        return "from the child"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class ForksWhenConverted:
    def __index__(self):
        self.status = fork_and_return("return")
        return self.status


def forks_when_converted():
    return ForksWhenConverted()


def terminate_child(number):
    """A child that waits for ever, sent the signal."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os.write(writer, b"x")
        while True:
            signal.pause()
    os.read(reader, 1)
    os.kill(pid, number)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(reader)
    os.close(writer)
    return status


def read_in_child(buf):
    return run_child(lambda: outcome(lambda: buf.read(20)))


def read_all_in_child(buf):
    return run_child(lambda: outcome(buf.read))


def read_beside_others(buf):
    """In a child, and then here, while other threads read and write."""
    answer = read_in_child(buf)
    buf.read(20)
    return answer


def read_during_search(buf):
    """While another thread looks for the end of a line that has none."""
    thread = threading.Thread(target=buf.readline)
    thread.start()
    answer = run_child(lambda: buf.read(1).decode())
    thread.join()
    return answer


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def zombies():
    """Children of this process that have ended and that nobody has waited for."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(int(pid))
    return found


def preexec():
    return subprocess.run(
        ["sh", "-c", "exit 5"], preexec_fn=lambda: signal.alarm(10)
    ).returncode


def square(number):
    return number * number


def squares(method, count):
    """By worker processes that are started as `method` says."""
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        return pool.map(square, range(count))


def stop_helpers():
    """What multiprocessing keeps running for the next time."""
    from multiprocessing import forkserver, resource_tracker

    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()
