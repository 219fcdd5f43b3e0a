"""Handlers as users write them: they know a file object and nothing of Erlang."""
import json
import time

from erlang import PyBuffer


def handle_request(environ):
    body = environ["input"]
    return [environ["method"], body.read().decode()]


def echo_json(environ):
    assert isinstance(environ["body"], PyBuffer)
    assert environ["content_type"] == "application/json"
    payload = json.loads(environ["body"].read(environ["content_length"]))
    return {"status": 200, "sum": sum(payload["values"]), "path": environ["path"]}


def count_lines(environ):
    return sum(1 for _ in environ["input"])


def in_chunks(buf, size):
    chunks = []
    while chunk := buf.read(size):
        chunks.append(chunk)
    return chunks


def arrival_times(buf):
    """What each read returned and the seconds since the first."""
    seen, start = [], None
    while chunk := buf.read(65536):
        now = time.monotonic()
        start = start or now
        seen.append((chunk, now - start))
    return seen


def poll(buf):
    """The loop of somebody who must not block."""
    chunks = []
    while not buf.at_eof():
        if buf.readable_amount() > 0:
            chunks.append(buf.read_nonblock(4096))
        else:
            chunks.append(buf.read_nonblock())  # empty, or what has just arrived
            time.sleep(0.001)
    return b"".join(chunks)


def find_marker(buf, marker):
    """Waits for the marker by looking again; reads nothing."""
    looks = 0
    while (index := buf.find(marker)) < 0:
        looks += 1
        time.sleep(0.001)
    assert buf.tell() == 0
    return [index, looks]


def part_by_view(buf, marker):
    end = buf.find(marker)
    view = memoryview(buf)
    facts = [view.readonly, view.ndim, view.itemsize, view.contiguous, len(view), view[0]]
    part = bytes(view[:end])
    middle = bytes(view[10:20])
    view.release()
    return [part, middle, facts, buf.tell(), len(buf)]


def assign_through_view(buf):
    try:
        memoryview(buf)[0] = 1
    except TypeError:
        return True


def positions(buf):
    out = [buf.tell(), buf.read(5), buf.tell()]
    out += [buf.seek(0), buf.read(3), buf.seek(2, 1), buf.read(3)]
    out += [buf.seek(-5, 2), buf.read(), buf.tell(), buf.seek(0), len(buf)]
    return out


def refused_seeks(buf, seeks):
    """What each seek raised, by the names that the standard library catches."""
    raised = []
    for offset, whence in seeks:
        before = buf.tell()
        try:
            buf.seek(offset, whence)
        except OSError as error:
            raised.append(isinstance(error, ValueError) and buf.tell() == before)
    return raised


def flags(buf):
    return [buf.readable(), buf.writable(), buf.seekable(), buf.closed]


def lines_until(buf, hint):
    return buf.readlines(hint)


def parse_multipart(buf, boundary):
    """Every part of a form, while the form is still arriving."""
    mark = b"--" + boundary.encode()
    parts = []
    assert buf.readline() == mark + b"\r\n"
    while True:
        headers = {}
        while (line := buf.readline()) != b"\r\n":
            name, value = line.split(b":", 1)
            headers[name.strip().decode().lower()] = value.strip().decode()
        while (size := buf.find(b"\r\n" + mark)) < 0:
            assert not buf.at_eof(), "the form is cut short"
            time.sleep(0.0005)
        view = buf.readview_exactly(size)
        parts.append({"headers": headers, "data": bytes(view)})
        assert buf.readexactly(2 + len(mark)) == b"\r\n" + mark
        if buf.readexactly(2) == b"--":
            return parts


def search_cases(buf):
    return [buf.find(b"\n"), buf.find(b"line"), buf.find(b"nothing"), buf.find(b"line", 1),
            buf.find(b"line", 0, 3), buf.find(10), buf.find(b""), buf.find(b"two", -6)]


def close_it(buf):
    buf.close()
    return buf.closed
