"""Servers under test, each a program that tells on its output where it listens."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 20


def environment(*hidden, **settings):
    """That of the tests, without what is hidden, and with the settings."""
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, **settings}


class StartError(Exception):
    pass


class Program:
    """A program that runs.

    log, errors: Paths of what it has printed; the errors go into the log by default.
    told: the match of `telling`, a pattern of bytes, in the line that tells that it serves.
    """

    def __init__(self, command, log, telling, *, errors=None, **options):
        self.log = log
        self.errors = errors or log
        self.told = None
        self.started = threading.Event()
        self.news = threading.Condition()
        with open(errors or os.devnull, "wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file if errors else subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        self.reader = threading.Thread(target=self._follow, args=[telling], daemon=True)
        self.reader.start()
        if not self.started.wait(START_SECONDS) or self.told is None:
            self.end()
            raise StartError(f"{command} did not start:\n{self.errors.read_text()}")

    def _follow(self, telling):
        with open(self.log, "wb", buffering=0) as log, self.process.stdout as output:
            for line in output:
                with self.news:
                    log.write(line)
                    self.news.notify_all()
                if self.told is None and (found := re.search(telling, line)):
                    self.told = found
                    self.started.set()
        self.started.set()

    def has_logged(self, text, seconds=10):
        """Waits until the text is in its output."""
        with self.news:
            return self.news.wait_for(lambda: text in self.log.read_bytes(), seconds)

    def memory(self, field):
        """Memory of the process: VmRSS what is in use, VmHWM the most there has been."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    def terminate(self):
        """Asks it to end, as a service manager would."""
        self.process.send_signal(signal.SIGTERM)

    def end(self):
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
