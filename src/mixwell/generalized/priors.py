"""Weakly informative priors as penalties: estimates stay finite where the data alone leave them infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design

__all__ = ["Prior", "penalized"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prior:
    """Normal priors on coefficients and inverse-Wishart ones on covariances, for `glm` and `glmer`.

    Estimates maximise log-likelihood plus log prior (the log-likelihood of the fit is reported without it).
    Use it where data are separated, or where all responses of many groups are the same.

    Parameters
    ----------
    fixef
        Standard deviation of the prior of every coefficient but the intercept: of the effect of one standard
        deviation of a numeric column, of the difference between the values of a column with two values. Or
        standard deviations by name of the coefficient, in its own units, for some of them. None for none.
    intercept
        Standard deviation of the prior of the intercept, None for none.
    sd
        Standard deviation of random effects at which the prior of each covariance has its mode (independent
        effects), on the scale of the link; or by grouping factor. None for no prior of the covariances.
    df
        Degrees of freedom of the inverse-Wishart prior, k + 1 for k effects a level if None.

    Raises
    ------
    MixwellError
        MW-A82 for a standard deviation or df that is not a positive number.

    Notes
    -----
    Normal priors of 2.5 after scaling: Gelman, Jakulin, Pittau & Su (2008), with a normal distribution in
    place of a Cauchy. -2 log prior of a covariance is (df + k + 1) log|Sigma| + tr(S Sigma^-1), with
    S = (df + k + 1) sd^2 I; it keeps Sigma away from zero as well as from infinity (Chung et al. 2015).

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    >>> m = mw.glm("y ~ x", table, family="binomial", prior=mw.Prior())
    >>> round(m.fixef["x"], 3), round(m.se["x"], 3)
    (1.415, 0.832)
    """

    fixef: float | Mapping[str, float] | None = 2.5
    intercept: float | None = None
    sd: float | Mapping[str, float] | None = None
    df: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is not a positive number."""
        for name in ("fixef", "intercept", "sd", "df"):
            given = getattr(self, name)
            values = given.values() if isinstance(given, Mapping) else [given]
            if not all(value is None or _positive(value) for value in values):
                raise error("MW-A82", what=name, given=given)

    def __str__(self) -> str:
        """Say it in a line."""
        parts = [f"{name} = {getattr(self, name)}" for name in ("fixef", "intercept", "sd", "df")]
        return ", ".join(part for part in parts if not part.endswith("None"))


def penalized(laplace: Laplace, design: Design, names: tuple[str, ...], prior: Prior) -> Laplace:
    """Add the penalty of a prior to the core's model.

    Parameters
    ----------
    laplace, design
        The model.
    names
        Of the estimable coefficients.
    prior
        What to add.

    Raises
    ------
    MixwellError
        MW-A83 for a coefficient or grouping factor that the model does not have.
    """
    precision = np.zeros(len(names))
    by_name = prior.fixef if isinstance(prior.fixef, Mapping) else {}
    _known("coefficient", by_name, names)
    for i, name in enumerate(names):
        column = design.columns[design.names.index(name)]
        if name in by_name:
            sd: float | None = by_name[name]
        elif column is None:
            sd = prior.intercept
        elif isinstance(prior.fixef, Mapping) or prior.fixef is None:
            sd = None
        else:
            sd = prior.fixef / _scale(column)
        precision[i] = 0.0 if sd is None else sd**-2
    groups = [term.group for term in design.random]
    if isinstance(prior.sd, Mapping):
        _known("grouping factor", prior.sd, groups)
    covariance: list[tuple[float, Array] | None] = []
    for term in design.random:
        sd = prior.sd.get(term.group) if isinstance(prior.sd, Mapping) else prior.sd
        k = len(term.names)
        power = (k + 1 if prior.df is None else prior.df) + k + 1
        covariance.append(None if sd is None else (float(power), power * sd**2 * np.eye(k)))
    return laplace.penalized(precision, covariance)


def _scale(column: Array) -> float:
    low, high = float(column.min()), float(column.max())
    two = bool(np.all((column == low) | (column == high)))
    return high - low if two else float(column.std(ddof=1))


def _positive(value: Any) -> bool:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
    return number and math.isfinite(float(value)) and float(value) > 0


def _known(what: str, given: Mapping[str, float], names: Any) -> None:
    for name in given:
        if name not in names:
            raise error("MW-A83", what=what, given=name, available=tuple(names))
