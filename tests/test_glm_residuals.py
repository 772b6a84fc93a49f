"""Residuals, deviances, hat values and quasi-families: R's numbers, and what must hold of them."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose

import mixwell as mw
import mixwell.families

HERE = Path(__file__).parent / "reference"
REFERENCE = json.loads((HERE / "glm_residuals.json").read_text())
DATA = pd.read_csv(HERE / "data" / "glmm.csv").assign(share=lambda d: d["hits"] / d["trials"])
GLM = {each["name"]: each for each in REFERENCE["glm"]}
MIXED = {each["name"]: each for each in REFERENCE["mixed"]}


def fitted(reference: dict[str, Any], **options: Any) -> Any:
    for name in ("link", "variance"):
        if name in reference:
            options[name] = reference[name]
    if reference.get("weights_column"):
        options["weights"] = reference["weights_column"]
    if "zi_formula" in reference:
        options["ziformula"] = reference["zi_formula"]
    return mw.fit(reference["formula"], DATA, family=reference["family"], **options)


def glm_of(reference: dict[str, Any]) -> Any:
    if reference["family"] != "gaussian":
        return fitted(reference)
    return mw.glm(
        reference["formula"],
        DATA,
        family="gaussian",
        link=reference.get("link"),
        weights=reference.get("weights_column"),
    )


@pytest.mark.parametrize("name", GLM)
def test_glm_as_in_r(name: str) -> None:
    reference = GLM[name]
    m = glm_of(reference)
    assert_allclose(m.fixef.values, reference["fixef"], rtol=1e-6, atol=1e-7)
    for kind, values in reference["resid"].items():
        scale = np.max(np.abs(values))
        assert_allclose(m.resid(kind)[:60], values, rtol=1e-6, atol=1e-6 * scale, err_msg=kind)
    assert_allclose(m.hatvalues()[:60], reference["hat"], rtol=1e-6, atol=1e-9)
    assert_allclose(m.deviance, reference["deviance"], rtol=1e-8)
    assert_allclose(m.null_deviance, reference["null_deviance"], rtol=1e-6 if name == "nbinom2" else 1e-8)
    assert_allclose(m.pearson_chi2, reference["pearson_chi2"], rtol=1e-6)
    assert m.df_residual == reference["df_residual"]
    if "se" in reference:
        assert_allclose(m.pearson_dispersion, reference["dispersion"], rtol=1e-6)
        assert_allclose(m.se.values, reference["se"], rtol=1e-6)
        table = m.tidy()
        assert_allclose(table["statistic"], reference["statistic"], rtol=1e-5, atol=1e-6)
        assert_allclose(table["p_value"], reference["p_value"], rtol=1e-5, atol=1e-9)
    else:
        assert_allclose(m.dispersion["size"], reference["theta"], rtol=1e-5)


@pytest.mark.parametrize("name", MIXED)
def test_mixed_models_as_in_lme4_and_glmmtmb(name: str) -> None:
    """Given the modes; as exact as the optimisers of these packages."""
    reference = MIXED[name]
    m = fitted(reference)
    for kind, values in reference["resid"].items():
        assert_allclose(m.resid(kind)[:60], values, rtol=2e-4, atol=2e-4, err_msg=kind)
    if "deviance" in reference:
        assert_allclose(m.deviance, reference["deviance"], rtol=1e-4)


# --- quasi-families -----------------------------------------------------------------------------------------


def test_a_quasi_family_is_the_plain_one_with_a_dispersion() -> None:
    quasi = mw.glm("over ~ x + f", DATA, family="quasipoisson")
    plain = mw.glm("over ~ x + f", DATA, family="poisson")
    assert_allclose(quasi.fixef.values, plain.fixef.values, rtol=1e-12)
    phi = plain.pearson_chi2 / plain.df_residual
    assert_allclose(quasi.dispersion["phi"], phi, rtol=1e-12)
    assert_allclose(quasi.se.values, plain.se.values * math.sqrt(phi), rtol=1e-10)
    assert_allclose(quasi.resid("scaled"), plain.resid("pearson") / math.sqrt(phi), rtol=1e-10)
    assert quasi.ddf == "residual" and plain.ddf == "normal"
    f_test = quasi.test("fb = 0", "fc = 0").table()
    assert f_test["df"][0] == quasi.df_residual or "f" in str(f_test).lower()
    again = mw.glm("over ~ x + f", DATA, family="quasi", link="log", variance="mu")
    assert_allclose(again.se.values, quasi.se.values, rtol=1e-12)
    assert again.npar == quasi.npar == plain.npar + 1


def test_quasi_families_have_no_likelihood() -> None:
    quasi = mw.glm("count ~ x", DATA, family="quasipoisson")
    assert all(math.isnan(each) for each in (quasi.loglik, quasi.aic, quasi.aicc, quasi.bic))
    assert "no likelihood" in quasi.summary() and "quasipoisson (log)" in quasi.summary()
    square = mw.glm("amount ~ x", DATA, family="quasi", link="log", variance="mu^2")
    assert "Auxiliary" not in square.summary()
    assert quasi.glance()["method"][0] == "quasi-likelihood"
    other = mw.glm("count ~ 1", DATA, family="quasipoisson")
    for ask in (lambda: quasi.simulate(1), lambda: mw.compare(other, quasi)):
        with pytest.raises(mw.MixwellError, match="MW-A91"):
            ask()
    with pytest.raises(mw.MixwellError, match="MW-A91"):
        quasi.family.cdf(np.zeros(1), np.ones(1))


@pytest.mark.parametrize(
    ("formula", "options", "code"),
    [
        ("count ~ x + (1 | g)", {"family": "quasipoisson"}, "MW-A94"),
        ("binary ~ x", {"family": "quasibinomial", "dispformula": "~ x"}, "MW-A94"),
        ("count ~ x", {"family": "quasipoisson", "ziformula": "~ 1"}, "MW-A78"),
        ("count ~ x", {"family": "quasipoisson", "variance": "mu"}, "MW-A93"),
        ("count ~ x", {"family": "poisson", "variance": "mu"}, "MW-A93"),
        ("real ~ x", {"family": "gaussian", "variance": "mu"}, "MW-A93"),
        ("count ~ x", {"family": "quasi", "variance": "mu^4"}, "MW-A93"),
        ("count ~ x", {"family": "quasi", "variance": 2}, "MW-A93"),
        ("count ~ x", {"family": "quasi", "link": "logit"}, "MW-A77"),
        ("real ~ x", {"family": "quasi", "variance": "mu"}, "MW-D28"),
        ("real ~ x", {"family": "quasibinomial"}, "MW-D28"),
    ],
)
def test_quasi_refusals(formula: str, options: dict[str, Any], code: str) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        mw.fit(formula, DATA, **options)


def test_a_quasi_family_can_be_updated() -> None:
    m = mw.glm("amount ~ x", DATA, family="quasi", link="log", variance="mu^2")
    more = m.update("~ . + f")
    assert_allclose(more.se.values, mw.glm("amount ~ x + f", DATA, family="gamma", link="log").se.values)
    assert m.update(family="gamma", link="log").family.name == "gamma"
    assert m.refit(DATA["amount"] * 2).fixef["x"] == pytest.approx(m.fixef["x"], rel=1e-6)


# --- residuals ----------------------------------------------------------------------------------------------

KINDS = ("response", "pearson", "scaled", "deviance", "working")
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("real ~ x", {"family": "gaussian", "link": "identity"}),
    ("real ~ x", {"family": "gaussian", "dispformula": "~ z"}),
    ("heavy ~ x", {"family": "t"}),
    ("cbind(overhits, trials - overhits) ~ x", {"family": "betabinomial"}),
    ("over ~ x", {"family": "nbinom1"}),
    ("over ~ x", {"family": "nbinom2", "dispformula": "~ z"}),
    ("rate ~ x", {"family": "beta"}),
    ("rain ~ x", {"family": "tweedie"}),
    ("excess ~ x", {"family": "nbinom2", "ziformula": "~ z"}),
    ("excess ~ x", {"family": "truncated_poisson", "ziformula": "~ z"}),
    ("rain ~ x", {"family": "gamma", "link": "log", "ziformula": "~ 1"}),
]


@pytest.mark.parametrize("random", ["", " + (1 | g)"])
@pytest.mark.parametrize(("formula", "options"), MODELS)
def test_residuals_of_every_family(formula: str, options: dict[str, Any], random: str) -> None:
    m = (mw.glmer if random else mw.glm)(formula + random, DATA, **options)
    table = m.augment()
    assert_allclose(table[".fitted"] + table[".resid"], m.design.y, rtol=1e-12, atol=1e-12)
    scaled = m.resid("scaled")
    # Variances are those of the responses: squares of scaled residuals are about one on average
    # (more where the effects of groups are left out).
    assert 0.6 < np.mean(scaled**2) < (1.4 if random else 2.0)
    assert_allclose(m.pearson_chi2, np.sum(m.resid("pearson") ** 2))
    if m.family.zero:
        for ask in (lambda: m.resid("deviance"), lambda: m.deviance, lambda: m.resid("working")):
            with pytest.raises(mw.MixwellError, match=r"MW-A9[02]"):
                ask()
        assert np.isnan(m.glance()["deviance"][0])
        return
    squares = m.resid("deviance") ** 2
    assert_allclose(m.deviance, squares.sum(), rtol=1e-10)
    best = m.family.saturated(m.design.y, m.auxiliary(), m.weights)
    sign = np.sign(best - mw.families.mean_of(m.family.link, m.predict(type="link")))
    assert_allclose(np.sign(m.resid("deviance")), np.where(squares > 0, sign, 0))
    slope = mw.families.slope_of(m.family.link, m.predict(type="link"))
    assert_allclose(m.resid("working") * slope, m.resid(), rtol=1e-9, atol=1e-12)
    if random:
        for ask in (m.hatvalues, lambda: m.null_deviance):
            with pytest.raises(mw.MixwellError, match="MW-A92"):
                ask()
    else:
        assert_allclose(m.hatvalues().sum(), 2, rtol=1e-9)
        assert m.null_deviance > 0
        # Given the auxiliary parameters no intercept-only model comes closer.
        if "dispformula" not in options and m.family.name not in ("gaussian", "tweedie"):
            eta = np.full(m.nobs, mw.families.link_of(m.family.link, np.array([np.mean(best)]))[0])
            mean = mw.families.mean_of(m.family.link, eta)
            other = m.family.deviance(m.design.y, mean, m.auxiliary(), m.weights).sum()
            assert m.null_deviance <= other + 1e-8


def test_one_dispersion_for_each_row_is_counted_once() -> None:
    """With a dispformula Pearson residuals have the whole variance, and are then the scaled ones."""
    m = mw.glm("real ~ x", DATA, family="gaussian", dispformula="~ z")
    assert_allclose(m.resid("pearson"), m.resid("scaled"))
    assert_allclose(m.resid("deviance") ** 2, m.resid("scaled") ** 2, rtol=1e-9)
    constant = mw.glm("amount ~ x", DATA, family="gamma", link="log")
    phi = constant.dispersion["phi"]
    assert_allclose(constant.resid("scaled"), constant.resid("pearson") / math.sqrt(phi), rtol=1e-12)


def test_null_deviance_is_the_deviance_of_the_null_model() -> None:
    for formula, null, options in [
        ("count ~ x + offset(log(exposure))", "count ~ offset(log(exposure))", {"family": "poisson"}),
        ("amount ~ x + offset(z)", "amount ~ offset(z)", {"family": "gamma", "link": "log"}),
        ("rate ~ x + offset(z)", "rate ~ offset(z)", {"family": "quasibinomial"}),
    ]:
        m = mw.glm(formula, DATA, **options)
        assert_allclose(m.null_deviance, mw.glm(null, DATA, **options).deviance, rtol=1e-9)


def test_dropped_rows_and_columns() -> None:
    data = DATA.assign(x2=2 * DATA["x"], y=DATA["count"].astype(float))
    data.loc[[3, 10], "y"] = np.nan
    with pytest.warns(mw.MixwellWarning):
        m = mw.glm("y ~ x + x2", data, family="poisson")
    plain = mw.glm("y ~ x", data.drop(index=[3, 10]), family="poisson")
    for kind in KINDS:
        assert_allclose(m.resid(kind), plain.resid(kind), rtol=1e-6, atol=1e-8)
        aligned = m.resid(kind, align=True)
        assert np.isnan(aligned[[3, 10]]).all() and np.isfinite(np.delete(aligned, [3, 10])).all()
    assert_allclose(m.hatvalues(), plain.hatvalues(), rtol=1e-7)
    assert len(m.augment()) == 238 and len(m.augment(rows="all")) == 240
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        m.resid("quantiles")
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        m.augment(rows="some")


def test_tables_come_in_the_library_of_the_data() -> None:
    for data in (DATA, pl.from_pandas(DATA), {name: DATA[name].to_numpy() for name in DATA}):
        m = mw.glmer("count ~ x + (1 | g)", data, family="poisson")
        assert type(m.augment()) is type(data) and type(m.glance()) is type(data)
    row = m.glance()
    assert_allclose(row["aicc"][0], m.aic + 2 * 3 * 4 / (240 - 4))
    assert row["method"] == ["Laplace"] and np.isnan(row["null_deviance"][0])


def test_ordinal_models_have_only_a_linear_predictor() -> None:
    m = mw.glm("grade ~ x", DATA, family="cumulative")
    assert list(m.augment().columns)[len(DATA.columns) :] == [".eta"]
    assert np.isnan(m.glance()["pearson_chi2"][0]) and np.isfinite(m.glance()["aic"][0])
    for ask in (m.resid, m.hatvalues, lambda: m.pearson_chi2):
        with pytest.raises(mw.MixwellError, match="MW-A92"):
            ask()


def test_trials_of_zero_do_not_count() -> None:
    data = {"hits": [1, 3, 5, 8, 0], "n": [10, 10, 10, 10, 0], "x": [0.0, 1.0, 2.0, 3.0, 4.0]}
    m = mw.glm("cbind(hits, n - hits) ~ x", data, family="quasibinomial")
    plain = mw.glm("cbind(hits, n - hits) ~ x", {k: v[:4] for k, v in data.items()}, family="quasibinomial")
    assert_allclose(m.se.values, plain.se.values, rtol=1e-8)
    assert m.df_residual == plain.df_residual == 2
    assert_allclose([m.deviance, m.null_deviance], [plain.deviance, plain.null_deviance], rtol=1e-9)


def test_residuals_at_the_edge() -> None:
    x = np.linspace(-2.0, 2.0, 40)
    with pytest.warns(mw.MixwellWarning):  # separated: means round to the responses
        m = mw.glm("y ~ x", {"y": (x > 0).astype(int), "x": x}, family="binomial")
    for kind in KINDS:
        assert np.isfinite(m.resid(kind)).all()
    assert m.deviance < 1e-6 and np.isfinite(m.hatvalues()).all()
    saturated = mw.glm("y ~ f", {"y": [1, 2, 3, 5], "f": list("abcd")}, family="quasipoisson")
    assert math.isnan(saturated.pearson_dispersion) and abs(saturated.deviance) < 1e-9
    assert_allclose(saturated.hatvalues(), 1)
    empty = mw.glm("y ~ 0", {"y": [1, 2, 3, 5], "f": list("abcd")}, family="poisson")
    assert empty.null_deviance == empty.deviance and not empty.hatvalues().any()


def test_fits_can_be_pickled() -> None:
    for formula, family in [("amount ~ x", "gamma"), ("rain ~ x + (1 | g)", "tweedie")]:
        m = mw.fit(formula, DATA, family=family, link="log")
        again = pickle.loads(pickle.dumps(m))
        assert again.loglik == m.loglik
        assert_allclose(again.resid("deviance"), m.resid("deviance"))
