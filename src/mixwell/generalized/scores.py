"""Scores: what each row and each level adds to the gradient of the log-likelihood, in all parameters.

With the notation of the Laplace approximation (method: section 4), row i adds to the derivatives of the
log-likelihood

    x_i q_i,  q = d1 - a / 2 + W Z c / 2          in beta
    l_k + lev l''_k / 2 - (Z c) l'_k / 2           in auxiliary predictor k

and level j of a term -1/2 (Z'H^-1 Z - s s' + (h s' + s h') / 2)_jj to those in Sigma. Quadrature has Fisher's
identity in its place: means of the derivatives of the complete log-likelihood over the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.generalized.quadrature import rule
from mixwell.inference.sandwich import count_within, padded

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Scores", "auxiliary_predictors", "random_columns", "scores"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 2_000_000  # numbers in the matrices of the components worked on together
_STEP = 1e-4  # of differences in theta, relative to its size


class Scores(NamedTuple):
    """Derivatives of the log-likelihood at the estimates.

    Attributes
    ----------
    eta
        In the fixed part of the linear predictor of each row, (n,): q above.
    theta, gamma
        By cluster, (J, T) in theta of standardised columns and (J, G).
    """

    eta: Array
    theta: Array
    gamma: Array


def scores(m: GeneralizedModel, codes: Ints, count: int) -> Scores:
    """Return the scores of the clusters; every level of a grouping factor lies in one cluster.

    Parameters
    ----------
    codes, count
        Cluster of each row, shape (n,), and their number J.
    """
    eta, aux = np.asarray(m.core["eta"], dtype=np.float64), auxiliary_predictors(m)
    if m.nagq > 1:
        q, by_predictor, theta = _quadrature(m, eta, aux, (codes, count))
    else:
        rows = family_rows(m.family.core, m.design.y, m.design.weights, eta, aux)
        if m.is_mixed:
            q, by_predictor, slopes = _laplace(m, rows)
            theta = _theta(m, slopes, codes, count)
        else:
            q, by_predictor = rows[:, 4], [rows[:, 7 + 3 * k] for k in range(len(aux))]
            theta = np.zeros((count, 0))
    return Scores(q, theta, _gamma(m, by_predictor, codes, count))


def auxiliary_predictors(m: GeneralizedModel) -> list[Array]:
    """Auxiliary linear predictors, (n,) each, on the scale of the core."""
    out = []
    for columns, known in m.predictors.columns:
        values = np.zeros(m.nobs) if known is None else np.array(known, dtype=np.float64)
        for j, column in columns:
            values += m.gamma[j] * (1.0 if column is None else column)
        out.append(values)
    return out


def random_columns(m: GeneralizedModel) -> list[tuple[Ints, int, Array]]:
    """By term: level of each row (n,), number of levels, Z (n, k)."""
    return [
        (
            np.asarray(term.codes, dtype=np.int64),
            len(term.levels),
            np.column_stack([np.ones(m.nobs) if column is None else column for column in term.columns]),
        )
        for term in m.design.random
    ]


def _gamma(m: GeneralizedModel, by_predictor: list[Array], codes: Ints, count: int) -> Array:
    out = np.zeros((count, m.gamma.size))
    for (columns, _), slope in zip(m.predictors.columns, by_predictor, strict=True):
        for j, column in columns:
            if column is None:
                out[:, j] += np.bincount(codes, slope, count)
            else:  # thresholds that are not there have derivatives that are not numbers
                at = np.flatnonzero(column)
                out[:, j] += np.bincount(codes[at], slope[at] * column[at], count)
    return out


# --- Laplace ------------------------------------------------------------------------------------------------


def _laplace(m: GeneralizedModel, rows: Array) -> tuple[Array, list[Array], list[Array]]:
    """Return q (n,), derivatives in the auxiliary predictors (n,), and in Sigma by term (L, k, k)."""
    d1, d2, d3 = rows[:, 4], rows[:, 5], rows[:, 6]
    w, n = -d2, m.nobs
    lev, zc = np.empty(n), np.empty(n)
    terms = random_columns(m)
    slopes = [np.zeros((total, z.shape[1], z.shape[1])) for _, total, z in terms]
    for block in _components(terms, n):
        at, there = block.rows, block.there
        own_w, own_d1, own_d3 = (np.where(there, values[at], 0.0) for values in (w, d1, d3))
        factored = np.empty_like(block.z)
        for (first, levels, k), factor in zip(block.layout, m.lambdas, strict=True):
            part = block.z[:, :, first : first + levels * k]
            turned = part.reshape(*part.shape[:2], levels, k) @ factor
            factored[:, :, first : first + levels * k] = turned.reshape(part.shape)
        weighted = factored * own_w[:, :, None]
        inner = factored.transpose(0, 2, 1) @ weighted
        inner[:, np.arange(inner.shape[1]), np.arange(inner.shape[1])] += 1.0
        solved = np.linalg.solve(inner, factored.transpose(0, 2, 1))  # M^-1 lambda'Z'
        own_lev = np.einsum("jnq,jqn->jn", factored, solved)
        a = -own_d3 * own_lev
        own_zc = np.einsum("jnq,jq->jn", factored, np.einsum("jqn,jn->jq", solved, a))
        lev[at[there]], zc[at[there]] = own_lev[there], own_zc[there]
        half = weighted.transpose(0, 2, 1) @ block.z  # lambda'Z'W Z
        through = (solved * own_w[:, None, :]) @ block.z
        s = np.einsum("jnq,jn->jq", block.z, own_d1)
        h = np.einsum("jnq,jn->jq", block.z, a - own_w * own_zc)
        for (first, levels, k), members, out in zip(block.layout, block.levels, slopes, strict=True):
            for position in range(levels):
                columns = slice(first + position * k, first + (position + 1) * k)
                who = members[:, position]
                real = who >= 0
                z = block.z[:, :, columns]
                g = z.transpose(0, 2, 1) @ (own_w[:, :, None] * z)
                g -= half[:, :, columns].transpose(0, 2, 1) @ through[:, :, columns]
                sl, hl = s[:, columns, None], h[:, columns, None]
                mixed = hl @ sl.transpose(0, 2, 1)
                g += 0.5 * (mixed + mixed.transpose(0, 2, 1)) - sl @ sl.transpose(0, 2, 1)
                out[who[real]] = -0.5 * g[real]
    q = d1 + 0.5 * (d3 * lev + w * zc)
    by_predictor = [
        rows[:, 7 + 3 * k] + 0.5 * (lev * rows[:, 9 + 3 * k] - zc * rows[:, 8 + 3 * k])
        for k in range(len(m.predictors.columns))
    ]
    return q, by_predictor, slopes


class _Block(NamedTuple):
    """Components (J,) side by side, filled up with rows and levels that are not there.

    Attributes
    ----------
    rows, there
        Positions of their rows (J, n), and which of them are real.
    z
        Z of all terms, term after term and level after level, (J, n, Q).
    layout
        By term: first column, number of levels, effects of a level.
    levels
        By term: which levels these are, (J, number), -1 where there is none.
    """

    rows: Ints
    there: NDArray[np.bool_]
    z: Array
    layout: list[tuple[int, int, int]]
    levels: list[Ints]


def _components(terms: list[tuple[Ints, int, Array]], n: int) -> Iterator[_Block]:
    """Yield sets of rows that share no level with others, in blocks of similar size."""
    codes, count = _connected(terms, n)
    sizes = np.bincount(codes, minlength=count)
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    within = np.empty(n, dtype=np.int64)
    within[order] = count_within(sizes)
    homes, places, numbers = [], [], []
    for own, total, _ in terms:
        home = np.zeros(total, dtype=np.int64)
        home[own] = codes
        number = np.bincount(home, minlength=count)
        place = np.empty(total, dtype=np.int64)
        place[np.argsort(home, kind="stable")] = count_within(number)
        homes.append(home)
        places.append(place)
        numbers.append(number)
    shapes = np.stack([padded(each) for each in (sizes, *numbers)], axis=1)
    kinds, members = np.unique(shapes, axis=0, return_inverse=True)
    for kind, (size, *levels) in enumerate(kinds.tolist()):
        everyone = np.flatnonzero(members.ravel() == kind)
        widths = [number * z.shape[1] for number, (_, _, z) in zip(levels, terms, strict=True)]
        firsts = np.concatenate([[0], np.cumsum(widths)]).tolist()
        step = max(1, _BLOCK // (size * (firsts[-1] + 1) + firsts[-1] ** 2))
        for low in range(0, len(everyone), step):
            chosen = everyone[low : low + step]
            wide = len(chosen)
            position = np.full(count, -1)
            position[chosen] = np.arange(wide)
            mine = order[np.repeat(starts[chosen], sizes[chosen]) + count_within(sizes[chosen])]
            own = position[codes[mine]]
            rows, there = np.zeros((wide, size), dtype=np.int64), np.zeros((wide, size), dtype=bool)
            rows[own, within[mine]], there[own, within[mine]] = mine, True
            z = np.zeros((wide, size, firsts[-1]))
            layout, who = [], []
            for t, (level, _, values) in enumerate(terms):
                k = values.shape[1]
                column = firsts[t] + k * places[t][level[mine]]
                for i in range(k):
                    z[own, within[mine], column + i] = values[mine, i]
                layout.append((firsts[t], levels[t], k))
                names = np.full((wide, levels[t]), -1)
                theirs = np.flatnonzero(position[homes[t]] >= 0)
                names[position[homes[t][theirs]], places[t][theirs]] = theirs
                who.append(names)
            yield _Block(rows, there, z, layout, who)


def _connected(terms: list[tuple[Ints, int, Array]], n: int) -> tuple[Ints, int]:
    """Component of each row, and their number."""
    first, total, _ = terms[0]
    if all(np.array_equal(first, own) for own, _, _ in terms[1:]):
        return first, total
    from scipy.sparse import coo_matrix  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    starts = np.cumsum([0, *(each for _, each, _ in terms)])
    links = [(first, own + starts[t]) for t, (own, _, _) in enumerate(terms) if t]
    i, j = np.concatenate([a for a, _ in links]), np.concatenate([b for _, b in links])
    size = int(starts[-1])
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    return label[first].astype(np.int64), int(count)


# --- covariance parameters ----------------------------------------------------------------------------------


def _factors(m: GeneralizedModel) -> tuple[Array, list[list[tuple[Array, ...]]]]:
    """Return steps (T,) in theta of standardised columns, and lambda of each term at both sides of each."""
    psi, t = np.array(m.core["psi"], dtype=np.float64), m.theta.size
    step = _STEP * np.maximum(np.abs(psi[:t]), 1.0)
    both = []
    for i in range(t):
        sides = []
        for sign in (1.0, -1.0):
            moved = psi.copy()
            moved[i] += sign * step[i]
            theta = np.asarray(m.laplace.natural(moved[None]))[0, :t]
            sides.append(replace(m, core={**m.core, "theta": theta}).lambdas)
        both.append(sides)
    return step, both


def _theta(m: GeneralizedModel, slopes: list[Array], codes: Ints, count: int) -> Array:
    """Scores in theta (J, T) from those in Sigma."""
    step, both = _factors(m)
    out = np.zeros((count, m.theta.size))
    for t, (term, slope) in enumerate(zip(m.design.random, slopes, strict=True)):
        home = np.zeros(len(term.levels), dtype=np.int64)
        home[term.codes] = codes
        for i, (up, down) in enumerate(both):
            change = (up[t] @ up[t].T - down[t] @ down[t].T) / (2.0 * step[i])
            if change.any():
                out[:, i] += np.bincount(home, np.einsum("jkl,kl->j", slope, change), count)
    return out


# --- quadrature ---------------------------------------------------------------------------------------------


def _quadrature(
    m: GeneralizedModel, eta: Array, aux: list[Array], clusters: tuple[Ints, int]
) -> tuple[Array, list[Array], Array]:
    """Return q (n,), derivatives in auxiliary predictors (n,), and scores in theta (J, T), by quadrature."""
    terms = random_columns(m)
    level, total, _ = terms[0]
    z = np.hstack([values for _, _, values in terms])
    factor = _block_diagonal(m.lambdas)
    k = len(factor)
    factored = z @ factor
    at_mode = family_rows(m.family.core, m.design.y, m.design.weights, eta, aux)
    inner = _by_level(level, total, -at_mode[:, 5, None, None] * factored[:, :, None] * factored[:, None, :])
    u = _by_level(level, total, factored * at_mode[:, 4, None])  # u^ = lambda'Z'd1
    scale = np.linalg.inv(np.linalg.cholesky(inner + np.eye(k))).transpose(0, 2, 1)
    base = np.bincount(level, at_mode[:, 3], total)
    nodes, weights = rule(m.nagq)
    step, both = _factors(m)
    changes = [
        (_block_diagonal(up) - _block_diagonal(down)) / (2.0 * h)
        for h, (up, down) in zip(step, both, strict=True)
    ]
    points = np.stack(np.meshgrid(*[nodes] * k, indexing="ij"), axis=-1).reshape(-1, k)
    mass = np.prod(np.stack(np.meshgrid(*[weights] * k, indexing="ij"), axis=-1).reshape(-1, k), axis=1)
    # Weights of the nodes, level by level, by their logarithms less the largest so far.
    highest = np.full(total, -np.inf)
    norm = np.zeros(total)
    q, theta = np.zeros(len(eta)), np.zeros((total, len(step)))
    by_predictor = [np.zeros(len(eta)) for _ in aux]
    for point, weight in zip(points, mass, strict=True):
        shift = np.sqrt(2.0) * scale @ point
        rows = family_rows(
            m.family.core,
            m.design.y,
            m.design.weights,
            eta + np.einsum("nk,nk->n", factored, shift[level]),
            aux,
        )
        value = np.bincount(level, rows[:, 3], total) - base
        value += np.log(weight) + float(point @ point) - np.einsum("jk,jk->j", u + 0.5 * shift, shift)
        value = np.where(np.isfinite(value), value, -np.inf)
        top = np.maximum(highest, value)
        old, new = np.exp(highest - top), np.exp(value - top)
        highest, norm = top, norm * old + new
        own = np.where(new[level] > 0, new[level], 0.0)
        seen = own > 0
        q = q * old[level] + np.where(seen, own * rows[:, 4], 0.0)
        for i, values in enumerate(by_predictor):
            by_predictor[i] = values * old[level] + np.where(seen, own * rows[:, 7 + 3 * i], 0.0)
        pull = _by_level(level, total, z * np.where(seen, rows[:, 4], 0.0)[:, None])
        theta *= old[:, None]
        for i, change in enumerate(changes):
            theta[:, i] += new * np.einsum("jk,kl,jl->j", pull, change, u + shift)
    codes, count = clusters
    home = np.zeros(total, dtype=np.int64)
    home[level] = codes
    theta /= norm[:, None]
    by_cluster = np.zeros((count, len(step)))
    np.add.at(by_cluster, home, theta)
    return q / norm[level], [values / norm[level] for values in by_predictor], by_cluster


def _by_level(level: Ints, total: int, values: Array) -> Array:
    """Sum over the rows of each level."""
    flat = values.reshape(len(values), -1)
    sums = np.column_stack([np.bincount(level, column, total) for column in flat.T])
    return np.asarray(sums.reshape(total, *values.shape[1:]), dtype=np.float64)


def _block_diagonal(blocks: tuple[Array, ...]) -> Array:
    out = np.zeros((sum(map(len, blocks)),) * 2)
    at = 0
    for block in blocks:
        out[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return out
