"""The version is that of src/erlpy.app.src wherever it is told: in the module, the NIF, the
changelog and the README."""

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
EBIN = ROOT / "_build/default/lib/erlpy/ebin"
OF_THE_NODE = """
ok = application:load(erlpy), {ok, Told} = application:get_key(erlpy, vsn),
#{erlpy := Built} = py:info(), io:format("~ts ~ts", [Told, Built]), halt().
"""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first(pattern: str, name: str) -> str:
    found = re.search(pattern, text(name), re.MULTILINE)
    return found[1] if found else "none"


def printed(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def told(extension: pathlib.Path) -> Iterator[tuple[str, str]]:
    yield "CHANGELOG.md", first(r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", "CHANGELOG.md")
    yield "README.md", first(r"\bversion (\d+\.\d+\.\d\S*)", "README.md")
    show = "import erlang; print(erlang.__version__)"
    path = str(extension.resolve())
    yield "erlang.__version__", printed(sys.executable, "-c", show, PYTHONPATH=path)
    command = ["erl", "-noinput", "-pa", str(EBIN), "-eval", OF_THE_NODE]
    words = printed(*command).split()
    yield "the application in a node", words[0] if words else "none"
    yield "py:info/0", words[-1] if words else "none"


def differences(extension: pathlib.Path) -> Iterator[str]:
    version = first(r'\{vsn, "(.*)"\}', "src/erlpy.app.src")
    for where, other in told(extension):
        if other != version:
            yield f"{where}: version {other}, and not {version} as in src/erlpy.app.src"
