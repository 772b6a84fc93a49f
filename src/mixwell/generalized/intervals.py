"""Confidence intervals for all that a generalised model estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.generalized.coordinates import Reported
from mixwell.generalized.profile import profile
from mixwell.inference.anova import chosen_approximation
from mixwell.inference.distributions import normal_quantile
from mixwell.inference.intervals import profiled_limits
from mixwell.inference.profile import wanted_parameters
from mixwell.inference.second_order import inverse_information
from mixwell.inference.wald import Approximation, Constant, Ddf, separate
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["confint", "standard_errors"]

Array = NDArray[np.float64]
Method = Literal["profile", "wald", "satterthwaite", "bootstrap"]

_NOTHING = 1e-3  # a standard deviation so small beside its standard error is on the boundary
_STEP = 1e-4  # of differences, in standard errors


@checked
def confint(
    m: GeneralizedModel,
    parameters: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    method: Method = "profile",
    vcov: str = "model",
    cluster: Any = None,
    n: int = 1000,
    seed: int | None = None,
    kind: Literal["parametric", "case"] = "parametric",
) -> Any:
    """Return confidence intervals, one row a parameter.

    Parameters
    ----------
    parameters
        Names of coefficients, "sd_<effect>|<group>", "cor_<effect>.<effect>|<group>", of dispersions
        ("sigma", "size", ...; with several coefficients "size:<column>"), "zi:<column>", and of thresholds
        ("a|b"); or "fixed", "random", "auxiliary" for all of a kind; everything if None.
    level
        Coverage, between 0 and 1.
    method
        "profile": where the likelihood-ratio test just rejects. A limit is infinite where no value is
        rejected, as with separated data; an interval for a standard deviation may start at 0. "wald": from
        standard errors, t quantiles where R's glm estimates a dispersion, else normal ones; for standard
        deviations and dispersions on the log scale, for correlations on the scale of atanh. "bootstrap":
        percentiles of `bootstrap(n, kind=kind, seed=seed)`.
    vcov, cluster
        With "wald": robust standard errors of the coefficients, see `vcov`, and normal quantiles; with
        "satterthwaite" t quantiles, for few clusters.
    n, seed, kind
        With "bootstrap".

    Returns
    -------
    table
        Columns term, estimate, lower, upper. NaN for a parameter that is not identified, and for Wald
        intervals of parameters on the boundary.

    Raises
    ------
    MixwellError
        MW-A48 for an unknown parameter, MW-A49 for a level that is not between 0 and 1, MW-A02 for another
        method, MW-A31 for options that clash.

    Notes
    -----
    Profile intervals of a generalised linear model with a dispersion have t quantiles, so that those of a
    normal response are the exact ones; R's `confint.glm` has normal quantiles there.

    Examples
    --------
    >>> import warnings
    >>> import mixwell as mw
    >>> table = {"y": [0, 0, 0, 1, 1, 1, 1, 1], "x": [0, 0, 0, 0, 1, 1, 1, 1]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # which says that the estimate is infinite
    ...     m = mw.glm("y ~ x", table, family="binomial")
    >>> m.confint("x")["lower"].round(3).tolist(), m.confint("x")["upper"].tolist()
    ([0.864], [inf])
    """
    choice("method", method, get_args(Method))
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    by = _robust(m, method, vcov, cluster)
    of = Reported.of(m)
    names = wanted_parameters(parameters, list(of.fixed), list(of.random), list(of.auxiliary))
    at = [of.names.index(name) for name in names]
    if method == "profile":
        lower, upper = profiled_limits(profile(m, names, points=0), level)
    elif method == "bootstrap":
        lower, upper = m.bootstrap(n, kind=kind, seed=seed).limits(names, level)
    else:
        lower, upper = (limits[at] for limits in _wald(m, of, level, by))
    estimates = of.estimates(m)[at]
    return m.design.frame.native_like({"term": names, "estimate": estimates, "lower": lower, "upper": upper})


def _robust(m: GeneralizedModel, method: str, vcov: str, cluster: Any) -> Approximation | None:
    """Robust standard errors that were asked for; refuse options that clash."""
    if vcov == "model" and cluster is None:
        if method == "satterthwaite":
            advice = "Degrees of freedom are those of robust standard errors: add vcov='CR2', or use 'wald'."
            raise error("MW-A31", option=f"method={method!r}", other="vcov='model'", advice=advice)
        return None
    if method not in ("wald", "satterthwaite"):
        given = f"vcov={vcov!r}" if vcov != "model" else "cluster="
        advice = "Robust standard errors go with method='satterthwaite' or 'wald'."
        raise error("MW-A31", option=given, other=f"method={method!r}", advice=advice)
    ddf: Ddf = "normal" if method == "wald" else "satterthwaite"
    return chosen_approximation(m, ddf, "expected", vcov, cluster)  # type: ignore[arg-type]


def _wald(m: GeneralizedModel, of: Reported, level: float, by: Approximation | None) -> tuple[Array, Array]:
    values, se = of.estimates(m), standard_errors(m, of)
    p, t = len(of.fixed), m.theta.size
    by = Constant("", m.vcov(), m.wald_df) if by is None else by
    lower, upper = np.full(len(values), np.nan), np.full(len(values), np.nan)
    lower[:p], upper[:p] = separate(by, m.fixef.values, np.eye(p)).interval(level)
    q = float(normal_quantile(0.5 + 0.5 * level))
    both = np.array([-1.0, 1.0])
    for i, target in enumerate(of.targets, start=p):
        value, error_ = values[i], se[i]
        if not error_ > 0 or (target.kind == "sd" and value < _NOTHING * error_):
            continue
        if target.kind == "sd":
            lower[i], upper[i] = value * np.exp(q * error_ / value * both)
        elif abs(value) < 1 - _NOTHING**2:
            lower[i], upper[i] = np.tanh(np.arctanh(value) + q * error_ / (1 - value**2) * both)
    spread = np.sqrt(np.maximum(np.diag(m._covariance)[t + p :], 0.0))
    for j, scale in enumerate(of.scales):
        if not spread[j] > 0:
            continue
        limits = m.gamma[j] + q * spread[j] * both
        with np.errstate(over="ignore"):
            lower[p + len(of.targets) + j], upper[p + len(of.targets) + j] = (
                limits if scale is None else scale.natural(limits)
            )
    return lower, upper


def standard_errors(m: GeneralizedModel, of: Reported) -> Array:
    """Return standard errors of all that is reported, by the delta method; 0 on the boundary."""
    psi = np.array(m.core["psi"])
    covariance = 2.0 * inverse_information(m.hessian)
    step = _STEP * np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    moved = psi + np.concatenate([np.diag(step), -np.diag(step)])
    values = of.values(np.asarray(m.laplace.natural(moved)))
    slope = (values[: psi.size] - values[psi.size :]) / (2.0 * step[:, None])
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(np.maximum(np.einsum("ij,ik,kj->j", slope, covariance, slope), 0.0)))
