"""readme.py HEADING: what the README says below that heading, for a script to do.

Writes into the working directory each block that begins with the name of its file, and
of the others, by their languages:

    commands.head   the shell commands but the last, which starts a shell of Erlang's
    commands.last   that one
    typed           what is typed there

The addresses and folders that the README can only make up are replaced by those of the
test.  Without a heading: the page before its first one.
"""

import os
import pathlib
import re
import sys

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
HEADING = re.compile(r"^##+ (.*)$")
FENCE = re.compile(r"^```(\w*).*$")
FILE_NAME = re.compile(r"^(?:#|%%) ([\w./]+\.\w+)$")
QUITS = {"erlang": "halt().\n", "elixir": "System.halt()\n"}


def blocks_below(wanted):
    """(language, text) of each block between the heading and the next."""
    heading, language, block = "", "", None
    for line in README.read_text(encoding="utf-8").splitlines(keepends=True):
        fence = FENCE.match(line)
        if block is not None:
            if fence:
                if heading == wanted:
                    yield language, "".join(block)
                block = None
            else:
                block.append(line)
        elif fence:
            language, block = fence[1], []
        elif match := HEADING.match(line):
            heading = match[1]


def replaced(text):
    here = os.getcwd()
    for made_up, real in [
        ("URL-OF-THIS-REPOSITORY", "file://" + os.environ["SOURCE"]),
        ("/tmp/sales.csv", here + "/sales.csv"),
        ("/opt/", here + "/opt/"),
    ]:
        text = text.replace(made_up, real)
    return text


def write(name, text):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(heading=""):
    found = False
    for language, text in blocks_below(heading):
        found = True
        text = replaced(text)
        if match := FILE_NAME.match(text.split("\n", 1)[0]):
            write(match[1], text)
        elif language == "sh":
            *head, last = text.splitlines(keepends=True)
            write("commands.head", "".join(head))
            write("commands.last", last)
        elif language in QUITS:
            write("typed", text + QUITS[language])
    if not found:
        sys.exit(f"the README has nothing below {heading!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
