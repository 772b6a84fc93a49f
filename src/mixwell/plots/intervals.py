"""Estimates with intervals, one a line: what forests, marginal means and contrasts are drawn with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.plots.canvas import plain
from mixwell.plots.style import MODEL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["dodge", "draw_intervals", "height_of", "line_axis", "ratio_axis", "readable", "row_labels"]

_SPREAD = 0.6  # share of a line over which several models are spread


def readable(term: str) -> str:
    """Return the name of a parameter for a reader: "sd_Days|Subject" is "sd Days | Subject".

    Examples
    --------
    >>> readable("cor_Days.(Intercept)|Subject"), readable("recipeB:temp")
    ('cor Days, Intercept | Subject', 'recipeB:temp')
    """
    for kind in ("sd", "cor"):
        if term.startswith(f"{kind}_"):
            effects, bar, group = term[len(kind) + 1 :].partition("|")
            effects = effects.replace(".(Intercept)", ", Intercept").replace("(Intercept).", "Intercept, ")
            effects = "Intercept" if effects == "(Intercept)" else effects
            return f"{kind} {effects} | {group}" if bar else f"{kind} {effects}"
    return "Intercept" if term == "(Intercept)" else term


def row_labels(texts: Sequence[str], width: int = 30) -> list[str]:
    r"""Break long labels over two lines, where words end, and cut what is longer than that in the middle.

    Examples
    --------
    >>> row_labels(["income_before_tax:age_at_baseline"], 20)
    ['income_before_tax:\nage_at_baseline']
    """
    out = []
    for text in texts:
        lines = broken(text, width)
        if len(lines) > 2:
            half = -(-len(text) // 2)
            lines = [text[:half], text[half:]]
            if half > width:
                lines = [f"{text[: width - 1]}…", text[-(width - 1) :]]
        out.append("\n".join(plain(line) for line in lines))
    return out


def broken(text: str, width: int) -> list[str]:
    """Break a text into lines after spaces and signs that end a word; only a longer word is cut."""
    lines = [""]
    for part in re.split(r"(?<=[ _:.,|/*+-])", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines]


def dodge(at: int, count: int) -> float:
    """Return how far below its line one of several estimates is drawn."""
    return 0.0 if count < 2 else _SPREAD * (at / (count - 1) - 0.5)


def draw_intervals(
    axes: Axes,
    columns: Mapping[str, Any],
    positions: Sequence[float],
    *,
    color: str = MODEL,
    marker: str = "o",
) -> Artist:
    """Draw horizontal intervals with their estimates, and return the artist for a legend.

    An estimate whose interval is unknown is hollow; an interval without end has an arrow there.

    Parameters
    ----------
    columns
        Arrays estimate, lower, upper.
    positions
        Heights.
    """
    estimate, lower, upper = (
        np.asarray(columns[name], dtype=float) for name in ("estimate", "lower", "upper")
    )
    y = np.asarray(positions, dtype=np.float64)
    known = ~(np.isnan(lower) | np.isnan(upper))
    low, high = _ends(estimate, lower, upper)
    shown = [np.where(np.isinf(lower), low, lower), np.where(np.isinf(upper), high, upper)]
    axes.hlines(y[known], shown[0][known], shown[1][known], color=color, linewidth=1.3, zorder=2)
    for endless, at, arrow in ((lower == -np.inf, low, "<"), (upper == np.inf, high, ">")):
        if endless.any():
            axes.plot(np.full(endless.sum(), at), y[endless], arrow, color=color, markersize=4, zorder=3)
    here = np.isfinite(estimate)
    some = known & here
    (drawn,) = axes.plot(estimate[some], y[some], linestyle="", marker=marker, color=color, zorder=3)
    hollow = here & ~known
    if hollow.any():
        look: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.9, "zorder": 3}
        axes.plot(estimate[hollow], y[hollow], linestyle="", marker=marker, color=color, **look)
    return drawn


def _ends(*columns: NDArray[np.float64]) -> tuple[float, float]:
    """Where to draw what has no end: beyond everything that is finite."""
    numbers = np.concatenate(columns)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return -1.0, 1.0
    room = 0.1 * (np.ptp(numbers) or max(abs(float(numbers[0])), 1.0))
    return float(numbers.min() - room), float(numbers.max() + room)


def line_axis(axes: Axes, labels: Sequence[str], room: int = 0) -> None:
    """Put labels on the lines of an axes, the first one on top, with room for so many lines at least."""
    axes.set_yticks(range(len(labels)), row_labels(labels))
    axes.set_ylim(max(len(labels), room) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def ratio_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, with ticks at numbers that are easy to read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = float(np.log10(high / low))
    subs = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.7 else (1.0, 2.0, 5.0)
    if decades < 0.35:
        subs = tuple(np.arange(1.0, 10.0, 1.0 if decades > 0.15 else 0.5).tolist())
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def height_of(lines: int, models: int = 1) -> float:
    """Return the height in inches of a figure with so many lines of so many intervals each."""
    return float(np.clip(0.75 + 0.2 * lines * (1.0 + 0.35 * (models - 1)), 1.6, 9.0))
