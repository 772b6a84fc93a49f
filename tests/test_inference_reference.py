"""Tests, degrees of freedom and intervals against lmerTest, pbkrtest, car, lme4's profiles and R's lm.

inference.json comes from reference/inference.R: every model at an optimum with more digits than R's
optimisers leave. What is left is the error of lmerTest's numerical derivatives (stored as `digits`, below
4e-6 in the degrees of freedom) and of the splines through lme4's profiles (below 5e-6 of an interval).
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from reference.fits import fit_as

from mixwell.inference.wald import approximation, joint, separate

STORED = json.loads((Path(__file__).parent / "reference" / "inference.json").read_text())
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["models"]}
PLAIN: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["lm"]}

DIGITS = 1e-5  # relative: se, degrees of freedom, F
P_VALUE = 1e-4  # relative
ESTIMATE = 1e-6  # in standard errors
LIMIT = 1e-5  # of the width of an interval
ZETA = 1e-5  # absolute
EXACT = 1e-9  # relative: least squares

# Where a variance is zero pbkrtest still counts it among the parameters; we take the model without it.
WITHOUT_THE_ZERO = {"dyestuff2": None, "unbalanced_zero": "kenward_roger_reduced"}

# Type II of car takes these factors before their interaction with a covariate, SAS and lmerTest after it.
BEFORE_THE_COVARIATE = {"lm_weights": ["f"], "lm_cake": ["recipe"]}


@cache
def fit(model_id: str) -> Any:
    """Our fit of a model of inference.json."""
    return fit_as(MODELS.get(model_id) or PLAIN[model_id])


def with_key(key: str) -> Any:
    """Parametrize over the models that have it."""
    return pytest.mark.parametrize("model_id", [name for name, model in MODELS.items() if model.get(key)])


def close_test(ours: Any, theirs: dict[str, Any]) -> None:
    """Compare one or several tests; fields of `theirs` as stored."""
    for name in ("se", "statistic", "num_df", "den_df", "df"):
        if name in theirs:
            assert_allclose(getattr(ours, name), np.squeeze(theirs[name]), rtol=DIGITS, err_msg=name)
    assert_allclose(ours.p_value, np.squeeze(theirs["p_value"]), rtol=P_VALUE, atol=1e-300, err_msg="p_value")


def kenward_roger(model_id: str) -> dict[str, Any] | None:
    """R's Kenward-Roger of the model that ours describes."""
    key = WITHOUT_THE_ZERO.get(model_id, "kenward_roger")
    return None if key is None else MODELS[model_id][key]


# --- one optimum, one parametrization ---------------------------------------------------------------------


@with_key("id")
def test_the_fits_agree(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    assert m.method == model["method"]
    assert_allclose(-2 * m.loglik, model["criterion"], rtol=1e-9)
    assert len(m.fixef.names) == len(model["names"])
    se = np.sqrt(np.diag(model["vcov"]))
    assert_allclose((m.fixef.values - model["fixef"]) / se, 0.0, atol=ESTIMATE)
    assert_allclose(m.vcov() / np.outer(se, se), model["vcov"] / np.outer(se, se), atol=ESTIMATE)
    assert_allclose(m.sigma, model["sigma"], rtol=ESTIMATE)


# --- hypotheses ---------------------------------------------------------------------------------------------


@with_key("satterthwaite")
def test_satterthwaite_of_coefficients(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    p = len(model["names"])
    ours = separate(approximation(m, "satterthwaite"), m.fixef.values, np.eye(p))
    close_test(ours, model["satterthwaite"]["separate"])


@with_key("satterthwaite")
def test_satterthwaite_of_joint_hypotheses(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    for rows, theirs in zip(model["L"], model["satterthwaite"]["joint"], strict=True):
        ours = joint(approximation(m, "satterthwaite"), m.fixef.values, np.array(rows, float))
        close_test(ours, theirs)


@with_key("kenward_roger")
def test_kenward_roger_of_coefficients(model_id: str) -> None:
    m, theirs = fit(model_id), kenward_roger(model_id)
    by = approximation(m, "kenward-roger")
    ours = separate(by, m.fixef.values, np.eye(len(m.fixef.values)))
    if theirs is None:  # without its random effect the model is a mean of independent observations
        assert_allclose(ours.df, m.nobs - 1, rtol=1e-9)
        assert_allclose(ours.se, m.se.values, rtol=1e-9)
        return
    assert_allclose(ours.df, theirs["df"], rtol=DIGITS)
    assert_allclose(ours.se, theirs["se"], rtol=DIGITS)
    scale = np.outer(theirs["se"], theirs["se"])
    assert_allclose(by.vcov / scale, theirs["vcov"] / scale, atol=DIGITS)


@with_key("kenward_roger")
def test_kenward_roger_of_joint_hypotheses(model_id: str) -> None:
    m, theirs = fit(model_id), kenward_roger(model_id)
    by = approximation(m, "kenward-roger")
    for rows, test in zip(MODELS[model_id]["L"], theirs["joint"] if theirs else [], strict=bool(theirs)):
        close_test(joint(by, m.fixef.values, np.array(rows, float)), test)


def test_pbkrtest_counts_a_variance_that_is_zero() -> None:
    """The difference is not small: five degrees of freedom for a mean of thirty independent observations."""
    assert_allclose(MODELS["dyestuff2"]["kenward_roger"]["df"], [5.0])
    assert_allclose(MODELS["dyestuff2"]["satterthwaite"]["separate"]["df"], [29.0])


# --- analysis of variance -----------------------------------------------------------------------------------


def columns(table: Any) -> dict[str, list[Any]]:
    """Columns of a table of ours, whatever its class."""
    table = table.table() if hasattr(table, "table") else table
    return {str(name): list(values) for name, values in pd.DataFrame(table).items()}


def close_anova(
    ours: Any,
    theirs: dict[str, Any],
    tolerance: float = DIGITS,
    *,
    terms: list[str] | None = None,
    chi_square: bool = False,
) -> None:
    """Compare all or the given terms; R's lines of residuals and intercept are not terms."""
    found = columns(ours)
    others = ("Residuals", "(Intercept)")
    named = [term for term in theirs["term"] if term not in others]
    assert [term for term in found["term"] if term not in others] == named
    for term in named if terms is None else terms:
        at, i = found["term"].index(term), theirs["term"].index(term)
        num_df, statistic = found["num_df"][at], found["statistic"][at]
        assert num_df == theirs["num_df"][i]
        if chi_square:
            statistic *= num_df  # of an F with infinite denominator degrees of freedom
        assert_allclose(statistic, theirs["statistic"][i], rtol=tolerance, err_msg=term)
        if "den_df" in theirs:
            assert_allclose(found["den_df"][at], theirs["den_df"][i], rtol=tolerance, err_msg=term)
        assert_allclose(found["p_value"][at], theirs["p_value"][i], rtol=P_VALUE, atol=1e-300, err_msg=term)


TYPES = pytest.mark.parametrize("kind", [1, 2, 3])


# Satterthwaite's joint df depend on how the rows of L are chosen. lmerTest's rows of types I and II follow
# the coding of the fit; ours do not, and are those of the default coding.
DEFAULT_CODING = {"unbalanced_helmert": "unbalanced_slope"}

# Type III without an intercept: lmerTest tests that the means of `third` are zero, SAS and we that they are
# equal.
NOT_MEANS = {"sleep_thirds": ["half"]}


@TYPES
@with_key("anova")
def test_anova_by_satterthwaite(model_id: str, kind: int) -> None:
    like = DEFAULT_CODING.get(model_id, model_id) if kind < 3 else model_id
    theirs = MODELS[like]["anova"]["satterthwaite"][str(kind)]
    if theirs["term"]:
        terms = NOT_MEANS.get(model_id) if kind == 3 else None
        close_anova(fit(model_id).anova(type=kind, ddf="satterthwaite"), theirs, terms=terms)


@TYPES
@with_key("kenward_roger")
def test_anova_by_kenward_roger(model_id: str, kind: int) -> None:
    if model_id in WITHOUT_THE_ZERO or MODELS[model_id]["weights"]:
        pytest.skip("pbkrtest's answer is for another model")
    theirs = MODELS[model_id]["anova"]["kenward_roger"][str(kind)]
    if theirs["term"]:
        terms = NOT_MEANS.get(model_id) if kind == 3 else None
        close_anova(fit(model_id).anova(type=kind, ddf="kenward-roger"), theirs, terms=terms)


def agreed(model: dict[str, Any], kind: int) -> list[str]:
    """Terms of which lmerTest and car test the same hypothesis: their F by the model's covariance is equal.

    Type II of car takes a term after all that do not contain it, by generalised least squares; lmerTest's is
    SAS's, by least squares, and a factor is not contained in its interaction with a covariate.
    """
    one, other = model["anova"]["satterthwaite"][str(kind)], model["car"].get(f"chisq_{kind}") or {"term": []}
    if not one["term"]:
        return []
    f = dict(zip(one["term"], np.multiply(one["statistic"], one["num_df"]), strict=True))
    chi_square = dict(zip(other["term"], other.get("statistic", []), strict=True))
    return [
        t for t, value in f.items() if t in chi_square and math.isclose(value, chi_square[t], rel_tol=1e-6)
    ]


@with_key("car")
def test_anova_of_car(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    for kind in (2, 3):
        terms = agreed(model, kind)
        if terms:
            theirs = model["car"][f"chisq_{kind}"]
            close_anova(m.anova(type=kind, ddf="normal"), theirs, terms=terms, chi_square=True)
        if model["car"].get(f"F_{kind}") and model_id not in WITHOUT_THE_ZERO:
            close_anova(m.anova(type=kind, ddf="kenward-roger"), model["car"][f"F_{kind}"], terms=terms)


# --- intervals ----------------------------------------------------------------------------------------------


def name_here(name: str, group_names: list[str]) -> str:
    """Our name of a parameter of lme4's profile: parts of a nested group are in the order of the formula."""
    kind, bar, group = name.partition("|")
    if not bar:
        return name
    same = [ours for ours in group_names if sorted(ours.split(":")) == sorted(group.split(":"))]
    return f"{kind}|{same[0]}"


@pytest.mark.parametrize(("level", "suffix"), [(0.95, ""), (0.5, "_50")])
@with_key("profile")
def test_profile_intervals(model_id: str, level: float, suffix: str) -> None:
    m, theirs = fit(model_id), MODELS[model_id]["profile"]
    found = columns(m.confint(method="profile", level=level))
    place = {term: i for i, term in enumerate(found["term"])}
    groups = [term.group for term in m.design.random]
    lower, upper = np.array(theirs["lower" + suffix]), np.array(theirs["upper" + suffix])
    at = [place[name_here(name, groups)] for name in theirs["names"]]
    width = upper - lower
    assert_allclose((np.array(found["lower"])[at] - lower) / width, 0.0, atol=LIMIT)
    assert_allclose((np.array(found["upper"])[at] - upper) / width, 0.0, atol=LIMIT)
    assert all(np.array(found["lower"])[at][lower == 0.0] == 0.0)


@with_key("profile")
def test_points_of_the_profile(model_id: str) -> None:
    m, theirs = fit(model_id), MODELS[model_id]["profile"]
    groups = [term.group for term in m.design.random]
    profile = m.profile()
    for name, points in zip(theirs["names"], theirs["points"], strict=True):
        curve = profile[name_here(name, groups)]
        ours = [curve.at(value).zeta for value in points["value"]]
        assert_allclose(ours, points["zeta"], atol=ZETA, err_msg=name)


# --- least squares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", PLAIN)
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual"])
def test_lm_coefficients(model_id: str, ddf: Any) -> None:
    m, model = fit(model_id), PLAIN[model_id]
    theirs = model["coefficients"]
    ours = separate(approximation(m, ddf), m.fixef.values, np.eye(len(model["names"])))
    for name in ("estimate", "se", "statistic"):
        assert_allclose(getattr(ours, name), theirs[name], rtol=EXACT)
    assert_allclose(ours.p_value, theirs["p_value"], rtol=1e-7)
    assert_allclose(ours.df, model["df"])
    assert_allclose(m.sigma, model["sigma"], rtol=EXACT)
    lower, upper = ours.interval(0.95)
    assert_allclose(lower, model["lower"], rtol=EXACT)
    assert_allclose(upper, model["upper"], rtol=EXACT)


@pytest.mark.parametrize("model_id", PLAIN)
def test_lm_overall_f(model_id: str) -> None:
    m, (statistic, num_df, den_df) = fit(model_id), PLAIN[model_id]["F"]
    ours = joint(approximation(m), m.fixef.values, np.eye(len(m.fixef.values))[1:])
    assert (ours.num_df, ours.den_df) == (num_df, den_df)
    assert math.isclose(ours.statistic, statistic, rel_tol=EXACT)


@pytest.mark.parametrize("model_id", PLAIN)
def test_lm_anova(model_id: str) -> None:
    m, model = fit(model_id), PLAIN[model_id]
    for kind, key in ((1, "anova"), (2, "car_2"), (3, "car_3")):
        if model.get(key):
            other = BEFORE_THE_COVARIATE.get(model_id, []) if kind == 2 else []
            terms = [term for term in model[key]["term"] if term not in [*other, "Residuals", "(Intercept)"]]
            close_anova(m.anova(type=kind), model[key], EXACT, terms=terms)
