"""Slopes: derivatives of predictions in a variable, of rows or averaged.

A derivative is the difference of the fourth order of predictions whose variable was moved, and its gradient
in the parameters that of their gradients. Steps follow the value of the variable, so that log(x) stays
defined; for smooth functions the relative error is below 1e-8. Polynomials up to the fourth degree are exact
up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mixwell.errors import error
from mixwell.marginal.comparisons import changes_of, compared, wanted
from mixwell.marginal.counterfactual import Situations, Variable, model_variables, shifted
from mixwell.marginal.effects import Engine, Random, Values, default_ddf, engine, usual_ddf
from mixwell.marginal.layout import Layout, check_level, finished, joined, stacked
from mixwell.marginal.results import Effects
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model
    from mixwell.inference.wald import Ddf

__all__ = ["derivative", "emtrends", "slopes"]

Slope = Literal["dydx", "eyex", "eydx", "dyex"]

_STENCIL = ((1.0, 8.0 / 12.0), (2.0, -1.0 / 12.0))  # of symmetric differences: what does not move is zero
_STEP = 1e-3  # of the value
_WIDEST, _NARROWEST = 1e-3, 1e-6  # of the range


@checked
def slopes(
    m: Model,
    variables: str | Sequence[str] | None = None,
    *,
    newdata: Any = None,
    at: Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    average: bool = False,
    slope: Slope = "dydx",
    type: str | None = None,  # noqa: A002
    re: Random = "population",
    weights: Any = None,
    hypothesis: Any = None,
    vcov: str = "model",
    cluster: Any = None,
    ddf: Ddf | None = None,
    level: float = 0.95,
) -> Effects:
    """Return slopes: how fast the prediction changes with a variable, in each row or averaged.

    Parameters
    ----------
    variables
        A name or several; all variables of the fixed effects if None. Factors have no slope: each level is
        compared with the first; and so are the values of a number that is 0 or 1.
    newdata, at, by, average
        Rows, and averages of them, as in `predictions`: None and average=True give average marginal effects,
        newdata="mean" those at the mean.
    slope
        "dydx", or elasticities, of numbers: "eyex" d log y / d log x, "eydx" d log y / dx, "dyex"
        dy / d log x.
    type, re, weights, hypothesis, vcov, cluster, ddf, level
        As in `predictions`.

    Returns
    -------
    Effects

    Raises
    ------
    MixwellError
        As `predictions`; MW-A124 for an elasticity of a factor.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("y ~ x + I(x^2)", {"y": [1.0, 2.0, 5.0, 9.0, 18.0], "x": [0.0, 1.0, 2.0, 3.0, 4.0]})
    >>> at = m.slopes("x", at={"x": [0, 2]}, newdata="mean")
    >>> exact = m.fixef["x"] + 2 * m.fixef["I(x^2)"] * np.array([0, 2])
    >>> bool(np.allclose(at.estimate, exact, rtol=1e-10))
    True
    >>> round(float(m.slopes("x", average=True).estimate[0]), 6)
    4.1
    """
    choice("slope", slope, get_args(Slope))
    check_level(level)
    known = model_variables(m)
    chosen = wanted(known, variables, None)
    linear = slope[0] == "d" and (type == "link" or not hasattr(m, "family"))
    ddf = default_ddf(m, ddf, vcov, linear=linear)
    use = engine(m, type=type, re=re, vcov=vcov, cluster=cluster, ddf=ddf)
    layout = Layout.of(m, newdata, at=at, by=by, average=average, weights=weights, re=re)
    parts, table = [], []
    use(layout.rows.columns, loud=True)
    for name in chosen:
        for label, found in _changes(use, layout.rows, known[name], slope):
            parts += layout.reduced(found)
            table.append((name, label))
    return finished(
        use,
        "Slopes" if layout.group is None else "Average slopes",
        stacked(table, layout.labelled(use.categories), layout.size * len(use.categories)),
        joined(parts),
        null=0.0,
        level=level,
        hypothesis=hypothesis,
        derived=True,
    )


@checked
def emtrends(
    m: Model,
    variable: str,
    by: str | Sequence[str] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    vcov: str = "model",
    cluster: Any = None,
    ddf: Ddf | None = None,
    level: float = 0.95,
) -> Effects:
    """Return slopes of the linear predictor at the reference grid, for the levels of factors.

    The grid is that of `emmeans`: all combinations of the levels of factors, with numbers at their means, or
    at both values if they have two; what is not in `by` is averaged with equal weights. For slopes of means
    and averages over the data use `slopes`.

    Parameters
    ----------
    variable
        The number whose slope is wanted.
    by
        Factors for whose levels it is wanted; one average slope if None.
    at
        Values to set other variables to, or this one, where the slope depends on it; see `predictions`.
    vcov, cluster, level
        As in `predictions`.
    ddf
        By default those of `summary()`: of linear mixed models Satterthwaite's.

    Returns
    -------
    Effects
        `.hypothesis("pairwise", adjust="tukey")` compares the slopes.

    Notes
    -----
    As emtrends() in R's emmeans (Lenth 2016, J. Stat. Softw. 69(1)).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    >>> trends = m.emtrends("temp", by="recipe")
    >>> trends.labels["recipe"], trends.estimate.round(4).tolist(), trends.df.round(3).tolist()
    (['A', 'B', 'C'], [0.1537, 0.1646, 0.1558], [222.0, 222.0, 222.0])
    """
    known = model_variables(m)
    if not isinstance(variable, str):
        raise error("MW-A07", option="variable", expected="the name of a number", given=variable)
    wanted(known, variable, None)
    if known[variable].is_factor:
        raise error("MW-A124", what=f"no slope in the factor '{variable}'")
    check_level(level)
    use = engine(m, type="link", re="population", vcov=vcov, cluster=cluster, ddf=usual_ddf(m, ddf, vcov))
    layout = Layout.of(
        m, "grid", at=at, by=by, average=by is None, weights=None, re="population", reference=True
    )
    use(layout.rows.columns, loud=True)
    found = layout.reduced(derivative(use, layout.rows, known[variable]))
    return finished(
        use,
        f"Slopes of the linear predictor in {variable}",
        {"variable": [variable] * layout.size} | dict(layout.labels),
        joined(found),
        null=0.0,
        level=level,
        hypothesis=None,
        derived=True,
    )


def _changes(use: Engine, rows: Situations, variable: Variable, slope: str) -> list[tuple[str, list[Values]]]:
    """Slopes of a number, or differences of the levels of a factor, by category."""
    if variable.is_factor or (variable.is_zero_one and slope == "dydx"):
        if slope != "dydx":
            raise error("MW-A124", what=f"no {slope!r} of the factor '{variable.name}'")
        out = []
        for change in changes_of(variable, None):
            before = use(rows.replaced({variable.name: change.before(rows)}))
            after = use(rows.replaced({variable.name: change.after(rows)}))
            out.append(
                (change.label, [compared("difference", b, a) for b, a in zip(before, after, strict=True)])
            )
        return out
    found = derivative(use, rows, variable)
    if slope == "dydx":
        return [("dY/dX", found)]
    x = rows.columns[variable.name].numeric()
    labels = {"eyex": "eY/eX", "eydx": "eY/dX", "dyex": "dY/eX"}
    if slope[2] == "e":
        found = [each.times(x) for each in found]
    if slope[0] == "e":
        found = [compared("ratio", level, each) for each, level in zip(found, use(rows.columns), strict=True)]
    return [(labels[slope], found)]


def derivative(use: Engine, rows: Situations, variable: Variable) -> list[Values]:
    """Differentiate predictions in a variable, with the gradients of the derivatives."""
    x = rows.columns[variable.name].numeric()
    fitted = variable.column.numeric()
    span = float(np.ptp(fitted)) or max(abs(float(fitted[0])), 1.0)
    h = np.clip(_STEP * np.abs(x), _NARROWEST * span, _WIDEST * span)
    h = np.where(x == 0.0, _WIDEST * span, h)
    out: list[Values] = []
    for distance, weight in _STENCIL:
        low, high = (
            use(rows.replaced({variable.name: shifted(rows.columns[variable.name], sign * distance * h)}))
            for sign in (-1.0, 1.0)
        )
        parts = [b.minus(a).times(weight / h) for a, b in zip(low, high, strict=True)]
        out = parts if not out else [a.plus(b) for a, b in zip(out, parts, strict=True)]
    return out
