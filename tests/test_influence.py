"""Hat values, Cook's distance and DFBETAS: dense algebra, refits from scratch, least squares, and R.

description.json comes from reference/description.R. Deletions were refitted there from scratch to optima with
more digits than lme4's influence() has; its cooks.distance() and dfbetas() are checked against them there.
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
from oracle import Oracle, OracleTerm
from reference.fits import fit_as, table

import mixwell as mw

STORED = json.loads((Path(__file__).parent / "reference" / "description.json").read_text())
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["models"]}
PLAIN: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["lm"]}
DELETIONS = [(name, each["group"]) for name, model in MODELS.items() for each in model["deletions"]]

ROW = 1e-6  # relative: limited by theta of R's optimum
DFBETAS = 1e-5  # absolute, in standard errors
DELETED = 1e-5  # relative, Cook's distance and its like
SPREAD = 2e-5  # of sigma: standard deviations after deletion
EXACT = 1e-9  # closed forms


@cache
def fit(model_id: str) -> Any:
    return fit_as(MODELS.get(model_id) or PLAIN[model_id])


def crossed(seed: int = 1, n: int = 60) -> Any:
    """Slopes by one factor crossed with another, weights, an offset: small enough for dense algebra."""
    rng = np.random.default_rng(seed)
    g, h, x = rng.permutation(np.arange(n) % 7), rng.integers(0, 5, n), rng.normal(size=n)
    y = 2 + x + rng.normal(size=7)[g] + rng.normal(size=7)[g] * x + rng.normal(size=5)[h] + rng.normal(size=n)
    data = {
        "y": y,
        "x": x,
        "g": [f"g{i}" for i in g],
        "h": [f"h{i}" for i in h],
        "w": rng.uniform(0.3, 3.0, n),
        "known": rng.normal(size=n),
    }
    formula = "y ~ x + (x | g) + (1 | h)"
    return mw.fit(formula, data, weights="w", offset="known")


def oracle_of(m: Any, rows: Any = slice(None)) -> Oracle:
    design = m.design
    n = m.nobs
    terms = [
        OracleTerm(
            term.codes[rows],
            np.column_stack([np.ones(n) if c is None else c for c in term.columns])[rows],
            term.structure,
        )
        for term in design.random
    ]
    y = design.y - (0 if design.offset is None else design.offset)
    w = np.ones(n) if design.weights is None else design.weights
    return Oracle(y[rows], m.model_matrix()[rows], terms, w[rows])


def generalised_least_squares(m: Any, rows: Any) -> tuple[Any, Any, float]:
    """beta, X'V^-1X inverted, sigma^2 at the theta of m, on some of the rows, dense."""
    o = oracle_of(m)
    v = o.covariance(m.theta)[np.ix_(rows, rows)]
    X, y = o.X[rows], o.y[rows]
    vx = np.linalg.solve(v, X)
    C = np.linalg.inv(X.T @ vx)
    beta = C @ (vx.T @ y)
    e = y - X @ beta
    nu = len(y) - (X.shape[1] if m.is_reml else 0)
    return beta, C, float(e @ np.linalg.solve(v, e)) / nu


# --- dense algebra ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hat_values_are_the_diagonal_of_the_dense_hat_matrix(seed: int) -> None:
    m = crossed(seed)
    o = oracle_of(m)
    v = o.covariance(m.theta)
    vi = np.linalg.inv(v)
    p = vi - vi @ o.X @ np.linalg.solve(o.X.T @ vi @ o.X, o.X.T @ vi)
    hat = np.eye(m.nobs) - p / o.weights[:, None]
    assert_allclose(hat @ o.y + m.design.offset, m.fitted(), rtol=1e-8)
    assert_allclose(m.hatvalues(), np.diag(hat), rtol=1e-8)
    assert_allclose(m.hatvalues(), m.influence().hat, rtol=0)


def test_hat_values_are_derivatives_and_add_up_to_the_effective_parameters() -> None:
    m = mw.fit("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    hat = m.hatvalues()
    assert np.all((hat > 0) & (hat < 1))
    assert 2 < hat.sum() < 2 + 36
    assert_allclose(m.influence("Subject").hat.sum(), hat.sum(), rtol=EXACT)
    lm = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    assert_allclose(lm.hatvalues().sum(), 2.0, rtol=EXACT)


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_without_refits_are_deletions_at_the_same_theta(seed: int) -> None:
    m = crossed(seed)
    measured = m.influence()
    p = 2
    V = m.vcov()
    for i in range(0, m.nobs, 7):
        keep = np.delete(np.arange(m.nobs), i)
        beta, C, sigma2 = generalised_least_squares(m, keep)
        d = m.fixef.values - beta
        after = sigma2 * C
        assert_allclose(measured.dfbeta[i], d, rtol=1e-7, atol=1e-9)
        assert_allclose(
            measured.dfbetas[i], d / np.sqrt(sigma2 / m.sigma**2 * np.diag(V)), rtol=1e-7, atol=1e-8
        )
        assert_allclose(measured.cooks[i], d @ np.linalg.solve(V, d) / p, rtol=1e-7)
        assert_allclose(measured.mdffits[i], d @ np.linalg.solve(after, d) / p, rtol=1e-7)
        assert_allclose(measured.covratio[i], np.linalg.det(after) / np.linalg.det(V), rtol=1e-7)
        trace = abs(np.trace(np.linalg.solve(V, after)) - p)
        assert_allclose(measured.covtrace[i], trace, rtol=1e-6, atol=1e-9)
        assert_allclose(measured.parameters[i, -1], np.sqrt(sigma2), rtol=1e-8)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_clusters_without_refits_are_deletions_at_the_same_theta(method: str) -> None:
    m = crossed().update(method=method)
    for group, term in (("g", m.design.random[0]), ("h", m.design.random[1])):
        measured = m.influence(group, refit=False)
        assert not measured.refitted
        for j in range(len(term.levels)):
            beta, C, sigma2 = generalised_least_squares(m, np.flatnonzero(term.codes != j))
            d = m.fixef.values - beta
            assert_allclose(measured.dfbetas[j], d / np.sqrt(sigma2 * np.diag(C)), rtol=1e-6, atol=1e-8)
            assert_allclose(measured.cooks[j], d @ np.linalg.solve(m.vcov(), d) / 2, rtol=1e-6)
            assert_allclose(measured.mdffits[j], d @ np.linalg.solve(sigma2 * C, d) / 2, rtol=1e-6)


def test_rows_agree_whether_by_closed_form_or_by_deletion() -> None:
    m = crossed()
    data = m.arguments["data"] | {"id": np.arange(m.nobs)}
    m = m.update(data=data)
    closed, deleted = m.influence(), m.influence("id", refit=False)
    for name in ("hat", "dfbeta", "cooks", "mdffits", "covratio", "covtrace", "parameters"):
        assert_allclose(getattr(deleted, name), getattr(closed, name), rtol=1e-6, atol=1e-9, err_msg=name)
    lm = mw.lm("y ~ x", data)
    for name in ("hat", "dfbeta", "cooks", "mdffits", "covratio", "covtrace", "parameters"):
        ours, again = getattr(lm.influence(), name), getattr(lm.influence(refit=True), name)
        assert_allclose(again, ours, rtol=1e-7, atol=1e-9, err_msg=name)
    assert lm.influence(refit=True).rows is None


# --- refits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["g", "h"])
def test_deletion_is_the_fit_of_the_other_rows(group: str) -> None:
    m = crossed()
    measured = m.influence(group)
    assert measured.converged.all()
    data = m.arguments["data"]
    for j, level in enumerate(measured.labels):
        keep = np.array([value != level for value in data[group]])
        rest = {
            name: np.asarray(values)[keep] if isinstance(values, np.ndarray) else list(np.array(values)[keep])
            for name, values in data.items()
        }
        other = m.update(data=rest)
        assert measured.sizes[j] == m.nobs - keep.sum()
        assert_allclose(
            measured.dfbeta[j] / other.se.values,
            (m.fixef.values - other.fixef.values) / other.se.values,
            atol=1e-5,
        )
        assert_allclose(
            measured.dfbetas[j], (m.fixef.values - other.fixef.values) / other.se.values, atol=1e-5
        )
        assert_allclose(
            measured.covratio[j], np.linalg.det(other.vcov()) / np.linalg.det(m.vcov()), rtol=1e-4
        )
        sds = [sd for term in other.varcorr() for sd in term.sd.values] + [other.sigma]
        at = [i for i, name in enumerate(measured.names) if not name.startswith("cor_")]
        assert_allclose(measured.parameters[j, at], sds, atol=1e-4)


def test_any_column_of_the_data_can_be_left_out() -> None:
    m = mw.fit("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    measured = m.influence("Days")
    assert measured.labels == tuple(map(str, range(10)))
    assert (measured.sizes == 18).all()
    data = mw.data.load("sleepstudy", "pandas")
    other = mw.fit("Reaction ~ Days + (1 | Subject)", data[data["Days"] != 9])
    assert_allclose(measured.dfbetas[9], (m.fixef.values - other.fixef.values) / other.se.values, atol=1e-5)


def test_the_order_of_the_rows_does_not_matter() -> None:
    ordered = mw.data.load("sleepstudy", "pandas").reset_index(drop=True)
    shuffled = ordered.sample(frac=1.0, random_state=5)
    formula = "Reaction ~ Days + (Days | Subject)"
    one, two = (mw.fit(formula, each) for each in (ordered, shuffled))
    place = shuffled.index.to_numpy()
    assert_allclose(two.influence().cooks, one.influence().cooks[place], rtol=1e-4)
    assert_allclose(two.hatvalues(), one.hatvalues()[place], rtol=1e-5)
    first, second = one.influence("Subject"), two.influence("Subject")
    assert first.labels == second.labels
    assert_allclose(second.cooks, first.cooks, rtol=1e-4)


def test_large_offsets_of_a_column_do_not_matter() -> None:
    data = dict(mw.data.load("sleepstudy", "dict"))
    data["seconds"] = np.asarray(data["Days"]) + 1e9
    near = mw.fit("Reaction ~ Days + (1 | Subject)", data)
    far = mw.fit("Reaction ~ seconds + (1 | Subject)", data)
    assert_allclose(far.hatvalues(), near.hatvalues(), rtol=1e-6)
    assert_allclose(far.influence().cooks, near.influence().cooks, rtol=1e-5, atol=1e-9)
    for group in (None, "Subject"):
        one, two = near.influence(group), far.influence(group)
        assert_allclose(two.dfbetas[:, 1], one.dfbetas[:, 1], atol=1e-5)
        assert_allclose(two.covratio, one.covratio, rtol=1e-5)


# --- least squares ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", PLAIN)
def test_least_squares_has_the_measures_of_r(model_id: str) -> None:
    m, model = fit(model_id), PLAIN[model_id]
    measured = m.influence()
    assert_allclose(measured.hat, model["hat"], rtol=EXACT)
    assert_allclose(measured.cooks, model["cooks"], rtol=1e-7, atol=1e-12)
    assert_allclose(measured.covratio, model["covratio"], rtol=EXACT)
    assert_allclose(measured.dfbetas, np.reshape(model["dfbetas"], measured.dfbetas.shape), atol=1e-9)
    assert_allclose(measured.parameters[:, 0], model["sigma"], rtol=EXACT)
    assert measured.rows is not None
    assert_allclose(measured.rows.rstudent, model["rstudent"], atol=1e-9)
    assert_allclose(measured.rows.dffits, model["dffits"], atol=1e-9)
    assert_allclose(measured.rows.cooks_conditional, measured.cooks, rtol=1e-9, atol=1e-14)


def test_a_row_that_the_fit_cannot_do_without_has_no_measures() -> None:
    x = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    m = mw.lm("y ~ x", {"y": np.array([1.0, 2.0, 4.0, 3.0, 7.0]), "x": x})
    for measured in (m.influence(), m.influence(refit=True)):
        assert_allclose(measured.hat[-1], 1.0, rtol=1e-12)
        assert np.isnan(measured.cooks[-1])
        assert np.isnan(measured.dfbetas[-1]).any()
        assert np.isfinite(measured.cooks[:-1]).all()
        repr(measured)


# --- R's mixed models -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", MODELS)
def test_rows_are_those_of_lme4(model_id: str) -> None:
    m, model = fit(model_id), MODELS[model_id]
    measured = m.influence()
    assert_allclose(measured.hat, model["hat"], rtol=ROW)
    assert measured.rows is not None
    assert_allclose(measured.rows.cooks_conditional, model["cooks"], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("model_id", "group"), DELETIONS)
def test_clusters_are_those_of_r(model_id: str, group: str) -> None:
    m = fit(model_id)
    theirs = next(each for each in MODELS[model_id]["deletions"] if each["group"] == group)
    measured = m.influence(refit=True) if group == ".row" else m.influence(group)
    labels = [str(label + 1) for label in measured.labels] if group == ".row" else list(measured.labels)
    at = [theirs["labels"].index(label) for label in labels]
    assert_allclose(measured.dfbetas, np.array(theirs["dfbetas"])[at], atol=DFBETAS)
    for name in ("cooks", "mdffits", "covratio"):
        assert_allclose(getattr(measured, name), np.array(theirs[name])[at], rtol=DELETED, atol=1e-7)
    assert_allclose(measured.covtrace, np.array(theirs["covtrace"])[at], atol=1e-5)
    if len(m.design.random) == 1:  # lme4 sorts its terms
        ours = [i for i, name in enumerate(measured.names) if not name.startswith("cor_")]
        sds = np.array(theirs["sds"])[at]
        assert_allclose(measured.parameters[:, ours] / m.sigma, sds / m.sigma, atol=SPREAD)


# --- singular and odd fits --------------------------------------------------------------------------------


def test_singular_fits_have_measures() -> None:
    m = mw.fit("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    lm = mw.lm("Yield ~ 1", mw.data.load("dyestuff2", "dict"))
    assert_allclose(m.hatvalues(), lm.hatvalues(), rtol=EXACT)
    assert_allclose(m.influence().cooks, lm.influence().cooks, rtol=1e-7)
    measured = m.influence("Batch")
    assert measured.converged.all()
    assert np.isfinite(measured.cooks).all()
    assert measured.parameters[:, 0].min() == 0.0


def test_a_model_without_fixed_effects_has_hat_values_and_nothing_to_influence() -> None:
    m = mw.fit("Yield ~ 0 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    assert 0 < m.hatvalues().sum() < 6
    for group in (None, "Batch"):
        measured = m.influence(group)
        assert np.isnan(measured.cooks).all()
        assert measured.dfbetas.shape[1] == 0
        repr(measured)


def test_a_level_that_a_coefficient_needs_gives_nan() -> None:
    m = mw.fit("score ~ Machine + (1 | Worker)", table("machines"))
    measured = m.influence("Machine")
    assert np.isnan(measured.cooks).all()
    assert measured.labels == ("A", "B", "C")
    assert np.isnan(np.asarray(measured.table()["dfbetas_MachineB"])[1])


# --- how it looks, and what is refused --------------------------------------------------------------------


def test_tables_are_ready_to_be_plotted() -> None:
    for backend, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("dict", dict)):
        m = mw.fit("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", backend))
        rows, clusters = m.influence().table(), m.influence("Subject").table()
        assert isinstance(rows, kind)
        assert isinstance(clusters, kind)
    assert list(clusters) == [
        *("level", "rows", "hat", "cooks", "mdffits", "covratio", "covtrace"),
        *("dfbetas_(Intercept)", "dfbetas_Days", "change_sd_(Intercept)|Subject", "change_sd_Days|Subject"),
        *("change_cor_Days.(Intercept)|Subject", "change_sigma", "converged"),
    ]
    assert list(rows)[:6] == ["row", "hat", "rstudent", "dffits", "cooks_conditional", "cooks"]
    assert len(rows["row"]) == 180


def test_rows_are_numbered_as_in_the_data() -> None:
    data = dict(mw.data.load("sleepstudy", "dict"))
    days = np.array(data["Days"], float)
    days[[0, 5]] = np.nan
    data["Days"] = days
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.fit("Reaction ~ Days + (1 | Subject)", data)
    assert m.influence().table()["row"][:5].tolist() == [1, 2, 3, 4, 6]
    assert m.influence("Subject").sizes[0] == 8


def test_it_prints_the_most_influential() -> None:
    m = mw.fit("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    lines = repr(m.influence("Subject")).splitlines()
    assert lines[0] == "Influence of the 18 levels of Subject on Reaction ~ Days + (1 | Subject)"
    assert lines[2].split()[0] == "335"
    assert "<table" in m.influence()._repr_html_()
    assert "Theta is that of the fit." in repr(m.influence())


def test_refusals() -> None:
    m = mw.fit("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    with pytest.raises(mw.MixwellError, match=r"MW-A54 [\s\S]*Did you mean 'Subject'"):
        m.influence("Subjct")
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        m.influence("Subject", refit="yes")
    with pytest.raises(mw.MixwellError, match="MW-A01"):
        m.influence("Subject", refits=True)
    data = dict(mw.data.load("sleepstudy", "dict"))
    data["one"] = ["a"] * 180
    data["part"] = [None, *["b", "c"] * 89, "b"]
    m = mw.fit("Reaction ~ Days + (1 | Subject)", data)
    for name, why in (("one", "one level"), ("part", "missing")):
        with pytest.raises(mw.MixwellError, match=why):
            m.influence(name)
