"""Influence: Cook's distance, DFBETAS and their like of rows or clusters, the largest ones named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mixwell.errors import error
from mixwell.options import checked, choice
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    outer_labels,
    reference,
    remark,
    shape_of,
    shorten,
)
from mixwell.plots.intervals import readable, row_labels
from mixwell.plots.style import ACCENT, DATA, DOUBLE, TEXT, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.inference.influence import Influence
    from mixwell.reporting.view import Model

__all__ = ["draw_influence", "influence", "influence_columns"]

Measure = Literal["cooks", "mdffits", "covratio", "covtrace", "hat", "dfbetas"]

_TITLES = {
    "cooks": "Cook's distance",
    "mdffits": "MDFFITS",
    "covratio": "Covariance ratio",
    "covtrace": "Covariance trace",
    "hat": "Leverage",
    "dfbetas": "DFBETAS",
}
_TICKS = 25  # units that all have their name on the axis
_LETTER = 4.0  # points, of a letter of a name


@checked
def influence(
    m: Model,
    group: str | None = None,
    *,
    measure: Measure = "cooks",
    label: int = 5,
    refit: bool | None = None,
    progress: bool = True,
    ax: Any = None,
) -> Plot:
    """Draw what each row, or each level of a grouping factor, does to the fit.

    Parameters
    ----------
    group, refit, progress
        As of `m.influence`: single rows if `group` is None.
    measure
        "cooks", "mdffits", "covratio", "covtrace", "hat", or "dfbetas" with a panel for each coefficient.
    label
        How many of the largest to name in each panel.
    ax
        Axes to draw on, one a panel.

    Returns
    -------
    Plot
        `.data`: unit (position of a row in the data, or level), measure, coefficient (of DFBETAS, else ""),
        value, named.

    Raises
    ------
    MixwellError
        MW-A127 for a generalised model, which has no `influence()`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> drawn = m.plot.influence("Subject", label=2)
    >>> [unit for unit, named in zip(drawn.data["unit"], drawn.data["named"]) if named]
    ['308', '335']
    """
    if not hasattr(m, "influence"):
        advice = "m.plot.residuals() and m.hatvalues() show rows that the model does not fit."
        reason = "generalised models have no influence()"
        raise error("MW-A127", plot="influence", reason=reason, advice=advice)
    choice("measure", measure, get_args(Measure))
    return draw_influence(
        m.influence(group, refit=refit, progress=progress), measure=measure, label=label, ax=ax
    )


@styled
@checked
def draw_influence(found: Influence, *, measure: Measure = "cooks", label: int = 5, ax: Any = None) -> Plot:
    """Draw influences that were computed before: `m.influence(...).plot()`.

    Parameters
    ----------
    measure, label, ax
        As of `influence`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    >>> draw_influence(m.influence(), measure="dfbetas").axes.size
    2
    """
    choice("measure", measure, get_args(Measure))
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise error("MW-A07", option="label", expected="a whole number, 0 or more", given=label)
    columns = influence_columns(found, measure, label)
    panels = list(dict.fromkeys(columns["coefficient"]))
    if not panels:
        advice = "DFBETAS are changes of coefficients: choose another measure."
        raise error("MW-A127", plot="influence", reason="the model has no coefficients", advice=advice)
    units = len(found.hat)
    rows, across = shape_of(len(panels), widest=2 if units <= _TICKS else 3)
    size = (DOUBLE if across > 1 else 4.4, 2.6 if rows == 1 else min(1.7 * rows + 0.5, 9.5))
    axes = canvas(rows, across, size=size, ax=ax, count=len(panels))
    of = np.array(columns["coefficient"])
    for panel, name in zip(axes, panels, strict=True):
        own = {key: np.array(column)[of == name] for key, column in columns.items()}
        _draw(panel, own, found)
        if name:
            panel.set_title(row_labels([readable(name)], 80 // across)[0])
        reference(panel, y=1.0 if measure == "covratio" else 0.0)
    outer_labels(axes, "Row" if found.group is None else found.group, _TITLES[measure])
    how = "estimated again" if found.refitted else "those of the fit"
    remark(axes[0], f"Covariance parameters without each: {how}")
    return finish("influence", axes, columns, found.model.design.frame.native_like)


def influence_columns(found: Influence, measure: str, label: int) -> dict[str, Any]:
    """Return one measure of all units, and which of them are the largest.

    Returns
    -------
    dict
        Columns unit, measure, coefficient, value, named. The largest are those farthest from 1 for covratio,
        and from 0 otherwise.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    >>> columns = influence_columns(m.influence(), "cooks", 1)
    >>> [int(unit) for unit, named in zip(columns["unit"], columns["named"]) if named]
    [9]
    """
    parts = [("", getattr(found, measure))]
    if measure == "dfbetas":
        parts = list(zip(found.model.fixef.names, found.dfbetas.T, strict=True))
    units = list(found.labels)
    out: dict[str, Any] = {name: [] for name in ("unit", "measure", "coefficient", "value", "named")}
    for coefficient, values in parts:
        far = np.abs(np.log(values)) if measure == "covratio" else np.abs(values)
        largest = np.argsort(-np.where(np.isnan(far), -1.0, far), kind="stable")[:label]
        named = np.zeros(len(units), dtype=bool)
        named[largest] = np.isfinite(values[largest])
        out["unit"] += units
        out["measure"] += [measure] * len(units)
        out["coefficient"] += [coefficient] * len(units)
        out["value"] += values.tolist()
        out["named"] += named.tolist()
    if found.group is None:
        out["unit"] = np.array(out["unit"], dtype=np.int64)
    return out | {"value": np.array(out["value"], dtype=np.float64)}


def _draw(axes: Axes, own: Any, found: Influence) -> None:
    values, named = own["value"], own["named"].astype(bool)
    units = len(values)
    x = own["unit"].astype(float) if found.group is None else np.arange(units, dtype=float)
    base = 1.0 if own["measure"][0] == "covratio" else 0.0
    for some, color in ((~named, DATA), (named, ACCENT)):
        axes.vlines(x[some], base, values[some], color=color, linewidth=0.9 if units < 100 else 0.5, zorder=1)
        size = 3.2 if units < 100 else 1.8
        axes.plot(x[some], values[some], "o", color=color, markersize=size, zorder=2)
    if own["measure"][0] in ("cooks", "mdffits", "covtrace", "hat"):
        axes.set_ylim(bottom=0.0)
    ticks = found.group is not None and units <= _TICKS
    if ticks:
        texts = [shorten(unit, 12) for unit in own["unit"]]
        upright = max(map(len, texts)) * units > 45
        axes.set_xticks(x, texts, rotation=90 if upright else 0)
        for tick, is_named in zip(axes.get_xticklabels(), named, strict=True):
            tick.set_color(ACCENT if is_named else TEXT)
        return
    if found.group is not None:
        axes.set_xticks([])
    _annotate(axes, x, values, own)


def _annotate(axes: Axes, x: Any, values: Any, own: Any) -> None:
    """Name the largest from left to right; a name that would cover another one goes farther out."""
    box: Any = axes.get_window_extent()
    dots = float(axes.figure.dpi) / 72
    width, height = box.width / dots, box.height / dots  # points, before the layout
    span, (low, high) = float(np.ptp(x)) or 1.0, axes.get_ylim()
    taken: list[tuple[float, float, float]] = []  # left and right end, and height of each name
    for i in np.flatnonzero(own["named"].astype(bool)):
        text = shorten(own["unit"][i], 18)
        up = 1.0 if values[i] >= 0 else -1.0
        half = 0.5 * _LETTER * len(text)
        at = (0.04 + 0.92 * (x[i] - x.min()) / span) * width
        middle = min(max(at, half), max(width - half, half))
        level = height * (values[i] - low) / (high - low) + 7 * up
        while any(middle - half < r and middle + half > left and abs(level - y) < 8 for left, r, y in taken):
            level += 8 * up
        taken.append((middle - half, middle + half, level))
        offset = (middle - at, level - height * (values[i] - low) / (high - low))
        line = {"arrowstyle": "-", "color": ACCENT, "linewidth": 0.4} if abs(offset[1]) > 8 else None
        place = (float(x[i]), float(values[i]))
        look: dict[str, Any] = {"fontsize": 6.5, "ha": "center", "va": "center", "color": ACCENT}
        axes.annotate(text, place, offset, textcoords="offset points", arrowprops=line, **look)
    scale = 1.4 * (high - low) / height  # room takes from what there was
    ends = [y * (high - low) / height + low for *_, y in taken]
    axes.set_ylim(
        min([low, *(end - 6 * scale for end in ends)]), max([high, *(end + 6 * scale for end in ends)])
    )
