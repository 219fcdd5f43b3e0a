"""A command of the tests of the documents, with a deadline."""

import os
import signal
import subprocess

DEADLINE_SECONDS = 60


class Failure(Exception):
    """What a command has printed, and what was wrong with it."""


def output_of(*command, **options):
    """What the command prints.  It ends, with exit status 0 and in time, or Failure."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        **options,
    )
    try:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise Failure(f"{output}not done after {DEADLINE_SECONDS} s") from None
    if process.returncode != 0:
        raise Failure(f"{output}exit status {process.returncode}")
    return output


def passed(what, check, *args):
    """Runs the check, says what came of it, and answers whether it was good."""
    try:
        check(*args)
    except Failure as failure:
        print(f"FAILED   {what}\n{failure}", flush=True)
        return False
    print(f"ok       {what}", flush=True)
    return True
