"""Residuals, deviances and hat values of a generalised model, and its rows and numbers as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.errors import error
from mixwell.families import link_of, mean_of, slope_of
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "augment",
    "deviance",
    "glance",
    "hatvalues",
    "null_deviance",
    "pearson_chi2",
    "resid",
    "working_weights",
]

Array = NDArray[np.float64]
Kind = Literal["response", "pearson", "scaled", "deviance", "working"]

_ROUNDS = 100
_CLOSE = 1e-12


def _mu(m: GeneralizedModel, re: Literal["conditional", "population"] = "conditional") -> Array:
    """Mean that the link speaks of, (n,)."""
    return mean_of(m.family.link, m.predict(type="link", re=re))


def _mean(m: GeneralizedModel, re: Literal["conditional", "population"] = "conditional") -> Array:
    """Mean of the response, with truncation and extra zeros, (n,)."""
    return m.family.mean(_mu(m, re), m.auxiliary())


def _one_dispersion(m: GeneralizedModel) -> bool:
    """Whether variances and deviances are those of dispersion one, as R has them."""
    return m.family.is_exponential and not m.design.extra


def _spread(m: GeneralizedModel, mu: Array, *, unit: bool) -> Array:
    """Variance of a response of weight one, (n,): of dispersion one where there is one dispersion."""
    trials = m.weights if m.family.kind == "binary" else None
    if _one_dispersion(m) and (unit or m.family.is_quasi):
        variance = m.family.variance(mu)
        return variance if unit else variance * m.pearson_dispersion
    out = m.family.variance(mu, m.auxiliary(), trials)
    return out if trials is None else out * trials


@checked
def resid(m: GeneralizedModel, kind: Kind = "response", *, align: bool = False) -> Array:
    """Return residuals, given the random effects at their modes.

    Parameters
    ----------
    kind
        "response": y - mean, where the mean is that of the whole response, with truncation and extra zeros;
        shares of a binomial response. "pearson": these times sqrt(weight / variance), with the variance of
        dispersion one for gaussian, binomial, poisson, gamma, inverse Gaussian and quasi-families, as in R,
        and the whole variance for others. "scaled": with the whole variance always. "deviance": the signed
        square roots of what the rows add to `deviance`. "working": (y - mean) d eta / d mean, of iterated
        least squares.
    align
        Give one value per row of the data, NaN where a row was dropped, instead of one per row used.

    Returns
    -------
    array
        Shape (n,), or the number of rows of the data.

    Raises
    ------
    MixwellError
        MW-A02 for another kind, MW-A92 for ordinal models, MW-A90 for "deviance" with extra zeros, MW-A92 for
        "working" with extra zeros or truncation.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 9], "x": [0, 1, 2, 3]}, family="poisson")
    >>> m.resid("pearson").round(4).tolist()
    [0.0605, 0.0083, -0.0974, 0.0434]
    """
    choice("kind", kind, ("response", "pearson", "scaled", "deviance", "working"))
    m.family.require_mean(f"resid({kind!r})")
    y, mu = m.design.y, _mu(m)
    if kind == "deviance":
        best = m.family.saturated(y, m.auxiliary(), m.weights)
        out = np.sign(best - mu) * np.sqrt(_deviances(m, mu))
    elif kind == "working":
        _whole_mean(m, "resid('working')")
        slope = slope_of(m.family.link, m.predict(type="link"))
        out = np.divide(y - mu, slope, out=np.zeros_like(mu), where=slope != 0)
    else:
        out = y - m.family.mean(mu, m.auxiliary())
        if kind != "response":
            variance = _spread(m, mu, unit=kind == "pearson")
            # A mean that has rounded to the response has none left: its residual is zero.
            out = out * np.sqrt(m.weights / np.where(out == 0, 1.0, variance))
    return _aligned(m, out, align=align)


def _aligned(m: GeneralizedModel, values: Array, *, align: bool) -> Array:
    rows = m.design.rows
    if not align or rows is None:
        return np.array(values)
    out = np.full(m.design.n_rows, np.nan)
    out[rows] = values
    return out


def _whole_mean(m: GeneralizedModel, what: str) -> None:
    """Refuse what needs a response whose mean is mu."""
    if not m.family.is_mean:
        advice = "It needs a mean without truncation and extra zeros: use resid('pearson')."
        raise error("MW-A92", what=what, family=m.family.name, advice=advice)


# --- deviances ------------------------------------------------------------------------------------------


def _deviances(m: GeneralizedModel, mu: Array) -> Array:
    """Deviance of each row times its weight; over the dispersions where they differ."""
    auxiliary = m.auxiliary()
    out = m.family.deviance(m.design.y, mu, auxiliary, m.weights)
    return out / m.family.dispersion(auxiliary) if "disp" in m.design.extra else out


def deviance(m: GeneralizedModel) -> float:
    """Sum of the squared deviance residuals.

    Without random effects the residual deviance of R's glm. With random effects it is that given their modes,
    as of lme4's glmer, and not -2 loglik. Gaussian, gamma, inverse Gaussian and Tweedie ones are of
    dispersion one, as in R, unless there is a dispformula. Auxiliary parameters of other families are taken
    as they were estimated. With extra zeros and for categories there is none (MW-A90).
    """
    return float(np.sum(_deviances(m, _mu(m))))


def null_deviance(m: GeneralizedModel) -> float:
    """Deviance with an intercept only (none if the model has none), and the offset, as of R's glm.

    Auxiliary parameters are those of the model. Models with random effects have none (MW-A92).
    """
    if m.is_mixed:
        advice = "Fit the null model, and take its deviance or log-likelihood."
        raise error("MW-A92", what="null_deviance with random effects", family=m.family.name, advice=advice)
    m.family.saturated(m.design.y[:0], tuple(each[:0] for each in m.auxiliary()), m.weights[:0])
    offset = np.zeros(m.nobs) if m.design.offset is None else m.design.offset
    if m.formula.intercept:
        offset = offset + _intercept(m, offset)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.sum(_deviances(m, mean_of(m.family.link, offset))))


def _intercept(m: GeneralizedModel, offset: Array) -> float:
    """Best intercept beside an offset, by Newton's method with halved steps."""
    y, w = m.design.y, m.weights
    scale = m.family.predictors(m.auxiliary())

    def at(value: float) -> tuple[float, float, float]:
        rows = family_rows(m.family.core, y, w, offset + value, scale)
        return float(rows[:, 3].sum()), float(rows[:, 4].sum()), float(rows[:, 5].sum())

    if not np.any(offset):
        best = link_of(m.family.link, np.array([np.average(y, weights=w)]))[0]
        if m.is_classical:
            return float(best)
        intercept = float(best) if np.isfinite(best) else 0.0
    else:
        intercept = float(np.average(m.core["eta"] - offset, weights=w))
    value, slope, bend = at(intercept)
    for _ in range(_ROUNDS):
        step = slope / -bend if bend < 0 else float(np.sign(slope))
        new = at(intercept + step)
        while not new[0] >= value and abs(step) > _CLOSE:
            step *= 0.5
            new = at(intercept + step)
        if not abs(step) > _CLOSE:
            break
        intercept += step
        value, slope, bend = new
    return intercept


def pearson_chi2(m: GeneralizedModel) -> float:
    """Sum of the squared Pearson residuals."""
    return float(np.sum(resid(m, "pearson") ** 2))


# --- hat values -----------------------------------------------------------------------------------------


def working_weights(m: GeneralizedModel) -> Array:
    """Weights (n,) of the last weighted least squares: weight (dmu/deta)^2 / variance.

    The variance is of dispersion one where R's glm has it.
    """
    mu, slope = _mu(m), slope_of(m.family.link, m.predict(type="link"))
    variance = _spread(m, mu, unit=True)
    # A probability that has rounded to 0 or 1 says nothing any more.
    return np.divide(m.weights * slope**2, variance, out=np.zeros_like(mu), where=variance > 0)


def hatvalues(m: GeneralizedModel) -> Array:
    """Return the leverages of a generalised linear model: of its last weighted least squares.

    Returns
    -------
    array
        Shape (n,): the diagonal of W^1/2 X (X'WX)^-1 X'W^1/2 with W = weight (dmu/deta)^2 / variance, as of
        R's `hatvalues` (McCullagh and Nelder 1989, section 12.7.1). They add up to the number of
        coefficients.

    Raises
    ------
    MixwellError
        MW-A92 with random effects, truncation, extra zeros or categories.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> m.hatvalues().round(4).tolist()
    [0.4639, 0.3814, 0.2887, 0.866]
    """
    if m.is_mixed:
        advice = "With random effects leverages have no agreed definition: use a model without them."
        raise error("MW-A92", what="hatvalues() with random effects", family=m.family.name, advice=advice)
    m.family.require_mean("hatvalues()")
    _whole_mean(m, "hatvalues()")
    root = np.sqrt(working_weights(m))
    q, _ = np.linalg.qr(root[:, None] * (m.model_matrix() @ m.basis))
    return np.asarray(np.einsum("ij,ij->i", q, q))


# --- tables ---------------------------------------------------------------------------------------------


def glance(m: GeneralizedModel) -> Any:
    """Return one row about the whole fit.

    Returns
    -------
    table
        Columns nobs, npar, df_residual, loglik, deviance (NaN with extra zeros and categories),
        null_deviance (NaN also with random effects), pearson_chi2 (NaN for categories), aic, aicc, bic,
        method, converged.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> float(m.glance()["aic"][0].round(4))
    15.8176
    """
    known = {"loglik": True, "aic": True, "aicc": True, "bic": True, "pearson_chi2": _has_mean(m)}
    known["deviance"] = _has_mean(m) and not m.family.zero
    known["null_deviance"] = known["deviance"] and not m.is_mixed
    order = ("loglik", "deviance", "null_deviance", "pearson_chi2", "aic", "aicc", "bic")
    row: dict[str, Any] = {name: np.array([getattr(m, name)]) for name in ("nobs", "npar", "df_residual")}
    row |= {name: np.array([getattr(m, name) if known[name] else np.nan]) for name in order}
    method = "quasi-likelihood" if m.family.is_quasi else "ML"
    if m.is_mixed:
        method = "Laplace" if m.nagq == 1 else f"quadrature, {m.nagq} nodes"
    return m.design.frame.native_like(row | {"method": [method], "converged": [bool(m.core["converged"])]})


def _has_mean(m: GeneralizedModel) -> bool:
    return m.family.kind != "ordered"


@checked
def augment(m: GeneralizedModel, *, rows: Literal["used", "all"] = "used") -> Any:
    """Return the rows of the data with what the model says about them.

    Parameters
    ----------
    rows
        "used": the rows that were fitted. "all": also the rows that were dropped, with NaN beside them.

    Returns
    -------
    table
        The columns of the data (of a lazy table only those in the formula), then .eta (the linear predictor),
        .fitted (the mean of the response, with truncation and extra zeros), .fixed (that with random effects
        of zero), .resid and .scaled (see `resid`). Of an ordinal model only .eta.

    Raises
    ------
    MixwellError
        MW-A02 for another value of `rows`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> list(m.augment())[2:]
    ['.eta', '.fitted', '.fixed', '.resid', '.scaled']
    """
    choice("rows", rows, ("used", "all"))
    align = rows == "all"
    added = {".eta": m.predict(type="link")}
    if _has_mean(m):
        added |= {".fitted": _mean(m), ".fixed": _mean(m, "population")}
        added |= {".resid": resid(m), ".scaled": resid(m, "scaled")}
    aligned: dict[str, Any] = {name: _aligned(m, values, align=align) for name, values in added.items()}
    return m.design.frame.with_columns(aligned, rows=None if align else m.design.rows)
