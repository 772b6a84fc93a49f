"""Distributions of the response: names, links, auxiliary parameters, and where a search begins.

The likelihoods themselves, with their derivatives, are in the core (family.rs). Auxiliary parameters are on a
scale without bounds there: logarithms, logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

__all__ = ["GAUSSIAN", "Auxiliary", "Family", "link_of", "mean_of", "resolve", "slope_of"]

Array = NDArray[np.float64]
Zero = Literal["", "inflated", "hurdle"]


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """An auxiliary parameter: its name, the scale of its predictor, and a crude estimate on that scale."""

    name: str
    scale: Literal["log", "log variance", "logit", "logit - 1"]
    start: Callable[[Array, Array], float] = field(compare=False)

    def natural(self, value: Any) -> Any:
        """Value on the natural scale, from that of its predictor."""
        if self.scale == "log":
            return np.exp(value)
        if self.scale == "log variance":
            return np.exp(0.5 * value)
        share = 1.0 / (1.0 + np.exp(-value))
        return share + 1.0 if self.scale == "logit - 1" else share


@dataclass(frozen=True, slots=True)
class Family:
    """A distribution with a link.

    Attributes
    ----------
    name, link
        As in the core.
    kind
        What a response may be: "real", "binary" (0/1, shares, successes and failures), "count", "positive",
        "nonnegative", "share" (strictly between 0 and 1), "ordered".
    auxiliary
        Auxiliary parameters in the order of the core, that of extra zeros last.
    zero
        "inflated", "hurdle" or "".
    """

    name: str
    link: str
    kind: str
    auxiliary: tuple[Auxiliary, ...] = ()
    zero: Zero = ""

    @property
    def is_exponential(self) -> bool:
        """Whether the variance is a dispersion times a function of the mean alone."""
        return self.name in _VARIANCES and not self.zero

    def variance(self, mu: Array) -> Array:
        """Return the variance function of a mean: that of a response with dispersion and weight one."""
        return _VARIANCES[self.name](mu)

    @property
    def core(self) -> tuple[str, str, str]:
        """Family, link and zero as the core wants them."""
        return self.name, self.link, self.zero

    def start(self, y: Array, weights: Array) -> Array:
        """Linear predictor (n,) to begin with."""
        mean = float(np.average(y, weights=weights))
        if self.kind == "binary":
            mu = (weights * y + 0.5) / (weights + 1.0)
        elif self.kind == "share":
            mu = 0.5 * (y + mean)
        elif self.kind == "ordered":
            return np.zeros(y.size)
        elif self.kind == "real":
            mu = np.full(y.size, mean if self.link == "identity" else max(mean, 0.1))
        else:
            mu = np.maximum(0.5 * (y + mean), 1e-3 * max(mean, 1e-3))
        if self.link == "log" and self.kind == "binary":
            mu = np.minimum(mu, 0.9)
        return link_of(self.link, mu)


def _log(value: float) -> float:
    return math.log(max(value, 1e-4))


def _variance(y: Array, w: Array) -> tuple[float, float]:
    mean = float(np.average(y, weights=w))
    return mean, float(np.average((y - mean) ** 2, weights=w))


def _dispersion(power: float) -> Callable[[Array, Array], float]:
    def start(y: Array, w: Array) -> float:
        mean, variance = _variance(y, w)
        return _log(0.7 * variance / max(abs(mean), 1e-3) ** power)

    return start


def _precision(y: Array, w: Array) -> float:
    mean, variance = _variance(y, np.ones_like(w))
    return _log(max(mean * (1 - mean) / max(variance, 1e-6) - 1, 1.0))


def _size(y: Array, w: Array) -> float:
    mean, variance = _variance(y, w)
    return _log(mean**2 / max(variance - mean, 0.1 * mean))


def _excess(y: Array, w: Array) -> float:
    mean, variance = _variance(y, w)
    return _log(max(0.7 * variance / mean - 1, 0.1))


def _zeros(y: Array, w: Array) -> float:
    share = float(np.clip(0.5 * np.average(y == 0, weights=w), 0.02, 0.9))
    return math.log(share / (1 - share))


_VARIANCE = Auxiliary("sigma", "log variance", _dispersion(0))
_SIZE, _PHI = Auxiliary("size", "log", _size), Auxiliary("phi", "log", _excess)
_PRECISION = Auxiliary("precision", "log", _precision)
_ZERO = Auxiliary("zi", "logit", _zeros)
_SHARES = ("logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity")
_COUNTS = ("log", "sqrt", "identity")

# name: links (the usual one first), kind of response, auxiliary parameters
_SPECS: dict[str, tuple[tuple[str, ...], str, tuple[Auxiliary, ...]]] = {
    "gaussian": (("identity", "log", "inverse", "sqrt"), "real", (_VARIANCE,)),
    "gamma": (("inverse", "log", "identity"), "positive", (Auxiliary("phi", "log", _dispersion(2)),)),
    "inverse_gaussian": (
        ("inverse_squared", "log", "inverse", "identity"),
        "positive",
        (Auxiliary("phi", "log", _dispersion(3)),),
    ),
    "binomial": (_SHARES, "binary", ()),
    "betabinomial": (_SHARES, "binary", (_PRECISION,)),
    "poisson": (_COUNTS, "count", ()),
    "nbinom1": (_COUNTS, "count", (_PHI,)),
    "nbinom2": (_COUNTS, "count", (_SIZE,)),
    "truncated_poisson": (_COUNTS, "count", ()),
    "truncated_nbinom1": (_COUNTS, "count", (_PHI,)),
    "truncated_nbinom2": (_COUNTS, "count", (_SIZE,)),
    "beta": (_SHARES[:5], "share", (_PRECISION,)),
    "tweedie": (
        ("log", "sqrt", "identity", "inverse"),
        "nonnegative",
        (Auxiliary("phi", "log", _dispersion(1.5)), Auxiliary("power", "logit - 1", lambda y, w: 0.0)),
    ),
    "t": (
        ("identity", "log", "inverse"),
        "real",
        (
            Auxiliary("scale", "log", lambda y, w: 0.5 * _dispersion(0)(y, w)),
            Auxiliary("df", "log", lambda y, w: 2.0),
        ),
    ),
    "cumulative": (("logit", "probit", "cloglog", "loglog", "cauchit"), "ordered", ()),
}
_ALIASES = {
    "normal": "gaussian",
    "inverse.gaussian": "inverse_gaussian",
    "negative_binomial": "nbinom2",
    "negative_binomial2": "nbinom2",
    "negative_binomial1": "nbinom1",
    "negbin": "nbinom2",
    "beta_binomial": "betabinomial",
    "student": "t",
    "ordinal": "cumulative",
    "bernoulli": "binomial",
    "1/mu^2": "inverse_squared",
}
_VARIANCES: Mapping[str, Callable[[Array], Array]] = {
    "gaussian": np.ones_like,
    "binomial": lambda mu: mu * (1 - mu),
    "poisson": lambda mu: mu,
    "gamma": np.square,
    "inverse_gaussian": lambda mu: mu**3,
}
GAUSSIAN = Family("gaussian", "identity", "real")
"""The family of linear models; their residual variance is profiled out, so it has no auxiliary parameter."""


def resolve(family: str, link: str | None = None, *, extra_zeros: bool = False) -> Family:
    """Look a family up by name.

    Parameters
    ----------
    family
        "binomial", "poisson", "gamma", "nbinom2" (also "negative_binomial"), ... in any case.
    link
        One of the family's links; the usual one if None.
    extra_zeros
        Zero inflation, or a hurdle for truncated families.

    Returns
    -------
    Family

    Raises
    ------
    MixwellError
        MW-A76 for an unknown family, MW-A77 for a link that the family does not have, MW-A78 for extra zeros
        of a family that has none.

    Examples
    --------
    >>> resolve("Poisson").link, resolve("binomial", "probit").link
    ('log', 'probit')
    """
    name = family.lower() if isinstance(family, str) else family
    name = _ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in _SPECS:
        raise error("MW-A76", name=family, available=tuple(_SPECS))
    links, kind, auxiliary = _SPECS[name]
    chosen = links[0] if link is None else _ALIASES.get(link, link)
    if chosen not in links:
        raise error("MW-A77", name=link, family=name, available=links)
    zero: Zero = ""
    if extra_zeros:
        if kind not in ("count", "nonnegative", "positive"):
            raise error("MW-A78", family=name)
        zero = "hurdle" if name.startswith("truncated") or kind == "positive" else "inflated"
        auxiliary = (*auxiliary, _ZERO)
    return Family(name, chosen, kind, auxiliary, zero)


def link_of(link: str, mu: Array) -> Array:
    """Eta of a mean."""
    from scipy.special import ndtri  # noqa: PLC0415

    functions: dict[str, Callable[[Array], Array]] = {
        "identity": lambda m: m,
        "log": np.log,
        "inverse": lambda m: 1.0 / m,
        "sqrt": np.sqrt,
        "inverse_squared": lambda m: 1.0 / m**2,
        "logit": lambda m: np.log(m / (1 - m)),
        "probit": ndtri,
        "cloglog": lambda m: np.log(-np.log1p(-m)),
        "loglog": lambda m: -np.log(-np.log(m)),
        "cauchit": lambda m: np.tan(np.pi * (m - 0.5)),
    }
    return np.asarray(functions[link](mu), dtype=np.float64)


def mean_of(link: str, eta: Array) -> Array:
    """Mean of an eta."""
    from scipy.special import expit, ndtr  # noqa: PLC0415

    functions: dict[str, Callable[[Array], Array]] = {
        "identity": lambda e: e,
        "log": np.exp,
        "inverse": lambda e: 1.0 / e,
        "sqrt": np.square,
        "inverse_squared": lambda e: 1.0 / np.sqrt(e),
        "logit": expit,
        "probit": ndtr,
        "cloglog": lambda e: -np.expm1(-np.exp(e)),
        "loglog": lambda e: np.exp(-np.exp(-e)),
        "cauchit": lambda e: np.arctan2(1.0, -e) / np.pi,
    }
    return np.asarray(functions[link](np.asarray(eta, dtype=np.float64)))


def slope_of(link: str, eta: Array) -> Array:
    """Return dmu/deta."""
    mu = mean_of(link, eta)
    functions: dict[str, Callable[[], Array]] = {
        "identity": lambda: np.ones_like(mu),
        "log": lambda: mu,
        "inverse": lambda: -(mu**2),
        "sqrt": lambda: 2.0 * eta,
        "inverse_squared": lambda: -0.5 * mu**3,
        "logit": lambda: mu * (1.0 - mu),
        "probit": lambda: np.exp(-0.5 * eta**2) / math.sqrt(2.0 * math.pi),
        "cloglog": lambda: np.exp(eta - np.exp(eta)),
        "loglog": lambda: np.exp(-eta - np.exp(-eta)),
        "cauchit": lambda: 1.0 / (np.pi * (1.0 + eta**2)),
    }
    return np.asarray(functions[link]())
