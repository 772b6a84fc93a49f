"""Statistics of residuals that are uniform under the model, their p-values, and how tests are shown.

Statistics take residuals (..., n) and give (...): those of the data and of simulated data sets alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.fitted.text import Block, html, number, p_value, text

__all__ = [
    "Alternative",
    "ResidualTest",
    "ResidualTests",
    "binomial_p",
    "centred_ranks",
    "holm",
    "kolmogorov",
    "kolmogorov_p",
    "levene",
    "levene_p",
    "rank_correlation_p",
    "simulated_p",
]

Array = NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]

LEVEL = 0.05


# --- results --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ResidualTest:
    """One test.

    Attributes
    ----------
    name, statistic, p_value
        NaN where the test says nothing about this model.
    expected
        Value of the statistic to compare with, under the model; NaN if there is none to name.
    verdict
        In plain words.
    """

    name: str
    statistic: float
    p_value: float
    expected: float
    verdict: str

    def __repr__(self) -> str:
        return repr(ResidualTests("", (self,), dict))

    def _repr_html_(self) -> str:
        return ResidualTests("", (self,), dict)._repr_html_()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ResidualTests:
    """Several tests; indexed by name.

    Attributes
    ----------
    title, tests
        What they are about; the tests.
    """

    title: str
    tests: tuple[ResidualTest, ...]
    native_like: Callable[[Mapping[str, Any]], Any]

    def __getitem__(self, name: str) -> ResidualTest:
        return {test.name: test for test in self.tests}[name]

    def __iter__(self) -> Any:
        return iter(self.tests)

    def __len__(self) -> int:
        return len(self.tests)

    def table(self) -> Any:
        """Return columns test, statistic, expected, p_value, verdict."""
        columns: dict[str, Any] = {"test": [each.name for each in self.tests]}
        for name in ("statistic", "expected", "p_value"):
            columns[name] = np.array([getattr(each, name) for each in self.tests])
        return self.native_like(columns | {"verdict": [each.verdict for each in self.tests]})

    def blocks(self) -> list[Block]:
        """Lay the tests out."""
        rows = [
            (
                each.name,
                number(each.statistic, 4),
                number(each.expected, 4),
                p_value(each.p_value),
                each.verdict,
            )
            for each in self.tests
        ]
        width = max((len(row[4]) for row in rows), default=0)
        shown = [(*row[:4], row[4].ljust(width)) for row in rows]
        return [Block(self.title, ("test", "statistic", "expected", "p", "".ljust(width)), shown)]

    def __repr__(self) -> str:
        return text(self.blocks())

    def _repr_html_(self) -> str:
        return html(self.blocks())


# --- p-values -------------------------------------------------------------------------------------------


def simulated_p(observed: float, simulated: Array, alternative: Alternative = "two-sided") -> float:
    """P-value of a statistic among those of simulated data sets (S,): at most its level, if exchangeable.

    The data count as one more data set (Davison and Hinkley 1997, section 4.2.1).
    """
    # Rounding must not decide between equal values.
    slack = 1e-12 * max(abs(observed), 1e-300)
    above = (1 + np.count_nonzero(simulated >= observed - slack)) / (simulated.size + 1)
    below = (1 + np.count_nonzero(simulated <= observed + slack)) / (simulated.size + 1)
    if alternative != "two-sided":
        return float(above if alternative == "greater" else below)
    return float(min(1.0, 2.0 * min(above, below)))


def holm(p: Sequence[float]) -> Array:
    """Adjust p-values for their number (Holm 1979); NaN count for nothing."""
    values = np.asarray(p, dtype=np.float64)
    out, order = np.full(values.size, np.nan), np.argsort(values)
    count, largest = int(np.count_nonzero(~np.isnan(values))), 0.0
    for at, j in enumerate(order[:count]):
        largest = max(largest, min(1.0, (count - at) * float(values[j])))
        out[j] = largest
    return out


def binomial_p(count: int, n: int, probability: float) -> float:
    """P-value of an exact binomial test, two-sided by the probabilities of its outcomes."""
    from scipy.stats import binomtest  # noqa: PLC0415

    return float(binomtest(count, n, probability).pvalue)


# --- statistics -----------------------------------------------------------------------------------------


def kolmogorov(residuals: Array) -> Array:
    """Largest distance of the empirical distribution function from the uniform one."""
    sorted_ = np.sort(residuals, axis=-1)
    n = sorted_.shape[-1]
    steps = np.arange(n + 1) / n
    over = np.max(steps[1:] - sorted_, axis=-1)
    return np.asarray(np.maximum(over, np.max(sorted_ - steps[:-1], axis=-1)))


def kolmogorov_p(distance: float, n: int) -> float:
    """P-value of Kolmogorov's distance of n independent residuals: exact (Simard and L'Ecuyer 2011)."""
    from scipy.stats import kstwo  # noqa: PLC0415

    return float(np.clip(kstwo.sf(distance, n), 0.0, 1.0))


def levene(residuals: Array, groups: Sequence[NDArray[np.integer]]) -> Array:
    """F statistic of the absolute distances from the medians of groups (Brown and Forsythe 1974)."""
    distances = [
        np.abs(residuals[..., at] - np.median(residuals[..., at], axis=-1)[..., None]) for at in groups
    ]
    n, k = sum(at.size for at in groups), len(groups)
    means = [each.mean(axis=-1) for each in distances]
    overall = sum(each.sum(axis=-1) for each in distances) / n
    between = sum(at.size * (mean - overall) ** 2 for at, mean in zip(groups, means, strict=True))
    within = sum(
        np.sum((each - mean[..., None]) ** 2, axis=-1) for each, mean in zip(distances, means, strict=True)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((between / (k - 1)) / (within / (n - k)))


def levene_p(statistic: float, groups: int, n: int) -> float:
    """P-value of `levene` for independent residuals."""
    from mixwell.inference.distributions import f_tail  # noqa: PLC0415

    return float(f_tail(statistic, groups - 1, n - groups))


def centred_ranks(values: Array) -> Array:
    """Ranks (..., n) of mean zero and length one, ties shared in a single row; zeros of equal values."""
    from scipy.stats import rankdata  # noqa: PLC0415

    if values.ndim == 1:
        ranks = np.asarray(rankdata(values), dtype=np.float64)
    else:  # of residuals, which have no ties
        ranks = np.empty(values.shape)
        np.put_along_axis(
            ranks, np.argsort(values, axis=-1), np.arange(values.shape[-1], dtype=float), axis=-1
        )
    ranks -= ranks.mean(axis=-1, keepdims=True)
    length = np.sqrt(np.sum(ranks**2, axis=-1, keepdims=True))
    return np.asarray(np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0))


def rank_correlation_p(r: float, n: int) -> float:
    """Two-sided p-value of Spearman's correlation of independent rows, by Student's t with n - 2 df."""
    from mixwell.inference.distributions import t_two_sided  # noqa: PLC0415

    if n < 3:
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(t_two_sided(r * np.sqrt((n - 2) / max(1 - r * r, 1e-300)), n - 2))
