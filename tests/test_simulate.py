"""Simulated responses: their moments, their streams, levels that were not fitted.

Moments of D draws are compared within five Monte-Carlo standard errors: sqrt(variance / D) for a mean,
sqrt((v_ii v_jj + v_ij^2) / D) for a covariance.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

DRAWS = 4000
FORMULA = "y ~ x + offset(o) + (x | g) + (1 | h)"


@cache
def table() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    n = 60
    g, h = np.arange(n) % 8, rng.integers(0, 5, n)
    x, w = rng.normal(size=n), rng.uniform(0.5, 3, n)
    y = 1 + 2 * x + rng.normal(size=8)[g] + rng.normal(size=8)[g] * x + rng.normal(size=5)[h]
    return {
        "y": y + rng.normal(size=n) / np.sqrt(w),
        "x": x,
        "g": g,
        "h": h,
        "w": w,
        "o": np.linspace(0, 9, n),
    }


@cache
def model(formula: str = FORMULA) -> mw.FittedModel:
    return mw.fit(formula, table(), weights="w")


def draws(m: mw.FittedModel, n: int = DRAWS, **options: Any) -> Any:
    """Responses, shape (n, rows)."""
    found = m.simulate(n, **({"seed": 1} | options))
    assert list(found) == [f"sim_{i}" for i in range(1, n + 1)]
    return np.array(list(found.values()))


def have_moments(found: Any, mean: Any, covariance: Any) -> None:
    count, v = len(found), np.diag(covariance)
    assert (np.abs(found.mean(axis=0) - mean) < 5 * np.sqrt(v / count)).all()
    error = np.sqrt((np.outer(v, v) + covariance**2) / count)
    assert (np.abs(np.cov(found.T) - covariance) < 5 * error).all()


def between(m: mw.FittedModel) -> Any:
    """Z Var(b) Z' of the rows of the fit."""
    z = m.model_matrix("random").toarray()
    out, at = np.zeros((len(z), len(z))), 0
    for term, of_level in zip(m.design.random, m.varcorr(), strict=True):
        size = len(term.levels) * len(term.names)
        own = z[:, at : at + size]
        out += own @ np.kron(np.eye(len(term.levels)), of_level.matrix) @ own.T
        at += size
    return out


# --- moments --------------------------------------------------------------------------------------------


def test_new_random_effects() -> None:
    m = model()
    residual = np.diag(m.sigma**2 / table()["w"])
    have_moments(draws(m), m.predict(re="population"), between(m) + residual)


def test_estimated_random_effects() -> None:
    m = model()
    have_moments(draws(m, re="conditional"), m.fitted(), np.diag(m.sigma**2 / table()["w"]))


@pytest.mark.parametrize("re", ["new", "conditional"])
def test_uncertain_parameters(re: Any) -> None:
    m = model()
    x, w = m.model_matrix(), table()["w"]
    found = draws(m, re=re, parameters=True)
    if re == "new":
        whole = x @ m.vcov() @ x.T + between(m) + np.diag(m.sigma**2 / w)
        have_moments(found, m.predict(re="population"), whole)
        return
    # the joint covariance is tested row by row (that of a prediction), and by level
    v = m.predict(interval="prediction")["se"] ** 2
    assert (np.abs(found.mean(axis=0) - m.fitted()) < 5 * np.sqrt(v / DRAWS)).all()
    assert (np.abs(found.var(axis=0) / v - 1) < 5 * np.sqrt(2 / DRAWS)).all()
    rows = {"x": [0.0, 1.0], "g": [0, 0], "h": [0, 0], "o": [0.0, 0.0], "w": [1.0, 1.0]}
    slopes = draws(m, re="conditional", parameters=True, newdata=rows) @ np.array([-1.0, 1.0])
    covariance = m.ranef_covariance("g", fixed=True)[0]
    slope = np.array([0.0, 1.0, 0.0, 1.0])  # of level 0
    expected = slope @ covariance @ slope + 2 * m.sigma**2
    assert abs(slopes.var() / expected - 1) < 5 * np.sqrt(2 / DRAWS)


def test_linear_models() -> None:
    m = model("y ~ x")
    residual = np.diag(m.sigma**2 / table()["w"])
    have_moments(draws(m), m.fitted(), residual)
    x = m.model_matrix()
    have_moments(draws(m, parameters=True), m.fitted(), residual + x @ m.vcov() @ x.T)


# --- levels ---------------------------------------------------------------------------------------------


def test_rows_of_one_new_level_share_its_effects() -> None:
    m = mw.lmer("y ~ 1 + (1 | g)", table())
    s2, of_g = m.sigma**2, m.varcorr()["g"].matrix[0, 0]
    rows = {"g": ["new", "new", "other", None, None, "0"]}
    shared = np.zeros((6, 6))
    shared[:2, :2] = of_g
    shared[[2, 3, 4, 5], [2, 3, 4, 5]] = of_g
    have_moments(draws(m, newdata=rows), np.full(6, m.fixef[0]), shared + s2 * np.eye(6))
    # conditional on the fitted levels only the others vary between draws
    shared[5, 5] = 0.0
    at = m.predict(rows, new_levels="sample")
    have_moments(draws(m, newdata=rows, re="conditional", new_levels="sample"), at, shared + s2 * np.eye(6))
    zero = draws(m, newdata=rows, re="conditional", new_levels="population")
    have_moments(zero, at, s2 * np.eye(6))
    with pytest.raises(MixwellError, match="MW-P10"):
        m.simulate(newdata=rows, re="conditional")


def test_new_combinations_are_levels_of_their_own() -> None:
    m = mw.lmer("strength ~ 1 + (1 | batch/cask)", mw.data.load("pastes", "dict"))
    rows = {"batch": ["A", "A", "A", "Z", "Z", "Y"], "cask": ["z", "z", "a", "a", "b", "a"]}
    casks, batches = (m.varcorr()[group].matrix[0, 0] for group in ("batch:cask", "batch"))
    batch, cask = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 3, 4])
    same = np.equal.outer(batch, batch) * batches + np.equal.outer(cask, cask) * casks
    have_moments(draws(m, newdata=rows), np.full(6, m.fixef[0]), same + m.sigma**2 * np.eye(6))


def test_new_rows_that_are_old_rows() -> None:
    m = model()
    for options in (
        {},
        {"re": "conditional"},
        {"re": "conditional", "parameters": True},
        {"parameters": True},
    ):
        assert_allclose(draws(m, 3, newdata=table(), **options), draws(m, 3, **options), rtol=1e-10)


# --- streams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"re": "conditional"}, {"parameters": True}])
def test_a_seed_determines_draws_and_more_of_them_follow(options: dict[str, Any]) -> None:
    m = model()
    many = draws(m, 7, **options)
    assert_array_equal(many[:3], draws(m, 3, **options))
    assert len(np.unique(many[:, 0])) == 7
    assert (many != draws(m, 7, seed=2, **options)).all()
    assert m.simulate()["sim_1"][0] != m.simulate()["sim_1"][0]


def test_draws_can_be_fitted() -> None:
    m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "pandas"))
    table = m.simulate(2, seed=3)
    assert type(table).__name__ == "DataFrame"
    again = m.refit(table["sim_2"])
    assert again.optimum.converged
    assert again.fixef[1] != m.fixef[1]


def test_dropped_rows_are_not_simulated() -> None:
    data = table() | {"x": np.where(np.arange(60) == 3, np.nan, table()["x"])}
    with pytest.warns(MixwellWarning, match="MW-W01"):
        m = mw.lmer("y ~ x + (1 | g)", data)
    assert draws(m, 2).shape == (2, 59)
    found = draws(m, 2, newdata=data)
    assert np.isnan(found).sum(axis=1).tolist() == [1, 1]
    assert np.isnan(found[:, 3]).all()


def test_weights_of_new_rows() -> None:
    rows = {name: values for name, values in table().items() if name != "w"}
    with pytest.warns(MixwellWarning, match="MW-P17") as caught:
        model().simulate(newdata=rows)
    assert caught[0].filename == __file__


def test_rows_that_cannot_be_predicted() -> None:
    data = table() | {"twice": 2 * table()["x"]}
    with pytest.warns(MixwellWarning, match="MW-C02"):
        m = mw.lm("y ~ x + twice", data)
    with pytest.warns(MixwellWarning, match="MW-P13") as caught:
        found = m.simulate(newdata={"x": [1.0, 1.0], "twice": [2.0, 3.0]})["sim_1"]
    assert np.isnan(found).tolist() == [False, True]
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"n": 0}, "MW-A07"),
        ({"n": 2.5}, "MW-A07"),
        ({"n": True}, "MW-A07"),
        ({"seed": -1}, "MW-A07"),
        ({"seed": "one"}, "MW-A07"),
        ({"parameters": 1}, "MW-A07"),
        ({"re": "population"}, "MW-A02"),
        ({"new_levels": "draw"}, "MW-A02"),
        ({"new_levels": "sample"}, "MW-P20"),
        ({"nsim": 3}, "MW-A01"),
    ],
)
def test_options_are_checked(options: dict[str, Any], code: str) -> None:
    with pytest.raises(MixwellError) as caught:
        model().simulate(**options)
    assert caught.value.code == code
