"""Cumulative distribution functions, by distribution; extra zeros are added in `Family`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CDFS", "STEPS"]

Array = NDArray[np.float64]

_NEGLIGIBLE = 9.0  # standard deviations of a number of events that a series leaves out


def _gaussian(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import ndtr  # noqa: PLC0415

    return np.asarray(ndtr((y - mu) / aux[0]))


def _student(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import stdtr  # noqa: PLC0415

    return np.asarray(stdtr(aux[1], (y - mu) / aux[0]))


def _gamma(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import gammainc  # noqa: PLC0415

    return np.asarray(gammainc(1 / aux[0], np.maximum(y, 0.0) / (mu * aux[0])))


def _inverse_gaussian(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    """Two normal tails (Shuster 1968), the second by its logarithm, for its factor overflows."""
    from scipy.special import log_ndtr, ndtr  # noqa: PLC0415

    with np.errstate(divide="ignore", invalid="ignore"):
        root, ratio = 1 / np.sqrt(aux[0] * y), y / mu
        value = ndtr(root * (ratio - 1)) + np.exp(2 / (aux[0] * mu) + log_ndtr(-root * (ratio + 1)))
    return np.where(y > 0, np.minimum(value, 1.0), 0.0)


def _beta(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import betainc  # noqa: PLC0415

    return np.asarray(betainc(mu * aux[0], (1 - mu) * aux[0], np.clip(y, 0.0, 1.0)))


def _hits(y: Array, trials: Array) -> Array:
    """Whole number of successes up to a share, which may have been rounded."""
    return np.floor(y * trials + 1e-7 * np.maximum(trials, 1.0))


def _binomial(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import betaincc  # noqa: PLC0415

    hits = _hits(y, w)
    inside = (hits >= 0) & (hits < w)
    value = betaincc(np.where(inside, hits + 1, 1.0), np.where(inside, w - hits, 1.0), mu)
    return np.where(inside, value, np.where(hits < 0, 0.0, 1.0))


def _betabinomial(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    """Sum the shorter side by the ratio of neighbouring probabilities."""
    from scipy.special import betaln  # noqa: PLC0415

    a, b, hits = mu * aux[0], (1 - mu) * aux[0], _hits(y, w)
    upper = hits > 0.5 * w  # count the failures instead
    a, b = np.where(upper, b, a), np.where(upper, a, b)
    last = np.where(upper, w - hits - 1, hits)
    log_term = betaln(a, b + w) - betaln(a, b)
    total = np.where(last >= 0, np.exp(log_term), 0.0)
    for k in range(int(np.max(np.minimum(last, w), initial=-1.0))):
        with np.errstate(divide="ignore", invalid="ignore"):
            log_term = log_term + np.log((w - k) / (k + 1) * (a + k) / (b + w - k - 1))
        total = np.where(k + 1 <= np.minimum(last, w), total + np.exp(log_term), total)
    total = np.minimum(total, 1.0)
    return np.where(upper, 1 - total, total)


def _poisson(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    from scipy.special import gammaincc  # noqa: PLC0415

    k = np.floor(y)
    return np.where(k >= 0, gammaincc(np.maximum(k, 0.0) + 1, mu), 0.0)


def _above_poisson(y: Array, mu: Array, aux: Any) -> Array:
    from scipy.special import gammainc  # noqa: PLC0415

    k = np.floor(y)
    return np.where(k >= 0, gammainc(np.maximum(k, 0.0) + 1, mu), 1.0)


def _negative(y: Array, size: Array, ratio: Array) -> Array:
    """P(Y <= y); the ratio is that of mean and size."""
    from scipy.special import betaincc  # noqa: PLC0415

    k = np.floor(y)
    return np.where(k >= 0, betaincc(np.maximum(k, 0.0) + 1, size, ratio / (1 + ratio)), 0.0)


def _above_negative(y: Array, size: Array, ratio: Array) -> Array:
    from scipy.special import betainc  # noqa: PLC0415

    k = np.floor(y)
    return np.where(k >= 0, betainc(np.maximum(k, 0.0) + 1, size, ratio / (1 + ratio)), 1.0)


def _truncated(above: Callable[[Array, Array, Any], Array]) -> Callable[..., Array]:
    """P(Y <= y | Y > 0) from P(Y > y): the tails keep their digits where zeros are all but certain."""

    def cdf(y: Array, mu: Array, aux: Any, w: Array) -> Array:
        return np.where(y >= 1, 1 - above(y, mu, aux) / above(np.zeros_like(mu), mu, aux), 0.0)

    return cdf


def _tweedie(y: Array, mu: Array, aux: Any, w: Array) -> Array:
    """Poisson numbers of gamma amounts, summed over the numbers that matter."""
    from scipy.special import gammainc, gammaln, xlogy  # noqa: PLC0415

    phi, power = aux[0], aux[1]
    rate = mu ** (2 - power) / (phi * (2 - power))
    shape = (2 - power) / (power - 1)
    amount = np.maximum(y, 0.0) / (phi * (power - 1) * mu ** (power - 1))
    width = _NEGLIGIBLE * np.sqrt(rate)
    first = np.maximum(np.floor(rate - width), 1.0)
    count = int(np.max(np.ceil(rate + width + 30.0) - first, initial=0.0))
    total = np.exp(-rate)
    for step in range(count + 1):
        j = first + step
        term = np.exp(xlogy(j, rate) - rate - gammaln(j + 1)) * gammainc(j * shape, amount)
        total = total + term
    return np.where(y >= 0, np.minimum(total, 1.0), 0.0)


CDFS: Mapping[str, Callable[[Array, Array, Any, Array], Array]] = {
    "gaussian": _gaussian,
    "t": _student,
    "gamma": _gamma,
    "inverse_gaussian": _inverse_gaussian,
    "beta": _beta,
    "binomial": _binomial,
    "betabinomial": _betabinomial,
    "poisson": _poisson,
    "nbinom1": lambda y, mu, aux, w: _negative(y, mu / aux[0], aux[0] + 0 * mu),
    "nbinom2": lambda y, mu, aux, w: _negative(y, aux[0] + 0 * mu, mu / aux[0]),
    "truncated_poisson": _truncated(_above_poisson),
    "truncated_nbinom1": _truncated(lambda y, mu, aux: _above_negative(y, mu / aux[0], aux[0] + 0 * mu)),
    "truncated_nbinom2": _truncated(lambda y, mu, aux: _above_negative(y, aux[0] + 0 * mu, mu / aux[0])),
    "tweedie": _tweedie,
}

STEPS: Mapping[str, Callable[[Array], Array]] = {
    name: (lambda w: 1 / w) if name.endswith("binomial") else np.ones_like
    for name in CDFS
    if "binom" in name or "poisson" in name
}
"""Distance between neighbouring values of a discrete response, from its weights."""
