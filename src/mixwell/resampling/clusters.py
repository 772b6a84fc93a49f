"""Clusters that are independent of one another: found, drawn with replacement, left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.design.frame import Codes
from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.fitted.result import FittedModel

__all__ = ["Clusters", "Selection", "find_clusters", "is_nested", "named_codes", "select", "selected_design"]

Ints = NDArray[np.int64]


class Selection(NamedTuple):
    """Rows (m,), and for each random-effects term the new codes (m,) and the number of levels."""

    rows: Ints
    codes: tuple[Codes, ...]
    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Disjoint sets of rows.

    Attributes
    ----------
    label
        Grouping factor, or "row" when every row is its own cluster.
    codes, count
        Cluster of each row (n,), and their number.
    order, starts, sizes
        Rows cluster by cluster: those of cluster j are `order[starts[j] : starts[j] + sizes[j]]`.
    shared
        Grouping factors whose levels lie in several clusters.
    inner
        For each random-effects term the position of each row's level within its cluster (n,), and how many
        levels each cluster has (J,); None for a shared factor.
    """

    label: str
    codes: Ints
    count: int
    order: Ints
    starts: Ints
    sizes: Ints
    shared: tuple[str, ...]
    inner: tuple[tuple[Ints, Ints] | None, ...]

    def rows_of(self, drawn: Ints) -> tuple[Ints, Ints]:
        """Rows of the clusters drawn, one after the other, and for each row which draw it belongs to."""
        sizes = self.sizes[drawn]
        ends = np.cumsum(sizes)
        shift = np.repeat(self.starts[drawn] - (ends - sizes), sizes)
        return self.order[shift + np.arange(int(ends[-1]))], np.repeat(np.arange(drawn.size), sizes)


def is_nested(fine: NDArray[np.integer], coarse: NDArray[np.integer]) -> bool:
    """Whether every level of `fine` lies in one level of `coarse`."""
    first = np.empty(int(fine.max(initial=-1)) + 1, coarse.dtype)
    first[fine] = coarse
    return bool((first[fine] == coarse).all())


def clusters_of(label: str, codes: NDArray[np.integer], m: FittedModel) -> Clusters:
    """Sort the rows by cluster; codes must be 0 .. count - 1, each of them present."""
    sizes = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    inner = tuple(
        _inner(term.codes, codes, sizes.size) if is_nested(term.codes, codes) else None
        for term in m.design.random
    )
    shared = dict.fromkeys(t.group for t, own in zip(m.design.random, inner, strict=True) if own is None)
    starts = np.cumsum(sizes) - sizes
    return Clusters(
        label, codes.astype(np.int64), int(sizes.size), order, starts, sizes, tuple(shared), inner
    )


def _inner(fine: NDArray[np.integer], coarse: NDArray[np.integer], count: int) -> tuple[Ints, Ints]:
    """Count the levels of a nested factor off within each cluster, from 0 on."""
    present, first = np.unique(fine, return_index=True)
    cluster = coarse[first]
    sizes = np.bincount(cluster, minlength=count)
    order = np.argsort(cluster, kind="stable")
    number = np.zeros(int(present[-1]) + 1, np.int64)
    number[present[order]] = np.arange(present.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return number[fine], sizes


def find_clusters(m: FittedModel, group: str | None, kind: str) -> Clusters:
    """Find the clusters that are independent under the model: the levels of the outermost factor.

    Raises
    ------
    MixwellError
        MW-A53 when factors are crossed, so that no clusters are independent, and none were asked for;
        MW-A54 when `group` names nothing that cuts the rows into clusters.
    """
    terms = m.design.random
    if group is not None:
        return clusters_of(group, named_codes(m, group), m)
    if not terms:
        return clusters_of("row", np.arange(m.nobs), m)
    for term in sorted(terms, key=lambda term: len(term.levels)):
        if all(is_nested(other.codes, term.codes) for other in terms):
            return clusters_of(term.group, term.codes, m)
    names = tuple(dict.fromkeys(term.group for term in terms))
    advice = (
        f"Choose the clusters, as in group='{names[0]}': the levels of the others then stay what they are. "
        "kind='parametric' and kind='residual' resample all factors."
    )
    if kind == "bca":
        advice = (
            "Choose another kind of interval: its jackknife leaves out one independent cluster at a time."
        )
    raise error("MW-A53", purpose=f"kind='{kind}'", groups=names, advice=advice)


def named_codes(m: FittedModel, group: str) -> NDArray[np.integer]:
    """Levels (n,) of a grouping factor or of a column of the table."""
    terms = m.design.random
    for term in terms:
        if term.group == group:
            return term.codes
    available = tuple(dict.fromkeys([*(term.group for term in terms), *m.design.frame.names]))
    if not isinstance(group, str) or group not in m.design.frame.names:
        raise error("MW-A54", name=group, reason="there is no such column", available=available)
    codes = m.design.frame.column(group).take(m.design.rows).codes()[0]
    if (codes < 0).any():
        raise error("MW-A54", name=group, reason="it has missing values in rows used", available=available)
    found = np.unique(codes, return_inverse=True)[1]
    if int(found.max()) == 0:
        raise error("MW-A54", name=group, reason="it has one level", available=available)
    return found


def select(m: FittedModel, clusters: Clusters, drawn: Ints) -> Selection:
    """Take clusters; one that was drawn several times comes several times, with levels of its own."""
    rows, draw = clusters.rows_of(drawn)
    codes, levels = [], []
    for term, inner in zip(m.design.random, clusters.inner, strict=True):
        if inner is None:
            present = np.zeros(len(term.levels), np.int32)
            present[term.codes[rows]] = 1
            number = np.cumsum(present, dtype=np.int32)
            codes.append(number[term.codes[rows]] - np.int32(1))
            levels.append(int(number[-1]))
            continue
        ends = np.cumsum(inner[1][drawn])
        first = ends - inner[1][drawn]
        codes.append((first[draw] + inner[0][rows]).astype(np.int32))
        levels.append(int(ends[-1]))
    return Selection(rows, tuple(codes), tuple(levels))


def selected_design(design: Design, selection: Selection) -> Design:
    """Build the design of the selected rows; levels are numbered, tables still come out like the data."""
    rows = selection.rows

    def pick(columns: tuple[NDArray[np.float64] | None, ...]) -> tuple[NDArray[np.float64] | None, ...]:
        return tuple(None if column is None else column[rows] for column in columns)

    random = tuple(
        replace(term, codes=codes, levels=tuple(range(count)), columns=pick(term.columns))
        for term, codes, count in zip(design.random, selection.codes, selection.levels, strict=True)
    )
    weights, offset = pick((design.weights, design.offset))
    extra = {name: (names, pick(columns)) for name, (names, columns) in design.extra.items()}
    return replace(
        design,
        y=design.y[rows],
        columns=pick(design.columns),
        weights=weights,
        offset=offset,
        random=random,
        extra=extra,
        rows=None,
        n_rows=rows.size,
        notes=(),
    )
