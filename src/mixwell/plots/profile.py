"""Profile plots: zeta against each parameter, and traces and contours of all pairs (Bates and Watts 1988)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, plain, reference, remark, shape_of
from mixwell.plots.intervals import readable
from mixwell.plots.style import ACCENT, DOUBLE, MODEL, MUTED, PLUS, SINGLE, TEXT, styled
from mixwell.plots.zeta import LEVELS, drawable, pair_columns, zeta_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.inference.profile import Profile
    from mixwell.reporting.view import Model

__all__ = ["draw_pairs", "draw_profile", "profile", "profile_pairs"]

_WIDE = 300.0  # largest over smallest value, beyond which the axis is logarithmic
_MOST = 8  # parameters whose pairs can be read on one page


@checked
def profile(
    m: Model,
    parameters: str | list[str] | tuple[str, ...] | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    absolute: bool = False,
    ax: Any = None,
) -> Plot:
    """Draw zeta, the signed root of the likelihood ratio, against each parameter.

    Where the curve is a straight line a Wald interval would do. Vertical lines are the limits of intervals.

    Parameters
    ----------
    parameters
        As of `m.profile`; all if None.
    levels
        Of the intervals.
    absolute
        Draw |zeta|, with the intervals as horizontal lines.
    ax
        Axes to draw on, one a parameter.

    Returns
    -------
    Plot
        `.data`: term, what ("curve", "point", "limit"), level, value, zeta.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> m.plot.profile(levels=[0.95]).axes.size
    3
    """
    return draw_profile(m.profile(parameters), levels=levels, absolute=absolute, ax=ax)


@checked
def profile_pairs(
    m: Model,
    parameters: str | list[str] | tuple[str, ...] | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    ax: Any = None,
) -> Plot:
    """Draw the profile traces of all pairs of parameters, with contours of the likelihood.

    Above the diagonal on the scale of zeta, where independent and normal parameters have straight traces and
    circles; below it on their own. The trace of a parameter is where the other one is best.

    Parameters
    ----------
    parameters
        As of `m.profile`, eight at most.
    levels
        Of the joint confidence regions that the contours bound.
    ax
        Axes to draw on, one a panel, row after row.

    Returns
    -------
    Plot
        `.data`: first, second, what ("trace of first", "trace of second", "contour"), level, first_value,
        second_value, first_zeta, second_zeta.

    Raises
    ------
    MixwellError
        MW-A129 for fewer than two parameters, or too many.

    Notes
    -----
    Contours are interpolated between the points where they meet the traces (Bates and Watts 1988, appendix
    A6), which are exact; they are not solved for. At the end of a parameter's range they run along it.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> m.plot.profile_pairs(["sd_(Intercept)|Batch", "sigma"], levels=[0.5, 0.95]).axes.size
    4
    """
    return draw_pairs(m.profile(parameters), levels=levels, ax=ax)


@styled
@checked
def draw_profile(
    found: Profile, *, levels: Sequence[float] = LEVELS, absolute: bool = False, ax: Any = None
) -> Plot:
    """Draw a profile that was computed before: `m.profile().plot()`.

    Parameters
    ----------
    levels, absolute, ax
        As of `profile`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> draw_profile(m.profile("sigma"), levels=[0.95]).axes.get_xlabel()
    'sigma'
    """
    levels = checked_levels(levels)
    curves = drawable(found)
    if not curves:
        raise error(
            "MW-A127",
            plot="profile",
            reason="none of the parameters is identified",
            advice="A correlation beside a variance of zero has no profile: name other parameters.",
        )
    columns = zeta_columns(found, levels)
    rows, across = shape_of(len(curves), widest=3)
    size = (SINGLE if across == 1 else DOUBLE, 2.6 if across == 1 else min(1.9 * rows + 0.3, 9.5))
    axes = canvas(rows, across, size=size, ax=ax, count=len(curves))
    terms = np.array(columns["term"])
    for panel, curve in zip(axes, curves, strict=True):
        rows_of = terms == curve.name
        own = {name: np.array(column)[rows_of] for name, column in columns.items()}
        _draw_zeta(panel, own, absolute=absolute, positive=curve.bounds[0] >= 0)
        panel.set_xlabel(_wrapped(readable(curve.name), 40 if across == 1 else 34))
        if panel in axes[::across]:
            panel.set_ylabel("|ζ|" if absolute else "ζ")
    shown = ", ".join(f"{100 * level:g}" for level in levels)
    lines = "horizontal" if absolute else "vertical"
    title = getattr(found, "title", "")
    said = f"{title}; {lines} lines: {shown} % intervals" if levels else title
    remark(axes[0], said)
    return finish("profile", axes, columns, lambda table: found.to_table(dict(table)))


def _draw_zeta(axes: Axes, own: Mapping[str, Any], *, absolute: bool, positive: bool) -> None:
    curve, point, limit = (own["what"] == what for what in ("curve", "point", "limit"))
    low, high = float(own["value"].min()), float(own["value"].max())
    if positive and low > 0 and high > _WIDE * low:  # a dispersion that may be endless
        axes.set_xscale("log")
    zeta = np.abs(own["zeta"]) if absolute else own["zeta"]
    reference(axes, y=0.0)
    if absolute:
        for level in np.unique(own["level"][limit]):
            at = limit & (own["level"] == level)
            axes.plot(own["value"][at], zeta[at], color=ACCENT, linewidth=0.8, zorder=1.5)
    axes.vlines(own["value"][limit], 0.0, zeta[limit], color=ACCENT, linewidth=0.8, zorder=1.5)
    axes.plot(own["value"][curve], zeta[curve], color=MODEL, zorder=2)
    axes.plot(own["value"][point], zeta[point], ".", color=MODEL, markersize=2.5, zorder=3)


@styled
@checked
def draw_pairs(found: Profile, *, levels: Sequence[float] = LEVELS, ax: Any = None) -> Plot:
    """Draw the pairs of a profile that was computed before: `m.profile().plot_pairs()`.

    Parameters
    ----------
    levels, ax
        As of `profile_pairs`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> sorted(set(draw_pairs(m.profile("random"), levels=[0.9]).data["what"]))
    ['contour', 'trace of first', 'trace of second']
    """
    levels = checked_levels(levels)
    names = [curve.name for curve in drawable(found)]
    k = len(names)
    if not 2 <= k <= _MOST:
        raise error("MW-A129", count=k, most=_MOST, available=found.names)
    columns = pair_columns(found, levels)
    width = min(1.25 * k + 1.2, DOUBLE)
    axes = np.array(canvas(k, k, size=(width, width * 0.94), ax=ax), dtype=object).reshape(k, k)
    first, second = np.array(columns["first"]), np.array(columns["second"])
    ends = {name: _range(columns, first, second, name) for name in names}
    top = float(np.nanmax(np.abs([columns["first_zeta"], columns["second_zeta"]]))) * 1.08
    for i in range(k):
        for j in range(k):
            panel = axes[i, j]
            if i != j:
                a, b = min(i, j), max(i, j)
                rows = (first == names[a]) & (second == names[b])
                own = {name: np.array(column)[rows] for name, column in columns.items()}
                _draw_pair(panel, own, zeta=i < j)
            _frame(panel, (i, j, k), ends[names[j]], ends[names[i]], top)
        _diagonal(axes[i, i], names[i])
    return finish("profile_pairs", list(axes.ravel()), columns, lambda table: found.to_table(dict(table)))


def _draw_pair(axes: Axes, own: Mapping[str, Any], *, zeta: bool) -> None:
    """Draw the second against the first on their own scales, or the first against the second in zeta."""
    x, y = ("second_zeta", "first_zeta") if zeta else ("first_value", "second_value")
    for level in np.unique(own["level"][own["what"] == "contour"]):
        at = (own["what"] == "contour") & (own["level"] == level)
        axes.plot(own[x][at], own[y][at], color=MODEL, linewidth=0.8, zorder=2)
    for what, color in (("trace of first", ACCENT), ("trace of second", PLUS)):
        at = own["what"] == what
        axes.plot(own[x][at], own[y][at], color=color, linewidth=1.0, zorder=1.5)


def _frame(axes: Axes, place: tuple[int, int, int], x: Any, y: Any, top: float) -> None:
    """Set ranges; show ticks only at the edges of the triangle that has this scale."""
    i, j, k = place
    axes.spines[["top", "right"]].set_visible(True)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    axes.tick_params(labelsize=6, length=2)
    if i < j:
        axes.set_xlim(-top, top)
        axes.set_ylim(-top, top)
        ticks = [-2, 0, 2]
        axes.set_xticks(ticks if i == 0 else [])
        axes.set_yticks(ticks if j == k - 1 else [])
        axes.xaxis.tick_top()
        axes.yaxis.tick_right()
    elif i > j:
        axes.set_xlim(*x)
        axes.set_ylim(*y)
        axes.locator_params(nbins=3)
        if i < k - 1:
            axes.tick_params(axis="x", labelbottom=False, length=0)
        if j > 0:
            axes.tick_params(axis="y", labelleft=False, length=0)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_box_aspect(1)


def _diagonal(axes: Axes, name: str) -> None:
    axes.set_facecolor("#F5F5F5")
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "color": TEXT}
    axes.text(0.5, 0.5, _wrapped(readable(name), 14), transform=axes.transAxes, **look)


def _range(columns: Any, first: Any, second: Any, name: str) -> tuple[float, float]:
    parts = [
        np.asarray(columns["first_value"])[first == name],
        np.asarray(columns["second_value"])[second == name],
    ]
    values = np.concatenate(parts)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.06 * (high - low or 1.0)
    return low - room, high + room


def _wrapped(text: str, width: int) -> str:
    return "\n".join(plain(line) for line in wrap(text, width, break_long_words=True))


def checked_levels(levels: Sequence[float]) -> list[float]:
    """Return levels in order, or refuse them."""
    try:
        found = sorted({float(level) for level in levels})
    except (TypeError, ValueError):
        found = [np.nan]
    if not all(0.0 < level < 1.0 for level in found):
        raise error("MW-A07", option="levels", expected="numbers between 0 and 1", given=levels)
    return found
