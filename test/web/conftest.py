"""Servers are started when a test first asks for them and serve the whole run.  Every test
has a deadline: an exception first, the end of the run with all stacks when that is not
enough."""

import faulthandler
import signal

import pytest
import servers

DEADLINE_SECONDS = 90
GRACE_SECONDS = 20


class Overdue(BaseException):
    pass


def overdue(signum, frame):
    raise Overdue(f"not done after {DEADLINE_SECONDS} s")


@pytest.fixture(autouse=True)
def deadline():
    faulthandler.dump_traceback_later(DEADLINE_SECONDS + GRACE_SECONDS, exit=True)
    before = signal.signal(signal.SIGALRM, overdue)
    signal.alarm(DEADLINE_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """A function that gives the running server of a name."""
    folder = tmp_path_factory.mktemp("servers")
    started = {}

    def server(name):
        if name not in started:
            try:
                started[name] = servers.Server(name, folder)
            except servers.StartError as error:
                # They are all of one make.
                pytest.exit(str(error), 1)
        assert started[name].process.poll() is None, started[name].log.read_text()[-5000:]
        return started[name]

    yield server
    for one in started.values():
        one.terminate()
    for one in started.values():
        one.stop()


@pytest.fixture
def running_alone(tmp_path):
    """A function that starts a server for one test, which may stop it."""
    started = []

    def server(name):
        started.append(servers.Server(name, tmp_path))
        return started[-1]

    yield server
    for one in started:
        one.stop()


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
