"""The stubs name what is there, the docs what can be called."""

import ast
import importlib
import inspect
import pathlib
import pydoc
import subprocess
import sys

import pytest

import erlang
import erlang.testing

PACKAGE = pathlib.Path(erlang.__file__).parent
MODULES = {
    "erlang": "__init__.pyi",
    "erlang.aio": "aio.pyi",
    "erlang.asgi": "asgi.pyi",
    "erlang.channel": "channel.pyi",
    "erlang.reactor": "reactor.pyi",
    "erlang.testing": "testing.pyi",
    "erlang.wsgi": "wsgi.pyi",
}
PUBLIC_DUNDERS = {
    *("__enter__", "__exit__", "__iter__", "__next__", "__len__", "__bool__"),
    *("__aiter__", "__anext__"),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def stub(module):
    return ast.parse((PACKAGE / MODULES[module]).read_text())


def functions(body):
    return {node.name: node for node in body if isinstance(node, FUNCTIONS)}


def attributes(body):
    return {node.target.id for node in body if isinstance(node, ast.AnnAssign)}


def classes(module):
    return {
        node.name: node for node in stub(module).body if isinstance(node, ast.ClassDef)
    }


def exported(module):
    """What a stub shows of another one: `from a import b as b`."""
    return {
        name.name
        for node in stub(module).body
        if isinstance(node, ast.ImportFrom) and node.module == "erlang" != module
        for name in node.names
        if name.asname == name.name
    }


def test_typed():
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("module", MODULES)
def test_names(module):
    real = importlib.import_module(module)
    stubbed = set(classes(module)) | set(functions(stub(module).body)) | exported(module)
    assert stubbed == set(real.__all__)
    assert sorted(real.__all__) == real.__all__
    listed = [
        ast.literal_eval(node.value)
        for node in stub(module).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    assert listed == [real.__all__]


CLASSES = [(module, name) for module in MODULES for name in classes(module)]


def parameters(signature):
    return [
        (p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "self"
    ]


def stub_parameters(node):
    args, found = node.args, []
    positional = args.posonlyargs + args.args
    defaults = [inspect.Parameter.empty] * (len(positional) - len(args.defaults))
    defaults += [ast.literal_eval(value) for value in args.defaults]
    for arg, default in zip(positional, defaults):
        kind = (
            inspect.Parameter.POSITIONAL_ONLY
            if arg in args.posonlyargs
            else inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        found.append((arg.arg, kind, default))
    for arg, value in zip(args.kwonlyargs, args.kw_defaults):
        found.append((arg.arg, inspect.Parameter.KEYWORD_ONLY, ast.literal_eval(value)))
    return [item for item in found if item[0] not in ("self", "cls")]


@pytest.mark.parametrize("module, name", CLASSES)
def test_members(module, name):
    real = getattr(importlib.import_module(module), name)
    stubbed = functions(classes(module)[name].body)
    public = {member for member in vars(real) if not member.startswith("_")}
    values = public & attributes(classes(module)[name].body)
    assert {member for member in stubbed if not member.startswith("_")} == public - values
    for member in PUBLIC_DUNDERS & set(vars(real)):
        assert member in stubbed
    for member in public - values:
        function = getattr(real, member)
        if callable(function):
            node = stubbed[member]
            assert parameters(inspect.signature(function)) == stub_parameters(node), member
            asynchronous = inspect.iscoroutinefunction(function)
            assert asynchronous == isinstance(node, ast.AsyncFunctionDef), member


@pytest.mark.parametrize("module, name", CLASSES)
def test_docs(module, name):
    real = getattr(importlib.import_module(module), name)
    assert inspect.getdoc(real)
    for member in vars(real):
        if not member.startswith("_"):
            assert inspect.getdoc(getattr(real, member)), member
            if callable(getattr(real, member)):
                assert inspect.signature(getattr(real, member)), member
    text = pydoc.plain(pydoc.render_doc(real))
    for line in text.splitlines():
        assert len(line) < 120, line


def test_functions_have_docs_and_signatures():
    assert str(inspect.signature(erlang.send)) == "(to, term)"
    assert "RuntimeError" in inspect.getdoc(erlang.send)
    assert inspect.getdoc(erlang) and inspect.getdoc(erlang.testing)
    signature = inspect.signature(erlang.testing.make_buffer)
    stubbed = functions(stub("erlang.testing").body)["make_buffer"]
    assert parameters(signature) == stub_parameters(stubbed)
    assert str(inspect.signature(erlang.Atom)) == "(name, create=False)"
    new = functions(classes("erlang.testing")["Writer"].body)["__new__"]
    assert parameters(inspect.signature(erlang.testing.Writer)) == stub_parameters(new)


def test_functions_of_channel():
    reply = functions(stub("erlang.channel").body)["reply"]
    assert parameters(inspect.signature(erlang.channel.reply)) == stub_parameters(reply)
    assert "erlang.send" in inspect.getdoc(erlang.channel.reply)
    assert erlang.channel.Channel is erlang.Channel
    signature = inspect.signature(erlang.testing.make_channel)
    stubbed = functions(stub("erlang.testing").body)["make_channel"]
    assert parameters(signature) == stub_parameters(stubbed)
    for module, name in (("erlang", "Channel"), ("erlang.testing", "ChannelPeer")):
        real = getattr(importlib.import_module(module), name)
        new = functions(classes(module)[name].body)["__new__"]
        assert parameters(inspect.signature(real)) == stub_parameters(new)


def test_functions_of_aio():
    signature = inspect.signature(erlang.aio.reader)
    assert parameters(signature) == stub_parameters(functions(stub("erlang.aio").body)["reader"])
    new = functions(classes("erlang.aio")["StreamReader"].body)["__init__"]
    assert parameters(inspect.signature(erlang.aio.StreamReader)) == stub_parameters(new)


def test_functions_of_reactor():
    stubbed = functions(stub("erlang.reactor").body)
    for name in ("get_protocol", "set_protocol_factory", "signal_write_ready"):
        function = getattr(erlang.reactor, name)
        assert parameters(inspect.signature(function)) == stub_parameters(stubbed[name])
        assert inspect.getdoc(function)


def test_import_is_cheap():
    code = """
import sys, erlang
assert "erlang.reactor" not in sys.modules and hasattr(erlang, "reactor")
erlang.channel.reply
erlang.reactor.Protocol
assert "asyncio" not in sys.modules and "erlang.aio" not in sys.modules
erlang.aio.reader
assert "erlang.aio" in sys.modules and erlang.aio is sys.modules["erlang.aio"]
assert not hasattr(erlang, "nothing")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
