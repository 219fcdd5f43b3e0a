"""Runs every test of the project, one part after the other, whatever fails.

Each part is a command whose output is shown as it comes and whose own closing line
is counted; a part without one (a compiler, dialyzer) counts as one test.  The last
line is the total, which is also left in _build/test/total for .ci/run.  Exits with 1
when a part failed.
"""
import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

VERSIONS = ["3.11", "3.12", "3.13"]
# Where the Python of the system is, which may have a NumPy that others lack.
SYSTEM_PYTHON = "/usr/bin/python3"
WEB_PACKAGES = "django, flask, gunicorn, multipart, starlette, uvicorn"
REACTOR_CLIENTS = ["curl", "wrk", "redis-cli", "redis-benchmark", "redis-check-rdb"]
PART_SECONDS = 1500
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
        self.last_lines = collections.deque(maxlen=SHOWN_LAST_LINES)

    def run(self):
        print(f"\n=== {self.name}: {' '.join(self.command)}", flush=True)
        started = time.monotonic()
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        timer = threading.Timer(PART_SECONDS, self.overdue, [process])
        timer.start()
        try:
            counts = self.follow(process.stdout)
            status = process.wait()
        except BaseException:
            kill_group(process)
            raise
        finally:
            timer.cancel()
        self.seconds = time.monotonic() - started
        self.judge(counts, status)

    def overdue(self, process):
        self.note = f"killed after {PART_SECONDS} s"
        kill_group(process)

    def follow(self, output):
        """Shows the output, sums its closing lines, and keeps what tells of failures."""
        total = None
        for raw in output:
            sys.stdout.buffer.write(raw)
            sys.stdout.flush()
            line = COLOUR.sub("", raw.decode(errors="replace")).strip()
            self.notice(line)
            if found := count_line(line):
                total = tuple(map(sum, zip(total or (0, 0, 0), found)))
        return total

    def notice(self, line):
        self.last_lines.append(line[:SHOWN_WIDTH])
        if FAILURE.search(line) and len(self.failures) < SHOWN_FAILURES:
            self.failures.append(line[:SHOWN_WIDTH])

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
        print(f"--- {self.name}: {self.summary()}", flush=True)

    def summary(self):
        text = closing_line(self.counts) + f" ({self.seconds:.0f} s)"
        return text + (f", {self.note}" if self.note else "")

    def show_failures(self):
        print(f"\n=== {self.name}: what failed, and how it ended")
        for line in [*self.failures, "...", *self.last_lines]:
            print("    " + line)


class CommonTest(Part):
    """Runs a few cases that failed once more, each suite in a new node: what passes then
    is counted and named as such.  The machines are shared; a case may have been late."""

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

    def retry(self):
        names = []
        for suite, cases in self.failed_cases.items():
            again = Part(
                f"{self.name}, again: {suite}",
                self.command + self.goals_again(suite, cases),
                self.environment,
            )
            again.run()
            if again.failed or again.counts[0] < len(cases):
                return
            names += [f"{suite}:{case}" for case in cases]
        passed, failed, skipped = self.counts
        self.counts = (passed + failed, 0, skipped)
        self.failed = False
        self.note = "PASSED ONLY WHEN RUN AGAIN: " + " ".join(names)

    def goals_again(self, suite, cases):
        return [f"SUITE=test/ct/{suite}", f"CASE={','.join(cases)}"]


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
        print(f"\n=== {self.name}: {self.note}", flush=True)

    def summary(self):
        return self.note


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


def other_pythons(main):
    """(label, interpreter or None, why not) of each Python that is not `main`."""
    own = output_of(main, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    for version in VERSIONS:
        if version != own:
            yield (version, *usable(f"Python {version}", "python" + version))
    prefix = output_of(main, "-c", "import sys; print(sys.base_prefix)")
    if prefix != "/usr" and output_of(SYSTEM_PYTHON, "-c", "import numpy") is not None:
        yield (SYSTEM_PYTHON, *usable(SYSTEM_PYTHON, SYSTEM_PYTHON))


def usable(label, name):
    python = output_of("tools/find-python", name)
    if python is None:
        return None, f"{label} (not found)"
    if output_of("tools/configure", python) is None:
        return None, f"{label} (no headers or no shared library)"
    return python, None


def python_parts(main):
    yield Part("pytest", make("pytest"))
    yield from common_test("Common Test", main, None)
    yield from io_stack("io stack", main, make("io-stack"))
    yield from io_stack("io stack in a node", main, make("io-stack-node"))
    for label, python, reason in other_pythons(main):
        if python is None:
            yield Skipped(f"Python {label}", reason)
            continue
        out = out_of(label)
        yield Part(
            f"pytest on {label}", make("pytest", f"PYTHON={python}", f"OUT={out}")
        )
        yield from common_test(f"Common Test on {label}", python, out + "/tree")
        command = make("io-stack", f"PYTHON={python}", f"OUT={out}")
        yield from io_stack(f"io stack on {label}", python, command)


def io_stack(name, python, command):
    if output_of(python, "-c", "import test.test_io") is None:
        yield Skipped(name, f"the tests of CPython for {python} (not found)")
    else:
        yield Part(name, command)


def out_of(label):
    return "_build/python-" + label.strip("/").replace("/", "-")


def system_examples(main):
    """Again on the Python of the system: some need packages that others lack."""
    for label, python, _ in other_pythons(main):
        if label == SYSTEM_PYTHON and python is not None:
            goals = make("check-examples", f"PYTHON={python}")
            copy = out_of(label) + "/tree"
            yield Part(f"examples on {label}", ["tools/in-copy", copy, *goals])


def common_test(name, python, tree):
    if not os.path.isdir("test/ct"):
        return
    if tree is None:
        yield CommonTest(name, make("ct"))
    else:
        goals = make("ct", f"PYTHON={python}")
        if python == SYSTEM_PYTHON:
            # It is there for its packages; its version has been tested in full.
            goals.append("SUITE=" + ",".join(suites_with_packages()))
        # The full run of the stress suite is that of the main Python.
        yield CommonTest(
            name, ["tools/in-copy", tree, *goals], {"STRESS_OPERATIONS": "30000"}
        )


def suites_with_packages():
    return [
        str(suite)
        for suite in sorted(pathlib.Path("test/ct").glob("*_SUITE.erl"))
        if "skip_without" in suite.read_text(encoding="utf-8")
    ]


def in_python_with(modules, main, goal):
    """(interpreter, command): `main` when it has the modules, else that of the system, for
    which the tree is built once more."""
    if output_of(main, "-c", f"import {modules}") is not None:
        return main, make(goal)
    tree = out_of(SYSTEM_PYTHON) + "/tree"
    command = ["tools/in-copy", tree, *make(goal, f"PYTHON={SYSTEM_PYTHON}")]
    return SYSTEM_PYTHON, command


def web_part(main):
    python, command = in_python_with(WEB_PACKAGES, main, "web")
    if output_of(python, "-c", f"import pytest, {WEB_PACKAGES}") is None:
        return Skipped("web", f"{python} lacks one of {WEB_PACKAGES}")
    if output_of(*"curl --version".split()) is None:
        return Skipped("web", "curl (not found)")
    return Part("web", command)


def reactor_part(main):
    python, command = in_python_with("h11", main, "reactor")
    missing = [name for name in REACTOR_CLIENTS if not shutil.which(name)]
    if output_of(python, "-c", "import pytest, h11") is None:
        missing.append(f"pytest and h11 of {python}")
    if missing:
        return Skipped("reactor", f"{', '.join(missing)} (not found)")
    return Part("reactor", command)


def browser_part():
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if output_of(SYSTEM_PYTHON, "-c", "import pytest, selenium") is None:
        missing.append(f"pytest and Selenium of {SYSTEM_PYTHON}")
    if missing:
        return Skipped("browser", f"{', '.join(missing)} (not found)")
    return Part("browser", make("browser"))


def site_part():
    packages = "sphinx, myst_parser, furo"
    if output_of(SYSTEM_PYTHON, "-c", f"import {packages}") is None:
        return Skipped("docs site", f"{SYSTEM_PYTHON} lacks one of {packages}")
    return Part("docs site", make("docs"))


def parts(main):
    yield Part("warnings", make("warnings"))
    if output_of("clang-format", "--version"):
        yield Part("format", make("format"))
    else:
        yield Skipped("format", "clang-format (not found)")
    yield Part("static", make("static"))
    yield Part("stream", make("-k", "-C", "test/stream", "check"))
    yield Part("fuzz", make("-k", "-j2", "fuzz"))
    yield from python_parts(main)
    yield web_part(main)
    yield reactor_part(main)
    yield Sanitised("sanitize address", make("sanitize-address"))
    yield Sanitised("sanitize thread", make("sanitize-thread"))
    yield Part("dialyzer", make("dialyzer"))
    yield Part("xref", make("xref"))
    yield browser_part()
    yield Part("docs", make("check-docs"))
    yield site_part()
    yield from system_examples(main)
    yield Part("install", make("check-install"))
    yield Part("first hour", make("first-hour"))


def chosen(everything):
    """Those of these names; a name that is no part's stands for all that begin with it."""
    names = {part.name for part in everything}
    return [
        part
        for part in everything
        if not sys.argv[1:]
        or any(
            part.name == name or (name not in names and part.name.startswith(name))
            for name in sys.argv[1:]
        )
    ]


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = []
    started = time.monotonic()
    for part in chosen(list(parts(os.environ.get("PYTHON") or sys.executable))):
        part.run()
        done.append(part)
    return report(done, time.monotonic() - started)


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


if __name__ == "__main__":
    sys.exit(main())
