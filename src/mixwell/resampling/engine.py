"""Refits by the thousand: blocks of responses, or selections of rows, to native threads and back.

Native calls are short (about 0.15 s), and Python handles signals between them: Ctrl-C returns promptly.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Batch, Problem, Term, fit_subsets
from mixwell.errors import error
from mixwell.resampling.clusters import Clusters, Selection, select, selected_design
from mixwell.resampling.progress import Progress
from mixwell.resampling.simulate import Draw, block_size, generator

if TYPE_CHECKING:
    from mixwell._core import Fits
    from mixwell.design import Design
    from mixwell.fitted.result import FittedModel

__all__ = [
    "Pace",
    "Refits",
    "batch_of",
    "core_terms",
    "count_of",
    "drawn",
    "drawn_clusters",
    "problem_of",
    "refit_drawn",
    "refit_drawn_clusters",
    "refit_responses",
    "refit_selections",
    "refit_without_each",
    "warm_start",
    "without_each",
]

Array = NDArray[np.float64]
Each = Callable[["FittedModel"], Array]

_SECONDS = 0.15  # a native call is meant to take
_FIRST = 16  # fits of the first call, when nothing is known about their cost


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Results of many refits, one row each; NaN where there is no fit.

    Attributes
    ----------
    beta, theta, sigma, criterion
        Shapes (m, p) for the estimable columns of the model, (m, T), (m,), (m,).
    status
        0 converged, 1 stopped early, 2 and more no fit; shape (m,).
    singular
        Whether the covariance of some random-effects term is singular, shape (m,).
    values
        What a user's statistic returned, shape (m, s); None without one.
    """

    beta: Array
    theta: Array
    sigma: Array
    criterion: Array
    status: NDArray[np.uint8]
    singular: NDArray[np.bool_]
    values: Array | None = None

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Replicates without an estimate of all fixed effects."""
        return np.asarray((self.status > 1) | ~np.isfinite(self.beta).all(axis=1))


def count_of(n: object) -> int:
    """Check a number of replicates."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 < n < 2**31:
        raise error("MW-A07", option="n", expected="a positive whole number", given=n)
    return int(n)


def core_terms(design: Design) -> list[Term]:
    """Random-effects terms as the core takes them."""
    return [
        Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)
        for term in design.random
    ]


def problem_of(design: Design) -> Problem:
    """Cross-products of a design."""
    response = design.y if design.offset is None else design.y - design.offset
    return Problem(response, design.columns, core_terms(design), design.weights)


def warm_start(m: FittedModel) -> Array | None:
    """Return theta, where searches start; None if it is singular, for they may get stuck at a boundary."""
    return None if m.boundary else np.array(m.theta)


def batch_of(m: FittedModel) -> Batch:
    """Hand a design to the core for many responses."""
    design = m.design
    y = design.y if design.offset is None else design.y - design.offset
    return Batch(y, design.columns, core_terms(design), design.weights)


class Pace:
    """How many fits a native call gets, so that it takes about as long as it should."""

    def __init__(self) -> None:
        self.least = 2 * (os.cpu_count() or 1)
        self.step = _FIRST

    def took(self, fits: int, seconds: float) -> None:
        """Set the step from what the last one cost."""
        self.step = max(self.least, int(fits * _SECONDS / max(seconds, 1e-6)))


def refit_responses(
    m: FittedModel,
    responses: Iterator[Array],
    line: Progress,
    *,
    each: Each | None = None,
) -> Refits:
    """Refit a model to blocks of responses (count, n), from which the offset has been subtracted already."""
    batch, start = batch_of(m), warm_start(m)
    pace = Pace()
    found: list[Fits] = []
    values: list[Array | None] = []
    for block in responses:
        at = 0
        while at < len(block):
            part = np.ascontiguousarray(block[at : at + pace.step])
            begun = time.perf_counter()
            fits = batch.fit(part, m.is_reml, start, m.control.max_evaluations, True, False)
            pace.took(len(part), time.perf_counter() - begun)
            found.append(fits)
            if each is not None:
                values += [
                    each(_refitted(m, y, theta)) if status < 2 else None
                    for y, theta, status in zip(part, fits["theta"], fits["status"], strict=True)
                ]
            line.advance(len(part))
            at += len(part)
    return _gather(m, found, values if each is not None else None)


def refit_drawn(
    m: FittedModel, draw: Draw, n: int, seed: int, line: Progress, *, each: Each | None = None
) -> Refits:
    """Refit a model to `n` drawn responses."""
    return refit_responses(m, drawn(draw, n, seed, m.nobs), line, each=each)


def drawn(draw: Draw, n: int, seed: int, rows: int) -> Iterator[Array]:
    """Draw `n` responses in blocks (count, rows)."""
    size = block_size(rows)
    for block in range(-(-n // size)):
        # The last block is drawn in full, too: what it begins with must not depend on where it ends.
        yield draw(generator(seed, block), size)[: n - block * size]


def refit_drawn_clusters(
    m: FittedModel, clusters: Clusters, n: int, seed: int, line: Progress, *, each: Each | None = None
) -> Refits:
    """Refit a model to `n` samples of its clusters, drawn with replacement."""
    return refit_selections(m, drawn_clusters(m, clusters, n, seed), line, each=each)


def drawn_clusters(m: FittedModel, clusters: Clusters, n: int, seed: int) -> Iterator[Selection]:
    """Draw `n` samples of the clusters with replacement."""
    size = block_size(m.nobs)
    for block in range(-(-n // size)):
        numbers = generator(seed, block).integers(0, clusters.count, (size, clusters.count))
        for row in numbers[: n - block * size]:
            yield select(m, clusters, row)


def without_each(m: FittedModel, clusters: Clusters) -> Iterator[Selection]:
    """Leave out each cluster in turn."""
    everyone = np.arange(clusters.count)
    return (select(m, clusters, np.delete(everyone, j)) for j in range(clusters.count))


def refit_without_each(
    m: FittedModel, clusters: Clusters, line: Progress, *, each: Each | None = None
) -> Refits:
    """Refit a model without each of its clusters in turn."""
    return refit_selections(m, without_each(m, clusters), line, each=each)


def refit_selections(
    m: FittedModel, selections: Iterator[Selection], line: Progress, *, each: Each | None = None
) -> Refits:
    """Refit a model to selections of its rows."""
    design, terms = m.design, core_terms(m.design)
    y = design.y if design.offset is None else design.y - design.offset
    pace = Pace()
    found: list[Fits] = []
    values: list[Array | None] = []
    start = warm_start(m)
    ended = False
    while not ended:
        some: list[Selection] = []
        # Selections cost memory: no more of them at a time than a block of responses.
        for selection in selections:
            some.append(selection)
            if len(some) >= min(pace.step, 4 * block_size(m.nobs)):
                break
        else:
            ended = True
        if not some:
            break
        begun = time.perf_counter()
        fits = fit_subsets(
            y,
            design.columns,
            terms,
            design.weights,
            [each_one.rows for each_one in some],
            [list(each_one.codes) for each_one in some],
            [list(each_one.levels) for each_one in some],
            m.is_reml,
            start,
            m.control.max_evaluations,
            True,
            False,
        )
        pace.took(len(some), time.perf_counter() - begun)
        found.append(fits)
        if each is not None:
            for selection, theta, status in zip(some, fits["theta"], fits["status"], strict=True):
                sample = replace(m, design=selected_design(design, selection))
                values.append(each(_refitted(sample, None, theta)) if status < 2 else None)
        line.advance(len(some))
    return _gather(m, found, values if each is not None else None)


def _refitted(m: FittedModel, y: Array | None, theta: Array) -> FittedModel:
    """Return the model of one replicate; the search starts at its optimum and ends there."""
    design = m.design
    if y is not None:
        design = replace(design, y=y if design.offset is None else y + design.offset)
    problem = problem_of(design)
    start = theta if np.isfinite(theta).all() else None
    optimum = problem.optimize(m.is_reml, start, m.control.max_evaluations)
    return replace(m, design=design, optimum=optimum, handle=problem)


def _gather(m: FittedModel, found: list[Fits], values: list[Array | None] | None) -> Refits:
    def all_of(key: str) -> Any:
        return np.concatenate([fits[key] for fits in found])  # type: ignore[literal-required]

    sizes = {each.size for each in values or () if each is not None}
    if len(sizes) > 1:
        raise error("MW-A55", reason="it returned different numbers of values for different replicates")
    missing = np.full(sizes.pop() if sizes else 0, np.nan)
    return Refits(
        all_of("beta")[:, list(m.kept)],
        all_of("theta"),
        all_of("sigma"),
        all_of("criterion"),
        all_of("status"),
        all_of("singular"),
        None if values is None else np.array([missing if each is None else each for each in values]),
    )
