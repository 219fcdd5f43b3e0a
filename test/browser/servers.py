"""The server of examples/upload_server as a program, and a client that listens to it."""

import http.client
import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "examples/upload_server/run"
TIMEOUT_SECONDS = 60


def environment(**options):
    """That of a test, without options of the caller's own."""
    names = ("APP", "APP_DIR", "PORT", "MAX_BODY", "UNKNOWN_LENGTH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PORT": "0", **options}


class Server:
    """A server on a port that was free; `command` is what starts it."""

    def __init__(self, command=(str(RUN),), **options):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed by stop()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(**options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.url = self.address()

    def address(self):
        for line in self.process.stdout:
            if found := re.search(r" on (http://\S+)", line):
                return found[1]
        raise AssertionError(f"the server has not started: {self.stop()}")

    def stop(self):
        """What it has written to its standard error."""
        self.process.terminate()
        self.process.wait(TIMEOUT_SECONDS)
        self.process.stdout.close()
        self.errors.seek(0)
        with self.errors:
            return self.errors.read()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if not self.errors.closed:
            self.stop()

    def connect(self):
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_SECONDS)

    def request(self, method, path, body=None):
        """The status and the body of the response."""
        connection = self.connect()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @contextmanager
    def listen(self, upload_id):
        """The events of an upload, as they come."""
        connection = self.connect()
        connection.request("GET", f"/events?id={upload_id}")
        response = connection.getresponse()
        assert response.status == 200
        try:
            yield (json.loads(line[5:]) for line in response if line.startswith(b"data:"))
        finally:
            response.close()
            connection.close()

    def wait_until_unknown(self, upload_id):
        """Until neither a handler nor a listener holds the upload any more."""
        while True:
            with self.listen(upload_id) as events:
                if next(events)["state"] == "waiting":
                    return

    def memory(self, field):
        """A figure of the node's process, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024
