"""The hypotheses of an analysis of variance: one matrix L a term, so that H0 is L beta = 0.

Type I is about a term after the earlier ones, type II after all terms that do not contain it: both follow
from the triangular factor of X with its columns in that order. Type III is defined among the estimable
functions (Searle 1987, *Linear Models for Unbalanced Data*, chapter 12; SAS/STAT, "The four types of
estimable functions"):

    V = estimable functions of the term and the terms that contain it
    W = estimable functions of the terms that contain it
    type III = the part of V orthogonal to W

A term contains another if it has all its factors and more of them, and the same covariates; type II of a
model without random effects follows car, where covariates count like factors. The rows are worked
out in treatment coding and carried to the coding of the fit, so that no result depends on the coding:
neither the F, nor the degrees of freedom, which by Satterthwaite's method depend on the choice of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.design.columns import Coding
from mixwell.inference.codings import ZERO, Estimable, estimable

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.fitted.result import FittedModel

__all__ = ["Hypotheses", "anova_hypotheses", "containing"]

Array = NDArray[np.float64]


class Hypotheses(NamedTuple):
    """A matrix (q, p) for each term, q = 0 where nothing is estimable; `Estimable.source`."""

    rows: tuple[Array, ...]
    source: str


def anova_hypotheses(m: FittedModel, kind: int) -> Hypotheses:
    """Return the type I, II or III (`kind` 1, 2, 3) hypotheses of every fixed term of a model.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0, 5.0, 1.0], "f": list("aabbcc"), "x": [0, 1, 0, 1, 0, 1]}
    >>> anova_hypotheses(mw.lm("y ~ f + x", table), 3).rows[1].tolist()
    [[0.0, 0.0, 0.0, 1.0]]
    """
    design = m.design
    count = len(design.term_labels)
    if not count or not m.kept:
        return Hypotheses(tuple(np.empty((0, len(m.kept))) for _ in range(count)), "cells")
    coding = estimable(design, m.kept)
    terms = range(1, count + 1)
    if kind == 3 and count > 1:
        by_cells = design.formula.intercept and coding.source == "cells"
        rows = [_type3(coding, term, containing(design, term), by_cells=by_cells) for term in terms]
    else:
        # Of a single term all types are the same. lmerTest ignores prior weights here; R's lm does not.
        weights = None if m.is_mixed else design.weights
        triangle = _Triangle.of(m.fixed_columns, weights, coding)
        rows = [triangle.adjusted(term, _later(m, kind, term), kind) for term in terms]
    return Hypotheses(tuple(map(_tidied, rows)), coding.source)


def containing(design: Design, term: int, *, same_covariates: bool = True) -> tuple[int, ...]:
    """Return the terms that contain `term`: all its factors and more of them, and the same covariates.

    Without `same_covariates` every term that has all its variables and more, which is marginality in R.
    """
    states = design.recipe.states
    parts = []
    for each in design.formula.terms:
        factors = {expr for expr in each.factors if isinstance(states.get(expr), Coding)}
        parts.append((factors, set(each.factors) - factors))
    factors, covariates = parts[term - 1]
    if not same_covariates:
        variables = factors | covariates
        return tuple(at for at, (a, b) in enumerate(parts, start=1) if variables < a | b)
    return tuple(at for at, (a, b) in enumerate(parts, start=1) if factors < a and covariates == b)


def _later(m: FittedModel, kind: int, term: int) -> tuple[int, ...]:
    """Terms that a term is not adjusted for; of mixed models as in SAS and lmerTest, of others as in car."""
    count = len(m.design.term_labels)
    if kind == 1:
        return tuple(range(term + 1, count + 1))
    return containing(m.design, term, same_covariates=m.is_mixed)


def _type3(coding: Estimable, term: int, contained_in: Sequence[int], *, by_cells: bool) -> Array:
    """Functions of a term and of those that contain it, orthogonal to the functions of the latter alone."""
    own = coding.term == term
    beyond = np.isin(coding.term, contained_in)
    mine = coding.kept[own[coding.kept]]
    if by_cells:
        V, W = _confined(coding.functions, own | beyond), _confined(coding.functions, beyond)
    else:
        # Without an intercept the first factor has means in its place; and a dropped covariate is left out of
        # the model, rather than confounded with those that stay: both as in lmerTest.
        V = coding.coordinates[:, own[coding.kept]]
        W = np.linalg.qr(coding.coordinates[:, beyond[coding.kept]])[0]
    rest = V - W @ (W.T @ V)
    vectors, size, _ = np.linalg.svd(rest, full_matrices=False)
    L = vectors[:, size > ZERO].T
    # One row a treatment coefficient of the term, where the hypotheses are as many.
    if len(L) and len(mine) == len(L) and np.linalg.cond(L[:, mine]) < 1 / ZERO:
        L = np.linalg.solve(L[:, mine], L)
    rows: Array = L @ coding.to_fit
    return rows


def _confined(functions: Array, where: NDArray[np.bool_]) -> Array:
    """Orthonormal basis (P, v) of the functions (P, p) that are zero outside `where`."""
    _, size, rows = np.linalg.svd(functions[~where], full_matrices=True)
    size = np.append(size, np.zeros(len(rows) - len(size)))
    return np.asarray(functions @ rows[size <= ZERO].T)


class _Triangle(NamedTuple):
    """Triangular factor of X in treatment coding: X'WX = factor' factor, with the term of each column.

    With an intercept the columns are centred and it is left out: it comes before all terms anyway. `from_fit`
    (columns, p) carries rows to the coding of the fit.
    """

    factor: NDArray[np.floating[Any]]
    term: NDArray[np.intp]
    from_fit: Array

    @classmethod
    def of(cls, columns: Sequence[Array | None], weights: Array | None, coding: Estimable) -> _Triangle:
        """Factor the columns of a fit, and turn the factor to treatment coding."""
        centred = len(columns) > 0 and columns[0] is None
        X = np.column_stack([column for column in columns if column is not None] or [np.empty((0, 0))])
        root = None if weights is None else np.sqrt(weights)
        if centred:
            X = X - np.average(X, axis=0, weights=weights)
        factor: Array = np.asarray(np.linalg.qr(X if root is None else X * root[:, None], mode="r"))
        skip = int(centred)  # both codings start with the intercept then
        turn = coding.from_fit[skip:, skip:]
        return cls(
            np.linalg.solve(turn.T, factor.T).T, coding.term[coding.kept][skip:], coding.from_fit[skip:]
        )

    def adjusted(self, term: int, later: Sequence[int], kind: int) -> Array:
        """Rows for a term after all others but the `later` ones."""
        own, after = (np.flatnonzero(np.isin(self.term, which)) for which in ([term], later))
        if kind == 2 and not later and np.any(self.term != term):  # after all others: its own coefficients
            return self.from_fit[own]
        before = np.setdiff1d(np.arange(len(self.term)), np.concatenate([own, after]))
        order = np.concatenate([before, own, after])
        triangle: Array = np.asarray(np.linalg.qr(self.factor[:, order], mode="r"))
        R = triangle[len(before) : len(before) + len(own)]
        L = np.zeros((len(own), len(order)))
        L[:, order] = R / R[:, len(before) :].diagonal()[:, None]
        return L @ self.from_fit


def _tidied(L: Array) -> Array:
    """Rows of exact zeros and ones where they are so up to rounding."""
    if not L.size:
        return L
    near = np.round(L)
    small = 1e-11 * np.max(np.abs(L), axis=1, keepdims=True)
    tidy = np.where(np.abs(L - near) < np.minimum(small, 1e-11), near, L)
    tidy[np.abs(tidy) < small] = 0.0
    return tidy + 0.0
