"""Variances of predictions, and the joint covariance of fixed and random effects.

The prediction error of x'beta + z'b, with b predicted by its conditional mode, has variance (Henderson 1975,
Biometrics 31, 423-447; in units of sigma^2)

    z'K z + (x - B z)' Phi (x - B z)      K = Var(b | y, beta), B = X'W Z K, Phi = (X'H^-1 X)^-1

The first part is what beta would leave uncertain if it were known ("random"); both together are the joint
variance of "fixed" and "random". A level that was not fitted adds z'Sigma z ("new"), an observation 1 / w
("residual").
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, error
from mixwell.fitted.new_rows import fixed_part
from mixwell.inference.wald import approximation
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell._core import Solution
    from mixwell.fitted.new_rows import Rows
    from mixwell.fitted.result import FittedModel

__all__ = ["SOURCES", "Source", "joint_variances", "prediction_df", "ranef_covariance", "unscaled_variance"]

Array = NDArray[np.float64]
Source = Literal["fixed", "random", "new", "residual"]
SOURCES = ("fixed", "random", "new", "residual")

_CHUNK = 2**20  # numbers of an (r, p) block
_STEP = 1e-3  # of a derivative in theta, in standard errors
_FEWEST = 2.0  # degrees of freedom: with fewer, t has no variance, and no scaled chi-square is like this one


def unscaled_variance(
    m: FittedModel, rows: Rows, sources: frozenset[str], theta: Array | None = None
) -> Array:
    """Variance of the prediction error from the given sources over sigma^2, shape (n,).

    Parameters
    ----------
    theta
        Where to evaluate it; the estimate if None.
    """
    random = "random" in sources and any(rows.chosen)
    if theta is None:
        solution = m.full_solution if random and "fixed" in sources else m.solution
        theta = m.theta
    else:
        solution = m.problem.solve(theta, m.is_reml, random and "fixed" in sources)
    out = _conditional(m, rows, theta) if random else np.zeros(rows.n)
    if "fixed" in sources:
        out += _fixed(rows, solution, joint=random)
    if "new" in sources:
        for term, chosen, factor in zip(rows.terms, rows.chosen, solution.lambdas, strict=True):
            if term is None:
                continue
            spread = np.zeros(rows.n)
            for column in np.asarray(factor).T:  # z'lambda, column by column of lambda
                spread += fixed_part(term.columns, column, rows.n) ** 2
            out += np.where(term.codes < 0, spread, 0.0) if chosen else spread
    if "residual" in sources:
        out += 1.0 if rows.weights is None else 1.0 / rows.weights
    return out


def _conditional(m: FittedModel, rows: Rows, theta: Array) -> Array:
    """Return z'K z of each row, over the chosen terms; missing values count as zero."""
    codes: list[NDArray[np.int32]] = []
    columns: list[list[Array | None]] = []
    for term, chosen, fitted in zip(rows.terms, rows.chosen, m.design.random, strict=True):
        if term is None or not chosen:
            codes.append(np.full(rows.n, -1, dtype=np.int32))
            columns.append([None] * len(fitted.names))
        else:
            codes.append(np.ascontiguousarray(term.codes, dtype=np.int32))
            columns.append([None if c is None else np.nan_to_num(c) for c in term.columns])
    return np.array(m.problem.conditional_variance(np.asarray(theta), codes, columns))


def _fixed(rows: Rows, solution: Solution, *, joint: bool) -> Array:
    """(x - B z)'Phi (x - B z) of each row; x'Phi x if not joint."""
    phi = np.asarray(solution.vcov_unscaled)
    out = np.empty(rows.n)
    step = max(1, _CHUNK // max(len(phi), 1))
    for start in range(0, rows.n, step):
        some = slice(start, min(start + step, rows.n))
        x = rows.dense(some)
        if joint:
            for term, chosen, b_x in zip(rows.terms, rows.chosen, solution.b_x, strict=True):
                if term is None or not chosen:
                    continue
                own = term.codes[some]
                known = np.flatnonzero(own >= 0)
                for j, column in enumerate(term.columns):
                    part = np.asarray(b_x)[own[known], j, :]
                    x[known] -= part if column is None else part * column[some][known, None]
        out[some] = np.einsum("ri,ij,rj->r", x, phi, x, optimize=True)
    return out


def prediction_df(m: FittedModel, rows: Rows, sources: frozenset[str], variance: Array) -> Array:
    """Satterthwaite's degrees of freedom of a prediction variance v(theta, sigma), shape (n,).

    2 v^2 over the sampling variance of v; its derivatives in theta are central differences, those in sigma
    exact. A parameter on the boundary of its range counts as known, as for fixed effects. The result is at
    least 2: a variance of random effects that is barely above zero would otherwise give next to none.

    Parameters
    ----------
    variance
        v over sigma^2, shape (n,).
    """
    covariance = np.asarray(approximation(m, "satterthwaite").covariance)  # type: ignore[attr-defined]
    slopes = np.zeros((rows.n, len(covariance)))
    slopes[:, -1] = 2.0 * variance / m.sigma

    def at(theta: Array) -> Array | None:
        try:
            return unscaled_variance(m, rows, sources, theta)
        except MixwellError:  # out of its range
            return None

    for i, step in enumerate(_STEP * np.sqrt(np.diag(covariance)[:-1])):
        if step > 0:
            move = np.zeros(m.theta.size)
            move[i] = step
            above, below = at(m.theta + move), at(m.theta - move)
            width = step * max((above is not None) + (below is not None), 1)
            change = (variance if above is None else above) - (variance if below is None else below)
            slopes[:, i] = change / width
    spread = np.einsum("rs,st,rt->r", slopes, covariance, slopes, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(spread > 0, 2.0 * variance**2 / spread, math.inf)
    return np.asarray(np.maximum(df, _FEWEST))


# --- levels ---------------------------------------------------------------------------------------------


def joint_variances(m: FittedModel, at: int) -> Array:
    """Variances (J, k) of b_hat - b of one term with beta estimated, over sigma^2."""
    solution = m.full_solution
    b_x = np.asarray(solution.b_x[at])
    known = np.einsum("jkk->jk", np.asarray(solution.condvar_unscaled[at]))
    return np.asarray(known + np.einsum("jkp,pq,jkq->jk", b_x, np.asarray(solution.vcov_unscaled), b_x))


@checked
def ranef_covariance(
    m: FittedModel, group: str | None = None, *, joint: bool = True, fixed: bool = False
) -> Array:
    """Return the covariance of the prediction errors of each level's random effects.

    Parameters
    ----------
    group
        The grouping factor, "Subject" or "batch:cask"; may be left out when there is only one.
    joint
        With the uncertainty of the fixed effects. Without it beta is taken as known, which is what lme4 calls
        condVar.
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

    Notes
    -----
    In units of sigma^2, b_hat - b has covariance K + B'Phi B, and -B'Phi with beta_hat - beta, where K and
    B' = K Z'W X are those of the level (Henderson 1975).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.ranef_covariance("Subject", joint=False)[0].round(2).tolist()
    [[145.71, -21.44], [-21.44, 5.31]]
    >>> m.ranef_covariance("Subject", fixed=True).shape
    (18, 4, 4)
    """
    if fixed and not joint:
        raise error("MW-P15")
    groups = tuple(dict.fromkeys(term.group for term in m.design.random))
    if group is None and len(groups) == 1:
        group = groups[0]
    if group not in groups:
        raise error("MW-A16", name="None" if group is None else group, available=groups or ("none",))
    mine = [t for t, term in enumerate(m.design.random) if term.group == group]
    out = _known_beta(m, mine)
    if joint:
        solution = m.full_solution
        phi = np.asarray(solution.vcov_unscaled)
        b_x = np.concatenate([np.asarray(solution.b_x[t]) for t in mine], axis=1)
        absorbed = b_x @ phi
        out = out + absorbed @ b_x.swapaxes(1, 2)
        if fixed:
            p, levels = len(phi), len(out)
            whole = np.empty((levels, p + out.shape[1], p + out.shape[1]))
            whole[:, :p, :p], whole[:, p:, p:] = phi, out
            whole[:, p:, :p] = -absorbed
            whole[:, :p, p:] = -absorbed.swapaxes(1, 2)
            out = whole
    return np.asarray(m.solution.sigma2 * out)


def _known_beta(m: FittedModel, mine: list[int]) -> Array:
    """K of each level over sigma^2, all terms of one grouping factor side by side, shape (J, k, k)."""
    blocks = [np.asarray(m.full_solution.condvar_unscaled[t]) for t in mine]
    if len(mine) == 1:
        return blocks[0]
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
    m: FittedModel, a: tuple[int, int], b: tuple[int, int], variances: tuple[Array, Array]
) -> Array:
    """Conditional covariance (J,) of two effects (term, column): scaled to one, var(a + b) = 2 + 2 cov."""
    first, second = (np.sqrt(np.maximum(variance, 0.0)) for variance in variances)
    both = first * second
    levels = both.size
    codes, columns = [], []
    for t, term in enumerate(m.design.random):
        own = np.full(levels, -1, dtype=np.int32)
        unit = [np.zeros(levels) for _ in term.names]
        for (wanted, column), sd in ((a, first), (b, second)):
            if t == wanted:
                own = np.arange(levels, dtype=np.int32)
                unit[column] = np.divide(1.0, sd, out=np.zeros(levels), where=both > 0)
        codes.append(own)
        columns.append(unit)
    total = np.asarray(m.problem.conditional_variance(m.theta, codes, columns))
    return np.where(both > 0, 0.5 * (total - 2.0) * both, 0.0)
