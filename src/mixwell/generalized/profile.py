"""Profile likelihoods: one parameter is held, -2 log-likelihood is minimised over all others.

As for linear models (`inference/profile.py`), with the criterion of the fit: the Laplace approximation or
quadrature, and the penalty of a prior if there is one.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.generalized.constrained import Criterion, criterion_of, descend, deviance_ratio, metric, settle
from mixwell.generalized.coordinates import Place, Reported, covariance_place, linear_place, quiet
from mixwell.inference.distributions import t_quantile
from mixwell.inference.profile import FAR, NEAR, Curve, Point, Profile, Scale, Solve, wanted_parameters
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["profile"]

Array = NDArray[np.float64]

_ON_THE_WAY = 30  # searches between two values of a held parameter, at most
_HALVED = 12  # times that the distance to the next one is halved
_FAR = 3.0  # extrapolation from two solved points, as a multiple of their distance
_UNKNOWN = (
    10.0  # standard errors beyond this, in linear predictors of a standard deviation of x, are no guide
)


@checked
def profile(
    m: GeneralizedModel, parameters: str | list[str] | tuple[str, ...] | None = None, *, points: int = 9
) -> Profile:
    """Profile the likelihood in each parameter.

    Parameters
    ----------
    parameters
        Names of coefficients, "sd_<effect>|<group>", "cor_<effect>.<effect>|<group>", of dispersions
        ("sigma", "size", ...; with several coefficients "size:<column>"), "zi:<column>", and of thresholds
        ("a|b"); or "fixed", "random", "auxiliary" for all of a kind; everything if None.
    points
        Points of each curve, evenly spaced in zeta between the limits of its 99 % interval. With 0 only
        what intervals ask for is computed.

    Returns
    -------
    Profile

    Raises
    ------
    MixwellError
        MW-A31 for a fit with nagq=0, MW-A48 for an unknown parameter.

    Notes
    -----
    Where R's glm estimates a dispersion, zeta of a coefficient is the signed root of the change of deviance
    over Pearson's dispersion, to be compared with Student's t (Venables & Ripley 2002, section 8.4).

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"hits": [1, 3, 5, 8], "n": [10, 10, 10, 10], "x": [0.0, 1.0, 2.0, 3.0]}
    >>> m = mw.glm("cbind(hits, n - hits) ~ x", table, family="binomial")
    >>> [round(limit, 4) for limit in m.profile("x")["x"].interval()]
    [0.4566, 1.992]
    """
    of = Reported.of(m)
    wanted = wanted_parameters(parameters, list(of.fixed), list(of.random), list(of.auxiliary))
    evaluate, hessian = criterion_of(m), metric(m)
    curves = [_curve(m, of, evaluate, hessian, name) for name in wanted]
    for curve in curves if points else ():
        if not math.isnan(curve.estimate):
            q = float(t_quantile(0.995, curve.df))
            for zeta in np.linspace(-q, q, points):
                if zeta:
                    curve.reach(float(zeta), NEAR)
    title = "Profile likelihood" if m.prior is None else "Profile likelihood, penalised"
    return Profile(tuple(wanted), tuple(curves), of.names, m.design.frame.native_like, title)


def _curve(m: GeneralizedModel, of: Reported, evaluate: Criterion, hessian: Array, name: str) -> Curve:
    """Set up the curve of one parameter."""
    psi, t, p = np.array(m.core["psi"]), m.theta.size, len(of.fixed)
    centre, at = of.estimates(m), of.names.index(name)
    estimate, minimum = float(centre[at]), float(m.core["criterion"])
    bounds, df, ratio, scale, far = tuple(of.bounds[at]), math.inf, 1.0, None, math.inf
    constraint, searched = np.zeros(psi.size), np.ones(psi.size, bool)
    if name in of.random:
        place, bounds = covariance_place(m, hessian, of.targets[at - p])
        # At a boundary information may be nil or endless: any length will do to set out with.
        se = min(max(place.unit, 0.1), 1.0) if bounds[0] < 0 else min(place.unit, max(1.0, estimate))
    elif at < p:
        constraint[t : t + p] = m.basis[at]
        if math.isfinite(m.wald_df):
            searched[t + p :] = False
            df, ratio = m.wald_df, deviance_ratio(m)
        place = linear_place(m, hessian, constraint, estimate, searched)
        se = place.unit / math.sqrt(ratio)
    else:
        j = at - p - len(of.random)
        constraint[t + p + j] = 1.0
        place = linear_place(m, hessian, constraint, float(m.gamma[j]))
        natural = of.scales[j]
        scale = None if natural is None else Scale(quiet(natural.predictor), quiet(natural.natural))
        se = place.unit
        if m.predictors.names[j][1] == "(Intercept)":  # a logarithm or a logit
            se, far = min(se, _UNKNOWN), FAR
    first = Point(estimate, 0.0, centre, np.zeros(place.free.shape[1]))
    solve = _solver(m, of, evaluate, place, scale=scale, minimum=minimum, ratio=ratio)
    ends = (float(bounds[0]), float(bounds[1]))
    return Curve(name, estimate, se, ends, [first], solve, minimum, df, scale, far)


def _solver(
    m: GeneralizedModel,
    of: Reported,
    evaluate: Criterion,
    place: Place,
    *,
    scale: Scale | None,
    minimum: float,
    ratio: float,
) -> Solve:
    # Where searches ended: held value, coordinates, Hessian.
    solved: list[tuple[float, Array, Array | None]] = [(place.value, np.zeros(place.free.shape[1]), None)]

    def at(held: float, w: Array) -> tuple[float, Array]:
        psi, slope = place.psi(place.point(held, w))
        f, g = evaluate(psi)
        return f, place.free.T @ (g if slope is None else slope.T @ g)

    def start(held: float) -> tuple[Array, Array | None]:
        near = sorted(solved, key=lambda each: abs(each[0] - held))[:2]
        value, w, b = near[0]
        if len(near) > 1 and near[1][0] != value:
            share = (held - value) / (near[1][0] - value)
            if abs(share) < _FAR:
                guess = w + share * (near[1][1] - w)
                if math.isfinite(at(held, guess)[0]):
                    return guess, b
        return w, b

    def reached(held: float) -> tuple[Array, Array | None]:
        """Where to begin; where that leaves the domain of a link, searches on the way to it help."""
        begin = start(held)
        for _ in range(_ON_THE_WAY):
            if math.isfinite(at(held, begin[0])[0]):
                break
            nearest = min(solved, key=lambda each: abs(each[0] - held))[0]
            between, first = held, begin
            for _ in range(_HALVED):
                between = 0.5 * (between + nearest)
                first = start(between)
                if math.isfinite(at(between, first[0])[0]):
                    break
            else:
                break
            solved.append((between, *descend(partial(at, between), *first)[1:]))
            begin = start(held)
        return begin

    def solve(value: float, _: Array) -> tuple[float, Array, Array]:
        held = value if scale is None else float(scale.to(value))
        inner, point = partial(at, held), partial(place.point, held)
        f, w, b = settle(inner, point, place.free, place.weak, reached(held))
        if place.is_lost(point(w)):
            # Beside a correlation a standard deviation of zero can be a second optimum: start at the fit too.
            again = settle(inner, point, place.free, place.weak, (np.zeros(w.size), None))
            f, w, b = min((f, w, b), again, key=lambda found: found[0])
        psi = place.psi(place.point(held, w))[0]
        if math.isfinite(f):
            solved.append((held, w, b))
        values = of.at(m, psi)
        return minimum + ratio * (f - minimum), w, values

    return solve
