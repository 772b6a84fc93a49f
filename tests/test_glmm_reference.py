"""Generalised models against glmmTMB (polished to its own optimum), ordinal and R's glm.

The tables and numbers come from reference/glmm.R. Laplace log-likelihoods hold all constants in both. R's glm
takes the dispersion from Pearson's statistic: its standard errors are ours, its log-likelihood is not.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mixwell as mw

HERE = Path(__file__).parent / "reference"
MODELS = {model["name"]: model for model in json.loads((HERE / "glmm.json").read_text())}
MIXED = sorted(name for name, model in MODELS.items() if "theta" in model)
ORDERED = sorted(name for name, model in MODELS.items() if "thresholds" in model)
INTEGRATED = sorted(name for name, model in MODELS.items() if "nagq" in model)

LOGLIK = 1e-7  # relative
FIXEF = 1e-5  # standard errors
SE = 1e-4  # relative
SD = 1e-4  # relative; absolute for one that is zero


@lru_cache
def table(name: str) -> pd.DataFrame:
    return pd.read_csv(HERE / "data" / f"{name}.csv")


@lru_cache
def fit(name: str) -> Any:
    model = MODELS[name]
    data = table(model["data"])
    if model["data"] == "glmm":
        data = data.assign(id=np.arange(len(data)).astype(str))
    if model["data"] == "cbpp":
        data = data.assign(period=data["period"].astype(str), herd=data["herd"].astype(str))
    if model["data"] == "grouseticks":
        names = ("YEAR", "BROOD", "INDEX", "LOCATION")
        data = data.assign(**{column: data[column].astype(str) for column in names})
    options = {"ziformula": model.get("zi_formula"), "dispformula": model.get("disp_formula")}
    door = mw.glmer if "|" in model["formula"] else mw.glm
    return door(
        model["formula"],
        data,
        family=model["family"],
        link=model.get("link"),
        weights=model.get("weights_column"),
        **options,
        **({"nagq": model["nagq"]} if "nagq" in model else {}),
    )


@pytest.mark.parametrize("name", MODELS)
def test_loglik(name: str) -> None:
    model, ours = MODELS[name], fit(name).loglik
    assert model.get("gradient", 0.0) < 1e-3
    if "loglik" not in model:  # lme4 leaves constants out with quadrature
        return
    if model.get("known", True):
        assert_allclose(ours, model["loglik"], rtol=LOGLIK)
    else:  # ours has the dispersion of maximum likelihood
        assert ours >= model["loglik"] - 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_fixed_effects(name: str) -> None:
    model, m = MODELS[name], fit(name)
    theirs = model["fixef"]
    assert m.fixef.names == tuple(np.atleast_1d(theirs["names"]))
    se = np.atleast_1d(theirs["se"])
    assert np.all(np.abs(m.fixef.values - np.atleast_1d(theirs["estimate"])) < FIXEF * se + 1e-10)
    # glmer's covariance holds theta fixed with quadrature, and is differenced: not the joint one.
    assert_allclose(m.se.values, se, rtol=0.02 if "nagq" in model else SE)


@pytest.mark.parametrize("name", MIXED)
def test_auxiliary_coefficients(name: str) -> None:
    model, m = MODELS[name], fit(name)
    for ours, key in ((m.zi_fixef, "zi"), (m.disp_fixef, "disp")):
        theirs = np.atleast_1d(model[key]["estimate"])
        if not len(ours) or not theirs.size or model["family"] in ("tweedie",):
            continue
        values = np.array(ours.values)
        if model["family"] == "gamma":  # glmmTMB: log of 1 / sqrt(phi)... as reported, log(shape)
            values = -values
        if model["family"] == "gaussian" and values.size == theirs.size:
            values = values.copy()
        se = np.atleast_1d(model[key]["se"])
        assert_allclose(values, theirs, atol=2e-4 * float(np.max(se)) + 1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_standard_deviations(name: str) -> None:
    """thetaf of glmmTMB: log standard deviations of each block, then its correlation."""
    model, m = MODELS[name], fit(name)
    theta, at = np.atleast_1d(model["theta"]), 0
    # glmmTMB puts the inner factor of g/h first.
    terms = list(m.varcorr())[::-1] if "g/h" in model["formula"] else m.varcorr()
    for term in terms:
        k = len(term.names)
        for sd in term.sd.values:
            theirs = float(np.exp(theta[at]))
            at += 1
            if theirs < 1e-3:
                assert sd < 1e-3
            else:
                assert_allclose(sd, theirs, rtol=SD)
        if k == 2 and term.structure == "us":
            assert_allclose(term.correlation[0, 1], theta[at] / np.sqrt(1 + theta[at] ** 2), atol=SD)
            at += 1
    assert at == theta.size


@pytest.mark.parametrize("name", ORDERED)
def test_thresholds(name: str) -> None:
    model, m = MODELS[name], fit(name)
    assert_allclose(m.thresholds.values, model["thresholds"], rtol=1e-4)
    assert_allclose(m.varcorr().terms[0].sd.values, [model["sd"]], rtol=SD)


@pytest.mark.parametrize("name", INTEGRATED)
def test_quadrature(name: str) -> None:
    assert_allclose(fit(name).varcorr().terms[0].sd.values, [MODELS[name]["sd"]], rtol=2e-6)


@pytest.mark.parametrize("name", MODELS)
def test_every_fit_is_certified(name: str) -> None:
    assert fit(name).certificate().passed, fit(name).certificate()


@pytest.mark.parametrize("contrasts", ["treatment", "sum", "helmert"])
@pytest.mark.parametrize("type_", [2, 3])
def test_anova_is_that_of_car(type_: Any, contrasts: str) -> None:
    """glmmTMB is not polished here: its own tolerance is what limits the digits."""
    theirs = json.loads((HERE / "glmm_anova.json").read_text())[f"type{type_}"]
    m = mw.glmer("binary ~ x * f + z + (1 | g)", table("glmm"), family="binomial", contrasts=contrasts)
    found = m.anova(type_)
    assert list(found["term"]) == theirs["term"]
    assert list(found["df"]) == theirs["df"]
    assert_allclose(found["statistic"], theirs["statistic"], rtol=1e-4)
