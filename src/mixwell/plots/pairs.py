"""Random effects against each other, with the distribution that the model estimated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, plain, reference, remark, shape_of
from mixwell.plots.effects import Effects, chosen, effects_of, ellipse
from mixwell.plots.style import DOUBLE, MODEL, MUTED, SINGLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["CONTOURS", "draw_contours", "pair_columns", "ranef_pairs"]

CONTOURS = (0.5, 0.95)  # probabilities


@styled
@checked
def ranef_pairs(
    m: Model, group: str | None = None, *, columns: Sequence[str] | None = None, ax: Any = None
) -> Plot:
    """Draw the conditional modes of each pair of random effects, with ellipses of their distribution.

    Ellipses hold 50 % and 95 % of the levels that the estimated covariance makes. Modes are closer to zero
    than effects are: they fill the ellipses only where levels have many rows.

    Parameters
    ----------
    group
        The grouping factor; the first of the formula if None.
    columns
        Effects to show, at least two; all if None.
    ax
        Axes to draw on, one a pair.

    Returns
    -------
    Plot
        Data: group, level, x_term, y_term, x, y; pair after pair.

    Raises
    ------
    MixwellError
        MW-A127 for fewer than two effects, MW-A128 for an unknown group or effect.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> plot = m.plot.ranef_pairs()
    >>> plot.data["x"][:2].round(2).tolist(), plot.data["y"][:2].round(2).tolist()
    ([2.26, -40.4], [9.2, -8.62])
    """
    effects = effects_of(m, group, "ranef_pairs")
    names = chosen(effects, columns, "ranef_pairs")
    if len(names) < 2:
        raise error(
            "MW-A127",
            plot="ranef_pairs",
            reason=f"one effect has no pair ({names[0]} of {effects.group})",
            advice="It is for terms such as (x | group) with at least two effects.",
        )
    data = pair_columns(effects, names)
    every = list(combinations(names, 2))
    rows, across = shape_of(len(every), widest=3)
    size = (SINGLE, 3.0) if len(every) == 1 else (DOUBLE, DOUBLE / max(across, 2) * 0.95 * rows + 0.2)
    axes = canvas(rows, across, size=size, ax=ax, count=len(every))
    count = len(effects.levels)
    for at, (panel, pair) in enumerate(zip(axes, every, strict=True)):
        own = slice(at * count, (at + 1) * count)
        where = np.ix_(effects.at(pair), effects.at(pair))
        draw_contours(panel, np.zeros(2), effects.covariance[where])
        panel.plot(data["x"][own], data["y"][own], "o", color=MODEL, alpha=0.75 if count <= 60 else 0.4)
        reference(panel, x=0.0, y=0.0)
        panel.set_xlabel(plain(pair[0]))
        panel.set_ylabel(plain(pair[1]))
    remark(axes, f"modes of {count} levels of {effects.group}; ellipses: 50 %, 95 %")
    return finish("ranef_pairs", axes, data, m.design.frame.native_like)


def pair_columns(effects: Effects, names: Sequence[str]) -> dict[str, Any]:
    """Return the modes of each pair of effects."""
    every = list(combinations(names, 2))
    count = len(effects.levels)
    first, second = ([effects.at([pair[i]])[0] for pair in every] for i in (0, 1))
    return {
        "group": [effects.group] * (count * len(every)),
        "level": list(effects.levels) * len(every),
        "x_term": [x for x, _ in every for _ in range(count)],
        "y_term": [y for _, y in every for _ in range(count)],
        "x": effects.modes[:, first].T.ravel(),
        "y": effects.modes[:, second].T.ravel(),
    }


def draw_contours(ax: Axes, centre: Any, covariance: Any) -> None:
    """Draw the ellipses of a bivariate normal distribution."""
    for probability in CONTOURS:
        contour = ellipse(np.asarray(centre, dtype=np.float64), covariance, probability)
        ax.plot(contour[:, 0], contour[:, 1], color=MUTED, linewidth=1.0, zorder=1)
