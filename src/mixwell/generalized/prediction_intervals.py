"""Intervals of predictions that stay in the range of what is predicted, and quantiles of new responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.families import Family, mean_of
from mixwell.generalized.marginal_means import INFINITE
from mixwell.resampling.simulate import generator

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.generalized.prediction_rows import Predicted

__all__ = ["from_link", "natural", "predictive", "transformed"]

Array = NDArray[np.float64]

_CHUNK = 2**21  # draws at a time
_LARGE = 1e100  # means beyond this are drawn as this
_FAR = 50.0  # auxiliary predictors are drawn no further from zero than this


# --- confidence -----------------------------------------------------------------------------------------


def from_link(family: Family, eta: Array, half: Array) -> tuple[Array, Array]:
    """Return the limits of the mean for eta -+ half; links that are not monotone at zero are heeded."""
    low, high = eta - half, eta + half
    crossing = (low <= 0) & (high >= 0)
    infinite = family.link in INFINITE  # eta = 0 is an infinite mean
    if infinite and family.kind != "real":
        low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
    with np.errstate(all="ignore"):
        ends = mean_of(family.link, low), mean_of(family.link, high)
    lower, upper = np.fmin(*ends), np.fmax(*ends)
    if family.link == "sqrt":
        lower = np.where(crossing, 0.0, lower)
    if infinite and family.kind == "real":
        lower, upper = np.where(crossing, -np.inf, lower), np.where(crossing, np.inf, upper)
    bottom, top = _range(family)
    lower, upper = np.clip(lower, bottom, top), np.clip(upper, bottom, top)
    known = np.isfinite(eta) & np.isfinite(half)
    return np.where(known, lower, np.nan), np.where(known, upper, np.nan)


def _range(family: Family) -> tuple[float, float]:
    if family.kind == "real":
        return -np.inf, np.inf
    return 0.0, 1.0 if family.kind in ("binary", "share") else np.inf


def transformed(scale: str, fit: Array, half: Array) -> tuple[Array, Array]:
    """Return the limits of a value whose standard error times the quantile is `half`, by the delta method.

    Parameters
    ----------
    scale
        Where they are symmetric: "identity", "log", "log - 1" (of values above one) or "logit".
    """
    if scale == "identity":
        return fit - half, fit + half
    with np.errstate(all="ignore"):
        if scale == "logit":
            logit, wide = np.log(fit) - np.log1p(-fit), half / (fit * (1.0 - fit))
            lower, upper = mean_of("logit", logit - wide), mean_of("logit", logit + wide)
        else:
            base = 1.0 if scale == "log - 1" else 0.0
            factor = np.exp(half / (fit - base))
            lower, upper = base + (fit - base) / factor, base + (fit - base) * factor
    edge = np.isfinite(fit) & np.isfinite(half)  # at the end of the range there is nowhere to go
    return (
        np.where(edge & ~np.isfinite(lower), fit, lower),
        np.where(edge & np.isnan(upper), fit, upper),
    )


# --- prediction -----------------------------------------------------------------------------------------


def natural(m: GeneralizedModel, predictors: Sequence[Array]) -> tuple[Array, ...]:
    """Auxiliary parameters on their natural scale."""
    pairs = zip(m.family.auxiliary, predictors, strict=True)
    with np.errstate(over="ignore"):
        return tuple(np.asarray(each.natural(values)) for each, values in pairs)


def predictive(
    m: GeneralizedModel, at: Predicted, trials: Array | None, *, level: float, draws: int, key: int
) -> tuple[Array, Array]:
    """Quantiles (n,) of new responses, from draws of predictors, random effects and responses.

    Parameters
    ----------
    at
        Predictors with their covariance; `between` is the variance of the random effects to draw.
    trials
        Of shares.
    level
        Probability between the quantiles: values that were drawn, so whole numbers of counts.
    draws, key
        Draws of each row, and the seed.
    """
    assert at.covariance is not None
    n = at.eta.size
    known = np.isfinite(at.eta) & np.isfinite(at.covariance).all(axis=(1, 2))
    if trials is not None:
        known &= np.isfinite(trials)
    rows = np.flatnonzero(known)
    lower, upper = np.full(n, np.nan), np.full(n, np.nan)
    # order statistics between which one more draw falls with at least this probability
    inside = round((draws + 1) * (0.5 - 0.5 * level), 6)
    ends = max(math.floor(inside) - 1, 0), min(math.ceil(draws + 1 - inside), draws) - 1
    step = max(1, _CHUNK // draws)
    for block, start in enumerate(range(0, rows.size, step)):
        some = rows[start : start + step]
        rng = generator(key, block)
        y = _responses(m, at, some, trials=None if trials is None else trials[some], draws=draws, rng=rng)
        y = np.partition(y, ends, axis=1)
        lower[some], upper[some] = y[:, ends[0]], y[:, ends[1]]
    return lower, upper


def _responses(
    m: GeneralizedModel,
    at: Predicted,
    some: NDArray[np.intp],
    *,
    trials: Array | None,
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """Draw responses (rows, draws)."""
    assert at.covariance is not None
    covariance = at.covariance[some].copy()
    # the last is the variance between levels: draw their standard deviation, whose sign does not matter
    sd = np.sqrt(at.between[some])
    slope = np.divide(0.5, sd, out=np.zeros(some.size), where=sd > 0)
    covariance[:, -1, :] *= slope[:, None]
    covariance[:, :, -1] *= slope[:, None]
    centre = np.stack([at.eta[some], *(each[some] for each in at.auxiliary), sd], axis=1)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    errors = root @ rng.standard_normal((some.size, len(centre[0]), draws))
    chi2 = None
    if m.is_classical and m.family.has_dispersion:  # the dispersion and the errors that it scales: t and F
        chi2 = rng.chisquare(m.df_residual, (some.size, draws)) / m.df_residual
        errors[:, 0] /= np.sqrt(chi2)
    drawn = (centre[:, :, None] + errors).swapaxes(0, 1)
    eta = drawn[0] + drawn[-1] * rng.standard_normal((some.size, draws))
    if chi2 is not None:
        phi = m.pearson_dispersion / chi2
        auxiliary: tuple[Array, ...] = (np.sqrt(phi) if m.family.kind == "real" else phi,)
    else:
        auxiliary = natural(m, [np.clip(each, -_FAR, _FAR) for each in drawn[1:-1]])
    bottom, top = _range(m.family)
    with np.errstate(all="ignore"):
        mu = mean_of(m.family.link, eta)
        if m.family.link in INFINITE and m.family.kind != "real":
            mu = np.where(eta > 0, mu, _LARGE)
        mu = np.clip(mu, max(bottom, -_LARGE), min(top, _LARGE))
        flat = [np.ascontiguousarray(each).ravel() for each in auxiliary]
        weights = None if trials is None else np.repeat(trials, draws)
        y = m.family.draw(rng, mu.ravel(), flat, weights)
    return np.where(y >= _LARGE, np.inf, y).reshape(some.size, draws)
