"""How the bytes of a test come into a buffer: all there before the first read, or from
a writer that puts in the next piece whenever what was there has been read."""

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from erlang import PyBuffer
from erlang.testing import Writer

# Less than one piece: a reader that asks for more gets one piece a read.
LIVE_WATERMARK = 1
# Odd, so that the seams lie across the blocks of the formats; and no more than so many,
# since each may cost the wake-up of a thread.
PIECE_BYTES = 61
MOST_PIECES = 30


class Arrival(NamedTuple):
    name: str
    text: str
    live: bool
    seekable: bool


THERE = Arrival("there", "all there", live=False, seekable=True)
LIVE = Arrival("live", "live", live=True, seekable=True)
STREAM = Arrival("stream", "live, not seekable", live=True, seekable=False)
# Written live as well, and read to its end before the test reads it from its start.
ENDED = Arrival("ended", "live, then ended", live=True, seekable=True)

#: (pieces, live, seekable) -> the buffer
Maker = Callable[[list[bytes], bool, bool], PyBuffer]


def pieces_of(data: bytes) -> list[bytes]:
    size = max(PIECE_BYTES, len(data) // MOST_PIECES | 1)
    return [data[at : at + size] for at in range(0, len(data), size)]


ARRIVALS = [THERE, LIVE, STREAM, ENDED]


class Feed:
    """Makes the buffers of one arrival, and counts them."""

    def __init__(self, arrival: Arrival, maker: Maker) -> None:
        self.arrival = arrival
        self.maker = maker
        self.made = 0

    def buffer(self, pieces: Iterable[bytes], seekable: bool = True) -> PyBuffer:
        self.made += 1
        seekable = seekable and self.arrival.seekable
        pieces = [bytes(piece) for piece in pieces if piece]
        buffer = self.maker(pieces, self.arrival.live, seekable)
        return at_end(buffer) if self.arrival is ENDED else buffer

    def ended(self, pieces: Iterable[bytes]) -> PyBuffer:
        self.made += 1
        return at_end(self.maker(list(pieces), self.arrival.live, True))


def at_end(buffer: PyBuffer) -> PyBuffer:
    """Waits for the end of the stream; what is to be read is all of it."""
    buffer.read()
    buffer.seek(0)
    return buffer


def plain_buffer(pieces: list[bytes], live: bool, seekable: bool) -> PyBuffer:
    """The first piece is there when the test gets the buffer; the end comes when all
    has been read: where a test may seek to does not depend on who is faster."""
    if not live:
        writer = Writer(seekable=seekable)
        buffer = writer.buffer
        write(writer, pieces)
        return buffer
    writer = Writer(high_watermark=LIVE_WATERMARK, seekable=seekable)
    buffer = writer.buffer
    for piece in pieces[:1]:
        writer.write(piece)
    rest = [*pieces[1:], b""]
    threading.Thread(target=write, args=(writer, rest), daemon=True).start()
    return buffer


def write(writer: Writer, pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
        writer.close()
    except BrokenPipeError:  # the reader has closed
        pass


def node_buffer(pieces: list[bytes], live: bool, seekable: bool) -> PyBuffer:
    """From a process of Erlang: io_stack.erl registers the function."""
    import erlang

    return erlang.call("io_stack_buffer", pieces, live, seekable)
