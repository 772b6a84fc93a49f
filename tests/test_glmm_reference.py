"""Generalised models against glmmTMB, ordinal, MASS and R's glm, each polished to its own optimum.

The tables and numbers come from reference/glmm.R. Laplace log-likelihoods hold all constants in both. R's glm
takes the dispersion from Pearson's statistic, as our standard errors of such models do; the stored
log-likelihood has the dispersion of maximum likelihood.
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
STORED = json.loads((HERE / "glmm.json").read_text())
MODELS = {model["name"]: model for model in STORED["models"]}
MIXED = [name for name, model in MODELS.items() if "sd" in model]
ORDERED = [name for name, model in MODELS.items() if "thresholds" in model]
CLASSICAL = [name for name, model in MODELS.items() if "deviance" in model]
FACTORS = {"cbpp": ("period", "herd"), "grouseticks": ("YEAR", "BROOD", "INDEX", "LOCATION")}
BOUNDARY = ("wine",)  # no variance among bottles
NORMAL = 1.959963984540054

LOGLIK = 1e-7  # relative
FIXEF = 1e-5  # standard errors
SE = 1e-4  # relative
SD = 1e-4  # relative; absolute for one that is zero
CORRELATION = 1e-4


@lru_cache
def table(name: str) -> pd.DataFrame:
    data = pd.read_csv(HERE / "data" / f"{name}.csv")
    if name == "glmm":
        data["id"] = np.arange(len(data)).astype(str)
    # Grouping factors and years that look like numbers.
    numbers = FACTORS.get(name, ())
    return data.assign(**{column: data[column].astype(str) for column in numbers})


@lru_cache
def fit(name: str) -> Any:
    model = MODELS[name]
    data = table(model["data"])
    door = mw.glmer if "|" in model["formula"] else mw.glm
    return door(
        model["formula"],
        data,
        family=model["family"],
        link=model.get("link"),
        weights=model.get("weights"),
        ziformula=model.get("zi_formula"),
        dispformula=model.get("disp_formula"),
    )


def array(values: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def assert_coefficients(ours: np.ndarray, theirs: Any, spread: Any = None) -> None:
    spread = array(theirs["se"] if spread is None else spread)
    off = np.abs(ours - array(theirs["estimate"])) / spread
    assert np.all(off < FIXEF), off


def test_number_of_models() -> None:
    assert len(MODELS) >= 100
    assert len(MIXED) >= 80


@pytest.mark.parametrize("name", MODELS)
def test_the_reference_is_an_optimum(name: str) -> None:
    """Gradients in standard errors: an estimate is off by about as much."""
    assert MODELS[name]["gradient"] < 1e-7


@pytest.mark.parametrize("name", MODELS)
def test_every_fit_is_certified(name: str) -> None:
    assert fit(name).certificate().passed, fit(name).certificate()


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if "loglik" in model])
def test_loglik(name: str) -> None:
    assert_allclose(fit(name).loglik, MODELS[name]["loglik"], rtol=LOGLIK)


@pytest.mark.parametrize("name", MODELS)
def test_fixed_effects(name: str) -> None:
    m, theirs = fit(name), MODELS[name]["fixef"]
    assert m.fixef.names == tuple(np.atleast_1d(theirs["names"]))
    assert_coefficients(m.fixef.values, theirs)
    assert_allclose(m.se.values, array(theirs["se"]), rtol=SE)


@pytest.mark.parametrize("name", MIXED)
def test_standard_deviations(name: str) -> None:
    """Standard deviations of all terms, and their correlations."""
    model, terms = MODELS[name], list(fit(name).varcorr())
    ours = np.concatenate([term.sd.values for term in terms])
    for sd, theirs in zip(ours, array(model["sd"]), strict=True):
        if theirs < 1e-3:
            assert sd < 1e-3
        else:
            assert_allclose(sd, theirs, rtol=SD)
    blocks = [term.correlation for term in terms if len(term.names) > 1 and term.structure != "diag"]
    pairs = [value for block in blocks for value in block.T[np.triu_indices(len(block), 1)]]
    assert_allclose(pairs, array(model["correlation"]), atol=CORRELATION)


def logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


SCALES = {"sigma": lambda v: 2 * np.log(v), "power": lambda v: logit(v - 1), "zi": logit}
"""Of auxiliary parameters with one value; logarithms of the others, coefficients as they are."""


@pytest.mark.parametrize("name", [name for name in MIXED if name not in BOUNDARY])
def test_standard_errors_of_the_rest(name: str) -> None:
    """Of logarithms of standard deviations, and of auxiliary parameters: they are in Wald intervals."""
    model, m = MODELS[name], fit(name)
    found = m.confint(method="wald")
    columns = [np.asarray(found[each], dtype=float) for each in ("lower", "upper")]
    ends = {term: np.array(pair) for term, *pair in zip(found["term"], *columns, strict=True)}

    def se(term: str, scale: Any) -> float:
        return float(np.abs(np.diff(scale(ends[term]))[0])) / (2 * NORMAL)

    deviations = [se(term, np.log) for term in found["term"] if term.startswith("sd_")]
    theirs, at = array(model["theta_se"]), 0
    for term in m.varcorr():
        k = 1 if term.structure == "ar1" else len(term.names)
        assert_allclose([deviations.pop(0) for _ in range(k)], theirs[at : at + k], rtol=SE)
        at += k
        if k == 2 and term.structure == "us":  # glmmTMB has rho / sqrt(1 - rho^2)
            a, b = term.names
            slope = 1 / np.sqrt(1 - term.correlation[1, 0] ** 2)
            assert_allclose(slope * se(f"cor_{b}.{a}|{term.group}", np.arctanh), theirs[at], rtol=SE)
        at += len(term.names) > 1 and term.structure != "diag"
    assert at == theirs.size

    theirs = [array((model.get(key) or {}).get("se", ())) for key in ("disp", "shape", "zi", "thresholds")]
    rest = [
        term for term in found["term"] if term not in m.fixef.names and not term.startswith(("sd_", "cor_"))
    ]
    spread = [
        se(term, np.asarray if ":" in term or "|" in term else SCALES.get(term, np.log)) for term in rest
    ]
    assert_allclose(spread, np.concatenate(theirs), rtol=SE)


def auxiliary(name: str) -> list[tuple[np.ndarray, Any]]:
    """Return coefficients of auxiliary predictors, ours and theirs, on our scale."""
    model, m = MODELS[name], fit(name)
    out = []
    if model["family"] in ("tweedie", "t"):  # the second auxiliary parameter
        second = m.dispersion["power" if model["family"] == "tweedie" else "df"]
        value = second - 1.0
        value = np.log(value / (1.0 - value)) if model["family"] == "tweedie" else np.log(second)
        out.append((array(value), model["shape"]))
    for ours, key in ((m.zi_fixef, "zi"), (m.disp_fixef, "disp")):
        theirs = model.get(key) or {}
        if not np.size(theirs.get("estimate", ())):
            assert not len(ours)
            continue
        # glmmTMB's dispersion of a gamma response is its shape, 1 / phi.
        turned = -1.0 if model["family"] == "gamma" and key == "disp" else 1.0
        out.append((turned * ours.values, theirs))
    return out


@pytest.mark.parametrize("name", [name for name in MODELS if "shape" in MODELS[name]])
def test_auxiliary_coefficients(name: str) -> None:
    """Dispersions, powers, degrees of freedom, extra zeros: coefficients."""
    for ours, theirs in auxiliary(name):
        assert_coefficients(ours, theirs)


@pytest.mark.parametrize("name", ORDERED)
def test_thresholds(name: str) -> None:
    assert_coefficients(fit(name).thresholds.values, MODELS[name]["thresholds"])


@pytest.mark.parametrize("name", CLASSICAL)
def test_dispersion_of_pearson(name: str) -> None:
    model, m = MODELS[name], fit(name)
    assert_allclose(m.pearson_dispersion, model["pearson"], rtol=1e-7)


def test_negative_binomial_of_mass() -> None:
    """MASS::glm.nb alternates between coefficients and theta until both stand still."""
    m, theirs = fit("quine_nbinom2"), STORED["glm.nb"]
    assert_allclose(m.loglik, theirs["loglik"], rtol=LOGLIK)
    assert_allclose(m.dispersion["size"], theirs["theta"], rtol=1e-6)
    assert np.all(np.abs(m.fixef.values - theirs["fixef"]) < FIXEF * m.se.values)


@pytest.mark.parametrize("contrasts", ["treatment", "sum", "helmert"])
@pytest.mark.parametrize("type_", [2, 3])
def test_anova_is_that_of_car(type_: Any, contrasts: str) -> None:
    """glmmTMB is not polished here: its own tolerance is what limits the digits."""
    theirs = json.loads((HERE / "glmm_anova.json").read_text())[f"type{type_}"]
    m = mw.glmer("binary ~ x * f + z + (1 | g)", table("glmm"), family="binomial", contrasts=contrasts)
    found = m.anova(type_).table()
    assert list(found["term"]) == theirs["term"]
    assert list(found["df"]) == theirs["df"]
    assert_allclose(found["statistic"], theirs["statistic"], rtol=1e-4)
