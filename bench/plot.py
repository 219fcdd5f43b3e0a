#!/usr/bin/python3
"""bench/plot.py [FOLDER]: bench/results.json as plots, in docs/plots.

Each row is a line from its anchor, at 1, to its ratio, with its goal as a stroke; what
rows have in common is a panel, and what belongs together a plot.  The same results are the
same bytes.  `make bench` calls it; `make plots` draws the results that are there.
"""

import json
import pathlib
import re
import sys
import textwrap

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]

#: (file, title, how the names of its rows begin).  The first that fits has the row.
PLOTS = [
    ("handing-over", "From Erlang to Python",
     ["py_buffer:write/2", "CPU, write to", "64 MiB in 64 KiB pieces"]),
    ("reading", "Reading in Python", ["read(", "for line", "readline()"]),
    ("find", "Searching", ["find of"]),
    ("waking", "A reader that waits", ["write to read()"]),
    ("calls", "Calls", ["py:call(", "py:call a second"]),
    ("growth", "What must not grow", ["10,000 idle", "unterminated", "1-byte"]),
    ("flow", "More than memory", ["4 GiB", "64 KiB water", "256 KiB water", "1 MiB water",
                                  "16 MiB water"]),
    ("neighbours", "What waiting costs others",
     ["py:call with", "CPU, an idle", "CPU, 100", "8 streams", "py:call while"]),
    ("stopping", "Stopping", ["py:interrupt", "{error, timeout}"]),
    ("channel", "Channels", ["channel,"]),
    ("asyncio", "asyncio", ["write to await", "10000 buffers", "10000 calls"]),
    ("interpreters", "Two interpreters", ["8 calls that compute", "stream into each"]),
    ("more", "More", [""]),
]

INK, GRID, PAPER = "#1f2328", "#d0d7de", "#ffffff"
REACHED, MISSED, NO_GOAL = "#0072b2", "#d55e00", "#6e7781"
#: The same for readers whose page is dark.
DARK = {INK: "#e6edf3", GRID: "#30363d", PAPER: "#0d1117",
        REACHED: "#56b4e9", MISSED: "#f0883e", NO_GOAL: "#9aa4ae"}

WIDTH, ROW, HEAD, FOOT = 8.6, 0.42, 0.34, 0.42  # inches
KEY = "from the anchor, at 1, to the ratio;  |  the goal"
SMALLEST = 0.001  # a ratio below that is drawn there
NARROWEST = 3  # an axis covers at least so many times its least

matplotlib.rcParams.update({
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "erlpy",
    "text.color": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
})


def grouped(rows):
    """{(file, title): rows}."""
    found = {(file, title): [] for file, title, _ in PLOTS}
    for row in rows:
        for file, title, starts in PLOTS:
            if row["name"].startswith(tuple(starts)):
                found[file, title].append(row)
                break
    return {key: rows for key, rows in found.items() if rows}


def panels(rows):
    """Rows that share their note, in one list."""
    found = {}
    for row in rows:
        found.setdefault(row["note"], []).append(row)
    return list(found.values())


def draw(title, rows, path):
    parts = panels(rows)
    heights = [HEAD + ROW * len(part) + FOOT for part in parts]
    height = 0.45 + sum(heights)
    figure = pyplot.figure(figsize=(WIDTH, height))
    figure.text(0.025, 1 - 0.28 / height, title, size=13, weight="bold", va="center")
    figure.text(0.97, 1 - 0.28 / height, KEY, size=8.5, color=NO_GOAL, va="center", ha="right")
    top = height - 0.45
    for part, own in zip(parts, heights):
        box = (0.03, (top - own + FOOT) / height, 0.94, (own - HEAD - FOOT) / height)
        panel(figure.add_axes(box), part)
        top -= own
    figure.savefig(path, metadata={"Date": None, "Creator": None, "Title": title})
    pyplot.close(figure)
    path.write_text(followed(path.read_text(encoding="utf-8")), encoding="utf-8")


def panel(axes, rows):
    values = [max(row["ratio"], SMALLEST) for row in rows]
    goals = [goal(row) for row in rows]
    ends = [1, *values, *(number for number in goals if number)]
    low, high = min(ends) / 1.25, max(ends) * 1.25
    while high / low < NARROWEST:
        low, high = low / 1.1, high * 1.1
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows), 0)
    for place, (row, value, number) in enumerate(zip(rows, values, goals)):
        line = place + 0.68
        color = {True: REACHED, False: MISSED, None: NO_GOAL}[row["reached"]]
        axes.plot([1, value], [line, line], color=color, linewidth=5,
                  solid_capstyle="butt")
        axes.plot([value], [line], "o", color=color, markersize=6)
        axes.plot([1, 1], [line - 0.2, line + 0.2], color=INK, linewidth=1)
        if number:
            axes.plot([number] * 2, [line - 0.2, line + 0.2], color=INK, linewidth=2)
        beside = {"size": 9.5, "va": "center", "transform": axes.get_yaxis_transform(),
                  "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}}
        axes.text(0, place + 0.27, name(row), **beside)
        axes.text(1, place + 0.27, figure_of(row), ha="right", weight="bold", color=color,
                  **beside)
    note = textwrap.wrap(rows[0]["note"], 96)
    axes.set_title("\n".join(note), size=9.5, loc="left", style="italic", pad=6)
    tidy(axes)


def tidy(axes):
    axes.set_yticks([])
    for side in "left", "right", "top":
        axes.spines[side].set_visible(False)
    wide = axes.get_xlim()[1] / axes.get_xlim()[0] > 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="both", color=GRID, labelsize=8.5)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def name(row):
    return row["name"].replace("$", r"\$")


def goal(row):
    found = re.fullmatch(r"[<>]= ([\d.]+)", row["goal"])
    return float(found[1]) if found else None


def figure_of(row):
    aim = row["goal"].replace(">= ", "\u2265 ").replace("<= ", "\u2264 ")
    aim = f", goal {aim}" if aim else ""
    missed = ", not reached" if row["reached"] is False else ""
    return f"{row['ratio']:g}\u00d7{aim}{missed}"


def followed(svg):
    """With the colours of a dark page."""
    rules = "".join(
        f'[style*="{kind}: {light}"] {{ {kind}: {dark} !important; }}\n'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>"
    head = re.search(r"<svg [^>]*>", svg).end()
    text = f"{svg[:head]}\n{style}{svg[head:]}"
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main():
    folder = pathlib.Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/plots"
    folder.mkdir(parents=True, exist_ok=True)
    rows = json.loads((ROOT / "bench/results.json").read_text(encoding="utf-8"))
    for (file, title), group in grouped(rows).items():
        draw(title, group, folder / f"{file}.svg")
    print(f"Drawn in {folder}")


if __name__ == "__main__":
    main()
