"""The Python side of the demo: ordinary code over a file object.

`buf` is an erlang.PyBuffer.  Each handler starts before the first byte has been
written and reads on while an Erlang process writes; `listener` is the pid of the
process that shows the progress.
"""

import hashlib
from collections import Counter

import erlang


def reporting(buf, listener):
    """The lines of `buf`, with a message after every few thousand of them."""
    erlang.send(listener, ("read", 0))
    for number, line in enumerate(buf, 1):
        yield line
        if number % 4096 == 0:
            erlang.send(listener, ("read", buf.tell()))
    erlang.send(listener, ("read", buf.tell()))


def packages(buf, listener):
    """Sums up a Debian package index: one paragraph of `Field: value` a package."""
    digest = hashlib.sha256()
    sizes = Counter()  # KiB installed, by section
    numbers = Counter()  # packages, by section
    length = size = 0
    section = None

    for line in reporting(buf, listener):
        digest.update(line)
        length += len(line)
        if line.startswith(b"Section:"):
            section = line[8:].strip().decode()
        elif line.startswith(b"Installed-Size:"):
            size = int(line[15:])
        elif line.startswith(b"Package:"):
            # The fields of a package may come in any order: count the one before.
            if section is not None:
                sizes[section] += size
                numbers[section] += 1
            section, size = "none", 0
    if section is not None:
        sizes[section] += size
        numbers[section] += 1

    return {
        "records": numbers.total(),
        "bytes": length,
        "sha256": digest.hexdigest(),
        "installed_kib": sizes.total(),
        "largest": [
            (name, kib, numbers[name]) for name, kib in sizes.most_common(5)
        ],
    }


def lines(buf, listener):
    """Counts the lines of any file; the last one may lack its newline."""
    digest = hashlib.sha256()
    count = length = longest = 0
    for line in reporting(buf, listener):
        digest.update(line)
        count += 1
        length += len(line)
        longest = max(longest, len(line.removesuffix(b"\n")))
    return {
        "records": count,
        "bytes": length,
        "sha256": digest.hexdigest(),
        "longest": longest,
    }
