"""Nested and weakly crossed designs, which the core eliminates sparsely, against SciPy's sparse LU.

The dense oracle cannot reach the sizes at which the sparse chain takes over; here the mixed-model equations
are formed and factored by an independent sparse solver.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import linalg

from mixwell._core import Problem, Term

ROWS = 3_000


def term(rng: np.random.Generator, codes: Any, k: int) -> tuple[Any, Any]:
    """Codes and k columns, the first of them constant."""
    columns = np.column_stack([np.ones(codes.size), rng.normal(size=(codes.size, k - 1))])
    return codes.astype(np.int32), columns


def designs(rng: np.random.Generator, name: str) -> list[tuple[Any, Any]]:
    """Terms of the design called `name`."""
    small = rng.integers(0, 1_200, ROWS)
    small[:1_200] = np.arange(1_200)
    if name == "nested":
        return [term(rng, small, 1), term(rng, small // 2, 1)]
    if name == "nested with slopes":
        return [term(rng, small, 2), term(rng, small // 2, 2)]
    if name == "two nestings":
        return [term(rng, small, 2), term(rng, small // 3, 1), term(rng, small // 2, 2)]
    # People who now and then move to the next place.
    home = rng.integers(0, 500, 1_200)
    place = np.where(rng.random(ROWS) < 0.9, home[small], (home[small] + 1) % 500)
    place[:500] = np.arange(500)
    return [term(rng, small, 1), term(rng, place, 2)]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("name", ["nested", "nested with slopes", "two nestings", "movers"])
def test_chain_equals_sparse_lu(name: str, singular: bool, reml: bool) -> None:
    """Criterion, coefficients, modes and one conditional variance of every term, also for singular lambda."""
    rng = np.random.default_rng(7)
    terms = designs(rng, name)
    x = rng.normal(size=ROWS)
    X = np.column_stack([np.ones(ROWS), x])
    y = x + rng.normal(size=ROWS)
    w = rng.uniform(0.5, 2.0, ROWS)
    z, lambdas, theta = [], [], []
    for codes, columns in terms:
        levels, k = int(codes.max()) + 1, columns.shape[1]
        at = (codes[:, None] * k + np.arange(k)).ravel()
        z.append(
            sparse.csc_array((columns.ravel(), (np.repeat(np.arange(ROWS), k), at)), shape=(ROWS, levels * k))
        )
        factor = np.tril(rng.normal(size=(k, k))) / 2
        if singular:
            factor[:, -1] = 0.0
        y += z[-1] @ rng.normal(size=levels * k)
        lambdas.append(sparse.kron(sparse.eye_array(levels), factor))
        theta.append(np.concatenate([factor[j:, j] for j in range(k)]))
    core = Problem(
        y,
        [None, x],
        [
            Term(codes, int(codes.max()) + 1, [None, *np.ascontiguousarray(columns[:, 1:].T)], "us", False)
            for codes, columns in terms
        ],
        w,
    )
    assert core.blocks["chain"] > 0, "the design no longer reaches the sparse path"

    scale = sparse.block_diag(lambdas).tocsc()
    zl = sparse.hstack(z).tocsc() @ scale
    root = zl.multiply(np.sqrt(w)[:, None]).tocsc()
    lu = linalg.splu((root.T @ root + sparse.eye_array(zl.shape[1])).tocsc())
    logdet = float(np.log(np.abs(lu.U.diagonal())).sum())
    both = np.column_stack([X, y])
    absorbed = zl.T @ (w[:, None] * both)
    reduced = both.T @ (w[:, None] * both) - absorbed.T @ lu.solve(absorbed)
    beta = np.linalg.solve(reduced[:2, :2], reduced[:2, 2])
    r2 = reduced[2, 2] - reduced[:2, 2] @ beta
    nu = ROWS - 2 if reml else ROWS
    expected = logdet + nu * (1 + np.log(2 * np.pi * r2 / nu)) - np.log(w).sum()
    if reml:
        expected += np.linalg.slogdet(reduced[:2, :2])[1]
    modes = scale @ lu.solve(zl.T @ (w * (y - X @ beta)))

    flat = np.concatenate(theta)
    solution = core.solve(flat, reml, True)
    assert core.criterion(flat, reml) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(solution.beta, beta, atol=1e-9)
    ours = np.concatenate([np.asarray(b).ravel() for b in solution.b])
    np.testing.assert_allclose(ours, modes, atol=1e-9 * np.abs(modes).max())
    variances = np.concatenate(
        [np.diagonal(np.asarray(v), axis1=1, axis2=2).ravel() for v in solution.condvar_unscaled]
    )
    rows = scale.tocsr()
    for position in np.linspace(0, variances.size - 1, 7).astype(int):
        row = rows[[position]].toarray().ravel()
        assert variances[position] == pytest.approx(row @ lu.solve(row), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("reml", [True, False])
def test_gradient_of_the_chain(reml: bool) -> None:
    """The analytic gradient, which needs the selected inverse of the chain, against central differences."""
    rng = np.random.default_rng(8)
    terms = designs(rng, "two nestings")
    y = rng.normal(size=ROWS)
    core = Problem(
        y,
        [None],
        [
            Term(codes, int(codes.max()) + 1, [None, *np.ascontiguousarray(columns[:, 1:].T)], "us", False)
            for codes, columns in terms
        ],
        None,
    )
    theta = rng.uniform(0.2, 0.8, core.n_theta)
    step = 1e-5
    slopes = [
        (core.criterion(theta + step * unit, reml) - core.criterion(theta - step * unit, reml)) / (2 * step)
        for unit in np.eye(theta.size)
    ]
    np.testing.assert_allclose(core.gradient(theta, reml), slopes, rtol=1e-5, atol=1e-5)
