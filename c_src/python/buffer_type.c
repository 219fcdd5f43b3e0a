/*
 * buffer_type.c: what help(erlang.PyBuffer) shows: the table of methods and their docs.
 */
#include "internal.h"

#include <stddef.h>
#include <structmember.h>

#define FAST(name) (PyCFunction)(void (*)(void))(name), METH_FASTCALL | METH_KEYWORDS

PyDoc_STRVAR(
    buffer_doc,
    "A stream of bytes that Erlang writes and Python reads, as a file object.\n"
    "\n"
    "Reading may start while data still arrives: a read that finds too little\n"
    "waits without the GIL.  Erlang makes buffers and passes them in; in tests\n"
    "erlang.testing.make_buffer() does.\n"
    "\n"
    "It is an io.RawIOBase: wrap it in io.BufferedReader or io.TextIOWrapper as\n"
    "any raw stream.  memoryview(buf) shows all unread bytes without copying.\n"
    "Two PyBuffers are equal when they read the same stream; the position is\n"
    "the stream's.  A call that raises leaves it where it was.\n"
    "\n"
    "When the writing side fails, reads raise BufferAborted (an OSError): those\n"
    "that promise completeness (read(-1), readall, readlines(-1), readexactly,\n"
    "readuntil, readview_exactly) at once and without consuming, the others when\n"
    "what had arrived has been read.  settimeout() bounds each wait.");

PyDoc_STRVAR(read_doc,
             "read($self, size=-1)\n--\n\n"
             "Read at most size bytes: what is there, waiting only when nothing is.\n\n"
             "With -1 or None, wait for the end of data and read everything.\n"
             "b'' means the end (or size 0).");
PyDoc_STRVAR(readall_doc, "readall($self)\n--\n\n"
                          "Wait for the end of data and read everything, as read(-1).");
PyDoc_STRVAR(
    read1_doc,
    "read1($self, size=-1)\n--\n\n"
    "Read at most size bytes of what is there; -1 or None: all that is there.\n\n"
    "Waits only when nothing is there.  b'' means the end (or size 0).");
PyDoc_STRVAR(
    readinto_doc,
    "readinto($self, buffer, /)\n--\n\n"
    "Read into a writable bytes-like object; return how many bytes.\n\n"
    "Takes what is there and waits only when nothing is.  0 means the end (or\n"
    "an empty target).");
PyDoc_STRVAR(readinto1_doc, "readinto1($self, buffer, /)\n--\n\n"
                            "The same as readinto().");
PyDoc_STRVAR(readline_doc,
             "readline($self, size=-1)\n--\n\n"
             "Read one line with its b'\\n', waiting until it is complete.\n\n"
             "At most size bytes of it when size is not negative.  The last line may\n"
             "lack its newline.  b'' means the end (or size 0).");
PyDoc_STRVAR(readlines_doc,
             "readlines($self, hint=-1)\n--\n\n"
             "Read lines into a list: all until the end of data, or with hint > 0 as\n"
             "many as it takes to reach hint bytes.\n\n"
             "Consumes nothing until all of them are there.");
PyDoc_STRVAR(
    peek_doc,
    "peek($self, size=0)\n--\n\n"
    "Show at most size bytes without consuming them (up to 8192 for size < 1).\n\n"
    "Waits only when nothing is there.  b'' means the end.");
PyDoc_STRVAR(readexactly_doc,
             "readexactly($self, n)\n--\n\n"
             "Read exactly n bytes, waiting until they are there.\n\n"
             "Raises IncompleteReadError (an EOFError) when the end comes first; its\n"
             "partial holds what was there, which is then consumed.  Raises\n"
             "BufferAborted once the stream was aborted, whatever is there.");
PyDoc_STRVAR(readuntil_doc,
             "readuntil($self, sep, limit=None)\n--\n\n"
             "Read up to and including the bytes sep, waiting until they are there.\n\n"
             "Raises IncompleteReadError (an EOFError) when the end comes first, as\n"
             "readexactly() does, and LimitOverrunError (a ValueError, nothing\n"
             "consumed) when more than limit bytes come before sep.  Raises\n"
             "BufferAborted once the stream was aborted, whatever is there.");
PyDoc_STRVAR(
    read_nonblock_doc,
    "read_nonblock($self, size=-1)\n--\n\n"
    "Read at most size bytes of what is there (-1 or None: all) and never wait.\n\n"
    "b'' when nothing is there: at_eof() tells whether more may come.  Raises\n"
    "BufferAborted when nothing is there and the stream was aborted.");
PyDoc_STRVAR(readable_amount_doc, "readable_amount($self)\n--\n\n"
                                  "How many bytes can be read without waiting.");
PyDoc_STRVAR(at_eof_doc,
             "at_eof($self)\n--\n\n"
             "True when everything has been read and no more is to be waited for.\n\n"
             "Raises BufferAborted when everything has been read and the stream was\n"
             "aborted.");
PyDoc_STRVAR(find_doc,
             "find($self, sub, start=0, end=None)\n--\n\n"
             "The lowest index at which sub (bytes, or one byte as an integer) lies\n"
             "within the bytes that are there, or -1.\n\n"
             "Counts from the read position, as memoryview(buf) and bytes.find() do.\n"
             "Consumes nothing and never waits for data.");
PyDoc_STRVAR(readview_doc,
             "readview($self, size=-1)\n--\n\n"
             "Consume bytes and return them as a memoryview, without copying.\n\n"
             "At most size bytes, and no more than lie in one piece; -1 or None: that\n"
             "piece.  Waits only when nothing is there.  An empty view means the end\n"
             "(or size 0).  Views under 512 bytes are copies.");
PyDoc_STRVAR(
    readview_exactly_doc,
    "readview_exactly($self, n)\n--\n\n"
    "As readexactly(), as a memoryview; copies only when the bytes do not lie\n"
    "in one piece.");
PyDoc_STRVAR(views_doc,
             "views($self)\n--\n\n"
             "Iterate over the rest as memoryviews, waiting between them.\n\n"
             "Each consumes what it shows, as readview() does.");
PyDoc_STRVAR(tell_doc, "tell($self)\n--\n\n"
                       "The read position: bytes from the start of the stream.");
PyDoc_STRVAR(
    seek_doc,
    "seek($self, offset, whence=0)\n--\n\n"
    "Move the read position and return it: from the start (0), from where it\n"
    "is (1), or from the end (2, only after end of data).\n\n"
    "Raises io.UnsupportedOperation outside of what has been written, and when\n"
    "the stream is not seekable().");
PyDoc_STRVAR(
    settimeout_doc,
    "settimeout($self, seconds, /)\n--\n\n"
    "How long each call on this PyBuffer may wait, in all: a number of seconds, or\n"
    "None (the default) for no limit.  With 0 a call never waits.\n\n"
    "A call that would wait longer raises TimeoutError and consumes nothing.");
PyDoc_STRVAR(gettimeout_doc,
             "gettimeout($self)\n--\n\n"
             "The timeout in seconds as a float, or None: see settimeout().");
PyDoc_STRVAR(close_doc,
             "close($self)\n--\n\n"
             "No more data is wanted: writing answers {error, closed} from now on.\n\n"
             "Waiting readers see the end.  What had arrived can still be read.");
PyDoc_STRVAR(flush_doc, "flush($self)\n--\n\n"
                        "Do nothing.  Raises ValueError when closed, as any file.");
PyDoc_STRVAR(readable_doc, "readable($self)\n--\n\nTrue.");
PyDoc_STRVAR(writable_doc, "writable($self)\n--\n\nFalse: only Erlang writes.");
PyDoc_STRVAR(seekable_doc,
             "seekable($self)\n--\n\n"
             "True when seek() works, within what has been written.\n\n"
             "False when Erlang made the buffer so: what has been read is\n"
             "freed.");
PyDoc_STRVAR(isatty_doc, "isatty($self)\n--\n\nFalse.");
PyDoc_STRVAR(fileno_doc, "fileno($self)\n--\n\n"
                         "Raises io.UnsupportedOperation: there is no descriptor.");
PyDoc_STRVAR(write_doc, "write($self, data, /)\n--\n\n"
                        "Raises io.UnsupportedOperation: only Erlang writes.");
PyDoc_STRVAR(writelines_doc, "writelines($self, lines, /)\n--\n\n"
                             "Raises io.UnsupportedOperation: only Erlang writes.");
PyDoc_STRVAR(truncate_doc, "truncate($self, size=None, /)\n--\n\n"
                           "Raises io.UnsupportedOperation.");
PyDoc_STRVAR(enter_doc, "__enter__($self)\n--\n\n"
                        "The buffer itself; ValueError when it is closed.");
PyDoc_STRVAR(exit_doc, "__exit__($self, *args)\n--\n\nClose the buffer.");

static PyMethodDef buffer_methods[] = {
    {"read", FAST(pyb__buffer_read), read_doc},
    {"readall", pyb__buffer_readall, METH_NOARGS, readall_doc},
    {"read1", FAST(pyb__buffer_read1), read1_doc},
    {"readinto", pyb__buffer_readinto, METH_O, readinto_doc},
    {"readinto1", pyb__buffer_readinto1, METH_O, readinto1_doc},
    {"readline", FAST(pyb__buffer_readline), readline_doc},
    {"readlines", FAST(pyb__buffer_readlines), readlines_doc},
    {"peek", FAST(pyb__buffer_peek), peek_doc},
    {"readexactly", FAST(pyb__buffer_readexactly), readexactly_doc},
    {"readuntil", FAST(pyb__buffer_readuntil), readuntil_doc},
    {"read_nonblock", FAST(pyb__buffer_read_nonblock), read_nonblock_doc},
    {"readable_amount", pyb__buffer_readable_amount, METH_NOARGS, readable_amount_doc},
    {"at_eof", pyb__buffer_at_eof, METH_NOARGS, at_eof_doc},
    {"find", FAST(pyb__buffer_find), find_doc},
    {"readview", FAST(pyb__buffer_readview), readview_doc},
    {"readview_exactly", FAST(pyb__buffer_readview_exactly), readview_exactly_doc},
    {"views", pyb__buffer_views, METH_NOARGS, views_doc},
    {"tell", pyb__buffer_tell, METH_NOARGS, tell_doc},
    {"seek", FAST(pyb__buffer_seek), seek_doc},
    {"settimeout", pyb__buffer_settimeout, METH_O, settimeout_doc},
    {"gettimeout", pyb__buffer_gettimeout, METH_NOARGS, gettimeout_doc},
    {"close", pyb__buffer_close, METH_NOARGS, close_doc},
    {"flush", pyb__buffer_flush, METH_NOARGS, flush_doc},
    {"readable", pyb__buffer_true, METH_NOARGS, readable_doc},
    {"writable", pyb__buffer_false, METH_NOARGS, writable_doc},
    {"seekable", pyb__buffer_seekable, METH_NOARGS, seekable_doc},
    {"isatty", pyb__buffer_false, METH_NOARGS, isatty_doc},
    {"fileno", pyb__buffer_fileno, METH_NOARGS, fileno_doc},
    {"write", pyb__buffer_refuse_write, METH_O, write_doc},
    {"writelines", pyb__buffer_refuse_write, METH_O, writelines_doc},
    {"truncate", pyb__buffer_refuse_truncate, METH_VARARGS, truncate_doc},
    {"__enter__", pyb__buffer_enter, METH_NOARGS, enter_doc},
    {"__exit__", pyb__buffer_exit, METH_VARARGS, exit_doc},
    {"__reduce__", pyb__refuse_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef buffer_getset[] = {
    {"closed", pyb__buffer_closed, NULL,
     "True after close(): never because the data has ended.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef buffer_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(pyb_buffer, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)buffer_doc},
    {Py_tp_dealloc, pyb__buffer_dealloc},
    {Py_tp_traverse, pyb__buffer_traverse},
    {Py_tp_repr, pyb__buffer_repr},
    {Py_tp_hash, pyb__buffer_hash},
    {Py_tp_richcompare, pyb__buffer_compare},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, pyb__buffer_next},
    {Py_tp_methods, buffer_methods},
    {Py_tp_getset, buffer_getset},
    {Py_tp_members, buffer_members},
    {Py_nb_bool, pyb__buffer_bool},
    {Py_sq_length, pyb__buffer_length},
    {Py_bf_getbuffer, pyb__buffer_getbuffer},
    {0, NULL},
};

PyType_Spec pyb__buffer_spec = {
    .name = "erlang.PyBuffer",
    .basicsize = sizeof(pyb_buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = buffer_slots,
};
