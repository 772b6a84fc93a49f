"""Power of the tests of a planned mixed model: simulated, and approximated without simulation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, text
from mixwell.formula import Formula
from mixwell.inference.distributions import normal_quantile
from mixwell.inference.wald import Ddf, approximation, check_degrees, independent
from mixwell.options import Method, checked, choice
from mixwell.planning.truth import assume, assume_fit, covariance_at_truth, degrees_at_truth
from mixwell.resampling import engine, simulate
from mixwell.resampling.progress import progress as show_progress

if TYPE_CHECKING:
    from mixwell._core import Fits
    from mixwell.fitted.result import FittedModel

__all__ = ["Hypothesis", "Power", "approximate_power", "model_power", "power", "simulate_power", "tested"]

Array = NDArray[np.float64]

_CALL = 32  # fits of one native call


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """What is tested: rows of L (r, p), and the assumed value of the single combination (NaN of several)."""

    name: str
    rows: Array
    effect: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Power:
    """Power of each test of a planned model.

    Attributes
    ----------
    tests
        Coefficients, and terms of several coefficients (F tests).
    power, lower, upper
        Share of the simulated experiments that reject, and its 95 % Wilson interval; NaN without simulation.
    approximate
        From the noncentral t or F distribution at the assumed parameters, without simulation.
    estimates, errors, p_values
        Of every simulated experiment, shape (n_sim, tests); NaN where there is no fit.
    singular, failed
        Share of the experiments with a singular covariance, and without a fit.
    """

    tests: tuple[Hypothesis, ...]
    alpha: float
    n_sim: int
    seed: int
    ddf: str
    approximate: Array
    estimates: Array
    errors: Array
    p_values: Array
    singular: float
    failed: float
    model: FittedModel

    @property
    def power(self) -> Array:
        """Share of the experiments that reject, by test; an experiment without a fit does not reject."""
        if self.n_sim == 0:
            return np.full(len(self.tests), np.nan)
        return np.asarray(np.mean(self.p_values < self.alpha, axis=0))

    @property
    def interval(self) -> tuple[Array, Array]:
        """95 % Wilson interval of the power."""
        n, z = max(self.n_sim, 1), float(normal_quantile(0.975))
        centre = (self.power + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(self.power * (1 - self.power) / n + z**2 / (4 * n**2))
        return centre - half, centre + half

    @property
    def type_s(self) -> Array:
        """Share of wrong signs among significant estimates (Gelman and Carlin 2014)."""
        return self._among_significant(lambda estimate, effect: estimate * np.sign(effect) < 0)

    @property
    def type_m(self) -> Array:
        """Mean exaggeration |estimate / effect| of significant estimates (Gelman and Carlin 2014)."""
        return self._among_significant(lambda estimate, effect: np.abs(estimate / effect))

    def _among_significant(self, measure: Callable[[Array, float], Array]) -> Array:
        out = np.full(len(self.tests), np.nan)
        for j, test in enumerate(self.tests):
            found = self.p_values[:, j] < self.alpha
            if found.any() and test.effect and not math.isnan(test.effect):
                out[j] = np.mean(measure(self.estimates[found, j], test.effect))
        return out

    def table(self) -> Any:
        """Return one row a test, in the library of the design.

        Returns
        -------
        table
            Columns test, effect, power, lower, upper, approximate, mean_estimate, sd_estimate, mean_se,
            type_s, type_m. Estimates are missing for tests of several coefficients.
        """
        lower, upper = self.interval
        single = self.n_sim > 0
        nan = np.full(len(self.tests), np.nan)
        return self.model.design.frame.native_like(
            {
                "test": [test.name for test in self.tests],
                "effect": np.array([test.effect for test in self.tests]),
                "power": self.power,
                "lower": lower if single else nan,
                "upper": upper if single else nan,
                "approximate": self.approximate,
                "mean_estimate": _mean(self.estimates) if single else nan,
                "sd_estimate": np.sqrt(_mean((self.estimates - _mean(self.estimates)) ** 2))
                if single
                else nan,
                "mean_se": _mean(self.errors) if single else nan,
                "type_s": self.type_s,
                "type_m": self.type_m,
            }
        )

    def _blocks(self) -> list[Block]:
        lower, upper = self.interval
        rows = []
        effects = cells([test.effect for test in self.tests])
        for j, test in enumerate(self.tests):
            simulated = [f"{self.power[j]:.3f}", f"{lower[j]:.3f}", f"{upper[j]:.3f}"]
            shown = simulated if self.n_sim else []
            rows.append([test.name, effects[j], *shown, f"{self.approximate[j]:.3f}"])
        header = ("test", "effect", *(("power", "95 %", "") if self.n_sim else ()), "approximate")
        design = self.model.design
        sizes = [f"{term.group} {len(term.levels)} levels" for term in design.random]
        said = [f"{design.n} rows; {', '.join(dict.fromkeys(sizes))}" if sizes else f"{design.n} rows"]
        if self.n_sim:
            said.append(
                f"{self.n_sim} simulated experiments (seed {self.seed}), alpha {self.alpha:g}, "
                f"df: {self.ddf}; "
                f"{self.singular:.1%} singular, {self.failed:.1%} without a fit"
            )
        return [Block(f"Power of {self.model.formula.text}", header, rows, lines=said, left=1)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def power(
    formula: str | Formula,
    design: Any,
    effects: Mapping[str, float],
    sd: Mapping[str, Any],
    *,
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
) -> Power:
    """Simulate how often a planned experiment finds what is assumed.

    Parameters
    ----------
    formula
        The model that will be fitted, and that the data are drawn from.
    design
        A plan (`crossed`, `nested`) or a table with predictors and grouping factors; no response is needed.
    effects
        Assumed coefficients by name, as in `fixef`; all but the intercept must be given, zeros too.
    sd
        Standard deviations of the random effects by grouping factor: a number for a random intercept,
        {"subject": 0.5}, or one for each effect, {"subject": {"(Intercept)": 0.5, "condb": 0.2}}.
    sigma
        Residual standard deviation.
    cor
        Correlations by grouping factor: one number for all pairs, or a matrix (k, k); zero if left out.
    terms
        Coefficients or terms to test; if None all coefficients but the intercept, and terms of several.
    n_sim
        Simulated experiments; with 0 only the approximation from noncentral t and F distributions.
    alpha, ddf, method
        Level of the tests, their degrees of freedom, and how models are fitted.
    contrasts
        As for `fit`.
    seed
        A whole number; drawn if None, and reported. The result depends on nothing else.
    progress
        Show progress on a terminal after a second.

    Returns
    -------
    Power
        `.table()`, `.power`, `.approximate`, type S and M errors, share of singular fits.

    Raises
    ------
    MixwellError
        MW-A67 for names that the model does not have, MW-A70 for names that are missing, MW-A71 for values
        that cannot be, MW-A72 for a level that is not between 0 and 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> plan = mw.crossed(subject=20, within={"cond": ["a", "b"]}, repeats=5)
    >>> formula, effects, sd = "y ~ cond + (1 | subject)", {"condb": 0.5}, {"subject": 1.0}
    >>> found = mw.power(formula, plan, effects, sd, n_sim=200, seed=1)
    >>> found.table()["test"], bool(abs(found.power[0] - found.approximate[0]) < 0.1)
    (['condb'], True)
    """
    m = assume(formula, design, effects, sd, sigma=sigma, cor=cor, method=method, contrasts=contrasts)
    return _power(m, terms, n_sim=n_sim, alpha=alpha, ddf=ddf, seed=seed, wanted=progress)


@checked
def model_power(
    m: FittedModel,
    terms: str | Sequence[str] | None = None,
    *,
    effects: Mapping[str, float] | None = None,
    extend: Mapping[str, int] | None = None,
    n_sim: int = 1000,
    alpha: float = 0.05,
    ddf: Ddf = "satterthwaite",
    seed: int | None = None,
    progress: bool = True,
) -> Power:
    """Simulate how often an experiment like the fitted one would find its effects.

    Parameters
    ----------
    terms
        Coefficients or terms to test; if None all but the intercept.
    effects
        Coefficients to assume instead of the estimated ones. Power at estimates is optimistic where these are
        significant by luck: assume the smallest effects that matter.
    extend
        Numbers of levels by grouping factor, {"Subject": 60}: new levels copy the rows of the fitted ones.
    n_sim, alpha, ddf, seed, progress
        As for `power`.

    Returns
    -------
    Power

    Raises
    ------
    MixwellError
        As `power`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> few, many = (m.power(effects={"Days": 3}, extend={"Subject": j}, n_sim=0) for j in (10, 40))
    >>> bool(few.approximate[0] < many.approximate[0])
    True
    """
    assumed = assume_fit(m, effects or {}, extend or {})
    return _power(assumed, terms, n_sim=n_sim, alpha=alpha, ddf=ddf, seed=seed, wanted=progress)


def _power(
    m: FittedModel,
    terms: str | Sequence[str] | None,
    *,
    n_sim: int,
    alpha: float,
    ddf: Ddf,
    seed: int | None,
    wanted: bool,
) -> Power:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise error("MW-A72", given=alpha)
    check_degrees(ddf, "expected")
    choice("ddf", ddf, ("satterthwaite", "kenward-roger", "residual", "normal"))
    count = n_sim if n_sim == 0 and not isinstance(n_sim, bool) else engine.count_of(n_sim)
    tests = tested(m, terms)
    key = simulate.seed_of(seed)
    return simulate_power(m, tests, n_sim=count, alpha=alpha, ddf=ddf, seed=key, wanted=wanted)


def tested(m: FittedModel, terms: str | Sequence[str] | None) -> tuple[Hypothesis, ...]:
    """Hypotheses of coefficients and of terms with several of them."""
    names = m.fixef.names
    unit = np.eye(len(names))
    labels = m.design.term_labels
    columns = {
        label: [i for i, j in enumerate(m.kept) if m.design.assign[j] == at]
        for at, label in enumerate(labels, start=1)
    }

    def coefficient(i: int) -> Hypothesis:
        return Hypothesis(names[i], unit[[i]], float(m.fixef.values[i]))

    def term(label: str) -> Hypothesis:
        return Hypothesis(label, unit[columns[label]], math.nan)

    if terms is None:
        out = [coefficient(i) for i, name in enumerate(names) if name != "(Intercept)"]
        out += [term(label) for label in labels if len(columns[label]) > 1]
        return tuple(out) or (coefficient(0),)
    found = []
    for name in [terms] if isinstance(terms, str) else terms:
        if name in names:
            found.append(coefficient(names.index(name)))
        elif columns.get(name):
            found.append(term(name) if len(columns[name]) > 1 else coefficient(columns[name][0]))
        else:
            raise error("MW-A67", name=name, what="coefficient or term", available=(*names, *labels))
    return tuple(found)


def approximate_power(m: FittedModel, test: Hypothesis, alpha: float, ddf: str) -> float:
    """Power from the noncentral F distribution at the assumed parameters (two-sided t for one row)."""
    from scipy.special import chdtri, fdtri, ncfdtr  # noqa: PLC0415

    statistics, rows = independent(test.rows, test.rows @ m.fixef.values, covariance_at_truth(m))
    q, noncentrality = len(statistics), float(np.sum(statistics**2))
    df = _degrees(m, rows, ddf)
    if math.isinf(df) or df > 1e7:
        from scipy.special import chndtr  # noqa: PLC0415

        return float(1 - chndtr(chdtri(q, alpha), q, noncentrality))
    return float(1 - ncfdtr(q, df, noncentrality, fdtri(q, df, 1 - alpha)))


def _degrees(m: FittedModel, rows: Array, ddf: str) -> float:
    if ddf == "normal":
        return math.inf
    if ddf == "residual":
        return float(m.nobs - len(m.kept))
    return degrees_at_truth(m, rows)


def simulate_power(
    m: FittedModel,
    tests: tuple[Hypothesis, ...],
    *,
    n_sim: int,
    alpha: float,
    ddf: Ddf,
    seed: int,
    wanted: bool = False,
) -> Power:
    """Draw responses at the assumed parameters, fit them side by side, test each."""
    approximate = np.array([approximate_power(m, test, alpha, ddf) for test in tests])
    parts: list[Array] = [np.empty((0, 3, len(tests)))]
    singular, failed = [np.empty(0, bool)], [np.empty(0, bool)]
    batch, draw = engine.batch_of(m), simulate.parametric(m)
    with (
        show_progress("experiments", n_sim, wanted=wanted) as line,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for responses in _responses(draw, n_sim, seed, m.nobs):
            fits = batch.fit(responses, m.is_reml, np.array(m.theta), m.control.max_evaluations, True, True)
            one = partial(_tests_of, m, tests, ddf)
            each = pool.map(one, responses, (_one_of(fits, i) for i in range(len(responses))))
            parts.append(np.array(list(each)))
            singular.append(fits["singular"])
            failed.append(fits["status"] > 1)
            line.advance(len(responses))
    values = np.concatenate(parts)
    return Power(
        tests,
        alpha,
        n_sim,
        seed,
        ddf,
        approximate,
        values[:, 0],
        values[:, 1],
        values[:, 2],
        _share(singular),
        _share(failed),
        m,
    )


def _responses(draw: Any, n: int, seed: int, rows: int) -> Iterator[Array]:
    """Blocks of responses that depend on the seed and their number only."""
    size = min(_CALL, simulate.block_size(rows))
    for block in range(-(-n // size)):
        drawn = draw(simulate.generator(seed, block), size)
        yield np.ascontiguousarray(drawn[: n - block * size])


def _tests_of(m: FittedModel, tests: tuple[Hypothesis, ...], ddf: Ddf, y: Array, fit: Fits) -> Array:
    """Estimates, standard errors and p-values of one experiment, shape (3, tests)."""
    out = np.full((3, len(tests)), np.nan)
    if fit["status"] > 1:
        return out
    design = replace(m.design, y=y if m.design.offset is None else y + m.design.offset)
    optimum = SimpleNamespace(theta=fit["theta"])
    fitted = replace(m, design=design, optimum=optimum, handle=engine.problem_of(design))  # type: ignore[arg-type]
    by = approximation(fitted, ddf)
    beta = fit["beta"][list(m.kept)]
    for j, test in enumerate(tests):
        joint = by.joint(test.rows, test.rows @ beta)
        out[2, j] = joint.p_value
        if len(test.rows) == 1:
            out[0, j] = test.rows[0] @ beta
            out[1, j] = math.sqrt(test.rows[0] @ by.vcov @ test.rows[0])
    return out


def _one_of(fits: Fits, i: int) -> Fits:
    """One fit of many."""
    return {key: values[i] for key, values in fits.items()}  # type: ignore[index,return-value]


def _share(found: list[NDArray[np.bool_]]) -> float:
    every = np.concatenate(found)
    return float(every.mean()) if every.size else 0.0


def _mean(values: Array) -> Array:
    """Column means of what is there; NaN for a column without anything."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
