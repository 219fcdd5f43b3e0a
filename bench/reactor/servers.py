"""The echo servers that bench/reactor/run.py measures."""

import pathlib
import sys

from processes import Server

HERE = pathlib.Path(__file__).resolve().parent
# As for examples/upload_server, which says why.
ERL_FLAGS = "+sbwt none +sbwtdcpu none +sbwtdio none +Mut false"
# Of all servers.  Both loops of Python read into 256 KiB of new memory each time, and
# erlpy's buffers grow to what a message takes.  By default the C library may take that from
# the system and give it back with every message, which would hide all else where page
# faults are expensive.  Erlang sets the first of these itself, to 128 KiB.
KEPT_BYTES = 64 * 2**20
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
}
KEEP_FLAGS = f" +MYtt {KEPT_BYTES // 2**10}"


def servers(checkouts, reactors, keep):
    """All of them.  checkouts: pairs of a name and the folder of a built erlpy; reactors:
    how many each of these has; keep: the C library keeps what is freed."""
    return [
        _server("asyncio", _asyncio("asyncio", keep)),
        _server("uvloop", _asyncio("uvloop", keep)),
        *(
            _server(f"{name}, {protocol}", _erlpy(folder, module, reactors, keep))
            for name, folder in checkouts
            for protocol, module in (
                ("reactor.Protocol", "reactor_echo"),
                ("asyncio.Protocol", "asyncio_echo"),
            )
        ),
    ]


def _server(name, command):
    return Server(HERE, command, server=name)


def _asyncio(loop, keep):
    words = [sys.executable, "asyncio_echo.py", loop]
    return lambda port: ([*words, str(port)], KEEP_MEMORY if keep else {})


def _erlpy(folder, module, reactors, keep):
    variables = {
        **(KEEP_MEMORY if keep else {}),
        "ERL_LIBS": str(pathlib.Path(folder).resolve() / "_build/default/lib"),
        "ERL_FLAGS": ERL_FLAGS + (KEEP_FLAGS if keep else ""),
    }
    return lambda port: (
        ["escript", "echo.escript", module, str(port), str(reactors)],
        variables,
    )
