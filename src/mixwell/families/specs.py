"""A distribution with a link, and the table of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.errors import error
from mixwell.families.deviance import UNITS, searched, shortfall
from mixwell.families.distribution import CDFS, STEPS
from mixwell.families.draws import DRAWS
from mixwell.families.links import link_of, mean_of
from mixwell.families.moments import MEANS, UNIT, VARIANCES

__all__ = ["GAUSSIAN", "Auxiliary", "Family", "resolve"]

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
        share = mean_of("logit", value)
        return share + 1.0 if self.scale == "logit - 1" else share

    def predictor(self, value: Any) -> Any:
        """Return the inverse of `natural`."""
        if self.scale == "log":
            return np.log(value)
        if self.scale == "log variance":
            return 2.0 * np.log(value)
        return link_of("logit", value - 1.0 if self.scale == "logit - 1" else value)


@dataclass(frozen=True, slots=True)
class Family:
    """A distribution with a link.

    The methods take, for n rows, the mean `mu` (n,) that the link speaks of, the auxiliary parameters on
    their natural scale, (n,) each (see `GeneralizedModel.auxiliary`), and weights (n,), which are numbers of
    trials of shares. mu is the mean before truncation and before extra zeros; of an ordinal family it is the
    linear predictor, for there is no mean, and the auxiliary parameters are the thresholds above and below
    the category.

    Attributes
    ----------
    name, link
        "poisson", "log".
    kind
        What a response may be: "real", "binary" (0/1, shares, successes and failures), "count", "positive",
        "nonnegative", "share" (strictly between 0 and 1), "ordered".
    auxiliary
        Auxiliary parameters in the order of the core, that of extra zeros last.
    zero
        "inflated", "hurdle" or "".
    likelihood
        The distribution whose likelihood gives the estimates, where it has another name: of quasi-families.
    """

    name: str
    link: str
    kind: str
    auxiliary: tuple[Auxiliary, ...] = ()
    zero: Zero = ""
    likelihood: str = ""

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def distribution(self) -> str:
        """Name of the distribution in the core."""
        return self.likelihood or self.name

    @property
    def core(self) -> tuple[str, str, str]:
        """Distribution, link and zero as the core wants them."""
        return self.distribution, self.link, self.zero

    @property
    def is_quasi(self) -> bool:
        """Whether only the mean and the variance are specified: there is no likelihood."""
        return bool(self.likelihood)

    @property
    def is_exponential(self) -> bool:
        """Whether the variance is a dispersion times a function of the mean alone."""
        return self.distribution in UNIT and not self.zero

    @property
    def has_dispersion(self) -> bool:
        """Whether a dispersion is estimated, so that tests of a generalised linear model are t and F."""
        return self.is_quasi or bool(self.auxiliary)

    @property
    def is_mean(self) -> bool:
        """Whether mu is the mean of the response: no truncation, no extra zeros, no categories."""
        return not self.zero and self.kind != "ordered" and not self.name.startswith("truncated")

    def require_likelihood(self, what: str) -> None:
        """Refuse what needs a likelihood (MW-A91) if there is none."""
        if self.is_quasi:
            raise error("MW-A91", what=what, family=self.name)

    def require_mean(self, what: str) -> None:
        """Refuse what needs a mean (MW-A92) of categories."""
        if self.kind == "ordered":
            raise error("MW-A92", what=what, family=self.name, advice="Use m.predict(type='link').")

    # --- moments ----------------------------------------------------------------------------------------

    def mean(self, mu: Array, auxiliary: Sequence[Array] = ()) -> Array:
        """Mean of a response, with truncation and extra zeros; of Student's t its centre."""
        self.require_mean("the mean of a response")
        mu = np.asarray(mu, dtype=np.float64)
        out = MEANS[self.distribution](mu, auxiliary)
        return np.asarray((1 - auxiliary[-1]) * out if self.zero else out)

    def variance(
        self, mu: Array, auxiliary: Sequence[Array] | None = None, weights: Array | None = None
    ) -> Array:
        """Variance of a response, with truncation and extra zeros.

        Parameters
        ----------
        mu, auxiliary
            See the class. Without auxiliary parameters the dispersion is one: the variance function of an
            exponential family.
        weights
            Numbers of trials of shares; other weights do not change a response.
        """
        self.require_mean("the variance of a response")
        mu = np.asarray(mu, dtype=np.float64)
        w = np.ones_like(mu) if weights is None else weights
        if auxiliary is None and self.is_exponential:
            return np.asarray(UNIT[self.distribution](mu) / (w if self.kind == "binary" else 1.0))
        aux = () if auxiliary is None else auxiliary
        out = VARIANCES[self.distribution](mu, aux, w)
        if self.zero:
            zeros = aux[-1]
            out = (1 - zeros) * (out + zeros * MEANS[self.distribution](mu, aux) ** 2)
        return np.asarray(out)

    def dispersion(self, auxiliary: Sequence[Array]) -> Array | float:
        """What a deviance is multiplied by: phi, sigma^2; one where there is none."""
        if self.distribution == "gaussian":
            return np.asarray(auxiliary[0]) ** 2
        return auxiliary[0] if self.distribution in ("gamma", "inverse_gaussian", "tweedie") else 1.0

    # --- likelihood -------------------------------------------------------------------------------------

    def loglik(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """Log-likelihood of each row with all constants, times its weight (unless that counts trials)."""
        eta = mu if self.kind == "ordered" else link_of(self.link, mu)
        return np.asarray(family_rows(self.core, y, weights, eta, self._predictors(auxiliary))[:, 0])

    def saturated(self, y: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None) -> Array:
        """Return the mean that suits each response best: usually the response itself.

        Raises
        ------
        MixwellError
            MW-A90 of categories and with extra zeros.
        """
        if self.zero or self.kind == "ordered":
            raise error("MW-A90", family=self.name)
        y = np.asarray(y, dtype=np.float64)
        if self.distribution in UNITS:
            return y
        trials = weights if self.kind == "binary" else None
        return searched(self.distribution, y, self._predictors(auxiliary), trials)

    def deviance(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """Deviance of each row times its weight: 2 (loglik at the saturated mean - loglik) * dispersion.

        Raises
        ------
        MixwellError
            MW-A90 of categories and with extra zeros.
        """
        best = self.saturated(y, auxiliary, weights)
        w = np.ones_like(best) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.distribution in UNITS:
                return np.maximum(w * UNITS[self.distribution](y, mu, auxiliary), 0.0)
            trials = weights if self.kind == "binary" else None
            out = shortfall(self.distribution, y, (best, mu), self._predictors(auxiliary), trials)
        return np.maximum(out if self.kind == "binary" else w * out, 0.0)

    def _predictors(self, auxiliary: Sequence[Array]) -> list[Array]:
        if self.kind == "ordered":
            return [np.asarray(each, dtype=np.float64) for each in auxiliary]
        pairs = zip(self.auxiliary, auxiliary, strict=True)
        return [np.asarray(each.predictor(values), dtype=np.float64) for each, values in pairs]

    # --- distribution -----------------------------------------------------------------------------------

    def cdf(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """P(Y <= y) of a response; with `below` P(Y < y) the jump of a discrete one is known."""
        return self._cdf(y, mu, auxiliary, weights, left=False)

    def below(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """P(Y < y) of a response."""
        return self._cdf(y, mu, auxiliary, weights, left=True)

    def _cdf(
        self, y: Array, mu: Array, auxiliary: Sequence[Array], weights: Array | None, *, left: bool
    ) -> Array:
        self.require_likelihood("the distribution of a response")
        if self.kind == "ordered":
            return mean_of(self.link, np.asarray(auxiliary[int(left)]) - mu)
        y, mu = np.asarray(y, dtype=np.float64), np.asarray(mu, dtype=np.float64)
        w = np.ones_like(mu) if weights is None else weights
        at = y - STEPS[self.distribution](w) if left and self.distribution in STEPS else y
        with np.errstate(under="ignore"):
            out = CDFS[self.distribution](at, mu, auxiliary, w)
        if self.zero:
            out = np.where(y >= 0, auxiliary[-1] + (1 - auxiliary[-1]) * out, 0.0)
        if left and self.kind in ("count", "nonnegative", "positive"):
            out = np.where(y > 0, out, 0.0)  # a mass at zero is not below zero
        return np.asarray(out, dtype=np.float64)

    def draw(
        self,
        rng: np.random.Generator,
        mu: Array,
        auxiliary: Sequence[Array] = (),
        weights: Array | None = None,
    ) -> Array:
        """Draw a response (n,); of an ordinal family `mu` is eta, `auxiliary` all thresholds in order.

        Raises
        ------
        MixwellError
            MW-A91 for a quasi-family.
        """
        self.require_likelihood("a simulated response")
        mu = np.asarray(mu, dtype=np.float64)
        if self.kind == "ordered":
            shifted = mu + link_of(self.link, rng.uniform(size=mu.size))
            return np.sum(shifted[:, None] > np.asarray(auxiliary), axis=1).astype(np.float64)
        w = np.ones_like(mu) if weights is None else weights
        out = DRAWS[self.distribution](rng, mu, auxiliary, w)
        if self.zero:
            out = np.where(rng.uniform(size=mu.size) < auxiliary[-1], 0.0, out)
        return np.asarray(out, dtype=np.float64)

    # --- where a search begins --------------------------------------------------------------------------

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
    """Return a family of which only the variance function is meant; "quasi" has any link of positive means."""
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
