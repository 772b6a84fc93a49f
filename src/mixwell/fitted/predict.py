"""Predictions of rows, fitted or new, and their intervals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.new_rows import (
    Rows,
    announce,
    chosen_terms,
    fitted_rows,
    fixed_part,
    new_rows,
    random_part,
)
from mixwell.fitted.prediction_variance import SOURCES, Source, prediction_df, unscaled_variance
from mixwell.fitted.values import SparseMatrix
from mixwell.inference.distributions import t_quantile
from mixwell.inference.wald import Ddf, approximation
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = ["fixed_part", "predict", "random_part", "sparse_z"]

Array = NDArray[np.float64]


def sparse_z(terms: Sequence[RandomDesign], n: int) -> SparseMatrix:
    """Z as triplets, shape (n, q): term after term, level after level."""
    rows, columns, values, start = [], [], [], 0
    for term in terms:
        k = len(term.columns)
        for j, column in enumerate(term.columns):
            rows.append(np.arange(n))
            columns.append(start + term.codes.astype(np.int64) * k + j)
            values.append(np.ones(n) if column is None else column)
        start += len(term.levels) * k
    if not terms:
        return SparseMatrix(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), (n, 0))
    return SparseMatrix(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), (n, start))


@checked
def predict(
    m: FittedModel,
    newdata: Any = None,
    *,
    re: Literal["conditional", "population"] | Collection[str] = "conditional",
    new_levels: Literal["error", "population", "sample"] = "error",
    interval: Literal["confidence", "prediction"] | None = None,
    level: float = 0.95,
    include: Collection[Source] | Source | None = None,
    ddf: Ddf | None = None,
    se: bool = False,
) -> Any:
    """Predict the response, with intervals on request.

    Parameters
    ----------
    newdata
        A table with the columns of the right-hand side; the rows that were fitted if None. Factors are
        coded, and poly(), scale() and splines evaluated, with what was learned from the fitted rows.
    re
        "conditional": with the random effects of each row's levels. "population": without random effects. A
        list of terms, such as ["(1 | Subject)"], or of grouping factors, ["Subject"], which stand for all
        their terms: with these only. Grouping columns of terms left out are not needed.
    new_levels
        What to do with a level of a grouping factor that was not fitted, or a missing one: "error";
        "population" to take its random effects as zero, their expected value; or "sample", the same
        prediction for a level sampled like the fitted ones, whose effects are uncertain.
    interval
        "confidence" of the expected response, or "prediction" of a new observation.
    level
        Probability that the interval covers.
    include
        Sources of uncertainty, in place of those that `interval` stands for; see Notes.
    ddf
        Where quantiles come from: Student's t with "satterthwaite", "kenward-roger" or "residual" degrees of
        freedom, or the "normal" distribution. By default Satterthwaite's (without random effects the residual
        ones, which are exact).
    se
        Return standard errors also without an interval.

    Returns
    -------
    array or table
        Shape (rows of newdata,); NaN where a predictor is missing. With `interval` or `se` a table in the
        caller's dataframe library: fit, se, and with an interval lower and upper.

    Raises
    ------
    MixwellError
        MW-P01 for an unknown level of a fixed factor, MW-P02 for a missing column, MW-P10 and P12 for an
        unknown or missing level of a grouping factor, MW-P11 when the fit has an offset that new data cannot
        have, MW-P14 for an unknown term in `re`, MW-P16 for weights that are not positive, MW-P18 and P19
        for options that do not go together, MW-A49 for a level that is not between 0 and 1.

    Warns
    -----
    MixwellWarning
        MW-P13 for rows that need a coefficient which was not estimable: they are NaN. MW-P17 when the fit has
        weights and the new rows have none.

    Notes
    -----
    `se` is the root of the summed variances of the sources (Henderson 1975); the estimated covariance
    parameters are taken as known.

    | source | variance | confidence | prediction |
    |---|---|---|---|
    | "fixed" | of the estimated fixed effects | yes | yes |
    | "random" | of the predicted random effects given the data, jointly with "fixed" | yes | yes |
    | "new" | between levels, for levels that were not fitted | only with new_levels="sample" | yes |
    | "residual" | sigma^2, over the weight of the row | no | yes |

    A term that `re` leaves out is averaged over by a confidence interval; for a prediction interval its
    levels are new ones. So the prediction interval of the population is that of a new unit. Residuals of new
    rows have the weights in the column that gave the fit its weights, or weight one.

    Satterthwaite's degrees of freedom are 2 v^2 over the sampling variance of the whole variance v, random
    effects and residuals included, and then at least 2. Kenward-Roger's are for intervals of fixed effects
    alone.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.predict({"Days": [0, 9], "Subject": ["308", "308"]}).round(2).tolist()
    [253.66, 430.66]
    >>> m.predict({"Days": [0, 9]}, re="population").round(2).tolist()
    [251.41, 345.61]
    >>> table = m.predict({"Days": [9]}, re="population", interval="confidence")
    >>> {name: float(values[0].round(2)) for name, values in table.items()}
    {'fit': 345.61, 'se': 14.63, 'lower': 314.75, 'upper': 376.47}
    """
    choice("new_levels", new_levels, ("error", "population", "sample"))
    chosen = chosen_terms(m, re)
    sources = _sources(interval, include, ddf, new_levels, se=se)
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    if ddf is not None:
        choice("ddf", ddf, get_args(Ddf))
    if newdata is None:
        rows = fitted_rows(m, chosen)
    else:
        others, weights = "new" in sources, "residual" in sources
        rows = new_rows(m, newdata, chosen, others=others, weights=weights, unknown=new_levels)
    announce(rows)
    fit = rows.predicted(np.asarray(m.solution.beta), [np.asarray(b) for b in m.solution.b])
    if not sources:
        return fit
    spread, df = _uncertainty(m, rows, sources, ddf, wanted=interval is not None)
    spread[~np.isfinite(fit)] = np.nan
    columns = {"fit": fit, "se": spread}
    if interval is not None:
        half = t_quantile(0.5 + 0.5 * level, df) * spread
        columns |= {"lower": fit - half, "upper": fit + half}
    return m.design.frame.native_like(columns)


def _sources(
    interval: str | None, include: object, ddf: str | None, new_levels: str, *, se: bool
) -> frozenset[str]:
    """Return the sources of uncertainty that were asked for; none if only the prediction is wanted."""
    if interval is not None:
        choice("interval", interval, ("confidence", "prediction"))
    if interval is None and not se:
        for option, given in (("include", include), ("ddf", ddf)):
            if given is not None:
                raise error("MW-P18", option=option)
        return frozenset()
    if interval is None and ddf is not None:
        raise error("MW-P18", option="ddf")
    if include is None:
        if interval == "prediction":
            return frozenset(SOURCES)
        return frozenset(SOURCES[:3] if new_levels == "sample" else SOURCES[:2])
    given = [include] if isinstance(include, str) else include
    if not isinstance(given, Collection) or not given:
        expected = f"one or more of {', '.join(SOURCES)}"
        raise error("MW-A07", option="include", expected=expected, given=include)
    for source in given:
        choice("include", source, SOURCES)
    return frozenset(given)


def _uncertainty(
    m: FittedModel, rows: Rows, sources: frozenset[str], ddf: Ddf | None, *, wanted: bool
) -> tuple[Array, Array | float]:
    """Return standard errors (n,), and degrees of freedom if they are wanted."""
    if not any(rows.chosen):
        sources = sources - {"random"}
    by = ddf or "satterthwaite"
    if sources == {"fixed"}:
        method = approximation(m, by) if wanted else approximation(m, "normal")
        x = np.nan_to_num(rows.dense(slice(None)))
        variance = np.einsum("ri,ij,rj->r", x, method.vcov, x, optimize=True)
        return np.sqrt(np.maximum(variance, 0.0)), method.df(x) if wanted else np.inf
    if by == "kenward-roger" and m.is_mixed:
        raise error("MW-P19", sources=sorted(sources))
    unscaled = unscaled_variance(m, rows, sources)
    spread = m.sigma * np.sqrt(np.maximum(unscaled, 0.0))
    if not wanted:
        return spread, np.inf
    if by == "normal":
        return spread, np.inf
    if by == "residual" or not m.is_mixed:
        return spread, float(m.nobs - len(m.kept))
    return spread, prediction_df(m, rows, sources, unscaled)
