"""The plot of the HTTP benchmark: a panel for each application and size of upload, groups
of bars for the number of uploads at once, a bar for each server."""

from html import escape

WIDTH, HEIGHT = 900, 548
LEFT, TOP, GAP_X, GAP_Y = 62, 74, 62, 84
PANEL_W, PANEL_H = 230, 170
BAR_GAP, GROUP_GAP = 2, 16
TICKS = 4

# Blue, orange and green that differ in lightness too (Okabe and Ito), on light and dark.
STYLE = """
svg { background: #ffffff; font: 12px sans-serif; }
text { fill: #1f2328; }
.grid { stroke: #d0d7de; }
.axis { stroke: #57606a; }
.value { font-size: 9px; text-anchor: middle; }
.tick { text-anchor: end; }
.middle { text-anchor: middle; }
.title { font-weight: bold; }
.paper { fill: #ffffff; }
.bar0 { fill: #0072b2; } .bar1 { fill: #e69f00; } .bar2 { fill: #009e73; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; }
text { fill: #e6edf3; }
.grid { stroke: #30363d; }
.axis { stroke: #8b949e; }
.paper { fill: #0d1117; }
.bar0 { fill: #56b4e9; } .bar1 { fill: #e69f00; } .bar2 { fill: #2fbf95; }
}
"""


def svg(rows, apps, sizes):
    """rows: those of results.json; apps and sizes: their titles."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>Uploads over HTTP</title><style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        *_legend(rows, apps),
    ]
    for line, (app, title) in enumerate(apps.items()):
        for column, (size, size_title) in enumerate(sizes.items()):
            x = LEFT + column * (PANEL_W + GAP_X)
            y = TOP + line * (PANEL_H + GAP_Y)
            chosen = [row for row in rows if row["app"] == app and row["size"] == size]
            parts += _panel(x, y, f"{title}, {size_title}", chosen)
    return "\n".join([*parts, "</svg>", ""])


def _text(x, y, text, kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _servers(rows):
    return list(dict.fromkeys(row["server"] for row in rows))


def _legend(rows, apps):
    """Both applications have their servers in the same order and colours."""
    names = [_servers([row for row in rows if row["app"] == app]) for app in apps]
    x = LEFT
    for number, same in enumerate(zip(*names)):
        label = " / ".join(dict.fromkeys(same))
        yield f'<rect x="{x}" y="16" width="12" height="12" class="bar{number}"/>'
        yield _text(x + 18, 26, label)
        x += 40 + 7 * len(label)


def _panel(x, y, title, rows):
    small = any(row["requests_s"] for row in rows) and rows[0]["size"] < 2**20
    key, unit = ("requests_s", "requests/s") if small else ("gb_s", "GB/s")
    top = _ceiling(max((row[key] or 0 for row in rows), default=1))
    yield _text(x, y - 22, title, "title")
    yield _text(x, y - 7, unit)
    for tick in range(TICKS + 1):
        level = y + PANEL_H * (1 - tick / TICKS)
        kind = "grid" if tick else "axis"
        yield f'<path d="M{x} {level:.1f}h{PANEL_W}" class="{kind}"/>'
        yield _text(x - 6, level + 4, f"{top * tick / TICKS:g}", "tick")
    yield from _groups(x, y, top, key, rows)
    yield _text(x + PANEL_W / 2, y + PANEL_H + 34, "uploads at once", "middle")


def _ceiling(value):
    """The next of 1, 1.2, 1.6, 2, ... times a power of ten: quarters of it are round."""
    power = 10 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    while value < power:
        power /= 10
    steps = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12)
    return next(step * power for step in steps if step * power * 0.95 >= value)


def _short(value):
    """Two digits."""
    if value < 999.5:
        return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"
    return f"{value / 1000:.0f}k" if value >= 9950 else f"{value / 1000:.1f}k"


def _groups(x, y, top, key, rows):
    groups = list(dict.fromkeys(row["connections"] for row in rows))
    servers = _servers(rows)
    width = PANEL_W / len(groups)
    bar = (width - GROUP_GAP) / len(servers)
    for row in rows:
        group, number = groups.index(row["connections"]), servers.index(row["server"])
        left = x + group * width + GROUP_GAP / 2 + number * bar
        value = row[key]
        if value is None:
            yield _text(left + bar / 2, y + PANEL_H - 4, "-", "value")
            continue
        height = PANEL_H * value / top
        yield (
            f'<rect x="{left:.1f}" y="{y + PANEL_H - height:.1f}" width="{bar - BAR_GAP:.1f}" '
            f'height="{height:.1f}" class="bar{number}">'
            f"<title>{escape(row['server'])}: {value:g}</title></rect>"
        )
        middle = left + (bar - BAR_GAP) / 2
        yield _text(middle, y + PANEL_H - height - 4, _short(value), "value")
    for group, connections in enumerate(groups):
        yield _text(x + (group + 0.5) * width, y + PANEL_H + 17, str(connections), "middle")
