"""Auxiliary parameters on their way to a limit, where a simpler family says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixwell.errors import Note, note

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["limits"]

FAR = 6.0  # from zero, on the scale of the predictor
FLAT = 5.0  # standard error on that scale, everything else held

# Parameter, family (or "" for any), direction of its predictor: what is left at the limit.
_LEFT = {
    ("size", "nbinom2", 1): "no more variation than family='poisson' has",
    ("size", "truncated_nbinom2", 1): "no more variation than family='truncated_poisson' has",
    ("phi", "nbinom1", -1): "no more variation than family='poisson' has",
    ("phi", "truncated_nbinom1", -1): "no more variation than family='truncated_poisson' has",
    ("precision", "betabinomial", 1): "no more variation than family='binomial' has",
    ("df", "t", 1): "tails no heavier than those of family='gaussian'",
    ("zi", "", -1): "no zeros beyond those of the family: leave ziformula out",
}


def limits(m: GeneralizedModel) -> list[Note]:
    """Say which constant auxiliary parameters the data leave without a finite estimate."""
    first = len(m.hessian) - m.gamma.size
    out = []
    for i, (name, column) in enumerate(m.predictors.names):
        value, curvature = float(m.gamma[i]), float(m.hessian[first + i, first + i])
        alone = [part for part, _ in m.predictors.names].count(name) == 1
        flat = curvature < 2.0 / FLAT**2
        if not (alone and flat and abs(value) > FAR and column == "(Intercept)"):
            continue
        side = int(np.sign(value))
        left = _LEFT.get((name, m.family.name, side)) or _LEFT.get((name, "", side))
        if left is not None:
            to = {1: "infinity", -1: "zero"}[side]
            out.append(note("MW-W31", name=name, to=to, left=left))
    return out
