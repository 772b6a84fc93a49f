"""Every reference model of R, to the digits that its optimum has.

models.json comes from reference/generate.R: lme4 (or, for structures that it does not fit, glmmTMB or an
equivalent model) with tight optimisers and Newton steps, so that the reference itself is good to the
tolerances here. Where our criterion is lower than R's by more than rounding, ours_in_r.json must show R's own
criterion at our parameters to be lower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference.fits import fit, models

IN_R = json.loads((Path(__file__).parent / "reference" / "ours_in_r.json").read_text())
MODELS = pytest.mark.parametrize("model_id", models())

CRITERION = 1e-8  # relative
FIXEF = 1e-7  # in standard errors
SE = 1e-6  # relative
SD = 1e-5  # relative
ZERO = 1e-5  # a standard deviation that is zero, relative to the residual one
RANEF = 1e-5  # in units of the residual standard deviation


def pairs(m: Any, model: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Match our terms with R's, which are sorted by number of levels: same groups, same number of columns."""
    left = list(range(len(m.design.random)))
    found = []
    for term in model["terms"]:
        k = np.size(term["sd"])
        groups = set(np.atleast_1d(term["parts"]).tolist())
        ours = next(
            t
            for t in left
            if set(m.design.random[t].factor_names) == groups and len(m.design.random[t].names) == k
        )
        left.remove(ours)
        found.append((ours, term))
    assert not left
    return found


@MODELS
def test_criterion(model_id: str) -> None:
    ours, theirs = -2 * fit(model_id).loglik, models()[model_id]["criterion"]
    if ours < theirs - CRITERION * abs(theirs):
        shown = IN_R[model_id]
        assert_allclose(fit(model_id).theta, np.atleast_1d(shown["theta"]), rtol=1e-4, atol=1e-4)
        assert_allclose(shown["in_r"], ours, rtol=CRITERION)
    else:
        assert_allclose(ours, theirs, rtol=CRITERION)


@MODELS
def test_r_evaluates_our_optimum_as_we_do(model_id: str) -> None:
    assert_allclose(IN_R[model_id]["in_r"], -2 * fit(model_id).loglik, rtol=CRITERION)


@MODELS
def test_no_default_fit_of_r_is_lower(model_id: str) -> None:
    before = models()[model_id]["before"]  # None where glmmTMB's default search fails
    assert before is None or -2 * fit(model_id).loglik <= before + CRITERION * abs(before)


@MODELS
def test_fixed_effects(model_id: str) -> None:
    m, model = fit(model_id), models()[model_id]
    if "C(" not in model["formula"] and "center(" not in model["formula"]:  # these have other names in R
        assert list(m.fixef.names) == model["names"]
    assert m.dropped == tuple(np.atleast_1d(model["dropped"] or []).tolist())
    assert m.nobs == model["n"]
    se = np.array(model["se"])
    assert_allclose((m.fixef.values - model["fixef"]) / se, 0, atol=FIXEF)
    assert_allclose(m.se.values, se, rtol=SE)


@MODELS
def test_variance_components(model_id: str) -> None:
    m, model = fit(model_id), models()[model_id]
    assert_allclose(m.sigma, model["sigma"], rtol=SD)
    for ours, term in pairs(m, model):
        covariance = m.varcorr().terms[ours]
        sd = np.atleast_1d(term["sd"])
        assert_allclose(covariance.sd.values, sd, rtol=SD, atol=ZERO * m.sigma)
        known = sd > ZERO * m.sigma
        both = np.outer(known, known)
        assert_allclose(covariance.correlation[both], np.atleast_2d(term["corr"])[both], atol=2 * SD)


@MODELS
def test_conditional_modes(model_id: str) -> None:
    m, model = fit(model_id), models()[model_id]
    for ours, term in pairs(m, model):
        design = m.design.random[ours]
        place = [np.atleast_1d(term["parts"]).tolist().index(name) for name in design.factor_names]
        ours_by_level = {
            tuple(map(str, level if isinstance(level, tuple) else (level,))): row
            for level, row in zip(design.levels, m.solution.b[ours], strict=True)
        }
        for level, modes in zip(term["levels"], term["ranef"], strict=True):
            parts = np.atleast_1d(level).tolist()
            ours_here = ours_by_level[tuple(parts[i] for i in place)]
            assert_allclose(ours_here / m.sigma, np.atleast_1d(modes) / m.sigma, atol=RANEF)


WRITTEN = (
    *(
        "||",
        "(0 +",
        " / ",
        ":",
        "^2",
        "%in%",
        "offset(",
        "poly(",
        "bs(",
        "ns(",
        "scale(",
        "log(",
        "sqrt(",
        "exp(",
    ),
    *("I(", "factor(", "sum)", "helmert)", "diff)", "poly)", "cs(", "ar1(", "diag("),
)


def test_the_references_cover_what_can_be_written() -> None:
    formulas = " ".join(model["formula"] for model in models().values())
    assert [piece for piece in WRITTEN if piece not in formulas] == []
    assert len(models()) >= 60
    assert {model["method"] for model in models().values()} == {"REML", "ML"}
