"""Runs the suites on every version of CPython and of Erlang/OTP that is to be had here.

On this machine's OTP: each CPython of `pythons.VERSIONS` and each free-threaded build that
is found, and the system's own.  Then in a Debian of each of DEBIANS, which brings another
OTP and another Python.  `python tools/matrix.py NAME...` runs the parts of these names, or
with these in theirs.  What is missing is named.  Exits with 1 when a part failed.
"""
import os
import shutil
import sys

import pythons
from parts import CommonTest, Part, Skipped, make, output_of, run
from pythons import SYSTEM_PYTHON, all_parts_on, usable, version_of

# The release after Debian 12.  DEBIANS="trixie forky" adds what will be the next one.
DEBIANS = os.environ.get("DEBIANS", "trixie").split()
# Without a GIL: built from the sources of these.
FREE_THREADED_IN = {"trixie": "3.13", "forky": "3.14"}

SHORTER = [f"{name}={value}" for name, value in pythons.SHORTER.items()]

BUILD = """
make
printf 'This is OTP '
erl -noshell -eval 'io:put_chars(erlang:system_info(otp_release)), halt().'
printf ', '
python3 --version
"""

ANALYSES = {
    "warnings": make("warnings"),
    "stream": make("-k", "-C", "test/stream", "check"),
    "dialyzer": make("dialyzer"),
    "xref": make("xref"),
}


def pythons_here():
    for version in [*pythons.VERSIONS, *pythons.FREE_THREADED]:
        python, reason = usable(version)
        if python is None:
            yield Skipped(version, reason)
        else:
            yield from all_parts_on(version, python)
    version = version_of(SYSTEM_PYTHON)
    python = version and usable(version)[0]
    if version and not (python and os.path.samefile(python, SYSTEM_PYTHON)):
        yield from all_parts_on(SYSTEM_PYTHON, SYSTEM_PYTHON)


def debian(release):
    if reason := no_debian():
        return [Skipped(release, reason)]
    return [
        Part(f"build on {release}", inside(release, ["sh", "-ec", BUILD])),
        *(
            Part(f"{name} on {release}", inside(release, command))
            for name, command in ANALYSES.items()
        ),
        *suites_in(release, release, [], "python3"),
        common_test(release),
        *free_threaded(release),
    ]


def no_debian():
    if os.getuid() != 0:
        return "only root can enter another Debian"
    if not shutil.which("debootstrap"):
        return "debootstrap (not found)"
    if output_of("unshare", "--mount", "--pid", "--fork", "true") is None:
        return "root may not make namespaces here"
    return None


def free_threaded(release):
    version = FREE_THREADED_IN.get(release)
    if version is None:
        return []
    label = f"{release}, {version}t"
    built = ["tools/free-threaded", version]
    return [
        *suites_in(release, label, built, f"python{version}t"),
        Skipped(f"Common Test on {label}", pythons.NO_CANCELS),
    ]


def common_test(release):
    goals = make("ct", "PYTHON=python3", *SHORTER)
    return CommonTest(f"Common Test on {release}", inside(release, goals))


def suites_in(release, label, built, python):
    plain = [f"PYTHON={python}", f"OUT=_build/{python}"]
    for name, command in [
        ("pytest", make("pytest", *plain)),
        ("io stack", make("io-stack", *plain)),
        ("io stack in a node", make("io-stack-node", f"PYTHON={python}")),
    ]:
        yield Part(f"{name} on {label}", inside(release, [*built, *command]))


def inside(release, command):
    return ["tools/in-debian", release, *command]


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    everything = [*pythons_here()]
    for release in DEBIANS:
        everything += debian(release)
    return run(everything)


if __name__ == "__main__":
    sys.exit(main())
