"""Runs the tests of a class over buffers, and judges each against the table of what
cannot apply."""

import faulthandler
import importlib
import traceback
import unittest
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import NamedTuple
from unittest import mock

import limits
from feeds import Arrival, Feed
from rewrite import Guard, rewritten
from stand_ins import StandIns
from suites import BUFFERED, SUITES, Suite

#: A test that is not done by then ends the run, with the stacks of all threads.
DEADLINE_SECONDS = 60


def deadline():
    """From now on, for a test or for what a class sets up."""
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)


class Row(NamedTuple):
    """A class of tests, and how it reads."""

    module: str
    case: str
    through: str

    def __str__(self):
        return f"{self.module}.{self.case}"


class Outcome(NamedTuple):
    row: Row
    arrival: str
    test: str
    #: "passed", "failed", "skipped", or "excused" by the table
    verdict: str
    #: why it is excused, or which reasons excuse statements of it
    reasons: tuple[str, ...]
    text: str = ""


class Result(unittest.TestResult):
    """What became of each test; around each the stand-ins and the deadline."""

    def __init__(self, row, arrival, feed, patches, guard):
        super().__init__()
        self.row, self.arrival, self.feed = row, arrival, feed
        self.patches, self.guard = patches, guard
        self.outcomes = []
        self.errors_now = None

    def startTest(self, test):
        super().startTest(test)
        self.errors_now, self.skip_now = [], None
        self.guard.reasons = set()
        self.made_before = self.feed.made
        deadline()
        self.stack = ExitStack()
        for name, replaced in self.patches.modules.items():
            names = vars(importlib.import_module(name))
            here = {key: value for key, value in replaced.items() if key in names}
            if "open" in replaced:
                here["open"] = replaced["open"]
            self.stack.enter_context(mock.patch.dict(names, here))

    def stopTest(self, test):
        if self.errors_now is None:  # skipped and not started, as in Python 3.12.1
            return
        self.stack.close()
        deadline()
        self.outcomes.append(self.judged(test._testMethodName))
        self.errors_now = None
        super().stopTest(test)

    def judged(self, test):
        errors = [error for error, _ in self.errors_now]
        if not errors and self.skip_now is not None:
            return self.outcome(test, "skipped", (), self.skip_now)
        if not errors and self.feed.made == self.made_before:
            errors = [limits.NO_BUFFER]
        listed = limits.listed(self.row, self.arrival, test)
        if errors and (reason := limits.reason_of(listed, errors)):
            return self.outcome(test, "excused", (reason,))
        if errors:
            traces = [trace for _, trace in self.errors_now]
            return self.outcome(test, "failed", (), "\n".join(errors + traces))
        if listed:
            return self.outcome(test, "failed", (), "listed, and unexpectedly passes")
        return self.outcome(test, "passed", tuple(sorted(self.guard.reasons)))

    def outcome(self, test, verdict, reasons, text=""):
        return Outcome(self.row, self.arrival.name, test, verdict, reasons, text)

    def note(self, test, err):
        kind, error, trace = err
        line = f"{kind.__name__}: {error}".splitlines()[0]
        text = "".join(traceback.format_exception(kind, error, trace))
        if self.errors_now is None:  # of the class or the module
            self.outcomes.append(self.outcome(str(test), "failed", (), text))
        else:
            self.errors_now.append((line, text))

    addError = addFailure = note

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, err)

    def addSkip(self, test, reason):
        if self.errors_now is None:
            self.outcomes.append(self.outcome(str(test), "skipped", (), reason))
        self.skip_now = reason

    def addExpectedFailure(self, test, err):
        self.skip_now = "fails in CPython too"

    def addUnexpectedSuccess(self, test):
        self.errors_now.append(("succeeds, where CPython says it fails", ""))


def module_of(suite: Suite):
    """The module with the classes: some are a package of modules since 3.12."""
    module = importlib.import_module(suite.module)
    if suite.inside and hasattr(module, "__path__"):
        module = importlib.import_module(f"{suite.module}.{suite.inside}")
    return module


def prepared(module):
    """test_io gives its classes what they test when they are loaded."""
    if module.__name__ == "test.test_io":
        module.load_tests(unittest.TestLoader(), None, None)
    return module


def derived(case, name, patches, deviations, guard):
    """The class with the stand-ins, and with statements under the guard."""
    namespace = dict(patches.attributes)
    for key in dir(case):
        function = getattr(case, key)
        if deviations and hasattr(function, "__code__"):
            new = rewritten(function, deviations, guard)
            if new is not function:
                namespace[key] = new
    namespace["__module__"] = case.__module__
    return type(name, (case,), namespace)


def chosen_tests(suite, case, pattern):
    tests = unittest.TestLoader().loadTestsFromTestCase(case)
    return [
        test
        for test in tests
        if any(fnmatchcase(test._testMethodName, name) for name in suite.only.split())
        and fnmatchcase(test._testMethodName, pattern)
    ]


def makes_no_buffer(row, arrival, test):
    entries = limits.listed(row, arrival, test._testMethodName)
    return any(entry.reason == limits.NO_STREAM for entry in entries)


def run_row(suite, module, row: Row, arrival: Arrival, maker, pattern="*"):
    """The outcomes of the tests whose names match."""
    case = getattr(module, row.case)
    feed, guard = Feed(arrival, maker), Guard()
    patches = suite.patches(StandIns(feed, row.through == BUFFERED), case)
    deviations = limits.deviations(row, arrival)
    new = derived(case, row.case, patches, deviations, guard)
    result = Result(row, arrival, feed, patches, guard)
    tests = chosen_tests(suite, new, pattern)
    if arrival is not suite.arrivals[0]:
        # Without a buffer it makes no difference how its bytes arrive.
        for test in tests:
            if makes_no_buffer(row, arrival, test):
                name = test._testMethodName
                result.outcomes.append(
                    result.outcome(name, "excused", (limits.NO_STREAM,))
                )
        tests = [test for test in tests if not makes_no_buffer(row, arrival, test)]
    deadline()
    unittest.TestSuite(tests).run(result)
    faulthandler.cancel_dump_traceback_later()
    return result.outcomes


def rows():
    """(suite, module, row) of each class, and the classes that this Python lacks."""
    found, absent = [], []
    for suite in SUITES:
        module = prepared(module_of(suite))
        short = suite.module.removeprefix("test.")
        for name in suite.classes:
            if not hasattr(module, name):
                absent.append(f"{short}.{name}")
                continue
            for through in suite.through:
                found.append((suite, module, Row(short, name, through)))
    return found, absent
