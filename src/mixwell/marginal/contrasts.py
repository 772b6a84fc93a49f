"""Contrasts of means: which combinations a method stands for, and compact letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.marginal.adjust import Adjust

__all__ = ["DEFAULT_ADJUST", "METHODS", "PAIRS", "coefficients", "letters"]

Array = NDArray[np.float64]

METHODS = ("pairwise", "revpairwise", "trt.vs.ctrl", "consec", "mean_chg", "eff", "del.eff", "poly")
PAIRS = ("pairwise", "revpairwise")
DEFAULT_ADJUST: dict[str, Adjust] = {
    "pairwise": "tukey",
    "revpairwise": "tukey",
    "trt.vs.ctrl": "mvt",
    "consec": "mvt",
    "mean_chg": "mvt",
    "eff": "fdr",
    "del.eff": "fdr",
}
_DEGREES = ("linear", "quadratic", "cubic", "quartic")


def coefficients(
    method: str | Mapping[str, Sequence[float]], labels: list[str], ref: int = 0
) -> dict[str, Array]:
    """Return the coefficients (k,) of every contrast of k means, by name.

    Parameters
    ----------
    method
        One of `METHODS`, or coefficients by name of your own.
    labels
        Of the means, in their order.
    ref
        Position of the control of "trt.vs.ctrl".

    Raises
    ------
    MixwellError
        MW-A02 for an unknown method, MW-A113 for coefficients of another number than means.

    Examples
    --------
    >>> {name: row.tolist() for name, row in coefficients("consec", ["a", "b", "c"]).items()}
    {'b - a': [-1.0, 1.0, 0.0], 'c - b': [0.0, -1.0, 1.0]}
    """
    k = len(labels)
    unit = np.eye(k)
    if isinstance(method, Mapping):
        out = {}
        for name, given in method.items():
            row = np.asarray(given, dtype=np.float64)
            if row.shape != (k,):
                raise error("MW-A113", name=name, given=row.size, count=k, means=labels)
            out[str(name)] = row
        return out
    if method not in METHODS:
        raise error("MW-A02", option="method", given=method, allowed=[repr(each) for each in METHODS])
    if method == "pairwise":
        return {f"{labels[i]} - {labels[j]}": unit[i] - unit[j] for i in range(k) for j in range(i + 1, k)}
    if method == "revpairwise":
        return {f"{labels[j]} - {labels[i]}": unit[j] - unit[i] for j in range(k) for i in range(j)}
    if method == "trt.vs.ctrl":
        return {f"{labels[i]} - {labels[ref]}": unit[i] - unit[ref] for i in range(k) if i != ref}
    if method == "consec":
        return {f"{labels[i + 1]} - {labels[i]}": unit[i + 1] - unit[i] for i in range(k - 1)}
    if method == "mean_chg":
        return {
            f"{labels[i]}|{labels[i + 1]}": unit[i + 1 :].mean(axis=0) - unit[: i + 1].mean(axis=0)
            for i in range(k - 1)
        }
    if method == "eff":
        return {f"{labels[i]} effect": unit[i] - 1.0 / k for i in range(k)}
    if method == "del.eff":
        return {f"{labels[i]} effect": unit[i] - (1.0 - unit[i]) / (k - 1) for i in range(k)}
    names = [_DEGREES[d] if d < len(_DEGREES) else f"degree {d + 1}" for d in range(k - 1)]
    return dict(zip(names, _orthogonal(k), strict=False))


def _orthogonal(k: int) -> list[Array]:
    """Orthogonal polynomials on 1..k in the smallest whole numbers, up to degree six."""
    x = np.arange(k) - 0.5 * (k - 1)
    q, r = np.linalg.qr(np.vander(x, min(k, 7), increasing=True))
    out = []
    for d in range(1, q.shape[1]):
        row = q[:, d] * np.sign(r[d, d])
        row = row / np.abs(row[np.abs(row) > 1e-9]).min()
        whole = next((m for m in range(1, 200) if np.abs(m * row - np.round(m * row)).max() < 1e-6), 1)
        out.append(np.round(whole * row) if whole > 1 or np.abs(row - np.round(row)).max() < 1e-6 else row)
    return out


def letters(different: NDArray[np.bool_], order: Any) -> list[str]:
    """Compact letter display: means that share a letter do not differ (Piepho 2004, insert and absorb).

    Parameters
    ----------
    different
        Symmetric (k, k): which pairs differ.
    order
        Means from the smallest to the largest: letters are given in this order.

    Examples
    --------
    >>> import numpy as np
    >>> far = np.zeros((3, 3), bool)
    >>> far[0, 2] = far[2, 0] = True
    >>> letters(far, [0, 1, 2])
    ['a', 'ab', 'b']
    """
    k = len(different)
    columns = [np.ones(k, dtype=bool)]
    for i in range(k):
        for j in range(i):
            if not different[i, j]:
                continue
            split: list[NDArray[np.bool_]] = []
            for column in columns:
                if column[i] and column[j]:
                    for out in (i, j):
                        part = column.copy()
                        part[out] = False
                        split.append(part)
                else:
                    split.append(column)
            columns = []
            for column in sorted(split, key=lambda c: -int(c.sum())):
                if not any(bool(np.all(other | ~column)) for other in columns):
                    columns.append(column)
    place = {int(mean): at for at, mean in enumerate(order)}
    columns.sort(key=lambda c: min(place[i] for i in np.flatnonzero(c).tolist()))
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return ["".join(alphabet[n % 52] for n, column in enumerate(columns) if column[i]) for i in range(k)]
