"""The Erlang reference: pages of the XML that chunks.escript makes of EDoc's chunks."""

import ast
import functools
import pathlib
import re
import textwrap
from xml.etree import ElementTree

from docutils import nodes
from sphinx import addnodes
from sphinx.domains import Domain, ObjType
from sphinx.parsers import Parser

#: A call of a type in a spec, perhaps of another module.
TYPE = re.compile(r"\b(?:([a-z]\w*):)?([a-z]\w*)\(")
INLINE = {"code": nodes.literal, "b": nodes.strong, "em": nodes.emphasis}


class ErlangDomain(Domain):
    """What there is, by full name (`py:call/3`, `py:info()`, `py`), for links and search."""

    name = "erl"
    label = "Erlang"
    object_types = {
        kind: ObjType(kind) for kind in ("module", "function", "type")
    }
    initial_data = {"objects": {}}

    @property
    def objects(self):
        return self.data["objects"]

    def clear_doc(self, docname):
        for name, (document, *_) in list(self.objects.items()):
            if document == docname:
                del self.objects[name]

    def merge_domaindata(self, docnames, otherdata):
        self.objects.update(otherdata["objects"])

    def resolve_any_xref(self, env, fromdocname, builder, target, node, contnode):
        return []

    def get_objects(self):
        for name, (docname, anchor, kind) in self.objects.items():
            yield name, name, kind, docname, anchor, 1


class ErlangParser(Parser):
    """One page, of one module."""

    supported = ("erlang",)

    def parse(self, inputstring, document):
        module = ElementTree.fromstring(inputstring)
        env = document.settings.env
        page = Page(module, env.docname, env.get_domain("erl"))
        document += page.section()


class Page:
    def __init__(self, module, docname, domain):
        self.module = module
        self.name = module.get("name")
        self.docname = docname
        self.domain = domain
        self.folder = pathlib.Path(domain.env.doc2path(docname)).parent

    def section(self):
        section = self.part(self.name, f"module-{self.name}")
        self.note(self.name, f"module-{self.name}", "module")
        section += self.blocks(self.module.find("doc"))
        for kind, title in ("type", "Types"), ("function", "Functions"):
            entries = self.module.findall(kind)
            if entries:
                part = self.part(title, title.lower())
                part += [self.entry(kind, entry) for entry in entries]
                section += part
        return section

    def part(self, title, anchor):
        return nodes.section("", nodes.title(title, title), ids=[anchor], names=[anchor])

    def note(self, name, anchor, kind):
        self.domain.objects[name] = (self.docname, anchor, kind)

    def entry(self, kind, entry):
        """A type or a function: what it is called, its spec, and what is said of it."""
        name, arity = entry.get("name"), entry.get("arity")
        if kind == "type":
            shown, anchor = f"{name}()", f"type-{name}"
        else:
            shown, anchor = f"{name}/{arity}", f"{name}-{arity}"
        self.note(f"{self.name}:{shown}", anchor, kind)
        signature = addnodes.desc_signature("", "", ids=[anchor])
        signature += addnodes.desc_name("", shown)
        signature["fullname"] = signature["_toc_name"] = shown
        signature["_toc_parts"] = (self.name, shown)
        content = addnodes.desc_content("")
        content += [self.spec(spec.text) for spec in entry.findall("spec")]
        content += self.blocks(entry.find("doc"))
        return addnodes.desc(
            "", signature, content, domain="erl", objtype=kind, desctype=kind,
            noindex=False, classes=["erl", kind],
        )

    def spec(self, text):
        """Where a type is described, its name is a link."""
        # A raw source of its own keeps Sphinx from highlighting, which would drop the links.
        block = nodes.literal_block("spec", "", classes=["spec"])
        end = 0
        for found in TYPE.finditer(text):
            module, name = found[1] or self.name, found[2]
            # Not the name of what is specified.
            defined = re.fullmatch(r"-\w+ ", text[: found.start()])
            if defined or (module, name) not in types(self.folder):
                continue
            block += nodes.Text(text[end : found.start()])
            written = text[found.start() : found.end() - 1]
            block += self.reference(module, f"type-{name}", nodes.Text(written))
            end = found.end() - 1
        block += nodes.Text(text[end:])
        return block

    def reference(self, module, anchor, *contents):
        page = "" if module == self.name else f"{module}.html"
        return nodes.reference("", "", *contents, refuri=f"{page}#{anchor}", internal=True)

    # ---- Descriptions ------------------------------------------------------------------

    def blocks(self, element):
        """Text between the blocks becomes paragraphs."""
        found, paragraph = [], nodes.paragraph()

        def end():
            nonlocal paragraph
            if paragraph.astext().strip():
                found.append(paragraph)
            paragraph = nodes.paragraph()

        paragraph += self.text(element.text)
        for child in element:
            block = getattr(self, f"block_{child.tag}", None)
            if block:
                end()
                found.append(block(child))
            else:
                paragraph += self.inline(child)
            paragraph += self.text(child.tail)
        end()
        return found

    def text(self, text):
        return [nodes.Text(text)] if text else []

    def contents(self, element):
        found = self.text(element.text)
        for child in element:
            found += [self.inline(child), *self.text(child.tail)]
        return found

    def inline(self, element):
        if element.tag != "a":
            return INLINE[element.tag]("", "", *self.contents(element))
        module, _, function = element.get("href").partition("#")
        module = module or self.name
        anchor = function.replace("/", "-") or f"module-{module}"
        return self.reference(module, anchor, *self.contents(element))

    def block_p(self, element):
        return nodes.paragraph("", "", *self.contents(element))

    def block_h3(self, element):
        return nodes.rubric("", "".join(element.itertext()))

    def block_pre(self, element):
        text = textwrap.dedent(element.text)
        return nodes.literal_block(text, text, language=language(text))

    def block_ul(self, element):
        items = [nodes.list_item("", *self.blocks(item)) for item in element]
        return nodes.bullet_list("", *items)

    def block_dl(self, element):
        found = nodes.definition_list()
        for child in element:
            if child.tag == "dt":
                found += nodes.definition_list_item(
                    "", nodes.term("", "", *self.contents(child))
                )
            else:
                found[-1] += nodes.definition("", *self.blocks(child))
        return found


def language(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return "erlang"
    return "python"


@functools.cache
def types(folder):
    return {
        (module.stem, entry.get("name"))
        for module in folder.glob("*.xml")
        for entry in ElementTree.parse(module).getroot().findall("type")
    }


def setup(app):
    app.add_domain(ErlangDomain)
    app.add_source_suffix(".xml", "erlang")
    app.add_source_parser(ErlangParser)
    return {"parallel_read_safe": True}
