"""Second derivatives of the likelihood and of the covariance of the fixed effects, from the core's traces.

With V = sigma^2 H and V_i = dH/d(parameter i), in units of sigma^2 (method: section 6):

    d2(-2 loglik) = -tr(P V_i P V_j) + 2 e'V_i P V_j e / sigma^2 + tr(P V_ij) - e'V_ij e / sigma^2
    d(X'H^-1 X)^-1 = (X'H^-1 X)^-1 X'H^-1 V_i H^-1 X (X'H^-1 X)^-1

The criterion is the one that was minimised: P is H^-1 for ML, except in the quadratic forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["SecondOrder", "inverse_information", "second_order"]

Array = NDArray[np.float64]
Direction = tuple[int, Array]

# Connected random effects up to which exact traces are formed: seconds for a summary, minutes on request.
_LARGEST = 5_000
_LARGEST_FULL = 20_000
DEPENDENT = 1e-9  # eigenvalues of a scaled information below this belong to directions that do nothing


@dataclass(frozen=True, slots=True, eq=False)
class SecondOrder:
    """Along T directions V_i, in units of sigma^2.

    Attributes
    ----------
    zpz, scores
        By term (k, k): sum of Z_j'P Z_j, and of (Z_j'e)(Z_j'e)' / sigma^2.
    first, score
        tr(P V_i) and e'V_i e / sigma^2, shape (T,).
    trace, quadratic
        tr(P V_i P V_j) and e'V_i P V_j e / sigma^2, shape (T, T).
    xvx, xhx, phi
        X'H^-1 V_i H^-1 X, shape (T, p, p), X'H^-1 X and its inverse, (p, p), all in the core's working basis
        of X, in which covariates far from zero keep their digits.
    basis
        That basis, (p, p): a combination l'beta has the weights l'basis in it.
    xvvx
        X'H^-1 V_i H^-1 V_j H^-1 X, shape (T, T, p, p), in that basis, if asked for.
    exact
        Whether `trace` is exact; otherwise it is the quadratic form, which has the same expectation.
    """

    zpz: tuple[Array, ...]
    scores: tuple[Array, ...]
    first: Array
    score: Array
    trace: Array
    quadratic: Array
    xvx: Array
    xhx: Array
    phi: Array
    basis: Array
    xvvx: Array | None
    exact: bool

    def curvature(self, term: int, second: Array) -> float:
        """tr(P V_ij) - e'V_ij e / sigma^2 for V_ij = Z_t second Z_t'."""
        return float(np.sum((self.zpz[term] - self.scores[term]) * second))


def second_order(m: FittedModel, directions: Sequence[Direction], *, full: bool = False) -> SecondOrder:
    """Return everything of second order along directions (term, dSigma / dparameter (k, k))."""
    sigma2 = m.solution.sigma2
    given = [(t, np.ascontiguousarray(d, dtype=np.float64)) for t, d in directions]
    moments = m.problem.moments(m.theta, given, m.is_reml)
    traces = m.problem.traces(m.theta, given, m.is_reml, full, _LARGEST_FULL if full else _LARGEST)
    quadratic = moments["quadratic"] / sigma2
    zpz = tuple(moments["zpz"])
    scores = tuple(s / sigma2 for s in moments["scores"])
    return SecondOrder(
        zpz=zpz,
        scores=scores,
        first=np.array([np.sum(zpz[t] * d) for t, d in given]),
        score=np.array([np.sum(scores[t] * d) for t, d in given]),
        trace=quadratic if traces is None else traces[0],
        quadratic=quadratic,
        xvx=moments["xvx"],
        xhx=moments["xhx"],
        phi=moments["phi"],
        basis=m.problem.basis,
        xvvx=None if traces is None or not full else traces[1],
        exact=traces is not None,
    )


def inverse_information(information: Array) -> Array:
    """Return the inverse of an information matrix on the directions in which it is positive.

    The matrix is scaled to a unit diagonal first. A parameter without any information (a variance that is
    zero, seen along lambda) or a direction that leaves the covariance as it is has variance zero: that is the
    model on its boundary. NaN throughout if the information is not finite.
    """
    if not np.isfinite(information).all():
        return np.full_like(information, np.nan)
    diagonal = np.diag(information)
    used = np.flatnonzero(diagonal > 0)
    out = np.zeros_like(information)
    if used.size == 0:
        return out
    scale = 1.0 / np.sqrt(diagonal[used])
    values, vectors = np.linalg.eigh(information[np.ix_(used, used)] * np.outer(scale, scale))
    keep = values > DEPENDENT
    inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T
    out[np.ix_(used, used)] = inverse * np.outer(scale, scale)
    return out
