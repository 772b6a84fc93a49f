"""Likelihoods side by side, for models whose likelihoods can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["compare"]


def compare(*models: FittedModel) -> Any:
    """Compare models fitted to the same rows by the same criterion.

    Parameters
    ----------
    models
        Two or more fits. Fitted by REML they must have the same fixed effects in the same coding, because the
        restricted likelihood is that of contrasts of the data that depend on X.

    Returns
    -------
    table
        One row a model, by increasing number of parameters: formula, npar, loglik, aic, bic. With REML the
        restricted log-likelihood, also of models without random effects.

    Raises
    ------
    MixwellError
        MW-A04 REML fits with different fixed effects, MW-A13 with the same ones in another coding, MW-A10
        different rows, MW-A11 different responses, MW-A12 REML and ML mixed, MW-A14 fewer than two models,
        MW-A18 something that is no fit.

    Examples
    --------
    >>> import mixwell as mw
    >>> sleep = mw.data.load("sleepstudy", "dict")
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> table = mw.compare(m, m.update("~ . - (Days | Subject) + (1 | Subject)"))
    >>> table["npar"].tolist(), table["aic"].round(2).tolist()
    ([4, 6], [1794.47, 1755.63])
    """
    for each in models:
        if not hasattr(each, "design"):
            raise error("MW-A18", kind=type(each).__name__)
    if len(models) < 2:
        raise error("MW-A14", given=len(models))
    first = models[0]
    restricted = any(m.is_mixed and m.is_reml for m in models)
    for other in models[1:]:
        _same_data(first, other)
        if restricted and first.method != other.method:
            raise error("MW-A12", models=[f"{m.formula.text} ({m.method})" for m in (first, other)])
        if restricted:
            _same_fixed(first, other)
    ranked = sorted(models, key=lambda m: m.npar)
    loglik = np.array([-0.5 * m.reml_criterion if restricted else m.loglik for m in ranked])
    npar = np.array([m.npar for m in ranked])
    columns = {
        "formula": [m.formula.text for m in ranked],
        "npar": npar,
        "loglik": loglik,
        "aic": 2 * npar - 2 * loglik,
        "bic": np.log(first.nobs) * npar - 2 * loglik,
    }
    return first.design.frame.native_like(columns)


def _same_data(first: FittedModel, other: FittedModel) -> None:
    texts = [f"{m.formula.text} ({m.nobs} rows)" for m in (first, other)]
    rows = [
        np.ones(m.design.n_rows, bool) if m.design.rows is None else m.design.rows for m in (first, other)
    ]
    if not np.array_equal(rows[0], rows[1]):
        raise error("MW-A10", models=texts)
    weights = [np.ones(m.nobs) if m.design.weights is None else m.design.weights for m in (first, other)]
    if not np.array_equal(first.design.y, other.design.y) or not np.array_equal(weights[0], weights[1]):
        raise error("MW-A11", models=texts)


def _same_fixed(first: FittedModel, other: FittedModel) -> None:
    """Refuse REML fits unless X is the same matrix, up to the order of its columns."""
    mine, theirs = (dict(zip(m.fixef.names, m.fixed_columns, strict=True)) for m in (first, other))
    same = mine.keys() == theirs.keys() and all(_equal(mine[name], theirs[name]) for name in mine)
    if same:
        return
    texts = [m.formula.text for m in (first, other)]
    one, two = first.model_matrix(), other.model_matrix()
    if one.shape == two.shape and _same_span(one, two):
        raise error("MW-A13", models=texts)
    raise error("MW-A04", models=texts)


def _equal(one: Any, two: Any) -> bool:
    return one is two or (one is not None and two is not None and np.array_equal(one, two))


def _same_span(one: Any, two: Any) -> bool:
    """Whether two full-rank matrices (n, p) have the same column space."""
    scaled = two / np.linalg.norm(two, axis=0)
    basis, _ = np.linalg.qr(one)
    return bool(np.linalg.norm(scaled - basis @ (basis.T @ scaled)) < 1e-7 * scaled.shape[1] ** 0.5)
