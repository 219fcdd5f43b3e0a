"""memoryview(buf), readview, readview_exactly, views: what they show, what they keep."""

import gc
import hashlib

import pytest

from erlang import PyBuffer
from erlang.testing import Writer, make_buffer
from support import LAYOUTS, Background, laid_out, trickling, wait_for_readers

DATA = bytes(range(250)) * 80


@pytest.mark.parametrize("layout", LAYOUTS)
class TestMemoryview:
    def test_all_unread_bytes(self, layout):
        buf = laid_out(DATA, layout)
        buf.seek(7)
        view = memoryview(buf)
        assert view == DATA[7:]
        assert buf.tell() == 7
        assert buf.read() == DATA[7:]

    def test_its_form(self, layout):
        view = memoryview(laid_out(DATA, layout))
        assert (view.readonly, view.ndim, view.format) == (True, 1, "B")
        assert (view.itemsize, view.shape, view.strides) == (1, (len(DATA),), (1,))
        assert view.c_contiguous
        assert bytes(view[10:20]) == DATA[10:20]
        assert view[0] == DATA[0]
        assert view.cast("H").nbytes == len(DATA)

    def test_growing_under_a_view(self, layout):
        writer = Writer()
        buf, views = writer.buffer, []
        for n in range(20):
            writer.write(DATA[n * 1000 : (n + 1) * 1000])
            views.append(memoryview(buf))
        for n, view in enumerate(views):
            assert view == DATA[: (n + 1) * 1000]
        assert buf.read(5000) == DATA[:5000]
        assert memoryview(buf) == DATA[5000:20000]

    def test_reading_and_closing_under_a_view(self, layout):
        buf = laid_out(DATA, layout, eof=False)
        view = memoryview(buf)
        assert buf.read(len(DATA)) == DATA
        buf.close()
        assert view == DATA


class TestLifetime:
    @pytest.mark.parametrize("size", [0, 10, 600, 100000])
    def test_view_outlives_everything(self, size):
        data = DATA * (size // len(DATA) + 1)
        writer = Writer()
        writer.write(data[:size])
        buf = writer.buffer
        view, taken = memoryview(buf), None
        if size:
            taken = buf.readview()
        del writer, buf
        gc.collect()
        assert view == data[:size]
        assert taken is None or taken == data[:size]

    def test_view_does_not_pin_the_buffer(self):
        buf = make_buffer(DATA)
        view = memoryview(buf)
        assert not isinstance(view.obj, PyBuffer)
        assert buf not in gc.get_referents(view)

    def test_info_counts_views(self):
        writer = Writer()
        writer.write(DATA)
        views = [memoryview(writer.buffer), writer.buffer.readview(1000)]
        assert writer.info()["views"] == 2
        views[0].release()
        del views
        assert writer.info()["views"] == 0

    def test_released_view(self):
        view = memoryview(make_buffer(DATA))
        view.release()
        with pytest.raises(ValueError):
            view[0]

    def test_slices_keep_the_memory(self):
        view = memoryview(make_buffer(DATA))[100:200]
        gc.collect()
        assert view == DATA[100:200]


class TestReadview:
    def test_consumes(self):
        buf = make_buffer(DATA)
        assert buf.readview(1000) == DATA[:1000]
        assert buf.tell() == 1000
        assert buf.readview() == DATA[1000:]
        assert buf.readview() == b""

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("size", [1, 511, 512, 3000, -1, None])
    def test_pieces_make_the_whole(self, layout, size):
        buf, out = laid_out(DATA, layout), []
        while view := buf.readview(size):
            assert size in (-1, None) or len(view) <= size
            out.append(view)
        assert b"".join(out) == DATA

    def test_stops_at_the_end_of_a_segment(self):
        writer = Writer()
        writer.write(b"a" * 4000)
        writer.write(b"b" * 4000)
        assert writer.buffer.readview(6000) == b"a" * 4000
        assert writer.buffer.readview() == b"b" * 4000

    def test_waits_only_when_nothing_is_there(self):
        writer = Writer()
        writer.write(b"ab")
        assert writer.buffer.readview(10) == b"ab"
        call = Background(writer.buffer.readview, 10)
        wait_for_readers(writer)
        writer.write(b"cd")
        assert call.result() == b"cd"


class TestReadviewExactly:
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("size", [0, 1, 511, 3000, 15000])
    def test_exactly(self, layout, size):
        buf = laid_out(DATA, layout)
        buf.seek(3)
        view = buf.readview_exactly(size)
        assert view == DATA[3 : 3 + size]
        assert view.readonly
        assert buf.tell() == 3 + size
        assert buf.read() == DATA[3 + size :]

    def test_one_segment_is_not_copied(self):
        writer = Writer()
        writer.write(DATA)
        view = writer.buffer.readview_exactly(5000)
        assert writer.info()["views"] == 1
        assert view == DATA[:5000]

    def test_waits_for_all_of_it(self):
        writer = Writer()
        call = Background(writer.buffer.readview_exactly, 3000)
        for n in range(3):
            wait_for_readers(writer)
            writer.write(DATA[n * 1000 : (n + 1) * 1000])
        assert call.result() == DATA[:3000]


class TestViews:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_rest(self, layout):
        buf = laid_out(DATA, layout)
        buf.read(11)
        assert b"".join(buf.views()) == DATA[11:]
        assert buf.at_eof()

    def test_live(self):
        with trickling(DATA, 100) as buf:
            digest = hashlib.sha256()
            for view in buf.views():
                digest.update(view)
        assert digest.digest() == hashlib.sha256(DATA).digest()

    def test_is_an_iterator(self):
        views = make_buffer(DATA).views()
        assert iter(views) is views
        assert next(views) == DATA
        with pytest.raises(StopIteration):
            next(views)


def test_writable_request_is_refused():
    with pytest.raises(TypeError):
        make_buffer(b"abc").readinto(make_buffer(b"abc"))


def test_bytes_of_a_buffer_consumes_nothing():
    buf = make_buffer(b"abc")
    assert bytes(buf) == b"abc" == buf.read()


def test_bytes_like_arguments_take_a_buffer():
    buf = make_buffer(b"abc")
    assert hashlib.sha256(buf).digest() == hashlib.sha256(b"abc").digest()
    assert b"".join([b"<", buf, b">"]) == b"<abc>"
    assert make_buffer(b"xxabc").find(buf) == 2


def test_numpy():
    numpy = pytest.importorskip("numpy", reason="NumPy is not there for this Python")
    data = numpy.arange(10000, dtype="<i4").tobytes()
    buf = laid_out(data, "mixed")
    array = numpy.frombuffer(buf, dtype="<i4")
    del buf
    gc.collect()
    assert (array == numpy.arange(10000)).all()
    assert not array.flags.writeable
    parts = [
        numpy.frombuffer(view, dtype="u1") for view in laid_out(data, "adopted").views()
    ]
    assert numpy.concatenate(parts).tobytes() == data
