#!/usr/bin/python3
"""bench/http/run.py: uploads to erlpy's example and to what people use, side by side.

    make bench-http             all of it, into bench/http/results.json and docs/
    make bench-http QUICK=1     a first look, which writes nothing

    run.py --client FILE --erlpy FOLDER [--erlpy NAME=FOLDER ...] [--quick] [--out FILE]
           [--only WORD] [--size N ...] [--connections N ...] [--rounds N] [--window S]

Each server is started afresh for each figure, and the servers take turns, in an order
that alternates from round to round: the load of the machine meets all of them.  A
figure is the median of the rounds.  The client (load.c) sends the same upload on each of
its connections, one after the other, and checks the digest that comes back.
"""

import argparse
import hashlib
import os
import pathlib
import random
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "common"))

from rounds import cell, checkout, in_turns, machine, merged, under_load, write
from servers import servers

KIB, MIB, GIB = 2**10, 2**20, 2**30
SIZES = {KIB: "1 KiB", MIB: "1 MiB", GIB: "1 GiB"}
# Seconds: of the window that is measured, by the size of the upload, and before it.
FULL = {"rounds": 3, "connections": (1, 10, 100), "warm": 1,
        "window": {KIB: 4, MIB: 4, GIB: 5}}
QUICK = {"rounds": 1, "connections": (10,), "warm": 0.5,
         "window": {KIB: 1, MIB: 1, GIB: 2}}
# With fewer requests in a round there is no such percentile, nor a rate of requests.
LEAST_FOR = {"requests_s": 10, "p50_ms": 3, "p99_ms": 100}
PACKAGES = ("flask", "werkzeug", "starlette", "gunicorn", "uvicorn", "uvloop", "httptools")


def main():
    options = arguments()
    plan = QUICK if options.quick else FULL
    everything = servers(options.erlpy)
    chosen = [s for s in everything if options.only in f"{s.labels['app']} {s.name}"]
    cells = [(s, c) for s in options.size or SIZES
             for c in options.connections or plan["connections"]]
    rounds = options.rounds or plan["rounds"]
    facts = machine(PACKAGES)
    print(" ".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    found = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        uploads = {size: Upload(pathlib.Path(folder), size) for size, _ in cells}
        for (size, connections), server in in_turns(rounds, cells, chosen):
            window = options.window or plan["window"][size]
            row = measure(options.client, server, uploads[size], connections,
                          plan["warm"], window)
            labels = {**server.labels, "size": size, "connections": connections}
            found.setdefault(tuple(labels.items()), []).append(row)
            print(f"load {os.getloadavg()[0]:4.1f}  {line(labels | row)}", flush=True)
    facts["load at the end"] = os.getloadavg()
    rows = [merged(labels, measured, ("requests", "errors"))
            for labels, measured in found.items()]
    print(f"\nmedian of {rounds}", flush=True)
    for row in rows:
        print(line(row))
    if options.out:
        write(options.out, facts, rows)
    return 1 if any(row["errors"] for row in rows) else 0


def arguments():
    parser = argparse.ArgumentParser(description="uploads, side by side")
    parser.add_argument("--client", required=True)
    parser.add_argument("--erlpy", action="append", type=checkout, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--size", type=int, nargs="+", choices=SIZES)
    parser.add_argument("--connections", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--window", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out")
    return parser.parse_args()


class Upload:
    """A request in a file, for the client."""

    def __init__(self, folder, size):
        head = (
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        ).encode()
        # Pages of their own: what is sent is not in the processor's cache.
        source = random.Random(size)
        block = source.randbytes(min(size, MIB))
        digest = hashlib.sha256()
        self.size = size
        self.head_bytes = len(head)
        self.path = folder / str(size)
        with self.path.open("wb") as file:
            file.write(head)
            for _ in range(size // len(block)):
                file.write(block)
                digest.update(block)
        self.answer = digest.hexdigest()


def measure(client, server, upload, connections, warm, window):
    report = under_load(server, lambda port: [
        client, port, connections, upload.path, upload.head_bytes, upload.answer,
        int(warm * 1000), int(window * 1000),
    ])  # fmt: skip
    return figures(report, upload.size)


def figures(report, size):
    requests, seconds, cpu = report["requests"], report["seconds"], report["cpu_s"]
    gigabytes = report["body_bytes"] / 1e9
    whole = size < GIB and requests > 0
    row = {
        "requests_s": requests / seconds,
        "gb_s": gigabytes / seconds,
        "p50_ms": report["p50_ms"],
        "p99_ms": report["p99_ms"],
        "peak_mib": report["peak_mib"],
        "cpu_s_gb": cpu / gigabytes if gigabytes else None,
        "cpu_ms_request": cpu * 1000 / requests if whole else None,
        "cpus": cpu / seconds,
        "client_cpus": report["client_cpu_s"] / seconds,
        "requests": requests,
        "errors": report["errors"],
    }
    return row | {key: None for key, least in LEAST_FOR.items() if requests < least}


def line(row):
    return (
        f"{SIZES[row['size']]} x{row['connections']:<3} {row['app']:9} {row['server']:20}"
        f"{cell(row, 'requests_s', 9, 1)} /s {cell(row, 'gb_s', 7, 3)} GB/s"
        f"  p50 {cell(row, 'p50_ms', 8, 2)}  p99 {cell(row, 'p99_ms', 8, 2)} ms"
        f"{cell(row, 'peak_mib', 7, 1)} MiB {cell(row, 'cpu_s_gb', 7, 2)} s/GB"
        f" {cell(row, 'cpu_ms_request', 7, 3)} ms/req  cpus {cell(row, 'cpus', 4, 2)}"
        f" client {cell(row, 'client_cpus', 4, 2)}  errors {row['errors']}"
    )


if __name__ == "__main__":
    sys.exit(main())
