"""Whether one model is a special case of another, decided from their matrices and not from their formulas.

The fixed part is nested when the columns of X are combinations of the larger model's. The random part is
nested when every covariance matrix of a term can be written as one of the larger model's, over the same
groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.boundary_tests import Block

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = ["Nesting", "nesting", "same_span"]

Array = NDArray[np.float64]

_CLOSE = 1e-7  # relative distance from a span within which a column lies in it
_DRAWS = 6  # covariance matrices by which families are compared
_WAYS = 256  # ways to distribute the terms of the smaller model that are tried


@dataclass(frozen=True, slots=True, eq=False)
class Nesting:
    """How a model is a special case of a larger one.

    Attributes
    ----------
    reason
        Why it is none; empty when it is.
    fixed, random
        Fixed effects and covariance parameters that only the larger model has.
    zeros
        Variances that are zero in the smaller model, as the number of dimensions its covariances lack.
    tested
        Columns of Z of the one variance that is zero in the smaller model, when that is all that differs in
        the random part; otherwise None.
    linear
        Whether the covariances that are zero depend linearly on their parameters.
    """

    reason: str = ""
    fixed: int = 0
    random: int = 0
    zeros: int = 0
    tested: tuple[Block, ...] | None = None
    linear: bool = True


def nesting(small: FittedModel, large: FittedModel) -> Nesting:
    """Find out whether `small` is a special case of `large`, fitted to the same rows."""
    if reason := _other_distribution(small, large):
        return Nesting(reason)
    generalised = getattr(large, "family", None) is not None
    fixed = len(large.kept) - len(small.kept)
    random = int(large.theta.size - small.theta.size)
    if missing := _fixed_outside(small, large):
        return Nesting(f"the fixed part of one does not hold {missing} of the other")
    found = _random_part(small.design.random, large.design.random)
    if isinstance(found, str):
        return Nesting(found)
    if fixed == random == 0:
        return Nesting("they are the same model")
    if random < 0:
        return Nesting("the one with fewer fixed effects has more covariance parameters")
    # The simulated distribution of a variance's test is that of linear models.
    tested = found.tested if random == 1 and not generalised else None
    return replace(found, fixed=fixed, random=random, tested=tested)


def _other_distribution(small: FittedModel, large: FittedModel) -> str:
    """Why two models differ in more than their fixed and random effects; empty when they do not."""
    families = [getattr(m, "family", None) for m in (small, large)]
    if families[0] != families[1]:
        return "their families or links differ"
    if families[0] is None:
        return ""
    if getattr(small, "nagq", 1) != getattr(large, "nagq", 1):
        return "their likelihoods have different numbers of quadrature nodes"
    extras = [m.design.extra for m in (small, large)]
    if {k: v[0] for k, v in extras[0].items()} != {k: v[0] for k, v in extras[1].items()}:
        return "their formulas for zeros or dispersion differ"
    return ""


def same_span(one: Array, two: Array) -> bool:
    """Whether two full-rank matrices (n, p) have the same column space."""
    return one.shape == two.shape and bool((_outside(two, one) <= _CLOSE).all())


def _outside(columns: Array, span: Array) -> Array:
    """Part of each column (n, r) that lies outside the span of a matrix (n, p), relative to the column."""
    norms = np.linalg.norm(columns, axis=0)
    scaled = columns / np.where(norms > 0, norms, 1.0)
    basis = np.linalg.qr(span)[0]
    return np.asarray(np.linalg.norm(scaled - basis @ (basis.T @ scaled), axis=0))


def _fixed_outside(small: FittedModel, large: FittedModel) -> str:
    """Name what the fixed part of the smaller model has and the larger one's cannot express."""
    x, z = large.model_matrix(), small.model_matrix()
    outside = _outside(z, x) > _CLOSE
    if outside.any():
        return f"'{small.fixef.names[int(np.argmax(outside))]}'"
    offsets = [np.zeros(m.nobs) if m.design.offset is None else m.design.offset for m in (small, large)]
    difference = (offsets[0] - offsets[1])[:, None]
    return "the offset" if _outside(difference, x)[0] > _CLOSE else ""


# --- random part ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A covariance family of the smaller model that must fit into one term of the larger one."""

    term: RandomDesign
    structure: str
    homogeneous: bool
    columns: Array


def _random_part(small: Sequence[RandomDesign], large: Sequence[RandomDesign]) -> Nesting | str:
    """Fit every family of the smaller model into the terms of the larger one, or say which does not fit."""
    pieces = [piece for term in small for piece in _pieces(term)]
    wide = [_dense(term) for term in large]
    homes: list[list[tuple[int, Array]]] = []
    for piece in pieces:
        homes.append(
            [
                (at, np.asarray(np.linalg.lstsq(wide[at], piece.columns, rcond=None)[0], dtype=np.float64))
                for at, term in enumerate(large)
                if _same_groups(piece.term, term) and (_outside(piece.columns, wide[at]) <= _CLOSE).all()
            ]
        )
        if not homes[-1]:
            return f"one has the random effects {piece.term.text}, which the other cannot express"
    for _, way in zip(range(_WAYS), product(*homes), strict=False):
        found = _fits(pieces, way, large)
        if found is not None:
            return found
    texts = dict.fromkeys(piece.term.text for piece in pieces)
    return f"the covariance of {', '.join(texts)} cannot be written as one of the other's"


def _pieces(term: RandomDesign) -> Iterator[_Piece]:
    columns = _dense(term)
    if term.structure == "diag" and not term.homogeneous:
        for j in range(len(term.names)):
            yield _Piece(term, "us", False, columns[:, j : j + 1])
    else:
        yield _Piece(term, term.structure, term.homogeneous, columns)


def _dense(term: RandomDesign) -> Array:
    n = term.codes.size
    return np.column_stack([np.ones(n) if column is None else column for column in term.columns])


def _same_groups(one: RandomDesign, two: RandomDesign) -> bool:
    """Whether two grouping factors cut the rows into the same groups, whatever they are called."""
    if len(one.levels) != len(two.levels):
        return False
    if np.array_equal(one.codes, two.codes):
        return True
    pairs = one.codes * np.int64(len(two.levels)) + two.codes
    return np.unique(pairs).size == len(one.levels)


def _fits(
    pieces: Sequence[_Piece], way: Sequence[tuple[int, Array]], large: Sequence[RandomDesign]
) -> Nesting | None:
    """Put each piece into its term, with random covariances, and look whether the sums belong there."""
    rng = np.random.default_rng(0)
    short, zeros, linear = [], 0, True
    for at, term in enumerate(large):
        k = len(term.names)
        mine = [(piece, home[1]) for piece, home in zip(pieces, way, strict=True) if home[0] == at]
        total = np.zeros((k, k))
        for draw in range(_DRAWS if mine else 0):
            total = sum((a @ _draw(piece, draw, rng) @ a.T for piece, a in mine), np.zeros((k, k)))
            if not _belongs(total, term.structure, homogeneous=term.homogeneous):
                return None
        rank = _rank(total)
        if rank < k:
            zeros += k - rank
            short.append((at, total))
            # Linear in their parameters: us, diag, and compound symmetry with one variance.
            linear &= term.structure in ("us", "diag") or (term.structure == "cs" and term.homogeneous)
    return Nesting(zeros=zeros, linear=linear, tested=_one_variance(short, large))


def _one_variance(
    short: Sequence[tuple[int, Array]], large: Sequence[RandomDesign]
) -> tuple[Block, ...] | None:
    """Columns of Z of the variance that is zero, if it is one, and has no covariances."""
    if len(short) != 1:
        return None
    term, total = large[short[0][0]], short[0][1]
    zero = np.diag(total) <= 1e-12 * max(float(np.diag(total).max()), 1e-300)
    if not (term.structure == "diag" or len(term.names) == 1):
        return None
    return tuple(
        Block(term.codes, len(term.levels), column)
        for column, gone in zip(term.columns, zero, strict=True)
        if gone
    )


def _rank(matrix: Array) -> int:
    """Rank of a covariance matrix, whatever the units of its columns."""
    sd = np.sqrt(np.diag(matrix))
    sd[sd <= 1e-8 * max(float(sd.max()), 1e-300)] = np.inf
    values = np.linalg.eigvalsh(matrix / np.outer(sd, sd))
    return int(np.sum(values > 1e-10))


def _draw(piece: _Piece, draw: int, rng: np.random.Generator) -> Array:
    """Draw a covariance matrix of a family; correlations come near both ends of their range."""
    k = piece.columns.shape[1]
    if piece.structure == "us":
        root = rng.standard_normal((k, k))
        return np.asarray(root @ root.T)
    sd = np.full(k, rng.uniform(0.5, 2.0)) if piece.homogeneous else rng.uniform(0.5, 2.0, k)
    low = {"diag": 0.0, "cs": -1.0 / max(k - 1, 1), "ar1": -1.0}[piece.structure]
    rho = low + (1.0 - low) * (0.05, 0.95, 0.3, 0.7, 0.15, 0.5)[draw]
    lag = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    correlation = {"diag": np.eye(k), "cs": np.where(lag == 0, 1.0, rho), "ar1": np.power(rho, lag)}
    chosen: Array = np.asarray(correlation[piece.structure], dtype=np.float64)
    return np.outer(sd, sd) * chosen


def _belongs(matrix: Array, structure: str, *, homogeneous: bool) -> bool:
    """Whether a covariance matrix (k, k) is one that a structure can take."""
    if structure == "us":
        return True
    variance = np.diag(matrix)
    present = variance > 1e-12 * float(variance.max())
    if homogeneous and not np.allclose(variance, variance[0], rtol=1e-7):
        return False
    k = len(variance)
    sd = np.sqrt(variance[present])
    correlation = matrix[np.ix_(present, present)] / np.outer(sd, sd)
    lower = np.tril_indices(len(sd), -1)
    found, lag = (
        correlation[lower],
        np.subtract.outer(np.flatnonzero(present), np.flatnonzero(present))[lower],
    )
    if structure == "diag":
        return bool((np.abs(found) < 1e-8).all())
    if found.size == 0:
        return True
    if structure == "cs":
        return bool(np.ptp(found) < 1e-8 and found[0] >= -1.0 / max(k - 1, 1) - 1e-8)
    nearest = int(np.argmin(lag + 2 * k * (lag % 2 == 0)))  # an odd lag tells the sign of rho
    rho = np.sign(found[nearest]) * np.abs(found[nearest]) ** (1.0 / lag[nearest])
    return bool(np.allclose(rho ** lag.astype(int), found, atol=1e-8))
