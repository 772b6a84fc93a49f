"""Means and variances of responses, by distribution, from mu and the auxiliary parameters.

mu is the mean that the link speaks of: of a truncated distribution before truncation. Extra zeros are added
in `Family`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEANS", "UNIT", "VARIANCES", "zero_mass"]

Array = NDArray[np.float64]

UNIT: Mapping[str, Callable[[Array], Array]] = {
    "gaussian": np.ones_like,
    "binomial": lambda mu: mu * (1 - mu),
    "poisson": lambda mu: mu,
    "gamma": np.square,
    "inverse_gaussian": lambda mu: mu**3,
}
"""Variance functions of exponential families: the variance is a dispersion times these."""


def zero_mass(name: str, mu: Array, aux: Sequence[Array]) -> Array:
    """Return the logarithm of P(Y = 0) of counts, before truncation."""
    if name.endswith("poisson"):
        return -mu
    if name.endswith("nbinom1"):
        return -mu * np.log1p(aux[0]) / aux[0]
    return -aux[0] * np.log1p(mu / aux[0])


def _positive(name: str, mu: Array, aux: Sequence[Array]) -> Array:
    return -np.expm1(zero_mass(name, mu, aux))


def _truncated_mean(name: str) -> Callable[..., Array]:
    # Where zeros are all but certain the mean is that of the smallest count that is left.
    def mean(mu: Array, aux: Sequence[Array]) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(mu > 0, mu / _positive(name, mu, aux), 1.0)

    return mean


def _truncated_variance(name: str) -> Callable[..., Array]:
    def variance(mu: Array, aux: Sequence[Array], w: Array) -> Array:
        mean = MEANS[name](mu, aux)
        second = VARIANCES[name.removeprefix("truncated_")](mu, aux, w) / np.maximum(mu, 1e-300) + mu
        return np.maximum(mean * (second - mean), 0.0)

    return variance


def _student(mu: Array, aux: Sequence[Array], w: Array) -> Array:
    df = aux[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(aux[0] ** 2 * np.where(df > 2, df / (df - 2), np.where(df > 1, np.inf, np.nan)))


VARIANCES: Mapping[str, Callable[[Array, Any, Array], Array]] = {
    "gaussian": lambda mu, aux, w: np.broadcast_to(aux[0] ** 2, mu.shape),
    "binomial": lambda mu, aux, w: mu * (1 - mu) / w,
    "betabinomial": lambda mu, aux, w: mu * (1 - mu) * (1 + (w - 1) / (aux[0] + 1)) / w,
    "poisson": lambda mu, aux, w: mu,
    "nbinom1": lambda mu, aux, w: mu * (1 + aux[0]),
    "nbinom2": lambda mu, aux, w: mu * (1 + mu / aux[0]),
    "truncated_poisson": _truncated_variance("truncated_poisson"),
    "truncated_nbinom1": _truncated_variance("truncated_nbinom1"),
    "truncated_nbinom2": _truncated_variance("truncated_nbinom2"),
    "gamma": lambda mu, aux, w: aux[0] * mu**2,
    "inverse_gaussian": lambda mu, aux, w: aux[0] * mu**3,
    "beta": lambda mu, aux, w: mu * (1 - mu) / (1 + aux[0]),
    "tweedie": lambda mu, aux, w: aux[0] * mu ** aux[1],
    "t": _student,
}

MEANS: Mapping[str, Callable[[Array, Any], Array]] = {
    name: _truncated_mean(name) if name.startswith("truncated") else lambda mu, aux: mu for name in VARIANCES
}
