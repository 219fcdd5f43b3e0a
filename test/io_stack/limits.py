"""What of CPython's tests cannot apply to a buffer, and why.

A test stands here by name, or one statement of a test does.  Each reason says by which
error such a test must fail; one that passes fails the run, so the list cannot rot.  A
name that the running version of Python does not have is fine.
"""

import re
import sys
from fnmatch import fnmatchcase
from typing import NamedTuple

from rewrite import Deviation

#: In place of an error, for a test that passes and has made no buffer.
NO_BUFFER = "passes, and makes no buffer"
NO_STREAM = "no stream"


class Reason(NamedTuple):
    text: str
    #: for "Type: message" of the exception
    error: str


REASONS = {
    NO_STREAM: Reason(
        "reads no stream from outside: it writes, or is about base classes, arguments,"
        " file descriptors or a raw stream that misbehaves",
        NO_BUFFER,
    ),
    "writes": Reason(
        "writes to what it reads, or truncates it",
        r"UnsupportedOperation: (a PyBuffer is not writable|write|truncate|not writable"
        r"|BufferedReader\.write\(\))|AssertionError: EOFError not raised",
    ),
    "mock": Reason(
        "looks into its own raw stream, or changes it: reads that were counted, methods"
        " that are replaced",
        r"AttributeError: .*('_reads'|'_extraneous_reads'|'read_history'|is read-only"
        r"|has no attribute 'foo')",
    ),
    "name": Reason(
        "is about the name or the mode of a file",
        r"AttributeError: .*('name'|'mode')|AssertionError: (Regex didn't match"
        r"|False is not true|None is not an instance of|\"filename=)",
    ),
    "fileno": Reason(
        "needs a file descriptor",
        r"UnsupportedOperation: fileno|AttributeError: .*'closefd'",
    ),
    "would block": Reason(
        "is about a stream that answers `None` for \"would block\": a buffer waits",
        r"AssertionError: b'\w+' != (b'\w+'|None)",
    ),
    "one piece": Reason(
        "expects one piece of what is there from each raw read: a buffer gives all that"
        " has arrived",
        r"AssertionError: b'\w+' != b'\w+'",
    ),
    "BytesIO": Reason(
        "is about what BytesIO alone has: `getvalue`, `getbuffer`, its pickling, its"
        " memory",
        r"AttributeError: .*'(getvalue|getbuffer|__setstate__|detach)'"
        r"|TypeError: .*('initial_bytes'|no len\(\)|cannot pickle)"
        r"|AssertionError: (UnsupportedOperation not raised by detach|\d != \d)"
        r"|UnsupportedOperation: (seek|File or stream is not seekable)",
    ),
    "after close": Reason(
        "expects `ValueError` after `close()`: a buffer gives what is left",
        r"AssertionError: ValueError not raised",
    ),
    "outside": Reason(
        "seeks to where nothing has been written, which a buffer refuses",
        r"UnsupportedOperation: seek: outside of what has been written",
    ),
    "tell": Reason(
        "expects that a stream which cannot seek cannot `tell()`: a buffer can",
        r"AssertionError: UnsupportedOperation not raised by tell",
    ),
    "end": Reason(
        "seeks to what has not arrived yet",
        r"UnsupportedOperation: seek: outside of what has been written",
    ),
    "seeks": Reason(
        "seeks",
        r"UnsupportedOperation: .*seek|AssertionError: (False != True|False is not true)"
        r"|AttributeError: 'BadDecoder'",
    ),
    "short": Reason(
        "needs `read(n)` to answer with `n` bytes, which a raw stream need not",
        r"(ReadError|OSError): (unexpected end of data|file could not be opened)",
    ),
    "text": Reason(
        "is about a file of text where a buffer has bytes",
        r"AssertionError: JSONDecodeError not raised",
    ),
}


class Listed(NamedTuple):
    reason: str
    #: of "module.class", a regular expression
    cases: str
    #: names of tests, with wildcards
    tests: str
    through: str = ""
    arrivals: str = ""
    #: the versions in which the test does what does not apply: since one, before another
    since: tuple[int, int] = (3, 11)
    before: tuple[int, int] = (4, 0)

    def covers(self, row, arrival, test):
        return (
            self.since <= sys.version_info[:2] < self.before
            and applies(self, row, arrival)
            and any(fnmatchcase(test, name) for name in self.tests.split())
        )


def applies(entry, row, arrival):
    return (
        re.fullmatch(entry.cases, str(row)) is not None
        and (not entry.through or entry.through == row.through)
        and (not entry.arrivals or arrival.name in entry.arrivals.split())
    )


def listed(row, arrival, test):
    """The entries for this test."""
    return [entry for entry in LISTED if entry.covers(row, arrival, test)]


def reason_of(entries, errors):
    """Why a test with these errors does not apply; None when they are others."""
    for entry in entries:
        if all(re.match(REASONS[entry.reason].error, error) for error in errors):
            return entry.reason
    return None


def deviations(row, arrival):
    return [entry for entry in DEVIATIONS if applies(entry, row, arrival)]


IO = "test_io.(C|Py)IOTest"
READER = "test_io.(C|Py)BufferedReaderTest"
PAIR = "test_io.(C|Py)BufferedRWPairTest"
TEXT = "test_io.(C|Py)TextIOWrapperTest"
MEMORY = "test_memoryio.(C|Py)BytesIOTest"
TAR = "test_tarfile.*"
GZIP = "test_gzip.*"
BZ2 = "test_bz2.*"
LZMA = "test_lzma.*"
ZIP = "test_zipfile.*"
JSON = "test_json.*"
PICKLE = "test_pickle.*"
RAW = "PyBuffer"

DEVIATIONS = [
    Deviation("mock", READER, r".*rawio\._(extraneous_)?reads.*", "AttributeError"),
    Deviation("mock", READER, r".*rawio\.read_history.*", "AttributeError"),
    Deviation("name", f"{READER}|{TEXT}", r"raw\.name = .*", "AttributeError"),
    Deviation(
        "name", f"{READER}|{TEXT}", r"self\.assertRegex\(.*name=.*", "AssertionError"
    ),
    Deviation(
        "tell",
        READER,
        r"self\.assertRaises\(self\.UnsupportedOperation, bufio\.tell\)",
        "AssertionError: UnsupportedOperation not raised",
    ),
    Deviation(
        "outside",
        MEMORY,
        r"(memio|bytesIo)\.seek\((42|100|10000|len\(buf\)( \* \d+)? \+ 1)\)",
        "UnsupportedOperation: seek: outside",
        arrivals="there live",
        skipped=1,
    ),
    Deviation(
        "outside",
        MEMORY,
        r"self\.assertEqual\(memio\.seek\((-1, 1|-4, 1|1, 2)\), (0|11)\)",
        "(UnsupportedOperation|ValueError|OSError)",
        arrivals="there",
    ),
    Deviation(
        "after close",
        MEMORY,
        r"self\.assertRaises\(ValueError, memio\.(read|readline|readlines|__next__"
        r"|seek, 0|readinto, b)\)",
        "AssertionError: ValueError not raised",
        through=RAW,
    ),
    Deviation(
        "after close",
        MEMORY,
        r"self\.assertRaises\(ValueError, memio\."
        r"(tell|isatty|writable|readable|seekable)\)",
        "AssertionError: ValueError not raised",
    ),
    Deviation(
        "writes",
        MEMORY,
        r"self\.assertEqual\(memio\.writable\(\), True\)",
        "AssertionError",
    ),
    Deviation(
        "seeks",
        "test_hashlib.*",
        r"buf\.seek\(0\)",
        "UnsupportedOperation",
        arrivals="stream",
    ),
]

LISTED = [
    # ---- test_io ----
    Listed(
        NO_STREAM,
        IO,
        "test_*_destructor test_IOBase_finalize test_types_have_dict"
        " test_BufferedIOBase_readinto test_buffered_readinto_mixin"
        " test_write_readline_races"
        " test_append_mode_tell test_array_writes test_bad_opener_* test_opener*"
        " test_close_assert test_closefd test_no_closefd_with_filename"
        " test_flush_error_on_close test_invalid_newline test_large_file_ops"
        " test_multi_close test_*_nonsizeable test_nonbuffered_textio"
        " test_open_handles_NUL_chars test_optional_abilities test_with_open",
    ),
    Listed("fileno", IO, "test_closefd_attr test_fileio_closefd test_read_closed"),
    Listed("would block", IO, "test_RawIOBase_read"),
    Listed(
        "seeks",
        IO,
        "test_buffered_file_io test_raw_file_io test_raw_bytes_io",
        arrivals="stream",
    ),
    Listed(
        NO_STREAM,
        READER,
        "test_error_through_destructor test_garbage_collection test_misbehaved_io"
        " test_misbehaved_io_read test_*_character_device_file",
    ),
    Listed(NO_STREAM, READER, "test_args_error", before=(3, 12)),
    Listed(
        "after close",
        "test_io.PyBufferedReaderTest",
        "test_read_on_closed",
        since=(3, 12),
    ),
    Listed(
        "mock",
        READER,
        "test_close_error_on_close test_nonnormalized_close_error_on_close"
        " test_flush_error_on_close",
    ),
    Listed("name", READER, "test_recursive_repr"),
    Listed("BytesIO", f"{READER}|{TEXT}", "test_pickling_subclass"),
    Listed("fileno", READER, "test_fileno"),
    Listed("would block", READER, "test_read_non_blocking"),
    Listed(
        "one piece",
        READER,
        "test_read1 test_read1_arbitrary test_readinto1",
        arrivals="there",
    ),
    Listed(
        NO_STREAM,
        PAIR,
        "test_close_and_closed test_constructor* test_detach test_isatty test_readable"
        " test_reader_*close_error_on_close test_writer_close_error_on_close"
        " test_seekable test_uninitialized test_weakref_clearing test_write*",
    ),
    Listed(
        NO_STREAM,
        TEXT,
        "test_basic_io test_bufio_write_through test_create_at_shutdown_*"
        " test_default_encoding test_del__CHUNK_SIZE_SystemError test_destructor"
        " test_detach test_encoded_writes test_encoding test_encoding_errors_writing"
        " test_error_through_destructor test_errors_property"
        " test_internal_buffer_size test_issue22849 test_issue119506 test_line_buffering"
        " test_newlines_output test_non_text_encoding_codecs_are_rejected"
        " test_override_destructor test_read_byteslike test_read_nonbytes"
        " test_reconfigure_defaults test_reconfigure_errors"
        " test_reconfigure_line_buffering test_reconfigure_write"
        " test_reconfigure_write_fromascii test_reconfigure_write_non_seekable"
        " test_recursive_repr test_rwpair_cleared_before_textio test_telling"
        " test_subclass_repr test_uninitialized test_unreadable test_writelines*",
    ),
    Listed(
        "writes",
        TEXT,
        "test_illegal_encoder test_issue25862 test_rawio_write_through"
        " test_reconfigure_write_through",
    ),
    Listed(
        "seeks",
        TEXT,
        "test_issue1395_5 test_issue25862"
        " test_multibyte_seek_and_tell test_newlines_input test_readlines"
        " test_seek_and_tell test_seeking test_seeking_too",
        arrivals="stream",
    ),
    Listed(
        "seeks", "test_io.CTextIOWrapperTest", "test_illegal_decoder", arrivals="stream"
    ),
    # ---- test_memoryio ----
    Listed(NO_STREAM, MEMORY, "test_sizeof test_subclassing"),
    Listed("writes", MEMORY, "test_truncate test_unicode test_write*"),
    Listed("outside", MEMORY, "test_overseek", arrivals="there live"),
    Listed("end", MEMORY, "test_relative_seek", arrivals="live"),
    Listed("mock", MEMORY, "test_instance_dict_leak", through=RAW),
    Listed("mock", MEMORY, "test_pickling", through=RAW),
    Listed(
        "BytesIO",
        MEMORY,
        "test_bytes_array test_cow_setstate test_cow_truncate test_cow_write"
        " test_detach test_getbuffer* test_getstate"
        " test_getvalue test_init test_issue5449 test_pickling test_setstate",
    ),
    Listed(
        "seeks",
        MEMORY,
        "testSeek testTell test_flags test_iterator test_overseek test_read"
        " test_readinto test_readline test_readlines test_relative_seek test_seek"
        " test_tell test_truncate",
        arrivals="stream",
    ),
    # ---- Archives ----
    Listed("outside", TAR, "test_premature_end_of_archive"),
    Listed("short", TAR, "test_premature_end_of_archive", RAW, "live stream"),
    Listed("seeks", TAR, "test_is_tarfile_*", arrivals="stream"),
    Listed(
        "seeks",
        "test_tarfile.(Bz2|Lzma|)DetectReadTest",
        "test_detect_fileobj",
        arrivals="stream",
    ),
    Listed(
        "name",
        TAR,
        "test_bytes_name_attribute test_no_name_argument test_empty_name_attribute",
    ),
    Listed("name", GZIP, "test_paddedfile_getattr test_mode test_fileobj_with_name"),
    Listed(
        NO_STREAM,
        GZIP,
        "test_compress_correct_level test_decompress test_decompress_missing_trailer"
        " test_decompress_truncated_trailer test_fileobj_from_fdopen"
        " test_gzip_BadGzipFile_exception test_issue44439 test_seek_write test_write"
        " test_bad_params test_fileobj_without_name test_flush_modes test_issue112346"
        " test_write_seek_write test_refloop_unraisable",
    ),
    Listed("end", GZIP, "test_metadata test_metadata_ascii_name", arrivals="live"),
    Listed(
        "seeks",
        GZIP,
        "test_compresslevel_metadata test_metadata test_metadata_ascii_name"
        " test_seek_read",
        arrivals="stream",
    ),
    Listed("fileno", BZ2, "testFileno"),
    Listed(
        NO_STREAM,
        BZ2,
        "testBadArgs testOpenNonexistent testThreading testWriteBytesIO test_issue44439"
        " testOpenFileWithIntName testOpenFileWithoutName"
        " test_bad_params test_x_mode",
    ),
    Listed("mock", BZ2, "testSeekable", through=RAW, arrivals="there live"),
    Listed("seeks", BZ2, "testSeek*", arrivals="stream"),
    Listed(
        "name",
        BZ2,
        "testOpenBytesFilename testOpenFileWithName testOpenFilename"
        " testOpenPathLikeFilename",
        since=(3, 13),
    ),
    Listed(
        "name",
        LZMA,
        "test_init_with_PathLike_filename test_init_with_filename test_read_from_file"
        " test_read_from_file_with_bytes_filename test_read_from_fileobj"
        " test_with_pathlike_filename",
        since=(3, 13),
    ),
    Listed("fileno", LZMA, "test_fileno"),
    Listed(
        NO_STREAM,
        LZMA,
        "test_init_bad_filter_spec test_read_from_fileobj_with_int_name"
        " test_init_with_preset_and_filters"
        " test_init_with_x_mode test_issue21872 test_issue44439 test_peek_bad_args"
        " test_write test_write_10 test_write_append test_bad_params test_encoding"
        " test_newline test_x_mode",
    ),
    Listed("mock", LZMA, "test_seekable", through=RAW, arrivals="there live"),
    Listed("seeks", LZMA, "test_seek*", arrivals="stream"),
    Listed("name", ZIP, "test_repr test_open_with_pathlike"),
    Listed("writes", ZIP, "test_truncated_zipfile"),
    Listed(
        NO_STREAM,
        ZIP,
        "test_add_file_after_2107 test_add_file_before_1980 test_append_to_zip_file"
        " test_per_file_compress* test_read_return_size test_writestr_compress*"
        " test_writestr_extended_*"
        " test_large_file_exception test_unseekable_zip_*known_filesize"
        " test_zip64_required_not_allowed_fail test_bad_compression_mode"
        " test_bad_constructor_mode test_closed_zip_raises_ValueError"
        " test_create_empty_zipinfo_* test_create_zipinfo_before_1980"
        " test_non_existent_file_raises_OSError test_null_byte_in_filename"
        " test_open_non_existent_item test_read0 test_read_after_write_*"
        " test_struct_sizes test_unicode_comment test_sanitize_windows_name",
    ),
    # ---- Others ----
    Listed("writes", "test_csv.*", "test_write_simple_dict"),
    Listed(
        NO_STREAM,
        "test_csv.*",
        "test_read_multi test_read_semi_sep test_read_with_blanks test_write_field*"
        " test_write_multiple_dict_rows test_write_no_fields"
        " test_dict_reader_fieldnames_* test_dict_writer_fieldnames_*"
        " test_typo_in_extrasaction_raises_error test_writeheader_return_value",
    ),
    Listed("text", JSON, "test_string_with_utf8_bom"),
    Listed(
        NO_STREAM,
        JSON,
        "test_bytes test_constant_invalid_case test_parse_constant"
        " test_nonascii_digits_rejected"
        " test_decimal test_decoder_optimizations test_empty_objects test_extra_data"
        " test_float test_invalid_* test_keys_reuse test_limit_int test_negative_index",
    ),
    Listed("BytesIO", PICKLE, "test_multiple_unpicklings_minimal"),
    Listed(
        NO_STREAM,
        PICKLE,
        "test_bad_getattr test_buffer_callback_error"
        " test_evil_pickler_mutating_collection test_float_format"
        " test_int_pickling_efficiency test_local_lookup_error test_pickle_to_2x"
        " test_picklebuffer_error test_reduce_bad_iterator test_clear_pickler_memo"
        " test_issue18339 test_multiple_unpicklings_unseekable"
        " test_priming_pickler_memo test_reusing_unpickler_objects"
        " test_pickle_invalid_reducer_override"
        " test_unpickling_buffering_readline test_unpickle_module_race",
    ),
]
