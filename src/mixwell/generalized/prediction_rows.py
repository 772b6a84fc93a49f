"""Rows to predict with a generalised model: their linear predictors, and the covariance of their errors.

A row has eta = x'beta + offset + z'b and auxiliary predictors a = X_a gamma; where it is averaged over random
effects also their variance v = z'Sigma z. With the estimates of psi = (theta, beta, gamma) normal with
covariance C, and b given psi and the data normal around its mode, the errors of (eta, a, v) have covariance

    J C J' + z'K z (of eta alone)      J = d(eta, a, v) / dpsi, with d eta / dpsi = (0, x, 0) + z'(db / dpsi)

where K is the curvature's covariance of b (Kass and Steffey 1989, J. Amer. Statist. Assoc. 84, 717-726).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Problem, Term, family_rows
from mixwell.errors import MixwellError
from mixwell.fitted.new_rows import Rows, fixed_part
from mixwell.inference.second_order import inverse_information

if TYPE_CHECKING:
    from mixwell.design.frame import Frame
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "Predicted",
    "auxiliary_columns",
    "between",
    "between_slopes",
    "conditional_variance",
    "mode_slopes",
    "parameter_covariance",
    "predicted_rows",
]

Array = NDArray[np.float64]
AuxColumns = list[tuple[int, Array | None]]

_STEP = 1e-3  # of derivatives of modes in psi, in standard errors
_CHUNK = 2**20  # numbers of a block


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Predictors of rows, at the estimates.

    Attributes
    ----------
    eta
        Linear predictor (n,).
    auxiliary
        Auxiliary predictors on their unbounded scale, (n,) each; of an ordinal model its thresholds. Those
        that were not asked for are zero.
    between
        Variance (n,) of the random effects that are averaged over.
    covariance
        Of the errors of (eta, auxiliary.., between), shape (n, r, r); None if not asked for.
    """

    eta: Array
    auxiliary: tuple[Array, ...]
    between: Array
    covariance: Array | None = None


def predicted_rows(
    m: GeneralizedModel, rows: Rows, frame: Frame | None, wanted: Sequence[bool], *, errors: bool
) -> Predicted:
    """Return the predictors of rows.

    Parameters
    ----------
    frame
        The table of new rows; None for the fitted ones.
    wanted
        By auxiliary predictor, whether it matters.
    errors
        Whether the covariance of the errors is wanted.
    """
    eta = rows.predicted(m.fixef.values, [np.asarray(b) for b in m.core["b"]])
    columns = auxiliary_columns(m, frame, wanted)
    auxiliary = tuple(
        fixed_part([c for _, c in own], m.gamma[[j for j, _ in own]], rows.n) for own in columns
    )
    v = between(rows, m.lambdas)
    covariance = _covariance(m, rows, columns) if errors else None
    return Predicted(eta, auxiliary, v, covariance)


def auxiliary_columns(
    m: GeneralizedModel, frame: Frame | None, wanted: Sequence[bool]
) -> tuple[AuxColumns, ...]:
    """Columns of the auxiliary predictors with the position of their coefficients; none if not wanted."""
    if m.family.kind == "ordered":
        return tuple([(j, None)] if keep else [] for j, keep in enumerate(wanted))
    out: list[AuxColumns] = []
    for at, (own, _) in enumerate(m.predictors.columns):
        name = "zi" if m.family.auxiliary[at].name == "zi" else "disp" if at == 0 else ""
        if not wanted[at]:
            out.append([])
        elif frame is not None and name in m.design.extra:
            found = m.design.recipe.extra(name, frame)
            out.append([(j, column) for (j, _), column in zip(own, found, strict=True)])
        else:
            out.append(own)
    return tuple(out)


def between(rows: Rows, lambdas: Sequence[Array]) -> Array:
    """Return z'Sigma z of each row (n,) over terms that are left out and levels that were not fitted."""
    out = np.zeros(rows.n)
    for term, chosen, factor in zip(rows.terms, rows.chosen, lambdas, strict=True):
        if term is None:
            continue
        own = np.zeros(rows.n)
        for column in factor.T:  # z'lambda, column by column of lambda
            own += fixed_part(term.columns, column, rows.n) ** 2
        out += np.where(term.codes < 0, own, 0.0) if chosen else own
    return out


# --- covariance -----------------------------------------------------------------------------------------


def parameter_covariance(m: GeneralizedModel) -> Array:
    """Covariance of psi in the core's coordinates: those of a classical model as in R's glm."""
    out = 2.0 * inverse_information(m.hessian)
    if m.is_classical:
        own = slice(m.theta.size, m.theta.size + len(m.fixef))
        out[own] = out[:, own] = 0.0
        out[own, own] = m._classical_inner
    return out


def mode_slopes(m: GeneralizedModel) -> tuple[Array, ...]:
    """Return the derivatives of the modes in psi, by term (P, J, k): central differences."""
    psi, scale = np.array(m.core["psi"]), np.asarray(m.core["scale"])
    here = [np.asarray(b) for b in m.core["b"]]
    out = [np.zeros((psi.size, *b.shape)) for b in here]

    def at(i: int, move: float) -> list[Array] | None:
        moved = psi.copy()
        moved[i] += move
        try:
            return [np.asarray(b) for b in m.laplace.describe(m.laplace.at(moved, scale))["b"]]
        except MixwellError:  # out of its range
            return None

    for i, step in enumerate(_STEP * np.clip(scale, 1e-3, 1.0)):
        above, below = at(i, step), at(i, -step)
        width = step * max((above is not None) + (below is not None), 1)
        for slopes, up, down in zip(out, above or here, below or here, strict=True):
            slopes[i] = (up - down) / width
    return tuple(out)


def between_slopes(m: GeneralizedModel, rows: Rows) -> Array:
    """Return the derivatives (n, T) of `between` in theta of the core's coordinates."""
    psi, t = np.array(m.core["psi"]), m.theta.size
    out = np.zeros((rows.n, t))
    for i in range(t):
        step = 1e-4 * max(abs(psi[i]), 1e-2)
        sides = []
        for sign in (1.0, -1.0):
            moved = psi.copy()
            moved[i] += sign * step
            theta = np.asarray(m.laplace.natural(moved[None, :]))[0, :t]
            there = replace(m, core={**m.core, "theta": theta}, handle=m.laplace)
            sides.append(between(rows, there.lambdas))
        out[:, i] = (sides[0] - sides[1]) / (2.0 * step)
    return out


def _covariance(m: GeneralizedModel, rows: Rows, columns: Sequence[AuxColumns]) -> Array:
    C, t, p = parameter_covariance(m), m.theta.size, len(m.fixef)
    r = 2 + len(columns)
    effects = any(chosen and term is not None for chosen, term in zip(rows.chosen, rows.terms, strict=True))
    spreads = between_slopes(m, rows) if any(term is not None for term in rows.terms) else None
    out = np.empty((rows.n, r, r))
    step = max(1, _CHUNK // max(r * len(C), 1))
    for start in range(0, rows.n, step):
        some = slice(start, min(start + step, rows.n))
        J = np.zeros((some.stop - start, r, len(C)))
        J[:, 0, t : t + p] = rows.dense(some) @ m.basis if p else 0.0
        if effects:
            J[:, 0, :] += _effect_slopes(m, rows, some)
        for at, own in enumerate(columns):
            for j, column in own:
                J[:, 1 + at, t + p + j] = 1.0 if column is None else column[some]
        if spreads is not None:
            J[:, -1, :t] = spreads[some]
        out[some] = J @ C @ J.swapaxes(1, 2)
    if effects:
        out[:, 0, 0] += conditional_variance(m, rows)
    return out


def _effect_slopes(m: GeneralizedModel, rows: Rows, some: slice) -> Array:
    """z'(db / dpsi) of some rows, shape (rows, P)."""
    out = np.zeros((some.stop - some.start, len(m.core["psi"])))
    for term, chosen, slopes in zip(rows.terms, rows.chosen, m.mode_slopes, strict=True):
        if term is None or not chosen:
            continue
        own = term.codes[some]
        known = np.flatnonzero(own >= 0)
        for j, column in enumerate(term.columns):
            part = slopes[:, own[known], j].T
            out[known] += part if column is None else part * column[some][known, None]
    return out


def conditional_variance(m: GeneralizedModel, rows: Rows) -> Array:
    """Return z'K z of each row over the chosen terms; missing values count as zero."""
    terms = [
        (t, term)
        for t, (term, chosen) in enumerate(zip(rows.terms, rows.chosen, strict=True))
        if chosen and term is not None
    ]
    if len(m.design.random) == 1:
        t, term = terms[0]
        known = np.flatnonzero(term.codes >= 0)
        z = np.column_stack([np.ones(rows.n) if c is None else np.nan_to_num(c) for c in term.columns])
        blocks = np.asarray(m.core["condvar"][t])[term.codes[known]]
        out = np.zeros(rows.n)
        out[known] = np.einsum("ri,rij,rj->r", z[known], blocks, z[known])
        return out
    codes = [np.full(rows.n, -1, dtype=np.int32) for _ in m.design.random]
    columns: list[list[Array | None]] = [[None] * len(term.names) for term in m.design.random]
    for t, term in terms:
        codes[t] = np.ascontiguousarray(term.codes, dtype=np.int32)
        columns[t] = [None if c is None else np.nan_to_num(c) for c in term.columns]
    curvature = _curvature(m)
    if (curvature >= 0).all():  # the random effects of a linear model with these weights
        fitted = [
            Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)
            for term in m.design.random
        ]
        linear = Problem(np.asarray(m.core["eta"]), [], fitted, curvature)
        return np.array(linear.conditional_variance(m.theta, codes, columns))
    return _by_solving(m, codes, columns, curvature)


def _curvature(m: GeneralizedModel) -> Array:
    """Observed information -d2 loglik / deta2 of each fitted row, (n,)."""
    predictors = []
    for columns, known in m.predictors.columns:
        values = np.zeros(m.nobs) if known is None else np.array(known)
        for j, column in columns:
            values += m.gamma[j] * (1.0 if column is None else column)
        predictors.append(values)
    eta = np.asarray(m.core["eta"])
    return np.array(-family_rows(m.family.core, m.design.y, m.design.weights, eta, predictors)[:, 2])


def _by_solving(m: GeneralizedModel, codes: Any, columns: Any, curvature: Array) -> Array:
    """Return z'K z where some rows curve the wrong way: a sparse factorisation of Lambda'Z'WZ Lambda + I."""
    from scipy.sparse import csc_array, identity  # noqa: PLC0415
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    def scaled(codes: Any, columns: Any, n: int) -> Any:
        """Z Lambda (n, q) of rows."""
        at, to, values, first = [], [], [], 0
        for own, parts, term, factor in zip(codes, columns, m.design.random, m.lambdas, strict=True):
            k = len(factor)
            known = np.flatnonzero(own >= 0)
            for j in range(k):
                at.append(known)
                to.append(first + own[known].astype(np.int64) * k + j)
                values.append(fixed_part(parts, factor[:, j], n)[known])
            first += len(term.levels) * k
        entries = (np.concatenate(values), (np.concatenate(at), np.concatenate(to)))
        return csc_array(entries, shape=(n, first))

    fitted = [term.codes for term in m.design.random], [term.columns for term in m.design.random]
    z = scaled(*fitted, m.nobs)
    factor = splu((z.T @ (z * curvature[:, None]) + identity(z.shape[1])).tocsc())
    n = codes[0].size
    new, out = scaled(codes, columns, n).tocsr(), np.empty(n)
    step = max(1, _CHUNK // max(z.shape[1], 1))
    for start in range(0, n, step):
        some = new[start : start + step].toarray()
        out[start : start + step] = np.einsum("ri,ir->r", some, factor.solve(some.T.copy()))
    return out
