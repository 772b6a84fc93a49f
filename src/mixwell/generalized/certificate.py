"""Whether a search has ended at an optimum, and what else must be said about a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixwell.design.design import LOUD
from mixwell.errors import note
from mixwell.generalized.separation import separated
from mixwell.inference.certificate import Certificate
from mixwell.inference.checks import Check
from mixwell.inference.diagnosis import dropped_columns, say

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["announce", "certificate"]

Array = NDArray[np.float64]

STATIONARY = 1e-4  # gradient of -2 loglik, in standard errors
MULTIPLIER = 1e-5  # negative eigenvalue of dF/dSigma, relative to its scale
CURVATURE = 1e-6  # smallest eigenvalue of the joint Hessian in scaled parameters


def certificate(m: GeneralizedModel) -> Certificate:
    """Check the optimum: gradient in standard errors, multipliers of the covariances, the joint Hessian.

    Returns
    -------
    Certificate
        One check a line; `.passed`.
    """
    scale, gradient = np.asarray(m.core["scale"]), np.asarray(m.core["gradient"])
    lowest = 0.0
    # With quadrature the derivative in the covariances is not at hand: the gradient must do.
    cones = zip(m.design.random, m.core["cone"], strict=True) if m.nagq == 1 else ()
    for term, (slope, size) in cones:
        # Multipliers of the cone that the structure spans; cs and ar1 have their gradient instead.
        structure = "us" if len(term.names) == 1 else term.structure
        if structure in ("us", "diag"):
            cone = slope if structure == "us" else np.diag(np.diag(slope))
            least = float(np.linalg.eigvalsh(0.5 * (cone + cone.T))[0])
            lowest = min(lowest, least / max(float(np.trace(size)), 1e-300))
    diagonal = np.sqrt(np.maximum(np.abs(np.diag(m.hessian)), 1e-300))
    scaled = m.hessian / np.outer(diagonal, diagonal)
    smallest = float(np.linalg.eigvalsh(scaled)[0]) if scaled.size else 1.0
    steepest = float(np.max(np.abs(gradient * scale), initial=0.0))
    done = (
        Check("stationarity", "outer", "gradient of F in standard errors = 0", steepest, STATIONARY),
        Check("multiplier", "outer", "dF/dSigma is positive semidefinite", max(-lowest, 0.0), MULTIPLIER),
        Check("curvature", "outer", "joint Hessian is positive", max(-smallest, 0.0), CURVATURE),
    )
    return Certificate(done, (), None, bool(m.core["converged"]), m.design.frame.native_like)


def announce(m: GeneralizedModel, dropped: tuple[int, ...]) -> GeneralizedModel:
    """Warn about what would mislead if it went unsaid, and return the fit."""
    said = [each for each in m.design.notes if each.code in LOUD]
    if dropped:
        kept = tuple(j for j in range(len(m.design.columns)) if j not in dropped)
        said.append(dropped_columns(m.design, kept, list(dropped)))
    certificate = m.certificate()
    if not certificate.passed:
        said.append(note("MW-C01", reason=f"{certificate.failed[0]} failed"))
    named = separated(m)
    if named:
        said.append(note("MW-W13", columns=named))
    say(said)
    return m
