"""A design and a family in, a fitted model out: search, joint Hessian, quadrature if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.generalized import quadrature
from mixwell.generalized.certificate import announce
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.predictors import laplace_of, predictors_of

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.families import Family
    from mixwell.options import Control

__all__ = ["fit_design"]


def fit_design(
    design: Design, family: Family, control: Control, nagq: int | str, arguments: Mapping[str, Any]
) -> GeneralizedModel:
    """Fit a generalised model whose table has been read.

    Parameters
    ----------
    design, family, control
        What to fit, and how long to search.
    nagq
        Nodes of quadrature, or "auto".
    arguments
        What the caller of `fit` gave, for `update`.
    """
    predictors = predictors_of(design, family)
    model = laplace_of(design, family, predictors)
    weights = np.ones(design.n) if design.weights is None else design.weights
    fit = model.optimize(family.start(design.y, weights), predictors.start, control.max_evaluations)
    core = model.describe(fit)
    hessian = model.hessian(fit, np.asarray(core["scale"]))
    kept = tuple(model.kept)
    nodes, remarks = quadrature.choose(model, core, design, nagq)
    if nodes > 1:
        core, hessian = quadrature.integrated(model, core, hessian, nodes)
    arguments = {**arguments, "nagq": nagq}
    m = GeneralizedModel(
        design,
        family,
        control,
        predictors,
        core,
        hessian,
        arguments,
        kept,
        model.basis,
        nodes,
        remarks,
        model,
    )
    intercept = family.kind == "ordered" and any(column is None for column in design.columns)
    given = len(design.columns) - intercept
    return announce(m, tuple(j for j in range(given) if j not in kept))
