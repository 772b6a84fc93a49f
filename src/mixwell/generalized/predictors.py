"""From a design to what the core takes: columns, terms, auxiliary predictors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Laplace, Term
from mixwell.design.contrasts import level_text
from mixwell.errors import MixwellError, error
from mixwell.families import Family, link_of

if TYPE_CHECKING:
    from mixwell.design import Design


__all__ = ["Predictors", "kept_names", "laplace_of", "predictors_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """Auxiliary linear predictors as the core takes them.

    Attributes
    ----------
    columns
        By predictor: its columns as (position of its coefficient, values or None for ones), and a known part.
    names
        Of all coefficients gamma: (auxiliary parameter, column).
    start
        Their values to begin with.
    """

    columns: tuple[tuple[list[tuple[int, Array | None]], Array | None], ...]
    names: tuple[tuple[str, str], ...]
    start: Array


def predictors_of(design: Design, family: Family) -> Predictors:
    """Lay out the auxiliary predictors: intercepts, the columns of dispformula and ziformula, thresholds."""
    weights = np.ones(design.n) if design.weights is None else design.weights
    if family.kind == "ordered":
        return _thresholds(design, family, weights)
    columns: list[tuple[list[tuple[int, Array | None]], Array | None]] = []
    names: list[tuple[str, str]] = []
    start: list[float] = []
    for at, each in enumerate(family.auxiliary):
        source = "zi" if each.name == "zi" else "disp" if at == 0 else ""
        own_names, own = design.extra.get(source, (("(Intercept)",), (None,)))
        first = len(names)
        begin = each.start(design.y, weights)
        columns.append(([(first + j, column) for j, column in enumerate(own)], None))
        names += [(each.name, name) for name in own_names]
        start += [begin if column is None else 0.0 for column in own]
    return Predictors(tuple(columns), tuple(names), np.array(start))


def _thresholds(design: Design, family: Family, weights: Array) -> Predictors:
    """Upper and lower threshold of each row's category: columns of zeros and ones."""
    count, y = len(design.categories), design.y
    labels = [level_text(level) for level in design.categories]
    share = np.cumsum(np.bincount(y.astype(int), weights, count)) / weights.sum()
    start = link_of(family.link, np.clip(share[:-1], 0.01, 0.99))
    upper = [(j, (y == j).astype(np.float64)) for j in range(count - 1)]
    lower = [(j, (y == j + 1).astype(np.float64)) for j in range(count - 1)]
    top, bottom = np.where(y == count - 1, np.inf, 0.0), np.where(y == 0, -np.inf, 0.0)
    names = tuple(("threshold", f"{a}|{b}") for a, b in pairwise(labels))
    return Predictors(((upper, top), (lower, bottom)), names, start)


def laplace_of(design: Design, family: Family, predictors: Predictors) -> Laplace:
    """Hand a design to the core."""
    terms = [
        Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)
        for term in design.random
    ]
    columns = list(design.columns)
    if family.kind == "ordered":  # the thresholds are the intercept
        columns = [column for column in columns if column is not None]
    try:
        return Laplace(
            family.core, design.y, columns, terms, design.weights, design.offset, list(predictors.columns)
        )
    except MixwellError as refusal:
        if refusal.code != "MW-N06":
            raise
        at, column = (int(str(refusal.fields[key])) for key in ("term", "column"))
        named = f"'{design.random[at].names[column]}'"
        raise error("MW-N06", term=str(design.formula.random[at]), column=named) from None


def kept_names(design: Design, family: Family, kept: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the estimable coefficients; an ordinal model has no intercept."""
    names = list(design.names)
    if family.kind == "ordered":
        names = [name for name, column in zip(names, design.columns, strict=True) if column is not None]
    return tuple(names[j] for j in kept)
