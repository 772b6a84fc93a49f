"""Robust covariances of generalised models: clubSandwich, sandwich, glmmTMB, brute force, coverage.

glm_robust.json comes from reference/glm_robust.R.
"""

from __future__ import annotations

import json
import math
import pickle
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import mixwell as mw
from mixwell._core import Laplace, Term
from mixwell.errors import MixwellError, MixwellWarning
from mixwell.generalized.robust import robust
from mixwell.generalized.scores import scores
from mixwell.inference.wald import joint, separate

Array = NDArray[np.float64]
HERE = Path(__file__).parent / "reference"
MODELS = {model["name"]: model for model in json.loads((HERE / "glm_robust.json").read_text())}
LINEAR = [name for name, model in MODELS.items() if model["source"] == "clubSandwich"]
OTHERS = [name for name in MODELS if name not in LINEAR]
KINDS = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")

EXACT = 1e-8  # relative to the product of standard errors, where both have the same estimates
SEARCHED = 2e-6  # where the estimates end a search, and the Hessian is one of differences


@cache
def table(name: str) -> pd.DataFrame:
    data = pd.read_csv(HERE / "data" / f"{name}.csv")
    if name == "glmm":
        data = data.assign(id=np.arange(len(data)).astype(str), doubled=2 * data["x"])
    if name == "cbpp":
        data = data.assign(period=data["period"].astype(str), herd=data["herd"].astype(str))
    return data


@cache
def fit(name: str) -> Any:
    """Our fit of a model of glm_robust.json."""
    model = MODELS[name]
    given = {key: model.get(key) for key in ("family", "link", "weights")}
    further = {"ziformula": model.get("zi_formula"), "dispformula": model.get("disp_formula")}
    door = mw.glmer if "|" in model["formula"] else mw.glm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixwellWarning)  # columns that are dropped
        return door(model["formula"], table(model["data"]), **given, **further)


def close(ours: Any, theirs: Any, rtol: float) -> None:
    """Compare covariance matrices, elements relative to the standard errors."""
    theirs = np.atleast_2d(np.asarray(theirs, float))
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert_allclose(ours / size, theirs / size, atol=rtol, rtol=0)


# --- R ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LINEAR)
def test_clubsandwich(name: str, kind: str) -> None:
    model, m = MODELS[name], fit(name)
    theirs, cluster = model["kinds"][kind], model["cluster"]
    by = robust(m, kind, cluster)
    close(m.vcov(kind, cluster=cluster), theirs["vcov"], EXACT)
    tests = separate(by, m.fixef.values, np.eye(len(m.kept)))
    assert_allclose(tests.df, theirs["df"], rtol=1e-7)
    assert_allclose(tests.p_value, theirs["p_value"], rtol=1e-5, atol=1e-300)
    for rows, test in zip(model["hypotheses"], theirs["joint"], strict=False):
        ours = joint(by, m.fixef.values, np.array(rows, float))
        assert ours.num_df == test["num_df"]
        assert_allclose(ours.den_df, test["den_df"], rtol=1e-7)
        assert_allclose([ours.statistic, ours.p_value], [test["statistic"], test["p_value"]], rtol=1e-5)


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("name", LINEAR)
def test_sandwich(name: str, kind: str) -> None:
    theirs = np.array(MODELS[name]["rows"][kind], float)
    close(fit(name).vcov(kind), theirs, EXACT)


@pytest.mark.parametrize("name", OTHERS)
def test_scores_and_hessian_of_all_parameters(name: str) -> None:
    model, m = MODELS[name], fit(name)
    close(m.vcov("CR0", cluster=model["cluster"]), model["CR0"], SEARCHED)
    close(m.vcov(), model["model"], SEARCHED)


# --- brute force --------------------------------------------------------------------------------------------

MADE = {
    "slopes": ("cbind(hits, trials - hits) ~ x + (x | g)", {"family": "binomial"}),
    "diagonal": ("count ~ x + (x || g)", {"family": "poisson"}),
    "cs": ("count ~ x + cs(x | g)", {"family": "poisson"}),
    "ar1": ("count ~ x + ar1(1 + x | g)", {"family": "poisson"}),
    "nested": ("count ~ x + offset(log(exposure)) + (1 | g / h)", {"family": "poisson"}),
    "ordinal": ("grade ~ x + f + (1 | g)", {"family": "cumulative", "weights": "w"}),
    "gaussian_log": ("amount ~ x + (1 | g)", {"family": "gaussian", "link": "log"}),
    "dispersion": ("over ~ x + (1 | g)", {"family": "nbinom2", "dispformula": "~ z"}),
    "zero": ("excess ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ z"}),
    "tweedie": ("rain ~ x + (1 | g)", {"family": "tweedie"}),
    "t": ("heavy ~ x + (1 | g)", {"family": "t"}),
    "quadrature": ("cbind(hits, trials - hits) ~ x + (x | g)", {"family": "binomial", "nagq": 9}),
}


@cache
def made(name: str) -> Any:
    formula, options = MADE[name]
    return mw.glmer(formula, table("glmm"), **options)


def codes_of(values: Any) -> tuple[NDArray[np.int64], int]:
    labels, codes = np.unique(np.asarray(values), return_inverse=True)
    return codes.astype(np.int64), len(labels)


def loglik_by_cluster(m: Any, codes: NDArray[np.int64], count: int) -> Any:
    """Log-likelihoods of clusters, each from a model of its own rows, at (theta, beta, gamma)."""
    X, t, p = m.model_matrix(), m.theta.size, len(m.fixef)
    offset = 0.0 if m.design.offset is None else m.design.offset
    z, w = np.polynomial.hermite.hermgauss(m.nagq)

    def part(values: Any, rows: Any) -> Any:
        return None if values is None else np.ascontiguousarray(values[rows])

    def loglik(psi: Array) -> Array:
        fixed, out = X @ psi[t : t + p] + offset, []
        for j in range(count):
            r = np.flatnonzero(codes == j)
            terms = []
            for term in m.design.random:
                levels, own = np.unique(term.codes[r], return_inverse=True)
                columns = tuple(part(column, r) for column in term.columns)
                own = own.astype(term.codes.dtype)
                terms.append(Term(own, len(levels), columns, term.structure, term.homogeneous))
            aux = [
                ([(i, part(column, r)) for i, column in columns], part(known, r))
                for columns, known in m.predictors.columns
            ]
            y, weights = part(m.design.y, r), part(m.design.weights, r)
            model = Laplace(m.family.core, y, [], terms, weights, part(fixed, r), aux)
            own_psi = model.standard(np.delete(psi, np.s_[t : t + p]))
            value = model.evaluate(own_psi)[0] if m.nagq == 1 else model.integrate(own_psi, z, w)
            out.append(-0.5 * value)
        return np.array(out)

    return loglik


@pytest.mark.parametrize("name", MADE)
def test_scores_are_the_gradients_of_the_clusters(name: str) -> None:
    m = made(name)
    codes, count = codes_of(table("glmm")["g"])
    found = scores(m, codes, count)
    in_beta = np.column_stack([np.bincount(codes, column * found.eta) for column in m.model_matrix().T])
    ours = np.hstack([found.theta, in_beta, found.gamma])
    loglik = loglik_by_cluster(m, codes, count)
    psi = np.concatenate([m.theta, m.fixef.values, m.gamma])
    assert_allclose(loglik(psi).sum(), m.loglik, rtol=1e-7)
    t, se = m.theta.size, np.sqrt(np.diag(m._covariance))
    theirs = np.empty_like(ours)
    for i in range(psi.size):
        step = np.zeros(psi.size)
        step[i] = 2e-3 * (se[i] if i >= t else 1.0)
        near, far = loglik(psi + step) - loglik(psi - step), loglik(psi + 2 * step) - loglik(psi - 2 * step)
        theirs[:, i] = (8.0 * near - far) / (12.0 * step[i])
    # Ours are in theta of standardised columns.
    inner, turn = np.array(m.core["psi"]), np.empty((t, t))
    for i in range(t):
        moved = np.tile(inner, (2, 1))
        moved[:, i] += [1e-4, -1e-4]
        up, down = np.asarray(m.laplace.natural(moved))[:, :t]
        turn[:, i] = (up - down) / 2e-4
    theirs[:, :t] = theirs[:, :t] @ turn
    # Nodes of quadrature move with the parameters, which Fisher's identity leaves out.
    tolerance = 1e-5 if m.nagq == 1 else 1e-3
    assert_allclose(ours * se, theirs * se, atol=tolerance)
    assert_allclose((ours * se).sum(axis=0), 0.0, atol=1e-5 if m.nagq == 1 else 1e-3)


def test_more_nodes_of_quadrature_have_the_same_scores_as_laplace_where_it_is_accurate() -> None:
    data = table("glmm")
    one = mw.glmer("amount ~ x + (1 | g)", data, family="gamma", link="log")
    many = mw.glmer("amount ~ x + (1 | g)", data, family="gamma", link="log", nagq=15)
    for kind in KINDS:
        close(many.vcov(kind), one.vcov(kind), 2e-3)


def test_cr3_is_close_to_the_jackknife() -> None:
    m, data = fit("cbpp_mixed"), table("cbpp")
    deleted = np.array(
        [
            mw.glmer(m.formula, data[data["herd"] != herd], family="binomial").fixef.values
            for herd in data["herd"].unique()
        ]
    )
    change = deleted - m.fixef.values
    jackknife = change.T @ change
    ratio = np.diag(m.vcov("CR3")) / np.diag(jackknife)
    assert np.all((ratio > 0.85) & (ratio < 1.15)), ratio
    assert np.all(np.diag(m.vcov("CR0")) < 0.92 * np.diag(jackknife))


# --- linear models ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula", ["real ~ x + f + (1 | g)", "real ~ x + (x | g)", "real ~ x + (1 | g / h)"]
)
def test_gaussian_models_with_the_identity_link_are_linear(formula: str) -> None:
    data = table("glmm")
    ours, linear = mw.glmer(formula, data, family="gaussian"), mw.lmer(formula, data, method="ML")
    for kind in KINDS:
        close(ours.vcov(kind), linear.vcov(kind), 2e-5)
        one, two = ours._robust(kind), linear._robust(kind)
        assert_allclose(one.df(np.eye(len(ours.fixef))), two.df(np.eye(len(ours.fixef))), rtol=1e-4)
        close(one.expected, two.expected, 1e-4)


def test_gaussian_models_at_the_same_covariances_are_equal() -> None:
    """With the working model of the linear fit given, not one digit differs."""
    data = table("glmm")
    ours, linear = (
        mw.glm("real ~ x + f", data, family="gaussian"),
        mw.lm("real ~ x + f", data),
    )
    for kind in KINDS:
        close(ours.vcov(kind, cluster="g"), linear.vcov(kind, cluster="g"), 1e-11)
        one, two = ours._robust(kind, "g"), linear._robust(kind, "g")
        assert_allclose(one.df(np.eye(4)), two.df(np.eye(4)), rtol=1e-10)
        close(one.expected, two.expected, 1e-11)


def test_long_clusters_without_their_matrices() -> None:
    """Integrals in place of square roots of matrices, also where variances differ by orders of magnitude."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(5), [30, 80, 120, 26, 4])
    x = rng.normal(size=g.size)
    data = {"y": rng.poisson(np.exp(1.0 + 1.5 * x)), "x": x, "z": rng.normal(size=5)[g], "g": g}
    m = mw.glm("y ~ x + z", data, family="poisson")
    mu = m.fitted()
    X, e = m.model_matrix() * mu[:, None], data["y"] - mu
    M = np.linalg.inv(X.T @ (X / mu[:, None]))
    total = np.zeros((3, 3))
    for j in range(5):
        r = np.flatnonzero(g == j)
        V = np.diag(mu[r])
        B = V - X[r] @ M @ X[r].T
        D = np.sqrt(V)
        values, vectors = np.linalg.eigh(D @ B @ D)
        A = D @ (vectors / np.sqrt(values)) @ vectors.T @ D
        score = M @ X[r].T @ np.linalg.solve(V, A @ e[r])
        total += np.outer(score, score)
    close(m.vcov("CR2", cluster="g"), total, 1e-8)


# --- what must not matter -----------------------------------------------------------------------------------

VARIED = ["slopes", "nested", "ordinal", "zero", "quadrature"]


@pytest.mark.parametrize("name", VARIED)
def test_order_of_rows_and_units_of_columns(name: str) -> None:
    formula, options = MADE[name]
    m, data = made(name), table("glmm")
    order = np.random.default_rng(2).permutation(len(data))
    changed = data.iloc[order].reset_index(drop=True)
    changed = changed.assign(x=50.0 + 4.0 * changed["x"])
    if name in ("slopes", "quadrature"):  # a random slope has another meaning with another zero
        changed["x"] -= 50.0
    again = mw.glmer(formula, changed, **options)
    at = m.fixef.names.index("x")
    for kind in ("CR0", "CR2", "CR3"):
        one, two = m.vcov(kind, cluster="g")[at, at], again.vcov(kind, cluster="g")[at, at]
        assert_allclose(16.0 * two, one, rtol=2e-4)
    row = np.eye(len(m.fixef))[[at]]
    assert_allclose(robust(again, "CR2", "g").df(row), robust(m, "CR2", "g").df(row), rtol=1e-3)


def test_weights_are_copies_of_rows() -> None:
    data = table("glmm").assign(w=1 + np.arange(240) % 3)
    copied = data.loc[data.index.repeat(data["w"])].reset_index(drop=True)
    for formula, family in (("count ~ x + (1 | g)", "poisson"), ("over ~ x", "nbinom2")):
        one = mw.fit(formula, data, family=family, weights="w")
        two = mw.fit(formula, copied, family=family)
        for kind in ("CR0", "CR2", "CR3"):
            close(one.vcov(kind, cluster="g"), two.vcov(kind, cluster="g"), 1e-5)


@pytest.mark.parametrize("family", ["poisson", "nbinom2"])
def test_rows_without_weight_do_not_count(family: str) -> None:
    data = table("glmm").assign(on=1.0)
    data.loc[data["g"].isin(["g1", "g2"]) | (data.index % 7 == 0), "on"] = 0.0
    one = mw.glm("over ~ x", data, family=family, weights="on")
    two = mw.glm("over ~ x", data[data["on"] > 0], family=family)
    for kind in KINDS:
        close(one.vcov(kind, cluster="g"), two.vcov(kind, cluster="g"), 1e-5)
    assert robust(one, "CR2", "g").n_clusters == robust(two, "CR2", "g").n_clusters
    close(one.vcov("HC1"), two.vcov("HC1"), 1e-5)


def test_cbind_is_rows_of_zeros_and_ones() -> None:
    data = table("glmm")
    long = data.loc[data.index.repeat(data["trials"])].reset_index(drop=True)
    within = np.concatenate([np.arange(n) for n in data["trials"]])
    long = long.assign(yes=(within < long["hits"]).astype(int))
    one, two = made("slopes"), mw.glmer("yes ~ x + (x | g)", long, family="binomial")
    for kind in ("CR0", "CR2", "CR3"):
        close(two.vcov(kind), one.vcov(kind), 1e-4)


@pytest.mark.parametrize("kind", ["CR0", "CR2"])
def test_clusters_by_name_by_array_and_by_default_are_the_same(kind: str) -> None:
    m, g = made("nested"), table("glmm")["g"]
    for cluster in ("g", g, list(g), g.to_numpy()):
        assert_allclose(m.vcov(kind, cluster=cluster), m.vcov(kind), rtol=1e-12)
    assert robust(m, kind) is robust(m, kind)
    again = pickle.loads(pickle.dumps(m))
    assert_allclose(again.vcov(kind), m.vcov(kind), rtol=1e-12)


@pytest.mark.parametrize("name", [*MADE, "student_glm", "zip_glm", "beta_glm", "clm"])
def test_kinds_in_order_and_factors_of_cr1(name: str) -> None:
    m = made(name) if name in MADE else fit(name)
    cluster = "judge" if name == "clm" else "g"
    sizes = [np.diag(m.vcov(kind, cluster=cluster)) for kind in ("CR0", "CR2", "CR3")]
    assert np.all(sizes[0] < sizes[1]), name
    assert np.all(sizes[1] < sizes[2]), name
    by = robust(m, "CR2", cluster)
    j, n, p = by.n_clusters, m.nobs, len(m.fixef)
    for kind, factor in (
        ("CR1", j / (j - 1)),
        ("CR1p", j / (j - p)),
        ("CR1S", j * (n - 1) / (j - 1) / (n - p)),
    ):
        assert_allclose(m.vcov(kind, cluster=cluster), factor * m.vcov("CR0", cluster=cluster), rtol=1e-10)
    df = by.df(np.eye(p))
    assert np.all((df > 1) & (df < j))


def test_the_information_of_the_linearised_model_is_about_that_of_the_likelihood() -> None:
    """CR2 is unbiased under the linearised model: its mean there is near the covariance of the model."""
    for name in MADE:
        by, m = robust(made(name), "CR2", "g"), made(name)
        ratio = np.diag(by.expected) / np.diag(m.vcov())
        assert np.all((ratio > 0.6) & (ratio < 1.4)), (name, ratio)


def test_a_prior_is_no_datum() -> None:
    data = table("glmm")
    m = mw.glmer("binary ~ x + (1 | g)", data, family="binomial", prior=mw.Prior(fixef=0.05))
    weak = mw.glmer("binary ~ x + (1 | g)", data, family="binomial", prior=mw.Prior(fixef=1e4))
    plain = mw.glmer("binary ~ x + (1 | g)", data, family="binomial")
    close(weak.vcov("CR2"), plain.vcov("CR2"), 1e-4)
    assert m.vcov("CR2")[1, 1] < 0.1 * plain.vcov("CR2")[1, 1]


def test_dropped_columns_and_no_columns() -> None:
    data = table("glmm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixwellWarning)
        m = mw.glmer("count ~ x + doubled + (1 | g)", data, family="poisson")
    close(m.vcov("CR2"), mw.glmer("count ~ x + (1 | g)", data, family="poisson").vcov("CR2"), 1e-5)
    nothing = mw.glmer("count ~ 0 + (1 | g)", data, family="poisson")
    assert nothing.vcov("CR2").shape == (0, 0)
    only_thresholds = mw.glmer("grade ~ 1 + (1 | g)", data, family="cumulative")
    assert only_thresholds.vcov("CR2").shape == (0, 0)


def test_a_variance_of_zero_is_no_random_effect() -> None:
    rng = np.random.default_rng(8)
    data = {"y": rng.binomial(6, 0.4, 120) / 6, "n": np.full(120, 6.0), "x": np.tile([0.0, 1, 2, 3], 30)}
    data["g"] = np.repeat(np.arange(12), 10)
    data["y"] = np.concatenate([rng.permutation([2, 2, 2, 2, 3, 3, 3, 2, 2, 3]) for _ in range(12)]) / 6
    mixed = mw.glmer("y ~ x + (1 | g)", data, family="binomial", weights="n")
    plain = mw.glm("y ~ x", data, family="binomial", weights="n")
    assert mixed.theta[0] < 1e-3
    for kind, digits in (("CR0", 1e-6), ("CR2", 1e-3), ("CR3", 1e-6)):  # another square root in CR2
        close(mixed.vcov(kind), plain.vcov(kind, cluster="g"), digits)


# --- through the door ---------------------------------------------------------------------------------------


def test_everything_that_tests_coefficients_takes_it() -> None:
    m = fit("cbpp_mixed")
    by = robust(m, "CR2")
    p = len(m.fixef)
    expected = separate(by, m.fixef.values, np.eye(p))
    low, high = expected.interval()
    limits = m.confint("fixed", method="satterthwaite", vcov="CR2")
    assert_allclose(limits["lower"], low)
    assert_allclose(limits["upper"], high)
    rows = np.eye(p)[[1, 3]]
    tested = m.test(rows, vcov="CR2", joint=True)
    assert_allclose(tested.table()["p_value"], expected.p_value[[1, 3]])
    assert_allclose(tested.joint.p_value, joint(by, m.fixef.values, rows).p_value)
    assert "CR2" in repr(tested)
    normal = m.test(rows, vcov="CR2", cluster="herd", ddf="normal").table()
    assert np.isinf(normal["df"]).all()
    assert_allclose(normal["std_error"], expected.se[[1, 3]])
    wald = m.confint("fixed", method="wald", vcov="CR0")
    half = 1.959963984540054 * np.sqrt(np.diag(m.vcov("CR0")))
    assert_allclose(wald["upper"], m.fixef.values + half)
    plain = fit("poisson")
    assert_allclose(plain.test("x", vcov="HC2").table()["df"], robust(plain, "HC2").df(np.eye(4)[[1]]))


@pytest.mark.parametrize("kind", [2, 3])
def test_terms_one_by_one(kind: int) -> None:
    m = fit("cbpp_mixed")
    rows, V = np.eye(4)[1:], m.vcov("CR2")
    F = m.anova(kind, test="F", vcov="CR2")
    expected = joint(robust(m, "CR2"), m.fixef.values, rows)
    table = F.table()
    assert_allclose(table["statistic"], expected.statistic, rtol=1e-9)
    assert_allclose([table["den_df"][0], table["p_value"][0]], [expected.den_df, expected.p_value], rtol=1e-9)
    assert "CR2" in repr(F)
    wald = m.anova(kind, vcov="CR2", cluster="herd").table()
    b = m.fixef.values[1:]
    assert_allclose(wald["statistic"], b @ np.linalg.solve(V[1:, 1:], b), rtol=1e-9)
    with pytest.raises(MixwellError, match="MW-A31"):
        m.anova(test="lrt", vcov="CR2")
    with pytest.raises(MixwellError, match="MW-A31"):
        m.anova(cluster="herd")


def test_the_covariance_of_the_model_is_the_default() -> None:
    m = fit("cbpp_mixed")
    assert_allclose(m.vcov(), m.vcov("model"))
    assert_allclose(np.sqrt(np.diag(m.vcov())), m.se.values)
    changed = m.vcov()
    changed[:] = 0.0  # a copy
    assert m.vcov()[0, 0] > 0


def test_a_coefficient_that_one_cluster_determines() -> None:
    m = mw.glm("over ~ 0 + g", table("glmm"), family="nbinom2")
    with pytest.warns(MixwellWarning, match="MW-W15"):
        by = robust(m, "CR2", "g")
    tests = separate(by, m.fixef.values, np.eye(len(m.fixef)))
    assert np.isnan(tests.p_value).all()


def test_refusals() -> None:
    data = table("glmm")
    plain, mixed = fit("poisson"), made("nested")
    crossed = mw.glmer("count ~ x + (1 | g) + (1 | h)", data, family="poisson")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixwellWarning)
        fast = mw.glmer("count ~ x + (1 | g)", data, family="poisson", nagq=0)
    cases: list[tuple[str, Any, str, Any]] = [
        ("MW-A33", plain, "CR2", None),
        ("MW-A37", plain, "CR2", "gg"),
        ("MW-A34", plain, "CR2", data["g"][:10]),
        ("MW-A34", plain, "CR2", np.ones(len(data))),
        ("MW-A34", plain, "CR2", data["g"].where(data["g"] != "g3")),
        ("MW-A35", mixed, "CR2", "h"),
        ("MW-A35", mixed, "CR2", np.arange(len(data))),
        ("MW-A35", crossed, "CR2", None),
        ("MW-A36", plain, "CR1p", data["g"] > "g2"),
        ("MW-A02", plain, "HC4", None),
        ("MW-A31", mixed, "model", "g"),
        ("MW-A31", plain, "HC2", "g"),
        ("MW-A103", fast, "CR2", "g"),
        ("MW-A104", mixed, "HC2", None),
    ]
    for code, m, kind, cluster in cases:
        with pytest.raises(MixwellError) as refusal:
            m.vcov(kind, cluster=cluster)
        assert refusal.value.code == code, (code, str(refusal.value))
    with pytest.raises(MixwellError, match="MW-A01"):
        plain.vcov("CR2", clusters="g")
    for options in ({"vcov": "CR2"}, {"method": "satterthwaite"}, {"method": "wald", "cluster": "g"}):
        with pytest.raises(MixwellError, match="MW-A31"):
            mixed.confint(**options)


def test_thousands_of_clusters_take_no_time() -> None:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(3000), 8)
    x = rng.normal(size=g.size)
    y = rng.poisson(np.exp(0.3 * x + 0.6 * rng.normal(size=3000)[g]))
    m = mw.glmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g}, family="poisson")
    began = time.perf_counter()
    m.vcov("CR2")
    assert time.perf_counter() - began < 3.0  # 0.1 s on an idle machine
    assert_allclose(m.vcov("CR2"), m.vcov(), rtol=0.15)  # the model is right


# --- does it do what it is for ------------------------------------------------------------------------------

SAMPLES = 300  # Monte-Carlo standard error of a coverage of 0.95: 0.0126


@cache
def coverage(scene: str) -> dict[str, float]:
    """Coverage in 10 clusters of 8 rows of 10 trials, of the coefficient that the scene is about."""
    rng = np.random.default_rng(5)
    clusters, size = 10, 8
    g = np.repeat(np.arange(clusters), size)
    x, between = np.tile(np.linspace(-1.0, 1.0, size), clusters), np.linspace(-1.0, 1.0, clusters)
    m: Any = None
    inside = {"CR2": 0, "normal CR0": 0, "model": 0}
    at = 1 if scene == "slopes" else 2
    for _ in range(SAMPLES):
        u = rng.normal(size=clusters)
        if scene == "slopes":  # slopes that differ, and a model that has none of it
            eta = -0.5 + 0.5 * u[g] + x * rng.normal(size=clusters)[g]
        elif scene == "spread":  # clusters whose spread grows along the covariate
            eta = -0.5 + ((0.2 + 1.3 * np.abs(between)) * u)[g]
        else:
            eta = -0.5 + 0.7 * u[g]
        y = rng.binomial(10, 1.0 / (1.0 + np.exp(-eta))) / 10.0
        if m is None:
            data = {"y": y, "x": x, "z": between[g], "g": g, "n": np.full(g.size, 10.0)}
            m = mw.glmer("y ~ x + z + (1 | g)", data, family="binomial", weights="n")
        else:
            m = m.refit(y)
        low, high = separate(robust(m, "CR2"), m.fixef.values, np.eye(3)[[at]]).interval()
        inside["CR2"] += bool(low[0] <= 0.0 <= high[0])
        estimate = abs(m.fixef.values[at])
        inside["normal CR0"] += bool(estimate <= 1.96 * math.sqrt(m.vcov("CR0")[at, at]))
        inside["model"] += bool(estimate <= 1.96 * m.se.values[at])
    return {name: count / SAMPLES for name, count in inside.items()}


@pytest.mark.filterwarnings("ignore::mixwell.errors.MixwellWarning")
@pytest.mark.parametrize("scene", ["right", "spread", "slopes"])
def test_coverage_with_few_clusters(scene: str) -> None:
    found = coverage(scene)
    assert abs(found["CR2"] - 0.95) < 3 * 0.0126, found
    assert found["normal CR0"] < found["CR2"] - (0.02 if scene == "slopes" else 0.05), found
    if scene != "right":
        assert found["model"] < found["CR2"] - 0.08, found
