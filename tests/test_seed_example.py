"""The worked example this project started from, to its printed digits, and its last check done right.

Ten classrooms of twenty students, NumPy's legacy generator with seed 42, theta fixed at 3/2. The original
printed 34.65 and 85.04 where its optimality conditions should be zero: it multiplied the random effects by
theta twice. (Z'Z + I / theta^2)^-1 Z'(y - X beta) are the random effects b already, not the spherical u.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixwell as mw

GROUPS, SIZE, THETA = 10, 20, 1.5


@pytest.fixture(scope="module")
def classrooms() -> dict[str, np.ndarray]:
    random = np.random.RandomState(42)
    group = np.repeat(np.arange(GROUPS), SIZE)
    hours = random.normal(5, 2, GROUPS * SIZE)
    effects = random.normal(0, 3.0, GROUPS)
    noise = random.normal(0, 2, GROUPS * SIZE)
    return {
        "score": 70.0 + 2.0 * hours + effects[group] + noise,
        "hours": hours,
        "group": group,
        "effects": effects,
    }


@pytest.fixture(scope="module")
def columns(classrooms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: classrooms[name] for name in ("score", "hours", "group")}


def test_the_printed_data(classrooms: dict[str, np.ndarray]) -> None:
    effects = classrooms["effects"]
    assert [f"{effects.min():.1f}", f"{effects.max():.1f}"] == ["-4.1", "11.6"]
    means = classrooms["score"].reshape(GROUPS, SIZE).mean(axis=1)
    printed = [80.53, 80.62, 82.72, 83.17, 76.07, 78.10, 80.41, 82.02, 83.38, 90.63]
    assert [round(mean, 2) for mean in means] == printed


def test_the_printed_coefficients(columns: dict[str, np.ndarray]) -> None:
    problem = mw.lmer("score ~ hours + (1 | group)", columns).problem
    beta = problem.solve(np.array([THETA]), True, False).beta
    assert [f"{value:.4f}" for value in beta] == ["71.8449", "2.0165"]


def test_optimality_conditions_are_zero(columns: dict[str, np.ndarray]) -> None:
    problem = mw.lmer("score ~ hours + (1 | group)", columns).problem
    solution = problem.solve(np.array([THETA]), True, False)
    b = solution.b[0][:, 0]
    X = np.column_stack([np.ones(GROUPS * SIZE), columns["hours"]])
    e = columns["score"] - X @ solution.beta - b[columns["group"]]
    by_group = e.reshape(GROUPS, SIZE).sum(axis=1)  # Z'e
    assert np.abs(X.T @ e).max() < 1e-10
    assert np.abs(by_group - b / THETA**2).max() < 1e-12
    # and what the original computed, b taken for u:
    wrong = columns["score"] - X @ solution.beta - THETA * b[columns["group"]]
    assert f"{(X.T @ wrong)[1]:.4f}" == "34.6542"
    original = np.abs(wrong.reshape(GROUPS, SIZE).sum(axis=1) + b / THETA**2).max()
    assert f"{original:.6f}" == "85.042201"


def test_schur_reduction_and_penalised_least_squares(columns: dict[str, np.ndarray]) -> None:
    problem = mw.lmer("score ~ hours + (1 | group)", columns).problem
    solution = problem.solve(np.array([THETA]), True, False)
    X = np.column_stack([np.ones(GROUPS * SIZE), columns["hours"]])
    Z = (columns["group"][:, None] == np.arange(GROUPS)).astype(float)
    y = columns["score"]
    inner = np.linalg.inv(Z.T @ Z + np.eye(GROUPS) / THETA**2)
    schur = X.T @ X - X.T @ Z @ inner @ Z.T @ X
    assert_allclose(solution.schur, schur, rtol=1e-10)
    assert_allclose(solution.schur_y, X.T @ y - X.T @ Z @ inner @ Z.T @ y, rtol=1e-10)
    assert_allclose(schur @ solution.beta, solution.schur_y, rtol=1e-10)
    b = solution.b[0][:, 0]
    penalised = ((y - X @ solution.beta - Z @ b) ** 2).sum() + (b**2).sum() / THETA**2
    assert_allclose(solution.r2, penalised, rtol=1e-12)
    assert_allclose(solution.lambdas[0], [[THETA]])
