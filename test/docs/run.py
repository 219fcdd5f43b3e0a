#!/usr/bin/env python3
"""Runs the code blocks of the README and the guides.

The first word after a block's backquotes is its language, the second what to do:

    erlang          in a node of its own with erlpy running (started first, unless the
                    block does that); a block that begins with -module is compiled, for
                    the blocks below it
    erlang needs-python-3.12    the same, with such a Python
    erlang terms    read as a file of terms
    python          in plain python3 beside the package erlang
    python A B      the same, when there are the modules A and B
    elixir          by elixir, when that is installed
    ... from FILE   lines of that file of the project, which has tests of its own
    ... parsed      not run, but read by its language: needs a project of its own
    ... first-hour  not run here: test/first_hour makes files of it, or types it
    text            for reading only
    sh no-run       not run: needs a machine of its own

A Python block whose first line is `# name.py` is that file: plain python3 imports it,
and later blocks of the same document find it, as the Erlang ones do through
python_path.  What is not run is named in the output, and counted apart.
"""

import importlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from command import Failure, output_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
#: Of Debian; another Python may borrow from them.
PACKAGES = "/usr/lib/python3/dist-packages"

FENCE = re.compile(r"^```(.*)$")
FILE_NAME = re.compile(r"^# ([a-z_]+\.py)$")
MODULE_NAME = re.compile(r"^-module\(([a-z_]+)\)\.$")


class Skip(Exception):
    """Why a block cannot run here."""


class Unrun(Exception):
    """Why a block is not meant to run anywhere."""


class Block:
    def __init__(self, document, line, info):
        self.name = f"{document}:{line}"
        self.words = info.split()
        self.lines = []

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)

    @property
    def first(self):
        return self.lines[0] if self.lines else ""


def blocks_of(path):
    document = path.relative_to(ROOT)
    block = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if block is None and fence:
            block = Block(document, number, fence[1])
        elif block is not None and line == "```":
            yield block
            block = None
        elif block is not None:
            block.lines.append(line)
    if block is not None:
        raise SystemExit(f"{block.name}: the block has no end")


def run(folder, *command):
    environment = dict(os.environ)
    path = [str(ROOT / "priv/python"), str(folder), PACKAGES]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    output_of(*command, cwd=folder, env=environment)


def run_erlang(block, folder, action):
    module = MODULE_NAME.match(block.first)
    source = folder / (module[1] + ".erl" if module else "block")
    source.write_text(block.text, encoding="utf-8")
    run(folder, "escript", str(HERE / "erlang.escript"), action, str(source), str(ROOT))


def run_python(block, folder, modules=()):
    for module in modules:
        if not is_module(module):
            raise Skip(f"{module} (not found)")
    named = FILE_NAME.match(block.first)
    source = folder / (named[1] if named else "block.py")
    source.write_text(block.text, encoding="utf-8")
    if named:
        run(folder, sys.executable, "-c", f"import {source.stem}")
    else:
        run(folder, sys.executable, source.name)


def is_module(name):
    sys.path.append(PACKAGES)
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    finally:
        sys.path.remove(PACKAGES)
    return True


def parse_elixir(block, folder):
    if shutil.which("elixir") is None:
        raise Skip("elixir (not found)")
    source = folder / "block.exs"
    source.write_text(block.text, encoding="utf-8")
    run(folder, "elixir", "-e", f'Code.string_to_quoted!(File.read!("{source.name}"))')


def find_in(block, file):
    if block.text not in (ROOT / file).read_text(encoding="utf-8"):
        raise Failure(f"{file} has no such lines")


def run_elixir(block, folder):
    if shutil.which("elixir") is None:
        raise Skip("elixir (not found)")
    source = folder / "block.exs"
    source.write_text(block.text, encoding="utf-8")
    ebin = ROOT / "_build/default/lib/erlpy/ebin"
    run(folder, "elixir", "-pa", str(ebin), "--erl", "-erlpy python_path [\".\"]",
        source.name)


def action_of(block):
    """What to run for the block."""
    match block.words:
        case ["text"]:
            raise Unrun("for reading")
        case ["sh", "no-run"]:
            raise Unrun("needs a machine of its own")
        case [_, "first-hour"]:
            raise Unrun("tried by make first-hour")
        case [_, "from", file]:
            return lambda folder: find_in(block, file)
        case ["erlang", "parsed"]:
            return lambda folder: run_erlang(block, folder, "parse")
        case ["elixir", "parsed"]:
            return lambda folder: parse_elixir(block, folder)
        case ["erlang"]:
            action = "compile" if block.first.startswith("-module") else "evaluate"
            return lambda folder: run_erlang(block, folder, action)
        case ["erlang", "needs-python-3.12"]:
            if sys.version_info < (3, 12):
                raise Skip("CPython 3.12 or later (this is an older one)")
            return lambda folder: run_erlang(block, folder, "evaluate")
        case ["erlang", "terms"]:
            return lambda folder: run_erlang(block, folder, "terms")
        case ["python", *modules]:
            return lambda folder: run_python(block, folder, modules)
        case ["elixir"]:
            return lambda folder: run_elixir(block, folder)
    raise Failure(f"what to do with ```{' '.join(block.words)}?")


def documents(wanted):
    if wanted:
        return [pathlib.Path(name).resolve() for name in wanted]
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def check(block, folder):
    """(passed, failed, skipped, not run) of one block, and says so."""
    started = time.monotonic()
    what = " ".join(block.words)
    try:
        action_of(block)(folder)
    except Skip as reason:
        print(f"skipped  {block.name}  {what}: {reason}", flush=True)
        return (0, 0, 1, 0)
    except Unrun as reason:
        print(f"not run  {block.name}  {what}: {reason}", flush=True)
        return (0, 0, 0, 1)
    except Failure as failure:
        print(f"FAILED   {block.name}  {what}\n{failure}", flush=True)
        return (0, 1, 0, 0)
    seconds = time.monotonic() - started
    print(f"ok       {block.name}  {what} ({seconds:.1f} s)", flush=True)
    return (1, 0, 0, 0)


def main():
    total = [0, 0, 0, 0]
    for path in documents(sys.argv[1:]):
        with tempfile.TemporaryDirectory(prefix="docs-") as folder:
            for block in blocks_of(path):
                counts = check(block, pathlib.Path(folder))
                total = [before + more for before, more in zip(total, counts)]
    print(f"{total[3]} blocks are not run")
    line = f"{total[0]} passed, {total[1]} failed"
    print(line + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
