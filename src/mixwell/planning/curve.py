"""Power over sizes of a plan, and the smallest effect that a plan would find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, html, number, text
from mixwell.formula import Formula
from mixwell.options import Method, checked
from mixwell.planning.plan import Plan
from mixwell.planning.power import Hypothesis, Power, approximate_power, power, simulate_power, tested
from mixwell.planning.truth import assume
from mixwell.resampling import engine, simulate

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.inference.wald import Ddf

__all__ = ["MinimumEffect", "PowerCurve", "minimum_effect", "power_curve"]

Array = NDArray[np.float64]

_ROUNDS = 12  # simulated rounds of the search for an effect
_CLOSE = 0.005  # of power


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PowerCurve:
    """Power of a plan in several sizes.

    Attributes
    ----------
    sizes
        Units by factor, one dict a point.
    points
        The `Power` of each.
    """

    sizes: tuple[Mapping[str, int], ...]
    points: tuple[Power, ...]

    def table(self) -> Any:
        """Return one row a size and test: the sizes, test, power, lower, upper, approximate, singular."""
        columns: dict[str, list[Any]] = {name: [] for name in self.sizes[0]}
        for name in ("test", "power", "lower", "upper", "approximate", "singular"):
            columns[name] = []
        for sizes, point in zip(self.sizes, self.points, strict=True):
            lower, upper = point.interval
            for j, test in enumerate(point.tests):
                for name, size in sizes.items():
                    columns[name].append(size)
                values = (point.power[j], lower[j], upper[j], point.approximate[j], point.singular)
                columns["test"].append(test.name)
                for name, value in zip(
                    ("power", "lower", "upper", "approximate", "singular"), values, strict=True
                ):
                    columns[name].append(float(value))
        return self.points[0].model.design.frame.native_like(columns)

    def _blocks(self) -> list[Block]:
        names = list(self.sizes[0])
        rows = []
        for sizes, point in zip(self.sizes, self.points, strict=True):
            for j, test in enumerate(point.tests):
                simulated = [f"{point.power[j]:.3f}"] if point.n_sim else []
                rows.append(
                    [
                        *(str(sizes[name]) for name in names),
                        test.name,
                        *simulated,
                        f"{point.approximate[j]:.3f}",
                    ]
                )
        header = (*names, "test", *(("power",) if self.points[0].n_sim else ()), "approximate")
        return [Block(f"Power of {self.points[0].model.formula.text}", header, rows, left=len(names) + 1)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MinimumEffect:
    """The smallest effect that a plan finds with a given power.

    Attributes
    ----------
    coefficient, effect
        Which, and how large it must be.
    approximate
        The effect according to the noncentral t distribution, where the search began.
    at
        The `Power` at the effect.
    """

    coefficient: str
    effect: float
    approximate: float
    at: Power

    def __repr__(self) -> str:
        reached = self.at.power[0] if self.at.n_sim else self.at.approximate[0]
        return f"{self.coefficient} = {number(self.effect)} is found with power {reached:.3f}"


@checked
def power_curve(
    formula: str | Formula,
    design: Plan,
    effects: Mapping[str, float],
    sd: Mapping[str, Any],
    *,
    over: Mapping[str, Sequence[int]],
    sigma: float = 1.0,
    cor: Mapping[str, Any] | None = None,
    terms: str | Sequence[str] | None = None,
    n_sim: int = 1000,
    alpha: float = 0.05,
    ddf: Ddf = "satterthwaite",
    method: Method = "REML",
    contrasts: Any = None,
    seed: int | None = None,
    progress: bool = True,
) -> PowerCurve:
    """Compute power over numbers of units.

    Parameters
    ----------
    design
        A plan (`crossed`, `nested`); a table cannot be made larger.
    over
        Numbers of units by factor, {"subject": [20, 40], "item": [10, 20]}: all combinations.
    formula, effects, sd, sigma, cor, terms, n_sim, alpha, ddf, method, contrasts, seed, progress
        As for `power`; every size uses the same seed.

    Returns
    -------
    PowerCurve
        `.table()` is ready for a plot.

    Raises
    ------
    MixwellError
        MW-A73 for a design that is no plan, otherwise as `power`.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=10, within={"cond": ["a", "b"]}, repeats=5)
    >>> curve = mw.power_curve(
    ...     "y ~ cond + (1 | subject)",
    ...     plan,
    ...     {"condb": 0.3},
    ...     {"subject": 1.0},
    ...     over={"subject": [10, 40]},
    ...     n_sim=0,
    ... )
    >>> [round(value, 2) for value in curve.table()["approximate"]]
    [0.32, 0.85]
    """
    if not isinstance(design, Plan):
        raise error("MW-A73", given=type(design).__name__)
    if not over:
        raise error("MW-A07", option="over", expected="numbers of units by factor", given=over)
    key = simulate.seed_of(seed)
    sizes = [dict(zip(over, each, strict=True)) for each in product(*over.values())]
    points = [
        power(
            formula,
            design.resized(**each),
            effects,
            sd,
            sigma=sigma,
            cor=cor,
            terms=terms,
            n_sim=n_sim,
            alpha=alpha,
            ddf=ddf,
            method=method,
            contrasts=contrasts,
            seed=key,
            progress=progress,
        )
        for each in sizes
    ]
    return PowerCurve(tuple(sizes), tuple(points))


@checked
def minimum_effect(
    formula: str | Formula,
    design: Any,
    coefficient: str,
    sd: Mapping[str, Any],
    *,
    power: float = 0.8,
    effects: Mapping[str, float] | None = None,
    sigma: float = 1.0,
    cor: Mapping[str, Any] | None = None,
    n_sim: int = 1000,
    alpha: float = 0.05,
    ddf: Ddf = "satterthwaite",
    method: Method = "REML",
    contrasts: Any = None,
    seed: int | None = None,
) -> MinimumEffect:
    """Find the smallest value of a coefficient that a plan finds with a given power.

    Parameters
    ----------
    coefficient
        Its name, as in `fixef`.
    power
        Power to reach.
    effects
        The other coefficients; they do not matter for tests of this one and may be left out.
    formula, design, sd, sigma, cor, n_sim, alpha, ddf, method, contrasts, seed
        As for `power`. All rounds of the search draw the same random numbers.

    Returns
    -------
    MinimumEffect

    Raises
    ------
    MixwellError
        MW-A72 for a power that is not between alpha and 1, otherwise as `power`.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=20, within={"cond": ["a", "b"]}, repeats=5)
    >>> found = mw.minimum_effect("y ~ cond + (1 | subject)", plan, "condb", {"subject": 1.0}, n_sim=0)
    >>> round(found.effect, 3)
    0.398
    """
    if isinstance(power, bool) or not isinstance(power, (int, float)) or not alpha < power < 1:
        raise error("MW-A72", given=power)
    count = n_sim if n_sim == 0 and not isinstance(n_sim, bool) else engine.count_of(n_sim)
    key = simulate.seed_of(seed)
    m = assume(
        formula,
        design,
        effects or {},
        sd,
        sigma=sigma,
        cor=cor,
        method=method,
        contrasts=contrasts,
        complete=False,
    )
    if coefficient not in m.fixef.names:
        raise error("MW-A67", name=coefficient, what="coefficient", available=m.fixef.names)
    at = m.fixef.names.index(coefficient)

    def model(effect: float) -> tuple[FittedModel, tuple[Hypothesis, ...]]:
        beta = np.array(m.solution.beta)
        beta[at] = effect
        moved = replace(m)
        solution = type(m.solution)(**{**vars(m.solution), "beta": beta})
        moved.__dict__.update(solution=solution, boundary=())
        return moved, tested(moved, coefficient)

    def approximate(effect: float) -> float:
        moved, tests = model(effect)
        return approximate_power(moved, tests[0], alpha, ddf)

    def simulated(effect: float) -> Power:
        moved, tests = model(effect)
        return simulate_power(moved, tests, n_sim=count, alpha=alpha, ddf=ddf, seed=key)

    unit = float(np.sqrt(m.vcov()[at, at]))
    first = _rising(approximate, power, unit, 1e-6, 60)
    if count == 0:
        return MinimumEffect(coefficient, first, first, simulated(first))
    effect = _rising(lambda e: float(simulated(e).power[0]), power, first, _CLOSE, _ROUNDS)
    return MinimumEffect(coefficient, effect, first, simulated(effect))


def _rising(f: Any, target: float, guess: float, close: float, rounds: int) -> float:
    """Where a rising function of a positive number reaches a target: brackets, then interpolates."""
    low, f_low, high = 0.0, 0.0, guess
    f_high = f(high)
    while f_high < target and rounds:
        low, f_low, high = high, f_high, 1.5 * high
        f_high = f(high)
        rounds -= 1
    for step in range(rounds):
        line = low + (high - low) * (target - f_low) / max(f_high - f_low, 1e-12)
        middle = line if step % 2 == 0 else 0.5 * (low + high)
        value = f(middle)
        if abs(value - target) <= close:
            return float(middle)
        if value < target:
            low, f_low = middle, value
        else:
            high, f_high = middle, value
    return float(high)
