"""Profile likelihoods: hold one parameter, maximise over all others, read zeta off the loss.

zeta(v) = sign(v - estimate) sqrt(f(v) - f(estimate)) with f = -2 log-likelihood (ML) is normal to the extent
that a Wald interval would do (Bates 2010, lme4: Mixed-effects modeling with R, section 1.5). Fixed effects
are held by turning the cross-products (no row is read again) and searched by the core; standard deviations,
correlations and sigma by Newton steps in coordinates in which the held one is a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error, warn
from mixwell.fitted.text import Block, cells, html, text
from mixwell.inference.coordinates import Coordinates, Target, covariance_targets, values_of
from mixwell.inference.distributions import normal_quantile, t_quantile
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell._core import Problem
    from mixwell.fitted.result import FittedModel
    from mixwell.plots.canvas import Plot

__all__ = ["Curve", "Point", "Profile", "Scale", "Solve", "profile", "wanted_parameters"]

Array = NDArray[np.float64]

PROMISED = 1e-10  # decrease of f below which a Newton step is not worth taking
CLOSE = 1e-7  # error of zeta at the end of an interval
NEAR = 0.02  # error of zeta at the points of a curve
LOWER = 1e-5  # f this far below the optimum means that the optimum was none
FLAT = 0.05  # zeta that twice grows by less than this share of what the distance does has reached its limit
BELOW = 0.05  # a zeta below this has not left the plateau of an estimate that is infinite,
FAR = 30.0  # which goes on when it is so far away, as a multiple of the estimate and its standard error


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One maximisation: the held value, zeta, the values of all parameters, and where the search ended."""

    value: float
    zeta: float
    others: Array
    at: Array


Solve = Callable[
    [float, Array], tuple[float, Array, Array]
]  # value, start -> f, end, values of all parameters


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale without bounds on which a parameter is searched: the way there, and back."""

    to: Callable[[Any], Any]
    back: Callable[[Any], Any]


@dataclass(slots=True, eq=False)
class Curve:
    """The profile of one parameter; points are computed when asked for, and kept.

    Attributes
    ----------
    name, estimate, se
        Of the parameter, by ML. `se` is a first guess of the scale, from average information; on the
        scale of the search if there is one.
    bounds
        Its range.
    points
        Solved so far, by increasing value.
    df
        Degrees of freedom of Student's t, whose quantiles zeta is compared with; normal ones if infinite.
    scale
        On which the parameter is searched.
    far
        A distance on that scale at which what does not matter to the likelihood yet never will.
    """

    name: str
    estimate: float
    se: float
    bounds: tuple[float, float]
    points: list[Point]
    _solve: Solve = field(repr=False)
    _minimum: float = field(repr=False)
    df: float = math.inf
    scale: Scale | None = field(default=None, repr=False)
    far: float = field(default=math.inf, repr=False)

    def at(self, value: float) -> Point:
        """Maximise with the parameter held at a value."""
        for point in self.points:
            if point.value == value:
                return point
        near = min(self.points, key=lambda point: abs(point.value - value))
        f, end, others = self._solve(value, near.at)
        if f < self._minimum - LOWER:
            warn(
                "MW-W20", name=self.name, value=f"{value:.6g}", gain=f"{self._minimum - f:.3g}", stacklevel=5
            )
        zeta = math.copysign(math.sqrt(max(f - self._minimum, 0.0)), value - self.estimate)
        point = Point(value, zeta, others, end)
        if math.isfinite(zeta):  # beyond the domain of a link there is no likelihood
            self.points.append(point)
            self.points.sort(key=lambda each: each.value)
        return point

    def reach(self, zeta: float, close: float = CLOSE) -> float:
        """Return the value at which the profile has this zeta, or the bound if it stays short of it."""
        if math.isnan(self.estimate):
            return math.nan
        sign = math.copysign(1.0, zeta)
        bound = self.bounds[1] if sign > 0 else self.bounds[0]
        if bound == self.estimate:
            return bound
        if self.scale is None:
            return self._search(zeta, close, bound)
        found = self._search(zeta, close, sign * math.inf)
        return float(self.scale.back(found)) if math.isfinite(found) else bound

    def _search(self, zeta: float, close: float, bound: float) -> float:
        """Search on the scale that has been chosen."""
        scale = self.scale or Scale(lambda value: value, lambda value: value)
        sign, centre = math.copysign(1.0, zeta), float(scale.to(self.estimate))
        beyond = sign * (centre + zeta * self.se - bound) >= 0
        if beyond and abs(self.at(bound).zeta) <= abs(zeta):
            return bound
        # Safeguarded interpolation between what falls short (inner) and what is beyond (outer).
        inner, outer = (centre, 0.0), None
        for point in self.points:
            value = float(scale.to(point.value))
            if sign * (value - centre) > 0:
                if abs(point.zeta) < abs(zeta) and sign * (value - inner[0]) > 0:
                    inner = (value, point.zeta)
                elif abs(point.zeta) >= abs(zeta) and (outer is None or sign * (outer[0] - value) > 0):
                    outer = (value, point.zeta)
        value, flat = centre + zeta * self.se, 0
        for step in range(60):
            if outer is not None:
                line = inner[0] + (zeta - inner[1]) * (outer[0] - inner[0]) / (outer[1] - inner[1])
                value = line if step % 3 < 2 and math.isfinite(outer[1]) else 0.5 * (inner[0] + outer[0])
            elif inner[0] != centre:
                value = centre + (inner[0] - centre) * (min(1.1 * zeta / inner[1], 3.0) if inner[1] else 3.0)
            if math.isfinite(bound) and sign * (value - bound) >= 0:
                if abs(self.at(bound).zeta) <= abs(zeta):
                    return bound
                outer = (bound, self.at(bound).zeta)
                continue
            point = self.at(float(scale.back(value)))
            if abs(point.zeta - zeta) < close:
                return value
            if abs(point.zeta) < abs(zeta):
                # A likelihood that levels off never rejects: the interval has no end.
                away, before = abs(value - centre), abs(inner[0] - centre)
                if outer is None and away > before > 0:
                    grown = abs(point.zeta) - abs(inner[1])
                    slow = grown <= FLAT * (away / before - 1) * abs(inner[1])
                    flat = flat + 1 if slow and abs(point.zeta) > BELOW else 0
                    endless = abs(point.zeta) <= BELOW and away > min(FAR * (abs(centre) + self.se), self.far)
                    if flat == 2 or endless:
                        return bound
                inner = (value, point.zeta)
            else:
                outer = (value, point.zeta)
            if outer is not None and abs(outer[0] - inner[0]) <= 1e-12 * max(abs(value), self.se):
                return value
        return value

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper limit, where the likelihood-ratio test of the held value just rejects."""
        q = float(t_quantile(0.5 + 0.5 * level, self.df))
        return self.reach(-q), self.reach(q)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Profile:
    """Profiles of the parameters of a fit: `profile["sigma"]`, `.confint(level)`, `.table()`, `.pairs(a, b)`.

    Attributes
    ----------
    names
        Fixed effects, then sd_<effect>|<group>, cor_<effect>.<effect>|<group> and sigma (of generalised
        models the auxiliary parameters).
    curves
        One `Curve` each.
    """

    names: tuple[str, ...]
    curves: tuple[Curve, ...]
    parameters: tuple[str, ...]
    to_table: Callable[[dict[str, Any]], Any]
    title: str = "Profile likelihood (ML)"

    def __getitem__(self, name: str) -> Curve:
        if name not in self.names:
            raise error("MW-A48", name=name, available=self.names)
        return self.curves[self.names.index(name)]

    def confint(self, level: float = 0.95) -> Any:
        """Return a table with term, estimate (ML), lower and upper."""
        limits = [curve.interval(level) for curve in self.curves]
        return self.to_table(
            {
                "term": list(self.names),
                "estimate": np.array([curve.estimate for curve in self.curves]),
                "lower": np.array([low for low, _ in limits]),
                "upper": np.array([high for _, high in limits]),
            }
        )

    def table(self) -> Any:
        """Return all points: term, value, zeta, then the values of all parameters at that point."""
        rows = [(curve.name, point) for curve in self.curves for point in curve.points]
        columns: dict[str, Any] = {
            "term": [name for name, _ in rows],
            "value": np.array([point.value for _, point in rows]),
            "zeta": np.array([point.zeta for _, point in rows]),
        }
        for at, name in enumerate(self.parameters):
            columns[f".{name}"] = np.array([point.others[at] for _, point in rows])
        return self.to_table(columns)

    def pairs(self, first: str, second: str) -> Any:
        """Return the two profile traces of a pair, on both scales: what a zeta pairs plot draws.

        Returns
        -------
        table
            Columns profiled, <first>, <second>, zeta: along the profile of the first the best value of the
            second, and the other way round.
        """
        rows: list[tuple[str, float, float, float]] = []
        for name in (first, second):
            curve = self[name]
            for point in curve.points:
                pair = [point.others[self.parameters.index(each)] for each in (first, second)]
                rows.append((name, *pair, point.zeta))
        names = ("profiled", first, second, "zeta")
        columns = zip(names, zip(*rows, strict=True), strict=True)
        return self.to_table({name: list(column) for name, column in columns})

    def plot(self, **options: Any) -> Plot:
        """Draw zeta against each parameter; options as of `m.plot.profile`: levels, absolute, ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> m.profile("sigma").plot(levels=[0.95]).axes.get_xlabel()
        'sigma'
        """
        from mixwell.plots.profile import draw_profile  # noqa: PLC0415 - matplotlib is optional

        return draw_profile(self, **options)

    def plot_pairs(self, **options: Any) -> Plot:
        """Draw traces and contours of all pairs; options as of `m.plot.profile_pairs`: levels, ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> m.profile("random").plot_pairs(levels=[0.9]).axes.size
        4
        """
        from mixwell.plots.profile import draw_pairs  # noqa: PLC0415 - matplotlib is optional

        return draw_pairs(self, **options)

    def _blocks(self) -> list[Block]:
        limits = [curve.interval() for curve in self.curves]
        estimates = cells([curve.estimate for curve in self.curves])
        shown = [cells([limit[side] for limit in limits]) for side in (0, 1)]
        rows = [list(row) for row in zip(self.names, estimates, *shown, strict=True)]
        return [Block(self.title, ("term", "estimate", "2.5 %", "97.5 %"), rows, left=1)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def profile(
    m: FittedModel, parameters: str | list[str] | tuple[str, ...] | None = None, *, points: int = 9
) -> Profile:
    """Profile the likelihood in each parameter, on the ML criterion.

    Parameters
    ----------
    parameters
        Names of fixed effects and of covariance parameters ("sd_Days|Subject", "sigma"), or "fixed" or
        "random" for all of a kind; everything if None.
    points
        Points of each curve, evenly spaced in zeta between the limits of its 99 % interval. With 0 only
        what intervals ask for is computed.

    Returns
    -------
    Profile
        For a model fitted by REML that of its ML fit, as in lme4.

    Raises
    ------
    MixwellError
        MW-A48 for an unknown parameter.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> curve = m.profile("sd_(Intercept)|Batch")["sd_(Intercept)|Batch"]
    >>> [round(limit, 2) for limit in curve.interval()]
    [12.2, 84.06]
    """
    terms = m.design.random
    targets = covariance_targets(terms)
    fixed = list(m.fixef.names)
    parameter_names = (*fixed, *(target.name for target in targets))
    wanted = wanted_parameters(parameters, fixed, [target.name for target in targets])
    theta, minimum = _ml_optimum(m)
    solution = m.problem.solve(theta, False, False)
    sigma, lambdas = math.sqrt(solution.sigma2), tuple(np.asarray(each) for each in solution.lambdas)

    def everything(theta: Array, sigma: float | None, beta: Array | None = None) -> Array:
        s = m.problem.solve(theta, False, False)
        scale = math.sqrt(s.sigma2) if sigma is None else sigma
        held = np.asarray(s.beta) if beta is None else beta
        return np.concatenate([held, values_of(targets, tuple(map(np.asarray, s.lambdas)), scale)])

    centre = everything(theta, None)
    curves = []
    for name in wanted:
        if name in fixed:
            j = fixed.index(name)
            solve = _fixed_solver(m, j, targets)
            se = math.sqrt(solution.sigma2 * np.asarray(solution.vcov_unscaled)[j, j])
            bounds, start = (-math.inf, math.inf), theta
        else:
            target = targets[parameter_names.index(name) - len(fixed)]
            coordinates = Coordinates.of(terms, target)
            start = coordinates.start(lambdas, theta, sigma)
            se, solve = (
                _scale(m.problem, coordinates, start),
                _covariance_solver(m.problem, coordinates, everything, start),
            )
            bounds = coordinates.bounds if target.kind == "cor" else target.bounds
        estimate = float(centre[parameter_names.index(name)])
        first = Point(estimate, 0.0, centre, start)
        curve = Curve(name, estimate, se, bounds, [first], solve, minimum)
        if points and not math.isnan(estimate):
            q = float(normal_quantile(0.995))
            for zeta in np.linspace(-q, q, points):
                if zeta:
                    curve.reach(float(zeta), NEAR)
        curves.append(curve)
    return Profile(tuple(wanted), tuple(curves), parameter_names, m.design.frame.native_like)


def wanted_parameters(
    given: Any, fixed: list[str], random: list[str], auxiliary: list[str] | None = None
) -> list[str]:
    """Names asked for, with "fixed", "random" and "auxiliary" spelled out; None means all."""
    kinds = {"fixed": fixed, "random": random} | ({} if auxiliary is None else {"auxiliary": auxiliary})
    everything = [name for names in kinds.values() for name in names]
    if given is None:
        return everything
    out: list[str] = []
    for name in [given] if isinstance(given, str) else list(given):
        if name in everything:
            out.append(name)
        elif name in kinds:
            out += kinds[name]
        else:
            raise error("MW-A48", name=name, available=[*everything, *kinds])
    return list(dict.fromkeys(out))


def _ml_optimum(m: FittedModel) -> tuple[Array, float]:
    """Return theta and criterion of the ML fit."""
    if m.is_reml and m.is_mixed:
        optimum = m.problem.optimize(False, np.array(m.theta), m.control.max_evaluations)
        return np.asarray(optimum.theta), float(optimum.criterion)
    return np.array(m.theta), m.deviance


def _fixed_solver(m: FittedModel, j: int, targets: list[Target]) -> Solve:
    direction = np.zeros(len(m.kept))
    direction[j] = 1.0

    def solve(value: float, start: Array) -> tuple[float, Array, Array]:
        problem = m.problem.restrict(direction, value)
        optimum = problem.optimize(False, np.array(start) if start.size else None, m.control.max_evaluations)
        theta = np.asarray(optimum.theta)
        # The others at their best given this one: beta + Phi_j / Phi_jj (value - beta_j).
        free = m.problem.solve(theta, False, False)
        phi, beta = np.asarray(free.vcov_unscaled), np.asarray(free.beta)
        moved = beta + phi[:, j] / phi[j, j] * (value - beta[j])
        sigma = math.sqrt(problem.solve(theta, False, False).sigma2)
        values = values_of(targets, tuple(map(np.asarray, free.lambdas)), sigma)
        return float(optimum.criterion), theta, np.concatenate([moved, values])

    return solve


def _scale(problem: Problem, coordinates: Coordinates, x: Array) -> float:
    """Return the standard error of the held coordinate by average information, or else the size of sigma."""
    held = coordinates.held
    _, _, hessian = coordinates.evaluate(problem, x)
    values, vectors = np.linalg.eigh(hessian)
    used = values > 1e-9 * values.max(initial=0.0)
    variance = float(np.sum(2.0 * vectors[held, used] ** 2 / values[used]))
    scale = math.sqrt(variance)
    if held == len(x) - 1:
        return scale * math.exp(x[-1])
    # At a boundary information may be nil or endless: any length will do to set out with.
    if coordinates.bounds[0] < 0:
        return min(max(scale, 0.1), 1.0)
    return scale if scale > 0 else math.exp(x[-1]) / math.sqrt(problem.n)


def _covariance_solver(
    problem: Problem,
    coordinates: Coordinates,
    everything: Callable[[Array, float], Array],
    centre: Array,
) -> Solve:
    held = coordinates.held
    assert held is not None

    is_sigma = held == len(centre) - 1
    positive = list(coordinates.positive)
    lower = np.full(len(centre), -math.inf)
    lower[positive] = 0.0
    estimated = np.arange(len(centre)) != held

    def search(value: float, start: Array) -> tuple[float, Array]:
        x = np.array(start)
        x[held] = math.log(max(value, 1e-300)) if is_sigma else value
        return _minimise(lambda x: coordinates.evaluate(problem, x), x, estimated, lower)

    def solve(value: float, start: Array) -> tuple[float, Array, Array]:
        f, x = search(value, start)
        if np.any(x[positive] == 0.0) and start is not centre:
            # Beside a correlation a standard deviation of zero can be a second optimum: start at the fit too.
            f, x = min((f, x), search(value, centre), key=lambda found: found[0])
        return f, x, everything(*coordinates.theta(x))

    return solve


def _minimise(
    evaluate: Callable[[Array], tuple[float, Array, Array]],
    x: Array,
    estimated: NDArray[np.bool_],
    lower: Array,
) -> tuple[float, Array]:
    """Newton steps with |eigenvalues|, projected on lower bounds, halved until f falls; leaves saddles."""
    f, gradient, hessian = evaluate(x)
    for _ in range(200):
        free = estimated & ((x > lower) | (gradient < 0))
        g, h = gradient[free], hessian[np.ix_(free, free)]
        size = np.sqrt(
            np.maximum(np.abs(np.diag(h)), 1e-12 * max(np.abs(np.diag(h)).max(initial=0.0), 1e-300))
        )
        values, vectors = np.linalg.eigh(h / np.outer(size, size))
        slope = vectors.T @ (g / size)
        used = np.maximum(np.abs(values), 1e-10)
        along = -slope / used
        predicted = 0.5 * float(np.sum(slope**2 / used))
        if predicted < PROMISED:
            if values.size == 0 or values[0] > -1e-6:
                break
            along = 0.5 * (np.arange(len(values)) == 0)  # a saddle: go down where curvature is negative
        along *= min(1.0, 3.0 * math.sqrt(len(x)) / max(float(np.linalg.norm(along)), 1e-300))
        step, factor = vectors @ along / size, 1.0
        while True:
            trial = x.copy()
            trial[free] += factor * step
            np.maximum(trial, lower, out=trial)
            f_new, g_new, h_new = evaluate(trial)
            if f_new <= f or factor < 1e-6:
                break
            factor *= 0.3
        if not f_new < f - 1e-12 * abs(f):
            if f_new < f:
                f, x = f_new, trial
            break
        f, x, gradient, hessian = f_new, trial, g_new, h_new
    return f, x
