"""examples/reactor_echo with bytes, and as a program."""

import os
import pty
import random
import signal
import socket
import struct
import subprocess
import threading

import pytest
from servers import DEADLINE, ECHO, MIB, Server, environment


def sent_by_another_thread(client, data):
    def send():
        client.send(data)
        client.end()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_bytes_come_back_while_the_connection_is_open(echo):
    with echo.connect() as client:
        for size in (1, 2, 1000, 65536, 1):
            data = random.randbytes(size)
            client.send(data)
            assert client.exactly(size) == data


def test_all_comes_back_after_the_end_of_the_client(echo):
    data = random.randbytes(8 * MIB)
    with echo.connect() as client:
        thread = sent_by_another_thread(client, data)
        assert client.rest() == data
        thread.join(DEADLINE)


def test_a_client_that_sends_nothing(echo):
    with echo.connect() as client:
        client.end()
        assert client.rest() == b""


def test_many_connections_at_once(echo):
    clients = [echo.connect() for _ in range(200)]
    for number, client in enumerate(clients):
        client.send(b"%06d" % number)
    for number, client in enumerate(clients):
        assert client.exactly(6) == b"%06d" % number
        client.close()


def test_who_reads_nothing_is_not_read_from(echo):
    """As much as the buffers of both sides take, and no more of it in memory."""
    before = echo.memory("VmRSS")
    with echo.connect() as client:
        client.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            client.send(bytes(64 * MIB))
        assert echo.memory("VmRSS") - before < 8 * MIB
        with echo.connect() as other:
            other.send(b"others go on")
            assert other.exactly(12) == b"others go on"


def test_a_reset_is_the_end_of_one_connection_alone(echo):
    with echo.connect() as other:
        client = echo.connect()
        client.send(b"x" * 1000)
        client.exactly(1000)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        other.send(b"here")
        assert other.exactly(4) == b"here"


# ---- The program ----


def test_sigterm_is_the_end(tmp_path):
    server = Server(tmp_path, ECHO, "echo", REACTORS="3")
    with server.connect() as client:
        client.send(b"here")
        assert client.exactly(4) == b"here"
        assert server.end()
        assert server.process.returncode == 0
        assert client.rest() == b""
    assert len(server.log.read_text().splitlines()) == 1


def test_ctrl_c_is_the_end():
    pid, terminal = pty.fork()
    if pid == 0:
        # It may be ignored here, as in a job in the background.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(ECHO, [str(ECHO), "echo"], environment(PORT="0"))
    output = b""
    with os.fdopen(terminal, "r+b", buffering=0) as file:
        while b"127.0.0.1:" not in output:
            output += file.read(1024)
        file.write(b"\x03")
        try:
            while data := file.read(1024):
                output += data
        except OSError:
            pass  # the other end of a terminal has been closed
    assert b"rror" not in output
    os.waitpid(pid, 0)


def refusal(*arguments, **settings):
    """What it says when it does not start."""
    done = subprocess.run(
        [str(ECHO), *arguments],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_in_use(echo):
    assert f"PORT={echo.port} is in use" in refusal("echo", PORT=str(echo.port))


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (["gopher"], {}, "echo | http"),
        (["echo"], {"PORT": "65536"}, "PORT"),
        (["echo"], {"PORT": "http"}, "PORT"),
        (["echo"], {"PORT": "0", "REACTORS": "0"}, "REACTORS"),
    ],
)
def test_a_wrong_option(arguments, settings, named):
    assert named in refusal(*arguments, **settings)
