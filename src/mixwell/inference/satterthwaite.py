"""Satterthwaite's degrees of freedom from exact derivatives.

The variance of l'beta is v = l'C(theta, sigma) l. Its own sampling variance is g'A g, with g the gradient
of v in (theta, sigma) and A twice the inverse Hessian of -2 loglik; a scaled chi-square with the same mean
and variance has 2 v^2 / g'A g degrees of freedom (Satterthwaite 1946; Giesbrecht and Burns 1985; Fai and
Cornelius 1996 for several rows). In theta, a variance component on the boundary has derivative zero, so
singular fits get the degrees of freedom of the model on its boundary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.second_order import inverse_information, second_order
from mixwell.inference.wald import Joint, independent, pooled_df

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["Satterthwaite", "satterthwaite"]

Array = NDArray[np.float64]

NOT_STATIONARY = 1e-3  # scaled gradient of a parameter that is held at a bound (a correlation of one)


@dataclass(frozen=True, slots=True, eq=False)
class Satterthwaite:
    """Covariance of beta, its derivatives in (theta, sigma), and the covariance of (theta, sigma).

    Attributes
    ----------
    vcov
        Shape (p, p).
    basis, working
        Basis of X in which derivatives are taken, (p, p), and the covariance there.
    gradient
        d working / d(theta, sigma), shape (T + 1, p, p).
    covariance
        Of (theta, sigma), shape (T + 1, T + 1); zero for parameters on the boundary.
    """

    name: str
    vcov: Array
    basis: Array
    working: Array
    gradient: Array
    covariance: Array

    def df(self, rows: Array) -> Array:
        """Degrees of freedom of each row of L (r, p)."""
        rows = rows @ self.basis
        variance = np.einsum("rp,pq,rq->r", rows, self.working, rows)
        slopes = np.einsum("rp,tpq,rq->rt", rows, self.gradient, rows)
        spread = np.einsum("rs,st,rt->r", slopes, self.covariance, slopes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variance > 0, 2.0 * variance**2 / spread, math.nan)

    def joint(self, rows: Array, difference: Array) -> Joint:
        """F test of all rows: the mean of squared uncorrelated t statistics, their df pooled."""
        statistics, turned = independent(rows, difference, self.vcov)
        q = len(statistics)
        return Joint.of(float(np.mean(statistics**2)) if q else math.nan, q, pooled_df(self.df(turned)))


def satterthwaite(m: FittedModel) -> Satterthwaite:
    """Return Satterthwaite's approximation for a mixed model, REML or ML."""
    directions, second = m.problem.directions(m.theta)
    s = second_order(m, directions)
    sigma, n_theta = m.sigma, len(directions)
    hessian = np.zeros((n_theta + 1, n_theta + 1))
    hessian[:-1, :-1] = 2.0 * s.quadratic - s.trace
    for i, j, d in second:
        added = s.curvature(directions[i][0], d)
        hessian[i, j] += added
        if i != j:
            hessian[j, i] += added
    hessian[-1, :-1] = hessian[:-1, -1] = 2.0 * s.score / sigma
    nu = m.nobs - len(m.kept) if m.is_reml else m.nobs
    hessian[-1, -1] = 4.0 * nu / sigma**2

    # A correlation at one or a bound of its range is a constant of the boundary model, not an estimate.
    size = np.sqrt(np.maximum(np.diag(hessian)[:-1], 0.0))
    free = np.append(np.abs(s.first - s.score) <= NOT_STATIONARY * np.maximum(size, 1e-300), True)
    free[:-1] |= size == 0
    hessian[~free] = 0.0
    hessian[:, ~free] = 0.0

    gradient = np.concatenate([sigma**2 * (s.phi @ s.xvx @ s.phi), 2.0 * sigma * s.phi[None]])
    name = "Satterthwaite" if s.exact else "Satterthwaite, average information"
    covariance = 2.0 * inverse_information(hessian)
    return Satterthwaite(name, m.vcov(), s.basis, sigma**2 * s.phi, gradient, covariance)
