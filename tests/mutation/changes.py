"""The changes that mutation testing makes to a module: what a slip of the hand or a wrong repair would be.

Changed are comparisons and their bounds, conditions and their parts, arithmetic, constants,
what is returned, raised and caught, and statements that can be left out. Not changed is what no
test could be asked to notice: log lines, messages, docstrings, annotations, `__repr__`, assertions
made for the type checker. Pure: source in, changes out.
"""

import ast
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LOGS = {"log", "_log", "logger", "_logger"}
_FOR_TYPES = {"NewType", "TypeVar", "ParamSpec", "cast", "overload", "namedtuple"}
_PLAIN = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Await, ast.NamedExpr)
"""Conditions that have no operator to change: they are negated."""
_JUDGED_ELSEWHERE = (ast.Compare, ast.BoolOp, ast.Constant)
"""Returned values that are changed inside already."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a module, and what stands there instead."""

    module: str
    function: str
    """Its qualified name; that of the class, or "", for what stands outside of functions."""
    line_number: int
    line: str
    start: int
    stop: int
    """The bytes of the module that are replaced."""
    before: str
    after: str
    occurrence: int
    """How many changes of the same words on the same words of a line come before in this function."""

    @property
    def key(self) -> str:
        """Return what names this change for as long as the line reads as it does, wherever it stands."""
        number = f" ({self.occurrence + 1})" if self.occurrence else ""
        return f"{self.module}::{self.function} | {self.line} | {self.before} -> {self.after}{number}"

    def apply(self, source: bytes) -> bytes:
        """Return the module with this change."""
        return source[: self.start] + self.after.encode() + source[self.stop :]


def changes_of(module: str, source: bytes) -> list[Change]:
    """Return all changes of a module that still compile, in the order of its lines."""
    found = _Finder(module, source)
    found.visit(ast.parse(source))
    return sorted(filter(lambda one: _compiles(one.apply(source)), found.changes), key=_place)


def _place(change: Change) -> tuple[int, int, str]:
    return change.start, change.stop, change.after


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "changed", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


class _Finder(ast.NodeVisitor):
    """Walks a module, and knows in which function it is."""

    def __init__(self, module: str, source: bytes) -> None:
        self.changes: list[Change] = []
        self._module = module
        self._source = source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._names: list[str] = []
        self._seen: dict[tuple[str, str, str, str], int] = {}

    # Places

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, stop = self._span(node)
        return self._source[start:stop].decode()

    def _replace(self, node: ast.expr | ast.stmt, after: str) -> None:
        start, stop = self._span(node)
        before = self._text(node)
        if before == after:
            return
        function = ".".join(self._names)
        line = self._lines[node.lineno - 1].decode().strip()
        words = function, line, before, after
        occurrence = self._seen[words] = self._seen.get(words, -1) + 1
        self.changes.append(
            Change(self._module, function, node.lineno, line, start, stop, before, after, occurrence)
        )

    def _replace_by(self, node: ast.expr, new: ast.expr) -> None:
        self._replace(node, f"({ast.unparse(new)})")

    # What is passed over, and names

    def _visit_named(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        if node.name == "__repr__":
            return
        if isinstance(node, ast.ClassDef) and any(_name(base) == "Protocol" for base in node.bases):
            return
        self._names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_named(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_named(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_named(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Pass over text for people; its places are not exact before Python 3.12."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Pass over what tells the type checker something."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._leave_out_assignment(node, node.target)

    # Conditions

    def visit_Compare(self, node: ast.Compare) -> None:
        for place, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                operators = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                self._replace_by(node, ast.Compare(node.left, operators, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Leave out each part: whoever notices all of that also notices `and` for `or`."""
        for left_out in node.values:
            kept = [value for value in node.values if value is not left_out]
            self._replace_by(node, kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._replace_by(node, node.operand)
        self.generic_visit(node)

    def _negate(self, condition: ast.expr | None) -> None:
        if isinstance(condition, _PLAIN):
            self._replace(condition, f"(not ({self._text(condition)}))")

    def visit_If(self, node: ast.If) -> None:
        if _name(node.test) == "TYPE_CHECKING":
            return
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        self._negate(node.guard)
        self.generic_visit(node)

    # Values

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = _ARITHMETIC.get(type(node.op))
        if other is not None and not any(_is_text(side) for side in (node.left, node.right)):
            self._replace_by(node, ast.BinOp(node.left, other(), node.right))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool():
                self._replace(node, str(not node.value))
            case int() | float():
                self._replace(node, repr(node.value + 1))
            case str() if " " not in node.value:  # What has spaces is said to people.
                self._replace(node, repr(f"{node.value}_" if node.value else "_"))
            case bytes():
                self._replace(node, repr(node.value + b"_"))
            case _:
                pass

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name in _FOR_TYPES or _is_log(node):
            return
        if isinstance(node.func, ast.Name) and name in _OPPOSITES:
            self._replace(node.func, _OPPOSITES[name])
        if name == "suppress":
            for left_out in node.args:
                kept = [argument for argument in node.args if argument is not left_out]
                self._replace_by(node, ast.Call(node.func, kept, node.keywords))
            return
        self.generic_visit(node)

    # Statements

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) or _is_log(node.value) or _is_message(node.value):
            return
        if isinstance(node.value, ast.Call | ast.Await):
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Leave it out; what it says is for people."""
        if node.exc is None or _name(node.exc) != "NotImplementedError":
            self._replace(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            if not isinstance(node.value, _JUDGED_ELSEWHERE):
                self._replace(node, "return None")
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(_name(target) in {"__all__", "__slots__"} for target in node.targets):
            return
        self._leave_out_assignment(node, node.targets[0])
        self.generic_visit(node)

    def _leave_out_assignment(self, node: ast.stmt, target: ast.expr) -> None:
        if isinstance(target, ast.Attribute | ast.Subscript) and self._names[-1:] != ["__init__"]:
            self._replace(node, "pass")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace(node, "pass")
        other = _ARITHMETIC.get(type(node.op))
        if other is not None and not _is_text(node.value):
            new = ast.AugAssign(node.target, other(), node.value)
            self._replace(node, ast.unparse(new))
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._replace(node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "pass")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """Let through each of the errors that are caught. Catching more than that is not tried."""
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else []
        for left_out in kinds:
            kept = [kind for kind in kinds if kind is not left_out]
            if node.type is not None:
                self._replace_by(node.type, ast.Tuple(kept, ast.Load()))
        if node.type is not None and not kinds:
            self._replace(node.type, "()")
        for statement in node.body:
            self.visit(statement)


def _name(node: ast.expr) -> str:
    """Return the last part of a name, also of what is called."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call():
            return _name(node.func)
        case ast.Subscript():
            return _name(node.value)
        case _:
            return ""


def _is_log(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name in _LOGS
        case _:
            return False


def _is_message(node: ast.expr) -> bool:
    """Whether an error is given its words."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Call(func=ast.Name("super")), attr="__init__"), args=[words]
        ):
            return _is_text(words)
        case _:
            return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )
