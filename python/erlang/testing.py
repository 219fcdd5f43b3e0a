"""Buffers and channels without Erlang, so that a handler can be tested in plain python3.

    from erlang.testing import Writer, make_buffer

    def test_counts_lines():
        assert handler(make_buffer(b"one\\ntwo\\n")) == 2

    def test_reads_while_data_arrives():
        writer = Writer()
        thread = threading.Thread(target=handler, args=(writer.buffer,))
        thread.start()
        writer.write(b"one\\n")
        writer.close()
        thread.join()

    def test_stops_when_the_upload_breaks_off():
        writer = Writer()
        writer.write(b"half")
        writer.abort("client gone")
        with pytest.raises(erlang.BufferAborted):
            handler(writer.buffer)

    def test_answers():
        peer = make_channel()
        thread = threading.Thread(target=handler, args=(peer.channel,))
        thread.start()
        peer.send("ping")
        assert peer.recv() == "pong"
        peer.close()
        thread.join()

They are the PyBuffers and Channels of the node, over the same code.
"""

from _erlang import ChannelPeer, Writer

__all__ = ["ChannelPeer", "Writer", "make_buffer", "make_channel"]


def make_buffer(
    data=b"",
    *,
    eof=True,
    length=None,
    high_watermark=None,
    low_watermark=None,
    max_size=None,
    seekable=True,
    last_reader=None,
):
    """A PyBuffer that holds data (bytes-like).

    With eof=False the stream stays open, and a read that finds too little waits for
    ever: use a Writer to go on writing.  The other options are those of Writer.
    """
    writer = Writer(
        length,
        high_watermark=high_watermark,
        low_watermark=low_watermark,
        max_size=max_size,
        seekable=seekable,
        last_reader=last_reader,
    )
    writer.write(data)
    if eof:
        writer.close()
    return writer.buffer


def make_channel(max_size=None, *, views=False):
    """The Erlang end of a new channel, a ChannelPeer.

    Its attribute channel is the Channel to hand to Python code; send() and recv() are
    what Erlang processes do.  The options are those of ChannelPeer.
    """
    return ChannelPeer(max_size, views=views)
