"""The Pythons of this machine, and the parts that run on each of them."""
import os
import pathlib

from parts import CommonTest, Part, Sanitised, Skipped, make, output_of

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
# What cannot have interpreters with a GIL of their own, or is not there.
WITHOUT_OWN_GIL = ["3.11", None]
# Builds without a GIL, tested by tools/matrix.py alone.
FREE_THREADED = ["3.13t", "3.14t"]
NO_CANCELS = "without a GIL a cancel may come within an import and leave its lock held"
# Where the Python of the system is, which may have a NumPy that others lack.
SYSTEM_PYTHON = "/usr/bin/python3"

# What depends on the version of CPython; the others see the stream, the channels and the
# VM through the same few functions.
INTERPRETER_SUITES = """
    aio async async_cancel async_fault call callback cancel convert fork interrupt io owngil
    owngil_end reactor_asyncio reload runtime timeout web
""".split()

# The full run of what goes on at random is that of the main Python.
SHORTER = {"STRESS_OPERATIONS": "30000", "PROPERTY_TESTS": "100"}

WHAT_IT_IS = """
import sys
print("%d.%d%s" % (*sys.version_info[:2], "t" if "t" in sys.abiflags else ""))
"""


def version_of(python):
    """`3.13`, or `3.13t` of a free-threaded build."""
    return output_of(python, "-c", WHAT_IT_IS)


def usable(version):
    """(interpreter, None) of a version like `3.13t`, or (None, why not)."""
    name = f"Python {version}"
    python = output_of("tools/find-python", "python" + version)
    if python is None or version_of(python) != version:
        return None, f"{name} (not found)"
    if output_of("tools/configure", python) is None:
        return None, f"{name} (no headers or no shared library)"
    return python, None


def has_packages(main):
    """Is the system's Python another one than `main`, and has it packages of its own?"""
    prefix = output_of(main, "-c", "import sys; print(sys.base_prefix)")
    return (
        prefix != "/usr"
        and output_of(SYSTEM_PYTHON, "-c", "import numpy") is not None
        and output_of("tools/configure", SYSTEM_PYTHON) is not None
    )


def main_parts(main):
    """Everything, on the Python that was asked for."""
    yield Part("pytest", make("pytest"))
    yield from common_test("Common Test", make("ct"))
    yield from io_stack("io stack", main, make("io-stack"))
    yield from io_stack("io stack in a node", main, make("io-stack-node"))


def others_than(main):
    """({version: (interpreter, why not)}, the newest version that is there)."""
    others = [version for version in VERSIONS if version != version_of(main)]
    found = {version: usable(version) for version in others}
    there = [version for version in others if found[version][0]]
    return found, max(there, key=VERSIONS.index, default=None)


def python_parts(main):
    yield from main_parts(main)
    found, newest = others_than(main)
    for version, (python, reason) in found.items():
        if python is None:
            yield Skipped(f"Python {version}", reason)
        else:
            suites = None if version == newest else INTERPRETER_SUITES
            yield pytest_on(version, python)
            yield from common_test_on(version, python, suites)
            if version == newest:
                yield guide_on(version, python)
    if has_packages(main):
        # Its version has been tested; these ask for its packages.
        yield from common_test_on(SYSTEM_PYTHON, SYSTEM_PYTHON, suites_with_packages())


def all_parts_on(label, python):
    """Everything, on one that is built for in a tree of its own."""
    yield pytest_on(label, python)
    if label in FREE_THREADED:
        yield Skipped(f"Common Test on {label}", NO_CANCELS)
    else:
        yield from common_test_on(label, python, None)
    options = options_of(label, python)
    yield from io_stack(f"io stack on {label}", python, make("io-stack", *options))
    in_node = in_tree(label, make("io-stack-node", f"PYTHON={python}"))
    yield from io_stack(f"io stack in a node on {label}", python, in_node)


def options_of(label, python):
    return [f"PYTHON={python}", f"OUT={out_of(label)}"]


def out_of(label):
    return "_build/python-" + label.strip("/").replace("/", "-")


def in_tree(label, command):
    return ["tools/in-copy", out_of(label) + "/tree", *command]


def pytest_on(label, python):
    return Part(f"pytest on {label}", make("pytest", *options_of(label, python)))


def guide_on(label, python):
    """That of which older ones can run nothing; in a tree that Common Test has built."""
    command = [python, "test/docs/run.py", "docs/interpreters.md"]
    return Part(f"interpreters guide on {label}", in_tree(label, command))


def common_test_on(label, python, suites):
    """Of these suites, or of all."""
    goals = make("ct", f"PYTHON={python}")
    if suites is not None:
        goals.append("SUITE=" + ",".join(f"test/ct/{suite}_SUITE" for suite in suites))
    yield from common_test(f"Common Test on {label}", in_tree(label, goals), SHORTER)


def common_test(name, command, environment=None):
    if os.path.isdir("test/ct"):
        yield CommonTest(name, command, environment)


def io_stack(name, python, command):
    if output_of(python, "-c", "import test.test_io") is None:
        yield Skipped(name, f"the tests of CPython for {python} (not found)")
    else:
        yield Part(name, command)


def suites_with_packages():
    return [
        suite.name.removesuffix("_SUITE.erl")
        for suite in sorted(pathlib.Path("test/ct").glob("*_SUITE.erl"))
        if "skip_without" in suite.read_text(encoding="utf-8")
    ]


def sanitised_interpreters(main):
    """Those with a GIL of their own, where the main Python has none."""
    found, newest = others_than(main)
    if newest in WITHOUT_OWN_GIL or version_of(main) not in WITHOUT_OWN_GIL:
        return
    suites = "SUITE=owngil_SUITE,owngil_end_SUITE"
    goals = make("sanitize", f"PYTHON={found[newest][0]}", suites)
    yield Sanitised(f"sanitize on {newest}", in_tree(newest, goals))


def system_examples(main):
    """Again on the Python of the system: some need packages that others lack."""
    if has_packages(main):
        goals = make("check-examples", f"PYTHON={SYSTEM_PYTHON}")
        yield Part(f"examples on {SYSTEM_PYTHON}", in_tree(SYSTEM_PYTHON, goals))
