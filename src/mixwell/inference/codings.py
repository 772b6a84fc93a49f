"""The estimable functions of a model, whatever the coding of its factors.

Let D be the columns of X with a dummy for every level of every factor. Its coefficients are not unique; the
functions of them that the rows determine, the estimable ones, are the row space of D. They have coordinates
in every coding of the factors: those of the fit, and those of treatment coding, which has the columns of D
that are not a reference level.

The relation between codings holds for every value of the covariates. So random values serve as well as those
of the data, and are well scaled; one row a cell is then enough where there are no covariates. Only where
covariates themselves depend on each other must the data speak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.columns import Coding
from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.formula import Expr

__all__ = ["Estimable", "estimable", "independent_rows"]

Array = NDArray[np.float64]
Positions = NDArray[np.intp]
Source = Literal["cells", "rows", "columns"]
Key: TypeAlias = "tuple[Expr, bool]"  # a variable of a term, and whether it is coded by all its dummies

ZERO = 1e-8  # a row of an orthonormal basis that adds less than this adds nothing
RANK = 1e-8  # singular value, relative to the largest, below which columns are dependent
GAP = 1e-3  # ratio of neighbouring singular values that tells rounding from the rest


@dataclass(frozen=True, slots=True, eq=False)
class Estimable:
    """The estimable functions of a model with P columns of D and p estimable columns of X.

    Attributes
    ----------
    functions
        Orthonormal basis of the estimable functions of D's coefficients, shape (P, p).
    term
        Term of each column of D, shape (P,); 0 for the intercept.
    kept
        The p columns of D that make a treatment coding of full rank.
    to_fit
        Shape (P, p): estimable rows L of D's coefficients are L @ to_fit of the fitted ones.
    coordinates
        Shape (P, p): the function of D's coefficients that each treatment coefficient is.
    from_fit
        Shape (p, p): treatment coefficients are from_fit @ beta.
    source
        What shows which functions are estimable: the "cells" that have rows; the "rows" with covariates that
        depend on each other; or the "columns" of the fit, because dummies would span more than these.
    """

    functions: Array
    term: Positions
    kept: Positions
    to_fit: Array
    coordinates: Array
    from_fit: Array
    source: Source


class _Piece(NamedTuple):
    """One variable of a term: `columns` (n, k) of D, which times `coding` (k, c) are its columns in the fit.

    `reference` (k,) marks what treatment coding leaves out, `scale` (c,) is what the columns were divided by.
    """

    columns: Array
    coding: Array
    reference: NDArray[np.bool_]
    scale: Array


def estimable(design: Design, kept: Sequence[int]) -> Estimable:
    """Find the estimable functions of a design whose columns `kept` are independent and span the others."""
    p = len(kept)
    variables = list(dict.fromkeys(key for planned in design.recipe.fixed_plan for key in planned))
    encoder = design.recipe.encoder(design.frame, [expr for expr, _ in variables])

    def read(expr: Expr, *, full: bool) -> Array:
        matrix = np.column_stack(encoder.columns(expr, full=full).columns)
        return matrix if design.rows is None else matrix[design.rows]

    factors = _spanning(design, variables)
    codes = {expr: np.argmax(read(expr, full=True), axis=1) for expr in factors}
    _refuse_changed(design, factors, codes)
    others = [key for key in variables if key[0] not in factors]
    width = {(expr, full): len(encoder.columns(expr, full=full).columns) for expr, full in others}
    products = [
        int(np.prod([width[key] for key in planned if key in width])) for planned in design.recipe.fixed_plan
    ]
    few = _few_rows(design.n, codes.values(), 1 + (sum(products) if width else 0))
    generator = np.random.default_rng(0)
    drawn = {key: generator.standard_normal((len(few), width[key])) for key in others}

    def generic(expr: Expr, full: bool) -> _Piece:
        if expr in factors:
            return _dummies(factors[expr], codes[expr][few], full=full)
        return _plain(drawn[expr, full], scaled=False)

    def actual(expr: Expr, full: bool) -> _Piece:
        if expr in factors:
            return _dummies(factors[expr], codes[expr], full=full)
        return _plain(read(expr, full=full))

    def as_coded(expr: Expr, full: bool) -> _Piece:
        return _plain(read(expr, full=full))

    sources: dict[Source, Callable[[Expr, bool], _Piece]]
    sources = {"cells": generic, "rows": actual, "columns": as_coded}
    for source, piece in sources.items():
        n = len(few) if source == "cells" else design.n
        D, term, reference, coding, scale = _assemble(design, piece, n)
        functions, found = _row_space(D, p)
        if found:
            break
    keep = independent_rows(functions, np.flatnonzero(~reference))
    to_fit = coding[:, list(kept)] * scale[list(kept)]
    coordinates = functions @ np.linalg.inv(functions[keep])
    return Estimable(functions, term, keep, to_fit, coordinates, coordinates.T @ to_fit, source)


def independent_rows(functions: Array, among: Positions) -> Positions:
    """Return those of the rows `among` that no earlier ones span: Gram-Schmidt, twice for rounding."""
    basis = np.empty((functions.shape[1], functions.shape[1]))
    found: list[int] = []
    for at in among.tolist():
        if len(found) == len(basis):
            break
        rest = functions[at] / max(float(np.linalg.norm(functions[at])), ZERO)
        for _ in range(2):
            rest = rest - basis[: len(found)].T @ (basis[: len(found)] @ rest)
        size = float(np.linalg.norm(rest))
        if size > ZERO:
            basis[len(found)] = rest / size
            found.append(at)
    return np.array(found, dtype=np.intp)


def _refuse_changed(design: Design, factors: dict[Expr, Coding], codes: dict[Expr, Positions]) -> None:
    """Check that the table, which is read again for its cells, is still the one that was fitted."""
    for at, planned in enumerate(design.recipe.fixed_plan, start=1):
        if not all(expr in factors for expr, _ in planned):
            continue
        tables = [np.eye(len(factors[e].levels)) if full else factors[e].matrix for e, full in planned]
        columns = reduce(_products, [t[codes[e]] for t, (e, _) in zip(tables, planned, strict=True)])
        fitted = [column for column, term in zip(design.columns, design.assign, strict=True) if term == at]
        if any(b is None or not np.array_equal(a, b) for a, b in zip(columns.T, fitted, strict=True)):
            raise error("MW-A38", column=design.term_labels[at - 1])


def _spanning(design: Design, variables: Sequence[Key]) -> dict[Expr, Coding]:
    """Factors whose coding distinguishes all levels. One with fewer columns enters as covariates do."""
    found: dict[Expr, Coding] = {}
    for expr, _ in variables:
        state = design.recipe.states.get(expr)
        if isinstance(state, Coding):
            k = len(state.levels)
            if np.linalg.matrix_rank(np.column_stack([np.ones(k), state.matrix])) == k:
                found[expr] = state
    return found


def _few_rows(n: int, codes: Iterable[Positions], enough: int) -> Positions:
    """Rows that stand for all: of each combination of levels as many as the covariates can tell apart."""
    cell = np.zeros(n, dtype=np.int64)
    for each in codes:
        cell = np.unique(cell * (int(each.max()) + 1) + each, return_inverse=True)[1].ravel()
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    within = np.arange(n) - np.repeat(starts, np.diff(starts, append=n))
    return order[within < enough]


def _dummies(coding: Coding, codes: Positions, *, full: bool) -> _Piece:
    k = len(coding.levels)
    matrix = np.eye(k) if full else coding.matrix
    reference = np.zeros(k, dtype=bool)
    reference[0] = not full
    return _Piece(np.eye(k)[codes], matrix, reference, np.ones(matrix.shape[1]))


def _plain(columns: Array, *, scaled: bool = True) -> _Piece:
    k = columns.shape[1]
    scale = np.max(np.abs(columns), axis=0, initial=0.0) if scaled else np.ones(k)
    scale[scale == 0] = 1.0
    return _Piece(columns / scale, np.eye(k), np.zeros(k, dtype=bool), scale)


def _assemble(
    design: Design, piece: Callable[[Expr, bool], _Piece], n: int
) -> tuple[Array, Positions, NDArray[np.bool_], Array, Array]:
    """Return D (n, P), the terms of its columns, which are reference levels, the coding (P, c), scales (c,).

    In a product of variables the first one's columns vary fastest, as in the columns of X.
    """
    columns, reference = ([np.ones((n, 1))], [np.zeros(1, bool)]) if design.formula.intercept else ([], [])
    coding, scale = ([np.eye(1)], [np.ones(1)]) if design.formula.intercept else ([], [])
    for planned in design.recipe.fixed_plan:
        pieces = [piece(expr, full) for expr, full in planned]
        columns.append(reduce(_products, [each.columns for each in pieces]))
        coding.append(reduce(_kronecker, [each.coding for each in pieces]))
        scale.append(reduce(_kronecker, [each.scale for each in pieces]))
        reference.append(
            reduce(
                lambda done, new: np.logical_or.outer(new, done).ravel(), [each.reference for each in pieces]
            )
        )
    first = 0 if design.formula.intercept else 1
    sizes = [block.shape[1] for block in columns]
    term = np.repeat(np.arange(first, first + len(sizes)), sizes)
    return np.hstack(columns), term, np.concatenate(reference), _block_diagonal(coding), np.concatenate(scale)


def _kronecker(done: Array, new: Array) -> Array:
    return np.asarray(np.kron(new, done), dtype=np.float64)


def _products(done: Array, new: Array) -> Array:
    return (new[:, :, None] * done[:, None, :]).reshape(len(done), -1)


def _block_diagonal(blocks: Sequence[Array]) -> Array:
    heights, widths = ([0, *np.cumsum([block.shape[axis] for block in blocks]).tolist()] for axis in (0, 1))
    out = np.zeros((heights[-1], widths[-1]))
    for at, block in enumerate(blocks):
        out[heights[at] : heights[at + 1], widths[at] : widths[at + 1]] = block
    return out


def _row_space(D: Array, p: int) -> tuple[Array, bool]:
    """Orthonormal basis (P, p) of the rows of D, and whether they span these p dimensions and no others."""
    triangle = np.linalg.qr(D, mode="r")
    _, size, rows = np.linalg.svd(triangle, full_matrices=True)
    size = np.append(size, np.zeros(rows.shape[0] - len(size)))
    left = size[p] if p < len(size) else 0.0
    found = p <= len(size) and left <= RANK * size[0] and left <= GAP * size[p - 1]
    return np.asarray(rows[:p].T), bool(found)
