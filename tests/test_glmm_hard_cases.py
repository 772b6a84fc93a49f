"""Hard cases of generalised models, named by what happens; B.. are the rows of docs/hard-cases.md."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

import mixwell as mw
from mixwell.generalized.separation import cone

Array = NDArray[np.float64]
DATA = Path(__file__).parent / "reference" / "data"
TWENTY = np.arange(20.0)
HALVES = {"y": [0] * 10 + [1] * 10, "x": TWENTY, "b": [0.0] * 10 + [1.0] * 10, "g": np.tile(np.arange(5), 4)}
BOUNDED = ("logit", "probit", "cloglog", "loglog", "cauchit")


def said(formula: str, data: Any, **options: Any) -> tuple[Any, str]:
    """Return a fit and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        m = mw.fit(formula, data, **options)
    assert all(issubclass(each.category, mw.MixwellWarning) for each in caught)
    return m, "\n".join(str(each.message) for each in caught)


def refused(code: str, formula: str, data: Any, **options: Any) -> str:
    with pytest.raises(mw.MixwellError) as caught:
        mw.fit(formula, data, **options)
    assert caught.value.code == code
    return str(caught.value)


# --- B10, B11: separation -------------------------------------------------------------------------------


@pytest.mark.parametrize("random", ["", " + (1 | g)"])
@pytest.mark.parametrize("link", BOUNDED)
@pytest.mark.parametrize("name", ["b", "x"])
def test_complete_separation_is_named_in_every_link(name: str, link: str, random: str) -> None:
    m, text = said(f"y ~ {name}{random}", HALVES, family="binomial", link=link)
    assert "MW-W13  complete separation" in text and f"'{name}' (+inf)" in text
    assert m.separation.infinite == {"(Intercept)": -1, name: 1} and m.separation.rows.all()
    assert "MW-W13" in m.summary() and not m.certificate().passed
    where = "all 10 rows with b = 0 have y = 0" if name == "b" else "y = 0 in all rows with x < 9.5"
    assert where in text
    assert np.isfinite([m.loglik, *m.fixef.values]).all() and abs(m.loglik) < 0.1


def test_separated_estimates_have_one_finite_limit_and_a_prior_makes_them_finite() -> None:
    m, text = said("y ~ b", HALVES, family="binomial")
    assert "m.confint('b')" in text and "mw.Prior()" in text
    limits = m.confint("b")
    assert math.isinf(limits["upper"][0]) and 2 < limits["lower"][0] < 10
    penalised = mw.glm("y ~ b", HALVES, family="binomial", prior=mw.Prior())
    assert penalised.separation is None and 0 < penalised.fixef["b"] < 10


def test_quasi_complete_separation_names_the_level() -> None:
    data = {"y": [0, 1, 0, 1, 0, 1, 1, 0, 1, 1], "f": [*"aabbbbbacc"], "x": np.sin(TWENTY[:10])}
    m, text = said("y ~ f + x", data, family="binomial")
    assert "quasi-complete separation: all 2 rows with f = c have y = 1" in text
    assert m.separation.infinite == {"fc": 1} and not m.separation.complete
    assert m.separation.rows.tolist() == [False] * 8 + [True] * 2


def test_a_separated_reference_level_takes_all_others_along() -> None:
    data = {"y": [0, 0, 0, 1, 0, 1, 1, 0], "f": [*"aaabbbcc"]}
    m, text = said("y ~ f", data, family="binomial")
    assert m.separation.infinite == {"(Intercept)": -1, "fb": 1, "fc": 1} and "all 3 rows with f = a" in text


def test_a_tie_where_two_numbers_meet_is_quasi_complete() -> None:
    m, text = said("y ~ x", {"y": [0, 0, 1, 0, 1, 1], "x": [0, 1, 2, 2, 3, 4]}, family="binomial")
    assert "quasi-complete" in text and "y = 1 in all rows with x > 2" in text
    assert m.separation.infinite == {"(Intercept)": -1, "x": 1}


def test_separation_by_several_columns_together_is_counted() -> None:
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=(2, 60))
    m, text = said("y ~ x + z", {"y": (x + z > 0).astype(int), "x": x, "z": z}, family="binomial")
    assert "x" in m.separation.infinite and "predict y perfectly in 60 of 60 rows" in text


@pytest.mark.parametrize("family", ["poisson", "nbinom1", "nbinom2", "quasipoisson", "tweedie"])
def test_a_level_without_any_count_is_separated(family: str) -> None:
    y = np.random.default_rng(1).negative_binomial(3, 0.4, 60).astype(float)
    y[40:] = 0
    data = {"y": y, "f": np.repeat(["a", "b", "c"], 20)}
    m, text = said("y ~ f", data, family=family, link="log")
    assert m.separation.infinite == {"fc": -1} and "all 20 rows with f = c have y = 0" in text


def test_truncated_counts_are_separated_where_all_are_one() -> None:
    y = np.random.default_rng(1).poisson(2.0, 60) + 1
    y[40:] = 1
    m, _ = said("y ~ f", {"y": y, "f": np.repeat(["a", "b", "c"], 20)}, family="truncated_poisson")
    assert m.separation.infinite == {"fc": -1}


def test_extra_zeros_and_categories_are_separated_too() -> None:
    rng = np.random.default_rng(2)
    f = np.repeat(["a", "b", "c"], 40)
    y = np.where(rng.random(120) < 0.4, 0, rng.poisson(3.0, 120) + 1)
    y[80:] = rng.poisson(3.0, 40) + 1
    m, _ = said("y ~ f", {"y": y, "f": f}, family="truncated_poisson", ziformula="~ f")
    assert m.separation.infinite == {"zi:fc": -1}
    o = rng.integers(0, 4, 120)
    o[80:] = 3
    ordinal, text = said("o ~ f", {"o": o, "f": f}, family="cumulative")
    assert ordinal.separation.infinite == {"fc": 1} and "all 40 rows with f = c have o = 3" in text


def test_the_log_link_is_separated_by_failures_alone() -> None:
    rng = np.random.default_rng(3)
    f = np.repeat(["a", "b", "c"], 20)
    y = rng.integers(0, 2, 60)
    none = np.where(f == "c", 0, y)
    m, _ = said("y ~ f", {"y": none, "f": f}, family="binomial", link="log")
    assert m.separation.infinite == {"fc": -1}


def test_trials_strictly_between_hold_coefficients() -> None:
    data = {"n": [5, 5, 5, 5, 0], "x": [0.0, 1.0, 2.0, 3.0, -9.0]}
    formula = "cbind(hits, n - hits) ~ x"
    m = mw.glm(formula, {**data, "hits": [0, 2, 3, 5, 0]}, family="binomial")
    assert m.separation is None
    one, text = said(formula, {**data, "hits": [0, 0, 3, 5, 0]}, family="binomial")
    assert one.separation.infinite["x"] == 1 and not one.separation.complete
    assert "the share of successes = 0 in all rows with x < 2" in text
    all_of_it, _ = said(formula, {**data, "hits": [0, 0, 5, 5, 0]}, family="binomial")
    assert all_of_it.separation.complete  # the last row has no trials and says nothing


def by_brute_force(X: Array, may: Array) -> tuple[bool, list[float]]:
    """Whether there is a direction (Konis's program), and signs from the range of each coefficient."""
    moves = may != 0
    A = may[moves, None] * X[moves]
    held = {"A_eq": X[~moves], "b_eq": np.zeros(np.count_nonzero(~moves))} if (~moves).any() else {}

    def best(cost: Array) -> float:
        return -linprog(-cost, A_ub=-A, b_ub=np.zeros(len(A)), bounds=(-1, 1), **held).fun

    signs = []
    for e in np.eye(X.shape[1]):
        up, down = best(e) > 1e-7, best(-e) > 1e-7
        signs.append(math.nan if up and down else float(up) - float(down))
    return best(A.sum(axis=0)) > 1e-7, signs


def test_cones_are_those_of_the_linear_program() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for i in range(120):
        n, p = int(rng.integers(6, 40)), int(rng.integers(1, 5))
        X = rng.normal(size=(n, p)) if i % 3 else rng.integers(-2, 3, (n, p)).astype(float)
        X[:, 0] = 1.0
        if np.linalg.matrix_rank(X) < p:
            continue
        eta = X @ rng.normal(size=p) * 2 + rng.logistic(size=n) * rng.choice([0.0, 0.3, 1.0])
        may = np.where(eta > 0, 1.0, -1.0)
        if i % 4 == 0:
            may[rng.random(n) < 0.2] = 0.0
        if i % 5 == 0:
            may[may > 0] = 0.0
        if not may.any():
            continue
        there, signs = by_brute_force(X, may)
        ours = cone(X, may)
        assert (ours is not None) == there
        if ours is not None:
            assert_allclose(ours.signs, signs, equal_nan=True)
            found += 1
    assert 20 < found < 110


@pytest.mark.parametrize("family", ["binomial", "poisson", "cumulative"])
def test_separation_is_never_missed(family: str) -> None:
    """What a fit says against the linear program over all its rows, whatever the estimates are."""
    rng = np.random.default_rng(7)
    seen = [0, 0]
    for _ in range(60):
        n = int(rng.integers(8, 30))
        f, x = rng.integers(0, 3, n), rng.normal(size=n)
        eta = 2.0 * x + rng.normal(size=3)[f] * 2
        y = (
            rng.poisson(0.3 * np.exp(0.5 * eta))
            if family == "poisson"
            else (eta + rng.logistic(size=n) > 0) * 1
        )
        if family == "cumulative":
            y = np.digitize(eta + rng.logistic(size=n), [-1.0, 1.5])
        if len(set(y.tolist())) < 2:
            continue
        m, _ = said("y ~ x + f", {"y": y, "x": x, "f": np.array(list("abc"))[f]}, family=family)
        X = m.model_matrix()
        if family == "cumulative":
            top, y = int(m.design.y.max()), m.design.y.astype(int)
            cuts = np.vstack([np.eye(top), np.zeros((1, top))])
            rows = [(np.append(cuts[k], -each), 1.0) for each, k in zip(X, y, strict=True) if k < top]
            rows += [(np.append(cuts[k - 1], -each), -1.0) for each, k in zip(X, y, strict=True) if k > 0]
            A, may = np.array([row for row, _ in rows]), np.array([way for _, way in rows])
        elif family == "poisson":
            A, may = X, np.where(y == 0, -1.0, 0.0)
        else:
            A, may = X, np.where(y == 1, 1.0, -1.0)
        there = bool(by_brute_force(A, may)[0]) if may.any() else False
        assert (m.separation is not None) == there
        seen[there] += 1
    assert min(seen) > 3


# --- B12, B15 -------------------------------------------------------------------------------------------


def test_groups_that_are_all_alike_are_named() -> None:
    y = np.repeat([0, 1, 0, 1, 0, 1, 1, 0], 6)
    data = {"y": y, "g": np.repeat([*"abcdefgh"], 6), "x": np.tile([0.0, 1, 2, 3, 4, 5], 8)}
    m, text = said("y ~ x + (1 | g)", data, family="binomial")
    assert m.varcorr()["g"].sd[0] > 10
    assert "MW-W16" in text and "8 of 8 levels" in text and "'g'" in text
    calm, _ = said("y ~ x + (1 | g)", data, family="binomial", prior=mw.Prior(sd=2.0))
    assert calm.varcorr()["g"].sd[0] < 10 and "MW-W16" not in [each.code for each in calm.notes]


@pytest.mark.parametrize("random", ["", " + (1 | g)"])
@pytest.mark.parametrize(
    ("family", "value"),
    [
        ("binomial", 0),
        ("binomial", 1),
        ("betabinomial", 0),
        ("poisson", 0),
        ("nbinom1", 0),
        ("nbinom2", 0),
        ("truncated_poisson", 1),
        ("gamma", 2.5),
        ("inverse_gaussian", 2.5),
        ("beta", 0.5),
        ("tweedie", 0),
        ("t", 3.0),
        ("gaussian", 3.0),
    ],
)
def test_a_constant_response_leaves_nothing_to_estimate(family: str, value: float, random: str) -> None:
    text = refused("MW-D11", f"y ~ x{random}", {**HALVES, "y": np.full(20, value)}, family=family)
    assert "the response 'y' is constant; nothing to estimate" in text


@pytest.mark.parametrize(("family", "value"), [("poisson", 3), ("nbinom2", 3), ("truncated_poisson", 2)])
def test_constant_counts_that_are_not_zero_are_fitted(family: str, value: float) -> None:
    m = mw.glm("y ~ x", {**HALVES, "y": np.full(20, value)}, family=family)
    assert_allclose(m.fitted(), value, rtol=1e-3)
    assert m.certificate().passed


def test_trials_of_zero_do_not_hide_that_the_others_are_constant() -> None:
    refused("MW-D11", "cbind(h, n) ~ x", {"h": [3, 4, 0], "n": [0, 0, 0], "x": [1, 2, 3]}, family="binomial")


# --- B36 to B38: quadrature -----------------------------------------------------------------------------


def test_likelihoods_of_all_numbers_of_nodes_compare() -> None:
    """True values of -2 log-likelihood: 184.0526 (Laplace) and 183.9667 (many nodes)."""
    cbpp = pl.read_csv(DATA / "cbpp.csv").with_columns(pl.col("period").cast(pl.String))
    found = {
        k: mw.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, nagq=k)
        for k in (1, 9, 25)
    }
    assert_allclose(-2 * found[1].loglik, 184.0526, atol=5e-5)
    assert_allclose(-2 * found[25].loglik, 183.9667, atol=5e-5)
    assert_allclose(found[9].aic, found[25].aic, atol=1e-3)
    assert abs(found[1].aic - found[9].aic) < 0.1


def test_negative_binomial_with_quadrature_is_right() -> None:
    """The values of hard-cases: size 7.4036, standard deviation 0.46554."""
    epil = pl.read_csv(DATA / "epil.csv")
    m = mw.glmer("y ~ lbase * trt + lage + V4 + (1 | subject)", epil, family="nbinom2", nagq=9)
    assert_allclose(m.dispersion["size"], 7.4036, atol=2e-3)
    assert_allclose(m.varcorr()["subject"].sd[0], 0.46554, atol=2e-4)
    assert m.certificate().passed


def test_toenail_says_that_laplace_is_not_accurate() -> None:
    toenail = pl.read_csv(DATA / "toenail.csv")
    m = mw.glmer("outcome ~ treatment * time + (1 | patient)", toenail, nagq="auto")
    assert m.nagq > 1 and m.certificate().passed
    assert any(each.code == "MW-W14" and "not accurate" in each.text for each in m.notes)
    exact = mw.glmer("outcome ~ treatment * time + (1 | patient)", toenail, nagq=50)
    assert_allclose(exact.varcorr()["patient"].sd[0], 4.00659, atol=1e-3)
    laplace = mw.glmer("outcome ~ treatment * time + (1 | patient)", toenail)
    assert_allclose(laplace.varcorr()["patient"].sd[0], 4.571, atol=2e-3)


# --- B39 to B42: responses, links, offsets --------------------------------------------------------------


def test_counts_must_be_whole() -> None:
    text = refused("MW-D28", "y ~ x + (1 | g)", {**HALVES, "y": [1.0, 2.5, *[3.0] * 18]}, family="poisson")
    assert "a whole number" in text and "row 1" in text


@pytest.mark.parametrize("family", ["binomial", "betabinomial"])
def test_shares_without_numbers_of_trials_ask_for_them(family: str) -> None:
    data = {**HALVES, "y": np.linspace(0, 1, 20)}
    text = refused("MW-D31", "y ~ x + (1 | g)", data, family=family)
    assert "weights=" in text and "row 1" in text
    with_trials = mw.glmer("y ~ x + (1 | g)", data, family=family, weights=np.full(20, 19))
    counted = {**data, "hits": np.arange(20), "n": np.full(20, 19)}
    assert_allclose(
        with_trials.loglik, mw.glmer("cbind(hits, n - hits) ~ x + (1 | g)", counted, family=family).loglik
    )
    assert mw.glm("y ~ x", data, family="quasibinomial").certificate().passed


@pytest.mark.parametrize(
    ("family", "link"),
    [("gaussian", "log"), ("binomial", "log"), ("binomial", "identity"), ("poisson", "identity")],
)
def test_links_that_do_not_reach_everywhere_find_a_start(family: str, link: str) -> None:
    """Where the best means are at the edge of the family, that is said."""
    rng = np.random.default_rng(5)
    fits = 0
    for i in range(24):
        n = int(rng.integers(20, 60))
        x, g = rng.normal(size=n) * rng.choice([0.1, 1, 10]), np.arange(n) % 5
        mu = 0.5 / (1 + np.exp(-0.5 * x))
        draws = {"binomial": rng.random(n) < mu, "gaussian": mu + 0.3 * rng.normal(size=n)}
        data = {"y": draws.get(family, rng.poisson(5 * mu)) * 1.0, "x": x, "g": g}
        try:
            m, text = said("y ~ x" + (" + (1 | g)" if i % 2 else ""), data, family=family, link=link)
        except mw.MixwellError as refusal:
            assert refusal.code == "MW-A89" and family != "gaussian"
            continue
        fits += 1
        assert math.isfinite(m.loglik) and np.isfinite(m.fixef.values).all()
        assert m.certificate().passed or "MW-C01" in text or "MW-W13" in text
    assert fits >= (24 if family == "gaussian" else 12)


def test_a_logarithm_of_zero_in_an_offset_names_the_row() -> None:
    data = {"y": [1, 2, 3, 4, 2, 1], "x": [0, 1, 2, 3, 4, 5], "n": [10, 20, 0, 30, 5, 5], "g": [*"aabbcc"]}
    text = refused("MW-D08", "y ~ x + offset(log(n)) + (1 | g)", data, family="poisson")
    assert "log(n)" in text and "row 2" in text and "n = 0" in text
    offset = np.log(np.array([10.0, 20, 1, 30, 5, 5]))
    offset[2] = -np.inf
    assert "row 2" in refused("MW-D08", "y ~ x + (1 | g)", data, family="poisson", offset=offset)


# --- B51 ------------------------------------------------------------------------------------------------


def test_a_gaussian_glmer_is_lmer_by_maximum_likelihood() -> None:
    sleep = mw.data.load("sleepstudy", "dict")
    one = mw.glmer("Reaction ~ Days + (Days | Subject)", sleep, family="gaussian")
    two = mw.lmer("Reaction ~ Days + (Days | Subject)", sleep, method="ML")
    assert_allclose(one.loglik, two.loglik, rtol=1e-9)
    assert_allclose(one.fixef.values, two.fixef.values, rtol=1e-5)
    assert_allclose(one.varcorr()["Subject"].sd, two.varcorr()["Subject"].sd, rtol=1e-4)
    assert_allclose(one.dispersion["sigma"], two.sigma, rtol=1e-5)


def test_gaussian_models_of_pairs_or_levels_are_refused() -> None:
    data = {**HALVES, "n": np.full(20, 3), "f": np.repeat([*"ab"], 10)}
    for fit in (mw.fit, mw.glmer):
        with pytest.raises(mw.MixwellError, match=r"MW-D30[\s\S]*binomial"):
            fit("cbind(y, n) ~ x + (1 | g)", data, family="gaussian")
        with pytest.raises(mw.MixwellError, match=r"MW-D09[\s\S]*'f'"):
            fit("f ~ x + (1 | g)", data, family="gaussian")


# --- small random data of all families ------------------------------------------------------------------

EVERYTHING = [
    ("binomial", "logit"),
    ("binomial", "probit"),
    ("binomial", "cloglog"),
    ("binomial", "cauchit"),
    ("betabinomial", "logit"),
    ("poisson", "log"),
    ("poisson", "sqrt"),
    ("nbinom1", "log"),
    ("nbinom2", "log"),
    ("truncated_poisson", "log"),
    ("truncated_nbinom2", "log"),
    ("gamma", "log"),
    ("inverse_gaussian", "log"),
    ("beta", "logit"),
    ("tweedie", "log"),
    ("t", "identity"),
    ("gaussian", "log"),
    ("cumulative", "logit"),
]


def small(rng: np.random.Generator, family: str) -> dict[str, Any]:
    """Few rows, few groups, few counts, now and then extreme columns."""
    n, levels = int(rng.integers(8, 61)), int(rng.integers(2, 11))
    g, f = rng.integers(0, levels, n), rng.integers(0, 3, n)
    x = rng.normal(size=n)
    eta = rng.normal(size=levels)[g] * rng.choice([0.0, 0.5, 1.0, 3.0]) + rng.normal() * x
    x *= rng.choice([1e-3, 1.0, 1.0, 50.0])
    e, p, few = np.exp(np.clip(eta, -8, 8)), 1 / (1 + np.exp(-eta)), rng.choice([0.2, 1.0, 5.0])
    trials = rng.integers(0, 12, n)
    counts = rng.poisson(few * e * (rng.gamma(1.0, 1.0, n) if "nbinom" in family else 1.0))
    hits = rng.binomial(trials, p)
    y = {
        "binomial": (rng.random(n) < p) * 1,
        "gamma": e * rng.gamma(2.0, 0.5, n) + 1e-12,
        "inverse_gaussian": rng.wald(e, 2.0),
        "beta": np.clip(rng.beta(5 * p + 0.01, 5 * (1 - p) + 0.01), 1e-9, 1 - 1e-9),
        "tweedie": rng.poisson(1, n) * rng.gamma(1.0, 1.0, n) * e,
        "t": eta + rng.standard_t(3, n),
        "gaussian": e + rng.normal(size=n),
        "cumulative": np.digitize(eta + rng.logistic(size=n), [-1.0, 1.0]),
    }.get(family, counts + 1 * family.startswith("truncated"))
    return {"y": y, "x": x, "f": np.array(list("abc"))[f], "g": g, "hits": hits, "misses": trials - hits}


def lowest(m: Any, rng: np.random.Generator) -> float:
    """Least criterion that a search with another method finds from near the optimum."""

    def criterion(psi: Array) -> tuple[float, Array]:
        try:
            f, slope = m.laplace.evaluate(np.ascontiguousarray(psi))
        except mw.MixwellError:
            f, slope = math.inf, psi
        bad = not (math.isfinite(f) and np.isfinite(slope).all())
        return (1e10, np.zeros(psi.size)) if bad else (f, slope)

    psi = np.array(m.core["psi"])
    scale = np.minimum(np.asarray(m.core["scale"]), 1.0)
    begin = psi + 0.1 * rng.normal(size=psi.size) * scale
    with np.errstate(all="ignore"):
        return float(minimize(criterion, begin, jac=True, method="L-BFGS-B", options={"maxiter": 60}).fun)


@pytest.mark.parametrize(("family", "link"), EVERYTHING)
def test_small_random_data_end_in_an_optimum_or_in_words(family: str, link: str) -> None:
    """Not in a warning of NumPy, in NaN, or in a fit that another search improves without a word."""
    rng = np.random.default_rng(sum(map(ord, family + link)))
    fits = 0
    for i in range(10):
        data = small(rng, family)
        response = (
            "cbind(hits, misses)" if family == "betabinomial" or (family == "binomial" and i % 2) else "y"
        )
        bars = ("(1 | g)", "(x || g)", "(x | g)")[i % 3]
        try:
            m, text = said(
                f"{response} ~ {('x', 'x + f', 'f', '1')[i % 4]} + {bars}", data, family=family, link=link
            )
        except mw.MixwellError:
            continue
        fits += 1
        assert math.isfinite(m.loglik) and np.isfinite(m.fixef.values).all() and m.summary()
        if not m.certificate().passed:
            assert "MW-C01" in text or "MW-W13" in text
        else:
            assert np.isfinite(m.se.values).all()
            if link != "sqrt":  # which has two signs of every mode
                assert lowest(m, rng) > m.core["criterion"] - 1e-3
    assert fits >= 5
