"""Values in a formula: their tree, the functions that may be called, and how R prints them.

A formula is data. Only column names, numbers, operators and the functions in `FUNCTIONS` exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Name:
    """A column (or, as the second argument of `C`, a contrast)."""

    name: str
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class String:
    """A quoted text."""

    value: str
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Boolean:
    """TRUE or FALSE."""

    value: bool
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a whitelisted function."""

    function: str
    args: tuple[Expr, ...]
    kwargs: tuple[tuple[str, Expr], ...] = ()
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `+x`."""

    op: str
    operand: Expr
    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands: arithmetic inside a call, formula algebra outside."""

    op: str
    left: Expr
    right: Expr
    span: Span = field(default=(0, 0), compare=False, repr=False)


Expr: TypeAlias = Name | Number | String | Boolean | Call | Unary | Binary
Structure: TypeAlias = Literal["us", "diag", "cs", "ar1"]


# --- what may be called


class Function(NamedTuple):
    """How a function may be called: `data` arguments that read columns (-1: all), then constants."""

    kind: Literal["elementwise", "scaling", "basis", "factor", "offset", "vector", "contrast", "response"]
    data: int = 1
    most: int = 1  # positional arguments; -1: any number
    keywords: tuple[str, ...] = ()
    usage: str = ""


_ELEMENTWISE = ("log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos", "tan", "I")
_BASE = ("base", "ref", "reference")
FUNCTIONS: dict[str, Function] = {
    "log": Function("elementwise", 1, 2, ("base",)),
    **{name: Function("elementwise") for name in _ELEMENTWISE},
    "poly": Function("basis", -1, -1, ("degree", "raw"), "poly(x, 2)"),
    "bs": Function("basis", 1, 6, ("df", "knots", "degree", "intercept", "Boundary.knots"), "bs(x, df = 4)"),
    "ns": Function("basis", 1, 5, ("df", "knots", "intercept", "Boundary.knots"), "ns(x, df = 3)"),
    "cr": Function("basis", 1, 5, ("df", "knots", "intercept", "Boundary.knots"), "cr(x, df = 3)"),
    "scale": Function("scaling", 1, 3, ("center", "scale")),
    "center": Function("scaling"),
    "standardize": Function("scaling"),
    "C": Function("factor", 1, 2, ("contr", "levels", *_BASE), "C(f, sum)"),
    "factor": Function("factor", 1, 2, ("levels", "ordered"), "factor(f)"),
    "as.factor": Function("factor"),
    "ordered": Function("factor", 1, 2, ("levels",), "ordered(f)"),
    "offset": Function("offset"),
    "c": Function("vector", 0, -1, (), "c(1, 2)"),
    "cbind": Function("response", 2, 2, (), "cbind(successes, failures)"),
}
CONTRASTS: dict[str, str] = {  # every spelling -> the contrast it means
    spelling: kind
    for kind, spellings in {
        "treatment": "treatment Treatment contr.treatment",
        "sum": "sum Sum contr.sum",
        "helmert": "helmert Helmert contr.helmert",
        "poly": "poly Poly contr.poly",
        "diff": "diff Diff sdif contr.sdif",
    }.items()
    for spelling in spellings.split()
}
PLACES: dict[str, tuple[str, ...]] = {  # where a call stands -> the kinds of function it may be
    "term": ("elementwise", "scaling", "basis", "factor", "offset"),
    "value": ("elementwise", "scaling"),
    "level": ("elementwise", "scaling", "factor"),
    "constant": ("vector",),
    "contrast": ("contrast",),
    "response": ("elementwise", "scaling", "response"),
}
CONTRAST_CALL = Function("contrast", 0, 1, _BASE, "treatment(base = 1)")
STRUCTURES: dict[str, tuple[Structure, bool, bool]] = {  # name -> structure, homogeneous, may take hom=
    "us": ("us", False, False),
    "diag": ("diag", False, True),
    "cs": ("cs", False, True),
    "ar1": ("ar1", True, True),
    "homdiag": ("diag", True, False),
    "homcs": ("cs", True, False),
    "hetar1": ("ar1", False, False),
}

# --- printing and reading a tree

_PLAIN = re.compile(r"(?:[^\W\d]|\.(?![\d.])(?=\w))[\w.]*\Z")
RESERVED = {"TRUE", "FALSE", "True", "False", "lambda"}
LEVEL = {"<": 2, "<=": 2, ">": 2, ">=": 2, "==": 2, "!=": 2, "+": 3, "-": 3, "*": 4, "/": 4}
LEVEL |= {"%%": 5, "%/%": 5, "%in%": 5, ":": 6, "^": 8}
SIGN = 7
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_TIGHT = {"/", ":", "^", "%%", "%/%"}  # R prints these without spaces


def label(expr: Expr) -> str:
    """Write an expression as R deparses it.

    >>> label(Call("poly", (Name("x"), Number(2.0)), (("raw", Boolean(True)),)))
    'poly(x, 2, raw = TRUE)'
    """
    match expr:
        case Name(name):
            return quoted(name)
        case Number(value):
            return _number(value)
        case String(value):
            return '"' + "".join(_ESCAPED.get(c, c) for c in value) + '"'
        case Boolean(value):
            return "TRUE" if value else "FALSE"
        case Call(function, args, kwargs):
            inside = [label(arg) for arg in args] + [f"{quoted(key)} = {label(arg)}" for key, arg in kwargs]
            return f"{function}({', '.join(inside)})"
        case Unary(op, operand):
            return op + _operand(operand, SIGN)
        case Binary(op, left, right):
            level = LEVEL[op]
            # ^ groups to the right, comparisons not at all, the rest to the left
            first = _operand(left, level + (op == "^" or level == 2))
            second = _operand(right, SIGN if op == "^" else level + 1)
            return f"{first}{op}{second}" if op in _TIGHT else f"{first} {op} {second}"


def _operand(expr: Expr, level: int) -> str:
    """Label with parentheses when the expression binds looser than `level`."""
    own = LEVEL[expr.op] if isinstance(expr, Binary) else SIGN if isinstance(expr, Unary) else 9
    return label(expr) if own >= level else f"({label(expr)})"


def quoted(name: str) -> str:
    """Return a name, in backquotes where it needs them."""
    if _PLAIN.match(name) and name not in RESERVED and not is_dunder(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def is_dunder(name: str) -> bool:
    """Whether a name would reach into Python's own machinery, if anything here did."""
    return name.startswith("__") or ".__" in name


def _number(value: float) -> str:
    """Write the shortest digits that read back exactly; scientific when that is shorter, as in R."""
    shortest = next(text for n in range(17) if float(text := f"{value:.{n}e}") == value)
    digits, _, exponent = shortest.partition("e")
    power = int(exponent)
    decimals = max(0, len(digits.replace(".", "")) - 1 - power)
    fixed = f"{value:.{decimals}f}"
    scientific = f"{digits}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return fixed if len(fixed) <= len(scientific) else scientific


def names(expr: Expr) -> Iterator[Name]:
    """Yield the column names an expression reads, with their spans, in order and with repeats."""
    match expr:
        case Name():
            yield expr
        case Unary(_, operand):
            yield from names(operand)
        case Binary(_, left, right):
            yield from names(left)
            yield from names(right)
        case Call(function, args, _):
            spec = FUNCTIONS.get(function, CONTRAST_CALL)
            for arg in args if spec.data < 0 else args[: spec.data]:
                yield from names(arg)
        case _:  # constants read nothing
            return


def variables(expr: Expr) -> tuple[str, ...]:
    """Return the columns an expression reads, in order, each once.

    >>> variables(Binary("-", Name("y"), Call("log", (Name("x"),))))
    ('y', 'x')
    """
    return tuple(dict.fromkeys(node.name for node in names(expr)))
