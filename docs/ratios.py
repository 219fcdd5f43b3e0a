#!/usr/bin/env python3
"""Fills the tables of ratios in the README and docs/performance.md.

    make bench && docs/ratios.py

Takes bench/results.json, which `make bench` writes: a list of rows with name, ours,
anchor, ratio, unit, goal, reached and note.  The tables stand between the comments
`ratios:begin` and `ratios:end`; everything in between is replaced.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- ratios:begin -->\n).*?(<!-- ratios:end -->)", re.DOTALL)


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def verdict(row):
    goal = row.get("goal") or ""
    return f"{goal}, **not reached**" if row.get("reached") is False else goal


def better(row):
    match = re.search(r"(more|less) is better", row.get("note") or "")
    return match[1] if match else ""


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(cell, line)) + " |\n" for line in lines)


def short_table(results):
    return table(
        ["what", "ratio", "better", "goal"],
        [[row["name"], row["ratio"], better(row), verdict(row)] for row in results],
    )


def full_table(results):
    return table(
        ["what", "erlpy", "anchor", "unit", "ratio", "goal", "note"],
        [
            [row["name"], row["ours"], row["anchor"], row["unit"], row["ratio"],
             verdict(row), row.get("note") or ""]
            for row in results
        ],
    )


def fill(path, text):
    before = path.read_text(encoding="utf-8")
    after, count = BLOCK.subn(lambda match: match[1] + text + match[2], before)
    if count != 1:
        sys.exit(f"{path}: {count} blocks of ratios, not 1")
    path.write_text(after, encoding="utf-8")


def main():
    results = json.loads((ROOT / "bench/results.json").read_text(encoding="utf-8"))
    fill(ROOT / "README.md", short_table(results))
    fill(ROOT / "docs/performance.md", full_table(results))


if __name__ == "__main__":
    main()
