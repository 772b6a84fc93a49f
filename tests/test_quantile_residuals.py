"""Quantile residuals: uniform and independent under the model, and they find what is wrong."""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import mixwell as mw
from mixwell.diagnostics import residual_tests

HERE = Path(__file__).parent / "reference"
DATA = pd.read_csv(HERE / "data" / "glmm.csv")
REFERENCE = {each["name"]: each for each in json.loads((HERE / "overdispersion.json").read_text())["fits"]}

Table = dict[str, Any]


def simulated(rng: np.random.Generator, kind: str, n: int = 160, groups: int = 20) -> Table:
    x, g = rng.normal(size=n), np.arange(n) % groups
    eta = 0.5 + 0.4 * x + (0.8 * rng.normal(size=groups)[g] if kind != "glm" else 0.0)
    y = rng.binomial(1, 1 / (1 + np.exp(-eta))) if kind == "binomial" else rng.poisson(np.exp(eta))
    if kind == "gaussian":
        y = eta + rng.normal(size=n)
    return {"y": y, "x": x, "g": g, "f": rng.choice(["a", "b"], n)}


FITS: dict[str, Callable[[Table], Any]] = {
    "glm": lambda d: mw.glm("y ~ x", d, family="poisson"),
    "poisson": lambda d: mw.glmer("y ~ x + (1 | g)", d, family="poisson"),
    "binomial": lambda d: mw.glmer("y ~ x + (1 | g)", d, family="binomial"),
    "gaussian": lambda d: mw.lmer("y ~ x + (1 | g)", d),
}


def p_values(q: Any, *, rows: bool) -> dict[str, float]:
    out = {test.name: test.p_value for test in q.tests()}
    if rows:
        out |= {"against": min(test.p_value for test in q.against("x"))}
        *uniform, homogeneity = q.within("f")
        out |= {"within": min(test.p_value for test in uniform), "homogeneity": homogeneity.p_value}
    return out


# --- levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "g"])
@pytest.mark.parametrize("re", ["conditional", "new"])
@pytest.mark.parametrize("kind", FITS)
def test_tests_hold_their_level(kind: str, re: Any, by: str | None) -> None:
    """Of 100 tests at 5 %, 14 or more reject with probability 0.0005."""
    if kind == "glm" and re == "new":
        return  # the same without random effects
    count: dict[str, int] = {}
    for seed in range(100):
        m = FITS[kind](simulated(np.random.default_rng([7, seed]), kind))
        # With fewer simulations three adjusted p-values could not be small with re="new".
        q = m.quantile_residuals(199, seed=seed, re=re, by=by)
        for name, p in p_values(q, rows=by is None).items():
            count[name] = count.get(name, 0) + (p <= 0.05)
    assert max(count.values()) <= stats.binom.ppf(0.9995, 100, 0.05), count


def test_residuals_are_uniform_and_independent_within_clusters() -> None:
    """Given the modes instead of a draw they would vary too little, and go apart within clusters."""
    all_residuals, products = [], []
    for seed in range(60):
        m = FITS["poisson"](simulated(np.random.default_rng([3, seed]), "poisson", n=60))
        z = m.quantile_residuals(199, seed=seed).normal
        all_residuals.append(z)
        clusters = z.reshape(3, 20)
        products.append(np.mean(clusters[0] * clusters[1]))
    z = np.concatenate(all_residuals)
    assert abs(np.mean(z)) < 4 / math.sqrt(z.size)
    assert abs(np.var(z) - 1) < 4 * math.sqrt(2 / z.size) + 0.01
    assert abs(np.mean(products)) < 4 / math.sqrt(60 * 20) + 0.01


def test_many_coefficients_do_not_look_underdispersed() -> None:
    rejections = {True: 0, False: 0}
    for seed in range(60):
        rng = np.random.default_rng([5, seed])
        m = mw.glm(
            "y ~ k", {"y": rng.poisson(5, 100), "k": [f"k{i % 25}" for i in range(100)]}, family="poisson"
        )
        for drawn in rejections:
            q = m.quantile_residuals(99, seed=seed, parameters=drawn)
            assert q.parameters_drawn is drawn
            rejections[drawn] += q.dispersion().p_value <= 0.05
    assert rejections[True] <= stats.binom.ppf(0.9995, 60, 0.05)
    assert rejections[False] > 15


# --- what they find -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_overdispersion_is_found(seed: int) -> None:
    rng = np.random.default_rng([11, seed])
    x, g = rng.normal(size=400), np.arange(400) % 20
    mu = np.exp(0.8 + 0.4 * x + 0.5 * rng.normal(size=20)[g])
    d = {"y": rng.poisson(mu * rng.gamma(2, 0.5, 400)), "x": x, "g": g}
    q = FITS["poisson"](d).quantile_residuals(seed=seed)
    assert q.dispersion().p_value < 0.01
    assert q.dispersion().statistic > 1.2
    assert "overdispersed" in repr(q)
    assert q.dispersion("greater").p_value < 0.01
    assert q.dispersion("less").p_value > 0.9
    assert q.uniformity().p_value < 0.05
    allowed = mw.glmer("y ~ x + (1 | g)", d, family="nbinom2").quantile_residuals(seed=seed)
    assert min(test.p_value for test in allowed.tests()) > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_extra_zeros_are_found(seed: int) -> None:
    rng = np.random.default_rng([12, seed])
    x = rng.normal(size=300)
    y = rng.poisson(np.exp(1 + 0.4 * x)) * (rng.uniform(size=300) > 0.25)
    d = {"y": y, "x": x}
    test = FITS["glm"](d).quantile_residuals(seed=seed).zero_inflation()
    assert test.p_value < 0.01
    assert test.statistic == np.sum(y == 0) > test.expected
    inflated = mw.glm("y ~ x", d, family="poisson", ziformula="~ 1").quantile_residuals(seed=seed)
    assert inflated.zero_inflation().p_value > 0.05


@pytest.mark.parametrize("mixed", [False, True])
def test_a_missing_quadratic_is_found(mixed: bool) -> None:
    rng = np.random.default_rng(13)
    x, g = rng.uniform(-2, 2, 400), np.arange(400) % 20
    d = {
        "y": rng.poisson(np.exp(1 + 0.3 * x - 0.4 * x**2 + 0.4 * rng.normal(size=20)[g] * mixed)),
        "x": x,
        "g": g,
    }
    for re in ("conditional", "new"):
        q = FITS["poisson" if mixed else "glm"](d).quantile_residuals(300, seed=1, re=re)
        tests = q.against("x")
        assert tests["curvature"].p_value < 0.03  # 3 * 2 / 301 is the smallest there is by simulation
        assert tests["trend"].p_value > 0.05
        assert "quadratic" in repr(tests)
        right = mw.fit("y ~ x + I(x^2)" + " + (1 | g)" * mixed, d, family="poisson")
        assert right.quantile_residuals(300, seed=1, re=re).against("x")["curvature"].p_value > 0.05


def test_heteroscedasticity_is_found() -> None:
    rng = np.random.default_rng(14)
    x, f = rng.uniform(size=300), rng.choice(["a", "b"], 300)
    d = {"y": x + rng.normal(size=300) * (0.3 + x), "z": x + rng.normal(size=300) * np.where(f == "a", 1, 2)}
    d |= {"x": x, "f": f, "g": np.arange(300) % 15}
    for m in (mw.lm("y ~ x", d), mw.glm("y ~ x", d, family="gaussian"), mw.lmer("y ~ x + (1 | g)", d)):
        assert m.quantile_residuals(seed=1).against("x")["spread"].p_value < 0.01
        assert m.quantile_residuals(seed=1).against()["spread"].p_value < 0.01
    q = mw.lm("z ~ x", d).quantile_residuals(seed=1)
    assert q.within("f")["homogeneity"].p_value < 0.01
    assert [test.name for test in q.within("f")] == ["f=a", "f=b", "homogeneity"]


def test_a_missing_random_effect_is_found_by_cluster() -> None:
    d = simulated(np.random.default_rng(15), "poisson")
    m = FITS["glm"](d)
    assert m.quantile_residuals(seed=1).by("g").dispersion().p_value < 0.01
    assert FITS["poisson"](d).quantile_residuals(seed=1).by("g").dispersion().p_value > 0.05


def test_outliers_are_found() -> None:
    d = simulated(np.random.default_rng(16), "gaussian")
    d["y"][:8] += 30 * np.array([1, -1] * 4)
    test = mw.lm("y ~ x", d).quantile_residuals(seed=1).outliers()
    assert test.expected == pytest.approx(160 * 2 / 1001)
    assert test.p_value < 0.01
    # With weights as small as these responses are far away they are none.
    weights = np.r_[np.full(8, 1e-3), np.ones(152)]
    assert mw.lm("y ~ x", d, weights=weights).quantile_residuals(seed=1).outliers().p_value > 0.01


# --- what they are --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("count ~ x + f", "poisson"),
        ("cbind(hits, trials - hits) ~ x", "binomial"),
        ("over ~ x", "nbinom2"),
        ("rain ~ x", "tweedie"),
        ("amount ~ x", "gamma"),
    ],
)
def test_residuals_are_the_distribution_function(formula: str, family: str) -> None:
    """With the estimates as they are, within the jump of it at the response."""
    options = {"link": "log"} if family == "gamma" else {}
    m = mw.glm(formula, DATA, family=family, **options)
    r = m.quantile_residuals(20_000, seed=1, parameters=False).residuals
    y, mu = m.design.y, m.fitted()
    low, high = (f(y, mu, m.auxiliary(), m.weights) for f in (m.family.below, m.family.cdf))
    slack = 5 * 0.5 / math.sqrt(20_000)
    assert np.all((r > low - slack) & (r < high + slack))


def test_the_draw_of_effects_has_their_covariance() -> None:
    from mixwell.diagnostics import draws

    m = mw.glmer("over ~ x + (x | g) + (1 | h)", DATA, family="poisson")
    rng = np.random.default_rng(1)
    fixed, modes = draws._estimates(m)
    weights, _ = draws._curvature(m, fixed + draws._random(m, modes))
    many = [draws._one_draw(m, (), weights, rng)[1] for _ in range(2000)]
    for term, variances in enumerate(m.core["condvar"]):
        drawn = np.stack([each[term] for each in many])
        ours = np.var(drawn, axis=0)
        theirs = np.diagonal(np.asarray(variances), axis1=1, axis2=2)
        assert_allclose(ours, theirs, rtol=5 * math.sqrt(2 / 2000))


def test_same_seed_same_residuals() -> None:
    m = FITS["poisson"](simulated(np.random.default_rng(1), "poisson"))
    first, again = m.quantile_residuals(seed=3), m.quantile_residuals(seed=3)
    assert_array_equal(first.residuals, again.residuals)
    assert repr(first.tests()) == repr(again.tests())
    assert not np.array_equal(first.residuals, m.quantile_residuals(seed=4).residuals)
    assert_array_equal(first.by("g").residuals, m.quantile_residuals(seed=3, by="g").residuals)
    fresh = m.quantile_residuals()
    assert_array_equal(fresh.residuals, m.quantile_residuals(seed=fresh.seed).residuals)
    for q in (first, m.quantile_residuals(99, seed=3, re="new")):
        loaded = pickle.loads(pickle.dumps(q))
        assert loaded.uniformity().p_value == q.uniformity().p_value
        assert_array_equal(loaded.by("g").residuals, q.by("g").residuals)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, dict])
def test_tables_are_of_the_callers_library(table: Any) -> None:
    d = simulated(np.random.default_rng(1), "poisson")
    d["x"][3] = np.nan
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = FITS["poisson"](table(d))
    q = m.quantile_residuals(50, seed=1)
    shown = q.table()
    assert isinstance(shown, table)
    assert list(shown["row"])[:4] == [0, 1, 2, 4]
    assert_allclose(stats.norm.cdf(np.asarray(shown["normal"])), q.residuals)
    assert list(q.by("g").table()["g"]) == list(range(20))
    assert list(q.tests().table()["test"]) == ["uniformity", "dispersion", "outliers", "zeros"]
    assert isinstance(q.within("f").table(), table)
    assert np.all((q.residuals > 0) & (q.residuals < 1))
    assert np.all(np.isfinite(q.normal))
    for each in (q, q.tests(), q.uniformity()):
        assert each._repr_html_().startswith("<div")


@pytest.mark.parametrize("re", ["conditional", "new"])
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("count ~ 0 + (1 | g)", {"family": "poisson"}),
        ("count ~ x + offset(log(exposure))", {"family": "poisson", "weights": "w"}),
        ("binary ~ x + (x | g) + (1 | h)", {"family": "binomial", "link": "cloglog"}),
        ("cbind(hits, trials - hits) ~ x + (1 | g)", {"family": "betabinomial"}),
        ("over ~ x + (1 | g)", {"family": "nbinom1", "dispformula": "~ f"}),
        ("excess ~ x", {"family": "truncated_poisson", "ziformula": "~ 1"}),
        ("excess ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ x"}),
        ("rain ~ x + (1 | g)", {"family": "tweedie"}),
        ("rate ~ x", {"family": "beta", "link": "probit"}),
        ("heavy ~ x", {"family": "t"}),
        ("amount ~ x", {"family": "inverse_gaussian", "link": "log"}),
        ("grade ~ x + (1 | g)", {"family": "cumulative"}),
        ("binary ~ x + (1 | g)", {"family": "binomial", "nagq": 7}),
        ("real ~ 1 + (1 | g)", {}),
        ("real ~ 0", {}),
        ("real ~ x + (x | g)", {"weights": "w"}),
    ],
)
def test_every_family(formula: str, options: dict[str, Any], re: Any) -> None:
    m = mw.fit(formula, DATA, **options)
    q = m.quantile_residuals(60, seed=1, re=re)
    assert np.all((q.residuals > 0) & (q.residuals < 1))
    for test in (*q.tests(), *q.against("z"), *q.within("f"), *q.by("f").tests()):
        assert 0 <= test.p_value <= 1, test
    assert q.zero_inflation().name == "zeros"


def test_separation_leaves_the_coefficients_at_their_estimates() -> None:
    k = np.repeat(["a", "b", "c"], 40)
    y = np.r_[np.tile([0, 1], 40), np.zeros(40, int)]
    with pytest.warns(mw.MixwellWarning):
        m = mw.glm("y ~ k", {"y": y, "k": k}, family="binomial")
    for seed in range(5):
        q = m.quantile_residuals(99, seed=seed)
        assert q.outliers().statistic <= 6
        assert q.dispersion().p_value > 0.01


def test_statistics_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    u, x = rng.uniform(size=80), rng.choice(np.arange(20.0), 80)
    theirs = stats.kstest(u, "uniform", method="exact")
    ours = float(residual_tests.kolmogorov(u))
    assert_allclose(
        [ours, residual_tests.kolmogorov_p(ours, 80)], [theirs.statistic, theirs.pvalue], rtol=1e-9
    )
    groups = [np.arange(30), np.arange(30, 45), np.arange(45, 80)]
    f = stats.levene(*(u[at] for at in groups))
    ours = float(residual_tests.levene(u, groups))
    assert_allclose([ours, residual_tests.levene_p(ours, 3, 80)], [f.statistic, f.pvalue], rtol=1e-9)
    rho = stats.spearmanr(u, x)
    ours = float(residual_tests.centred_ranks(u) @ residual_tests.centred_ranks(x))
    assert_allclose(
        [ours, residual_tests.rank_correlation_p(ours, 80)], [rho.statistic, rho.pvalue], rtol=1e-9
    )
    assert_allclose(residual_tests.holm([0.01, 0.04, math.nan, 0.03]), [0.03, 0.06, math.nan, 0.06])
    stacked = np.stack([u, u[::-1]])
    assert_allclose(residual_tests.centred_ranks(stacked)[1], residual_tests.centred_ranks(u[::-1]))


def test_ten_thousand_rows_take_seconds() -> None:
    d = simulated(np.random.default_rng(2), "poisson", n=10_000, groups=100)
    m = FITS["poisson"](d)
    began = time.perf_counter()
    m.quantile_residuals(1000, seed=1).tests()
    assert time.perf_counter() - began < 10


def test_refusals() -> None:
    d = simulated(np.random.default_rng(2), "poisson")
    m = FITS["poisson"](d)
    quasi = mw.glm("y ~ x", d, family="quasipoisson")
    q = m.quantile_residuals(20, seed=1)
    for code, call in (
        ("MW-A02", lambda: m.quantile_residuals(re="population")),
        ("MW-A07", lambda: m.quantile_residuals(0)),
        ("MW-A07", lambda: m.quantile_residuals(seed=-1)),
        ("MW-A07", lambda: m.quantile_residuals(parameters="yes")),
        ("MW-A01", lambda: m.quantile_residuals(sed=1)),
        ("MW-A91", quasi.quantile_residuals),
        ("MW-A96", lambda: m.quantile_residuals(by="h")),
        ("MW-A96", lambda: q.by("g").within("f")),
        ("MW-A97", lambda: q.against("f")),
        ("MW-A97", lambda: q.against("nothing")),
        ("MW-A02", lambda: q.dispersion("more")),
    ):
        with pytest.raises(mw.MixwellError) as caught:
            call()
        assert caught.value.code == code
    large = m.quantile_residuals(20, seed=1, re="new")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(mw.MixwellError) as caught:
        patch.setattr("mixwell.diagnostics.quantile_residuals._LARGEST", 100.0)
        large.uniformity()
    assert caught.value.code == "MW-A95"


# --- overdispersion -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCE)
def test_overdispersion_as_in_performance(name: str) -> None:
    reference = REFERENCE[name]
    ours = mw.fit(reference["formula"], DATA, family=reference["family"]).overdispersion()
    tolerance = 1e-5 if "|" in reference["formula"] else 1e-9
    assert ours.method == "pearson"
    assert_allclose(ours.chisq, reference["chisq"], rtol=tolerance)
    assert_allclose(ours.ratio, reference["ratio"], rtol=tolerance)
    assert ours.rdf == reference["rdf"]
    assert_allclose(ours.p_value, reference["p_value"], rtol=100 * tolerance)
    assert ("betabinomial" if "cbind" in reference["formula"] else "nbinom2") in repr(ours)


def test_overdispersion_of_others() -> None:
    fit = mw.glm("over ~ x", DATA, family="nbinom2").overdispersion(seed=1)
    assert fit.method == "simulation"
    assert math.isnan(fit.chisq)
    assert fit.p_value > 0.05
    zero = mw.glm("over ~ x", DATA, family="poisson", ziformula="~ 1").overdispersion(seed=1)
    assert zero.method == "simulation"
    assert zero.p_value < 0.01
    quasi = mw.glm("over ~ x", DATA, family="quasipoisson").overdispersion()
    assert_allclose(quasi.ratio, mw.glm("over ~ x", DATA, family="quasipoisson").dispersion["phi"])
    for formula, family in (
        ("binary ~ x", "binomial"),
        ("grade ~ x", "cumulative"),
        ("real ~ x", "gaussian"),
    ):
        none = mw.glm(formula, DATA, family=family).overdispersion()
        assert none.method == "none"
        assert math.isnan(none.ratio)
        assert none.advice in repr(none).replace("\n    ", " ")
        assert none._repr_html_().startswith("<div")
