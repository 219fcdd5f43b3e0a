"""Runs every test of the project, one part after the other, whatever fails.

`python tools/test.py NAME...` runs the parts of these names, or with these in theirs.  Exits
with 1 when one failed.
"""
import os
import shutil
import sys

from parts import Part, Sanitised, Skipped, make, output_of, run
from pythons import (
    SYSTEM_PYTHON,
    out_of,
    python_parts,
    sanitised_interpreters,
    system_examples,
)

WEB_PACKAGES = "django, flask, gunicorn, multipart, starlette, uvicorn"
REACTOR_CLIENTS = ["curl", "wrk", "redis-cli", "redis-benchmark", "redis-check-rdb"]


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
    yield from sanitised_interpreters(main)
    yield Part("dialyzer", make("dialyzer"))
    yield Part("xref", make("xref"))
    yield browser_part()
    yield Part("docs", make("check-docs"))
    yield site_part()
    yield from system_examples(main)
    yield Part("install", make("check-install"))
    yield Part("first hour", make("first-hour"))


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    everything = list(parts(os.environ.get("PYTHON") or sys.executable))
    return run(everything, together=["sanitize address", "sanitize thread"])


if __name__ == "__main__":
    sys.exit(main())
