"""Servers are started when a test first asks for them and serve the whole run.  Every test
has a deadline."""

import deadlines
import pytest
import servers

deadline = deadlines.deadline(60)


def pytest_configure(config):
    if missing := servers.lacking():
        pytest.exit(f"error: not found: {', '.join(missing)}", 1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("servers")


def serving(start):
    """A fixture: a server that serves the whole run."""

    @pytest.fixture(scope="session")
    def server(folder):
        server = start(folder)
        yield server
        assert server.end()
        # No callback of a protocol has raised.
        assert b"Traceback" not in server.log.read_bytes(), server.log.read_text()

    return server


echo = serving(lambda folder: servers.Server(folder, servers.ECHO, "echo"))
http = serving(lambda folder: servers.Server(folder, servers.ECHO, "http"))
redis = serving(lambda folder: servers.Server(folder, servers.REDIS))
real_redis = serving(servers.RealRedis)
