"""From no pooling by partial pooling to complete pooling: what a mixed model does to its levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, legend, plain, reference, remark
from mixwell.plots.caterpillar import level_axis, level_height
from mixwell.plots.effects import Effects, chosen, effects_of, ellipse
from mixwell.plots.pairs import CONTOURS, draw_contours
from mixwell.plots.pooling import Alone, alone, population
from mixwell.plots.style import MUTED, PARTIAL, POOLED, SINGLE, UNPOOLED, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["shrinkage", "shrinkage_columns"]

_MANY = 60  # levels above which symbols get smaller
_BEYOND = 1.5  # ranges between the deciles of levels alone, outside of which a level is left outside


@styled
@checked
def shrinkage(
    m: Model,
    group: str | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    ax: Any = None,
) -> Plot:
    """Draw how the model moves the estimate of each level towards the population.

    No pooling: the estimate from the rows of the level alone, everything else as the model has it; a
    regression for each level if all columns of X vary between levels. Partial pooling: fixed effects plus
    conditional modes, as in `coef`. Complete pooling: the fixed effects, the same for all levels. With one
    effect there is a row a level; with two a plane, with ellipses that hold 50 % and 95 % of the levels that
    the estimated distribution makes.

    Parameters
    ----------
    group
        The grouping factor; the first of the formula if None.
    columns
        One or two of the effects that vary between its levels; the first two if None.
    ax
        Axes to draw on.

    Returns
    -------
    Plot
        Data: level, term, no_pooling, partial_pooling, complete_pooling, rows, status ("estimated";
        "infinite", as of a level with only successes; or "not estimable", as of a slope from one row), term
        after term. In generalised models they are on the scale of the link. Levels without a finite estimate
        of their own have no arrow.

    Raises
    ------
    MixwellError
        MW-A127 for a model without random effects, for more than two columns, and for families in which a
        level has no estimate of its own; MW-A128 for an unknown group or effect.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> plot = m.plot.shrinkage(columns="Days")
    >>> {name: plot.data[name][:2].round(2).tolist() for name in ("no_pooling", "partial_pooling")}
    {'no_pooling': [21.76, 2.26], 'partial_pooling': [19.67, 1.85]}
    """
    effects = effects_of(m, group, "shrinkage")
    names = chosen(effects, columns, "shrinkage", 2)
    if not 1 <= len(names) <= 2:
        raise error(
            "MW-A127",
            plot="shrinkage",
            reason=f"a plane has one or two dimensions, columns= names {len(names)}",
            advice="Draw pairs of columns one after the other.",
        )
    data = shrinkage_columns(effects, alone(m, effects), population(m, effects), names)
    if len(names) == 1:
        axes = canvas(size=(SINGLE, level_height(len(effects.levels)) + 0.2), ax=ax)
        said = _draw_rows(axes[0], effects, data)
        axes[0].set_xlabel(plain(names[0]))
    else:
        axes = canvas(size=(SINGLE, 3.3), ax=ax)
        said = _draw_plane(axes[0], effects, data)
        at = effects.at(names)
        centre = np.array([data["complete_pooling"][i * len(effects.levels)] for i in (0, 1)])
        said += _frame(axes[0], data, centre, effects.covariance[np.ix_(at, at)])
        axes[0].set_xlabel(plain(names[0]))
        axes[0].set_ylabel(plain(names[1]))
    if said:
        remark(axes, "; ".join(said))
    return finish("shrinkage", axes, data, m.design.frame.native_like)


def shrinkage_columns(effects: Effects, own: Alone, centre: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the three estimates of each level, effect after effect."""
    at, count = effects.at(names), len(effects.levels)
    return {
        "level": list(effects.levels) * len(at),
        "term": [name for name in names for _ in range(count)],
        "no_pooling": own.estimate[:, at].T.ravel(),
        "partial_pooling": (effects.modes + centre)[:, at].T.ravel(),
        "complete_pooling": np.repeat(np.asarray(centre)[at], count),
        "rows": np.tile(own.rows, len(at)),
        "status": own.status * len(at),
    }


def _arrows(ax: Axes, start: Any, stop: Any, *, many: bool) -> None:
    """Draw thin arrows between points (J, 2)."""
    ax.quiver(
        start[:, 0],
        start[:, 1],
        stop[:, 0] - start[:, 0],
        stop[:, 1] - start[:, 1],
        angles="xy",
        scale_units="xy",
        scale=1,
        units="dots",
        width=0.6 if many else 1.4,
        headwidth=5,
        headlength=6,
        headaxislength=5,
        minlength=0,
        minshaft=1.5,
        color=MUTED,
        zorder=1.5,
    )


def _draw_rows(ax: Axes, effects: Effects, data: dict[str, Any]) -> list[str]:
    order = np.argsort(data["partial_pooling"], kind="stable")
    rows = np.arange(order.size)
    own, partial = data["no_pooling"][order], data["partial_pooling"][order]
    centre = float(data["complete_pooling"][0])
    many = order.size > _MANY
    size = 1.8 if many else 3.8
    finite = np.isfinite(own)
    ax.hlines(
        rows[finite], own[finite], partial[finite], color=MUTED, linewidth=0.5 if many else 1.2, zorder=1
    )
    pooled = ax.axvline(centre, color=POOLED, linewidth=0.9, zorder=0.8)
    (alone_,) = ax.plot(
        own[finite], rows[finite], "o", markersize=size, mfc="white", mec=UNPOOLED, mew=0.6 if many else 1.1
    )
    (mixed,) = ax.plot(partial, rows, "o", markersize=size, color=PARTIAL, zorder=2.5)
    level_axis(ax, [effects.levels[j] for j in order], effects.group)
    said = []
    if not finite.all():
        endless = np.isinf(own)
        for sign, marker, edge in ((1, ">", 1.0), (-1, "<", 0.0)):
            beyond = rows[endless & (own * sign > 0)]
            ax.plot(
                np.full(beyond.size, edge),
                beyond,
                marker,
                transform=ax.get_yaxis_transform(),
                markersize=size + 1.0,
                color=UNPOOLED,
                clip_on=False,
            )
        said = _without(data["status"], order.size)
    legend(ax, [alone_, mixed, pooled], ["no pooling", "partial", "complete"])
    return said


def _draw_plane(ax: Axes, effects: Effects, data: dict[str, Any]) -> list[str]:
    count = len(effects.levels)
    own = data["no_pooling"].reshape(2, count).T
    partial = data["partial_pooling"].reshape(2, count).T
    centre = data["complete_pooling"].reshape(2, count)[:, 0]
    many = count > _MANY
    size = 1.8 if many else 3.4
    finite = np.isfinite(own).all(axis=1)
    _arrows(ax, own[finite], partial[finite], many=many)
    (alone_,) = ax.plot(
        own[finite, 0],
        own[finite, 1],
        "o",
        markersize=size,
        mfc="white",
        mec=UNPOOLED,
        mew=0.6 if many else 1.1,
    )
    (mixed,) = ax.plot(partial[:, 0], partial[:, 1], "o", markersize=size, color=PARTIAL, zorder=2.5)
    (pooled,) = ax.plot(*centre, "P", markersize=7, color=POOLED, mec="white", mew=0.6, zorder=3)
    legend(ax, [alone_, mixed, pooled], ["no pooling", "partial", "complete"])
    said = [] if finite.all() else _without(data["status"], count)
    return [f"{count} levels of {effects.group}; ellipses: 50 %, 95 % of levels", *said]


def _frame(ax: Axes, data: dict[str, Any], centre: Any, covariance: Any) -> list[str]:
    """Draw the ellipses, and let no level that is far off on its own squeeze the others; say how many."""
    draw_contours(ax, centre, covariance)
    reference(ax, x=float(centre[0]), y=float(centre[1]))
    contour = ellipse(centre, covariance, CONTOURS[-1])
    own = data["no_pooling"].reshape(2, -1).T
    partial = data["partial_pooling"].reshape(2, -1).T
    inside = np.isfinite(own).all(axis=1)
    shown = inside.copy()
    for at, limit in ((0, ax.set_xlim), (1, ax.set_ylim)):
        within = np.concatenate([contour[:, at], partial[:, at]])
        near = own[inside, at]
        if near.size:
            fences = np.quantile(near, [0.1, 0.9])
            room = _BEYOND * np.ptp(fences)
            near = near[(near >= fences[0] - room) & (near <= fences[1] + room)]
        low, high = min([within.min(), *near]), max([within.max(), *near])
        margin = 0.04 * (high - low) or 1.0
        limit(low - margin, high + margin)
        shown &= (own[:, at] >= low - margin) & (own[:, at] <= high + margin)
    beyond = int(np.count_nonzero(inside & ~shown))
    return [f"{beyond} alone beyond the axes"] if beyond else []


def _without(status: Sequence[str], count: int) -> list[str]:
    own = list(status)[:count]
    endless, few = own.count("infinite"), own.count("not estimable")
    said = [f"{endless} infinite"] * bool(endless) + [f"{few} not estimable"] * bool(few)
    return [f"{', '.join(said)} alone: no arrow"] if said else []
