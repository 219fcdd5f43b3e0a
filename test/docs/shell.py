#!/usr/bin/env python3
"""Shell help: h() prints what the modules say of their functions, in a node that has the
library on its path as the README starts it, and nothing of private ones.  And the checks
of the site notice what is wrong with one.
"""

import pathlib
import sys
import tempfile

from command import Failure, output_of, passed

ROOT = pathlib.Path(__file__).resolve().parents[2]
EBIN = ROOT / "_build/default/lib/erlpy/ebin"

sys.path[:0] = [str(ROOT / "docs/site"), str(ROOT / "priv/python")]
import check  # noqa: E402

CUT = "----cut----"
#: What is typed, and what is then on the screen.
SHOWN = {
    "h(py)": ["Calls Python from Erlang."],
    "h(py, call, 5)": ["Timeout :: timeout()", "Calls Module.Function"],
    "h(py_buffer)": ["Byte buffers from Erlang processes into Python."],
    "h(py_buffer, write)": [
        "-spec write(Buffer :: buffer(), Data :: iodata()) ->",
        "Appends bytes.",
        "waiting at most so many milliseconds",
    ],
    "h(py_buffer, new, 1)": ["high_watermark", "refused and changes nothing"],
    "h(py_channel, recv)": ["Takes the next message"],
    "h(py_context, destroy)": ["Ends the context."],
    "h(py_reactor_context, handoff, 3)": ["Hands a descriptor to a reactor."],
    "h(py_web, next, 2)": ["The next event of the response"],
    "ht(py_buffer, options)": ["high_watermark => pos_integer()"],
    "h(py_nif)": ["There is no documentation for py_nif"],
}


def screens():
    """What is on the screen after each, in one node."""
    code = "".join(f'shell_default:{typed}, io:put_chars("{CUT}"), ' for typed in SHOWN)
    output = output_of("erl", "-noinput", "-pa", str(EBIN), "-eval", code + "halt().")
    return dict(zip(SHOWN, output.split(CUT)))


def show(screen, wanted):
    flat = " ".join(screen.split())
    for text in wanted:
        if text not in flat:
            raise Failure(f"{screen}\nnot there: {text}")


#: A page, and what the check says of it.
PAGES = {
    '<a href="#here">': "no such place on the page",
    '<a href="other.html">': "no such page",
    '<a href="page.html#gone">': "no such place on the page",
    '<img src="gone.svg">': "no such page",
    '<p id="here"><a href="#here"><a href="page.html"><a href="https://a.org/#b">': None,
}


def judge(text, wanted):
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        page = pathlib.Path(folder) / "page.html"
        page.write_text(text, encoding="utf-8")
        _, _, wrong, _ = check.check_links(page.parent)
    if [line.split(": ")[-1] for line in wrong] != ([wanted] if wanted else []):
        raise Failure(f"{text}: {wrong}")


def judge_names():
    """Of a site without pages each name is missed."""
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        count, wrong = check.check_described(pathlib.Path(folder))
    for name in "py_buffer:write/2", "erlang.PyBuffer.read", "erlang.reactor.Protocol.fd":
        if not any(line.startswith(f"{name}: ") for line in wrong):
            raise Failure(f"{name} is not among the {count} names")
    if len(wrong) != count:
        raise Failure(f"{count} names, {len(wrong)} missed")


def main():
    shown = screens()
    results = [passed(typed, show, shown[typed], wanted) for typed, wanted in SHOWN.items()]
    results.append(passed("a site without names", judge_names))
    results += [passed(text, judge, text, wanted) for text, wanted in PAGES.items()]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
