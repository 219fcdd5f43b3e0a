#!/usr/bin/python3
"""bench/http/report.py: puts bench/http/results.json into docs/performance.md, as tables
between the comments `bench-http:begin` and `bench-http:end`, and into docs/bench-http.svg.
"""

import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from plot import svg
from run import SIZES
from tables import ROOT, circumstances, fill, table

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


def described(row):
    return SIZES[row["size"]], row["connections"], row["server"]


def text(results):
    rows = results["rows"]
    parts = [f"![{alternative(rows)}](bench-http.svg)\n"]
    for app, title in TITLES.items():
        chosen = [row for row in rows if row["app"] == app]
        lines = table(("upload", "at once", "server"), described, COLUMNS, chosen)
        parts.append(f"{title}:\n\n{lines}")
    return "\n".join([*parts, circumstances(results["machine"], rows)])


def alternative(rows):
    """The plot in words."""
    servers = ", ".join(dict.fromkeys(row["server"] for row in rows))
    return f"Uploads a second and GB/s of {servers}: the figures of the tables below"


def main():
    results = json.loads((ROOT / "bench/http/results.json").read_text(encoding="utf-8"))
    (ROOT / "docs/bench-http.svg").write_text(svg(results["rows"], TITLES, SIZES), "utf-8")
    fill("bench-http", text(results))


if __name__ == "__main__":
    main()
