"""Bootstrap densities: replicates of each parameter, with those on a boundary apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, outer_labels, plain, remark, shape_of
from mixwell.plots.intervals import readable, row_labels
from mixwell.plots.style import ACCENT, DOUBLE, MODEL, POOLED, SINGLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.reporting.view import Model
    from mixwell.resampling.bootstrap import Bootstrap, Interval

__all__ = ["bootstrap", "draw_bootstrap", "replicate_columns"]

Array = NDArray[np.float64]

_AT = 1e-4  # share of the largest replicate within which one is at a bound
_BINS = 40  # at most
_WIDE = 6.0  # interquartile ranges from the quartiles, beyond which replicates are counted, not drawn


@checked
def bootstrap(
    m: Model,
    n: int = 1000,
    *,
    parameters: str | Sequence[str] | None = None,
    kind: Any = "parametric",
    seed: int | None = None,
    level: float = 0.95,
    interval: Interval = "percentile",
    ax: Any = None,
) -> Plot:
    """Draw bootstrap replicates of each parameter, with the estimate and its interval.

    Replicates at the end of a parameter's range, such as standard deviations of zero, are no density: they
    are a bar of their own, with their share.

    Parameters
    ----------
    n, kind, seed
        As of `m.bootstrap`; `m.bootstrap(...).plot()` draws replicates that there are.
    parameters
        Names; all if None.
    level, interval
        Of the interval, as `level` and `kind` of `Bootstrap.confint`.
    ax
        Axes to draw on, one a parameter.

    Returns
    -------
    Plot
        `.data`: one row a bin: term, what ("bin", "boundary", "beyond"), left, right, count, estimate, lower,
        upper, undefined.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> drawn = m.plot.bootstrap(200, seed=1, parameters="sigma")
    >>> int(drawn.data["count"].sum())
    200
    """
    drawn = m.bootstrap(n, kind=kind, seed=seed)
    return draw_bootstrap(drawn, parameters, level=level, interval=interval, ax=ax)


@styled
@checked
def draw_bootstrap(
    drawn: Bootstrap,
    parameters: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    interval: Interval = "percentile",
    bins: int | None = None,
    ax: Any = None,
) -> Plot:
    """Draw replicates that there are: `m.bootstrap(...).plot()`.

    Parameters
    ----------
    parameters, level, interval, ax
        As of `bootstrap`.
    bins
        Number of bins; by the rule of Freedman and Diaconis (1981) if None.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> draw_bootstrap(m.bootstrap(100, seed=1), "sigma", bins=5).data["what"]
    ['bin', 'bin', 'bin', 'bin', 'bin']
    """
    names = [parameters] if isinstance(parameters, str) else parameters
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int) or bins < 1):
        raise error("MW-A07", option="bins", expected="a positive whole number", given=bins)
    columns = replicate_columns(drawn, names, level, interval, bins)
    terms = list(dict.fromkeys(columns["term"]))
    rows, across = shape_of(max(len(terms), 1), widest=3)
    size = (SINGLE if across == 1 else DOUBLE, 2.4 if across == 1 else min(1.75 * rows + 0.4, 9.5))
    axes = canvas(rows, across, size=size, ax=ax, count=len(terms))
    of = np.array(columns["term"])
    for panel, term in zip(axes, terms, strict=True):
        own = {name: np.array(column)[of == term] for name, column in columns.items()}
        _draw(panel, own, drawn.n)
        panel.set_title(row_labels([readable(term)], 34)[0])
    outer_labels(axes, "", "Replicates")
    remark(
        axes[0],
        f"{drawn.n} {drawn.kind} replicates; point and line: estimate, {100 * level:g} % {interval} interval",
    )
    return finish("bootstrap", axes, columns, drawn.model.design.frame.native_like)


def _draw(axes: Axes, own: Mapping[str, Any], n: int) -> None:
    bins, spikes, beyond = (own["what"] == what for what in ("bin", "boundary", "beyond"))
    width = own["right"][bins] - own["left"][bins]
    axes.bar(own["left"][bins], own["count"][bins], width, align="edge", color=MODEL, alpha=0.4, linewidth=0)
    inside = ~beyond
    ends = np.concatenate([own["left"][inside], own["right"][inside], own["estimate"][:1]])
    ends = ends[np.isfinite(ends)]
    span = float(np.ptp(ends)) or 1.0
    top = float(own["count"].max(initial=1))
    middle = 0.5 * (own["left"][bins] + own["right"][bins])
    for left, count in zip(own["left"][spikes], own["count"][spikes], strict=True):
        axes.bar(left, count, 0.02 * span, color=ACCENT, linewidth=0, zorder=2)
        inwards = 1.0 if left <= ends.mean() else -1.0
        beside = own["count"][bins][np.abs(middle - left) < 0.25 * span]
        look: dict[str, Any] = {"color": ACCENT, "fontsize": 7, "ha": "left" if inwards > 0 else "right"}
        place = (left, max(count, int(beside.max(initial=0))))
        axes.annotate(
            f"{100 * count / n:.3g} % at {left:g}",
            place,
            (-2 * inwards, 2),
            textcoords="offset points",
            va="bottom",
            **look,
        )
    for left, right, count in zip(
        own["left"][beyond], own["right"][beyond], own["count"][beyond], strict=True
    ):
        lower = left < ends.min()
        axes.annotate(
            f"{count} {'below' if lower else 'above'}, to {left if lower else right:.3g}",
            (0.0 if lower else 1.0, 0.55),
            xycoords="axes fraction",
            fontsize=7,
            color=ACCENT,
            ha="left" if lower else "right",
        )
    low = -0.07 * top
    axes.hlines(low, own["lower"][0], own["upper"][0], color=POOLED, linewidth=1.3, zorder=3)
    axes.plot(own["estimate"][0], low, "o", color=POOLED, zorder=4)
    axes.axhline(0.0, color="#262626", linewidth=0.6, zorder=1.5)
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(-0.14 * top, (1.18 if spikes.any() else 1.06) * top)
    axes.locator_params(axis="y", nbins=4, integer=True)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.06 * top])
    if missing := int(own["undefined"][0]):
        axes.set_xlabel(plain(f"{missing} without a value"))


def replicate_columns(
    drawn: Bootstrap,
    parameters: Sequence[str] | None = None,
    level: float = 0.95,
    kind: Interval = "percentile",
    bins: int | None = None,
) -> dict[str, Any]:
    """Count the replicates of each parameter.

    Parameters
    ----------
    parameters
        Names; all if None.
    level, kind
        Of the interval, as in `Bootstrap.confint`.
    bins
        Number of bins; by the rule of Freedman and Diaconis (1981) if None.

    Returns
    -------
    dict
        One row a bin: term, what, left, right, count, and repeated for each row of a term estimate, lower,
        upper, undefined (replicates without a value). `what` is "bin"; "boundary", all replicates at one end
        of the range, which are in no bin; or "beyond", those too far away to be drawn.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    >>> columns = replicate_columns(m.bootstrap(200, seed=1), ["sd_(Intercept)|Batch"])
    >>> columns["what"][0], bool(columns["count"][0] > 100), int(columns["count"].sum())
    ('boundary', True, 200)
    """
    names = drawn.names if parameters is None else tuple(parameters)
    lower, upper = drawn.limits(names, level, kind=kind)
    rows: list[tuple[Any, ...]] = []
    for j, name in enumerate(names):
        at = drawn.names.index(name)
        values = drawn.values[:, at]
        found = values[np.isfinite(values)]
        about = (float(drawn.estimate.values[at]), float(lower[j]), float(upper[j]), values.size - found.size)
        inner = np.ones(found.size, dtype=bool)
        for bound in drawn.bounds[at].tolist():
            near = np.abs(found - bound) <= _AT * max(float(np.abs(found).max(initial=0.0)), 1e-300)
            if near.any():
                rows.append((name, "boundary", bound, bound, int(near.sum()), *about))
                inner &= ~near
        near_quartiles = _window(found[inner])
        for out in (found < near_quartiles[0], found > near_quartiles[1]):
            some = found[out & inner]
            if some.size:
                rows.append((name, "beyond", float(some.min()), float(some.max()), some.size, *about))
                inner &= ~out
        if inner.any():
            counts, edges = np.histogram(found[inner], bins=_edges(found[inner], bins))
            rows += [
                (name, "bin", left, right, count, *about)
                for left, right, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
            ]
    header = ("term", "what", "left", "right", "count", "estimate", "lower", "upper", "undefined")
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    floats = ("left", "right", "estimate", "lower", "upper")
    columns |= {name: np.array(columns[name], dtype=np.float64) for name in floats}
    return columns | {name: np.array(columns[name], dtype=np.int64) for name in ("count", "undefined")}


def _window(values: Array) -> tuple[float, float]:
    """Where almost all is: one replicate with separated data must not squeeze the others into one bin."""
    if not values.size:
        return -np.inf, np.inf
    low, high = np.quantile(values, [0.25, 0.75]).tolist()
    room = _WIDE * (high - low)
    return (low - room, high + room) if room > 0 else (-np.inf, np.inf)


def _edges(values: Array, bins: int | None) -> Array:
    if np.ptp(values) <= 1e-12 * float(np.abs(values).max()):
        return np.array([values.min(), values.max()]) + 1e-3 * (
            float(np.abs(values).max()) or 1.0
        ) * np.array([-1.0, 1.0])
    count = len(np.histogram_bin_edges(values, "fd")) - 1 if bins is None and values.size > 1 else bins or 1
    return np.linspace(values.min(), values.max(), min(max(count, 1), _BINS if bins is None else bins) + 1)
