"""Tail probabilities and quantiles of t, F and chi-square; infinitely many df mean the normal limit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["chi2_quantile", "chi2_tail", "f_tail", "normal_quantile", "t_quantile", "t_two_sided"]

Array = NDArray[np.float64]
# SciPy's special functions are imported where they are called: fitting does not need them.


def t_two_sided(statistic: Any, df: Any) -> Array:
    """P(|T| > |statistic|) for Student's t, elementwise; exact in the far tail."""
    from scipy.special import ndtr, stdtr  # noqa: PLC0415

    t, df = np.broadcast_arrays(-np.abs(np.asarray(statistic, dtype=float)), np.asarray(df, dtype=float))
    finite = ~np.isinf(df)  # NaN stays NaN
    return np.asarray(2.0 * np.where(finite, stdtr(np.where(finite, df, 1.0), t), ndtr(t)))


def t_quantile(probability: Any, df: Any) -> Array:
    """Quantile of Student's t, elementwise."""
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415

    p, df = np.broadcast_arrays(np.asarray(probability, dtype=float), np.asarray(df, dtype=float))
    finite = ~np.isinf(df)  # NaN stays NaN
    return np.asarray(np.where(finite, stdtrit(np.where(finite, df, 1.0), p), ndtri(p)))


def normal_quantile(probability: Any) -> Array:
    """Quantile of the standard normal, elementwise."""
    from scipy.special import ndtri  # noqa: PLC0415

    return np.asarray(ndtri(probability))


def f_tail(statistic: Any, num_df: Any, den_df: Any) -> Array:
    """P(F > statistic), elementwise."""
    from scipy.special import chdtrc, fdtrc  # noqa: PLC0415

    f, d1, d2 = np.broadcast_arrays(
        np.maximum(np.asarray(statistic, dtype=float), 0.0),
        np.asarray(num_df, dtype=float),
        np.asarray(den_df, dtype=float),
    )
    finite = ~np.isinf(d2)
    return np.asarray(np.where(finite, fdtrc(d1, np.where(finite, d2, 1.0), f), chdtrc(d1, d1 * f)))


def chi2_tail(statistic: Any, df: Any) -> Array:
    """P(chi-square > statistic), elementwise; one at zero or below."""
    from scipy.special import chdtrc  # noqa: PLC0415

    return np.asarray(chdtrc(df, np.maximum(np.asarray(statistic, dtype=float), 0.0)))


def chi2_quantile(probability: Any, df: Any) -> Array:
    """Quantile of chi-square, elementwise."""
    from scipy.special import chdtri  # noqa: PLC0415

    return np.asarray(chdtri(df, 1.0 - np.asarray(probability, dtype=float)))
