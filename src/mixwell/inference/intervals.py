"""Confidence intervals for all that a fit estimates: coefficients, standard deviations, correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error, warn
from mixwell.inference.anova import chosen_approximation
from mixwell.inference.coordinates import Target, covariance_targets, values_of
from mixwell.inference.distributions import chi2_quantile, normal_quantile
from mixwell.inference.profile import Profile, profile, wanted_parameters
from mixwell.inference.wald import Ddf, Information, separate
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["confint", "covariance_standard_errors", "profiled_limits"]

Array = NDArray[np.float64]
Method = Literal["profile", "wald", "satterthwaite", "kenward-roger", "residual", "bootstrap"]


@checked
def confint(
    m: FittedModel,
    parameters: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    method: Method = "profile",
    information: Information = "expected",
    vcov: str = "model",
    cluster: Any = None,
    n: int = 1000,
    seed: int | None = None,
    kind: Literal["parametric", "residual", "case", "wild"] = "parametric",
) -> Any:
    """Return confidence intervals, one row a parameter.

    Parameters
    ----------
    parameters
        Names of coefficients, of "sd_<effect>|<group>", "cor_<effect>.<effect>|<group>", "sigma"; or "fixed"
        or "random" for all of a kind; everything if None.
    level
        Coverage, between 0 and 1.
    method
        "profile": where the likelihood-ratio test just rejects, on the ML criterion as in lme4; an interval
        for a standard deviation may start at 0. "wald": estimate plus or minus normal quantiles of standard
        errors, for standard deviations on the log scale and for correlations on the scale of atanh.
        "satterthwaite", "kenward-roger", "residual": coefficients with t quantiles; standard deviations and
        sigma from scaled chi-square distributions (Satterthwaite 1946), correlations as with "wald".
        "bootstrap": percentiles of `bootstrap(n, kind=kind, seed=seed)`; "wild" has coefficients only.
    information
        With "kenward-roger": "expected" or "observed".
    vcov, cluster
        With the t and Wald methods: cluster-robust standard errors of the coefficients, see `vcov`.
    n, seed, kind
        With "bootstrap".

    Returns
    -------
    table
        Columns term, estimate, lower, upper. A parameter that is not identified (a correlation beside a
        variance of zero) has NaN; so have Wald intervals of parameters on the boundary.

    Raises
    ------
    MixwellError
        MW-A48 for an unknown parameter, MW-A49 for a level that is not between 0 and 1, MW-A02 for another
        method, MW-A31 for options that clash.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    >>> table = m.confint()
    >>> table["term"]
    ['(Intercept)', 'sd_(Intercept)|Batch', 'sigma']
    >>> table["lower"].round(3).tolist(), table["upper"].round(3).tolist()
    ([4.313, 0.0, 2.893], [7.018, 2.084, 4.816])
    """
    choice("method", method, get_args(Method))
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    if method in ("profile", "bootstrap") and (vcov != "model" or cluster is not None):
        given = f"vcov={vcov!r}" if vcov != "model" else "cluster="
        advice = "Robust standard errors go with method='satterthwaite' or 'wald'."
        raise error("MW-A31", option=given, other=f"method={method!r}", advice=advice)
    targets = covariance_targets(m.design.random)
    fixed = list(m.fixef.names)
    if method == "bootstrap" and kind == "wild" and parameters is None:
        parameters = "fixed"  # random signs leave squares, and so variances, as they are
    names = wanted_parameters(parameters, fixed, [target.name for target in targets])
    estimates = np.concatenate([m.fixef.values, values_of(targets, m.lambdas, m.sigma)])
    everything = [*fixed, *(target.name for target in targets)]
    at = [everything.index(name) for name in names]
    if method == "profile":
        lower, upper = profiled_limits(profile(m, names, points=0), level)
    elif method == "bootstrap":
        drawn = m.bootstrap(n, kind=kind, seed=seed)
        lower, upper = drawn.limits(names, level)
    else:
        ddf: Ddf = "normal" if method == "wald" else method
        by = chosen_approximation(m, ddf, information, vcov, cluster)
        low, high = separate(by, m.fixef.values, np.eye(len(m.kept))).interval(level)
        more = _covariance_limits(m, targets, level, log_scale=method == "wald")
        lower, upper = np.append(low, more[0])[at], np.append(high, more[1])[at]
    return m.design.frame.native_like(
        {"term": names, "estimate": estimates[at], "lower": lower, "upper": upper}
    )


def profiled_limits(curves: Profile, level: float) -> tuple[Array, Array]:
    """Limits of all curves, (names,) each; says which parameters are not identified (MW-W21)."""
    limits = np.array([curve.interval(level) for curve in curves.curves]).reshape(-1, 2)
    for curve, (low, high) in zip(curves.curves, limits, strict=True):
        if math.isnan(low) or (low <= curve.bounds[0] and high >= curve.bounds[1]):
            warn("MW-W21", name=curve.name, stacklevel=5)
    return limits[:, 0], limits[:, 1]


def _covariance_limits(
    m: FittedModel, targets: list[Target], level: float, *, log_scale: bool
) -> tuple[Array, Array]:
    """Limits from standard errors: lognormal or scaled chi-square for sds, through atanh for correlations."""
    values, se = values_of(targets, m.lambdas, m.sigma), covariance_standard_errors(m)
    q = float(normal_quantile(0.5 + 0.5 * level))
    lower, upper = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for i, target in enumerate(targets):
        value, error_ = values[i], se[i]
        if not error_ > 0:
            continue
        if target.kind == "cor":
            if abs(value) < 1:
                half = q * error_ / (1 - value**2)
                lower[i], upper[i] = np.tanh(np.arctanh(value) + half * np.array([-1.0, 1.0]))
        elif log_scale:
            lower[i], upper[i] = value * np.exp(q * error_ / value * np.array([-1.0, 1.0]))
        else:
            df = 0.5 * (value / error_) ** 2
            tails = chi2_quantile(np.array([0.5 + 0.5 * level, 0.5 - 0.5 * level]), df)
            lower[i], upper[i] = value * np.sqrt(df / tails)
    return lower, upper


def covariance_standard_errors(m: FittedModel) -> Array:
    """Return standard errors of the sds, correlations and sigma by the delta method; 0 at a boundary."""
    from mixwell.inference.satterthwaite import satterthwaite  # noqa: PLC0415

    targets = covariance_targets(m.design.random)
    covariance = satterthwaite(m).covariance
    directions, _ = m.problem.directions(m.theta)
    sigma, out = m.sigma, []
    for target in targets:
        slope = np.zeros(len(directions) + 1)
        if target.term < 0:
            slope[-1] = 1.0
        else:
            relative = m.lambdas[target.term] @ m.lambdas[target.term].T
            size = np.sqrt(np.diag(relative))
            i = target.effects[0] if target.effects else 0
            j = target.effects[1] if len(target.effects) > 1 else 1
            if size[i] == 0 or (target.kind == "cor" and size[j] == 0):
                out.append(0.0)
                continue
            for at, (t, d) in enumerate(directions):
                if t != target.term:
                    continue
                if target.kind == "sd":
                    slope[at] = sigma * d[i, i] / (2 * size[i])
                else:
                    r = relative[i, j] / (size[i] * size[j])
                    slope[at] = d[i, j] / (size[i] * size[j])
                    slope[at] -= 0.5 * r * (d[i, i] / size[i] ** 2 + d[j, j] / size[j] ** 2)
            if target.kind == "sd":
                slope[-1] = size[i]
        out.append(math.sqrt(max(float(slope @ covariance @ slope), 0.0)))
    return np.array(out)
