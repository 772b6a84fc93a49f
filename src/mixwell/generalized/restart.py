"""A second search for when the first one got nowhere, or ended at a saddle point.

The linearised model that a search begins with can be far off where working weights nearly vanish (counts far
below their mean, tiny means). From a constant linear predictor and moderate variances every family has a
likelihood, and BFGS goes downhill from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, error

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design, RandomDesign

__all__ = ["off_saddle", "restarted"]

Array = NDArray[np.float64]

SPREADS = (0.5, 0.1)  # standard deviations of random effects to begin with, on the scale of the link
LEAST = 1e-2  # curvature of a parameter that is taken for none
SADDLE = -1e-6  # eigenvalue of the scaled Hessian that no minimum has


def restarted(
    model: Laplace, design: Design, eta: Array, gamma: Array, max_evaluations: int
) -> tuple[dict[str, Any], Array] | None:
    """Search from a constant; None where no search from there converges.

    Parameters
    ----------
    model, design
        What to fit.
    eta
        Linear predictor (n,) of the first search, whose mean is the constant.
    gamma
        Auxiliary coefficients to begin with.
    max_evaluations
        Of each search.

    Returns
    -------
    tuple
        What `describe` gives, and the Hessian.
    """
    best: tuple[dict[str, Any], Array] | None = None
    for spread in SPREADS if design.random else SPREADS[:1]:
        psi = np.concatenate([_theta(design.random, spread), _constant(model, design, eta), gamma])
        try:
            found = _searched(model, design, psi, max_evaluations)
        except MixwellError:
            continue
        if found[0]["converged"] and (best is None or found[0]["criterion"] < best[0]["criterion"]):
            best = found
    return best


def off_saddle(
    model: Laplace, design: Design, core: dict[str, Any], hessian: Array, max_evaluations: int
) -> tuple[dict[str, Any], Array]:
    """Search from both sides of a saddle point, along the direction in which the criterion falls.

    Symmetric data have one: as many groups of zeros alone as of ones alone, and an intercept of zero.
    """
    if not np.isfinite(hessian).all():
        return core, hessian
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), LEAST))
    values, vectors = np.linalg.eigh(hessian / np.outer(size, size))
    if not values.size or values[0] > SADDLE:
        return core, hessian
    best = core, hessian
    for side in (1.0, -1.0):
        try:
            psi = np.ascontiguousarray(core["psi"] + side * vectors[:, 0] / size)
            found = _searched(model, design, psi, max_evaluations)
        except MixwellError:
            continue
        if found[0]["converged"] and found[0]["criterion"] < best[0]["criterion"] - 1e-8:
            best = found
    return best


def _searched(
    model: Laplace, design: Design, psi: Array, max_evaluations: int
) -> tuple[dict[str, Any], Array]:
    for _ in range(2):  # the second time with the curvature where the first one ended
        unit = np.full(psi.size, 0.1)
        hessian = _positive(np.asarray(model.hessian(model.at(psi, unit), unit)))
        found = model.refit(design.y[None, :], psi, hessian, max_evaluations)
        psi = np.ascontiguousarray(found["psi"][0])
        if not np.isfinite(psi).all():
            raise error("MW-N02", what="the search")
        if found["converged"][0]:
            break
    scale = np.sqrt(2.0 / np.maximum(np.diag(hessian), 1e-12)).clip(max=1.0)
    fit = model.at(psi, scale)
    hessian = np.asarray(model.hessian(fit, scale))
    if np.isfinite(hessian).all():
        scale = np.sqrt(2.0 / np.maximum(np.diag(hessian), 1e-12)).clip(max=1.0)
        fit = model.at(psi, scale)
    core = {**model.describe(fit), "converged": bool(found["converged"][0])}
    core["evaluations"] = int(found["evaluations"][0])
    return core, hessian


def _theta(terms: tuple[RandomDesign, ...], spread: float) -> Array:
    """Independent effects with this standard deviation."""
    out = [np.empty(0)]
    for term in terms:
        k = len(term.names)
        if k > 1 and term.structure == "us":
            rows, columns = np.triu_indices(k)  # column after column of a lower triangle
            out.append(np.where(rows == columns, spread, 0.0))
        else:
            sds = 1 if term.homogeneous or k == 1 else k
            out.append(np.full(sds, spread))
            out.append(np.zeros(int(k > 1 and term.structure in ("cs", "ar1"))))
    return np.concatenate(out)


def _constant(model: Laplace, design: Design, eta: Array) -> Array:
    """beta~ of a linear predictor that is nearest to the mean of eta."""
    given = [c for c in design.columns if c is not None] if design.categories else list(design.columns)
    X = np.empty((design.n, len(model.kept)))
    for at, j in enumerate(model.kept):
        column = given[j]
        X[:, at] = 1.0 if column is None else column
    X = X @ model.basis
    known = 0.0 if design.offset is None else design.offset
    return np.asarray(np.linalg.lstsq(X, np.mean(eta) - known + np.zeros(design.n), rcond=None)[0])


def _positive(hessian: Array) -> Array:
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), LEAST))
    values, vectors = np.linalg.eigh(hessian / np.outer(size, size))
    return np.asarray(((vectors * np.maximum(np.abs(values), LEAST)) @ vectors.T) * np.outer(size, size))
