#!/usr/bin/env python3
"""Looks for every test that the pages on reliability and security name, in the last column
of their tables.

`a_SUITE:case` is a case of Common Test, and so are the names after it until the next
suite; `test_a.py` a file of pytest; `unit_*` and `stress_*` are tests of the stream;
`web_glue:name` is a request of examples/web_glue, and `docs/a.md` a page whose examples are
run.  A star stands for anything.
"""

import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["docs/reliability.md", "docs/security.md"]
COMMAND = re.compile(r"make (\w+)$")
CASE = re.compile(r"^([a-z]\w*)\(", re.MULTILINE)
REQUEST = re.compile(r'^ +\[?\{"(\w+)", fun', re.MULTILINE)
STREAM_TEST = re.compile(r"^TEST\((\w+), (\w+)\)", re.MULTILINE)


def cases_of(suite):
    path = ROOT / "test/ct" / (suite + ".erl")
    return set(CASE.findall(path.read_text(encoding="utf-8"))) if path.exists() else set()


def requests():
    path = ROOT / "examples/web_glue/check_glue.erl"
    return set(REQUEST.findall(path.read_text(encoding="utf-8")))


def stream_tests():
    text = (ROOT / "test/stream/list.h").read_text(encoding="utf-8")
    return {f"{group}_{name}" for group, name in STREAM_TEST.findall(text)} | {"oom"}


def is_goal(name):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.search(rf"^(?:[\w-]+ )*{name}(?: [\w-]+)*:", text, re.MULTILINE) is not None


def is_there(name, suite):
    if name.endswith(".md"):
        return (ROOT / name).exists()
    if name.endswith(".py"):
        return any((ROOT / "test" / room / name).exists() for room in ("python", "web"))
    if suite == "web_glue":
        return name in requests()
    if name.endswith("_SUITE"):
        return bool(cases_of(name))
    if command := COMMAND.match(name):
        return is_goal(command[1])
    if fnmatch.filter(stream_tests(), name):
        return True
    return suite is not None and bool(fnmatch.filter(cases_of(suite), name))


def missing():
    """(names that were looked for, those that are not there)."""
    parts = [missing_in(page) for page in PAGES]
    return sum(count for count, _ in parts), [line for _, lines in parts for line in lines]


def missing_in(page):
    count, unknown, shown = 0, [], None
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("| "):
            shown = None
            continue
        if shown is None:
            shown = line.endswith("| shown by |")
            continue
        suite = None
        for name in re.findall(r"`([^`]+)`", line.split(" | ")[-1]) if shown else ():
            if ":" in name:
                suite, name = name.split(":")
            count += 1
            if not is_there(name, suite):
                unknown.append(f"{page}:{number}: no test {name}")
    return count, unknown


def main():
    count, unknown = missing()
    print("\n".join(unknown + [f"{count - len(unknown)} passed, {len(unknown)} failed"]))
    return 1 if unknown or not count else 0


if __name__ == "__main__":
    sys.exit(main())
