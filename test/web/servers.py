"""The servers under test and those that show what an application is used to.

A server is named by itself and its application: "erlpy flask", "gunicorn flask".
"""

import subprocess
import sys

import programs
from programs import ROOT

APPS = ROOT / "test/web/apps"

#: Of each name: the application, and settings of ours.
OURS = {
    "erlpy flask": ("flask_app:app", {}),
    "erlpy flask validated": ("flask_app:validated", {}),
    "erlpy django": ("django_app:wsgi", {}),
    "erlpy django validated": ("django_app:validated", {}),
    "erlpy django spooled": ("django_app:wsgi", {"UNKNOWN_LENGTH": "spool"}),
    "erlpy django-asgi": ("django_app:asgi", {}),
    "erlpy starlette": ("starlette_app:app", {}),
    "erlpy flask limited": ("flask_app:app", {"MAX_BODY": "100000"}),
    "erlpy starlette limited": ("starlette_app:app", {"MAX_BODY": "100000"}),
}
THEIRS = {
    "gunicorn flask": "flask_app:app",
    "gunicorn django": "django_app:wsgi",
    "uvicorn django-asgi": "django_app:asgi",
    "uvicorn starlette": "starlette_app:app",
}
PYTHON = sys.executable


def environment(**settings):
    """That of a server: not of this Python, which may borrow packages."""
    return programs.environment("VIRTUAL_ENV", "PYTHONPATH", **settings)


def lacking():
    """What is missing here, in words; empty when nothing is."""
    code = "import django, flask, gunicorn, multipart, starlette, uvicorn"
    command = [PYTHON, "-c", code]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True)
    return result.stderr.strip().rpartition("\n")[2]


def command(name):
    """(arguments, environment) of a server that takes a free port of 127.0.0.1."""
    if name in OURS:
        app, settings = OURS[name]
        settings = {"APP": app, "APP_DIR": str(APPS), "PORT": "0", **settings}
        return [str(ROOT / "examples/upload_server/run")], settings
    app = THEIRS[name]
    if name.startswith("gunicorn"):
        options = "--worker-class gthread --threads 8 --bind 127.0.0.1:0"
        return [PYTHON, "-m", "gunicorn", *options.split(), "--chdir", str(APPS), app], {}
    options = f"--host 127.0.0.1 --port 0 --app-dir {APPS}"
    return [PYTHON, "-m", "uvicorn", *options.split(), app], {}


class Server(programs.Program):
    def __init__(self, name, folder):
        self.name = name
        self.interface, self.app = name.split(" ", 1)
        self.is_ours = name in OURS
        arguments, settings = command(name)
        super().__init__(
            arguments,
            folder / (name.replace(" ", "-") + ".log"),
            rb"http://127\.0\.0\.1:(\d+)",
            cwd=folder,
            env=environment(**settings),
        )
        self.port = int(self.told[1])
