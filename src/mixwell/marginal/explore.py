"""One string for means, slopes and their contrasts: m.explore("Drug[A - B] ~ Dose")."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.marginal.adjust import Adjust
from mixwell.marginal.contrasts import PAIRS
from mixwell.marginal.counterfactual import Variable, model_variables, situations, wanted_values
from mixwell.marginal.effects import Engine, Values, averaged, default_ddf, engine, with_mean_offset
from mixwell.marginal.explore_grammar import Item, Part, Question, Side, read_question
from mixwell.marginal.layout import check_level, finished, joined
from mixwell.marginal.results import Effects
from mixwell.marginal.slopes import derivative
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model
    from mixwell.inference.wald import Ddf

__all__ = ["explore"]

Array = NDArray[np.float64]

_WORDS = ("pairwise", "revpairwise", "reference", "sequential", "effects")
_PLACES = ("mean", "median", "min", "max", "range", "sd", "quartiles")


class _Axis(NamedTuple):
    """One variable of the question: the values it takes, and combinations of them (items, values)."""

    name: str
    values: Sequence[Any]
    combinations: Array
    labels: Sequence[str]
    contrasts: bool
    pairs: bool = False


@checked
def explore(
    m: Model,
    question: str,
    *,
    type: Literal["link", "response"] = "link",  # noqa: A002
    vcov: str = "model",
    cluster: Any = None,
    ddf: Ddf | None = None,
    level: float = 0.95,
    adjust: Adjust = "none",
) -> Effects:
    """Answer a question about means, slopes and contrasts that is written as one text.

    Parameters
    ----------
    question
        What, and after '~' under which conditions; see Notes.
    type
        "link": means of the linear predictor. "response": means of predicted means.
    vcov, cluster, level
        As in `predictions`.
    ddf
        By default those of `summary()`: of linear mixed models Satterthwaite's; normal for means of predicted
        means that are not linear.
    adjust
        Of p-values and intervals for the number of answers under each condition: "none", "bonferroni",
        "sidak", "holm", "fdr", "mvt", "scheffe", and of all pairs "tukey"; see `contrast`.

    Returns
    -------
    Effects

    Raises
    ------
    MixwellError
        MW-A125 for a text that cannot be read, MW-A119 and A120 for an unknown variable or level; all with a
        caret. MW-A117 for Tukey's method with anything but all pairs.

    Notes
    -----
    | text | answer |
    |---|---|
    | "Drug" | mean of each level |
    | "Drug[A, B]" | means of these levels |
    | "Drug[A - B, A - C]" | differences |
    | "Drug[(A, B) - C]", "Drug[A - *]" | against the mean of several, of all others |
    | "Drug[pairwise]", "Drug[*]" | all differences, first minus second; also "revpairwise", "sequential" (each minus the one before), "reference" (each minus the first), "effects" (each minus the mean of all) |
    | "Dose" (a number) | slope |
    | "Dose[0, 10]", "Dose[10 - 0]" | means at values, their difference; also "mean", "median", "min", "max", "range", "quartiles", "sd" (one below and above the mean) |
    | "Drug:Sex" | mean of each cell |
    | "Drug[A - B]:Sex[f - m]" | difference of differences |
    | "Dose:Drug[A - B]" | difference of slopes |
    | "... ~ Sex" | for each level |
    | "... ~ Dose[0, 10]", "... ~ Dose@10" | at these values |
    | "... ~ Sex[f - m]" | how the answer differs between conditions |
    | "... ~ Sex + Dose[0]" | under each combination of conditions |
    | "... ~ @observed" | averaged over the fitted rows |

    By default ("@mean") the rows are those of the grid of `emmeans`: other numbers are at their means, or at
    both values if they have two; the levels of other factors are averaged with equal weights.

    The grammar:

    | rule | is |
    |---|---|
    | text | focus [ "~" condition { "+" condition } ] |
    | focus | part { ":" part } |
    | part | name [ "[" item { "," item } "]" or "@" level ] |
    | condition | part, "@mean" or "@observed" |
    | item | side [ "-" side ] |
    | side | level, "*", or "(" level { "," level } ")" |
    | name, level | a word, a number, or anything in quotes |

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    >>> found = m.explore("recipe[A - B, A - C] ~ temp[175, 225]")
    >>> found.labels["recipe"], found.labels["temp"], found.estimate.round(3).tolist()
    (['A - B', 'A - B', 'A - C', 'A - C'], ['175', '225', '175', '225'], [1.749, 1.206, 1.575, 1.47])
    >>> m.explore("temp:recipe[A - B]").estimate.round(4).tolist()
    [-0.0109]
    """  # noqa: E501
    choice("type", type, ("link", "response"))
    check_level(level)
    asked = read_question(question)
    known = model_variables(m)
    for part in (*asked.focus, *asked.conditions):
        if part.name not in known:
            raise _at(asked, part, "MW-A119", name=part.name, option="explore()", available=list(known))
    slope = _slope(asked, known)
    focus = [_axis(asked, part, known[part.name]) for part in asked.focus if part.name != slope]
    conditions = [_axis(asked, part, known[part.name]) for part in asked.conditions]
    families, means = _families(adjust, focus, conditions)
    twice = {axis.name for axis in focus} & {axis.name for axis in conditions}
    for part in asked.conditions:
        if part.name in twice:
            advice = "A condition is another variable; levels are chosen in the brackets on the left."
            reason = f"'{part.name}' is asked for and is a condition"
            raise _at(asked, part, "MW-A125", reason=reason, advice=advice)
    axes = [*focus, *conditions]
    linear = type == "link" or not hasattr(m, "family")
    ddf = default_ddf(m, ddf, vcov, linear=linear)
    use = engine(m, type=type, re="population", vcov=vcov, cluster=cluster, ddf=ddf)
    if not asked.observed:
        use = with_mean_offset(use, {part.name for part in (*asked.focus, *asked.conditions)})
    cells = [
        _cell(use, dict(zip([axis.name for axis in axes], cell, strict=True)), asked, known.get(slope or ""))
        for cell in product(*(axis.values for axis in axes))
    ]
    together: Array = np.ones((1, 1))
    for axis in axes:
        together = np.asarray(np.kron(together, axis.combinations), dtype=np.float64)
    labels: dict[str, Any] = {} if slope is None else {"slope": [slope] * len(together)}
    texts = list(product(*(axis.labels for axis in axes)))
    labels |= {
        axis.name if axis.name != slope else f"at {slope}": [t[j] for t in texts]
        for j, axis in enumerate(axes)
    }
    compares = slope is not None or any(axis.contrasts for axis in axes)
    title = asked.text.strip()
    found = finished(
        use,
        title,
        labels,
        joined(cells).weighted(together),
        null=0.0 if compares else math.nan,
        level=level,
        hypothesis=None,
        derived=slope is not None,
    )
    return replace(found, adjust=adjust, families=families, means=means)


def _families(
    adjust: Adjust, focus: Sequence[_Axis], conditions: Sequence[_Axis]
) -> tuple[list[list[int]], int]:
    """Return the answers under each condition, and the number of means whose pairs they are."""
    choice("adjust", adjust, get_args(Adjust))
    own, apart = (math.prod(len(axis.labels) for axis in axes) for axes in (focus, conditions))
    pairs = len(focus) == 1 and focus[0].pairs
    if adjust == "tukey" and not pairs:
        raise error("MW-A117", what="this question")
    families = [[i * apart + j for i in range(own)] for j in range(apart)]
    return families, len(focus[0].values) if pairs else 0


def _at(asked: Question, part: Part | Item | Side, code: str, **fields: object) -> Exception:
    return error(code, text=asked.text, span=part.span, **fields)


def _slope(asked: Question, known: dict[str, Variable]) -> str | None:
    """Return the number in the focus whose slope is meant: the one without brackets."""
    numbers = [part for part in asked.focus if not known[part.name].is_factor and part.items is None]
    if len(numbers) > 1:
        reason, advice = "a slope in two variables has no meaning", "Give one of them values: x[0, 1]."
        raise _at(asked, numbers[1], "MW-A125", reason=reason, advice=advice)
    return numbers[0].name if numbers else None


def _axis(asked: Question, part: Part, variable: Variable) -> _Axis:
    """Read the brackets of one variable."""
    if not variable.is_factor:
        return _number(asked, part, variable)
    names = [level_text(each) for each in variable.levels]
    count = len(names)
    if part.items is None:
        return _Axis(part.name, variable.levels, np.eye(count), names, contrasts=False)

    def find(text: str, side: Side) -> int:
        if text not in names:
            available = names if side.quoted else [*names, *_WORDS]
            raise _at(asked, side, "MW-A120", name=text, variable=part.name, available=available)
        return names.index(text)

    def weights(side: Side, other: Side | None) -> Array:
        row = np.zeros(count)
        if side.others:
            if other is None or other.others:
                reason, advice = "'*' stands for the levels that the other side leaves", "Write A - *."
                raise _at(asked, side, "MW-A125", reason=reason, advice=advice)
            taken = {find(text, other) for text in other.levels}
            rest = [j for j in range(count) if j not in taken]
            if not rest:
                raise _at(
                    asked, side, "MW-A125", reason="no level is left for '*'", advice="Name fewer levels."
                )
            row[rest] = 1.0 / len(rest)
            return row
        for text in side.levels:
            row[find(text, side)] += 1.0 / len(side.levels)
        return row

    rows: list[Array] = []
    labels: list[str] = []
    kinds = set[bool]()
    for item in part.items:
        word = _word(item, names)
        if word is not None:
            own, texts = _family(word, names)
            rows += list(own)
            labels += texts
            kinds.add(True)
            continue
        row = weights(item.left, item.right)
        if item.right is not None:
            row = row - weights(item.right, item.left)
        rows.append(row)
        labels.append(_text(item))
        kinds.add(item.right is not None)
    if len(kinds) > 1:
        reason, advice = "means and differences cannot be mixed", "Ask for them one after the other."
        raise _at(asked, part.items[-1], "MW-A125", reason=reason, advice=advice)
    pairs = len(part.items) == 1 and _word(part.items[0], names) in PAIRS
    return _Axis(part.name, variable.levels, np.array(rows), labels, contrasts=kinds == {True}, pairs=pairs)


def _word(item: Item, names: Sequence[str]) -> str | None:
    """Return the kind of contrast that an item names; levels come first."""
    if item.right is not None:
        return None
    if item.left.others:
        return "pairwise"
    text = item.left.levels[0]
    plain = len(item.left.levels) == 1 and not item.left.quoted and text not in names
    return text if plain and text in _WORDS else None


def _family(word: str, names: Sequence[str]) -> tuple[Array, list[str]]:
    count = len(names)
    if word == "effects":
        return np.eye(count) - 1.0 / count, [f"{name} - mean" for name in names]
    pairs = {
        "pairwise": [(i, j) for i in range(count) for j in range(i + 1, count)],
        "revpairwise": [(j, i) for i in range(count) for j in range(i + 1, count)],
        "reference": [(i, 0) for i in range(1, count)],
        "sequential": [(i, i - 1) for i in range(1, count)],
    }[word]
    rows = np.zeros((len(pairs), count))
    for at, (i, j) in enumerate(pairs):
        rows[at, i], rows[at, j] = 1.0, -1.0
    return rows, [f"{names[i]} - {names[j]}" for i, j in pairs]


def _text(item: Item) -> str:
    def side(one: Side) -> str:
        if one.others:
            return "others"
        return one.levels[0] if len(one.levels) == 1 else f"({', '.join(one.levels)})"

    return side(item.left) if item.right is None else f"{side(item.left)} - {side(item.right)}"


def _number(asked: Question, part: Part, variable: Variable) -> _Axis:
    """Read values of a number, or differences of them."""
    if part.items is None:
        reason = f"'{part.name}' is a number, and the condition gives no values"
        advice = f"Write {part.name}[0, 1] or {part.name}[mean]."
        raise _at(asked, part, "MW-A125", reason=reason, advice=advice)
    values: list[float] = []
    rows: list[dict[int, float]] = []
    labels: list[str] = []

    def one(side: Side) -> float:
        try:
            value = float(side.levels[0]) if len(side.levels) == 1 and not side.others else math.nan
        except ValueError:
            value = math.nan
        if len(side.levels) == 1 and side.levels[0] in _PLACES[:4]:
            value = wanted_values(variable, side.levels[0])[0]
        if not math.isfinite(value):
            reason = f"'{asked.text[side.span[0] : side.span[1]]}' is no value of the number '{part.name}'"
            advice = f"Write numbers, or {', '.join(_PLACES)}."
            raise _at(asked, side, "MW-A125", reason=reason, advice=advice)
        values.append(value)
        return value

    kinds = set[bool]()
    for item in part.items:
        kinds.add(item.right is not None)
        at = len(values)
        if item.right is not None:
            left, right = one(item.left), one(item.right)
            rows.append({at: 1.0, at + 1: -1.0})
            labels.append(f"{left:g} - {right:g}")
        elif item.left.levels[0] in _PLACES:
            found = wanted_values(variable, item.left.levels[0])
            values += found
            rows += [{at + j: 1.0} for j in range(len(found))]
            labels += [f"{value:g}" for value in found]
        else:
            labels.append(f"{one(item.left):g}")
            rows.append({at: 1.0})
    if len(kinds) > 1:
        reason, advice = "means and differences cannot be mixed", "Ask for them one after the other."
        raise _at(asked, part.items[-1], "MW-A125", reason=reason, advice=advice)
    combinations = np.zeros((len(rows), len(values)))
    for r, entries in enumerate(rows):
        for j, weight in entries.items():
            combinations[r, j] = weight
    return _Axis(part.name, values, combinations, labels, contrasts=kinds == {True})


def _cell(use: Engine, at: dict[str, Any], asked: Question, slope: Variable | None) -> Values:
    """Return the mean of one combination of values, or the slope there, over rows of the grid or the fit."""
    values = {name: [value] for name, value in at.items()}
    rows = situations(use.m, None if asked.observed else "grid", values, reference=True)
    predict: Callable[[], list[Values]] = (
        (lambda: use(rows.columns)) if slope is None else (lambda: derivative(use, rows, slope))
    )
    return averaged(predict()[0], np.zeros(rows.n, dtype=np.intp), 1)
