#!/usr/bin/env python3
"""The plots of docs/plots show the rows of bench/results.json: each with its name, its
ratio and its goal.  Where Matplotlib is here, drawing is tried as well: what it draws says
the same as what is there, and twice the same are the same bytes.
"""

import html
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from command import output_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
TEXT = re.compile(r"<text [^>]*>([^<]*)</text>")


def texts(folder):
    """{name of a plot: what is written in it}."""
    return {
        path.name: [html.unescape(text) for text in TEXT.findall(path.read_text("utf-8"))]
        for path in sorted(folder.glob("*.svg"))
    }


def shown(row):
    goal = row["goal"].replace(">=", "\u2265").replace("<=", "\u2264")
    missed = ", not reached" if row["reached"] is False else ""
    return f"{row['ratio']:g}\u00d7" + (f", goal {goal}" if goal else "") + missed


def rows_are_there():
    rows = json.loads((ROOT / "bench/results.json").read_text(encoding="utf-8"))
    plots = texts(ROOT / "docs/plots")
    for row in rows:
        found = [written for written in plots.values() if row["name"] in written]
        if len(found) != 1 or shown(row) not in found[0]:
            return f"{row['name']}: {shown(row)} is not in one plot of docs/plots: make plots"
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for name in plots:
        if f"(plots/{name})" not in page:
            return f"docs/performance.md does not show plots/{name}"
    return None


def drawing_is_the_same():
    with tempfile.TemporaryDirectory(prefix="plots-") as folder:
        folders = [pathlib.Path(folder) / name for name in ("one", "two")]
        for each in folders:
            output_of(PYTHON, str(ROOT / "bench/plot.py"), str(each))
        drawn = [{path.name: path.read_bytes() for path in each.iterdir()} for each in folders]
        if drawn[0] != drawn[1]:
            return "the same results are not the same bytes"
        if texts(folders[0]) != texts(ROOT / "docs/plots"):
            return "docs/plots says something else: make plots"
    return None


def main():
    tests = [rows_are_there]
    has = subprocess.run([PYTHON, "-c", "import matplotlib"], capture_output=True)
    if has.returncode == 0:
        tests.append(drawing_is_the_same)
    failed = 0
    for test in tests:
        name = test.__name__.replace("_", " ")
        reason = test()
        failed += reason is not None
        print(f"FAILED   {name}: {reason}" if reason else f"ok       {name}")
    skipped = 2 - len(tests)
    if skipped:
        print("skipped  drawing is the same (matplotlib not found)")
    line = f"{len(tests) - failed} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
