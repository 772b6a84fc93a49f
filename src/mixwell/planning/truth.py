"""A model with assumed parameters: what is simulated from, and whose covariance is known without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design import build_design
from mixwell.errors import error
from mixwell.formula import Formula, parse
from mixwell.inference.second_order import inverse_information, second_order
from mixwell.inference.wald import pooled_df
from mixwell.options import Control, Method, choice
from mixwell.planning.plan import Plan
from mixwell.resampling.engine import problem_of

if TYPE_CHECKING:
    from mixwell.design import Design, RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = ["assume", "assume_fit", "covariance_at_truth", "degrees_at_truth"]

Array = NDArray[np.float64]
Sds = Mapping[str, float | Mapping[str, float]]
Correlations = Mapping[str, Any]


def assume(
    formula: str | Formula,
    design: Any,
    effects: Mapping[str, float],
    sd: Sds,
    *,
    sigma: float,
    cor: Correlations | None,
    method: Method,
    contrasts: Any,
    complete: bool = True,
) -> FittedModel:
    """Return a fitted model whose parameters are the assumed ones.

    Unless effects must be `complete`, those that are not given are zero.

    Raises
    ------
    MixwellError
        MW-A67 for names that the model does not have, MW-A70 for names that are missing, MW-A71 for values
        that cannot be: negative sds, correlations that contradict each other or the covariance structure.
    """
    choice("method", method, get_args(Method))
    named = {"effects": effects, "sd": sd, "cor": {} if cor is None else cor}
    for what, given in named.items():
        if not isinstance(given, Mapping):
            raise error("MW-A07", option=what, expected="a dict of numbers by name", given=given)
    table = design.table() if isinstance(design, Plan) else design
    parsed = formula if isinstance(formula, Formula) else parse(formula, ())
    built = build_design(parsed, _with_response(parsed, table), contrasts=contrasts)
    kept = tuple(problem_of(built).kept)
    names = [built.names[j] for j in kept]
    beta = _beta(names, effects, complete=complete)
    scale = _positive("sigma", sigma)
    _check_groups(built, sd, cor or {})
    covariances = [_covariance(term, sd, cor or {}) for term in built.random]
    theta = np.concatenate(
        [np.empty(0), *(_theta(t, c / scale**2) for t, c in zip(built.random, covariances, strict=True))]
    )
    return _true(built, method, theta, beta, scale)


def assume_fit(m: FittedModel, effects: Mapping[str, float], extend: Mapping[str, int]) -> FittedModel:
    """Return the model of a fit with some effects changed and some grouping factors extended.

    New levels copy the rows of the fitted ones in turn, as if the same kind of units had been sampled again.

    Raises
    ------
    MixwellError
        MW-A67 for unknown names, MW-A68 for a number of levels that is none.
    """
    from mixwell.resampling.clusters import find_clusters, select, selected_design  # noqa: PLC0415

    for what, given in {"effects": effects, "extend": extend}.items():
        if not isinstance(given, Mapping):
            raise error("MW-A07", option=what, expected="a dict of numbers by name", given=given)
    design = m.design
    for group, size in extend.items():
        groups = tuple(dict.fromkeys(term.group for term in design.random)) or ("none",)
        if group not in groups:
            raise error("MW-A67", name=group, what="grouping factor", available=groups)
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 2:
            raise error("MW-A68", name=f"'{group}'", given=repr(size))
        model = replace(m, design=design, handle=None)
        clusters = find_clusters(model, group, "case")
        chosen = np.arange(int(size)) % clusters.count
        design = selected_design(design, select(model, clusters, chosen))
    names = list(m.fixef.names)
    for name in effects:
        if name not in names:
            raise error("MW-A67", name=name, what="coefficient", available=tuple(names))
    changed = [effects.get(name, value) for name, value in m.fixef.items()]
    beta = np.array([_number(f"effects[{name!r}]", v) for name, v in zip(names, changed, strict=True)])
    return _true(design, m.method, np.array(m.theta), beta, m.sigma)


def _true(design: Design, method: Method, theta: Array, beta: Array, sigma: float) -> FittedModel:
    """Return a model that stands at these parameters, whatever response its design has."""
    from mixwell.fitted.result import FittedModel  # noqa: PLC0415  (which has power() in its index)

    problem = problem_of(design)
    optimum = SimpleNamespace(theta=theta, criterion=np.nan, promised=0.0, evaluations=0, converged=True)
    m = FittedModel(design, method, Control(), optimum, {}, problem)  # type: ignore[arg-type]
    solved = problem.solve(theta, method == "REML", False)
    m.__dict__["solution"] = SimpleNamespace(
        beta=beta,
        sigma2=sigma**2,
        lambdas=solved.lambdas,
        vcov_unscaled=solved.vcov_unscaled,
        schur=solved.schur,
    )
    m.__dict__["boundary"] = ()
    return m


def covariance_at_truth(m: FittedModel) -> Array:
    """Covariance of the fixed effects (p, p) at the assumed parameters; it does not depend on a response."""
    return np.asarray(m.solution.sigma2 * np.asarray(m.solution.vcov_unscaled))


def degrees_at_truth(m: FittedModel, rows: Array) -> float:
    """Satterthwaite's degrees of freedom of independent rows (q, p), from the expected information."""
    if not m.is_mixed:
        return float(m.nobs - len(m.kept))
    directions, _ = m.problem.directions(m.theta)
    s = second_order(m, directions)
    sigma, count = m.sigma, len(directions)
    information = np.zeros((count + 1, count + 1))
    information[:-1, :-1] = s.trace
    information[-1, :-1] = information[:-1, -1] = 2.0 * s.first / sigma
    information[-1, -1] = 4.0 * (m.nobs - len(m.kept) if m.is_reml else m.nobs) / sigma**2
    covariance = 2.0 * inverse_information(information)
    gradient = np.concatenate([sigma**2 * (s.phi @ s.xvx @ s.phi), 2.0 * sigma * s.phi[None]])
    working = rows @ s.basis
    variance = np.einsum("rp,pq,rq->r", working, sigma**2 * s.phi, working)
    slopes = np.einsum("rp,tpq,rq->rt", working, gradient, working)
    spread = np.einsum("rs,st,rt->r", slopes, covariance, slopes)
    return pooled_df(2.0 * variance**2 / spread)


def _with_response(formula: Formula, table: Any) -> Any:
    """Put a response into a table that has none yet; any numbers will do."""
    from mixwell.design.frame import Frame  # noqa: PLC0415
    from mixwell.formula import variables  # noqa: PLC0415

    names = () if formula.response is None else variables(formula.response)
    frame = Frame.from_data(table, ())
    missing = [name for name in names if name not in frame.names]
    if not missing:
        return table
    noise = np.random.default_rng(0).uniform(1.0, 2.0, frame.n_rows)
    full = Frame.from_data(table, frame.names)
    return full.with_columns(dict.fromkeys(missing, noise))


def _beta(names: Sequence[str], effects: Mapping[str, float], *, complete: bool) -> Array:
    for name in effects:
        if name not in names:
            raise error("MW-A67", name=name, what="coefficient", available=tuple(names))
    missing = [name for name in names if name not in effects and name != "(Intercept)"]
    if missing and complete:
        raise error("MW-A70", what="effects", missing=missing, example=f"{missing[0]!r}: 0.0")
    return np.array([_number(f"effects[{name!r}]", effects.get(name, 0.0)) for name in names])


def _covariance(term: RandomDesign, sd: Sds, cor: Correlations) -> Array:
    """Covariance (k, k) of a term's effects from what was given for its grouping factor."""
    k, group = len(term.names), term.group
    given = sd.get(group)
    if given is None:
        raise error("MW-A70", what="sd", missing=[group], example=f"{group!r}: 0.5")
    if not isinstance(given, Mapping):
        if k > 1 and not term.homogeneous:
            raise error(
                "MW-A70", what=f"sd[{group!r}]", missing=list(term.names), example=_example(term.names)
            )
        given = dict.fromkeys(term.names, given)
    missing = [name for name in term.names if name not in given]
    if missing:
        raise error("MW-A70", what=f"sd[{group!r}]", missing=missing, example=_example(missing))
    sds = np.array([_positive(f"sd[{group!r}]", given[name], zero=True) for name in term.names])
    if term.homogeneous and np.ptp(sds) > 0:
        raise error(
            "MW-A71", what=f"sd[{group!r}]", reason=f"{term.text} has one variance for all its effects"
        )
    return np.asarray(_correlation(term, cor) * np.outer(sds, sds))


def _correlation(term: RandomDesign, cor: Correlations) -> Array:
    """Correlation (k, k) of a term's effects: zero unless given."""
    k, what = len(term.names), f"cor[{term.group!r}]"
    if term.group not in cor or not _is_correlated(term):
        return np.eye(k)
    try:
        matrix = np.asarray(cor[term.group], dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.full((), np.nan)
    if not np.isfinite(matrix).all():
        raise error("MW-A71", what=what, reason=f"it must hold finite numbers, got {cor[term.group]!r}")
    if matrix.ndim == 0:
        correlation = _patterned(term, float(matrix))
    elif matrix.shape == (k, k) and np.allclose(matrix, matrix.T) and np.allclose(np.diag(matrix), 1.0):
        correlation = matrix
        if term.structure != "us" and not np.allclose(matrix, _patterned(term, float(matrix[1, 0]))):
            raise error("MW-A71", what=what, reason=f"{term.text} does not have such correlations")
    else:
        raise error("MW-A71", what=what, reason=f"it is no correlation matrix of {k} effects")
    if np.linalg.eigvalsh(correlation)[0] < -1e-9:
        raise error("MW-A71", what=what, reason="no covariance has these correlations")
    return correlation


def _is_correlated(term: RandomDesign) -> bool:
    return len(term.names) > 1 and term.structure != "diag"


def _patterned(term: RandomDesign, rho: float) -> Array:
    """Correlations (k, k) that all are rho, or its powers for an ar1."""
    at = np.arange(len(term.names))
    distance = np.abs(np.subtract.outer(at, at))
    with np.errstate(over="ignore"):
        return np.asarray(np.where(distance == 0, 1.0, rho**distance if term.structure == "ar1" else rho))


def _example(names: Sequence[str]) -> str:
    return ", ".join(f"{name!r}: 0.5" for name in names)


def _check_groups(design: Design, sd: Sds, cor: Correlations) -> None:
    """Refuse what is given for factors, or effects, that the formula does not have."""
    groups = tuple(dict.fromkeys(term.group for term in design.random)) or ("none",)
    for given in (*sd, *cor):
        if given not in groups:
            raise error("MW-A67", name=given, what="grouping factor", available=groups)
    for group in cor:
        if not any(_is_correlated(term) for term in design.random if term.group == group):
            texts = " + ".join(term.text for term in design.random if term.group == group)
            raise error("MW-A71", what=f"cor[{group!r}]", reason=f"{texts} has no correlations")
    for group, values in sd.items():
        names = [name for term in design.random if term.group == group for name in term.names]
        for name in values if isinstance(values, Mapping) else ():
            if name not in names:
                raise error("MW-A67", name=name, what=f"random effect of {group}", available=names)


def _theta(term: RandomDesign, relative: Array) -> Array:
    """Theta of a relative covariance; singular ones by way of their eigenvectors."""
    k = len(term.names)
    structure = "diag" if k == 1 else term.structure
    sds = np.sqrt(np.diag(relative))
    if structure == "us":
        values, vectors = np.linalg.eigh(relative)
        upper = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T).R
        lower = (upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]).T
        return np.concatenate([lower[j:, j] for j in range(k)])
    out = sds[:1] if term.homogeneous else sds
    if structure == "diag":
        return out
    both = sds[0] * sds[1]
    return np.append(out, relative[0, 1] / both if both > 0 else 0.0)


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise error("MW-A71", what=what, reason=f"it must be a finite number, got {value!r}")
    return float(value)


def _positive(what: str, value: Any, *, zero: bool = False) -> float:
    number = _number(what, value)
    if number < 0 or (number == 0 and not zero):
        raise error("MW-A71", what=what, reason=f"it must be {'at least zero' if zero else 'positive'}")
    return number
