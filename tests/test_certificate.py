"""Certificates: good fits pass with room to spare, wrong numbers fail, boundaries are explained."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import mixwell as mw
from mixwell import MixwellWarning
from mixwell.inference.certificate import certify
from mixwell.inference.checks import Check, relative_covariance, split_theta
from mixwell.inference.diagnosis import conditioning

SLOPES = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep() -> dict[str, Any]:
    table: dict[str, Any] = mw.data.load("sleepstudy", "dict")
    return table


def plain(record: Any) -> SimpleNamespace:
    """A copy of one of the core's records that can be spoiled."""
    names = [name for name in dir(record) if not name.startswith("_")]
    return SimpleNamespace(**{name: copy.deepcopy(getattr(record, name)) for name in names})


def failed(m: mw.FittedModel, **changes: Any) -> set[str]:
    """Names of the checks that fail when attributes of the full solution are replaced."""
    spoiled = replace(m)
    solution = plain(m.full_solution)
    for name, value in changes.items():
        setattr(solution, name, value)
    spoiled.__dict__["full_solution"] = solution
    return {check.name for check in certify(spoiled).checks if not check.passed}


# --- good fits pass -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(
    ("formula", "data"),
    [
        (SLOPES, "sleepstudy"),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
        ("Reaction ~ Days + cs(Days | Subject)", "sleepstudy"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"),
        ("strength ~ 1 + (1 | batch/cask)", "pastes"),
        ("angle ~ recipe * temperature + (1 | recipe:replicate)", "cake"),
        ("Yield ~ 1 + (1 | Batch)", "dyestuff"),
    ],
)
def test_good_fits_pass_with_room_to_spare(formula: str, data: str, method: Any) -> None:
    certificate = mw.lmer(formula, mw.data.load(data, "dict"), method=method).certificate()
    assert certificate.passed
    assert not certificate.failed
    assert [check.theorem for check in certificate.checks][:5] == [
        "LMM.1",
        "LMM.2",
        "LMM.2",
        "LMM.3",
        "LMM.4-5",
    ]
    for check in certificate.checks:
        assert check.residual < 0.3 * check.tolerance, check
        if check.theorem != "outer":
            assert check.tolerance < 1e-7


@pytest.mark.parametrize(
    "data", [{}, {"weights": np.linspace(0.1, 5, 180)}, {"offset": np.linspace(0, 90, 180)}]
)
def test_weights_and_offsets_pass(sleep: dict[str, Any], data: dict[str, Any]) -> None:
    assert mw.lmer(SLOPES, sleep, **data).certificate().passed
    plain_fit = mw.lm("Reaction ~ Days", sleep, **data).certificate()
    assert plain_fit.passed
    assert [check.theorem for check in plain_fit.checks] == ["LMM.1", "LMM.2", "LMM.3"]
    assert "exact least-squares solution" in plain_fit.line


@pytest.mark.parametrize(
    "x",
    [lambda d: 2000 + d, lambda d: 1e6 * d, lambda d: 1e-6 * d, lambda d: 1.7e9 + 86400.0 * d],
    ids=["years", "micro", "mega", "unix seconds"],
)
def test_the_scale_of_a_predictor_does_not_matter(sleep: dict[str, Any], x: Any) -> None:
    m = mw.lmer("Reaction ~ x + (x | Subject)", sleep | {"x": x(sleep["Days"])})
    assert m.certificate().passed
    assert not m.certificate().boundary
    assert_allclose(m.deviance, mw.lmer(SLOPES, sleep).deviance, rtol=1e-9)


@pytest.mark.parametrize("shift", [1e8, 1e10])
def test_tolerances_grow_with_rounding_only(sleep: dict[str, Any], shift: float) -> None:
    m = mw.lmer(SLOPES, sleep | {"Reaction": sleep["Reaction"] + shift})
    assert m.certificate().passed
    assert (
        max(check.tolerance for check in m.certificate().checks if check.theorem != "outer") < 1e-15 * shift
    )
    assert_allclose(m.loglik, -871.814136, rtol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    term=st.sampled_from(
        [
            "(1 | g)",
            "(x | g)",
            "(x || g)",
            "diag(x | g, hom = TRUE)",
            "cs(x | g)",
            "ar1(0 + x + z | g)",
            "(x | g) + (z | h)",
        ]
    ),
    spread=st.sampled_from([0.0, 0.3, 3.0]),
    method=st.sampled_from(["REML", "ML"]),
)
def test_every_optimum_is_certified(seed: int, term: str, spread: float, method: Any) -> None:
    rng = np.random.default_rng(seed)
    n = 90
    data: dict[str, Any] = {"x": rng.normal(size=n), "z": 100 + 5 * rng.normal(size=n)}
    data |= {"g": rng.permutation(np.arange(n) % 9), "h": rng.permutation(np.arange(n) % 6)}
    slopes = spread * rng.normal(size=(9, 2))[data["g"]]
    data["y"] = rng.normal(size=n) + slopes[:, 0] + slopes[:, 1] * data["x"]
    certificate = mw.lmer(f"y ~ x + z + {term}", data, method=method).certificate()
    assert certificate.passed, certificate
    assert certificate.proved_boundary == bool(certificate.boundary)


# --- wrong numbers fail -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crossed() -> mw.FittedModel:
    return mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))


@pytest.mark.parametrize("error", [1e-6, -1e-6])
def test_wrong_solutions_fail_the_right_check(
    sleep: dict[str, Any], crossed: mw.FittedModel, error: float
) -> None:
    for m in (mw.lmer(SLOPES, sleep), crossed):
        s = m.full_solution
        scale = 1 + error
        assert failed(m) == set()
        assert "fixed effects" in failed(m, beta=s.beta * scale)
        assert "random effects" in failed(m, b=[b * scale for b in s.b])
        assert failed(m, r2=s.r2 * scale) == {"penalised sum of squares"}
        assert failed(m, schur=s.schur * scale) == {"Schur complement"}
        assert failed(m, schur_y=s.schur_y * scale) == {"Schur complement"}
        assert "Schur complement" in failed(m, b_x=[b * scale for b in s.b_x])
        assert "random effects" in failed(m, lambdas=[factor * scale for factor in s.lambdas])


def test_another_theta_fails_the_outer_checks(sleep: dict[str, Any]) -> None:
    m = mw.lmer(SLOPES, sleep)
    moved = m.theta * [1.001, 1.0, 1.0]
    optimum = plain(m.optimum)
    optimum.theta = moved
    other = replace(m, optimum=optimum)
    with pytest.warns(MixwellWarning, match="score failed") as caught:  # what the search did not see is told
        certificate = other.certificate()
    assert caught[0].message.code == "MW-C01"
    assert [check.name for check in certificate.checks if not check.passed] == ["score"]
    assert not certificate.passed
    assert "NOT certified (MW-C01): failed score" in certificate.line


def test_a_misreported_covariance_fails(sleep: dict[str, Any]) -> None:
    m = mw.lmer(SLOPES, sleep)
    spoiled = replace(m)
    reported = replace(m.varcorr()["Subject"], matrix=m.varcorr()["Subject"].matrix * (1 + 1e-7))
    spoiled.__dict__["_varcorr"] = replace(m.varcorr(), terms=(reported,))
    assert [check.name for check in certify(spoiled).checks if not check.passed] == ["covariance"]


def test_nan_never_passes() -> None:
    assert not Check("", "", "", float("nan"), 1.0).passed


def test_an_interrupted_search_is_loud(sleep: dict[str, Any]) -> None:
    with pytest.warns(MixwellWarning, match="MW-C01  the fit is not certified: the search stopped"):
        m = mw.lmer(SLOPES, sleep, control=mw.Control(max_evaluations=3))
    certificate = m.certificate()
    assert not certificate.passed
    assert certificate.failed[0] == "convergence"
    assert "FAIL" in repr(certificate)
    assert m.summary().endswith("See m.certificate().")


# --- the boundary -------------------------------------------------------------------------------------------


def test_a_zero_variance_is_a_proved_optimum() -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    certificate = m.certificate()
    assert certificate.proved_boundary
    assert certificate.simpler == "Yield ~ 1"
    assert m.theta.tolist() == [0.0]
    said = m.summary()
    assert "The variance of 'Batch' is estimated as zero" in said
    assert "The fit is valid; (1 | Batch) adds nothing." in " ".join(said.split())
    assert said.endswith("a proved optimum on the boundary.")
    simpler = mw.lm(certificate.simpler, mw.data.load("dyestuff2", "dict"))
    assert_allclose(simpler.deviance, m.deviance, rtol=1e-12)
    assert_allclose(simpler.reml_criterion, m.reml_criterion, rtol=1e-12)


def test_a_zero_slope_names_the_simpler_term() -> None:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(12), 8)
    data = {"g": g, "x": np.tile(np.arange(8.0), 12)}
    flat = rng.normal(size=96)
    within = flat - np.bincount(g, flat)[g] / 8  # residuals with less variation in slope than chance gives
    slopes = np.bincount(g, within * (data["x"] - 3.5)) / 42
    data["y"] = rng.normal(size=12)[g] + within - slopes[g] * (data["x"] - 3.5)
    m = mw.lmer("y ~ x + (x || g)", data)
    (boundary,) = m.boundary
    assert (boundary.code, boundary.rank, boundary.k, boundary.zero) == ("MW-C05", 1, 2, ("x",))
    assert "(1 | g) in place of" in str(boundary)
    assert m.certificate().proved_boundary
    simpler = m.certificate().simpler
    assert simpler == "y ~ 1 + x + (1 | g)"
    assert_allclose(mw.lmer(simpler, data).loglik, m.loglik, rtol=1e-9)


def test_a_perfect_correlation_is_said() -> None:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(10), 6)
    data = {"g": g, "x": np.tile(np.arange(6.0), 10)}
    u = rng.normal(size=10)
    data["y"] = u[g] * (1 - 0.2 * data["x"]) + rng.normal(size=60)
    m = mw.lmer("y ~ x + (x | g)", data)
    (boundary,) = m.boundary
    assert (boundary.code, boundary.rank, boundary.zero) == ("MW-C06", 1, ())
    assert "estimated as -1" in str(boundary)
    assert m.certificate().proved_boundary
    assert m.certificate().simpler is None
    assert_allclose(m.varcorr()["g"].correlation[0, 1], -1, atol=1e-6)


def test_a_singular_wide_term_is_certified() -> None:
    formula = "rt ~ prime * load * noise + (1 + prime * load * noise | subject) + (1 + prime * load | item)"
    m = mw.lmer(formula, mw.data.load("recognition", "dict"), method="ML")
    certificate = m.certificate()
    assert m.theta.size == 36 + 10
    assert certificate.proved_boundary
    assert all(boundary.rank < boundary.k for boundary in certificate.boundary)
    assert "average information" in certificate.checks[-1].statement


@pytest.mark.parametrize("term", ["ar1(1 + x + z | g)", "cs(1 + x + z | g)", "cs(1 + x + z | g, hom = TRUE)"])
def test_correlations_at_a_limit_are_held_there_by_the_slope(term: str) -> None:
    rng = np.random.default_rng(0)
    g = rng.permutation(np.arange(90) % 9)
    data = {"g": g, "x": rng.normal(size=90), "z": rng.normal(size=90)}
    b = 2 * rng.normal(size=9)[g]
    data["y"] = rng.normal(size=90) + b * (1 + data["x"] + data["z"])
    m = mw.lmer(f"y ~ x + z + {term}", data)
    certificate = m.certificate()
    assert certificate.passed, certificate
    assert {check.name for check in certificate.checks} >= {"limits", "curvature"}
    assert [b.code for b in certificate.boundary] == ["MW-C06"]
    assert certificate.simpler is None
    inside = m.criterion(m.theta * np.where(np.arange(m.theta.size) == m.theta.size - 1, 0.99, 1))
    assert inside > m.optimum.criterion


# --- parts --------------------------------------------------------------------------------------------------


def test_structures_of_theta() -> None:
    def term(structure: str, k: int, homogeneous: bool = False) -> Any:
        return SimpleNamespace(names=("a", "b", "c")[:k], structure=structure, homogeneous=homogeneous)

    us, diag, cs, ar1 = term("us", 2), term("diag", 3, True), term("cs", 3), term("ar1", 3, True)
    parts = split_theta(np.arange(10.0), [us, diag, cs, ar1])
    assert [part.size for part in parts] == [3, 1, 4, 2]
    assert_allclose(relative_covariance(np.array([2.0, 1.0, 3.0]), us), [[4, 2], [2, 10]])
    assert_allclose(relative_covariance(np.array([2.0]), diag), 4 * np.eye(3))
    assert_allclose(
        relative_covariance(np.array([1.0, 2.0, 3.0, 0.5]), cs), [[1, 1, 1.5], [1, 4, 3], [1.5, 3, 9]]
    )
    assert_allclose(relative_covariance(np.array([2.0, 0.5]), ar1), [[4, 2, 1], [2, 4, 2], [1, 2, 4]])


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=20, deadline=None)
def test_condition_number(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 50
    X = np.column_stack([rng.normal(size=n), 1000 + rng.normal(size=n), rng.normal(size=n)])
    w = rng.uniform(0.5, 2, n) if weighted else None
    root = np.sqrt(np.ones(n) if w is None else w)
    centred = (X - np.average(X, axis=0, weights=w)) * root[:, None]
    singular = np.linalg.svd(centred / np.linalg.norm(centred, axis=0), compute_uv=False)
    condition, names = conditioning([None, *X.T.copy()], w, ("1", "a", "b", "c"))
    expected = max(singular[0], 1) / min(singular[-1], 1)
    assert_allclose(condition, expected, rtol=1e-6)
    assert set(names) <= {"a", "b", "c", "1"}


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_nothing_left_between_groups_is_no_correlation(method: str) -> None:
    """Every group has the same line exactly: the covariance is zero, up to rounding that has a shape."""
    rng = np.random.default_rng(1)
    g, x, y = np.repeat(np.arange(10), 6), rng.normal(size=60), rng.normal(size=60)
    for k in range(10):
        X = np.column_stack([np.ones(6), x[g == k]])
        y[g == k] -= X @ np.linalg.lstsq(X, y[g == k], rcond=None)[0]
    m = mw.lmer("y ~ x + (x | g)", {"y": 1.0 + 2.0 * x + y, "x": x, "g": g.astype(str)}, method=method)
    assert [each.code for each in m.notes] == ["MW-C04"]
    assert m.certificate().proved_boundary
    assert "0 of 2 dimensions" in repr(m.repca())
