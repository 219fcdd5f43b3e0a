"""What the comparisons with other servers share: turns, figures under load, medians."""

import json
import os
import pathlib
import platform
import statistics
import subprocess
from importlib.metadata import version


def checkout(text):
    """An argument FOLDER or NAME=FOLDER, of a built erlpy: a name and the folder."""
    name, equals, folder = text.rpartition("=")
    return (name if equals else "erlpy", folder)


def machine(packages):
    """What is told of the machine; packages: those of Python whose versions count."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "load at the start": os.getloadavg(),
    }


def in_turns(rounds, cells, servers):
    """Pairs of a cell and a server.  In each cell the servers take turns, in an order that
    alternates from round to round: the load of the machine meets all of them."""
    for number in range(rounds):
        for cell in cells:
            for server in servers if number % 2 == 0 else servers[::-1]:
                yield cell, server


def under_load(server, command):
    """Starts the server and a client; gives the report that the client prints after its
    window, and in it cpu_s and peak_mib of the server's processes in this window.

    command: called with the port, gives the command line of the client, which prints
    "begin" and, at the end of the window, a line of JSON.
    """
    with server.running() as process:
        process.reset_peak()
        words = [str(word) for word in command(process.port)]
        client = subprocess.Popen(words, stdout=subprocess.PIPE)
        with client:
            begun = client.stdout.readline()
            before = process.cpu_seconds()
            report = client.stdout.readline()
            after = process.cpu_seconds()
            peak = process.peak_mib()
        if client.returncode or begun != b"begin\n":
            raise RuntimeError(f"the client of {server.name} has failed")
        return {**json.loads(report), "cpu_s": after - before, "peak_mib": peak}


def merged(labels, rounds, summed):
    """A row: the labels, and the medians of what the rounds have; none where a round has
    none.  summed: the names of what is added up instead."""
    row = dict(labels)
    for key in rounds[0]:
        values = [measured[key] for measured in rounds]
        if key in summed:
            row[key] = sum(values)
        elif None in values:
            row[key] = None
        else:
            row[key] = float(f"{statistics.median(values):.4g}")
    return row


def cell(row, key, width, digits):
    """A figure of a row for the terminal."""
    value = row[key]
    return "-".rjust(width) if value is None else f"{value:{width}.{digits}f}"


def write(path, facts, rows):
    lines = ",\n".join(json.dumps(row) for row in rows)
    text = f'{{"machine": {json.dumps(facts)},\n"rows": [\n{lines}\n]}}\n'
    pathlib.Path(path).write_text(text, encoding="utf-8")
    print(f"Written to {path}")
