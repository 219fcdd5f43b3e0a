#!/usr/bin/python3
"""bench/reactor/run.py: echoes of erlpy's reactor, of asyncio and of uvloop, side by side.

    make bench-reactor             all of it, into bench/reactor/results.json and docs/
    make bench-reactor QUICK=1     a first look, which writes nothing

    run.py --client FILE --erlpy FOLDER [--erlpy NAME=FOLDER ...] [--quick] [--out FILE]
           [--only WORD] [--size N ...] [--connections N ...] [--rounds N] [--window S]
           [--reactors N] [--default-malloc]

Each server is started afresh for each figure, and the servers take turns, in an order
that alternates from round to round.  A figure is the median of the rounds.  On each
connection the client (load.c) sends a message, waits for the whole echo, compares it, and
sends the next.
"""

import argparse
import os
import pathlib
import resource
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from rounds import cell, checkout, in_turns, machine, merged, under_load, write
from servers import servers

KIB, MIB = 2**10, 2**20
SIZES = {64: "64 B", KIB: "1 KiB", 16 * KIB: "16 KiB", MIB: "1 MiB"}
# Seconds: of the window that is measured, by the size of the message, and before it.
FULL = {"rounds": 3, "connections": (1, 100, 1000), "warm": 0.3,
        "window": {64: 1.2, KIB: 1.2, 16 * KIB: 1.2, MIB: 2}}
QUICK = {"rounds": 1, "connections": (100,), "warm": 0.3,
         "window": {64: 1, KIB: 1, 16 * KIB: 1, MIB: 1}}
# With fewer messages in a round there is no such percentile.
LEAST_FOR = {"p50_ms": 3, "p99_ms": 100}
# Descriptors of the client, and of a server beside those of its connections.
SPARE_DESCRIPTORS = 200


def main():
    options = arguments()
    plan = QUICK if options.quick else FULL
    everything = servers(options.erlpy, options.reactors, not options.default_malloc)
    chosen = [server for server in everything if options.only in server.name]
    cells = [(s, c) for s in options.size or SIZES
             for c in options.connections or plan["connections"]]
    rounds = options.rounds or plan["rounds"]
    # Both the client and the servers inherit it.
    allow_descriptors(max(connections for _, connections in cells) + SPARE_DESCRIPTORS)
    facts = machine(["uvloop"])
    print(" ".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    found = {}
    for (size, connections), server in in_turns(rounds, cells, chosen):
        window = options.window or plan["window"][size]
        row = measure(options.client, server, size, connections, plan["warm"], window)
        labels = {**server.labels, "size": size, "connections": connections}
        found.setdefault(tuple(labels.items()), []).append(row)
        print(f"load {os.getloadavg()[0]:4.1f}  {line(labels | row)}", flush=True)
    facts["load at the end"] = os.getloadavg()
    rows = [merged(labels, measured, ("messages", "errors"))
            for labels, measured in found.items()]
    print(f"\nmedian of {rounds}", flush=True)
    for row in rows:
        print(line(row))
    if options.out:
        write(options.out, facts, rows)
    return 1 if any(row["errors"] for row in rows) else 0


def arguments():
    parser = argparse.ArgumentParser(description="echoes, side by side")
    parser.add_argument("--client", required=True)
    parser.add_argument("--erlpy", action="append", type=checkout, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--size", type=int, nargs="+", choices=SIZES)
    parser.add_argument("--connections", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--window", type=float)
    parser.add_argument("--reactors", type=int, default=1)
    parser.add_argument("--default-malloc", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out")
    return parser.parse_args()


def allow_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"{count} descriptors are needed, and {hard} allowed: ulimit -n {count}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def measure(client, server, size, connections, warm, window):
    report = under_load(server, lambda port: [
        client, port, connections, size, int(warm * 1000), int(window * 1000),
    ])  # fmt: skip
    return figures(report, size)


def figures(report, size):
    """Rates are of the bytes that came back: of large messages many do not end in the
    window."""
    seconds, cpu = report["seconds"], report["cpu_s"]
    echoed = report["echo_bytes"] / size
    row = {
        "messages_s": echoed / seconds,
        "p50_ms": report["p50_ms"],
        "p99_ms": report["p99_ms"],
        "longest_ms": report["longest_ms"],
        "cpu_us_message": cpu * 1e6 / echoed if echoed else None,
        "peak_mib": report["peak_mib"],
        "cpus": cpu / seconds,
        "client_cpus": report["client_cpu_s"] / seconds,
        "messages": report["messages"],
        "errors": report["errors"],
    }
    few = {key: None for key, least in LEAST_FOR.items() if report["messages"] < least}
    return row | few


def line(row):
    return (
        f"{SIZES[row['size']]:6} x{row['connections']:<4} {row['server']:24}"
        f"{cell(row, 'messages_s', 9, 1)} /s"
        f"  p50 {cell(row, 'p50_ms', 8, 3)}  p99 {cell(row, 'p99_ms', 8, 3)}"
        f"  longest {cell(row, 'longest_ms', 8, 2)} ms"
        f" {cell(row, 'cpu_us_message', 8, 1)} us {cell(row, 'peak_mib', 7, 1)} MiB"
        f"  cpus {cell(row, 'cpus', 4, 2)} client {cell(row, 'client_cpus', 4, 2)}"
        f"  errors {row['errors']}"
    )


if __name__ == "__main__":
    sys.exit(main())
