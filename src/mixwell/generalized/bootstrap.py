"""The bootstrap of generalised models: responses drawn from the fit, or whole clusters drawn again."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, MixwellWarning, error
from mixwell.families import mean_of
from mixwell.fitted.values import NamedVector
from mixwell.generalized import quadrature
from mixwell.generalized.constrained import require_optimum
from mixwell.generalized.coordinates import Reported, weak_directions
from mixwell.generalized.predictors import kept_names, laplace_of, predictors_of
from mixwell.generalized.priors import penalized
from mixwell.options import checked, choice
from mixwell.resampling.bootstrap import Bootstrap, said_of_clusters, said_of_shared
from mixwell.resampling.clusters import find_clusters, selected_design
from mixwell.resampling.engine import Pace, count_of, drawn, drawn_clusters, without_each
from mixwell.resampling.parameters import named, singular_terms
from mixwell.resampling.progress import Progress
from mixwell.resampling.progress import progress as show_progress
from mixwell.resampling.simulate import seed_of

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Refits", "bootstrap", "draws", "refit_responses"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Kind = Literal["parametric", "case"]
Statistic = Callable[["GeneralizedModel"], Any]

_AWAY = (
    0.1  # standard deviations, of standardised columns, below which a search would start too close to zero
)
_START = 0.3  # and where it starts then
_SINGULAR = 1e-4  # standard deviation, of standardised columns, that is as good as none


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Results of refits, one row each.

    Attributes
    ----------
    psi
        (theta of standardised columns, beta~, gamma), NaN where there is no fit, shape (m, parameters).
    natural
        (theta, beta, gamma) in the user's columns.
    criterion
        -2 log-likelihood with the penalty of a prior, shape (m,).
    converged
        Whether nothing was left to gain, shape (m,).
    """

    psi: Array
    natural: Array
    criterion: Array
    converged: Bools


@checked
def bootstrap(
    m: GeneralizedModel,
    n: int = 1000,
    *,
    kind: Kind = "parametric",
    seed: int | None = None,
    statistic: Statistic | None = None,
    group: str | None = None,
    progress: bool = True,
) -> Bootstrap:
    """Bootstrap any quantity of the fit.

    Responses that are drawn from the fit are refitted in native threads, each search starting at the
    parameters of the fit. That is not so with a statistic, quadrature, an ordinal response or clusters drawn
    again: there each replicate is a fit of its own. Replicates depend on the seed and on nothing else.

    Parameters
    ----------
    n
        Replicates.
    kind
        "parametric": new random effects, and responses given them, with the trials, offsets and weights of
        the data. "case": whole clusters drawn with replacement, each copy with random effects of its own.
    seed
        A whole number; drawn if None, and reported.
    statistic
        A function of a fit that returns a number, several, a dict or a `NamedVector`; by default all
        parameters, with the names of `confint`.
    group
        Clusters for "case": a grouping factor of the formula, or any column. By default the factor in which
        all others are nested (every row, without random effects).
    progress
        Show progress on a terminal after a second.

    Returns
    -------
    Bootstrap
        `.confint()`, `.se`, `.bias`, `.replicates`. A replicate without a fit (a category of an ordinal
        response that was not drawn, a column that has become a combination of others) is left out, and
        counted in `.failed`.

    Raises
    ------
    MixwellError
        MW-A02 for another kind, MW-A07 for a bad n or seed, MW-A31 for a fit with nagq=0, MW-A53 for "case"
        when factors are crossed and no group is given, MW-A54 for a group that is no column, MW-A55 for a
        statistic that returns something else, MW-A56 when no replicate could be fitted, MW-A57 for a group
        with "parametric", MW-A91 for quasi-families, from which nothing can be drawn, MW-A107 for "residual"
        and "wild".

    Examples
    --------
    >>> import mixwell as mw
    >>> cbpp = mw.data.load("cbpp", "dict")
    >>> m = mw.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, family="binomial")
    >>> b = m.bootstrap(200, seed=1)
    >>> b.names[3:]
    ('period4', 'sd_(Intercept)|herd')
    >>> bool(abs(b.se["period2"] / m.se["period2"] - 1) < 0.2)
    True
    """
    choice("kind", kind, ("parametric", "case", "residual", "wild"))
    if kind in ("residual", "wild"):
        raise error("MW-A107", kind=kind, family=m.family.name)
    require_optimum(m)
    n, seed = count_of(n), seed_of(seed)
    if group is not None and kind == "parametric":
        raise error("MW-A57", kind=kind, group=group)
    of = Reported.of(m)
    if statistic is None:
        names, bounds, estimate = of.names, of.bounds, of.estimates(m)
    else:
        names, estimate = named(statistic(m))
        bounds = np.tile([-np.inf, np.inf], (len(names), 1))
    clusters = find_clusters(m, group, kind) if kind == "case" else None  # type: ignore[arg-type]
    with show_progress(f"{kind} bootstrap", n, wanted=progress) as line:
        if clusters is not None:
            chosen = drawn_clusters(m, clusters, n, seed)  # type: ignore[arg-type]
            designs = (selected_design(m.design, each) for each in chosen)
            found = _each_design(m, designs, line, statistic)
            method = said_of_clusters(clusters) + said_of_shared(clusters)
        else:
            responses = drawn(partial(draws, m), n, seed, m.nobs)
            found = (
                _each_design(m, _designs(m, responses), line, statistic)
                if statistic is not None
                else (refit_responses(m, responses, line), None)
            )
            method = f"{'Random effects and responses' if m.is_mixed else 'Responses'} drawn from the fit."
    refits, values = found
    failed: Bools = np.asarray(~np.isfinite(refits.psi).all(axis=1))
    if failed.all():
        raise error("MW-A56", n=n, kind=kind)
    values = _values(of, refits) if values is None else values
    return Bootstrap(
        kind,
        seed,
        method,
        NamedVector(names, estimate),
        values,
        failed,
        singular_terms(m.design.random, refits.psi[:, : m.theta.size], _SINGULAR) & ~failed,
        ~refits.converged & ~failed,
        bounds,
        m,
        partial(_jackknife, m, group, statistic),
    )


def draws(m: GeneralizedModel, rng: np.random.Generator, count: int) -> Array:
    """Draw responses (count, n) with new random effects."""
    eta = np.tile(m.predict(type="link", re="population"), (count, 1))
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        b = rng.standard_normal((count, len(term.levels), len(factor))) @ factor.T
        for j, column in enumerate(term.columns):
            part = np.take(np.ascontiguousarray(b[:, :, j]), term.codes, axis=1)
            eta += part if column is None else part * column
    flat = eta.ravel()
    if m.family.kind == "ordered":
        return m.family.draw(rng, flat, m.thresholds.values).reshape(eta.shape)
    auxiliary = tuple(np.tile(each, count) for each in m.auxiliary())
    mu = mean_of(m.family.link, flat)
    return m.family.draw(rng, mu, auxiliary, np.tile(m.weights, count)).reshape(eta.shape)


def refit_responses(m: GeneralizedModel, responses: Iterator[Array], line: Progress) -> Refits:
    """Refit a model to blocks of responses (count, n)."""
    if m.nagq > 1 or m.family.kind == "ordered":  # thresholds are columns that depend on the response
        return _each_design(m, _designs(m, responses), line, None)[0]
    psi, hessian = _beginning(m)
    pace, found = Pace(), []
    for block in responses:
        at = 0
        while at < len(block):
            part = np.ascontiguousarray(block[at : at + pace.step])
            begun = time.perf_counter()
            found.append(m.laplace.refit(part, psi, hessian, m.control.max_evaluations))
            pace.took(len(part), time.perf_counter() - begun)
            line.advance(len(part))
            at += len(part)
    psi = np.concatenate([each["psi"] for each in found])
    natural = np.asarray(m.laplace.natural(np.nan_to_num(psi)))
    natural[np.isnan(psi).any(axis=1)] = np.nan
    criterion, converged = (
        np.concatenate([each[key] for each in found]) for key in ("criterion", "converged")
    )
    return Refits(psi, natural, criterion, converged)


def _beginning(m: GeneralizedModel) -> tuple[Array, Array]:
    """Return where searches begin, and the Hessian there: not at a variance of zero, which has no slope."""
    psi, hessian = np.array(m.core["psi"]), np.asarray(m.hessian)
    low = [at for at, _ in weak_directions(m.design.random, hessian) if abs(psi[at]) < _AWAY]
    psi[low] = _START
    if not low:
        return psi, hessian
    scale = np.asarray(m.core["scale"])
    fit = m.laplace.at(psi, scale)
    return psi, np.asarray(m.laplace.hessian(fit, scale))


def _designs(m: GeneralizedModel, responses: Iterator[Array]) -> Iterator[Design]:
    return (replace(m.design, y=np.ascontiguousarray(y)) for block in responses for y in block)


def _each_design(
    m: GeneralizedModel, designs: Iterator[Design], line: Progress, statistic: Statistic | None
) -> tuple[Refits, Array | None]:
    """Fit designs one by one."""
    count = np.array(m.core["psi"]).size
    rows: list[tuple[Array, Array, float, bool]] = []
    values: list[Array | None] = []
    none = np.full(count, np.nan), np.full(count, np.nan), np.nan, False
    for design in designs:
        found, value = none, None
        if m.family.kind != "ordered" or np.unique(design.y).size == len(m.design.categories):
            try:
                found, value = _fit(m, design, statistic) or (none, None)
            except MixwellError as failure:
                if failure.code == "MW-A55":
                    raise
        rows.append(found)
        values.append(value)
        line.advance(1)
    psi, natural, criterion, converged = (np.array(column) for column in zip(*rows, strict=True))
    refits = Refits(psi, natural, criterion, converged)
    if statistic is None:
        return refits, None
    sizes = {each.size for each in values if each is not None}
    if len(sizes) > 1:
        raise error("MW-A55", reason="it returned different numbers of values for different replicates")
    missing = np.full(sizes.pop() if sizes else 0, np.nan)
    return refits, np.array([missing if each is None else each for each in values])


def _fit(
    m: GeneralizedModel, design: Design, statistic: Statistic | None
) -> tuple[tuple[Array, Array, float, bool], Array | None] | None:
    """Fit one design: psi, natural parameters, criterion and whether the search converged; the statistic.

    None if the columns of X that are estimable have changed.
    """
    if statistic is not None:
        from mixwell.generalized.fitting import fit_design  # noqa: PLC0415  (which imports the model)

        arguments = {**m.arguments}
        nagq, prior = arguments.pop("nagq"), arguments.pop("prior")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MixwellWarning)
            fitted = fit_design(design, m.family, m.control, arguments, nagq=nagq, prior=prior)
        if fitted.kept != m.kept:
            return None
        model, core, value = fitted.laplace, fitted.core, named(statistic(fitted))[1]
    else:
        predictors = predictors_of(design, m.family)
        model = laplace_of(design, m.family, predictors)
        kept = tuple(model.kept)
        if kept != m.kept:
            return None
        if m.prior is not None:
            model = penalized(model, design, kept_names(design, m.family, kept), m.prior)
        weights = np.ones(design.n) if design.weights is None else design.weights
        fit = model.optimize(m.family.start(design.y, weights), predictors.start, m.control.max_evaluations)
        core, value = model.describe(fit), None
        if m.nagq > 1:
            hessian = np.asarray(model.hessian(fit, np.asarray(core["scale"])))
            core = quadrature.integrated(model, core, hessian, m.nagq)[0]
    psi = np.array(core["psi"])
    natural = np.asarray(model.natural(psi[None]))[0]
    return (psi, natural, float(core["criterion"]), bool(core["converged"])), value


def _values(of: Reported, refits: Refits) -> Array:
    failed: Bools = np.asarray(~np.isfinite(refits.natural).all(axis=1))
    values = of.values(np.where(failed[:, None], 0.0, refits.natural))
    values[failed] = np.nan
    return values


def _jackknife(m: GeneralizedModel, group: str | None, statistic: Statistic | None) -> Array:
    """Statistics (clusters, s) without each cluster."""
    clusters = find_clusters(m, group, "bca")  # type: ignore[arg-type]
    selections = without_each(m, clusters)  # type: ignore[arg-type]
    designs = (selected_design(m.design, each) for each in selections)
    with show_progress("jackknife", clusters.count, wanted=True) as line:
        refits, values = _each_design(m, designs, line, statistic)
    return _values(Reported.of(m), refits) if values is None else values
