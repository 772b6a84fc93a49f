"""Forest plot: coefficients and standard deviations with intervals, of one or several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mixwell.errors import error
from mixwell.options import checked, choice
from mixwell.plots.canvas import Plot, canvas, finish, legend, reference
from mixwell.plots.intervals import dodge, draw_intervals, height_of, line_axis, ratio_axis, readable
from mixwell.plots.style import DOUBLE, MARKERS, SEQUENCE, styled
from mixwell.reporting.view import checked_level, coefficients, is_generalized, ratio

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mixwell.inference.wald import Ddf
    from mixwell.reporting.view import Model

__all__ = ["forest", "forest_columns"]


@styled
@checked
def forest(
    m: Model,
    others: Model | Sequence[Model] = (),
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    ddf: Ddf | None = None,
    intercept: bool = False,
    exponentiate: bool = False,
    random: Literal["profile", "wald", "none"] | None = None,
    ax: Any = None,
) -> Plot:
    """Draw the coefficients with their intervals, and beside them the standard deviations.

    Parameters
    ----------
    others
        A model, or several, to draw beside this one.
    names
        Of the models, this one first.
    level
        Coverage of the intervals.
    ddf
        Of the coefficients of linear models, as in `tidy`.
    intercept
        Show the intercept, too; it usually is so far from the other coefficients that they become points.
    exponentiate
        Show exp(coefficient), such as odds ratios, on a logarithmic axis.
    random
        Intervals of the standard deviations: "profile" or "wald", see `confint`; an estimate without interval
        is hollow. "none" leaves this panel out. If None, profile, and Wald for fits with `nagq=0`.
    ax
        Axes to draw on, one a panel.

    Returns
    -------
    Plot
        `.data`: model, part ("fixed", "random"), term, estimate, lower, upper.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> drawn = m.plot.forest(m.update(method="ML"), names=["REML", "ML"])
    >>> drawn.data["term"][:2], len(drawn.data["term"])
    (['Days', 'sd_(Intercept)|Subject'], 8)
    """
    checked_level(level)
    models = [m, *(others if isinstance(others, Sequence) else [others])]
    if random is None:  # the fast stage has no likelihood to profile
        random = "wald" if any(getattr(each, "nagq", 1) == 0 for each in models) else "profile"
    choice("random", random, ("profile", "wald", "none"))
    if names is None:
        names = [""] if len(models) == 1 else [f"model {i + 1}" for i in range(len(models))]
    if len(names) != len(models) or isinstance(names, str):
        raise error("MW-A07", option="names", expected=f"{len(models)} names, one a model", given=names)
    columns = forest_columns(models, names, level=level, ddf=ddf, intercept=intercept, random=random)
    if exponentiate:
        fixed = np.array([part == "fixed" for part in columns["part"]])
        with np.errstate(over="ignore"):
            for name in ("estimate", "lower", "upper"):
                columns[name] = np.where(fixed, np.exp(columns[name]), columns[name])
    parts = [part for part in ("fixed", "random") if part in columns["part"]]
    if not parts:
        reason = "the models have neither coefficients nor standard deviations"
        raise error("MW-A127", plot="forest", reason=reason, advice="random='profile' shows the latter.")
    lines = max(len(_terms(columns, part)) for part in parts)
    size = (DOUBLE if len(parts) > 1 else 4.2, height_of(lines, len(models)) + 0.2 * (len(models) > 1))
    axes = canvas(1, len(parts), size=size, ax=ax)
    percent = f"{100 * level:g} %"
    for panel, part in zip(axes, parts, strict=True):
        handles = _draw(panel, columns, part, list(names), lines // 2)
        if part == "random":
            how = "profile" if random == "profile" else "Wald"
            panel.set_xlabel(f"Standard deviation\n{percent} {how} interval")
            panel.set_xlim(left=-0.03 * panel.get_xlim()[1])
            reference(panel, x=0.0)
        elif exponentiate:
            ratio_axis(panel)
            reference(panel, x=1.0)
            panel.set_xlabel(f"{ratio(m) or 'exp(coefficient)'}\n{percent} interval")
        else:
            reference(panel, x=0.0)
            panel.set_xlabel(f"Coefficient\n{percent} interval")
    if len(models) > 1:
        legend(axes, handles, names)
    return finish("forest", axes, columns, m.design.frame.native_like)


def _terms(columns: Mapping[str, Any], part: str) -> list[str]:
    """Terms of a part, by the first model that has them; sigma last."""
    found = list(dict.fromkeys(t for t, p in zip(columns["term"], columns["part"], strict=True) if p == part))
    return found if "sigma" not in found else [*(each for each in found if each != "sigma"), "sigma"]


def _draw(axes: Axes, columns: Mapping[str, Any], part: str, names: list[str], room: int) -> list[Artist]:
    """Draw the coefficients or the standard deviations of all models on one axes."""
    terms, handles = _terms(columns, part), []
    keys = list(zip(columns["model"], columns["part"], strict=True))
    for at, name in enumerate(names):
        rows = [i for i, key in enumerate(keys) if key == (name, part)]
        positions = [terms.index(columns["term"][i]) + dodge(at, len(names)) for i in rows]
        own = {each: columns[each][rows] for each in ("estimate", "lower", "upper")}
        look = {"color": SEQUENCE[at % len(SEQUENCE)], "marker": MARKERS[at % len(MARKERS)]}
        handles.append(draw_intervals(axes, own, positions, **look))
    line_axis(axes, [readable(term) for term in terms], room)
    return handles


def forest_columns(
    models: Sequence[Model],
    names: Sequence[str],
    *,
    level: float = 0.95,
    ddf: Ddf | None = None,
    intercept: bool = False,
    random: Literal["profile", "wald", "none"] = "profile",
) -> dict[str, Any]:
    """Return coefficients and standard deviations of several models, with intervals.

    Parameters
    ----------
    names
        Of the models.
    level, ddf
        Of the intervals of the coefficients, which are those of `tidy(level=)`.
    intercept
        Whether to show it beside other coefficients.
    random
        Intervals of the standard deviations, a method of `confint`; "none" leaves these out altogether.

    Returns
    -------
    dict
        Columns model, part ("fixed", "random"), term, estimate, lower, upper; terms of `random` are those of
        `confint`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> columns = forest_columns([m], ["m"], random="wald")
    >>> columns["term"], columns["lower"].round(1).tolist()
    (['Days', 'sd_(Intercept)|Subject', 'sigma'], [8.9, 25.9, 27.8])
    """
    rows: list[tuple[str, str, str, float, float, float]] = []
    for m, name in zip(models, names, strict=True):
        own = coefficients(m, level, None if is_generalized(m) else ddf)
        shown = [row for row in own if intercept or row.term != "(Intercept)"] or own
        rows += [(name, "fixed", row.term, row.estimate, row.lower, row.upper) for row in shown]
        if random != "none":
            rows += [(name, "random", *row) for row in _deviations(m, level, random)]
    header = ("model", "part", "term", "estimate", "lower", "upper")
    columns: dict[str, Any] = {each: [row[i] for row in rows] for i, each in enumerate(header)}
    return columns | {each: np.array(columns[each], dtype=np.float64) for each in header[3:]}


def _deviations(
    m: Model, level: float, method: Literal["profile", "wald"]
) -> list[tuple[str, float, float, float]]:
    """Term, estimate, lower and upper of the standard deviations."""
    terms = _sd_names(m)
    if not terms:
        return []
    table = m.confint(terms, level=level, method=method)
    estimate, lower, upper = (list(map(float, table[name])) for name in ("estimate", "lower", "upper"))
    return list(zip(terms, estimate, lower, upper, strict=True))


def _sd_names(m: Model) -> list[str]:
    from mixwell.inference.coordinates import covariance_targets  # noqa: PLC0415

    own = [each.name for each in covariance_targets(m.design.random) if each.kind == "sd"]
    return [name for name in own if name != "sigma" or not is_generalized(m)]
