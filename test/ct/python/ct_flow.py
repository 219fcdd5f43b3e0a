"""Readers of limited buffers."""

import gc


def take(buf, size):
    """At most size bytes, as often as it takes; short only at the end."""
    data = b""
    while len(data) < size:
        piece = buf.read(size - len(data))
        if not piece:
            break
        data += piece
    return data


def count_slowly(buf, size):
    total = 0
    while piece := buf.read(size):
        total += len(piece)
    return total


def records(buf, size):
    found = []
    while True:
        record = take(buf, size)
        if not record:
            return found
        found.append(record)


def whole(buf):
    return buf.read()


def exactly(buf, size):
    return buf.readexactly(size)


def line(buf):
    return buf.readline()


kept = {}


def keep(name, buf):
    kept[name] = buf


def let_go(name):
    del kept[name]
    gc.collect()


def resident_peak_kib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1])


def reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return resident_peak_kib()


def _by_read(buf, quota):
    while quota > 0:
        piece = buf.read(min(quota, 65536))
        if not piece:
            return quota
        quota -= len(piece)
    return 0


def _by_line(buf, quota):
    while quota > 0:
        piece = buf.readline()
        if not piece:
            return quota
        quota -= len(piece)
    return quota


def _by_views(buf, quota):
    for view in buf.views():
        quota -= len(view)
        if quota <= 0:
            break
    return quota


def _by_readview(buf, quota):
    while quota > 0:
        view = buf.readview()
        if not view:
            return quota
        quota -= len(view)
    return quota


def _by_memoryview(buf, quota):
    while quota > 0:
        with memoryview(buf) as view:
            size = len(view)
        if size == 0:
            if not buf.peek(1):
                return quota
            continue
        quota -= len(buf.readview_exactly(size))
    return quota


def in_every_way(buf, turn):
    """Reads all, `turn` bytes in one way, then in the next.  How many there were."""
    ways = [_by_read, _by_line, _by_views, _by_readview, _by_memoryview]
    total, left, way = 0, 0, 0
    while left <= 0:
        left = ways[way % len(ways)](buf, turn)
        total += turn - left
        way += 1
    return total
