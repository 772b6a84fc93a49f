"""What a generalised fit explains: R2, intraclass correlations, shares of variance on the scale of the link.

The linear predictor varies by the fixed part and the random effects; to that comes the observation-level
variance, brought to the scale of the link (Nakagawa, Johnson and Schielzeth 2017, Journal of the Royal
Society Interface 14, 20170213):

- binomial and ordinal models: that of the latent response behind the link, pi^2/3 (logit), 1 (probit) and
  pi^2/6 (cloglog, loglog), of one trial whatever the number of trials. A beta-binomial adds the variance of
  its probabilities, as random effects of the rows would.
- log links: "lognormal" log(1 + v / mu^2), "delta" v / mu^2, or "trigamma" psi1(mu^2 / v), where v is the
  variance of a response with mean mu. That is log(1 + 1/mu) for Poisson, log(1 + 1/mu + 1/size) for negative
  binomial 2, log(1 + (1 + phi)/mu) for negative binomial 1, log(1 + phi) for gamma.
- other links: "delta" v g'(mu)^2, 1/4 for Poisson with sqrt. A beta model with logit has "trigamma", too:
  psi1(mu s) + psi1((1 - mu) s), the variance of the logit of a response, without approximation.

mu is the mean of a response in the model without fixed effects but the intercept, over its random effects:
exp(intercept + variance / 2) for log; that of a typical level for inverse links, which have none. R's
performance 0.10 takes exp(intercept) for log, which is a median, delta for gamma alone, and log(1 + v / mu^2)
for a beta model, which is not on the scale of the logit; it leaves offsets out, so that its result depends on
the unit of an exposure. Here mu is that of each row with its offset and its dispersion, and observation-level
variances are averaged over the rows.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellWarning, error
from mixwell.families import link_of, mean_of, slope_of
from mixwell.fitted.new_rows import fixed_part
from mixwell.fitted.values import NamedVector
from mixwell.generalized.marginal_means import INFINITE, marginal_mean
from mixwell.inference.description import RESIDUAL, RePCA, add_up, mean_variances, principal, reductions
from mixwell.inference.diagnosis import SINGULAR, SINGULAR_RHO
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Scale", "icc", "null_model", "r2", "repca", "variance_partition"]

Array = NDArray[np.float64]
Scale = Literal["lognormal", "delta", "trigamma"]

LATENT = {"logit": math.pi**2 / 3, "probit": 1.0, "cloglog": math.pi**2 / 6, "loglog": math.pi**2 / 6}
"""Variance of the latent response behind a link."""
DISPERSION = "dispersion"
NOTHING = 1e-5  # standard deviations of random effects, in standard errors, that count as zero


# --- variances ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Variances of the fixed part, of each random-effects term, and of an observation.

    `own` says which terms have a level for every row: what they add is overdispersion, not a group's.
    """

    fixed: float
    random: Array
    own: NDArray[np.bool_]
    observation: float

    @property
    def groups(self) -> float:
        return float(self.random[~self.own].sum())

    @property
    def residual(self) -> float:
        return float(self.random[self.own].sum()) + self.observation

    @property
    def total(self) -> float:
        return self.fixed + self.groups + self.residual


def _parts(m: GeneralizedModel, what: str, approximation: Scale | None) -> _Parts:
    linear = fixed_part(m.fixed_columns, m.fixef.values, m.nobs)
    return _Parts(
        float(np.var(linear - linear[0], ddof=1)),
        mean_variances(m.design.random, m.lambdas) * (np.array(_ranks(m)) > 0),
        np.array([len(term.levels) == m.nobs for term in m.design.random], dtype=bool),
        _observation(m, what, approximation),
    )


def _observation(m: GeneralizedModel, what: str, approximation: Scale | None) -> float:
    """Variance of an observation on the scale of the link."""
    family = m.family
    family.require_likelihood(what)
    if family.name.startswith("truncated"):
        advice = "Truncation changes the mean, so that the link is not that of the response; use predict()."
        raise error("MW-A100", what=what, family=family.name, link=family.link, advice=advice)
    latent = family.kind in ("binary", "ordered")
    allowed = _allowed(m)
    if approximation is not None:
        choice("approximation", approximation, ("lognormal", "delta", "trigamma"))
        if approximation not in allowed:
            advice = (
                f"Leave it out, or use {' or '.join(map(repr, allowed))}." if allowed else "Leave it out."
            )
            raise error("MW-A102", given=approximation, family=family.name, link=family.link, advice=advice)
    elif latent and family.link not in LATENT:
        advice = "There is no latent response with a variance behind this link; use approximation='delta'."
        if family.kind == "ordered":
            advice = "A Cauchy distribution has no variance; use link='logit' or 'probit'."
        raise error("MW-A100", what=what, family=family.name, link=family.link, advice=advice)
    if latent and approximation is None:
        own = _probabilities(m) if family.name == "betabinomial" else 0.0
        return LATENT[family.link] + own
    out = float(np.mean(_variances(m, approximation or ("lognormal" if family.link == "log" else "delta"))))
    if not math.isfinite(out):
        advice = "The variance of a response is not finite under the fitted model."
        raise error("MW-A100", what=what, family=family.name, link=family.link, advice=advice)
    return out


def _allowed(m: GeneralizedModel) -> tuple[str, ...]:
    if m.family.kind == "ordered":
        return ()
    if m.family.kind == "binary":
        return ("delta",)
    if m.family.link == "log":
        return ("lognormal", "delta", "trigamma")
    return ("delta", "trigamma") if (m.family.name, m.family.link) == ("beta", "logit") else ("delta",)


def _variances(m: GeneralizedModel, how: Scale) -> Array:
    """Observation-level variances of the rows on the scale of the link, (n,)."""
    from scipy.special import polygamma  # noqa: PLC0415

    mu, auxiliary = _means(m), m.auxiliary()
    if how == "trigamma" and m.family.kind == "share":
        shapes = mu * auxiliary[0], (1.0 - mu) * auxiliary[0]
        return np.asarray(sum(polygamma(1, shape) for shape in shapes))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = slope_of(m.family.link, link_of(m.family.link, mu))
        if m.family.zero:  # the mean of the response is the share that is not extra zeros, of mu
            slope = slope * (1.0 - auxiliary[-1])
        ratio = m.family.variance(mu, auxiliary) / slope**2
    if how == "lognormal":
        return np.log1p(ratio)
    return np.asarray(polygamma(1, 1.0 / ratio)) if how == "trigamma" else ratio


def _probabilities(m: GeneralizedModel) -> float:
    """Variance of the probabilities of a beta-binomial response on the scale of the link."""
    mu, (precision,) = _means(m), m.auxiliary()
    slope = slope_of(m.family.link, link_of(m.family.link, mu))
    return float(np.mean(mu * (1.0 - mu) / (1.0 + precision) / slope**2))


def _means(m: GeneralizedModel) -> Array:
    """Mean of each row (n,) in the model without fixed effects, over its random effects."""
    link = m.family.link
    constant = link == "identity" and m.family.name in ("gaussian", "t")  # its variance needs no mean
    null = m if constant else m._null
    eta = np.full(m.nobs, null.fixef.values[0] if null.fixef.values.size else 0.0)
    if m.design.offset is not None:
        eta += m.design.offset
    variance = float(mean_variances(null.design.random, null.lambdas).sum())
    if link in INFINITE:  # there is no mean over random effects: that of a typical level
        return mean_of(link, eta)
    return marginal_mean(link, eta, np.full(m.nobs, variance))


def null_model(m: GeneralizedModel) -> GeneralizedModel:
    """Fit the model without fixed effects but the intercept: same rows, random effects and dispersion.

    Raises
    ------
    MixwellError
        MW-A101 when that fit does not pass its certificate.
    """
    from mixwell.generalized.fitting import fit_design  # noqa: PLC0415  (which imports the model)

    if all(column is None for column in m.design.columns) and m.design.columns:
        return m
    design = replace(m.design, columns=(None,), names=("(Intercept)",), assign=(0,))
    prior = None if m.prior is None else replace(m.prior, fixef=None)
    with warnings.catch_warnings():  # what there is to say about the data has been said
        warnings.simplefilter("ignore", MixwellWarning)
        null = fit_design(design, m.family, m.control, m.arguments, nagq=m.nagq, prior=prior)
        if not null.certificate().passed:
            raise error("MW-A101", formula=str(m.formula))
    return null


# --- R2 and ICC -----------------------------------------------------------------------------------------


@checked
def r2(m: GeneralizedModel, *, by_group: bool = False, approximation: Scale | None = None) -> NamedVector:
    """Return the share of variance that the model explains, on the scale of the link.

    Parameters
    ----------
    by_group
        Return instead how much smaller each variance is than in the model without fixed effects but the
        intercept: 1 - variance / variance without. It may be negative.
    approximation
        Of the observation-level variance: "lognormal" (log links, the default there), "delta", "trigamma"
        (log links, and beta with logit). None for binomial and ordinal models is the variance of the latent
        response; "delta" with binomial ones gives the observation-level variance of one trial.

    Returns
    -------
    NamedVector
        Of a mixed model "marginal", explained by the fixed effects, and "conditional", by the fixed and the
        random effects together (Nakagawa, Johnson and Schielzeth 2017). Random effects with a level for every
        row count as overdispersion, not as explained.

        Of a model without random effects pseudo-R2 against the model with an intercept only: "deviance"
        (exponential families), "mcfadden" (discrete responses), "coxsnell", "nagelkerke" (those of them
        without auxiliary parameter) and "tjur" (binomial). Successes out of trials count as their single
        trials, so that grouping 0/1 rows changes nothing but "deviance"; whole weights as replications.

    Raises
    ------
    MixwellError
        MW-A100 where it is undefined: truncated distributions, links without a latent variance, responses
        without variance. MW-A101 when the model without fixed effects cannot be fitted, MW-A102 for an
        approximation that does not go with the family. MW-A61 for `by_group` without random effects.

    Notes
    -----
    Where random effects multiply columns their variance is averaged over the rows (Johnson 2014). Offsets are
    no part of what is explained. Extra zeros add to the variance of an observation; that their probability
    may depend on columns is not counted as explained. Nagelkerke's R2 is that of Cox and Snell over the
    largest that it could be, with the saturated model in place of the fitted one.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "x": [0, 1, 0, 1] * 3, "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ x + (1 | g)", table, family="poisson")
    >>> {name: round(value, 3) for name, value in m.r2().items()}
    {'marginal': 0.021, 'conditional': 0.673}
    >>> round(mw.glm("y ~ x", table, family="poisson").r2()["nagelkerke"], 3)
    0.056
    """
    if not m.is_mixed:
        if by_group:
            raise error("MW-A61", owner="r2(by_group=True)", formula=str(m.formula))
        if approximation is not None:
            advice = "Without random effects r2() compares likelihoods: leave it out."
            family, link = m.family.name, m.family.link
            raise error("MW-A102", given=approximation, family=family, link=link, advice=advice)
        return _pseudo(m)
    if by_group:
        left, without = (_by_name(each, approximation) for each in (m, m._null))
        return reductions(left, without)
    parts = _parts(m, "r2()", approximation)
    explained = parts.fixed + parts.groups
    return NamedVector(("marginal", "conditional"), np.array([parts.fixed, explained]) / parts.total)


def _by_name(m: GeneralizedModel, approximation: Scale | None) -> dict[str, float]:
    parts = _parts(m, "r2()", approximation)
    return {RESIDUAL: parts.residual, **_by_factor(m, parts)}


def _by_factor(m: GeneralizedModel, parts: _Parts) -> dict[str, float]:
    """Variances by grouping factor, without those that have a level for every row."""
    at = np.flatnonzero(~parts.own)
    return add_up([m.design.random[t] for t in at], parts.random[at])


def _pseudo(m: GeneralizedModel) -> NamedVector:
    """R2 of models without random effects, from likelihoods and deviances."""
    from scipy.special import betaln  # noqa: PLC0415

    null, family, w, y = m._null, m.family, m.weights, m.design.y
    out = {}
    if m.family.is_exponential and not m.design.extra:
        worst = float(null.deviance)
        out["deviance"] = 1.0 - float(m.deviance) / worst if worst > 0 else 0.0
    if family.is_quasi:
        return NamedVector(tuple(out), np.array(list(out.values())))
    full, base, n = m.loglik, null.loglik, float(w.sum())
    if family.kind == "binary":  # of the trials in their order, not of their number
        constant = float(np.sum(-np.log1p(w) - betaln(1.0 + w * y, 1.0 + w * (1.0 - y))))
        full, base = full - constant, base - constant
        n = float(np.count_nonzero(w)) if family.auxiliary else n
    discrete = family.kind in ("binary", "count", "ordered")
    if discrete:
        out["mcfadden"] = 1.0 - full / base if base < 0 else 0.0
    out["coxsnell"] = -math.expm1(2.0 * (base - full) / n)
    if discrete and (family.name in ("binomial", "poisson") or family.kind == "ordered") and not family.zero:
        best = 0.5 * float(null.deviance) if family.name == "poisson" else -base
        out["nagelkerke"] = out["coxsnell"] / -math.expm1(-2.0 * best / n) if best > 0 else 0.0
    if family.kind == "binary":
        mu, hits, misses = m.fitted(), w * y, w * (1.0 - y)
        with np.errstate(invalid="ignore"):
            out["tjur"] = float(hits @ mu / hits.sum() - misses @ mu / misses.sum())
    return NamedVector(tuple(out), np.array(list(out.values())))


@checked
def icc(m: GeneralizedModel, *, by_group: bool = False, approximation: Scale | None = None) -> NamedVector:
    """Return intraclass correlations on the scale of the link: the share of the random effects.

    Parameters
    ----------
    by_group
        Return instead one share, adjusted, for each grouping factor; they add up to the adjusted ICC.
    approximation
        Of the observation-level variance, see `r2`.

    Returns
    -------
    NamedVector
        "adjusted", of the variance that the fixed effects leave, and "unadjusted", of the variance with the
        fixed effects. A variance of zero counts as zero. Variances are those of `r2`.

    Raises
    ------
    MixwellError
        MW-A61 when the model has no random effects; otherwise as `r2`.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ 1 + (1 | g)", table, family="poisson")
    >>> round(m.icc()["adjusted"], 3), round(m.icc(approximation="trigamma")["adjusted"], 3)
    (0.666, 0.602)
    """
    _refuse_without_groups(m, "icc()")
    parts = _parts(m, "icc()", approximation)
    left = parts.groups + parts.residual
    if by_group:
        shares = {group: variance / left for group, variance in _by_factor(m, parts).items()}
        return NamedVector(tuple(shares), np.array(list(shares.values())))
    return NamedVector(
        ("adjusted", "unadjusted"), np.array([parts.groups / left, parts.groups / parts.total])
    )


@checked
def variance_partition(m: GeneralizedModel, *, approximation: Scale | None = None) -> Any:
    """Return what the variance of the response consists of on the scale of the link, one row a component.

    Parameters
    ----------
    approximation
        Of the observation-level variance, see `r2`.

    Returns
    -------
    table
        Columns component ("fixed", "random", "dispersion" for random effects with a level for every row,
        "residual" for the observation-level variance), group, term (missing where there is none), variance,
        and share of the total.

    Raises
    ------
    MixwellError
        As `r2`; MW-A91 for quasi-families.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ 1 + (1 | g)", table, family="poisson")
    >>> m.variance_partition()["share"].round(3).tolist()
    [0.0, 0.666, 0.334]
    """
    parts, terms = _parts(m, "variance_partition()", approximation), m.design.random
    variances = np.array([parts.fixed, *parts.random, parts.observation])
    return m.design.frame.native_like(
        {
            "component": ["fixed", *(DISPERSION if own else "random" for own in parts.own), RESIDUAL],
            "group": [None, *(term.group for term in terms), None],
            "term": [None, *(term.text for term in terms), None],
            "variance": variances,
            "share": variances / parts.total,
        }
    )


def _refuse_without_groups(m: GeneralizedModel, owner: str) -> None:
    if not m.is_mixed:
        raise error("MW-A61", owner=owner, formula=str(m.formula))


# --- principal components -------------------------------------------------------------------------------


@checked
def repca(m: GeneralizedModel) -> RePCA:
    """Return the principal components of the covariance of the random effects, by grouping factor.

    Returns
    -------
    RePCA
        As of `FittedModel.repca`, with standard deviations on the scale of the link.

    Raises
    ------
    MixwellError
        MW-A61 when the model has no random effects.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ 1 + (1 | g)", table, family="poisson")
    >>> m.repca()["g"].sd.round(3).tolist(), m.repca()["g"].dimensions
    ([0.711], 1)
    """
    _refuse_without_groups(m, "repca()")
    components = principal(m.design.random, m.lambdas, _ranks(m))
    return RePCA(components, m.design.frame.native_like, "sd")


def _ranks(m: GeneralizedModel) -> list[int]:
    """Ranks of the covariances of the standardised columns; a boundary is approached, not always reached."""
    out = []
    least = NOTHING * float(np.min(np.asarray(m.core["scale"])[: m.theta.size], initial=np.inf))
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        spread = np.array([1.0 if c is None else float(np.sqrt(np.mean(c**2))) for c in term.columns])
        values = np.linalg.svd(spread[:, None] * factor, compute_uv=False)
        limit = SINGULAR_RHO if term.structure in ("cs", "ar1") else SINGULAR
        out.append(int(np.sum(values > max(limit * float(values[0]), least))))
    return out
