"""Codings of a factor: how k levels become k - 1 columns, with R's values and R's column names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.bases import learn_poly
from mixwell.errors import error
from mixwell.formula.expression import CONTRASTS

__all__ = ["Contrast", "coding_matrix", "level_text", "read_contrast"]

Floats = NDArray[np.float64]
Labels = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """A coding asked for: treatment, sum, helmert, poly, diff or custom.

    `base` is the reference level of treatment coding: its position counted from 1 as in R, or its label
    (`by_label`). A custom coding has a `matrix` (levels, columns) and maybe `names` of its columns.
    """

    name: str
    base: Hashable = None
    by_label: bool = False
    matrix: tuple[tuple[float, ...], ...] = ()
    names: tuple[str, ...] = ()


def level_text(level: Hashable) -> str:
    """Return a level as R writes it in a column name: TRUE, 1 rather than 1.0, at most 15 digits."""
    if isinstance(level, str):
        return level
    if isinstance(level, (bool, np.bool_)):
        return "TRUE" if level else "FALSE"
    if isinstance(level, (float, np.floating)):
        return f"{level:.15g}"
    if isinstance(level, tuple):
        return ":".join(level_text(part) for part in level)
    return str(level)


def _treatment(k: int, base: int = 0) -> Floats:
    return np.delete(np.eye(k), base, axis=1)


def _sum(k: int) -> Floats:
    return np.vstack([np.eye(k - 1), -np.ones(k - 1)])


def _helmert(k: int) -> Floats:
    """Column j compares level j + 2 with the mean of the levels before it."""
    matrix = np.triu(np.full((k, k - 1), -1.0))
    matrix[np.arange(1, k), np.arange(k - 1)] = np.arange(1, k)
    return matrix


def _poly(k: int) -> Floats:
    return np.column_stack(learn_poly(np.arange(1.0, k + 1), k - 1)[1])


def _diff(k: int) -> Floats:
    """Column j is level j + 2 minus level j + 1; the columns are contrasts (they sum to zero)."""
    steps = np.tile(np.arange(1.0, k), (k, 1)) / k
    return steps - np.triu(np.ones((k, k - 1)))


def _poly_names(k: int) -> tuple[str, ...]:
    return tuple({1: ".L", 2: ".Q", 3: ".C"}.get(degree, f"^{degree}") for degree in range(1, k))


_MATRICES: Mapping[str, Callable[[int], Floats]] = {
    "sum": _sum,
    "helmert": _helmert,
    "poly": _poly,
    "diff": _diff,
}


def read_contrast(given: Any, column: str) -> Contrast:
    """Read one entry of the `contrasts` argument: a name, a matrix, or a mapping of column name to values."""
    if isinstance(given, Contrast):
        return given
    if isinstance(given, str):
        if given not in CONTRASTS:
            raise error("MW-F35", name=given, available=list(dict.fromkeys(CONTRASTS.values())))
        return Contrast(CONTRASTS[given])
    names: tuple[str, ...] = ()
    if isinstance(given, Mapping):
        names = tuple(str(key) for key in given)
        given = np.column_stack([np.asarray(values, dtype=np.float64) for values in given.values()])
    try:
        matrix = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(())
    if matrix.ndim == 1 and matrix.size:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise error(
            "MW-D21", column=column, reason=f"cannot read {type(given).__name__} as a matrix of numbers"
        )
    return Contrast("custom", matrix=tuple(map(tuple, matrix.tolist())), names=names)


def coding_matrix(
    contrast: Contrast, levels: Labels, declared: Labels, column: str
) -> tuple[Floats, tuple[str, ...]]:
    """Return the coding of `levels` as a (levels, columns) array, and the suffix of each column's name.

    `declared` are the levels before unused ones were dropped: a custom matrix may have a row for each.
    """
    k = len(levels)
    texts = tuple(level_text(level) for level in levels)
    if contrast.name == "custom":
        matrix = np.array(contrast.matrix)
        if len(matrix) == len(declared) != k:
            used = set(levels)
            matrix = matrix[[i for i, level in enumerate(declared) if level in used]]
        if len(matrix) != k:
            reason = f"the matrix has {len(matrix)} rows for {k} levels"
            raise error("MW-D21", column=column, reason=reason)
        return matrix, contrast.names or _numbered(matrix.shape[1])
    if contrast.name == "treatment":
        base = _base(contrast, texts, column)
        return _treatment(k, base), texts[:base] + texts[base + 1 :]
    matrix = _MATRICES[contrast.name](k)
    if contrast.name == "poly":
        return matrix, _poly_names(k)
    if contrast.name == "diff":
        return matrix, tuple(f"{b}-{a}" for a, b in pairwise(texts))
    return matrix, _numbered(k - 1)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, count + 1))


def _base(contrast: Contrast, texts: Sequence[str], column: str) -> int:
    """Position of the reference level, counted from 0."""
    if contrast.base is None:
        return 0
    if contrast.by_label:
        wanted = level_text(contrast.base)
        if wanted in texts:
            return texts.index(wanted)
    elif isinstance(contrast.base, (int, float)) and contrast.base in range(1, len(texts) + 1):
        return int(contrast.base) - 1
    raise error("MW-D23", name=level_text(contrast.base), column=column, available=list(texts))
