"""What the fitted rows determine where columns of X were dropped.

A dropped column is a combination of the kept ones in the fitted rows. What moves it otherwise, a new row or a
contrast, needs a coefficient that could not be estimated (Searle 1971, *Linear Models*, section 5.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model

__all__ = ["Dropped", "dropped_columns", "with_coefficients"]

Array = NDArray[np.float64]
Columns = Sequence[Array | None]

_ROUNDING = 64 * np.finfo(np.float64).eps
_SLOPPY = 1e-9  # of the spread of a column: how exactly new rows have to be combined as the fitted ones are


@dataclass(frozen=True, slots=True, eq=False)
class Dropped:
    """Columns of X that have no coefficient of their own.

    Attributes
    ----------
    names, positions
        Their names, and their places among all columns.
    shares
        How they are combined of the kept columns in the fitted rows, (p, d).
    rest
        The most that this leaves of one in a fitted row, (d,).
    spread
        The largest less the smallest value of one in the fitted rows (its size where it is constant), (d,).
    middle, reach
        Of the kept columns: half way between smallest and largest value, and their distance, (p,).
    """

    names: tuple[str, ...]
    positions: tuple[int, ...]
    shares: Array
    rest: Array
    spread: Array
    middle: Array
    reach: Array

    def away(self, X: Columns, values: Columns, n: int) -> Array:
        """Return what new rows need of each dropped column beyond the kept ones X, (n, d); rounding is zero.

        `values`: the dropped columns there.
        """
        far = np.zeros(n)
        for column, middle, reach in zip(X, self.middle, self.reach, strict=True):
            if column is not None:
                np.maximum(far, np.abs(column - middle) / reach, out=far)
        out = np.zeros((n, len(self.names)))
        for j, column in enumerate(values):
            value = np.ones(n) if column is None else column
            rest, size = value.astype(np.float64), np.abs(value)
            for kept, share in zip(X, self.shares[:, j], strict=True):
                part = share if kept is None else share * kept
                rest, size = rest - part, size + np.abs(part)
            tolerance = _ROUNDING * size + (10.0 * self.rest[j] + _SLOPPY * self.spread[j]) * (1.0 + far)
            with np.errstate(invalid="ignore"):
                out[:, j] = np.where(np.abs(rest) > tolerance, rest, 0.0)
        return out


def with_coefficients(columns: Columns, *, intercept: bool) -> tuple[Array | None, ...]:
    """Return the columns as `kept` numbers them: in ordinal models the thresholds stand for the ones."""
    return tuple(column for column in columns if intercept or column is not None)


def dropped_columns(m: Model) -> Dropped | None:
    """Describe the dropped columns of a fit; None if there are none."""
    intercept = getattr(getattr(m, "family", None), "kind", "") != "ordered"
    columns = with_coefficients(m.design.columns, intercept=intercept)
    at = tuple(j for j in range(len(columns)) if j not in m.kept)
    if not at:
        return None
    pairs = zip(m.design.names, m.design.columns, strict=True)
    names = [name for name, column in pairs if intercept or column is not None]
    kept = m.fixed_columns
    shares = np.zeros((len(kept), len(at)))
    rest, spread = np.zeros(len(at)), np.ones(len(at))
    for k, j in enumerate(at):
        column = np.ones(m.nobs) if columns[j] is None else columns[j]
        assert column is not None
        shares[:, k], rest[k] = _combination(m, column)
        spread[k] = _spread(column)
    middle = np.array([1.0 if c is None else 0.5 * (float(c.min()) + float(c.max())) for c in kept])
    reach = np.array([1.0 if c is None else _spread(c) for c in kept])
    return Dropped(tuple(names[j] for j in at), at, shares, rest, spread, middle, reach)


def _spread(column: Array) -> float:
    low, high = float(column.min()), float(column.max())
    return (high - low) or abs(high) or 1.0


def _combination(m: Model, dropped: Array) -> tuple[Array, float]:
    """Coefficients (p,) with which the kept columns make up a dropped one, and the most that is left."""
    from mixwell.inference.diagnosis import gram  # noqa: PLC0415  (which builds on this package)

    kept = m.fixed_columns
    out, rest = np.zeros(len(kept)), dropped
    for _ in range(2):  # the second round takes away the rounding of the first
        product, norms, means = gram([*kept, rest], m.design.weights)
        slopes = np.linalg.lstsq(product[:-1, :-1], product[:-1, -1], rcond=None)[0] * norms[-1]
        slopes = np.where(norms[:-1] > 0, slopes / np.where(norms[:-1] > 0, norms[:-1], 1.0), 0.0)
        for at, column in enumerate(kept):
            if column is None:  # centring left it alone
                slopes[at] = means[-1] - slopes @ means[:-1] if norms[at] > 0 else 0.0
                break
        out += slopes
        rest = dropped
        for column, share in zip(kept, out, strict=True):
            rest = rest - (share if column is None else share * column)
    return out, float(np.abs(rest).max(initial=0.0))
