#!/usr/bin/env python3
"""check.py [SITE]: what must hold for the built site.

Every link leads to a page that is there, and to a place on it that is there; and every
public function of Erlang and of Python has a place, and a description.  Links to other
sites are counted, not followed: the tests do without a network.
"""

import ast
import html.parser
import importlib
import os
import pathlib
import subprocess
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EBIN = ROOT / "_build/default/lib/erlpy/ebin"


class Page(html.parser.HTMLParser):
    """The ids of a page, and (line, link) of what it refers to."""

    def __init__(self, path):
        super().__init__()
        self.ids = set()
        self.links = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag, name) == ("a", "name"):
                self.ids.add(value)
            elif name in ("href", "src") and tag != "use":
                self.links.append((self.getpos()[0], value))


# ---- Links ----------------------------------------------------------------------------


def check_links(site):
    """(pages, links that were followed, what is wrong, links to other sites)."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    followed, wrong, elsewhere = 0, [], []
    for path, page in pages.items():
        for line, link in page.links:
            if urllib.parse.urlsplit(link).scheme:
                elsewhere.append(link)
                continue
            followed += 1
            if reason := broken(pages, path, link):
                wrong.append(f"{path.relative_to(site)}:{line}: {link}: {reason}")
    return pages, followed, wrong, elsewhere


def broken(pages, path, link):
    parts = urllib.parse.urlsplit(link)
    target = path
    if parts.path:
        target = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(parts.path)))
    if not target.is_file():
        return "no such page"
    # Where a page is, a fragment that is empty is its top.
    fragment = urllib.parse.unquote(parts.fragment)
    if fragment and target in pages and fragment not in pages[target].ids:
        return "no such place on the page"
    return None


# ---- Descriptions ---------------------------------------------------------------------


def erlang(site):
    """(name, page, id, described?) of each public module and function."""
    modules = [
        path.stem
        for path in sorted((ROOT / "src").glob("*.erl"))
        if not path.read_text(encoding="utf-8").startswith("%% @private")
    ]
    command = ["escript", str(HERE / "functions.escript"), str(EBIN), *modules]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        module, name, arity, described = line.split()
        page = site / f"erlang/{module}.html"
        if name == "-":
            yield module, page, f"module-{module}", described == "yes"
        else:
            yield f"{module}:{name}/{arity}", page, f"{name}-{arity}", described == "yes"


def python(site):
    """The same of each public name of the package."""
    for path in sorted((ROOT / "python/erlang").glob("*.pyi")):
        module = "erlang" if path.stem == "__init__" else f"erlang.{path.stem}"
        here = importlib.import_module(module)
        page = site / f"python/{module}.html"
        yield module, page, f"module-{module}", bool(here.__doc__)
        for item in ast.parse(path.read_text(encoding="utf-8")).body:
            for name, is_data in names(item):
                yield described_in(page, module, here, name, is_data)


def names(item):
    """(what a stub defines, is it data?); not what begins with an underscore."""
    name = getattr(item, "name", "_")
    if name.startswith("_"):
        return
    yield name, False
    for member in item.body if isinstance(item, ast.ClassDef) else ():
        for inner, is_data in names(member):
            yield f"{name}.{inner}", is_data
        if isinstance(member, ast.AnnAssign):
            yield f"{name}.{member.target.id}", True


def described_in(page, module, here, name, is_data):
    owner, _, last = name.rpartition(".")
    around = getattr(here, owner) if owner else here
    full = f"{module}.{name}"
    if is_data:
        # Described where the class is.
        return full, page, f"{module}.{owner}", f"{last}: " in around.__doc__
    return full, page, full, bool(getattr(around, last).__doc__)


def check_described(site):
    found = [*erlang(site), *python(site)]
    ids = {page: Page(page).ids if page.is_file() else set() for _, page, _, _ in found}
    wrong = []
    for name, page, place, described in found:
        if place not in ids[page]:
            wrong.append(f"{name}: not on {page.relative_to(site)}")
        elif not described:
            wrong.append(f"{name}: not described")
    return len(found), wrong


def main():
    site = pathlib.Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT / "_build/site"
    pages, links, broken_links, elsewhere = check_links(site)
    names, missing = check_described(site)
    for line in [*broken_links, *missing]:
        print(f"FAILED   {line}")
    print(f"{links} links within {len(pages)} pages, {names} public names")
    print(f"not followed, to other sites: {len(elsewhere)} ({len(set(elsewhere))} different)")
    for link in sorted(set(elsewhere)):
        print(f"         {link}")
    # A page is a test of its links, and so is each name.
    wrong_pages = {line.partition(":")[0] for line in broken_links}
    failed = len(wrong_pages) + len(missing)
    print(f"{len(pages) + names - failed} passed, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
