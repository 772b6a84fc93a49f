"""Links: the linear predictor eta of a mean mu, the mean of an eta, and two derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["curvature_of", "link_of", "mean_of", "slope_of"]

Array = NDArray[np.float64]


def link_of(link: str, mu: Array) -> Array:
    """Eta of a mean."""
    from scipy.special import logit, ndtri  # noqa: PLC0415

    functions: dict[str, Callable[[Array], Array]] = {
        "identity": lambda m: m,
        "log": np.log,
        "inverse": lambda m: 1.0 / m,
        "sqrt": np.sqrt,
        "inverse_squared": lambda m: 1.0 / m**2,
        "logit": logit,
        "probit": ndtri,
        "cloglog": lambda m: np.log(-np.log1p(-m)),
        "loglog": lambda m: -np.log(-np.log(m)),
        # The cotangent keeps the digits of small means.
        "cauchit": lambda m: np.where(m < 0.25, -1.0 / np.tan(np.pi * m), np.tan(np.pi * (m - 0.5))),
    }
    return np.asarray(functions[link](mu), dtype=np.float64)


def mean_of(link: str, eta: Array) -> Array:
    """Mean of an eta."""
    from scipy.special import expit, ndtr  # noqa: PLC0415

    functions: dict[str, Callable[[Array], Array]] = {
        "identity": lambda e: e,
        "log": np.exp,
        "inverse": lambda e: 1.0 / e,
        "sqrt": np.square,
        "inverse_squared": lambda e: 1.0 / np.sqrt(e),
        "logit": expit,
        "probit": ndtr,
        "cloglog": lambda e: -np.expm1(-np.exp(e)),
        "loglog": lambda e: np.exp(-np.exp(-e)),
        "cauchit": lambda e: np.arctan2(1.0, -e) / np.pi,
    }
    return np.asarray(functions[link](np.asarray(eta, dtype=np.float64)))


def slope_of(link: str, eta: Array) -> Array:
    """Return dmu/deta."""
    mu = mean_of(link, eta)
    functions: dict[str, Callable[[], Array]] = {
        "identity": lambda: np.ones_like(mu),
        "log": lambda: mu,
        "inverse": lambda: -(mu**2),
        "sqrt": lambda: 2.0 * eta,
        "inverse_squared": lambda: -0.5 * mu**3,
        "logit": lambda: mu * mean_of("logit", -eta),
        "probit": lambda: np.exp(-0.5 * eta**2) / math.sqrt(2.0 * math.pi),
        "cloglog": lambda: np.exp(eta - np.exp(eta)),
        "loglog": lambda: np.exp(-eta - np.exp(-eta)),
        "cauchit": lambda: 1.0 / (np.pi * (1.0 + eta**2)),
    }
    return np.asarray(functions[link]())


def curvature_of(link: str, eta: Array) -> Array:
    """Return d2mu/deta2."""
    mu, slope = mean_of(link, eta), slope_of(link, eta)
    functions: dict[str, Callable[[], Array]] = {
        "identity": lambda: np.zeros_like(mu),
        "log": lambda: mu,
        "inverse": lambda: 2.0 * mu**3,
        "sqrt": lambda: np.full_like(mu, 2.0),
        "inverse_squared": lambda: 0.75 * mu**5,
        "logit": lambda: slope * (1.0 - 2.0 * mu),
        "probit": lambda: -eta * slope,
        "cloglog": lambda: slope * (1.0 - np.exp(eta)),
        "loglog": lambda: slope * np.expm1(-eta),
        "cauchit": lambda: -2.0 * np.pi * eta * slope**2,
    }
    return np.asarray(functions[link]())
