"""Random responses, by distribution; extra zeros are added in `Family`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS"]

Array = NDArray[np.float64]
Generator = np.random.Generator

TINY = np.finfo(np.float64).tiny
LARGE = 1e18  # numpy refuses Poisson means beyond this


def _poisson(rng: Generator, mean: Array) -> Array:
    return np.asarray(rng.poisson(np.minimum(mean, LARGE)), dtype=np.float64)


def _binomial(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    trials = np.round(w).astype(np.int64)
    return np.asarray(rng.binomial(trials, mu) / np.maximum(trials, 1))


def _beta(rng: Generator, mu: Array, precision: Array) -> Array:
    """Draw shares; both gammas are needed, for a share close to one has lost its digits."""
    hits = rng.standard_gamma(np.maximum(mu * precision, TINY))
    misses = rng.standard_gamma(np.maximum((1 - mu) * precision, TINY))
    total = np.maximum(hits + misses, TINY)
    return np.where(hits + misses > 0, hits / total, np.asarray(rng.uniform(size=mu.size) < mu, dtype=float))


def _open_beta(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    return np.clip(_beta(rng, mu, aux[0]), TINY, 1 - 2.0**-53)


def _negative(rng: Generator, mu: Array, size: Array) -> Array:
    """Negative binomial counts as Poisson counts with gamma means."""
    return _poisson(rng, rng.standard_gamma(size) * (mu / size))


def _gamma(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    return np.asarray(np.maximum(rng.gamma(1 / aux[0], mu * aux[0]), TINY))


def _inverse_gaussian(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    """Draw as Michael, Schucany and Haas (1976), with the smaller root without cancellation."""
    c = 0.5 * mu * aux[0] * rng.chisquare(1, mu.size)
    root = mu / (1 + c + np.sqrt(c * (2 + c)))
    first = rng.uniform(size=mu.size) * (mu + root) <= mu
    return np.asarray(np.where(first, root, mu * (mu / root)))


def _tweedie(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    """Draw Poisson numbers of gamma amounts."""
    phi, power = aux[0], aux[1]
    events = _poisson(rng, mu ** (2 - power) / (phi * (2 - power)))
    shape = (2 - power) / (power - 1)
    amounts = rng.gamma(np.where(events > 0, events * shape, 1.0), phi * (power - 1) * mu ** (power - 1))
    return np.where(events > 0, np.maximum(amounts, TINY), 0.0)


def _first(rng: Generator, mass: Array) -> Array:
    """Draw the first event of a Poisson process on (0, mass), given that there is one."""
    return np.minimum(-np.log1p(rng.uniform(size=mass.size) * np.expm1(-mass)), mass)


def _truncated_poisson(rng: Generator, mu: Array, aux: Any, w: Array) -> Array:
    return 1.0 + _poisson(rng, mu - _first(rng, mu))


def _truncated_negative(rng: Generator, mu: Array, size: Array) -> Array:
    """Draw one cluster of logarithmic size, and what comes after it.

    Negative binomial counts are Poisson numbers of such clusters (Quenouille 1949), so nothing is rejected.
    """
    ratio = mu / size
    clusters = size * np.log1p(ratio)
    left = size * (1 - _first(rng, clusters) / clusters)
    first = rng.logseries(np.clip(ratio / (1 + ratio), TINY, 1 - 2.0**-53))
    return np.asarray(first + _poisson(rng, rng.standard_gamma(left) * ratio), dtype=np.float64)


DRAWS: Mapping[str, Callable[[Generator, Array, Any, Array], Array]] = {
    "gaussian": lambda rng, mu, aux, w: rng.normal(mu, aux[0]),
    "gamma": _gamma,
    "inverse_gaussian": _inverse_gaussian,
    "binomial": _binomial,
    "betabinomial": lambda rng, mu, aux, w: _binomial(rng, _beta(rng, mu, aux[0]), aux, w),
    "poisson": lambda rng, mu, aux, w: _poisson(rng, mu),
    "nbinom1": lambda rng, mu, aux, w: _negative(rng, mu, mu / aux[0]),
    "nbinom2": lambda rng, mu, aux, w: _negative(rng, mu, aux[0]),
    "truncated_poisson": _truncated_poisson,
    "truncated_nbinom1": lambda rng, mu, aux, w: _truncated_negative(rng, mu, mu / aux[0]),
    "truncated_nbinom2": lambda rng, mu, aux, w: _truncated_negative(rng, mu, aux[0]),
    "beta": _open_beta,
    "tweedie": _tweedie,
    "t": lambda rng, mu, aux, w: mu + aux[0] * rng.standard_t(aux[1], mu.size),
}
