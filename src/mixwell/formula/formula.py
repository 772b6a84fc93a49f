"""A model formula: text in, `Formula` out.

    formula = parse("Reaction ~ Days + (Days | Subject)")
    formula.response, formula.terms, formula.random

The fixed part follows R; random-effects terms follow lme4, with the covariance structures us, diag, cs, ar1.
Four modules share the work: `expression` (values and functions), `parser` (text to tree), `expansion` (tree
to terms) and `terms` (the result). Columns are not looked up here; `Formula.variables` says where each is
named, for the caret of an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from mixwell.errors import MixwellError, error
from mixwell.formula.expansion import Expansion, refuse_overlap
from mixwell.formula.expression import (
    Binary,
    Call,
    Expr,
    Name,
    Unary,
    label,
    names,
)
from mixwell.formula.parser import Algebra, Bar, Node, Parser
from mixwell.formula.terms import Formula

__all__ = ["parse", "update"]


def parse(text: str | Formula, columns: Sequence[str] = ()) -> Formula:
    """Read a formula.

    Parameters
    ----------
    text
        For example "y ~ x + (x | g)". A Formula is returned as it is.
    columns
        Names of the table's columns, needed only when the formula has a `.`: it stands for all of them
        but the response and the grouping factors.

    Returns
    -------
    Formula

    Examples
    --------
    >>> formula = parse("Reaction ~ Days + (Days | Subject)")
    >>> str(formula)
    'Reaction ~ 1 + Days + (1 + Days | Subject)'
    >>> formula.random[0].group_label
    'Subject'
    """
    if isinstance(text, Formula):
        return text
    if not isinstance(text, str):
        raise error("MW-F01", kind=type(text).__name__)
    return _parse(text, tuple(map(str, columns)) if "." in text else ())


def update(old: Formula, new: str) -> Formula:
    """Change a formula: in `new`, `.` stands for what the old one had on that side, as in R's `update`.

    On the right, `.` brings the fixed part, the offsets and the random-effects terms.

    Examples
    --------
    >>> str(update(parse("y ~ x + z + (1 | g)"), "log(.) ~ . - z - (1 | g) + (x | g)"))
    'log(y) ~ 1 + x + (1 + x | g)'
    """
    if not isinstance(new, str):
        raise error("MW-F01", kind=type(new).__name__)
    return parse(str(_guarded(new, (), old)))  # parsed again so that places refer to the new text


@lru_cache(maxsize=512)
def _parse(text: str, columns: tuple[str, ...]) -> Formula:
    return _guarded(text, columns, None)


def _guarded(text: str, columns: tuple[str, ...], old: Formula | None) -> Formula:
    """Build, with Python's own recursion limit as the last line of defence."""
    try:
        return _build(text, columns, old)
    except RecursionError:
        raise error("MW-F27", reason="it is nested too deeply", text=text, span=(0, len(text))) from None


def _build(text: str, columns: tuple[str, ...], old: Formula | None) -> Formula:
    parser = Parser(text, dots=old is not None)
    response = _response(parser, old)
    tree = parser.algebra()
    if parser.tokens[parser.at].kind != "end":
        raise parser.unexpected(parser.tokens[parser.at])
    if isinstance(tree, Bar) and not tree.closed:
        raise _bare_bar(text, tree)

    part = Expansion(text, columns, response, old, tree)
    terms = part.terms(part.expand(tree, top=True))
    random = tuple(part.random)
    formula = Formula(text, response, part.intercept, terms, tuple(part.offsets), random)
    if response is not None:
        for expr in formula.right():
            if expr == response:
                raise error("MW-F19", name=label(response), text=text, span=expr.span)
    if len(random) > 1:
        refuse_overlap(text, random)
    return formula


def _response(parser: Parser, old: Formula | None) -> Expr | None:
    """Read the left-hand side and step over '~'."""
    tokens = parser.tokens
    tildes = [token for token in tokens if token.kind == "~"]
    if len(tildes) > 1:
        raise parser.fault("MW-F09", tildes[1].span)
    if not tildes:
        raise parser.fault(
            "MW-F02" if len(tokens) == 1 else "MW-F08", (tokens[0].start, tokens[-1].start), side=""
        )
    response = old.response if old else None
    if tokens[0].kind != "~":
        two = tokens[0].text == "cbind" and tokens[1].kind == "("
        given = parser.call("response") if two else parser.arithmetic()
        if tokens[parser.at].kind != "~":
            raise parser.unexpected(tokens[parser.at])
        parser.only_values(given)
        if next(names(given), None) is None:
            span = (tokens[0].start, tokens[parser.at - 1].end)
            raise parser.fault("MW-F30", span, what="the response", given=parser.text[span[0] : span[1]])
        response = _substitute(given, response) if old else given
    parser.at += 1
    parser.dots = False  # on the right, "." is a term, and `Expansion` knows it
    return response


def _substitute(expr: Expr, old: Expr | None) -> Expr | None:
    """Put the old response where "." stands."""
    match expr:
        case Name("."):
            return old
        case Call(_, args, _):
            return replace(expr, args=tuple(_substitute(arg, old) or arg for arg in args))
        case Unary(_, operand):
            return replace(expr, operand=_substitute(operand, old) or operand)
        case Binary(_, left, right):
            return replace(expr, left=_substitute(left, old) or left, right=_substitute(right, old) or right)
        case _:
            return expr


def _bare_bar(text: str, bar: Bar) -> MixwellError:
    """Explain a bar without its parentheses, with the term it was probably meant to be."""
    left: Node = bar.left
    while isinstance(left, Algebra) and left.op in ("+", "-"):
        left = left.right
    group: Node = bar.group
    while isinstance(group, Algebra) and group.op in ("+", "-") and group.left is not None:
        group = group.left
    inside, outside = (" ".join(text[node.span[0] : node.span[1]].split()) for node in (left, group))
    at = text.index("|", bar.left.span[1])
    advice = f"({inside} {bar.op} {outside})"
    return error("MW-F10", given=bar.op, advice=advice, text=text, span=(at, at + len(bar.op)))
