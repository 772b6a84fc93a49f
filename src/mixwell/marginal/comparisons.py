"""Comparisons of predictions: what changes if a variable changes, everything else as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from mixwell.design.contrasts import level_text
from mixwell.design.frame import Column
from mixwell.errors import error
from mixwell.marginal.counterfactual import Situations, Variable, model_variables, set_to, shifted
from mixwell.marginal.effects import Random, Values, default_ddf, engine
from mixwell.marginal.layout import Layout, check_level, finished, joined, stacked
from mixwell.marginal.results import Effects
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model
    from mixwell.inference.wald import Ddf

__all__ = ["Change", "changes_of", "comparisons"]

Comparison = Literal["difference", "ratio", "lnratio", "lnor", "lift"]
Variables: TypeAlias = "str | Sequence[str] | Mapping[str, Any] | None"

_PAIRS = ("reference", "pairwise", "revpairwise", "sequential", "revsequential", "revreference")
_NUMBERS = ("sd", "2sd", "iqr", "minmax")


class Change(NamedTuple):
    """A change of one variable, as columns of n rows: before and after."""

    label: str
    before: Callable[[Situations], Column]
    after: Callable[[Situations], Column]


@checked
def comparisons(
    m: Model,
    variables: Variables = None,
    *,
    newdata: Any = None,
    at: Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    average: bool = False,
    comparison: Comparison = "difference",
    type: str | None = None,  # noqa: A002
    re: Random = "population",
    weights: Any = None,
    hypothesis: Any = None,
    vcov: str = "model",
    cluster: Any = None,
    ddf: Ddf | None = None,
    level: float = 0.95,
) -> Effects:
    """Compare predictions before and after a change of a variable, everything else as it is in each row.

    Parameters
    ----------
    variables
        A name, several, or a dict from names to changes; all variables of the fixed effects if None. Changes
        of numbers: 1 (any number: that much more than observed; the default, but of a number that is 0 or 1
        the change from 0 to 1), "sd" and "2sd" (that much,
        half of it to each side of the mean), "iqr", "minmax", or (from, to). Changes of factors: "reference"
        (each level against the first; the default), "pairwise", "sequential" (each against the one before),
        with "rev" before it the other way round, or (from, to).
    newdata, at, by, average
        Rows to compare, and averages of them, as in `predictions`.
    comparison
        "difference", "ratio", "lnratio", "lnor" (of odds), "lift" (difference over the value before). Of
        averages: predictions are averaged first, then compared.
    type, re, weights, hypothesis, vcov, cluster, ddf, level
        As in `predictions`. Ratios and odds are not linear: their degrees of freedom are normal.

    Returns
    -------
    Effects

    Raises
    ------
    MixwellError
        As `predictions`; MW-A123 for a change that a variable cannot make.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"n": [2, 3, 6, 7, 1, 8], "x": [0, 1, 2, 3, 0, 3], "f": list("ababab")}
    >>> m = mw.glm("n ~ x + f", table, family="poisson")
    >>> ratio = m.comparisons({"x": 1}, comparison="ratio", average=True)
    >>> bool(abs(ratio.estimate[0] - np.exp(m.fixef["x"])) < 1e-12)
    True
    >>> m.comparisons("f", average=True).labels
    {'variable': ['f'], 'contrast': ['b - a']}
    """
    choice("comparison", comparison, get_args(Comparison))
    check_level(level)
    known = model_variables(m)
    plan = [
        (name, change)
        for name, spec in wanted(known, variables, at).items()
        for change in changes_of(known[name], spec)
    ]
    linear = comparison == "difference" and (type == "link" or not hasattr(m, "family"))
    ddf = default_ddf(m, ddf, vcov, linear=linear)
    use = engine(m, type=type, re=re, vcov=vcov, cluster=cluster, ddf=ddf)
    layout = Layout.of(m, newdata, at=at, by=by, average=average, weights=weights, re=re)
    rows, parts = layout.rows, []
    for position, (name, change) in enumerate(plan):
        before = layout.reduced(use(rows.replaced({name: change.before(rows)}), loud=position == 0))
        after = layout.reduced(use(rows.replaced({name: change.after(rows)})))
        parts += [compared(comparison, b, a) for b, a in zip(before, after, strict=True)]
    table = [(name, change.label) for name, change in plan]
    return finished(
        use,
        f"{'Comparisons' if layout.group is None else 'Average comparisons'}: {comparison}",
        stacked(table, layout.labelled(use.categories), layout.size * len(use.categories)),
        joined(parts),
        null=1.0 if comparison == "ratio" else 0.0,
        level=level,
        hypothesis=hypothesis,
    )


def compared(comparison: str, before: Values, after: Values) -> Values:
    """Compare two predictions."""
    b, a = before.value, after.value
    with np.errstate(divide="ignore", invalid="ignore"):
        if comparison == "difference":
            return after.minus(before)
        if comparison == "ratio":
            return after.combined(before, a / b, (1 / b, -a / b**2))
        if comparison == "lift":
            return after.combined(before, (a - b) / b, (1 / b, -a / b**2))
        if comparison == "lnratio":
            return after.combined(before, np.log(a / b), (1 / a, -1 / b))
        odds = np.log(a / (1 - a)) - np.log(b / (1 - b))
        return after.combined(before, odds, (1 / (a * (1 - a)), -1 / (b * (1 - b))))


def wanted(known: Mapping[str, Variable], given: Variables, at: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variables to change and how; None stands for the default."""
    if given is None:
        specs: dict[str, Any] = {name: None for name in known if at is None or name not in at}
    elif isinstance(given, Mapping):
        specs = dict(given)
    else:
        specs = dict.fromkeys([given] if isinstance(given, str) else given)
    for name in specs:
        if name not in known:
            raise error("MW-A119", name=name, option="variables", available=list(known))
    if not specs:
        raise error("MW-A124", what="no variable to change")
    return specs


def changes_of(variable: Variable, spec: Any) -> list[Change]:
    """Return the changes that are asked for."""
    if variable.is_factor:
        return _of_factor(variable, spec)
    if spec is None:
        spec = (0.0, 1.0) if variable.is_zero_one else 1
    x = variable.column.numeric()
    if isinstance(spec, str):
        if spec not in _NUMBERS:
            raise _refused(variable, spec)
        middle, sd = float(x.mean()), float(x.std(ddof=1)) if x.size > 1 else 0.0
        low, high = {
            "sd": (middle - sd / 2, middle + sd / 2),
            "2sd": (middle - sd, middle + sd),
            "iqr": tuple(np.quantile(x, [0.25, 0.75]).tolist()),
            "minmax": (float(x.min()), float(x.max())),
        }[spec]
        return [Change(spec, *_two(variable, low, high))]
    if isinstance(spec, int | float | np.number) and not isinstance(spec, bool) and math.isfinite(spec):
        step = float(spec)

        def same(rows: Situations) -> Column:
            return shifted(rows.columns[variable.name], 0.0)

        def more(rows: Situations) -> Column:
            return shifted(rows.columns[variable.name], step)

        return [Change(f"+{step:g}" if step >= 0 else f"{step:g}", same, more)]
    low, high = _ends(variable, spec)
    return [Change(f"{high:g} - {low:g}", *_two(variable, float(low), float(high)))]


def _of_factor(variable: Variable, spec: Any) -> list[Change]:
    levels = variable.levels
    spec = "reference" if spec is None else spec
    if isinstance(spec, str) and spec in _PAIRS:
        k = range(len(levels))
        pairs = {
            "reference": [(0, j) for j in k[1:]],
            "pairwise": [(i, j) for i in k for j in k[i + 1 :]],
            "sequential": [(j - 1, j) for j in k[1:]],
        }[spec.removeprefix("rev")]
        if spec.startswith("rev"):
            pairs = [(j, i) for i, j in pairs]
        chosen = [(levels[i], levels[j]) for i, j in pairs]
    else:
        chosen = [_ends(variable, spec)]
    return [
        Change(f"{level_text(after)} - {level_text(before)}", *_two(variable, before, after))
        for before, after in chosen
    ]


def _two(variable: Variable, before: Any, after: Any) -> tuple[Any, Any]:
    return (
        lambda rows: set_to(variable, before, rows.n),
        lambda rows: set_to(variable, after, rows.n),
    )


def _ends(variable: Variable, spec: Any) -> tuple[Any, Any]:
    if not isinstance(spec, list | tuple) or len(spec) != 2:
        raise _refused(variable, spec)
    for value in spec:
        set_to(variable, value, 1)
    return spec[0], spec[1]


def _refused(variable: Variable, spec: Any) -> Exception:
    words = [repr(each) for each in (_PAIRS if variable.is_factor else _NUMBERS)]
    others = "(from, to)" if variable.is_factor else "a number, (from, to)"
    shown = repr(spec) if isinstance(spec, str) else str(spec)
    return error("MW-A123", variable=variable.name, given=shown, others=others, allowed=words)
