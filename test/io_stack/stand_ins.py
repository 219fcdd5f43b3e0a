"""What the tests get in place of the files and raw streams that they read.

A stand-in makes a buffer of what the test would have read.  Whatever is not for reading
alone stays as it is.
"""

import builtins
import io
import tarfile
import zipfile

from feeds import Feed, pieces_of


class StandIns:
    """Makes buffers by `feed`; with `buffered` what stands for a file or a BytesIO is a
    BufferedReader over the buffer, as it is with open().  `module` is io or _pyio."""

    def __init__(self, feed: Feed, buffered: bool, module=io) -> None:
        self.feed = feed
        self.buffered = buffered
        self.module = module
        self.wait_for_end = False

    def for_seeking(self) -> "StandIns":
        """For what reads by seeking: the buffer has ended."""
        new = StandIns(self.feed, buffered=True, module=self.module)
        new.wait_for_end = True
        return new

    def raw(self, data: bytes, seekable: bool = True):
        if self.wait_for_end:
            return self.feed.ended(pieces_of(bytes(data)))
        return self.feed.buffer(pieces_of(bytes(data)), seekable)

    def stream(self, data: bytes = b"", seekable: bool = True):
        raw = self.raw(data or b"", seekable)
        return self.module.BufferedReader(raw) if self.buffered else raw

    def unseekable(self, data: bytes = b""):
        return self.stream(data, seekable=False)

    def mock(self, read_stack=()):
        """Of test_io's MockRawIO.  None among the pieces is a read that would block; a
        buffer waits for the next piece instead."""
        return self.feed.buffer(piece for piece in read_stack if piece is not None)

    def text(self, string: str = ""):
        return io.TextIOWrapper(
            io.BufferedReader(self.raw(string.encode())), encoding="utf-8", newline="\n"
        )

    def open(
        self,
        file,
        mode="r",
        buffering=-1,
        encoding=None,
        errors=None,
        newline=None,
        **rest,
    ):
        """open() of a path for reading; what it raises on bad arguments comes from the
        real one."""
        real = self.module.open(file, mode, buffering, encoding, errors, newline, **rest)
        if rest or isinstance(file, int) or not only_reads(mode):
            return real
        real.close()
        data = contents(file)
        if buffering == 0 or "b" in mode and not self.buffered:
            return self.raw(data)
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        reader = self.module.BufferedReader(self.raw(data), size)
        if "b" in mode:
            return reader
        text = self.module.TextIOWrapper(reader, encoding, errors, newline)
        text.mode = mode
        return text

    def file_io(self, file, mode="r", *rest, **named):
        if rest or named or isinstance(file, int) or not only_reads(mode):
            return self.module.FileIO(file, mode, *rest, **named)
        return self.raw(contents(file))

    def rewound(self, *args, **kwargs):
        return Rewound(self, *args, **kwargs)

    def zip_file(self):
        """The class ZipFile, which reads from a buffer."""
        make = self.stream

        class ZipFile(zipfile.ZipFile):
            def __init__(self, file, mode="r", *args, **kwargs):
                if mode == "r" and hasattr(file, "getvalue"):
                    file = make(file.getvalue())
                elif mode == "r" and hasattr(file, "seek"):
                    file = make(all_of(file))
                elif mode == "r":
                    file = make(contents(file))
                super().__init__(file, mode, *args, **kwargs)

        ZipFile.__module__, ZipFile.__qualname__ = "zipfile", "ZipFile"
        return ZipFile


class Rewound:
    """A TemporaryFile that a test writes, and reads through a buffer after seek(0)."""

    def __init__(self, stand_ins, mode, encoding, newline=None):
        self.stand_ins = stand_ins
        self.options = {"encoding": encoding, "newline": newline}
        self.rewound = False
        self.bytes = io.BytesIO()
        self.current = io.TextIOWrapper(self.bytes, **self.options)

    def seek(self, offset):
        if offset != 0:
            raise io.UnsupportedOperation("only to the start")
        if not self.rewound:
            self.current.flush()
        self.rewound = True
        raw = self.stand_ins.raw(self.bytes.getvalue())
        self.current = io.TextIOWrapper(io.BufferedReader(raw), **self.options)

    def __getattr__(self, name):
        return getattr(self.current, name)

    def write(self, text):
        if self.rewound:
            raise io.UnsupportedOperation("not writable any more")
        return self.current.write(text)

    def __iter__(self):
        return iter(self.current)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.current.close()


def only_reads(mode) -> bool:
    return isinstance(mode, str) and "r" in mode and "+" not in mode


def contents(file) -> bytes:
    with builtins.open(file, "rb") as opened:
        return opened.read()


def all_of(file) -> bytes:
    at = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(at)
    return data


def class_for(original, make, *, empty=False):
    """A class in place of `original`: called with data (or without, when `empty`) it
    answers what `make` does.  Otherwise, and to derive from, it is `original`."""

    def new(cls, *args, **kwargs):
        if cls is not replacement:
            return original.__new__(cls)
        if empty or (args or kwargs) and readable(args):
            return make(*args, **kwargs)
        return original(*args, **kwargs)

    namespace = {"__new__": new, "__doc__": original.__doc__}
    replacement = type(original.__name__, (original,), namespace)
    return replacement


def readable(args) -> bool:
    return not args or args[0] is not None


class Like:
    """A module with some names replaced.  What a test sets in it is set in the module."""

    def __init__(self, module, **replaced):
        vars(self).update(replaced, _module=module)

    def __getattr__(self, name):
        return getattr(self._module, name)

    def __setattr__(self, name, value):
        setattr(self._module, name, value)


def low_level_file(stand_ins):
    """Of tarfile: what it opens by name in its modes with a bar."""
    real = tarfile._LowLevelFile

    def make(name, mode):
        return stand_ins.raw(contents(name)) if mode == "r" else real(name, mode)

    return make
