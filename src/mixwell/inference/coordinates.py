"""Covariance parameters as a profile needs them: standard deviations and correlations one by one, and sigma.

`theta` is relative to sigma and triangular; a profile holds one standard deviation, correlation or sigma, on
the scale of the response, and frees everything else. A `TermMap` maps free numbers x to a term's covariance
with its first and second derivatives; for an unstructured term the effects that are held come first in the
Cholesky factor, so that holding them means holding one number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mixwell._core import Problem
    from mixwell.design import RandomDesign

__all__ = ["Coordinates", "Target", "covariance_targets", "values_of"]

Array = NDArray[np.float64]
Second = list[tuple[int, int, Array]]


@dataclass(frozen=True, slots=True)
class Target:
    """A covariance parameter: its name as in lme4, its kind, its term and the effects it concerns.

    `effects` is (i,) for a standard deviation, (i, j) for a correlation, () for a parameter that a whole term
    shares and for sigma (term -1).
    """

    name: str
    kind: str
    term: int
    effects: tuple[int, ...] = ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of the parameter; that of a structured correlation is `Coordinates.bounds`."""
        return (-1.0, 1.0) if self.kind == "cor" else (0.0, np.inf)


def covariance_targets(terms: tuple[RandomDesign, ...]) -> list[Target]:
    """All standard deviations and correlations of the random effects, term by term, then sigma."""
    out = []
    for t, term in enumerate(terms):
        k = len(term.names)
        if _structure(term) != "us" and term.homogeneous and k > 1:
            out.append(Target(f"sd_{term.group}", "sd", t))
        else:
            out += [Target(f"sd_{name}|{term.group}", "sd", t, (i,)) for i, name in enumerate(term.names)]
        if _structure(term) == "us":
            for i, j in combinations(range(k), 2):
                name = f"cor_{term.names[j]}.{term.names[i]}|{term.group}"
                out.append(Target(name, "cor", t, (i, j)))
        elif _structure(term) != "diag":
            out.append(Target(f"cor_{term.group}", "cor", t))
    return [*out, Target("sigma", "sd", -1)]


def values_of(targets: list[Target], lambdas: tuple[Array, ...], sigma: float) -> Array:
    """Values of covariance parameters, from relative factors lambda (k, k) and sigma; NaN where undefined."""
    out = []
    for target in targets:
        if target.term < 0:
            out.append(sigma)
            continue
        rows = lambdas[target.term]
        lengths = np.sqrt(np.sum(rows**2, axis=1))
        if target.kind == "sd":
            out.append(sigma * lengths[target.effects[0] if target.effects else 0])
        else:
            i, j = target.effects or (0, 1)
            both = lengths[i] * lengths[j]
            out.append(float(np.clip(rows[i] @ rows[j] / both, -1.0, 1.0)) if both > 0 else np.nan)
    return np.array(out)


def _structure(term: RandomDesign) -> str:
    return "diag" if len(term.names) == 1 else term.structure


class TermMap(Protocol):
    """From x (n,) to a term's covariance on the scale of the response."""

    @property
    def n(self) -> int:
        """Number of coordinates."""

    def start(self, factor: Array, theta: Array, sigma: float) -> Array:
        """Coordinates of a covariance, given its factor (k, k), its theta, both relative, and sigma."""

    def theta(self, x: Array, sigma: float) -> Array:
        """Return theta of the core."""

    def derivatives(self, x: Array, sigma: float, core: Any) -> tuple[list[Array], Second]:
        """Return derivatives of the covariance over sigma^2, (k, k); `core` has those in theta."""

    def relative(self, theta: Array, first: list[Array]) -> Array:
        """Covariance over sigma^2 (k, k) from theta and the derivatives in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Triangular:
    """An unstructured covariance by its Cholesky factor, effects in the given order, row by row.

    With `correlation` the second row is written as standard deviation and correlation with the first effect.
    """

    order: tuple[int, ...]
    correlation: bool = False

    @property
    def n(self) -> int:
        """Number of coordinates."""
        k = len(self.order)
        return k * (k + 1) // 2

    @property
    def _places(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(len(self.order)) for j in range(i + 1)]

    def start(self, factor: Array, theta: Array, sigma: float) -> Array:
        """Coordinates of a covariance."""
        lower = sigma * _triangle(factor[list(self.order)])
        x = np.array([lower[place] for place in self._places])
        if self.correlation:
            sd = float(np.hypot(x[1], x[2]))
            x[1:3] = sd, x[1] / sd if sd > 0 else 0.0
        return x

    def _lower(self, x: Array) -> Array:
        lower = np.zeros((len(self.order),) * 2)
        for place, value in zip(self._places, x, strict=True):
            lower[place] = value
        if self.correlation:
            lower[1, :2] = x[1] * x[2], x[1] * np.sqrt(max(1.0 - x[2] ** 2, 0.0))
        return lower

    def theta(self, x: Array, sigma: float) -> Array:
        """Return theta of the core, column by column."""
        k = len(self.order)
        rows = np.empty((k, k))
        rows[list(self.order)] = self._lower(x) / sigma
        factor = _triangle(rows)
        return np.concatenate([factor[j:, j] for j in range(k)])

    def derivatives(self, x: Array, sigma: float, core: Any) -> tuple[list[Array], Second]:
        """Return derivatives of P'LL'P / sigma^2."""
        lower = self._lower(x)
        first, bent = self._d_lower(x)
        back = np.argsort(self.order)

        def symmetric(a: Array) -> Array:
            turned = ((a + a.T) / sigma**2)[np.ix_(back, back)]
            return np.asarray(turned)

        out = [symmetric(d @ lower.T) for d in first]
        second: Second = []
        for i in range(self.n):
            for j in range(i, self.n):
                form = first[i] @ first[j].T
                if (i, j) in bent:
                    form = form + bent[i, j] @ lower.T
                if np.any(form):
                    second.append((i, j, symmetric(form)))
        return out, second

    def relative(self, theta: Array, first: list[Array]) -> Array:
        """Return lambda lambda'."""
        k = len(self.order)
        factor = np.zeros((k, k))
        factor.T[np.triu_indices(k)] = theta
        return factor @ factor.T

    def _d_lower(self, x: Array) -> tuple[list[Array], dict[tuple[int, int], Array]]:
        k = len(self.order)
        first = []
        for place in self._places:
            d = np.zeros((k, k))
            d[place] = 1.0
            first.append(d)
        bent: dict[tuple[int, int], Array] = {}
        if self.correlation:
            sd, rho = x[1], x[2]
            rest = np.sqrt(max(1.0 - rho**2, 1e-12))
            first[1][1, :2] = rho, rest
            first[2][1, :2] = sd, -sd * rho / rest
            for at, row in {(1, 2): (1.0, -rho / rest), (2, 2): (0.0, -sd / rest**3)}.items():
                bent[at] = np.zeros((k, k))
                bent[at][1, :2] = row
        return first, bent


@dataclass(frozen=True, slots=True, eq=False)
class Structured:
    """diag(), cs() or ar1(): standard deviations, then the correlation through tanh unless it is held."""

    n_sd: int
    bounds: tuple[float, float] | None
    held: bool = False

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return self.n_sd + (self.bounds is not None)

    def start(self, factor: Array, theta: Array, sigma: float) -> Array:
        """Coordinates of a covariance."""
        x = np.array(theta)
        x[: self.n_sd] *= sigma
        if self.bounds is not None and not self.held:
            low, high = self.bounds
            x[-1] = np.arctanh(np.clip(2 * (x[-1] - low) / (high - low) - 1, -1 + 1e-9, 1 - 1e-9))
        return x

    def theta(self, x: Array, sigma: float) -> Array:
        """Return theta of the core."""
        out = np.array(x)
        out[: self.n_sd] = np.abs(out[: self.n_sd]) / sigma
        if self.bounds is not None and not self.held:
            low, high = self.bounds
            out[-1] = low + (high - low) * 0.5 * (1 + np.tanh(x[-1]))
        return out

    def derivatives(self, x: Array, sigma: float, core: Any) -> tuple[list[Array], Second]:
        """Chain rule from theta."""
        first, second = core
        rate, bend = np.ones(self.n) / sigma, 0.0
        rate[: self.n_sd] *= np.where(x[: self.n_sd] < 0, -1.0, 1.0)
        if self.bounds is not None:
            half = 0.5 * (self.bounds[1] - self.bounds[0])
            slope = 1 - np.tanh(x[-1]) ** 2
            rate[-1] = 1.0 if self.held else half * slope
            bend = 0.0 if self.held else -2.0 * half * np.tanh(x[-1]) * slope
        out = [r * d for r, d in zip(rate, first, strict=True)]
        turned = {(i, j): rate[i] * rate[j] * d for i, j, d in second}
        if bend:
            last = self.n - 1
            turned[last, last] = turned.get((last, last), 0.0) + bend * first[-1]
        return out, [(i, j, d) for (i, j), d in turned.items()]

    def relative(self, theta: Array, first: list[Array]) -> Array:
        """Half the sum of s dSigma/ds: Sigma is of second degree in its standard deviations."""
        return np.asarray(0.5 * sum(s * d for s, d in zip(theta[: self.n_sd], first, strict=False)))


def _triangle(rows: Array) -> Array:
    """Lower triangular (k, k) factor of rows rows', with a non-negative diagonal."""
    upper: Array = np.linalg.qr(rows.T).R
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    return np.asarray((upper * signs[:, None]).T)


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """All covariance parameters, log(sigma) last; coordinate `held` is the target's (None: no target).

    `positive` may not change their sign: the standard deviations beside a held correlation.
    """

    maps: tuple[TermMap, ...]
    held: int | None
    bounds: tuple[float, float]
    positive: tuple[int, ...] = ()

    @classmethod
    def of(cls, terms: tuple[RandomDesign, ...], target: Target | None) -> Coordinates:
        """Choose the maps in which a target is one coordinate."""
        maps: list[TermMap] = []
        held, at, bounds = None, 0, target.bounds if target is not None else (-np.inf, np.inf)
        positive: tuple[int, ...] = ()
        for t, term in enumerate(terms):
            mine = target is not None and target.term == t
            k, structure = len(term.names), _structure(term)
            effects = target.effects if target is not None and mine else ()
            correlation = mine and target is not None and target.kind == "cor"
            if structure == "us":
                order = (*effects, *(i for i in range(k) if i not in effects))
                maps.append(Triangular(order, correlation=correlation))
                place = 2 if correlation else 0
                positive = (at, at + 1) if correlation else positive
            else:
                n_sd = 1 if term.homogeneous else k
                low = {"diag": None, "cs": -1.0 / (k - 1) if k > 1 else -1.0, "ar1": -1.0}[structure]
                limits = None if low is None else (low, 1.0)
                maps.append(Structured(n_sd, limits, held=correlation))
                place = n_sd if correlation else (effects[0] if effects else 0)
                if correlation and limits is not None:
                    bounds = limits
            if mine:
                held = at + place
            at += maps[-1].n
        if target is not None and target.term < 0:
            held = at
        return cls(tuple(maps), held, bounds, positive)

    def start(self, lambdas: tuple[Array, ...], theta: Array, sigma: float) -> Array:
        """Coordinates of a fit."""
        parts, at = [], 0
        for each, factor in zip(self.maps, lambdas, strict=True):
            parts.append(each.start(factor, theta[at : at + each.n], sigma))
            at += each.n
        return np.concatenate([*parts, [np.log(sigma)]])

    def theta(self, x: Array) -> tuple[Array, float]:
        """Return theta of the core, and sigma."""
        sigma, parts, at = float(np.exp(x[-1])), [np.empty(0)], 0
        for each in self.maps:
            parts.append(each.theta(x[at : at + each.n], sigma))
            at += each.n
        return np.concatenate(parts), sigma

    def evaluate(self, problem: Problem, x: Array) -> tuple[float, Array, Array]:
        """-2 log-likelihood (ML) at x, its gradient, and average information plus curvature.

        With V = Z Sigma(x) Z' + sigma^2 W^-1 nothing is profiled out but beta. The direction of log(sigma) is
        2 sigma^2 W^-1 = 2 (V - Z Sigma Z').
        """
        theta, sigma = self.theta(x)
        if not 0.0 < sigma * sigma < math.inf:
            return math.inf, np.zeros(len(x)), np.eye(len(x))
        core_first, core_second = problem.directions(theta)
        directions: list[tuple[int, Array]] = []
        second: list[tuple[int, int, int, Array]] = []
        relative: list[tuple[int, Array]] = []
        at = 0
        for t, each in enumerate(self.maps):
            own = slice(at, at + each.n)
            inner = [(i - at, j - at, d) for i, j, d in core_second if at <= i < own.stop]
            first, more = each.derivatives(x[own], sigma, ([d for _, d in core_first[own]], inner))
            directions += [(t, np.ascontiguousarray(d)) for d in first]
            second += [(at + i, at + j, t, d) for i, j, d in more]
            relative.append((t, each.relative(theta[own], [d for _, d in core_first[own]])))
            at += each.n
        n, n_terms = at, len(self.maps)
        moments = problem.moments(theta, [*directions, *relative], reml=False)
        s2, nu = sigma**2, problem.n
        zpz, scores = moments["zpz"], [s / s2 for s in moments["scores"]]
        slope = [a - b for a, b in zip(zpz, scores, strict=True)]
        r2 = moments["r2"] / s2
        f = moments["criterion"] - nu * (1 + np.log(2 * np.pi * moments["r2"] / nu))
        f += nu * np.log(2 * np.pi * s2) + r2

        gradient = np.array([np.sum(slope[t] * d) for t, d in directions] + [0.0])
        gradient[n] = 2 * (nu - r2) - 2 * sum(np.sum(slope[t] * d) for t, d in relative)

        # Bordered by V itself, then log(sigma) = 2 (V - sum of the terms).
        edge = np.array([np.sum(scores[t] * d) for t, d in [*directions, *relative]])
        full = np.empty((n + n_terms + 1,) * 2)
        full[:-1, :-1] = moments["quadratic"] / s2
        full[-1, :-1] = full[:-1, -1] = edge
        full[-1, -1] = r2
        change = np.zeros((n + 1, len(full)))
        change[:n, :n] = np.eye(n)
        change[n, n:-1], change[n, -1] = -2.0, 2.0
        hessian = change @ full @ change.T
        for i, j, t, d in second:
            added = float(np.sum(slope[t] * d))
            hessian[i, j] += added
            if i != j:
                hessian[j, i] += added
        hessian[n, n] += 2 * gradient[n]
        return float(f), gradient, hessian
