"""Profiles as data for plots: splines through the points that were solved, traces of pairs, and contours.

On the scale of zeta a profile is a straight line where a Wald interval would do, and the contours of a pair
are circles or ellipses. Contours between the four points at which they meet the traces are interpolated as
in Bates and Watts (1988, Nonlinear Regression Analysis and Its Applications, appendix A6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.distributions import t_quantile

if TYPE_CHECKING:
    from mixwell.inference.profile import Curve, Point, Profile

__all__ = ["LEVELS", "Smooth", "pair_columns", "zeta_columns"]

Array = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
_NEAR = 0.02  # error of zeta at the ends of a curve
_BEYOND = 1.2  # zeta that is worth seeing, as a multiple of that of the widest interval
_FLAT = 0.05  # zeta that is as good as that of a plateau
_DENSE = 201  # points of a smooth curve
_TURN = 181  # points of a contour


@dataclass(frozen=True, slots=True, eq=False)
class Smooth:
    """A profile between its solved points, in both directions; NaN beyond them.

    Attributes
    ----------
    value, zeta
        Values and zeta of the curve, both increasing.
    bounded
        Whether the lower and the upper end are ends of the parameter's range.
    """

    value: Array
    zeta: Array
    bounded: tuple[bool, bool]

    @classmethod
    def of(cls, curve: Curve) -> Smooth:
        """Run a cubic spline through the points; one that keeps their order where that one would not."""
        from scipy.interpolate import CubicSpline, PchipInterpolator  # noqa: PLC0415

        value, zeta = np.array([(point.value, point.zeta) for point in near_points(curve)]).T
        # Rounding on a plateau, or a profile that found something better than the fit, may turn zeta back.
        rising = np.concatenate([[True], zeta[1:] > np.maximum.accumulate(zeta)[:-1]])
        ends = (bool(value[0] == curve.bounds[0]), bool(value[-1] == curve.bounds[1]))
        value, zeta = value[rising], zeta[rising]
        if value.size < 3:
            return cls(value, zeta, ends)
        dense = np.concatenate([value, np.linspace(value[0], value[-1], _DENSE)])
        if value[0] > 0:  # the axis may be logarithmic
            dense = np.concatenate([dense, np.geomspace(value[0], value[-1], _DENSE)])
        dense = np.unique(dense)
        dense = dense[(dense >= value[0]) & (dense <= value[-1])]
        smooth = CubicSpline(value, zeta)(dense)
        if not (np.diff(smooth) > 0).all():
            smooth = PchipInterpolator(value, zeta)(dense)
        return cls(dense, smooth, ends)

    def zeta_at(self, value: Array) -> Array:
        """Return zeta of values."""
        return np.interp(value, self.value, self.zeta, math.nan, math.nan)

    def value_at(self, zeta: Array) -> Array:
        """Return values with these zeta."""
        return np.interp(zeta, self.zeta, self.value, math.nan, math.nan)

    def inside(self, zeta: Array) -> Array:
        """Return zeta with what lies beyond an end of the parameter's range moved to it, else NaN."""
        low = self.zeta[0] if self.bounded[0] else math.nan
        high = self.zeta[-1] if self.bounded[1] else math.nan
        below, above = zeta < self.zeta[0] - 1e-9, zeta > self.zeta[-1] + 1e-9
        kept = np.clip(zeta, self.zeta[0], self.zeta[-1])
        return np.where(below, low, np.where(above, high, kept))


def near_points(curve: Curve) -> list[Point]:
    """Points of a curve, without those so far away that nothing else could be seen.

    That is where searches went too far, and where they went along a plateau.
    """
    points = [point for point in curve.points if math.isfinite(point.zeta) and math.isfinite(point.value)]
    most = _BEYOND * max(float(t_quantile(0.5 + 0.5 * max(LEVELS), curve.df)), 3.0)
    near = [point for point in points if abs(point.zeta) <= most]
    points = near if len(near) > 2 else points
    bottom, top = min(point.zeta for point in points), max(point.zeta for point in points)
    low = max(point.value for point in points if point.zeta <= bottom + _FLAT)
    high = min(point.value for point in points if point.zeta >= top - _FLAT)
    if not low < high:
        return points
    room = high - low
    return [point for point in points if low - room <= point.value <= high + room]


def drawable(profile: Profile) -> list[Curve]:
    """Curves of the parameters that are identified."""
    return [curve for curve in profile.curves if not math.isnan(curve.estimate)]


def zeta_columns(profile: Profile, levels: Sequence[float] = LEVELS) -> dict[str, Any]:
    """Return the curves of a profile, the points they run through, and the limits of intervals.

    Parameters
    ----------
    levels
        Of the intervals, whose limits are solved for.

    Returns
    -------
    dict
        Columns term, what ("curve", "point", "limit"), level (of limits, else NaN), value, zeta. A limit that
        is an end of the range has the zeta of that end.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> columns = zeta_columns(m.profile("sigma"), [0.95])
    >>> limits = [i for i, what in enumerate(columns["what"]) if what == "limit"]
    >>> columns["value"][limits].round(2).tolist(), columns["zeta"][limits].round(2).tolist()
    ([38.23, 67.66], [-1.96, 1.96])
    """
    rows: list[tuple[str, str, float, float, float]] = []
    for curve in drawable(profile):
        limits = [(level, *curve.interval(level)) for level in levels]
        smooth = Smooth.of(curve)
        rows += [
            (curve.name, "curve", math.nan, v, z)
            for v, z in zip(smooth.value.tolist(), smooth.zeta.tolist(), strict=True)
        ]
        rows += [(curve.name, "point", math.nan, point.value, point.zeta) for point in near_points(curve)]
        for level, *ends in limits:
            q = float(t_quantile(0.5 + 0.5 * level, curve.df))
            for sign, end in zip((-1.0, 1.0), ends, strict=True):
                if math.isfinite(end) and smooth.value[0] <= end <= smooth.value[-1]:
                    solved = [point.zeta for point in curve.points if point.value == end]
                    rows.append((curve.name, "limit", level, end, solved[0] if solved else sign * q))
    names = ("term", "what", "level", "value", "zeta")
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return columns | {name: np.array(columns[name], dtype=np.float64) for name in names[2:]}


def pair_columns(profile: Profile, levels: Sequence[float] = LEVELS) -> dict[str, Any]:
    """Return the profile traces and contours of all pairs of parameters, on both scales.

    Parameters
    ----------
    levels
        Of the joint confidence regions of two parameters.

    Returns
    -------
    dict
        Columns first, second (names), what ("trace of first", "trace of second", "contour"), level (of
        contours, else NaN), first_value, second_value, first_zeta, second_zeta. The trace of a parameter has
        the best values of the other one while it is held.

    Notes
    -----
    On the scale of zeta a contour of radius r is (r cos(t + d/2), r cos(t - d/2)), where the difference of
    phase d is a periodic cubic spline in t, fixed by the four points at which the contour meets the traces
    (Bates and Watts 1988). Where a trace ends at the end of a parameter's range before it meets the contour,
    the point opposite is mirrored, and what lies beyond the end is moved to it: a sketch. Along the 95 %
    contour of (Intercept) and sd_(Intercept)|Batch of the dyestuff data, which ends at a standard deviation
    of zero, -2 log-likelihood is 5.4 to 6.0 above its minimum, not 5.99.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> columns = pair_columns(m.profile(["(Intercept)", "sigma"]), [0.95])
    >>> contour = [i for i, what in enumerate(columns["what"]) if what == "contour"]
    >>> round(float(columns["first_zeta"][contour].max()), 3)  # sqrt(chi2.ppf(0.95, 2)), without correlation
    2.448
    """
    radii = [math.sqrt(-2.0 * math.log(1.0 - level)) for level in levels]  # chi-square with 2 df
    curves = drawable(profile)
    for curve in curves:
        for sign in (-1.0, 1.0):
            curve.reach(sign * (max(radii) + _NEAR), _NEAR)
    smooth = {curve.name: Smooth.of(curve) for curve in curves}
    parts: list[tuple[tuple[str, str, str, float], Array]] = []
    for first, second in combinations(curves, 2):
        a, b = smooth[first.name], smooth[second.name]
        of_first = _trace(profile, first, second.name, b)
        of_second = _trace(profile, second, first.name, a)
        key = (first.name, second.name)
        parts.append(((*key, "trace of first", math.nan), of_first))
        parts.append(((*key, "trace of second", math.nan), of_second[[1, 0, 3, 2]]))
        for level, radius in zip(levels, radii, strict=True):
            x, y = contour(of_first[2:], of_second[2:], radius)
            x, y = a.inside(x), b.inside(y)
            parts.append(((*key, "contour", level), np.array([a.value_at(x), b.value_at(y), x, y])))
    if not parts:
        parts = [(("", "", "", math.nan), np.empty((4, 0)))]
    sizes = [numbers.shape[1] for _, numbers in parts]
    columns: dict[str, Any] = {
        name: [value for (keys, _), n in zip(parts, sizes, strict=True) for value in [keys[at]] * n]
        for at, name in enumerate(("first", "second", "what", "level"))
    }
    columns["level"] = np.array(columns["level"], dtype=np.float64)
    numbers = np.concatenate([each for _, each in parts], axis=1)
    names = ("first_value", "second_value", "first_zeta", "second_zeta")
    return columns | dict(zip(names, numbers, strict=True))


def _trace(profile: Profile, held: Curve, other: str, of_other: Smooth) -> Array:
    """Value of the held parameter, value of the other, and zeta of both, shape (4, points)."""
    at = profile.parameters.index(other)
    points = [point for point in near_points(held) if math.isfinite(point.others[at])]
    own = np.array([(point.value, point.others[at], point.zeta) for point in points]).reshape(-1, 3)
    # Rounding may put the other one beyond the end of its own curve.
    inside = np.clip(own[:, 1], of_other.value[0], of_other.value[-1])
    return np.array([own[:, 0], own[:, 1], own[:, 2], of_other.zeta_at(inside)])


def contour(of_first: Array, of_second: Array, radius: float) -> tuple[Array, Array]:
    """Interpolate a contour on the scale of zeta.

    Parameters
    ----------
    of_first, of_second
        Traces: zeta of the parameter that is held (increasing), and of the other one, shape (2, points).
    radius
        Root of the rise of -2 log-likelihood.

    Returns
    -------
    arrays
        Zeta of the first and of the second parameter.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([-3.0, 0.0, 3.0])
    >>> x, y = contour(np.array([line, 0 * line]), np.array([line, 0 * line]), 2.0)  # a circle
    >>> bool(np.allclose(x**2 + y**2, 4.0))
    True
    """
    from scipy.interpolate import CubicSpline  # noqa: PLC0415

    phases = []
    for trace, swap in ((of_first, False), (of_second, True)):
        meets = {sign: _meeting(trace, sign * radius) for sign in (1.0, -1.0)}
        for sign in (1.0, -1.0):
            other = meets[sign] if math.isfinite(meets[sign]) else -meets[-sign]
            if math.isfinite(other):
                share = float(np.clip(other / radius, -1.0, 1.0))
                angles = (0.0 if sign > 0 else math.pi, math.acos(share))
                phases.append(angles[::-1] if swap else angles)
    # cos is even: the pair of angles may change its sign, and so the difference is made positive.
    found = {}
    for x, y in phases:
        sign = 1.0 if x >= y else -1.0
        found[round((0.5 * sign * (x + y) + math.pi) % (2 * math.pi), 9)] = abs(x - y)
    if not found:
        return np.empty(0), np.empty(0)
    t = np.array(sorted(found))
    d = np.array([found[each] for each in t])
    turn = np.linspace(0.0, 2 * math.pi, _TURN) + t[0]
    if t.size > 1:
        spline = CubicSpline(np.append(t, t[0] + 2 * math.pi), np.append(d, d[0]), bc_type="periodic")
        d = np.clip(spline(turn), 0.0, math.pi)
    turn = turn - math.pi
    return radius * np.cos(turn + 0.5 * d), radius * np.cos(turn - 0.5 * d)


def _meeting(trace: Array, zeta: float) -> float:
    """Zeta of the other parameter where the held one has this zeta; NaN beyond the trace."""
    if not trace.size or not trace[0, 0] - 0.05 <= zeta <= trace[0, -1] + 0.05:
        return math.nan
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415

    own, at = np.unique(trace[0], return_index=True)
    if own.size < 2:
        return math.nan
    inside = float(np.clip(zeta, own[0], own[-1]))
    return float(PchipInterpolator(own, trace[1][at])(inside))
