"""Quadrature against integrals made in R by other rules: trapezoidal, stats::integrate, Gauss-Hermite again.

The numbers come from reference/glmm_quadrature.R, where lme4's estimates are checked, too. All constants are
in these log-likelihoods, whatever the number of nodes.
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
MODELS = {model["name"]: model for model in json.loads((HERE / "glmm_quadrature.json").read_text())}
GROUPS = {"cbpp": ["period", "herd"], "toenail": ["patient"], "epil": ["subject"], "glmm": []}
ENOUGH = {"cbpp": 25, "toenail": 100, "epil": 25, "slopes": 15}
"""Nodes with which nothing changes any more."""

LOGLIK = 1e-7  # relative
FIXEF = 1e-5  # standard errors
SE = 1e-4  # relative
SD = 1e-4  # relative


@lru_cache
def fit(name: str) -> Any:
    model = MODELS[name]
    data = pd.read_csv(HERE / "data" / f"{model['data']}.csv")
    data = data.assign(**{column: data[column].astype(str) for column in GROUPS[model["data"]]})
    nodes = ENOUGH[name] if model["nodes"] == "all" else model["nodes"]
    return mw.glmer(model["formula"], data, family=model["family"], nagq=nodes)


@pytest.mark.parametrize("name", MODELS)
def test_loglik(name: str) -> None:
    model, m = MODELS[name], fit(name)
    assert model["gradient"] < 1e-7  # in standard errors
    assert_allclose(m.loglik, model["loglik"], rtol=LOGLIK)
    assert m.certificate().passed
    if model["nodes"] == "all":
        assert_allclose(model["check"], model["loglik"], atol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_estimates(name: str) -> None:
    model, m = MODELS[name], fit(name)
    theirs = model["fixef"]
    assert m.fixef.names == tuple(theirs["names"])
    off = np.abs(m.fixef.values - theirs["estimate"]) / theirs["se"]
    assert np.all(off < FIXEF), off
    assert_allclose(m.se.values, theirs["se"], rtol=SE)
    (term,) = m.varcorr()
    assert_allclose(term.sd.values, model["sd"], rtol=SD)
    if "correlation" in model:
        assert_allclose(term.correlation[1, 0], model["correlation"], atol=SD)
    if "log_size" in model:
        size = model["log_size"]
        assert abs(np.log(m.dispersion["size"]) - size["estimate"]) < FIXEF * size["se"]


def test_known_values() -> None:
    """Deviances of cbpp, negative binomial epil, the standard deviation of toenail, with few nodes too."""
    assert_allclose([-2 * fit(name).loglik for name in ("cbpp_1", "cbpp")], [184.0526, 183.9667], atol=5e-5)
    assert_allclose(fit("epil").dispersion["size"], 7.4036, atol=5e-5)
    assert_allclose(fit("epil").varcorr().terms[0].sd.values, [0.46554], atol=5e-6)
    found = [fit(name).varcorr().terms[0].sd.values[0] for name in ("toenail_1", "toenail_7", "toenail")]
    assert_allclose(found, [4.571, 3.770, 4.00659], rtol=1e-4)


def test_aic_does_not_depend_on_constants() -> None:
    """Seven nodes change AIC by what the approximation changes, not by binomial coefficients."""
    assert abs(fit("cbpp_1").aic - fit("cbpp_5").aic) < 0.1


def test_laplace_is_found_wanting() -> None:
    """Told to choose, quadrature is used where it matters."""
    model = MODELS["toenail"]
    data = pd.read_csv(HERE / "data" / "toenail.csv")
    m = mw.glmer(model["formula"], data.assign(patient=data["patient"].astype(str)), nagq="auto")
    assert m.nagq > 1
    assert any(note.code == "MW-W14" and "not accurate" in str(note) for note in m.notes)
