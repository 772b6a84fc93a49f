"""What is exchangeable when a fixed term has no effect, and the statistic computed for each exchange.

The statistic is the score form of the F test. With P the projection of the fit without the term (its theta
and sigma), and X the d columns of the term,

    U = X'P y,    I = X'P X,    F = U'I^-1 U / (d sigma^2)

which needs no refit: theta belongs to y and to the other terms, and these stay. Two schemes:

- The term has no random slopes. Its columns, less what the other fixed effects explain of them, are permuted
  among the units within which they are constant (whole clusters, or rows), inside the clusters that hold
  these units: the scheme of Smith in Winkler, Ridgway, Webster, Smith & Nichols (2014). The responses keep
  all their dependence.
- Its effect varies over clusters. Then only whole clusters are exchangeable: the signs of their contributions
  to U are flipped (Hemerik, Goeman & Finos 2020), I being that of the flipped data (De Santis, Goeman,
  Hemerik, Davenport & Finos 2025).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Batch
from mixwell.errors import error
from mixwell.resampling.clusters import is_nested, named_codes
from mixwell.resampling.engine import batch_of
from mixwell.resampling.simulate import block_size, generator, shuffled

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["Exchange", "Flips", "Shuffles", "exchange_of"]

Array = NDArray[np.float64]
Ints = NDArray[np.integer]

_ALIKE = 1e-9  # values that differ by less, relative to their size, are equal
_RANK = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Shuffles:
    """Permutations of the term's columns among units.

    Attributes
    ----------
    unit
        Unit of each row (n,).
    blocks
        Block of each unit (U,), inside which units are exchanged.
    stay, move
        The unit's values (U, d) in two parts: what other terms explain of them, and what is permuted.
    score
        P y (n,) of the fit without the term.
    batch, theta, nu
        The design without the term, where it is, and its degrees of freedom: with a column as response, its
        residual sum of squares is that column's part of I.
    """

    unit: Ints
    blocks: Ints
    stay: Array
    move: Array
    score: Array
    sigma2: float
    batch: Batch
    theta: Array
    nu: int
    is_reml: bool
    text: str

    def observed(self) -> float:
        """F of the data as they are."""
        return float(self._statistics(np.arange(len(self.move))[None])[0])

    def replicates(self, n: int, seed: int) -> Iterator[Array]:
        """F of permuted data, in blocks."""
        size = block_size(self.unit.size * self.move.shape[1])
        for block in range(-(-n // size)):
            yield self._statistics(shuffled(generator(seed, block), size, self.blocks)[: n - block * size])

    def _statistics(self, order: NDArray[np.int64]) -> Array:
        columns = [(self.stay[:, j] + self.move[order, j])[:, self.unit] for j in range(self.move.shape[1])]
        d, count = len(columns), len(order)
        u = np.stack([column @ self.score for column in columns], axis=1)
        information = np.empty((count, d, d))
        for j in range(d):
            information[:, j, j] = self._squares(columns[j])
        for j in range(d):
            for i in range(j):
                both = self._squares(columns[i] + columns[j])
                mixed = 0.5 * (both - information[:, i, i] - information[:, j, j])
                information[:, i, j] = information[:, j, i] = mixed
        return quadratic(u, information) / (d * self.sigma2)

    def _squares(self, columns: Array) -> Array:
        fits = self.batch.fit(np.ascontiguousarray(columns), self.is_reml, self.theta, 1, False, False)
        return np.nan_to_num(fits["sigma"] ** 2 * self.nu)


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """Signs of whole clusters.

    Attributes
    ----------
    contributions
        What each cluster adds to U, shape (J, d).
    size, leverage
        Its information (J, d, d), and its cross-product with the other fixed effects (J, p, d).
    vcov
        Covariance of these over sigma^2, (p, p).
    """

    contributions: Array
    size: Array
    leverage: Array
    vcov: Array
    sigma2: float
    text: str

    def observed(self) -> float:
        """F of the data as they are."""
        return float(self._statistics(np.ones((1, len(self.contributions))))[0])

    def replicates(self, n: int, seed: int) -> Iterator[Array]:
        """F of flipped data, in blocks."""
        count = len(self.contributions)
        size = block_size(count)
        for block in range(-(-n // size)):
            signs = 1.0 - 2.0 * generator(seed, block).integers(0, 2, (size, count))
            yield self._statistics(signs[: n - block * size])

    def _statistics(self, signs: NDArray[Any]) -> Array:
        u: Array = signs @ self.contributions
        estimated = np.einsum("mj,jpd->mpd", signs, self.leverage)
        information: Array = self.size.sum(axis=0) - np.einsum(
            "mpd,pq,mqe->mde", estimated, self.vcov, estimated, optimize=True
        )
        return np.asarray(quadratic(u, information) / (u.shape[1] * self.sigma2))


Exchange = Shuffles | Flips


def quadratic(u: Array, information: Array) -> Array:
    """Quadratic forms u' I^-1 u of u (m, d), I (m, d, d); directions without information count nothing."""
    if u.shape[1] == 1:
        out = np.zeros(len(u))
        size = information[:, 0, 0]
        return np.asarray(np.divide(u[:, 0] ** 2, size, out=out, where=size > 0))
    values, vectors = np.linalg.eigh(information)
    turned = np.einsum("mij,mi->mj", vectors, u)
    kept = values > _RANK * values[:, -1:]
    return np.asarray(np.sum(np.divide(turned**2, values, out=np.zeros_like(turned), where=kept), axis=1))


def exchange_of(
    m: FittedModel, null: FittedModel, term: str, columns: list[Array], within: str | None
) -> Exchange:
    """Find what may be exchanged when `term` has no effect; `null` is the fit without it.

    Raises
    ------
    MixwellError
        MW-A60 when nothing may be, MW-A54 for a `within` that is no column.
    """
    factors: dict[str, Ints] = {each.group: each.codes for each in m.design.random}
    varying = {
        each.group
        for each in m.design.random
        if any(_spanned(column, each.columns) for column in columns)
        and not all(_constant(column, each.codes) for column in columns)
    }
    if varying:
        return _flips(null, term, columns, within, factors=factors, varying=varying)
    return _shuffles(null, term, columns, within, factors)


def _flips(
    null: FittedModel,
    term: str,
    columns: list[Array],
    within: str | None,
    *,
    factors: dict[str, Ints],
    varying: set[str],
) -> Flips:
    advice = "Use m.anova(ddf='kenward-roger') or m.bootstrap()."
    if within is not None:
        reason = (
            "its effect varies over clusters, so signs of whole clusters are flipped, whatever within= says"
        )
        raise error("MW-A60", term=term, reason=reason, advice="Leave within out.")
    outer = [name for name in varying if all(is_nested(codes, factors[name]) for codes in factors.values())]
    if not outer:
        names = "', '".join(factors)
        reason = f"it has random slopes, and the grouping factors '{names}' are crossed"
        raise error("MW-A60", term=term, reason=reason, advice=advice)
    name = min(outer, key=lambda each: int(factors[each].max()))
    codes = factors[name]
    count = int(codes.max()) + 1
    x0, score = null.model_matrix(), _score(null)
    projected = [_with_response(null, column) for column in columns]
    weighted = np.column_stack([_score(each) for each in projected])  # P x
    left = np.column_stack([each.design.y - each._fixed_part for each in projected])  # x less X0's share

    def sums(values: Array) -> Array:
        flat = values.reshape(len(values), -1)
        out = _summed(codes, flat, count)
        return out.reshape(count, *values.shape[1:])

    p, d = x0.shape[1], len(columns)
    leverage = sums(x0[:, :, None] * weighted[:, None, :]) if p else np.zeros((count, 0, d))
    text = (
        f"Signs of whole levels of '{name}' ({count}): the effect of {term} varies over them, "
        "so only they are exchangeable."
    )
    return Flips(
        sums(left * score[:, None]),
        sums(left[:, :, None] * weighted[:, None, :]),
        leverage,
        np.asarray(null.solution.vcov_unscaled),
        null.sigma**2,
        text,
    )


def _shuffles(
    null: FittedModel, term: str, columns: list[Array], within: str | None, factors: dict[str, Ints]
) -> Shuffles:
    n = null.nobs
    constant = [name for name, codes in factors.items() if all(_constant(c, codes) for c in columns)]
    # The coarsest units within which the term does not vary; rows if it varies in all.
    name = min(constant, key=lambda each: int(factors[each].max())) if constant else None
    unit: Ints = np.arange(n) if name is None else factors[name]
    holding = [other for other, codes in factors.items() if other != name and is_nested(unit, codes)]
    inside = max(holding, key=lambda each: int(factors[each].max())) if holding else None
    block = np.zeros(n, np.int64) if inside is None else factors[inside]
    if within is not None:
        inside, block = within, named_codes(null, within)
        if not is_nested(unit, block):
            reason = f"levels of '{name}' lie in several levels of '{within}'"
            raise error("MW-A60", term=term, reason=reason, advice="Choose a coarser column for within.")
    first = np.zeros(int(unit.max()) + 1, np.int64)
    first[unit] = np.arange(n)
    size = np.bincount(unit)
    values = np.column_stack([column[first] for column in columns])
    x0 = null.model_matrix()
    others = _summed(unit, x0, size.size) / size[:, None] if x0.shape[1] else np.ones((size.size, 1))
    blocks = np.unique(block[first], return_inverse=True)[1]
    move = _within(values, blocks)
    others = _within(others, blocks)
    move -= others @ np.linalg.lstsq(others, move, rcond=_RANK)[0]
    scale = np.abs(values).max(axis=0)
    if (np.abs(move).max(axis=0) <= _ALIKE * np.where(scale > 0, scale, 1.0)).any():
        where = f" within levels of '{inside}'" if inside else ""
        reason = f"other terms leave nothing of it to permute{where}"
        advice = "Use m.anova(ddf='kenward-roger') or m.bootstrap()."
        raise error("MW-A60", term=term, reason=reason, advice=advice)
    less = f"{term}, less what the other fixed effects explain of it," if len(null.kept) > 1 else term
    what = f"{less} among rows" if name is None else f"{less} among whole levels of '{name}' ({len(values)})"
    where = f", within each level of '{inside}'" if inside else ""
    theta = np.array(null.theta)
    nu = n - len(null.kept) if null.is_reml else n
    return Shuffles(
        unit,
        blocks,
        values - move,
        move,
        _score(null),
        null.sigma**2,
        batch_of(null),
        theta,
        nu,
        null.is_reml,
        f"{what}{where}.",
    )


def _within(values: Array, blocks: Ints) -> Array:
    """Values (U, d) less their means in each block."""
    size = np.bincount(blocks)
    means = _summed(blocks, values, size.size) / size[:, None]
    return np.asarray(values - means[blocks])


def _summed(codes: Ints, values: Array, count: int) -> Array:
    """Column sums of values (n, d) by code, shape (count, d)."""
    out = np.empty((count, values.shape[1]))
    for j, column in enumerate(values.T):
        out[:, j] = np.bincount(codes, column, count)
    return out


def _constant(column: Array, codes: Ints) -> bool:
    """Whether a column has one value in each level."""
    first = np.empty(int(codes.max()) + 1)
    first[codes] = column
    return bool(np.abs(column - first[codes]).max() <= _ALIKE * max(float(np.abs(column).max()), 1e-300))


def _spanned(column: Array, columns: tuple[Array | None, ...]) -> bool:
    """Whether a column is a combination of the columns of a random-effects term."""
    basis = np.column_stack([np.ones(column.size) if c is None else c for c in columns])
    basis /= np.linalg.norm(basis, axis=0)
    left = column - basis @ np.linalg.lstsq(basis, column, rcond=None)[0]
    return bool(np.linalg.norm(left) <= 1e-7 * np.linalg.norm(column))


def _score(m: FittedModel) -> Array:
    """P y times sigma^2: weighted residuals of the penalised least-squares fit, shape (n,)."""
    out = m.design.y - m._fitted
    return np.asarray(out if m.design.weights is None else out * m.design.weights)


def _with_response(m: FittedModel, y: Array) -> FittedModel:
    """Return the model with another response, at the same theta."""
    design = replace(m.design, y=y, offset=None)
    return replace(m, design=design, optimum=SimpleNamespace(theta=m.theta), handle=None)  # type: ignore[arg-type]
