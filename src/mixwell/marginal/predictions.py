"""Predictions of rows, grids and counterfactuals, one by one or averaged, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixwell.marginal.effects import Random, default_ddf, engine, link_limits
from mixwell.marginal.layout import Layout, check_level, finished, joined
from mixwell.marginal.results import Effects
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model
    from mixwell.inference.wald import Ddf

__all__ = ["predictions"]


@checked
def predictions(
    m: Model,
    newdata: Any = None,
    *,
    at: Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    average: bool = False,
    type: str | None = None,  # noqa: A002
    re: Random = "population",
    weights: Any = None,
    hypothesis: Any = None,
    vcov: str = "model",
    cluster: Any = None,
    ddf: Ddf | None = None,
    level: float = 0.95,
) -> Effects:
    """Predict rows, grids or counterfactuals, one by one or averaged, with standard errors.

    Parameters
    ----------
    newdata
        None: the rows that were fitted. "mean": one row, numbers at their means and factors at their most
        frequent level. "grid": numbers at their means, all combinations of the levels of factors. Or a table.
    at
        Values to set variables to, {"x": [0, 1], "f": "a"}; all combinations, each with every row. So with
        the fitted rows they are counterfactuals: every row as if it had these values. Numbers may be given as
        "mean", "median", "min", "max", "range", "quartiles", or "sd" (the mean, and one standard deviation
        to both sides of it).
    by
        Columns whose groups to average over.
    average
        Average over all rows.
    type
        "response" (the default), "link", and what else the family has, see `predict`: "conditional",
        "zprob", "zlink", "disp"; of ordinal models "probs" (their default) and "cumulative".
    re
        "population": random effects of zero. "conditional": with those of each row's levels, taken as
        known; `predict` has intervals that are wider for it. "marginal", of generalised models: averaged
        over the random effects, as in `predict`.
    weights
        Weights of the rows in averages: a column, or one number a row.
    hypothesis
        Combinations of the estimates in place of them, see `Effects.hypothesis`.
    vcov, cluster
        Covariance of the estimates, see `vcov()`.
    ddf
        Degrees of freedom: "normal", or of linear models "satterthwaite", "kenward-roger" or "residual". By
        default those of `summary()`; of averages of a function that is not linear, normal.
    level
        Coverage of the confidence intervals.

    Returns
    -------
    Effects
        `.table()` has the rows, `.estimate`, `.se`, `.vcov()` and `.interval()` the numbers.

    Raises
    ------
    MixwellError
        MW-A119 for an unknown variable, MW-A120 for an unknown level, MW-A121 for a grid that leaves a
        grouping factor open, MW-A31 for options that exclude each other.

    Notes
    -----
    Definitions are those of the marginaleffects package (Arel-Bundock, Greifer & Heiss 2024, J. Stat. Softw.
    111(9)). Confidence intervals of averages are symmetric; those of single predicted means are symmetric on
    the scale of the link.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"hits": [0, 1, 0, 1, 1, 1, 0, 0], "x": [0, 1, 2, 3, 4, 5, 1, 3], "f": list("abababab")}
    >>> m = mw.glm("hits ~ x + f", table, family="binomial")
    >>> m.predictions(average=True).estimate.round(6).tolist()
    [0.5]
    >>> m.predictions(at={"x": [0, 5]}, by="x").table()["x"].tolist()
    [0.0, 5.0]
    """
    check_level(level)
    one_by_one = by is None and average is False
    linear = one_by_one or type == "link" or not hasattr(m, "family")
    ddf = default_ddf(m, ddf, vcov, linear=linear)
    use = engine(m, type=type, re=re, vcov=vcov, cluster=cluster, ddf=ddf)
    layout = Layout.of(m, newdata, at=at, by=by, average=average, weights=weights, re=re)
    columns = layout.rows.columns
    found, eta = use.rows(columns, loud=True)
    limits = None
    if layout.group is None and use.of_link:
        slopes = engine(m, type="link", re=re, vcov=vcov, cluster=cluster, ddf=ddf)(columns)[0].gradient
        limits = link_limits(m, eta, slopes, use.by, level)
    title = "Predictions" if layout.group is None else "Average predictions"
    return finished(
        use,
        title,
        layout.labelled(use.categories),
        joined(layout.reduced(found)),
        null=math.nan,
        level=level,
        hypothesis=hypothesis,
        limits=limits,
    )
