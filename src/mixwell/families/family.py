"""A distribution with a link, and what it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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

__all__ = ["Auxiliary", "Family"]

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
        return mean_of("logit", value) + (1.0 if self.scale == "logit - 1" else 0.0)

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

    @property
    def _is_bounded(self) -> bool:
        """Whether ordinary linear predictors have no mean."""
        shares = self.kind in ("binary", "share") and self.link == "log"
        return shares or (self.link == "identity" and self.kind != "real")

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
        """Return what a deviance is multiplied by: phi, sigma^2; one where there is none."""
        if self.distribution == "gaussian":
            return np.asarray(auxiliary[0]) ** 2
        return auxiliary[0] if self.distribution in ("gamma", "inverse_gaussian", "tweedie") else 1.0

    # --- likelihood -------------------------------------------------------------------------------------

    def loglik(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """Log-likelihood of each row with all constants, times its weight (unless that counts trials)."""
        eta = mu if self.kind == "ordered" else link_of(self.link, mu)
        return np.asarray(family_rows(self.core, y, weights, eta, self.predictors(auxiliary))[:, 0])

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
        return searched(self.distribution, y, self.predictors(auxiliary), trials)

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
            out = shortfall(self.distribution, y, (best, mu), self.predictors(auxiliary), trials)
        return np.maximum(out if self.kind == "binary" else w * out, 0.0)

    def predictors(self, auxiliary: Sequence[Array]) -> list[Array]:
        """Auxiliary parameters on the scale of the core, from their natural one."""
        if self.kind == "ordered":
            return [np.asarray(each, dtype=np.float64) for each in auxiliary]
        pairs = zip(self.auxiliary, auxiliary, strict=True)
        return [np.asarray(each.predictor(values), dtype=np.float64) for each, values in pairs]

    # --- distribution -----------------------------------------------------------------------------------

    def cdf(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """Return P(Y <= y); its jump at a value of a discrete response is that less `below`."""
        return self._cdf(y, mu, auxiliary, weights, left=False)

    def below(
        self, y: Array, mu: Array, auxiliary: Sequence[Array] = (), weights: Array | None = None
    ) -> Array:
        """Return P(Y < y)."""
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
        auxiliary: Sequence[Array] | Array = (),
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
            return np.asarray(np.sum(shifted[:, None] > np.asarray(auxiliary), axis=1), dtype=np.float64)
        w = np.ones_like(mu) if weights is None else weights
        out = DRAWS[self.distribution](rng, mu, auxiliary, w)
        if self.zero:
            out = np.where(rng.uniform(size=mu.size) < auxiliary[-1], 0.0, out)
        return np.asarray(out, dtype=np.float64)

    # --- where a search begins --------------------------------------------------------------------------

    def start(self, y: Array, weights: Array) -> Array:
        """Linear predictor (n,) to begin with."""
        mean = float(np.average(y, weights=weights))
        if self.kind == "ordered":
            return np.zeros(y.size)
        if self.kind == "real":
            mu = np.full(y.size, mean if self.link == "identity" else max(mean, 0.1))
        elif self._is_bounded:
            # A constant keeps every linear predictor where it has a mean, whatever the columns are.
            share = self.kind in ("binary", "share")
            mu = np.full(y.size, np.clip(mean, 0.01, 0.9 if self.link == "log" else 0.99) if share else mean)
            mu = np.maximum(mu, 1e-3)
        elif self.kind == "binary":
            mu = (weights * y + 0.5) / (weights + 1.0)
        elif self.kind == "share":
            mu = 0.5 * (y + mean)
        else:
            mu = np.maximum(0.5 * (y + mean), 1e-3 * max(mean, 1e-3))
        return link_of(self.link, mu)
