"""Random responses of a fitted model, in blocks that own their stream of random numbers.

A block is a fixed number of replicates whose generator is keyed by (seed, block). Replicate r is therefore
the same whether 100 or 1000 are asked for, and whoever computes it.

| kind | y* = X beta + ... | source |
|---|---|---|
| parametric | Z b* + e*, normal | the model |
| residual | predicted effects and residuals drawn anew, rescaled | Carpenter, Goldstein & Rasbash 2003 |
| wild | marginal residuals of a cluster times one random number | Modugno & Giannerini 2015 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.resampling.clusters import Clusters

__all__ = ["FEW", "Draw", "block_size", "generator", "parametric", "residual", "seed_of", "shuffled", "wild"]

Array = NDArray[np.float64]


class Draw(Protocol):
    """A generator and a count in; responses (count, n) without the offset out."""

    def __call__(self, rng: np.random.Generator, count: int, /) -> Array:
        """Draw responses."""


_BLOCK = 64  # replicates of a block, fewer when a response is long
_BLOCK_VALUES = 2**22
FEW = 12  # clusters below which signs alone give too few different samples


def block_size(n: int) -> int:
    """Replicates of a block: it depends on the rows only, so that streams do not depend on anything else."""
    return max(1, min(_BLOCK, _BLOCK_VALUES // max(n, 1)))


def seed_of(seed: object) -> int:
    """Check a seed; None draws one, which the result then reports."""
    if seed is None:
        return int(np.random.SeedSequence().entropy % 2**63)  # type: ignore[operator]
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise error("MW-A07", option="seed", expected="a whole number from 0 on, or None", given=seed)
    return int(seed)


def generator(seed: int, block: int) -> np.random.Generator:
    """Return the generator of one block."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(block,))))


def _fixed(m: FittedModel) -> Array:
    """X beta, without the offset, shape (n,)."""
    part: Array = m._fixed_part
    return part if m.design.offset is None else part - m.design.offset


def _add_effects(m: FittedModel, out: Array, effects: list[Array]) -> None:
    """Add Z b to responses (count, n); b of each term is (count, J, k)."""
    for term, b in zip(m.design.random, effects, strict=True):
        for j, column in enumerate(term.columns):
            part = np.take(np.ascontiguousarray(b[:, :, j]), term.codes, axis=1)
            if column is not None:
                part *= column
            out += part


def _residual_scale(m: FittedModel) -> Array | float:
    weights = m.design.weights
    return 1.0 if weights is None else 1.0 / np.sqrt(weights)


def parametric(m: FittedModel) -> Draw:
    """Draw random effects and residuals from their estimated normal distributions."""
    fixed, scale = _fixed(m), _residual_scale(m)
    roots = [m.sigma * factor for factor in m.lambdas]

    def draw(rng: np.random.Generator, count: int) -> Array:
        effects = [
            rng.standard_normal((count, len(term.levels), len(root))) @ root.T
            for term, root in zip(m.design.random, roots, strict=True)
        ]
        out = rng.standard_normal((count, m.nobs))
        out *= m.sigma * scale
        out += fixed
        _add_effects(m, out, effects)
        return out

    return draw


def reflated(values: Array, covariance: Array) -> Array:
    """Centre the rows of `values` (J, k) and transform them to have the given empirical covariance.

    The transformation is the symmetric one: of all that give this covariance it changes the values least, and
    it does not depend on the order of the columns. Directions without any variation stay without.
    """
    centred = values - values.mean(axis=0)
    root, inverse = _roots(centred.T @ centred / len(values))
    middle, _ = _roots(root @ covariance @ root)
    return np.asarray(centred @ (inverse @ middle @ inverse))


def _roots(matrix: Array) -> tuple[Array, Array]:
    """Symmetric square root and its pseudo-inverse."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-12 * max(float(values[-1]), np.finfo(float).tiny)
    root = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=kept)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def shuffled(rng: np.random.Generator, count: int, blocks: NDArray[np.integer]) -> NDArray[np.int64]:
    """Permutations (count, size) within blocks: position i receives a position of the block of i."""
    out = np.empty((count, blocks.size), np.int64)
    # Sorting block + uniform shuffles every block and keeps the blocks in order.
    out[:, np.argsort(blocks, kind="stable")] = np.argsort(blocks + rng.random((count, blocks.size)), axis=1)
    return out


def residual(m: FittedModel, *, replace: bool = True, blocks: NDArray[np.integer] | None = None) -> Draw:
    """Draw predicted random effects by level and residuals by row, rescaled to the estimated variances.

    Predicted effects vary less than the effects themselves; without the rescaling a bootstrap would shrink
    all variances. With `replace` off they are permuted, residuals within `blocks` (n,) of rows if given.
    """
    fixed, scale = _fixed(m), _residual_scale(m)
    effects = [
        reflated(np.asarray(b), m.sigma**2 * (factor @ factor.T))
        for b, factor in zip(m.solution.b, m.lambdas, strict=True)
    ]
    errors = reflated(m.resid("pearson")[:, None], np.array([[m.sigma**2]]))[:, 0]

    together = np.zeros(m.nobs, np.int64) if blocks is None else blocks

    def pick(rng: np.random.Generator, count: int, within: NDArray[np.integer]) -> NDArray[np.integer]:
        if replace:
            return rng.integers(0, within.size, (count, within.size))
        return shuffled(rng, count, within)

    def draw(rng: np.random.Generator, count: int) -> Array:
        drawn = [b[pick(rng, count, np.zeros(len(b), np.int64))] for b in effects]
        out: Array = errors[pick(rng, count, together)]
        out *= scale
        out += fixed
        _add_effects(m, out, drawn)
        return out

    return draw


def wild(m: FittedModel, clusters: Clusters) -> Draw:
    """Multiply the corrected marginal residuals of each cluster by one number: +-1, or Webb's six points."""
    fixed, corrected = _fixed(m), deleted_residuals(m, clusters)
    few = clusters.count < FEW
    points = np.sqrt([0.5, 1.0, 1.5]) if few else np.ones(1)
    points = np.concatenate([-points, points])

    def draw(rng: np.random.Generator, count: int) -> Array:
        multiplier = points[rng.integers(0, points.size, (count, clusters.count))]
        out: Array = np.take(multiplier, clusters.codes, axis=1)
        out *= corrected
        out += fixed
        return out

    return draw


def deleted_residuals(m: FittedModel, clusters: Clusters) -> Array:
    """Marginal residuals of each cluster from the coefficients without that cluster, shape (n,).

    That is y_j - X_j beta_(-j) at the estimated theta, the cluster form of HC3. With A_j = X_j'V_j^-1 X_j and
    CC' the covariance of beta it is r_j + X_j C (I - C'A_j C)^-1 C'X_j'V_j^-1 r_j: p x p matrices suffice.
    """
    x = m.model_matrix()
    beta_part = m._fixed_part
    r = m.design.y - beta_part
    if x.shape[1] == 0:
        return np.asarray(r)
    weights = 1.0 if m.design.weights is None else m.design.weights[:, None]
    whitened = x.copy()  # H^-1 X = W (X - Z b_X)
    if m.is_mixed:
        for term, absorbed in zip(m.design.random, m.full_solution.b_x, strict=True):
            for j, column in enumerate(term.columns):
                part = absorbed[term.codes, j, :]
                whitened -= part if column is None else part * column[:, None]
    whitened *= weights
    scores = x * (weights * (m.design.y - m._fitted)[:, None])  # rows of X' H^-1 r
    order, starts = clusters.order, clusters.starts
    blocks = np.empty((clusters.count, x.shape[1], x.shape[1]))
    for j in range(x.shape[1]):
        blocks[:, j, :] = np.add.reduceat((x[:, j, None] * whitened)[order], starts)
    sums = np.add.reduceat(scores[order], starts)
    c = np.linalg.cholesky(np.asarray(m.solution.vcov_unscaled))
    values, vectors = np.linalg.eigh(c.T @ ((blocks + blocks.swapaxes(1, 2)) / 2) @ c)
    values = np.clip(values, 0.0, 1.0)
    # A direction that the cluster alone determines stays as it is.
    whole = values > 1 - 1e-8
    factor = np.where(whole, 0.0, 1 / (1 - np.where(whole, 0.0, values)))
    turned = np.einsum("jab,ja->jb", vectors, sums @ c)
    change = np.einsum("jab,jb->ja", vectors, factor * turned) @ c.T
    return np.asarray(r + np.sum(x * change[clusters.codes], axis=1))
