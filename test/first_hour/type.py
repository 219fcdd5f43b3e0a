"""type.py FILE AFTER COMMAND...: types the expressions of FILE into a shell, as a user would.

The command runs on a terminal of its own, and each expression is typed when the shell has
shown its prompt, the first one when the text AFTER has been shown too.  Prints what the
terminal shows.  Ends with 1 when an expression failed, or when the command has not ended
DEADLINE seconds after the last line of the file, which ought to end it.
"""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

DEADLINE = 150
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r|\x08")
PROMPT = re.compile(rb"(?:^|\n)(?:\([\w@.-]+\))?(?:iex\()?\d+\)?> ")
FAILED = re.compile(rb"\*\* \(|\*\* exception|syntax error|No match of right")


def expressions(text):
    """Each ends with a line that ends with a dot; iex takes a line at a time."""
    return [part for part in re.split(r"(?<=\.)\n", text) if part.strip()]


def start(command, terminal):
    return subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )


def converse(terminal, after, lines):
    """What was shown until the other side hung up."""
    shown, seen = b"", 0
    deadline = time.monotonic() + DEADLINE
    while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # that is how a terminal ends
            return shown
        if not some:
            return shown
        shown += ESCAPES.sub(b"", some)
        if lines and after in shown and PROMPT.search(shown, seen):
            seen = len(shown)
            os.write(terminal, lines.pop(0).encode() + b"\n")
    raise TimeoutError(shown)


def main(path, after, *command):
    with open(path, encoding="utf-8") as file:
        lines = expressions(file.read())
    ours, theirs = pty.openpty()
    process = start(command, theirs)
    os.close(theirs)
    try:
        shown = converse(ours, after.encode(), lines)
        status = process.wait(timeout=DEADLINE)
    except (TimeoutError, subprocess.TimeoutExpired) as late:
        print(late.args[0].decode(errors="replace") if late.args else "")
        print(f"not done after {DEADLINE} s; not typed: {lines}")
        os.killpg(process.pid, signal.SIGKILL)
        return 1
    print(shown.decode(errors="replace"))
    if status or lines:
        print(f"exit status {status}; not typed: {lines}")
    return 1 if status or lines or FAILED.search(shown) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
