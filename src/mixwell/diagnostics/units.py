"""What residuals are of, if not of rows: clusters, whose responses are added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.frame import compact
from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.diagnostics.draws import Model

__all__ = ["Units", "units_of"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What residuals are of: rows, or the sums of the rows of clusters."""

    by: str
    labels: tuple[Any, ...]
    codes: Ints
    order: Ints
    starts: Ints

    def sums(self, values: Array) -> Array:
        """Add up rows (..., n) by cluster, (..., J)."""
        return np.asarray(np.add.reduceat(values[..., self.order], self.starts, axis=-1))

    def means(self, values: Array) -> Array:
        """Average rows (..., n) by cluster, (..., J)."""
        return self.sums(values) / np.bincount(self.codes)


def units_of(m: Model, group: str) -> Units:
    """Cut the rows by the levels of a grouping factor or of a column."""
    terms, frame = m.design.random, m.design.frame
    available = tuple(dict.fromkeys([*(term.group for term in terms), *frame.names]))
    known = next((term for term in terms if term.group == group), None)
    if known is not None:
        codes, labels = np.asarray(known.codes), known.levels
    elif isinstance(group, str) and group in frame.names:
        codes, labels = compact(*frame.column(group).take(m.design.rows).codes())
    else:
        raise error("MW-A96", name=group, reason="there is no such column", available=available)
    reason = "it has missing values in rows used" if (codes < 0).any() else ""
    if not reason and len(labels) < 2:
        reason = "it has one level"
    if reason:
        raise error("MW-A96", name=group, reason=reason, available=available)
    present, inverse = np.unique(codes, return_inverse=True)
    cluster = np.asarray(inverse, np.int64)
    order = np.argsort(cluster, kind="stable").astype(np.int64)
    starts = np.searchsorted(cluster[order], np.arange(present.size)).astype(np.int64)
    found = tuple(level_text(labels[j]) if isinstance(labels[j], tuple) else labels[j] for j in present)
    return Units(group, found, cluster, order, starts)
