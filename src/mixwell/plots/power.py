"""Power curves: simulated power with the error of the simulation, and the approximation without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    legend,
    outer_labels,
    plain,
    reference,
    remark,
    ribbon,
    shape_of,
)
from mixwell.plots.style import DOUBLE, MARKERS, SEQUENCE, SINGLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.planning.curve import PowerCurve

__all__ = ["power_curve"]


@styled
@checked
def power_curve(curve: PowerCurve, *, target: float | None = 0.8, ax: Any = None) -> Plot:
    """Draw power against the number of units: `mw.power_curve(...).plot()`.

    The first factor of `over` is the x axis, others have a colour for each size; tests have panels.

    Parameters
    ----------
    target
        Power that is aimed at, a line; None for no line.
    ax
        Axes to draw on, one a test.

    Returns
    -------
    Plot
        `.data` is the table of the curve.

    Notes
    -----
    The band is the 95 % Wilson interval of the simulated power of each size. The dashed line is the
    approximation by noncentral distributions; without simulation there is only this.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=10, within={"cond": ["a", "b"]}, repeats=5)
    >>> curve = mw.power_curve(
    ...     "y ~ cond + (1 | subject)",
    ...     plan,
    ...     {"condb": 0.3},
    ...     {"subject": 1.0},
    ...     over={"subject": [10, 20, 40]},
    ...     n_sim=0,
    ... )
    >>> [round(value, 2) for value in curve.plot().data["approximate"]]
    [0.32, 0.56, 0.85]
    """
    if target is not None and not (isinstance(target, (int, float)) and 0.0 < target < 1.0):
        raise error("MW-A07", option="target", expected="a number between 0 and 1, or None", given=target)
    columns = power_columns(curve)
    factors = list(curve.sizes[0])
    tests = list(dict.fromkeys(columns["test"]))
    simulated = bool(curve.points[0].n_sim)
    rows, across = shape_of(len(tests), widest=3)
    size = (SINGLE if len(tests) == 1 else DOUBLE, 2.5 if rows == 1 else min(1.9 * rows + 0.4, 9.0))
    axes = canvas(rows, across, size=size, ax=ax, share="xy" if len(tests) > 1 else "", count=len(tests))
    others = list(zip(*(columns[name] for name in factors[1:]), strict=True))
    others = others or [()] * len(columns["test"])
    groups = list(dict.fromkeys(others))
    handles: list[Any] = []
    for panel, test in zip(axes, tests, strict=True):
        handles = []
        if target is not None:
            reference(panel, y=target)
        for at, group in enumerate(groups):
            chosen = [
                i for i, key in enumerate(zip(columns["test"], others, strict=True)) if key == (test, group)
            ]
            chosen.sort(key=lambda i: columns[factors[0]][i])
            own = {name: np.asarray(column)[chosen] for name, column in columns.items()}
            handles.append(_draw(panel, own, own[factors[0]], at, simulated=simulated))
        panel.set_ylim(0.0, 1.02)
        if len(tests) > 1:
            panel.set_title(plain(test))
        panel.set_xticks(np.unique(columns[factors[0]]))
    outer_labels(axes, f"Number of units: {factors[0]}", "Power")
    if groups != [()]:
        names = [
            ", ".join(f"{name} {size}" for name, size in zip(factors[1:], group, strict=True))
            for group in groups
        ]
        legend(axes, handles, names)
    n = curve.points[0].n_sim
    said = f"{n} simulations a size, 95 % band; dashed: approximation" if simulated else "Not simulated"
    said += "" if target is None else f"; line: power {target:g}"
    remark(axes[0], said)
    return finish("power_curve", axes, columns, curve.points[0].model.design.frame.native_like)


def power_columns(curve: PowerCurve) -> dict[str, Any]:
    """Return the columns of the table of a curve.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=10, within={"cond": ["a", "b"]}, repeats=5)
    >>> effects, sd = {"condb": 0.3}, {"subject": 1.0}
    >>> curve = mw.power_curve("y ~ cond + (1 | subject)", plan, effects, sd, over={"subject": [10]}, n_sim=0)
    >>> list(power_columns(curve))
    ['subject', 'test', 'power', 'lower', 'upper', 'approximate', 'singular']
    """
    table = curve.table()
    names = [*curve.sizes[0], "test", "power", "lower", "upper", "approximate", "singular"]
    return {name: list(table[name]) for name in names}


def _draw(axes: Axes, own: Any, x: Any, at: int, *, simulated: bool) -> Any:
    color, marker = SEQUENCE[at % len(SEQUENCE)], MARKERS[at % len(MARKERS)]
    look: dict[str, Any] = {"color": color, "zorder": 2}
    (dashed,) = axes.plot(x, own["approximate"], linestyle="--" if simulated else "-", **look)
    if not simulated:
        dashed.set_marker(marker)
        return dashed
    dashed.set_linewidth(0.8)
    ribbon(axes, x, own["lower"], own["upper"], color=color)
    return axes.plot(x, own["power"], marker=marker, **look)[0]
