"""What keeps the rooms of c_src apart: erlang -> python -> stream, and nothing back.

The headers are those that the compiler really reads, the symbols and the variables those
of the objects of the last build.
"""

import fnmatch
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = {
    "stream": ["stream"],
    "python": ["python", "stream"],
    "erlang": ["erlang", "python", "stream"],
}
#: Whose functions a room must not call, as the beginnings of their names.
FOREIGN_SYMBOLS = {
    "stream": ("Py", "_Py", "pyb_", "enif_", "nif_"),
    "python": ("enif_", "nif_"),
    "erlang": (),
}
FOREIGN_HEADERS = {
    "stream": {"Python.h", "erl_nif.h"},
    "python": {"erl_nif.h"},
    "erlang": set[str](),
}
#: Writable variables of a room: its one struct, and what is written once or never.
STATE = {
    "stream": {
        "own_room": "the struct",
        "room": "points to it, or to that of the copy that was loaded first",
    },
    "python": {
        "room": "the struct",
        "*_spec": "tables for CPython, whose types lack a const",
        "*_slots": "",
        "*_methods": "",
        "*_members": "",
        "*_getset": "",
        "module_def": "",
        "words": "names of parameters, for the same reason",
        "names": "",
        "*_word": "",
    },
    "erlang": {
        "rt": "the struct",
        "nif_am": "atoms, made at load",
        "*_type": "types of resources, made at load",
        "types": "",
        "type_count": "",
        "built": "what this copy was compiled for",
        "kept": "freed items for the next ones, and types, of this copy of the library",
        "owner_down": "reasons without memory of their own, made at load",
        "abandoned": "",
        "no_memory": "",
        "prepared": "handlers of fork, set once",
        "entry": "tables for the runtime",
        "functions": "",
        "*_spec": "tables for CPython",
        "*_slots": "",
        "*_methods": "",
        "*_members": "",
    },
}
MOST_LINES = 600
#: Longer ones, until a seam is found; they are not to grow.
LONG_FILES = {
    "test/ct/aio_SUITE.erl": 610,
    "test/ct/async_SUITE.erl": 625,
    "test/ct/async_cancel_SUITE.erl": 625,
    "test/ct/buffer_SUITE.erl": 710,
    "test/ct/call_SUITE.erl": 605,
    "test/ct/convert_SUITE.erl": 705,
    "test/ct/failure_SUITE.erl": 650,
    "test/ct/flow_SUITE.erl": 605,
    "test/python/test_aio.py": 655,
    "test/python/test_aio_loops.py": 655,
}
CODE = (".c", ".h", ".erl", ".py", ".pyi", ".js", ".escript", ".mk", ".test")


def output_of(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def configuration() -> tuple[pathlib.Path, dict[str, list[str]]]:
    """(where the objects are, the values of config.mk)."""
    folder = output_of("tools/configure", sys.executable).strip()
    values = {}
    for line in (ROOT / folder / "config.mk").read_text(encoding="utf-8").splitlines():
        name, value = line.split(" := ", 1)
        values[name] = shlex.split(value) if name == "PYTHON_CFLAGS" else [value]
    return pathlib.Path(folder), values


def sources(room: str) -> list[str]:
    found = (ROOT / "c_src" / room).rglob("*.c")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def wrong_headers() -> Iterator[str]:
    folder, values = configuration()
    flags: dict[str, list[str]] = {
        "stream": [],
        "python": values["PYTHON_CFLAGS"],
        "erlang": [*values["PYTHON_CFLAGS"], f"-I{folder}", "-isystem", *values["ERLANG_INCLUDE"]],
    }
    for room, allowed in ROOMS.items():
        command = ["cc", "-M", "-std=c11", "-D_GNU_SOURCE", *flags[room], *sources(room)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            yield f"c_src/{room}: a header that this room cannot see\n{done.stderr}"
        # One rule a source: its object, the source and each header that it reads.
        for rule in done.stdout.replace("\\\n", " ").splitlines():
            source, *headers = rule.split(":", 1)[1].split()
            for header in headers:
                if reason := wrong_header(room, allowed, header):
                    yield f"{source}: {header}: {reason}"


def wrong_header(room: str, allowed: list[str], header: str) -> str | None:
    path = pathlib.PurePath(header)
    if path.name in FOREIGN_HEADERS[room]:
        return "not for this room"
    if path.suffix == ".c":
        return "a source is compiled by itself"
    full = (ROOT / header).resolve()
    if ROOT / "c_src" not in full.parents:
        return None
    other = full.relative_to(ROOT / "c_src").parts[0]
    if other not in allowed:
        return f"{room} knows nothing of {other}"
    if other != room and path.name.endswith("internal.h"):
        return f"of {other} alone"
    return None


def objects(room: str) -> Iterator[pathlib.Path]:
    folder, _ = configuration()
    for source in sources(room):
        yield (folder / source).with_suffix(".o")


def wrong_symbols() -> Iterator[str]:
    for room, foreign in FOREIGN_SYMBOLS.items():
        for path in objects(room):
            for line in output_of("nm", "-u", str(path)).splitlines():
                name = line.split()[-1]
                if name.startswith(foreign):
                    yield f"{path}: {name}: not for this room"


VARIABLE = re.compile(r" O (\*COM\*|\.(?:data|bss)(?!\.rel\.ro)\S*)\s+\S+\s+(?:\.hidden )?(\S+)$")


def shared_state() -> Iterator[str]:
    for room, known in STATE.items():
        for path in objects(room):
            for line in output_of("objdump", "-t", str(path)).splitlines():
                # A static variable of a function has a number after its name.
                match = VARIABLE.search(line)
                name = match and match[2].split(".")[0]
                if name and not any(fnmatch.fnmatchcase(name, known_as) for known_as in known):
                    yield f"{path}: {name}: state outside the struct of the room"


def wrong_files() -> Iterator[str]:
    names = output_of("tools/list-files").split("\0")
    for name in sorted(name.removeprefix("./") for name in names if name.endswith(CODE)):
        lines = (ROOT / name).read_text(encoding="utf-8").count("\n")
        most = LONG_FILES.get(name, MOST_LINES)
        if lines > most:
            yield f"{name}: {lines} lines, more than {most}"
    for name in LONG_FILES:
        if not (ROOT / name).exists():
            yield f"{name}: not here, but in LONG_FILES"
