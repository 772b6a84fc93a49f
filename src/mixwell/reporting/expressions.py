"""Columns of a design as LaTeX: expressions, indicators of levels, products of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixwell.design.columns import Coding
from mixwell.design.contrasts import level_text
from mixwell.formula.expression import Binary, Call, Expr, Name, Number, Unary, label
from mixwell.reporting.latex import math_name, math_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mixwell.design.columns import Plan
    from mixwell.reporting.view import Model

__all__ = ["columns_latex", "read_factors", "row_latex"]


def columns_latex(m: Model, names: Sequence[str], assign: Sequence[int], plan: Plan) -> list[str]:
    """LaTeX of the value of each column in row i; an empty text for ones."""
    states = m.design.recipe.states
    out = []
    for name, term in zip(names, assign, strict=True):
        parts = [] if term == 0 else read_factors(name, plan[term - 1], states)
        if term == 0:
            out.append("")
        else:
            out.append(r" \times ".join(parts) if parts else f"{math_name(name)}_{{i}}")
    return out


def read_factors(
    name: str, factors: Sequence[tuple[Expr, bool]], states: Mapping[Expr, object]
) -> list[str] | None:
    """Read the name of a column back into its factors; None if it cannot be."""
    if not factors:
        return [] if name == "" else None
    (expr, full), rest = factors[0], factors[1:]
    prefix = label(expr)
    if not name.startswith(prefix):
        return None
    tail = name[len(prefix) :]
    for suffix, latex in _suffixes(expr, states.get(expr), tail, full=full):
        left = tail[len(suffix) :]
        if rest and not left.startswith(":"):
            continue
        found = read_factors(left[1:] if rest else left, rest, states)
        if found is not None:
            return [latex, *found]
    return None


def _suffixes(expr: Expr, state: object, tail: str, *, full: bool) -> list[tuple[str, str]]:
    """List what may follow a factor's name in that of a column, with the LaTeX of both; the longest first."""
    if isinstance(state, Coding):
        levels = [level_text(level) for level in state.levels]
        if full:
            found = [(level, _indicator(expr, level)) for level in levels]
        else:
            found = []
            for suffix, column in zip(state.names, state.matrix.T, strict=True):
                hits = np.flatnonzero(column)
                dummy = hits.size == 1 and column[hits[0]] == 1.0 and len(levels) > hits[0]
                latex = _indicator(expr, levels[hits[0]]) if dummy else _coded(expr, suffix)
                found.append((suffix, latex))
        return sorted((each for each in found if tail.startswith(each[0])), key=lambda each: -len(each[0]))
    basis = re.match(r"[\w.]*", tail)
    suffix = basis[0] if basis else ""
    return [(suffix, _coded(expr, suffix) if suffix else _operand(expr))]


def _indicator(expr: Expr, level: str) -> str:
    """One if a factor has a level, else zero (Iverson's bracket)."""
    return rf"[{row_latex(expr)} = {math_name(level)}]"


def _coded(expr: Expr, suffix: str) -> str:
    name = expr.name if isinstance(expr, Name) else label(expr)
    return rf"{math_name(name)}_{{{math_name(suffix.lstrip('.'))},i}}"


def row_latex(expr: Expr) -> str:
    """Write the value of an expression in row i."""
    match expr:
        case Name(name):
            return f"{math_name(name)}_{{i}}"
        case Number():
            return math_number(label(expr))
        case Unary(op, operand):
            return f"{op}{_operand(operand)}"
        case Binary("^", left, right):
            return f"{_base(left)}^{{{row_latex(right)}}}"
        case Binary("/", left, right):
            return rf"\frac{{{row_latex(left)}}}{{{row_latex(right)}}}"
        case Binary("*", left, right):
            return rf"{_operand(left)} \times {_operand(right)}"
        case Binary("+" | "-" as op, left, right):
            second = _operand(right) if op == "-" else row_latex(right)
            return f"{row_latex(left)} {op} {second}"
        case Call("I", (inner,), ()):
            return row_latex(inner)
        case Call("sqrt", (inner,), ()):
            return rf"\sqrt{{{row_latex(inner)}}}"
        case Call("abs", (inner,), ()):
            return rf"\left|{row_latex(inner)}\right|"
        case Call("log" | "exp" | "sin" | "cos" | "tan" as function, (inner,), ()):
            return rf"\{function}({row_latex(inner)})"
        case Call("log2" | "log10" as function, (inner,), ()):
            return rf"\log_{{{function[3:]}}}({row_latex(inner)})"
        case Call("factor" | "as.factor" | "ordered" | "C", (Name(name), *_), _):
            return f"{math_name(name)}_{{i}}"
    return f"{math_name(label(expr))}_{{i}}"


def _operand(expr: Expr) -> str:
    """Value of an expression in row i, in parentheses where a product needs them."""
    if isinstance(expr, Call) and expr.function == "I" and len(expr.args) == 1:
        return _operand(expr.args[0])
    loose = isinstance(expr, Unary) or (isinstance(expr, Binary) and expr.op in ("+", "-", "*"))
    return rf"\left({row_latex(expr)}\right)" if loose else row_latex(expr)


def _base(expr: Expr) -> str:
    """Value of an expression in row i, in parentheses where a power needs them."""
    while isinstance(expr, Call) and expr.function == "I" and len(expr.args) == 1:
        expr = expr.args[0]
    return row_latex(expr) if isinstance(expr, Name | Number) else rf"\left({row_latex(expr)}\right)"
