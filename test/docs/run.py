#!/usr/bin/env python3
"""Runs the code blocks of the README and the guides.

The first word after a block's backquotes is its language, the second what to do:

    erlang          in a node of its own with erlpy running (started first, unless the
                    block does that); a block that begins with -module is compiled, for
                    the blocks below it
    erlang terms    read as a file of terms
    python          in plain python3 beside the package erlang
    elixir          by elixir, when that is installed
    text            for reading only
    ... no-run      not run: needs a machine or a project of its own

A Python block whose first line is `# name.py` is that file: plain python3 imports it,
and later blocks of the same document find it, as the Erlang ones do through
python_path.  Blocks marked no-run are named in the output and not counted.
"""

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

FENCE = re.compile(r"^```(.*)$")
FILE_NAME = re.compile(r"^# ([a-z_]+\.py)$")
MODULE_NAME = re.compile(r"^-module\(([a-z_]+)\)\.$")


class Skip(Exception):
    """Why a block cannot run here."""


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
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "priv/python"), str(folder)])
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    output_of(*command, cwd=folder, env=environment)


def run_erlang(block, folder, action):
    module = MODULE_NAME.match(block.first)
    source = folder / (module[1] + ".erl" if module else "block")
    source.write_text(block.text, encoding="utf-8")
    run(folder, "escript", str(HERE / "erlang.escript"), action, str(source), str(ROOT))


def run_python(block, folder):
    named = FILE_NAME.match(block.first)
    source = folder / (named[1] if named else "block.py")
    source.write_text(block.text, encoding="utf-8")
    if named:
        run(folder, sys.executable, "-c", f"import {source.stem}")
    else:
        run(folder, sys.executable, source.name)


def run_elixir(block, folder):
    if shutil.which("elixir") is None:
        raise Skip("elixir (not found)")
    source = folder / "block.exs"
    source.write_text(block.text, encoding="utf-8")
    ebin = ROOT / "_build/default/lib/erlpy/ebin"
    run(folder, "elixir", "-pa", str(ebin), "--erl", "-erlpy python_path [\".\"]",
        source.name)


def action_of(block):
    """What to run for the block, or None when there is nothing to run."""
    match block.words:
        case ["text"]:
            return None
        case [_, "no-run"]:
            raise Skip("no-run")
        case ["erlang"]:
            action = "compile" if block.first.startswith("-module") else "evaluate"
            return lambda folder: run_erlang(block, folder, action)
        case ["erlang", "terms"]:
            return lambda folder: run_erlang(block, folder, "terms")
        case ["python"]:
            return lambda folder: run_python(block, folder)
        case ["elixir"]:
            return lambda folder: run_elixir(block, folder)
    raise Failure(f"what to do with ```{' '.join(block.words)}?")


def documents(wanted):
    if wanted:
        return [pathlib.Path(name).resolve() for name in wanted]
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def check(block, folder):
    """(passed, failed, skipped) of one block, and says so."""
    started = time.monotonic()
    what = " ".join(block.words)
    try:
        action = action_of(block)
        if action is None:
            return (0, 0, 0)
        action(folder)
    except Skip as reason:
        print(f"skipped  {block.name}  {what}: {reason}", flush=True)
        # A block that is for reading is no test that was left out.
        return (0, 0, 0) if str(reason) == "no-run" else (0, 0, 1)
    except Failure as failure:
        print(f"FAILED   {block.name}  {what}\n{failure}", flush=True)
        return (0, 1, 0)
    seconds = time.monotonic() - started
    print(f"ok       {block.name}  {what} ({seconds:.1f} s)", flush=True)
    return (1, 0, 0)


def main():
    total = [0, 0, 0]
    for path in documents(sys.argv[1:]):
        with tempfile.TemporaryDirectory(prefix="docs-") as folder:
            for block in blocks_of(path):
                counts = check(block, pathlib.Path(folder))
                total = [before + more for before, more in zip(total, counts)]
    line = f"{total[0]} passed, {total[1]} failed"
    print(line + (f", {total[2]} skipped" if total[2] else ""))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
