"""Fitted lines with the data, one panel a level of a grouping factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.formula import variables
from mixwell.marginal.counterfactual import Variable, columns_of, model_variables, values
from mixwell.options import checked
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    grid,
    legend,
    outer_labels,
    remark,
    short_labels,
    shorten,
    spread,
)
from mixwell.plots.effects import effects_of
from mixwell.plots.residuals import scatter
from mixwell.plots.style import DOUBLE, MODEL, POOLED, SINGLE, styled
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.design.frame import Column
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["fitted", "fitted_columns"]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

_POINTS = 50  # of a line
_STRIPS = 40  # levels beside each other at most
_LETTERS = 16  # of an axis, an inch
_WIDE = 0.35  # half the length of a dash at a level of a factor


@styled
@checked
def fitted(
    m: Model,
    x: str | None = None,
    *,
    groups: str | None = None,
    max_panels: int = 12,
    ax: Any = None,
) -> Plot:
    """Draw the data with the lines that the model fits to them, one panel a level of a grouping factor.

    The line of a level has its random effects, and those of factors that it is nested in; other random
    effects are zero. The line of the population has none. On the way along `x` other variables stay at their
    mean, or their most frequent level, in the panel; lines run as far as the data of the panel do.
    Generalised models are drawn on the scale of the response.

    Parameters
    ----------
    x
        A variable of the model; if None one that varies within panels, a number rather than a factor,
        with random effects rather than without. Without any variable all data are in one panel, level beside
        level.
    groups
        A grouping factor, or any column, whose levels are the panels; the first grouping factor of the
        formula if None. A model without random effects has one panel.
    max_panels
        Panels at most (of levels beside each other 40). Of more levels those at evenly spaced ranks are
        shown, the first and the last among them: ranks of their first random effect, by which panels are
        ordered, too.
    ax
        Axes to draw on, one a panel.

    Returns
    -------
    Plot
        Data: panel, what ("data", "group", "population"), the column of x (with a dot before one of these
        names), and response.

    Raises
    ------
    MixwellError
        MW-A127 for an ordinal response, which has no mean; MW-A128 for an unknown x or column; MW-A07 for
        another `max_panels`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> plot = m.plot.fitted(max_panels=4)
    >>> plot
    <Plot fitted: 4 panels, 440 rows of data; .figure .axes .data .save(path)>
    >>> [ax.get_title(loc="left") for ax in plot.axes]
    ['309', '335', '332', '337']
    """
    if isinstance(max_panels, bool) or not isinstance(max_panels, (int, np.integer)) or max_panels < 1:
        raise error("MW-A07", option="max_panels", expected="a positive whole number", given=max_panels)
    if is_generalized(m) and m.family.kind == "ordered":
        raise error(
            "MW-A127",
            plot="fitted",
            reason="categories have no mean",
            advice="Draw their probabilities: m.predictions(type='probs').",
        )
    layout = _layout(m, x, groups, int(max_panels))
    data = fitted_columns(m, layout)
    strips = layout.column is None
    if strips:
        wide = DOUBLE if len(layout.shown) > 12 else SINGLE
        axes = canvas(size=(wide, 2.6), ax=ax)
    else:
        axes = grid(len(layout.shown), ax=ax)
    titles = [] if strips else short_labels([layout.labels[j] for j in layout.shown if layout.labels], 20)
    handles: list[Any] = []
    for at, panel in enumerate(axes):
        handles = _draw(panel, m, layout, data, at)
        if titles:
            panel.set_title(titles[at], fontsize=7)
    outer_labels(axes, layout.name, m.design.response)
    legend(axes, [each for each, _ in handles], [label for _, label in handles])
    if len(layout.labels) > len(layout.shown):
        first = f"{len(layout.shown)} of {len(layout.labels)} levels of {layout.group or layout.name}"
        remark(axes, f"{first}, at evenly spaced ranks")
    elif titles:
        remark(axes, f"panels: {layout.group}")
    if layout.held:
        remark(axes, f"lines: {', '.join(layout.held)} at the panel's mean or most frequent level")
    return finish("fitted", axes, data, m.design.frame.native_like)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """What is drawn where.

    Attributes
    ----------
    name, column, is_factor
        The variable along the axis, None for levels beside each other.
    group, labels, codes, shown
        What makes the panels, its levels, the level of each row, and the levels shown, in order.
    re
        Grouping factors whose effects a line of a level has.
    held, averaged
        Variables that vary within panels and are held on lines, and those of them that are at their mean.
    """

    name: str
    column: Column | None
    is_factor: bool
    group: str
    labels: tuple[str, ...]
    codes: NDArray[Any]
    shown: Ints
    re: tuple[str, ...]
    held: tuple[str, ...]
    averaged: tuple[str, ...]

    @property
    def key(self) -> str:
        """Column of the variable along the axis in the table behind the plot."""
        return f".{self.name}" if self.name in ("panel", "what", "response") else self.name


def _layout(m: Model, x: str | None, groups: str | None, limit: int) -> _Layout:
    known = _variables(m)
    if x is not None and x not in known:
        raise error("MW-A128", plot="fitted", what="variable", name=x, available=list(known))
    names = tuple(dict.fromkeys(term.group for term in m.design.random))
    groups = (names[0] if names else None) if groups is None else groups
    if groups is None:
        labels: tuple[str, ...] = ()
        codes: NDArray[Any] = np.zeros(m.nobs, dtype=np.int32)
        order: Ints = np.zeros(1, dtype=np.intp)
        re: tuple[str, ...] = ()
    elif groups in names:
        effects = effects_of(m, groups, "fitted")
        labels, codes = effects.levels, effects.codes
        order = np.argsort(effects.modes[:, 0], kind="stable")
        re = _nesting(m, codes)
    elif groups in m.design.frame.names:
        column = columns_of(m, [groups])[groups]
        codes, found = column.codes()
        labels, re = tuple(level_text(each) for each in found), ()
        order = np.unique(codes[codes >= 0]).astype(np.intp)
    else:
        raise error(
            "MW-A128",
            plot="fitted",
            what="grouping factor or column",
            name=groups,
            available=[*names, *m.design.frame.names],
        )
    name = _along(m, known, codes) if x is None else x
    if name is None:  # no predictor at all: levels beside each other
        return _Layout(groups or "rows", None, True, "", labels, codes, spread(order, _STRIPS), re, (), ())
    held = [
        each
        for each, variable in known.items()
        if each not in (name, groups) and _varies(variable.column, codes)
    ]
    shown = spread(order, limit)
    variable = known[name]
    numbers = tuple(each for each in held if not known[each].is_factor)
    return _Layout(
        name,
        variable.column,
        variable.is_factor,
        groups or "",
        labels,
        codes,
        shown,
        re,
        tuple(held),
        numbers,
    )


def _variables(m: Model) -> dict[str, Variable]:
    """Return the variables that fitted values depend on, those of the random effects last."""
    known = model_variables(m)
    bars = [expr for bar in m.formula.random for term in bar.terms for expr in term.factors]
    for name in dict.fromkeys(name for expr in bars for name in variables(expr)):
        if name not in known:
            column = columns_of(m, [name])[name]
            known[name] = Variable(name, column, () if column.kind == "numeric" else column.codes()[1])
    return known


def _nesting(m: Model, codes: NDArray[Any]) -> tuple[str, ...]:
    """Return grouping factors of which each level has one level: itself and those it is nested in."""
    own = []
    for term in m.design.random:
        pairs = np.unique(np.column_stack([codes, term.codes]), axis=0)
        if pairs.shape[0] == np.unique(codes).size:
            own.append(term.group)
    return tuple(dict.fromkeys(own))


def _along(m: Model, known: Any, codes: NDArray[Any]) -> str | None:
    """Choose the variable along the axis: one that varies within panels, a number, with random effects."""
    offset = {name for expr in m.formula.offsets for name in variables(expr)}
    offset |= {m.design.recipe.offset_column} if m.design.recipe.offset_column else set()
    random = {
        name for bar in m.formula.random for t in bar.terms for expr in t.factors for name in variables(expr)
    }

    def rank(name: str) -> tuple[bool, bool, bool]:
        return not _varies(known[name].column, codes), known[name].is_factor, name not in random

    return min((name for name in known if name not in offset), key=rank, default=None)


def _varies(column: Column, codes: NDArray[Any]) -> bool:
    """Whether a variable has several values in some panel."""
    own, _ = column.codes()
    pairs = np.unique(np.column_stack([codes, own]), axis=0)
    return bool(pairs.shape[0] > np.unique(codes).size)


def fitted_columns(m: Model, layout: _Layout) -> dict[str, Any]:
    """Return the data and the lines of all panels, panel after panel."""
    panel: list[str] = []
    what: list[str] = []
    along: list[Any] = []
    heights: list[Array] = []

    def add(label: str, kind: str, x: Any, y: Array) -> None:
        panel.extend([label] * y.size)
        what.extend([kind] * y.size)
        along.append(x)
        heights.append(y)

    if layout.column is None:
        _strips(m, layout, add)
    else:
        everything = _row_columns(m)
        for j in layout.shown.tolist():
            rows = np.flatnonzero(layout.codes == j)
            label = layout.labels[j] if layout.labels else ""
            own = layout.column
            add(label, "data", _taken(own, rows), m.design.y[rows])
            table, x = _line_table(everything, layout, rows)
            if m.is_mixed and layout.re:
                add(label, "group", x, np.asarray(m.predict(table, re=list(layout.re))))
            add(label, "population", x, np.asarray(m.predict(table, re="population")))
    return {
        "panel": panel,
        "what": what,
        layout.key: np.concatenate(along) if not layout.is_factor else [v for part in along for v in part],
        "response": np.concatenate(heights),
    }


def _strips(m: Model, layout: _Layout, add: Any) -> None:
    """Levels beside each other, for a model whose fixed effects have no variable."""
    population = np.asarray(m.predict(re="population"))
    own = np.asarray(m.predict(re=list(layout.re))) if layout.re else population
    for j in layout.shown.tolist():
        rows = np.flatnonzero(layout.codes == j)
        label = layout.labels[j] if layout.labels else "all"
        add("", "data", [label] * rows.size, m.design.y[rows])
        if layout.re:
            add("", "group", [label], own[rows[:1]])
        add("", "population", [label], population[rows[:1]])


def _row_columns(m: Model) -> dict[str, Column]:
    """Columns that predictions read, at the fitted rows."""
    names = [name for name, _ in m.formula.variables() if name in m.design.frame.names]
    known = _variables(m)
    weights = m.arguments.get("weights")
    more = [weights] if isinstance(weights, str) else []
    return columns_of(m, list(dict.fromkeys([*known, *names, *more])))


def _line_table(everything: dict[str, Column], layout: _Layout, rows: Ints) -> tuple[dict[str, Any], Any]:
    """Rows along x within one panel: other variables as they are there, or at a typical value."""
    assert layout.column is not None
    own = layout.column
    if layout.is_factor:
        codes, levels = own.codes()
        found = np.unique(codes[rows])
        x: Any = [levels[code] for code in found.tolist()]
    else:
        numbers = own.numeric()[rows]
        x = np.linspace(numbers.min(), numbers.max(), _POINTS if np.ptp(numbers) > 0 else 1)
    count = len(x)
    table: dict[str, Any] = {}
    for name, column in everything.items():
        if name == layout.name:
            table[name] = x
        elif name in layout.averaged:
            table[name] = np.full(count, column.numeric()[rows].mean())
        else:
            codes, _ = column.codes()
            at = rows[int(np.argmax(codes[rows] == np.argmax(np.bincount(codes[rows]))))]
            table[name] = _taken(column, np.full(count, at))
    return table, x


def _taken(column: Column, rows: Ints) -> Any:
    """Values of a column at some rows."""
    shown = values(column)
    return shown[rows] if isinstance(shown, np.ndarray) else [shown[i] for i in rows.tolist()]


# --- drawing --------------------------------------------------------------------------------------------


def _draw(ax: Axes, m: Model, layout: _Layout, data: dict[str, Any], at: int) -> list[tuple[Any, str]]:
    """Draw one panel; return the entries of the legend."""
    strips = layout.column is None
    label = "" if strips or not layout.labels else layout.labels[layout.shown[at]]
    own = np.array([each == label for each in data["panel"]])
    kinds = np.array(data["what"])
    x = data[layout.key]
    if layout.is_factor:
        places = _places(layout)
        x = np.array([places[level_text(each)] for each in x], dtype=np.float64)
    y = data["response"]
    here = own & (kinds == "data")
    if layout.is_factor:
        scatter(ax, x[here] + _jitter(int(here.sum())), y[here])
    else:
        scatter(ax, x[here], y[here])
    entries: list[tuple[Any, str]] = [(ax.lines[-1], "data")]
    alone = {"color": MODEL, "linewidth": 1.4}
    dashed = {"color": POOLED, "linewidth": 0.9, "linestyle": (0, (4, 2))}
    looks: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("group", alone, f"fit: {layout.name if strips else layout.group}"),
        ("population", dashed if layout.re else alone, "fit: population" if m.is_mixed else "fit"),
    )
    for kind, look, shown in looks:
        here = own & (kinds == kind)
        if not here.any():
            continue
        if layout.is_factor:
            artist: Any = ax.hlines(y[here], x[here] - _WIDE, x[here] + _WIDE, zorder=3, **look)
        else:
            (artist,) = ax.plot(x[here], y[here], zorder=3, **look)
        entries.append((artist, shown))
    if layout.is_factor:
        names = list(_places(layout))
        ax.set_xticks(range(len(names)), short_labels(names, 14))
        if sum(len(shorten(each, 14)) + 2 for each in names) > _LETTERS * _panel_width(ax):
            ax.tick_params(axis="x", labelrotation=90, labelsize=6)
        ax.tick_params(axis="x", length=0)
        ax.set_xlim(-0.6, len(names) - 0.4)
    return entries


def _places(layout: _Layout) -> dict[str, int]:
    """Place of each level on a factor's axis."""
    if layout.column is None:
        labels = [layout.labels[j] for j in layout.shown.tolist()] if layout.labels else ["all"]
        return {label: i for i, label in enumerate(labels)}
    codes, levels = layout.column.codes()
    used = np.unique(codes[codes >= 0]).tolist()
    return {level_text(levels[code]): i for i, code in enumerate(used)}


def _panel_width(ax: Axes) -> float:
    """Inches, about."""
    spec = ax.get_subplotspec()
    across = 1 if spec is None else spec.get_gridspec().ncols
    return float(ax.figure.get_figwidth() / across - 0.4)  # type: ignore[union-attr]


def _jitter(n: int) -> Array:
    """Small even displacements, the same each time."""
    return np.asarray(((np.arange(n) * 0.6180339887498949) % 1.0 - 0.5) * 0.36)
