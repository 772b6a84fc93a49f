"""A design and a family in, a fitted model out: search, joint Hessian, quadrature if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.generalized import quadrature
from mixwell.generalized.certificate import announce
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.predictors import kept_names, laplace_of, predictors_of
from mixwell.generalized.priors import Prior, penalized

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.families import Family
    from mixwell.options import Control

__all__ = ["fit_design"]


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
        Nodes of quadrature, or "auto".
    prior
        Penalty, if any.
    """
    predictors = predictors_of(design, family)
    model = laplace_of(design, family, predictors)
    kept = tuple(model.kept)
    if prior is not None:
        model = penalized(model, design, kept_names(design, family, kept), prior)
    weights = np.ones(design.n) if design.weights is None else design.weights
    fit = model.optimize(family.start(design.y, weights), predictors.start, control.max_evaluations)
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
    intercept = family.kind == "ordered" and any(column is None for column in design.columns)
    given = len(design.columns) - intercept
    return announce(m, tuple(j for j in range(given) if j not in kept))
