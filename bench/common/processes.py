"""Servers to be measured, each in processes of its own on loopback."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

START_SECONDS = 30
STOP_SECONDS = 10
LOG_CHARACTERS = 4000
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One that can be started.

    labels: of its rows in the results; "server" is its name.
    folder: where it is run.
    command: called with a port, gives the command line and environment variables.
    """

    def __init__(self, folder, command, **labels):
        self.name = labels["server"]
        self.labels = labels
        self.folder = folder
        self.command = command

    @contextlib.contextmanager
    def running(self):
        """Starts it, gives its Process, and stops it.  What it says is told when that fails:
        the end of the client, in the middle of its requests, is an error to a server."""
        with tempfile.TemporaryFile("w+") as log:
            process = Process(self, log)
            try:
                process.await_port()
                yield process
            except Exception:
                log.seek(0)
                sys.stderr.write(log.read(LOG_CHARACTERS))
                raise
            finally:
                process.stop()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server that runs: the process that was started and all below it."""

    def __init__(self, server, log):
        self.name = server.name
        self.port = _free_port()
        command, variables = server.command(self.port)
        self.popen = subprocess.Popen(
            command,
            cwd=server.folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def await_port(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.popen.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen")

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_SECONDS)
        # What is left: workers in the middle of a request.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def tree(self):
        """The ids of its processes."""
        found, added = set(), {self.popen.pid}
        parents = {pid: int(fields[1]) for pid, fields in _stats()}
        while added:
            found |= added
            added = {pid for pid, parent in parents.items() if parent in found} - found
        return found

    def cpu_seconds(self):
        """User and system time of all of them, the ended ones included."""
        tree = self.tree()
        return sum(sum(map(int, fields[11:15])) for pid, fields in _stats() if pid in tree) / TICKS

    def reset_peak(self):
        for pid in self.tree():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_mib(self):
        """The most memory since reset_peak(): pages that processes share are counted once,
        as far as they still share them."""
        return sum(map(_peak_kib, self.tree())) / 1024


def _stats():
    """Pairs of process id and the fields of its stat from the third on."""
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = path.read_text(errors="replace")
            yield int(path.parent.name), text.rpartition(") ")[2].split()


def _peak_kib(pid):
    status = _sizes(f"/proc/{pid}/status")
    pss = _sizes(f"/proc/{pid}/smaps_rollup")["Pss"]
    return pss + status["VmHWM"] - status["VmRSS"]


def _sizes(path):
    lines = pathlib.Path(path).read_text().splitlines()
    pairs = (line.partition(":")[::2] for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) for name, value in pairs}
