"""Confidence intervals from replicates.

Efron & Tibshirani (1993), chapters 13 and 14; Davison & Hinkley (1997), chapter 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.distributions import normal_quantile

__all__ = ["bca", "interval"]

Array = NDArray[np.float64]


def interval(kind: str, level: float, estimate: Array, values: Array) -> Array:
    """Percentile, basic or normal limits, shape (s, 2), from estimates (s,) and replicates (m, s).

    A replicate without a value (NaN) of some statistic is left out for that statistic.
    """
    tail = 0.5 * (1 - level)
    out = np.full((estimate.size, 2), np.nan)
    for j, own in enumerate(values.T):
        own = own[np.isfinite(own)]  # noqa: PLW2901
        if own.size < 2:
            continue
        if kind == "normal":
            centre = 2 * estimate[j] - own.mean()
            half = float(normal_quantile(1 - tail)) * own.std(ddof=1)
            out[j] = centre - half, centre + half
            continue
        # The ((m + 1) p)-th smallest value.
        low, high = np.quantile(own, [tail, 1 - tail], method="weibull")
        out[j] = (low, high) if kind == "percentile" else (2 * estimate[j] - high, 2 * estimate[j] - low)
    return out


def bca(level: float, estimate: Array, values: Array, jackknife: Array) -> Array:
    """Bias-corrected and accelerated limits, (s, 2); `jackknife` (clusters, s) leaves out one each."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415

    out = np.full((estimate.size, 2), np.nan)
    z = ndtri([0.5 * (1 - level), 0.5 * (1 + level)])
    for j in range(estimate.size):
        own, left = values[:, j], jackknife[:, j]
        own, left = own[np.isfinite(own)], left[np.isfinite(left)]
        if own.size < 2 or left.size < 2:
            continue
        below = (np.sum(own < estimate[j]) + 0.5 * np.sum(own == estimate[j])) / own.size
        z0 = ndtri(np.clip(below, 0.5 / own.size, 1 - 0.5 / own.size))
        deviation = left.mean() - left
        spread = np.sum(deviation**2)
        acceleration = np.sum(deviation**3) / (6 * spread**1.5) if spread > 0 else 0.0
        out[j] = np.quantile(own, ndtr(z0 + (z0 + z) / (1 - acceleration * (z0 + z))), method="weibull")
    return out
