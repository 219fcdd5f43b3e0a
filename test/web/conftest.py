"""Servers are started when a test first asks for them and serve the whole run.  Every test
has a deadline."""

import deadlines
import programs
import pytest
import servers

deadline = deadlines.deadline(90)


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """A function that gives the running server of a name."""
    folder = tmp_path_factory.mktemp("servers")
    started = {}

    def server(name):
        if name not in started:
            try:
                started[name] = servers.Server(name, folder)
            except programs.StartError as error:
                # They are all of one make.
                pytest.exit(str(error), 1)
        assert started[name].process.poll() is None, started[name].log.read_text()[-5000:]
        return started[name]

    yield server
    for one in started.values():
        one.terminate()
    for one in started.values():
        one.end()


@pytest.fixture
def running_alone(tmp_path):
    """A function that starts a server for one test, which may stop it."""
    started = []

    def server(name):
        started.append(servers.Server(name, tmp_path))
        return started[-1]

    yield server
    for one in started:
        one.end()


@pytest.fixture
def server(request, running):
    return running(request.param)


@pytest.fixture
def port(server):
    return server.port


def pytest_configure(config):
    if lacking := servers.lacking():
        pytest.exit(f"error: {servers.PYTHON} lacks {lacking}; another one: PYTHON=...", 1)
    config.addinivalue_line("markers", "on(*names): runs the test once on each of these servers")


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("on")
    if mark and "server" in metafunc.fixturenames:
        names = mark.args
        metafunc.parametrize(
            "server", names, indirect=True, ids=[name.replace(" ", "-") for name in names]
        )
