"""The Python reference: docstrings as they are in the code, signatures of the stubs.

A docstring is plain text: paragraphs, `name: ...` at the start of a line for a parameter
or an attribute, and examples that are indented.
"""

import ast
import functools
import pathlib
import re
import textwrap

from sphinx.ext.autodoc import ClassDocumenter

#: Of a parameter, or of several.
NAMED = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): (?=\S)")
#: What is code: a call, an exception, a name of ours; or marked so by the author.
CODE = re.compile(
    r"`(?P<marked>[^`]+)`"
    r"|(?P<code>(?<![\w.`])(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*\([^()\s]*\)"
    r"|\berlang(?:\.[A-Za-z_]\w*)+|\bpy_\w+:\w+/[\d,]*\d|\bpy:\w+/[\d,]*\d"
    r"|\b(?:\w+\.)*[A-Z]\w*Error\b|\b(?:BufferAborted|ChannelClosed|PyBuffer|ChannelPeer)\b"
    r"|\bb'(?:\\n)?')"
)
SPECIAL = re.compile(r"([\\*`|]|_(?=\W|$))")


# ---- Docstrings -----------------------------------------------------------------------


def on_docstring(app, what, name, thing, options, lines):
    text = textwrap.dedent("\n".join(lines)).strip()
    lines[:] = [line for block in blocks(text) for line in (*block, "")]
    if what == "exception":
        lines += [f"Derived from ``{thing.__base__.__name__}``.", ""]


def blocks(text):
    """Of reStructuredText."""
    for is_code, lines in runs(text.split("\n")):
        if is_code:
            yield code("\n".join(lines))
        else:
            for block in re.split(r"\n\s*\n", "\n".join(lines)):
                yield from paragraphs([line.strip() for line in block.strip().split("\n")])


def runs(lines):
    """(is it code?, lines): what is indented is code after a blank line or a colon, and so
    is all until the next line that is not."""
    found = []
    before = ""
    for line in lines:
        inside = bool(found) and found[-1][0]
        if line.startswith(" ") or not line:
            begins = line and (not before or before.endswith(":"))
            is_code = inside or bool(begins)
        else:
            is_code = False
        if not found or is_code != inside:
            found.append((is_code, []))
        found[-1][1].append(line)
        before = line
    return found


def code(text):
    text = textwrap.dedent(text).strip("\n")
    lines = text.split("\n")
    try:
        ast.parse(text)
        language = "python"
    except SyntaxError:
        language = "erlang" if text.startswith("{ok, ") else "text"
    return [f".. code-block:: {language}", "", *("   " + line for line in lines)]


def paragraphs(lines):
    """One for each name that is described, and one for what is raised."""
    found = []
    for line in lines:
        if not found or NAMED.match(line) or line.startswith("Raises "):
            found.append([])
        found[-1].append(line)
    for paragraph in found:
        text = "\n".join(paragraph)
        named = NAMED.match(text)
        head = ""
        if named:
            head = ", ".join(f"``{name}``" for name in named[1].split(", ")) + ": "
            text = text[named.end() :]
        yield (head + marked_up(text)).split("\n")


def marked_up(text):
    found, end = [], 0
    for match in CODE.finditer(text):
        found.append(SPECIAL.sub(r"\\\1", text[end : match.start()]))
        found.append(f"``{match['marked'] or match['code']}``")
        # An end of markup needs a blank or a sign after it.
        found.append("\\ " if text[match.end() : match.end() + 1].isalnum() else "")
        end = match.end()
    return "".join([*found, SPECIAL.sub(r"\\\1", text[end:])])


# ---- Signatures -----------------------------------------------------------------------


def on_signature(app, what, name, thing, options, signature, answer):
    """That of the stub, with its types."""
    stub = stubs(app.config.python_stubs).get(name)
    if isinstance(stub, ast.ClassDef):
        methods = {item.name: item for item in stub.body if isinstance(item, ast.FunctionDef)}
        made = methods.get("__init__") or methods.get("__new__")
        return (arguments(made) if made else "", None)
    if what in ("function", "method"):
        return (arguments(stub, what == "method"), ast.unparse(stub.returns))
    return None


def arguments(function, bound=True):
    """Without self."""
    args = function.args
    if bound:
        owner = args.posonlyargs or args.args
        del owner[:1]
    return f"({ast.unparse(args)})"


class Qualify(ast.NodeTransformer):
    """Names that a stub has imported from ours, in full, and its own aliases for what they
    stand for."""

    def __init__(self, tree):
        self.names = {
            alias.asname or alias.name: ast.Name(f"{item.module}.{alias.name}")
            for item in tree.body
            if isinstance(item, ast.ImportFrom) and item.module.startswith("erlang")
            for alias in item.names
        }
        for item in tree.body:
            if isinstance(item, ast.Assign | ast.AnnAssign):
                target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
                if target.id.startswith("_") and not target.id.startswith("__"):
                    self.names[target.id] = self.visit(item.value)

    def visit_Name(self, node):
        return self.names.get(node.id, node)


@functools.cache
def stubs(folder):
    """By full name: what the stubs define, and what the classes in them do."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.pyi")):
        module = "erlang" if path.stem == "__init__" else f"erlang.{path.stem}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for item in Qualify(tree).visit(tree).body:
            for name, thing in named(item):
                found[f"{module}.{name}"] = thing
    return found


def named(item):
    if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
        yield item.name, item
    elif isinstance(item, ast.ClassDef):
        yield item.name, item
        for member in item.body:
            for name, thing in named(member):
                yield f"{item.name}.{name}", thing
    elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
        yield item.target.id, item


class ClassPage(ClassDocumenter):
    """Members in the order of the stub: that of a class in C is not known."""

    def sort_members(self, documenters, order):
        names = list(stubs(self.config.python_stubs))
        places = {name: place for place, name in enumerate(names)}

        def place(entry):
            module, _, name = entry[0].name.partition("::")
            return places.get(f"{module}.{name}", len(names))

        return sorted(documenters, key=place)


def setup(app):
    app.add_autodocumenter(ClassPage, override=True)
    app.add_config_value("python_stubs", "", "env")
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("autodoc-process-signature", on_signature)
    return {"parallel_read_safe": True}
