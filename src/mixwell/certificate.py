"""The proof that comes with a fit: the theorems it rests on, checked on its numbers. `checks` says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell import checks
from mixwell.checks import Check
from mixwell.diagnosis import Boundary, simpler_formula, zeros_of
from mixwell.errors import MixwellError
from mixwell.predict import fixed_part, random_part
from mixwell.text import Block, html, text

if TYPE_CHECKING:
    from mixwell.result import FittedModel

__all__ = ["Certificate", "certify"]

Array = NDArray[np.float64]

_EXACT_HESSIAN = (12, 20_000)  # theta and random effects up to which the Hessian is differenced from the gradient


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
            [c.theorem, c.statement, f"{c.residual:.1e}", f"{c.tolerance:.1e}", "pass" if c.passed else "FAIL"]
            for c in self.checks
        ]
        lines = [str(boundary) for boundary in self.boundary]
        if self.simpler is not None:
            lines.append(f"The same fit with fewer parameters: {self.simpler}")
        table = Block(
            f"Certificate: {self.line}", ("theorem", "checked", "residual", "tolerance", "result"), rows, left=2
        )
        return [table, Block("Boundary", lines=lines)] if lines else [table]

    def __repr__(self) -> str:
        return text(self.blocks())

    def _repr_html_(self) -> str:
        return html(self.blocks())


def certify(m: FittedModel) -> Certificate:
    """Run every check on a fit."""
    design, solution = m.design, m.full_solution
    x, terms, weights = m.fixed_columns, design.random, design.weights
    beta = np.asarray(solution.beta)
    sigma2, n = float(solution.sigma2), design.y.size
    modes, condvar, absorbed, lambdas = (
        [np.asarray(each) for each in part]
        for part in (solution.b, solution.condvar_unscaled, solution.b_x, solution.lambdas)
    )
    y = design.y if design.offset is None else design.y - design.offset
    e = y - fixed_part(x, beta, n)
    size = np.abs(y) + fixed_part([None if c is None else np.abs(c) for c in x], np.abs(beta), n)
    for term, b in zip(terms, modes, strict=True):
        part = random_part(term.codes, term.columns, b)
        e -= part
        size += np.abs(part)

    schur, schur_y = np.asarray(solution.schur), np.asarray(solution.schur_y)
    done = [
        checks.check_schur(x, terms, weights, lambdas, absorbed, schur, schur_y, beta, n),
        checks.check_normal_equations(x, e, size, weights),
    ]
    if terms:
        done.append(checks.check_modes(terms, e, size, weights, modes, lambdas, sigma2**0.5))
    done.append(checks.check_penalised(terms, e, size, weights, lambdas, float(solution.r2)))
    if terms:
        parts = checks.split_theta(m.theta, terms)
        reported = [term.matrix for term in m.varcorr()]
        unscaled = np.asarray(solution.vcov_unscaled)
        done.append(checks.check_covariance(parts, terms, reported, sigma2))
        done.append(checks.check_score(parts, terms, modes, condvar, absorbed, unscaled, sigma2, reml=m.is_reml))
        done += checks.check_cone(m.optimum.cone, terms)
        done.append(_curvature(m))
    simpler = simpler_formula(design.formula, [zeros_of(t, m.boundary) for t in terms])
    return Certificate(tuple(done), m.boundary, simpler, bool(m.optimum.converged), design.frame.native_like)


def _curvature(m: FittedModel) -> Check:
    """Check the Hessian: the exact one while that is cheap, else the core's average information."""
    hessian = np.asarray(m.optimization.hessian)
    diagonal = np.abs(np.diag(hessian))
    unit = 1.0 / np.sqrt(np.maximum(diagonal, max(1e-10 * float(diagonal.max()), np.finfo(float).tiny)))
    exact = m.theta.size <= _EXACT_HESSIAN[0] and m.problem.q <= _EXACT_HESSIAN[1]
    if exact:
        try:
            hessian = checks.differenced(lambda t: m.problem.gradient(t, m.is_reml), m.theta, 1e-4 * unit)
        except MixwellError:  # a step left the range of a correlation: the average information is at hand
            exact = False
    return checks.check_curvature(hessian, unit, exact=exact)
