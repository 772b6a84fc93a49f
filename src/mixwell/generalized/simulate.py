"""Random responses of a generalised model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.families import link_of, mean_of
from mixwell.fitted.new_rows import random_part
from mixwell.options import checked, choice
from mixwell.resampling.engine import count_of
from mixwell.resampling.simulate import generator, seed_of

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["draw", "simulate"]

Array = NDArray[np.float64]


def draw(m: GeneralizedModel, rng: np.random.Generator, *, new: bool) -> Array:
    """Draw one response (n,), with new random effects or those at the modes."""
    eta = m.predict(type="link", re="population" if new else "conditional")
    if new:
        for term, factor in zip(m.design.random, m.lambdas, strict=True):
            b = rng.standard_normal((len(term.levels), len(factor))) @ factor.T
            eta += random_part(term.codes, term.columns, b)
    if m.family.kind == "ordered":
        shifted = eta + link_of(m.family.link, rng.uniform(size=eta.size))
        return np.asarray(np.sum(shifted[:, None] > m.thresholds.values, axis=1), dtype=np.float64)
    mu, auxiliary = mean_of(m.family.link, eta), m.auxiliary()
    weights = np.ones(mu.size) if m.design.weights is None else m.design.weights
    out = _DRAWS[m.family.name](rng, mu, auxiliary, weights)
    if m.family.zero:
        out = np.where(rng.uniform(size=mu.size) < auxiliary[-1], 0.0, out)
    return np.asarray(out, dtype=np.float64)


def _binomial(rng: np.random.Generator, mu: Array, aux: Any, w: Array) -> Array:
    trials = np.maximum(np.round(w).astype(np.int64), 1)
    return np.asarray(rng.binomial(trials, mu) / trials)


def _betabinomial(rng: np.random.Generator, mu: Array, aux: Any, w: Array) -> Array:
    return _binomial(rng, rng.beta(mu * aux[0], (1 - mu) * aux[0]), aux, w)


def _negative(rng: np.random.Generator, mu: Array, size: Array) -> Array:
    """Negative binomial counts as Poisson counts with gamma means."""
    return np.asarray(rng.poisson(rng.gamma(size, mu / size)), dtype=np.float64)


def _tweedie(rng: np.random.Generator, mu: Array, aux: Any, w: Array) -> Array:
    """Draw Poisson numbers of gamma amounts."""
    phi, power = aux[0], aux[1]
    events = rng.poisson(mu ** (2 - power) / (phi * (2 - power)))
    shape = (2 - power) / (power - 1)
    amounts = rng.gamma(np.where(events > 0, events * shape, 1.0), phi * (power - 1) * mu ** (power - 1))
    return np.where(events > 0, amounts, 0.0)


def _positive(one: Callable[..., Array]) -> Callable[..., Array]:
    """Draw again until there are no zeros."""

    def draw(rng: np.random.Generator, mu: Array, aux: Any, w: Array) -> Array:
        out = np.asarray(one(rng, mu, aux, w), dtype=np.float64)
        left = np.flatnonzero(out == 0)
        while left.size:
            out[left] = one(rng, mu[left], tuple(each[left] for each in aux), w[left])
            left = left[out[left] == 0]
        return out

    return draw


_DRAWS: Mapping[str, Callable[..., Any]] = {
    "gaussian": lambda rng, mu, aux, w: rng.normal(mu, aux[0]),
    "gamma": lambda rng, mu, aux, w: rng.gamma(1 / aux[0], mu * aux[0]),
    "inverse_gaussian": lambda rng, mu, aux, w: rng.wald(mu, 1 / aux[0]),
    "binomial": _binomial,
    "betabinomial": _betabinomial,
    "poisson": lambda rng, mu, aux, w: rng.poisson(mu),
    "nbinom1": lambda rng, mu, aux, w: _negative(rng, mu, mu / aux[0]),
    "nbinom2": lambda rng, mu, aux, w: _negative(rng, mu, aux[0]),
    "truncated_poisson": _positive(lambda rng, mu, aux, w: rng.poisson(mu)),
    "truncated_nbinom1": _positive(lambda rng, mu, aux, w: _negative(rng, mu, mu / aux[0])),
    "truncated_nbinom2": _positive(lambda rng, mu, aux, w: _negative(rng, mu, aux[0])),
    "beta": lambda rng, mu, aux, w: rng.beta(mu * aux[0], (1 - mu) * aux[0]),
    "tweedie": _tweedie,
    "t": lambda rng, mu, aux, w: mu + aux[0] * rng.standard_t(aux[1]),
}


@checked
def simulate(
    m: GeneralizedModel, n: int = 1, *, seed: int | None = None, re: Literal["new", "conditional"] = "new"
) -> Any:
    """Draw responses from the fitted model.

    Parameters
    ----------
    n
        Number of draws.
    seed
        A whole number; drawn if None. The first draws do not depend on n.
    re
        "new": random effects are drawn, too; "conditional": they stay at their modes.

    Returns
    -------
    table
        Columns sim_1 .. sim_n, one row a row used: shares of the trials for binomial families, positions
        of the categories for ordinal ones. Weights of other families do not matter.

    Raises
    ------
    MixwellError
        MW-A02 for another `re`, MW-A07 for a bad n or seed.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> list(m.simulate(2, seed=1))
    ['sim_1', 'sim_2']
    """
    choice("re", re, ("new", "conditional"))
    key, count = seed_of(seed), count_of(n)
    columns = {f"sim_{i + 1}": draw(m, generator(key, i), new=re == "new") for i in range(count)}
    return m.design.frame.native_like(columns)
