"""Coefficients without a finite estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["separated"]

Array = NDArray[np.float64]

SEPARATED = 15.0  # linear predictors of probabilities beyond this, with standard errors
UNKNOWN = 20.0  # beyond that, are coefficients without a finite estimate


def separated(m: GeneralizedModel) -> list[str]:
    """Coefficients that run off to infinity because they predict some responses perfectly."""
    if m.family.kind != "binary" or not len(m.fixef):
        return []
    extreme = np.abs(np.asarray(m.core["eta"])) > SEPARATED
    if not extreme.any():
        return []
    return [f"'{name}'" for name, se in m.se.items() if se > UNKNOWN]
