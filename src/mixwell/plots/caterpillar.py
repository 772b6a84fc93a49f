"""Conditional modes in order, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mixwell.errors import error
from mixwell.inference.distributions import normal_quantile
from mixwell.options import checked
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    outer_labels,
    plain,
    reference,
    remark,
    short_labels,
    shorten,
)
from mixwell.plots.effects import Effects, chosen, effects_of
from mixwell.plots.style import DOUBLE, MODEL, SINGLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["caterpillar", "caterpillar_columns", "level_axis", "level_height"]

_LABELLED = 60  # levels that have room for their names
_TALLEST = 8.5  # inches


@styled
@checked
def caterpillar(
    m: Model,
    group: str | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    sort: str | None = None,
    level: float = 0.95,
    joint: bool = False,
    ax: Any = None,
) -> Plot:
    """Draw the conditional modes of the random effects with their intervals, one panel an effect.

    Parameters
    ----------
    group
        The grouping factor; the first of the formula if None.
    columns
        Effects to show; all if None.
    sort
        The effect by which levels are ordered, the first one shown if None. All panels have the same order.
    level
        Probability that an interval has given the data.
    joint
        Whether intervals have the uncertainty of the coefficients too (as `ranef(condvar="joint")`), or take
        all parameters as known, as in lme4.
    ax
        Axes to draw on, one an effect.

    Returns
    -------
    Plot
        Data: group, level, term, estimate, condsd, lower, upper; in the order of the plot, lowest first.

    Raises
    ------
    MixwellError
        MW-A127 for a model without random effects, MW-A128 for an unknown group or effect, MW-A49 for a level
        that is not between 0 and 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> plot = m.plot.caterpillar()
    >>> plot.data["level"], plot.data["upper"].round(1)[:2].tolist()
    (['F', 'D', 'A', 'B', 'C', 'E'], [-6.6, 15.3])
    """
    effects = effects_of(m, group, "caterpillar")
    names = chosen(effects, columns, "caterpillar")
    by = chosen(effects, names[0] if sort is None else sort, "caterpillar")[0]
    sd = effects.sd
    if joint:
        sd = np.sqrt(np.maximum(np.einsum("jkk->jk", m.ranef_covariance(effects.group)), 0.0))
    data = caterpillar_columns(effects, sd, names, by, level)
    count, k = len(effects.levels), len(names)
    size = (SINGLE if k == 1 else DOUBLE, level_height(count))
    axes = canvas(1, k, size=size, ax=ax, share="y")
    for at, (panel, name) in enumerate(zip(axes, names, strict=True)):
        _draw(panel, {key: column[at * count : (at + 1) * count] for key, column in data.items()})
        if k > 1:
            panel.set_title(plain(name))
    shown = [data["level"][i] for i in range(count)]
    level_axis(axes[0], shown, effects.group)
    for panel in axes[1:]:
        panel.tick_params(axis="y", length=0)
    what = "conditional mode" if k > 1 else f"conditional mode of {names[0]}"
    outer_labels(axes, what, axes[0].get_ylabel())
    if len(axes) > 1:
        axes[0].set_ylabel("")
    remark(axes, f"bars: {100 * level:g} % intervals")
    return finish("caterpillar", axes, data, m.design.frame.native_like)


def caterpillar_columns(
    effects: Effects, sd: Any, names: Sequence[str], sort: str, level: float
) -> dict[str, Any]:
    """Return modes and intervals, effect after effect, levels in the order of one of the effects."""
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    order = np.argsort(effects.modes[:, effects.at([sort])[0]], kind="stable")
    at = effects.at(names)
    estimate = effects.modes[order][:, at].T.ravel()
    condsd = sd[order][:, at].T.ravel()
    half = normal_quantile(0.5 + 0.5 * level) * condsd
    labels = [effects.levels[j] for j in order]
    return {
        "group": [effects.group] * estimate.size,
        "level": labels * len(at),
        "term": [name for name in names for _ in labels],
        "estimate": estimate,
        "condsd": condsd,
        "lower": estimate - half,
        "upper": estimate + half,
    }


def _draw(ax: Axes, data: dict[str, Any]) -> None:
    rows = np.arange(len(data["estimate"]))
    many = rows.size > _LABELLED
    reference(ax, x=0.0)
    ax.hlines(rows, data["lower"], data["upper"], color=MODEL, linewidth=0.5 if many else 1.0, alpha=0.7)
    ax.plot(data["estimate"], rows, "o", color=MODEL, markersize=1.5 if many else 3.2)


def level_height(count: int) -> float:
    """Inches of a plot with one row a level."""
    return float(np.clip(0.9 + 0.135 * count, 1.7, _TALLEST if count <= _LABELLED else 5.0))


def level_axis(ax: Axes, labels: Sequence[str], group: str) -> None:
    """Write levels at rows 0, 1, ... of the vertical axis; only say how many there are if they do not fit."""
    count = len(labels)
    ax.set_ylim(-0.7, count - 0.3)
    if count <= _LABELLED:
        ax.set_yticks(range(count), short_labels(labels))
        ax.set_ylabel(plain(group))
        ax.tick_params(axis="y", length=0, labelsize=7 if count <= 40 else 6)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{count} levels of {shorten(group, 30)}, in order")
