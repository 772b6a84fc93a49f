"""Cluster-robust covariances of the fixed effects: what the clusters contribute, as arrays.

With the working model Var(y_j) = sigma^2 V_j of cluster j, M = (sum X_j'V_j^-1 X_j)^-1 and residuals
e_j = y_j - X_j beta,

    V_CR = M (sum_j E_j e_j e_j' E_j') M,        E_j = X_j'V_j^-1 A_j

and the kinds differ in the adjustments A_j (Pustejovsky and Tipton 2018). Under the working model
Var(e_j) = sigma^2 B_j with B_j = V_j - X_j M X_j', and CR2 is the one with A_j B_j A_j' = V_j:

    A_j = D'(D B_j D')^(+1/2) D,  V_j = D'D     CR3: A_j = (I - X_j M X_j'V_j^-1)^-1     CR0, CR1: A_j = I

Two things keep this small. Columns are taken such that M = I. And rows of a cluster with the same weight may
be turned by an orthogonal matrix without changing anything, so many rows shrink to the triangular factor of
[X Z lambda e]: V_j and B_j are multiples of the identity on what is left out, where X_j is zero. Clusters of
similar size are then worked on together, filled up with rows of zeros, which change nothing either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = [
    "Contributions",
    "Working",
    "centred",
    "contributions",
    "count_within",
    "padded",
    "working",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

ALONE = 1e-10  # 1 - leverage below which a cluster alone determines a direction of beta
_LONG = 24  # rows of a cluster with one weight below which it is not worth shrinking them
_NEARLY = 1e-6  # 1 - leverage of a long cluster below which its matrices are formed
_FAR = 1e-13  # ratio of eigenvalues below which an integral has not all digits
_DIGITS = 38.0  # -log of the error of an integral
_BLOCK = 2_000_000  # numbers in the matrices of the clusters worked on together


class Contributions(NamedTuple):
    """What the clusters contribute to V_CR, in columns of X for which M = I.

    Attributes
    ----------
    basis
        T, shape (p, p), with T T' = M: a combination l of beta is T'l here.
    scores
        E_j e_j, shape (J, p).
    squares
        E_j V_j E_j', shape (J, p, p).
    slopes
        E_j X_j, shape (J, p, p). The covariance of scores j and k under the working model is
        (j = k) squares_j - slopes_j slopes_k'.
    """

    basis: Array
    scores: Array
    squares: Array
    slopes: Array


class Working(NamedTuple):
    """The working model of n rows.

    Attributes
    ----------
    x, back
        Columns (n, p), and B (p, p) with X B these, where X are the columns of the caller.
    residual, variance
        y - X beta (n,); relative variance of the noise (n,).
    terms
        By random-effects term: level of each row (n,), number of levels, Z lambda (n, k).
    """

    x: Array
    back: Array
    residual: Array
    variance: Array
    terms: Sequence[tuple[Ints, int, Array]]


def working(m: FittedModel) -> Working:
    """Return the working model of a linear model: the model itself."""
    n, weights = m.nobs, m.design.weights
    terms = []
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        z = np.column_stack([np.ones(n) if column is None else column for column in term.columns])
        terms.append((np.asarray(term.codes, dtype=np.int64), len(term.levels), z @ factor))
    variance = np.ones(n) if weights is None else 1.0 / weights
    return Working(*centred(m.fixed_columns, n), m.design.y - m._fixed_part, variance, terms)


def contributions(model: Working, codes: Ints, count: int, kind: str) -> Contributions:
    """Return the contributions of the clusters, with CR0 adjustments for any kind but CR2 and CR3.

    Parameters
    ----------
    codes, count
        Cluster of each row used, shape (n,), each of 0 .. count - 1 present; every level of a grouping factor
        lies in one cluster.
    """
    p = model.x.shape[1]
    rows, basis = _rows(model, codes, count)
    everyone = np.arange(count)
    independent = not rows.width.any()
    information = np.zeros((p, p))
    if independent:
        information = rows.x.T @ (rows.x / rows.variance[:, None])
    else:
        for block in _blocks(rows, everyone):
            information += np.einsum("jnp,jnq->pq", block.x, block.x)
    turn = np.linalg.inv(np.linalg.cholesky(information)).T if p else np.zeros((0, 0))
    found = Contributions(
        basis @ turn, np.zeros((count, p)), np.zeros((count, p, p)), np.zeros((count, p, p))
    )
    rows = replace(rows, x=rows.x @ turn)
    left = _independent(found, rows, kind) if independent else everyone
    for block in _blocks(rows, left):
        _contribute(found, block, kind)
    return found


# --- rows ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows sorted by cluster, as they enter the working model: e = X (...) + (Z lambda) u + noise.

    Attributes
    ----------
    cluster, x, residual, variance
        Cluster (n,), columns (n, p), residual (n,), relative variance of the noise (n,).
    row, column, value
        Entries of Z lambda, shape (m,) each; `column` counts within the cluster.
    count, width
        Number of clusters; columns of Z lambda of each cluster, shape (count,).
    """

    cluster: Ints
    x: Array
    residual: Array
    variance: Array
    row: Ints
    column: Ints
    value: Array
    count: int
    width: Ints


def _rows(model: Working, codes: Ints, count: int) -> tuple[_Rows, Array]:
    """Sort the rows and shrink the long clusters; also T (p, p) with X T the columns of the rows."""
    n = len(model.residual)
    x, basis = _orthonormal(model)
    columns, values = [np.zeros((n, 0), dtype=np.int64)], [np.zeros((n, 0))]
    width = np.zeros(count, dtype=np.int64)
    for own, total, factored in model.terms:
        z = factored[:, np.any(factored != 0, axis=0)]  # without the directions of variance zero
        k = z.shape[1]
        home = np.zeros(total, dtype=np.int64)
        home[own] = codes
        levels = np.bincount(home, minlength=count)
        place = np.empty(total, dtype=np.int64)
        place[np.argsort(home, kind="stable")] = count_within(levels)
        first = width[home] + k * place
        columns.append(first[own][:, None] + np.arange(k))
        values.append(z)
        width = width + k * levels
    column, value = np.hstack(columns), np.hstack(values)
    order = np.lexsort((model.variance, codes))
    each = column.shape[1]
    rows = _Rows(
        codes[order],
        x[order],
        model.residual[order],
        model.variance[order],
        np.repeat(np.arange(n), each),
        column[order].ravel(),
        value[order].ravel(),
        count,
        width,
    )
    return _shrunk(rows, each), basis


def centred(columns: Sequence[Array | None], n: int) -> tuple[Array, Array]:
    """Columns X B (n, p), less their means if one is constant, and B (p, p): others may be nearly so."""
    p = len(columns)
    x = np.ones((n, p))
    centre = np.eye(p)
    constant = next((j for j, column in enumerate(columns) if column is None), None)
    for j, column in enumerate(columns):
        if column is not None:
            mean = float(column.mean()) if constant is not None else 0.0
            x[:, j] = column - mean
            if constant is not None:
                centre[constant, j] = -mean
    return x, centre


def _orthonormal(model: Working) -> tuple[Array, Array]:
    """Orthonormal columns X T (n, p), and T (p, p)."""
    if model.x.shape[1] == 0:
        return model.x, model.back
    q, triangle = np.linalg.qr(model.x)
    return q, np.asarray(np.linalg.solve(triangle.T, model.back.T).T)


def count_within(sizes: Ints) -> Ints:
    """0 .. size - 1 for each of the sizes, one after the other."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - np.repeat(starts, sizes)


def _shrunk(rows: _Rows, each: int) -> _Rows:
    """Replace many rows of one cluster and one weight by the triangular factor of [X Z lambda e].

    Every row has `each` entries of Z lambda, row after row.
    """
    n, p = rows.x.shape
    new = np.append(True, (np.diff(rows.cluster) != 0) | (np.diff(rows.variance) != 0))
    starts = np.flatnonzero(new)
    sizes = np.diff(starts, append=n)
    ranks = p + rows.width[rows.cluster[starts]] + 1
    long = np.flatnonzero((sizes > _LONG) & (sizes > ranks * 3 // 2))
    if not len(long):
        return rows
    stays = ~np.repeat(np.isin(np.arange(len(starts)), long), sizes)
    column, value = rows.column.reshape(n, each), rows.value.reshape(n, each)
    kept = int(stays.sum())
    x, residual = [rows.x[stays]], [rows.residual[stays]]
    row, at, z = [np.repeat(np.arange(kept), each)], [column[stays].ravel()], [value[stays].ravel()]
    for start, size, rank in zip(starts[long], sizes[long], ranks[long], strict=True):
        here = slice(start, start + size)
        dense = np.zeros((size, rank))
        dense[:, :p], dense[:, -1] = rows.x[here], rows.residual[here]
        np.put_along_axis(dense, p + column[here], value[here], axis=1)
        triangle = np.asarray(np.linalg.qr(dense, mode="r"))
        x.append(triangle[:, :p])
        residual.append(triangle[:, -1])
        row.append(kept + np.repeat(np.arange(rank), rank - p - 1))
        at.append(np.tile(np.arange(rank - p - 1), rank))
        z.append(triangle[:, p:-1].ravel())
        kept += int(rank)
    cluster = np.concatenate([rows.cluster[stays], np.repeat(rows.cluster[starts[long]], ranks[long])])
    variance = np.concatenate([rows.variance[stays], np.repeat(rows.variance[starts[long]], ranks[long])])
    order = np.argsort(cluster, kind="stable")
    place = np.empty(kept, dtype=np.int64)
    place[order] = np.arange(kept)
    return _Rows(
        cluster[order],
        np.concatenate(x)[order],
        np.concatenate(residual)[order],
        variance[order],
        place[np.concatenate(row)],
        np.concatenate(at),
        np.concatenate(z),
        rows.count,
        rows.width,
    )


# --- clusters of similar size, side by side -----------------------------------------------------------------


class _Block(NamedTuple):
    """Clusters (J,): whitened X (J, n, p) and residuals (J, n), and L (J, n, n) with V = L L'."""

    clusters: Ints
    x: Array
    residual: Array
    root: Array


def _blocks(rows: _Rows, chosen: Ints) -> Iterator[_Block]:
    """Matrices of the clusters chosen."""
    sizes = np.bincount(rows.cluster, minlength=rows.count)
    starts = np.cumsum(sizes) - sizes
    within = count_within(sizes)
    entries = np.argsort(rows.cluster[rows.row], kind="stable")
    counts = np.bincount(rows.cluster[rows.row], minlength=rows.count)
    first = np.cumsum(counts) - counts
    shapes = np.stack([padded(sizes), padded(rows.width)], axis=1)
    kinds, members = np.unique(shapes[chosen], axis=0, return_inverse=True)
    p = rows.x.shape[1]
    for at, (n, q) in enumerate(kinds.tolist()):
        everyone = chosen[members.ravel() == at]
        step = max(1, _BLOCK // (n * (2 * n + q + p)))
        for low in range(0, len(everyone), step):
            clusters = everyone[low : low + step]
            own = np.repeat(np.arange(len(clusters)), sizes[clusters])
            index = np.repeat(starts[clusters], sizes[clusters]) + count_within(sizes[clusters])
            x, residual = np.zeros((len(clusters), n, p)), np.zeros((len(clusters), n))
            variance = np.ones((len(clusters), n))
            x[own, within[index]] = rows.x[index]
            residual[own, within[index]] = rows.residual[index]
            variance[own, within[index]] = rows.variance[index]
            z = np.zeros((len(clusters), n, q))
            theirs = entries[np.repeat(first[clusters], counts[clusters]) + count_within(counts[clusters])]
            own = np.repeat(np.arange(len(clusters)), counts[clusters])
            z[own, within[rows.row[theirs]], rows.column[theirs]] = rows.value[theirs]
            working = z @ z.transpose(0, 2, 1)
            working[:, np.arange(n), np.arange(n)] += variance
            root = np.linalg.cholesky(working)
            white = np.linalg.solve(root, np.concatenate([x, residual[:, :, None]], axis=2))
            yield _Block(clusters, white[:, :, :-1], white[:, :, -1], root)


def padded(sizes: Ints) -> Ints:
    """Round sizes up to at most a quarter more, so that few different ones remain."""
    unit = 2 ** np.maximum(np.floor(np.log2(np.maximum(sizes, 1))).astype(np.int64) - 2, 0)
    return np.asarray(-(-sizes // unit) * unit)


def _contribute(found: Contributions, block: _Block, kind: str) -> None:
    """Add the contributions of a block, whose X has M = I."""
    x, at = block.x, block.clusters
    information = x.transpose(0, 2, 1) @ x
    if kind == "CR2":
        half = x.transpose(0, 2, 1) @ _cr2(block, information)  # E_j L
        found.scores[at] = np.einsum("jpn,jn->jp", half, block.residual)
        found.squares[at] = half @ half.transpose(0, 2, 1)
        found.slopes[at] = half @ x
        return
    _add(found, at, (np.einsum("jnp,jn->jp", x, block.residual), information), kind)


def _add(found: Contributions, at: Ints, sums: tuple[Array, Array], kind: str) -> None:
    """Add the contributions but those of CR2, from X_j'V_j^-1 e_j (J, p) and X_j'V_j^-1 X_j (J, p, p)."""
    scores, information = sums
    if kind != "CR3":
        found.scores[at], found.squares[at], found.slopes[at] = scores, information, information
        return
    # E_j = (I - C_j)^-1 X_j'V_j^-1, C_j = X_j'V_j^-1 X_j: nothing from directions that j alone determines.
    values, vectors = np.linalg.eigh(information)
    left = 1.0 - values
    inverse = np.where(left > ALONE, 1.0 / np.where(left > ALONE, left, 1.0), 0.0)
    solve = (vectors * inverse[:, None, :]) @ vectors.transpose(0, 2, 1)
    found.scores[at] = np.einsum("jpq,jq->jp", solve, scores)
    found.slopes[at] = solve @ information
    found.squares[at] = found.slopes[at] @ solve


def _cr2(block: _Block, information: Array) -> Array:
    """L^-1 A L for whitened rows, shape (J, n, n): A = D'(D B D')^(+1/2) D with D = L'.

    With whitened X, B = L (I - XX') L' and D B D' = N'N for N = (I - XX')^(1/2) L'L. Singular values of N
    keep the digits that eigenvalues of N'N would lose.
    """
    x, root = block.x, block.root
    n = x.shape[1]
    values, vectors = np.linalg.eigh(information)
    left = np.maximum(1.0 - values, 0.0)
    alone = left <= ALONE
    left[alone] = 0.0
    turned = x @ vectors
    product = root.transpose(0, 2, 1) @ root
    # (I - XX')^(1/2) = I - X f(X'X) X' with f(c) = 1 / (1 + sqrt(1 - c))
    shrink = turned / (1.0 + np.sqrt(left))[:, None, :]
    _, sizes, right = np.linalg.svd(product - shrink @ (turned.transpose(0, 2, 1) @ product))
    present = np.arange(n) < n - alone.sum(axis=1)[:, None]
    inverse = np.where(present, 1.0 / np.where(present, sizes, 1.0), 0.0)
    return np.asarray((right.transpose(0, 2, 1) * inverse[:, None, :]) @ (right @ product))


# --- clusters of independent rows ---------------------------------------------------------------------------


def _independent(found: Contributions, rows: _Rows, kind: str) -> Ints:
    """Add the contributions of clusters with diagonal V; return those that want their matrices."""
    p, count = rows.x.shape[1], rows.count
    root = np.sqrt(rows.variance)
    x, e = rows.x / root[:, None], rows.residual / root
    scores, information = np.zeros((count, p)), np.zeros((count, p, p))
    for i in range(p):
        scores[:, i] = np.bincount(rows.cluster, x[:, i] * e, count)
        for j in range(i + 1):
            information[:, i, j] = np.bincount(rows.cluster, x[:, i] * x[:, j], count)
            information[:, j, i] = information[:, i, j]
    everyone = np.arange(count)
    if kind != "CR2":
        _add(found, everyone, (scores, information), kind)
        return everyone[:0]
    sizes = np.bincount(rows.cluster, minlength=count)
    starts = np.cumsum(sizes) - sizes
    most = np.linalg.eigvalsh(information)[:, -1] if p else np.zeros(count)
    long = (sizes > _LONG) & (most < 1.0 - _NEARLY)
    for j in np.flatnonzero(long).tolist():
        own = slice(starts[j], starts[j] + sizes[j])
        half = _cr2_independent(x[own], rows.variance[own], 1.0 - float(most[j]))
        if half is None:
            long[j] = False
            continue
        found.scores[j], found.squares[j], found.slopes[j] = half @ e[own], half @ half.T, half @ x[own]
    return everyone[~long]


def _cr2_independent(x: Array, variance: Array, left: float) -> Array | None:
    """X'S^-1/2 V for whitened rows, (p, n): S = V (I - XX') V is diagonal but for a matrix of rank p.

    S^-1/2 is an integral over (S + t^2)^-1, which a few nodes give to all digits (Hale, Higham and Trefethen
    2008, SIAM Journal on Numerical Analysis 46, 2505-2523). None if eigenvalues of S are too far apart.
    """
    from scipy.special import ellipj, ellipkm1  # noqa: PLC0415

    p = x.shape[1]
    v = variance / variance.max()
    low = float(v.min()) ** 2 * left
    if low < _FAR:
        return None
    count = math.ceil((3.0 - math.log(low)) * _DIGITS / (2.0 * math.pi**2))
    modulus = 1.0 - low
    low = 1.0 - modulus  # with the digits that the functions see
    period = float(ellipkm1(low))
    sn, cn, dn, _ = ellipj((np.arange(count) + 0.5) * period / count, modulus)
    square = low * (sn / cn) ** 2
    weight = 2.0 * period * math.sqrt(low) / (math.pi * count) * dn / cn**2
    inverse = 1.0 / (v**2 + square[:, None])  # (nodes, n)
    products = (x[:, :, None] * x[:, None, :]).reshape(len(x), p * p)
    inner = np.eye(p) - ((inverse * v**2) @ products).reshape(count, p, p)
    right = np.linalg.solve(inner, ((inverse * v) @ products).reshape(count, p, p))
    weighted = inverse.T * weight
    back = (weighted @ right.reshape(count, p * p)).reshape(len(x), p, p)
    root = weighted.sum(axis=1)[:, None] * x + v[:, None] * np.einsum("np,npq->nq", x, back)
    return np.asarray((v[:, None] * root).T)
