"""Expressions of a formula -> columns of numbers, with R's values, names and order.

`Encoder` evaluates expressions over one table. On training data it learns as it goes (levels, contrasts,
means, knots) into `states`; given those states it replays them on new data. `plan` decides how each factor of
each term is coded (R's marginality rule), `encode` multiplies the columns out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.bases import LEARN, Learned, Scaling
from mixwell.design.contrasts import Contrast, coding_matrix, level_text, read_contrast
from mixwell.design.frame import Codes, Column, Labels, compact
from mixwell.errors import MixwellError, error
from mixwell.formula.expression import (
    CONTRASTS,
    FUNCTIONS,
    Binary,
    Boolean,
    Call,
    Expr,
    Name,
    Number,
    String,
    Unary,
    label,
    variables,
)

__all__ = ["Basis", "Coding", "Encoder", "Factor", "Plan", "encode", "match_levels", "plan"]

Floats = NDArray[np.float64]
Terms: TypeAlias = Sequence[tuple[Expr, ...]]
Plan: TypeAlias = tuple[tuple[tuple[Expr, bool], ...], ...]  # per term: (factor, fully coded?), ...


@dataclass(frozen=True, slots=True)
class Factor:
    """A categorical value: int32 codes (n,), -1 where missing, into levels. `kind` is that of the column."""

    codes: Codes
    levels: Labels
    kind: str = "categorical"
    ordered: bool = False
    contrast: Contrast | None = None


@dataclass(frozen=True, slots=True)
class Basis:
    """A value of several columns, each (n,), with the suffixes of their names."""

    columns: tuple[Floats, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coding:
    """How a factor was coded: its levels, and the contrast matrix (levels, columns) with column suffixes."""

    levels: Labels
    matrix: Floats
    names: tuple[str, ...]


Value: TypeAlias = Floats | float | Factor | Basis
State: TypeAlias = Coding | Learned
BOOLEAN: Labels = (False, True)


class Encoder:
    """Evaluates expressions over the n rows of one table.

    Parameters
    ----------
    read
        Column by name; it raises when there is none.
    n
        Number of rows.
    text
        The formula, for the carets of errors.
    states
        What an earlier encoder learned: replay it. None: learn.
    contrasts
        Coding of factors by column name, or one name for all of them.
    row
        Turns a row position into the caller's, for messages.
    """

    __slots__ = (
        "_cache",
        "_contrasts",
        "_row",
        "_text",
        "contrasts_used",
        "learning",
        "n",
        "read",
        "states",
    )

    def __init__(
        self,
        read: Callable[[str], Column],
        n: int,
        text: str,
        *,
        states: dict[Expr, State] | None = None,
        contrasts: Mapping[str, Any] | str | None = None,
        row: Callable[[int], int] = int,
    ) -> None:
        self.read, self.n, self._text, self._row = read, n, text, row
        self.learning = states is None
        self.states: dict[Expr, State] = {} if states is None else states
        self._contrasts = contrasts or {}
        self.contrasts_used: set[str] = set()
        self._cache: dict[Any, Any] = {}

    # --- values

    def value(self, expr: Expr) -> Value:
        """Evaluate an expression once; later calls return the same arrays."""
        found = self._cache.get(expr)
        if found is None:
            with np.errstate(all="ignore"):
                found = self._evaluate(expr)
            if self.learning and isinstance(found, np.ndarray):
                self._check_finite(expr, found)
            self._cache[expr] = found
        return found

    def numeric(self, expr: Expr) -> Floats:
        """Evaluate to float64 (n,); booleans count as 0 and 1, anything else is refused."""
        value = self._number(expr)
        return np.full(self.n, value) if isinstance(value, float) else value

    def grouping(self, expr: Expr) -> tuple[Codes, Labels]:
        """Codes and levels of a column of any type; unused levels are dropped when learning."""
        if not isinstance(expr, Name):
            factor = self._as_factor(expr)
            return compact(factor.codes, factor.levels) if self.learning else (factor.codes, factor.levels)
        key = ("grouping", expr)
        found: tuple[Codes, Labels] | None = self._cache.get(key)
        if found is None:
            found = self.read(expr.name).codes()
            found = self._cache[key] = compact(*found) if self.learning else found
        return found

    def is_factor(self, expr: Expr) -> bool:
        """Whether an expression enters a term as a factor. Replay repeats what was learned."""
        if self.learning:
            return isinstance(self.value(expr), Factor)
        return isinstance(self.states.get(expr), Coding)

    def columns(self, expr: Expr, *, full: bool) -> Basis:
        """Columns of one variable of a term: itself, its basis, its contrasts, or (`full`) all dummies."""
        key = ("columns", expr, full)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._columns(expr, full=full)
        return found

    def _columns(self, expr: Expr, *, full: bool) -> Basis:
        if not self.is_factor(expr):
            value = self.value(expr)
            return value if isinstance(value, Basis) else Basis((self.numeric(expr),), ("",))
        codes = self._coded(expr)
        coding = self.states[expr]
        assert isinstance(coding, Coding)
        matrix, names = coding.matrix, coding.names
        if full:
            matrix, names = np.eye(len(coding.levels)), tuple(map(level_text, coding.levels))
        missing = np.full(matrix.shape[1], np.nan)  # as the last row, where the code -1 wraps to
        table = np.ascontiguousarray(np.vstack([matrix, missing]).T)
        return Basis(tuple(np.take(values, codes, mode="wrap") for values in table), names)

    def _coded(self, expr: Expr) -> Codes:
        """Codes of a factor into the levels of its Coding, which is learned here."""
        factor = self._as_factor(expr)
        if self.learning:
            if factor.kind == "datetime":
                raise self._not_numeric(expr)
            codes, levels = compact(factor.codes, factor.levels)
            if len(levels) < 2:
                only = level_text(levels[0]) if levels else "none"
                raise error("MW-D18", column=label(expr), level=only, **self._at(expr))
            if expr not in self.states:
                contrast = factor.contrast or self._contrast_for(expr, ordered=factor.ordered)
                matrix, names = coding_matrix(contrast, levels, factor.levels, label(expr))
                self.states[expr] = Coding(levels, matrix, names)
            return codes
        coding = self.states[expr]
        assert isinstance(coding, Coding)
        if factor.levels == coding.levels:
            return factor.codes
        position = match_levels(factor.levels, coding.levels)
        codes = np.append(position, np.int32(-1))[factor.codes]
        if len(bad := np.flatnonzero((codes < 0) & (factor.codes >= 0))):
            level = level_text(factor.levels[factor.codes[bad[0]]])
            known = [level_text(known) for known in coding.levels]
            raise error("MW-P01", name=level, factor=label(expr), available=known, row=self._row(int(bad[0])))
        return codes

    def _contrast_for(self, expr: Expr, *, ordered: bool) -> Contrast:
        """Contrast from the `contrasts` argument, else R's default."""
        if isinstance(self._contrasts, str):
            return Contrast("poly") if ordered else read_contrast(self._contrasts, label(expr))
        for key in (label(expr), *variables(expr)):
            if key in self._contrasts:
                self.contrasts_used.add(key)
                return read_contrast(self._contrasts[key], key)
        return Contrast("poly" if ordered else "treatment")

    # --- evaluation

    def _evaluate(self, expr: Expr) -> Value:
        match expr:
            case Name(name):
                column = self.read(name)
                if column.kind == "numeric":
                    return column.numeric()
                return Factor(*column.codes(), column.kind, column.ordered)
            case Number(value):
                return value
            case Unary(op, operand):
                return -self._number(operand) if op == "-" else self._number(operand)
            case Binary(op, left, right):
                if op in _COMPARISONS:
                    return self._compare(op, left, right)
                return _finished(_ARITHMETIC[op](self._number(left), self._number(right)))
            case Call(function, args):
                if function == "I":
                    return self.value(args[0])
                if function in _ELEMENTWISE:
                    return _finished(_ELEMENTWISE[function](self._number(args[0])))
                if function == "log":
                    return self._log(expr)
                return _CALLS[function](self, expr)
        raise error("MW-F23", given=label(expr), advice="Write a column or a number here.", **self._at(expr))

    def _number(self, expr: Expr) -> Floats | float:
        value = self.value(expr)
        if isinstance(value, (float, np.ndarray)):
            return value
        if isinstance(value, Factor) and value.kind == "boolean":
            return np.array([0.0, 1.0, np.nan])[value.codes]
        if isinstance(value, Basis):
            reason = "it has several columns where one is needed"
            raise error("MW-D24", function=label(expr), reason=reason, **self._at(expr))
        raise self._not_numeric(expr)

    def _not_numeric(self, expr: Expr) -> MixwellError:
        if isinstance(expr, Name):
            return self.read(expr.name).not_numeric(**self._at(expr))
        return error("MW-D09", what=f"'{label(expr)}'", kind="a factor", advice="", **self._at(expr))

    def _log(self, call: Call) -> Value:
        options = _options(call)
        value = np.log(self._number(call.args[0]))
        return _finished(value / np.log(options["base"]) if "base" in options else value)

    def _compare(self, op: str, left: Expr, right: Expr) -> Factor:
        """Compare numbers, or the levels of a factor with a text."""
        if isinstance(left, String | Boolean):  # only == and != take them, and these are symmetric
            left, right = right, left
        if isinstance(right, String | Boolean):
            factor = self._as_factor(left)
            wanted = level_text(right.value)
            hits = np.array([level_text(level) == wanted for level in factor.levels] + [False])[factor.codes]
            result, missing = hits == (op == "=="), factor.codes < 0
        else:
            a, b = np.broadcast_arrays(np.zeros(self.n) + self._number(left), self._number(right))
            result, missing = _COMPARISONS[op](a, b), np.isnan(a) | np.isnan(b)
        return Factor(np.where(missing, -1, result).astype(np.int32), BOOLEAN, "boolean")

    def _as_factor(self, expr: Expr) -> Factor:
        """Any value as a factor; numbers become their sorted distinct values."""
        value = self.value(expr)
        if isinstance(value, Factor):
            return value
        if isinstance(expr, Name):
            return Factor(*self.read(expr.name).codes())
        numbers = self.numeric(expr)
        missing = np.isnan(numbers)
        return Factor(*Column(label(expr), "numeric", numbers, missing if missing.any() else None).codes())

    def _factor(self, call: Call) -> Factor:
        """factor(), ordered(), C()."""
        options = _options(call)
        inner = self._as_factor(call.args[0])
        codes, levels = inner.codes, inner.levels
        contrast = inner.contrast
        if wanted := options.get("levels"):
            codes, levels = self._relevelled(call, inner, wanted)
        ordered = bool(options.get("ordered", inner.ordered)) or call.function == "ordered"
        if call.function == "C":
            contrast = _read_call_contrast(call, options, self._at(call)) or contrast
        return Factor(codes, levels, "categorical", ordered, contrast)

    def _relevelled(self, call: Call, factor: Factor, wanted: Any) -> tuple[Codes, Labels]:
        """Put levels into the order wanted; every level in use must be listed."""
        order = wanted if isinstance(wanted, tuple) else (wanted,)
        position = match_levels(factor.levels, order)
        unlisted = [i for i in np.unique(factor.codes).tolist() if i >= 0 and position[i] < 0]
        if unlisted and self.learning:
            level = level_text(factor.levels[unlisted[0]])
            reason = f"levels = c(...) leaves out '{level}'"
            raise error("MW-D24", function=label(call), reason=reason, **self._at(call))
        position[unlisted] = np.arange(len(order), len(order) + len(unlisted))
        named = dict(zip(position.tolist(), factor.levels, strict=True))
        levels = tuple(named.get(i, level) for i, level in enumerate(order))
        levels += tuple(factor.levels[i] for i in unlisted)
        return np.append(position, np.int32(-1))[factor.codes], levels

    # --- functions that learn

    def _learned(self, call: Call, learn: Callable[[Floats, dict[str, Any]], State]) -> Any:
        """State of a call: replayed, or learned from its first argument now."""
        if self.learning and call not in self.states:
            try:
                self.states[call] = learn(self.numeric(call.args[0]), _options(call))
            except (TypeError, ValueError) as problem:
                if type(problem).__name__ == "MixwellError":
                    raise
                raise error("MW-D24", function=label(call), reason=str(problem), **self._at(call)) from None
        return self.states[call]

    def _basis(self, call: Call) -> Value:
        """poly(), bs(), ns(), cr()."""
        learned = self._learned(call, LEARN[call.function])
        columns = learned.columns(self.numeric(call.args[0]))
        names = tuple(map(str, range(1, len(columns) + 1))) if len(columns) > 1 else ("",)
        return Basis(columns, names)

    def _scaled(self, call: Call) -> Value:
        """scale(), center(), standardize()."""
        learned: Scaling = self._learned(call, LEARN[call.function])
        return learned.apply(self.numeric(call.args[0]))

    # --- errors

    def _at(self, expr: Expr) -> dict[str, Any]:
        return {"text": self._text, "span": expr.span} if expr.span[1] else {}

    def _check_finite(self, expr: Expr, values: Floats) -> None:
        if math.isfinite(_sum(values)):
            return
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            self._fail_infinite(expr, values, int(bad[0]))

    def _fail_infinite(self, expr: Expr, values: Floats, i: int) -> NoReturn:
        where = ""
        if not isinstance(expr, Name):
            inputs = ((name, self.read(name)) for name in variables(expr))
            shown = [f"{name} = {column.values[i]!s}" for name, column in inputs if column.values is not None]
            where = f" ({', '.join(shown)})" if shown else ""
        value = "NaN" if np.isnan(values[i]) else "infinite" if values[i] > 0 else "minus infinity"
        raise error(
            "MW-D08", what=f"'{label(expr)}'", value=value, row=self._row(i), where=where, **self._at(expr)
        )


def _sum(values: Floats) -> float:
    with np.errstate(all="ignore"):
        return float(values.sum())


def _finished(value: Any) -> Floats | float:
    return value if isinstance(value, np.ndarray) else float(value)


# --- tables of functions ------------------------------------------------------------------------------------

_ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "%%": np.mod,
    "%/%": np.floor_divide,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def _constant(expr: Expr) -> Any:
    """Value of an argument that reads no column: a number, a string, a truth value, or a tuple of them."""
    match expr:
        case Number(value) | String(value) | Boolean(value):
            return value
        case Unary(op, operand):
            return -_constant(operand) if op == "-" else _constant(operand)
        case Binary(op, left, right):
            return float((_ARITHMETIC | _COMPARISONS)[op](_constant(left), _constant(right)))
        case Call("c", args, kwargs):
            return tuple(_constant(arg) for arg in (*args, *(value for _, value in kwargs)))
    raise ValueError(f"{label(expr)} is not a constant")


def _options(call: Call) -> dict[str, Any]:
    """Arguments of a call after its data, by name. The parser has checked the names."""
    spec = FUNCTIONS[call.function]
    first = max(spec.data, 1)
    given = dict(zip(spec.keywords, call.args[first:], strict=False)) | dict(call.kwargs)
    return {key: value if key == "contr" else _constant(value) for key, value in given.items()}


def _read_call_contrast(call: Call, options: dict[str, Any], at: dict[str, Any]) -> Contrast | None:
    """Contrast asked for by C(f, contr, base=): a name, a string, or a call such as treatment(base = 2)."""
    given: Expr | None = options.get("contr")
    name, base = "treatment", {key: value for key, value in options.items() if key in _BASES}
    match given:
        case Name(spelling) | String(spelling):
            name = CONTRASTS[spelling]
        case Call(spelling, args, kwargs):
            name = CONTRASTS[spelling]
            base |= {key: _constant(value) for key, value in kwargs}
            if (
                args and not base
            ):  # next to base=, as in contr.treatment(3, base = 2), it is the number of levels
                value = _constant(args[0])
                base["base" if isinstance(value, float) else "ref"] = value
        case _ if not base:
            return None
    if base and name != "treatment":
        raise error("MW-D24", function=label(call), reason=f"{name} coding has no reference level", **at)
    for key, value in base.items():
        return Contrast(name, value, by_label=key != "base" or isinstance(value, str))
    return Contrast(name)


_BASES = {"base", "ref", "reference"}


_CALLS: dict[str, Callable[[Encoder, Call], Value]] = {
    **dict.fromkeys(("poly", "bs", "ns", "cr"), Encoder._basis),
    **dict.fromkeys(("scale", "standardize", "center"), Encoder._scaled),
    **dict.fromkeys(("factor", "as.factor", "ordered", "C"), Encoder._factor),
    "offset": lambda encoder, call: encoder.numeric(call.args[0]),
}


def match_levels(levels: Labels, known: Labels) -> Codes:
    """Position of each level among the known ones, else -1: matched by value, or by text ('308' for 308)."""
    index = {level: i for i, level in enumerate(known)}
    found = [index.get(level, -1) for level in levels]
    if -1 in found:
        texts = {level_text(level): i for i, level in enumerate(known)}
        found = [
            texts.get(level_text(level), -1) if i < 0 else i for level, i in zip(levels, found, strict=True)
        ]
    return np.array(found, dtype=np.int32)


# --- terms --------------------------------------------------------------------------------------------------


def plan(terms: Terms, *, intercept: bool, is_factor: Callable[[Expr], bool]) -> Plan:
    """Decide which factors of which terms get a dummy for every level instead of contrasts.

    A factor is coded by contrasts where the rest of its term is contained in an earlier term (or is empty),
    so that the columns it gives up are there already. Without an intercept the first factor gets all of them.
    """
    planned: list[tuple[tuple[Expr, bool], ...]] = []
    earlier: list[set[Expr]] = []
    starved = not intercept
    for term in terms:
        factors: list[tuple[Expr, bool]] = []
        for expr in term:
            if not is_factor(expr):
                factors.append((expr, False))
                continue
            rest = set(term) - {expr}
            full = bool(rest) and not any(rest <= before for before in earlier)
            factors.append((expr, full or starved))
            starved = False
        planned.append(tuple(factors))
        earlier.append(set(term))
    return tuple(planned)


def encode(
    encoder: Encoder, terms: Plan, *, intercept: bool
) -> tuple[tuple[str, ...], tuple[Floats | None, ...], tuple[int, ...]]:
    """Return names, columns (n,) and the term of each column (0: the intercept, whose column is None)."""
    names: list[str] = ["(Intercept)"] if intercept else []
    columns: list[Floats | None] = [None] if intercept else []
    assign = [0] if intercept else []
    for index, term in enumerate(terms, start=1):
        product: list[tuple[str, Floats | None]] = [("", None)]
        for expr, full in term:
            basis, prefix = encoder.columns(expr, full=full), label(expr)
            product = [
                (
                    f"{done}:{prefix}{name}" if done else f"{prefix}{name}",
                    column if before is None else before * column,
                )
                for name, column in zip(basis.names, basis.columns, strict=True)
                for done, before in product
            ]
        names += [name for name, _ in product]
        columns += [column for _, column in product]
        assign += [index] * len(product)
    return tuple(names), tuple(columns), tuple(assign)
