"""Profiles and intervals: dense likelihoods, invariances, boundaries, and the tests that belong to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import optimize
from scipy.stats import chi2
from scipy.stats import t as student

import mixwell as mw
from mixwell.inference.coordinates import Coordinates, covariance_targets, values_of

Array = NDArray[np.float64]

FORMULAS = (
    "y ~ x + (x | g)",
    "y ~ x + (x + z | g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g/h)",
    "y ~ x + cs(0 + t | g)",
    "y ~ x + cs(0 + t | g, hom = TRUE)",
    "y ~ x + ar1(0 + t | g)",
    "y ~ x + ar1(0 + t | g, hom = FALSE) + (1 | h)",
)


def simulated(seed: int, n: int = 120) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    g, h, t = rng.integers(0, 12, n), rng.integers(0, 6, n), rng.integers(0, 3, n)
    x, z = rng.normal(1, 1, n), rng.normal(size=n)
    b = rng.normal(size=(12, 3))
    y = x + b[g, 0] + 0.6 * b[g, 1] * x + 0.5 * b[g, 2] * z + rng.normal(size=6)[h]
    y = y + 0.7 * rng.normal(size=(12, 3))[g, t] + rng.normal(size=n)
    names = {"g": g, "h": h, "t": t}
    return {"y": y, "x": x, "z": z, **{name: codes.astype(str) for name, codes in names.items()}}


def dense_criterion(m: Any, theta: Array, sigma: float, held: tuple[int, float] | None = None) -> float:
    """-2 log-likelihood with n x n matrices, beta at its best (one coefficient held on request)."""
    X, y = m.model_matrix(), m.design.y
    if held is not None:
        j, value = held
        y, X = y - value * X[:, j], np.delete(X, j, axis=1)
    V = np.eye(m.nobs)
    at = 0
    for term, like in zip(m.design.random, m.lambdas, strict=True):
        k = len(term.names)
        count = k * (k + 1) // 2 if term.structure == "us" or k == 1 else len(like)
        relative = np.zeros((k, k))
        if term.structure == "us" or k == 1:
            relative.T[np.triu_indices(k)] = theta[at : at + count]
            relative = relative @ relative.T
        else:
            relative = np.diag(theta[at : at + count] ** 2)
        at += count
        Z = np.zeros((m.nobs, len(term.levels), k))
        for c, column in enumerate(term.columns):
            Z[np.arange(m.nobs), term.codes, c] = 1.0 if column is None else column
        V = V + np.einsum("njk,kl,mjl->nm", Z, relative, Z)
    L = np.linalg.cholesky(V)
    white_x, white_y = np.linalg.solve(L, X), np.linalg.solve(L, y)
    residual = white_y - white_x @ np.linalg.lstsq(white_x, white_y, rcond=None)[0] if X.size else white_y
    n = m.nobs
    return float(
        2 * np.log(np.diag(L)).sum() + n * np.log(2 * np.pi * sigma**2) + residual @ residual / sigma**2
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_derivatives_of_the_coordinates(formula: str) -> None:
    """f, its gradient, and the map back, in every parametrisation, away from the optimum."""
    m = mw.lmer(formula, simulated(1), method="ML")
    rng = np.random.default_rng(0)
    for target in [None, *covariance_targets(m.design.random)]:
        coordinates = Coordinates.of(m.design.random, target)
        x = coordinates.start(m.lambdas, m.theta, m.sigma)
        f, _, _ = coordinates.evaluate(m.problem, x)
        assert_allclose(f, m.deviance, rtol=1e-10)
        if target is not None and target.term >= 0:
            values = values_of([target], m.lambdas, m.sigma)
            assert_allclose(x[coordinates.held], values[0], rtol=1e-6, atol=1e-9)
        x = 0.8 * x + 0.05 * rng.normal(size=x.size)
        f, gradient, hessian = coordinates.evaluate(m.problem, x)
        theta, sigma = coordinates.theta(x)
        s = m.problem.solve(theta, False, False)
        nu, r2 = m.nobs, s.r2
        expected = m.problem.criterion(theta, False) - nu * (1 + np.log(2 * np.pi * r2 / nu))
        assert_allclose(f, expected + nu * np.log(2 * np.pi * sigma**2) + r2 / sigma**2, rtol=1e-12)
        for i in range(x.size):
            e = np.zeros(x.size)
            e[i] = 1e-5
            numeric = (
                coordinates.evaluate(m.problem, x + e)[0] - coordinates.evaluate(m.problem, x - e)[0]
            ) / 2e-5
            assert_allclose(gradient[i], numeric, rtol=1e-5, atol=1e-4)
        assert_allclose(hessian, hessian.T, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("formula", [FORMULAS[0], FORMULAS[2], FORMULAS[3]])
def test_limits_are_where_the_dense_likelihood_has_fallen(formula: str) -> None:
    """At each limit an independent optimiser finds the criterion higher by the chi-square quantile."""
    m = mw.lmer(formula, simulated(2))
    ml = m.update(method="ML")
    drop = chi2.ppf(0.9, 1)
    profile = m.profile(points=0)
    targets = covariance_targets(m.design.random)
    for name in profile.names:
        for limit in profile[name].interval(0.9):
            if limit in profile[name].bounds:
                assert abs(profile[name].at(limit).zeta) < np.sqrt(drop)
                continue
            if name in m.fixef:
                j = m.fixef.names.index(name)
                found = optimize.minimize(
                    lambda p, j=j, limit=limit: dense_criterion(m, p[:-1], np.exp(p[-1]), (j, limit)),
                    np.append(ml.theta, np.log(ml.sigma)),
                    method="BFGS",
                    options={"gtol": 1e-4},
                )
            else:
                target = targets[[each.name for each in targets].index(name)]
                coordinates = Coordinates.of(m.design.random, target)
                start = coordinates.start(ml.lambdas, ml.theta, ml.sigma)
                held = coordinates.held
                assert held is not None
                value = np.log(limit) if name == "sigma" else limit

                def f(free: Array, held: int = held, value: float = value, of: Any = coordinates) -> float:
                    theta, sigma = of.theta(np.insert(free, held, value))
                    return dense_criterion(m, theta, sigma)

                found = optimize.minimize(f, np.delete(start, held), method="BFGS", options={"gtol": 1e-4})
            assert_allclose(found.fun - ml.deviance, drop, rtol=2e-5)


def test_zeta_is_the_signed_root_and_rises() -> None:
    profile = mw.lmer("y ~ x + (x | g)", simulated(3)).profile(points=7)
    for curve in profile.curves:
        zeta = [point.zeta for point in curve.points]
        assert np.all(np.diff(zeta) > -1e-5), curve.name
        assert [point.value for point in curve.points] == sorted(point.value for point in curve.points)
    table = profile.table()
    assert set(table["term"]) == set(profile.names)
    assert {"value", "zeta", ".x", ".sigma"} <= set(table)
    pairs = profile.pairs("sigma", "sd_x|g")
    assert list(pairs) == ["profiled", "sigma", "sd_x|g", "zeta"]
    assert "sigma" in repr(profile) and "<table" in profile._repr_html_()


def test_the_profile_of_a_coefficient_knows_the_others() -> None:
    """Along the profile of one coefficient, the others are those of the model with an offset."""
    data = simulated(4)
    m = mw.lmer("y ~ x + z + (1 | g)", data, method="ML")
    profile = m.profile("x", points=0)
    value = profile["x"].interval()[1]
    point = profile["x"].at(value)
    other = mw.lmer("y ~ z + (1 | g)", data | {"o": value * data["x"]}, offset="o", method="ML")
    found = dict(zip(profile.parameters, point.others, strict=True))
    assert found["x"] == pytest.approx(value)
    for name in ("(Intercept)", "z"):
        assert found[name] == pytest.approx(other.fixef[name], rel=1e-6)
    assert found["sigma"] == pytest.approx(other.sigma, rel=1e-6)
    assert found["sd_(Intercept)|g"] == pytest.approx(other.varcorr()["g"].sd[0], rel=1e-5)


def rows(table: Any) -> dict[str, tuple[float, float, float]]:
    numbers = (np.asarray(table[name], dtype=float).tolist() for name in ("estimate", "lower", "upper"))
    return {name: each for name, *each in zip(table["term"], *numbers, strict=True)}  # type: ignore[misc]


@pytest.mark.parametrize("method", ["profile", "wald", "satterthwaite", "kenward-roger", "residual"])
def test_intervals_follow_units(method: Any) -> None:
    data = simulated(5, n=400)
    assert not mw.lmer("y ~ x + (x | g)", data).boundary
    one = rows(mw.lmer("y ~ x + (x | g)", data).confint(method=method))
    other = data | {"y": 1000 * data["y"] + 5e4, "x": data["x"] / 10}
    two = rows(mw.lmer("y ~ x + (x | g)", other).confint(method=method))
    for name, factor in {
        "x": 1e4,
        "sd_(Intercept)|g": 1e3,
        "sd_x|g": 1e4,
        "cor_x.(Intercept)|g": 1,
        "sigma": 1e3,
    }.items():
        assert_allclose(np.array(two[name]), factor * np.array(one[name]), rtol=2e-5)
        estimate, lower, upper = one[name]
        assert lower < estimate < upper


def test_intervals_of_a_linear_model_are_exact_t() -> None:
    data = simulated(6)
    m = mw.lm("y ~ x + z", data)
    found = rows(m.confint(method="satterthwaite", level=0.9))
    q = student.ppf(0.95, 117)
    for name in m.fixef:
        assert_allclose(found[name][1:], m.fixef[name] + q * m.se[name] * np.array([-1, 1]), rtol=1e-9)
    # sigma: the classical chi-square interval
    limits = m.sigma * np.sqrt(117 / chi2.ppf([0.95, 0.05], 117))
    assert_allclose(found["sigma"][1:], limits, rtol=1e-9)
    # the profile of a coefficient: n log(RSS) rises by the quantile
    profiled = rows(m.confint("x"))["x"]
    t2 = 117 * (np.exp(chi2.ppf(0.95, 1) / 120) - 1)
    assert_allclose(profiled[1:], m.fixef["x"] + np.sqrt(t2) * m.se["x"] * np.array([-1, 1]), rtol=1e-6)


def test_the_interval_of_a_zero_variance_starts_at_zero() -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    found = rows(m.confint())["sd_(Intercept)|Batch"]
    assert found[:2] == [0.0, 0.0] and found[2] > 1
    pastes = rows(
        mw.lmer("strength ~ 1 + (1 | batch/cask)", mw.data.load("pastes", "dict")).confint("random")
    )
    assert pastes["sd_(Intercept)|batch"][1] == 0.0 < pastes["sd_(Intercept)|batch"][0]
    wald = rows(m.confint(method="wald"))["sd_(Intercept)|Batch"]
    assert np.isnan(wald[1]) and np.isnan(wald[2])


def test_a_correlation_that_is_not_identified_is_said_to_be() -> None:
    rng = np.random.default_rng(1)
    data = {"g": np.repeat(np.arange(6), 4), "x": np.tile(np.arange(4.0), 6), "y": rng.normal(size=24)}
    m = mw.lmer("y ~ x + (x | g)", data)
    with pytest.warns(mw.MixwellWarning, match="MW-W21"):
        found = rows(m.confint("cor_x.(Intercept)|g"))["cor_x.(Intercept)|g"]
    assert np.isnan(found[1]) or (found[1] == -1.0 and found[2] == 1.0)


def test_profile_limits_agree_with_likelihood_ratio_tests() -> None:
    """Zero is inside the interval of a coefficient exactly when the test does not reject it."""
    for seed in range(8):
        data = simulated(seed, n=60)
        m = mw.lmer("y ~ x + z + (1 | g)", data, method="ML")
        low, high = rows(m.confint("z"))["z"][1:]
        less = m.update("~ . - z")
        p = chi2.sf(less.deviance - m.deviance, 1)
        assert (low <= 0 <= high) == (p >= 0.05)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"parameters": "sd_q|g"}, "MW-A48"),
        ({"level": 95}, "MW-A49"),
        ({"level": True}, "MW-A49"),
        ({"method": "profil"}, "MW-A02"),
        ({"methods": "wald"}, "MW-A01"),
    ],
)
def test_wrong_requests(options: dict[str, Any], code: str) -> None:
    m = mw.lmer("y ~ x + (1 | g)", simulated(1))
    with pytest.raises(mw.MixwellError, match=code):
        m.confint(**options)


def test_selection_keeps_the_order_asked_for() -> None:
    m = mw.lmer("y ~ x + (1 | g)", simulated(1))
    assert list(m.confint(["sigma", "x"])["term"]) == ["sigma", "x"]
    assert list(m.confint("fixed")["term"]) == ["(Intercept)", "x"]
    assert list(m.confint("random")["term"])[-1] == "sigma"


def test_a_profile_on_one_degree_of_freedom_ends() -> None:
    """Far out sigma underflows; the likelihood there is zero."""
    m = mw.lm("y ~ x", {"x": [1.0, 2.0, 3.0], "y": [1.0, 2.5, 3.1]})
    found = m.profile("sigma").confint()
    r2 = float(m.sigma) ** 2  # on one degree of freedom
    for limit in (found["lower"][0], found["upper"][0]):
        rise = 3.0 * np.log(limit**2 / (r2 / 3.0)) + r2 / limit**2 - 3.0
        assert rise == pytest.approx(3.841458820694124, rel=1e-6)
