"""Several tests at once: adjusted p-values, and the quantiles of intervals that belong to them."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.distributions import t_quantile, t_two_sided
from mixwell.marginal.studentized_range import range_quantile, range_tail
from mixwell.options import choice

__all__ = ["Adjust", "adjusted", "of_intervals", "stepwise"]

Array = NDArray[np.float64]
Adjust = Literal["none", "bonferroni", "sidak", "holm", "fdr", "tukey", "scheffe", "mvt"]

_DIRECTIONS = 2**17  # of the multivariate t; the error of its probabilities is below 5e-4
_CHUNK = 2**13
_CLASSES = 512  # of directions with nearly the same largest |t|


def of_intervals(adjust: str) -> str:
    """Return the adjustment of intervals that belongs to that of p-values.

    Holm's and Benjamini and Hochberg's methods go by steps and have no intervals of the same decisions.

    >>> of_intervals("holm"), of_intervals("tukey")
    ('bonferroni', 'tukey')
    """
    return "bonferroni" if adjust in ("holm", "fdr") else adjust


def adjusted(
    adjust: Adjust, t: Array, df: Array, correlation: Array, *, means: int, level: float
) -> tuple[Array, Array]:
    """Adjust a family of t tests.

    Parameters
    ----------
    adjust
        "none", "bonferroni", "sidak", "holm"; "fdr" (Benjamini and Hochberg 1995); "tukey" for all pairs of
        `means` means; "scheffe" for every contrast of them; "mvt": the joint distribution (Hothorn, Bretz and
        Westfall 2008).
    t, df
        Statistics and degrees of freedom, (r,); NaN for those that do not count.
    correlation
        Of the estimates, (r, r).
    means
        Number of means that are compared.
    level
        Joint coverage of the intervals.

    Returns
    -------
    tuple
        p-values (r,) and multipliers (r,) of the standard errors: p < 1 - level where |t| exceeds the
        multiplier. Holm's and fdr p-values come with Bonferroni's intervals.

    Examples
    --------
    >>> import numpy as np
    >>> t, df = np.array([2.0, 3.0]), np.full(2, np.inf)
    >>> p, c = adjusted("bonferroni", t, df, np.eye(2), means=2, level=0.95)
    >>> p.round(4).tolist(), c.round(3).tolist()
    ([0.091, 0.0054], [2.241, 2.241])
    """
    choice("adjust", adjust, get_args(Adjust))
    there = np.isfinite(t)
    p, c = np.full(len(t), np.nan), np.full(len(t), np.nan)
    t, df, correlation = t[there], df[there], correlation[np.ix_(there, there)]
    r = len(t)
    if r == 0:
        return p, c
    half = 0.5 * (1.0 - level)
    if adjust == "none" or (r == 1 and adjust not in ("tukey", "scheffe")):
        p[there], c[there] = t_two_sided(t, df), t_quantile(1.0 - half, df)
    elif adjust in ("bonferroni", "holm", "fdr", "sidak"):
        p[there] = stepwise(adjust, t_two_sided(t, df))
        tail = half / r if adjust != "sidak" else 0.5 * -math.expm1(math.log(level) / r)
        c[there] = t_quantile(1.0 - tail, df)
    else:
        by = {"tukey": _tukey, "scheffe": _scheffe, "mvt": _mvt}[adjust]
        p[there], c[there] = by(t, df, correlation, means, level)
    return p, c


def stepwise(adjust: str, p: Array) -> Array:
    """Adjust p-values (r,) by their number alone: "none", "bonferroni", "sidak", "holm", "fdr".

    >>> import numpy as np
    >>> stepwise("fdr", np.array([0.03, 0.01, 0.04])).tolist()
    [0.04, 0.03, 0.04]
    """
    choice("adjust", adjust, ("none", "bonferroni", "sidak", "holm", "fdr"))
    out = np.full_like(p, np.nan)
    there = np.flatnonzero(~np.isnan(p))
    raw, r = p[there], there.size
    if adjust in ("holm", "fdr"):
        order = np.argsort(raw, kind="stable")
        ranks = np.arange(1, r + 1)
        if adjust == "holm":
            steps = np.maximum.accumulate(raw[order] * (r + 1 - ranks))
        else:
            steps = np.minimum.accumulate((raw[order] * r / ranks)[::-1])[::-1]
        out[there[order]] = np.minimum(steps, 1.0)
    elif adjust == "sidak":
        with np.errstate(divide="ignore"):  # a p-value of one
            out[there] = -np.expm1(r * np.log1p(-raw))
    else:
        out[there] = np.minimum(raw * (r if adjust == "bonferroni" else 1), 1.0)
    return out


def _tukey(t: Array, df: Array, correlation: Array, means: int, level: float) -> tuple[Array, Array]:
    root = math.sqrt(2.0)
    p = [range_tail(abs(x) * root, means, k) for x, k in zip(t.tolist(), df.tolist(), strict=True)]
    found = {k: range_quantile(level, means, k) / root for k in set(df.tolist())}
    return np.array(p), np.array([found[k] for k in df.tolist()])


def _scheffe(t: Array, df: Array, correlation: Array, means: int, level: float) -> tuple[Array, Array]:
    from scipy.special import chdtri, fdtri  # noqa: PLC0415

    from mixwell.inference.distributions import f_tail  # noqa: PLC0415

    q = int(np.linalg.matrix_rank(correlation, tol=1e-8, hermitian=True))
    p = [f_tail(x**2 / q, q, k) for x, k in zip(t.tolist(), df.tolist(), strict=True)]
    square = [
        q * float(fdtri(q, k, level)) if math.isfinite(k) else float(chdtri(q, 1.0 - level))
        for k in df.tolist()
    ]
    return np.array(p, dtype=np.float64), np.sqrt(square)


def _mvt(t: Array, df: Array, correlation: Array, means: int, level: float) -> tuple[Array, Array]:
    """Tail of the largest |t| of the family; each test with its own degrees of freedom.

    A t vector of rank q is a radius times a direction (Deak 1980, Numer. Math. 35, 79-94): given the
    direction u, the largest |t| is radius * a(u), and radius^2 / q has an F distribution. So the tail is the
    mean over directions of an F tail, a smooth function that a lattice of directions averages well.
    """
    from scipy.optimize import brentq  # noqa: PLC0415

    values, vectors = np.linalg.eigh(correlation)
    keep = values > 1e-10 * values[-1]
    root = vectors[:, keep] * np.sqrt(values[keep])
    q = root.shape[1]
    reach = _reach(root)

    def tail(x: float, k: float) -> float:
        return float(_f_tail(x**2 / (q * reach**2), q, k).mean())

    p = np.array([tail(abs(x), k) for x, k in zip(t.tolist(), df.tolist(), strict=True)])
    found = {}
    for k in set(df.tolist()):
        low, high = (float(t_quantile(1.0 - 0.5 * (1.0 - level) / r, np.array(k))) for r in (1, len(t)))
        found[k] = float(
            brentq(lambda x, k=k: tail(x, k) - (1.0 - level), 0.99 * low, 1.01 * high, xtol=1e-10)
        )
    return np.minimum(np.maximum(p, t_two_sided(t, df)), 1.0), np.array([found[k] for k in df.tolist()])


def _f_tail(x: Array, q: int, df: float) -> Array:
    from scipy.special import betainc, gammaincc  # noqa: PLC0415

    if math.isinf(df):
        return np.asarray(gammaincc(0.5 * q, 0.5 * q * x))
    return np.asarray(betainc(0.5 * df, 0.5 * q, df / (df + q * x)))


def _reach(root: Array) -> Array:
    """Largest |t| of directions at radius one, in classes of as many directions, shape (_CLASSES,)."""
    q = root.shape[1]
    if q == 1:
        return np.asarray(np.abs(root).max(axis=0))
    parts = [np.abs(_directions(q, at) @ root.T).max(axis=1) for at in range(0, _DIRECTIONS, _CHUNK)]
    return np.asarray(np.sort(np.concatenate(parts)).reshape(_CLASSES, -1).mean(axis=1))


def _directions(q: int, start: int) -> Array:
    """Part of the unit vectors, (_CHUNK, q), evenly spread; the same ones in every session."""
    n = start + np.arange(_CHUNK) + 0.5
    if q == 2:
        angle = np.pi * n / _DIRECTIONS
        return np.column_stack([np.cos(angle), np.sin(angle)])
    from scipy.special import ndtri  # noqa: PLC0415

    # Richtmyer's lattice, multiples of the roots of primes, folded: that makes the function periodic.
    u = np.abs(2.0 * np.mod(n[:, None] * np.sqrt(_primes(q)), 1.0) - 1.0)
    z = ndtri(np.clip(u, 1e-12, 1.0 - 1e-12))
    return np.asarray(z / np.linalg.norm(z, axis=1)[:, None])


def _primes(count: int) -> Array:
    top = max(20, int(count * (math.log(count + 1) + math.log(math.log(count + 2) + 1) + 2)))
    sieve = np.ones(top, dtype=bool)
    sieve[:2] = False
    for i in range(2, int(top**0.5) + 1):
        sieve[i * i :: i] = False
    return np.flatnonzero(sieve)[:count].astype(np.float64)
