"""All distributions: links, kinds of response, auxiliary parameters; and families by name."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.families.family import Auxiliary, Family, Zero

__all__ = ["GAUSSIAN", "resolve"]

Array = NDArray[np.float64]

# --- where the search for auxiliary parameters begins ---------------------------------------------------


def _log(value: float) -> float:
    return math.log(max(value, 1e-4))


def _variance(y: Array, w: Array) -> tuple[float, float]:
    mean = float(np.average(y, weights=w))
    return mean, float(np.average((y - mean) ** 2, weights=w))


def _dispersion(power: float, y: Array, w: Array) -> float:
    mean, variance = _variance(y, w)
    return _log(0.7 * variance / max(abs(mean), 1e-3) ** power)


def _scale(y: Array, w: Array) -> float:
    return 0.5 * _dispersion(0, y, w)


def _constant(value: float, y: Array, w: Array) -> float:
    return value


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


# --- the table ------------------------------------------------------------------------------------------

_VARIANCE = Auxiliary("sigma", "log variance", partial(_dispersion, 0))
_SIZE, _PHI = Auxiliary("size", "log", _size), Auxiliary("phi", "log", _excess)
_PRECISION = Auxiliary("precision", "log", _precision)
_ZERO = Auxiliary("zi", "logit", _zeros)
_SHARES = ("logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity")
_COUNTS = ("log", "sqrt", "identity")


def _phi(power: float) -> Auxiliary:
    return Auxiliary("phi", "log", partial(_dispersion, power))


# name: links (the usual one first), kind of response, auxiliary parameters
_SPECS: dict[str, tuple[tuple[str, ...], str, tuple[Auxiliary, ...]]] = {
    "gaussian": (("identity", "log", "inverse", "sqrt"), "real", (_VARIANCE,)),
    "gamma": (("inverse", "log", "identity"), "positive", (_phi(2),)),
    "inverse_gaussian": (("inverse_squared", "log", "inverse", "identity"), "positive", (_phi(3),)),
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
        (_phi(1.5), Auxiliary("power", "logit - 1", partial(_constant, 0.0))),
    ),
    "t": (
        ("identity", "log", "inverse"),
        "real",
        (Auxiliary("scale", "log", _scale), Auxiliary("df", "log", partial(_constant, 2.0))),
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
# Variance of "quasi": the distribution with that variance, and what a response may be
_QUASI = {
    "constant": ("gaussian", "real"),
    "mu": ("poisson", "nonnegative"),
    "mu(1-mu)": ("binomial", "binary"),
    "mu^2": ("gamma", "positive"),
    "mu^3": ("inverse_gaussian", "positive"),
}
_NAMED = {"quasibinomial": "mu(1-mu)", "quasipoisson": "mu"}
GAUSSIAN = Family("gaussian", "identity", "real")
"""The family of linear models; their residual variance is profiled out, so it has no auxiliary parameter."""


def resolve(
    family: str, link: str | None = None, *, extra_zeros: bool = False, variance: str | None = None
) -> Family:
    """Look a family up by name.

    Parameters
    ----------
    family
        "binomial", "poisson", "gamma", "nbinom2" (also "negative_binomial"), ... in any case;
        "quasibinomial", "quasipoisson" and "quasi".
    link
        One of the family's links; the usual one if None.
    extra_zeros
        Zero inflation, or a hurdle for truncated families.
    variance
        Of "quasi": "constant" (also if None), "mu", "mu(1-mu)", "mu^2" or "mu^3".

    Returns
    -------
    Family

    Raises
    ------
    MixwellError
        MW-A76 for an unknown family, MW-A77 for a link that the family does not have, MW-A78 for extra zeros
        of a family that has none, MW-A93 for a variance that is none of these or not of "quasi".

    Examples
    --------
    >>> resolve("Poisson").link, resolve("binomial", "probit").link
    ('log', 'probit')
    >>> resolve("quasi", "log", variance="mu").distribution
    'poisson'
    """
    name = family.lower() if isinstance(family, str) else family
    name = _ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in (*_SPECS, *_NAMED, "quasi"):
        raise error("MW-A76", name=family, available=(*_SPECS, *_NAMED, "quasi"))
    if variance is not None and (name != "quasi" or _spaceless(variance) not in _QUASI):
        raise error("MW-A93", given=variance, family=name, available=tuple(_QUASI))
    if name in (*_NAMED, "quasi"):
        if extra_zeros:
            raise error("MW-A78", family=name)
        return _quasi(name, link, _NAMED.get(name, _spaceless(variance or "constant")))
    links, kind, auxiliary = _SPECS[name]
    chosen = _link(name, link, links)
    zero: Zero = ""
    if extra_zeros:
        if kind not in ("count", "nonnegative", "positive"):
            raise error("MW-A78", family=name)
        zero = "hurdle" if name.startswith("truncated") or kind == "positive" else "inflated"
        auxiliary = (*auxiliary, _ZERO)
    return Family(name, chosen, kind, auxiliary, zero)


def _spaceless(variance: object) -> str:
    return str(variance).replace(" ", "").replace("**", "^")


def _quasi(name: str, link: str | None, variance: str) -> Family:
    """Return a family of which only the variance function is meant; "quasi" has any link."""
    likelihood, kind = _QUASI[variance]
    links, _, auxiliary = _SPECS[likelihood]
    if name == "quasi" and kind != "binary":
        links = ("identity", "log", "inverse", "sqrt", "inverse_squared")
    elif name == "quasi":
        links = ("identity", *(each for each in links if each != "identity"))
    return Family(name, _link(name, link, links), kind, auxiliary, "", likelihood)


def _link(family: str, link: str | None, links: tuple[str, ...]) -> str:
    chosen = links[0] if link is None else _ALIASES.get(link, link)
    if chosen not in links:
        raise error("MW-A77", name=link, family=family, available=links)
    return chosen
