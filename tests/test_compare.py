"""Comparisons of models: which are nested, by which criterion, and p-values that hold on the boundary."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mixwell as mw
from mixwell.errors import MixwellError
from mixwell.inference.boundary_tests import Block, Spectrum, mixture_tail, simulate, spectrum
from mixwell.inference.nesting import nesting
from mixwell.inference.ratio_test import loadings

REFERENCE = json.loads((Path(__file__).parent / "reference" / "compare.json").read_text())
SLOPES = "Reaction ~ Days + (Days | Subject)"
UNCORRELATED = "Reaction ~ Days + (Days || Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
CAKE = "angle ~ recipe + temp + (1 | recipe:replicate)"


@contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(MixwellError) as caught:
        yield
    assert caught.value.code == code
    assert all(word in str(caught.value) for word in words)


@pytest.fixture(scope="module")
def sleep() -> dict[str, Any]:
    return mw.data.load("sleepstudy", "dict")


@pytest.fixture(scope="module")
def cake() -> dict[str, Any]:
    table = mw.data.load("cake", "dict")
    return {**table, "t10": (table["temp"] - 200) / 10}


@pytest.fixture(scope="module")
def uneven(sleep: dict[str, Any]) -> dict[str, Any]:
    """The first 2 to 10 days of each subject, as in compare.R."""
    at = _ranks(sleep["Subject"])
    keep = sleep["Days"] < 2 + (at * 4) % 9
    return {name: column[keep] for name, column in sleep.items()}


def _ranks(labels: Any) -> Any:
    return 1 + np.unique(np.asarray(labels), return_inverse=True)[1]


# --- criteria ---------------------------------------------------------------------------------------------


def test_information_criteria_are_those_of_the_fits(sleep: dict[str, Any]) -> None:
    fits = [mw.lm("Reaction ~ Days", sleep).update(method="ML")]
    fits += [mw.lmer(formula, sleep, method="ML") for formula in (INTERCEPTS, UNCORRELATED, SLOPES)]
    table = mw.compare(*reversed(fits)).table()
    for name in ("npar", "loglik", "aic", "aicc", "bic"):
        assert_allclose(table[name], [getattr(m, name) for m in fits], rtol=1e-10)
    assert_allclose(table["weight"].sum(), 1.0)
    assert_allclose(np.log(table["weight"][1] / table["weight"][3]), 0.5 * (fits[3].aic - fits[1].aic))
    assert table["delta_aic"].min() == 0


@pytest.mark.parametrize(
    ("case", "data", "method", "formulas"),
    [
        ("sleep_ml", "sleep", "ML", ["Reaction ~ 1 + (Days | Subject)", SLOPES, SLOPES + " + I(Days^2)"]),
        ("sleep_reml", "sleep", "REML", [INTERCEPTS, UNCORRELATED, SLOPES]),
        (
            "cake_ml",
            "cake",
            "ML",
            ["angle ~ temp + (1 | recipe:replicate)", CAKE, "angle ~ recipe * temp + (1 | recipe:replicate)"],
        ),
    ],
)
def test_statistics_are_lme4s(
    case: str, data: str, method: Any, formulas: list[str], request: pytest.FixtureRequest
) -> None:
    """lme4::anova: likelihoods to 1e-6 (its stopping rule), df exactly, p where nothing is bounded."""
    expected, frame = REFERENCE["likelihood"][case], request.getfixturevalue(data)
    comparison = mw.compare(*(mw.lmer(f, frame, method=method) for f in formulas))
    table = comparison.table()
    assert table["npar"].tolist() == expected["npar"]
    for name in ("loglik", "aic", "bic"):
        assert_allclose(table[name], expected[name], rtol=1e-6)
    assert_allclose(table["chisq"][1:], expected["chisq"], atol=2e-4)
    assert table["df"][1:].tolist() == expected["df"]
    for test, p in zip(comparison.tests[1:], expected["p"], strict=True):
        if test.method == "chi-square":
            assert_allclose(test.p_value, p, rtol=1e-3)
        else:
            assert test.p_value < max(p, 1e-3)


def test_reml_is_refitted_when_fixed_effects_differ(sleep: dict[str, Any]) -> None:
    one, two = mw.lmer(SLOPES, sleep), mw.lmer("Reaction ~ 1 + (Days | Subject)", sleep)
    comparison = mw.compare(one, two)
    assert comparison.criterion == "ML"
    assert [m.method for m in comparison.models] == ["ML", "ML"]
    assert [note.code for note in comparison.notes] == ["MW-W09"]
    assert "refitted by ML" in repr(comparison)
    assert_allclose(comparison.loglik, [two.update(method="ML").loglik, one.update(method="ML").loglik])
    assert one.method == "REML"  # the fits that were passed are as they were
    mixed = mw.compare(one, two.update(method="ML"))
    assert_allclose(mixed.loglik, comparison.loglik, rtol=1e-12)
    assert "others were fitted by ML" in mixed.notes[0].text
    same = mw.compare(one, mw.lmer(INTERCEPTS, sleep), mw.lm("Reaction ~ Days", sleep))
    assert same.criterion == "REML"
    assert not same.notes
    lms = mw.compare(mw.lm("Reaction ~ 1", sleep), mw.lm("Reaction ~ Days", sleep))
    assert (lms.criterion, lms.tests[1].method) == ("ML", "chi-square")


def test_another_coding_is_the_same_model_by_ml(cake: dict[str, Any]) -> None:
    sums = mw.compare(mw.lmer(CAKE, cake), mw.lmer(CAKE, cake, contrasts="sum"))
    assert sums.criterion == "ML"
    assert_allclose(sums.loglik[0], sums.loglik[1], rtol=1e-9)
    assert [note.code for note in sums.notes] == ["MW-W09", "MW-W08"]
    assert "the same model" in sums.notes[1].text


def test_offset_against_slope(sleep: dict[str, Any]) -> None:
    """An offset is a slope of one: nested, and tested by the squared t statistic in disguise."""
    fixed = mw.lm("Reaction ~ 1 + offset(10 * Days)", sleep)
    free = mw.lm("Reaction ~ Days", sleep)
    t = (free.fixef["Days"] - 10) / free.se["Days"]
    assert_allclose(mw.compare(fixed, free).tests[1].chisq, 180 * np.log1p(t**2 / 178))
    assert "offset" in nesting(fixed, mw.lm("Reaction ~ 1 + I(Days^2)", sleep)).reason


# --- nestedness -------------------------------------------------------------------------------------------


def _long(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    n = 240
    a = np.repeat(np.arange(12), 20)
    f = np.tile(np.repeat(["u", "v", "w"], 5), 16)
    table = {"a": a.astype(str), "f": f, "x": rng.normal(size=n), "z": rng.normal(size=n)}
    table |= {"b": np.array([f"{i}{j}" for i, j in zip(a, np.tile([0, 1, 2, 3, 4], 48), strict=True)])}
    table |= {"other": np.array([f"name{i}" for i in a[::-1]])[::-1], "x2": 3 * table["x"] - 1}
    return table | {"y": rng.normal(size=n) + 0.5 * rng.normal(size=12)[a]}


@pytest.mark.parametrize(
    ("small", "large", "zeros", "tested"),
    [
        ("y ~ x", "y ~ x + (1 | a)", 1, True),
        ("y ~ x + (1 | a)", "y ~ x + (1 | a/b)", 1, True),
        ("y ~ x + (1 | b)", "y ~ x + (1 | a) + (1 | b)", 1, True),
        ("y ~ x + (1 | a)", "y ~ x + (x | a)", 1, False),
        ("y ~ x + (1 | a)", "y ~ x + (x || a)", 1, True),
        ("y ~ x + (0 + x | a)", "y ~ x + (x || a)", 1, True),
        ("y ~ x + (x || a)", "y ~ x + (x | a)", 0, False),
        ("y ~ x + (1 | a) + (0 + x | a)", "y ~ x + (x | a)", 0, False),
        ("y ~ x + (x | a)", "y ~ x + (x + z | a)", 1, False),
        ("y ~ x + (1 | a)", "y ~ x + (x + z | a)", 2, False),
        ("y ~ x", "y ~ x + (x | a)", 2, False),
        ("y ~ x + (1 | a)", "y ~ x + z + (1 | other)", 0, False),
        ("y ~ x + (x2 | a)", "y ~ x + z + (x | a)", 0, False),
        ("y ~ x + (1 | a)", "y ~ x + (1 | a) + homdiag(0 + f | b)", 1, True),
        ("y ~ x + homdiag(0 + f | a)", "y ~ x + cs(0 + f | a, hom = TRUE)", 0, False),
        ("y ~ x + (1 | a)", "y ~ x + (f | a)", 2, False),
        ("y ~ x + cs(0 + f | a)", "y ~ x + (f | a)", 0, False),
        ("y ~ x + homdiag(0 + f | a)", "y ~ x + ar1(0 + f | a)", 0, False),
        ("y ~ x + ar1(0 + f | a)", "y ~ x + (0 + f | a)", 0, False),
        ("y ~ 1", "y ~ z + (1 | a)", 1, True),
    ],
)
def test_nested(small: str, large: str, zeros: int, tested: bool) -> None:
    one, two = _quietly(small, _long()), _quietly(large, _long())
    how = nesting(one, two)
    assert how.reason == ""
    assert (min(how.zeros, 1) if "homdiag(0 + f | b)" in large else how.zeros) == zeros
    assert (how.tested is not None) == tested
    assert (how.fixed, how.random) == (len(two.kept) - len(one.kept), two.theta.size - one.theta.size)


@pytest.mark.parametrize(
    ("small", "large", "words"),
    [
        ("y ~ x + (1 | a)", "y ~ z + f + (1 | a)", "'x'"),
        ("y ~ x + (1 | b)", "y ~ x + (x | a)", "(1 | b)"),
        ("y ~ x + (x | a)", "y ~ x + f + z + (z | a)", "(1 + x | a)"),
        ("y ~ x + (x | a)", "y ~ x + f + z + (x || a)", "cannot be written"),
        ("y ~ x + (x2 || a)", "y ~ x + f + z + (x || a)", "(1 + x2 || a)"),
        ("y ~ x + ar1(0 + f | a)", "y ~ x + z + cs(0 + f | a)", "cannot be written"),
        ("y ~ x + (1 | a)", "y ~ x2 + (1 | a)", "same model"),
    ],
)
def test_not_nested(small: str, large: str, words: str) -> None:
    one, two = (_quietly(formula, _long(), method="ML") for formula in (small, large))
    comparison = mw.compare(one, two)
    (said,) = comparison.notes
    assert said.code == "MW-W08"
    assert words in said.text
    assert comparison.tests[1].method is None
    assert np.isnan(comparison.table()["p_value"]).all()
    with refused("MW-A42", words):
        mw.compare(one, two, test="lrt")
    assert not mw.compare(one, two, test="none").notes


def _quietly(formula: str, data: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mw.fit(formula, data, **options)


def test_a_larger_model_never_fits_worse() -> None:
    """Nested means that the likelihood cannot fall: every pair that is called nested must show it."""
    data = _long(3)
    right = ("(1 | a)", "(x | a)", "(x || a)", "(x2 || a)", "(x + z | a)", "(1 | b)", "(1 | a/b)")
    right += ("homdiag(0 + f | a)", "cs(0 + f | a)", "ar1(0 + f | a)", "(0 + f | a)", "(f || a)", "(f | a)")
    fits = [_quietly(f"y ~ x + {term}", data, method="ML") for term in right]
    pairs = [(s, b) for s in fits for b in fits if s is not b and not nesting(s, b).reason]
    assert len(pairs) > 20
    for small, large in pairs:
        assert large.loglik - small.loglik > -1e-5, (str(small.formula), str(large.formula))


# --- null distributions -----------------------------------------------------------------------------------


def _spectrum(formula: str, data: dict[str, Any]) -> Spectrum:
    m = mw.lmer(formula, data)
    (term,) = m.design.random
    return spectrum(m.model_matrix(), [Block(term.codes, len(term.levels), term.columns[0])], [], None)


@pytest.mark.parametrize("case", REFERENCE["null"])
def test_null_distributions_are_rlrsims(case: str, request: pytest.FixtureRequest) -> None:
    """Quantiles of 200,000 draws of RLRsim have their tail probabilities in ours: 4 standard errors."""
    name = case.removesuffix("_ml").removesuffix("_slope")
    data = mw.data.load("dyestuff", "dict") if name == "dyestuff" else dict(request.getfixturevalue(name))
    formula = {
        "dyestuff": "Yield ~ 1 + (1 | Batch)",
        "cake": "angle ~ recipe * temperature + (1 | recipe:replicate)",
    }.get(name, INTERCEPTS)
    if case.endswith("_slope"):
        formula = "Reaction ~ Days + (0 + Days | Subject)"
    fixed = {"sleep_ml": 1, "uneven_ml": 1, "cake_ml": 15}.get(case, 0)
    of, n = _spectrum(formula, data), 50_000
    draws = simulate(of, restricted=not case.endswith("_ml"), fixed=fixed, n_sim=n, seed=4)
    expected = REFERENCE["null"][case]
    for tail, at in zip(1 - np.array(REFERENCE["at"]), expected["quantiles"], strict=True):
        if at > 0:
            assert abs(np.mean(draws >= at) - tail) < 4 * np.sqrt(tail * (1 - tail) * (1 / n + 1 / 2e5))
    assert abs(np.mean(draws == 0) - expected["zero"]) < 4 * np.sqrt(0.25 * (1 / n + 1 / 2e5))


def test_balanced_null_distribution_in_closed_form() -> None:
    """One-way with J groups of K: the supremum is at a variance ratio known in closed form."""
    j, k, n, size = 6, 5, 30, 100_000
    of = Spectrum(np.full(j - 1, float(k)), np.full(j, float(k)), n, 1)
    draws = simulate(of, restricted=True, n_sim=size, seed=1)
    rng = np.random.default_rng(2)
    between, within = rng.chisquare(j - 1, size), rng.chisquare(n - j, size)
    ratio = np.maximum((n - j) / (j - 1) * between / within, 1.0)
    exact = (n - 1) * np.log((between + within) / (between / ratio + within)) - (j - 1) * np.log(ratio)
    for tail in (0.3, 0.1, 0.05, 0.01):
        share = np.mean(draws >= np.quantile(exact, 1 - tail))
        assert abs(share - tail) < 4 * np.sqrt(2 * tail * (1 - tail) / size)
    p = np.mean(np.random.default_rng(3).f(j - 1, n - j, size) <= 1)  # zero when the mean squares say so
    assert abs(np.mean(draws == 0) - p) < 0.01


def test_draws_depend_on_the_seed_alone() -> None:
    of = Spectrum(np.array([3.0, 2.0, 1.0]), np.array([3.0, 2.5, 1.5]), 20, 2)
    first = simulate(of, restricted=False, fixed=1, n_sim=1000, seed=3)
    assert_allclose(first, simulate(of, restricted=False, fixed=1, n_sim=1000, seed=3), rtol=0)
    assert not np.array_equal(first, simulate(of, restricted=False, fixed=1, n_sim=1000, seed=4))


def test_eigenvalues_are_those_of_dense_algebra() -> None:
    """Z'PZ and Z'V^-1Z with weights and another random effect, against n x n matrices."""
    data = _long(1)
    w = np.random.default_rng(5).uniform(0.5, 2.0, 240)
    small = mw.lmer("y ~ x + (x | a)", data, weights=w)
    large = mw.lmer("y ~ x + (x | a) + (1 | b)", data, weights=w)
    tested = nesting(small, large).tested
    assert tested is not None
    (block,) = tested
    z = np.eye(block.n_levels)[block.codes]
    x = small.model_matrix()
    (term,), (factor,) = small.design.random, small.lambdas
    other = np.eye(len(term.levels))[term.codes]
    z0 = np.hstack([other * (factor[0, j] + factor[1, j] * data["x"])[:, None] for j in range(2)])
    inverse = np.linalg.inv(np.diag(1 / w) + z0 @ z0.T)
    p = inverse - inverse @ x @ np.linalg.inv(x.T @ inverse @ x) @ x.T @ inverse
    of = spectrum(x, tested, loadings(small), w)
    for found, dense in ((of.mu, z.T @ p @ z), (of.xi, z.T @ inverse @ z)):
        values = np.linalg.eigvalsh(dense)[::-1]
        assert_allclose(found, values[: found.size], rtol=1e-8, atol=1e-10 * values[0])
        assert (np.abs(values[found.size :]) < 1e-8 * values[0]).all()


def test_p_values_are_rlrsims(uneven: dict[str, Any]) -> None:
    """Within 4 Monte-Carlo standard errors; RLRsim's own, beside other random effects, within 0.02."""
    dyestuff = mw.data.load("dyestuff", "dict")
    batch, subject = _ranks(dyestuff["Batch"]), _ranks(uneven["Subject"])

    def noise(n: int) -> Any:
        return (np.arange(1, n + 1) ** 2 * 37) % 101 / 20

    d = {**dyestuff, "y": noise(30) + 0.7 * batch}
    u = {**uneven, "y": noise(subject.size) + (subject * 5) % 18 * 0.08}
    pastes = mw.data.load("pastes", "dict")
    both = mw.lmer("strength ~ 1 + (1 | batch/cask)", pastes)
    pairs = {
        "dyestuff": (mw.lm("y ~ 1", d), mw.lmer("y ~ 1 + (1 | Batch)", d), "exact RLRT"),
        "uneven": (mw.lm("y ~ Days", u), mw.lmer("y ~ Days + (1 | Subject)", u), "exact RLRT"),
        "uneven_ml": (mw.lm("y ~ 1", u), mw.lmer("y ~ Days + (1 | Subject)", u, method="ML"), "exact LRT"),
        "pastes": (both.update("~ . - (1 | batch)"), both, "approximate RLRT"),
    }
    for case, (small, large, method) in pairs.items():
        test, expected = mw.compare(small, large, n_sim=50_000).tests[1], REFERENCE["p"][case]
        assert test.method == method
        assert_allclose(test.chisq, expected["statistic"], atol=1e-5)
        p = expected["p"]
        margin = 0.02 if case == "pastes" else 4 * np.sqrt(p * (1 - p) * (1 / 5e4 + 1 / 2e5))
        assert abs(test.p_value - p) < margin, case


def test_mixtures() -> None:
    for df in (1, 2, 5):
        lower = stats.chi2.sf(3.0, df - 1) if df > 1 else 0.0
        assert_allclose(mixture_tail(3.0, df), 0.5 * lower + 0.5 * stats.chi2.sf(3.0, df))
    assert mixture_tail(0.0, 1) == 1.0


def test_methods_are_chosen_by_what_is_zero(sleep: dict[str, Any]) -> None:
    fits = {name: mw.lmer(f, sleep) for name, f in (("1", INTERCEPTS), ("||", UNCORRELATED), ("|", SLOPES))}
    none = mw.lm("Reaction ~ Days", sleep)

    def method(*models: Any) -> str | None:
        return mw.compare(*models, n_sim=100).tests[1].method

    assert method(none, fits["1"]) == "exact RLRT"
    assert method(fits["1"], fits["||"]) == "approximate RLRT"
    two = mw.data.load("dyestuff2", "dict") | {"h": np.array([*"abcdefghij"] * 3)}
    zero = mw.lmer("Yield ~ 1 + (1 | Batch)", two)
    assert zero.theta[0] == 0
    assert method(zero, mw.lmer("Yield ~ 1 + (1 | Batch) + (1 | h)", two)) == "approximate RLRT"
    assert method(fits["||"], fits["|"]) == "chi-square"
    assert method(fits["1"], fits["|"]) == "0.5 chi2(1) + 0.5 chi2(2)"
    assert method(none, fits["|"]) == "<= 0.5 chi2(2) + 0.5 chi2(3)"
    assert method(mw.lm("Reaction ~ 1", sleep), fits["1"]) == "exact LRT"
    wide = {**sleep, "day": np.array([f"d{day}" for day in sleep["Days"]])}
    ar1 = mw.lmer("Reaction ~ Days + ar1(0 + day | Subject)", wide)
    assert method(mw.lm("Reaction ~ Days", wide), ar1) == "~ 0.5 chi2(1) + 0.5 chi2(2)"


def test_many_levels_use_the_mixture() -> None:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(1600), 2)
    data = {"y": rng.normal(size=3200), "g": g.astype(str)}
    test = mw.compare(mw.lm("y ~ 1", data), mw.lmer("y ~ 1 + (1 | g)", data)).tests[1]
    assert test.method == "0.5 chi2(0) + 0.5 chi2(1)"


def test_a_statistic_of_zero_has_p_one() -> None:
    data = mw.data.load("dyestuff2", "dict")
    test = mw.compare(mw.lm("Yield ~ 1", data), mw.lmer("Yield ~ 1 + (1 | Batch)", data)).tests[1]
    assert (test.chisq, test.p_value) == (0.0, 1.0)


# --- size -------------------------------------------------------------------------------------------------


def test_size_under_the_null(uneven: dict[str, Any]) -> None:
    """P(p <= 0.05) = 0.05 for a variance of zero, by REML, and by ML with a slope of zero; not by chi-square.

    Fits to simulated responses against the null distribution that `compare` uses; 4 standard errors.
    """
    reml, ml = (mw.lmer(INTERCEPTS, uneven, method=method) for method in ("REML", "ML"))
    no_groups, no_slope = mw.lm("Reaction ~ Days", uneven), mw.lm("Reaction ~ 1", uneven)
    rng, n, size = np.random.default_rng(11), 1500, 40_000
    found = np.empty((2, n))
    for i in range(n):
        y = rng.normal(size=reml.nobs)
        found[0, i] = no_groups.refit(y).reml_criterion - reml.refit(y).reml_criterion
        found[1, i] = no_slope.refit(y).deviance - ml.refit(y).deviance
    of = _spectrum(INTERCEPTS, uneven)
    restricted = simulate(of, restricted=True, n_sim=size)
    full = simulate(of, restricted=False, fixed=1, n_sim=size)
    for alpha in (0.3, 0.1, 0.05):
        error = np.sqrt(alpha * (1 - alpha) * (1 / n + 1 / size))
        for statistics, draws in zip(found, (restricted, full), strict=True):
            assert abs(np.mean(statistics >= np.quantile(draws, 1 - alpha)) - alpha) < 4 * error
    assert np.mean(found[0] >= stats.chi2.isf(0.05, 1)) < 0.05 - 3 * np.sqrt(0.05 * 0.95 / n)
    one = mw.compare(no_groups, reml, n_sim=size).tests[1]
    assert one.p_value == (1 + np.sum(restricted >= one.chisq)) / (1 + size)


def test_size_beside_other_random_effects() -> None:
    """Within 3 standard errors of 0.05 although the other variance is estimated."""
    rng, rejected, n = np.random.default_rng(5), 0, 500
    a, b = np.repeat(np.arange(10), 6), np.tile(np.arange(6), 10)
    data = {"a": a.astype(str), "b": b.astype(str), "y": rng.normal(size=60)}
    one, two = (mw.lmer(f, data) for f in ("y ~ 1 + (1 | a)", "y ~ 1 + (1 | a) + (1 | b)"))
    for _ in range(n):
        y = rng.normal(size=10)[a] + rng.normal(size=60)
        rejected += mw.compare(one.refit(y), two.refit(y), n_sim=4000).tests[1].p_value <= 0.05
    assert abs(rejected / n - 0.05) < 3 * np.sqrt(0.05 * 0.95 / n)


# --- random effects left out in turn ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "formula", "data", "method"),
    [
        ("sleep", SLOPES, "sleepstudy", "REML"),
        ("sleep_ml", SLOPES, "sleepstudy", "ML"),
        ("sleep_diag", UNCORRELATED, "sleepstudy", "REML"),
        ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin", "REML"),
        ("pastes", "strength ~ 1 + (1 | batch) + (1 | batch:cask)", "pastes", "REML"),
        ("dyestuff", "Yield ~ 1 + (1 | Batch)", "dyestuff", "REML"),
    ],
)
def test_ranova_is_lmertests(case: str, formula: str, data: str, method: Any) -> None:
    """lmerTest::ranova; rows are matched by value, for lme4 sorts random effects."""
    expected = REFERENCE["random"][case]
    table = mw.lmer(formula, mw.data.load(data, "dict"), method=method).ranova().table()
    lrt, df = (np.atleast_1d(expected[name]) for name in ("lrt", "df"))
    for name in ("npar", "loglik", "aic"):
        assert_allclose(sorted(table[name]), sorted(expected[name]), rtol=1e-6)
    assert_allclose(sorted(table["lrt"][1:]), sorted(lrt), atol=2e-4)
    assert_allclose(sorted(table["df"][1:]), sorted(df))


def test_ranova_of_slopes_of_a_factor(cake: dict[str, Any]) -> None:
    expected = REFERENCE["random"]["cake_slopes"]
    m = mw.lmer("angle ~ recipe + t10 + (t10 + recipe | replicate)", cake)
    tests = m.ranova()
    term = "in (1 + t10 + recipe | replicate)"
    assert tests.terms == (f"t10 {term}", f"recipe {term}")
    assert tests.table()["npar"].tolist() == expected["npar"]
    assert_allclose(tests.table()["loglik"], expected["loglik"], rtol=1e-6)
    assert [test.method for test in tests.tests] == [
        "0.5 chi2(3) + 0.5 chi2(4)",
        "<= 0.5 chi2(6) + 0.5 chi2(7)",
    ]


def test_ranova_agrees_with_compare() -> None:
    data = _long(2)
    m = mw.lmer("y ~ x + (x * z | a)", data)
    (interaction,) = m.ranova().terms
    assert interaction.startswith("x:z in ")
    m = mw.lmer("y ~ x + (x || a) + (1 | b)", data)
    tests = m.ranova(seed=3)
    assert tests.terms == ("(Intercept) in (1 + x || a)", "x in (1 + x || a)", "(1 | b)")
    smaller = ("y ~ x + (0 + x | a) + (1 | b)", "y ~ x + (1 | a) + (1 | b)", "y ~ x + (x || a)")
    assert [str(each.formula) for each in tests.reduced] == [
        "y ~ 1 + x + (0 + x || a) + (1 | b)",
        "y ~ 1 + x + (1 || a) + (1 | b)",
        "y ~ 1 + x + (1 + x || a)",
    ]
    assert_allclose(tests.reduced[1].predict(data), tests.reduced[1].fitted())
    for test, formula in zip(tests.tests, smaller, strict=True):
        other = mw.compare(mw.lmer(formula, data), m, seed=3).tests[1]
        assert_allclose(test.chisq, other.chisq, atol=1e-6)
        assert (test.df, test.method) == (other.df, other.method)
        assert_allclose(test.p_value, other.p_value, atol=0.003)
    with refused("MW-A43", "no"):
        mw.lm("y ~ x", data).ranova()


# --- how it looks -----------------------------------------------------------------------------------------


def test_it_prints(sleep: dict[str, Any]) -> None:
    comparison = mw.compare(mw.lm("Reaction ~ Days", sleep), mw.lmer(INTERCEPTS, sleep))
    shown = repr(comparison)
    for words in ("REML criteria, 180 rows", "weight", "2 against 1", "exact RLRT", "10000 draws", "seed 0"):
        assert words in shown
    assert "exact RLRT" in comparison._repr_html_()
    assert "left out in turn" in mw.lmer(INTERCEPTS, sleep).ranova()._repr_html_()


def test_a_search_that_ended_too_low_is_told(sleep: dict[str, Any]) -> None:
    with pytest.warns(mw.MixwellWarning, match="MW-C01"):
        large = mw.lmer(SLOPES, sleep, control=mw.Control(max_evaluations=1, start=(20.0, 0.0, 20.0)))
    with pytest.warns(mw.MixwellWarning, match="MW-W10"):
        test = mw.compare(mw.lmer(INTERCEPTS, sleep), large).tests[1]
    assert (test.chisq, test.p_value) == (0.0, 1.0)


def test_options_are_checked(sleep: dict[str, Any]) -> None:
    m = mw.lmer(INTERCEPTS, sleep)
    for option, bad in (("n_sim", 0), ("n_sim", 1.5), ("seed", -1), ("seed", True)):
        with refused("MW-A07", option):
            mw.compare(m, m, **{option: bad})  # type: ignore[arg-type]
        with refused("MW-A07", option):
            m.ranova(**{option: bad})  # type: ignore[arg-type]
    with refused("MW-A02", "lrt"):
        mw.compare(m, m, test="wald")  # type: ignore[arg-type]
    with refused("MW-A01", "refit"):
        mw.compare(m, m, refitt=False)  # type: ignore[call-arg]


def test_tables_come_in_the_library_of_the_data() -> None:
    for backend in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(backend)
        data = mw.data.load("dyestuff", backend)
        m = mw.lmer("Yield ~ 1 + (1 | Batch)", data)
        for table in (mw.compare(mw.lm("Yield ~ 1", data), m).table(), m.ranova().table()):
            assert type(table).__module__.split(".")[0] == backend
