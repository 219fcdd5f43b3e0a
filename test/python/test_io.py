"""The standard library reads from a buffer as from any raw stream: with everything
there, and while another thread trickles 100-byte pieces into it."""

import csv
import gzip
import hashlib
import io
import json
import pickle
import shutil
import tarfile
import zipfile

import pytest

from erlang import BufferAborted
from erlang.testing import Writer, make_buffer
from support import trickling

LINES = [f"name{n},{n},\u00e9\u4e16{'x' * (n % 50)}" for n in range(400)]
TEXT = "\n".join(LINES) + "\n"
RAW = TEXT.encode()
VALUE = {"rows": LINES, "pi": 3.14, "nested": [{"n": n} for n in range(50)]}


@pytest.fixture(params=["all there", "trickling"])
def feed(request):
    """Passes the buffer that carries `data` to `read`, and returns its answer."""

    def call(data, read):
        if request.param == "all there":
            return read(make_buffer(data))
        with trickling(data) as buf:
            return read(buf)

    return call


def tar_bytes():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for n in range(5):
            info = tarfile.TarInfo(f"file{n}")
            info.size = len(RAW) + n
            tar.addfile(info, io.BytesIO(RAW + b"y" * n))
    return target.getvalue()


def zip_bytes():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", RAW)
        archive.writestr("b.txt", b"second")
    return target.getvalue()


def test_buffered_reader(feed):
    def read(buf):
        reader = io.BufferedReader(buf)
        first = reader.read(1000)
        return first + reader.readline() + reader.peek(1)[:0] + reader.read()

    assert feed(RAW, read) == RAW


def test_buffered_reader_reads_exactly(feed):
    def read(buf):
        reader, out = io.BufferedReader(buf), []
        while len(piece := reader.read(777)) == 777:
            out.append(piece)
        return b"".join(out) + piece

    assert feed(RAW, read) == RAW


def test_text_wrapper(feed):
    def read(buf):
        with io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8") as text:
            return [line.rstrip("\n") for line in text]

    assert feed(RAW, read) == LINES


def test_text_wrapper_universal_newlines(feed):
    def read(buf):
        return io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8").read()

    assert feed(RAW.replace(b"\n", b"\r\n"), read) == TEXT


def test_csv(feed):
    def read(buf):
        text = io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8", newline="")
        return list(csv.reader(text))

    assert feed(RAW, read) == [line.split(",") for line in LINES]


def test_json(feed):
    assert feed(json.dumps(VALUE).encode(), json.load) == VALUE


def test_pickle(feed):
    def read(buf):
        reader = io.BufferedReader(buf)
        return pickle.load(reader), pickle.load(reader)

    data = pickle.dumps(VALUE) + pickle.dumps(LINES, protocol=5)
    assert feed(data, read) == (VALUE, LINES)


def test_gzip(feed):
    def read(buf):
        with gzip.GzipFile(fileobj=io.BufferedReader(buf)) as file:
            return file.read()

    assert feed(gzip.compress(RAW), read) == RAW


def test_gzip_on_the_raw_stream(feed):
    def read(buf):
        with gzip.open(buf) as file:
            return b"".join(file)

    assert feed(gzip.compress(RAW) + gzip.compress(b"more"), read) == RAW + b"more"


def test_tar_stream(feed):
    def read(buf):
        with tarfile.open(fileobj=buf, mode="r|*") as tar:
            return [tar.extractfile(member).read() for member in tar]

    assert feed(tar_bytes(), read) == [RAW + b"y" * n for n in range(5)]


def test_zip_needs_the_end():
    data = zip_bytes()
    with trickling(data) as buf:
        buf.peek()
        assert buf.read() == data
        with zipfile.ZipFile(buf) as archive:
            assert archive.namelist() == ["a.txt", "b.txt"]
            assert archive.read("a.txt") == RAW
            assert archive.testzip() is None
    with zipfile.ZipFile(make_buffer(data)) as archive:
        assert archive.read("b.txt") == b"second"


def test_copyfileobj(feed):
    def read(buf):
        target = io.BytesIO()
        shutil.copyfileobj(buf, target)
        return target.getvalue()

    assert feed(RAW, read) == RAW


def test_file_digest(feed):
    digest = feed(RAW, lambda buf: hashlib.file_digest(buf, "sha256").digest())
    assert digest == hashlib.sha256(RAW).digest()


def test_large_through_the_stack(feed):
    data = RAW * 8
    assert feed(data, lambda buf: io.BufferedReader(buf, 1 << 20).read()) == data


class TestWrappersAndTheRawStream:
    def test_dropping_a_wrapper_closes_it(self):
        buf = make_buffer(RAW)
        io.BufferedReader(buf).read(1)
        assert buf.closed

    def test_detach_does_not(self):
        buf = make_buffer(RAW)
        reader = io.BufferedReader(buf, 100)
        assert reader.read(10) == RAW[:10]
        assert reader.detach() is buf
        assert not buf.closed
        assert buf.tell() == 100

    def test_seek_and_tell_through_it(self):
        reader = io.BufferedReader(make_buffer(RAW))
        assert reader.seekable() and reader.readable() and not reader.writable()
        reader.seek(100)
        assert reader.read(5) == RAW[100:105]
        assert reader.tell() == 105
        assert reader.seek(-5, 2) == len(RAW) - 5
        assert reader.read() == RAW[-5:]

    def test_no_writing_through_it(self):
        with pytest.raises(OSError):
            io.BufferedWriter(make_buffer(RAW))
        with pytest.raises(OSError):
            io.BufferedReader(make_buffer(RAW)).fileno()

    def test_repr_of_a_wrapper(self):
        assert "BufferedReader" in repr(io.BufferedReader(make_buffer(RAW)))


# ---- A stream that breaks off ----

ROWS = b"".join(b"%d,text\n" % n for n in range(5000))


def broken_off(data, **options):
    """Half of it, and then the writer fails."""
    writer = Writer(**options)
    for at in range(0, len(data) // 2, 1000):
        writer.write(data[at : min(at + 1000, len(data) // 2)])
    writer.abort("broke off")
    return writer.buffer


def tarball():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(ROWS)
        tar.addfile(member, io.BytesIO(ROWS))
    return packed.getvalue()


def untar(buf):
    with tarfile.open(fileobj=buf, mode="r|*") as tar:
        return [tar.extractfile(member).read() for member in tar]


def text(buf):
    return io.TextIOWrapper(io.BufferedReader(buf), encoding="ascii")


WRAPPED = {
    "BufferedReader.read()": (ROWS, lambda buf: io.BufferedReader(buf).read()),
    "BufferedReader.read(n)": (ROWS, lambda buf: io.BufferedReader(buf).read(10**6)),
    "BufferedReader lines": (ROWS, lambda buf: list(io.BufferedReader(buf))),
    "BufferedReader.readinto": (
        ROWS,
        lambda buf: io.BufferedReader(buf).readinto(bytearray(10**6)),
    ),
    "TextIOWrapper.read()": (ROWS, lambda buf: text(buf).read()),
    "TextIOWrapper lines": (ROWS, lambda buf: list(text(buf))),
    "csv": (ROWS, lambda buf: list(csv.reader(text(buf)))),
    "json": (json.dumps(list(range(9999))).encode(), json.load),
    "pickle": (
        pickle.dumps(list(range(99999))),
        lambda buf: pickle.load(io.BufferedReader(buf)),
    ),
    "gzip": (gzip.compress(ROWS), lambda buf: gzip.open(buf).read()),
    "gzip lines": (gzip.compress(ROWS), lambda buf: list(gzip.open(buf))),
    "tarfile": (tarball(), untar),
    "copyfileobj": (ROWS, lambda buf: shutil.copyfileobj(buf, io.BytesIO())),
}


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("name", WRAPPED)
def test_no_wrapper_takes_half_for_the_whole(name, seekable):
    data, consume = WRAPPED[name]
    with pytest.raises(BufferAborted) as caught:
        consume(broken_off(data, seekable=seekable))
    assert caught.value.reason == "broke off"


@pytest.mark.parametrize("name", WRAPPED)
def test_no_wrapper_takes_a_pause_for_the_end(name):
    data, consume = WRAPPED[name]
    buf = make_buffer(data[: len(data) // 2], eof=False)
    buf.settimeout(0.01)
    with pytest.raises(TimeoutError):
        consume(buf)
