"""R2, ICC and shares of variance of generalised models: R's packages, invariances, simulation, refusals.

glmm_description.json comes from reference/glmm_description.R: variances by insight at polished optima of
glmmTMB (ordinal for categories), observation-level variances as Nakagawa, Johnson and Schielzeth (2017) have
them.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose

import mixwell as mw

HERE = Path(__file__).parent / "reference"
STORED = json.loads((HERE / "glmm_description.json").read_text())
MIXED: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["mixed"]}
PLAIN: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["plain"]}

VARIANCE = 1e-5  # relative
PSEUDO = 1e-8
APPROXIMATIONS = ("lognormal", "delta", "trigamma")


@cache
def table(name: str) -> pd.DataFrame:
    data = pd.read_csv(HERE / "data" / f"{name}.csv")
    texts = {"cbpp": ("period", "herd"), "grouseticks": ("YEAR", "BROOD", "INDEX", "LOCATION")}
    return data.assign(
        id=np.arange(len(data)).astype(str), **{c: data[c].astype(str) for c in texts.get(name, ())}
    )


@cache
def fit(model_id: str) -> Any:
    model = MIXED.get(model_id) or PLAIN[model_id]
    door = mw.glmer if model_id in MIXED else mw.glm
    options = {"link": model.get("link"), "ziformula": model.get("zi_formula")}
    return door(model["formula"], table(model["data"]), family=model["family"], **options)


@cache
def glmer(formula: str, family: str = "binomial", link: str | None = None) -> Any:
    return mw.glmer(formula, table("glmm"), family=family, link=link)


def by_component(m: Any, approximation: Any = None) -> dict[tuple[str, Any], float]:
    shares = m.variance_partition(approximation=approximation)
    rows = zip(shares["component"], shares["group"], shares["variance"], strict=True)
    return {(component, group if isinstance(group, str) else None): value for component, group, value in rows}


# --- R ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", MIXED)
def test_variances_of_r(model_id: str) -> None:
    ours, model = by_component(fit(model_id)), MIXED[model_id]
    rtol = 1e-4 if model["family"] == "cumulative" else VARIANCE  # clmm stops where its optimiser stops
    assert_allclose(ours["fixed", None], model["fixed"], rtol=rtol)
    for group, variance in model["random"].items():
        component = "dispersion" if group in model["own"] else "random"
        assert_allclose(ours[component, group], variance, rtol=rtol, atol=1e-7)
    for approximation, variance in model["observation"].items():
        given = None if approximation == "none" else approximation
        if model_id == "poisson_sqrt" and given is None:
            given = "delta"
        assert_allclose(by_component(fit(model_id), given)["residual", None], variance, rtol=rtol)


@pytest.mark.parametrize("model_id", [name for name, model in MIXED.items() if "r2" in model])
def test_r2_and_icc_are_those_of_performance_where_no_mean_is_needed(model_id: str) -> None:
    m, model = fit(model_id), MIXED[model_id]
    assert m.r2().names == ("marginal", "conditional")
    rtol = 1e-4 if model["family"] == "cumulative" else VARIANCE
    assert_allclose(m.r2().values, model["r2"], rtol=rtol)
    assert_allclose([m.icc()["adjusted"], m.icc()["unadjusted"]], model["icc"], rtol=rtol)


@pytest.mark.parametrize("model_id", MIXED)
def test_r2_and_icc_are_ratios_of_the_variances(model_id: str) -> None:
    model, m = MIXED[model_id], fit(model_id)
    own = sum(value for group, value in model["random"].items() if group in model["own"])
    groups = sum(model["random"].values()) - own
    for approximation, observation in model["observation"].items():
        given = None if approximation == "none" else approximation
        total = model["fixed"] + groups + own + observation
        r2 = [model["fixed"] / total, (model["fixed"] + groups) / total]
        assert_allclose(m.r2(approximation=given).values, r2, rtol=1e-4)
        icc = m.icc(approximation=given)
        assert_allclose(icc["adjusted"], groups / (groups + own + observation), rtol=1e-4)
        assert_allclose(icc["unadjusted"], groups / total, rtol=1e-4)
        shares = m.icc(by_group=True, approximation=given)
        assert set(shares.names) == set(model["random"]) - set(model["own"])
        assert_allclose(sum(shares.values), icc["adjusted"], rtol=1e-12)


@pytest.mark.parametrize("model_id", MIXED)
def test_reductions_are_against_the_null_model(model_id: str) -> None:
    model, ours = MIXED[model_id], fit(model_id).r2(by_group=True)
    if "null_random" not in model:
        return
    assert set(ours.names) == {"residual", *model["random"]} - set(model["own"])
    for group in set(ours.names) - {"residual"}:
        if model["random"][group] > 1e-6:
            ratio = model["random"][group] / model["null_random"][group]
            assert_allclose(ours[group], 1 - ratio, atol=1e-4 * ratio)
        else:
            assert ours[group] in (0.0, 1.0)
    if "r2" in model:
        assert ours["residual"] == 0.0


@pytest.mark.parametrize("model_id", PLAIN)
def test_pseudo_r2_of_r(model_id: str) -> None:
    model, ours = PLAIN[model_id], fit(model_id).r2()
    for name in ("deviance", "mcfadden", "coxsnell", "nagelkerke", "tjur"):
        assert (name in model) == (name in ours) or name in ("coxsnell", "deviance")
        if name in model:
            assert_allclose(ours[name], model[name], rtol=PSEUDO)


# --- what they must be ------------------------------------------------------------------------------------


def test_an_identity_link_is_the_linear_model() -> None:
    formula = "real ~ x + f + (x | g) + (1 | h)"
    m = glmer(formula, "gaussian")
    linear = mw.lmer(formula, table("glmm"), method="ML")
    assert_allclose(m.r2().values, linear.r2().values, rtol=1e-6)
    assert_allclose(m.icc().values, linear.icc().values, rtol=1e-6)
    assert_allclose(m.r2(by_group=True).values, linear.r2(by_group=True).values, rtol=1e-5, atol=1e-8)
    assert_allclose(
        m.variance_partition()["variance"], linear.variance_partition()["variance"], rtol=1e-6, atol=1e-10
    )


def expanded(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a trial."""
    parts = []
    for value, count in ((1, rows["hits"]), (0, rows["trials"] - rows["hits"])):
        parts.append(rows.loc[rows.index.repeat(count)].assign(y=value))
    return pd.concat(parts)


@pytest.mark.parametrize("approximation", [None, "delta"])
def test_trials_count_singly(approximation: Any) -> None:
    grouped = glmer("cbind(hits, trials - hits) ~ 1 + (1 | g)")
    single = mw.glmer("y ~ 1 + (1 | g)", expanded(table("glmm")), family="binomial")
    for ours, theirs in (
        (grouped.r2(approximation=approximation), single.r2(approximation=approximation)),
        (grouped.icc(approximation=approximation), single.icc(approximation=approximation)),
    ):
        assert_allclose(ours.values, theirs.values, rtol=1e-6, atol=1e-12)


def test_pseudo_r2_of_trials_is_that_of_the_single_ones() -> None:
    data = table("glmm")
    grouped = mw.glm("cbind(hits, trials - hits) ~ x + f", data, family="binomial").r2()
    shares = mw.glm(
        "share ~ x + f", data.assign(share=data["hits"] / data["trials"]), weights="trials", family="binomial"
    ).r2()
    single = mw.glm("y ~ x + f", expanded(data), family="binomial").r2()
    for name in ("mcfadden", "coxsnell", "nagelkerke", "tjur"):
        assert_allclose([grouped[name], shares[name]], single[name], rtol=1e-9)
    assert_allclose(single["deviance"], single["mcfadden"], rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "response"), [("poisson", "count"), ("nbinom2", "over"), ("gamma", "amount")]
)
def test_whole_weights_are_replications(family: str, response: str) -> None:
    data = table("glmm")
    formula = f"{response} ~ x + f"
    weighted = mw.glm(formula, data, family=family, link="log", weights="w").r2()
    repeated = mw.glm(formula, data.loc[data.index.repeat(data["w"])], family=family, link="log").r2()
    assert_allclose(weighted.values, repeated.values, rtol=1e-6)


def test_the_unit_of_an_exposure_does_not_matter() -> None:
    data = table("glmm").assign(seconds=3600.0 * table("glmm")["exposure"])
    formula = "count ~ x + offset(log({})) + (1 | g)"
    for family in ("poisson", "nbinom2"):
        one, two = (
            mw.glmer(formula.format(column), data, family=family) for column in ("exposure", "seconds")
        )
        assert_allclose(one.r2().values, two.r2().values, rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "response"), [("gamma", "amount"), ("tweedie", "rain"), ("gaussian", "amount")]
)
def test_the_unit_of_a_response_does_not_matter(family: str, response: str) -> None:
    data = table("glmm")
    one, two = (
        mw.glmer("v ~ x + (1 | g)", data.assign(v=unit * data[response]), family=family, link="log")
        for unit in (1.0, 10.0)
    )
    for approximation in APPROXIMATIONS:
        assert_allclose(
            one.r2(approximation=approximation).values, two.r2(approximation=approximation).values, rtol=1e-5
        )


def test_pseudo_r2_of_a_gaussian_model_is_r2() -> None:
    m = mw.glm("real ~ x + f", table("glmm"), family="gaussian")
    expected = mw.lm("real ~ x + f", table("glmm")).r2()["r2"]
    assert_allclose([m.r2()["deviance"], m.r2()["coxsnell"]], expected, rtol=1e-9)
    assert m.r2().names == ("deviance", "coxsnell")


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog"])
def test_turning_successes_round_turns_the_link_round_and_nothing_else(link: str) -> None:
    turned = {"cloglog": "loglog", "loglog": "cloglog"}.get(link, link)
    one = glmer("cbind(hits, trials - hits) ~ x + (1 | g)", "binomial", link)
    two = glmer("cbind(trials - hits, hits) ~ x + (1 | g)", "binomial", turned)
    for approximation in (None, "delta"):
        ours, theirs = (m.r2(approximation=approximation) for m in (one, two))
        assert_allclose(ours.values, theirs.values, rtol=1e-6)


def test_other_variances_are_those_of_their_definition() -> None:
    """Inverse links at a typical level, extra zeros of amounts, heavy tails."""
    data = table("glmm")
    inverse = mw.glmer("amount ~ 1 + (1 | h)", data, family="gamma", link="inverse")
    mean = 1 / inverse.fixef["(Intercept)"]
    assert_allclose(by_component(inverse)["residual", None], inverse.dispersion["phi"] / mean**2, rtol=1e-10)
    dry = data.assign(dry=np.where(np.arange(240) % 4 == 0, 0.0, data["amount"]))
    hurdle = mw.glmer("dry ~ x + (1 | g)", dry, family="gamma", link="log", ziformula="~ 1")
    phi, zeros = hurdle.dispersion["phi"], hurdle.dispersion["zi"]
    assert_allclose(
        by_component(hurdle)["residual", None], math.log1p((phi + zeros) / (1 - zeros)), rtol=1e-10
    )
    heavy = glmer("heavy ~ x + (1 | g)", "t")
    scale, df = heavy.dispersion["scale"], heavy.dispersion["df"]
    assert_allclose(by_component(heavy)["residual", None], scale**2 * df / (df - 2), rtol=1e-10)


def test_a_response_without_a_variance_is_refused() -> None:
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(20), 15)
    data = {"y": rng.normal(size=20)[g] + rng.standard_cauchy(300), "g": g.astype(str)}
    m = mw.glmer("y ~ 1 + (1 | g)", data, family="t")
    assert m.dispersion["df"] < 2
    with pytest.raises(mw.MixwellError, match="MW-A100"):
        m.r2()


def test_dispersions_of_the_rows_are_averaged() -> None:
    m = mw.glmer("real ~ x + (1 | g)", table("glmm"), family="gaussian", dispformula="~ z")
    expected = np.mean(m.auxiliary()[0] ** 2)
    assert_allclose(by_component(m)["residual", None], expected, rtol=1e-12)
    counts = mw.glmer("over ~ x + (1 | g)", table("glmm"), family="nbinom2", dispformula="~ z")
    null = mw.glmer("over ~ 1 + (1 | g)", table("glmm"), family="nbinom2", dispformula="~ z")
    mean = math.exp(null.fixef["(Intercept)"] + 0.5 * null.varcorr()["g"].sd["(Intercept)"] ** 2)
    expected = np.mean(np.log1p(1 / mean + 1 / counts.auxiliary()[0]))
    assert_allclose(by_component(counts)["residual", None], expected, rtol=1e-6)


def test_overdispersion_as_random_effects_or_as_a_distribution() -> None:
    """Beta-binomial trials and random effects of the rows are two words for one thing."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(60), 12)
    eta = rng.normal(size=60)[g] + 0.5 * rng.normal(size=g.size)
    n = np.full(g.size, 40)
    data = {"hits": rng.binomial(n, 1 / (1 + np.exp(-eta))), "n": n, "g": g.astype(str)}
    data["row"] = np.arange(g.size).astype(str)
    own = mw.glmer("cbind(hits, n - hits) ~ 1 + (1 | g) + (1 | row)", data, family="binomial").icc()
    beta = mw.glmer("cbind(hits, n - hits) ~ 1 + (1 | g)", data, family="betabinomial").icc()
    assert_allclose(beta["adjusted"], own["adjusted"], atol=0.02)


def test_a_null_model_explains_nothing_and_changes_nothing() -> None:
    m = glmer("count ~ 1 + (1 | g)", "poisson")
    assert m.r2()["marginal"] == 0.0
    assert_allclose(m.r2(by_group=True).values, 0.0)
    assert mw.glm("count ~ 1", table("glmm"), family="poisson").r2().to_dict() == {
        "deviance": 0.0,
        "mcfadden": 0.0,
        "coxsnell": 0.0,
        "nagelkerke": 0.0,
    }


def test_columns_that_were_dropped_and_models_without_an_intercept() -> None:
    data = table("glmm").assign(twice=2 * table("glmm")["x"])
    full = glmer("count ~ x + f + (1 | g)", "poisson").r2()
    with pytest.warns(mw.MixwellWarning):
        dropped = mw.glmer("count ~ x + f + twice + (1 | g)", data, family="poisson")
    assert_allclose(dropped.r2().values, full.values, rtol=1e-6)
    assert_allclose(glmer("count ~ 0 + f + x + (1 | g)", "poisson").r2().values, full.values, rtol=1e-6)
    plain = mw.glm("count ~ 0 + f", data, family="poisson").r2()
    assert_allclose(plain.values, mw.glm("count ~ f", data, family="poisson").r2().values, rtol=1e-9)
    with_zero = glmer("count ~ 0 + (1 | g)", "poisson")
    assert with_zero.r2()["marginal"] == 0.0


def test_a_variance_of_zero_is_zero_and_not_missing() -> None:
    rng = np.random.default_rng(0)
    data = {"y": np.tile([0, 1, 2, 3], 10), "g": np.repeat(np.arange(10), 4).astype(str)}
    data["x"] = rng.normal(size=40)
    m = mw.glmer("y ~ x + (1 | g)", data, family="poisson")
    assert m.icc().to_dict() == {"adjusted": 0.0, "unadjusted": 0.0}
    assert m.repca()["g"].dimensions == 0
    assert m.r2(by_group=True)["g"] == 0.0


def test_priors_and_quadrature_pass_to_the_null_model() -> None:
    prior = mw.Prior(fixef={"x": 1.0}, sd=1.0)
    m = mw.glmer("binary ~ x + (1 | g)", table("glmm"), family="binomial", nagq=7, prior=prior)
    assert m._null.nagq == 7
    assert m._null.prior is not None
    assert 0 < m.r2(approximation="delta")["conditional"] < 1


# --- simulation -------------------------------------------------------------------------------------------


def pairs(m: Any, n: int, seed: int) -> tuple[Any, Any]:
    """The first two responses of each group, over n simulations."""
    codes = m.design.random[0].codes
    first = [int(np.flatnonzero(codes == j)[0]) for j in range(codes.max() + 1)]
    second = [int(np.flatnonzero(codes == j)[1]) for j in range(codes.max() + 1)]
    draws = m.simulate(n, seed=seed)
    columns = [np.asarray(draws[f"sim_{i + 1}"]) for i in range(n)]
    return np.concatenate([c[first] for c in columns]), np.concatenate([c[second] for c in columns])


def test_the_icc_of_a_probit_model_gives_the_joint_probability_of_two_responses() -> None:
    from scipy.stats import multivariate_normal, norm

    m = glmer("binary ~ 1 + (1 | g)", "binomial", "probit")
    one, two = pairs(m, 2000, 1)
    icc = m.icc()["adjusted"]
    h = m.fixef["(Intercept)"] * math.sqrt(1 - icc)  # over the standard deviation of the latent response
    both = float(multivariate_normal([0, 0], [[1, icc], [icc, 1]]).cdf([h, h]))
    for found, expected in ((np.mean(one), norm.cdf(h)), (np.mean(one * two), both)):
        assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / one.size)


def test_the_trigamma_icc_of_a_gamma_model_is_the_correlation_of_logarithms() -> None:
    m = glmer("amount ~ 1 + (1 | g)", "gamma", "log")
    one, two = pairs(m, 2000, 2)
    found = np.corrcoef(np.log(one), np.log(two))[0, 1]
    expected = m.icc(approximation="trigamma")["adjusted"]
    assert abs(found - expected) < 4 * (1 - expected**2) / math.sqrt(one.size) * 1.5


def test_the_mean_and_the_icc_of_counts_on_their_own_scale() -> None:
    """From v / mu^2 ("delta") and the variance of the random effects follows the correlation of counts."""
    for family in ("poisson", "nbinom2"):
        m = glmer("over ~ 1 + (1 | g)", family)
        one, two = pairs(m, 4000, 3)
        shares = by_component(m, "delta")
        between = math.expm1(shares["random", "g"])
        ratio = shares["residual", None]
        if family == "poisson":
            mean = 1 / ratio
        else:
            size = m.dispersion["size"]
            mean = 1 / (ratio - 1 / size)
            ratio += between / size  # the quadratic part grows with the spread of the means
        expected = between / (between + ratio)
        found = np.corrcoef(one, two)[0, 1]
        assert abs(np.mean(one) / mean - 1) < 5 * np.std(one) / mean / math.sqrt(one.size)
        assert abs(found - expected) < 0.02


def test_trigamma_is_exact_for_the_logit_of_a_beta_response() -> None:
    rng = np.random.default_rng(4)
    m = glmer("rate ~ 1 + (1 | g)", "beta")
    mean, (precision, *_) = float(m._null.fitted().mean()), m.auxiliary()[0]
    null = m.fixef["(Intercept)"]
    z, w = np.polynomial.hermite_e.hermegauss(61)
    sd = m.varcorr()["g"].sd["(Intercept)"]
    mu = float(w / w.sum() @ (1 / (1 + np.exp(-null - sd * z))))
    assert abs(mean - mu) < 0.05
    share = rng.beta(mu * precision, (1 - mu) * precision, 200_000)
    found = np.var(np.log(share / (1 - share)))
    assert_allclose(by_component(m, "trigamma")["residual", None], found, rtol=0.02)
    assert by_component(m)["residual", None] < found  # the delta method is too small here


# --- tables, principal components, refusals ---------------------------------------------------------------


def test_principal_components() -> None:
    m = fit("poisson_slopes")
    pca = m.repca()
    g, h = pca["g"], pca["h"]
    sigma = m.varcorr()["g"].matrix
    assert_allclose(np.sum(g.sd**2), np.trace(sigma), rtol=1e-12)
    assert_allclose(g.loadings @ np.diag(g.sd**2) @ g.loadings.T, sigma, rtol=1e-10, atol=1e-12)
    assert (g.dimensions, h.dimensions) == (2, 1)
    assert "sd / sigma" not in repr(pca)
    assert "2 of 2 dimensions supported" in repr(pca)


def test_tables_come_in_the_callers_library() -> None:
    data = table("glmm")[["count", "x", "g", "id"]]
    for given in (data, pl.from_pandas(data), data.to_dict("list")):
        m = mw.glmer("count ~ x + (1 | g) + (1 | id)", given, family="poisson")
        shares = m.variance_partition()
        assert isinstance(shares, type(given))
        assert list(shares["component"]) == ["fixed", "random", "dispersion", "residual"]
    assert_allclose(sum(shares["share"]), 1.0)


def test_shares_without_random_effects_are_those_of_the_latent_response() -> None:
    """McKelvey and Zavoina's R2."""
    m = mw.glm("binary ~ x + f", table("glmm"), family="binomial")
    shares = m.variance_partition()
    fixed = np.var(m.predict(type="link"), ddof=1)
    assert_allclose(shares["share"][0], fixed / (fixed + math.pi**2 / 3), rtol=1e-12)


@pytest.mark.parametrize(
    ("formula", "family", "link", "approximation", "code"),
    [
        ("binary ~ x + (1 | g)", "binomial", "cauchit", None, "MW-A100"),
        ("positive ~ x + (1 | g)", "truncated_poisson", None, None, "MW-A100"),
        ("grade ~ x + (1 | g)", "cumulative", "logit", "delta", "MW-A102"),
        ("binary ~ x + (1 | g)", "binomial", None, "lognormal", "MW-A102"),
        ("count ~ x + (1 | g)", "poisson", "sqrt", "trigamma", "MW-A102"),
        ("binary ~ x + (1 | g)", "binomial", None, "delt", "MW-A02"),
    ],
)
def test_refusals(formula: str, family: str, link: str | None, approximation: Any, code: str) -> None:
    data = table("glmm").assign(positive=table("glmm")["count"] + 1)
    m = mw.glmer(formula, data, family=family, link=link)
    for what in (m.r2, m.icc, m.variance_partition):
        with pytest.raises(mw.MixwellError, match=code):
            what(approximation=approximation)
    if code == "MW-A100" and family == "binomial":
        assert 0 < m.r2(approximation="delta")["conditional"] < 1


def test_refusals_without_random_effects() -> None:
    m = mw.glm("count ~ x", table("glmm"), family="poisson")
    for what in (m.icc, m.repca, lambda: m.r2(by_group=True)):
        with pytest.raises(mw.MixwellError, match="MW-A61"):
            what()
    with pytest.raises(mw.MixwellError, match="MW-A102"):
        m.r2(approximation="delta")
    with pytest.raises(mw.MixwellError, match="MW-A91"):
        mw.glm("count ~ x", table("glmm"), family="quasipoisson").variance_partition()
    with pytest.raises(mw.MixwellError, match="MW-A01"):
        m.r2(by_groups=True)
