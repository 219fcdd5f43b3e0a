"""What the sizes may be; and arguments that call back into the buffer."""

import io

import pytest

from erlang.testing import Writer, make_buffer

DATA = b"one\ntwo\nthree\n"
SIZED = ["read", "read1", "readline", "readlines", "read_nonblock", "peek", "readview"]
EXACT = ["readexactly", "readview_exactly"]


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def keyword(method):
    return "hint" if method == "readlines" else "n" if method in EXACT else "size"


@pytest.mark.parametrize("method", SIZED + EXACT)
class TestSizes:
    def call(self, method, *args, **kwargs):
        buf = make_buffer(DATA)
        try:
            result = getattr(buf, method)(*args, **kwargs)
        except BaseException:
            assert buf.tell() == 0
            raise
        return bytes(result) if isinstance(result, memoryview) else result

    def test_index_objects_and_keywords(self, method):
        expected = self.call(method, 3)
        assert self.call(method, Index(3)) == expected
        assert self.call(method, **{keyword(method): 3}) == expected
        assert self.call(method, **{keyword(method): Index(3)}) == expected
        assert self.call(method, True) == self.call(method, 1)

    def test_index_that_raises(self, method):
        with pytest.raises(ZeroDivisionError):
            self.call(method, Index(ZeroDivisionError()))
        with pytest.raises(KeyboardInterrupt):
            self.call(method, Index(KeyboardInterrupt()))
        with pytest.raises(TypeError):
            self.call(method, Index("not an int"))

    @pytest.mark.parametrize("value", [1.0, "1", b"1", [], object()])
    def test_wrong_types(self, method, value):
        with pytest.raises(TypeError):
            self.call(method, value)

    @pytest.mark.parametrize("value", [2**100, -(2**100), 2**63])
    def test_too_large(self, method, value):
        with pytest.raises(OverflowError):
            self.call(method, value)
        if method in ("read", "readline", "readlines"):
            with pytest.raises(OverflowError):
                getattr(io.BytesIO(DATA), method)(value)

    def test_wrong_keywords_and_counts(self, method):
        for args, kwargs in [
            ((1, 2), {}),
            ((), {"sise": 1}),
            ((1,), {keyword(method): 1}),
            ((), {keyword(method): 1, "x": 1}),
        ]:
            with pytest.raises(TypeError):
                self.call(method, *args, **kwargs)


@pytest.mark.parametrize("method", SIZED)
def test_none_and_negative_are_the_default(method):
    for value in (None, -1, -100, -(2**63)):
        buf, model = make_buffer(DATA), make_buffer(DATA)
        default = 0 if method == "peek" else -1
        assert getattr(buf, method)(value) == getattr(model, method)(default)
        assert buf.tell() == model.tell()
        assert getattr(make_buffer(DATA), method)() == getattr(make_buffer(DATA), method)(
            default
        )


@pytest.mark.parametrize("method", SIZED)
def test_the_largest_size(method):
    assert getattr(make_buffer(DATA), method)(2**63 - 1)


@pytest.mark.parametrize("method", EXACT)
def test_exact_counts_are_required_and_not_negative(method):
    buf = make_buffer(DATA)
    for value in (-1, -(2**63)):
        with pytest.raises(ValueError):
            getattr(buf, method)(value)
    with pytest.raises(TypeError):
        getattr(buf, method)()
    with pytest.raises(TypeError):
        getattr(buf, method)(None)
    assert buf.tell() == 0


@pytest.mark.parametrize("method", ["readinto", "readinto1"])
class TestReadinto:
    @pytest.mark.parametrize(
        "target", [b"xx", "xx", 5, None, memoryview(b"xx"), memoryview(bytearray(8))[::2]]
    )
    def test_not_writable(self, method, target):
        buf = make_buffer(DATA)
        with pytest.raises(TypeError):
            getattr(buf, method)(target)
        assert buf.tell() == 0

    def test_any_writable_memory(self, method):
        from array import array

        target = array("i", [0, 0])
        assert getattr(make_buffer(DATA), method)(target) == 8
        assert target.tobytes() == DATA[:8]
        target = bytearray(10)
        assert getattr(make_buffer(DATA), method)(memoryview(target)[2:5]) == 3
        assert target == b"\0\0one\0\0\0\0\0"

    def test_counts(self, method):
        with pytest.raises(TypeError):
            getattr(make_buffer(DATA), method)()


METHODS = {
    "read": lambda buf, size: buf.read(size),
    "read1": lambda buf, size: buf.read1(size),
    "readline": lambda buf, size: buf.readline(size),
    "readlines": lambda buf, size: buf.readlines(size),
    "read_nonblock": lambda buf, size: buf.read_nonblock(size),
    "peek": lambda buf, size: buf.peek(size),
    "readexactly": lambda buf, size: buf.readexactly(size),
    "readview": lambda buf, size: buf.readview(size),
    "readview_exactly": lambda buf, size: buf.readview_exactly(size),
    "seek": lambda buf, size: buf.seek(size),
    "seek whence": lambda buf, size: buf.seek(0, size),
    "find start": lambda buf, size: buf.find(b"e", size),
    "find end": lambda buf, size: buf.find(b"e", 0, size),
    "find byte": lambda buf, size: buf.find(size),
    "readuntil limit": lambda buf, size: buf.readuntil(b"w", size),
}


@pytest.mark.parametrize("name", METHODS)
def test_index_that_uses_the_same_buffer(name):
    """Arguments are converted before any lock is taken."""
    writer = Writer()
    writer.write(DATA)
    writer.close()
    buf, seen = writer.buffer, []

    class Hostile:
        def __index__(self):
            seen.append(buf.read(1))
            seen.append(buf.readline())
            seen.append(bytes(memoryview(buf)))
            seen.append(buf.find(b"w"))
            buf.seek(4)
            return 1

    METHODS[name](buf, Hostile())
    assert seen == [b"o", b"ne\n", DATA[4:], 1]


def test_buffer_export_that_uses_the_same_buffer():
    buf = make_buffer(DATA)

    class Hostile(bytearray):
        def __buffer__(self, flags):
            buf.readline()
            return super().__buffer__(flags)

    assert buf.readinto(Hostile(3)) == 3
    assert buf.find(Hostile(b"e")) >= 0


def test_index_that_closes():
    buf = make_buffer(DATA, eof=False)

    class Hostile:
        def __index__(self):
            buf.read()
            return 5

    buf.close()
    assert buf.read(Hostile()) == b""


def test_needle_that_changes_while_we_search():
    needle = bytearray(b"e\n")

    class Start:
        def __index__(self):
            needle[:] = b"n" * 50000
            return 0

    assert make_buffer(DATA).find(needle, Start()) == 2
