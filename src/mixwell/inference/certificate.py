"""The proof that comes with a fit: the theorems it rests on, checked on its numbers.

What is checked, and against which tolerance, is written down in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.fitted.text import Block, html, text
from mixwell.inference import checks
from mixwell.inference.checks import Check, Rows
from mixwell.inference.diagnosis import Boundary, simpler_formula, zeros_of

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["Certificate", "Curvature", "certify", "curvature"]

Array = NDArray[np.float64]

# Up to so many theta and random effects the Hessian is differenced from the gradient.
_EXACT_HESSIAN = (12, 20_000)


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """What was checked on a fit, and how it came out.

    Attributes
    ----------
    checks
        One `Check` a line.
    boundary
        Terms on the boundary of the cone of covariance matrices.
    simpler
        A formula with the same fit and fewer parameters, or None if there is none (or none can be written).
    converged
        Whether the search ended because nothing was left to gain.
    """

    checks: tuple[Check, ...]
    boundary: tuple[Boundary, ...]
    simpler: str | None
    converged: bool
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict, compare=False)

    @property
    def passed(self) -> bool:
        """Whether the search converged and every check passed."""
        return self.converged and all(check.passed for check in self.checks)

    @property
    def proved_boundary(self) -> bool:
        """Whether the optimum lies on the boundary and is proved to belong there."""
        return bool(self.boundary) and self.passed

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of what failed."""
        names = tuple(check.name for check in self.checks if not check.passed)
        return names if self.converged else ("convergence", *names)

    @property
    def line(self) -> str:
        """One line for a summary."""
        if not self.passed:
            return f"NOT certified (MW-C01): failed {', '.join(self.failed)}. See m.certificate()."
        count = f"all {len(self.checks)} checks passed"
        if not any(check.theorem == "outer" for check in self.checks):
            return f"{count}: an exact least-squares solution."
        kind = "a proved optimum on the boundary" if self.boundary else "a local optimum in the interior"
        return f"{count}: {kind}."

    def table(self) -> Any:
        """Return the checks in the caller's dataframe library.

        Returns
        -------
        table
            Columns name, theorem, statement, residual, tolerance, passed.
        """
        names = ("name", "theorem", "statement", "residual", "tolerance", "passed")
        return self.to_table({name: [getattr(check, name) for check in self.checks] for name in names})

    def blocks(self) -> list[Block]:
        """Lay the certificate out for printing."""
        rows = [
            [c.theorem, c.statement, f"{c.residual:.1e}", f"{c.tolerance:.1e}", ["FAIL", "pass"][c.passed]]
            for c in self.checks
        ]
        lines = [str(boundary) for boundary in self.boundary]
        if self.simpler is not None:
            lines.append(f"The same fit with fewer parameters: {self.simpler}")
        header = ("theorem", "checked", "residual", "tolerance", "result")
        table = Block(f"Certificate: {self.line}", header, rows, left=2)
        return [table, Block("Boundary", lines=lines)] if lines else [table]

    def __repr__(self) -> str:
        return text(self.blocks())

    def _repr_html_(self) -> str:
        return html(self.blocks())


def certify(m: FittedModel) -> Certificate:
    """Run every check on a fit."""
    design, solution, terms = m.design, m.full_solution, m.design.random
    y = design.y if design.offset is None else design.y - design.offset
    rows = Rows.of(y, m.fixed_columns, terms, design.weights, solution)
    done = [checks.check_schur(rows, solution), checks.check_normal_equations(rows)]
    if terms:
        done.append(checks.check_modes(rows, solution))
    done.append(checks.check_penalised(rows, solution))
    if terms:
        reported = [term.matrix for term in m.varcorr()]
        done.append(checks.check_covariance(m.theta, terms, reported, float(solution.sigma2)))
        done.append(checks.check_score(m.theta, terms, solution, reml=m.is_reml))
        done += checks.check_cone(m.optimum.cone, terms)
        done += _second_order(m)
    simpler = simpler_formula(design.formula, [zeros_of(term, m.boundary) for term in terms])
    to_table = design.frame.native_like
    return Certificate(tuple(done), m.boundary, simpler, bool(m.optimum.converged), to_table)


class Curvature(NamedTuple):
    """Derivatives of the criterion at the end of the search.

    Attributes
    ----------
    gradient, hessian
        In theta, shapes (T,) and (T, T).
    unit
        Steps of theta of one unit of information, shape (T,); zero where there is none.
    side
        -1 where theta sits at its lower limit, +1 at its upper one, else 0.
    exact
        Whether the Hessian is differenced from the gradient, or the average information.
    """

    gradient: Array
    hessian: Array
    unit: Array
    side: Array
    exact: bool


def curvature(m: FittedModel) -> Curvature:
    """Return the derivatives, with the exact Hessian while that is cheap."""
    terms, theta = m.design.random, m.theta
    gradient, hessian = m.optimization.gradient, m.optimization.hessian
    side = checks.at_limits(theta, terms)
    diagonal = np.abs(np.diag(hessian))
    flat = diagonal <= 1e-10 * diagonal.max()
    unit = np.where(flat, 0.0, 1.0 / np.sqrt(np.where(flat, 1.0, diagonal)))
    exact = theta.size <= _EXACT_HESSIAN[0] and m.problem.q <= _EXACT_HESSIAN[1]
    if exact:
        low, high = checks.limits(terms)
        room = 0.4 * np.minimum(theta - low, high - theta)
        free = (side == 0) & ~flat
        gradient_at = partial(m.problem.gradient, reml=m.is_reml)
        hessian = checks.differenced(gradient_at, theta, np.minimum(1e-4 * unit, room), free)
    return Curvature(gradient, hessian, unit, side, exact)


def _second_order(m: FittedModel) -> list[Check]:
    """Check limits and curvature."""
    at = curvature(m)
    return [
        *checks.check_limits(at.gradient, at.unit, at.side),
        checks.check_curvature(at.hessian, at.unit, at.side, exact=at.exact),
    ]
