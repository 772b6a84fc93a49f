"""A design and a family in, a fitted model out: search, joint Hessian, quadrature if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, Note, error, note
from mixwell.generalized import quadrature
from mixwell.generalized.certificate import announce
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.predictors import Predictors, kept_names, laplace_of, predictors_of
from mixwell.generalized.priors import Prior, penalized
from mixwell.generalized.restart import off_saddle, restarted

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design
    from mixwell.families import Family
    from mixwell.options import Control

__all__ = ["fit_design"]

Array = NDArray[np.float64]

LIMITED = ("identity", "log", "inverse", "inverse_squared", "sqrt")  # links that reach means out of range


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

    Raises
    ------
    MixwellError
        MW-A89 where the link reaches means that the family cannot have, and the search ends there.
    """
    predictors = predictors_of(design, family)
    model = laplace_of(design, family, predictors)
    kept = tuple(model.kept)
    if prior is not None:
        model = penalized(model, design, kept_names(design, family, kept), prior)
    try:
        found = _searched(model, predictors, design, family, (control.max_evaluations, nagq))
    except MixwellError as refusal:
        if refusal.code == "MW-N02" and family.link in LIMITED and family.kind != "real":
            raise error("MW-A89", family=family.name, link=family.link) from None
        raise
    return announce(
        GeneralizedModel(
            design,
            family,
            control,
            predictors,
            found.core,
            found.hessian,
            {**arguments, "nagq": nagq, "prior": prior},
            kept,
            model.basis,
            found.nodes,
            found.remarks,
            prior,
            model,
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The end of a search: what `describe` gives, the Hessian of -2 loglik, nodes used, and remarks."""

    core: dict[str, Any]
    hessian: Array
    nodes: int = 1
    remarks: tuple[Note, ...] = ()


def _searched(
    model: Laplace, predictors: Predictors, design: Design, family: Family, limits: tuple[int, int | str]
) -> _Found:
    """Search with at most so many evaluations and so many nodes."""
    max_evaluations, nagq = limits
    start = family.start(design.y, np.ones(design.n) if design.weights is None else design.weights)
    if nagq == 0:
        return _fast(model, start, predictors.start, max_evaluations)
    core, hessian = _best(model, design, start, predictors.start, max_evaluations)
    nodes, remarks = quadrature.choose(model, core, design, nagq)
    if nodes > 1:
        core, hessian = quadrature.integrated(model, core, hessian, nodes)
    return _Found(core, hessian, nodes, remarks)


def _best(
    model: Laplace, design: Design, eta: Array, gamma: Array, max_evaluations: int
) -> tuple[dict[str, Any], Array]:
    """Search; where that gets nowhere, once more from a constant."""
    first: tuple[dict[str, Any], Array] | None = None
    failure: MixwellError | None = None
    try:
        fit = model.optimize(eta, gamma, max_evaluations)
        core = model.describe(fit)
        first = core, model.hessian(fit, np.asarray(core["scale"]))
    except MixwellError as refusal:
        failure = refusal
    if first is not None and first[0]["converged"]:
        return off_saddle(model, design, *first, max_evaluations)
    second = restarted(model, design, eta, gamma, max_evaluations)
    if second is not None and (first is None or _lost(first[0], second[0])):
        return second
    if first is None:
        assert failure is not None
        raise failure
    return first


def _lost(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether a search that did not converge is worse than one that did, or was far from any optimum."""
    steep = np.abs(np.asarray(first["gradient"]) * np.asarray(first["scale"])).max(initial=0.0) > 1.0
    return bool(steep) or second["criterion"] < first["criterion"] + 1e-6


def _fast(model: Laplace, eta: Array, gamma: Array, max_evaluations: int) -> _Found:
    """Run the fast stage alone."""
    found = model.fast(eta, gamma, max_evaluations)
    hessian = np.asarray(found["hessian"])
    scale = np.sqrt(2.0 / np.maximum(np.diag(hessian), 1e-12)).clip(max=1.0)
    core = model.describe(model.at(found["psi"], scale))
    own = {name: found[name] for name in ("gradient", "converged", "evaluations")}
    return _Found({**core, **own}, hessian, 0, (note("MW-W30"),))
