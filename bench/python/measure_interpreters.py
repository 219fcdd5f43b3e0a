"""The Python half of bench_interpreters: only what loads into any interpreter."""


def compute(turns):
    total = 0
    for number in range(turns):
        total += number & 7
    return total


def consume(buf):
    """How many bytes came."""
    count = 0
    while data := buf.read(65536):
        count += len(data)
    return count


def count_lines(buf):
    """How many bytes came, by lines."""
    return sum(map(len, buf))
