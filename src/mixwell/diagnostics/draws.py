"""Responses drawn from a fit of either kind, given coefficients and random effects that are themselves drawn.

The draw of the coefficients and the random effects is what makes residuals independent: see `effects`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.errors import MixwellError
from mixwell.families import mean_of
from mixwell.fitted.new_rows import fixed_part, random_part

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Source", "has_zeros", "is_generalized", "source", "untied"]

Array = NDArray[np.float64]
Rng = np.random.Generator

_LEAST = 1e-10  # smallest weight of a row, relative to the largest
_IMPLAUSIBLE = 1e-6  # probability of a draw as far from the estimates as those that are refused


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where responses come from.

    Attributes
    ----------
    observed
        The response (n,): numbers of successes of shares, positions of categories.
    centre
        What residuals are taken from (n,): the mean of a response, with random effects of zero if these are
        drawn anew for each response.
    draw
        Draws responses: a generator and a count in, (count, n) out.
    drawn
        Whether the coefficients were drawn, rather than left at their estimates.
    """

    observed: Array
    centre: Array
    draw: Callable[[Rng, int], Array]
    drawn: bool


def is_generalized(m: Model) -> bool:
    """Whether the model has a family other than the normal distribution of linear mixed models."""
    return hasattr(m, "family")


def has_zeros(m: Model) -> bool:
    """Whether a response may be exactly zero with a positive probability."""
    family: Any = getattr(m, "family", None)
    if family is None or family.kind == "ordered":
        return False
    return bool(family.zero) or family.kind in ("binary", "nonnegative") or family.distribution in _COUNTS


_COUNTS = ("poisson", "nbinom1", "nbinom2")


def source(m: Model, rng: Rng, *, new: bool, parameters: bool) -> Source:
    """Prepare to draw responses.

    Parameters
    ----------
    rng
        Of the one draw of coefficients and random effects.
    new
        Random effects are drawn anew for each response, or once for all given the data.
    parameters
        Draw the coefficients, too, once for all given the data.
    """
    fixed, modes = _estimates(m)
    shift, effects, drawn = _effects(m, fixed, modes, rng, parameters=parameters)
    fixed = fixed + shift
    if not new:
        fixed = fixed + _random(m, effects)
    return Source(_observed(m), _centre(m, fixed), _drawer(m, fixed, new=new), drawn)


def _estimates(m: Model) -> tuple[Array, list[Array]]:
    """X beta + offset (n,), and the random effects at their modes, (J, k) by term."""
    linear: Any = m
    if is_generalized(m):
        return linear.predict(type="link", re="population"), [np.asarray(b) for b in linear.core["b"]]
    return linear._fixed_part, [np.asarray(b) for b in linear.solution.b] if m.is_mixed else []


def _random(m: Model, effects: list[Array]) -> Array:
    """Z b, shape (n,)."""
    out = np.zeros(m.nobs)
    for term, b in zip(m.design.random, effects, strict=True):
        out += random_part(term.codes, term.columns, b)
    return out


# --- coefficients and random effects given the data -----------------------------------------------------


def _effects(
    m: Model, fixed: Array, modes: list[Array], rng: Rng, *, parameters: bool
) -> tuple[Array, list[Array], bool]:
    """Draw once from the distribution of coefficients and random effects given the data.

    Returns the change of X beta (n,), the random effects, and whether the coefficients were drawn.

    (y, b*) with b* drawn given y has the joint distribution of (y, b): of all pairs that the model makes. The
    residuals of y given b* are therefore independent and uniform, while those given the modes vary too
    little, for modes follow the data (Johnson 2007; Yuan and Johnson 2012). With coefficients drawn, too,
    residuals of a linear model have covariance sigma^2 I exactly instead of sigma^2 (I - H), and others have
    it in large samples (Johnson 2004).
    """
    columns = m.fixed_columns if parameters else ()
    eta = fixed + _random(m, modes)
    weights, slopes = _curvature(m, eta)
    size = sum(min(b.size, m.nobs) for b in modes)
    for own in (columns, ()) if columns else ((),):
        if not own and not modes:
            break
        try:
            beta, b = _one_draw(m, own, weights, rng)
        except MixwellError:
            continue
        shift = fixed_part(own, beta, m.nobs) if own else np.zeros(m.nobs)
        effects = [mode + each for mode, each in zip(modes, b, strict=True)]
        if _plausible(m, eta, fixed + shift + _random(m, effects), slopes, size + len(own)):
            return shift, effects, bool(own)
    return np.zeros(m.nobs), modes, False


def _curvature(m: Model, eta: Array) -> tuple[Array, Array]:
    """Minus the second derivative of each row's log-likelihood in eta, and the first, (n,) each."""
    any_model: Any = m
    if not is_generalized(m):
        weights = np.ones(m.nobs) if m.design.weights is None else m.design.weights
        return weights / any_model.sigma**2, np.zeros(m.nobs)
    auxiliary = any_model.family.predictors(any_model.auxiliary())
    rows = np.asarray(family_rows(any_model.family.core, m.design.y, any_model.weights, eta, auxiliary))
    curvature = np.where(np.isfinite(rows[:, 5]), -rows[:, 5], 0.0)
    return np.maximum(curvature, _LEAST * max(float(curvature.max(initial=0.0)), 1e-300)), rows[:, 4]


def _one_draw(
    m: Model, columns: tuple[Array | None, ...], weights: Array, rng: Rng
) -> tuple[Array, list[Array]]:
    """Error of (beta, b) given the data, normal with the inverse of the joint information.

    Take y* = Z b* + e* from the linear model with these weights and predict (beta, b): the error has that
    distribution, and one solution gives it whatever the design is (Papandreou and Yuille 2010).
    """
    from mixwell.fitted.result import cross_products  # noqa: PLC0415  (which builds on this module)

    linear: Any = m
    sigma = 1.0 if is_generalized(m) else linear.sigma
    b = [
        sigma * rng.standard_normal((len(term.levels), len(factor))) @ factor.T
        for term, factor in zip(m.design.random, m.lambdas, strict=True)
    ]
    y = _random(m, b) + rng.standard_normal(m.nobs) / np.sqrt(weights)
    relative = weights * sigma**2
    design = replace(
        m.design, y=y, offset=None, columns=columns, weights=relative, names=m.fixef.names[: len(columns)]
    )
    solved = cross_products(design).solve(m.theta, False, False)
    predicted = [np.asarray(each) for each in solved.b] if m.is_mixed else []
    return -np.asarray(solved.beta), [own - each for own, each in zip(b, predicted, strict=True)]


def _plausible(m: Model, before: Array, after: Array, slopes: Array, df: int) -> bool:
    """Whether the likelihood bears the draw out: not where it is far from normal, as with separation."""
    from mixwell.inference.distributions import chi2_quantile  # noqa: PLC0415

    if not is_generalized(m):
        return True
    model: Any = m
    with np.errstate(all="ignore"):
        try:
            lost = _loglik(model, before) - _loglik(model, after) + float(slopes @ (after - before))
        except MixwellError:
            return False
    return bool(2.0 * lost <= chi2_quantile(1 - _IMPLAUSIBLE, max(df, 1)))


def _loglik(m: GeneralizedModel, eta: Array) -> float:
    auxiliary = m.family.predictors(m.auxiliary())
    return float(np.sum(np.asarray(family_rows(m.family.core, m.design.y, m.weights, eta, auxiliary))[:, 0]))


# --- responses ------------------------------------------------------------------------------------------


def _is_share(m: Model) -> bool:
    model: Any = m
    return is_generalized(m) and model.family.kind == "binary"


def _observed(m: Model) -> Array:
    model: Any = m
    return np.round(m.design.y * model.weights) if _is_share(m) else np.array(m.design.y)


def _centre(m: Model, eta: Array) -> Array:
    """Mean of a response (n,) at a linear predictor; of positions of categories."""
    model: Any = m
    if not is_generalized(m):
        return eta
    if model.family.kind == "ordered":
        link = model.family.link
        return np.asarray(sum(1.0 - mean_of(link, each - eta) for each in model.thresholds.values))
    mean = model.family.mean(mean_of(model.family.link, eta), model.auxiliary())
    return np.asarray(mean * model.weights if _is_share(m) else mean)


def _drawer(m: Model, eta: Array, *, new: bool) -> Callable[[Rng, int], Array]:
    model: Any = m
    scale = 1.0 if is_generalized(m) else model.sigma
    roots = [scale * factor for factor in m.lambdas]

    def predictor(rng: Rng, count: int) -> Array:
        out = np.tile(eta, (count, 1))
        if new:
            for term, root in zip(m.design.random, roots, strict=True):
                b = rng.standard_normal((count, len(term.levels), len(root))) @ root.T
                for j, column in enumerate(term.columns):
                    part = np.take(np.ascontiguousarray(b[:, :, j]), term.codes, axis=1)
                    out += part if column is None else part * column
        return out

    if not is_generalized(m):
        weights = m.design.weights
        spread = model.sigma if weights is None else model.sigma / np.sqrt(weights)
        return lambda rng, count: predictor(rng, count) + spread * rng.standard_normal((count, m.nobs))

    family, auxiliary = model.family, model.auxiliary()

    def draw(rng: Rng, count: int) -> Array:
        values = predictor(rng, count).ravel()
        if family.kind == "ordered":
            return np.reshape(family.draw(rng, values, model.thresholds.values), (count, -1))
        tiled = tuple(np.tile(each, count) for each in auxiliary)
        out = family.draw(rng, mean_of(family.link, values), tiled, np.tile(model.weights, count))
        out = np.reshape(out, (count, -1))
        return np.round(out * model.weights) if _is_share(m) else out

    return draw


def untied(m: Model, values: Array, rng: Rng) -> Array:
    """Break ties between equal responses at random, leaving the order of others."""
    family: Any = getattr(m, "family", None)
    if family is None:
        return values
    if family.kind in ("binary", "count", "ordered"):
        return values + 0.5 * rng.uniform(size=values.shape)
    return np.where(values == 0, -rng.uniform(size=values.shape), values) if has_zeros(m) else values
