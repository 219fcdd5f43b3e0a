"""stage.py APPLICATION FOLDER: the pages of the site, put together in FOLDER for Sphinx.

The README becomes the first page and docs/*.md the guides, with their links to each other
and to examples; the Erlang reference comes from the chunks of the built APPLICATION, the
Python reference from a page for each module, the examples from their files.
"""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

#: In this order; others come after them.
GUIDES = [
    "getting-started",
    "buffer",
    "asyncio",
    "web",
    "channel",
    "reactor",
    "interpreters",
    "reliability",
    "security",
    "io-stack",
    "performance",
    "architecture",
]
PROJECT = ["CHANGELOG", "SECURITY"]
PYTHON = ["erlang", *(f"erlang.{name}" for name in (
    "aio", "channel", "reactor", "wsgi", "asgi", "testing"
))]
LANGUAGES = {".py": "python", ".erl": "erlang", ".escript": "erlang", ".src": "erlang",
             ".html": "html", ".ex": "elixir", "": "sh"}

LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
EXAMPLE = re.compile(r"(?:\.\./)?(examples/\w+)(/.*)?$")


def tracked(folder):
    """The files below a folder that are part of the project."""
    listed = subprocess.run(["tools/list-files"], cwd=ROOT, capture_output=True, check=True)
    names = listed.stdout.decode().split("\0")
    return sorted(
        name.removeprefix("./") for name in names if name.removeprefix("./").startswith(folder)
    )


def moved(match):
    """Where a link of the README or a guide leads on the site, on which guides lie beside
    the first page."""
    path = match[1]
    if re.match(r"[a-z]+:", path):
        return path
    if example := EXAMPLE.match(path):
        return example[1] + ".md"
    path = path.removeprefix("docs/").removeprefix("../")
    return {"README.md": "index.md", "LICENSE": "license.rst"}.get(path, path)


def toctree(caption, pages):
    options = f":hidden:\n:caption: {caption}"
    return "\n".join(["", "```{toctree}", options, "", *pages, "```", ""])


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ordered(first, found):
    places = {name: place for place, name in enumerate(first)}
    return sorted(found, key=lambda name: (places.get(name, len(places)), name))


def guides(folder):
    pages = list((ROOT / "docs").glob("*.md"))
    for path in [*pages, *(ROOT / f"{name}.md" for name in PROJECT)]:
        write(folder / path.name, LINK.sub(moved, path.read_text(encoding="utf-8")))
    for name in tracked("docs/"):
        if name.endswith((".svg", ".png")):
            target = folder / name.removeprefix("docs/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    write(folder / "license.rst", "License\n=======\n\n.. literalinclude:: LICENSE\n")
    return ordered(GUIDES, (path.stem for path in pages))


def erlang(application, folder):
    folder.mkdir()
    made = subprocess.run(
        ["tools/doc-chunks", application], stdout=subprocess.PIPE, check=True, text=True
    )
    if made.stdout:
        sys.exit(f"{made.stdout}EDoc warns")
    subprocess.run(["escript", HERE / "chunks.escript", application, folder], check=True)
    return sorted(f"erlang/{path.stem}" for path in folder.glob("*.xml"))


def defined(module):
    """The names of a module that do not come from another one of ours."""
    stem = module.partition(".")[2] or "__init__"
    stub = ROOT / "python/erlang" / f"{stem}.pyi"
    for item in ast.parse(stub.read_text(encoding="utf-8")).body:
        name = getattr(item, "name", "_")
        if not name.startswith("_"):
            yield name


def python(folder):
    stubs = (path.stem for path in (ROOT / "python/erlang").glob("*.pyi"))
    modules = [("erlang." + stem).removesuffix(".__init__") for stem in stubs]
    modules = ordered(PYTHON, modules)
    for module in modules:
        title = f"{module}\n{'=' * len(module)}\n"
        members = ", ".join(defined(module))
        text = f"{title}\n.. automodule:: {module}\n   :members: {members}\n"
        write(folder / f"{module}.rst", text)
    return [f"python/{module}" for module in modules]


def examples(folder):
    files = {}
    for name in tracked("examples/"):
        files.setdefault(name.split("/")[1], []).append(name)
    for example, names in files.items():
        parts = [f"# {example}\n"]
        for name in names:
            text = (ROOT / name).read_text(encoding="utf-8")
            language = LANGUAGES.get(pathlib.Path(name).suffix, "text")
            parts.append(f"## {name}\n\n`````{language}\n{text}`````\n")
        write(folder / f"{example}.md", "\n".join(parts))
    return [f"examples/{example}" for example in files]


def main():
    application, folder = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = guides(folder)
    index = LINK.sub(moved, (ROOT / "README.md").read_text(encoding="utf-8"))
    index += toctree("Guides", pages)
    index += toctree("Erlang", erlang(application, folder / "erlang"))
    index += toctree("Python", python(folder / "python"))
    index += toctree("Examples", examples(folder / "examples"))
    index += toctree("Project", [*PROJECT, "license"])
    write(folder / "index.md", index)


if __name__ == "__main__":
    main()
