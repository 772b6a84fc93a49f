"""Functions of predictions and their standard errors, by the delta method.

A prediction of a row is a function of the parameters; so is a difference of two, a derivative in a variable
and an average over rows. Each is kept as its value and its gradient in the parameters, so that the covariance
of any number of them is J V J' (Oehlert 1992, Am. Stat. 46, 27-29), whatever was done on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design.frame import Column, Frame
from mixwell.errors import error
from mixwell.families import slope_of
from mixwell.fitted.estimable import dropped_columns, with_coefficients
from mixwell.fitted.new_rows import announce, chosen_terms, new_rows
from mixwell.formula import variables
from mixwell.generalized import predict as generalized
from mixwell.generalized.prediction_intervals import from_link
from mixwell.generalized.prediction_rows import (
    auxiliary_columns,
    between_slopes,
    parameter_covariance,
    predicted_rows,
)
from mixwell.inference.anova import chosen_approximation
from mixwell.inference.distributions import t_quantile
from mixwell.inference.wald import Constant, Ddf
from mixwell.options import choice

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model, Rows
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.inference.wald import Approximation

__all__ = [
    "Engine",
    "Random",
    "Values",
    "averaged",
    "default_ddf",
    "engine",
    "link_limits",
    "usual_ddf",
    "with_mean_offset",
]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]
Random = Literal["population", "conditional", "marginal"]
Table = Mapping[str, Column]

_ESTIMABLE = 1e-9  # relative distance from the span of the fitted rows that counts as rounding
_DERIVED = 1e-6  # the same of derivatives
_NOISE = 1e-9  # share of a column in another one that is rounding
_ROUNDING = 1e-13  # of sums that cancel


class Values(NamedTuple):
    """Values (r,), their gradients in the parameters (r, P) and in dropped coefficients (r, d), if any."""

    value: Array
    gradient: Array
    dropped: Array | None = None

    def mapped(self, value: Array, change: Callable[[Array], Array]) -> Values:
        """Return another value whose gradients are a linear function of these."""
        return Values(value, change(self.gradient), None if self.dropped is None else change(self.dropped))

    def times(self, factor: Array | float) -> Values:
        """Multiply by known numbers, (r,) or one."""
        factor = np.asarray(factor, dtype=np.float64)
        return self.mapped(self.value * factor, lambda g: g * (factor[:, None] if factor.ndim else factor))

    def plus(self, other: Values) -> Values:
        """Add."""
        one = np.ones_like(self.value)
        return self.combined(other, self.value + other.value, (one, one))

    def minus(self, other: Values) -> Values:
        """Subtract."""
        one = np.ones_like(self.value)
        return self.combined(other, self.value - other.value, (one, -one))

    def combined(self, other: Values, value: Array, slopes: tuple[Array, Array]) -> Values:
        """Return a function of the two, given its value and its partial derivatives, (r,) each."""
        own, its = (each[:, None] for each in slopes)
        dropped = None
        if self.dropped is not None and other.dropped is not None:
            dropped = own * self.dropped + its * other.dropped
        return Values(value, own * self.gradient + its * other.gradient, dropped)

    def weighted(self, rows: Array) -> Values:
        """Combine linearly with weights (k, r); what is not known matters only where it has a weight."""
        lost = np.isnan(self.value)
        value = rows @ np.where(lost, 0.0, self.value)
        value[(rows[:, lost] != 0.0).any(axis=1)] = np.nan

        def change(gradient: Array) -> Array:
            gradient = np.nan_to_num(gradient)
            out = rows @ gradient
            return np.where(np.abs(out) > _ROUNDING * (np.abs(rows) @ np.abs(gradient)), out, 0.0)

        found = self.mapped(value, change)
        # What depends on no coefficient is zero, or a difference of offsets and larger than this.
        flat = ~found.gradient.any(axis=1)
        size = np.abs(rows) @ np.abs(np.nan_to_num(self.value))
        value[flat & (np.abs(value) <= _NOISE * size)] = 0.0
        return found


def averaged(values: Values, group: Ints, count: int, weights: Array | None = None) -> Values:
    """Average over the rows of each group, shape (count,)."""
    w = np.ones(group.size) if weights is None else weights
    total = np.bincount(group, w, count)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(count))

    def change(gradient: Array) -> Array:
        return np.asarray(np.add.reduceat(gradient[order] * w[order, None], starts, axis=0) / total[:, None])

    with np.errstate(invalid="ignore", divide="ignore"):
        return values.mapped(np.bincount(group, w * values.value, count) / total, change)


# --- predictions of rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """What is predicted, with the covariance of the parameters and a rule for degrees of freedom.

    Attributes
    ----------
    categories
        What there are several predictions of a row for, in ordinal models: their names; or ("",).
    by
        Covariance of the parameters, shape (P, P), with degrees of freedom.
    spans
        How the dropped columns of X are combined of the others in the fitted rows, (P, d); None for none.
    rest
        What is left of the dropped columns in the fitted rows, relative to their size, (d,).
    offset
        Offset of every row, in place of its own; None for its own.
    """

    m: Model
    type: str
    re: str
    categories: tuple[str, ...]
    by: Approximation
    whole: bool
    spans: Array | None = None
    rest: Array | float = 0.0
    offset: float | None = None

    @property
    def of_link(self) -> bool:
        """Whether it is a function of the linear predictor alone: the inverse of the link."""
        return hasattr(self.m, "family") and self.type in ("response", "conditional") and not self.whole

    def __call__(self, table: Table, *, loud: bool = False) -> list[Values]:
        """Predict rows: values and gradients, one a category."""
        return self.rows(table, loud=loud)[0]

    def rows(self, table: Table, *, loud: bool = False) -> tuple[list[Values], Array]:
        """Predict rows; also return their linear predictors (n,)."""
        m: Any = self.m
        linear = not hasattr(m, "family")
        marginal = self.re == "marginal"
        chosen = (False,) * len(m.formula.random) if marginal else chosen_terms(m, self.re)
        frame = Frame.from_data(dict(table))
        if linear:
            rows = new_rows(m, frame, chosen, others=False, weights=False, unknown="error")
        else:
            rows = generalized.rows_to_predict(m, frame, chosen, others=marginal, unknown="error")
        if loud:
            announce(rows)
        if self.offset is not None:
            rows = replace(rows, offset=np.full(rows.n, self.offset))
        dropped = None
        if self.spans is not None:
            dropped = _dropped(m, frame)
            if linear or self.type == "link":  # differences may be estimable where predictions are not
                rows = replace(rows, inestimable=None)
        if linear:
            effects = [np.asarray(b) for b in m.solution.b]
            eta = rows.predicted(m.fixef.values, effects)
            return [Values(eta, rows.dense(slice(None)), dropped)], eta
        found, eta = self._generalized(rows, frame, dropped)
        return found, eta

    def known(self, values: Values, *, derived: bool = False) -> Values:
        """Make those NaN that need a coefficient that could not be estimated.

        They move a dropped column otherwise than the columns it was a combination of. `derived`: they are
        derivatives, whose rounding is larger.
        """
        if self.spans is None or values.dropped is None:
            return values
        tolerance = np.maximum(_DERIVED if derived else _ESTIMABLE, 10.0 * self.rest)
        with np.errstate(invalid="ignore"):
            away = np.abs(values.dropped - values.gradient @ self.spans)
            size = np.abs(values.dropped) + np.abs(values.gradient) @ np.abs(self.spans)
            lost = (away > tolerance * size).any(axis=1)
        return values._replace(value=np.where(lost, np.nan, values.value))

    def _generalized(self, rows: Rows, frame: Frame, dropped: Array | None) -> tuple[list[Values], Array]:
        m: Any = self.m
        marginal = self.re == "marginal"
        targets = generalized.targets_of(m, self.type, marginal=marginal)
        needs = targets[0].needs
        at = predicted_rows(m, rows, frame, needs, errors=False)
        X = rows.dense(slice(None))
        out = []
        for target in targets:
            slopes = _slopes(m, target, at)
            away = None if dropped is None else slopes[:, :1] * dropped
            if not self.whole:
                out.append(Values(target.value(at), slopes[:, :1] * X, away))
                continue
            t, p = m.theta.size, X.shape[1]
            gradient = np.zeros((rows.n, t + p + m.gamma.size))
            gradient[:, t : t + p] = slopes[:, :1] * X
            for k, own in enumerate(auxiliary_columns(m, frame, needs)):
                for j, column in own:
                    gradient[:, t + p + j] += slopes[:, 1 + k] * (1.0 if column is None else column)
            if target.marginal and t:
                gradient[:, :t] = slopes[:, -1:] * between_slopes(m, rows)
            out.append(Values(target.value(at), gradient, away))
        return out, at.eta


def _slopes(m: GeneralizedModel, target: Any, at: Any) -> Array:
    """Return the derivatives (n, r) of a target in the linear and auxiliary predictors and the variance."""
    out = np.zeros((at.eta.size, 2 + len(at.auxiliary)))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if target.scale == "link" and target.threshold is None:
            out[:, 0] = slope_of(m.family.link, at.eta)
        elif target.scale == "link":
            out[:, 1 + target.threshold] = slope_of(m.family.link, at.auxiliary[target.threshold] - at.eta)
            out[:, 0] = -out[:, 1 + target.threshold]
        elif target.scale == "identity" and not any(target.needs) and not target.marginal:
            out[:, 0] = 1.0
        else:
            generalized.target_slopes(m, target, at, out)
    return out


def engine(
    m: Model,
    *,
    type: str | None,  # noqa: A002
    re: str,
    vcov: str = "model",
    cluster: Any = None,
    ddf: str = "normal",
) -> Engine:
    """Decide what is predicted; refuse options that do not go together."""
    linear = not hasattr(m, "family")
    choice("re", re, get_args(Random))
    choice("ddf", ddf, get_args(Ddf))
    if linear:
        choice("type", type or "response", ("response", "link"))
        kind = "population" if re == "marginal" else re  # a linear mean does not depend on the variance
        by = chosen_approximation(m, ddf, "expected", vcov, cluster)  # type: ignore[arg-type]
        spans, rest = _spans(m, 0, 0)
        return Engine(m, "response", kind, ("",), by, whole=False, spans=spans, rest=rest)
    g: Any = m
    wanted = type or ("probs" if g.family.kind == "ordered" else "response")
    if wanted == "class":
        raise error("MW-P28", type=wanted, interval="se", advice="Use type='probs'.")
    marginal = generalized.wants_marginal(g, wanted, re, "error")
    targets = generalized.targets_of(g, wanted, marginal=marginal)
    whole = any(targets[0].needs) or targets[0].marginal
    own = ("normal", g.ddf) if vcov == "model" else ("satterthwaite", "normal")
    if ddf not in own:
        advice = "Generalised models have ddf='normal', and 'residual' where a dispersion is estimated."
        if vcov != "model":
            advice = "Robust covariances have ddf='satterthwaite' or 'normal'."
        raise error("MW-A31", option=f"ddf={ddf!r}", other="this model", advice=advice)
    if not whole:
        by = chosen_approximation(m, ddf, "expected", vcov, cluster)  # type: ignore[arg-type]
    elif vcov != "model" or cluster is not None:
        advice = "There is no robust covariance of its other parameters: use type='link', or vcov='model'."
        raise error("MW-A31", option=f"vcov={vcov!r}", other=f"type={wanted!r} of this model", advice=advice)
    else:
        by = Constant(ddf, _joint_covariance(g), g.wald_df if ddf == "residual" else math.inf)
    before, after = (g.theta.size, g.gamma.size) if whole else (0, 0)
    spans, rest = _spans(m, before, after)
    names = tuple(each.name for each in targets)
    return Engine(m, wanted, re, names, by, whole=whole, spans=spans, rest=rest)


def _with_ones(m: Model) -> bool:
    """Whether a column of ones has a coefficient; in ordinal models the thresholds stand for it."""
    return getattr(getattr(m, "family", None), "kind", "") != "ordered"


def _dropped(m: Model, frame: Frame) -> Array:
    """Columns (n, d) of X at new rows that have no coefficient of their own."""
    columns = with_coefficients(m.design.recipe.fixed(frame), intercept=_with_ones(m))
    own = [column for j, column in enumerate(columns) if j not in m.kept]
    return np.column_stack([np.ones(frame.n_rows) if column is None else column for column in own])


def _spans(m: Model, before: int, after: int) -> tuple[Array | None, Array | float]:
    """Write the dropped columns as combinations of the kept ones, (P, d), zero for other parameters.

    Also return what that leaves of them, relative to their size, (d,).
    """
    found = dropped_columns(m)
    if found is None:
        return None, 0.0
    columns = with_coefficients(m.design.columns, intercept=_with_ones(m))
    dropped = [columns[j] for j in found.positions]
    sizes, own = (
        np.array([1.0 if c is None else np.abs(c).max(initial=0.0) for c in each])
        for each in (m.fixed_columns, dropped)
    )
    share = np.where(np.abs(found.shares) * sizes[:, None] <= _NOISE * own, 0.0, found.shares)
    out = np.zeros((before + len(sizes) + after, len(dropped)))
    out[before : before + len(sizes)] = share
    return out, found.rest / np.maximum(own, 1e-300)


def usual_ddf(m: Model, given: Ddf | None, vcov: str) -> Ddf:
    """Return the degrees of freedom of `summary()`, unless others are asked for."""
    if given is not None:
        return given
    own: Ddf = getattr(m, "ddf", "satterthwaite")
    return own if vcov == "model" else "satterthwaite"


def default_ddf(m: Model, given: Ddf | None, vcov: str, *, linear: bool) -> Ddf:
    """Return the degrees of freedom to use: those of `summary()`; normal for what is not linear."""
    if given is None and not linear:
        return "normal"
    return usual_ddf(m, given, vcov)


def with_mean_offset(use: Engine, moved: Collection[str]) -> Engine:
    """Predict with the mean offset of the fit, unless a variable of the offset is among those moved.

    The mean of log(t) rather than the logarithm of the mean of t, as marginal means have it.
    """
    m = use.m
    if m.design.offset is None:
        return use
    own = {name for expr in m.formula.offsets for name in variables(expr)} | {m.design.recipe.offset_column}
    return use if own & set(moved) else replace(use, offset=float(np.mean(m.design.offset)))


def _joint_covariance(m: GeneralizedModel) -> Array:
    """Covariance of (theta in the core's coordinates, beta, gamma)."""
    inner = parameter_covariance(m)
    t, p = m.theta.size, len(m.fixef)
    change = np.eye(len(inner))
    change[t : t + p, t : t + p] = m.basis
    out = change @ inner @ change.T
    out[t : t + p, t : t + p] = m.vcov()
    return np.asarray(out)


def link_limits(m: Model, eta: Array, gradient: Array, by: Approximation, level: float) -> Any:
    """Return the limits of means from those of their linear predictors, given the gradients of the latter."""
    variance = np.einsum("rp,pq,rq->r", gradient, by.vcov, gradient, optimize=True)
    half = t_quantile(0.5 + 0.5 * level, by.df(gradient)) * np.sqrt(np.maximum(variance, 0.0))
    return from_link(m.family, eta, half)  # type: ignore[union-attr]
