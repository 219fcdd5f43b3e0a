#!/usr/bin/env python3
"""Checks that run nothing of ours: linters, types, and what keeps the rooms apart.

    test/static/run.py [--extension FOLDER] [NAME...]

FOLDER is where the module for plain Python is.  Each check is one line, and its output
is shown when it fails; one whose tool is not here is skipped, by name.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import rooms
import versions

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Debian has its linters for this one.
SYSTEM_PYTHON = "/usr/bin/python3"
DEADLINE_SECONDS = 600
SOURCES = ["bench", "docs", "examples", "python", "test", "tools"]
#: Annotated in full, beside the stubs and what check-docs looks at (examples).
TYPED = ["test/static"]
STUBS = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("python/erlang/*.pyi"))]


class Failure(Exception):
    """The text says what was found."""


class Missing(Exception):
    """The text names what is not here."""


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        raise Failure(f"{done.stdout}exit status {done.returncode}")


def need_program(name: str) -> None:
    if shutil.which(name) is None:
        raise Missing(name)


def python_with(module: str) -> str:
    """This interpreter if it has the module, else that of the system."""
    for python in sys.executable, SYSTEM_PYTHON:
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
        if found.returncode == 0:
            return python
    raise Missing(module)


def check_tidy(extension: pathlib.Path) -> None:
    need_program("clang-tidy")
    run("make", "--no-print-directory", "tidy")


def check_cppcheck(extension: pathlib.Path) -> None:
    need_program("cppcheck")
    run("make", "--no-print-directory", "cppcheck")


def check_flake8(extension: pathlib.Path) -> None:
    run(python_with("flake8"), "-m", "flake8", "--config", "test/static/flake8.ini", *SOURCES)


def check_mypy(extension: pathlib.Path) -> None:
    run(
        *(python_with("mypy"), "-m", "mypy", "--config-file", "test/static/mypy.ini"),
        *("--strict", *STUBS, *TYPED),
    )


def check_stubs(extension: pathlib.Path) -> None:
    """The stubs against the package as it is at run time."""
    python = python_with("mypy.stubtest")
    folder = str(extension.resolve())
    loads = subprocess.run(
        [python, "-c", "import erlang"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": folder},
    )
    if loads.returncode != 0:
        raise Missing(f"mypy for the Python of {extension}")
    run(
        *(python, "-m", "mypy.stubtest", "--mypy-config-file", "test/static/mypy.ini"),
        *("--allowlist", "test/static/stubtest.allow", "erlang"),
        PYTHONPATH=folder,
        MYPYPATH=folder,
    )


def found(faults: Iterator[str]) -> None:
    if lines := list(faults):
        raise Failure("\n".join(lines))


CHECKS: dict[str, Callable[[pathlib.Path], None]] = {
    "tidy": check_tidy,
    "cppcheck": check_cppcheck,
    "flake8": check_flake8,
    "mypy": check_mypy,
    "stubs": check_stubs,
    "rooms: headers": lambda _: found(rooms.wrong_headers()),
    "rooms: symbols": lambda _: found(rooms.wrong_symbols()),
    "rooms: state": lambda _: found(rooms.shared_state()),
    "rooms: files": lambda _: found(rooms.wrong_files()),
    "versions": lambda extension: found(versions.differences(extension)),
}


def passed(name: str, extension: pathlib.Path) -> bool | None:
    try:
        CHECKS[name](extension)
    except Missing as missing:
        print(f"skipped  {name}: {missing} (not found)", flush=True)
        return None
    except Failure as failure:
        print(f"FAILED   {name}\n{failure}", flush=True)
        return False
    print(f"ok       {name}", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--extension", type=pathlib.Path, default=ROOT / "priv/python")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.chdir(ROOT)
    chosen = [
        name
        for name in CHECKS
        if not options.names or name in options.names or name.split(":")[0] in options.names
    ]
    results = [passed(name, options.extension) for name in chosen]
    skipped = results.count(None)
    line = f"{results.count(True)} passed, {results.count(False)} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    return 0 if chosen and False not in results else 1


if __name__ == "__main__":
    sys.exit(main())
