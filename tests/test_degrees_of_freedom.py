"""Satterthwaite and Kenward-Roger against dense textbook algebra, classical strata, and at the boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import mixwell as mw
from mixwell.inference.wald import approximation, joint, separate

Array = NDArray[np.float64]


def simulated(seed: int, n: int = 90) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    table: dict[str, Any] = {
        "x": rng.normal(2, 1, n),
        "z": rng.normal(size=n),
        "f": rng.choice(["a", "b", "c"], n),
        "g": rng.integers(0, 9, n).astype(str),
        "h": rng.integers(0, 5, n).astype(str),
        "t": rng.choice(["1", "2", "3"], n),
        "w": rng.uniform(0.5, 2.0, n),
    }
    y = table["x"] + rng.normal(size=n) / np.sqrt(table["w"])
    for factor in ("g", "h"):
        effects = rng.normal(size=(10, 3))
        level = table[factor].astype(int)
        time = table["t"].astype(int) - 1
        y = y + effects[level, 0] + 0.5 * effects[level, 1] * table["x"] + 0.7 * effects[level, time]
    return table | {"y": y}


class Dense:
    """A fitted model with n x n matrices, in covariance parameters that its caller chooses."""

    def __init__(self, m: Any) -> None:
        self.m = m
        self.X = m.model_matrix()
        weights = np.ones(m.nobs) if m.design.weights is None else m.design.weights
        self.R = np.diag(1 / weights)
        self.Z = []
        for term in m.design.random:
            columns = [np.ones(m.nobs) if c is None else c for c in term.columns]
            by_level = np.zeros((m.nobs, len(term.levels), len(columns)))
            for k, column in enumerate(columns):
                by_level[np.arange(m.nobs), term.codes, k] = column
            self.Z.append(by_level)

    def covariance_of(self, term: int, matrix: Array) -> Array:
        Z = self.Z[term]
        return np.einsum("njk,kl,mjl->nm", Z, matrix, Z)

    def at(self, matrices: list[Array], sigma2: float) -> Array:
        return sigma2 * self.R + sum(self.covariance_of(t, s) for t, s in enumerate(matrices))


def hessian_by_differences(f: Any, x: Array, step: float = 1e-3) -> Array:
    """Fourth-order central differences of central differences."""
    n = len(x)
    scale = step * np.maximum(np.abs(x), 0.1)

    def gradient(x: Array) -> Array:
        out = np.empty(n)
        for i in range(n):
            e = np.zeros(n)
            e[i] = scale[i]
            out[i] = (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * scale[i])
        return out

    out = np.empty((n, n))
    for i in range(n):
        e = np.zeros(n)
        e[i] = scale[i]
        out[i] = (8 * (gradient(x + e) - gradient(x - e)) - gradient(x + 2 * e) + gradient(x - 2 * e)) / (
            12 * scale[i]
        )
    return 0.5 * (out + out.T)


def lambda_of(theta: Array, term: Any) -> Array:
    """lambda lambda' of a term from its theta, written out once more."""
    k = len(term.names)
    structure = "diag" if k == 1 else term.structure
    if structure == "us":
        factor = np.zeros((k, k))
        factor.T[np.triu_indices(k)] = theta
        return factor @ factor.T
    sds = np.full(k, theta[0]) if term.homogeneous or k == 1 else theta[:k]
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    if structure == "diag":
        correlation = np.eye(k)
    elif structure == "cs":
        correlation = np.where(distance == 0, 1.0, theta[-1])
    else:
        correlation = theta[-1] ** distance
    return correlation * np.outer(sds, sds)


def textbook_satterthwaite(m: Any, rows: Array) -> Array:
    """2 v^2 / g'A g from numerical derivatives of dense quantities in (theta, sigma)."""
    dense = Dense(m)
    y = m.design.y
    sizes = []
    for term in m.design.random:
        k = len(term.names)
        structure = "diag" if k == 1 else term.structure
        sds = 1 if term.homogeneous or k == 1 else k
        sizes.append({"us": k * (k + 1) // 2, "diag": sds, "cs": sds + 1, "ar1": sds + 1}[structure])
    cuts = np.cumsum(sizes)[:-1]

    def V(psi: Array) -> Array:
        sigma2 = psi[-1] ** 2
        parts = np.split(psi[:-1], cuts)
        matrices = [sigma2 * lambda_of(t, term) for t, term in zip(parts, m.design.random, strict=True)]
        return dense.at(matrices, sigma2)

    def vcov(psi: Array) -> Array:
        return np.linalg.inv(dense.X.T @ np.linalg.solve(V(psi), dense.X))

    def criterion(psi: Array) -> float:
        v = V(psi)
        phi = vcov(psi)
        beta = phi @ dense.X.T @ np.linalg.solve(v, y)
        e = y - dense.X @ beta
        f = np.linalg.slogdet(v)[1] + e @ np.linalg.solve(v, e)
        return float(f - (np.linalg.slogdet(phi)[1] if m.is_reml else 0.0))

    psi = np.append(m.theta, m.sigma)
    A = 2 * np.linalg.inv(hessian_by_differences(criterion, psi))
    out = []
    for row in rows:
        slope = np.empty(len(psi))
        for i in range(len(psi)):
            e = np.zeros(len(psi))
            e[i] = 1e-4 * max(abs(psi[i]), 0.1)
            near = (row @ vcov(psi + e) @ row - row @ vcov(psi - e) @ row) / (2 * e[i])
            far = (row @ vcov(psi + 2 * e) @ row - row @ vcov(psi - 2 * e) @ row) / (4 * e[i])
            slope[i] = (4 * near - far) / 3
        out.append(2 * (row @ vcov(psi) @ row) ** 2 / (slope @ A @ slope))
    return np.array(out)


def textbook_kenward_roger(m: Any, rows: Array, information: str) -> tuple[Array, float, float, float]:
    """Adjusted covariance, and F, df and scale of a joint test, from n x n matrices; us and diag only."""
    dense = Dense(m)
    X, y = dense.X, m.design.y
    V = dense.at([m.sigma**2 * s @ s.T for s in m.lambdas], m.sigma**2)
    G = []
    for t, term in enumerate(m.design.random):
        k = len(term.names)
        for i in range(k):
            for j in range(i + 1):
                if i != j and term.structure != "us":
                    continue
                unit = np.zeros((k, k))
                unit[i, j] = unit[j, i] = 1.0
                G.append(dense.covariance_of(t, unit))
    G.append(dense.R)
    inverse = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ phi @ X.T @ inverse
    expected = np.array([[np.sum((P @ a) * (P @ b).T) for b in G] for a in G])
    observed = np.array([[2 * y @ P @ a @ P @ b @ P @ y for b in G] for a in G]) - expected
    W = np.linalg.inv(0.5 * (expected if information == "expected" else observed))
    Pi = [-X.T @ inverse @ a @ inverse @ X for a in G]
    inner = sum(
        W[i, j] * (X.T @ inverse @ G[i] @ inverse @ G[j] @ inverse @ X - Pi[i] @ phi @ Pi[j])
        for i in range(len(G))
        for j in range(len(G))
    )
    adjusted = phi + 2 * phi @ inner @ phi
    q = len(rows)
    theta = rows.T @ np.linalg.inv(rows @ phi @ rows.T) @ rows
    A1 = sum(
        W[i, j] * np.trace(theta @ phi @ Pi[i] @ phi) * np.trace(theta @ phi @ Pi[j] @ phi)
        for i in range(len(G))
        for j in range(len(G))
    )
    A2 = sum(
        W[i, j] * np.trace(theta @ phi @ Pi[i] @ phi @ theta @ phi @ Pi[j] @ phi)
        for i in range(len(G))
        for j in range(len(G))
    )
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    c1, c2, c3 = (v / (3 * q + 2 * (1 - g)) for v in (g, q - g, q + 2 - g))
    mean = 1 / (1 - A2 / q)
    variance = 2 / q * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    rho = variance / (2 * mean**2)
    df = 4 + (q + 2) / (q * rho - 1)
    beta = m.fixef.values
    F = beta @ rows.T @ np.linalg.solve(rows @ adjusted @ rows.T, rows @ beta) / q
    return adjusted, F, df, df / (mean * (df - 2))


FORMULAS = (
    "y ~ x + (x | g)",
    "y ~ x + f + (1 | g) + (1 | h)",
    "y ~ x * z + (x || g)",
    "y ~ x + (1 | g/h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ f + (1 | g) + (0 + x | g)",
)
STRUCTURES = (
    "y ~ x + cs(0 + t | g, hom = TRUE)",
    "y ~ x + cs(0 + t | g)",
    "y ~ x + ar1(0 + t | g)",
    "y ~ x + ar1(0 + t | g, hom = FALSE) + (1 | h)",
    "y ~ x + diag(0 + t | g, hom = TRUE)",
)


def interior(formula: str, **options: Any) -> Any:
    """The first of some simulated fits that is not on the boundary."""
    for seed in range(30):
        m = mw.lmer(formula, simulated(seed), **options)
        if not m.boundary and np.all(np.linalg.eigvalsh(m.optimization.hessian) > 1e-2):
            return m
    raise AssertionError("all fits are on the boundary")


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", [*FORMULAS, *STRUCTURES])
def test_satterthwaite_is_what_dense_derivatives_say(formula: str, method: str) -> None:
    m = interior(formula, method=method, weights="w")
    rows = np.vstack([np.eye(len(m.fixef)), np.ones(len(m.fixef))])
    ours = approximation(m, "satterthwaite").df(rows)
    assert_allclose(ours, textbook_satterthwaite(m, rows), rtol=2e-6)


@pytest.mark.parametrize("information", ["expected", "observed"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_kenward_roger_is_what_dense_matrices_say(formula: str, information: Any) -> None:
    m = interior(formula, weights="w")
    by = approximation(m, "kenward-roger", information)
    assert information in by.name
    p = len(m.fixef)
    for rows in (np.eye(p), np.eye(p)[1:], np.ones((1, p))):
        adjusted, F, df, scale = textbook_kenward_roger(m, rows, information)
        assert_allclose(by.vcov, adjusted, rtol=1e-8)
        test = joint(by, m.fixef.values, rows)
        assert_allclose([test.statistic, test.den_df], [scale * F, df], rtol=1e-7)


@pytest.mark.parametrize("formula", STRUCTURES[:1])
def test_homogeneous_compound_symmetry_is_a_random_intercept(formula: str) -> None:
    """A covariance a J + b I over the effects of a factor is an intercept and an interaction."""
    m = interior(formula)
    assert m.theta[-1] > 0
    other = m.update("~ x + (1 | g) + (1 | g:t)")
    assert_allclose(other.deviance, m.deviance, rtol=1e-9)
    for ddf in ("satterthwaite", "kenward-roger"):
        one, two = (separate(approximation(fit, ddf), fit.fixef.values, np.eye(2)) for fit in (m, other))
        assert_allclose(one.df, two.df, rtol=1e-5)
        assert_allclose(one.se, two.se, rtol=1e-6)


def test_nonlinear_structures_have_finite_kenward_roger() -> None:
    for formula in STRUCTURES:
        m = interior(formula)
        tests = separate(approximation(m, "kenward-roger"), m.fixef.values, np.eye(2))
        assert np.all(np.isfinite(tests.se)) and np.all(tests.df > 1)
        assert np.all(tests.se >= 0.99 * m.se.values)


def balanced(groups: int, seed: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    g, a, _ = (each.ravel() for each in np.meshgrid(range(groups), range(3), range(2), indexing="ij"))
    between = np.where(g % 2 == 0, "u", "v")
    y = 2.0 * rng.normal(size=groups)[g] + 1.0 * rng.normal(size=(groups, 3))[g, a] + rng.normal(size=g.size)
    return {"y": y + 0.5 * a, "g": g.astype(str), "a": a.astype(str), "b": between}


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_balanced_split_plot_has_the_strata_of_anova(ddf: Any) -> None:
    """Whole plots g in b, subplots a: df of the classical strata, F ratios of mean squares."""
    data = balanced(10)
    m = mw.lmer("y ~ b * a + (1 | g/a)", data, contrasts="sum")
    assert not m.boundary
    by = approximation(m, ddf)
    names = m.fixef.names
    pick = {
        "b": [i for i, name in enumerate(names) if name == "b1"],
        "a": [i for i, name in enumerate(names) if name in ("a1", "a2")],
        "b:a": [i for i, name in enumerate(names) if ":" in name],
    }
    y = data["y"].reshape(10, 3, 2)
    cell = y.mean(axis=2)
    whole = cell.mean(axis=1)
    group = np.arange(10) % 2
    mean_b = np.array([whole[group == k].mean() for k in (0, 1)])
    ms_whole = 6 * np.sum((whole - mean_b[group]) ** 2) / 8
    mean_ab = np.array([cell[group == k].mean(axis=0) for k in (0, 1)])
    rest = cell - whole[:, None] - mean_ab[group] + mean_b[group][:, None]
    ms_sub = 2 * np.sum(rest**2) / 16
    grand = whole.mean()
    ms_b = 30 * np.sum((mean_b - grand) ** 2) / 1
    ms_a = 20 * np.sum((cell.mean(axis=0) - grand) ** 2) / 2
    inter = mean_ab - mean_b[:, None] - cell.mean(axis=0) + grand
    ms_ab = 10 * np.sum(inter**2) / 2
    expected = {"b": (ms_b / ms_whole, 8), "a": (ms_a / ms_sub, 16), "b:a": (ms_ab / ms_sub, 16)}
    for term, (F, df) in expected.items():
        test = joint(by, m.fixef.values, np.eye(len(names))[pick[term]])
        assert_allclose([test.statistic, test.den_df], [F, df], rtol=1e-6)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual"])
def test_a_variance_of_zero_gives_the_linear_model(ddf: Any) -> None:
    """dyestuff2 in spirit: the boundary model is lm, and so are its tests."""
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    assert m.theta[0] == 0.0
    plain = mw.lm("Yield ~ 1", mw.data.load("dyestuff2", "dict"))
    ours = separate(approximation(m, ddf), m.fixef.values, np.eye(1))
    theirs = separate(approximation(plain), plain.fixef.values, np.eye(1))
    assert_allclose([ours.df, ours.se, ours.p_value], [theirs.df, theirs.se, theirs.p_value], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:MW-C01")
def test_singular_fits_have_sensible_degrees_of_freedom() -> None:
    seen = 0
    for seed in range(40):
        for formula in ("y ~ x + (x | g) + (z | h)", "y ~ x + (x + z | g)", "y ~ x + (0 + t | g)"):
            m = mw.lmer(formula, simulated(seed, n=50))
            if not m.boundary:
                continue
            seen += 1
            approximations = [
                approximation(m, "satterthwaite"),
                approximation(m, "kenward-roger"),
                approximation(m, "kenward-roger", "observed"),
            ]
            for by in approximations:
                df = by.df(np.eye(len(m.fixef)))
                assert np.all(df > 1.0) and np.all(df < 2 * m.nobs), (seed, formula, by.name, df)
                assert np.all(np.diag(by.vcov) > 0)
    assert seen > 30


def test_linear_models_have_residual_degrees_of_freedom() -> None:
    m = mw.lm("y ~ x + f", simulated(1))
    for ddf in ("satterthwaite", "kenward-roger", "residual"):
        by = approximation(m, ddf)
        assert np.all(by.df(np.eye(4)) == 86)
        assert joint(by, m.fixef.values, np.eye(4)[2:]).den_df == 86


def test_normal_has_infinite_degrees_of_freedom() -> None:
    m = mw.lmer("y ~ x + f + (1 | g)", simulated(1))
    test = joint(approximation(m, "normal"), m.fixef.values, np.eye(4)[2:])
    assert np.isinf(test.den_df)
    chisq = m.fixef.values[2:] @ np.linalg.solve(m.vcov()[2:, 2:], m.fixef.values[2:])
    assert_allclose(test.statistic, chisq / 2, rtol=1e-10)
    from scipy.stats import chi2

    assert_allclose(test.p_value, chi2.sf(chisq, 2), rtol=1e-8)


def test_kenward_roger_needs_reml() -> None:
    m = mw.lmer("y ~ x + (1 | g)", simulated(1), method="ML")
    with pytest.raises(mw.MixwellError, match="MW-A20"):
        m.tidy(ddf="kenward-roger")


def test_dependent_rows_count_once() -> None:
    m = mw.lmer("y ~ x + f + (1 | g)", simulated(2))
    rows = np.eye(4)[1:3]
    doubled = np.vstack([rows, rows.sum(axis=0), 3 * rows[0]])
    for ddf in ("satterthwaite", "kenward-roger", "normal"):
        one, two = (joint(approximation(m, ddf), m.fixef.values, each) for each in (rows, doubled))
        assert one.num_df == two.num_df == 2
        assert_allclose(one.statistic, two.statistic, rtol=1e-9)
        # Satterthwaite's joint df are pooled over principal axes of the rows as given (as in lmerTest).
        assert_allclose(one.den_df, two.den_df, rtol=1e-3 if ddf == "satterthwaite" else 1e-9)


def test_large_connected_designs_use_average_information(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixwell.inference import second_order

    data = simulated(4, n=400)
    exact = mw.lmer("y ~ x + (1 | g) + (1 | h)", data)
    by = approximation(exact, "satterthwaite")
    monkeypatch.setattr(second_order, "_LARGEST", 5)
    monkeypatch.setattr(second_order, "_LARGEST_FULL", 5)
    rough = mw.lmer("y ~ x + (1 | g) + (1 | h)", data)
    average = approximation(rough, "satterthwaite")
    assert average.name == "Satterthwaite, average information" and by.name == "Satterthwaite"
    assert_allclose(average.df(np.eye(2)), by.df(np.eye(2)), rtol=0.5)
    with pytest.raises(mw.MixwellError, match="MW-A21"):
        rough.summary(ddf="kenward-roger")


def test_a_covariate_far_from_zero_keeps_its_degrees_of_freedom() -> None:
    data = simulated(5)
    near = mw.lmer("y ~ x + f + (1 | g)", data)
    far = mw.lmer("y ~ x + f + (1 | g)", data | {"x": 1e6 + 1e-3 * data["x"]})
    slopes = np.eye(4)[1:]
    for ddf in ("satterthwaite", "kenward-roger"):
        one, two = (approximation(m, ddf) for m in (near, far))
        assert_allclose(two.df(slopes), one.df(slopes), rtol=1e-6)
        tests = [joint(by, m.fixef.values, slopes) for by, m in ((one, near), (two, far))]
        assert_allclose(tests[1].statistic, tests[0].statistic, rtol=1e-6)
        assert np.all(np.isfinite(two.df(np.eye(4))))
