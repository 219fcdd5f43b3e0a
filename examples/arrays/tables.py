"""pandas over a buffer."""

import io

import erlang
import pandas

#: Rows of a chunk.
ROWS = 1000


def totals(buf: erlang.PyBuffer, listener: erlang.Pid) -> dict[str, int]:
    """The sums by name of a CSV file with the columns name and amount, read while it
    arrives.  listener: is sent the number of rows that were summed, after each chunk.
    """
    sums: dict[str, int] = {}
    rows = 0
    with pandas.read_csv(io.BufferedReader(buf), chunksize=ROWS) as chunks:
        for chunk in chunks:
            for name, amount in chunk.groupby("name")["amount"].sum().items():
                sums[name] = sums.get(name, 0) + int(amount)
            rows += len(chunk)
            erlang.send(listener, rows)
    return sums
