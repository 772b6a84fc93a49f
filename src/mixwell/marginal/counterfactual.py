"""Rows to predict: the fitted ones, a table, or a grid, with variables set to values of one's choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.frame import Column, Frame, Labels, compact, read_column
from mixwell.errors import error
from mixwell.formula import variables
from mixwell.formula.expression import Call, Expr

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model

__all__ = [
    "Situations",
    "Variable",
    "columns_of",
    "model_variables",
    "set_to",
    "shifted",
    "situations",
    "values",
]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]
Columns = dict[str, Column]

_CODED = ("factor", "ordered", "C")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the fixed effects: its column at the fitted rows, and the levels of a factor."""

    name: str
    column: Column
    levels: Labels

    @property
    def is_factor(self) -> bool:
        """Whether it has levels; a number in factor() has, too."""
        return bool(self.levels)

    @property
    def is_zero_one(self) -> bool:
        """Whether it is a number that is 0 or 1, both of them, in the fitted rows."""
        return not self.is_factor and np.unique(self.column.numeric()).tolist() == [0.0, 1.0]


@dataclass(frozen=True, slots=True, eq=False)
class Situations:
    """Rows: their columns, their places in the table, how many, and how often the table was repeated."""

    columns: Columns
    row: Ints
    n: int
    copies: int = 1

    def replaced(self, changes: Mapping[str, Column]) -> Columns:
        """Return the columns with some of them changed."""
        return {**self.columns, **changes}


def model_variables(m: Model) -> dict[str, Variable]:
    """Return the variables that predictions without random effects depend on, in the order of the formula."""
    exprs = [expr for term in m.formula.terms for expr in term.factors]
    exprs += [expr for f, _ in m.design.recipe.further.values() for t in f.terms for expr in t.factors]
    exprs += list(m.formula.offsets)
    coded, plain = set[str](), set[str]()
    for expr in exprs:
        (coded if _is_coded(expr) else plain).update(variables(expr))
    out = {}
    for name in dict.fromkeys(name for expr in exprs for name in variables(expr)):
        column = columns_of(m, [name])[name]
        numeric = column.kind == "numeric" and (name in plain or name not in coded)
        levels: Labels = ()
        if not numeric:
            codes, levels = column.codes()
            levels = compact(codes[codes >= 0], levels)[1]
        out[name] = Variable(name, column, levels)
    offset = m.design.recipe.offset_column
    if offset is not None and offset not in out:
        out[offset] = Variable(offset, columns_of(m, [offset])[offset], ())
    return out


def _is_coded(expr: Expr) -> bool:
    return isinstance(expr, Call) and (expr.function in _CODED)


def columns_of(m: Model, names: Sequence[str]) -> Columns:
    """Read columns of the fitted table, at the rows that were used."""
    frame, out = m.design.frame, {}
    for name in names:
        try:
            out[name] = frame.column(name).take(m.design.rows)
        except KeyError:
            raise error("MW-A119", name=name, option="by", available=list(frame.names)) from None
    return out


# --- one column -----------------------------------------------------------------------------------------


def values(column: Column) -> Any:
    """Return what to show of a column: numbers as an array, labels as a list."""
    if column.values is not None and column.kind != "datetime":
        return column.numeric() if column.kind == "numeric" else column.values.tolist()
    codes, levels = column.codes()
    labels = [*levels, None]
    return [labels[code] for code in codes.tolist()]


def picked(column: Column, rows: Ints) -> Column:
    """Return some rows of a column, in any order and as often as wanted."""
    absent = None if column.absent is None else column.absent[rows]
    return replace(
        column,
        values=None if column.values is None else column.values[rows],
        codes_=None if column.codes_ is None else column.codes_[rows],
        absent=absent,
        owned=True,
    )


def set_to(variable: Variable, value: Any, n: int) -> Column:
    """Return a column of n times one value, refusing a level that does not exist."""
    if variable.is_factor:
        known = [level_text(level) for level in variable.levels]
        if level_text(value) not in known:
            raise error("MW-A120", name=level_text(value), variable=variable.name, available=known)
        value = variable.levels[known.index(level_text(value))]
        column = variable.column
        if column.codes_ is not None:
            code = column.levels_.index(value)
            return replace(
                column, values=None, absent=None, codes_=np.full(n, code, dtype=np.int32), owned=True
            )
        return read_column(variable.name, np.full(n, value))
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        expected = f"a finite number of '{variable.name}'"
        raise error("MW-A07", option="at", expected=expected, given=value)
    return Column(variable.name, "numeric", np.full(n, float(value)), owned=True)


def shifted(column: Column, distance: Array | float) -> Column:
    """Return a numeric column with something added."""
    return Column(column.name, "numeric", column.numeric() + distance, owned=True)


_SUMMARIES: dict[str, Callable[[Array], list[float]]] = {
    "mean": lambda x: [float(x.mean())],
    "median": lambda x: [float(np.median(x))],
    "min": lambda x: [float(x.min())],
    "max": lambda x: [float(x.max())],
    "range": lambda x: [float(x.min()), float(x.max())],
    "sd": lambda x: [float(x.mean() + k * x.std(ddof=1)) for k in (-1, 0, 1)],
    "quartiles": lambda x: np.quantile(x, [0.25, 0.5, 0.75]).tolist(),
}


def wanted_values(variable: Variable, given: Any) -> list[Any]:
    """Read the values of one variable in `at`: one, several, or a word such as "mean"."""
    if isinstance(given, str) and not variable.is_factor:
        if given not in _SUMMARIES:
            raise error("MW-A02", option="at", given=given, allowed=[repr(each) for each in _SUMMARIES])
        return _SUMMARIES[given](variable.column.numeric())
    if isinstance(given, str) or np.isscalar(given):
        return [given]
    out = list(given)
    if not out:
        raise error("MW-A07", option="at", expected=f"values of '{variable.name}'", given=given)
    return out


# --- many rows ------------------------------------------------------------------------------------------


def situations(
    m: Model,
    newdata: Any,
    at: Mapping[str, Any] | None,
    *,
    extra: Sequence[str] = (),
    groups: bool = False,
    reference: bool = False,
) -> Situations:
    """Return the rows that are asked for.

    Parameters
    ----------
    newdata
        None: the fitted rows; "mean": one row, numbers at their means and factors at their most frequent
        level; "grid": numbers at their means and all combinations of levels; or a table.
    at
        Values to set variables to: all combinations, each with every row.
    extra
        Further columns to keep, such as those of `by`.
    groups
        Whether the columns of grouping factors are needed.
    reference
        Let "grid" be the one of marginal means: numbers that have two values have both.
    """
    known = model_variables(m)
    choices = _choices(m, known, at)
    if isinstance(newdata, str) and newdata not in ("mean", "grid"):
        raise error("MW-A07", option="newdata", expected='None, "mean", "grid", or a table', given=newdata)
    if newdata is None:
        used = [name for name, _ in m.formula.variables() if name in m.design.frame.names]
        names = list(dict.fromkeys([*known, *used, *extra]))
        columns = columns_of(m, names)
        row = np.arange(m.nobs) if m.design.rows is None else np.flatnonzero(m.design.rows)
    elif isinstance(newdata, str):
        _refuse_groups(m, extra, known, choices, groups=groups)
        kind = "reference" if reference else newdata
        choices = {name: _typical(known[name], kind) for name in known} | choices
        columns, row = {}, np.zeros(1, dtype=np.intp)
    else:
        frame = Frame.from_data(newdata)
        for name in extra:
            if name not in frame.names:
                raise error("MW-P02", column=name, available=list(frame.names))
        columns = {name: frame.column(name) for name in dict.fromkeys(frame.names)}
        row = np.arange(frame.n_rows)
    combinations = list(product(*choices.values()))
    if not choices:
        return Situations(columns, row, row.size)
    k, n = len(combinations), row.size
    rows = np.tile(np.arange(n), k)
    columns = {name: picked(column, rows) for name, column in columns.items()}
    all_known = {**known, **_random_variables(m, choices, known)}
    for j, name in enumerate(choices):
        own = [set_to(all_known[name], each[j], n) for each in combinations]
        columns[name] = _stacked(own)
    return Situations(columns, row[rows] if n > 1 else np.arange(k), k * n, k)


def _choices(m: Model, known: Mapping[str, Variable], at: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise error("MW-A07", option="at", expected="a dict from variables to values", given=at)
    everything = {**known, **_random_variables(m, at, known)}
    for name in at:
        if name not in everything:
            raise error("MW-A119", name=name, option="at", available=list(known))
    return {name: wanted_values(everything[name], given) for name, given in at.items()}


def _random_variables(m: Model, names: Any, known: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return variables of the random effects alone, such as grouping factors, among the names."""
    out = {}
    grouping = {name for term in m.formula.random for expr in term.group for name in variables(expr)}
    others = {n for term in m.formula.random for t in term.terms for e in t.factors for n in variables(e)}
    for name in names:
        if name not in known and name in grouping | others:
            column = columns_of(m, [name])[name]
            factor = column.kind != "numeric" or name in grouping
            out[name] = Variable(name, column, compact(*column.codes())[1] if factor else ())
    return out


def _refuse_groups(
    m: Model, extra: Sequence[str], known: Any, choices: Mapping[str, Any], *, groups: bool
) -> None:
    needed = [name for name in extra if name not in known]
    if groups:
        for term in m.formula.random:
            needed += [name for expr in term.group for name in variables(expr)]
    for name in needed:
        if name not in choices:
            raise error("MW-A121", name=name)


def _typical(variable: Variable, kind: str) -> list[Any]:
    if not variable.is_factor:
        numbers = variable.column.numeric()
        few = np.unique(numbers)
        return few.tolist() if kind == "reference" and few.size == 2 else [float(numbers.mean())]
    if kind != "mean":
        return list(variable.levels)
    codes, levels = variable.column.codes()
    return [levels[int(np.argmax(np.bincount(codes[codes >= 0], minlength=len(levels))))]]


def _stacked(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if first.codes_ is not None:
        return replace(
            first, codes_=np.concatenate([part.codes_ for part in parts if part.codes_ is not None])
        )
    stacked = np.concatenate([part.values for part in parts if part.values is not None])
    return replace(first, values=stacked, absent=None)


def groups_of(rows: Situations, by: Sequence[str]) -> tuple[Ints, dict[str, Any]]:
    """Return the group of each row (n,), numbered in the order of the levels, and the labels of groups."""
    if not by:
        return np.zeros(rows.n, dtype=np.intp), {}
    coded = [rows.columns[name].codes() for name in by]
    keys = np.column_stack([codes for codes, _ in coded])
    found, group = np.unique(keys, axis=0, return_inverse=True)
    labels: dict[str, Any] = {}
    for j, (name, (_, levels)) in enumerate(zip(by, coded, strict=True)):
        shown = [levels[code] if code >= 0 else None for code in found[:, j].tolist()]
        numeric = rows.columns[name].kind == "numeric" and None not in shown
        labels[name] = np.array(shown, dtype=float) if numeric else shown
    return group.ravel().astype(np.intp), labels
