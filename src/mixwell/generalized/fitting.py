"""A design and a family in, a fitted model out: search, joint Hessian, quadrature if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import Note, note
from mixwell.generalized import quadrature
from mixwell.generalized.certificate import announce
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.predictors import kept_names, laplace_of, predictors_of
from mixwell.generalized.priors import Prior, penalized

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design
    from mixwell.families import Family
    from mixwell.options import Control

__all__ = ["fit_design"]

Array = NDArray[np.float64]


def fit_design(
    design: Design,
    family: Family,
    control: Control,
    arguments: Mapping[str, Any],
    *,
    nagq: int | str = 1,
    prior: Prior | None = None,
) -> GeneralizedModel:
    """Fit a generalised model whose table has been read.

    Parameters
    ----------
    design, family, control
        What to fit, and how long to search.
    arguments
        What the caller of `fit` gave, for `update`.
    nagq
        Nodes of quadrature, or "auto"; 0 for the fast stage alone.
    prior
        Penalty, if any.
    """
    predictors = predictors_of(design, family)
    model = laplace_of(design, family, predictors)
    kept = tuple(model.kept)
    if prior is not None:
        model = penalized(model, design, kept_names(design, family, kept), prior)
    weights = np.ones(design.n) if design.weights is None else design.weights
    start = family.start(design.y, weights)
    if nagq == 0:
        core, hessian = _fast(model, start, predictors.start, control.max_evaluations)
        nodes: int = 0
        remarks: tuple[Note, ...] = (note("MW-W30"),)
    else:
        fit = model.optimize(start, predictors.start, control.max_evaluations)
        core = model.describe(fit)
        hessian = model.hessian(fit, np.asarray(core["scale"]))
        nodes, remarks = quadrature.choose(model, core, design, nagq)
    if nodes > 1:
        core, hessian = quadrature.integrated(model, core, hessian, nodes)
    m = GeneralizedModel(
        design,
        family,
        control,
        predictors,
        core,
        hessian,
        {**arguments, "nagq": nagq, "prior": prior},
        kept,
        model.basis,
        nodes,
        remarks,
        prior,
        model,
    )
    return announce(m)


def _fast(model: Laplace, eta: Array, gamma: Array, max_evaluations: int) -> tuple[dict[str, Any], Array]:
    """Return what `describe` gives, and the Hessian, at the end of the fast stage."""
    found = model.fast(eta, gamma, max_evaluations)
    hessian = np.asarray(found["hessian"])
    scale = np.sqrt(2.0 / np.maximum(np.diag(hessian), 1e-12)).clip(max=1.0)
    core = model.describe(model.at(found["psi"], scale))
    return {**core, **{name: found[name] for name in ("gradient", "converged", "evaluations")}}, hessian
