"""plot.py CSV SVG: what a soak has weighed, over time.  Exits with 1 when it has grown.

Grown: in the last fifth of the time the median is above that of the second fifth by more
than a tenth and a little; before that caches fill up.
"""
import csv
import statistics
import sys

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 190, 70, 190, 50, 56
MIB = 1 << 20
PANELS = [
    ("memory, MiB", MIB, [("rss", "resident", "#1f5fa8"), ("erlang", "erlang:memory(total)", "#b4552d"),
                          ("binaries", "binaries", "#d9a441"), ("retained", "held by buffers", "#3b8a4f")]),
    ("threads and processes", 1, [("threads", "threads", "#1f5fa8"), ("erlpy_threads", "of them erlpy's", "#3b8a4f"),
                                  ("processes", "Erlang processes", "#b4552d")]),
    ("operations a second", 1, [("rate", "operations", "#1f5fa8")]),
]
ALLOWED = {"rss": 24 * MIB, "erlang": 8 * MIB, "binaries": 4 * MIB, "threads": 24, "processes": 24}


def read(path):
    with open(path, newline="") as file:
        rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(file)]
    for before, row in zip([rows[0]] + rows, rows):
        seconds = max(row["seconds"] - before["seconds"], 1)
        row["rate"] = (row["operations"] - before["operations"]) // seconds
    return rows


def nice(most):
    """A round number a little above."""
    power = 1
    while power * 10 < most:
        power *= 10
    return next(power * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if power * step >= most)


def text(x, y, words, anchor="start", size=12, fill="#333"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{fill}">{words}</text>')


def panel(rows, index, title, unit, curves):
    top = TOP + index * (PANEL + GAP)
    right, bottom = WIDTH - RIGHT, top + PANEL
    most = nice(max(max(row[name] for row in rows) / unit for name, _, _ in curves) or 1)
    last = max(rows[-1]["seconds"], 1)
    out = [text(LEFT, top - 10, title, size=13)]
    for tick in range(5):
        y = bottom - PANEL * tick / 4
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 8, y + 4, f"{most * tick / 4:g}", "end"))
    for tick in range(6):
        x = LEFT + (right - LEFT) * tick / 5
        seconds = last * tick / 5
        label = f"{seconds / 60:g} min" if last >= 600 else f"{seconds:.0f} s"
        out.append(text(x, bottom + 18, label, "middle"))
    labels = []
    for name, label, colour in curves:
        points = " ".join(
            f"{LEFT + (right - LEFT) * row['seconds'] / last:.1f},"
            f"{bottom - PANEL * row[name] / unit / most:.1f}" for row in rows)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        labels.append((bottom - PANEL * rows[-1][name] / unit / most, label, colour))
    below = None
    for y, label, colour in sorted(labels):
        y = y if below is None else max(y, below + 15)
        below = y
        out.append(text(right + 10, y + 4, label, fill=colour))
    return out


def draw(rows):
    height = TOP + len(PANELS) * (PANEL + GAP)
    streamed = rows[-1]["streamed"] / (1 << 30)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           text(LEFT, 22, f"{rows[-1]['operations']:,} operations and {streamed:.1f} GiB streamed in "
                          f"{rows[-1]['seconds'] / 60:.0f} min", size=15)]
    for index, (title, unit, curves) in enumerate(PANELS):
        out += panel(rows, index, title, unit, curves)
    return "\n".join(out + ["</svg>", ""])


def grown(rows):
    fifth = len(rows) // 5
    if fifth < 3:
        return []
    found = []
    for name, allowed in ALLOWED.items():
        before = statistics.median(row[name] for row in rows[fifth : 2 * fifth])
        after = statistics.median(row[name] for row in rows[-fifth:])
        print(f"soak: {name}: {before:.0f} in the second fifth, {after:.0f} in the last")
        if after > before * 1.1 + allowed:
            found.append(name)
    return found


def main():
    rows = read(sys.argv[1])
    with open(sys.argv[2], "w") as file:
        file.write(draw(rows))
    print(f"soak: {sys.argv[2]}")
    found = grown(rows)
    if found:
        print(f"soak: has grown: {', '.join(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
