"""What is reported of a fit, by name, and coordinates in which one of these numbers can be held.

Everything is worked out from psi = (theta of standardised columns, beta~, gamma), in which the core searches.
Coefficients and auxiliary parameters are linear in it; for a standard deviation or a correlation theta is
written in the coordinates of linear models, with sigma = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.families import Auxiliary
from mixwell.inference.coordinates import Coordinates, Structured, Target, Triangular, covariance_targets
from mixwell.resampling.parameters import covariance_values, theta_sizes

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "Place",
    "Reported",
    "covariance_place",
    "linear_place",
    "orthogonal",
    "positive",
    "quiet",
    "scaled",
    "weak_directions",
]

Array = NDArray[np.float64]

_STEP = 1e-6  # of differences of theta
_LOST = 7.0  # a logarithm of a standard deviation so far below that of the fit is that of nothing
_STEEP = 3.0  # inverse hyperbolic tangents beyond this hardly respond
_LARGE = 40.0  # predictors of auxiliary parameters beyond this are infinite


@dataclass(frozen=True, slots=True, eq=False)
class Reported:
    """Names, ranges and values of all that a fit estimates.

    Attributes
    ----------
    fixed, random, auxiliary
        Names: coefficients; "sd_<effect>|<group>" and "cor_<effect>.<effect>|<group>"; a parameter with a
        single value by its own name and on its natural scale ("sigma", "size"), the coefficients of others
        as "<parameter>:<column>" on the scale of their predictor ("zi:(Intercept)"), thresholds as "a|b".
    targets
        What the names of `random` stand for.
    scales
        Of each auxiliary name its natural scale, or None.
    """

    fixed: tuple[str, ...]
    terms: tuple[RandomDesign, ...]
    targets: tuple[Target, ...]
    auxiliary: tuple[str, ...]
    scales: tuple[Auxiliary | None, ...]

    @classmethod
    def of(cls, m: GeneralizedModel) -> Reported:
        """Find the names of a model; the dispersion of a quasi-family is not searched for."""
        fixed = m.fixef.names
        terms = m.design.random
        targets = tuple(target for target in covariance_targets(terms) if target.term >= 0)
        if m.family.is_quasi:
            return cls(fixed, terms, targets, (), ())
        taken = {*fixed, *(target.name for target in targets)}
        known = {each.name: each for each in m.family.auxiliary}
        parts = [part for part, _ in m.predictors.names]
        names: list[str] = []
        scales: list[Auxiliary | None] = []
        for part, column in m.predictors.names:
            single = part in known and part != "zi" and parts.count(part) == 1 and column == "(Intercept)"
            if part == "threshold":
                names.append(column)
            else:
                single = single and part not in taken
                names.append(part if single else f"{part}:{column}")
            scales.append(known[part] if single else None)
        return cls(fixed, terms, targets, tuple(names), tuple(scales))

    @property
    def random(self) -> tuple[str, ...]:
        """Names of standard deviations and correlations."""
        return tuple(target.name for target in self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (*self.fixed, *self.random, *self.auxiliary)

    @property
    def bounds(self) -> Array:
        """Ranges (names, 2)."""
        whole = (-math.inf, math.inf)
        ranges = [whole] * len(self.fixed) + [target.bounds for target in self.targets]
        for scale in self.scales:
            ends = (-math.inf, math.inf)
            if scale is not None:
                with np.errstate(over="ignore"):
                    ends = (float(scale.natural(-math.inf)), float(scale.natural(math.inf)))
            ranges.append(ends)
        return np.array(ranges, dtype=np.float64).reshape(-1, 2)

    def values(self, natural: Array) -> Array:
        """Values (m, names) of many fits, from theta, beta, gamma in the user's columns (m, parameters)."""
        t, p = sum(theta_sizes(self.terms)), len(self.fixed)
        theta, beta, gamma = natural[:, :t], natural[:, t : t + p], natural[:, t + p :]
        columns = covariance_values(self.terms, self.targets, theta, np.ones(len(natural)))
        with np.errstate(over="ignore"):
            own = [
                gamma[:, j] if scale is None else scale.natural(gamma[:, j])
                for j, scale in enumerate(self.scales)
            ]
        return np.column_stack([beta, *columns, *own])

    def at(self, m: GeneralizedModel, psi: Array) -> Array:
        """Values (names,) at psi."""
        found: Array = self.values(np.asarray(m.laplace.natural(np.ascontiguousarray(psi)[None])))[0]
        return found

    def estimates(self, m: GeneralizedModel) -> Array:
        """Values (names,) of a fit."""
        return self.at(m, np.array(m.core["psi"]))


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Coordinates z in which the held parameter is a number.

    Attributes
    ----------
    centre
        z of the fit, (m,).
    direction
        dz for one unit of the held parameter, the others following so that F is least.
    free
        Directions (m, r) that leave it alone, scaled so that F changes by about half their square.
    value
        The held parameter at the centre.
    psi
        From z to psi and the Jacobian dpsi/dz (m, m); None stands for the identity.
    unit
        Change of the held parameter that changes F by one: about its standard error.
    weak
        Coordinates whose sign does not matter to F, which has no slope where they are zero, and a length of
        each away from there.
    logged
        Coordinates that are logarithms of standard deviations.
    """

    centre: Array
    direction: Array
    free: Array
    value: float
    psi: Callable[[Array], tuple[Array, Array | None]]
    unit: float
    weak: tuple[tuple[int, float], ...] = ()
    logged: tuple[int, ...] = ()

    def point(self, held: float, w: Array) -> Array:
        """Return z where the parameter has a value, w (r,) along the free directions."""
        return self.centre + (held - self.value) * self.direction + self.free @ w

    def is_lost(self, z: Array) -> bool:
        """Whether a standard deviation that is searched by its logarithm has become negligible."""
        at = list(self.logged)
        return bool(np.any(z[at] < self.centre[at] - _LOST))


def quiet(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let values beyond the range of numbers be infinite without a word."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")(function)


def positive(hessian: Array) -> Array:
    """Replace eigenvalues (in scaled parameters) by their absolute values, away from zero."""
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-8))
    values, vectors = np.linalg.eigh(hessian / np.outer(size, size))
    floor = 1e-4 * max(float(np.abs(values).max(initial=0.0)), 1e-300)
    return np.asarray((vectors * np.maximum(np.abs(values), floor)) @ vectors.T * np.outer(size, size))


def scaled(directions: Array, hessian: Array) -> Array:
    """Return directions (m, r) with the same span and N'HN = I."""
    if not directions.shape[1]:
        return directions
    values, vectors = np.linalg.eigh(directions.T @ hessian @ directions)
    return np.asarray(directions @ (vectors / np.sqrt(np.maximum(values, 1e-300))))


def weak_directions(terms: tuple[RandomDesign, ...], hessian: Array) -> tuple[tuple[int, float], ...]:
    """Find standard deviations and diagonals of factors in theta: at zero F has no slope along them."""
    out, at = [], 0
    for term, size in zip(terms, theta_sizes(terms), strict=True):
        k = len(term.names)
        if k > 1 and term.structure == "us":
            own = np.cumsum([0, *range(k, 1, -1)])
        else:
            own = np.arange(1 if term.homogeneous or k == 1 else k)
        out += [(at + int(i), _length(hessian, at + int(i))) for i in own]
        at += size
    return tuple(out)


def _length(hessian: Array, at: int) -> float:
    curvature = abs(float(hessian[at, at]))
    return min(math.sqrt(2.0 / curvature), 1.0) if curvature > 0 else 1.0


def linear_place(
    m: GeneralizedModel,
    hessian: Array,
    constraint: Array,
    value: float,
    searched: NDArray[np.bool_] | None = None,
) -> Place:
    """Hold a linear function of psi; parameters that are not `searched` stay what they are."""
    psi = np.array(m.core["psi"])
    weak = weak_directions(m.design.random, hessian)
    used = np.ones(psi.size, bool) if searched is None else searched
    own, c = positive(hessian[np.ix_(used, used)]), constraint[used]
    turned = np.linalg.solve(own, c)
    direction, free = np.zeros(psi.size), np.zeros((psi.size, int(used.sum()) - 1))
    direction[used] = turned / float(c @ turned)
    free[used] = scaled(orthogonal(c[:, None]), own)
    unit = math.sqrt(2.0 * float(c @ turned))
    return Place(psi, direction, free, value, lambda z: (z, None), unit, weak)


def orthogonal(columns: Array) -> Array:
    """Orthonormal basis (m, m - r) of what is orthogonal to columns (m, r)."""
    size = np.linalg.norm(columns, axis=0)
    return np.asarray(np.linalg.qr(columns / np.where(size > 0, size, 1.0), mode="complete").Q)[
        :, columns.shape[1] :
    ]


def covariance_place(
    m: GeneralizedModel, hessian: Array, target: Target
) -> tuple[Place, tuple[float, float]]:
    """Hold a standard deviation or a correlation; also return the range it has in its structure."""
    terms, psi = m.design.random, np.array(m.core["psi"])
    coordinates = Coordinates.of(terms, target)
    t, laplace = m.theta.size, m.laplace
    held = coordinates.held
    assert held is not None
    # Standard deviations beside a correlation keep their sign by their logarithm.
    logged = list(coordinates.positive)

    def theta_of(x: Array) -> Array:
        x = np.append(x, 0.0)
        x[logged] = np.exp(np.clip(x[logged], -_LARGE, _LARGE))
        return coordinates.theta(x)[0]

    def standard(theta: Array) -> Array:
        return np.asarray(laplace.standard(np.concatenate([theta, np.zeros(psi.size - t)])))[:t]

    def to_psi(z: Array) -> tuple[Array, Array]:
        theta = theta_of(z[:t])
        slope = np.eye(psi.size)
        for i in range(t):
            h = _STEP * max(1.0, abs(z[i]))
            e = np.zeros(t)
            e[i] = h
            # The held one may be at the end of its range, where nothing is beyond; nor is its slope needed.
            if i != held:
                up, down = (_like(theta_of(z[:t] + sign * e), theta, terms) for sign in (1.0, -1.0))
                slope[:t, i] = (standard(up) - standard(down)) / (2 * h)
        return np.concatenate([standard(theta), z[t:]]), slope

    x = coordinates.start(m.lambdas, m.theta, 1.0)[:t]
    value = float(x[held])
    with np.errstate(divide="ignore"):
        x[logged] = np.maximum(np.log(x[logged]), -_LARGE)
    weak = []
    for each, start in zip(coordinates.maps, np.cumsum([0, *theta_sizes(terms)[:-1]]), strict=True):
        if isinstance(each, Triangular):
            first = 2 if each.correlation else 0
            weak += [start + i * (i + 3) // 2 for i in range(first, len(each.order))]
        elif isinstance(each, Structured):
            weak += list(range(start, start + each.n_sd))
            if each.n > each.n_sd and start + each.n_sd != held:
                x[start + each.n_sd] = np.clip(x[start + each.n_sd], -_STEEP, _STEEP)
    centre = np.concatenate([x, psi[t:]])
    # The map has no derivative where a row is zero; a little beside it will do for a metric.
    away = centre.copy()
    h = 1e-4 * max(1.0, abs(value))
    slope = to_psi(away)[1]
    ends = [away.copy(), away.copy()]
    low, high = coordinates.bounds
    ends[0][held], ends[1][held] = max(value - h, low), min(value + h, high)
    if ends[1][held] > ends[0][held]:
        reached = [_like(theta_of(end[:t]), theta_of(away[:t]), terms) for end in ends]
        slope[:t, held] = (standard(reached[1]) - standard(reached[0])) / (ends[1][held] - ends[0][held])
    own = positive(slope.T @ hessian @ slope)
    c = np.zeros(psi.size)
    c[held] = 1.0
    turned = np.linalg.solve(own, c)
    free = scaled(np.delete(np.eye(psi.size), held, axis=1), own)
    unit = math.sqrt(2.0 * turned[held])
    lengths = tuple((int(i), _length(own, int(i))) for i in weak if i != held)
    place = Place(centre, turned / turned[held], free, value, to_psi, unit, lengths, tuple(logged))
    return place, coordinates.bounds


def _like(theta: Array, other: Array, terms: tuple[RandomDesign, ...]) -> Array:
    """Give columns of triangular factors the signs of those in another theta; the covariance is the same."""
    out, at = theta.copy(), 0
    for term, size in zip(terms, theta_sizes(terms), strict=True):
        k = len(term.names)
        if k > 1 and term.structure == "us":
            first = at
            for j in range(k):
                own = slice(first, first + k - j)
                if out[own] @ other[own] < 0:
                    out[own] *= -1.0
                first += k - j
        at += size
    return out
