"""A test of CPython with some of its statements expected to fail."""

import ast
import contextlib
import inspect
import re
import textwrap
from typing import NamedTuple

GUARD = "_io_stack_deviates"


class Deviation(NamedTuple):
    """Statements in which a buffer differs from a file, and what they raise."""

    reason: str
    #: of "module.class", a regular expression
    cases: str
    #: the whole statement as ast.unparse writes it, a regular expression
    statement: str
    #: for "Type: message" of the exception
    error: str
    through: str = ""
    arrivals: str = ""
    #: so many statements behind it depend on it and do not run
    skipped: int = 0


class Guard:
    """Runs the statements that deviate, and notes why."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()

    @contextlib.contextmanager
    def __call__(self, deviation: Deviation):
        try:
            yield
        except Exception as error:
            if not re.search(deviation.error, f"{type(error).__name__}: {error}"):
                raise
            self.reasons.add(deviation.reason)
        else:
            raise Unexpected(f"listed, but does not fail: {deviation.statement}")


class Unexpected(Exception):
    pass


def rewritten(function, deviations, guard):
    """The function, or a new one in which the statements of these deviations are under
    the guard."""
    if not deviations or inspect.unwrap(function).__code__.co_freevars:
        return function
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return function
    tree = ast.parse(textwrap.dedent("".join(lines)))
    wrapper = Wrapper(deviations)
    tree = wrapper.visit(tree)
    if not wrapper.found:
        return function
    ast.increment_lineno(ast.fix_missing_locations(tree), first - 1)
    code = compile(tree, inspect.getsourcefile(function), "exec")
    names: dict = {}
    exec(code, function.__globals__, names)
    new = names[function.__name__]
    # The guard is a default argument: the globals of the test stay its own.
    target = inspect.unwrap(new)
    defaults = target.__kwdefaults__ or {}
    target.__kwdefaults__ = {**defaults, GUARD: wrapper.guards(guard)}
    return new


class Wrapper(ast.NodeTransformer):
    def __init__(self, deviations) -> None:
        self.deviations = deviations
        self.found: list[Deviation] = []
        self.depth = 0

    def guards(self, guard):
        return lambda number: guard(self.found[number])

    def visit_FunctionDef(self, node):
        if self.depth == 0:
            node.args.kwonlyargs.append(ast.arg(arg=GUARD))
            node.args.kw_defaults.append(ast.Constant(value=None))
        self.depth += 1
        node = self.generic_visit(node)
        self.depth -= 1
        return node

    def generic_visit(self, node):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, name, None), list):
                setattr(node, name, self.block(statements))
        for name in ("handlers", "cases"):
            for part in getattr(node, name, ()):
                self.generic_visit(part)
        return node

    def block(self, statements):
        new, skipped = [], 0
        for statement in statements:
            if skipped:
                skipped -= 1
            elif deviation := self.deviation_of(statement):
                new.append(self.guarded(statement, deviation))
                skipped = deviation.skipped
            else:
                new.append(self.visit(statement))
        return new

    def deviation_of(self, statement):
        if not isinstance(statement, (ast.Expr, ast.Assign, ast.With)):
            return None
        text = ast.unparse(statement)
        for deviation in self.deviations:
            if re.fullmatch(deviation.statement, text, re.DOTALL):
                return deviation
        return None

    def guarded(self, node, deviation):
        self.found.append(deviation)
        call = ast.Call(
            func=ast.Name(id=GUARD, ctx=ast.Load()),
            args=[ast.Constant(value=len(self.found) - 1)],
            keywords=[],
        )
        block = ast.With(items=[ast.withitem(context_expr=call)], body=[node])
        return ast.copy_location(block, node)
