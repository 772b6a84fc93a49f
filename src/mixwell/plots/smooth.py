"""A local-linear smoother for residuals, with a pointwise band."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Smooth", "local_linear"]

Array = NDArray[np.float64]

_FEWEST = 8  # distinct places below which a curve would only join means


class Smooth(NamedTuple):
    """A smooth curve: places, heights, and standard errors of these, (points,) each; empty for none."""

    x: Array
    fit: Array
    se: Array


def local_linear(x: Array, y: Array, *, span: float = 2.0 / 3.0, points: int = 60) -> Smooth:
    """Fit a straight line at each place to the nearest share of the rows, with tricube weights.

    The smoother of Cleveland (1979, J. Amer. Statist. Assoc. 74, 829-836) without its robustness iterations.
    Standard errors are sqrt(sum of l_i^2 r_i^2), where l are the weights that the estimate gives the
    responses and r the residuals from the curve: rows are taken as independent, their variances as free; the
    bias of the smoother is not in them.

    Parameters
    ----------
    x, y
        Shape (n,).
    span
        Share of the rows that a line is fitted to.
    points
        Places, evenly spaced between quantiles and between values in equal parts.

    Returns
    -------
    Smooth
        Empty with fewer than eight distinct x.

    Examples
    --------
    >>> x = np.arange(50.0)
    >>> curve = local_linear(x, 1.0 + 2.0 * x, points=5)
    >>> bool(np.allclose(curve.fit, 1.0 + 2.0 * curve.x)), bool(np.allclose(curve.se, 0.0))
    (True, True)
    """
    order = np.argsort(x, kind="stable")
    x, y = np.asarray(x, dtype=np.float64)[order], np.asarray(y, dtype=np.float64)[order]
    if np.unique(x).size < _FEWEST:
        return Smooth(np.empty(0), np.empty(0), np.empty(0))
    n = x.size
    at = np.unique(
        np.concatenate(
            [np.quantile(x, np.linspace(0, 1, points // 2 + 1)), np.linspace(x[0], x[-1], points // 2 + 1)]
        )
    )
    k = int(np.clip(np.ceil(span * n), min(n, _FEWEST), n))
    lows = _windows(x, at, k)
    pairs = zip(lows, at, strict=True)
    rows = [(slice(low, low + k), _line(x[low : low + k], place)) for low, place in pairs]
    fit = np.array([weights @ y[own] for own, weights in rows])
    residuals = y - np.interp(x, at, fit)
    se = np.array([np.sqrt(np.sum((weights * residuals[own]) ** 2)) for own, weights in rows])
    return Smooth(at, fit, se)


def _windows(x: Array, at: Array, k: int) -> list[int]:
    """First of the k sorted x that are nearest to each place."""
    lows, low = [], 0
    for place in at:
        while low + k < x.size and x[low + k] - place < place - x[low]:
            low += 1
        lows.append(low)
    return lows


def _line(x: Array, place: float) -> Array:
    """Weights of the responses in the height of the local line at a place."""
    distance = np.abs(x - place)
    width = max(float(distance.max()), np.finfo(float).tiny) * 1.0001
    w = (1.0 - (distance / width) ** 3) ** 3
    total = w.sum()
    mean = w @ x / total
    spread = w @ (x - mean) ** 2
    out = w / total
    if spread > 1e-12 * total * max(width, abs(place), 1e-300) ** 2:
        out = out * (1.0 + (place - mean) * (x - mean) * total / spread)
    return np.asarray(out)
