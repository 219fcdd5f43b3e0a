"""The examples of the reactor as servers, a Redis to compare one with, and a raw client."""

import re
import shutil
import socket
import subprocess

import programs
from programs import ROOT

ECHO = ROOT / "examples/reactor_echo/run"
REDIS = ROOT / "examples/reactor_redis/run"
PROGRAMS = ("curl", "wrk", "redis-cli", "redis-benchmark", "redis-check-rdb")
#: Seconds for which a client waits for any one thing.
DEADLINE = 20
MIB = 1 << 20


def environment(**settings):
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PORT", "REACTORS")
    return programs.environment(*hidden, **settings)


def lacking():
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Server(programs.Program):
    """One of the examples, on a port that was free."""

    def __init__(self, folder, example, *arguments, **settings):
        super().__init__(
            [str(example), *arguments],
            folder / f"{example.parent.name}{'-'.join(('', *arguments))}.log",
            rb" on \S*?127\.0\.0\.1:(\d+)",
            cwd=folder,
            env=environment(**{"PORT": "0", **settings}),
        )
        self.port = int(self.told[1])
        self.address = ("127.0.0.1", self.port)

    def connect(self):
        return Client(self.address)

    def run(self, *command, input=None):
        return run(*command, input=input)


class RealRedis(programs.Program):
    """redis-server on a socket in the file system.

    It is the same program as redis-check-rdb, which is told apart by the name it is called
    by: Debian's redis-tools has it, and no service that would start with the machine.
    """

    def __init__(self, folder):
        self.address = str(folder / "redis.sock")
        super().__init__(
            ["redis-server", "--port", "0", "--unixsocket", self.address, "--save", ""],
            folder / "redis-server.log",
            rb"ready to accept connections",
            executable=shutil.which("redis-check-rdb"),
            cwd=folder,
            env=environment(),
        )

    def connect(self):
        return Client(self.address)


def run(*command, input=None):
    """What the command prints; it must end well."""
    done = subprocess.run(
        list(map(str, command)),
        input=input,
        stdin=None if input is not None else subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE * 2,
        env=environment(),
    )
    assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout


class Client:
    """A connection to an address of TCP, or a path."""

    def __init__(self, address):
        self.socket = socket.socket(
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        )
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address)
        if not isinstance(address, str):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def end(self):
        """Sends nothing more, and still reads."""
        self.socket.shutdown(socket.SHUT_WR)

    def exactly(self, size):
        data = self.file.read(size)
        assert len(data) == size, f"the end after {data[-100:]!r}"
        return data

    def rest(self):
        """All up to the end of the connection."""
        return self.file.read()

    def is_closed(self):
        """Waits for the end of the connection; False when something comes instead."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True  # it had not read all of it

    def reply(self):
        """A reply of RESP2: errors and statuses are bytes with their first character."""
        line = self.file.readline()
        assert line.endswith(b"\r\n"), f"the end after {line!r}"
        kind, text = line[:1], line[1:-2]
        if kind in b"+-":
            return line[:-2]
        assert re.fullmatch(rb"-?\d+", text), line
        number = int(text)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return self.exactly(number + 2)[:-2]
        assert kind == b"*", line
        return [self.reply() for _ in range(number)]

    def ask(self, *arguments):
        self.send(array(*arguments))
        return self.reply()


def array(*arguments):
    """A request of RESP2."""
    octets = [one if isinstance(one, bytes) else str(one).encode() for one in arguments]
    return b"*%d\r\n%b" % (len(octets), b"".join(b"$%d\r\n%b\r\n" % (len(o), o) for o in octets))
