"""Intervals of generalised models: R's profiles, other optimisers, ranges, infinite ends; tests of terms."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import optimize
from scipy.stats import chi2
from scipy.stats import t as student
from test_glmm_reference import fit, table

import mixwell as mw
from mixwell.generalized.constrained import criterion_of
from mixwell.generalized.coordinates import Reported, covariance_place

Array = NDArray[np.float64]
HERE = Path(__file__).parent / "reference"
PROFILES = json.loads((HERE / "glmm_profile.json").read_text())
ANOVA = json.loads((HERE / "glm_anova2.json").read_text())

LIMIT = 1e-6  # standard errors


def simulated(seed: int = 4, n: int = 240) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    g, t, x = rng.integers(0, 20, n), rng.integers(0, 3, n), rng.normal(size=n)
    b, slope = rng.normal(size=(20, 3)), rng.normal(size=20)
    eta = 0.5 + 0.4 * x + 0.5 * b[g, t] + 0.4 * b[g, 0]
    count = rng.poisson(np.exp(eta + 0.4 * slope[g] * x))
    over = rng.negative_binomial(3, 3 / (3 + np.exp(eta + 0.6 * slope[g] * x)))
    text = {"g": g.astype(str), "t": t.astype(str), "f": rng.choice(list("abc"), n)}
    return {
        **text,
        "x": x,
        "count": count,
        "over": over,
        "even": np.tile([1, 2, 3, 2], 60),
        "plain": rng.poisson(2.0, n),
        "binary": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int),
        "grade": np.digitize(eta + rng.logistic(size=n), [-1.0, 0.5, 2.0]),
        "real": 1.0 + 0.5 * x + rng.normal(size=n),
    }


def quietly(make: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


# --- references -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", PROFILES["mixed"], ids=lambda each: each["name"])
def test_limits_are_those_of_glmmtmb(theirs: dict[str, Any]) -> None:
    """Its standard deviations and dispersions are logarithms."""
    found = fit(theirs["name"]).confint(list(theirs["ours"]))
    assert list(found["term"]) == theirs["ours"]
    for side in ("lower", "upper"):
        ours = np.array(found[side])
        logged = np.array([name in ("theta", "betad") for name in theirs["parameter"]])
        ours[logged] = np.log(ours[logged])
        assert_allclose((ours - theirs[side]) / theirs["se"], 0.0, atol=LIMIT, err_msg=side)


@pytest.mark.parametrize("theirs", PROFILES["classical"], ids=lambda each: each["family"])
def test_limits_are_those_of_glm(theirs: dict[str, Any]) -> None:
    """Deviance over Pearson's dispersion, with t quantiles where there is one; MASS interpolates."""
    m = mw.glm(theirs["formula"], table("glmm"), family=theirs["family"], link=theirs["link"])
    found = m.confint("fixed")
    assert list(found["term"]) == theirs["term"]
    for side in ("lower", "upper"):
        assert_allclose((np.array(found[side]) - theirs[side]) / theirs["se"], 0.0, atol=LIMIT)
    if math.isinf(m.wald_df):
        both = np.column_stack([found["lower"], found["upper"]])
        assert_allclose((both - np.array(theirs["mass"])) / np.array(theirs["se"])[:, None], 0.0, atol=5e-3)


def test_limits_are_those_of_clm() -> None:
    theirs = PROFILES["ordered"]
    m = mw.glm("grade ~ x + f", table("glmm"), family="cumulative")
    found = m.confint("fixed")
    for side in ("lower", "upper"):
        assert_allclose((np.array(found[side]) - theirs[side]) / theirs["se"], 0.0, atol=LIMIT)


def test_a_normal_response_has_its_exact_intervals() -> None:
    data = simulated()
    found = mw.glm("real ~ x", data, family="gaussian").confint("fixed")
    exact = mw.lm("real ~ x", data).confint("fixed", method="residual")
    for side in ("lower", "upper"):
        assert_allclose(found[side], exact[side], rtol=1e-6)


@pytest.mark.parametrize("family", ANOVA)
def test_terms_are_tested_as_by_car_and_r(family: str) -> None:
    theirs = ANOVA[family]
    door = mw.glmer if "|" in theirs["formula"] else mw.glm
    m = door(theirs["formula"], table("glmm"), family=theirs["family"], link=theirs.get("link") or None)
    kinds = {"wald": "chisq", "lrt": "lrt", "F": "F"}
    for key, expected in theirs.items():
        if key in ("formula", "family", "link"):
            continue
        found = m.anova(int(key[-1]), test=kinds[key[:-1]]).table()
        assert list(found["term"]) == expected["term"]
        assert list(found["num_df" if "num_df" in found else "df"]) == expected["df"]
        # Of gamma R's last weights are not quite those of its estimates.
        rtol = 3e-5 if family == "gamma" else 1e-6
        assert_allclose(found["statistic"], expected["statistic"], rtol=rtol, err_msg=key)
        if "p" in expected:
            assert_allclose(found["p_value"], expected["p"], rtol=10 * rtol, err_msg=key)


# --- profiles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "family", "options"),
    [
        ("count ~ x + (x | g)", "poisson", {}),
        ("count ~ x + cs(0 + t | g)", "poisson", {}),
        ("count ~ x + ar1(0 + t | g, hom = TRUE)", "poisson", {}),
        ("grade ~ x + (1 | g)", "cumulative", {}),
        ("binary ~ x + (1 | g)", "binomial", {"nagq": 5}),
        ("binary ~ x + (1 | g)", "binomial", {"prior": mw.Prior(sd=1.0)}),
        ("count ~ x + (1 | g)", "nbinom1", {"dispformula": "~ x"}),
    ],
)
def test_limits_are_where_the_criterion_has_risen(formula: str, family: str, options: dict[str, Any]) -> None:
    """At each limit another optimiser, over the other parameters, finds it higher by the quantile."""
    m = mw.glmer(formula, simulated(), family=family, **options)
    of, evaluate, psi = Reported.of(m), criterion_of(m), np.array(m.core["psi"])
    rise, scale = chi2.ppf(0.9, 1), np.sqrt(2.0 / np.diag(m.hessian))
    profile = m.profile(points=0)
    assert profile.names == of.names
    for j, name in enumerate(profile.names):
        for limit in profile[name].interval(0.9):
            if limit in profile[name].bounds:
                assert abs(profile[name].at(limit).zeta) < math.sqrt(rise)
                continue
            end = profile[name].at(limit)
            assert_allclose(end.others[j], limit, rtol=1e-9, atol=1e-9)
            assert_allclose(end.zeta**2, rise, rtol=1e-6)
            found = optimize.minimize(
                lambda w: evaluate(psi + scale * w)[0],
                np.zeros(psi.size),
                jac=lambda w: scale * evaluate(psi + scale * w)[1],
                constraints={
                    "type": "eq",
                    "fun": lambda w, j=j, limit=limit: of.at(m, psi + scale * w)[j] - limit,
                },
                method="SLSQP",
                options={"ftol": 1e-9},
            )
            assert_allclose(found.fun - m.core["criterion"], rise, rtol=1e-4, err_msg=f"{name} at {limit}")


def test_the_coordinates_of_a_covariance_have_their_derivatives() -> None:
    m = mw.glmer("count ~ x + (x | g)", simulated(), family="poisson")
    evaluate = criterion_of(m)
    for target in Reported.of(m).targets:
        place, _ = covariance_place(m, m.hessian, target)
        assert_allclose(place.psi(place.centre)[0], m.core["psi"], atol=1e-7)
        w = 0.3 * np.random.default_rng(1).normal(size=place.free.shape[1])

        def at(w: Array, place: Any = place) -> tuple[float, Array]:
            psi, slope = place.psi(place.point(0.9 * place.value, w))
            f, g = evaluate(psi)
            return f, place.free.T @ slope.T @ g

        numeric = [(at(w + e)[0] - at(w - e)[0]) / 2e-4 for e in 1e-4 * np.eye(w.size)]
        assert_allclose(at(w)[1], numeric, rtol=1e-4, atol=1e-4)


def test_zeta_rises_and_tables_have_all_parameters() -> None:
    m = mw.glmer("over ~ x + (x | g)", simulated(), family="nbinom2")
    profile = m.profile(points=7)
    assert profile.names == (
        "(Intercept)",
        "x",
        "sd_(Intercept)|g",
        "sd_x|g",
        "cor_x.(Intercept)|g",
        "size",
    )
    for curve in profile.curves:
        zeta = [point.zeta for point in curve.points]
        assert np.all(np.diff(zeta) > -1e-5), curve.name
        q = [np.sign(point.value - curve.estimate) for point in curve.points]
        assert np.all(np.sign(np.round(zeta, 9)) * q >= 0)
    rows = profile.table()
    assert {"term", "value", "zeta", ".x", ".size", ".sd_x|g"} <= set(rows)
    own = np.array(rows["term"]) == "size"
    assert_allclose(np.array(rows["value"])[own], np.array(rows[".size"])[own], rtol=1e-9)
    assert set(profile.pairs("x", "size")["profiled"]) == {"x", "size"}
    assert "Profile likelihood\n" in repr(profile)


def test_units_and_codings_do_not_matter() -> None:
    data = simulated()
    one = mw.glmer("count ~ x + (x | g)", data, family="poisson").confint()
    other = mw.glmer("count ~ x + (x | g)", {**data, "x": 1000 * data["x"]}, family="poisson").confint()
    units = np.array([1, 1e3, 1, 1e3, 1])
    for side in ("lower", "upper"):
        assert_allclose(other[side] * units, one[side], rtol=1e-5, atol=1e-5)


def test_a_reparametrised_coefficient_has_the_same_interval() -> None:
    """The limits of b - a are those of the coefficient of fb, whatever the contrasts."""
    data = {**simulated()}
    treatment = mw.glmer("count ~ f + (1 | g)", data, family="poisson").confint("fb")
    data["b"], data["ab"] = (data["f"] == "b").astype(float), (data["f"] != "c").astype(float)
    other = mw.glmer("count ~ ab + b + (1 | g)", data, family="poisson").confint("b")
    for side in ("lower", "upper"):
        assert_allclose(treatment[side], other[side], rtol=1e-6)


# --- ends -------------------------------------------------------------------------------------------------


def test_separated_coefficients_have_an_interval_with_one_end() -> None:
    """The other end agrees with a direct calculation."""
    y, x = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.repeat([0, 1], 4)
    m = quietly(lambda: mw.glm("y ~ x", {"y": y, "x": x}, family="binomial"))
    found = m.confint("x")
    assert_allclose(found["lower"], 0.86381678, rtol=1e-6)
    assert list(found["upper"]) == [math.inf]
    data = simulated()
    data["z"] = (np.arange(240) % 2).astype(float)
    data["binary"] = np.where(data["z"] == 1, 1, data["binary"])
    mixed = quietly(lambda: mw.glmer("binary ~ z + x + (1 | g)", data, family="binomial"))
    low, high = mixed.profile("z", points=0)["z"].interval()
    assert 2.0 < low < 8.0
    assert high == math.inf
    perfect = quietly(lambda: mw.glm("up ~ x", {"x": data["x"], "up": data["x"] > 0.2}, family="binomial"))
    low, high = perfect.profile("x", points=0)["x"].interval()
    assert 5.0 < low < 1000.0
    assert high == math.inf


def test_a_variance_of_zero_starts_at_zero() -> None:
    m = mw.glmer("even ~ x + (1 | g)", simulated(), family="poisson")
    assert m.varcorr().terms[0].sd.values[0] < 1e-3
    found = m.confint("random")
    assert found["lower"][0] == 0.0
    assert 0.05 < found["upper"][0] < 0.5
    wald = m.confint("random", method="wald")
    assert np.isnan(wald["lower"][0])
    assert np.isnan(wald["upper"][0])


def test_dispersions_without_a_finite_estimate_or_limit() -> None:
    data = simulated()
    low, high = (mw.glm("even ~ x", data, family="nbinom2").profile("size", points=0)["size"]).interval()
    assert 1.0 < low < 500.0
    assert high == math.inf
    low, high = (mw.glm("even ~ x", data, family="nbinom1").profile("phi", points=0)["phi"]).interval()
    assert low == 0.0
    assert 0.001 < high < 1.0
    zi = mw.glm("even ~ x", data, family="poisson", ziformula="~ 1").confint("auxiliary")
    assert list(zi["term"]) == ["zi:(Intercept)"]
    assert zi["lower"][0] == -math.inf
    assert zi["upper"][0] < -1.0


def test_a_correlation_that_is_not_identified_is_named() -> None:
    m = mw.glmer("even ~ x + (x | g)", simulated(), family="poisson")
    with pytest.warns(mw.MixwellWarning, match="not identified"):
        m.confint("cor_x.(Intercept)|g")


def test_a_link_with_a_domain() -> None:
    """Intervals of means whose link is the identity stay where the means are positive."""
    data = {"y": np.array([1, 1, 2, 1, 3, 2, 4, 5]), "x": np.arange(8.0)}
    m = mw.glm("y ~ x", data, family="poisson", link="identity")
    for name in m.fixef.names:
        low, high = m.profile(name, points=0)[name].interval()
        assert low < m.fixef[name] < high
    ratio = m.anova(test="lrt").table()["statistic"][0]
    assert_allclose(ratio, 2 * (m.loglik - m.update("~ . - x").loglik), rtol=1e-8)


# --- names and options ------------------------------------------------------------------------------------


def test_names_by_kind() -> None:
    data = simulated()
    m = mw.glmer("count ~ x + (1 | g)", data, family="nbinom2", ziformula="~ x", dispformula="~ x")
    assert list(m.confint("auxiliary", method="wald")["term"]) == [
        "size:(Intercept)",
        "size:x",
        "zi:(Intercept)",
        "zi:x",
    ]
    ordinal = mw.glmer("grade ~ x + (1 | g)", data, family="cumulative")
    found = ordinal.confint(method="wald")
    assert list(found["term"]) == ["x", "sd_(Intercept)|g", "0|1", "1|2", "2|3"]
    assert_allclose(found["estimate"][2:], ordinal.thresholds.values)
    data["size"] = data["x"]
    taken = mw.glm("count ~ size", data, family="nbinom2").confint(method="wald")
    assert list(taken["term"]) == ["(Intercept)", "size", "size:(Intercept)"]
    quasi = mw.glm("count ~ x", data, family="quasipoisson").confint()
    assert list(quasi["term"]) == ["(Intercept)", "x"]


def test_wald_intervals() -> None:
    m = mw.glmer("over ~ x + (x | g)", simulated(), family="nbinom2")
    found = m.confint(level=0.9, method="wald")
    q = 1.6448536269514722
    assert_allclose(found["lower"][:2], m.fixef.values - q * m.se.values, rtol=1e-8)
    sizes = np.array(found["estimate"])[[2, 3, 5]]
    middle = np.sqrt((np.array(found["lower"]) * np.array(found["upper"]))[[2, 3, 5]])
    assert_allclose(middle, sizes, rtol=1e-8)
    assert_allclose(
        np.arctanh(found["lower"][4]) + np.arctanh(found["upper"][4]), 2 * np.arctanh(found["estimate"][4])
    )
    classical = mw.glm("real ~ x", simulated(), family="gaussian")
    half = student.ppf(0.975, 238) * classical.se.values
    assert_allclose(classical.confint("fixed", method="wald")["upper"], classical.fixef.values + half)


def test_the_quantiles_of_a_quasi_model_are_those_of_t() -> None:
    m = mw.glm("count ~ x", simulated(), family="quasipoisson")
    assert m.profile("x")["x"].df == 238
    assert mw.glm("count ~ x", simulated(), family="poisson").profile("x")["x"].df == math.inf


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("MW-A48", lambda m: m.confint("z")),
        ("MW-A48", lambda m: m.profile("sigma")),
        ("MW-A49", lambda m: m.confint(level=95)),
        ("MW-A02", lambda m: m.confint(method="exact")),
        ("MW-A01", lambda m: m.confint(prob=0.9)),
        ("MW-A02", lambda m: m.anova(4)),
        ("MW-A02", lambda m: m.anova(test="rao")),
        ("MW-A31", lambda m: m.anova(test="F")),
        ("MW-A31", lambda m: m.update(nagq=0).profile()),
        ("MW-A31", lambda m: m.update(nagq=0).anova(test="lrt")),
        ("MW-A84", lambda m: m.update(prior=mw.Prior()).anova(test="lrt")),
    ],
)
def test_refusals(code: str, call: Any) -> None:
    m = mw.glmer("count ~ x + (1 | g)", simulated(), family="poisson")
    with pytest.raises(mw.MixwellError) as caught:
        call(m)
    assert caught.value.code == code


# --- tests of terms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["poisson", "nbinom2"])
def test_likelihood_ratios_are_those_of_smaller_fits(family: str) -> None:
    m = mw.glmer("count ~ x + f + (1 | g)", simulated(), family=family)
    found = m.anova(test="lrt").table()
    for term, statistic in zip(found["term"], found["statistic"], strict=True):
        assert_allclose(statistic, 2 * (m.loglik - m.update(f"~ . - {term}").loglik), rtol=1e-6, atol=1e-7)
    first = m.anova(1, test="lrt").table()["statistic"]
    null = m.update("~ (1 | g)")
    assert_allclose(sum(first), 2 * (m.loglik - null.loglik), rtol=1e-7)


@pytest.mark.parametrize("test", ["chisq", "lrt"])
def test_type_3_does_not_depend_on_the_coding(test: Any) -> None:
    found = [
        mw.glmer("count ~ x * f + (1 | g)", simulated(), family="poisson", contrasts=contrasts).anova(
            3, test=test
        )
        for contrasts in ("treatment", "sum")
    ]
    assert_allclose(found[0].table()["statistic"], found[1].table()["statistic"], rtol=1e-6)


def test_dropped_columns_come_back_where_their_twins_are_out() -> None:
    data = simulated()
    data["twice"] = 2 * data["x"] + 1
    m = quietly(lambda: mw.glm("count ~ x + twice + f", data, family="poisson"))
    for test in ("chisq", "lrt"):
        found = m.anova(test=test).table()
        assert list(found["df"]) == [0, 0, 2]
        assert np.isnan(found["statistic"][:2]).all()
        plain = mw.glm("count ~ x + f", data, family="poisson").anova(test=test).table()
        assert_allclose(found["statistic"][2], plain["statistic"][1], rtol=1e-8)
    assert list(m.anova(1).table()["df"]) == [1, 0, 2]


def test_what_an_analysis_prints_and_holds() -> None:
    m = mw.glm("count ~ x * f", simulated(), family="quasipoisson")
    found = m.anova(test="F")
    assert "Type II tests, F of deviances" in repr(found)
    assert list(found.table()) == ["term", "num_df", "den_df", "statistic", "p_value"]
    wald = m.anova()
    for L, statistic in zip(wald.hypotheses.values(), wald.table()["statistic"], strict=True):
        beta = L @ m.fixef.values
        assert_allclose(beta @ np.linalg.solve(L @ m.vcov() @ L.T, beta), statistic, rtol=1e-8)


# --- coverage ---------------------------------------------------------------------------------------------


def test_profile_intervals_cover() -> None:
    """200 binomial tables with 15 groups; at 95 % three Monte-Carlo standard errors are 4.6 %."""
    rng = np.random.default_rng(11)
    g, x = np.repeat(np.arange(15), 8), rng.normal(size=120)
    design = {"g": g.astype(str), "x": x, "y": rng.integers(0, 5, 120), "n": np.full(120, 4)}
    m = mw.glmer("cbind(y, n - y) ~ x + (1 | g)", design, family="binomial")
    covered = []
    for _ in range(200):
        eta = -0.3 + 0.5 * x + 0.8 * rng.normal(size=15)[g]
        found = m.refit(rng.binomial(4, 1 / (1 + np.exp(-eta))) / 4).confint()
        truth = np.array([-0.3, 0.5, 0.8])
        covered.append((found["lower"] < truth) & (truth < found["upper"]))
    assert np.all(np.abs(np.mean(covered, axis=0) - 0.95) < 0.047), np.mean(covered, axis=0)
