"""Rows to predict: those that were fitted, or new ones read with what was learned from the fitted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import MixwellError, error, warn
from mixwell.fitted.estimable import dropped_columns, with_coefficients

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Rows", "announce", "chosen_terms", "fitted_rows", "fixed_part", "new_rows", "random_part"]

Array = NDArray[np.float64]
Columns = Sequence[Array | None]

_NEARBY = 10_000  # levels among which a message looks for what was meant


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows to predict.

    Attributes
    ----------
    n
        Their number.
    columns
        Estimable columns of X, each (n,), None for ones.
    offset, weights
        Shape (n,); None for zeros, and for ones.
    terms
        By term of the formula: codes (-1 for levels that were not fitted) and columns; None if not needed.
    chosen
        By term, whether its random effects are part of the prediction.
    inestimable
        Mask (n,) of rows whose prediction needs a coefficient that could not be estimated; None for none.
    column
        The first such column of X.
    weightless
        The fit has weights and these rows have none.
    """

    n: int
    columns: tuple[Array | None, ...]
    offset: Array | None
    weights: Array | None
    terms: tuple[RandomDesign | None, ...]
    chosen: tuple[bool, ...]
    inestimable: NDArray[np.bool_] | None = None
    column: str = ""
    weightless: bool = False

    def dense(self, rows: slice) -> Array:
        """X of some rows, shape (r, p)."""
        size = len(range(*rows.indices(self.n)))
        columns = [np.ones(size) if column is None else column[rows] for column in self.columns]
        return np.column_stack(columns) if columns else np.empty((size, 0))

    def predicted(self, beta: Array, effects: Sequence[Array]) -> Array:
        """X beta + offset + Z b of the chosen terms, shape (n,); levels that were not fitted add nothing."""
        out = fixed_part(self.columns, beta, self.n)
        if self.offset is not None:
            out += self.offset
        for term, chosen, b in zip(self.terms, self.chosen, effects, strict=True):
            if chosen and term is not None:
                out += random_part(term.codes, term.columns, b)
        if self.inestimable is not None:
            out[self.inestimable] = np.nan
        return out


def fixed_part(columns: Columns, beta: Array, n: int) -> Array:
    """X beta, shape (n,); a column that is None stands for ones."""
    out = np.zeros(n)
    for column, coefficient in zip(columns, beta, strict=True):
        out += coefficient if column is None else coefficient * column
    return out


def random_part(codes: NDArray[np.int32], columns: Columns, b: Array) -> Array:
    """Z b of one term, shape (n,), from b (J, k). A row with code -1 belongs to no level and gets zero."""
    out = np.zeros(codes.size)
    for column, effects in zip(columns, b.T, strict=True):
        effect = np.append(effects, 0.0)[codes]  # code -1 takes the zero at the end
        out += effect if column is None else effect * column
    return out


def chosen_terms(m: Model, re: str | Collection[str]) -> tuple[bool, ...]:
    """Say of each random-effects term whether `re` asks for it.

    Raises
    ------
    MixwellError
        MW-A02 for a text that is neither "conditional" nor "population", MW-P14 for an unknown term.
    """
    terms = m.formula.random
    if isinstance(re, str) or not isinstance(re, Collection):
        if re not in ("conditional", "population"):
            allowed = ["'conditional'", "'population'", "or a list of random-effects terms"]
            raise error("MW-A02", option="re", given=re, allowed=allowed)
        return (re == "conditional",) * len(terms)
    wanted: set[str] = set()
    groups = tuple(dict.fromkeys(term.group_label for term in terms))
    for each in re:
        canonical = _canonical(each)
        found = {str(term) for term in terms if str(term) in canonical or term.group_label == each}
        if not found:
            available = tuple(dict.fromkeys([*groups, *(str(term) for term in terms)])) or ("none",)
            raise error("MW-P14", name=each, available=available)
        wanted |= found
    return tuple(str(term) in wanted for term in terms)


def _canonical(text: object) -> set[str]:
    """Random-effects terms that a text such as "(x | a/b)" stands for, in canonical spelling."""
    from mixwell.formula import parse  # noqa: PLC0415  (only for terms spelt out)

    if not isinstance(text, str) or "|" not in text:
        return set()
    try:
        return {str(term) for term in parse(f"~ {text}").random}
    except MixwellError:
        return set()


def fitted_rows(m: Model, chosen: tuple[bool, ...]) -> Rows:
    """Return the rows of the fit."""
    design = m.design
    return Rows(m.nobs, m.fixed_columns, design.offset, design.weights, design.random, chosen)


def new_rows(
    m: Model,
    data: Any,
    chosen: tuple[bool, ...],
    *,
    others: bool,
    weights: bool,
    unknown: str,
    intercept: bool = True,
) -> Rows:
    """Read new rows.

    Parameters
    ----------
    others
        Read the columns (not the levels) of the terms that are not chosen too.
    weights
        Read the weights.
    unknown
        What to do with levels that were not fitted: "error", or anything else to give them the code -1.
    intercept
        Whether a column of ones has a coefficient; in ordinal models the thresholds stand for it.

    Raises
    ------
    MixwellError
        MW-P01, P02, P10, P11, P12, P16.
    """
    from mixwell.design.frame import Frame  # noqa: PLC0415  (rows are only read again here)

    given = m.arguments.get("offset")
    if given is not None and not isinstance(given, str):
        raise error("MW-P11")
    recipe = m.design.recipe
    frame = Frame.from_data(data)
    columns = with_coefficients(recipe.fixed(frame), intercept=intercept)
    terms: list[RandomDesign | None] = []
    for at, (source, wanted) in enumerate(zip(m.formula.random, chosen, strict=True)):
        if not wanted and not others:
            terms.append(None)
            continue
        term = recipe.random_term(frame, at, levels=wanted)
        if wanted and unknown == "error" and (term.codes < 0).any():
            _refuse_level(frame, term, source.group_names)
        terms.append(term)
    inestimable, column = _inestimable(m, columns, frame.n_rows)
    read = _weights(m, frame) if weights else None
    return Rows(
        frame.n_rows,
        tuple(columns[j] for j in m.kept),
        recipe.offset(frame),
        read,
        tuple(terms),
        chosen,
        inestimable,
        column,
        weightless=weights and read is None and m.design.weights is not None,
    )


def announce(rows: Rows) -> None:
    """Warn about rows that are NaN and about missing weights; to be called by a public function itself."""
    if rows.inestimable is not None:
        bad = np.flatnonzero(rows.inestimable)
        warn("MW-P13", stacklevel=5, count=bad.size, n=rows.n, row=int(bad[0]), column=rows.column)
    if rows.weightless:
        warn("MW-P17", stacklevel=5)


def _weights(m: Model, frame: Any) -> Array | None:
    """Weights of new rows, if the fit took them from a column that the new table has too."""
    name = m.arguments.get("weights")
    if not isinstance(name, str) or name not in frame.names:
        return None
    values: Array = frame.column(name).numeric()
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        raise error("MW-P16", weights=name, value=float(values[bad[0]]), row=int(bad[0]))
    return values


def _inestimable(m: Model, columns: Columns, n: int) -> tuple[NDArray[np.bool_] | None, str]:
    """Rows outside the span of the fitted rows: a dropped column is not the combination it was there."""
    found = dropped_columns(m)
    if found is None:
        return None, ""
    away = found.away([columns[j] for j in m.kept], [columns[j] for j in found.positions], n) != 0.0
    first = next((name for name, outside in zip(found.names, away.T, strict=True) if outside.any()), "")
    return (away.any(axis=1), first) if first else (None, "")


def _refuse_level(frame: Any, term: RandomDesign, columns: tuple[str, ...]) -> None:
    """Raise the error that names the first row without a fitted level."""
    row = int(np.flatnonzero(term.codes < 0)[0])
    parts = []
    for name in columns:
        codes, levels = frame.column(name).codes()
        parts.append(None if codes[row] < 0 else levels[codes[row]])
    missing = [name for name, part in zip(columns, parts, strict=True) if part is None]
    known = [level_text(level) for level in term.levels[:_NEARBY]]
    if missing:
        raise error("MW-P12", group=term.group, column=missing[0], row=row)
    level = level_text(parts[0] if len(parts) == 1 else tuple(parts))
    fitted = len(term.levels)
    raise error("MW-P10", name=level, group=term.group, row=row, available=known, n_levels=fitted)
