"""Each theorem that a fit rests on, as a function of arrays that returns a `Check`.

The inner checks (LMM.1 - LMM.5) start again from the rows of the data, in NumPy, and share no code with the
core. With W the prior weights, e = y - X beta - Z b, b = Lambda u and Sigma = lambda lambda':

=======  =======================================================================  ========================
LMM.1    the Schur complement X'W(X - Z b_X) is the S of S beta = s               relative to its diagonal
LMM.2    X'We = 0, and Lambda'Z'We = u, which is Sigma Z'We = b                   cosine; prior sds of b
LMM.3    e'We + u'u is the penalised residual sum of squares that was minimised   relative
LMM.4-5  Var(b) = sigma^2 Lambda Lambda', symmetric and positive semidefinite     relative to its diagonal
=======  =======================================================================  ========================

The outer checks say that theta is a local optimum over the cone of covariance matrices. With G = df/dSigma
of a term, J its levels and E, Var given y:

==========  ============================================================================================
score       J Sigma = sum_j E(b_j) E(b_j)' / sigma^2 + Var(b_j) / sigma^2: the covariance equals the mean
            second moment of the effects; from the modes, without derivatives; in standard errors
stationary  G lambda = 0, from the core's derivatives
multiplier  G, the multiplier of Sigma >= 0, is positive semidefinite: what is on the boundary belongs there
limits      correlations and sds of cs and ar1 that are at a limit of their range are held there by the slope
curvature   the Hessian in theta has no negative eigenvalue, in units of the information
==========  ============================================================================================

A tolerance is a fixed small number plus what rounding can do to the rows: 64-bit numbers of size s hold no
detail below 2e-16 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.fitted.predict import fixed_part, random_part

if TYPE_CHECKING:
    from mixwell._core import Cone, Solution
    from mixwell.design import RandomDesign

__all__ = [
    "Check",
    "Rows",
    "at_limits",
    "centred",
    "check_cone",
    "check_covariance",
    "check_curvature",
    "check_limits",
    "check_modes",
    "check_normal_equations",
    "check_penalised",
    "check_schur",
    "check_score",
    "differenced",
    "limits",
    "norm",
    "relative_covariance",
    "split_theta",
    "weighted",
]

Array = NDArray[np.float64]
Columns = Sequence[Array | None]

INNER = 1e-8  # relative error that the inner checks allow besides rounding
LOUDEST = 1e-4  # no inner tolerance is larger than this, whatever rounding does
SCORE = 1e-3  # standard errors of theta that the score may be off
STATIONARY = 1e-5  # |G lambda| relative to the natural size of G
MULTIPLIER = 2e-6  # negative eigenvalue of G allowed, relative to its natural size
CURVATURE = 1e-3  # negative eigenvalue of the Hessian allowed, where 1 is one unit of information
AT_LIMIT = 1e-4  # share of its range by which a correlation may miss its limit and still count as there
EPS = 2.0**-52
TINY = float(np.finfo(np.float64).tiny)


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


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a fit and what it leaves of them.

    Attributes
    ----------
    x, terms, weights
        Estimable columns of X (None: ones), random-effects terms, prior weights (n,) or None.
    e
        y - X beta - Z b, shape (n,).
    size
        |y| + |X| |beta| + |Z b|, shape (n,): rounding of e is of the order 2e-16 size.
    """

    x: Columns
    terms: Sequence[RandomDesign]
    weights: Array | None
    e: Array
    size: Array

    @classmethod
    def of(
        cls, y: Array, x: Columns, terms: Sequence[RandomDesign], weights: Array | None, solution: Solution
    ) -> Rows:
        """Work out e from y less the offset (n,) and a solution."""
        beta, n = np.asarray(solution.beta), y.size
        e = y - fixed_part(x, beta, n)
        size = np.abs(y) + fixed_part([None if c is None else np.abs(c) for c in x], np.abs(beta), n)
        for term, b in zip(terms, solution.b, strict=True):
            part = random_part(term.codes, term.columns, b)
            e -= part
            size += np.abs(part)
        return cls(x, terms, weights, e, size)

    @property
    def rounding(self) -> float:
        """Relative rounding error of e."""
        length = norm(self.weights, self.e)
        return EPS * norm(self.weights, self.size) / length if length else 0.0


# --- sums over rows -------------------------------------------------------------------------------------


def z_transpose(term: RandomDesign, v: Array) -> Array:
    """Z'v of one term, shape (J, k)."""
    products = [v if column is None else v * column for column in term.columns]
    return np.stack([np.bincount(term.codes, each, minlength=len(term.levels)) for each in products], axis=1)


def _absolute(term: RandomDesign) -> RandomDesign:
    return replace(term, columns=tuple(None if c is None else np.abs(c) for c in term.columns))


def weighted(weights: Array | None, v: Array) -> Array:
    """W v, shape (n,)."""
    return v if weights is None else weights * v


def norm(weights: Array | None, v: Array) -> float:
    """Length of v in the metric of W."""
    return float(np.sqrt(v @ weighted(weights, v)))


def centred(columns: Columns, weights: Array | None, n: int) -> list[Array]:
    """Columns of X, centred if there is an intercept: the same span without the digits a large mean costs."""
    if not any(column is None for column in columns):
        return [column for column in columns if column is not None]
    return [np.ones(n) if c is None else c - np.average(c, weights=weights) for c in columns]


def _ratio(difference: Any, scale: Any) -> float:
    """Largest |difference| / scale, where nothing over nothing is zero."""
    difference, scale = np.abs(difference), np.asarray(scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / scale)
    return float(ratio.max()) if ratio.size else 0.0


def _tolerance(rounding: float) -> float:
    return min(INNER + rounding, LOUDEST)


# --- inner checks ---------------------------------------------------------------------------------------


def check_schur(rows: Rows, solution: Solution) -> Check:
    """LMM.1: the modes b_X of the columns of X, the Schur complement they give, its equations for beta."""
    beta, schur = np.asarray(solution.beta), np.asarray(solution.schur)
    n, weights = rows.e.size, rows.weights
    dense = [np.ones(n) if column is None else column for column in rows.x]
    again = np.empty_like(schur)
    worst = 0.0
    for j, column in enumerate(dense):
        modes = [b_x[:, :, j] for b_x in solution.b_x]
        left = column.copy()
        for term, b in zip(rows.terms, modes, strict=True):
            left -= random_part(term.codes, term.columns, b)
        pulled = weighted(weights, left)
        again[:, j] = [other @ pulled for other in dense]
        for term, factor, b in zip(rows.terms, solution.lambdas, modes, strict=True):
            covariance = factor @ factor.T
            sd = np.sqrt(np.diag(covariance))
            summed = z_transpose(_absolute(term), np.abs(pulled)) @ np.abs(covariance)
            error = _ratio(z_transpose(term, pulled) @ covariance - b, sd)
            worst = max(worst, error and error / _ratio(summed, sd))
    diagonal = np.sqrt(np.abs(np.diag(schur)))
    worst = max(worst, _ratio(again - schur, np.outer(diagonal, diagonal)))
    length = np.sqrt(max(float(beta @ schur @ beta), TINY))
    worst = max(worst, _ratio(schur @ beta - np.asarray(solution.schur_y), diagonal * length))
    gram = np.array([norm(weights, column) for column in dense])
    rounding = 64 * EPS * _ratio(gram, diagonal) ** 2
    rounding += 64 * EPS * _ratio(np.abs(schur) @ np.abs(beta), diagonal * length)
    statement = "X'W(X - Z b_X) beta = X'W(y - Z b_y)"
    return Check("Schur complement", "LMM.1", statement, worst, _tolerance(rounding))


def check_normal_equations(rows: Rows) -> Check:
    """LMM.2 for beta: e is orthogonal to the columns of X; as a cosine."""
    pulled, length = weighted(rows.weights, rows.e), norm(rows.weights, rows.e)
    columns = centred(rows.x, rows.weights, rows.e.size)
    worst = max((_ratio(c @ pulled, norm(rows.weights, c) * length) for c in columns), default=0.0)
    return Check("fixed effects", "LMM.2", "X'We = 0", worst, _tolerance(4 * rows.rounding))


def check_modes(rows: Rows, solution: Solution) -> Check:
    """LMM.2 for u, as Sigma Z'We = b, which holds for singular Sigma too; in prior standard deviations."""
    worst = rounding = 0.0
    pulled, bound = weighted(rows.weights, rows.e), weighted(rows.weights, rows.size)
    for term, b, factor in zip(rows.terms, solution.b, solution.lambdas, strict=True):
        covariance = factor @ factor.T
        sd = np.sqrt(solution.sigma2 * np.diag(covariance))
        worst = max(worst, _ratio(z_transpose(term, pulled) @ covariance - b, sd))
        rounding = max(rounding, _ratio(z_transpose(_absolute(term), bound) @ np.abs(covariance), sd))
    return Check("random effects", "LMM.2", "Lambda'Z'We = u", worst, _tolerance(4 * EPS * rounding))


def check_penalised(rows: Rows, solution: Solution) -> Check:
    """LMM.3: e'We + u'u, with u = lambda'Z'We, is the minimum r2 that the core reports."""
    pulled = weighted(rows.weights, rows.e)
    total = float(rows.e @ pulled)
    for term, factor in zip(rows.terms, solution.lambdas, strict=True):
        total += float(np.sum((z_transpose(term, pulled) @ factor) ** 2))
    residual = _ratio(total - solution.r2, solution.r2)
    tolerance = _tolerance(8 * rows.rounding)
    return Check("penalised sum of squares", "LMM.3", "e'We + u'u = r2", residual, tolerance)


def check_covariance(
    theta: Array, terms: Sequence[RandomDesign], reported: Sequence[Array], sigma2: float
) -> Check:
    """LMM.4-5: the reported Var(b) is sigma^2 Sigma(theta), and a covariance matrix."""
    worst = 0.0
    for part, term, matrix in zip(split_theta(theta, terms), terms, reported, strict=True):
        sd = np.sqrt(np.abs(np.diag(matrix)))
        scale = np.outer(sd, sd)
        worst = max(worst, _ratio(matrix - sigma2 * relative_covariance(part, term), scale))
        worst = max(worst, _ratio(matrix - matrix.T, scale))
        lowest = float(np.linalg.eigvalsh(matrix)[0])
        worst = max(worst, _ratio(min(lowest, 0.0), max(float(sd.max()) ** 2, TINY)))
    return Check("covariance", "LMM.4-5", "Var(b) = sigma^2 Lambda Lambda'", worst, INNER)


def relative_covariance(theta: Array, term: RandomDesign) -> Array:
    """Sigma(theta) of one level, shape (k, k), from the definition of its structure; theta may be complex."""
    k = len(term.names)
    if term.structure == "us":
        factor = np.zeros((k, k), theta.dtype)
        columns, rows = np.triu_indices(k)
        factor[rows, columns] = theta
        product: Array = factor @ factor.T
        return product
    sds = np.repeat(theta[:1], k) if term.homogeneous else theta[:k]
    if term.structure == "diag" or k == 1:
        return np.diag(sds**2)
    lag = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    correlation = np.where(lag == 0, 1.0, theta[-1]) if term.structure == "cs" else theta[-1] ** lag
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


# --- outer checks ---------------------------------------------------------------------------------------


def check_score(theta: Array, terms: Sequence[RandomDesign], solution: Solution, *, reml: bool) -> Check:
    """Compare Sigma with the mean second moment of the effects given y, in standard errors of a variance."""
    worst = rounding = 0.0
    vcov = np.asarray(solution.vcov_unscaled)
    for t, (part, term) in enumerate(zip(split_theta(theta, terms), terms, strict=True)):
        b, b_x = np.asarray(solution.b[t]), np.asarray(solution.b_x[t])
        levels, k = b.shape
        rounding = max(rounding, 16 * EPS * _offset_ratio(term) ** 2)
        posterior = np.asarray(solution.condvar_unscaled[t]).sum(axis=0)
        if reml:  # the effects also inherit the uncertainty of beta
            posterior = posterior + np.einsum("jap,pq,jcq->ac", b_x, vcov, b_x, optimize=True)
        covariance = relative_covariance(part, term)
        gap = levels * covariance - posterior - b.T @ b / solution.sigma2
        variance = np.diag(covariance)
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.where(variance > 0, 1.0 - np.diag(posterior) / (levels * variance), 1.0)
        scale = np.sqrt(variance * np.clip(known, 1e-6, 1.0))
        se = np.outer(scale, scale) * np.sqrt(2 * levels)
        if term.structure == "us" or k == 1:
            worst = max(worst, _ratio(gap, se))
        elif term.structure == "diag":
            total = np.eye(k) if not term.homogeneous else np.ones((1, k))
            worst = max(worst, _ratio(total @ np.diag(gap), total @ np.diag(se)))
        else:
            worst = max(worst, _structured_score(part, term, gap, levels))
    tolerance = SCORE + min(rounding, 1.0)  # never more than one standard error
    return Check("score", "outer", "Sigma = mean of E(bb' | y) / sigma^2", worst, tolerance)


def _offset_ratio(term: RandomDesign) -> float:
    """Size of the columns over their spread: its square is what an intercept far away costs in digits."""
    if term.structure != "us" or not any(column is None for column in term.columns):
        return 1.0
    spread = [(np.abs(c).max(), c.std()) for c in term.columns if c is not None]
    return max((float(size / sd) for size, sd in spread if sd > 0), default=1.0)


def _structured_score(theta: Array, term: RandomDesign, gap: Array, levels: int) -> float:
    """Score of cs and ar1 in standard errors; zero where Sigma is singular and the core has to decide."""
    covariance = relative_covariance(theta, term)
    values = np.linalg.eigvalsh(covariance)
    if values[0] <= 1e-6 * values[-1]:
        return 0.0
    inverse, worst = np.linalg.inv(covariance), 0.0
    for unit in np.eye(theta.size):
        direction = inverse @ (relative_covariance(theta + 1e-25j * unit, term).imag / 1e-25)
        information = levels * float(np.trace(direction @ direction))
        worst = max(worst, _ratio(np.trace(direction @ inverse @ gap), np.sqrt(2 * information)))
    return worst


def check_cone(cone: Sequence[Cone], terms: Sequence[RandomDesign]) -> list[Check]:
    """Stationarity and multipliers of all terms, from the core's G = df/dSigma."""
    stationarity = max((float(each["stationarity"]) for each in cone), default=0.0)
    multiplier = min((_lowest(each, term) for each, term in zip(cone, terms, strict=True)), default=0.0)
    return [
        Check("stationarity", "outer", "G lambda = 0", stationarity, STATIONARY),
        Check("multiplier", "outer", "G is positive semidefinite", max(0.0, -multiplier), MULTIPLIER),
    ]


def _lowest(cone: Cone, term: RandomDesign) -> float:
    """Smallest multiplier over the size of G; from G itself where the cone is all covariance matrices."""
    if term.structure == "us" and len(term.names) > 1:
        return float(np.linalg.eigvalsh(cone["G"])[0]) / float(cone["scale"])
    return float(cone["min_eigenvalue"])


def limits(terms: Sequence[RandomDesign]) -> tuple[Array, Array]:
    """Smallest and largest values of theta, each (T,); only correlations and the sds beside them have any."""
    low, high = [], []
    for term in terms:
        k = len(term.names)
        sds = 1 if term.homogeneous else k
        if term.structure in ("cs", "ar1") and k > 1:
            low += [0.0] * sds + [-1.0 / (k - 1) if term.structure == "cs" else -1.0]
            high += [np.inf] * sds + [1.0]
        else:
            size = k * (k + 1) // 2 if term.structure == "us" else sds
            low += [-np.inf] * size
            high += [np.inf] * size
    return np.array(low), np.array(high)


def at_limits(theta: Array, terms: Sequence[RandomDesign]) -> Array:
    """-1 where theta sits at its lower limit, +1 at its upper one, else 0; shape (T,)."""
    low, high = limits(terms)
    near = np.where(np.isfinite(high), AT_LIMIT * (high - low), 0.0)  # a correlation is only ever approached
    return np.where(theta - low <= near, -1.0, np.where(high - theta <= near, 1.0, 0.0))


def check_limits(gradient: Array, unit: Array, side: Array) -> list[Check]:
    """Where a correlation, or an sd beside one, is at its limit, the criterion rises inwards."""
    if not side.any():
        return []
    outwards = max(float((gradient * unit * side).max()), 0.0)
    return [Check("limits", "outer", "criterion rises from the limits of rho", outwards, SCORE)]


def check_curvature(hessian: Array, unit: Array, side: Array, *, exact: bool) -> Check:
    """Smallest eigenvalue of the Hessian (T, T), theta in steps of `unit` (T,) = 1 / sqrt(information).

    Parameters that sit at a limit are left out: what counts there is the slope.
    """
    free = np.flatnonzero(side == 0)
    scaled = ((hessian + hessian.T) * np.outer(unit, unit) / 2)[np.ix_(free, free)]
    lowest = float(np.linalg.eigvalsh(scaled)[0]) if free.size else 0.0
    kind = "Hessian" if exact else "average information"
    statement = f"{kind}: smallest eigenvalue {lowest:.2g} >= 0"
    return Check("curvature", "outer", statement, max(0.0, -lowest), CURVATURE)


def differenced(gradient: Callable[[Array], Array], theta: Array, steps: Array, free: Array) -> Array:
    """Jacobian of a gradient by central differences, shape (T, T); zero in the rows that are not free."""
    rows = np.zeros((theta.size, theta.size))
    for i in np.flatnonzero(free):
        unit = np.zeros(theta.size)
        unit[i] = steps[i]
        rows[i] = (gradient(theta + unit) - gradient(theta - unit)) / (2 * steps[i])
    return rows
