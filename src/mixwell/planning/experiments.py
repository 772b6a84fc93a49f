"""Experiments drawn from assumed parameters: their fits, side by side, and the tests that each reports."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Batch
from mixwell.inference.distributions import chi2_tail
from mixwell.inference.wald import Ddf, approximation
from mixwell.resampling import engine, simulate
from mixwell.resampling.progress import progress

if TYPE_CHECKING:
    from mixwell._core import Fits
    from mixwell.fitted.result import FittedModel

__all__ = ["Experiments", "Hypothesis", "Kind", "run"]

Array = NDArray[np.float64]
Kind = Literal["wald", "lrt"]

_CALL = 32  # fits of one native call
_SINGULAR = 1e-7  # singular values of an assumed factor, relative to the largest, that are zeros


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """Positions of the coefficients tested to be zero; the assumed value if there is just one, else NaN."""

    name: str
    columns: tuple[int, ...]
    effect: float

    def rows(self, p: int) -> Array:
        """Rows of L, shape (r, p)."""
        return np.eye(p)[list(self.columns)]


@dataclass(frozen=True, slots=True, eq=False)
class Experiments:
    """What simulated experiments report.

    Attributes
    ----------
    estimates, errors, degrees, p_values
        Shape (n_sim, tests); NaN without a fit, estimates and errors also for several coefficients.
    singular, failed
        Whether some covariance is singular, and whether there is no fit; shape (n_sim,).
    """

    estimates: Array
    errors: Array
    degrees: Array
    p_values: Array
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]


def run(
    m: FittedModel,
    tests: tuple[Hypothesis, ...],
    n_sim: int,
    seed: int,
    *,
    kind: Kind,
    ddf: Ddf,
    wanted: bool,
) -> Experiments:
    """Draw responses at the parameters of `m`, fit them side by side, and test each.

    Likelihood-ratio tests need fits by ML, of the model and of the model without the coefficients tested.
    """
    parts: list[Array] = [np.empty((0, 4, len(tests)))]
    singular, failed = [np.empty(0, bool)], [np.empty(0, bool)]
    batch, draw, start = engine.batch_of(m), simulate.parametric(m), _start(m)
    smaller = [_without(m, test) for test in tests] if kind == "lrt" else []
    limit = m.control.max_evaluations
    with progress("experiments", n_sim, wanted=wanted) as line, ThreadPoolExecutor(os.cpu_count()) as pool:
        for responses in _responses(draw, n_sim, seed, m.nobs):
            fits = batch.fit(responses, m.is_reml and kind == "wald", start, limit, True, True)
            if kind == "lrt":
                nulls = [null.fit(responses, False, start, limit, True, False) for null in smaller]
                parts.append(_ratio_tests(m, tests, fits, nulls))
            else:
                each = (_one_of(fits, i) for i in range(len(responses)))
                parts.append(np.array(list(pool.map(partial(_wald_tests, m, tests, ddf), responses, each))))
            singular.append(fits["singular"])
            failed.append(fits["status"] > 1)
            line.advance(len(responses))
    estimates, errors, degrees, p_values = np.concatenate(parts).swapaxes(0, 1)
    return Experiments(estimates, errors, degrees, p_values, np.concatenate(singular), np.concatenate(failed))


def _start(m: FittedModel) -> Array | None:
    """Theta, where searches start; None if it is singular, for they may get stuck at a boundary."""
    for factor in m.lambdas:
        values = np.linalg.svd(factor, compute_uv=False)
        if values[-1] <= _SINGULAR * max(float(values[0]), 1e-300):
            return None
    return np.array(m.theta)


def _responses(draw: simulate.Draw, n: int, seed: int, rows: int) -> Iterator[Array]:
    """Blocks of responses that depend on the seed and their number only."""
    size = min(_CALL, simulate.block_size(rows))
    for block in range(-(-n // size)):
        drawn = draw(simulate.generator(seed, block), size)
        yield np.ascontiguousarray(drawn[: n - block * size])


def _wald_tests(m: FittedModel, tests: tuple[Hypothesis, ...], ddf: Ddf, y: Array, fit: Fits) -> Array:
    """Estimates, standard errors, df and p-values of one experiment, shape (4, tests)."""
    out = np.full((4, len(tests)), np.nan)
    if fit["status"] > 1:
        return out
    design = replace(m.design, y=y if m.design.offset is None else y + m.design.offset)
    optimum = SimpleNamespace(theta=fit["theta"])
    fitted = replace(m, design=design, optimum=optimum, handle=engine.problem_of(design))  # type: ignore[arg-type]
    by = approximation(fitted, ddf)
    beta = fit["beta"][list(m.kept)]
    for j, test in enumerate(tests):
        rows = test.rows(beta.size)
        joint = by.joint(rows, rows @ beta)
        out[2:, j] = joint.den_df, joint.p_value
        if len(rows) == 1:
            out[0, j] = rows[0] @ beta
            out[1, j] = math.sqrt(rows[0] @ by.vcov @ rows[0])
    return out


def _without(m: FittedModel, test: Hypothesis) -> Batch:
    """Return the design without the coefficients tested."""
    design = m.design
    y = design.y if design.offset is None else design.y - design.offset
    columns = [design.columns[at] for i, at in enumerate(m.kept) if i not in test.columns]
    return Batch(y, columns, engine.core_terms(design), design.weights)


def _ratio_tests(m: FittedModel, tests: tuple[Hypothesis, ...], fits: Fits, nulls: list[Fits]) -> Array:
    """Test a block of experiments, shape (count, 4, tests); the reference has infinitely many df."""
    out = np.full((len(fits["status"]), 4, len(tests)), np.nan)
    for j, (test, null) in enumerate(zip(tests, nulls, strict=True)):
        fitted = (fits["status"] < 2) & (null["status"] < 2)
        if len(test.columns) == 1:
            at = m.kept[test.columns[0]]
            out[:, 0, j] = fits["beta"][:, at]
            out[:, 1, j] = fits["se"][:, at]
        out[:, 2, j] = math.inf
        out[:, 3, j] = chi2_tail(null["criterion"] - fits["criterion"], len(test.columns))
        out[~fitted, :, j] = np.nan
    return out


def _one_of(fits: Fits, i: int) -> Fits:
    """One fit of many."""
    return {key: values[i] for key, values in fits.items()}  # type: ignore[index,return-value]
