"""Every test has a deadline, and one Chromium is shared by all that want a page."""

import faulthandler
import signal
import tempfile

import pytest
from servers import Server

DEADLINE_SECONDS = 120
GRACE_SECONDS = 20


class Overdue(BaseException):
    """No OSError, as TimeoutError is: tests catch those of a terminal that is closed."""


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
def chromium():
    from page import start_chromium

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = start_chromium(profile)
        yield driver
        driver.quit()


@pytest.fixture(scope="session")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def page(chromium, server):
    from page import Page

    page = Page(chromium, server)
    yield page
    page.leave()
    assert page.complaints() == []
