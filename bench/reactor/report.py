#!/usr/bin/python3
"""bench/reactor/report.py: puts bench/reactor/results.json into docs/performance.md, as a
table between the comments `bench-reactor:begin` and `bench-reactor:end`.
"""

import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from run import SIZES
from tables import ROOT, circumstances, fill, table

COLUMNS = {
    "messages/s": "messages_s",
    "p50, ms": "p50_ms",
    "p99, ms": "p99_ms",
    "longest, ms": "longest_ms",
    "CPU us/message": "cpu_us_message",
    "peak, MiB": "peak_mib",
    "client's CPUs": "client_cpus",
}


def described(row):
    return SIZES[row["size"]], row["connections"], row["server"]


def main():
    results = json.loads((ROOT / "bench/reactor/results.json").read_text(encoding="utf-8"))
    rows = results["rows"]
    lines = table(("message", "connections", "server"), described, COLUMNS, rows)
    fill("bench-reactor", f"{lines}\n{circumstances(results['machine'], rows)}")


if __name__ == "__main__":
    main()
