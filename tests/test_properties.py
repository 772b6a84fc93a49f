"""What must hold for every linear mixed model, on random designs.

The core is compared with a dense textbook implementation (`oracle.py`); the public functions with themselves
under changes that must not matter, or that must matter in a known way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from oracle import Oracle, OracleTerm

import mixwell as mw
from mixwell._core import Problem, Term


def stable(examples: int) -> settings:
    """The same examples in every run, so that a failure is a change of the code."""
    return settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=examples,
        phases=[Phase.generate],  # shrinking says little here and takes minutes: the arrays hang on one seed
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A design for the oracle and the core, with a theta to look at."""

    oracle: Oracle
    problem: Problem
    theta: np.ndarray
    reml: bool

    def __repr__(self) -> str:
        terms = [(t.structure, t.homogeneous, t.n_levels, t.k) for t in self.oracle.terms]
        weighted = self.oracle.weights is not None
        return f"X {self.oracle.X.shape}, terms {terms}, {weighted=}, reml={self.reml}, theta={self.theta}"


def assemble(oracle: Oracle) -> Problem:
    """Hand the oracle's arrays to the core."""

    def contiguous(columns: np.ndarray) -> list[np.ndarray | None]:
        return [None if (column == 1).all() else np.ascontiguousarray(column) for column in columns.T]

    terms = [
        Term(t.codes.astype(np.int32), t.n_levels, contiguous(t.columns), t.structure, t.homogeneous)
        for t in oracle.terms
    ]
    return Problem(oracle.y, contiguous(oracle.X), terms, oracle.weights)


def random_theta(rng: np.random.Generator, term: OracleTerm, *, inside: bool) -> np.ndarray:
    """Draw parameters of a term; unless `inside`, some are exactly zero."""
    theta = rng.normal(size=term.n_theta)
    if term.structure == "us":
        columns, rows = np.triu_indices(term.k)
        theta = np.where(rows == columns, np.abs(theta) + 0.05, theta)
    else:
        theta = np.abs(theta) + 0.05
    if not inside:
        theta *= rng.random(term.n_theta) > 0.3
    if term.structure in ("cs", "ar1"):
        low = -1 / max(term.k - 1, 1) if term.structure == "cs" else -1.0
        theta[-1] = rng.uniform(0.9 * low, 0.9)
    return theta


@st.composite
def cases(
    draw: st.DrawFn, structures: tuple[str, ...] = ("us", "us", "diag", "cs", "ar1"), inside: bool = False
) -> Case:
    """Draw 1-3 terms of 1-3 columns, with or without weights, REML or ML; more rows than effects."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p, reml, weighted = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    sizes = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(3, 8)), min_size=1, max_size=3))
    n = draw(st.integers(15, 40)) + sum(k * levels for k, levels in sizes)
    X = np.column_stack(
        [np.ones(n), rng.normal(size=(n, p - 1)) * 10.0 ** rng.integers(-2, 3) + rng.normal()]
    )
    terms = []
    for k, levels in sizes:
        structure = draw(st.sampled_from(structures)) if k > 1 else "us"
        homogeneous = structure != "us" and draw(st.booleans())
        codes = np.concatenate([np.arange(levels), rng.integers(0, levels, n - levels)])
        columns = rng.normal(size=(n, k))
        if draw(st.booleans()):
            columns[:, 0] = 1.0
        terms.append(OracleTerm(rng.permutation(codes), columns, structure, homogeneous))
    weights = rng.uniform(0.2, 4.0, n) if weighted else None
    effects = sum(rng.normal(scale=rng.uniform(0, 2)) * rng.normal(size=t.n_levels)[t.codes] for t in terms)
    y = 3.0 * rng.normal() + rng.normal(size=n) + effects
    oracle = Oracle(y, X, terms, weights)
    theta = np.concatenate([random_theta(rng, term, inside=inside) for term in terms])
    return Case(oracle, assemble(oracle), theta, reml)


# ---- the core against the dense model ----------------------------------------------------------------------


@stable(300)
@given(cases())
def test_solution_is_that_of_the_dense_model(case: Case) -> None:
    ours, dense = (
        case.problem.solve(case.theta, case.reml, True),
        case.oracle.evaluate(case.theta, reml=case.reml),
    )
    se = np.sqrt(np.diag(dense.vcov))
    assert_allclose(case.problem.criterion(case.theta, case.reml), dense.criterion, rtol=1e-10, atol=1e-9)
    assert_allclose((ours.beta - dense.beta) / se, 0, atol=1e-8)
    assert_allclose(
        ours.vcov_unscaled, dense.vcov_unscaled, rtol=1e-8, atol=1e-10 * np.abs(dense.vcov_unscaled).max()
    )
    assert_allclose([ours.r2, ours.sigma2], [dense.r2, dense.sigma2], rtol=1e-9)
    scale = np.sqrt(dense.sigma2)
    for t in range(len(case.oracle.terms)):
        assert_allclose(ours.b[t] / scale, dense.b[t] / scale, atol=1e-8)
        assert_allclose(ours.condvar_unscaled[t], dense.condvar[t] / dense.sigma2, rtol=1e-8, atol=1e-9)
        assert_allclose(ours.b_x[t], dense.b_x[t], rtol=1e-8, atol=1e-9 * max(1, np.abs(dense.b_x[t]).max()))


@stable(150)
@given(cases())
def test_theta_gives_the_covariance_it_documents(case: Case) -> None:
    lambdas = case.problem.solve(case.theta, case.reml, True).lambdas
    for term, part, ours in zip(case.oracle.terms, case.oracle.split(case.theta), lambdas, strict=True):
        assert_allclose(np.triu(ours, 1), 0)
        assert_allclose(ours @ ours.T, term.sigma(part), atol=1e-13 * max(1, np.abs(part).max() ** 2))


@stable(200)
@given(cases())
def test_gradient_is_the_derivative_of_the_criterion(case: Case) -> None:
    ours = case.problem.derivatives(case.theta, case.reml)[0]
    exact = case.oracle.gradient(case.theta, reml=case.reml)
    assert_allclose(ours, exact, rtol=1e-7, atol=1e-7 * (1 + np.abs(exact).max()))


@stable(100)
@given(cases(inside=True))
def test_gradient_agrees_with_central_differences_of_our_own_criterion(case: Case) -> None:
    step = 1e-5
    differences = [
        (
            case.problem.criterion(case.theta + step * unit, case.reml)
            - case.problem.criterion(case.theta - step * unit, case.reml)
        )
        / (2 * step)
        for unit in np.eye(case.theta.size)
    ]
    ours = case.problem.derivatives(case.theta, case.reml)[0]
    assert_allclose(ours, differences, rtol=1e-5, atol=1e-5 * (1 + np.abs(ours).max()))


@stable(150)
@given(cases(structures=("us", "diag")))
def test_optimum_meets_the_score_and_cone_conditions(case: Case) -> None:
    found = case.problem.optimize(case.reml, None, 1000)
    assert found.converged
    # Columns differ in size: the conditions are stated for columns of unit mean square.
    multipliers = case.oracle.multipliers(found.theta, reml=case.reml)
    lambdas = case.problem.solve(found.theta, case.reml, False).lambdas
    for term, G, factor in zip(case.oracle.terms, multipliers, lambdas, strict=True):
        size = np.sqrt((term.columns**2).mean(axis=None if term.homogeneous else 0) * np.ones(term.k))
        G, factor = G / np.outer(size, size), size[:, None] * factor  # noqa: PLW2901
        if term.structure == "us":
            assert_allclose(G @ factor, 0, atol=1e-4 * (1 + np.abs(G).max()))
            assert np.linalg.eigvalsh(G).min() > -1e-4 * (1 + np.abs(G).max())
        else:
            slope = np.trace(G) if term.homogeneous else np.diag(G)
            assert_allclose(slope * np.diag(factor)[: np.size(slope)], 0, atol=1e-4 * (1 + np.abs(G).max()))
            assert np.min(slope) > -1e-4 * (1 + np.abs(G).max())


@stable(25)
@given(cases(structures=("us", "us", "diag", "ar1")))
def test_optimum_is_no_higher_than_the_best_of_several_slow_searches(case: Case) -> None:
    """Compound symmetry with a standard deviation per column has several optima, and is left out."""
    assume(case.theta.size <= 9)
    found = case.problem.optimize(case.reml, None, 1000)
    best, _ = case.oracle.optimise(reml=case.reml, starts=3)
    assert found.converged
    assert found.criterion <= best + 1e-8 * (1 + abs(best))
    assert_allclose(case.oracle.criterion(found.theta, reml=case.reml), found.criterion, rtol=1e-9, atol=1e-9)


class Fitted(NamedTuple):
    """A criterion and the relative covariances that give it."""

    criterion: float
    sigmas: list[np.ndarray]


def embed(sigma: np.ndarray, structure: str, homogeneous: bool) -> np.ndarray:
    """Parameters with which a structure gives the covariance sigma (k, k), which it must be able to give."""
    if structure == "us":
        values, vectors = np.linalg.eigh(sigma)
        factor = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0))).T)[1].T
        columns, rows = np.triu_indices(sigma.shape[0])
        return (factor * np.where(np.diag(factor) < 0, -1, 1))[rows, columns]
    sds = np.sqrt(np.diag(sigma))[: 1 if homogeneous else None]
    return sds if structure == "diag" else np.append(sds, 0.0)


@stable(100)
@given(cases(structures=("us",)))
def test_a_richer_structure_started_at_a_poorer_one_fits_no_worse(case: Case) -> None:
    def fit(structure: str, homogeneous: bool, inside: Fitted | None = None) -> Fitted:
        terms = [
            OracleTerm(t.codes, t.columns, structure if t.k > 1 else "us", homogeneous)
            for t in case.oracle.terms
        ]
        oracle = Oracle(case.oracle.y, case.oracle.X, terms, case.oracle.weights)
        start = None
        if inside is not None:
            parts = [embed(s, t.structure, homogeneous) for s, t in zip(inside.sigmas, terms, strict=True)]
            start = np.concatenate(parts)
        found = assemble(oracle).optimize(case.reml, start, 1000)
        if inside is not None:
            assert found.criterion <= inside.criterion + 1e-8 * (1 + abs(found.criterion)), structure
        parts = oracle.split(found.theta)
        return Fitted(found.criterion, [term.sigma(part) for term, part in zip(terms, parts, strict=True)])

    equal = fit("diag", True)
    for poorer in (
        fit("diag", False, equal),
        fit("cs", True, equal),
        fit("cs", False, fit("diag", False, equal)),
    ):
        fit("us", False, poorer)


# ---- the public functions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """Columns y, x, f, g, h, w of a random data set, and a way to take rows."""

    columns: dict[str, np.ndarray]
    rng: np.random.Generator

    def with_columns(self, **changed: np.ndarray) -> dict[str, np.ndarray]:
        return {**self.columns, **changed}

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[index] for name, values in self.columns.items()}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """y depends on x, a factor f of three levels and two crossed groups; slopes of x vary over g."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    J, K, n = draw(st.integers(6, 12)), draw(st.integers(4, 7)), draw(st.integers(80, 150))
    g = rng.permutation(np.concatenate([np.arange(J), rng.integers(0, J, n - J)]))
    h = rng.permutation(np.concatenate([np.arange(K), rng.integers(0, K, n - K)]))
    f = rng.permutation(np.arange(n) % 3)
    x = rng.normal(size=n)
    slopes = rng.normal(size=(J, 2)) @ np.array([[1.2, 0.3], [0.0, 0.7]])
    y = 5 + x + 0.5 * f + slopes[g, 0] + slopes[g, 1] * x + 0.8 * rng.normal(size=K)[h] + rng.normal(size=n)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    columns = {"y": y, "x": x, "f": letters[f], "g": letters[g], "h": letters[h], "w": rng.uniform(0.3, 3, n)}
    return Table(columns, rng)


SLOPES = "y ~ x + f + (x | g) + (1 | h)"
METHODS = pytest.mark.parametrize("method", ["REML", "ML"])


def criterion(m: Any) -> float:
    """-2 log-likelihood, ML or REML."""
    return float(-2 * m.loglik)


def sds(m: Any) -> np.ndarray:
    """Standard deviations of all random-effect columns, in the order of the formula."""
    return np.concatenate([term.sd.values for term in m.varcorr().terms])


def assert_same_fit(a: Any, b: Any, rtol: float = 1e-6) -> None:
    """The same criterion, coefficients and variance components, to the precision of an optimum."""
    assert_allclose(criterion(a), criterion(b), rtol=1e-10, atol=1e-8)
    se = np.sqrt(np.diag(a.vcov()))
    assert_allclose((a.fixef.values - b.fixef.values) / se, 0, atol=10 * rtol)
    assert_allclose(sds(a), sds(b), rtol=rtol, atol=10 * rtol * a.sigma)
    assert_allclose(a.sigma, b.sigma, rtol=rtol)


@METHODS
@stable(30)
@given(table=tables())
def test_row_order_does_not_matter(method: str, table: Table) -> None:
    shuffled = table.rows(table.rng.permutation(table.columns["y"].size))
    assert_same_fit(mw.fit(SLOPES, table.columns, method=method), mw.fit(SLOPES, shuffled, method=method))


@stable(30)
@given(table=tables())
def test_names_of_levels_do_not_matter(table: Table) -> None:
    levels, codes = np.unique(table.columns["g"], return_inverse=True)
    renamed = table.rng.permutation(levels.size)[codes] * 7 - 3
    assert_same_fit(mw.fit(SLOPES, table.columns), mw.fit(SLOPES, table.with_columns(g=renamed)))


@METHODS
@stable(30)
@given(
    table=tables(), scale=st.sampled_from([1e-6, 0.1, 30.0, 1e6]), shift=st.sampled_from([0.0, -5.0, 2000.0])
)
def test_scale_and_origin_of_a_slope_do_not_matter(
    method: str, table: Table, scale: float, shift: float
) -> None:
    moved = table.with_columns(x=scale * (table.columns["x"] + shift))
    a, b = mw.fit(SLOPES, table.columns, method=method), mw.fit(SLOPES, moved, method=method)
    # REML integrates over beta: its criterion follows log|X'X|, here 2 log(scale).
    assert_allclose(criterion(b), criterion(a) + (2 * np.log(scale) if method == "REML" else 0), rtol=1e-8)
    beta_a, beta_b = a.fixef.values, b.fixef.values
    assert_allclose(beta_b[1] * scale, beta_a[1], rtol=1e-5)
    assert_allclose(sds(b)[1] * scale, sds(a)[1], rtol=1e-4, atol=1e-4 * a.sigma)
    assert_allclose(b.sigma, a.sigma, rtol=1e-6)


@METHODS
@stable(30)
@given(table=tables(), shift=st.sampled_from([0.0, 1e4, 1e8]), scale=st.sampled_from([1e-10, 1.0, 1e10]))
def test_shift_and_scale_of_the_response_do_not_matter(
    method: str, table: Table, shift: float, scale: float
) -> None:
    y = table.columns["y"]
    a, b = (mw.fit(SLOPES, table.with_columns(y=moved), method=method) for moved in (y, scale * (y + shift)))
    n, p = y.size, a.fixef.values.size
    digits = 1e-7 if shift < 1e8 else 1e-5  # y + 1e8 keeps eight digits of y
    change = 2 * (n - p if method == "REML" else n) * np.log(scale)
    assert_allclose(criterion(b) - change, criterion(a), rtol=digits)
    assert_allclose(b.fixef.values[1:] / scale, a.fixef.values[1:], rtol=10 * digits, atol=10 * digits)
    assert_allclose(sds(b) / scale, sds(a), rtol=10 * digits, atol=100 * digits)


@METHODS
@stable(30)
@given(table=tables(), factor=st.sampled_from([1e-6, 0.5, 10.0, 1e6]))
def test_only_ratios_of_weights_matter(method: str, table: Table, factor: float) -> None:
    heavier = table.with_columns(w=factor * table.columns["w"])
    a, b = (mw.fit(SLOPES, data, method=method, weights="w") for data in (table.columns, heavier))
    assert_allclose(criterion(b), criterion(a), rtol=1e-9)
    assert_allclose(b.fixef.values, a.fixef.values, rtol=1e-6, atol=1e-7)
    assert_allclose(sds(b), sds(a), rtol=1e-5, atol=1e-5)
    assert_allclose(b.sigma, a.sigma * np.sqrt(factor), rtol=1e-6)


@stable(60)
@given(case=cases())
def test_a_weight_of_two_is_a_row_seen_twice(case: Case) -> None:
    """At a given theta all is equal but n, which the criterion counts."""
    plain = case.oracle
    twice = [
        OracleTerm(np.tile(t.codes, 2), np.tile(t.columns, (2, 1)), t.structure, t.homogeneous)
        for t in plain.terms
    ]
    weighted = assemble(Oracle(plain.y, plain.X, plain.terms, np.full(plain.y.size, 2.0)))
    doubled = assemble(Oracle(np.tile(plain.y, 2), np.tile(plain.X, (2, 1)), twice))
    a, b = weighted.solve(case.theta, case.reml, True), doubled.solve(case.theta, case.reml, True)
    assert_allclose(a.beta, b.beta, rtol=1e-8, atol=1e-10)
    assert_allclose([a.r2, a.logdet_m, a.logdet_x], [b.r2, b.logdet_m, b.logdet_x], rtol=1e-9, atol=1e-9)
    for t in range(len(plain.terms)):
        assert_allclose(a.b[t], b.b[t], atol=1e-9)

    def profiled(rows: int) -> float:
        nu = rows - plain.X.shape[1] if case.reml else rows
        return nu * (1 + np.log(2 * np.pi * a.r2 / nu))

    n = plain.y.size
    assert_allclose(
        weighted.criterion(case.theta, case.reml) - profiled(n) + n * np.log(2),
        doubled.criterion(case.theta, case.reml) - profiled(2 * n),
        rtol=1e-8,
        atol=1e-7,
    )


@METHODS
@stable(30)
@given(table=tables())
def test_nesting_may_be_written_three_ways(method: str, table: Table) -> None:
    cell = np.char.add(table.columns["h"], table.columns["f"])
    data = table.with_columns(cell=cell)
    fits = [
        mw.fit(f"y ~ x + {random}", data, method=method)
        for random in ("(1 | h / f)", "(1 | h) + (1 | h:f)", "(1 | h) + (1 | cell)")
    ]
    for other in fits[1:]:
        assert_allclose(criterion(other), criterion(fits[0]), rtol=1e-10, atol=1e-8)
        assert_allclose(other.fixef.values, fits[0].fixef.values, rtol=1e-5, atol=1e-7)
        assert_allclose(np.sort(sds(other)), np.sort(sds(fits[0])), rtol=1e-5, atol=1e-5)


@stable(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.integers(3, 12),
    replicates=st.integers(2, 9),
    spread=st.sampled_from([0.0, 0.3, 2.0]),
)
def test_balanced_one_way_has_a_closed_form(seed: int, levels: int, replicates: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    y = 10 + spread * rng.normal(size=(levels, 1)) + rng.normal(size=(levels, replicates))
    data = {"y": y.ravel(), "g": np.repeat(np.arange(levels), replicates)}
    n, means = y.size, y.mean(axis=1)
    within = ((y - means[:, None]) ** 2).sum() / (n - levels)
    between = replicates * ((means - y.mean()) ** 2).sum()
    for method, df in (("REML", levels - 1), ("ML", levels)):
        m = mw.fit("y ~ 1 + (1 | g)", data, method=method)
        assert_allclose(m.fixef.values, [y.mean()], rtol=1e-10)
        if between / df > within:
            assert_allclose(m.sigma**2, within, rtol=1e-6)
            assert_allclose(sds(m) ** 2, (between / df - within) / replicates, rtol=1e-5, atol=1e-6 * within)
        else:
            assert_allclose(sds(m), 0, atol=1e-9)
            total = ((y - y.mean()) ** 2).sum() / (n - 1 if method == "REML" else n)
            assert_allclose(m.sigma**2, total, rtol=1e-9)


@stable(30)
@given(table=tables())
def test_order_of_terms_does_not_matter(table: Table) -> None:
    a = mw.fit("y ~ x + f + (x | g) + (1 | h) + (1 | g:f)", table.columns)
    b = mw.fit("y ~ (1 | g:f) + f + (1 | h) + x + (x | g)", table.columns)
    assert_allclose(criterion(a), criterion(b), rtol=1e-10, atol=1e-8)
    assert_allclose(np.sort(a.fixef.values), np.sort(b.fixef.values), rtol=1e-5, atol=1e-7)
    assert_allclose(np.sort(sds(a)), np.sort(sds(b)), rtol=1e-5, atol=1e-5)


@METHODS
@stable(30)
@given(table=tables())
def test_lm_is_the_mixed_model_with_an_empty_z(method: str, table: Table) -> None:
    m = mw.fit("y ~ x + f", table.columns, method=method)
    y, x, f = (table.columns[name] for name in "yxf")
    X = np.column_stack([np.ones(y.size), x, f == "b", f == "c"])
    beta, (rss,), *_ = np.linalg.lstsq(X, y, rcond=None)
    nu = y.size - 4 if method == "REML" else y.size
    assert_allclose(m.fixef.values, beta, rtol=1e-9, atol=1e-10)
    assert_allclose(m.sigma**2, rss / nu, rtol=1e-10)
    assert_allclose(m.vcov(), rss / nu * np.linalg.inv(X.T @ X), rtol=1e-8)
    mixed = mw.fit("y ~ x + f + (1 | g)", table.columns, method="ML")
    assert_allclose(mixed.criterion([0.0]), m.deviance, rtol=1e-10)


@stable(30)
@given(table=tables())
def test_a_coding_changes_the_reml_criterion_by_its_determinant_only(table: Table) -> None:
    a = mw.fit("y ~ x + C(f, treatment) + (x | g)", table.columns)
    b = mw.fit("y ~ x + C(f, sum) + (x | g)", table.columns)
    # Treatment columns are the sum-coded columns times a matrix of determinant 1/3, and back.
    assert_allclose(criterion(b), criterion(a) + 2 * np.log(3), rtol=1e-9)
    assert_allclose(sds(b), sds(a), rtol=1e-5, atol=1e-6)
    assert_allclose(b.fitted(), a.fitted(), rtol=1e-6, atol=1e-6)


@METHODS
@stable(15)
@given(table=tables())
def test_a_redundant_column_is_dropped_and_changes_nothing(method: str, table: Table) -> None:
    a = mw.fit(SLOPES, table.columns, method=method)
    with pytest.warns(mw.MixwellWarning, match="MW-C02"):
        b = mw.fit("y ~ x + f + I(3 - 2 * x) + (x | g) + (1 | h)", table.columns, method=method)
    assert b.dropped == ("I(3 - 2 * x)",)
    assert_same_fit(a, b)


@stable(30)
@given(table=tables())
def test_an_offset_is_subtracted_from_the_response(table: Table) -> None:
    known = table.rng.normal(size=table.columns["y"].size)
    data = table.with_columns(known=known, z=table.columns["y"] - known)
    a = mw.fit("z ~ x + f + (x | g) + (1 | h)", data)
    for b in (mw.fit(SLOPES + " + offset(known)", data), mw.fit(SLOPES, data, offset="known")):
        assert_same_fit(a, b)
        assert_allclose(b.fitted() - known, a.fitted(), rtol=1e-6, atol=1e-6)


@METHODS
@stable(15)
@given(table=tables())
def test_a_double_bar_is_a_sum_of_terms(method: str, table: Table) -> None:
    fits = [
        mw.fit(f"y ~ x + {random}", table.columns, method=method)
        for random in ("(x || g)", "(1 | g) + (0 + x | g)", "diag(x | g)")
    ]
    for other in fits[1:]:
        assert_same_fit(fits[0], other)


@stable(15)
@given(table=tables())
def test_structures_reduce_to_each_other(table: Table) -> None:
    two = table.with_columns(f=np.where(table.columns["f"] == "c", "a", table.columns["f"]))
    free, equal = (mw.fit(f"y ~ x + {term}", two) for term in ("(0 + f | g)", "cs(0 + f | g)"))
    assert_same_fit(free, equal, rtol=1e-4)  # two columns: any covariance is compound symmetric
    lag, equal = (mw.fit(f"y ~ x + {term}", two) for term in ("ar1(0 + f | g)", "cs(0 + f | g, hom = TRUE)"))
    assert_same_fit(lag, equal, rtol=1e-4)
    nested = mw.fit("y ~ x + (1 | g / f)", table.columns)
    equal = mw.fit("y ~ x + cs(0 + f | g, hom = TRUE)", table.columns)
    assert criterion(equal) <= criterion(nested) + 1e-8  # nesting is compound symmetry with rho >= 0


@stable(15)
@given(table=tables())
def test_refit_is_a_new_fit(table: Table) -> None:
    m = mw.fit(SLOPES, table.columns)
    y = table.columns["y"] + table.rng.normal(size=table.columns["y"].size)
    assert_same_fit(mw.fit(SLOPES, table.with_columns(y=y)), m.refit(y))


@stable(15)
@given(table=tables())
def test_the_same_call_gives_the_same_bits(table: Table) -> None:
    a, b = mw.fit(SLOPES, table.columns), mw.fit(SLOPES, table.columns)
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.fixef.values, b.fixef.values)
