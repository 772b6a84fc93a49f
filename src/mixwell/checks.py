"""Each theorem that a fit rests on, as a function of arrays that returns a `Check`.

The inner checks (LMM.1 - LMM.5) start again from the rows of the data, in NumPy, and share no code with the core. With
W the prior weights, e = y - X beta - Z b, b = Lambda u and Sigma = lambda lambda' the relative covariance:

=======  ============================================================================  =========================
LMM.1    the Schur complement X'W(X - Z b_X) is the S of beta's equations S beta = s   relative to its diagonal
LMM.2    X'We = 0 and Lambda'Z'We = u, which is Sigma Z'We = b                          cosine; prior sds
LMM.3    e'We + u'u is the penalised residual sum of squares that was minimised        relative
LMM.4-5  Var(b) = sigma^2 Lambda Lambda', symmetric and positive semidefinite          relative to its diagonal
=======  ============================================================================  =========================

The outer checks say that theta is a local optimum over the cone of covariance matrices. With G = df/dSigma of a term:

===========  =====================================================================================================
score        J Sigma = sum_j [b_j b_j' / sigma^2 + Var(b_j | y) / sigma^2]: at the optimum the covariance equals the mean
             conditional second moment of the effects; from the modes, without derivatives; in standard errors
stationary   G lambda = 0, from the core's derivatives
multiplier   G is positive semidefinite (the multiplier of Sigma >= 0): what is on the boundary belongs there
curvature    the Hessian in theta has no negative eigenvalue, in units of the information
===========  =====================================================================================================

A tolerance is a fixed small number plus what rounding can do to the rows: 64-bit numbers of size s hold no detail
below 2e-16 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError
from mixwell.predict import random_part

if TYPE_CHECKING:
    from mixwell._core import Cone
    from mixwell.design import RandomDesign

__all__ = [
    "Check",
    "check_cone",
    "check_covariance",
    "check_curvature",
    "check_modes",
    "check_normal_equations",
    "check_penalised",
    "check_schur",
    "check_score",
    "relative_covariance",
    "split_theta",
]

Array = NDArray[np.float64]
Columns = Sequence[Array | None]

INNER = 1e-8  # relative error that the inner checks allow besides rounding
SCORE = 1e-3  # standard errors of theta that the score may be off
STATIONARY = 1e-5  # |G lambda| relative to the natural size of G
MULTIPLIER = 2e-6  # negative eigenvalue of G allowed, relative to its natural size
CURVATURE = 1e-3  # negative eigenvalue of the Hessian allowed, where 1 is one unit of information
LOUDEST = 1e-4  # no tolerance is larger than this, whatever rounding does
EPS = 2.0**-52


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a certificate: `residual` should not exceed `tolerance`."""

    name: str
    theorem: str
    statement: str
    residual: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the residual is within the tolerance; NaN is not."""
        return self.residual <= self.tolerance


# --- the checks on rows -------------------------------------------------------------------------------------------


def z_transpose(term: RandomDesign, v: Array) -> Array:
    """Z'v of one term, shape (J, k)."""
    levels = len(term.levels)
    sums = [
        np.bincount(term.codes, v if column is None else v * column, minlength=levels) for column in term.columns
    ]
    return np.stack(sums, axis=1)


def weighted(weights: Array | None, v: Array) -> Array:
    return v if weights is None else weights * v


def norm(weights: Array | None, v: Array) -> float:
    return float(np.sqrt(v @ weighted(weights, v)))


def centred(columns: Columns, weights: Array | None, n: int) -> list[Array]:
    """Columns of X, centred if there is an intercept: the same span, without the digits a large mean costs."""
    intercept = any(column is None for column in columns)
    out = []
    for column in columns:
        if column is None:
            out.append(np.ones(n))
        else:
            out.append(column - np.average(column, weights=weights) if intercept else column)
    return out


def _ratio(difference: Any, scale: Any) -> float:
    """Largest |difference| / scale, where nothing over nothing is zero."""
    difference, scale = np.abs(difference), np.asarray(scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / scale)
    return float(ratio.max()) if ratio.size else 0.0


def _tolerance(rounding: float) -> float:
    return min(INNER + rounding, LOUDEST)


def check_normal_equations(x: Columns, e: Array, size: Array, weights: Array | None) -> Check:
    """LMM.2 for beta: the residuals are orthogonal to the columns of X, as a cosine; size (n,) bounds the terms of e."""
    length = norm(weights, e)
    cosines = [
        _ratio(column @ weighted(weights, e), norm(weights, column) * length)
        for column in centred(x, weights, e.size)
    ]
    rounding = 4 * EPS * norm(weights, size) / length if length else 0.0
    return Check("fixed effects", "LMM.2", "X'We = 0", max(cosines, default=0.0), _tolerance(rounding))


def check_modes(
    terms: Sequence[RandomDesign],
    e: Array,
    size: Array,
    weights: Array | None,
    modes: Sequence[Array],
    lambdas: Sequence[Array],
    sigma: float,
) -> Check:
    """LMM.2 for u, as Sigma Z'We = b, in prior standard deviations."""
    worst, rounding = 0.0, 0.0
    for term, b, factor in zip(terms, modes, lambdas, strict=True):
        covariance = factor @ factor.T
        sd = sigma * np.sqrt(np.diag(covariance))
        worst = max(worst, _ratio(z_transpose(term, weighted(weights, e)) @ covariance - b, sd))
        absolute = replace(term, columns=tuple(None if c is None else np.abs(c) for c in term.columns))
        bound = z_transpose(absolute, weighted(weights, size)) @ np.abs(covariance)
        rounding = max(rounding, 4 * EPS * _ratio(bound, sd))
    return Check("random effects", "LMM.2", "Lambda'Z'We = u", worst, _tolerance(rounding))


def check_schur(
    x: Columns,
    terms: Sequence[RandomDesign],
    weights: Array | None,
    lambdas: Sequence[Array],
    absorbed: Sequence[Array],
    schur: Array,
    schur_y: Array,
    beta: Array,
    n: int,
) -> Check:
    """LMM.1: the modes b_X of the columns of X, the Schur complement they give, and its equations for beta."""
    dense = [np.ones(n) if column is None else column for column in x]
    rows = np.empty_like(schur)
    worst, rounding = 0.0, 0.0
    for j, column in enumerate(dense):
        left = column.copy()
        for term, b_x in zip(terms, absorbed, strict=True):
            left -= random_part(term.codes, term.columns, b_x[:, :, j])
        pulled = weighted(weights, left)
        rows[:, j] = [other @ pulled for other in dense]
        for term, factor, b_x in zip(terms, lambdas, absorbed, strict=True):
            again = z_transpose(term, pulled) @ (factor @ factor.T)
            largest = np.maximum(np.abs(b_x[:, :, j]).max(axis=0), EPS * np.abs(b_x[:, :, j]).max(initial=1.0))
            worst = max(worst, _ratio(again - b_x[:, :, j], largest) * _share(schur, column, weights, j))
    scale = np.sqrt(np.abs(np.outer(np.diag(schur), np.diag(schur))))
    worst = max(worst, _ratio(rows - schur, scale))
    right = np.sqrt(np.abs(np.diag(schur))) * np.sqrt(max(float(beta @ schur @ beta), np.finfo(float).tiny))
    worst = max(worst, _ratio(schur @ beta - schur_y, right))
    gram = np.array([column @ weighted(weights, column) for column in dense])
    rounding = 64 * EPS * _ratio(gram, np.abs(np.diag(schur)))
    return Check("Schur complement", "LMM.1", "X'W(X - Zb_X) beta = X'W(y - Zb_y)", worst, _tolerance(rounding))


def _share(schur: Array, column: Array, weights: Array | None, j: int) -> float:
    """How much of a column of X the random effects leave: errors of b_X count no more than that."""
    return min(1.0, abs(float(schur[j, j])) / max(norm(weights, column) ** 2, np.finfo(float).tiny))


def check_penalised(
    terms: Sequence[RandomDesign], e: Array, size: Array, weights: Array | None, lambdas: Sequence[Array], r2: float
) -> Check:
    """LMM.3: e'We + u'u, with u = lambda'Z'We, is the minimum r2 that the core reports."""
    total = float(e @ weighted(weights, e))
    for term, factor in zip(terms, lambdas, strict=True):
        total += float(np.sum((z_transpose(term, weighted(weights, e)) @ factor) ** 2))
    length = norm(weights, e)
    rounding = 8 * EPS * norm(weights, size) / length if length else 0.0
    return Check("penalised sum of squares", "LMM.3", "e'We + u'u = r2", _ratio(total - r2, r2), _tolerance(rounding))


def check_covariance(
    parts: Sequence[Array], terms: Sequence[RandomDesign], reported: Sequence[Array], sigma2: float
) -> Check:
    """LMM.4-5: the reported Var(b) is sigma^2 Sigma(theta), and a covariance matrix."""
    worst = 0.0
    for theta, term, matrix in zip(parts, terms, reported, strict=True):
        expected = sigma2 * relative_covariance(theta, term.structure, len(term.names), homogeneous=term.homogeneous)
        sd = np.sqrt(np.abs(np.diag(matrix)))
        worst = max(worst, _ratio(matrix - expected, np.outer(sd, sd)), _ratio(matrix - matrix.T, np.outer(sd, sd)))
        lowest = float(np.linalg.eigvalsh(matrix)[0])
        worst = max(worst, _ratio(min(lowest, 0.0), max(float(matrix.diagonal().max()), np.finfo(float).tiny)))
    return Check("covariance", "LMM.4-5", "Var(b) = sigma^2 Lambda Lambda'", worst, INNER)


def relative_covariance(theta: Array, structure: str, k: int, *, homogeneous: bool) -> Array:
    """Sigma(theta) of one level, shape (k, k), from the definition of the structure; theta may be complex."""
    if structure == "us":
        factor = np.zeros((k, k), theta.dtype)
        columns, rows = np.triu_indices(k)
        factor[rows, columns] = theta
        product: Array = factor @ factor.T
        return product
    sds = np.repeat(theta[:1], k) if homogeneous else theta[:k]
    if structure == "diag" or k == 1:
        return np.diag(sds**2)
    lag = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    correlation = np.where(lag == 0, 1.0, theta[-1]) if structure == "cs" else theta[-1] ** lag
    covariance: Array = sds[:, None] * correlation * sds
    return covariance


def split_theta(theta: Array, terms: Sequence[RandomDesign]) -> list[Array]:
    """Cut theta into the parts of the terms."""
    sizes = []
    for term in terms:
        k, sds = len(term.names), 1 if term.homogeneous else len(term.names)
        rho = term.structure in ("cs", "ar1") and k > 1
        sizes.append(k * (k + 1) // 2 if term.structure == "us" else sds + rho)
    return np.split(theta, np.cumsum(sizes)[:-1])


# --- the checks on theta ------------------------------------------------------------------------------------------


def check_score(
    parts: Sequence[Array],
    terms: Sequence[RandomDesign],
    modes: Sequence[Array],
    condvar: Sequence[Array],
    absorbed: Sequence[Array],
    vcov: Array,
    sigma2: float,
    *,
    reml: bool,
) -> Check:
    """The covariance equals the mean conditional second moment of the effects, in standard errors of a variance."""
    worst = 0.0
    for theta, term, b, own, b_x in zip(parts, terms, modes, condvar, absorbed, strict=True):
        levels, k = b.shape
        posterior = own.sum(axis=0)
        if reml:
            posterior = posterior + np.einsum("jap,pq,jcq->ac", b_x, vcov, b_x, optimize=True)
        covariance = relative_covariance(theta, term.structure, k, homogeneous=term.homogeneous)
        gap = levels * covariance - posterior - b.T @ b / sigma2
        variance = np.diag(covariance)
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.where(variance > 0, 1.0 - np.diag(posterior) / (levels * variance), 1.0)
        scale = np.sqrt(variance * np.clip(known, 1e-6, 1.0))
        if term.structure == "us" or k == 1:
            worst = max(worst, _ratio(gap, np.outer(scale, scale) * np.sqrt(2 * levels)))
        elif term.structure == "diag" and term.homogeneous:
            worst = max(worst, _ratio(np.trace(gap), np.sum(scale**2) * np.sqrt(2 * levels)))
        elif term.structure == "diag":
            worst = max(worst, _ratio(np.diag(gap), scale**2 * np.sqrt(2 * levels)))
        else:
            worst = max(worst, _structured_score(theta, term, covariance, gap, levels))
    return Check("score", "outer", "Sigma = mean of E(bb' | y) / sigma^2", worst, SCORE)


def _structured_score(theta: Array, term: RandomDesign, covariance: Array, gap: Array, levels: int) -> float:
    """Score of cs and ar1 in standard errors; zero where Sigma is singular and the score is the core's to check."""
    values = np.linalg.eigvalsh(covariance)
    if values[0] <= SINGULAR_RHO**2 * values[-1]:
        return 0.0
    k, inverse, worst = len(term.names), np.linalg.inv(covariance), 0.0
    for unit in np.eye(theta.size):
        moved = relative_covariance(theta + 1e-25j * unit, term.structure, k, homogeneous=term.homogeneous)
        direction = inverse @ (moved.imag / 1e-25)
        information = levels * float(np.trace(direction @ direction))
        worst = max(worst, _ratio(np.trace(direction @ inverse @ gap), np.sqrt(2 * information)))
    return worst


def check_cone(cone: Sequence[Cone], terms: Sequence[RandomDesign]) -> list[Check]:
    """Stationarity and multipliers of each term, from the core's G = df/dSigma."""
    stationarity = max((float(each["stationarity"]) for each in cone), default=0.0)
    lowest = min((_lowest_multiplier(each, term) for each, term in zip(cone, terms, strict=True)), default=0.0)
    return [
        Check("stationarity", "outer", "G lambda = 0", stationarity, STATIONARY),
        Check("multiplier", "outer", "G is positive semidefinite", max(-lowest, 0.0), MULTIPLIER),
    ]


def _lowest_multiplier(cone: Cone, term: RandomDesign) -> float:
    """Smallest multiplier of a term over the natural size of G; recomputed from G where the cone is all matrices."""
    if term.structure == "us" and len(term.names) > 1:
        return float(np.linalg.eigvalsh(cone["G"])[0]) / float(cone["scale"])
    return float(cone["min_eigenvalue"])


def check_curvature(hessian: Array, unit: Array, *, exact: bool) -> Check:
    """Smallest eigenvalue of the Hessian (T, T), with theta in steps of `unit` (T,) = 1 / sqrt(information)."""
    scaled = (hessian + hessian.T) * np.outer(unit, unit) / 2
    statement = "Hessian has no negative eigenvalue" + ("" if exact else " (average information)")
    return Check("curvature", "outer", statement, max(-float(np.linalg.eigvalsh(scaled)[0]), 0.0), CURVATURE)


def differenced(gradient: Callable[[Array], Array], theta: Array, steps: Array) -> Array:
    """Jacobian of a gradient by central differences, shape (T, T)."""
    rows = []
    for step, unit in zip(steps, np.eye(steps.size), strict=True):
        rows.append((gradient(theta + step * unit) - gradient(theta - step * unit)) / (2 * step))
    return np.array(rows)
