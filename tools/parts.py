"""What tools/test.py and tools/matrix.py are made of: a part, and the report on all.

Each part is a command whose output is shown as it comes and whose own closing line
is counted; a part without one (a compiler, dialyzer) counts as one test.  The last
line is the total, which is also left in _build/test/total for .ci/run.
"""
import collections
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time

PART_SECONDS = 2400
TOTAL_FILE = "_build/test/total"

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# The closing lines of our own runners, pytest, Common Test and EUnit's kin.
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
PYTEST = re.compile(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s(?: \([\d:]+\))? ?=*$")
CT_ALL = re.compile(r"^(?:===> )?All (\d+) tests passed\.")
CT_SOME = re.compile(r"(Failed|Skipped|Passed) (\d+)(?: \(\d+, \d+\))? tests?\.")
# How they name what failed.
FAILURE = re.compile(
    r"FAILED|^FAIL\b|^ERROR\b|failed on line|^Reason: |(ERROR|WARNING): \w+Sanitizer"
)
# Those of them that name a test.
NAME = re.compile(
    r"^(?:FAILED|FAIL|ERROR)\s+(\S+)|^fuzz: (\S+) failed"
    r"|^(\S+): (?:failed|crashed|ran into its deadline)$"
)
NAMES_NOTED = 8
# Of a part that failed, the report at the end shows so much again.
SHOWN_FAILURES = 20
SHOWN_LAST_LINES = 15
SHOWN_WIDTH = 200


def count_line(line):
    """(passed, failed, skipped) of a closing line, or None for any other line."""
    if match := PLAIN.match(line):
        return tuple(int(group or 0) for group in match.groups())
    if match := PYTEST.match(line):
        words = {}
        for item in match[1].split(", "):
            number, word = item.split(" ", 1)
            words[word.rstrip("s")] = int(number)
        return (
            words.get("passed", 0) + words.get("xpassed", 0),
            words.get("failed", 0) + words.get("error", 0),
            words.get("skipped", 0) + words.get("xfailed", 0),
        )
    if match := CT_ALL.match(line):
        return (int(match[1]), 0, 0)
    found = {word: int(number) for word, number in CT_SOME.findall(line)}
    if "Passed" in found:
        return (found["Passed"], found.get("Failed", 0), found.get("Skipped", 0))
    return None


class Part:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.command = command
        self.environment = environment or {}
        self.counts = (0, 0, 0)
        self.failed = False
        self.note = ""
        self.seconds = 0.0
        self.failures = []
        self.failed_names = []
        self.last_lines = collections.deque(maxlen=SHOWN_LAST_LINES)
        self.output = sys.stdout.buffer
        self.process = None

    def show(self, text):
        self.output.write(text if isinstance(text, bytes) else f"{text}\n".encode())
        self.output.flush()

    def run(self):
        self.show(f"\n=== {self.name}: {' '.join(self.command)}")
        started = time.monotonic()
        process = self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        timer = threading.Timer(PART_SECONDS, self.overdue)
        timer.start()
        try:
            counts = self.follow(process.stdout)
            status = process.wait()
        except BaseException:
            self.kill()
            raise
        finally:
            timer.cancel()
        self.seconds = time.monotonic() - started
        self.judge(counts, status)

    def overdue(self):
        self.note = f"killed after {PART_SECONDS} s"
        self.kill()

    def kill(self):
        """With all that it has started."""
        if self.process is not None and self.process.returncode is None:
            kill_group(self.process)

    def follow(self, output):
        """Shows the output, sums its closing lines, and keeps what tells of failures."""
        total = None
        for raw in output:
            self.show(raw)
            line = COLOUR.sub("", raw.decode(errors="replace")).strip()
            self.notice(line)
            if found := count_line(line):
                total = tuple(map(sum, zip(total or (0, 0, 0), found)))
        return total

    def notice(self, line):
        self.last_lines.append(line[:SHOWN_WIDTH])
        match = NAME.match(line)
        if (match or FAILURE.search(line)) and len(self.failures) < SHOWN_FAILURES:
            self.failures.append(line[:SHOWN_WIDTH])
        if match:
            self.name_failed(match[1] or match[2] or match[3])

    def name_failed(self, name):
        if name not in self.failed_names:
            self.failed_names.append(name)

    def judge(self, counts, status):
        if counts is None:
            counts = (0, 1, 0) if status else (1, 0, 0)
        passed, failed, skipped = counts
        # A runner that died after its last closing line is a failure as well.
        if status and not failed:
            failed = 1
        if status and not self.note:
            self.note = f"exit status {status}"
        self.counts = (passed, failed, skipped)
        self.failed = failed > 0
        self.show(f"--- {self.name}: {self.summary()}")

    def summary(self):
        text = closing_line(self.counts) + f" ({self.seconds:.0f} s)"
        if self.failed and self.failed_names:
            text += ": " + ", ".join(self.failed_names[:NAMES_NOTED])
            if len(self.failed_names) > NAMES_NOTED:
                text += f" and {len(self.failed_names) - NAMES_NOTED} more"
        return text + (f", {self.note}" if self.note else "")

    def show_failures(self):
        print(f"\n=== {self.name}: what failed, and how it ended")
        for line in [*self.failures, "...", *self.last_lines]:
            print("    " + line)


class CommonTest(Part):
    """Runs the suites of a few cases that failed once more, each in a new node: what passes
    then is counted and named as such.  The machines are shared; a case may have been late."""

    CASE = re.compile(
        r"^(?:%%% (\w+_SUITE) ==> (?:\w+\.)*(\w+): FAILED|(\w+_SUITE):(\w+) failed )"
    )
    MOST_RETRIED = 4

    def run(self):
        self.failed_cases = {}
        super().run()
        if self.failed and not self.killed() and 0 < self.count_failed() == self.counts[1]:
            self.retry()

    def killed(self):
        return self.note.startswith("killed")

    def count_failed(self):
        count = sum(map(len, self.failed_cases.values()))
        return count if count <= self.MOST_RETRIED else 0

    def notice(self, line):
        super().notice(line)
        if match := self.CASE.match(line):
            suite, case = match[1] or match[3], match[2] or match[4]
            self.failed_cases.setdefault(suite, []).append(case)
            self.name_failed(f"{suite}:{case}")

    def retry(self):
        names = []
        for suite, cases in self.failed_cases.items():
            again = Part(
                f"{self.name}, again: {suite}",
                self.command + self.goals_again(suite, cases),
                self.environment,
            )
            again.output = self.output
            again.run()
            if again.failed or again.counts[0] < len(cases):
                return
            names += [f"{suite}:{case}" for case in cases]
        passed, failed, skipped = self.counts
        self.counts = (passed + failed, 0, skipped)
        self.failed = False
        self.note = "PASSED ONLY WHEN RUN AGAIN: " + " ".join(names)

    def goals_again(self, suite, cases):
        del cases  # by name alone a case in a group is not found
        return [f"SUITE=test/ct/{suite}"]


class Sanitised(CommonTest):
    """Again means the whole suite; a report of the sanitiser ends the node, and no case
    is named then."""

    def goals_again(self, suite, cases):
        return [f"SUITE={suite}"]


class Skipped(Part):
    """A part that cannot run here: said aloud and counted."""

    def __init__(self, name, reason):
        super().__init__(name, [])
        self.note = f"skipped: {reason}"
        self.counts = (0, 0, 1)

    def run(self):
        self.show(f"\n=== {self.name}: {self.note}")

    def summary(self):
        return self.note


def run_together(parts):
    """At the same time.  What they write comes one after the other."""
    threads = []
    for part in parts[1:]:
        # Until its thread has said otherwise.
        part.failed, part.counts = True, (0, 1, 0)
        part.output = io.BytesIO()
        threads.append(threading.Thread(target=part.run, daemon=True))
    try:
        for thread in threads:
            thread.start()
        parts[0].run()
        for thread in threads:
            thread.join()
    except BaseException:
        for part in parts:
            part.kill()
        raise
    for part in parts[1:]:
        parts[0].show(part.output.getvalue())


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def closing_line(counts):
    passed, failed, skipped = counts
    return f"{passed} passed, {failed} failed" + (
        f", {skipped} skipped" if skipped else ""
    )


def output_of(*command):
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return result.stdout.strip() if result.returncode == 0 else None


def make(*goals):
    return ["make", "--no-print-directory", *goals]


def run(everything, together=()):
    """Runs those that the command line names, whatever fails, and reports; the parts named
    in `together` at the same time: they wait more than they compute, and measure no time.
    Returns 1 when a part failed."""
    done = []
    started = time.monotonic()
    # A shell starts what is in its background with SIGINT ignored; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _, group in itertools.groupby(
        chosen(everything), lambda part: part.name in together or part
    ):
        parts = list(group)
        run_together(parts)
        done += parts
    return report(done, time.monotonic() - started)


def chosen(everything):
    """Those of these names; a name that is no part's stands for all that have it in theirs."""
    names = {part.name for part in everything}
    wanted = sys.argv[1:]
    for name in wanted:
        if not any(name in part for part in names):
            there = ", ".join(part.name for part in everything)
            sys.exit(f"error: {name!r} is in the name of no part; there are: {there}")
    return [
        part
        for part in everything
        if not wanted
        or any(
            part.name == name or (name not in names and name in part.name)
            for name in wanted
        )
    ]


def report(done, seconds):
    for part in done:
        if part.failed:
            part.show_failures()
    print(f"\n=== Together, in {seconds:.0f} s")
    width = max((len(part.name) for part in done), default=0)
    for part in done:
        mark = "FAILED" if part.failed else "ok" if part.command else "--"
        print(f"{mark:>6}  {part.name:<{width}}  {part.summary()}")
    total = tuple(map(sum, zip(*(part.counts for part in done)))) or (0, 0, 0)
    line = closing_line(total)
    os.makedirs(os.path.dirname(TOTAL_FILE), exist_ok=True)
    with open(TOTAL_FILE, "w", encoding="utf-8") as file:
        print(line, file=file)
    print(f"\n{line}", flush=True)
    return 1 if total[1] else 0
