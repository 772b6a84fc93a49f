"""Small frozen values that a fit hands out: named vectors, covariances of random effects, sparse matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import suggest
from mixwell.fitted.text import Block, cells, html, text

__all__ = ["Covariance", "NamedVector", "SparseMatrix", "Terms", "VarCorr"]

Array = NDArray[np.float64]


class Terms(NamedTuple):
    """What a formula consists of, as text: the response, the fixed terms and the random-effects terms."""

    response: str
    intercept: bool
    fixed: tuple[str, ...]
    random: tuple[str, ...]


class SparseMatrix(NamedTuple):
    """A sparse matrix as triplets: values[i] at (rows[i], columns[i]); names has one entry a column.

    `scipy.sparse.coo_array((m.values, (m.rows, m.columns)), m.shape)` makes it SciPy's.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Array
    shape: tuple[int, int]

    def toarray(self) -> Array:
        """Return the dense matrix, shape `shape`."""
        dense = np.zeros(self.shape)
        np.add.at(dense, (self.rows, self.columns), self.values)
        return dense


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NamedVector:
    """Numbers with names: `v["Days"]`, `v.values`, `dict(v)`, `np.asarray(v)`.

    Examples
    --------
    >>> v = NamedVector(("(Intercept)", "Days"), np.array([251.405, 10.467]))
    >>> v["Days"]
    10.467
    >>> dict(v)
    {'(Intercept)': 251.405, 'Days': 10.467}
    """

    names: tuple[str, ...]
    values: Array

    def __post_init__(self) -> None:
        self.values.setflags(write=False)

    def __getitem__(self, name: str | int) -> float:
        if isinstance(name, str):
            if name not in self.names:
                raise KeyError(
                    f"'{name}'; names: {', '.join(self.names)}.  {suggest(name, self.names)}".rstrip()
                )
            name = self.names.index(name)
        return float(self.values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.values, dtype=dtype, copy=True if copy is None else copy)

    def keys(self) -> tuple[str, ...]:
        """Names, so that `dict(vector)` works."""
        return self.names

    def items(self) -> Iterator[tuple[str, float]]:
        """Pairs of name and value."""
        return zip(self.names, self.values.tolist(), strict=True)

    def to_dict(self) -> dict[str, float]:
        """Return a dict from name to value."""
        return dict(self.items())

    def __repr__(self) -> str:
        numbers = cells(self.values.tolist(), 7)
        return text(
            [Block("", ("", ""), [list(row) for row in zip(self.names, numbers, strict=True)], left=1)]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Covariance:
    """Covariance of the effects of one random-effects term within a level.

    Attributes
    ----------
    group, names, structure
        The grouping factor, the k columns that vary over it, and the covariance structure.
    matrix
        Var(b), shape (k, k), on the scale of the response.
    """

    group: str
    names: tuple[str, ...]
    structure: str
    matrix: Array

    def __post_init__(self) -> None:
        self.matrix.setflags(write=False)

    @property
    def variance(self) -> NamedVector:
        """Variances, one a column."""
        return NamedVector(self.names, np.diag(self.matrix).copy())

    @property
    def sd(self) -> NamedVector:
        """Standard deviations, one a column."""
        return NamedVector(self.names, np.sqrt(np.diag(self.matrix)))

    @property
    def correlation(self) -> Array:
        """Correlations, shape (k, k); NaN beside a variance of zero."""
        sd = np.sqrt(np.diag(self.matrix))
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation: Array = np.clip(self.matrix / np.outer(sd, sd), -1.0, 1.0)
        correlation[np.diag_indices_from(correlation)] = 1.0
        return correlation


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VarCorr:
    """Variances and correlations of all random effects, and the residual standard deviation.

    `vc["Subject"]` is the `Covariance` of that grouping factor (the first term of it), `vc.terms` are all of
    them in the order of the formula, `vc.sigma` is the residual standard deviation.
    """

    terms: tuple[Covariance, ...]
    sigma: float
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict)

    def __getitem__(self, group: str) -> Covariance:
        for term in self.terms:
            if term.group == group:
                return term
        groups = tuple(term.group for term in self.terms)
        raise KeyError(
            f"'{group}'; grouping factors: {', '.join(groups)}.  {suggest(group, groups)}".rstrip()
        )

    def __iter__(self) -> Iterator[Covariance]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def tidy(self) -> Any:
        """Return one row a variance or covariance, in the caller's dataframe library.

        Returns
        -------
        table
            Columns group, term, other (None for a variance), vcov (variance or covariance), sdcor (standard
            deviation or correlation). The last row is the residual.
        """
        rows: list[tuple[str, str | None, str | None, float, float]] = []
        for term in self.terms:
            correlation, sd = term.correlation, term.sd.values
            for j, name in enumerate(term.names):
                rows.append((term.group, name, None, float(term.matrix[j, j]), float(sd[j])))
            if term.structure != "diag":
                rows += [
                    (
                        term.group,
                        term.names[j],
                        term.names[i],
                        float(term.matrix[i, j]),
                        float(correlation[i, j]),
                    )
                    for j in range(len(sd))
                    for i in range(j + 1, len(sd))
                ]
        if not np.isnan(self.sigma):  # families without a residual variance have none
            rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        names = ("group", "term", "other", "vcov", "sdcor")
        return self.to_table(
            {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
        )

    def block(self) -> Block:
        """Lay out the table of standard deviations, variances and correlations for printing."""
        sds = [float(sd) for term in self.terms for sd in term.sd.values] + [self.sigma]
        shown_sd, shown_variance = cells(sds, 5), cells([sd**2 for sd in sds], 5)
        widest = max((len(term.names) for term in self.terms if term.structure != "diag"), default=1)
        rows, at = [], 0
        for term in self.terms:
            correlation = term.correlation
            for j, name in enumerate(term.names):
                beside = ["" for _ in range(widest - 1)]
                if term.structure != "diag":
                    beside[:j] = [_correlation(float(value)) for value in correlation[j, :j]]
                rows.append([term.group if j == 0 else "", name, shown_sd[at], shown_variance[at], *beside])
                at += 1
        if not np.isnan(self.sigma):
            rows.append(["Residual", "", shown_sd[at], shown_variance[at], *[""] * (widest - 1)])
        header = ("group", "term", "sd", "variance", *(["correlation"] + [""] * (widest - 2))[: widest - 1])
        return Block("Random effects", header, rows, left=2)

    def __repr__(self) -> str:
        return text([self.block()])

    def _repr_html_(self) -> str:
        return html([self.block()])


def _correlation(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
