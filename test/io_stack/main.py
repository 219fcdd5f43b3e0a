#!/usr/bin/env python3
"""Runs the tests of CPython's input and output over buffers.

    main.py [--write-docs] [--verbose] [--tests NAME] [CLASS ...]

CLASS is a part of "module.class" (default: all), NAME a test, with wildcards.  A full run
compares its counts with the table of docs/io-stack.md when that is of the same version of
Python; with --write-docs it writes them there instead.
"""

import argparse
import contextlib
import importlib.util
import os
import platform
import sys
from collections import Counter
from tempfile import TemporaryDirectory

from feeds import node_buffer, plain_buffer


def arguments(words):
    parser = argparse.ArgumentParser(description="CPython's tests over buffers")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="tracebacks")
    parser.add_argument("--tests", metavar="NAME", default="*")
    parser.add_argument("classes", metavar="CLASS", nargs="*")
    return parser.parse_args(words)


def run(words, maker) -> int:
    """The exit status: 0 when every test passed or is listed."""
    chosen = arguments(words)
    # With NumPy some tests do more: the counts shall not depend on it.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    # CPython's tests write files in the folder in which they were imported.
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        outcomes, absent = run_all(chosen, maker)
    failed = report(outcomes)
    for name in absent:
        print(f"not in this Python: {name}")
    if not chosen.classes and chosen.tests == "*" and maker is plain_buffer:
        failed += documented(outcomes, chosen.write_docs)
    counts = Counter(outcome.verdict for outcome in outcomes)
    skipped = counts["skipped"]
    print(
        f"{counts['passed']} passed, {failed} failed"
        + (f", {skipped} skipped" if skipped else ""),
        flush=True,
    )
    return 1 if failed else 0


def run_all(chosen, maker):
    import judge

    outcomes = []
    rows, absent = judge.rows()
    for suite, module, row in rows:
        if chosen.classes and not any(part in str(row) for part in chosen.classes):
            continue
        for arrival in suite.arrivals:
            if maker is node_buffer and not arrival.live:
                continue  # that is for a writer beside the reader
            new = judge.run_row(suite, module, row, arrival, maker, chosen.tests)
            counts = Counter(outcome.verdict for outcome in new)
            print(
                f"{row}, {row.through}, {arrival.text}: {counts['passed']} pass, "
                f"{counts['excused']} do not apply, {counts['skipped']} skipped, "
                f"{counts['failed']} fail"
            )
            show([o for o in new if o.verdict == "failed"], chosen.verbose)
            outcomes += new
    return outcomes, absent


def show(failed, verbose):
    for outcome in failed:
        text = outcome.text if verbose else outcome.text.split("\n")[0]
        print(f"FAILED {outcome.row}.{outcome.test}: {text}")
    sys.stdout.flush()


def report(outcomes) -> int:
    for reason, count in sorted(
        Counter(o.text for o in outcomes if o.verdict == "skipped").items()
    ):
        print(f"skipped by CPython, {count} times: {reason}")
    excused = sum(outcome.verdict == "excused" for outcome in outcomes)
    print(f"{excused} runs of tests do not apply, each listed with its reason")
    return sum(outcome.verdict == "failed" for outcome in outcomes)


def documented(outcomes, write) -> int:
    """1 when the table in the docs is not that of these outcomes."""
    import table

    if write:
        table.write(outcomes)
    elif table.version() != platform.python_version():
        print(f"not compared: docs/io-stack.md is of Python {table.version()}")
    elif wrong := table.differences(outcomes):
        print("FAILED docs/io-stack.md differs (--write-docs writes it):")
        print("\n".join(wrong))
        return 1
    return 0


def run_in_node(words) -> int:
    """For py:call in a node, which has registered io_stack_buffer."""
    return run(words, node_buffer)


if __name__ == "__main__":
    if importlib.util.find_spec("test.test_io") is None:
        sys.exit("error: this Python has no tests (in Debian: libpython3-testsuite)")
    status = run(sys.argv[1:], plain_buffer)
    # Writers of streams that nobody reads to the end may still wait.
    os._exit(status)
