"""What starts the server: what it prints, how it ends, what it says when it cannot start."""

import json
import os
import pty
import signal
import subprocess

import pytest
from servers import ROOT, RUN, TIMEOUT_SECONDS, Server, environment

MAKE_SERVE = ("make", "--no-print-directory", "serve")

WITH_LIFESPAN = """
import sys

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("shut down", file=sys.stderr, flush=True)
    await send({"type": "lifespan.shutdown.complete"})
"""

WRONG = {
    "syntax": "def app(environ, start_response)\n",
    "needs": "import no_such_library\n",
    "number": "app = 3\n",
    "raises": "def begin():\n    return 1 / 0\n\nbegin()\n",
}

SAID_OF = {
    "nowhere:app": "there is no module 'nowhere' in\n    {folder}\n",
    "number:app": "app 'number:app' is no application: int is not callable",
    "number:other": "module 'number' has no attribute 'other'",
    "number:": "app must be 'module:attribute' or 'module', not 'number:'",
    "needs:app": "needs the module 'no_such_library', which this Python does not have",
    "syntax:app": '  File "{folder}/syntax.py", line 1\n',
    "raises:app": "ZeroDivisionError: division by zero",
}


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder)


def refusal(command=(str(RUN),), **options):
    """What a server says that does not start."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode != 0
    assert "CRASH" not in done.stdout + done.stderr
    return done.stderr


# ---- What it serves ----


def test_make_serve_is_the_page():
    with Server(MAKE_SERVE) as server:
        assert server.request("GET", "/") == (
            200,
            (ROOT / "examples/upload_server/app/index.html").read_bytes(),
        )
        assert server.stop() == ""


def test_the_application_obeys_pep_3333(tmp_path):
    text = "import upload_app\nfrom wsgiref import validate\n"
    text += "application = validate.validator(upload_app.application)\n"
    with Server(APP="validated", APP_DIR=write(tmp_path, validated=text)) as server:
        assert server.request("GET", "/")[0] == 200
        status, body = server.request("POST", "/uploads/a?name=b", b"one\ntwo\n" * 100_000)
        assert (status, json.loads(body)["lines"]) == (200, 200_000)
        with server.listen("a") as events:
            assert next(events)["state"] == "waiting"
        assert server.stop() == ""


def test_half_an_upload_is_a_failure(server):
    with server.listen("half") as events:
        assert next(events)["state"] == "waiting"
        connection = server.connect()
        connection.putrequest("POST", "/uploads/half")
        connection.putheader("Content-Length", "2000000")
        connection.endheaders(b"x" * 1_000_000)
        assert next(event for event in events if event["received"])["state"] == "receiving"
        connection.close()
        *_, last = events
    assert (last["state"], last["result"]) == ("failed", None)
    server.wait_until_unknown("half")


def test_a_listener_that_goes_away_is_forgotten(server):
    with server.listen("away") as events:
        next(events)
    status, body = server.request("POST", "/uploads/away", b"a\n")
    assert (status, json.loads(body)["lines"]) == (200, 1)
    server.wait_until_unknown("away")


# ---- How it ends ----


def test_sigterm_is_the_end(tmp_path):
    with Server(APP="lasts", APP_DIR=write(tmp_path, lasts=WITH_LIFESPAN)) as server:
        assert server.stop() == "shut down\n"
        assert server.process.returncode == 0


def test_sigterm_ends_what_is_going_on():
    with Server() as server, server.listen("a") as events:
        next(events)
        assert server.stop() == ""
        assert server.process.returncode == 0
        assert {event["state"] for event in events} <= {"waiting"}


@pytest.mark.parametrize("by_make", [False, True], ids=["run", "make"])
def test_ctrl_c_is_the_end(tmp_path, by_make):
    options = {"APP": "lasts", "APP_DIR": write(tmp_path, lasts=WITH_LIFESPAN)}
    command = [str(RUN)]
    if by_make:
        command = [*MAKE_SERVE, *map("=".join, options.items())]
        options = {}
    pid, terminal = pty.fork()
    if pid == 0:
        # It may be ignored here, as in a job in the background.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(ROOT)
        os.execvpe(command[0], command, environment(**options))
    output = b""
    with os.fdopen(terminal, "r+b", buffering=0) as file:
        while b"http://" not in output:
            output += file.read(1024)
        file.write(b"\x03")
        try:
            while data := file.read(1024):
                output += data
        except OSError:
            pass  # the other end of a terminal has been closed
    status = os.waitpid(pid, 0)[1]
    assert b"shut down" in output and b"Error" not in output
    # make itself dies of the signal, as programs in a terminal do.
    assert status == (signal.SIGINT if by_make else 0)


# ---- What it says ----


@pytest.mark.parametrize("app", SAID_OF)
def test_a_wrong_application(tmp_path, app):
    folder = write(tmp_path, **WRONG)
    said = refusal(APP=app, APP_DIR=folder)
    assert said.startswith(f"error: APP={app}")
    assert SAID_OF[app].format(folder=folder) in said
    # Of the files of the user, and of no others.
    assert "importlib" not in said and "_web.py" not in said


def test_a_port_that_is_in_use(server):
    port = server.url.rstrip("/").rpartition(":")[2]
    said = refusal(PORT=port)
    assert said.startswith(f"error: port {port} is in use")
    assert "PORT=0 any that is free" in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("MAX_BODY", "-1"),
        ("UNKNOWN_LENGTH", "guess"),
        ("APP_DIR", "/nonexistent"),
    ],
)
def test_a_wrong_option(option, value):
    said = refusal(**{option: value})
    assert said.startswith(f"error: {option}") and value in said
    assert said.count("\n") == 1
