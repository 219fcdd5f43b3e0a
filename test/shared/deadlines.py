"""A deadline for every test: an exception first, the end of the run with all stacks when
that is not enough."""

import faulthandler
import signal

import pytest

GRACE_SECONDS = 20


class Overdue(BaseException):
    """No OSError, as TimeoutError is: tests catch those of a connection that is closed."""


def deadline(seconds):
    """A fixture for a conftest.py."""

    def overdue(signum, frame):
        raise Overdue(f"not done after {seconds} s")

    @pytest.fixture(autouse=True)
    def deadline():
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
        before = signal.signal(signal.SIGALRM, overdue)
        signal.alarm(seconds)
        yield
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()

    return deadline
