"""Means over random effects: E f(eta + e) for e ~ N(0, v), where eta is that of a row without them.

Whatever the random-effects terms are, the linear predictor of a row is normal, so one integral in one
dimension is left. It is known for some links (Zeger, Liang & Albert 1988, Biometrics 44, 1049-1060); the rest
is the trapezoidal rule, which converges geometrically for analytic functions (Trefethen & Weideman 2014,
SIAM Review 56, 385-458), with nodes as close as the standard deviation asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixwell.families import mean_of

__all__ = ["INFINITE", "average", "marginal_mean"]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

INFINITE = frozenset({"inverse", "inverse_squared"})
"""Links whose mean over normal random effects does not exist: eta may be zero."""

_TAIL = 8.5  # standard deviations
_WIDEST = 0.4  # distance of nodes
_CLOSER = 0.2  # over the standard deviation: the singularities of the links are at least one from the axis
_MOST = 4000
_ROWS = 4096  # at a time


def average(f: Callable[[Array, Ints], Array], eta: Array, v: Array) -> Array:
    """Return E f(eta + e), e ~ N(0, v), for each row, shape (n,).

    Parameters
    ----------
    f
        Takes linear predictors (r, nodes) and which rows they belong to.
    eta, v
        Means and variances (n,).
    """
    sd = np.sqrt(np.maximum(v, 0.0))
    order, out = np.argsort(sd, kind="stable"), np.empty(eta.size)
    for start in range(0, eta.size, _ROWS):  # rows with similar deviations share their nodes
        some = order[start : start + _ROWS]
        nodes, weights = _rule(float(np.nanmax(sd[some], initial=0.0)))
        out[some] = f(eta[some, None] + sd[some, None] * nodes, some) @ weights
    return out


def _rule(sd: float) -> tuple[Array, Array]:
    """Nodes and weights for rows whose standard deviation is at most sd."""
    tail = _TAIL + sd  # an exponential function moves the weight by sd
    step = min(_WIDEST, _CLOSER / sd) if sd > 0 else _WIDEST
    half = min(math.ceil(tail / step), _MOST)
    nodes = np.linspace(-tail, tail, 2 * half + 1)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def marginal_mean(link: str, eta: Array, v: Array) -> Array:
    """Mean over normal random effects with variance v on the scale of the link, shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> marginal_mean("log", np.array([0.5]), np.array([1.0])).round(6).tolist()
    [2.718282]
    >>> marginal_mean("logit", np.array([1.0]), np.array([2.0])).round(6).tolist()
    [0.675057]
    """
    from scipy.special import ndtr  # noqa: PLC0415

    if link == "identity":
        return np.array(eta)
    if link == "sqrt":
        return np.asarray(eta**2 + v)
    if link == "log":
        return np.exp(eta + 0.5 * v)
    if link == "probit":
        return np.asarray(ndtr(eta / np.sqrt(1.0 + v)))
    return average(lambda e, _: mean_of(link, e), eta, v)
