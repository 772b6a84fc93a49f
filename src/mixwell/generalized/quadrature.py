"""From the Laplace optimum to that of adaptive Gauss-Hermite quadrature.

The two are close, so a few quasi-Newton steps from the Laplace Hessian do; the core integrates, derivatives
are central differences of fourth order over its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import Note, error, note

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design

__all__ = ["CHECK", "Integrated", "accurate", "choose", "integrated", "refine", "rule"]

Array = NDArray[np.float64]

CHECK = 9  # nodes with which the Laplace approximation is compared
ENOUGH = 0.01  # change of -2 log-likelihood, per group, below which it counts as accurate
DEFAULT = 11  # nodes when Laplace is not accurate
_STEP = 0.02  # of differences, in standard errors
_PROMISED = 1e-11
_ROUNDS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Integrated:
    """Where the integrated criterion is least: parameters, value, gradient, Hessian, whether it converged."""

    psi: Array
    criterion: float
    gradient: Array
    hessian: Array
    converged: bool


def rule(nodes: int) -> tuple[Array, Array]:
    """Gauss-Hermite nodes and weights for exp(-z^2)."""
    z, w = np.polynomial.hermite.hermgauss(nodes)
    return z, w


def accurate(model: Laplace, core: dict[str, Any], levels: int) -> tuple[bool, float]:
    """Whether the Laplace approximation is accurate at its optimum, and how far -2 loglik is off."""
    change = model.integrate(np.asarray(core["psi"]), *rule(CHECK)) - float(core["criterion"])
    return abs(change) < ENOUGH * levels, change


def choose(
    model: Laplace, core: dict[str, Any], design: Design, nagq: int | str
) -> tuple[int, tuple[Note, ...]]:
    """Nodes to use, with what "auto" has found.

    Raises
    ------
    MixwellError
        MW-A81 when there is more than one grouping factor, or more than three effects a level.
    """
    if nagq != "auto":
        if int(nagq) > 1 and model.integrable is None:
            raise error("MW-A81", formula=design.formula.text)
        return int(nagq), ()
    if model.integrable is None:
        return 1, (note("MW-W14", said="it cannot be checked here: quadrature needs one grouping factor."),)
    good, change = accurate(model, core, len(design.random[0].levels))
    found = f"{CHECK} nodes change -2 log-likelihood by {change:.2g}"
    if good:
        return 1, (note("MW-W14", said=f"accurate enough, {found}."),)
    return DEFAULT, (note("MW-W14", said=f"not accurate, {found}; {DEFAULT} nodes are used."),)


def integrated(
    model: Laplace, core: dict[str, Any], hessian: Array, nodes: int
) -> tuple[dict[str, Any], Array]:
    """Return what `describe` gives, and the Hessian, at the optimum with this many nodes."""
    found = refine(model, np.array(core["psi"]), hessian, nodes)
    again = model.describe(model.at(found.psi, np.asarray(core["scale"])))
    changed = {
        "criterion": found.criterion,
        "gradient": found.gradient,
        "converged": found.converged and bool(core["converged"]),
        "evaluations": core["evaluations"],
    }
    return {**again, **changed}, found.hessian


def refine(model: Laplace, psi: Array, hessian: Array, nodes: int) -> Integrated:
    """Minimise the criterion with this many nodes, from the Laplace optimum and its Hessian."""
    z, w = rule(nodes)

    def f(psi: Array) -> float:
        return model.integrate(np.ascontiguousarray(psi), z, w)

    values, vectors = np.linalg.eigh(hessian)
    b = (vectors * np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1.0))) @ vectors.T
    step = _STEP * np.sqrt(2.0 / np.maximum(np.diag(b), 1e-12)).clip(max=1.0)
    value, gradient, converged = f(psi), _slope(f, psi, step), False
    for _ in range(_ROUNDS):
        move = -np.linalg.solve(b, gradient)
        promised = -0.5 * float(gradient @ move)
        if promised < _PROMISED:
            converged = True
            break
        scale, found = 1.0, value
        while scale > 1e-4:
            found = f(psi + scale * move)
            if found <= value - 1e-4 * scale * promised:
                break
            scale *= 0.4
        else:
            converged = promised < 1e-6
            break
        s = scale * move
        new = _slope(f, psi + s, step)
        y, bs = new - gradient, b @ s
        if float(s @ y) > 0.1 * float(s @ bs):
            b = b + np.outer(y, y) / float(s @ y) - np.outer(bs, bs) / float(s @ bs)
        psi, value, gradient = psi + s, found, new
    return Integrated(psi, value, gradient, _curvature(f, psi, step), converged)


def _slope(f: Callable[[Array], float], psi: Array, step: Array) -> Array:
    out = np.empty(psi.size)
    for i, h in enumerate(step):
        e = np.zeros(psi.size)
        e[i] = h
        out[i] = (8 * (f(psi + e) - f(psi - e)) - (f(psi + 2 * e) - f(psi - 2 * e))) / (12 * h)
    return out


def _curvature(f: Callable[[Array], float], psi: Array, step: Array) -> Array:
    out = np.empty((psi.size, psi.size))
    for i, h in enumerate(step):
        e = np.zeros(psi.size)
        e[i] = 2.5 * h
        out[i] = (_slope(f, psi + e, step) - _slope(f, psi - e, step)) / (5.0 * h)
    return 0.5 * (out + out.T)
