"""Predictions of rows, fitted ones and new ones, with standard errors and intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.frame import Frame
from mixwell.errors import MixwellError, error
from mixwell.families import mean_of, slope_of
from mixwell.fitted.new_rows import Rows, announce, chosen_terms, fitted_rows, new_rows
from mixwell.formula import Call, label
from mixwell.generalized.marginal_means import INFINITE, average, marginal_mean
from mixwell.generalized.prediction_intervals import from_link, natural, predictive, transformed
from mixwell.generalized.prediction_rows import Predicted, predicted_rows
from mixwell.inference.distributions import t_quantile
from mixwell.options import checked, choice
from mixwell.resampling.simulate import seed_of

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = [
    "Target",
    "auxiliary",
    "fitted",
    "predict",
    "rows_to_predict",
    "target_slopes",
    "targets_of",
    "wants_marginal",
]

Array = NDArray[np.float64]
Type = Literal["response", "link", "conditional", "zprob", "zlink", "disp", "probs", "cumulative", "class"]
Effects = Literal["conditional", "population", "marginal"]

_STEP = 1e-3  # of first derivatives in a predictor
_WIDE = 1e-2  # of second ones


@checked
def fitted(
    m: GeneralizedModel,
    *,
    type: Literal["response", "link", "conditional"] = "response",  # noqa: A002
    align: bool = False,
) -> Array:
    """Return fitted values with the random effects, shape (n,); shares of a binomial response.

    Parameters
    ----------
    type
        "response": the mean, with truncation and extra zeros; "link" and "conditional" as in `predict`.
    align
        Give one value per row of the data, NaN where a row was dropped, instead of one per row used.
    """
    choice("type", type, ("response", "link", "conditional"))
    out = np.asarray(m.predict(type=type))
    if not align or m.design.rows is None:
        return out
    aligned = np.full(m.design.n_rows, np.nan)
    aligned[m.design.rows] = out
    return aligned


@checked
def predict(
    m: GeneralizedModel,
    newdata: Any = None,
    *,
    type: Type = "response",  # noqa: A002
    re: Effects | Collection[str] = "conditional",
    new_levels: Literal["error", "population", "sample"] = "error",
    interval: Literal["confidence", "prediction"] | None = None,
    level: float = 0.95,
    se: bool = False,
    trials: Any = None,
    n_sim: int | None = None,
    seed: int | None = None,
) -> Any:
    """Predict means, probabilities and other parameters of rows, with intervals on request.

    Parameters
    ----------
    newdata
        A table with the columns of the right-hand sides; the rows that were fitted if None. Factors are
        coded, and poly(), scale() and splines evaluated, with what was learned from the fitted rows.
    type
        What to predict, see Notes.
    re
        "conditional": with the random effects of each row's levels, at their modes. "population": with
        random effects of zero, a typical level. "marginal": averaged over the random effects of all levels,
        the mean of the population. A list of terms, such as ["(1 | Subject)"], or of grouping factors,
        ["Subject"]: with these only, the others zero. Grouping columns of terms left out are not needed.
    new_levels
        What to do with a level of a grouping factor that was not fitted, or a missing one: "error";
        "population" to take its random effects as zero; or "sample", the same prediction for a level
        sampled like the fitted ones, whose effects are uncertain.
    interval
        "confidence" of what is predicted, or "prediction" of a new response (type="response").
    level
        Probability that the interval covers.
    se
        Return standard errors also without an interval.
    trials
        Numbers of trials of the new responses of a binomial model, for prediction intervals: a column, one
        number, or one per row. If None those of the fitted rows, or of the columns of cbind() or the weights.
    n_sim, seed
        Draws of each row for prediction intervals (4000 if None), and their seed, a whole number.

    Returns
    -------
    array or table
        Shape (rows of newdata,); NaN where a predictor is missing. With `interval` or `se` a table in the
        caller's dataframe library: fit, se, and with an interval lower and upper. "probs" and "cumulative"
        give a table with a column for each category or threshold, named as these; with `interval` or `se`
        one row for each of them and each row: row, category, fit, se, lower and upper. "class" gives labels.

    Raises
    ------
    MixwellError
        MW-A02 for other options, MW-P25 for a type that the family does not have, MW-P26 for unknown numbers
        of trials, MW-P27 for a mean over random effects that does not exist, MW-P28 for a type without
        intervals, MW-P29 for `trials`, `n_sim` or `seed` without a prediction interval; MW-A91 for prediction
        intervals of quasi-families; MW-P01, P02, P10 to P12, P14, A49 as for linear models.

    Warns
    -----
    MixwellWarning
        MW-P13 for rows that need a coefficient which was not estimable: they are NaN.

    Notes
    -----
    | type | value |
    |---|---|
    | "response" | mean of the response, with truncation and extra zeros; a share for binomial ones |
    | "conditional" | the same without extra zeros |
    | "link" | linear predictor of the mean (before truncation) |
    | "zprob", "zlink" | probability of an extra zero (of a zero, in a hurdle model), and its logit |
    | "disp" | dispersion parameter: sigma, phi, size, precision, scale |
    | "probs", "class" | probabilities of the categories of an ordinal model, and the most probable |
    | "cumulative" | P(Y <= category) for all but the last |

    Standard errors contain the uncertainty of all parameters, and with random effects that of these given
    the data (Kass and Steffey 1989), as glmmTMB has it; with new_levels="sample" the variance between levels
    too. Those of means are by the delta method. Confidence intervals are symmetric on the scale of the link,
    or, where a value depends on several predictors, on the log or logit scale, so they stay in the range.
    Quantiles are normal, those of Student's t where R's glm would estimate a dispersion.

    Prediction intervals are quantiles of simulated responses: parameters and random effects given the data
    are drawn from their normal approximations, random effects that `re` leaves out and those of new levels
    from their distribution, so that with "population" and "marginal" the interval is that of a new level.
    Their `se` is the root of the summed variances. Weights that are not trials do not matter.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> m.predict({"x": [4]}).round(3).tolist()
    [16.0]
    >>> table = m.predict({"x": [4]}, interval="confidence")
    >>> {name: float(values[0].round(3)) for name, values in table.items()}
    {'fit': 16.0, 'se': 8.748, 'lower': 5.479, 'upper': 46.724}
    """
    marginal = wants_marginal(m, type, re, new_levels)
    if interval is not None:
        choice("interval", interval, ("confidence", "prediction"))
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    drawn = interval == "prediction"
    _simulated(m, type, interval, {"trials": trials, "n_sim": n_sim, "seed": seed}, se=se)
    chosen = (False,) * len(m.design.random) if marginal else chosen_terms(m, re)
    targets = targets_of(m, type, marginal=marginal)
    frame = None if newdata is None else Frame.from_data(newdata)
    rows = rows_to_predict(m, frame, chosen, others=marginal or drawn, unknown=new_levels)
    announce(rows)
    errors = se or interval is not None
    wanted = [drawn or each for each in targets[0].needs]
    at = predicted_rows(m, rows, frame, wanted, errors=errors)
    if drawn:
        count, key = _count(n_sim), seed_of(seed)
        known = _trials(m, frame, trials, rows.n) if m.family.kind == "binary" else None
        limits = predictive(m, at, known, level=float(level), draws=count, key=key)
        fit, spread = _with_errors(m, targets[0], at)
        spread = np.sqrt(spread**2 + _of_response(m, targets[0], at, known, marginal=marginal))
        columns = {"fit": fit, "se": spread, "lower": limits[0], "upper": limits[1]}
        return m.design.frame.native_like({name: _masked(values, fit) for name, values in columns.items()})
    if new_levels == "sample" and errors and at.covariance is not None and not marginal:
        at.covariance[:, 0, 0] += at.between
    if not errors:
        return _plain(m, type, [each.value(at) for each in targets], targets)
    quantile = t_quantile(0.5 + 0.5 * level, m.wald_df) if interval is not None else None
    tables = [_table(m, each, at, quantile) for each in targets]
    if type not in ("probs", "cumulative"):
        return m.design.frame.native_like(tables[0])
    n, k = rows.n, len(targets)
    long: dict[str, Any] = {"row": np.repeat(np.arange(n), k), "category": [t.name for t in targets] * n}
    long |= {name: np.column_stack([each[name] for each in tables]).ravel() for name in tables[0]}
    return m.design.frame.native_like(long)


# --- options --------------------------------------------------------------------------------------------


def wants_marginal(m: GeneralizedModel, type_: str, re: object, new_levels: str) -> bool:
    """Check them; return whether means over the random effects are wanted."""
    choice("type", type_, get_args(Type))
    choice("new_levels", new_levels, ("error", "population", "sample"))
    if isinstance(re, str) or not isinstance(re, Collection):
        choice("re", re, get_args(Effects))
    marginal = isinstance(re, str) and re == "marginal"
    family, ordered = m.family, m.family.kind == "ordered"
    advice = ""
    if type_ in ("probs", "cumulative", "class") and not ordered:
        advice = "It is for ordinal models; use type='response'."
    elif type_ in ("response", "conditional") and ordered:
        advice = "Categories have no mean: use type='probs', 'cumulative' or 'class'."
    elif type_ in ("zprob", "zlink") and not family.zero:
        advice = "There are no extra zeros without ziformula."
    elif type_ == "disp" and (not family.auxiliary or family.auxiliary[0].name == "zi" or family.is_quasi):
        advice = "It has no dispersion parameter that is modelled."
    if advice:
        raise error("MW-P25", type=type_, family=family.name, advice=advice)
    averaged = marginal and m.is_mixed and type_ in ("response", "conditional")
    if averaged and family.link in INFINITE:
        raise error("MW-P27", link=family.link)
    return marginal


def _simulated(
    m: GeneralizedModel, type_: str, interval: str | None, given: dict[str, Any], *, se: bool
) -> None:
    """Check what belongs to prediction intervals, and that the type has intervals."""
    if interval != "prediction":
        for option, value in given.items():
            if value is not None:
                raise error("MW-P29", option=option)
    if type_ == "class" and (se or interval is not None):
        raise error("MW-P28", type=type_, interval=interval or "se", advice="Use type='probs'.")
    if interval == "prediction" and type_ != "response":
        raise error("MW-P28", type=type_, interval=interval, advice="It is for type='response'.")
    if interval == "prediction":
        m.family.require_likelihood("a prediction interval")
    if given["trials"] is not None and m.family.kind != "binary":
        raise error("MW-P29", option="trials")


def _count(n_sim: object) -> int:
    if n_sim is None:
        return 4000
    if isinstance(n_sim, bool) or not isinstance(n_sim, (int, np.integer)) or not 0 < n_sim < 2**31:
        raise error("MW-A07", option="n_sim", expected="a positive whole number", given=n_sim)
    return int(n_sim)


# --- rows -----------------------------------------------------------------------------------------------


def rows_to_predict(
    m: GeneralizedModel, frame: Frame | None, chosen: tuple[bool, ...], *, others: bool, unknown: str
) -> Rows:
    """Read new rows; those of the fit if there is no frame."""
    if frame is None:
        rows = fitted_rows(m, chosen)
    else:
        intercept = m.family.kind != "ordered"
        rows = new_rows(m, frame, chosen, others=others, weights=False, unknown=unknown, intercept=intercept)
    if others:
        return rows
    terms = tuple(term if own else None for term, own in zip(rows.terms, chosen, strict=True))
    return replace(rows, terms=terms)


def _trials(m: GeneralizedModel, frame: Frame | None, given: Any, n: int) -> Array:
    """Numbers of trials of the responses to predict, (n,)."""
    response, weights = m.formula.response, m.arguments.get("weights")
    if given is not None:
        return _given_trials(m, frame, given, n)
    if frame is None:
        return m.weights
    if m.design.weights is None:
        return np.ones(n)
    out = np.ones(n)
    if isinstance(response, Call) and response.function == "cbind":
        for at, part in enumerate(response.args):
            try:
                values = m.design.recipe.numeric(part, frame)
            except MixwellError:  # a column of it is missing
                raise error("MW-P26", column=label(part)) from None
            out = values if at == 0 else out + values
    if weights is not None:
        if not isinstance(weights, str) or weights not in frame.names:
            raise error("MW-P26", column=weights if isinstance(weights, str) else "weights")
        out = out * frame.column(weights).numeric()
    return _positive(out)


def _given_trials(m: GeneralizedModel, frame: Frame | None, given: Any, n: int) -> Array:
    if isinstance(given, str):
        table = m.design.frame if frame is None else frame
        if given not in table.names:
            raise error("MW-P26", column=given)
        values = table.column(given).numeric()
        if frame is None and m.design.rows is not None:
            values = values[m.design.rows]
        return _positive(values)
    try:
        values = np.array(np.broadcast_to(np.asarray(given, dtype=np.float64), (n,)))
    except (TypeError, ValueError):
        expected = "a column, one number, or one per row"
        raise error("MW-A07", option="trials", expected=expected, given=given) from None
    return _positive(values)


def _positive(values: Array) -> Array:
    bad = np.flatnonzero((values < 0) | (values != np.round(values)) & np.isfinite(values))
    if bad.size:
        given = float(values[bad[0]])
        raise error("MW-A07", option="trials", expected="whole numbers from 0 on", given=given)
    return values


# --- what is predicted ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A function of the predictors of a row, and the scale on which its interval is symmetric.

    The scale "link" is eta itself; where `threshold` is given it is the link of the probability that the
    category is at most this.
    """

    function: Callable[[Array, Sequence[Array], Array], Array]
    scale: str
    needs: tuple[bool, ...]
    marginal: bool = False
    name: str = ""
    threshold: int | None = None

    def value(self, at: Predicted) -> Array:
        """Return it at the predictors of rows, (n,)."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.asarray(self.function(at.eta, at.auxiliary, at.between))


def targets_of(m: GeneralizedModel, type_: str, *, marginal: bool) -> list[Target]:
    """Say what `type` asks for: one target, or one for each category."""
    family, count = m.family, len(m.family.auxiliary)
    none = (False,) * count
    averaged = marginal and m.is_mixed
    if family.kind == "ordered":
        return _categories(m, type_, marginal=averaged)
    if type_ == "link":
        return [Target(lambda eta, aux, v: eta, "identity", none)]
    if type_ in ("zprob", "zlink"):
        last = (*none[:-1], True)
        if type_ == "zlink":
            return [Target(lambda eta, aux, v: aux[-1], "identity", last)]
        return [Target(lambda eta, aux, v: mean_of("logit", aux[-1]), "logit", last)]
    if type_ == "disp":
        first = family.auxiliary[0]
        return [Target(lambda eta, aux, v: first.natural(aux[0]), "log", (True, *none[1:]))]
    zeros = bool(family.zero) and type_ == "response"
    truncated = family.name.startswith("truncated")
    needs = [truncated] * count
    if family.zero:
        needs[-1] = zeros
    plain = replace(family, zero="", auxiliary=family.auxiliary[: count - bool(family.zero)])

    def function(eta: Array, aux: Sequence[Array], v: Array) -> Array:
        shapes = natural(m, aux)
        own = shapes[: len(plain.auxiliary)]
        if not averaged:
            mean = plain.mean(mean_of(family.link, eta), own)
        elif truncated:
            mean = average(
                lambda e, some: plain.mean(mean_of(family.link, e), [each[some, None] for each in own]),
                eta,
                v,
            )
        else:
            mean = marginal_mean(family.link, eta, v)
        return (1.0 - shapes[-1]) * mean if zeros else mean

    if family.is_mean or (type_ == "conditional" and not truncated):
        scale = "link"
    else:
        scale = "log" if zeros or not truncated else "log - 1"
    if averaged:
        scale = {"real": "identity", "binary": "logit", "share": "logit"}.get(family.kind, "log")
        scale = "log - 1" if truncated and not zeros else scale
    return [Target(function, scale, tuple(needs), averaged)]


def _categories(m: GeneralizedModel, type_: str, *, marginal: bool) -> list[Target]:
    """Probabilities of categories, or up to them."""
    link, count = m.family.link, len(m.design.categories)
    if type_ == "link":
        return [Target(lambda eta, aux, v: eta, "identity", (False,) * (count - 1))]

    def up_to(j: int, eta: Array, aux: Sequence[Array], v: Array) -> Array:
        distance = aux[j] - eta
        return marginal_mean(link, distance, v) if marginal else mean_of(link, distance)

    def single(j: int, eta: Array, aux: Sequence[Array], v: Array) -> Array:
        if j == count - 1:
            return 1.0 - up_to(j - 1, eta, aux, v)
        return up_to(j, eta, aux, v) - (up_to(j - 1, eta, aux, v) if j else 0.0)

    labels = [level_text(each) for each in m.design.categories]
    out = []
    for j in range(count if type_ in ("probs", "class") else count - 1):
        if type_ == "cumulative":
            scale, threshold = ("logit", None) if marginal else ("link", j)
            function: Callable[..., Array] = _fixed(up_to, j)
        else:
            scale, threshold, function = "logit", None, _fixed(single, j)
        name = m.thresholds.names[j] if type_ == "cumulative" else labels[j]
        out.append(Target(function, scale, (True,) * (count - 1), marginal, name, threshold))
    return out


def _fixed(function: Callable[..., Array], j: int) -> Callable[..., Array]:
    return lambda eta, aux, v: function(j, eta, aux, v)


# --- values, errors, intervals --------------------------------------------------------------------------


def _plain(m: GeneralizedModel, type_: str, values: list[Array], targets: list[Target]) -> Any:
    if type_ == "class":
        table = np.column_stack(values)
        best = np.where(np.isfinite(table).all(axis=1), np.argmax(np.nan_to_num(table), axis=1), -1)
        labels = np.array([*m.design.categories, None], dtype=object)
        return labels[best] if (best < 0).any() else np.array([*m.design.categories])[best]
    if type_ in ("probs", "cumulative"):
        pairs = zip(targets, values, strict=True)
        return m.design.frame.native_like({each.name: value for each, value in pairs})
    return np.array(values[0])


def _with_errors(m: GeneralizedModel, target: Target, at: Predicted) -> tuple[Array, Array]:
    """Return values and standard errors, by the delta method."""
    assert at.covariance is not None
    fit = target.value(at)
    gradient = np.zeros((fit.size, at.covariance.shape[1]))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if target.scale == "link" and target.threshold is None:
            gradient[:, 0] = slope_of(m.family.link, at.eta)
        elif target.scale == "link":
            slope = slope_of(m.family.link, at.auxiliary[target.threshold or 0] - at.eta)
            gradient[:, 0], gradient[:, 1 + (target.threshold or 0)] = -slope, slope
        else:
            target_slopes(m, target, at, gradient)
        variance = np.einsum("ni,nij,nj->n", gradient, at.covariance, gradient)
    return fit, np.sqrt(np.maximum(variance, 0.0))


def target_slopes(m: GeneralizedModel, target: Target, at: Predicted, out: Array) -> None:
    """Fill in derivatives by differences of the fourth order."""

    def moved(component: int, size: Array | float) -> Array:
        eta = at.eta + size if component == 0 else at.eta
        aux = [each + size if component == k + 1 else each for k, each in enumerate(at.auxiliary)]
        return np.asarray(target.function(eta, aux, at.between))

    h: Array | float = _STEP * np.abs(at.eta) if m.family.link in INFINITE else _STEP
    for component, wanted in enumerate((True, *target.needs)):
        if wanted:
            step = h if component == 0 else _STEP
            near = moved(component, step) - moved(component, -step)
            far = moved(component, 2 * step) - moved(component, -2 * step)
            out[:, component] = (8.0 * near - far) / (12.0 * step)
    if target.marginal:  # a normal mean obeys the heat equation: d/dv is half the second derivative in eta
        near = moved(0, _WIDE) + moved(0, -_WIDE)
        far = moved(0, 2 * _WIDE) + moved(0, -2 * _WIDE)
        out[:, -1] = 0.5 * (16.0 * near - far - 30.0 * moved(0, 0.0)) / (12.0 * _WIDE**2)


def _table(m: GeneralizedModel, target: Target, at: Predicted, quantile: Any) -> dict[str, Array]:
    fit, spread = _with_errors(m, target, at)
    columns = {"fit": fit, "se": spread}
    if quantile is not None:
        assert at.covariance is not None
        if target.scale != "link":
            limits = transformed(target.scale, fit, quantile * spread)
        elif target.threshold is None:
            limits = from_link(m.family, at.eta, quantile * np.sqrt(at.covariance[:, 0, 0]))
        else:
            j = target.threshold
            own = at.covariance
            variance = own[:, 0, 0] + own[:, 1 + j, 1 + j] - 2.0 * own[:, 0, 1 + j]
            half = quantile * np.sqrt(np.maximum(variance, 0.0))
            distance = at.auxiliary[j] - at.eta
            limits = mean_of(m.family.link, distance - half), mean_of(m.family.link, distance + half)
        columns |= {"lower": limits[0], "upper": limits[1]}
    return {name: _masked(values, fit) for name, values in columns.items()}


def _masked(values: Array, fit: Array) -> Array:
    return np.where(np.isnan(fit), np.nan, values)


def _of_response(
    m: GeneralizedModel, target: Target, at: Predicted, trials: Array | None, *, marginal: bool
) -> Array:
    """Variance of a response about the prediction: of the family, and between levels by the delta method."""
    shapes = natural(m, at.auxiliary)
    if m.is_classical and m.family.has_dispersion:
        phi = m.pearson_dispersion
        shapes = (np.full(at.eta.size, np.sqrt(phi) if m.family.kind == "real" else phi),)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mu = mean_of(m.family.link, at.eta)
        variance = m.family.variance(mu, shapes, trials)
        gradient = np.zeros((at.eta.size, 2 + len(at.auxiliary)))
        target_slopes(m, replace(target, marginal=False), at, gradient)
        return np.asarray(variance + gradient[:, 0] ** 2 * at.between)


# --- auxiliary parameters -------------------------------------------------------------------------------


def auxiliary(m: GeneralizedModel) -> tuple[Array, ...]:
    """Return auxiliary parameters of each row on their natural scale, (n,) each; or thresholds."""
    out = []
    for at, (columns, known) in enumerate(m.predictors.columns):
        values = np.zeros(m.nobs) if known is None else np.array(known)
        for j, column in columns:
            values += m.gamma[j] * (1.0 if column is None else column)
        ordered = m.family.kind == "ordered"
        out.append(values if ordered else np.asarray(m.family.auxiliary[at].natural(values)))
    return tuple(out)
