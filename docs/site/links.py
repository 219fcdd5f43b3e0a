"""What guides and references name as code is a link to where it is described: Erlang as
`py_buffer:write/3` or `py_buffer:write(Buf, Data)`, Python as `erlang.Channel` or
`Channel.put()`, and `examples/worker_pool`.  Names that are not there are warnings.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

LOG = logging.getLogger(__name__)

ERLANG = re.compile(r"^(py\w*)(?::([a-z]\w*)(?:/(\d+)(?:,\d+)*|(\(.*\)))?)?$", re.DOTALL)
#: In the reference of a module: a function of its own.
LOCAL = re.compile(r"^[a-z]\w*/\d+$")
PYTHON = re.compile(r"^([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(?:\(.*\))?$", re.DOTALL)
EXAMPLE = re.compile(r"^(examples/\w+)(?:/[\w./]*)?$")


def on_resolved(app, doctree, docname):
    for literal in list(doctree.findall(nodes.literal)):
        parents = []
        node = literal.parent
        while node is not None:
            parents.append(node)
            node = node.parent
        if any(isinstance(node, nodes.reference | nodes.title) for node in parents):
            continue
        text = literal.astext()
        if LOCAL.match(text) and docname.startswith("erlang/"):
            text = f"{docname.removeprefix('erlang/')}:{text}"
        found = target(app.env, text, literal)
        if found:
            page, anchor = found
            if page == docname and not anchor:
                continue
            uri = "" if page == docname else app.builder.get_relative_uri(docname, page)
            link = nodes.reference("", "", internal=True, classes=["to-code"])
            link["refuri"] = f"{uri}#{anchor}" if anchor else uri
            literal.replace_self(link)
            link += literal


def target(env, text, node):
    """(page, anchor) of what the text names, or None."""
    if match := ERLANG.match(text):
        return erlang(env.get_domain("erl").objects, match, node)
    if match := EXAMPLE.match(text):
        return (match[1], "") if match[1] in env.all_docs else None
    if match := PYTHON.match(text):
        return python(env.get_domain("py"), match[1], node)
    return None


def erlang(objects, match, node):
    module, function, arity, arguments = match.groups()
    if module not in objects:
        return None
    if function is None:
        return objects[module][:2]
    if arguments and arguments != "(...)":
        arity = count(arguments[1:-1])
    names = [name for name in objects if name.startswith(f"{module}:{function}/")]
    exact = f"{module}:{function}/{arity}"
    if exact in names:
        return objects[exact][:2]
    if arguments == "()" and f"{module}:{function}()" in objects:
        return objects[f"{module}:{function}()"][:2]
    # `py:call`, or `py:call(...)`, stands for any of them.
    if names and arity is None:
        return objects[min(names)][:2]
    LOG.warning("nothing is called %s", node.astext(), location=node)
    return None


def count(arguments):
    """How many there are, at the outermost level."""
    depth, commas = 0, 0
    for sign in arguments:
        depth += sign in "([{"
        depth -= sign in ")]}"
        commas += sign == "," and depth == 0
    return commas + 1 if arguments.strip() else 0


def python(domain, name, node):
    for full in full_names(name, node):
        found = domain.modules.get(full) or domain.objects.get(full)
        if found:
            return found.docname, found.node_id
    if name.startswith("erlang.") and "._" not in name:
        LOG.warning("nothing is called %s", node.astext(), location=node)
    return None


def full_names(name, node):
    """What the name may stand for: of the class and the module around it in the reference,
    and in a guide a class of ours."""
    yield name
    while node is not None:
        if isinstance(node, addnodes.desc) and node["domain"] == "py":
            signature = node.next_node(addnodes.desc_signature)
            module = signature["module"]
            if node["objtype"] in ("class", "exception"):
                yield f"{module}.{signature['fullname']}.{name}"
            yield f"{module}.{name}"
        node = node.parent
    if "." in name or name[0].isupper():
        yield f"erlang.{name}"


def setup(app):
    app.connect("doctree-resolved", on_resolved)
    return {"parallel_read_safe": True}
