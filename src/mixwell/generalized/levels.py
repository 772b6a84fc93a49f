"""Levels of grouping factors of a generalised model: coefficients, and how certain their effects are.

With psi = (theta, beta, gamma) estimated with covariance C, the error of the modes of a level, b_hat - b, has
covariance K + S C S', and C S' with psi_hat - psi, where K is the inverse curvature at the modes and S their
derivative in psi (Kass and Steffey 1989, J. Amer. Statist. Assoc. 84, 717-726).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.new_rows import Rows
from mixwell.fitted.tables import known_group, level_coefficients
from mixwell.generalized import prediction_rows
from mixwell.inference.second_order import inverse_information
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["coef", "joint_variances", "ranef_covariance"]

Array = NDArray[np.float64]


@checked
def coef(m: GeneralizedModel, group: str | None = None) -> Any:
    """Return the coefficients of each level of a grouping factor: fixed effects plus conditional modes.

    Parameters
    ----------
    group
        The grouping factor, "Subject" or "batch:cask"; may be left out when there is only one.

    Returns
    -------
    table
        One row a level: the columns of the grouping factor with their own labels (with a dot before a name
        that is also a coefficient's), then one column a coefficient, on the scale of the link. An ordinal
        model has thresholds in place of an intercept: its column "(Intercept)" is what a level adds to the
        linear predictor.

    Raises
    ------
    MixwellError
        MW-A16 when there is no such grouping factor, or several and none was named.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "x": [0, 1, 0, 1] * 3, "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ x + (1 | g)", table, family="poisson")
    >>> levels = m.coef("g")
    >>> levels["g"], levels["(Intercept)"].round(3).tolist()
    (['a', 'b', 'c'], [0.165, 1.715, 0.798])
    """
    return level_coefficients(m.design, m.fixef, m.core["b"], group)


@checked
def ranef_covariance(
    m: GeneralizedModel, group: str | None = None, *, joint: bool = True, fixed: bool = False
) -> Array:
    """Return the covariance of the prediction errors of each level's random effects.

    Parameters
    ----------
    group
        The grouping factor, "Subject" or "batch:cask"; may be left out when there is only one.
    joint
        With the uncertainty of all parameters, as glmmTMB has it. Without it they are taken as known, which
        is what lme4 calls condVar.
    fixed
        Put the fixed effects in front: the joint covariance of beta_hat - beta and b_hat - b. The covariance
        of the coefficients of a level follows from it.

    Returns
    -------
    array
        Shape (J, k, k), or (J, p + k, p + k) with `fixed`. Levels are in the order of `coef(group)`; the k
        effects in that of the formula, those of all terms of the grouping factor side by side.

    Raises
    ------
    MixwellError
        MW-A16 when there is no such grouping factor, or several and none was named, MW-P15 for `fixed`
        without `joint`.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 1, 2, 1, 5, 7, 6, 9, 2, 1, 3, 4], "x": [0, 1, 0, 1] * 3, "g": [*"aaaabbbbcccc"]}
    >>> m = mw.glmer("y ~ x + (1 | g)", table, family="poisson")
    >>> m.ranef_covariance("g", joint=False).round(3).ravel().tolist()
    [0.136, 0.037, 0.083]
    >>> m.ranef_covariance("g", fixed=True).shape
    (3, 3, 3)
    """
    if fixed and not joint:
        raise error("MW-P15")
    group = known_group(m.design, group)
    mine = [t for t, term in enumerate(m.design.random) if term.group == group]
    out: Array = _known_parameters(m, mine)
    if not joint:
        return out
    slopes = np.concatenate([m.mode_slopes[t] for t in mine], axis=2).transpose(1, 2, 0)  # (J, k, P)
    covariance = 2.0 * inverse_information(m.hessian)
    spread: Array = slopes @ covariance
    out = out + spread @ slopes.swapaxes(1, 2)
    if not fixed:
        return out
    t, p = m.theta.size, len(m.fixef)
    whole: Array = np.empty((len(out), p + out.shape[1], p + out.shape[1]))
    whole[:, :p, :p], whole[:, p:, p:] = m.vcov(), out
    whole[:, p:, :p] = spread[:, :, t : t + p] @ m.basis.T
    whole[:, :p, p:] = whole[:, p:, :p].swapaxes(1, 2)
    return whole


def joint_variances(m: GeneralizedModel, at: int) -> Array:
    """Variances (J, k) of b_hat - b of one term with all parameters estimated."""
    known = np.einsum("jkk->jk", np.asarray(m.core["condvar"][at]))
    slopes, covariance = m.mode_slopes[at], 2.0 * inverse_information(m.hessian)
    return np.asarray(known + np.einsum("pjk,pq,qjk->jk", slopes, covariance, slopes, optimize=True))


def _known_parameters(m: GeneralizedModel, mine: list[int]) -> Array:
    """K of each level, all terms of one grouping factor side by side, shape (J, k, k)."""
    blocks = [np.asarray(m.core["condvar"][t]) for t in mine]
    if len(mine) == 1:
        return np.array(blocks[0])
    starts = np.cumsum([0, *(block.shape[1] for block in blocks)])
    out = np.zeros((len(blocks[0]), starts[-1], starts[-1]))
    for first, block in zip(starts, blocks, strict=False):
        stop = first + block.shape[1]
        out[:, first:stop, first:stop] = block
    for s, t in combinations(range(len(mine)), 2):
        for i, j in np.ndindex(blocks[s].shape[1], blocks[t].shape[1]):
            variances = blocks[s][:, i, i], blocks[t][:, j, j]
            cross = _covariances(m, (mine[s], i), (mine[t], j), variances)
            out[:, starts[s] + i, starts[t] + j] = out[:, starts[t] + j, starts[s] + i] = cross
    return out


def _covariances(
    m: GeneralizedModel, a: tuple[int, int], b: tuple[int, int], variances: tuple[Array, Array]
) -> Array:
    """Covariance (J,) of two effects (term, column): scaled to one, var(a + b) = 2 + 2 cov."""
    first, second = (np.sqrt(np.maximum(variance, 0.0)) for variance in variances)
    both = first * second
    levels = both.size
    terms = []
    for t, term in enumerate(m.design.random):
        unit: list[Array | None] = [np.zeros(levels) for _ in term.names]
        for (wanted, column), sd in ((a, first), (b, second)):
            if t == wanted:
                unit[column] = np.divide(1.0, sd, out=np.zeros(levels), where=both > 0)
        mine = t in (a[0], b[0])
        codes = np.arange(levels, dtype=np.int32) if mine else np.full(levels, -1, dtype=np.int32)
        terms.append(replace(term, codes=codes, columns=tuple(unit)))
    rows = Rows(levels, (), None, None, tuple(terms), (True,) * len(terms))
    total = prediction_rows.conditional_variance(m, rows)
    return np.where(both > 0, 0.5 * (total - 2.0) * both, 0.0)
