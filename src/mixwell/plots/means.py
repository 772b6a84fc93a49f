"""Estimated marginal means with their intervals, and beside them the contrasts that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, legend, plain, reference
from mixwell.plots.intervals import dodge, draw_intervals, height_of, line_axis, ratio_axis
from mixwell.plots.style import DOUBLE, MARKERS, SEQUENCE, SINGLE, styled

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from mixwell.inference.wald import Ddf
    from mixwell.marginal.emmeans import Contrasts, EMMeans
    from mixwell.reporting.view import Model

__all__ = ["draw_means", "emmeans", "mean_columns"]

Array = NDArray[np.float64]


@checked
def emmeans(
    m: Model,
    specs: str | Sequence[str],
    *,
    by: str | Sequence[str] | None = None,
    method: str | Mapping[str, Sequence[float]] | None = "pairwise",
    adjust: Any = None,
    ax: Any = None,
    at: Mapping[str, Any] | None = None,
    weights: Any = "equal",
    type: Any = "link",  # noqa: A002
    ddf: Ddf | None = None,
    level: float = 0.95,
) -> Plot:
    """Draw estimated marginal means, and their contrasts with adjusted intervals in a panel of their own.

    Intervals of two means may overlap although the means differ: look at the contrasts.

    Parameters
    ----------
    specs, by, at, weights, type, ddf, level
        As of `m.emmeans`.
    method, adjust
        Of the contrasts, as of `EMMeans.contrast`; with method=None there are only the means.
    ax
        Axes to draw on, one a panel.

    Returns
    -------
    Plot
        `.data`: panel ("mean", "contrast"), label, by, estimate, lower, upper, p_value.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    >>> drawn = m.plot.emmeans("recipe")
    >>> drawn.data["label"]
    ['A', 'B', 'C', 'A - B', 'A - C', 'B - C']
    """
    means = m.emmeans(specs, by=by, at=at, weights=weights, type=type, ddf=ddf, level=level)
    return draw_means(means, method=method, adjust=adjust, ax=ax)


@styled
@checked
def draw_means(
    means: EMMeans,
    *,
    method: str | Mapping[str, Sequence[float]] | None = "pairwise",
    adjust: Any = None,
    ax: Any = None,
) -> Plot:
    """Draw marginal means that were computed before: `m.emmeans(...).plot()`.

    Parameters
    ----------
    method, adjust, ax
        As of `emmeans`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
    >>> draw_means(m.emmeans("recipe"), method=None).data["label"]
    ['A', 'B', 'C']
    """
    compared = method is not None and any(len(family) > 1 for family in means.families())
    contrasts = means.contrast(method, adjust=adjust) if compared and method is not None else None
    found = [means.columns(), *([] if contrasts is None else [contrasts.columns()])]
    columns = mean_columns(means, contrasts, found)
    if not np.isfinite(columns["estimate"]).any():
        advice = "The data do not determine them: leave out interactions, or fix other variables with at=."
        raise error("MW-A127", plot="emmeans", reason="none of the means is estimable", advice=advice)
    panels = ["mean", "contrast"][: len(found)]
    groups = list(dict.fromkeys(columns["by"]))
    labels = {panel: _labels(columns, panel) for panel in panels}
    lines = max(map(len, labels.values()))
    size = (DOUBLE if len(panels) > 1 else SINGLE, height_of(lines, len(groups)) + 0.2 * (len(groups) > 1))
    axes = canvas(1, len(panels), size=size, ax=ax)
    for panel, name in zip(axes, panels, strict=True):
        handles = _draw(panel, columns, name, groups)
        line_axis(panel, labels[name], lines // 2)
    own = [name for name in means.labels if name not in means.by]
    axes[0].set_ylabel(plain(", ".join(own)))
    axes[0].set_xlabel(f"{_quantity(means, found[0])}\n{_interval(means.level, means.adjust)}")
    if contrasts is not None:
        name = _estimate(found[1], contrasts.labels)
        ratio = name in ("ratio", "odds_ratio")
        if ratio:
            ratio_axis(axes[1])
            line_axis(axes[1], _divided(labels["contrast"], labels["mean"]), lines // 2)
        reference(axes[1], x=1.0 if ratio else 0.0)
        what = {"ratio": "Ratio", "odds_ratio": "Odds ratio"}.get(name, "Difference")
        axes[1].set_xlabel(f"{what}\n{_interval(contrasts.level, contrasts.adjust)}")
    if len(groups) > 1:
        shown = [f"{', '.join(means.by)}: {each}" if i == 0 else each for i, each in enumerate(groups)]
        legend(axes, handles, shown)
    return finish("emmeans", axes, columns, means.model.design.frame.native_like)


def _estimate(columns: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    """Name of the column of estimates: the first after the labels."""
    return next(each for each in columns if each not in labels)


def _divided(contrasts: list[str], means: list[str]) -> list[str]:
    """Labels of ratios: "a / b" for the pairs of means that are called "a - b"."""
    pairs = {f"{a} - {b}": f"{a} / {b}" for a in means for b in means}
    return [pairs.get(each, each) for each in contrasts]


def _quantity(means: EMMeans, columns: Mapping[str, Any]) -> str:
    response = means.model.design.response
    words = {"prob": "Probability", "rate": f"Mean of {response}", "response": f"Mean of {response}"}
    linear = getattr(means.model, "family", None) is None
    name = _estimate(columns, means.labels)
    return plain(words.get(name, f"Mean of {response}" if linear else "Mean linear predictor"))


def _interval(level: float, adjust: str) -> str:
    names = {
        "tukey": "Tukey",
        "bonferroni": "Bonferroni",
        "holm": "Holm",
        "sidak": "Šidák",
        "scheffe": "Scheffé",
    }
    how = "" if adjust == "none" else f", adjusted: {names.get(adjust, adjust)}"
    return f"{100 * level:g} % interval{how}"


def _labels(columns: Mapping[str, Any], panel: str) -> list[str]:
    return list(
        dict.fromkeys(
            label for label, own in zip(columns["label"], columns["panel"], strict=True) if own == panel
        )
    )


def _draw(axes: Axes, columns: Mapping[str, Any], panel: str, groups: list[str]) -> list[Artist]:
    labels, handles = _labels(columns, panel), []
    keys = list(zip(columns["panel"], columns["by"], strict=True))
    for at, group in enumerate(groups):
        rows = [i for i, key in enumerate(keys) if key == (panel, group)]
        positions = [labels.index(columns["label"][i]) + dodge(at, len(groups)) for i in rows]
        own = {name: columns[name][rows] for name in ("estimate", "lower", "upper")}
        look = {"color": SEQUENCE[at % len(SEQUENCE)], "marker": MARKERS[at % len(MARKERS)]}
        handles.append(draw_intervals(axes, own, positions, **look))
    return handles


def mean_columns(
    means: EMMeans, contrasts: Contrasts | None, found: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return marginal means and contrasts as one table.

    Parameters
    ----------
    found
        Columns of both, if they have been computed.

    Returns
    -------
    dict
        Columns panel ("mean", "contrast"), label, by (levels of `by`, joined), estimate, lower, upper,
        p_value (NaN of means).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
    >>> means = m.emmeans("recipe")
    >>> columns = mean_columns(means, means.contrast("consec"))
    >>> columns["label"], columns["estimate"].round(2).tolist()
    (['A', 'B', 'C', 'B - A', 'C - B'], [33.12, 31.64, 31.6, -1.48, -0.04])
    """
    if found is None:
        found = [means.columns(), *([] if contrasts is None else [contrasts.columns()])]
    own = [name for name in means.labels if name not in means.by]
    groups = _joined(means.labels, means.by)
    parts = [("mean", _joined(means.labels, own), groups, found[0], _estimate(found[0], means.labels))]
    if contrasts is not None:
        labels = [str(each) for each in contrasts.labels["contrast"]]
        groups = _joined(contrasts.labels, means.by)
        parts.append(("contrast", labels, groups, found[1], _estimate(found[1], contrasts.labels)))
    columns: dict[str, Any] = {"panel": [], "label": [], "by": []}
    numbers: dict[str, list[Array]] = {"estimate": [], "lower": [], "upper": [], "p_value": []}
    for panel, labels, by, source, name in parts:
        columns["panel"] += [panel] * len(labels)
        columns["label"] += labels
        columns["by"] += by
        for key, column in (("estimate", name), ("lower", "lower"), ("upper", "upper")):
            numbers[key].append(np.asarray(source[column], dtype=np.float64))
        numbers["p_value"].append(np.asarray(source.get("p_value", np.full(len(labels), np.nan))))
    return columns | {key: np.concatenate(each) for key, each in numbers.items()}


def _joined(labels: Any, names: Sequence[str]) -> list[str]:
    """Levels of several factors as one text, one a row."""
    if not names:
        return [""] * len(next(iter(labels.values())))
    rows = zip(*(labels[name] for name in names), strict=True)
    return [" ".join(_text(value) for value in row) for row in rows]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else level_text(value)
