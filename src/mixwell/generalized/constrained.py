"""Least values of the criterion under constraints: a parameter held, or linear hypotheses about coefficients.

The core evaluates -2 log-likelihood and its exact gradient; BFGS in coordinates in which the Hessian at the
fit is the identity needs few of these. With quadrature the gradient is by differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, error
from mixwell.generalized import quadrature
from mixwell.generalized.coordinates import orthogonal, positive, scaled, weak_directions

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "Criterion",
    "criterion_of",
    "descend",
    "deviance_ratio",
    "least",
    "metric",
    "require_optimum",
    "settle",
]

Array = NDArray[np.float64]
Criterion = Callable[[Array], tuple[float, Array]]

PROMISED = 1e-10  # decrease of the criterion below which a step is not worth taking
STALLED = 1e-6  # below which no decrease at all is the rounding of the criterion
LONGEST = 6.0  # step, in standard errors
BOUNDED = ("logit", "probit", "cloglog", "loglog", "cauchit")  # where eta of 10 is as good as infinite
EXTREME = 15.0  # differences of linear predictors that only separation brings about
MODERATE = 2.0
CLOSE = 0.1  # standard deviations below this share of their length count as zero
_ROUNDS = 200


def require_optimum(m: GeneralizedModel) -> None:
    """Refuse fits of the fast stage (MW-A31): they are no optimum of the likelihood."""
    if m.nagq == 0:
        advice = "Profiles, likelihood ratios and the bootstrap need the optimum: m.update(nagq=1)."
        raise error("MW-A31", option="inference by likelihoods", other="nagq=0", advice=advice)


def criterion_of(m: GeneralizedModel) -> Criterion:
    """Return -2 log-likelihood (with the penalty of a prior) and its gradient as a function of psi.

    Infinite where it is not defined.

    Raises
    ------
    MixwellError
        MW-A31 for the fast stage, which has no optimum of its own.
    """
    require_optimum(m)
    laplace, psi = m.laplace, np.array(m.core["psi"])
    if m.nagq > 1:
        z, w = quadrature.rule(m.nagq)
        diagonal = np.maximum(np.diag(m.hessian), 1e-12)
        step = quadrature._STEP * np.sqrt(2.0 / diagonal).clip(max=1.0)

        def value(psi: Array) -> float:
            try:
                return laplace.integrate(np.ascontiguousarray(psi), z, w)
            except MixwellError:
                return math.inf

        def integrated(psi: Array) -> tuple[float, Array]:
            f = value(psi)
            return f, quadrature._slope(value, psi, step) if math.isfinite(f) else np.zeros(psi.size)

        return integrated
    near = laplace.at(psi, np.asarray(m.core["scale"]))

    def evaluate(psi: Array) -> tuple[float, Array]:
        try:
            f, gradient = laplace.evaluate(np.ascontiguousarray(psi), near)
        except MixwellError:
            return math.inf, np.zeros(psi.size)
        return (f, gradient) if math.isfinite(f) else (math.inf, gradient)

    return evaluate


def deviance_ratio(m: GeneralizedModel) -> float:
    """Return the factor from changes of -2 log-likelihood to those of deviance over Pearson's dispersion."""
    return float(np.mean(m.family.dispersion(m.auxiliary()))) / m.pearson_dispersion


def metric(m: GeneralizedModel) -> Array:
    """Return a Hessian that tells how far to go: that of the fit, or nearer to zero where that is flat.

    Data that are separated leave nothing of the curvature at their infinite estimates.
    """
    psi, t, p = np.array(m.core["psi"]), m.theta.size, len(m.fixef)
    hessian: Array = np.array(m.hessian)
    eta = m.model_matrix() @ (m.basis @ psi[t : t + p])
    largest = float(np.abs(eta - eta.mean()).max(initial=0.0)) if p else 0.0
    if m.family.link not in BOUNDED or largest < EXTREME:
        return hessian
    psi[t : t + p] *= MODERATE / max(float(np.abs(eta).max()), largest)
    try:
        nearer = m.laplace.hessian(m.laplace.at(psi, np.ones(psi.size)), np.ones(psi.size))
    except MixwellError:
        return hessian
    return np.asarray(nearer) if np.isfinite(nearer).all() else hessian


def descend(evaluate: Criterion, w: Array, b: Array | None = None) -> tuple[float, Array, Array]:
    """Minimise by BFGS from w with the Hessian b (the identity if None); return the value, w and b there."""
    f, g = evaluate(w)
    b = np.eye(w.size) if b is None else b.copy()
    for _ in range(_ROUNDS if math.isfinite(f) and w.size else 0):
        step = -_solved(b, g)
        promised = -0.5 * float(g @ step)
        if promised < PROMISED:
            break
        step *= min(1.0, LONGEST / math.sqrt(2.0 * promised))
        slope, scale = float(g @ step), 1.0
        for _ in range(25):
            trial = w + scale * step
            f_new, g_new = evaluate(trial)
            if f_new <= f + 1e-4 * scale * slope:
                break
            bend = f_new - f - slope * scale
            parabola = -0.5 * slope * scale**2 / bend if math.isfinite(f_new) else 0.0
            scale = min(max(parabola, 0.1 * scale), 0.5 * scale)
        else:
            break
        _update(b, scale * step, g_new - g)
        rounding = f - f_new <= 1e-12 * abs(f) and promised < STALLED
        w, f, g = trial, f_new, g_new
        if rounding:
            break
    return f, w, b


def _solved(b: Array, g: Array) -> Array:
    """b^-1 g; along what has no curvature up to rounding there is no step."""
    try:
        return np.asarray(np.linalg.solve(b, g))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(b, g)[0])


def settle(
    evaluate: Criterion,
    point: Callable[[Array], Array],
    free: Array,
    weak: tuple[tuple[int, float], ...],
    start: tuple[Array, Array | None],
) -> tuple[float, Array, Array]:
    """Minimise as `descend`, and once more from beside standard deviations of zero, where there is no slope.

    `point` gives the coordinates that `weak` is about, which w moves along the columns of `free`.
    """
    found = descend(evaluate, *start)
    z = point(found[1])
    low = {at: length for at, length in weak if abs(z[at]) < CLOSE * length}
    if not low or not math.isfinite(found[0]):
        return found
    beside = z.copy()
    beside[list(low)] = list(low.values())
    again = descend(evaluate, found[1] + np.linalg.lstsq(free, beside - z, rcond=None)[0])
    return again if again[0] < found[0] - PROMISED else found


def _update(b: Array, s: NDArray[np.floating[Any]], y: Array) -> None:
    """BFGS with Powell's damping, in place."""
    bs = b @ s
    curvature, seen = float(s @ bs), float(s @ y)
    if not (curvature > 0 and math.isfinite(seen)):
        return
    share = 1.0 if seen >= 0.1 * curvature else 0.9 * curvature / (curvature - seen)
    r = share * y + (1.0 - share) * bs
    b += np.outer(r, r) / float(s @ r) - np.outer(bs, bs) / curvature


def least(m: GeneralizedModel, evaluate: Criterion, L: Array, *, gamma: bool = True) -> float:
    """Least criterion under L beta = 0, for L (q, p) of full row rank.

    Without `gamma` the auxiliary coefficients stay what they are.

    Raises
    ------
    MixwellError
        MW-A108 when no point in the domain of the link was found.
    """
    psi, t = np.array(m.core["psi"]), m.theta.size
    p = len(m.fixef)
    searched = np.arange(psi.size) < (psi.size if gamma else t + p)
    own = positive(metric(m)[np.ix_(searched, searched)])
    constraint = np.zeros((int(searched.sum()), len(L)))
    constraint[t : t + p] = (L @ m.basis).T
    # Where Wald's approximation has the least value.
    turned = np.linalg.solve(own, constraint)
    move = turned @ np.linalg.solve(constraint.T @ turned, constraint.T @ psi[searched])
    start = psi.copy()
    start[searched] -= move
    free = np.zeros((psi.size, int(searched.sum()) - len(L)))
    free[searched] = scaled(orthogonal(constraint), own)
    weak = weak_directions(m.design.random, m.hessian)
    for begin in (start, *_inside(m, psi, free, t, p)):
        inner = partial(along, evaluate, begin, free)
        f, *_ = settle(inner, partial(_moved, begin, free), free, weak, (np.zeros(free.shape[1]), None))
        if math.isfinite(f):
            return f
    raise error("MW-A108", formula=m.formula.text)


def _moved(start: Array, free: Array, w: Array) -> Array:
    return np.asarray(start + free @ w)


def along(evaluate: Criterion, start: Array, free: Array, w: Array) -> tuple[float, Array]:
    """Criterion and gradient at start + free w."""
    f, g = evaluate(start + free @ w)
    return f, free.T @ g


def _inside(m: GeneralizedModel, psi: Array, free: Array, t: int, p: int) -> Iterator[Array]:
    """Points where the linear predictor is about that of the fit, and therefore in the domain of the link."""
    X, own = m.model_matrix() @ m.basis, np.linalg.svd(free[t : t + p], full_matrices=False)
    span = own[0][:, own[1] > 1e-10 * own[1].max(initial=0.0)]
    for eta in (X @ psi[t : t + p], np.full(m.nobs, np.mean(X @ psi[t : t + p]))):
        out = psi.copy()
        out[t : t + p] = span @ np.linalg.lstsq(X @ span, eta, rcond=None)[0]
        yield out
