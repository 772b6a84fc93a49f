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
