"""Linear predictors: of the rows that were fitted, and of new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.fitted.values import SparseMatrix
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = ["fixed_part", "predict", "random_part", "sparse_z"]

Array = NDArray[np.float64]
Columns = Sequence[Array | None]

_NEARBY = 10_000  # levels among which a message looks for what was meant


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


def sparse_z(terms: Sequence[RandomDesign], n: int) -> SparseMatrix:
    """Z as triplets, shape (n, q): term after term, level after level."""
    rows, columns, values, start = [], [], [], 0
    for term in terms:
        k = len(term.columns)
        for j, column in enumerate(term.columns):
            rows.append(np.arange(n))
            columns.append(start + term.codes.astype(np.int64) * k + j)
            values.append(np.ones(n) if column is None else column)
        start += len(term.levels) * k
    if not terms:
        return SparseMatrix(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), (n, 0))
    return SparseMatrix(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), (n, start))


@checked
def predict(
    m: FittedModel,
    newdata: Any = None,
    *,
    re: Literal["conditional", "population"] = "conditional",
    new_levels: Literal["error", "population"] = "error",
) -> Array:
    """Predict the response.

    Parameters
    ----------
    newdata
        A table with the columns of the right-hand side; the rows that were fitted if None. Factors are
        coded, and poly(), scale() and splines evaluated, with what was learned from the fitted rows.
    re
        "conditional": with the random effects of each row's levels. "population": without random effects;
        grouping columns are then not needed.
    new_levels
        What to do with a level of a grouping factor that was not fitted, or a missing one: "error", or
        "population" to take its random effects as zero, their expected value.

    Returns
    -------
    array
        Shape (rows of newdata,); NaN where a predictor is missing.

    Raises
    ------
    MixwellError
        MW-P01 for an unknown level of a fixed factor, MW-P02 for a missing column, MW-P10 for an unknown or
        missing level of a grouping factor, MW-P11 when the fit has an offset that new data cannot have.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.predict({"Days": [0, 9], "Subject": ["308", "308"]}).round(2).tolist()
    [253.66, 430.66]
    >>> m.predict({"Days": [0, 9]}, re="population").round(2).tolist()
    [251.41, 345.61]
    """
    choice("re", re, ("conditional", "population"))
    choice("new_levels", new_levels, ("error", "population"))
    conditional = re == "conditional" and m.is_mixed
    if newdata is None:
        return np.array(m._fitted if conditional else m._fixed_part)
    given = m.arguments.get("offset")
    if given is not None and not isinstance(given, str):
        raise error("MW-P11")
    from mixwell.design.frame import Frame  # noqa: PLC0415  (rows are only read again here)

    recipe = m.design.recipe
    frame = Frame.from_data(newdata)
    columns = recipe.fixed(frame)
    out = fixed_part([columns[j] for j in m.kept], np.asarray(m.solution.beta), frame.n_rows)
    if (offset := recipe.offset(frame)) is not None:
        out += offset
    if conditional:
        for term, source, b in zip(recipe.random(frame), m.formula.random, m.solution.b, strict=True):
            if new_levels == "error" and (term.codes < 0).any():
                _refuse_level(frame, term, source.group_names)
            out += random_part(term.codes, term.columns, np.asarray(b))
    return out


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
