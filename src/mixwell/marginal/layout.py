"""What predictions, comparisons and slopes have in common: which rows, what is averaged, how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.formula import variables
from mixwell.formula.expression import Call, label
from mixwell.marginal.counterfactual import Situations, groups_of, model_variables, situations, values
from mixwell.marginal.effects import Values, averaged
from mixwell.marginal.results import Effects

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model
    from mixwell.marginal.effects import Engine

__all__ = ["Layout", "check_level", "finished", "joined", "stacked"]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

_WHOSE = {
    "population": "random effects of zero",
    "conditional": "random effects of each row's levels, taken as known",
    "marginal": "averaged over random effects",
}
_SCALE = {"link": "on the scale of the link", "response": "of the mean"}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Rows to predict, and the groups of them to average over.

    Attributes
    ----------
    labels
        What each row of the result is, (size,) each.
    size
        Rows of the result: groups, or if nothing is averaged those of the table.
    group
        Group of each row, (n,); None if nothing is averaged.
    weights
        Of the rows within their groups, (n,) or None.
    """

    rows: Situations
    labels: Mapping[str, Any]
    size: int
    group: Ints | None
    weights: Array | None

    @classmethod
    def of(
        cls,
        m: Model,
        newdata: Any,
        *,
        at: Mapping[str, Any] | None,
        by: str | Sequence[str] | None,
        average: bool,
        weights: Any,
        re: str,
        reference: bool = False,
    ) -> Layout:
        """Read the arguments of a public function; `reference` as in `situations`."""
        if not isinstance(average, bool):
            raise error("MW-A02", option="average", given=average, allowed=["True", "False"])
        names: list[Any] = [] if by is None else list(by) if isinstance(by, list | tuple) else [by]
        if by is not None and (not names or not all(isinstance(name, str) for name in names)):
            raise error("MW-A07", option="by", expected="one or more names of columns", given=by)
        extra = [*names, *([weights] if isinstance(weights, str) else [])]
        if isinstance(weights, str) and newdata is None and weights not in m.design.frame.names:
            raise error("MW-A119", name=weights, option="weights", available=list(m.design.frame.names))
        rows = situations(m, newdata, at, extra=extra, groups=re == "conditional", reference=reference)
        if not names and not average:
            if weights is not None:
                advice = "They weight rows in averages: add by=... or average=True, or leave them out."
                raise error("MW-A31", option="weights=", other="single rows", advice=advice)
            labels: dict[str, Any] = {"row": rows.row}
            shown = [*model_variables(m), *(at or {})]
            if re == "conditional":
                shown += [name for term in m.formula.random for e in term.group for name in variables(e)]
            labels |= {name: values(rows.columns[name]) for name in shown if name in rows.columns}
            return cls(rows, labels, rows.n, None, None)
        group, labels = groups_of(rows, list(dict.fromkeys(names)))
        count = int(group.max(initial=0)) + 1
        return cls(rows, labels, count, group, _row_weights(rows, weights))

    def reduced(self, parts: Sequence[Values]) -> list[Values]:
        """Average predictions of rows, if averages are wanted."""
        if self.group is None:
            return list(parts)
        return [averaged(each, self.group, self.size, self.weights) for each in parts]

    def labelled(self, categories: Sequence[str]) -> dict[str, Any]:
        """Labels of the results of all categories, one category after the other."""
        out: dict[str, Any] = {}
        if tuple(categories) != ("",):
            out["category"] = [name for name in categories for _ in range(self.size)]
        return out | {name: _repeated(own, len(categories)) for name, own in self.labels.items()}


def _row_weights(rows: Situations, given: Any) -> Array | None:
    if given is None:
        return None
    try:
        w = rows.columns[given].numeric() if isinstance(given, str) else np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        w = np.empty(0)
    if not isinstance(given, str) and w.ndim == 1 and w.size * rows.copies == rows.n:
        w = np.tile(w, rows.copies)
    if w.shape != (rows.n,) or not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        expected = f"a column, or {rows.n // rows.copies} numbers that are not negative"
        raise error("MW-A07", option="weights", expected=expected, given=given)
    return w


def _repeated(own: Any, times: int) -> Any:
    return np.tile(own, times) if isinstance(own, np.ndarray) else list(own) * times


def stacked(table: Sequence[tuple[str, str]], own: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Labels of everything: which variable, which contrast, and what `own` says, for each of them."""
    out: dict[str, Any] = {
        "variable": [name for name, _ in table for _ in range(size)],
        "contrast": [contrast for _, contrast in table for _ in range(size)],
    }
    return out | {key: _repeated(each, len(table)) for key, each in own.items() if key not in out}


def joined(parts: Sequence[Values]) -> Values:
    """Stack values."""
    dropped = [each.dropped for each in parts if each.dropped is not None]
    return Values(
        np.concatenate([each.value for each in parts]),
        np.concatenate([each.gradient for each in parts]),
        np.concatenate(dropped) if dropped else None,
    )


def check_level(level: object) -> None:
    """Refuse a level that is not between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)


def finished(
    use: Engine,
    title: str,
    labels: Mapping[str, Any],
    found: Values,
    *,
    null: float,
    level: float,
    hypothesis: Any,
    limits: tuple[Array, Array] | None = None,
    derived: bool = False,
) -> Effects:
    """Make the result; `derived`: it has derivatives."""
    m, found = use.m, use.known(found, derived=derived)
    scale = _SCALE.get(use.type, f"type {use.type!r}")
    if not hasattr(m, "family") and isinstance(m.formula.response, Call):
        scale = f"of the mean of {label(m.formula.response)}"
    whose = [_WHOSE[use.re]] if m.formula.random else []
    note = "; ".join([scale, *whose, f"covariance and df: {use.by.name}"])
    out = Effects(
        title,
        f"{note[0].upper()}{note[1:]}.",
        labels,
        found.value,
        found.gradient,
        use.by,
        null,
        float(level),
        limits,
        m.design.frame.native_like,
    )
    return out if hypothesis is None else out.hypothesis(hypothesis)
