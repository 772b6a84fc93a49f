"""What each level of a grouping factor says on its own: the no-pooling end of a shrinkage plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.families import link_of, mean_of, slope_of

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.plots.effects import Effects

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Alone", "alone", "population"]

Array = NDArray[np.float64]

_ROUNDS = 100
_CLOSE = 1e-9  # relative change of the linear predictor that ends the iteration
_EDGE = 1e-9  # means this close to the end of their range are on their way there
_RANK = 1e-9  # relative size of a singular value that counts as zero
_FINITE, _INFINITE, _FEW = "estimated", "infinite", "not estimable"


class Alone(NamedTuple):
    """Estimates (J, k), and of each level how many rows it has and whether it has an estimate."""

    estimate: Array
    rows: NDArray[np.int64]
    status: list[str]


def population(m: Model, effects: Effects) -> Array:
    """Return fixed effects (k,) of the columns that vary between levels; zero where there is none."""
    fixef = m.fixef.to_dict()
    return np.array([fixef.get(name, 0.0) for name in effects.names])


def alone(m: Model, effects: Effects) -> Alone:
    """Estimate the coefficients of each level from its own rows, everything else as the model has it.

    The coefficients are those of the columns of the random effects; other columns of X, the offset and other
    grouping factors stay at the model's estimates. If all columns of X vary between the levels, and there is
    one grouping factor, this is a regression for each level. Least squares in linear models; otherwise
    maximum likelihood by iterated least squares, dispersions as the model has them.

    Returns
    -------
    Alone
        NaN without an estimate: "not estimable" with too few distinct rows, "infinite" where the estimate
        has no end, as with only successes; of a single column the estimate is then inf or -inf.

    Raises
    ------
    MixwellError
        MW-A127 for families whose coefficients are not a matter of mean and variance alone.

    Examples
    --------
    >>> import mixwell as mw
    >>> from mixwell.plots.effects import effects_of
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> alone(m, effects_of(m, None, "a plot")).estimate[0].round(3).tolist()  # a regression of Subject 308
    [244.193, 21.765]
    """
    family: Any = getattr(m, "family", None)
    if family is not None and not (family.is_exponential or (family.name == "nbinom2" and not family.zero)):
        raise error(
            "MW-A127",
            plot="shrinkage",
            reason=f"a level of {_named(family)} has no estimate of its own to compare with",
            advice="caterpillar shows the conditional modes.",
        )
    either: Any = m
    eta = m.fitted() if family is None else either.fitted(type="link")
    whole = effects.modes + population(m, effects)
    y, weights = m.design.y, m.design.weights
    order = np.argsort(effects.codes, kind="stable")
    counts = np.bincount(effects.codes, minlength=len(effects.levels))
    estimate = np.full(whole.shape, np.nan)
    status = []
    auxiliary = () if family is None else tuple(np.asarray(each) for each in either.auxiliary())
    for j, rows in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        z = effects.z(rows)
        w = np.ones(rows.size) if weights is None else weights[rows]
        if not _has_rank(z, w):
            status.append(_FEW)
            continue
        offset = eta[rows] - z @ whole[j]
        if family is None:
            estimate[j] = _least_squares(z, y[rows] - offset, w)
            status.append(_FINITE)
        else:
            own = tuple(np.broadcast_to(each, y.shape)[rows] for each in auxiliary)
            estimate[j], finite = _iterated(family, own, (z, y[rows], w, offset))
            status.append(_FINITE if finite else _INFINITE)
    return Alone(estimate, counts, status)


def _named(family: Any) -> str:
    return f"family '{family.name}'" + (" with extra zeros" if family.zero else "")


def _has_rank(z: Array, w: Array) -> bool:
    z = z[w > 0]
    if z.shape[0] < z.shape[1]:
        return False
    scale = np.sqrt((z**2).sum(axis=0))
    if (scale == 0).any():
        return False
    values = np.linalg.svd(z / scale, compute_uv=False)
    return bool(values[-1] > _RANK * values[0])


def _least_squares(z: Array, y: Array, w: Array) -> Array:
    root = np.sqrt(w)
    return np.asarray(np.linalg.lstsq(z * root[:, None], y * root, rcond=None)[0])


def _iterated(family: Any, auxiliary: Any, data: tuple[Array, Array, Array, Array]) -> tuple[Array, bool]:
    """Estimate by iterated least squares; say whether the estimate is finite."""
    z, y, w, offset = data
    eta = np.asarray(link_of(family.link, _inner(family, y, w)))
    b = np.full(z.shape[1], np.nan)
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            mu, slope = mean_of(family.link, eta), slope_of(family.link, eta)
            variance = family.variance(mu) if family.is_exponential else family.variance(mu, auxiliary)
            working = w * slope**2 / variance
            target = eta - offset + (y - mu) / slope
            if not (np.isfinite(working).all() and np.isfinite(target).all()):
                break
            b = _least_squares(z, target, working)
            last, eta = eta, z @ b + offset
            if np.max(np.abs(eta - last)) <= _CLOSE * (1.0 + np.max(np.abs(eta))):
                return b, True
            if _leaving(family, mean_of(family.link, eta)):
                break
    return (np.sign(b) * np.inf if b.size == 1 else np.full(b.size, np.nan)), False


def _inner(family: Any, y: Array, w: Array) -> Array:
    """Means to begin with, inside their range."""
    mean = float(np.average(y, weights=w))
    if family.kind == "binary":
        return (w * y + 0.5) / (w + 1.0)
    if family.kind == "real":
        return np.full(y.size, mean if family.link == "identity" else max(mean, 0.1))
    return np.maximum(0.5 * (y + mean), 0.1 * max(mean, 1.0))


def _leaving(family: Any, mu: Array) -> bool:
    if family.kind == "binary":
        return bool((mu < _EDGE).any() or (mu > 1.0 - _EDGE).any())
    return family.kind == "count" and bool((mu < _EDGE).any())
