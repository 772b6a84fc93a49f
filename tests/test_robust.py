"""Cluster-robust covariances: clubSandwich, textbook formulas with dense matrices, invariances, coverage.

robust.json comes from reference/robust.R. Mixed models there are at an optimum with more digits than lme4's
optimiser leaves, so what differs is the last digits of theta.
"""

from __future__ import annotations

import json
import math
import pickle
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from reference.fits import fit_as

import mixwell as mw
from mixwell.errors import MixwellError, MixwellWarning
from mixwell.inference import sandwich
from mixwell.inference.robust import robust
from mixwell.inference.wald import approximation, joint, separate

Array = NDArray[np.float64]

STORED = json.loads((Path(__file__).parent / "reference" / "robust.json").read_text())
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["models"]}
KINDS = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")

DIGITS = 1e-6  # relative: covariance (to the product of standard errors), degrees of freedom, F


@cache
def fit(model_id: str) -> Any:
    """Our fit of a model of robust.json."""
    return fit_as(MODELS[model_id])


def close(ours: Any, theirs: Any, rtol: float = DIGITS) -> None:
    """Compare covariance matrices, elements relative to the standard errors."""
    theirs = np.asarray(theirs, float)
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert_allclose(ours / size, theirs / size, atol=rtol, rtol=0)


# --- clubSandwich -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_id", MODELS)
def test_clubsandwich(model_id: str, kind: str) -> None:
    stored, m = MODELS[model_id], fit(model_id)
    theirs = stored["kinds"].get(kind)
    if theirs is None:  # CR1p with too few clusters, or CR3 where a cluster alone determines something
        if kind == "CR1p":
            with pytest.raises(MixwellError, match="MW-A36"):
                m.vcov(kind, cluster=stored.get("cluster"))
        else:
            assert (kind, model_id) == ("CR3", "lm_fixed_effects")
        return
    assert len(m.fixef.names) == len(stored["names"])
    by = robust(m, kind, stored.get("cluster"))
    close(m.vcov(kind, cluster=stored.get("cluster")), theirs["vcov"])
    tests = separate(by, m.fixef.values, np.eye(len(m.kept)))
    assert_allclose(tests.df, theirs["df"], rtol=DIGITS)
    assert_allclose(tests.p_value, theirs["p_value"], rtol=1e-4, atol=1e-300)
    for rows, test in zip(stored["hypotheses"], theirs["joint"], strict=True):
        ours = joint(by, m.fixef.values, np.array(rows, float))
        if test is None:  # their Cholesky factor does not exist: more hypotheses than clusters
            assert ours.num_df > robust(m, kind, stored.get("cluster")).n_clusters - 1
            assert math.isnan(ours.p_value)
            continue
        assert ours.num_df == test["num_df"]
        if test["p_value"] is None or test["p_value"] == "NA":
            assert math.isnan(ours.p_value)
            continue
        assert_allclose(ours.den_df, test["den_df"], rtol=DIGITS)
        assert_allclose(ours.statistic, test["statistic"], rtol=1e-5)
        assert_allclose(ours.p_value, test["p_value"], rtol=1e-4, atol=1e-300)


# --- textbook -----------------------------------------------------------------------------------------------


def working_covariance(m: Any) -> Array:
    """V of all rows, relative to sigma^2, shape (n, n)."""
    n = m.nobs
    V = np.diag(np.ones(n) if m.design.weights is None else 1.0 / m.design.weights)
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        z = np.column_stack([np.ones(n) if c is None else c for c in term.columns])
        same = term.codes[:, None] == term.codes
        V += same * (z @ factor @ factor.T @ z.T)
    return np.asarray(V)


def power(matrix: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-9 * values.max()
    return np.asarray((vectors[:, keep] * values[keep] ** exponent) @ vectors[:, keep].T)


def textbook(m: Any, codes: Any, kind: str) -> tuple[Array, Array, list[Array]]:
    """V_CR without the factor of CR1, its mean under the model, and g_j with V_CR = sum (g_j y)(g_j y)'."""
    V, X = working_covariance(m), m.model_matrix()
    e = m.design.y - X @ m.fixef.values - (0.0 if m.design.offset is None else m.design.offset)
    M = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    total, mean, rows = np.zeros_like(M), np.zeros_like(M), []
    residual_maker = np.eye(m.nobs) - X @ M @ X.T @ np.linalg.inv(V)
    for code in np.unique(codes):
        j = np.flatnonzero(codes == code)
        Vj, Xj = V[np.ix_(j, j)], X[j]
        B = Vj - Xj @ M @ Xj.T
        A, D = np.eye(len(j)), np.linalg.cholesky(Vj).T
        if kind == "CR2":
            A = D.T @ power(D @ B @ D.T, -0.5) @ D
        elif kind == "CR3":  # V B^-1
            inverse = np.linalg.inv(D)
            A = D.T @ power(inverse.T @ B @ inverse, -1.0) @ inverse.T
        g = M @ Xj.T @ np.linalg.inv(Vj) @ A
        total += np.outer(g @ e[j], g @ e[j])
        mean += m.sigma**2 * g @ B @ g.T
        rows.append(g @ residual_maker[j])
    return total, mean, rows


@cache
def uneven(seed: int = 5) -> pd.DataFrame:
    """Schools of 1 to 60 pupils in classes, with weights of few values."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1, 1, 2, 3, 5, 8, 9, 14, 31, 40, 60])
    school = np.repeat(np.arange(sizes.size), sizes)
    n = school.size
    pupils = np.arange(n)
    table = pd.DataFrame(
        {
            "school": [f"s{j:02d}" for j in school],
            "class": [f"s{j:02d}-{i % 3}" for j, i in zip(school, pupils, strict=True)],
            "x": rng.normal(size=n) + 0.3 * school,
            "z": rng.normal(size=sizes.size)[school],
            "w": rng.choice([0.5, 1.0, 2.0], n),
            "v": rng.uniform(0.3, 3.0, n),
        }
    )
    table["y"] = (
        1.0 + table["x"] + rng.normal(size=sizes.size)[school] + rng.normal(size=n) * (1 + (school > 5))
    )
    return table


@cache
def uneven_fit(name: str) -> Any:
    random = {
        "lm": "",
        "intercept": "+ (1 | school)",
        "slope": "+ (x | school)",
        "nested": "+ (1 | school / class)",
    }
    structure, _, weights = name.partition(" ")
    return mw.fit(f"y ~ x + z {random[structure]}", uneven(), weights=weights or None)


MADE = [
    "lm",
    "lm w",
    "lm v",
    "intercept",
    "intercept w",
    "intercept v",
    "slope",
    "slope w",
    "nested",
    "nested v",
]


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3"])
@pytest.mark.parametrize("name", MADE)
def test_textbook(name: str, kind: str) -> None:
    m, codes = uneven_fit(name), uneven()["school"].to_numpy()
    by = robust(m, kind, "school")
    total, mean, rows = textbook(m, codes, kind)
    close(by.vcov, total, 1e-9)
    close(by.expected, mean, 1e-9)
    # Degrees of freedom from the matrix of the quadratic form, n x n, and from its cluster-wise scores.
    V = working_covariance(m)
    for c in np.vstack([np.eye(3), [1.0, -1.0, 2.0]]):
        g = np.array([c @ row for row in rows])
        P = g @ V @ g.T
        assert_allclose(by.df(c[None]), np.trace(P) ** 2 / np.sum(P**2), rtol=1e-8)


@pytest.mark.parametrize("name", MADE)
def test_cr2_is_unbiased_under_the_model(name: str) -> None:
    m = uneven_fit(name)
    close(robust(m, "CR2", "school").expected, m.vcov(), 1e-9)


@pytest.mark.parametrize("name", ["intercept w", "slope", "lm"])
def test_joint_degrees_of_freedom_from_the_definition(name: str) -> None:
    """Total variance of the elements of a standardised Wishart matrix (Tipton and Pustejovsky 2015)."""
    m, codes = uneven_fit(name), uneven()["school"].to_numpy()
    V, (_, mean, rows) = working_covariance(m), textbook(m, codes, "CR2")
    C = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    omega = power(C @ mean @ C.T / m.sigma**2, -0.5)
    g = np.array([omega @ C @ row for row in rows])  # (J, q, n)
    P = np.einsum("jsn,nm,ktm->stjk", g, V, g)
    total = sum(np.sum(P[s, t] * P[t, s]) + np.sum(P[s, s] * P[t, t]) for s in range(2) for t in range(2))
    nu = 2 * 3 / total
    ours = joint(robust(m, "CR2", "school"), m.fixef.values, C)
    assert_allclose(ours.den_df, nu - 1, rtol=1e-8)
    difference = C @ m.fixef.values
    Q = difference @ np.linalg.solve(C @ m.vcov("CR2", cluster="school") @ C.T, difference)
    assert_allclose(ours.statistic, (nu - 1) / nu * Q / 2, rtol=1e-8)


def test_one_row_of_a_joint_test_is_the_t_test() -> None:
    m = uneven_fit("slope w")
    by = robust(m, "CR2")
    t = separate(by, m.fixef.values, np.eye(3))
    for i, row in enumerate(np.eye(3)):
        f = joint(by, m.fixef.values, np.stack([row, 2 * row]))  # dependent hypotheses count once
        assert f.num_df == 1
        assert_allclose([f.statistic, f.den_df, f.p_value], [t.statistic[i] ** 2, t.df[i], t.p_value[i]])


@pytest.mark.parametrize("weights", [None, "v"])
def test_rows_as_clusters_are_the_hc_estimators(weights: str | None) -> None:
    data = uneven()
    m = mw.lm("y ~ x + z", data, weights=weights)
    w = np.ones(m.nobs) if weights is None else data["v"].to_numpy()
    X, n, p = m.model_matrix() * np.sqrt(w)[:, None], m.nobs, 3
    e = np.sqrt(w) * m.resid()
    bread = np.linalg.inv(X.T @ X)
    h = np.einsum("ip,pq,iq->i", X, bread, X)

    def hc(scale: Any) -> Array:
        return np.asarray(bread @ (X.T * (e**2 * scale)) @ X @ bread)

    rows = np.arange(n)
    expected = {"CR0": hc(1.0), "CR1S": hc(n / (n - p)), "CR1p": hc(n / (n - p)), "CR1": hc(n / (n - 1))}
    expected |= {"CR2": hc(1 / (1 - h)), "CR3": hc(1 / (1 - h) ** 2)}
    for kind, theirs in expected.items():
        close(m.vcov(kind, cluster=rows), theirs, 1e-11)


def test_two_samples_are_welch() -> None:
    """Rows as clusters, two groups: CR2 and its degrees of freedom are those of Welch's t test."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 9), rng.normal(1, 4, 14)
    m = mw.lm("y ~ g", {"y": np.append(a, b), "g": ["a"] * 9 + ["b"] * 14})
    va, vb = a.var(ddof=1) / 9, b.var(ddof=1) / 14
    assert_allclose(m.vcov("CR2", cluster=range(23))[1, 1], va + vb)
    # Bell-McCaffrey takes the working model's equal variances for Welch's estimated ones.
    v1, v2 = 1 / 9, 1 / 14
    df = (v1 + v2) ** 2 / (v1**2 / 8 + v2**2 / 13)
    assert_allclose(robust(m, "CR2", np.arange(23)).df(np.eye(2)[1:]), df)


# --- what must not matter -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lm v", "slope w", "nested"])
@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3"])
def test_order_of_rows_and_labels_of_clusters(name: str, kind: str) -> None:
    m, data = uneven_fit(name), uneven()
    weights = name.partition(" ")[2]
    order = np.random.default_rng(1).permutation(len(data))
    shuffled = data.iloc[order].reset_index(drop=True)
    again = mw.fit(m.formula, shuffled, weights=weights or None)
    rename = {label: -i * 7 for i, label in enumerate(np.unique(data["school"]))}
    by, other = robust(m, kind, "school"), robust(again, kind, shuffled["school"].map(rename))
    close(other.vcov, by.vcov, 1e-6)
    assert_allclose(other.df(np.eye(3)), by.df(np.eye(3)), rtol=1e-6)


@pytest.mark.parametrize("name", ["lm", "lm w", "intercept w", "slope", "nested", "nested w"])
def test_shrinking_long_clusters_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = uneven_fit(name)
    monkeypatch.setattr(sandwich, "_LONG", 3)
    short = robust(m, "CR2", uneven()["school"])
    monkeypatch.setattr(sandwich, "_LONG", 10**9)
    long = robust(m, "CR2", uneven()["school"])
    close(short.vcov, long.vcov, 1e-10)
    assert_allclose(short.df(np.eye(3)), long.df(np.eye(3)), rtol=1e-9)
    monkeypatch.setattr(sandwich, "_BLOCK", 1)  # cluster by cluster
    close(robust(m, "CR2", uneven()["school"]).vcov, long.vcov, 1e-12)


def test_units_of_response_columns_and_weights() -> None:
    m, data = uneven_fit("slope w"), uneven().copy()
    data["y"], data["x"], data["w"] = 1e3 * data["y"], 1e6 + 1e-2 * data["x"], 8 * data["w"]
    other = mw.lmer("y ~ x + z + (x | school)", data, weights="w")
    for kind in ("CR0", "CR2", "CR3"):
        one, two = robust(m, kind), robust(other, kind)
        assert_allclose(two.vcov[1:, 1:] / np.outer([1e5, 1e3], [1e5, 1e3]), one.vcov[1:, 1:], rtol=1e-5)
        assert_allclose(two.df(np.eye(3))[1:], one.df(np.eye(3))[1:], rtol=1e-5)


def test_clusters_by_name_by_array_and_by_default_are_the_same() -> None:
    data = uneven()
    m = uneven_fit("nested")
    default = m.vcov("CR2")
    school = data["school"]
    for cluster in ("school", school, list(school), school.to_numpy(), school.astype("category")):
        assert_allclose(m.vcov("CR2", cluster=cluster), default, rtol=1e-12)
    assert robust(m, "CR2") is robust(m, "CR2")
    assert robust(m, "CR2").cluster == "school"


def test_missing_rows() -> None:
    data = uneven().copy()
    data.loc[[3, 50], "y"] = np.nan
    data.loc[3, "school"] = None
    with pytest.warns(MixwellWarning, match="MW-W01"):
        m = mw.lm("y ~ x + z", data)
    used = data.drop(index=[3, 50])
    expected = mw.lm("y ~ x + z", used).vcov("CR2", cluster="school")
    for cluster in ("school", data["school"], used["school"].to_numpy()):  # all rows, or the rows used
        assert_allclose(m.vcov("CR2", cluster=cluster), expected, rtol=1e-9)


def test_a_variance_of_zero_is_no_random_effect() -> None:
    data = mw.data.load("dyestuff2", "dict")
    m, plain = mw.lmer("Yield ~ 1 + (1 | Batch)", data), mw.lm("Yield ~ 1", data)
    for kind in KINDS:
        assert_allclose(m.vcov(kind), plain.vcov(kind, cluster="Batch"), rtol=1e-9)
        one, two = robust(m, kind), robust(plain, kind, "Batch")
        assert_allclose(one.df(np.eye(1)), two.df(np.eye(1)), rtol=1e-9)


def test_dropped_columns() -> None:
    data = uneven().assign(copy=lambda table: 2 * table["x"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixwellWarning)
        m = mw.lmer("y ~ x + copy + z + (1 | school)", data)
    close(m.vcov("CR2"), uneven_fit("intercept").vcov("CR2"), 1e-7)


def test_no_fixed_effects() -> None:
    m = mw.lmer("y ~ 0 + (1 | school)", uneven())
    assert m.vcov("CR2").shape == (0, 0)


def test_pickled() -> None:
    m = uneven_fit("slope")
    again = pickle.loads(pickle.dumps(m))
    assert_allclose(again.vcov("CR2"), m.vcov("CR2"), rtol=1e-12)


def test_the_covariance_of_the_model_is_the_default() -> None:
    m = uneven_fit("slope")
    assert m.vcov() is m.vcov("model")
    assert_allclose(np.sqrt(np.diag(m.vcov())), m.se.values)


def test_everything_that_tests_coefficients_takes_it() -> None:
    m = fit("orthodont")
    by = robust(m, "CR2")
    expected = separate(by, m.fixef.values, np.eye(4))
    low, high = expected.interval()
    limits = m.confint("fixed", method="satterthwaite", vcov="CR2")
    assert_allclose(limits["lower"], low)
    assert_allclose(limits["upper"], high)
    rows = np.eye(4)[[1, 3]]
    tested = m.test(rows, vcov="CR2", joint=True)
    assert_allclose(tested.table()["p_value"], expected.p_value[[1, 3]])
    assert_allclose(tested.joint.p_value, joint(by, m.fixef.values, rows).p_value)
    assert "CR2" in repr(m.anova(vcov="CR2"))


# --- clusters that determine coefficients alone -------------------------------------------------------------


def with_dummy() -> pd.DataFrame:
    return uneven().assign(large=lambda table: (table["school"] == "s10").astype(float))


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3"])
@pytest.mark.parametrize("random", ["", " + (1 | school)"])
def test_a_direction_that_one_cluster_determines(random: str, kind: str) -> None:
    """The inverse of I - H_jj does not exist; what its pseudo-inverse leaves out is zero anyway."""
    data = with_dummy()
    m = mw.fit("y ~ x + large" + random, data)
    by = robust(m, kind, "school")
    total, mean, rows = textbook(m, data["school"].to_numpy(), kind)
    close(by.vcov, total, 1e-8)
    close(by.expected, mean, 1e-8)
    V = working_covariance(m)
    for c in np.eye(3):
        g = np.array([c @ row for row in rows])
        P = g @ V @ g.T
        assert_allclose(by.df(c[None]), np.trace(P) ** 2 / np.sum(P**2), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[4:])
def test_a_coefficient_that_one_cluster_determines(kind: str) -> None:
    """Its robust variance is zero: say so, and test nothing with it."""
    data = with_dummy()
    m = mw.lm("y ~ 0 + school", data)
    everything = np.eye(len(m.kept))
    with pytest.warns(MixwellWarning, match="MW-W15"):
        by = robust(m, kind, "school")
    assert_allclose(by.vcov, 0.0, atol=1e-18)
    assert (by.df(everything) == 0).all()
    tests = separate(by, m.fixef.values, everything)
    assert np.isnan([tests.p_value, *tests.interval()]).all()
    assert math.isnan(joint(by, m.fixef.values, everything).p_value)


def test_fixed_effects_of_clusters_leave_the_within_estimator() -> None:
    """Dummies of clusters: CR0 of the other coefficients is that of the data centred within clusters."""
    data = uneven()
    m = mw.lm("y ~ x + school", data)
    centred = data[["y", "x"]] - data.groupby("school")[["y", "x"]].transform("mean")
    x, e = centred["x"].to_numpy(), m.resid()
    scores = np.bincount(pd.factorize(data["school"])[0], x * e)
    assert_allclose(m.vcov("CR0", cluster="school")[1, 1], np.sum(scores**2) / np.sum(x**2) ** 2)


# --- refusals -----------------------------------------------------------------------------------------------


def test_refusals() -> None:
    data = uneven()
    plain, mixed = uneven_fit("lm"), uneven_fit("nested")
    crossed = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
    cases: list[tuple[str, Any, str, Any]] = [
        ("MW-A33", plain, "CR2", None),
        ("MW-A37", plain, "CR2", "schol"),
        ("MW-A34", plain, "CR2", data["school"][:10]),
        ("MW-A34", plain, "CR2", 3),
        ("MW-A34", plain, "CR2", {"school": 1}),
        ("MW-A34", plain, "CR2", np.zeros((len(data), 2))),
        ("MW-A34", plain, "CR2", np.ones(len(data))),
        ("MW-A34", plain, "CR2", data["school"].where(data["school"] != "s05")),
        ("MW-A35", mixed, "CR2", "class"),
        ("MW-A35", mixed, "CR2", np.arange(len(data))),
        ("MW-A35", crossed, "CR2", None),
        ("MW-A35", crossed, "CR2", "plate"),
        ("MW-A36", plain, "CR1p", data["school"] > "s05"),
        ("MW-A02", plain, "HC3", "school"),
        ("MW-A31", mixed, "model", "school"),
    ]
    for code, m, kind, cluster in cases:
        with pytest.raises(MixwellError) as refusal:
            m.vcov(kind, cluster=cluster)
        assert refusal.value.code == code, (code, str(refusal.value))
    with pytest.raises(MixwellError, match="Did you mean 'school'"):
        plain.vcov("CR2", cluster="schol")
    with pytest.raises(MixwellError, match="MW-A01"):
        plain.vcov("CR2", clusters="school")


def test_too_few_clusters_for_a_joint_test() -> None:
    data = uneven()
    m = mw.lm("y ~ x + z + w", data)
    few = data["school"].map(lambda label: int(label[1:]) % 3)
    test = joint(robust(m, "CR2", few), m.fixef.values, np.eye(4))
    assert test.num_df == 4
    assert math.isnan(test.p_value)


# --- does it do what it is for ------------------------------------------------------------------------------


SAMPLES = 1200  # Monte-Carlo standard error of a coverage of 0.95: 0.0063


@cache
def coverage(*, right: bool) -> dict[str, float]:
    """Coverage of a slope between 20 clusters; if the model is wrong the spread grows ninefold along it."""
    rng = np.random.default_rng(11)
    clusters, size = 20, 6
    z = np.linspace(-1.0, 1.0, clusters)
    g = np.repeat(np.arange(clusters), size)
    x = rng.normal(size=g.size)
    spread = np.ones(g.size) if right else (0.3 + 2.5 * np.abs(z))[g]
    first = mw.lmer("y ~ x + z + (1 | g)", {"y": rng.normal(size=g.size), "x": x, "z": z[g], "g": g})
    inside = {"CR2": 0, "model": 0, "normal CR0": 0}
    rows = np.array([[0.0, 0.0, 1.0]])
    for _ in range(SAMPLES):
        m = first.refit(spread * (rng.normal(size=clusters)[g] + rng.normal(size=g.size)))
        for name, by in (("CR2", robust(m, "CR2")), ("model", approximation(m))):
            low, high = separate(by, m.fixef.values, rows).interval()
            inside[name] += bool(low[0] <= 0 <= high[0])
        inside["normal CR0"] += bool(abs(m.fixef.values[2]) <= 1.96 * math.sqrt(m.vcov("CR0")[2, 2]))
    return {name: count / SAMPLES for name, count in inside.items()}


def test_coverage_where_the_model_is_right() -> None:
    assert abs(coverage(right=True)["CR2"] - 0.95) < 3 * 0.0063, coverage(right=True)


def test_coverage_where_the_model_is_wrong() -> None:
    """Degrees of freedom come from the model, so that the interval is near 95 % and not exactly there."""
    found = coverage(right=False)
    assert 0.92 < found["CR2"] < 0.98, found
    assert found["model"] < found["CR2"] - 0.03, found
    assert found["normal CR0"] < found["CR2"] - 0.03, found
