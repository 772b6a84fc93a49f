"""The studentized range (Tukey's distribution), for whole and broken degrees of freedom.

Of k independent standard normal numbers the range has the distribution

    W(w) = k int phi(z) (Phi(z) - Phi(z - w))^(k - 1) dz,

and of a range over an independent s, with nu s^2 chi-square of nu degrees of freedom, it is E W(q s) (Miller
1981, *Simultaneous Statistical Inference*, section 2.1). Both integrands are analytic and are taken by
Gauss-Legendre rules on panels; the outer one over log s, where small degrees of freedom are smooth, too.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["range_quantile", "range_tail"]

Array = NDArray[np.float64]

_REACH = 8.5  # standard deviations
_PANELS, _NODES = 8, 16
_FEW = 20  # degrees of freedom below which the outer integrand is spread over many powers of ten
_MANY = 1e7  # degrees of freedom that are infinitely many
_FAR = 1e-10  # a probability below which pairs hardly overlap, and a difference of ones has no digits


@cache
def _legendre(panels: int) -> tuple[Array, Array]:
    """Nodes and weights on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(_NODES)
    nodes = (np.arange(panels)[:, None] + 0.5 * (x + 1.0)).ravel() / panels
    return nodes, np.tile(0.5 * w / panels, panels)


def _scales(df: float) -> tuple[Array, Array]:
    """Nodes and weights of s."""
    from scipy.special import gammainccinv, gammaincinv, gammaln  # noqa: PLC0415

    if df > _MANY:
        return np.ones(1), np.ones(1)
    half = 0.5 * df
    ends = np.log(np.array([max(gammaincinv(half, 1e-17), 1e-280), gammainccinv(half, 1e-17)]) / half)
    nodes, weights = _legendre(_PANELS if df > _FEW else 4 * _PANELS)
    log = ends[0] + (ends[1] - ends[0]) * nodes  # of s^2
    density = half * log - half * np.exp(log) + half * math.log(half) - gammaln(half)
    return np.exp(0.5 * log), weights * (ends[1] - ends[0]) * np.exp(density)


def _range_cdf(w: Array, k: int) -> Array:
    from scipy.special import ndtr  # noqa: PLC0415

    nodes, weights = _legendre(_PANELS)
    z = _REACH * (2.0 * nodes - 1.0)
    density = 2.0 * _REACH * weights * np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    # The largest is at z and the others below it.
    return np.asarray(k * (ndtr(z) - ndtr(z - w[:, None])) ** (k - 1) @ density)


def range_tail(q: float, k: int, df: float) -> float:
    """Probability that the studentized range of k means exceeds q.

    Examples
    --------
    >>> round(range_tail(3.877, 3, 10.0), 4), round(range_tail(3.5, 3, 10.5), 4)
    (0.05, 0.0751)
    """
    if math.isnan(q) or math.isnan(df):
        return math.nan
    from scipy.special import ndtr, stdtr  # noqa: PLC0415

    s, weights = _scales(df)
    p = float((1.0 - _range_cdf(q * s, k)) @ weights)
    if p < _FAR:
        t = -q / math.sqrt(2.0)
        p = k * (k - 1) * float(ndtr(t) if df > _MANY else stdtr(df, t))
    return min(max(p, 0.0), 1.0)


def range_quantile(level: float, k: int, df: float) -> float:
    """Value that the studentized range of k means stays below with probability `level`.

    Examples
    --------
    >>> round(range_quantile(0.95, 3, 10.0), 4), round(range_quantile(0.95, 3, float("inf")), 4)
    (3.8768, 3.3145)
    """
    if math.isnan(df):
        return math.nan
    from scipy.optimize import brentq  # noqa: PLC0415

    s, weights = _scales(df)

    def beyond(q: float) -> float:
        return float(_range_cdf(q * s, k) @ weights) - level

    top = 4.0
    while beyond(top) < 0.0 and top < 1e8:
        top *= 2.0
    return float(brentq(beyond, 0.0, top, xtol=1e-12, rtol=1e-12))
