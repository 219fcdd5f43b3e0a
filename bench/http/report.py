#!/usr/bin/python3
"""bench/http/report.py: puts bench/http/results.json into docs/performance.md, as tables
between the comments `bench-http:begin` and `bench-http:end`, and into docs/bench-http.svg.
"""

import json
import pathlib
import re
import sys

from plot import svg
from run import SIZES

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- bench-http:begin -->\n).*?(<!-- bench-http:end -->)", re.DOTALL)
TITLES = {"flask": "Flask (WSGI)", "starlette": "Starlette (ASGI)"}
COLUMNS = {
    "requests/s": "requests_s",
    "GB/s": "gb_s",
    "p50, ms": "p50_ms",
    "p99, ms": "p99_ms",
    "peak, MiB": "peak_mib",
    "CPU s/GB": "cpu_s_gb",
    "CPU ms/request": "cpu_ms_request",
}


def figure(value):
    """Three digits, as far as they say something."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def table(rows):
    header = ["upload", "at once", "server", *COLUMNS]
    lines = [header, ["---"] * 3 + ["---:"] * len(COLUMNS)]
    for row in rows:
        values = [figure(row[key]) for key in COLUMNS.values()]
        lines.append([SIZES[row["size"]], row["connections"], row["server"], *values])
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def text(results):
    machine, rows = results["machine"], results["rows"]
    parts = [f"![{alternative(rows)}](bench-http.svg)\n"]
    for app, title in TITLES.items():
        parts.append(f"{title}:\n\n" + table([row for row in rows if row["app"] == app]))
    shares = sorted(row["client_cpus"] for row in rows)
    loads = [machine[key][0] for key in ("load at the start", "load at the end")]
    packages = ", ".join(
        f"{name} {value}" for name, value in machine.items() if isinstance(value, str)
    )
    parts.append(
        f"{machine['processors']} processors; {packages}. The client took "
        f"{shares[len(shares) // 2]:.2f} of a processor in the median row and "
        f"{shares[-1]:.2f} at most. Load average before {loads[0]:.1f}, after {loads[1]:.1f}; "
        f"{sum(row['errors'] for row in rows)} wrong answers.\n"
    )
    return "\n".join(parts)


def alternative(rows):
    """The plot in words."""
    servers = ", ".join(dict.fromkeys(row["server"] for row in rows))
    return f"Uploads a second and GB/s of {servers}: the figures of the tables below"


def main():
    results = json.loads((ROOT / "bench/http/results.json").read_text(encoding="utf-8"))
    (ROOT / "docs/bench-http.svg").write_text(svg(results["rows"], TITLES, SIZES), "utf-8")
    page = ROOT / "docs/performance.md"
    after, count = BLOCK.subn(
        lambda match: match[1] + text(results) + match[2], page.read_text(encoding="utf-8")
    )
    if count != 1:
        sys.exit(f"{page}: {count} blocks of HTTP figures, not 1")
    page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
