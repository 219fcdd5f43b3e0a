"""What the handlers of these applications have seen; another request reads it."""

import hashlib
import threading

PIECE = 2**16
#: Handlers that wait to be cancelled end by themselves after so many seconds.
PATIENCE = 30.0

_changed = threading.Condition()
_records = {}


class Record:
    """One handler at work: with Record(name) as record, it tells its bytes by add()."""

    def __init__(self, name):
        self.length = 0
        self.digest = hashlib.sha256()
        self.error = None
        self.ended = False
        with _changed:
            _records[name] = self
            _changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.error = kind and kind.__name__
        try:
            self.end()
        except BaseException:
            # A cancel on top of an error: it comes once.
            self.end()
            raise

    def end(self):
        with _changed:
            self.ended = True
            _changed.notify_all()

    def add(self, data):
        self.digest.update(data)
        self.count(len(data))

    def count(self, length):
        with _changed:
            self.length += length
            _changed.notify_all()

    def described(self):
        return {
            "length": self.length,
            "sha256": self.digest.hexdigest(),
            "error": self.error,
            "ended": self.ended,
        }


def describe(name, least, seconds):
    """The record of that name when its handler has ended, or has counted `least` bytes;
    what there is after so many seconds, None when the handler was never called."""

    def ready():
        record = _records.get(name)
        return record and (record.ended or record.length >= least)

    with _changed:
        _changed.wait_for(ready, seconds)
        record = _records.get(name)
        return record and record.described()


def pieces(name, count, size):
    """A body of count pieces; the record has the bytes that were asked for."""
    piece = bytes(size)
    with Record(name) as record:
        for _ in range(count):
            record.count(size)
            yield piece
