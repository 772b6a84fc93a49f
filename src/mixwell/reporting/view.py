"""One view of both classes of models: coefficients with tests, auxiliary parameters, variances, words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, error
from mixwell.inference.distributions import t_quantile, t_two_sided
from mixwell.inference.wald import Ddf, Separate, approximation, separate

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = [
    "Row",
    "auxiliary",
    "checked_level",
    "coefficients",
    "degrees",
    "estimator",
    "family_text",
    "groups",
    "is_generalized",
    "link_of",
    "model_name",
    "r_squared",
    "ratio",
    "spread",
]

Array = NDArray[np.float64]

_UNDEFINED = ("MW-A61", "MW-A91", "MW-A92", "MW-A100", "MW-A101", "MW-A102")


class Row(NamedTuple):
    """One estimate with its test; NaN where there is none."""

    part: str
    group: str
    term: str
    estimate: float
    se: float = math.nan
    df: float = math.nan
    statistic: float = math.nan
    p: float = math.nan
    lower: float = math.nan
    upper: float = math.nan

    def exponentiated(self) -> Row:
        """Estimate and interval as ratios; the standard error by the delta method."""
        with np.errstate(over="ignore", under="ignore"):
            value = float(np.exp(self.estimate))
            lower, upper = float(np.exp(self.lower)), float(np.exp(self.upper))
            return self._replace(estimate=value, se=value * self.se, lower=lower, upper=upper)


def is_generalized(m: Model) -> TypeIs[GeneralizedModel]:
    """Whether a model has a family."""
    return hasattr(m, "family")


def link_of(m: Model) -> str:
    """Name of the link."""
    return m.family.link if is_generalized(m) else "identity"


def checked_level(level: Any) -> float:
    """Return a confidence level, or refuse it (MW-A49)."""
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    return float(level)


# --- numbers --------------------------------------------------------------------------------------------


def coefficients(m: Model, level: float, ddf: Ddf | None = None) -> list[Row]:
    """Return the fixed effects with tests and intervals that use the same degrees of freedom.

    Parameters
    ----------
    level
        Of the intervals.
    ddf
        Of a linear model; None is the default of its summary.

    Raises
    ------
    MixwellError
        MW-A31 for `ddf` with a generalised model.
    """
    p = len(m.fixef.names)
    if is_generalized(m):
        if ddf is not None:
            advice = "Tests of generalised models have no degrees of freedom to choose: leave ddf out."
            raise error("MW-A31", option=f"ddf={ddf!r}", other=f"family {m.family.name}", advice=advice)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = m.fixef.values / m.se.values
        df = np.full(p, m.wald_df)
        tests = Separate(m.fixef.values, m.se.values, df, z, t_two_sided(z, m.wald_df))
    else:
        tests = separate(approximation(m, ddf or "satterthwaite"), m.fixef.values, np.eye(p))
    columns = (tests.estimate, tests.se, tests.df, tests.statistic, tests.p_value, *tests.interval(level))
    rows = zip(m.fixef.names, *(column.tolist() for column in columns), strict=True)
    return [Row("fixed", "", *row) for row in rows]


def degrees(m: Model, ddf: Ddf | None = None) -> str:
    """Name of the rule for degrees of freedom."""
    return m.ddf if is_generalized(m) else approximation(m, ddf or "satterthwaite").name


def auxiliary(m: Model, level: float) -> list[Row]:
    """Parameters besides the coefficients: zero inflation, dispersion, thresholds.

    A dispersion that is one number is on its natural scale and has no standard error; the coefficients of a
    formula are on the scale of its predictor.
    """
    if not is_generalized(m):
        return []
    if m.family.is_quasi:
        return [Row("dispersion", "", "phi", m.pearson_dispersion)]
    if not m.gamma.size:
        return []
    variances = np.diag(m._covariance)[m.theta.size + len(m.fixef.names) :]
    out = []
    scales = {each.name: each.scale for each in m.family.auxiliary}
    single = {name: value for name, value in m.dispersion.items() if name != "zi"}
    for (part, name), value, variance in zip(m.predictors.names, m.gamma, variances, strict=True):
        if part in single:
            if not (part == "sigma" and m.family.distribution == "gaussian"):
                out.append(Row("dispersion", "", part, single[part]))
            continue
        se = math.sqrt(max(variance, 0.0))
        kind = part if part in ("zi", "threshold") else "dispersion"
        squared = "^2" if scales.get(part) == "log variance" else ""
        term = name if kind != "dispersion" else f"log {part}{squared}: {name}"
        half = float(t_quantile(0.5 + 0.5 * level, math.inf)) * se
        # That a threshold or the level of a dispersion is zero is no hypothesis.
        tested = se > 0 and kind != "threshold" and (kind == "zi" or name != "(Intercept)")
        z = float(value) / se if tested else math.nan
        p = float(t_two_sided(np.array([z]), math.inf)[0])
        out.append(Row(kind, "", term, float(value), se, math.inf, z, p, value - half, value + half))
    return out


def spread(m: Model) -> list[Row]:
    """Return standard deviations and correlations of the random effects, then that of the residuals."""
    out = []
    for term in m.varcorr():
        out += [Row("random", term.group, f"sd {name}", sd) for name, sd in term.sd.items()]
        if term.structure != "diag":
            r = term.correlation
            out += [
                Row("random", term.group, f"cor {term.names[j]}, {term.names[i]}", float(r[i, j]))
                for j in range(len(term.names))
                for i in range(j + 1, len(term.names))
            ]
    sigma = residual_sd(m)
    return out if sigma is None else [*out, Row("random", "Residual", "sd", sigma)]


def residual_sd(m: Model) -> float | None:
    """Residual standard deviation where there is one."""
    if not is_generalized(m):
        return m.sigma
    gaussian = m.family.distribution == "gaussian" and not m.family.is_quasi
    return m.dispersion.get("sigma") if gaussian else None


def r_squared(m: Model, what: str = "r2") -> dict[str, float]:
    """R2 or ICC by name; empty where it is not defined for the model."""
    try:
        return dict(getattr(m, what)())
    except MixwellError as refusal:
        if refusal.code not in _UNDEFINED:
            raise
        return {}


def groups(m: Model) -> dict[str, int]:
    """Numbers of levels by grouping factor."""
    return {term.group: len(term.levels) for term in m.design.random}


# --- words ----------------------------------------------------------------------------------------------


def model_name(m: Model) -> str:
    """Say what kind of model it is: "linear mixed model"."""
    generalized = "generalised " if is_generalized(m) else ""
    return f"{generalized}linear {'mixed ' if m.is_mixed else ''}model"


def estimator(m: Model) -> str:
    """Say how a model was fitted, in as few words as a table has room for."""
    if not is_generalized(m):
        return m.method if m.is_mixed else "least squares"
    how = "Laplace" if m.is_mixed else "ML"
    if m.family.is_quasi:
        how = "quasi-likelihood"
    elif m.nagq == 0:
        how = "fast stage"
    elif m.nagq > 1:
        how = f"quadrature ({m.nagq})"
    return how if m.prior is None else f"{how}, penalised"


def family_text(m: Model) -> str:
    """Family, link and extra zeros: "binomial (logit)"."""
    if not is_generalized(m):
        return "gaussian (identity)"
    return f"{m.family.name} ({m.family.link})" + (f", {m.family.zero}" if m.family.zero else "")


def ratio(m: Model) -> str:
    """Short name of an exponentiated coefficient: OR, IRR, RR, or exp(b); empty where it is no ratio."""
    if not is_generalized(m):
        return ""
    family = m.family
    if family.link == "logit":
        return "OR" if family.kind in ("binary", "ordered") else "exp(b)"
    if family.link == "log":
        if family.kind == "count" and not family.name.startswith("truncated"):
            return "IRR"
        return "RR" if family.kind == "binary" else "exp(b)"
    return "exp(b)" if family.link == "cloglog" and family.kind == "binary" else ""
