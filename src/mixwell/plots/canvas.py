"""What every plot is drawn on and returned as, and the few shapes that plots share.

Figures are made without pyplot, so none stays open behind the caller's back, and none needs a screen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.plots.style import DOUBLE, MODEL, MUTED, QUIET, SINGLE, TEXT, matplotlib, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Plot",
    "canvas",
    "finish",
    "grid",
    "legend",
    "outer_labels",
    "plain",
    "reference",
    "remark",
    "ribbon",
    "shape_of",
    "short_labels",
    "shorten",
    "spread",
]

Array = NDArray[np.float64]

_OWN = "mixwell"  # label of figures that were made here, whose margins may be written on
_LETTERS = 17  # of a remark, an inch


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plot:
    """A plot: its figure, its axes, and the numbers in it. Notebooks show it.

    Attributes
    ----------
    name
        Which plot it is.
    figure, axes
        Of matplotlib: the axes are one Axes, or an array of them with more than one panel.
    data
        What is drawn, at full precision, in the table library of the data of the model.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> m.plot.caterpillar()
    <Plot caterpillar: 1 panel, 6 rows of data; .figure .axes .data .save(path)>
    """

    name: str
    figure: Figure
    axes: Any
    data: Any

    def save(self, path: str | Path, *, dpi: float = 300) -> None:
        """Write the figure to a file; the ending says how: .png, .pdf, .svg.

        Parameters
        ----------
        path
            Of the file.
        dpi
            Dots an inch, of formats that have dots.
        """
        with style():
            self.figure.savefig(path, dpi=dpi)

    def show(self) -> None:
        """Open the figure in a window; in a notebook end a cell with the plot instead.

        Raises
        ------
        MixwellError
            MW-A155 where matplotlib has no window to open.
        """
        import matplotlib.pyplot as plt  # noqa: PLC0415 - has global state, so only here
        from matplotlib._pylab_helpers import Gcf  # noqa: PLC0415

        blank = plt.figure()  # the public way to learn which canvas pyplot would use
        kind, number = type(blank.canvas), blank.number
        plt.close(blank)
        if getattr(kind, "required_interactive_framework", None) is None:
            raise error("MW-A155", backend=matplotlib().get_backend())
        Gcf._set_new_active_manager(kind.new_manager(self.figure, number))
        plt.show()

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        with style():
            self.figure.savefig(out, format="png", dpi=150)
        return out.getvalue()

    def __repr__(self) -> str:
        panels = int(np.size(self.axes))
        rows = _rows(self.data)
        shown = f"{panels} panel{'s' * (panels != 1)}, {rows} row{'s' * (rows != 1)} of data"
        return f"<Plot {self.name}: {shown}; .figure .axes .data .save(path)>"


def _rows(table: Any) -> int:
    if isinstance(table, Mapping):
        return len(next(iter(table.values()), ()))
    return len(table)


def finish(
    name: str, axes: Sequence[Axes], columns: Mapping[str, Any], like: Callable[[Mapping[str, Any]], Any]
) -> Plot:
    """Return the plot of axes that were drawn.

    Parameters
    ----------
    name
        Of the plot.
    axes
        Those of its panels.
    columns
        The numbers in it.
    like
        Makes a table of them: `m.design.frame.native_like`.
    """
    shown: Any = axes[0]
    if len(axes) > 1:
        shown = np.empty(len(axes), dtype=object)
        shown[:] = list(axes)
    return Plot(name, _figure(axes[0]), shown, like(dict(columns)))


def _figure(ax: Axes) -> Figure:
    figure: Any = ax.figure
    while figure.figure is not figure:  # of a subfigure, the one that it is part of
        figure = figure.figure
    return figure  # type: ignore[no-any-return]


def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float] | None = None,
    ax: Any = None,
    share: str = "",
    count: int | None = None,
) -> list[Axes]:
    """Return axes to draw on, row after row: new ones, or those of the caller.

    Parameters
    ----------
    rows, columns
        Of the grid.
    size
        Width and height in inches; otherwise one column in print for one panel and two for more.
    ax
        Axes of the caller: one, or as many as there are panels.
    share
        "x", "y" or "xy": axes that all panels share.
    count
        Panels wanted, if fewer than the grid has; those left over are taken away at its end.

    Raises
    ------
    MixwellError
        MW-A127 when `ax` is too few axes.

    Examples
    --------
    >>> axes = canvas(1, 2, share="y")
    >>> len(axes), axes[0].figure.get_size_inches().tolist()
    (2, [7.0, 2.8])
    """
    count = rows * columns if count is None else count
    if ax is not None:
        return _given(ax, count)
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    if size is None:
        size = (SINGLE, 2.6) if rows * columns == 1 else (DOUBLE, min(2.8 if rows == 1 else 1.9 * rows, 9.0))
    figure = Figure(figsize=size, layout="constrained", label=_OWN)
    FigureCanvasAgg(figure)
    made = figure.subplots(rows, columns, sharex="x" in share, sharey="y" in share, squeeze=False)
    axes: list[Axes] = list(made.ravel())
    for left in axes[count:]:
        left.remove()
    if "x" in share:  # the last panel of a column may not be in the last row
        for panel in axes[max(count - columns, 0) : count]:
            panel.xaxis.set_tick_params(which="both", labelbottom=True)
    return axes[:count]


def _given(ax: Any, count: int) -> list[Axes]:
    matplotlib()
    from matplotlib.axes import Axes  # noqa: PLC0415

    given = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(isinstance(each, Axes) for each in given) or len(given) < count:
        raise error(
            "MW-A127",
            plot="the plot",
            reason=f"it has {count} panel{'s' * (count != 1)} and ax= is not as many matplotlib Axes",
            advice="Give one Axes for each panel, or leave ax= out.",
        )
    return given[:count]


def shape_of(count: int, *, widest: int = 6) -> tuple[int, int]:
    """Return rows and columns of a grid for a number of panels, wider than high.

    >>> shape_of(1), shape_of(3), shape_of(5), shape_of(18)
    ((1, 1), (1, 3), (2, 3), (3, 6))
    """
    columns = count if count <= 3 else -(-count // 2) if count <= 8 else math.ceil(math.sqrt(2 * count))
    columns = min(columns, widest)
    rows = -(-count // columns)
    return rows, -(-count // rows)


def grid(
    count: int, *, ax: Any = None, share: str = "xy", height: float = 1.25, widest: int = 6
) -> list[Axes]:
    """Return axes of small panels for `count` groups, which share their scales.

    Parameters
    ----------
    count
        Of panels.
    ax
        Axes of the caller instead.
    share
        As in `canvas`.
    height
        Inches a row.
    widest
        Columns at most.
    """
    rows, columns = shape_of(count, widest=widest)
    width = SINGLE if count == 1 else DOUBLE if columns > 2 else 5.0
    size = (width, 2.6 if count == 1 else max(2.4, height * rows + 0.8))
    return canvas(rows, columns, size=size, ax=ax, share=share, count=count)


def spread(order: Sequence[int] | NDArray[Any], limit: int) -> NDArray[np.intp]:
    """Choose at most `limit` of an ordering: evenly spaced ranks, the first and the last among them.

    >>> spread([5, 4, 3, 2, 1, 0], 3).tolist()
    [5, 3, 0]
    """
    order = np.asarray(order, dtype=np.intp)
    if order.size <= limit:
        return order
    return order[np.round(np.linspace(0, order.size - 1, max(limit, 1))).astype(np.intp)]


def plain(text: object) -> str:
    r"""Return a label that is shown as it is written, although it may have dollar signs or line breaks.

    >>> plain("cost in $ and $")
    'cost in \\$ and \\$'
    """
    shown = "".join(c if c.isprintable() else " " for c in str(text))
    return shown.replace("$", r"\$")


def shorten(text: object, width: int = 22) -> str:
    """Return a label with its middle left out where it is long: both ends may tell levels apart.

    >>> shorten("a very long name of a level, number 17", 20)
    'a very lon…number 17'
    """
    shown = str(text)
    if len(shown) > width:
        tail = (width - 1) // 2
        shown = f"{shown[: width - 1 - tail]}…{shown[-tail:]}"
    return plain(shown)


def short_labels(labels: Sequence[object], width: int = 22) -> list[str]:
    """Return labels that fit, without what they have in common where that is needed to tell them apart.

    >>> short_labels(["school in the north, no. 1", "school in the north, no. 2"], 12)
    ['school in …1', 'school in …2']
    """
    shown = [str(label) for label in labels]
    if len(shown) < 2 or max(map(len, shown)) <= width:
        return [plain(label) for label in shown]
    front = len(_common(shown))
    back = len(_common([label[front:][::-1] for label in shown]))
    while front and shown[0][front - 1].isalnum():  # words and numbers stay whole
        front -= 1
    out = []
    for label in shown:
        own = label[front : len(label) - back] if back > 3 else label[front:]
        own += "…" * (back > 3)
        room = width - len(own) - 1
        head = label[: min(room, front)] if room > 2 and front > 3 else ""
        out.append(f"{head}…{own}" if front > 3 else own)
    return [shorten(label, width) for label in out]


def _common(labels: Sequence[str]) -> str:
    """Return the start that all labels share."""
    first, last = min(labels), max(labels)
    same = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(same, min(len(first), len(last)))]


def outer_labels(axes: Sequence[Axes], x: str, y: str) -> None:
    """Label the axes of a grid of panels once: all of them share what x and y are."""
    figure = _figure(axes[0])
    if len(axes) == 1 or figure.get_label() != _OWN:
        for ax in axes:
            ax.set_xlabel(plain(x))
            ax.set_ylabel(plain(y))
        return
    if x:
        figure.supxlabel(plain(x), fontsize=8, color=TEXT)
    if y:
        figure.supylabel(plain(y), fontsize=8, color=TEXT)


def ribbon(
    ax: Axes, x: Any, lower: Any, upper: Any, *, color: str = MODEL, alpha: float = 0.2, label: str = ""
) -> Artist:
    """Shade between two curves."""
    return ax.fill_between(
        x, lower, upper, color=color, alpha=alpha, linewidth=0, label=label or "_band", zorder=1
    )


def reference(ax: Axes, *, x: float | None = None, y: float | None = None, diagonal: bool = False) -> None:
    """Draw thin lines to compare with: at x, at y, or where x = y."""
    look: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "zorder": 0.5}
    if x is not None:
        ax.axvline(x, **look)
    if y is not None:
        ax.axhline(y, **look)
    if diagonal:
        ax.axline((0, 0), slope=1, **look)


def legend(
    axes: Sequence[Axes] | Axes, handles: Iterable[Artist], labels: Iterable[str], *, columns: int = 0
) -> None:
    """Put a legend above the data, never on them.

    Parameters
    ----------
    axes
        One panel has it above itself; of several the figure has it, or the first one of the caller's.
    handles, labels
        Of the entries.
    columns
        Of the legend; otherwise all entries are side by side, three at most in a narrow figure.
    """
    own = list(axes) if isinstance(axes, Sequence) else [axes]
    # matplotlib leaves out entries that start with an underscore.
    shown = [f" {plain(each)}" if each.startswith("_") else plain(each) for each in labels]
    entries = list(handles)
    if not entries:
        return
    figure = _figure(own[0])
    width = float(figure.get_size_inches()[0])
    limit = columns or min(len(entries), 5 if width > SINGLE + 0.5 else 3)
    # Wider than the figure it would squeeze the axes.
    many = next((k for k in range(limit, 1, -1) if _legend_width(shown, k) <= width - 0.5), 1)
    if len(own) > 1 and figure.get_label() == _OWN:
        figure.legend(entries, shown, loc="outside upper left", ncols=many)
    elif len(own) > 1:  # panels of the caller have titles where a legend would go
        own[0].legend(entries, shown, loc="best")
    else:
        own[0].legend(
            entries,
            shown,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=many,
            borderaxespad=0.0,
            borderpad=0.2,
        )


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """Estimate inches: 18 letters an inch, and six for the handle and the gap."""
    rows = -(-len(labels) // columns)
    widest = [max(map(len, labels[at : at + rows])) for at in range(0, len(labels), rows)]
    return sum(letters + 6 for letters in widest) / 18.0


def remark(axes: Sequence[Axes] | Axes, text: str) -> None:
    """Write what was left out, or what a band is, under the figure; in axes of the caller under the last.

    It comes after the labels of the axes, and one remark under another.
    """
    ax = axes[0] if isinstance(axes, Sequence) else axes
    figure = _figure(ax)
    if figure.get_label() == _OWN:
        width = float(figure.get_size_inches()[0])
        above = figure.get_supxlabel()
        lines = [above] * bool(above) + wrap(plain(text), int(width * _LETTERS))
        # One text has one size: where the panels share a label, remarks look like it.
        labelled = bool(figure.get_supylabel())
        look = {"fontsize": 7.5, "color": TEXT} if labelled else {"fontsize": 6.5, "color": QUIET}
        figure.supxlabel("\n".join(lines), **look)
    else:
        ax = axes[-1] if isinstance(axes, Sequence) else axes
        width = float(figure.get_figwidth()) * ax.get_position().width
        lines = [ax.get_xlabel()] * bool(ax.get_xlabel()) + wrap(
            plain(text), max(int(width * _LETTERS * 0.85), 20)
        )
        ax.set_xlabel("\n".join(lines))
