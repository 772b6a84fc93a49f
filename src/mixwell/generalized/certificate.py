"""Whether a search has ended at an optimum, and what else must be said about a fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.design.design import LOUD
from mixwell.errors import Note, note
from mixwell.families import mean_of
from mixwell.generalized.scores import auxiliary_predictors
from mixwell.generalized.separation import alike
from mixwell.inference.certificate import Certificate
from mixwell.inference.checks import Check
from mixwell.inference.diagnosis import Boundary, boundaries, dropped_columns, say, simpler_formula, zeros_of

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["announce", "boundary", "certificate", "dropped", "extreme"]

Array = NDArray[np.float64]

STATIONARY = 1e-4  # gradient of -2 loglik, in standard errors
MULTIPLIER = 1e-5  # negative eigenvalue of dF/dSigma, relative to its scale
EDGE = 1e-3  # of the largest mean: so close to the end of its range is at it
MODES = 1e-5  # residual of the modes, in their conditional standard deviations
LEVEL = 1e-6  # second derivative in an auxiliary parameter (a logarithm, a logit) that is none
CURVATURE = 1e-6  # smallest eigenvalue of the joint Hessian in scaled parameters


def certificate(m: GeneralizedModel) -> Certificate:
    """Check the optimum from the rows of the data and the derivatives at the end of the search.

    Inner: the modes of the random effects solve their score equations, from the rows. Outer: the gradient of
    F in standard errors, multipliers of the cone of covariances, the joint Hessian; parameters at a limit
    have a gradient that points beyond it.

    Returns
    -------
    Certificate
        One check a line; `.passed`.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1], "x": [*range(6)] * 2, "g": [*"aabbccddeeff"]}
    >>> m = mw.glmer("y ~ x + (1 | g)", table, family="binomial")
    >>> m.certificate().passed
    True
    """
    scale, gradient = np.asarray(m.core["scale"]), np.asarray(m.core["gradient"])
    free = ~np.asarray(m.core["held"], dtype=bool)
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
    # An auxiliary parameter on its way to a limit has no curvature but rounding: a note names it (MW-W31).
    curved = np.ones(len(m.hessian), dtype=bool)
    own = slice(len(curved) - m.gamma.size, None)
    curved[own] = ~(np.abs(np.diag(m.hessian)[own]) <= LEVEL)  # NaN is not flat
    inner = m.hessian[np.ix_(curved, curved)]
    diagonal = np.sqrt(np.maximum(np.abs(np.diag(inner)), 1e-300))
    scaled = inner / np.outer(diagonal, diagonal)
    smallest = 1.0
    if scaled.size:
        smallest = float(np.linalg.eigvalsh(scaled)[0]) if np.isfinite(scaled).all() else -math.inf
    steepest = float(np.max(np.abs(gradient * scale)[free], initial=0.0))
    done = [
        Check("stationarity", "outer", "gradient of F in standard errors = 0", steepest, STATIONARY),
        Check("multiplier", "outer", "dF/dSigma is positive semidefinite", max(0.0, -lowest), MULTIPLIER),
        Check("curvature", "outer", "joint Hessian is positive", max(0.0, -smallest), CURVATURE),
    ]
    if m.separation is not None:
        infinite = float(len(m.separation.infinite))
        done.append(Check("finiteness", "outer", "every coefficient has a finite estimate", infinite, 0.0))
    if m.is_mixed:
        done.insert(0, Check("modes", "inner", "b = Sigma Z'score at the modes", _inner(m), MODES))
    simpler = simpler_formula(m.formula, [zeros_of(term, m.boundary) for term in m.design.random])
    to_table = m.design.frame.native_like
    return Certificate(tuple(done), m.boundary, simpler, bool(m.core["converged"]), to_table)


def _inner(m: GeneralizedModel) -> float:
    """How far the modes are from solving their score equations, in conditional standard deviations."""
    eta = m.predict(type="link")
    aux = [np.ascontiguousarray(each) for each in auxiliary_predictors(m)]
    score = family_rows(m.family.core, m.design.y, m.weights, eta, aux)[:, 1]
    worst = 0.0
    for term, factor, b, given in zip(
        m.design.random, m.lambdas, m.core["b"], m.core["condvar"], strict=True
    ):
        count = len(term.levels)
        columns = [score if c is None else score * c for c in term.columns]
        pulled = np.column_stack([np.bincount(term.codes, column, count) for column in columns])
        sigma = factor @ factor.T
        variance = np.diag(sigma)
        # A residual r of b = Sigma Z'score moves the mode by about K Sigma^-1 r.
        some = variance > 0
        off = np.abs(np.asarray(b) - pulled @ sigma)[:, some]
        spread = np.sqrt(np.maximum(np.einsum("jkk->jk", np.asarray(given))[:, some], 0.0))
        worst = max(worst, float(np.max(off * spread / variance[some], initial=0.0)))
        worst = max(worst, float(np.max(np.abs(np.asarray(b)[:, ~some]), initial=0.0)))
    return worst


def boundary(m: GeneralizedModel) -> tuple[Boundary, ...]:
    """Find the random-effects terms whose covariance is singular, and say what that means."""
    spread = [
        np.array([1.0 if c is None else float(np.sqrt(np.mean(c**2))) for c in term.columns])
        for term in m.design.random
    ]
    cones: Any = [{"lambda": s[:, None] * factor} for s, factor in zip(spread, m.lambdas, strict=True)]
    return boundaries(m.design, cones, m.lambdas)


def announce(m: GeneralizedModel) -> GeneralizedModel:
    """Warn about what would mislead if it went unsaid, and return the fit."""
    said = [each for each in m.notes if each.code in (*LOUD, "MW-C02", "MW-W13", "MW-W16")]
    certificate = m.certificate()
    if not certificate.passed and certificate.failed != ("finiteness",):  # which MW-W13 says
        said.append(note("MW-C01", reason=f"{certificate.failed[0]} failed"))
    if not certificate.passed and _at_the_edge(m):
        said.append(note("MW-W32", family=m.family.name, link=m.family.link))
    say(said)
    return m


def _at_the_edge(m: GeneralizedModel) -> bool:
    """Whether a mean is next to where its family ends, which only some links reach."""
    if m.family.link not in ("identity", "log") or m.family.kind in ("real", "ordered"):
        return False
    with np.errstate(over="ignore"):  # of searches that got nowhere
        mu = mean_of(m.family.link, np.asarray(m.core["eta"]))
    nearest = float(mu.min()) if m.family.link == "identity" else math.inf
    if m.family.kind in ("binary", "share"):
        nearest = min(nearest, float((1.0 - mu).min()))
    return nearest < EDGE * float(mu.max())


def extreme(m: GeneralizedModel) -> list[Note]:
    """Say what has no finite estimate, and where groups are all alike."""
    return [*([] if m.separation is None else [m.separation.note()]), *alike(m)]


def dropped(m: GeneralizedModel) -> list[Note]:
    """Say which columns of X are not estimable."""
    kept = [m.design.names.index(name) for name in m.fixef.names]
    given = range(len(m.design.columns))
    implied = m.family.kind == "ordered"
    gone = [j for j in given if j not in kept and not (implied and m.design.columns[j] is None)]
    if not gone:
        return []
    whole = [j for j in given if j not in gone]  # the thresholds of an ordinal model are its intercept
    return [dropped_columns(m.design, tuple(whole), gone)]
