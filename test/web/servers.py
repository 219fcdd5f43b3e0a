"""The servers under test and those that show what an application is used to.

A server is named by itself and its application: "erlpy flask", "gunicorn flask".
"""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
APPS = HERE / "apps"
START_SECONDS = 60
STOP_SECONDS = 20

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
    hidden = ("VIRTUAL_ENV", "PYTHONPATH")
    return {**{name: os.environ[name] for name in os.environ if name not in hidden}, **settings}


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


class StartError(Exception):
    pass


class Server:
    """A server that runs; its output is kept in `log`."""

    def __init__(self, name, folder):
        self.name = name
        self.interface, self.app = name.split(" ", 1)
        self.is_ours = name in OURS
        self.log = folder / (name.replace(" ", "-") + ".log")
        arguments, settings = command(name)
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.port = None
        self.found = threading.Event()
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._follow, daemon=True)
        self.reader.start()
        if not self.found.wait(START_SECONDS) or self.port is None:
            self.stop()
            raise StartError(f"{name} did not start:\n{self.log.read_text()}")

    def _follow(self):
        """The address is in the first lines; the rest goes into the log."""
        with open(self.log, "wb", buffering=0) as log:
            for line in self.process.stdout:
                with self.news:
                    log.write(line)
                    self.news.notify_all()
                match = re.search(rb"http://127\.0\.0\.1:(\d+)", line)
                if match and self.port is None:
                    self.port = int(match[1])
                    self.found.set()
        self.found.set()

    def has_logged(self, text, seconds=10):
        """Waits until the text is in its output."""
        with self.news:
            return self.news.wait_for(lambda: text in self.log.read_bytes(), seconds)

    def memory(self):
        """Bytes of memory in use, and the most there have been."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(
            int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024 for key in ("VmRSS", "VmHWM")
        )

    def terminate(self):
        """Asks it to end, as a service manager would."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Waits until it has ended, and helps when it does not; True when it went by itself."""
        self.terminate()
        try:
            self.process.wait(STOP_SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join(STOP_SECONDS)
        return ended
