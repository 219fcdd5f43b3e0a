"""Every test has a deadline: an exception when the main thread can still take one, the
end of the whole run with all stacks when it cannot."""

import faulthandler
import signal

import pytest

DEADLINE_SECONDS = 60
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
