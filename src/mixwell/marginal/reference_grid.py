"""The reference grid: combinations of levels and values that marginal means average over."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.frame import Frame
from mixwell.errors import error
from mixwell.fitted.estimable import dropped_columns, with_coefficients
from mixwell.fitted.new_rows import new_rows
from mixwell.formula import variables as variables_of
from mixwell.marginal.counterfactual import Variable, model_variables, set_to, wanted_values

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "Averages",
    "Model",
    "Question",
    "Weights",
    "averages",
    "not_lost",
    "read_question",
    "without_rounding",
]

Array = NDArray[np.float64]
Model: TypeAlias = "FittedModel | GeneralizedModel"
Weights = Literal["equal", "proportional", "outer", "cells", "flat"]

_LOST = 1e-8
_ROUNDING = 1e-13  # of sums that cancel
_MOST = 500_000


@dataclass(frozen=True, slots=True)
class Question:
    """Which means: `own` variables within a family, `by` between families, and a method of contrasts."""

    own: list[str]
    by: list[str]
    method: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Averages:
    """Linear functions of the coefficients that the means are.

    Attributes
    ----------
    labels
        Values of the variables of each mean; of these the first varies fastest.
    L, offset
        Means are L beta + offset, (k, p) and (k,).
    lost
        What a mean needs of coefficients that could not be estimated, (k, d): zero where it is estimable.
    over
        Variables that are averaged over.
    """

    labels: dict[str, list[Any]]
    L: Array
    offset: Array
    lost: Array
    over: tuple[str, ...]


def read_question(m: Model, specs: str | Sequence[str], by: str | Sequence[str] | None) -> Question:
    """Read names of variables, or a text such as "A * B", "A | B", "pairwise ~ A | B".

    Raises
    ------
    MixwellError
        MW-A115 for a variable that the fixed effects do not have, MW-A07 for one that is named twice.
    """
    known = model_variables(m)
    method = None
    apart = [] if by is None else [by] if isinstance(by, str) else list(by)
    if isinstance(specs, str) and specs not in known:
        left, tilde, right = specs.rpartition("~")
        method = left.strip() or None if tilde else None
        wanted, bar, condition = right.partition("|")
        own = _split(wanted)
        apart = [*(_split(condition) if bar else []), *apart]
    else:
        own = [specs] if isinstance(specs, str) else list(specs)
    for name in (*own, *apart):
        if name not in known:
            raise error("MW-A115", name=name, available=list(known))
        if (*own, *apart).count(name) > 1:
            raise error("MW-A07", option="specs", expected=f"'{name}' once, in specs or in by", given=specs)
    return Question(own, apart, method)


def _split(text: str) -> list[str]:
    names = [part.strip().strip("`") for part in re.split(r"[*+:,]", text)]
    return [name for name in names if name not in ("", "1")]


def averages(
    m: Model,
    question: Question,
    *,
    at: Mapping[str, Any] | None = None,
    weights: Weights = "equal",
    spread: Collection[str] = (),
) -> Averages:
    """Average the rows of the reference grid.

    The offset is its mean, unless a variable of it is set in `at` or has means of its own.

    Parameters
    ----------
    spread
        Numbers that have two values, one unit below and above their mean, rather than their mean.
    """
    variables = model_variables(m)
    for name in at or {}:
        if name not in variables:
            raise error("MW-A119", name=name, option="at", available=list(variables))
    values = {name: _values(variable, at, spread=name in spread) for name, variable in variables.items()}
    names, wanted = list(values), [*question.own, *question.by]
    size = math.prod(map(len, values.values()))
    if size > _MOST:
        expected = f"values of some variables: the grid has {size:,} combinations"
        raise error("MW-A07", option="at", expected=expected, given=at)
    X, offset, lost = _rows(m, variables, values)
    exprs = m.formula.offsets
    exposures = {name for expr in exprs for name in variables_of(expr)} | {m.design.recipe.offset_column}
    if m.design.offset is not None and not exposures & {*question.own, *question.by, *(at or {})}:
        offset = np.full(len(offset), float(np.mean(m.design.offset)))
    positions = list(product(*(range(len(each)) for each in values.values())))
    places = [names.index(name) for name in wanted]
    members: dict[tuple[int, ...], list[int]] = {
        key[::-1]: [] for key in product(*(range(len(values[name])) for name in wanted[::-1]))
    }
    for i, position in enumerate(positions):
        members[tuple(position[j] for j in places)].append(i)
    counted = {n: values[n] for n in names if variables[n].is_factor or not (at is not None and n in at)}
    share = np.ones(len(positions))
    alone = len(positions) == len(members)  # nothing is averaged: weights do not matter
    if weights != "equal" and not alone:
        share = _shares(m, variables, counted, (names, positions, wanted), weights)
    rows = []
    for own in members.values():
        w = share[own]
        total = float(w.sum())
        # Weights by counts in a cell without any: no mean, like one that cannot be estimated.
        w = w / total if total > 0 else np.full(len(own), np.nan)
        rows.append(
            (
                without_rounding(w, X[own]),
                w @ offset[own],
                w @ lost[own] if total > 0 else np.full(lost.shape[1], np.inf),
            )
        )
    labels = {name: [values[name][key[j]] for key in members] for j, name in enumerate(wanted)}
    over = tuple(name for name in names if len(values[name]) > 1 and name not in wanted)
    L, shift, missing = (np.array(each) for each in zip(*rows, strict=True))
    return Averages(labels or {"average": ["all"]}, L, shift, missing, over)


def not_lost(lost: Array) -> NDArray[np.bool_]:
    """Say which rows of `lost` (k, d) are zero, so that their function is estimable."""
    return np.asarray(np.abs(lost).max(axis=1, initial=0.0) <= _LOST)


def without_rounding(C: Array, L: Array) -> Array:
    """Return C L with zeros where its terms cancel: what is left there is rounding, not an estimate."""
    out = C @ L
    return np.asarray(np.where(np.abs(out) <= _ROUNDING * (np.abs(C) @ np.abs(L)), 0.0, out))


def _values(variable: Variable, at: Mapping[str, Any] | None, *, spread: bool) -> list[Any]:
    if at is not None and variable.name in at:
        found = list(dict.fromkeys(wanted_values(variable, at[variable.name])))
        return [_level(variable, each) for each in found] if variable.is_factor else found
    if variable.is_factor:
        return list(variable.levels)
    numbers = variable.column.numeric()
    few = np.unique(numbers[~np.isnan(numbers)])
    if len(few) == 2:
        return [float(each) for each in few]
    mean = float(np.nanmean(numbers))
    return [mean - 1.0, mean + 1.0] if spread else [mean]


def _level(variable: Variable, value: Any) -> Any:
    known = [level_text(level) for level in variable.levels]
    if level_text(value) not in known:
        raise error("MW-A120", name=level_text(value), variable=variable.name, available=known)
    return variable.levels[known.index(level_text(value))]


def _rows(
    m: Model, variables: Mapping[str, Variable], values: Mapping[str, list[Any]]
) -> tuple[Array, Array, Array]:
    """X (g, p) and the offset (g,) at every point of the grid, and what is lost there (g, d)."""
    points = list(product(*values.values()))
    columns: dict[str, Any] = {}
    for j, name in enumerate(values):
        variable = variables[name]
        column = set_to(variable, points[0][j], len(points))
        if not variable.is_factor:
            columns[name] = np.array([point[j] for point in points], dtype=np.float64)
        elif column.codes_ is not None:
            codes = [column.levels_.index(point[j]) for point in points]
            columns[name] = replace(column, codes_=np.array(codes, dtype=np.int32))
        else:
            columns[name] = np.array([point[j] for point in points])
    frame = Frame(columns, columns, len(points), columns.__getitem__, None)
    ones = getattr(getattr(m, "family", None), "kind", "") != "ordered"  # thresholds stand for them
    none = (False,) * len(m.formula.random)
    rows = new_rows(m, frame, none, others=False, weights=False, unknown="population", intercept=ones)
    offset = np.zeros(len(points)) if rows.offset is None else rows.offset
    X = rows.dense(slice(None))
    found = dropped_columns(m)
    if found is None:
        return X, offset, np.zeros((len(points), 1))
    here = with_coefficients(m.design.recipe.fixed(frame), intercept=ones)
    lost = found.away(rows.columns, [here[j] for j in found.positions], len(points))
    return X, offset, lost / found.spread


def _shares(
    m: Model,
    variables: Mapping[str, Variable],
    values: Mapping[str, list[Any]],
    grid: tuple[list[str], list[tuple[int, ...]], list[str]],
    weights: Weights,
) -> Array:
    """Weights (g,) of the points of the grid, from the rows of the data with the values of factors there.

    `grid`: names of its variables, the points as positions among their values, and the names in the means.
    """
    names, positions, wanted = grid
    shape = {name: len(each) for name, each in values.items() if len(each) > 1}
    table = np.zeros(tuple(shape.values()))
    codes = [_codes(variables[name], values[name]) for name in shape]
    inside = np.logical_and.reduce([code >= 0 for code in codes]) if codes else np.ones(m.nobs, dtype=bool)
    np.add.at(table, tuple(code[inside] for code in codes), 1.0)
    axes = list(shape)
    within = tuple(axes.index(name) for name in wanted if name in shape)
    if weights == "proportional":
        table = np.broadcast_to(table.sum(axis=within, keepdims=True), table.shape)
    elif weights == "outer":
        margins = [
            table.sum(axis=tuple(i for i in range(len(axes)) if i != j), keepdims=True)
            for j in range(len(axes))
            if j not in within
        ]
        table = np.broadcast_to(
            np.prod(np.broadcast_arrays(*margins), axis=0) if margins else 1.0, table.shape
        )
    elif weights == "flat":
        table = (table > 0).astype(np.float64)
    at = [names.index(name) for name in shape]
    return np.array([table[tuple(position[j] for j in at)] for position in positions])


def _codes(variable: Variable, values: list[Any]) -> NDArray[np.intp]:
    """Position among `values` of each fitted row, -1 for none."""
    if not variable.is_factor:
        numbers = variable.column.numeric().tolist()
        return np.array([values.index(v) if v in values else -1 for v in numbers], dtype=np.intp)
    codes, levels = variable.column.codes()
    lookup = {level_text(value): at for at, value in enumerate(values)}
    return np.array([*(lookup.get(level_text(each), -1) for each in levels), -1], dtype=np.intp)[codes]
