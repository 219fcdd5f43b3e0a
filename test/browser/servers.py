"""The server of examples/upload_server as a program, and a client that listens to it."""

import http.client
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import programs
from programs import ROOT

RUN = ROOT / "examples/upload_server/run"
TIMEOUT_SECONDS = 60


def environment(**options):
    """That of a test, without options of the caller's own."""
    hidden = ("APP", "APP_DIR", "PORT", "MAX_BODY", "UNKNOWN_LENGTH", "VIRTUAL_ENV")
    return programs.environment(*hidden, **{"PORT": "0", **options})


class Server(programs.Program):
    """A server on a port that was free; `command` is what starts it."""

    def __init__(self, command=(str(RUN),), **options):
        self.folder = tempfile.TemporaryDirectory()
        super().__init__(
            command,
            Path(self.folder.name, "log"),
            rb" on (http://\S+)",
            errors=Path(self.folder.name, "errors"),
            cwd=ROOT,
            env=environment(**options),
        )
        self.url = self.told[1].decode()

    def stop(self):
        """What it has written to its standard error."""
        self.end()
        with self.folder:
            return self.errors.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self.errors.exists():
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
