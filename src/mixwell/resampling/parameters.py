"""What is kept of each refit: the numbers of a model, as rows of one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.values import NamedVector
from mixwell.inference.coordinates import Target, covariance_targets

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = ["Parameters", "covariance_values", "named", "singular_terms", "theta_sizes"]

Array = NDArray[np.float64]


class Parameters:
    """Fixed effects, standard deviations, correlations and sigma of a model: names, bounds, values.

    Parameters
    ----------
    m
        The model.
    fixed_only
        Leave out the covariance parameters.
    """

    def __init__(self, m: FittedModel, *, fixed_only: bool = False) -> None:
        self.terms = m.design.random
        self.targets: list[Target] = [] if fixed_only else covariance_targets(self.terms)
        self.names = (*m.fixef.names, *(target.name for target in self.targets))
        unbounded = [(-np.inf, np.inf)] * len(m.fixef)
        self.bounds: Array = np.array([*unbounded, *(target.bounds for target in self.targets)]).reshape(
            -1, 2
        )

    def of(self, beta: Array, theta: Array, sigma: Array) -> Array:
        """Values (m, parameters) of many fits: beta (m, p), theta (m, T), sigma (m,)."""
        if not self.targets:
            return beta
        return np.column_stack([beta, *covariance_values(self.terms, self.targets, theta, sigma)])


def covariance_values(
    terms: Sequence[RandomDesign], targets: Sequence[Target], theta: Array, sigma: Array
) -> list[Array]:
    """Values (m,) of each covariance parameter, of many fits: theta (m, T) and sigma (m,)."""
    factors, at = [], 0
    for term, size in zip(terms, theta_sizes(terms), strict=True):
        factors.append(_lambdas(term, theta[:, at : at + size]))
        at += size
    return [_column(target, factors, sigma) for target in targets]


def _column(target: Target, factors: Sequence[Array], sigma: Array) -> Array:
    if target.term < 0:
        return sigma
    rows = factors[target.term]  # (m, k, k)
    length = np.sqrt(np.sum(rows**2, axis=2))
    if target.kind == "sd":
        return np.asarray(sigma * length[:, target.effects[0] if target.effects else 0])
    i, j = target.effects or (0, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.sum(rows[:, i] * rows[:, j], axis=1) / (length[:, i] * length[:, j])
    return np.asarray(np.clip(cosine, -1.0, 1.0))


def singular_terms(terms: Sequence[RandomDesign], theta: Array, least: float) -> NDArray[np.bool_]:
    """Whether the factor of some term has a singular value of at most `least`, (m,), from theta (m, T)."""
    out, at = np.zeros(len(theta), bool), 0
    for term, size in zip(terms, theta_sizes(terms), strict=True):
        factors = _lambdas(term, np.nan_to_num(theta[:, at : at + size]))
        out |= np.asarray(np.linalg.svd(factors, compute_uv=False)[:, -1] <= least)
        at += size
    return out


def theta_sizes(terms: Sequence[RandomDesign]) -> list[int]:
    """Numbers of covariance parameters of the terms."""
    return [_size(term) for term in terms]


def _size(term: RandomDesign) -> int:
    k = len(term.names)
    if k == 1 or term.structure == "diag":
        return 1 if term.homogeneous else k
    return k * (k + 1) // 2 if term.structure == "us" else (1 if term.homogeneous else k) + 1


def _lambdas(term: RandomDesign, theta: Array) -> Array:
    """Relative factors (m, k, k) of one term: any matrix whose rows have the right lengths and angles."""
    k = len(term.names)
    out = np.zeros((len(theta), k, k))
    if term.structure == "us" and k > 1:
        columns, rows = np.triu_indices(k)
        out[:, rows, columns] = theta
        return out
    n_sd = 1 if term.homogeneous else k
    sd = np.broadcast_to(np.abs(theta[:, :n_sd]), (len(theta), k))
    out[:, np.arange(k), np.arange(k)] = sd
    if k > 1 and term.structure in ("cs", "ar1"):
        # All that is read of it is the correlation of the first two effects.
        rho = theta[:, n_sd]
        out[:, 1, 0] = sd[:, 1] * rho
        out[:, 1, 1] = sd[:, 1] * np.sqrt(np.maximum(1 - rho**2, 0.0))
    return out


def named(value: Any) -> tuple[tuple[str, ...], Array]:
    """Names and values of what a user's statistic returned."""
    if isinstance(value, NamedVector):
        return value.names, np.array(value.values)
    try:
        if isinstance(value, Mapping):
            return tuple(map(str, value)), np.array([float(each) for each in value.values()])
        values = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise error("MW-A55", reason=f"it returned {type(value).__name__}") from None
    if values.ndim > 1:
        raise error("MW-A55", reason=f"it returned an array of shape {values.shape}")
    if values.ndim == 0:
        return ("statistic",), values.reshape(1)
    return tuple(f"statistic {i + 1}" for i in range(values.size)), values
