"""What a generalised fit shares with a linear one: levels, terms, pickles and copies.

Standard errors of modes with all parameters estimated are glmmTMB's, from reference/glmm_description.R.
"""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixwell as mw
from mixwell._core import family_rows

HERE = Path(__file__).parent / "reference"
STORED = json.loads((HERE / "glmm_description.json").read_text())["mixed"]
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED if "levels" in model}


@cache
def table() -> pd.DataFrame:
    data = pd.read_csv(HERE / "data" / "glmm.csv")
    return data.assign(id=np.arange(len(data)).astype(str), positive=data["count"] + 1)


def fit(formula: str, family: str, **options: Any) -> Any:
    door = mw.glmer if "|" in formula else mw.glm
    return door(formula, table(), family=family, **options)


@cache
def stored(model_id: str) -> Any:
    model = MODELS[model_id]
    return fit(model["formula"], model["family"], link=model.get("link"))


# --- levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", MODELS)
def test_modes_and_their_errors_are_those_of_glmmtmb(model_id: str) -> None:
    theirs = pd.DataFrame({name: MODELS[model_id]["levels"][name] for name in ("group", "level", "term")})
    theirs["mode"], theirs["sd"] = (MODELS[model_id]["levels"][name] for name in ("estimate", "sd"))
    both = stored(model_id).ranef(condvar="joint").merge(theirs, on=["group", "level", "term"])
    assert len(both) == len(theirs)
    assert_allclose(both["estimate"], both["mode"], atol=1e-5)
    assert_allclose(both["condsd"], both["sd"], rtol=1e-4)


@pytest.mark.parametrize("model_id", MODELS)
def test_coefficients_of_the_levels_are_those_of_glmmtmb(model_id: str) -> None:
    levels = MODELS[model_id]["levels"]
    ours = stored(model_id).coef("g").set_index("g")["x"]
    assert_allclose(ours[levels["coef_level"]], levels["coef"], atol=1e-5)


def test_coefficients_of_a_level_are_fixed_effects_plus_modes() -> None:
    m = stored("poisson_slopes")
    levels, modes = m.coef("g"), m.ranef()
    assert list(levels) == ["g", *m.fixef.names]
    assert_array_equal(levels["fb"], m.fixef["fb"])
    of_x = modes[(modes["group"] == "g") & (modes["term"] == "x")]
    assert_array_equal(levels["g"], of_x["level"])
    assert_allclose(levels["x"], m.fixef["x"] + of_x["estimate"], rtol=1e-14)
    # what they are for: the linear predictor of a row
    row = table().iloc[7]
    own = levels[levels["g"] == row["g"]].iloc[0]
    h = m.coef("h").set_index("h").loc[row["h"], "(Intercept)"] - m.fixef["(Intercept)"]
    dummies = sum(own[f"f{level}"] for level in ("b", "c") if level == row["f"])
    eta = own["(Intercept)"] + own["x"] * row["x"] + dummies + h
    assert_allclose(eta, m.predict(type="link")[7], rtol=1e-12)


def test_an_identity_link_is_the_linear_model() -> None:
    formula = "real ~ x + (x | g) + (1 | h)"
    m, linear = fit(formula, "gaussian"), mw.lmer(formula, table(), method="ML")
    for group in ("g", "h"):
        for name in linear.coef(group):
            if name != group:
                assert_allclose(m.coef(group)[name], linear.coef(group)[name], atol=1e-6)
        assert_allclose(
            m.ranef_covariance(group, joint=False), linear.ranef_covariance(group, joint=False), rtol=1e-5
        )
    # All parameters are estimated here, the fixed effects only there.
    ours = np.sqrt(m.ranef_covariance("g", fixed=True).diagonal(axis1=1, axis2=2))
    theirs = np.sqrt(linear.ranef_covariance("g", fixed=True).diagonal(axis1=1, axis2=2))
    assert (ours > theirs * (1 - 1e-5)).all()
    assert_allclose(ours, theirs, rtol=0.2)
    assert m.terms == linear.terms


def dense(m: Any) -> np.ndarray[Any, Any]:
    """(Z'WZ + Sigma^-1)^-1 of all random effects, term after term, level after level."""
    blocks, inverse = [], []
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        k, levels = len(term.names), len(term.levels)
        z = np.zeros((m.nobs, levels * k))
        for j, column in enumerate(term.columns):
            z[np.arange(m.nobs), term.codes * k + j] = 1.0 if column is None else column
        blocks.append(z)
        inverse += [np.linalg.inv(factor @ factor.T)] * levels
    from scipy.linalg import block_diag

    aux = [each.predictor(values) for each, values in zip(m.family.auxiliary, m.auxiliary(), strict=True)]
    rows = family_rows(m.family.core, m.design.y, m.design.weights, m.core["eta"], aux)
    Z = np.column_stack(blocks)
    return np.asarray(np.linalg.inv(-(Z.T * rows[:, 2]) @ Z + block_diag(*inverse)))


@pytest.mark.parametrize(
    ("formula", "family"),
    [
        ("count ~ x + (1 | g) + (0 + x | g) + (1 | h)", "poisson"),
        ("amount ~ x + (x || g)", "gamma"),
        ("over ~ x + (x | g)", "nbinom2"),
    ],
)
def test_covariances_of_a_level_are_those_of_dense_algebra(formula: str, family: str) -> None:
    m = fit(formula, family, link="log")
    K, at = dense(m), []
    levels, start = len(m.design.random[0].levels), 0
    for term in m.design.random:
        k = len(term.names)
        if term.group == "g":
            at.append(start + np.arange(levels)[:, None] * k + np.arange(k))
        start += len(term.levels) * k
    place = np.concatenate(at, axis=1)
    expected = np.array([K[np.ix_(own, own)] for own in place])
    assert_allclose(m.ranef_covariance("g", joint=False), expected, rtol=1e-5, atol=1e-9)
    # The joint covariance is consistent with the table, and is one.
    whole = m.ranef_covariance("g", fixed=True)
    p = len(m.fixef)
    assert_allclose(whole[:, :p, :p], np.broadcast_to(m.vcov(), whole[:, :p, :p].shape))
    assert_allclose(whole[:, p:, p:], m.ranef_covariance("g"))
    assert np.linalg.eigvalsh(whole).min() > 0
    modes = m.ranef(condvar="joint")
    sds = modes[(modes["group"] == "g") & (modes["term"] == "x")]["condsd"]
    assert_allclose(whole[:, -1, -1], sds**2, rtol=1e-12)


def test_the_error_of_a_fitted_linear_predictor() -> None:
    """The variance of a level's coefficients is that of what predict() says at that level."""
    m = stored("gamma_slopes")
    whole = m.ranef_covariance("g", fixed=True)
    transform = np.hstack([np.eye(2), np.eye(2)])
    variances = transform @ whole @ transform.T
    levels = list(m.coef("g")["g"])
    new = pd.DataFrame({"x": np.full(len(levels), 0.7), "g": levels})
    x = np.array([1.0, 0.7])
    sd = np.sqrt(np.einsum("i,jik,k->j", x, variances, x))
    found = m.predict(new, type="link", interval="confidence", level=0.95)
    half = 0.5 * (np.asarray(found["upper"]) - np.asarray(found["lower"]))
    assert_allclose(half, 1.959963984540054 * sd, rtol=1e-5)


def test_which_grouping_factor() -> None:
    m = stored("poisson_slopes")
    for what in (m.coef, m.ranef_covariance):
        with pytest.raises(mw.MixwellError, match="MW-A16"):
            what()
        with pytest.raises(mw.MixwellError, match="MW-A16"):
            what("G")
    with pytest.raises(mw.MixwellError, match="MW-P15"):
        m.ranef_covariance("g", joint=False, fixed=True)
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        m.ranef(condvar="both")
    with pytest.raises(mw.MixwellError, match="MW-A16"):
        fit("count ~ x", "poisson").coef()


def test_levels_of_ordinal_models_and_of_nested_factors() -> None:
    m = fit("grade ~ x + (1 | g / h)", "cumulative")
    assert list(m.coef("g")) == ["g", "x", "(Intercept)"]
    assert m.ranef_covariance("g", fixed=True).shape[1:] == (2, 2)
    nested = m.coef(m.design.random[1].group)
    assert list(nested) == [*m.design.random[1].factor_names, "x", "(Intercept)"]
    data = table()[["count", "x", "g"]]
    for given in (data, pl.from_pandas(data), data.to_dict("list")):
        assert isinstance(mw.glmer("count ~ x + (x | g)", given, family="poisson").coef(), type(given))


def test_hypotheses_about_ordinal_models_are_about_the_coefficients_that_they_name() -> None:
    """The thresholds take the place of the intercept, which shifts positions."""
    m = fit("grade ~ x + f + (1 | g)", "cumulative")
    for position, name in enumerate(m.fixef.names):
        row = np.eye(3)[position]
        for hypothesis in (f"{name} = 0", {name: 1.0}, row):
            found = m.test(hypothesis).table()
            assert found["estimate"][0] == m.fixef[name]
            assert_allclose(found["std_error"][0], m.se[name], rtol=1e-12)
    with pytest.raises(mw.MixwellError, match="MW-A28"):
        m.test("(Intercept) = 0")


def test_terms() -> None:
    terms = fit("log(amount) ~ x * f + (x | g) + (1 | h)", "gaussian").terms
    assert terms == ("log(amount)", True, ("x", "f", "x:f"), ("(1 + x | g)", "(1 | h)"))
    assert fit("count ~ 0 + x", "poisson").terms == ("count", False, ("x",), ())


# --- pickles and copies -----------------------------------------------------------------------------------

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "binomial": ("cbind(hits, trials - hits) ~ x + f + (x | g)", "binomial", {}),
    "quadrature": ("binary ~ x + (1 | g)", "binomial", {"nagq": 5}),
    "fast": ("binary ~ x + (1 | g)", "binomial", {"nagq": 0}),
    "prior": ("binary ~ x + (1 | g)", "binomial", {"prior": mw.Prior(sd=1.0)}),
    "poisson": ("count ~ x + offset(log(exposure)) + (1 | g) + (1 | h)", "poisson", {}),
    "zero_inflated": ("excess ~ x + (1 | g)", "nbinom2", {"ziformula": "~ z"}),
    "hurdle": ("excess ~ x + (1 | g)", "truncated_poisson", {"ziformula": "~ 1"}),
    "dispersion": ("over ~ x + (1 | g)", "nbinom1", {"dispformula": "~ z"}),
    "weights": ("amount ~ x + (1 | g)", "gamma", {"link": "log", "weights": "w"}),
    "beta": ("rate ~ x + (1 | g)", "beta", {}),
    "tweedie": ("rain ~ x + (1 | g)", "tweedie", {}),
    "student": ("heavy ~ x + (1 | g)", "t", {}),
    "ordinal": ("grade ~ x + (1 | g)", "cumulative", {}),
    "plain": ("count ~ x + f", "poisson", {}),
    "plain_gamma": ("amount ~ x", "gamma", {}),
    "quasi": ("count ~ x", "quasipoisson", {}),
}


def again(m: Any, how: str) -> Any:
    if how == "pickle":
        return pickle.loads(pickle.dumps(m))
    return copy.deepcopy(m) if how == "deepcopy" else copy.copy(m)


def numbers(result: Any) -> Any:
    return {name: np.asarray(result[name]).tolist() for name in result} if hasattr(result, "keys") else result


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_says_what_the_fit_says(kind: str, how: str) -> None:
    formula, family, options = KINDS[kind]
    with np.errstate(all="ignore"):
        m = fit(formula, family, **options)
    other = again(m, how)
    assert_array_equal(other.fixef.values, m.fixef.values)
    assert_array_equal(other.vcov(), m.vcov())
    assert_array_equal([other.loglik, other.aic, other.npar], [m.loglik, m.aic, m.npar])
    for kind_ in ("link",) if m.family.kind == "ordered" else ("link", "response"):
        assert_array_equal(other.predict(type=kind_), m.predict(type=kind_))
        new = table().head(5)
        assert_array_equal(other.predict(new, type=kind_), m.predict(new, type=kind_))
    assert repr(other) == repr(m)
    assert other._repr_html_() == m._repr_html_()
    assert other.certificate().line == m.certificate().line
    assert other.dispersion == m.dispersion
    assert repr(other.test("x = 0")) == repr(m.test("x = 0"))
    assert numbers(other.tidy()) == numbers(m.tidy())
    if not m.family.is_quasi:
        assert numbers(other.simulate(2, seed=3)) == numbers(m.simulate(2, seed=3))
    if m.is_mixed:
        assert_array_equal(other.ranef()["condsd"], m.ranef()["condsd"])
        assert_allclose(other.ranef_covariance("g"), m.ranef_covariance("g"), rtol=1e-6, atol=1e-12)
        assert numbers(other.coef("g")) == numbers(m.coef("g"))
    else:
        assert_array_equal(other.r2().values, m.r2().values)


@pytest.mark.parametrize("kind", ["binomial", "prior", "zero_inflated", "ordinal", "plain"])
def test_the_core_is_made_again_when_it_is_needed(kind: str) -> None:
    formula, family, options = KINDS[kind]
    m = fit(formula, family, **options)
    other = again(m, "pickle")
    assert other.handle is None
    assert "laplace" not in other.__dict__
    psi = np.array(m.core["psi"]) + 0.01
    ours, theirs = (each.laplace.evaluate(psi) for each in (other, m))
    assert_allclose(ours[0], theirs[0], rtol=1e-10)
    assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-6)
    refitted = other.refit(m.design.y)
    assert_allclose(refitted.fixef.values, m.fixef.values, rtol=1e-8)
    updated = other.update("~ . - x")
    assert "x" not in updated.fixef
    assert_allclose(updated.loglik, m.update("~ . - x").loglik, rtol=1e-10)
    # what has been computed does not travel, nor does a copy change what it was made of
    assert m.handle is not None


def test_a_pickle_opens_in_another_process(tmp_path: Path) -> None:
    m = fit("over ~ x + f + (1 | g)", "nbinom2")
    (tmp_path / "fit.pickle").write_bytes(pickle.dumps(m))
    code = "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb')); print(m.update('~ . - f').loglik)"
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fit.pickle")], capture_output=True, text=True, check=True
    )
    assert_allclose(float(found.stdout), m.update("~ . - f").loglik, rtol=1e-12)


def test_a_pickle_is_no_larger_than_its_data() -> None:
    m = fit("count ~ x + (1 | g)", "poisson")
    m.summary()
    size = len(pickle.dumps(m))
    assert len(pickle.dumps(again(m, "pickle"))) == pytest.approx(size, rel=0.05)
    assert size < 200_000
