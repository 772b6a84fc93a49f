"""Sampling plans: which rows an experiment will have, as a function of how many units it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

__all__ = ["Plan", "crossed", "nested"]

Values = Sequence[Any]
Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A design that can be made in any size.

    Attributes
    ----------
    sizes
        Units by factor: all of them in a crossed plan, those within a unit of the factor before if nested.
    is_nested
        Whether each factor lies in the one before.
    between
        Predictor -> (factor, values): each unit of the factor has one of the values, in turn.
    within
        Predictor -> values that occur in every combination of units.
    rotated
        Predictor -> values of which every combination of units has one, in a Latin square.
    repeats
        Rows of each cell.
    """

    sizes: Mapping[str, int]
    is_nested: bool
    between: Mapping[str, tuple[str, Values]]
    within: Mapping[str, Values]
    rotated: Mapping[str, Values]
    repeats: int = 1

    def resized(self, **sizes: int) -> Plan:
        """Return the plan with other numbers of units.

        Raises
        ------
        MixwellError
            MW-A67 for a factor that the plan does not have, MW-A68 for a number that is none, MW-A69 for
            fewer units than a predictor has values.
        """
        for name in sizes:
            if name not in self.sizes:
                raise error("MW-A67", name=name, what="factor of the plan", available=tuple(self.sizes))
        merged = {**self.sizes, **sizes}
        _check_sizes(merged)
        _check_between(merged, self.between)
        return replace(self, sizes=merged)

    def table(self) -> Table:
        """Return the rows: one array a factor (labels "1", "2", ... or "1/2" when nested) and a predictor."""
        names = list(self.sizes)
        axes = [range(size) for size in self.sizes.values()]
        axes += [range(len(values)) for values in self.within.values()]
        axes.append(range(self.repeats))
        grid = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
        units = dict(zip(names, grid, strict=False))
        out: Table = {}
        label = np.zeros(grid[0].size, dtype=object)
        for at, (name, unit) in enumerate(units.items()):
            own = (unit + 1).astype(str)
            label = own if at == 0 or not self.is_nested else np.char.add(np.char.add(label, "/"), own)
            out[name] = label
        for (name, values), position in zip(self.within.items(), grid[len(names) :], strict=False):
            out[name] = np.asarray(values)[position]
        for name, (factor, values) in self.between.items():
            out[name] = np.asarray(values)[units[factor] % len(values)]
        turn = np.sum(list(units.values()), axis=0)
        for name, values in self.rotated.items():
            out[name] = np.asarray(values)[turn % len(values)]
            turn = turn // len(values)
        return out


def crossed(
    *,
    between: Mapping[str, tuple[str, Values]] | None = None,
    within: Mapping[str, Values] | None = None,
    rotated: Mapping[str, Values] | None = None,
    repeats: int = 1,
    **sizes: int,
) -> Plan:
    """Plan a design in which every unit of each factor meets every unit of the others.

    Parameters
    ----------
    sizes
        Number of units by factor: `subject=30, item=20`.
    between
        Predictors that belong to units: `{"group": ("subject", ["a", "b"])}`; units take the values in turn.
    within
        Predictors with all their values in every cell: `{"cond": ["a", "b"]}` doubles the rows.
    rotated
        Predictors with one value in each cell, counterbalanced in a Latin square over the units.
    repeats
        Rows of each cell.

    Returns
    -------
    Plan
        `.table()` has the rows, `.resized(subject=40)` the same plan in another size.

    Raises
    ------
    MixwellError
        MW-A68 for sizes that are no numbers of units, MW-A69 for predictors that cannot be read.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=2, item=2, rotated={"cond": ["a", "b"]})
    >>> table = plan.table()
    >>> table["subject"].tolist(), table["item"].tolist(), table["cond"].tolist()
    (['1', '1', '2', '2'], ['1', '2', '1', '2'], ['a', 'b', 'b', 'a'])
    """
    return _plan(sizes, between, within, rotated, repeats, is_nested=False)


def nested(
    *,
    between: Mapping[str, tuple[str, Values]] | None = None,
    within: Mapping[str, Values] | None = None,
    rotated: Mapping[str, Values] | None = None,
    repeats: int = 1,
    **sizes: int,
) -> Plan:
    """Plan a design in which the units of each factor lie in those of the factor before.

    Parameters
    ----------
    sizes
        From the outermost: `school=20, pupil=15` is 15 pupils in each of 20 schools.
    between, within, rotated, repeats
        As for `crossed`. Units of an inner factor take the values of `between` in turn within the outer unit.

    Returns
    -------
    Plan

    Raises
    ------
    MixwellError
        As `crossed`.

    Examples
    --------
    >>> import mixwell as mw
    >>> arms = {"arm": ("school", ["new", "old"])}
    >>> plan = mw.nested(school=2, pupil=2, between=arms, within={"time": [0, 1]})
    >>> table = plan.table()
    >>> len(table["arm"]), table["pupil"][:4].tolist(), table["arm"][::4].tolist()
    (8, ['1/1', '1/1', '1/2', '1/2'], ['new', 'old'])
    """
    return _plan(sizes, between, within, rotated, repeats, is_nested=True)


def _plan(
    sizes: Mapping[str, int],
    between: Mapping[str, tuple[str, Values]] | None,
    within: Mapping[str, Values] | None,
    rotated: Mapping[str, Values] | None,
    repeats: int,
    *,
    is_nested: bool,
) -> Plan:
    _check_sizes(sizes)
    _check_sizes({"repeats": repeats})
    between, within, rotated = dict(between or {}), dict(within or {}), dict(rotated or {})
    for name, given in between.items():
        if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)):
            raise error("MW-A69", name=name, reason="between= wants (factor, values)")
        if given[0] not in sizes:
            raise error("MW-A67", name=given[0], what="factor of the plan", available=tuple(sizes))
    values = {name: each for name, (_, each) in between.items()} | within | rotated
    for name, each in values.items():
        if isinstance(each, str) or not hasattr(each, "__len__") or len(each) == 0:
            raise error("MW-A69", name=name, reason="its values must be a list")
    named = [*sizes, *between, *within, *rotated]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise error("MW-A69", name=twice, reason="it is given twice")
    _check_between(sizes, between)
    return Plan(dict(sizes), is_nested, between, within, rotated, repeats)


def _check_sizes(sizes: Mapping[str, int]) -> None:
    if not sizes:
        raise error("MW-A68", name="the plan", given="no factor at all")
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise error("MW-A68", name=f"'{name}'", given=repr(size))


def _check_between(sizes: Mapping[str, int], between: Mapping[str, tuple[str, Values]]) -> None:
    for name, (factor, values) in between.items():
        if sizes[factor] < len(values):
            reason = f"it has {len(values)} values for {sizes[factor]} units of {factor}"
            raise error("MW-A69", name=name, reason=reason)
