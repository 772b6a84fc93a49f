"""Tests of linear hypotheses L beta = rhs: one at a time (t) or together (F), by any method for df.

An `Approximation` is a covariance of the fixed effects with a rule for degrees of freedom. Everything that
tests or covers fixed effects (summary, anova, test, confint) goes through one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.inference.distributions import f_tail, t_quantile, t_two_sided
from mixwell.options import choice

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = [
    "Approximation",
    "Constant",
    "Ddf",
    "Information",
    "Joint",
    "Separate",
    "approximation",
    "pooled_df",
]

Array = NDArray[np.float64]
Ddf = Literal["satterthwaite", "kenward-roger", "residual", "normal"]
Information = Literal["expected", "observed"]

RANK = 1e-10  # eigenvalues of L vcov L', relative to the largest, below which hypotheses are dependent


class Approximation(Protocol):
    """A covariance of the fixed effects (p, p) and degrees of freedom for combinations of them."""

    @property
    def name(self) -> str:
        """What to print: 'Satterthwaite', 'Kenward-Roger, expected information'."""

    @property
    def vcov(self) -> Array:
        """Covariance of the fixed effects, shape (p, p)."""

    def df(self, rows: Array) -> Array:
        """Degrees of freedom of the t test of each row of L (r, p); infinite for normal."""

    def joint(self, rows: Array, difference: Array) -> Joint:
        """F test of all rows of L (r, p) together; `difference` is L beta - rhs, shape (r,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Separate:
    """Tests of single hypotheses; every field has shape (r,)."""

    estimate: Array
    se: Array
    df: Array
    statistic: Array
    p_value: Array

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper limits, each (r,), of the confidence intervals that belong to these tests."""
        half = t_quantile(0.5 + 0.5 * level, self.df) * self.se
        return self.estimate - half, self.estimate + half


@dataclass(frozen=True, slots=True)
class Joint:
    """An F test: statistic, numerator df (the rank of the hypotheses), denominator df, p."""

    statistic: float
    num_df: int
    den_df: float
    p_value: float

    @classmethod
    def of(cls, statistic: float, num_df: int, den_df: float) -> Joint:
        """Add the p-value."""
        return cls(statistic, num_df, den_df, float(f_tail(statistic, num_df, den_df)))


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """The same degrees of freedom for everything: residual ones, or infinitely many."""

    name: str
    vcov: Array
    constant: float

    def df(self, rows: Array) -> Array:
        """Degrees of freedom of each row, shape (r,)."""
        return np.full(len(rows), self.constant)

    def joint(self, rows: Array, difference: Array) -> Joint:
        """F test of all rows together."""
        statistics, _ = independent(rows, difference, self.vcov)
        q = len(statistics)
        return Joint.of(float(np.mean(statistics**2)) if q else math.nan, q, self.constant)


def approximation(
    m: FittedModel, ddf: Ddf = "satterthwaite", information: Information = "expected"
) -> Approximation:
    """Return the covariance of the fixed effects with a rule for degrees of freedom; kept with the fit.

    Without random effects the residual degrees of freedom are exact and Satterthwaite's and
    Kenward-Roger's equal them.

    Raises
    ------
    MixwellError
        MW-A02 for another name of a method, MW-A31 for an information that the method does not use,
        MW-A20 for Kenward-Roger on an ML fit.
    """
    check_degrees(ddf, information)
    key = (ddf, information if ddf == "kenward-roger" else "")
    if key not in m.approximations:
        m.approximations[key] = _build(m, ddf, information)
    return m.approximations[key]


def check_degrees(ddf: str, information: str) -> None:
    """Refuse names that do not exist, and an information that would not be used."""
    choice("ddf", ddf, get_args(Ddf))
    choice("information", information, get_args(Information))
    if information != "expected" and ddf != "kenward-roger":
        advice = "Only Kenward-Roger's method uses the information: add ddf='kenward-roger', or leave it out."
        raise error("MW-A31", option=f"information={information!r}", other=f"ddf={ddf!r}", advice=advice)


def _build(m: FittedModel, ddf: Ddf, information: Information) -> Approximation:
    if ddf == "normal":
        return Constant("normal", m.vcov(), math.inf)
    if ddf == "residual" or not m.is_mixed:
        return Constant("residual", m.vcov(), float(m.nobs - len(m.kept)))
    if ddf == "satterthwaite":
        from mixwell.inference.satterthwaite import satterthwaite  # noqa: PLC0415

        return satterthwaite(m)
    from mixwell.inference.kenward_roger import kenward_roger  # noqa: PLC0415

    return kenward_roger(m, information)


def separate(by: Approximation, beta: Array, rows: Array, rhs: Array | float = 0.0) -> Separate:
    """Test each row of L beta = rhs, with L = `rows` (r, p)."""
    rows = np.atleast_2d(rows)
    estimate = rows @ beta
    se = np.sqrt(np.maximum(np.einsum("rp,pq,rq->r", rows, by.vcov, rows), 0.0))
    df = by.df(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - rhs) / se
    return Separate(estimate, se, df, statistic, t_two_sided(statistic, df))


def joint(by: Approximation, beta: Array, rows: Array, rhs: Array | float = 0.0) -> Joint:
    """Test all rows of L beta = rhs together, with L = `rows` (r, p); dependent rows count once."""
    rows = np.atleast_2d(rows)
    return by.joint(rows, rows @ beta - rhs)


def independent(rows: Array, difference: Array, vcov: Array) -> tuple[Array, Array]:
    """Uncorrelated t statistics (q,) spanning the hypotheses, and their rows (q, p); q is the rank."""
    values, vectors = np.linalg.eigh(rows @ vcov @ rows.T)
    keep = values > RANK * max(values.max(initial=0.0), 0.0)
    vectors, values = vectors[:, keep][:, ::-1], values[keep][::-1]
    return vectors.T @ difference / np.sqrt(values), vectors.T @ rows


def pooled_df(df: Array) -> float:
    """Denominator df of a joint test from those of its uncorrelated t tests (Fai and Cornelius 1996).

    The F statistic is matched in its mean: E = sum nu / (nu - 2), df = 2 E / (E - q).
    """
    q = len(df)
    if q == 0:
        return math.nan
    if q == 1 or np.ptp(df) < 1e-8 * max(1.0, float(np.max(df))):
        return float(np.mean(df))
    if np.any(df <= 2.0):
        return 2.0
    expected = float(np.sum(df / (df - 2.0)))
    return 2.0 * expected / (expected - q)
