"""Columns learned from data, with R's values: `poly`, `bs`, `ns`, `scale`.

A basis is learned once from the training column (`learn_*`) and evaluated anywhere (`.columns(x)`), so that
new data meet the same polynomials and knots. Values agree with R's `stats::poly`, `splines::bs` and
`splines::ns`, also outside the boundary knots: `bs` continues the outermost polynomial, `ns` its tangent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEARN", "Learned", "Polynomial", "Powers", "Scaling", "Spline"]
__all__ += ["learn_bs", "learn_ns", "learn_poly"]

Floats = NDArray[np.float64]

# A polynomial whose norm falls below this part of x times the previous one is zero on all points.
_EXHAUSTED = 1e-10
_CHUNK = 8_192  # rows of a spline basis at a time, so that temporaries stay in the cache


@dataclass(frozen=True, slots=True)
class Scaling:
    """The shift and the divisor learned by scale() and its relatives."""

    center: float
    scale: float

    def apply(self, x: Floats) -> Floats:
        """Return (x - center) / scale."""
        return (x - self.center) / self.scale


@dataclass(frozen=True, slots=True)
class Powers:
    """The raw powers x, x^2, ... x^degree."""

    degree: int

    def columns(self, x: Floats) -> tuple[Floats, ...]:
        """Return `degree` arrays of shape (n,)."""
        return tuple(x**power for power in range(1, self.degree + 1))


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Polynomials orthonormal over the training points, by their recurrence.

    With t = (x - center) / scale and q_0 = start,
    `recurrence[k+1, k] q_{k+1} = t q_k - sum_{j<=k} recurrence[j, k] q_j`. Three terms would do in exact
    arithmetic; keeping all of them keeps high degrees orthogonal in floating point.
    """

    center: float
    scale: float
    start: float
    recurrence: Floats

    def columns(self, x: Floats) -> tuple[Floats, ...]:
        """Return `degree` arrays of shape (n,): q_1, q_2, ..."""
        t = (x - self.center) / self.scale
        basis: list[Floats] = [np.full(t.shape, self.start)]
        for k in range(self.recurrence.shape[1]):
            following = t * basis[k]
            for j, q in enumerate(basis):
                following -= self.recurrence[j, k] * q
            following /= self.recurrence[k + 1, k]
            basis.append(following)
        return tuple(basis[1:])


def learn_poly(x: Floats, degree: int) -> tuple[Polynomial, tuple[Floats, ...]]:
    """Orthogonalise the powers of x over the points x, leading coefficients positive.

    Returns the recurrence, and its polynomials q_1 to q_degree at x: orthonormal to rounding at any degree,
    while the recurrence replayed drifts at degrees near the number of points. Raises ValueError when x has
    too few distinct values.
    """
    center = float(x.mean())
    scale = float(np.abs(x - center).max()) or 1.0
    t = (x - center) / scale
    start = 1.0 / np.sqrt(x.size)
    basis = [np.full(x.shape, start)]
    recurrence = np.zeros((degree + 1, degree))
    for k in range(degree):
        following = t * basis[k]
        before = float(np.linalg.norm(following))
        for _ in range(2):  # the second pass removes what rounding left in the first
            for j, q in enumerate(basis):
                overlap = float(q @ following)
                recurrence[j, k] += overlap
                following -= overlap * q
        norm = float(np.linalg.norm(following))
        if not norm > _EXHAUSTED * before:
            raise ValueError(f"degree {degree} needs more than {k + 1} distinct values")
        recurrence[k + 1, k] = norm
        basis.append(following / norm)
    return Polynomial(center, scale, float(start), recurrence), tuple(basis[1:])


@dataclass(frozen=True, slots=True)
class Spline:
    """A B-spline basis on `knots` (boundary knots repeated `order` times).

    `transform` (m', m) maps the m B-splines to the columns wanted: it drops the first one, or imposes the
    natural boundary conditions. `natural` says that the basis is linear outside the boundary knots.
    """

    knots: Floats
    order: int
    transform: Floats | None
    natural: bool

    def columns(self, x: Floats) -> tuple[Floats, ...]:
        """Return one array of shape (n,) per column of the basis."""
        m = self.knots.size - self.order if self.transform is None else len(self.transform)
        out = np.empty((m, x.size))
        for start in range(0, x.size, _CHUNK):
            rows = slice(start, start + _CHUNK)
            out[:, rows] = self._basis(x[rows])
        return tuple(out)

    def _basis(self, x: Floats) -> Floats:
        """Columns of the basis, shape (m', n)."""
        inside = np.clip(x, self.knots[0], self.knots[-1]) if self.natural else x
        basis = _bsplines(self.knots, inside, self.order)
        if self.natural:
            beyond = x - inside
            for end, side in ((self.knots[0], beyond < 0), (self.knots[-1], beyond > 0)):
                if side.any():
                    basis[:, side] += np.outer(_derivative(self.knots, end, self.order, 1), beyond[side])
        return basis if self.transform is None else self.transform @ basis


def learn_bs(
    x: Floats,
    *,
    df: int | None = None,
    knots: Sequence[float] | None = None,
    degree: int = 3,
    intercept: bool = False,
    boundary: Sequence[float] | None = None,
) -> Spline:
    """Place the knots of a B-spline basis as `splines::bs` does."""
    order = degree + 1
    interior, ends = _place(x, df, order - (not intercept), knots, boundary)
    full = _extended(interior, ends, order)
    m = full.size - order
    return Spline(full, order, None if intercept else np.eye(m)[1:], natural=False)


def learn_ns(
    x: Floats,
    *,
    df: int | None = None,
    knots: Sequence[float] | None = None,
    intercept: bool = False,
    boundary: Sequence[float] | None = None,
) -> Spline:
    """Place the knots of a natural cubic spline basis as `splines::ns` does.

    The columns span the B-splines whose second derivative vanishes at both boundary knots. The basis of that
    space is the one left by two Householder reflections of the constraints, which fixes it uniquely.
    """
    interior, ends = _place(x, df, 1 + intercept, knots, boundary)
    full = _extended(interior, ends, 4)
    first = 0 if intercept else 1
    constraints = np.stack([_derivative(full, end, 4, 2)[first:] for end in ends], axis=1)
    rotation = np.eye(constraints.shape[0])
    for j in range(2):
        v = constraints[:, j].copy()
        v[:j] = 0.0
        v[j] += np.copysign(np.linalg.norm(v), v[j])
        reflection = np.eye(v.size) - 2.0 * np.outer(v, v) / (v @ v)
        constraints, rotation = reflection @ constraints, reflection @ rotation
    transform = rotation[2:]
    if first:
        transform = np.hstack([np.zeros((transform.shape[0], 1)), transform])
    return Spline(full, 4, transform, natural=True)


def _place(
    x: Floats,
    df: int | None,
    smallest_df: int,
    knots: Sequence[float] | None,
    boundary: Sequence[float] | None,
) -> tuple[Floats, Floats]:
    """Interior and boundary knots: given, or at equal quantiles of the values inside the boundary."""
    ends = np.sort(
        np.array([x.min(), x.max()] if boundary is None else boundary, dtype=np.float64), axis=None
    )
    if ends.size != 2 or not ends[0] < ends[1]:
        raise ValueError(
            "the boundary knots must be two different numbers" if boundary else "all values are equal"
        )
    if knots is not None:
        interior = np.sort(np.asarray(knots, dtype=np.float64))
        if interior.size and not (ends[0] < interior[0] and interior[-1] < ends[1]):
            raise ValueError(f"knots must lie between the boundary knots {ends[0]:g} and {ends[1]:g}")
        return interior, ends
    if df is None or df == smallest_df:
        return np.empty(0), ends
    if df < smallest_df:
        raise ValueError(f"df = {df} is too small; the smallest is {smallest_df}")
    if df > x.size:
        raise ValueError(f"df = {df} is more than the {x.size} rows")
    inside = x[(x >= ends[0]) & (x <= ends[1])]
    return np.quantile(inside, np.linspace(0, 1, df - smallest_df + 2)[1:-1]), ends


def _extended(interior: Floats, ends: Floats, order: int) -> Floats:
    return np.concatenate([np.repeat(ends[0], order), interior, np.repeat(ends[1], order)])


def _bsplines(knots: Floats, x: Floats, order: int) -> Floats:
    """All B-splines of this order at x, shape (len(knots) - order, n), by the Cox-de Boor recurrence.

    Outside the knots the polynomials of the first and last non-empty interval are continued.
    """
    lowest = np.searchsorted(knots, knots[0], side="right") - 1
    highest = np.searchsorted(knots, knots[-1], side="left") - 1
    span = np.clip(np.searchsorted(knots, x, side="right") - 1, lowest, highest)
    local = np.zeros((order, x.size))  # the `order` B-splines that do not vanish on the interval of each x
    local[0] = 1.0
    for j in range(1, order):
        saved = np.zeros(x.size)
        for r in range(j):
            left, right = knots[span + 1 - j + r], knots[span + 1 + r]
            part = local[r] / (right - left)
            local[r] = saved + (right - x) * part
            saved = (x - left) * part
        local[j] = saved
    basis = np.zeros((knots.size - order, x.size))
    rows = np.arange(x.size)
    for r in range(order):
        basis[span - order + 1 + r, rows] = local[r]
    return basis


def _derivative(knots: Floats, point: float, order: int, times: int) -> Floats:
    """Differentiate all B-splines of this order at one point, shape (len(knots) - order,)."""
    if times == 0:
        return _bsplines(knots, np.array([point]), order)[:, 0]
    m = knots.size - order
    width = knots[order - 1 : order + m] - knots[: m + 1]
    lower = _derivative(knots, point, order - 1, times - 1)
    slopes = np.divide(lower, width, out=np.zeros(m + 1), where=width > 0)
    return np.asarray((order - 1) * (slopes[:-1] - slopes[1:]))


# --- options of the formula functions -----------------------------------------------------------------------


def _whole(value: Any, what: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < least:
        raise ValueError(f"{what} must be a whole number of at least {least}, got {value}")
    return int(value)


def _learn_poly(x: Floats, options: dict[str, Any]) -> Learned:
    degree = _whole(options.get("degree", 1), "degree", 1)
    return Powers(degree) if options.get("raw", False) else learn_poly(x, degree)[0]


def _spline_options(options: dict[str, Any]) -> dict[str, Any]:
    df, knots, boundary = options.get("df"), options.get("knots"), options.get("Boundary.knots")
    return {
        "df": None if df is None else _whole(df, "df", 1),
        "knots": knots if knots is None or isinstance(knots, tuple) else (knots,),
        "intercept": bool(options.get("intercept", False)),
        "boundary": boundary,
    }


def _learn_bs(x: Floats, options: dict[str, Any]) -> Learned:
    return learn_bs(x, degree=_whole(options.get("degree", 3), "degree", 1), **_spline_options(options))


def _learn_ns(x: Floats, options: dict[str, Any]) -> Learned:
    return learn_ns(x, **_spline_options(options))


def _learn_scale(x: Floats, options: dict[str, Any]) -> Learned:
    center, scale = options.get("center", True), options.get("scale", True)
    shift = float(x.mean()) if center is True else float(center)
    if scale is not True:
        return Scaling(shift, float(scale) or 1.0)
    moved = x - shift
    divisor = math.sqrt(float(moved @ moved) / max(1, x.size - 1))
    if not divisor > 1e-14 * float(np.abs(x).max()):
        raise ValueError("all values are equal, so there is nothing to scale by")
    return Scaling(shift, divisor)


Learned: TypeAlias = Scaling | Polynomial | Powers | Spline
LEARN: dict[str, Callable[[Floats, dict[str, Any]], Learned]] = {
    "poly": _learn_poly,
    "bs": _learn_bs,
    "ns": _learn_ns,
    "cr": _learn_ns,
    "scale": _learn_scale,
    "standardize": _learn_scale,
    "center": lambda x, _: Scaling(float(x.mean()), 1.0),
}
