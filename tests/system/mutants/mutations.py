"""Small changes to Python source: each `Mutant` replaces one expression or statement of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one module: the bytes of ``source`` from ``start`` to ``end`` become ``replacement``."""

    module: str
    within: str
    """Qualified name of the function or class with the change; empty at the level of the module."""
    source: bytes
    start: int
    end: int
    replacement: bytes

    @property
    def name(self) -> str:
        """Dotted name of the place, such as ``backup_sharing.usecases.sharing.Sharings.share``."""
        return f"{self.module}.{self.within}" if self.within else self.module

    @property
    def changed(self) -> bytes:
        """The whole source with the change."""
        return self.source[: self.start] + self.replacement + self.source[self.end :]

    @property
    def difference(self) -> list[str]:
        """Removed and added lines, marked with - and +, without indentation; only the marker if a line is empty."""
        before, after = (text.decode().splitlines() for text in (self.source, self.changed))
        lines = list(unified_diff(before, after, lineterm="", n=0))[2:]  # without the names of the files
        return [f"{line[0]} {line[1:].strip()}".rstrip() for line in lines if not line.startswith("@@")]


def mutants(module: str, source: bytes) -> list[Mutant]:
    """Return all mutants of a module, in the order of the source."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for within, old, new in _changes(ast.parse(source), ""):
        assert old.end_lineno is not None  # the parser sets both
        assert old.end_col_offset is not None
        start = starts[old.lineno - 1] + old.col_offset
        end = starts[old.end_lineno - 1] + old.end_col_offset
        found.append(Mutant(module, within, source, start, end, ast.unparse(new).encode()))
    return found


_Place = ast.expr | ast.stmt


def _changes(node: ast.AST, within: str) -> Iterator[tuple[str, _Place, _Place]]:
    """Yield the qualified name of the place, the old and the new node, for every change in this tree."""
    if isinstance(node, ast.expr | ast.stmt):
        yield from ((within, node, new) for new in _instead_of(node))
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        within = f"{within}.{node.name}" if within else node.name
    for child in _mutable_children(node):
        yield from _changes(child, within)


def _mutable_children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the children that run: no annotation, decorator, import, docstring or f-string, which has no positions."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_text_alone(child):
                yield child


def _is_text_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _instead_of(node: _Place) -> Iterator[_Place]:
    match node:
        case ast.Constant():
            yield from _instead_of_constant(node)
        case ast.expr():
            yield from _instead_of_expression(node)
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _instead_of_constant(node: ast.Constant) -> Iterator[ast.Constant]:
    match node.value:
        case bool() as value:
            yield ast.Constant(not value)
        case int() as value:
            yield ast.Constant(value + 1)
        case str() as value:
            yield ast.Constant(f"XX{value}")


def _instead_of_expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, [operator], comparators) if type(operator) in _COMPARISONS:
            yield ast.Compare(left, [_COMPARISONS[type(operator)]()], comparators)
        case ast.BoolOp(ast.And(), values):
            yield ast.BoolOp(ast.Or(), values)
        case ast.BoolOp(ast.Or(), values):
            yield ast.BoolOp(ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            yield ast.BinOp(left, _OPERATORS[type(operator)](), right)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
