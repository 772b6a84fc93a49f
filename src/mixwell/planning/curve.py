"""Power over sizes of a plan, and the smallest effect that a plan would find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, html, number, text
from mixwell.formula import Formula
from mixwell.inference.distributions import f_tail, normal_quantile, t_quantile
from mixwell.inference.wald import check_degrees
from mixwell.options import Method, checked
from mixwell.planning.plan import Plan
from mixwell.planning.power import (
    Power,
    approximate_power,
    check_level,
    count_of,
    power,
    simulate_power,
    tested,
)
from mixwell.planning.truth import assume
from mixwell.resampling import simulate

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.inference.wald import Ddf
    from mixwell.planning.experiments import Kind
    from mixwell.plots.canvas import Plot

__all__ = ["MinimumEffect", "PowerCurve", "minimum_effect", "power_curve"]

Array = NDArray[np.float64]

_CLOSE = 1e-9  # of power, in the search without simulation
_ROUNDS = 200


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

    def plot(self, **options: Any) -> Plot:
        """Draw power against numbers of units; options: target (power, a line), ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> plan = mw.crossed(subject=10, within={"cond": ["a", "b"]}, repeats=5)
        >>> effects, sd, over = {"condb": 0.3}, {"subject": 1.0}, {"subject": [10, 40]}
        >>> curve = mw.power_curve("y ~ cond + (1 | subject)", plan, effects, sd, over=over, n_sim=0)
        >>> curve.plot(target=0.9).axes.get_ylabel()
        'Power'
        """
        from mixwell.plots.power import power_curve  # noqa: PLC0415 - matplotlib is optional

        return power_curve(self, **options)

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
    interval
        95 % interval of the effect for the error of the simulation; NaN without one.
    approximate
        The effect according to the noncentral t distribution.
    at
        The `Power` at the effect.
    """

    coefficient: str
    effect: float
    interval: tuple[float, float]
    approximate: float
    at: Power

    def __repr__(self) -> str:
        found = f"{self.coefficient} = {number(self.effect)} is found with power "
        if not self.at.n_sim:
            return f"{found}{self.at.approximate[0]:.3f} (not simulated)"
        low, high = (number(limit) for limit in self.interval)
        return f"{found}{self.at.power[0]:.3f} (95 % of simulations would say {low} to {high})"


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
    test: Kind = "wald",
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
    formula, effects, sd, sigma, cor, terms, n_sim, alpha, test, ddf, method, contrasts, seed, progress
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
    if not isinstance(over, Mapping) or not over or not all(_is_list(each) for each in over.values()):
        expected = "lists of numbers of units by factor, as in {'subject': [20, 40]}"
        raise error("MW-A07", option="over", expected=expected, given=over)
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
            test=test,
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
    progress: bool = True,
) -> MinimumEffect:
    """Find the smallest positive value of a coefficient that a plan finds with a given power.

    One simulation suffices: with another coefficient the same random numbers give the same fits, but for the
    estimate, which moves along. So every simulated experiment tells from which effect on it rejects.

    Parameters
    ----------
    coefficient
        Its name, as in `fixef`.
    power
        Power to reach.
    effects
        Other coefficients; they do not matter for tests of this one and may be left out.
    formula, design, sd, sigma, cor, n_sim, alpha, ddf, method, contrasts, seed, progress
        As for `power`.

    Returns
    -------
    MinimumEffect

    Raises
    ------
    MixwellError
        MW-A72 for a power that is not between alpha and 1, MW-A74 if too many experiments have no fit to
        reach it, otherwise as `power`.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=20, within={"cond": ["a", "b"]}, repeats=5)
    >>> found = mw.minimum_effect("y ~ cond + (1 | subject)", plan, "condb", {"subject": 1.0}, n_sim=0)
    >>> round(found.effect, 3)
    0.398
    """
    check_level(alpha)
    check_level(power, above=alpha)
    check_degrees(ddf, "expected")
    count, key = count_of(n_sim), simulate.seed_of(seed)
    m = assume(
        formula,
        design,
        {} if effects is None else effects,
        sd,
        sigma=sigma,
        cor=cor,
        method=method,
        contrasts=contrasts,
        complete=False,
    )
    if coefficient not in m.fixef.names:
        raise error("MW-A67", name=coefficient, what="coefficient", available=m.fixef.names)
    if effects and coefficient in effects:
        expected = f"the other coefficients, without '{coefficient}', which is looked for"
        raise error("MW-A07", option="effects", expected=expected, given=effects)
    at = m.fixef.names.index(coefficient)

    def model(effect: float) -> FittedModel:
        beta = np.array(m.solution.beta)
        beta[at] = effect
        moved = replace(m)
        solution = type(m.solution)(**{**vars(m.solution), "beta": beta})
        moved.__dict__.update(solution=solution, boundary=())
        return moved

    def approximate(effect: float) -> float:
        moved = model(effect)
        return approximate_power(moved, tested(moved, coefficient)[0], alpha, ddf)

    first = _rising(approximate, power, float(np.sqrt(m.vcov()[at, at])))
    here = model(first)
    found = simulate_power(
        here,
        tested(here, coefficient),
        n_sim=count,
        alpha=alpha,
        kind="wald",
        ddf=ddf,
        seed=key,
        wanted=progress,
    )
    if count == 0:
        return MinimumEffect(coefficient, first, (np.nan, np.nan), first, found)
    effect, interval = _smallest(found, first, power)
    there = model(effect)
    return MinimumEffect(
        coefficient, effect, interval, first, _moved(found, there, effect - first, coefficient)
    )


def _is_list(given: Any) -> bool:
    return hasattr(given, "__len__") and not isinstance(given, (str, Mapping)) and len(given) > 0


def _rising(f: Callable[[float], float], target: float, guess: float) -> float:
    """Where a rising function of a positive number reaches a target: doubles, then halves the bracket."""
    low, high = 0.0, guess
    for _ in range(_ROUNDS):
        if f(high) >= target:
            break
        low, high = high, 2.0 * high
    for _ in range(_ROUNDS):
        middle = 0.5 * (low + high)
        value = f(middle)
        if abs(value - target) <= _CLOSE:
            return middle
        low, high = (middle, high) if value < target else (low, middle)
    return high


def _smallest(found: Power, assumed: float, target: float) -> tuple[float, tuple[float, float]]:
    """Smallest positive effect at which enough experiments reject, and its 95 % interval.

    An experiment with estimate b at the assumed effect has b + d at the effect d larger, with the same
    standard error: it rejects from d = q se - b on, and up to d = -q se - b.
    """
    half = t_quantile(1.0 - found.alpha / 2, found.degrees[:, 0]) * found.errors[:, 0]
    centre = assumed - found.estimates[:, 0]
    fitted = np.isfinite(half)
    above, below = np.sort((centre + half)[fitted]), np.sort((centre - half)[fitted])
    n = len(half)
    rejecting = np.arange(1, above.size + 1) + below.size - np.searchsorted(below, above, side="left")

    def reach(share: float) -> float:
        enough = np.flatnonzero((above > 0) & (rejecting >= share * n))
        return float(above[enough[0]]) if enough.size else np.inf

    effect = reach(target)
    if np.isinf(effect):
        raise error("MW-A74", power=f"{target:g}", share=f"{fitted.mean():.1%}")
    error_of_share = float(normal_quantile(0.975)) * float(np.sqrt(target * (1 - target) / n))
    interval = (reach(max(target - error_of_share, found.alpha)), reach(target + error_of_share))
    return effect * (1.0 + 1e-9), interval  # at the limit itself p = alpha, which does not reject


def _moved(found: Power, m: FittedModel, by: float, coefficient: str) -> Power:
    """Return the power of the same experiments with the tested coefficient larger."""
    tests = tested(m, coefficient)
    estimates = found.estimates + by
    approximate = np.array([approximate_power(m, tests[0], found.alpha, found.ddf)])
    p_values = np.where(
        np.isnan(estimates), np.nan, f_tail((estimates / found.errors) ** 2, 1, found.degrees)
    )
    return replace(
        found, tests=tests, model=m, estimates=estimates, p_values=p_values, approximate=approximate
    )
