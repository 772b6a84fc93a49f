"""R2, ICC, variance partition and principal components: definitions, invariances, and R's packages.

description.json comes from reference/description.R, at optima with more digits than R's optimisers leave, so
that definitions and not search are compared.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from reference.fits import fit_as, table

import mixwell as mw

STORED = json.loads((Path(__file__).parent / "reference" / "description.json").read_text())
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["models"]}
PLAIN: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["lm"]}
ALL = pytest.mark.parametrize("model_id", MODELS)

VARIANCE = 1e-6  # relative: variances and shares
EXACT = 1e-10  # least squares


@cache
def fit(model_id: str) -> Any:
    return fit_as(MODELS.get(model_id) or PLAIN[model_id])


@cache
def sleep(formula: str = "Reaction ~ Days + (Days | Subject)", method: str = "REML") -> Any:
    return mw.fit(formula, mw.data.load("sleepstudy", "dict"), method=method)


def parts(group: str) -> frozenset[str]:
    """A nested factor is "batch:cask" here and "cask:batch" in lme4."""
    return frozenset(group.split(":"))


def by_parts(named: Any) -> dict[frozenset[str], float]:
    return {parts(name): value for name, value in named.items()}


# --- R ----------------------------------------------------------------------------------------------------


@ALL
def test_variances_are_those_of_the_definition_evaluated_in_r(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    shares = m.variance_partition()
    ours: dict[frozenset[str], float] = {}
    for component, group, variance in zip(
        shares["component"], shares["group"], shares["variance"], strict=True
    ):
        key = parts(group) if component == "random" else frozenset((component,))
        ours[key] = ours.get(key, 0.0) + variance
    theirs = by_parts(dict(zip(model["groups"], model["random"], strict=True)))
    theirs |= {frozenset(("fixed",)): model["fixed"], frozenset(("residual",)): model["residual"]}
    assert ours.keys() == theirs.keys()
    total = sum(theirs.values())
    for key, value in theirs.items():
        assert_allclose(ours[key], value, rtol=VARIANCE, atol=VARIANCE * total)
    assert_allclose(shares["share"], np.asarray(shares["variance"]) / total, rtol=VARIANCE)


@pytest.mark.parametrize("model_id", [name for name, model in MODELS.items() if "r2" in model])
def test_r2_and_icc_are_those_of_performance(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    assert m.r2().names == ("marginal", "conditional")
    assert_allclose(m.r2().values, model["r2"], rtol=VARIANCE, atol=VARIANCE)
    assert m.icc().names == ("adjusted", "unadjusted")
    assert_allclose(m.icc().values, model["icc"], rtol=VARIANCE)


@pytest.mark.parametrize("model_id", [name for name, model in MODELS.items() if "r2_by_group" in model])
def test_levels_are_those_of_performance(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    theirs = by_parts(dict(zip(model["icc_by_group"]["group"], model["icc_by_group"]["value"], strict=True)))
    ours = by_parts(m.icc(by_group=True))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert_allclose(ours[key], value, rtol=VARIANCE)
    theirs = by_parts(dict(zip(["residual", *model["groups"]], model["r2_by_group"], strict=True)))
    ours = by_parts(m.r2(by_group=True))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert_allclose(ours[key], value, atol=1e-5)


@ALL
def test_principal_components_are_those_of_lme4(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    assert len(m.repca()) == len(model["pca"])
    for theirs in model["pca"]:
        ours = next(each for each in m.repca() if parts(each.group) == parts(theirs["group"]))
        assert_allclose(ours.sd, theirs["sd"], rtol=1e-5, atol=1e-6)
        apart = np.abs(np.diff(ours.sd)).min(initial=np.inf) > 1e-3
        if apart:
            cosines = np.abs(np.sum(ours.loadings * np.array(theirs["loadings"]), axis=0))
            assert_allclose(cosines, 1.0, atol=1e-8)


@pytest.mark.parametrize("model_id", PLAIN)
def test_least_squares_is_that_of_lm(model_id: str) -> None:
    m, model = fit(model_id), PLAIN[model_id]
    assert m.r2().names == ("r2", "adjusted")
    assert_allclose(m.r2().values, model["r2"], rtol=EXACT)


# --- definitions and invariances --------------------------------------------------------------------------


def test_everything_adds_up() -> None:
    m = fit("unbalanced")
    shares = m.variance_partition()
    assert list(shares.columns) == ["component", "group", "term", "variance", "share"]
    assert_allclose(shares["share"].sum(), 1.0, rtol=EXACT)
    fixed, *random, residual = shares["share"].tolist()
    assert_allclose(m.r2().values, [fixed, 1 - residual], rtol=EXACT)
    assert_allclose(m.icc()["unadjusted"], sum(random), rtol=EXACT)
    assert_allclose(m.icc()["adjusted"], sum(random) / (1 - fixed), rtol=EXACT)
    assert_allclose(sum(m.icc(by_group=True).values), m.icc()["adjusted"], rtol=EXACT)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_units_and_coding_do_not_matter(method: str) -> None:
    m = sleep(method=method)
    data = dict(mw.data.load("sleepstudy", "dict"))
    data["Hours"] = 24.0 * data["Days"] - 100.0
    data["Milli"] = 1e-3 * data["Reaction"]
    other = mw.fit("Milli ~ Hours + (Hours | Subject)", data, method=method)
    assert_allclose(other.r2().values, m.r2().values, rtol=1e-5)
    assert_allclose(other.icc().values, m.icc().values, rtol=1e-5)
    assert_allclose(other.r2(by_group=True)["residual"], m.r2(by_group=True)["residual"], atol=1e-5)
    assert other.repca()["Subject"].dimensions == m.repca()["Subject"].dimensions == 2


def test_the_order_of_the_rows_does_not_matter() -> None:
    ordered = mw.data.load("sleepstudy", "pandas")
    shuffled = ordered.sample(frac=1.0, random_state=3)
    formula = "Reaction ~ Days + (Days | Subject)"
    one, two = (mw.fit(formula, each) for each in (ordered, shuffled))
    assert_allclose(two.r2().values, one.r2().values, rtol=1e-6)
    assert_allclose(two.repca()["Subject"].sd, one.repca()["Subject"].sd, rtol=1e-5)


def test_reductions_of_least_squares_are_the_adjusted_r2() -> None:
    m = fit("lm_cake")
    reduction = m.r2(by_group=True)
    assert reduction.names == ("residual",)
    assert_allclose(reduction["residual"], m.r2()["adjusted"], rtol=1e-9)
    assert_allclose(mw.lm("angle ~ 1", mw.data.load("cake", "dict")).r2().values, 0.0)


def test_reductions_compare_the_same_rows() -> None:
    data = dict(mw.data.load("sleepstudy", "dict"))
    days = np.array(data["Days"], float)
    days[::7] = np.nan
    data["Days"] = days
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.fit("Reaction ~ Days + (1 | Subject)", data)
    used = ~np.isnan(days)
    complete = {name: np.asarray(values)[used] for name, values in data.items()}
    null = mw.fit("Reaction ~ 1 + (1 | Subject)", complete)
    assert_allclose(m.r2(by_group=True)["residual"], 1 - (m.sigma / null.sigma) ** 2, rtol=1e-6)
    between = (
        1 - (m.varcorr()["Subject"].sd["(Intercept)"] / null.varcorr()["Subject"].sd["(Intercept)"]) ** 2
    )
    assert_allclose(m.r2(by_group=True)["Subject"], between, rtol=1e-5)


def test_the_model_with_only_an_intercept_reduces_nothing() -> None:
    m = sleep("Reaction ~ 1 + (1 | Subject)")
    assert_allclose(m.r2(by_group=True).values, 0.0, atol=1e-8)
    assert m.r2()["marginal"] == 0.0


# --- singular fits ----------------------------------------------------------------------------------------


def test_a_variance_of_zero_is_zero_and_not_missing() -> None:
    m = mw.fit("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    assert m.icc().to_dict() == {"adjusted": 0.0, "unadjusted": 0.0}
    assert m.icc(by_group=True)["Batch"] == 0.0
    assert m.r2().to_dict() == {"marginal": 0.0, "conditional": 0.0}
    assert_allclose(m.r2(by_group=True).values, 0.0, atol=1e-9)
    assert m.variance_partition()["share"].tolist() == [0.0, 0.0, 1.0]
    component = m.repca()["Batch"]
    assert component.dimensions == 0
    assert component.sd.tolist() == component.proportion.tolist() == [0.0]
    assert "0 of 1 dimension supported" in repr(m.repca())


def test_the_number_of_dimensions_is_the_rank_and_no_matter_of_units() -> None:
    data = dict(mw.data.load("sleepstudy", "dict"))
    data["seconds"] = 86400.0 * data["Days"] + 1.6e9
    full = mw.fit("Reaction ~ Days + (seconds | Subject)", data).repca()["Subject"]
    assert full.dimensions == 2
    assert full.proportion[1] < 1e-12
    singular = mw.fit("Reaction ~ Days + (third | Subject)", table("sleep_extra"))
    (boundary,) = singular.boundary
    assert singular.repca()["Subject"].dimensions == boundary.rank == 1


def test_terms_of_one_factor_share_their_components() -> None:
    m = sleep("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)")
    (component,) = m.repca()
    assert component.names == ("(Intercept)", "Days")
    assert_allclose(np.sort(component.sd), np.sort(np.abs(m.theta)), rtol=1e-12)
    assert_allclose(np.abs(component.loadings).max(axis=0), 1.0)
    assert_allclose(component.cumulative[-1], 1.0)


# --- how it looks, and what is refused --------------------------------------------------------------------


def test_tables_come_in_the_callers_library() -> None:
    for backend, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("dict", dict)):
        m = mw.fit("strength ~ 1 + (1 | batch / cask)", mw.data.load("pastes", backend))
        assert isinstance(m.variance_partition(), kind)
        assert isinstance(m.repca().table(), kind)
    assert list(m.variance_partition()["term"]) == [None, "(1 | batch)", "(1 | batch:cask)", None]
    assert list(m.repca().table()) == ["group", "component", "sd", "proportion", "cumulative"]
    assert "<table" in m.repca()._repr_html_()


def test_refusals() -> None:
    m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    for what in (m.icc, m.repca):
        with pytest.raises(mw.MixwellError, match="MW-A61"):
            what()
    with pytest.raises(mw.MixwellError, match="MW-A01"):
        m.r2(by_groups=True)
    with pytest.raises(KeyError, match="Subject"):
        sleep().repca()["subject"]
    assert m.variance_partition()["component"] == ["fixed", "residual"]
