#!/usr/bin/env python3
"""Runs the examples, looks at what they print, and checks types against our stubs: those
of the examples and of typed.py.  This is to be run by the Python that the node has.

`make demo` is an example too, with tests of its own in test/install.
"""

import importlib
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

from command import Failure, output_of, passed

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: The interpreter of the system, for which Debian has mypy.
SYSTEM_PYTHON = "/usr/bin/python3"
#: Where Debian has it.
YAWS = pathlib.Path("/usr/lib/yaws")


def of_parser(name):
    yield rf"parser +{name}( [\d.]+)?"
    for form, parts in ("in pieces", "5"), ("by bytes", "2"), ("waiting", "5"):
        yield rf"{form} +{name}: {parts} parts, \d+ bytes, as they were sent"
    for form, answer in ("cut off", "refused"), ("no form", "refused"), ("gone", "aborted"):
        yield rf"{form} +{name}: {answer}"


#: What must be in the output, as regular expressions for whole lines, in any order.
EXPECTED = {
    "arrays": [],
    "async_body": [
        r"uploads +5, read by 5 tasks on one event loop",
        r"fast +201, 20000 rows, sha-256 [0-9a-f]+\.\.\.; .+ written",
        r"slow +201, 20 rows, sha-256 [0-9a-f]+\.\.\.; .+ written",
        r"gone +400, the stream was aborted: client_gone; .+ written",
        r"stalled +408, not there after 0\.5 s; .+ written",
        r"garbage +422, Expecting value: .+; .+ written",
    ],
    "multipart": [*of_parser("by hand"), r"forms +6, each parsed by [123] parsers"],
    "reactor_echo": [
        r"echo +-> hello, 1",
        r"echo +<- hello, 1",
        r"echo +<- hello, 4",
        r"echo +reactor_echo_1: 2 of 4 connections",
        r"echo +reactor_echo_2: 2 of 4 connections",
    ],
    "reactor_redis": [
        r"redis +<- \+OK",
        r"redis +<- hello, world",
        r"redis +<- :42",
        r"redis +<- -WRONGTYPE .+",
        r"redis +ok 1 connection, 8 commands",
    ],
    "web_glue": [r"cowboy +compiled"],
    "worker_pool": [
        r"jobs +40, for 3 workers",
        r"worker +\w+ has crashed, and is replaced: BadGzipFile: .+",
        r"job +7 goes back to the workers",
        r"job +7 is given up: 2 workers have crashed with it",
        r"worker +one has done \d+ jobs",
        r"worker +two has done \d+ jobs",
        r"worker +three has done \d+ jobs",
        r"results +39 of 40 jobs are done, .+",
    ],
}


def of_server(app):
    yield from (rf"{size} +{app}: 1048576 bytes" for size in ("length", "chunked"))
    yield rf"small +{app}: 5 bytes"
    yield rf"large +{app}: 413"
    yield rf"lines +{app}: 1000 lines"
    yield rf"error +{app}: 500"
    yield rf"half +{app}: cut off"
    yield rf"keep +{app}: a second request"
    yield rf"gone +{app}: (the stream was aborted|http\.disconnect)"


#: More lines, of what may be lacking: see is_here().
OPTIONAL = {
    "arrays": {
        "numpy": [
            r"numpy +8388608 numbers of 64 MiB, at the address of the binary",
            r"memory +under 4 MiB more than before",
            r"means +\[500\.5,1500\.5,2250\.5\], of 1000 numbers each, .+",
        ],
        "pandas": [
            r"pandas +200001 rows; the first 1000 were summed up before the last .+",
        ],
    },
    "multipart": {
        "werkzeug": [*of_parser("Werkzeug")],
        "python-multipart": [*of_parser("python-multipart")],
    },
    "reactor_echo": {
        "h11": [
            r"http +<- HTTP/1\.1 200 OK",
            r"http +<- GET /here HTTP/1\.1",
            r"http +<- in pieces back",
            r"http +reactor_echo_1: 1 of 2 connections",
            r"http +reactor_echo_2: 1 of 2 connections",
        ],
    },
    "web_glue": {
        "elixir": [r"Plug +compiled"],
        "yaws": [r"yaws +[\d.]+", *of_server("apps:wsgi"), *of_server("apps:asgi")],
    },
}


def expected_of(name):
    """(the lines of an example, what is not here)."""
    lines, missing = [*EXPECTED[name]], []
    for what, more in OPTIONAL.get(name, {}).items():
        if is_here(what):
            lines += more
        else:
            missing.append(what)
    return lines, missing


def is_here(what):
    match what:
        case "elixir":
            return shutil.which("elixirc") is not None
        case "yaws":
            return YAWS.exists()
        case "python-multipart":
            return is_module("python_multipart") or is_module("multipart.multipart")
    return is_module(what)


def is_module(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def check_output(name, expected):
    output = output_of(str(ROOT / "examples" / name / "run"))
    lines = [line.strip() for line in output.splitlines()]
    for pattern in expected:
        if not any(re.fullmatch(pattern, line) for line in lines):
            raise Failure(f"{output}no line like: {pattern}")


def mypy_python():
    if importlib.util.find_spec("mypy"):
        return sys.executable
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import mypy"], capture_output=True)
    return SYSTEM_PYTHON if found.returncode == 0 else None


def check_types(*sources):
    output_of(
        *(mypy_python(), "-m", "mypy", "--strict", "--python-version", "3.11"),
        # Those of a package that is not here, or has no types.
        "--ignore-missing-imports",
        *("--cache-dir", str(ROOT / "_build/mypy"), *map(str, sources)),
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
    )


def main():
    results = []
    skipped = 0
    for name in EXPECTED:
        expected, missing = expected_of(name)
        results.append(passed(f"examples/{name}/run", check_output, name, expected))
        for what in missing:
            print(f"skipped  examples/{name}/run: {what} (not found)", flush=True)
            skipped += 1
    typed = [path for name in EXPECTED for path in (ROOT / "examples" / name).glob("*.py")]
    typed += (ROOT / "examples/reactor_echo/app").glob("*.py")
    typed.append(ROOT / "examples/upload_server/app/upload_app.py")
    for source in [*typed, ROOT / "test/docs/typed.py"]:
        what = f"{source.relative_to(ROOT)}: mypy --strict"
        if mypy_python():
            results.append(passed(what, check_types, source))
        else:
            print(f"skipped  {what} (mypy not found)", flush=True)
            skipped += 1
    line = f"{results.count(True)} passed, {results.count(False)} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
