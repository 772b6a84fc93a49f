"""Generalised models through the doors: responses, weights, equivalences, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixwell as mw


def simulated(seed: int = 1, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = rng.integers(0, 20, n)
    x = rng.normal(size=n)
    eta = 0.2 + 0.6 * x + 0.8 * rng.normal(size=20)[g]
    size = rng.integers(1, 9, n)
    share = 1 / (1 + np.exp(-eta))
    return pd.DataFrame(
        {
            "x": x,
            "z": rng.normal(size=n),
            "g": g.astype(str),
            "size": size,
            "hits": rng.binomial(size, share),
            "y": rng.binomial(1, share),
            "count": rng.poisson(np.exp(eta)),
            "amount": rng.gamma(2.0, np.exp(eta) / 2.0),
            "over": rng.negative_binomial(1.0, 1 / (1 + np.exp(eta))),
        }
    )


def same(one: Any, two: Any, rtol: float = 1e-6) -> None:
    assert_allclose(one.fixef.values, two.fixef.values, rtol=rtol, atol=1e-8)
    assert_allclose(one.se.values, two.se.values, rtol=1e-5)
    assert_allclose(one.theta, two.theta, rtol=1e-5, atol=1e-7)


def test_the_same_response_in_every_spelling() -> None:
    data = simulated()
    labels = np.where(data["y"] == 1, "yes", "no")
    one = mw.glmer("y ~ x + (1 | g)", data, family="binomial")
    for other in (data.assign(y=data["y"].astype(bool)), data.assign(y=labels)):
        two = mw.glmer("y ~ x + (1 | g)", other, family="binomial")
        same(one, two, rtol=1e-12)
        assert two.loglik == one.loglik
    assert "probability of y = 'yes'" in two.notes[0].text


def test_cbind_is_shares_with_trials() -> None:
    data = simulated().assign(share=lambda d: d["hits"] / d["size"])
    one = mw.glmer("cbind(hits, size - hits) ~ x + (1 | g)", data, family="binomial")
    two = mw.glmer("share ~ x + (1 | g)", data, family="binomial", weights="size")
    same(one, two)
    assert_allclose(one.loglik, two.loglik, rtol=1e-12)


def test_cbind_equals_expanded_rows_up_to_the_binomial_coefficients() -> None:
    from scipy.special import gammaln

    data = simulated(n=60)
    rows = []
    for _, row in data.iterrows():
        hits = [1] * row.hits + [0] * (row["size"] - row.hits)
        rows += [{"y": hit, "x": row.x, "g": row.g} for hit in hits]
    one = mw.glmer("cbind(hits, size - hits) ~ x + (1 | g)", data, family="binomial")
    two = mw.glmer("y ~ x + (1 | g)", pd.DataFrame(rows), family="binomial")
    same(one, two, rtol=1e-5)
    n, k = data["size"], data["hits"]
    constant = float(np.sum(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)))
    assert_allclose(one.loglik, two.loglik + constant, rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("count ~ x + (1 | g)", "poisson"),
        ("amount ~ x + (1 | g)", "gamma"),
        ("over ~ x + (1 | g)", "nbinom2"),
    ],
)
def test_weights_equal_replication(formula: str, family: str) -> None:
    data = simulated(n=120).assign(w=np.tile([1, 2, 3], 40))
    link = "log"
    one = mw.glmer(formula, data, family=family, link=link, weights="w")
    two = mw.glmer(formula, data.loc[data.index.repeat(data["w"])], family=family, link=link)
    same(one, two, rtol=1e-5)
    assert_allclose(one.loglik, two.loglik, rtol=1e-9)


def test_gaussian_with_identity_is_the_linear_mixed_model() -> None:
    data = simulated()
    one = mw.glmer("amount ~ x + (x | g)", data, family="gaussian")
    two = mw.lmer("amount ~ x + (x | g)", data, method="ML")
    assert_allclose(one.loglik, two.loglik, rtol=1e-9)
    assert_allclose(one.fixef.values, two.fixef.values, rtol=1e-5)
    assert_allclose(one.dispersion["sigma"], two.sigma, rtol=1e-5)
    assert_allclose(one.theta, two.theta * two.sigma, rtol=1e-4, atol=1e-5)


def test_scale_of_a_predictor_does_not_matter() -> None:
    data = simulated()
    one = mw.glmer("y ~ x + (x | g)", data, family="binomial")
    two = mw.glmer("y ~ x + (x | g)", data.assign(x=1e5 + 1e3 * data["x"]), family="binomial")
    assert_allclose(one.loglik, two.loglik, rtol=1e-8)
    assert_allclose(two.fixef["x"], one.fixef["x"] / 1e3, rtol=1e-4)
    assert_allclose(two.se["x"], one.se["x"] / 1e3, rtol=1e-4)


def test_a_generalised_linear_model_has_the_score_equations() -> None:
    data = simulated()
    m = mw.glm("cbind(hits, size - hits) ~ x + z", data, family="binomial")
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    score = X.T @ (data["hits"] - data["size"] * m.fitted())
    assert np.max(np.abs(score)) < 1e-7
    assert_allclose(m.predict(data), m.fitted(), rtol=1e-12)
    assert m.certificate().passed and "Generalised linear model" in repr(m)


def test_recovery_of_a_simulation() -> None:
    """Estimates of many groups lie within four standard errors of the truth."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(150), 12)
    x = rng.normal(size=g.size)
    eta = -0.3 + 0.7 * x + 0.9 * rng.normal(size=150)[g]
    data = {"y": rng.poisson(np.exp(eta)), "x": x, "g": g}
    m = mw.glmer("y ~ x + (1 | g)", data, family="poisson")
    assert np.all(np.abs(m.fixef.values - [-0.3, 0.7]) < 4 * m.se.values)
    assert abs(m.varcorr()["g"].sd[0] - 0.9) < 0.25


def test_ordinal_with_two_categories_is_binomial() -> None:
    data = simulated()
    one = mw.glmer("y ~ x + (1 | g)", data, family="binomial")
    two = mw.glmer("y ~ x + (1 | g)", data, family="cumulative")
    assert_allclose(two.loglik, one.loglik, rtol=1e-10)
    assert_allclose(two.fixef["x"], one.fixef["x"], rtol=1e-5)
    assert_allclose(two.thresholds.values, [-one.fixef["(Intercept)"]], rtol=1e-4)
    assert two.thresholds.names == ("0|1",)


def test_a_variance_of_zero_is_certified() -> None:
    rng = np.random.default_rng(3)
    data = {"y": np.tile([0, 1], 60), "x": rng.normal(size=120), "g": np.repeat(np.arange(20), 6)}
    m = mw.glmer("y ~ x + (1 | g)", data, family="binomial")
    plain = mw.glm("y ~ x", data, family="binomial")
    assert m.varcorr()["g"].sd[0] < 1e-3 and m.certificate().passed
    assert_allclose(m.loglik, plain.loglik, rtol=1e-7)


def test_separation_is_named() -> None:
    data = {"y": [0] * 10 + [1] * 10, "x": [0.0] * 10 + [1.0] * 10, "z": list(range(20))}
    with pytest.warns(mw.MixwellWarning, match="MW-W13.*'x'"):
        mw.glm("y ~ x", data, family="binomial")


def test_quadrature_is_the_integral() -> None:
    """The log-likelihood with many nodes, with all constants, against numerical integration by group."""
    from scipy import integrate
    from scipy.stats import binom, norm

    data = simulated(n=80)
    m = mw.glmer("cbind(hits, size - hits) ~ x + (1 | g)", data, family="binomial", nagq=25)
    eta = m.predict(type="link", re="population")
    sd = float(m.theta[0])
    total = 0.0
    for group in set(data["g"]):
        mine = (data["g"] == group).to_numpy()
        hits, size = data["hits"][mine].to_numpy(), data["size"][mine].to_numpy()

        def joint(b: float, hits: Any = hits, size: Any = size, eta: Any = eta[mine]) -> float:
            share = 1 / (1 + np.exp(-(eta + b)))
            return float(np.exp(binom.logpmf(hits, size, share).sum() + norm.logpdf(b, 0, sd)))

        total += np.log(integrate.quad(joint, -12 * sd, 12 * sd, epsabs=0, epsrel=1e-10, points=[0.0])[0])
    assert_allclose(m.loglik, total, rtol=1e-8)
    assert m.certificate().passed and "25 nodes" in repr(m)
    laplace = m.fixef.values - mw.glmer(m.formula, data, family="binomial").fixef.values
    assert np.any(np.abs(laplace) > 1e-5)


def test_automatic_quadrature_says_what_it_found() -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(40), 3)
    y = (rng.random(120) < 1 / (1 + np.exp(-2.5 * rng.normal(size=40)[g]))).astype(int)
    few = mw.glmer("y ~ 1 + (1 | g)", {"y": y, "g": g}, family="binomial", nagq="auto")
    assert few.nagq == 11 and "not accurate" in few.notes[-1].text
    counts = simulated(n=400)
    many = mw.glmer("count ~ x + (1 | g)", counts, family="poisson", nagq="auto")
    assert many.nagq == 1 and "accurate enough" in many.notes[-1].text
    crossed = mw.glmer("y ~ x + (1 | g) + (1 | size)", counts, family="binomial", nagq="auto")
    assert crossed.nagq == 1 and any("cannot be checked" in each.text for each in crossed.notes)


def test_the_one_door() -> None:
    data = simulated()
    one = mw.fit("y ~ x + (1 | g)", data, family="binomial")
    assert_allclose(one.loglik, mw.glmer("y ~ x + (1 | g)", data, family="binomial").loglik)
    assert isinstance(mw.fit("count ~ x", data, family="poisson"), mw.GeneralizedModel)


def test_predictions_of_new_rows() -> None:
    data = simulated()
    m = mw.glmer("count ~ x + (1 | g)", data, family="poisson")
    new = {"x": [0.0, 1.0], "g": ["3", "unknown"]}
    eta = m.predict(new, type="link", new_levels="population")
    assert_allclose(m.predict(new, new_levels="population"), np.exp(eta))
    assert_allclose(eta[1], m.fixef["(Intercept)"] + m.fixef["x"])
    assert_allclose(m.predict({"x": [0.0, 1.0]}, re="population", type="link")[0], m.fixef["(Intercept)"])


def test_tables() -> None:
    m = mw.glmer("y ~ x + (1 | g)", simulated(), family="binomial")
    table = m.tidy(level=0.9)
    assert list(table.columns) == ["term", "estimate", "std_error", "statistic", "p_value", "lower", "upper"]
    assert_allclose((table["upper"] - table["lower"]) / m.se.values, 2 * 1.6448536, rtol=1e-6)
    assert list(m.ranef().columns) == ["group", "level", "term", "estimate", "condsd"]
    assert "Laplace" in m.summary() and "Residual" not in m.summary()


@pytest.mark.parametrize(
    ("formula", "options", "code"),
    [
        ("y ~ x", {"family": "binomial"}, "MW-A06"),
        ("count ~ x + (1 | g)", {"family": "binomial"}, "MW-D28"),
        ("amount ~ x + (1 | g)", {"family": "poisson"}, "MW-D28"),
        ("cbind(hits, size) ~ x + (1 | g)", {"family": "poisson"}, "MW-D30"),
        ("g ~ x + (1 | size)", {"family": "binomial"}, "MW-D29"),
        ("count ~ x + (1 | g)", {"family": "truncated_poisson"}, "MW-D28"),
        ("count ~ x + (1 | g)", {"family": "poisson", "dispformula": "~ x"}, "MW-A79"),
        ("count ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ (1 | g)"}, "MW-F36"),
        ("y ~ x + (1 | g)", {"family": "binomial", "ziformula": "~ 1"}, "MW-A78"),
        ("y ~ x + (1 | g)", {"family": "binomial", "nAGQ": 5}, "MW-A01"),
        ("y ~ x + (1 | g)", {"family": "binomial", "nagq": -1}, "MW-A07"),
        ("y ~ x + (1 | g) + (1 | size)", {"family": "binomial", "nagq": 5}, "MW-A81"),
        ("y ~ x + (1 | g)", {"control": 3}, "MW-A07"),
    ],
)
def test_refusals(formula: str, options: dict[str, Any], code: str) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        mw.glmer(formula, simulated(), **options)


def test_hypotheses_are_z_or_t() -> None:
    data = simulated()
    m = mw.glmer("y ~ x + z + (1 | g)", data, family="binomial")
    found = m.test("x = 0").table()
    assert_allclose(found["p_value"], m.tidy()["p_value"][1:2], rtol=1e-9)
    plain = mw.glm("amount ~ x", data, family="gamma", link="log")
    assert_allclose(plain.test("x").table()["p_value"], plain.tidy()["p_value"][1:], rtol=1e-9)
    assert plain.test("x").table()["df"][0] == 198


def test_comparisons() -> None:
    from scipy.stats import chi2

    data = simulated()
    one = mw.glmer("count ~ x + (1 | g)", data, family="poisson")
    two = mw.glmer("count ~ x + z + (1 | g)", data, family="poisson")
    both = mw.compare(two, one).table()
    statistic = 2 * (two.loglik - one.loglik)
    assert_allclose(both["p_value"][1], chi2.sf(statistic, 1), rtol=1e-8)
    assert_allclose(both["aic"], [one.aic, two.aic])
    # a variance that is zero in the smaller model
    plain = mw.glm("count ~ x", data, family="poisson")
    tested = mw.compare(plain, one).table()
    assert_allclose(tested["p_value"][1], 0.5 * chi2.sf(2 * (one.loglik - plain.loglik), 1), rtol=1e-8)
    # other families compare by AIC only
    other = mw.compare(one, mw.glmer("count ~ x + (1 | g)", data, family="nbinom2"))
    assert np.isnan(other.table()["p_value"][1]) and "families or links differ" in other.notes[0].text
    with pytest.raises(mw.MixwellError, match="MW-A42"):
        mw.compare(one, mw.glmer("count ~ x + (1 | g)", data, family="nbinom2"), test="lrt")


@pytest.mark.parametrize(
    ("family", "link", "options"),
    [
        ("gaussian", "log", {}),
        ("gamma", "log", {}),
        ("inverse_gaussian", "log", {}),
        ("poisson", "log", {}),
        ("nbinom1", "log", {}),
        ("nbinom2", "log", {"dispformula": "~ z"}),
        ("tweedie", "log", {}),
        ("poisson", "log", {"ziformula": "~ 1"}),
        ("truncated_nbinom2", "log", {"ziformula": "~ z"}),
        ("beta", "logit", {}),
        ("binomial", "probit", {}),
        ("betabinomial", "logit", {}),
        ("cumulative", "logit", {}),
    ],
)
def test_simulated_responses_recover_the_model(family: str, link: str, options: dict[str, Any]) -> None:
    """Fit, draw a response, fit it again: within four standard errors, on plain models with many rows."""
    rng = np.random.default_rng(11)
    n = 4000
    x, z = rng.normal(size=n), rng.normal(size=n)
    mu = np.exp(0.5 + 0.4 * x)
    y: Any = rng.gamma(2.0, mu / 2.0) + 0.01
    if family in ("poisson", "nbinom1", "nbinom2", "truncated_nbinom2"):
        y = rng.negative_binomial(2.0, 2.0 / (2.0 + mu)) * (rng.random(n) < (0.8 if options else 1.0))
    elif family == "tweedie":
        y = y * (rng.random(n) < 0.8)
    elif family == "beta":
        y = rng.beta(2 * mu, 3.0)
    elif family in ("binomial", "betabinomial"):
        y = rng.binomial(10, rng.beta(2 * mu, 3.0)) / 10
    elif family == "cumulative":
        y = np.digitize(x + rng.logistic(size=n), [-1.0, 0.5])
    data = {"y": y, "x": x, "z": z, "w": np.full(n, 10.0)}
    if family in ("binomial", "betabinomial"):
        options = options | {"weights": "w"}
    one = mw.glm("y ~ x", data, family=family, link=link, **options)
    drawn = one.simulate(1, seed=3)["sim_1"]
    two = mw.glm("y ~ x", data | {"y": np.asarray(drawn)}, family=family, link=link, **options)
    # Both the first fit's numbers are the truth of the second.
    assert np.all(np.abs(two.fixef.values - one.fixef.values) < 4.5 * two.se.values)
    spread = np.sqrt(np.diag(two._covariance)[len(one.fixef) :])
    assert np.all(np.abs(two.gamma - one.gamma) < 4.5 * spread)


def test_simulations_follow_their_seed_and_random_effects() -> None:
    m = mw.glmer("count ~ x + (1 | g)", simulated(), family="poisson")
    assert_allclose(m.simulate(3, seed=1)["sim_2"], m.simulate(2, seed=1)["sim_2"])
    fixed = np.column_stack([m.simulate(200, seed=2, re="conditional")[f"sim_{i + 1}"] for i in range(200)])
    assert_allclose(fixed.mean(axis=1), m.fitted(), atol=5 * np.sqrt(m.fitted().max() / 200))
