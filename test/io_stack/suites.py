"""The classes of CPython's tests that run, and which names become stand-ins in them."""

import importlib
import io
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import _pyio
from feeds import ENDED, LIVE, STREAM, THERE, Arrival
from stand_ins import Like, StandIns, class_for, low_level_file

RAW = "PyBuffer"
BUFFERED = "BufferedReader"
STREAMED = [THERE, LIVE, STREAM]
# For formats that are read by seeking.
SOUGHT = [THERE, ENDED]


class Patches(NamedTuple):
    """Attributes for the class of the tests, and names replaced in modules."""

    attributes: dict[str, Any] = {}
    modules: dict[str, dict[str, Any]] = {}


class Suite(NamedTuple):
    module: str
    classes: list[str]
    patches: Callable[[StandIns, type], Patches]
    through: list[str] = [RAW, BUFFERED]
    arrivals: list[Arrival] = STREAMED
    #: names of the tests that read, where most of the class is about something else
    only: str = "*"
    #: the module of the classes where the module has become a package
    inside: str = ""


def for_test_io(stand_ins: StandIns, case: type) -> Patches:
    """The names that test_io keeps in its classes, for io and for _pyio.  A raw stream
    without data stays a mock where the class also needs one to write to."""
    stand_ins.module = _pyio if case.__name__.startswith("Py") else io
    reads_only = "BufferedReader" in case.__name__
    attributes: dict[str, Any] = {
        "open": stand_ins.open,
        "FileIO": class_for(case.FileIO, stand_ins.file_io),
    }
    for name, make in [
        ("MockRawIO", stand_ins.mock),
        ("MockRawIOWithoutRead", stand_ins.mock),
        ("MockFileIO", stand_ins.raw),
        ("MockUnseekableIO", stand_ins.unseekable),
        ("BytesIO", stand_ins.stream),
    ]:
        original = getattr(case, name)
        attributes[name] = class_for(original, make, empty=reads_only)
    bytes_io = class_for(io.BytesIO, stand_ins.stream)
    return Patches(attributes, {case.__module__: {"io": Like(io, BytesIO=bytes_io)}})


def for_memoryio(stand_ins: StandIns, case: type) -> Patches:
    return Patches({"ioclass": class_for(case.ioclass, stand_ins.stream, empty=True)})


def opened_files(stand_ins: StandIns, case: type, **names: Any) -> dict:
    """Files that the test or the library opens, and BytesIOs with data."""
    bytes_io = class_for(io.BytesIO, stand_ins.stream)
    by_builtins = types.SimpleNamespace(open=stand_ins.open)
    return {
        case.__module__: {
            "open": stand_ins.open,
            "io": Like(io, BytesIO=bytes_io, open=stand_ins.open),
            "BytesIO": bytes_io,
            **names,
        },
        "gzip": {"builtins": by_builtins},
        "lzma": {"builtins": by_builtins},
        "bz2": {"_builtin_open": stand_ins.open},
    }


def for_files(stand_ins: StandIns, case: type) -> Patches:
    return Patches({}, opened_files(stand_ins, case))


def for_gzip(stand_ins: StandIns, case: type) -> Patches:
    module = importlib.import_module(case.__module__)
    unseekable = class_for(module.UnseekableIO, stand_ins.unseekable)
    return Patches({}, opened_files(stand_ins, case, UnseekableIO=unseekable))


def for_tarfile(stand_ins: StandIns, case: type) -> Patches:
    """The modes with a bar read the stream.  The others seek, in the archive or in what
    unpacks it."""
    sought = stand_ins.for_seeking()
    modules = opened_files(sought, case)
    modules[case.__module__] = opened_files(stand_ins, case)[case.__module__]
    modules["tarfile"] = {
        "bltn_open": sought.open,
        "_LowLevelFile": low_level_file(stand_ins),
    }
    attributes = {}
    if case.open is io.FileIO:
        attributes["open"] = staticmethod(
            lambda name, mode="r": stand_ins.open(name, mode + "b")
        )
    return Patches(attributes, modules)


def for_zipfile(stand_ins: StandIns, case: type) -> Patches:
    module = importlib.import_module(case.__module__)
    zip_file = Like(module.zipfile, ZipFile=stand_ins.zip_file())
    return Patches({}, {case.__module__: {"zipfile": zip_file, "open": stand_ins.open}})


def for_csv(stand_ins: StandIns, case: type) -> Patches:
    names = {
        "TemporaryFile": stand_ins.rewound,
        "StringIO": class_for(io.StringIO, stand_ins.text),
    }
    return Patches({}, {case.__module__: names})


def for_json(stand_ins: StandIns, case: type) -> Patches:
    """json.load takes a file of bytes; the strings of the tests come as UTF-8."""

    def encoded(string):
        return stand_ins.stream(string.encode())

    names = {"StringIO": class_for(io.StringIO, encoded)}
    return Patches({}, {case.__module__: names})


def for_pickle(stand_ins: StandIns, case: type) -> Patches:
    bytes_io = class_for(io.BytesIO, stand_ins.stream)
    like_io = Like(io, BytesIO=bytes_io, open=stand_ins.open)
    names = {"io": like_io, "open": stand_ins.open}
    return Patches({}, {"test.test_pickle": names, "test.pickletester": names})


def each(prefixes: str, name: str) -> list[str]:
    return [prefix + name for prefix in prefixes.split(" ")]


def packed(name: str) -> list[str]:
    return [name, *each("Gzip Bz2 Lzma", name)]


SUITES = [
    Suite(
        "test.test_io",
        [
            *each("C Py", "IOTest"),
            *each("C Py", "BufferedReaderTest"),
            *each("C Py", "BufferedRWPairTest"),
            *each("C Py", "TextIOWrapperTest"),
        ],
        for_test_io,
        [BUFFERED],
    ),
    Suite("test.test_memoryio", each("C Py", "BytesIOTest"), for_memoryio),
    Suite(
        "test.test_tarfile",
        [
            *packed("StreamReadTest"),
            *packed("DetectReadTest"),
            "GzipBrokenHeaderCorrectException",
        ],
        for_tarfile,
    ),
    Suite(
        "test.test_tarfile",
        [
            *packed("UstarReadTest"),
            *packed("MiscReadTest"),
            *packed("ListTest"),
            "MemberReadTest",
            "GNUReadTest",
            "PaxReadTest",
        ],
        for_tarfile,
        [BUFFERED],
        SOUGHT,
    ),
    Suite("test.test_gzip", ["TestGzip", "TestOpen"], for_gzip),
    Suite("test.test_bz2", ["BZ2FileTest", "OpenTest"], for_files, [RAW]),
    Suite("test.test_lzma", ["FileTestCase", "OpenTestCase"], for_files, [RAW]),
    Suite(
        "test.test_zipfile",
        [
            *each("Stored Deflate Bzip2 Lzma", "TestsWithSourceFile"),
            *each("Stored Deflate Bzip2 Lzma", "TestZip64InSmallFiles"),
            *each("Stored Deflate Bzip2 Lzma", "TestsWithRandomBinaryFiles"),
            *each("Stored Deflate Bzip2 Lzma", "BadCrcTests"),
            "OtherTests",
            "ExtractTests",
            "DecryptionTests",
            "UnseekableTests",
            "TestsWithMultipleOpens",
        ],
        for_zipfile,
        [RAW],
        SOUGHT,
        inside="test_core",
    ),
    Suite(
        "test.test_csv",
        [
            *("TestDialectExcel", "TestEscapedExcel", "TestDialectUnix"),
            "TestQuotedEscapedExcel",
            "TestDictFields",
        ],
        for_csv,
        [BUFFERED],
    ),
    Suite("test.test_json.test_decode", each("TestC TestPy", "Decode"), for_json, [RAW]),
    Suite(
        "test.test_pickle",
        [
            *each("C Py", "UnpicklerTests"),
            *each("C Py", "PicklerTests"),
            *each("C Py", "PicklerUnpicklerObjectTests"),
        ],
        for_pickle,
        [BUFFERED],
    ),
    Suite(
        "test.test_hashlib",
        ["HashLibTestCase"],
        for_files,
        [RAW],
        only="test_case_[!s]*_? test_case_sha[0-9]*_? test_file_digest",
    ),
    Suite("test.test_shutil", ["TestCopyFileObj"], for_files, [RAW]),
]
