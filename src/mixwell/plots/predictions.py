"""Predictions along one variable, with ribbons: a grid inside the range of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.marginal.counterfactual import Variable, model_variables, situations, values
from mixwell.options import checked, choice
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    legend,
    outer_labels,
    plain,
    remark,
    ribbon,
    shape_of,
    shorten,
)
from mixwell.plots.style import DATA, DOUBLE, MARKERS, SEQUENCE, SINGLE, styled
from mixwell.reporting.view import checked_level, is_generalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.reporting.view import Model

__all__ = ["observed_columns", "prediction_columns", "predictions"]

Array = NDArray[np.float64]
Ribbon = Literal["confidence", "prediction", "both", "none"]

_CURVES = len(SEQUENCE)  # colours that can be told apart


@styled
@checked
def predictions(
    m: Model,
    x: str,
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    interval: Ribbon = "confidence",
    level: float = 0.95,
    re: Any = "population",
    type: Any = None,  # noqa: A002
    trials: Any = None,
    points: bool = False,
    n: int = 60,
    ax: Any = None,
) -> Plot:
    """Draw predictions along a variable, with ribbons of their uncertainty.

    Curves end where the data end, within each combination of the factors in `by`. Other variables are fixed:
    numbers at their mean, factors at their most frequent level; `at` has other values.

    Parameters
    ----------
    x
        A variable of the fixed effects; a factor gets points with intervals.
    by
        One or two variables: a colour for each value of the first, a panel for each of the second. A number
        with many values takes its mean and one standard deviation to both sides.
    at
        Values to fix variables at.
    interval
        "confidence" of the expected response, "prediction" of a new one (of a new level, with
        re="population"), "both", or "none".
    level
        Coverage of the ribbons.
    re
        As of `m.predict`: "population", or of generalised models "marginal". A level of a grouping factor has
        its line in `m.plot.fitted()`.
    type
        As of `m.predict` of generalised models: "response" (the default), "link", ...
    trials
        Numbers of trials of new responses, for prediction ribbons of binomial models.
    points
        Draw the data, too.
    n
        Values of a numeric `x` that are predicted.
    ax
        Axes to draw on, one a panel.

    Returns
    -------
    Plot
        `.data`: x, the variables of `by`, fit, and <interval>_lower and <interval>_upper.

    Raises
    ------
    MixwellError
        MW-A115 for a variable that the fixed effects do not have, MW-A127 for more than two variables in `by`
        or for an ordinal response, MW-A31 for `type` with a linear model.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> drawn = m.plot.predictions("Days", interval="both", n=10)
    >>> drawn.data["fit"][[0, 9]].round(2).tolist(), drawn.data["confidence_lower"][[0, 9]].round(2).tolist()
    ([251.41, 345.61], [237.01, 314.75])
    """
    choice("interval", interval, ("confidence", "prediction", "both", "none"))
    checked_level(level)
    names = [] if by is None else [by] if isinstance(by, str) else list(by)
    _refuse(m, x, names, type)
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise error("MW-A07", option="n", expected="a whole number, 2 or more", given=n)
    options = {"re": re} | ({} if type is None else {"type": type})
    drawn = {} if trials is None else {"trials": trials}
    ribbons: tuple[Literal["confidence", "prediction"], ...] = ()
    if interval != "none":
        ribbons = ("prediction", "confidence") if interval == "both" else (interval,)
    columns = prediction_columns(
        m, x, names, at=at, interval=ribbons, level=level, points=n, options=options, drawn=drawn
    )
    seen = observed_columns(m, x, names) if points else None
    return _drawn(m, columns, seen, (x, names), ribbons=ribbons, level=level, type=type, ax=ax)


def _refuse(m: Model, x: str, by: list[str], type: Any) -> None:  # noqa: A002
    if type is not None and not is_generalized(m):
        advice = "Linear models have one scale only: leave type= out."
        raise error("MW-A31", option=f"type={type!r}", other="a linear model", advice=advice)
    if is_generalized(m) and m.family.kind == "ordered" and type not in ("link", "disp"):
        advice = "Use type='link', or m.predictions(...) with type='probs' for a table."
        raise error("MW-A127", plot="predictions", reason="an ordinal response has no mean", advice=advice)
    if len(by) > 2 or x in by:
        advice = "Name one for the colours and one for the panels, and fix others with at=."
        reason = f"by={by} are more than two variables, or have '{x}' among them"
        raise error("MW-A127", plot="predictions", reason=reason, advice=advice)


# --- drawing --------------------------------------------------------------------------------------------


def _drawn(
    m: Model,
    columns: dict[str, Any],
    seen: dict[str, Any] | None,
    names: tuple[str, list[str]],
    *,
    ribbons: Sequence[str],
    level: float,
    type: Any,  # noqa: A002
    ax: Any,
) -> Plot:
    x, by = names
    keys = [_labels(columns[name]) for name in by]
    levels = [list(dict.fromkeys(each)) for each in keys]
    colours = levels[0] if by else [""]
    if len(colours) > _CURVES:
        advice = "Choose values with at=, or let it be x."
        reason = f"'{by[0]}' has {len(colours)} values, and colours for {_CURVES} can be told apart"
        raise error("MW-A127", plot="predictions", reason=reason, advice=advice)
    facets = levels[1] if len(by) > 1 else [""]
    rows, across = shape_of(len(facets), widest=4)
    size = (SINGLE if len(facets) == 1 else DOUBLE, 2.5 if rows == 1 else min(1.9 * rows + 0.4, 9.0))
    axes = canvas(rows, across, size=size, ax=ax, share="xy" if len(facets) > 1 else "", count=len(facets))
    factor = not _numeric(columns[x])
    places = _places(columns[x])
    handles: list[Any] = []
    own_seen = None if seen is None else [_labels(seen[name]) for name in by]
    for panel, facet in zip(axes, facets, strict=True):
        handles = []
        for at, colour in enumerate(colours):
            key = (colour, facet)[: len(by)]
            rows_of = (
                [i for i, each in enumerate(zip(*keys, strict=True)) if each == key] if by else slice(None)
            )
            own = {name: np.asarray(column)[rows_of] for name, column in columns.items()}
            hue = SEQUENCE[at]
            if seen is not None and own_seen is not None:
                some = (
                    [i for i, each in enumerate(zip(*own_seen, strict=True)) if each == key]
                    if by
                    else slice(None)
                )
                data = _at(np.asarray(seen[x], dtype=object)[some], places, factor=factor)
                data = data + (_shift(at, len(colours)) if factor else 0.0)
                look: dict[str, Any] = {
                    "color": hue if by else DATA,
                    "markersize": 3.0,
                    "alpha": 0.6,
                    "zorder": 1.2,
                }
                panel.plot(data, seen["response"][some], ".", **look)
            place = _at(own[x], places, factor=factor)
            if factor:
                handles.append(
                    _bars(panel, place + _shift(at, len(colours)), own, ribbons, (hue, MARKERS[at]))
                )
                continue
            for kind in ribbons:
                alpha = 0.12 if kind == "prediction" else 0.25
                lower, upper = own[f"{kind}_lower"], own[f"{kind}_upper"]
                ribbon(panel, place, lower, upper, color=hue, alpha=alpha)
            handles.append(panel.plot(place, own["fit"], color=hue, zorder=2)[0])
        if facet:
            panel.set_title(f"{shorten(by[1], max(30 // across * 3 - len(facet), 8))}: {plain(facet)}")
        if factor:
            panel.set_xticks(range(len(places)), [plain(each) for each in places])
    outer_labels(axes, x, _y_label(m, type))
    if by:
        legend(axes, handles, [f"{by[0]}: {each}" if i == 0 else each for i, each in enumerate(colours)])
    if ribbons:
        shown = "bars" if factor else "ribbons" if len(ribbons) > 1 else "ribbon"
        remark(axes[0], f"{100 * level:g} % {' and '.join(ribbons[::-1])} {shown}")
    return finish("predictions", axes, columns, m.design.frame.native_like)


def _bars(
    axes: Axes, place: Array, own: Mapping[str, Any], ribbons: Sequence[str], look: tuple[str, str]
) -> Any:
    color, marker = look
    for kind in ribbons:
        width, alpha = (1.3, 1.0) if kind == "confidence" else (0.8, 0.45)
        axes.vlines(
            place,
            own[f"{kind}_lower"],
            own[f"{kind}_upper"],
            color=color,
            linewidth=width,
            alpha=alpha,
            zorder=2,
        )
    return axes.plot(place, own["fit"], linestyle="", marker=marker, color=color, zorder=3)[0]


def _shift(at: int, count: int) -> float:
    return 0.0 if count < 2 else 0.5 * (at / (count - 1) - 0.5)


def _numeric(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind in "fiu"


def _labels(column: Any) -> list[str]:
    return [
        f"{v:.4g}" if isinstance(v, float) else level_text(v)
        for v in np.asarray(column, dtype=object).tolist()
    ]


def _places(column: Any) -> list[str]:
    """Levels of a factor on the x axis, in their order."""
    return [] if _numeric(column) else list(dict.fromkeys(_labels(column)))


def _at(column: Any, places: list[str], *, factor: bool) -> Array:
    if not factor:
        return np.asarray(column, dtype=np.float64)
    return np.array([places.index(each) for each in _labels(column)], dtype=np.float64)


def _y_label(m: Model, type: Any) -> str:  # noqa: A002
    response = m.design.response
    if not is_generalized(m):
        return response
    if type not in (None, "response"):
        return {"link": f"Linear predictor ({m.family.link})"}.get(type, str(type))
    share = response.startswith("cbind(")
    if m.family.kind == "binary":
        return "Probability" if share else f"Probability of {response}"
    return f"Mean of {response}"


# --- data -----------------------------------------------------------------------------------------------


def prediction_columns(
    m: Model,
    x: str,
    by: Sequence[str] = (),
    *,
    at: Mapping[str, Any] | None = None,
    interval: Sequence[Literal["confidence", "prediction"]] = ("confidence",),
    level: float = 0.95,
    points: int = 60,
    options: Mapping[str, Any] | None = None,
    drawn: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Predict along a variable, with everything else fixed.

    Parameters
    ----------
    x
        A variable of the fixed effects. A number runs through `points` values between its smallest and its
        largest one, within each combination of the factors in `by`; a factor through its levels.
    by
        Variables to have a curve for each value of: levels of a factor; a number takes its mean and one
        standard deviation to both sides, or the values in `at`.
    at
        Values of other variables; otherwise numbers are at their mean and factors at their most frequent
        level.
    interval
        "confidence" of the expected response, "prediction" of a new one, or both.
    options, drawn
        Further keywords of `predict`, the latter for prediction intervals only; `re` is "population" unless
        given.

    Returns
    -------
    dict
        Columns x, those of `by`, fit, and for each interval <interval>_lower and <interval>_upper.

    Raises
    ------
    MixwellError
        MW-A115 for a variable that the fixed effects do not have.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> columns = prediction_columns(m, "Days", points=2)
    >>> columns["Days"].tolist(), columns["fit"].round(2).tolist()
    ([0.0, 9.0], [251.41, 345.61])
    >>> columns["confidence_lower"].round(2).tolist()
    [237.01, 314.75]
    """
    known = model_variables(m)
    for name in (x, *by, *(at or {})):
        if name not in known:
            raise error("MW-A115", name=name, available=list(known))
    chosen: dict[str, Any] = dict(at or {})
    for name in by:
        if name not in chosen:
            chosen[name] = list(known[name].levels) if known[name].is_factor else _few(known[name])
    along = known[x]
    if x not in chosen:
        chosen[x] = list(along.levels) if along.is_factor else _range(along, slice(None), points)
    rows = situations(m, "mean", chosen)
    columns = {name: values(column) for name, column in rows.columns.items()}
    factors = [name for name in by if known[name].is_factor]
    if factors and not along.is_factor and x not in (at or {}):
        columns = _squeezed(columns, known, x, factors, points)
    columns = _contiguous(columns, by)
    out: dict[str, Any] = {name: columns[name] for name in (x, *by)}
    wanted = {"re": "population", **(options or {})}
    if not interval:
        out["fit"] = np.asarray(m.predict(columns, **wanted))
    for kind in interval:
        extra = {"seed": 1, **(drawn or {})} if kind == "prediction" and is_generalized(m) else {}
        found = m.predict(columns, interval=kind, level=level, **wanted, **extra)
        out["fit"] = np.asarray(found["fit"])
        out |= {f"{kind}_{end}": np.asarray(found[end]) for end in ("lower", "upper")}
    return out


def _few(variable: Variable) -> list[float]:
    """Values of a number that curves are drawn for: all if there are few, else mean and mean +- sd."""
    numbers = variable.column.numeric()
    own = np.unique(numbers[~np.isnan(numbers)])
    if own.size <= 4:
        return [float(each) for each in own]
    return [float(numbers.mean() + k * numbers.std(ddof=1)) for k in (-1, 0, 1)]


def _range(variable: Variable, rows: Any, points: int) -> list[float]:
    numbers = variable.column.numeric()[rows]
    return [float(each) for each in np.linspace(np.nanmin(numbers), np.nanmax(numbers), points)]


def _squeezed(
    columns: dict[str, Any], known: Mapping[str, Variable], x: str, factors: list[str], points: int
) -> dict[str, Any]:
    """Let x run only as far as the data of each combination of levels go; without data there is no curve."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, key in enumerate(zip(*(_texts(known[name]) for name in factors), strict=True)):
        groups.setdefault(key, []).append(i)
    shown = [[level_text(each) for each in columns[name]] for name in factors]
    places: dict[tuple[str, ...], list[int]] = {}
    for i, key in enumerate(zip(*shown, strict=True)):
        places.setdefault(key, []).append(i)
    column = np.array(columns[x], dtype=np.float64)
    for key in places.keys() & groups.keys():
        own = np.array(_range(known[x], groups[key], points))
        column[places[key]] = own[np.unique(column[places[key]], return_inverse=True)[1]]
    kept = sorted(i for key in places.keys() & groups.keys() for i in places[key])
    return _picked(columns | {x: column}, kept)


def _contiguous(columns: dict[str, Any], by: Sequence[str]) -> dict[str, Any]:
    """Put the rows of a curve one after the other."""
    if not by:
        return columns
    keys = list(zip(*(_labels(columns[name]) for name in by), strict=True))
    place = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    return _picked(columns, sorted(range(len(keys)), key=lambda i: place[keys[i]]))


def _picked(columns: Mapping[str, Any], rows: list[int]) -> dict[str, Any]:
    return {
        name: own[rows] if isinstance(own, np.ndarray) else [own[i] for i in rows]
        for name, own in columns.items()
    }


def _texts(variable: Variable) -> list[str]:
    codes, levels = variable.column.codes()
    shown = [level_text(level) for level in levels]
    return [shown[code] if code >= 0 else "" for code in codes.tolist()]


def observed_columns(m: Model, x: str, by: Sequence[str] = ()) -> dict[str, Any]:
    """Return the rows that were fitted: x, the columns of `by`, and the response as the model has it.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> {name: len(column) for name, column in observed_columns(m, "Days").items()}
    {'Days': 180, 'response': 180}
    """
    known = model_variables(m)
    out: dict[str, Any] = {name: values(known[name].column) for name in (x, *by)}
    return out | {"response": np.array(m.design.y)}
