"""The servers that bench/http/run.py measures."""

import pathlib
import sys

from processes import Server

HERE = pathlib.Path(__file__).resolve().parent
# The largest concurrency that is measured: each request can have a thread.
THREADS = 100

_GUNICORN = [
    sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", str(THREADS),
    "--log-level", "warning",
]  # fmt: skip
_UVICORN = [
    sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools",
    "--no-access-log", "--log-level", "warning",
]  # fmt: skip


def servers(checkouts):
    """All of them.  checkouts: pairs of a name and the folder of a built erlpy."""
    return [
        *(_server("flask", name, _erlpy(path, "flask_app:app")) for name, path in checkouts),
        _server("flask", "gunicorn, 1 worker", _gunicorn(1)),
        _server("flask", "gunicorn, 2 workers", _gunicorn(2)),
        *(
            _server("starlette", name, _erlpy(path, "starlette_app:app"))
            for name, path in checkouts
        ),
        _server("starlette", "uvicorn, 1 worker", _uvicorn(1)),
        _server("starlette", "uvicorn, 2 workers", _uvicorn(2)),
    ]


def _server(app, name, command):
    return Server(HERE, command, app=app, server=name)


def _erlpy(folder, app):
    run = str(pathlib.Path(folder).resolve() / "examples/upload_server/run")
    return lambda port: ([run], {"APP": app, "APP_DIR": str(HERE), "PORT": str(port)})


def _gunicorn(workers):
    return lambda port: (
        [*_GUNICORN, "-w", str(workers), "-b", f"127.0.0.1:{port}", "flask_app:app"], {},
    )  # fmt: skip


def _uvicorn(workers):
    return lambda port: (
        [*_UVICORN, "--workers", str(workers), "--port", str(port), "starlette_app:app"], {},
    )  # fmt: skip
