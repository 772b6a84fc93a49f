"""Null distributions of likelihood-ratio statistics when variances are zero under the hypothesis.

A variance cannot be negative, so its likelihood ratio is not chi-square under the null. For one variance the
finite-sample distribution follows from the eigenvalues of two small matrices (Crainiceanu and Ruppert 2004,
Journal of the Royal Statistical Society B 66, 165-185); otherwise it is a mixture of chi-squares (Self and
Liang 1987, Journal of the American Statistical Association 82, 605-610; Stram and Lee 1994, Biometrics 50,
1171-1177).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.distributions import chi2_tail

__all__ = ["LARGEST", "Block", "Spectrum", "mixture_tail", "simulate", "simulated_tail", "spectrum"]

Array = NDArray[np.float64]

LARGEST = 1500  # random effects up to which eigenvalues are computed (about a second)
_STEP = 0.15  # of the grid, in log lambda
_SAME = 1e-7  # relative distance of eigenvalues that count as one
_CELLS = 4_000_000  # numbers per chunk of a simulation
_NONE = 1e-8  # a statistic below this is zero


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Random effects of one column over one grouping factor: Z has `column` (n,) at each row's level."""

    codes: NDArray[np.int32]
    n_levels: int
    column: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """All that the null distribution depends on, for y = X beta + Z b + e with Var(b) = lambda sigma^2 I.

    Attributes
    ----------
    mu, xi
        Positive eigenvalues of Z' P Z and of Z' V^-1 Z, where V is the covariance of y without b, relative to
        sigma^2, and P = V^-1 - V^-1 X (X' V^-1 X)^-1 X' V^-1.
    n, p
        Shape of X.
    """

    mu: Array
    xi: Array
    n: int
    p: int


def spectrum(x: Array, tested: Sequence[Block], others: Sequence[Block], weights: Array | None) -> Spectrum:
    """Compute the eigenvalues from cross-products; nothing here is n x n.

    Parameters
    ----------
    x
        Fixed effects of the larger model, full rank, shape (n, p).
    tested
        Columns of Z whose common variance is zero under the hypothesis.
    others
        Z lambda of the other random effects at their estimates, so that V = W^-1 + sum of Z_i Z_i'.
    weights
        Prior weights (n,), or None.
    """
    n, p = x.shape
    root = None if weights is None else np.sqrt(weights)
    basis = np.array(np.linalg.qr(x if root is None else root[:, None] * x)[0], dtype=np.float64)
    if root is not None:
        basis *= root[:, None]  # so that basis' Z is (W^1/2 X)' W^1/2 Z up to rotation
    zz, zx = _between(tested, tested, weights), _with_rows(tested, basis)
    xx = np.eye(p)
    if others:
        from scipy.linalg import cho_factor, cho_solve  # noqa: PLC0415

        m = _between(others, others, weights)
        m[np.diag_indices_from(m)] += 1.0
        factor = cho_factor(m, lower=True)
        oz, ox = _between(others, tested, weights), _with_rows(others, basis)
        inverse_z, inverse_x = cho_solve(factor, oz), cho_solve(factor, ox)
        zz, zx, xx = zz - oz.T @ inverse_z, zx - oz.T @ inverse_x, xx - ox.T @ inverse_x
    projected = zz - zx @ np.linalg.solve(xx, zx.T)
    return Spectrum(_positive(projected, zz), _positive(zz, zz), n, p)


def _between(left: Sequence[Block], right: Sequence[Block], weights: Array | None) -> Array:
    """Z_left' W Z_right, dense."""
    rows = []
    for a in left:
        row = []
        for b in right:
            product = _product(_product(a.column, b.column), weights)
            cell = a.codes * np.int64(b.n_levels) + b.codes
            size = a.n_levels * b.n_levels
            row.append(
                np.bincount(cell, product, minlength=size).astype(float).reshape(a.n_levels, b.n_levels)
            )
        rows.append(row)
    return np.block(rows)


def _with_rows(blocks: Sequence[Block], dense: Array) -> Array:
    """Z' dense, for dense (n, p)."""
    parts = []
    for b in blocks:
        part = np.empty((b.n_levels, dense.shape[1]))
        for j, column in enumerate(dense.T):
            part[:, j] = np.bincount(b.codes, _product(b.column, column), minlength=b.n_levels)
        parts.append(part)
    return np.vstack(parts)


def _product(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a * b


def _positive(matrix: Array, scale: Array) -> Array:
    """Eigenvalues, largest first, without those that are zero beside the diagonal of `scale`."""
    values = np.asarray(np.linalg.eigvalsh(0.5 * (matrix + matrix.T))[::-1], dtype=np.float64)
    return values[values > 1e-10 * float(np.diag(scale).max())]


def simulate(
    of: Spectrum, *, restricted: bool, fixed: int = 0, n_sim: int = 10_000, seed: int | Sequence[int] = 0
) -> Array:
    """Draw likelihood-ratio statistics from their distribution under a variance of zero.

    Parameters
    ----------
    of
        Eigenvalues of the design.
    restricted
        Whether the statistic is that of REML criteria.
    fixed
        Fixed effects that are zero under the hypothesis too; only without `restricted`.
    n_sim, seed
        Number of draws, and the seed that determines them.

    Returns
    -------
    array
        Shape (n_sim,). Many are exactly zero.

    Notes
    -----
    Crainiceanu and Ruppert (2004), equations (6) and (9). With w_k independent chi-squares of one df,
    D(lambda) = sum_k w_k / (1 + lambda mu_k) + the rest, and nu = n - p (restricted) or n,

        sup over lambda of nu log(D(0) / D(lambda)) - sum_k log(1 + lambda nu_k)

    where nu_k is mu_k (restricted) or xi_k. Fixed effects add n log(1 + chi-square(fixed) / D(0)). The
    supremum is taken over a grid in log(lambda) and the parabola through its three best points.
    """
    mu, count = _merged(of.mu)
    penalty, times = (mu, count) if restricted else _merged(of.xi)
    nu = of.n - of.p if restricted else of.n
    rest = of.n - of.p - int(count.sum())
    grid = _grid(mu)
    shrink = 1.0 / (1.0 + np.outer(mu, grid))
    cost = times @ np.log1p(np.outer(penalty, grid))
    some, more = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    out = np.empty(n_sim)
    size = max(1, _CELLS // max(len(mu), len(grid)))
    for start in range(0, n_sim, size):
        stop = min(start + size, n_sim)
        w = 2.0 * some.standard_gamma(0.5 * count, (stop - start, len(mu)))
        gamma = more.standard_gamma(np.array([0.5 * rest, 0.5 * fixed]), (stop - start, 2))
        total = w.sum(axis=1) + 2.0 * gamma[:, 0]
        d = w @ shrink + 2.0 * gamma[:, :1]
        out[start:stop] = _supremum(nu * (np.log(total)[:, None] - np.log(d)) - cost)
        if fixed:
            out[start:stop] += of.n * np.log1p(2.0 * gamma[:, 1] / total)
    return out


def _merged(values: Array) -> tuple[Array, Array]:
    """Distinct eigenvalues and how often each occurs; balanced designs have very few."""
    if values.size == 0:
        return values, values
    starts = np.flatnonzero(np.r_[True, np.diff(values) < -_SAME * values[0]])
    return values[starts], np.diff(np.r_[starts, values.size]).astype(float)


def _grid(mu: Array) -> Array:
    """Values of lambda from where nothing changes yet to where even the smallest eigenvalue dominates."""
    if mu.size == 0:
        return np.ones(1)
    low, high = 1e-4 / mu[0], 1e5 / max(mu[-1], 1e-4 * mu[0])
    return np.exp(np.arange(np.log(low), np.log(high) + _STEP, _STEP))


def _supremum(f: Array) -> Array:
    """Largest value of each row (r, g) on an even grid, refined by a parabola; at least zero."""
    at = np.argmax(f, axis=1)
    rows = np.arange(len(f))
    best: Array = f[rows, at]
    if f.shape[1] >= 3:
        inside = np.clip(at, 1, f.shape[1] - 2)
        left, middle, right = (f[rows, inside + step] for step in (-1, 0, 1))
        bend, slope = left - 2.0 * middle + right, 0.5 * (right - left)
        with np.errstate(divide="ignore", invalid="ignore"):
            vertex = middle - 0.5 * slope**2 / bend
        best = np.where((inside == at) & (bend < 0), vertex, best)
    return np.where(best > _NONE, best, 0.0)


def simulated_tail(statistic: float, draws: Array) -> float:
    """P(draw >= statistic), the observed statistic counted among the draws so that it is never zero."""
    if statistic <= _NONE:
        return 1.0
    return float((1 + np.count_nonzero(draws >= statistic)) / (1 + draws.size))


def mixture_tail(statistic: float, df: int) -> float:
    """P(statistic or more) under 0.5 chi-square(df - 1) + 0.5 chi-square(df).

    This is the limit when one of df parameters is a variance at zero (Self and Liang 1987, case 5; Stram and
    Lee 1994). For any other cone of dimension df it is an upper bound, because the weights of even and of odd
    df are one half each (Shapiro 1988, International Statistical Review 56, 49-62).
    """
    if statistic <= _NONE:
        return 1.0
    lower = float(chi2_tail(statistic, df - 1)) if df > 1 else 0.0
    return 0.5 * (lower + float(chi2_tail(statistic, df)))
