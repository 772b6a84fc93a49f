"""Priors as penalties; the fast stage; further fits of a generalised model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import mixwell as mw

X = np.arange(1.0, 7.0)
SEPARATED = {"y": [0, 0, 0, 1, 1, 1], "x": X}


@pytest.fixture(scope="module")
def grouped() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    g, x = np.repeat(np.arange(20), 8), rng.normal(size=160)
    b = rng.normal(size=(20, 2)) * [0.8, 0.4]
    eta = -0.2 + 0.6 * x + b[g, 0] + b[g, 1] * x
    share = 1 / (1 + np.exp(-eta))
    return {
        "y": rng.binomial(1, share),
        "count": rng.poisson(np.exp(0.5 * eta)),
        "x": x,
        "f": rng.choice(["a", "b"], 160),
        "g": g.astype(str),
    }


def inverse_wishart(m: mw.GeneralizedModel, sd: float, df: float | None = None) -> float:
    """-2 log density of the covariances up to its constant, by the textbook."""
    total = 0.0
    for term in m.varcorr():
        sigma, k = term.matrix, len(term.names)
        power = (k + 1 if df is None else df) + k + 1
        total += power * np.linalg.slogdet(sigma)[1] + power * sd**2 * np.trace(np.linalg.inv(sigma))
    return total


def test_separated_data_have_finite_estimates() -> None:
    """Against a general optimiser on the penalised log-likelihood."""
    m = mw.glm("y ~ x", SEPARATED, family="binomial", prior=mw.Prior())
    y, scale = np.array(SEPARATED["y"]), 2.5 / X.std(ddof=1)

    def f(beta: Any) -> float:
        eta = beta[0] + beta[1] * X
        return float(-2 * np.sum(y * eta - np.logaddexp(0, eta)) + (beta[1] / scale) ** 2)

    best = minimize(f, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8})
    assert_allclose(m.fixef.values, best.x, rtol=1e-5)
    assert_allclose(m.penalty - 2 * m.loglik, best.fun, rtol=1e-9)
    assert_allclose(m.penalty, (m.fixef["x"] / scale) ** 2, rtol=1e-9)
    assert m.certificate().passed


def test_standard_errors_know_the_prior() -> None:
    m = mw.glm("y ~ x", SEPARATED, family="binomial", prior=mw.Prior(intercept=3.0))
    mu = m.predict()
    design = np.column_stack([np.ones(6), X])
    information = design.T @ ((mu * (1 - mu))[:, None] * design)
    information += np.diag([3.0**-2, (2.5 / X.std(ddof=1)) ** -2])
    assert_allclose(m.vcov(), np.linalg.inv(information), rtol=1e-5)


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)"])
def test_a_penalised_fit_is_the_best_of_its_criterion(grouped: Any, formula: str) -> None:
    prior = mw.Prior(fixef={"x": 0.3}, sd=1.2)
    m, free = (mw.glmer(formula, grouped, family="binomial", prior=p) for p in (prior, None))
    assert_allclose(m.penalty, (m.fixef["x"] / 0.3) ** 2 + inverse_wishart(m, 1.2), rtol=1e-8)
    assert m.loglik < free.loglik
    assert abs(m.fixef["x"]) < abs(free.fixef["x"])
    psi, rng = np.array(m.core["psi"]), np.random.default_rng(1)
    value, gradient = m.laplace.evaluate(psi)
    assert_allclose(value, m.penalty - 2 * m.loglik, rtol=1e-10)
    assert np.max(np.abs(gradient)) < 1e-3
    for _ in range(20):
        assert m.laplace.evaluate(psi + 0.05 * rng.normal(size=psi.size))[0] > value
    assert m.certificate().passed


def test_gradient_of_the_penalty(grouped: Any) -> None:
    prior = mw.Prior(fixef=1.0, intercept=2.0, sd=0.7, df=5.0)
    m = mw.glmer("count ~ x + f + (x | g)", grouped, family="poisson", prior=prior)
    psi = np.array(m.core["psi"]) + 0.1
    numeric = [
        (m.laplace.evaluate(psi + e)[0] - m.laplace.evaluate(psi - e)[0]) / 2e-5
        for e in 1e-5 * np.eye(psi.size)
    ]
    assert_allclose(m.laplace.evaluate(psi)[1], numeric, rtol=1e-5, atol=1e-5)


def test_the_prior_is_of_the_columns_as_they_are(grouped: Any) -> None:
    """A numeric column in other units, a factor coded otherwise: the same model."""
    scaled = grouped | {"x": 1000 * grouped["x"]}
    m, other = (mw.glm("y ~ x + f", t, family="binomial", prior=mw.Prior()) for t in (grouped, scaled))
    assert_allclose(other.fixef["x"] * 1000, m.fixef["x"], rtol=1e-6)
    assert_allclose(other.fixef["fb"], m.fixef["fb"], rtol=1e-6)


def test_covariances_stay_finite_where_groups_do_not_vary() -> None:
    table = {"y": np.repeat([0, 1, 0, 1, 1, 0], 5), "g": np.repeat([*"abcdef"], 5)}
    m = mw.glmer("y ~ 1 + (1 | g)", table, family="binomial", prior=mw.Prior(sd=2.0))
    assert 2.0 < m.varcorr().terms[0].sd.values[0] < 6.0
    assert m.certificate().passed
    by_group = mw.glmer("y ~ 1 + (1 | g)", table, family="binomial", prior=mw.Prior(sd={"g": 2.0}))
    assert_allclose(by_group.theta, m.theta)


@pytest.mark.parametrize(
    ("prior", "code"),
    [
        (lambda: mw.Prior(fixef=-1.0), "MW-A82"),
        (lambda: mw.Prior(sd=0), "MW-A82"),
        (lambda: mw.Prior(fixef={"x": float("nan")}), "MW-A82"),
        (lambda: mw.Prior(df=True), "MW-A82"),
        (lambda: mw.Prior(fixef={"z": 1.0}), "MW-A83"),
        (lambda: mw.Prior(sd={"h": 1.0}), "MW-A83"),
        (lambda: {"fixef": 1.0}, "MW-A07"),
    ],
)
def test_priors_that_are_refused(grouped: Any, prior: Any, code: str) -> None:
    with pytest.raises(mw.MixwellError) as refusal:
        mw.glmer("y ~ x + (1 | g)", grouped, family="binomial", prior=prior())
    assert refusal.value.code == code


def test_linear_models_and_comparisons_refuse_priors(grouped: Any) -> None:
    with pytest.raises(mw.MixwellError, match="prior"):
        mw.lmer("y ~ x + (1 | g)", grouped, prior=mw.Prior())  # type: ignore[call-arg]
    with pytest.raises(mw.MixwellError, match="MW-A80"):
        mw.fit("y ~ x + (1 | g)", grouped, prior=mw.Prior(), method="REML")
    m = mw.glm("y ~ x", grouped, family="binomial")
    with pytest.raises(mw.MixwellError, match="MW-A84"):
        mw.compare(m, mw.glm("y ~ x + f", grouped, family="binomial", prior=mw.Prior()))


def test_summary_says_the_prior(grouped: Any) -> None:
    m = mw.glm("y ~ x", grouped, family="binomial", prior=mw.Prior(fixef=1.5))
    assert "prior: fixef = 1.5" in m.summary()
    assert "penalised" in m.summary()


# --- the fast stage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "family"), [("y", "binomial"), ("count", "poisson"), ("count", "nbinom1")]
)
def test_fast_stage(grouped: Any, response: str, family: str) -> None:
    """Coefficients solve the penalised score equations; F is least over theta along them."""
    formula = f"{response} ~ x + (x | g)"
    fast, laplace = (mw.glmer(formula, grouped, family=family, nagq=k) for k in (0, 1))
    assert fast.loglik <= laplace.loglik + 1e-9
    assert fast.loglik > laplace.loglik - 1.0
    assert_allclose(fast.fixef.values, laplace.fixef.values, atol=0.5 * float(laplace.se.values.min()))
    t, p = fast.theta.size, len(fast.fixef)
    gradient = np.asarray(fast.core["gradient"])
    assert np.max(np.abs(gradient[t : t + p])) < 1e-4
    if family == "poisson":
        y = grouped["count"]
        assert_allclose(fast.model_matrix().T @ (y - fast.predict()), 0.0, atol=1e-4)
    assert "fast stage" in fast.summary()
    assert fast.certificate().passed


def test_fast_stage_without_random_effects_is_the_glm() -> None:
    table = {"count": [1, 2, 4, 8, 5], "x": [0, 1, 2, 3, 4]}
    slow, fast = (mw.fit("count ~ x", table, family="poisson", nagq=k) for k in (1, 0))
    assert_allclose(fast.fixef.values, slow.fixef.values, rtol=1e-6)


# --- further fits ------------------------------------------------------------------------------------------


def test_refit_is_a_fit_of_the_other_response(grouped: Any) -> None:
    m = mw.glmer("y ~ x + (1 | g)", grouped, family="binomial")
    other = m.simulate(1, seed=3)["sim_1"]
    again, direct = m.refit(other), mw.glmer("y ~ x + (1 | g)", grouped | {"y": other}, family="binomial")
    assert_allclose(again.fixef.values, direct.fixef.values, rtol=1e-6)
    assert_allclose(again.loglik, direct.loglik, rtol=1e-10)
    assert again.update("~ . + f").design.y is not None
    assert_allclose(again.update("~ .").loglik, direct.loglik, rtol=1e-8)


def test_a_gaussian_model_with_a_prior_or_a_link_is_a_generalised_one(grouped: Any) -> None:
    m = mw.fit("x ~ f + (1 | g)", grouped, prior=mw.Prior(fixef=0.1))
    plain = mw.lmer("x ~ f + (1 | g)", grouped, method="ML")
    assert abs(m.fixef["fb"]) < abs(plain.fixef["fb"])
    free = m.update(prior=None)
    assert isinstance(free, mw.GeneralizedModel)
    assert_allclose(free.loglik, plain.loglik, rtol=1e-9)
    assert_allclose(free.fixef.values, plain.fixef.values, atol=1e-6)


def test_update(grouped: Any) -> None:
    m = mw.glmer("count ~ x + (1 | g)", grouped, family="poisson", link="sqrt")
    assert m.update("~ . - x").fixef.names == ("(Intercept)",)
    assert m.update(family="nbinom2").family.link == "log"
    assert m.update("~ . + f").family.link == "sqrt"
    assert m.update(link="log", nagq=5).nagq == 5
    assert m.update(ziformula="~ 1").zi_fixef.names == ("(Intercept)",)


@pytest.mark.parametrize(
    ("response", "code"),
    [([0, 1], "MW-A09"), (["a"] * 160, "MW-A09"), ([np.nan] * 160, "MW-A09"), ([2.0] * 160, "MW-D28")],
)
def test_responses_that_are_refused(grouped: Any, response: Any, code: str) -> None:
    m = mw.glmer("y ~ x + (1 | g)", grouped, family="binomial")
    with pytest.raises(mw.MixwellError) as refusal:
        m.refit(response)
    assert refusal.value.code == code


def test_many_responses_at_once_are_single_refits(grouped: Any) -> None:
    """The native loop of bootstraps, all from the parameters that the responses were drawn from."""
    m = mw.glmer("count ~ x + (1 | g)", grouped, family="poisson")
    drawn = m.simulate(5, seed=2)
    responses = np.column_stack([drawn[name] for name in drawn]).T.copy()
    found = m.laplace.refit(responses, np.asarray(m.core["psi"]), m.hessian, 100)
    assert found["converged"].all()
    for y, criterion, natural in zip(
        responses, found["criterion"], m.laplace.natural(found["psi"]), strict=True
    ):
        single = m.refit(y)
        assert_allclose(criterion, -2 * single.loglik, rtol=1e-10)
        assert_allclose(natural[1:], single.fixef.values, atol=1e-5)
        assert_allclose(m.laplace.natural(m.laplace.standard(natural)[None])[0], natural, rtol=1e-10)
