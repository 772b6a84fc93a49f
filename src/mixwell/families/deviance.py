"""Deviances: twice what the likelihood of a response falls short of that of its own best mean.

Auxiliary parameters are taken as given, and the deviance of a distribution with a dispersion is multiplied
by that, as in R (McCullagh and Nelder 1989, section 2.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.families.links import link_of, mean_of

__all__ = ["UNITS", "searched", "shortfall"]

Array = NDArray[np.float64]

_FAR = 36.0  # linear predictors between which a best mean is searched
_ROUNDS = 80
_CLOSE = 1e-10


def _relative(y: Array, mu: Array) -> Array:
    """Return y log(y / mu), zero for responses of zero whatever their mean."""
    return np.where(y == 0, 0.0, y * np.log(np.where(y == 0, 1.0, y) / np.where(y == 0, 1.0, mu)))


def _binomial(y: Array, mu: Array, aux: Any) -> Array:
    return 2 * (_relative(y, mu) + _relative(1 - y, 1 - mu))


def _poisson(y: Array, mu: Array, aux: Any) -> Array:
    return 2 * (_relative(y, mu) - (y - mu))


def _gamma(y: Array, mu: Array, aux: Any) -> Array:
    off = (y - mu) / mu
    return 2 * (off - np.log1p(off))


def _nbinom2(y: Array, mu: Array, aux: Any) -> Array:
    size = aux[0]
    return np.asarray(2 * (_relative(y, mu) - (y + size) * np.log1p((y - mu) / (mu + size))))


def _tweedie(y: Array, mu: Array, aux: Any) -> Array:
    q, r = aux[1] - 1, 2 - aux[1]
    amount = np.where(y == 0, 0.0, y * np.where(y == 0, 1.0, mu) ** -q)
    return np.asarray(2 * (mu**r / r + amount / q - y**r / (q * r)))


UNITS: Mapping[str, Callable[[Array, Array, Any], Array]] = {
    "gaussian": lambda y, mu, aux: (y - mu) ** 2,
    "binomial": _binomial,
    "poisson": _poisson,
    "gamma": _gamma,
    "inverse_gaussian": lambda y, mu, aux: ((y - mu) / mu) ** 2 / y,
    "nbinom2": _nbinom2,
    "tweedie": _tweedie,
    "t": lambda y, mu, aux: (aux[1] + 1) * np.log1p(((y - mu) / aux[0]) ** 2 / aux[1]),
}
"""Deviances of weight one where the best mean is the response itself."""


def searched(name: str, y: Array, predictors: Sequence[Array], trials: Array | None) -> Array:
    """Return the best mean of each response where there is no formula, by Newton's method in brackets.

    Parameters
    ----------
    name
        A distribution whose likelihood has one maximum in the mean.
    y, trials
        Responses (n,); numbers of trials of shares.
    predictors
        Auxiliary parameters on the scale of the core.
    """
    link = _link(name)
    least = 1.0 if name.startswith("truncated") else 0.0
    rough = np.clip(y, 1e-3, 1 - 1e-3) if link == "logit" else np.maximum(y, 1e-3)
    # Of the smallest response there is, and the largest share, the best mean is at the end of the range.
    eta = np.where(y <= least, -_FAR, np.where((link == "logit") & (y >= 1), _FAR, link_of(link, rough)))
    low, high = np.full(y.size, -_FAR), np.full(y.size, _FAR)
    for _ in range(_ROUNDS):
        rows = family_rows((name, link, ""), y, trials, eta, list(predictors))
        slope, bend = rows[:, 4], rows[:, 5]
        low, high = np.where(slope > 0, eta, low), np.where(slope > 0, high, eta)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = eta - slope / bend
        inside = (bend < 0) & (step > low) & (step < high)
        step = np.where(inside, step, 0.5 * (low + high))
        done = np.max(np.abs(step - eta), initial=0.0) < _CLOSE
        eta = step
        if done:
            break
    return mean_of(link, eta)


def shortfall(
    name: str, y: Array, means: tuple[Array, Array], predictors: Sequence[Array], trials: Array | None
) -> Array:
    """Return twice the log-likelihood at the first mean less that at the second."""
    link = _link(name)
    best, fitted = (
        family_rows((name, link, ""), y, trials, link_of(link, mu), list(predictors))[:, 0] for mu in means
    )
    return 2 * (best - fitted)


def _link(name: str) -> str:
    return "logit" if name.startswith("beta") else "log"
