"""Kenward and Roger's adjusted covariance and degrees of freedom, without n x n matrices.

Kenward and Roger (1997), Small sample inference for fixed effects from restricted maximum likelihood,
Biometrics 53, 983-997. With parameters r_i of V, Phi = (X'V^-1 X)^-1 and W their covariance,

    P_i = -X'V^-1 V_i V^-1 X     Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X     R_ij = X'V^-1 V_ij V^-1 X
    Phi_A = Phi + 2 Phi [sum W_ij (Q_ij - P_i Phi P_j - R_ij / 4)] Phi

V is linear in the elements of an unstructured, diagonal or homogeneous compound-symmetry covariance, so R
vanishes and any linear change of parameters gives the same numbers: instead of the residual variance the
parameter with V_i = H is used, for which every trace is known. Other structures are taken in their
standard deviations and correlation, with R.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.inference.second_order import inverse_information, second_order
from mixwell.inference.wald import Information, Joint, independent

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["KenwardRoger", "kenward_roger"]

Array = NDArray[np.float64]
Direction = tuple[int, Array]


@dataclass(frozen=True, slots=True, eq=False)
class KenwardRoger:
    """The adjusted covariance, and what the degrees of freedom follow from.

    Attributes
    ----------
    vcov
        Phi_A, shape (p, p).
    basis
        Basis of X, (p, p), of the next two.
    unadjusted, products
        Phi (p, p), and Phi P_i Phi, shape (T, p, p).
    covariance
        W, covariance of the covariance parameters, shape (T, T).
    """

    name: str
    vcov: Array
    basis: Array
    unadjusted: Array
    products: Array
    covariance: Array

    def df(self, rows: Array) -> Array:
        """Degrees of freedom of each row of L (r, p); NaN of a row of zeros, which needs none."""
        return np.array([self._moments(row[None])[0] if np.any(row) else math.nan for row in rows])

    def joint(self, rows: Array, difference: Array) -> Joint:
        """F test of all rows, scaled as Kenward and Roger do."""
        statistics, turned = independent(rows, difference, self.vcov)
        q = len(statistics)
        if q == 0:
            return Joint(math.nan, 0, math.nan, math.nan)
        df, scale = self._moments(turned)
        return Joint.of(scale * float(np.mean(statistics**2)), q, df)

    def _moments(self, rows: Array) -> tuple[float, float]:
        """Denominator df and scale of F for independent rows (q, p): their equations 5 to 8."""
        q, rows = len(rows), rows @ self.basis
        theta = rows.T @ np.linalg.solve(rows @ self.unadjusted @ rows.T, rows)
        each = np.einsum("pq,tqs->tps", theta, self.products)
        traces = np.einsum("tpp->t", each)
        a1 = float(traces @ self.covariance @ traces)
        a2 = float(np.einsum("spq,st,tqp->", each, self.covariance, each))
        if a2 <= 1e-14:  # the variance of these combinations does not depend on anything estimated
            return math.inf, 1.0
        b = (a1 + 6 * a2) / (2 * q)
        g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
        d = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / d, (q - g) / d, (q + 2 - g) / d
        mean = 1.0 / (1.0 - a2 / q)
        # Var / (2 mean^2); its denominator (1 - c2 b)^2 (1 - c3 b) is positive unless the df are very small.
        rho = (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b)) * (1.0 - a2 / q) ** 2 / q
        df = 4.0 + (q + 2) / (q * rho - 1.0)
        return df, df / (mean * (df - 2.0))


def kenward_roger(m: FittedModel, information: Information) -> KenwardRoger:
    """Return Kenward-Roger's approximation for a mixed model fitted by REML.

    Raises
    ------
    MixwellError
        MW-A20 for an ML fit, MW-A21 when too many random effects are connected.
    """
    if not m.is_reml:
        raise error("MW-A20", formula=m.formula.text)
    directions, second, n_linear = _parameters(m)
    s = second_order(m, [*directions, *((t, d) for _, _, t, d in second)], full=True)
    if s.xvvx is None:
        raise error("MW-A21", q=m.problem.q)
    n = len(directions)
    unscaled, xhx = s.phi, s.xhx
    nu = float(m.nobs - len(m.kept))

    # Rows and columns: the directions, then H.
    expected = _bordered(s.trace[:n, :n], s.first[:n], nu)
    quadratic = _bordered(s.quadratic[:n, :n], s.score[:n], nu)
    xvx = np.concatenate([s.xvx[:n], xhx[None]])
    xvvx = np.empty((n + 1, n + 1, *xhx.shape))
    xvvx[:n, :n] = s.xvvx[:n, :n]
    xvvx[:n, n] = xvvx[n, :n] = s.xvx[:n]
    xvvx[n, n] = xhx
    change = _residual_direction(m, directions, n_linear)
    expected, quadratic = (change @ form @ change.T for form in (expected, quadratic))
    xvx = np.einsum("st,tpq->spq", change, xvx)
    xvvx = np.einsum("su,uvpq,tv->stpq", change, xvvx, change)

    curvature, ddv = np.zeros_like(expected), np.zeros_like(xvvx)
    for at, (i, j, t, d) in enumerate(second):
        curvature[i, j] = curvature[j, i] = s.curvature(t, d)
        ddv[i, j] = ddv[j, i] = s.xvx[n + at]
    name = f"Kenward-Roger, {information} information"
    used = 0.5 * expected if information == "expected" else 0.5 * (2.0 * quadratic - expected + curvature)
    if information == "observed" and (
        any(map(_degenerate, m.lambdas)) or np.linalg.eigvalsh(_scaled(used)).min() <= 0.0
    ):
        # A correlation of one is no stationary point of its covariance: curvature there means nothing.
        name, used = "Kenward-Roger, expected information (observed is not defined here)", 0.5 * expected
    w = inverse_information(used)
    inner = np.einsum("ij,ijpq->pq", w, xvvx - 0.25 * ddv)
    inner -= np.einsum("ij,ipq,qr,jrs->ps", w, xvx, unscaled, xvx, optimize=True)
    adjusted = unscaled + 2.0 * unscaled @ (0.5 * (inner + inner.T)) @ unscaled
    sigma2 = m.solution.sigma2
    products = -sigma2 * (unscaled @ xvx @ unscaled)
    vcov = sigma2 * (s.basis @ adjusted @ s.basis.T)
    return KenwardRoger(name, vcov, s.basis, sigma2 * unscaled, products, w)


def _bordered(inner: Array, edge: Array, corner: float) -> Array:
    return np.block([[inner, edge[:, None]], [edge[None, :], np.array([[corner]])]])


def _degenerate(factor: Array) -> bool:
    """Whether effects that do vary have a singular correlation."""
    size = np.linalg.norm(factor, axis=1)
    used = size > 0
    unit = factor[used] / size[used][:, None]
    return bool(used.any() and np.linalg.svd(unit, compute_uv=False)[-1] < 1e-6)


def _scaled(form: Array) -> Array:
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(form)), 1e-300))
    return form * np.outer(scale, scale)


def _parameters(m: FittedModel) -> tuple[list[Direction], list[tuple[int, int, int, Array]], int]:
    """Directions of the covariance parameters, second derivatives (i, j, term, matrix), how many are linear.

    Effects with variance zero are left out: the model on its boundary does not have them.
    """
    linear: list[Direction] = []
    curved: list[Direction] = []
    second: list[tuple[int, int, int, Array]] = []
    from_core, seconds = m.problem.directions(m.theta)
    for t, (term, factor) in enumerate(zip(m.design.random, m.lambdas, strict=True)):
        k = len(term.names)
        present = [bool(np.any(factor[i] != 0.0)) for i in range(k)]
        if not any(present):
            continue
        simple = _linear_basis(term.structure, term.homogeneous, present)
        linear += [(t, d) for d in simple or ()]
        if simple is None:
            own = [i for i, (of, d) in enumerate(from_core) if of == t and np.any(d != 0.0)]
            place = {i: len(curved) + at for at, i in enumerate(own)}
            curved += [from_core[i] for i in own]
            second += [(place[i], place[j], t, d) for i, j, d in seconds if i in place and j in place]
    shift = len(linear)
    return linear + curved, [(i + shift, j + shift, t, d) for i, j, t, d in second], shift


def _linear_basis(structure: str, homogeneous: bool, present: list[bool]) -> list[Array] | None:
    """Matrices (k, k) that a covariance is a combination of, or None where it is not linear."""
    k = len(present)
    used = [i for i in range(k) if present[i]]

    def unit(i: int, j: int) -> Array:
        out = np.zeros((k, k))
        out[i, j] = out[j, i] = 1.0
        return out

    if k == 1 or structure == "us":
        return [unit(i, j) for j in used for i in used if i >= j]
    if structure == "diag":
        return [np.eye(k)] if homogeneous else [unit(i, i) for i in used]
    if structure == "cs" and homogeneous:
        return [np.eye(k), np.ones((k, k)) - np.eye(k)]
    return None


def _residual_direction(m: FittedModel, directions: list[Direction], n_linear: int) -> Array:
    """Return combinations (T + 1, T + 1) that turn the last direction, H, into the residual variance.

    Only terms that are not linear in their parameters need that: H contains their covariance as well, which
    along standard deviations s_i is sum s_i dSigma/ds_i / 2.
    """
    n = len(directions)
    change = np.eye(n + 1)
    if n_linear == n:
        return change
    curved = sorted({t for t, _ in directions[n_linear:]})
    for t in curved:
        own = [i for i in range(n_linear, n) if directions[i][0] == t]
        basis = np.column_stack([directions[i][1].ravel() for i in own])
        sigma = (m.lambdas[t] @ m.lambdas[t].T).ravel()
        change[n, own] = -np.linalg.lstsq(basis, sigma, rcond=None)[0]
    return change
