#!/usr/bin/env python3
"""bench/median.py FILE...: of several results.json, the row with the median ratio of each
name, written to bench/results.json.  An odd number of runs."""

import json
import pathlib
import sys


def main():
    runs = [json.loads(pathlib.Path(name).read_text("utf-8")) for name in sys.argv[1:]]
    if len(runs) % 2 == 0:
        sys.exit("bench/median.py FILE...: an odd number of results.json")
    rows = []
    for row in runs[0]:
        same = [other for run in runs for other in run if other["name"] == row["name"]]
        rows.append(sorted(same, key=lambda other: other["ratio"])[len(same) // 2])
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    out = pathlib.Path(__file__).with_name("results.json")
    out.write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main()
