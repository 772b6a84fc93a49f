"""Power of the tests of a planned mixed model: simulated, and approximated without simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, text
from mixwell.formula import Formula
from mixwell.inference.distributions import normal_quantile
from mixwell.inference.wald import Ddf, check_degrees, independent
from mixwell.options import Method, checked, choice
from mixwell.planning.experiments import Hypothesis, Kind, run
from mixwell.planning.truth import assume, assume_fit, covariance_at_truth, degrees_at_truth
from mixwell.resampling import simulate

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = [
    "Power",
    "approximate_power",
    "check_level",
    "count_of",
    "model_power",
    "power",
    "simulate_power",
    "tested",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Power:
    """Power of each test of a planned model.

    Attributes
    ----------
    tests
        Coefficients, and terms of several coefficients (F tests).
    kind, ddf
        "wald" with these degrees of freedom, or "lrt".
    power, interval
        Share of the simulated experiments that reject, and its 95 % Wilson interval; NaN without simulation.
    approximate
        From the noncentral t or F distribution at the assumed parameters, without simulation.
    estimates, errors, degrees, p_values
        Of every simulated experiment, shape (n_sim, tests); NaN where there is no fit.
    singular, failed
        Share of the experiments with a singular covariance, and without a fit.
    """

    tests: tuple[Hypothesis, ...]
    alpha: float
    n_sim: int
    seed: int
    kind: Kind
    ddf: Ddf
    approximate: Array
    estimates: Array
    errors: Array
    degrees: Array
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
                f"{self._how}; "
                f"{self.singular:.1%} singular, {self.failed:.1%} without a fit"
            )
        else:
            said.append(f"not simulated: noncentral distributions at the assumed parameters, {self._how}")
        return [Block(f"Power of {self.model.formula.text}", header, rows, lines=said, left=1)]

    @property
    def _how(self) -> str:
        return "likelihood-ratio tests" if self.kind == "lrt" else f"df: {self.ddf}"

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
    test: Kind = "wald",
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
    alpha, method
        Level of the tests, and how models are fitted.
    test, ddf
        "wald": t and F tests with these degrees of freedom, found anew for every experiment. "lrt":
        likelihood-ratio tests, for which models are fitted by ML. The approximation has Satterthwaite's
        degrees of freedom at the assumed parameters for Kenward-Roger's too.
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
        that cannot be, MW-A72 for a level that is not between 0 and 1, MW-A20 for Kenward-Roger with ML,
        MW-A31 for degrees of freedom of a likelihood-ratio test.

    References
    ----------
    Gelman and Carlin (2014), Perspectives on Psychological Science 9, 641-651, for errors of type S and M.

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
    return _power(m, terms, n_sim=n_sim, alpha=alpha, kind=test, ddf=ddf, seed=seed, wanted=progress)


@checked
def model_power(
    m: FittedModel,
    terms: str | Sequence[str] | None = None,
    *,
    effects: Mapping[str, float] | None = None,
    extend: Mapping[str, int] | None = None,
    n_sim: int = 1000,
    alpha: float = 0.05,
    test: Kind = "wald",
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
    n_sim, alpha, test, ddf, seed, progress
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
    return _power(assumed, terms, n_sim=n_sim, alpha=alpha, kind=test, ddf=ddf, seed=seed, wanted=progress)


def _power(
    m: FittedModel,
    terms: str | Sequence[str] | None,
    *,
    n_sim: int,
    alpha: float,
    kind: Kind,
    ddf: Ddf,
    seed: int | None,
    wanted: bool,
) -> Power:
    choice("test", kind, get_args(Kind))
    if kind == "lrt" and ddf != "satterthwaite":
        advice = "A likelihood-ratio test has no denominator degrees of freedom: leave ddf= out."
        raise error("MW-A31", option=f"ddf={ddf!r}", other="test='lrt'", advice=advice)
    check_level(alpha)
    check_degrees(ddf, "expected")
    count, key = count_of(n_sim), simulate.seed_of(seed)
    return simulate_power(
        m, tested(m, terms), n_sim=count, alpha=alpha, kind=kind, ddf=ddf, seed=key, wanted=wanted
    )


def check_level(given: object, above: float = 0.0) -> None:
    """Refuse a level, or a power, that is no number between `above` and 1."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not above < given < 1:
        raise error("MW-A72", given=given)


def count_of(n_sim: object) -> int:
    """Check a number of experiments; with none there is only the approximation."""
    if isinstance(n_sim, bool) or not isinstance(n_sim, (int, np.integer)) or not 0 <= n_sim < 2**31:
        raise error("MW-A07", option="n_sim", expected="a whole number from 0 on", given=n_sim)
    return int(n_sim)


def tested(m: FittedModel, terms: str | Sequence[str] | None) -> tuple[Hypothesis, ...]:
    """Hypotheses of coefficients and of terms with several of them."""
    names = m.fixef.names
    labels = m.design.term_labels
    columns = {
        label: [i for i, j in enumerate(m.kept) if m.design.assign[j] == at]
        for at, label in enumerate(labels, start=1)
    }

    def coefficient(i: int) -> Hypothesis:
        return Hypothesis(names[i], (i,), float(m.fixef.values[i]))

    def term(label: str) -> Hypothesis:
        return Hypothesis(label, tuple(columns[label]), math.nan)

    if terms is None:
        out = [coefficient(i) for i, name in enumerate(names) if name != "(Intercept)"]
        out += [term(label) for label in labels if len(columns[label]) > 1]
        out = out or [coefficient(i) for i in range(len(names))]
        if not out:
            raise error("MW-A70", what="the formula", missing=["fixed effects"], example="y ~ 1 + (1 | g)")
        return tuple(out)
    wanted = [terms] if isinstance(terms, str) else terms
    if not isinstance(wanted, (list, tuple)) or not wanted or not all(isinstance(t, str) for t in wanted):
        raise error("MW-A07", option="terms", expected="names of coefficients or terms", given=terms)
    found = []
    for name in wanted:
        if name in names:
            found.append(coefficient(names.index(name)))
        elif columns.get(name):
            found.append(term(name) if len(columns[name]) > 1 else coefficient(columns[name][0]))
        else:
            raise error("MW-A67", name=name, what="coefficient or term", available=(*names, *labels))
    return tuple(found)


def approximate_power(m: FittedModel, test: Hypothesis, alpha: float, ddf: Ddf) -> float:
    """Power from the noncentral F distribution at the assumed parameters (two-sided t for one row)."""
    from scipy.special import chdtri, fdtri, ncfdtr  # noqa: PLC0415

    rows = test.rows(len(m.fixef))
    statistics, rows = independent(rows, rows @ m.fixef.values, covariance_at_truth(m))
    q, noncentrality = len(statistics), float(np.sum(statistics**2))
    df = _degrees(m, rows, ddf)
    if math.isinf(df) or df > 1e7:
        from scipy.special import chndtr  # noqa: PLC0415

        return float(1 - chndtr(chdtri(q, alpha), q, noncentrality))
    return float(1 - ncfdtr(q, df, noncentrality, fdtri(q, df, 1 - alpha)))


def _degrees(m: FittedModel, rows: Array, ddf: Ddf) -> float:
    if ddf == "kenward-roger" and m.is_mixed and not m.is_reml:
        raise error("MW-A20", formula=m.formula.text)
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
    kind: Kind,
    ddf: Ddf,
    seed: int,
    wanted: bool,
) -> Power:
    """Approximate the power of tests, and simulate it."""
    reference: Ddf = "normal" if kind == "lrt" else ddf
    approximate = np.array([approximate_power(m, test, alpha, reference) for test in tests])
    found = run(m, tests, n_sim, seed, kind=kind, ddf=ddf, wanted=wanted)
    return Power(
        tests,
        alpha,
        n_sim,
        seed,
        kind,
        ddf,
        approximate,
        found.estimates,
        found.errors,
        found.degrees,
        found.p_values,
        _share(found.singular),
        _share(found.failed),
        m,
    )


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if found.size else 0.0


def _mean(values: Array) -> Array:
    """Column means of what is there; NaN for a column without anything."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
