"""Atom, Pid, Ref, send, the exceptions: without a node behind them."""

import copy
import pickle

import pytest

import erlang
from erlang import (
    Atom,
    BufferAborted,
    ErlangError,
    IncompleteReadError,
    LimitOverrunError,
    NotConvertibleError,
    Pid,
    Ref,
    call,
    send,
)


class TestAtom:
    def test_name(self):
        atom = Atom("ok")
        assert atom.name == str(atom) == "ok"
        assert repr(atom) == "erlang.Atom('ok')"
        assert Atom(name="été", create=True).name == "été"
        assert Atom("").name == ""

    def test_equality(self):
        assert Atom("a") == Atom("a") and hash(Atom("a")) == hash(Atom("a"))
        assert Atom("a") != Atom("b") and Atom("a") != "a" and "a" != Atom("a")
        assert {Atom("a"): 1, "a": 2} == {"a": 2, Atom("a"): 1}
        with pytest.raises(TypeError):
            Atom("a") < Atom("b")

    def test_length(self):
        assert Atom("é" * 255).name == "é" * 255
        with pytest.raises(ValueError):
            Atom("x" * 256)

    @pytest.mark.parametrize("name", [b"x", None, 1, ["x"]])
    def test_wrong_types(self, name):
        with pytest.raises(TypeError):
            Atom(name)

    def test_wrong_calls(self):
        for args, kwargs in [((), {}), (("a", False, 1), {}), (("a",), {"made": 1})]:
            with pytest.raises(TypeError):
                Atom(*args, **kwargs)
        with pytest.raises(UnicodeEncodeError):
            Atom("\ud800")

    def test_str_subclass(self):
        class Name(str):
            pass

        assert type(Atom(Name("x")).name) is str

    def test_immutable(self):
        with pytest.raises(AttributeError):
            Atom("a").name = "b"
        with pytest.raises(AttributeError):
            Atom("a").other = "b"
        with pytest.raises(TypeError):
            type("Sub", (Atom,), {})

    def test_copies(self):
        atom = Atom("a")
        assert copy.copy(atom) == copy.deepcopy(atom) == atom
        assert pickle.loads(pickle.dumps(atom)) == atom


@pytest.mark.parametrize("handle", [Pid, Ref])
def test_handles_come_from_erlang(handle):
    for args in [(), (1,), (b"x",)]:
        with pytest.raises(TypeError):
            handle(*args)
    with pytest.raises(TypeError):
        handle.__new__(handle)
    with pytest.raises(TypeError):
        type("Sub", (handle,), {})
    assert handle.__module__ == "erlang"


def test_send_needs_a_node():
    with pytest.raises(RuntimeError, match="no Erlang node"):
        send("name", 1)
    with pytest.raises(RuntimeError):
        send(to=Atom("name"), term=None)
    for args in [(), ("name",), ("name", 1, 2)]:
        with pytest.raises(TypeError):
            send(*args)


def test_call_without_node():
    for name in ["name", Atom("name")]:
        with pytest.raises(RuntimeError, match="no Erlang node"):
            call(name, 1, 2)
    with pytest.raises(TypeError, match="'name'"):
        call()
    with pytest.raises(TypeError, match="'name' must be a str or an Atom, not bytes"):
        call(b"name")
    with pytest.raises(TypeError):
        call(name="name")


class TestErrors:
    def test_erlang_error(self):
        error = ErlangError("throw", ("not_found", 7), "trace")
        assert isinstance(error, Exception)
        assert (error.kind, error.reason, error.stacktrace) == (
            "throw",
            ("not_found", 7),
            "trace",
        )
        assert str(error) == "throw: ('not_found', 7)"
        assert str(ErlangError("error", "badarith")) == "error: badarith"
        assert ErlangError("error", "badarith").stacktrace == ""
        long = ErlangError("error", ["x" * 5000])
        assert str(long) == "error: ['" + "x" * 998 + "..."
        error.add_note("a note")
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), copied.args) == (ErlangError, error.args)
        assert copied.__notes__ == ["a note"]
        for args in [(), (1,), (1, 2, 3, 4)]:
            with pytest.raises(TypeError):
                ErlangError(*args)
        with pytest.raises(TypeError):
            ErlangError("error", reason=1)

    def test_incomplete_read(self):
        error = IncompleteReadError(b"ab", 5)
        assert isinstance(error, EOFError)
        assert (error.partial, error.expected) == (b"ab", 5)
        assert str(error) == "2 bytes read of 5 expected bytes"
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), copied.args) == (IncompleteReadError, (b"ab", 5))

    def test_limit_overrun(self):
        error = LimitOverrunError("too long", 7)
        assert isinstance(error, ValueError)
        assert (str(error), error.consumed) == ("too long", 7)
        assert copy.copy(error).consumed == 7

    @pytest.mark.parametrize("error", [IncompleteReadError, LimitOverrunError])
    def test_misuse(self, error):
        for args in [(), (1,), (1, 2, 3)]:
            with pytest.raises(TypeError):
                error(*args)
        with pytest.raises(TypeError):
            error(b"", 1, key=1)
        broken = error(b"", 1)
        broken.args = ()
        with pytest.raises(AttributeError):
            broken.consumed if error is LimitOverrunError else broken.expected
        with pytest.raises(AttributeError):
            str(broken)
        with pytest.raises(AttributeError):
            broken.partial = 1
            broken.consumed = 1

    def test_subclass(self):
        class Mine(IncompleteReadError):
            pass

        assert Mine(b"", None).expected is None

    def test_not_convertible(self):
        assert issubclass(NotConvertibleError, TypeError)

    def test_modules(self):
        for name in erlang.__all__:
            assert getattr(erlang, name).__module__ in ("erlang", "_erlang")


class TestBufferAborted:
    def test_it_is_an_os_error_without_a_number(self):
        error = BufferAborted("client gone")
        assert isinstance(error, OSError)
        assert error.reason == "client gone"
        assert error.args == ("client gone",)
        assert error.errno is error.strerror is error.filename is None
        assert BufferAborted.__module__ == "erlang"

    @pytest.mark.parametrize(
        "reason, text",
        [
            ("client gone", "client gone"),
            ("", ""),
            (("exit", 7), "('exit', 7)"),
            (None, "None"),
            (b"\xff", "b'\\xff'"),
            ("abandoned", "abandoned (no Erlang process holds it any more)"),
            ("owner_down", "owner_down (the process that owned it has ended)"),
            ("x" * 1000, "x" * 1000),
            ("x" * 1001, "x" * 1000 + "..."),
        ],
    )
    def test_text(self, reason, text):
        error = BufferAborted(reason)
        assert str(error) == f"the stream was aborted: {text}"
        assert error.reason == reason

    def test_a_reason_that_cannot_be_shown(self):
        class Bad:
            def __repr__(self):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            str(BufferAborted(Bad()))

    @pytest.mark.parametrize("args", [(), (1, 2), (2, "No such file")])
    def test_wrong_calls(self, args):
        with pytest.raises(TypeError, match="reason"):
            BufferAborted(*args)
        with pytest.raises(TypeError):
            BufferAborted(reason="x")

    def test_copies(self):
        error = BufferAborted(("exit", [1, 2]))
        for same in (
            pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)
        ):  # fmt: skip
            assert type(same) is BufferAborted
            assert same.reason == ("exit", [1, 2])
            assert str(same) == str(error)

    def test_subclass(self):
        class Mine(BufferAborted):
            pass

        assert str(Mine("x")) == "the stream was aborted: x"
        assert Mine("x").reason == "x"
