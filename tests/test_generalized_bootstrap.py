"""The bootstrap of generalised models: replicates are refits, depend on the seed alone; intervals cover."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_glmm_reference import MODELS
from test_glmm_reference import fit as of_reference

import mixwell as mw
from mixwell.generalized import bootstrap
from mixwell.resampling.progress import Progress
from mixwell.resampling.simulate import generator

NATIVE = [
    "cbpp",
    "slopes",
    "diagonal",
    "weighted",
    "offset_nested",
    "nbinom2_dispersion",
    "zinb_x",
    "hurdle_nb",
    "gamma_log",
    "beta",
    "betabinomial",
    "tweedie",
    "glm_poisson",
]


DRAWN = sorted(
    name
    for name, model in MODELS.items()
    if name.startswith(("glm_", "clmm_", "nb", "z")) and "quasi" not in model["family"]
)


def fit(name: str) -> Any:
    if name == "integrated":
        cbpp = mw.data.load("cbpp", "dict")
        formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        return mw.glmer(formula, cbpp, family="binomial", nagq=5)
    return of_reference(name)


def clustered(seed: int = 1, groups: int = 20, rows: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rows)
    x = rng.normal(size=g.size)
    eta = 0.3 + 0.5 * x + 0.7 * rng.normal(size=groups)[g]
    return {
        "g": np.char.add("g", g.astype(str)),
        "h": np.tile(list("abc"), g.size // 3),
        "x": x,
        "count": rng.poisson(np.exp(eta)),
        "even": np.tile([1, 2, 3, 2], g.size // 4),
        "grade": np.digitize(eta + rng.logistic(size=g.size), [-1.0, 0.5, 2.0]),
        "rare": np.where(np.arange(g.size) == 3, 2, rng.integers(0, 2, g.size)),
    }


def poisson(**more: Any) -> Any:
    return mw.glmer("count ~ x + (1 | g)", clustered(), family="poisson", **more)


# --- replicates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NATIVE)
def test_replicates_are_the_refits_of_their_responses(name: str) -> None:
    m = fit(name)
    responses = bootstrap.draws(m, generator(5, 0), 6)
    refits = bootstrap.refit_responses(m, iter([responses]), Progress("", 6, wanted=False))
    for y, criterion, natural in zip(responses, refits.criterion, refits.natural, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mw.MixwellWarning)
            again = m.refit(y)
        assert_allclose(criterion, again.core["criterion"], rtol=1e-8)
        p = slice(m.theta.size, m.theta.size + len(m.fixef))
        assert_allclose((natural[p] - again.fixef.values) / m.se.values, 0.0, atol=1e-3)


@pytest.mark.parametrize("name", ["cbpp", "slopes", "clmm_logit", "integrated"])
def test_they_depend_on_the_seed_alone(name: str) -> None:
    m = fit(name)
    few, more = (m.bootstrap(n, seed=3, progress=False) for n in (4, 8))
    assert few.seed == 3
    assert few.names == m.profile(points=0).names
    assert np.array_equal(few.values, more.values[:4])
    assert not np.array_equal(few.values, m.bootstrap(4, seed=4).values)


def test_ordinal_and_integrated_models_are_refitted_one_by_one() -> None:
    for name in ("clmm_probit", "integrated"):
        m = fit(name)
        responses = bootstrap.draws(m, generator(1, 0), 2)
        refits = bootstrap.refit_responses(m, iter([responses]), Progress("", 2, wanted=False))
        for y, criterion in zip(responses, refits.criterion, strict=True):
            assert_allclose(criterion, m.refit(y).core["criterion"], rtol=1e-8)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_responses_have_the_moments_of_the_model(name: str) -> None:
    """Means of 2000 responses over all rows, within five standard errors, beside single draws."""
    m = fit(name)
    many = bootstrap.draws(m, generator(2, 0), 1000).mean(axis=1)
    single = np.array([np.mean(list(column)) for column in _columns(m, 200)])
    gap = many.mean() - single.mean()
    assert abs(gap) < 5 * np.sqrt(many.var() / 1000 + single.var() / 200)


def _columns(m: Any, n: int) -> list[Any]:
    drawn = m.simulate(n, seed=9)
    return [drawn[name] for name in drawn]


def test_trials_and_offsets_stay() -> None:
    m = fit("cbpp")
    hits = bootstrap.draws(m, generator(0, 0), 50) * m.weights
    assert_allclose(hits, np.round(hits), atol=1e-9)
    assert np.all(hits <= m.weights)
    exposed = fit("offset_nested")
    drawn = bootstrap.draws(exposed, generator(0, 0), 400).mean(axis=0)
    expected = np.exp(exposed.predict(type="link", re="population")) * np.exp(
        0.5 * sum(float(factor[0, 0]) ** 2 for factor in exposed.lambdas)
    )
    assert_allclose(drawn.sum(), expected.sum(), rtol=0.1)


def test_a_model_without_variation_is_started_away_from_zero() -> None:
    """Its replicates vary: a search that starts at a variance of zero would stay there."""
    m = mw.glmer("even ~ x + (1 | g)", clustered(), family="poisson")
    assert m.varcorr().terms[0].sd.values[0] < 1e-3
    b = m.bootstrap(100, seed=1)
    sds = b.values[:, b.names.index("sd_(Intercept)|g")]
    assert 0.2 < np.mean(sds > 0.01) < 0.8
    assert 0.2 < b.singular.mean() < 0.8


# --- what comes of them -----------------------------------------------------------------------------------


def test_standard_errors_are_those_of_the_model() -> None:
    m = fit("beta")
    b = m.bootstrap(400, seed=2)
    assert_allclose([b.se["x"] / m.se["x"], b.se["(Intercept)"] / m.se["(Intercept)"]], 1.0, rtol=0.15)
    lower, upper = b.limits(["precision"], 0.9)
    assert 3.5 < lower[0] < m.dispersion["precision"] < upper[0] < 7.0
    for kind in ("basic", "normal", "bca"):
        table = b.confint(0.9, kind=kind)
        assert np.all(np.array(table["lower"]) < np.array(table["upper"]))
        assert list(table["term"]) == list(b.names)
    assert "Random effects and responses drawn from the fit" in repr(b)
    assert list(b.replicates.columns) == list(b.names)


def test_intervals_by_confint() -> None:
    m = poisson()
    found = m.confint("x", method="bootstrap", n=50, seed=1, level=0.9)
    lower, upper = m.bootstrap(50, seed=1).limits(["x"], 0.9)
    assert_allclose(found["lower"], lower)
    assert_allclose(found["upper"], upper)
    whole = m.confint("fixed", method="bootstrap", kind="case", n=30, seed=1)
    assert list(whole["term"]) == ["(Intercept)", "x"]


def test_a_statistic_sees_the_refitted_model() -> None:
    m = poisson()
    plain = m.bootstrap(5, seed=1)
    b = m.bootstrap(5, seed=1, statistic=lambda r: {"x": r.fixef["x"], "aic": r.aic, "rows": r.nobs})
    assert b.names == ("x", "aic", "rows")
    assert_allclose(b.values[:, 0], plain.values[:, 1], rtol=1e-5)
    assert np.all(b.values[:, 2] == m.nobs)
    assert b.estimate["aic"] == m.aic


def test_cases() -> None:
    m = mw.glmer("count ~ x + (1 | g)", clustered(), family="nbinom2", ziformula="~ x", prior=mw.Prior())
    b = m.bootstrap(10, seed=1, kind="case")
    assert "Whole levels of 'g' (20) drawn with replacement." in repr(b)
    assert np.isfinite(b.values[~b.failed]).all()
    rows = mw.glm("count ~ x", clustered(), family="poisson").bootstrap(200, seed=1, kind="case")
    assert 0.5 < rows.se["x"] / poisson().se["x"] < 3.0
    again = poisson().bootstrap(3, seed=2, kind="case", statistic=lambda r: [r.fixef["x"], r.nobs])
    plain = poisson().bootstrap(3, seed=2, kind="case")
    assert_allclose(again.values[:, 0], plain.values[:, 1], rtol=1e-5)


def test_replicates_without_a_fit_are_counted() -> None:
    """A category with one row is missing from a third of the samples."""
    m = mw.glm("rare ~ x", clustered(), family="cumulative")
    b = m.bootstrap(60, seed=1)
    assert 5 < b.failed.sum() < 40
    assert np.isnan(b.values[b.failed]).all()
    assert np.isfinite(b.values[~b.failed]).all()
    assert f"{b.failed.sum()} of 60 replicates have no fit" in repr(b)


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("MW-A107", {"kind": "residual"}),
        ("MW-A107", {"kind": "wild"}),
        ("MW-A02", {"kind": "block"}),
        ("MW-A07", {"n": 0}),
        ("MW-A07", {"seed": -1}),
        ("MW-A57", {"group": "g"}),
        ("MW-A54", {"kind": "case", "group": "z"}),
        ("MW-A55", {"n": 2, "statistic": lambda m: "text"}),
        ("MW-A01", {"replicates": 9}),
    ],
)
def test_refusals(code: str, options: dict[str, Any]) -> None:
    with pytest.raises(mw.MixwellError) as caught:
        poisson().bootstrap(**options)
    assert caught.value.code == code


def test_more_refusals() -> None:
    with pytest.raises(mw.MixwellError) as caught:
        poisson(nagq=0).bootstrap(5)
    assert caught.value.code == "MW-A31"
    crossed = mw.glmer("count ~ x + (1 | g) + (1 | h)", clustered(), family="poisson")
    quasi = mw.glm("count ~ x", clustered(), family="quasipoisson")
    for m, kind, code in ((crossed, "case", "MW-A53"), (quasi, "parametric", "MW-A91")):
        with pytest.raises(mw.MixwellError) as caught:
            m.bootstrap(5, kind=kind)
        assert caught.value.code == code


# --- likelihood ratios ------------------------------------------------------------------------------------


def test_bootstrapped_likelihood_ratios() -> None:
    """Close to the chi-square, and its mixture with zero, in a table of this size; other draws, other p."""
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(20), 6), rng.normal(size=120)
    eta = 0.5 + 0.15 * x + 0.25 * rng.normal(size=20)[g]
    m = mw.glmer(
        "y ~ x + (1 | g)", {"g": g.astype(str), "x": x, "y": rng.poisson(np.exp(eta))}, family="poisson"
    )
    for smaller in (m.update("~ . - x"), m.update("~ . - (1 | g)")):
        formal = mw.compare(smaller, m).table()["p_value"][1]
        comparison = mw.compare(smaller, m, test="bootstrap", n_sim=1000)
        assert comparison.tests[1].method == "bootstrap"
        assert "1000 responses drawn from the smaller model" in repr(comparison)
        assert 0.005 < formal < 0.5
        assert abs(comparison.table()["p_value"][1] - formal) < 0.08
        assert (
            comparison.table()["p_value"][1]
            != mw.compare(smaller, m, test="bootstrap", n_sim=999, seed=1).table()["p_value"][1]
        )


def test_bootstrapped_likelihood_ratios_of_linear_models() -> None:
    dyes = mw.data.load("dyestuff", "dict")
    models = mw.lm("Yield ~ 1", dyes), mw.lmer("Yield ~ 1 + (1 | Batch)", dyes)
    exact = mw.compare(*models).table()["p_value"][1]
    found = mw.compare(*models, test="bootstrap", n_sim=4000).table()["p_value"][1]
    assert abs(found - exact) < 5 * np.sqrt(exact / 4000)


def test_bootstrapped_likelihood_ratios_need_nested_models() -> None:
    m = poisson()
    with pytest.raises(mw.MixwellError) as caught:
        mw.compare(m, m.update(family="nbinom2"), test="bootstrap")
    assert caught.value.code == "MW-A42"


# --- coverage and speed -----------------------------------------------------------------------------------


def test_percentile_intervals_cover() -> None:
    """60 binomial tables, 200 replicates each, at 90 %; the bounds leave four Monte-Carlo standard errors."""
    rng = np.random.default_rng(7)
    g, x = np.repeat(np.arange(15), 6), rng.normal(size=90)
    table = {"g": g.astype(str), "x": x, "y": rng.integers(0, 6, 90), "n": np.full(90, 5)}
    m = mw.glmer("cbind(y, n - y) ~ x + (1 | g)", table, family="binomial")
    covered = []
    for _ in range(60):
        eta = 0.5 * x + 0.6 * rng.normal(size=15)[g]
        again = m.refit(rng.binomial(5, 1 / (1 + np.exp(-eta))) / 5)
        lower, upper = again.bootstrap(200, seed=1, progress=False).limits(["(Intercept)", "x"], 0.9)
        covered.append((lower < [0.0, 0.5]) & (upper > [0.0, 0.5]))
    assert np.all(np.abs(np.mean(covered, axis=0) - 0.88) < 0.16)


def test_a_thousand_replicates_of_cbpp_take_no_time() -> None:
    m = fit("cbpp")
    begun = time.perf_counter()
    m.bootstrap(1000, seed=1, progress=False)
    assert time.perf_counter() - begun < 3.0  # 0.2 s on an idle computer
