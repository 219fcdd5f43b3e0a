"""The standard library over a PyBuffer: each reader answers something to compare."""
import csv
import gzip
import hashlib
import io
import json
import pickle
import shutil
import tarfile
import weakref
import zipfile


# ---- The data, made here and written by Erlang ---------------------------------------

def text_lines():
    return [f"line {i}: {'äöü€😀x' * (i % 13)}\n" for i in range(400)]


def rows():
    return [[str(i), "a,b", 'q"uote', "new\nline", "ü" * (i % 7)] for i in range(150)]


def tree():
    return {"numbers": list(range(1500)), "text": "äöü€" * 100, "deep": [[[[None, True]]]]}


def members():
    return {f"folder/file{i}": bytes([i]) * (1 + i * 37) for i in range(12)}


def make(kind):
    out = io.BytesIO()
    if kind == "lines":
        out.write("".join(text_lines()).encode())
    elif kind == "csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows())
        out.write(text.getvalue().encode())
    elif kind == "json":
        out.write(json.dumps(tree(), ensure_ascii=False).encode())
    elif kind == "pickle":
        for value in (tree(), rows(), b"last"):
            pickle.dump(value, out)
    elif kind == "gzip":
        with gzip.GzipFile(fileobj=out, mode="wb") as file:
            file.write("".join(text_lines()).encode())
    elif kind in ("tar", "tar.gz"):
        with tarfile.open(fileobj=out, mode="w|gz" if kind == "tar.gz" else "w|") as tar:
            for name, data in members().items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    elif kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members().items():
                archive.writestr(name, data)
    return bytearray(out.getvalue())


# ---- The readers: True, or what differed ------------------------------------------------

def same(got, expected):
    return True if got == expected else [repr(got)[:300], repr(expected)[:300]]


def lines_expected():
    return [line.encode() for line in text_lines()]


def buffered_reader(buf):
    reader = io.BufferedReader(buf)
    expected = b"".join(lines_expected())
    head = reader.read(1000)
    line = reader.readline()
    rest = reader.read()
    return same(head + line + rest, expected) and same(len(head), 1000) and same(line[-1:], b"\n")


def buffered_small(buf):
    reader = io.BufferedReader(buf, 16)
    got = []
    while part := reader.read(7):
        got.append(part)
    return same(b"".join(got), b"".join(lines_expected()))


def buffered_lines(buf):
    return same(list(io.BufferedReader(buf)), lines_expected())


def text_wrapper(buf):
    got = list(io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8", newline=""))
    return same(got, text_lines())


def text_wrapper_read(buf):
    text = io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8", newline="")
    got = text.read(100) + text.readline() + text.read()
    return same(got, "".join(text_lines()))


def csv_rows(buf):
    text = io.TextIOWrapper(io.BufferedReader(buf), encoding="utf-8", newline="")
    return same(list(csv.reader(text)), rows())


def json_load(buf):
    return same(json.load(buf), tree())


def json_load_text(buf):
    return same(json.load(io.TextIOWrapper(io.BufferedReader(buf), "utf-8")), tree())


def pickle_load(buf):
    reader = io.BufferedReader(buf)
    return same([pickle.load(reader) for _ in range(3)], [tree(), rows(), b"last"])


def gzip_read(buf):
    with gzip.open(io.BufferedReader(buf)) as file:
        return same(file.read(), b"".join(lines_expected()))


def gzip_lines(buf):
    with gzip.GzipFile(fileobj=buf) as file:
        return same(list(file), lines_expected())


def tar_stream(buf, mode="r|*"):
    got = {}
    with tarfile.open(fileobj=buf, mode=mode) as tar:
        for member in tar:
            got[member.name] = tar.extractfile(member).read()
    return same(got, members())


def zip_members(buf):
    buf.readall()  # until it has ended; a zip file is read from its end
    buf.seek(0)
    with zipfile.ZipFile(buf) as archive:
        return same({name: archive.read(name) for name in archive.namelist()}, members())


def copy_file(buf):
    out = io.BytesIO()
    shutil.copyfileobj(buf, out)
    return same(out.getvalue(), b"".join(lines_expected()))


def copy_file_small(buf):
    out = io.BytesIO()
    shutil.copyfileobj(buf, out, 33)
    return same(out.getvalue(), b"".join(lines_expected()))


def file_digest(buf):
    expected = hashlib.sha256(b"".join(lines_expected())).hexdigest()
    return same(hashlib.file_digest(buf, "sha256").hexdigest(), expected)


def with_block(buf):
    with buf as inside:
        first = inside.readline()
        if inside is not buf or inside.closed:
            return ["with"]
    return same((first, buf.closed), (lines_expected()[0], True))


def weak_reference(buf):
    reference = weakref.ref(buf)
    line = reference().readline()
    alive = reference() is buf
    del buf
    return same((line, alive), (lines_expected()[0], True))


def iteration(buf):
    return same(list(buf), lines_expected())


def all_readlines(buf):
    return same(buf.readlines(), lines_expected())


def interleaved(buf):
    expected = b"".join(lines_expected())
    got, target = [], bytearray(50)
    while True:
        got.append(buf.readline())
        count = buf.readinto(target)
        got.append(bytes(target[:count]))
        got.append(buf.read(13))
        got.append(bytes(buf.readview(70)))
        if not got[-1]:
            break
    got.append(buf.read())
    return same(b"".join(got), expected)


def all_views(buf):
    return same(b"".join(bytes(view) for view in buf.views()), b"".join(lines_expected()))


def is_raw_stream(buf):
    return same((isinstance(buf, io.RawIOBase), isinstance(buf, io.IOBase),
                 buf.readable(), buf.writable(), buf.seekable(), buf.isatty()),
                (True, True, True, False, True, False))
