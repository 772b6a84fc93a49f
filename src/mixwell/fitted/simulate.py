"""New responses drawn from a fitted model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.new_rows import Rows, announce, fitted_rows, new_rows
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.design.frame import Codes
    from mixwell.fitted.result import FittedModel

__all__ = ["simulate"]

Array = NDArray[np.float64]


@checked
def simulate(
    m: FittedModel,
    n: int = 1,
    *,
    seed: int | None = None,
    newdata: Any = None,
    re: Literal["new", "conditional"] = "new",
    new_levels: Literal["error", "population", "sample"] = "error",
    parameters: bool = False,
) -> Any:
    """Draw responses from the fitted model.

    Parameters
    ----------
    n
        How many responses to draw.
    seed
        A whole number that determines the draws; None for others each time. The first k of n draws are those
        of n = k.
    newdata
        A table with the columns of the right-hand side; the rows that were fitted if None.
    re
        "new": random effects drawn anew for every level, as in a replication with other levels.
        "conditional": the estimated effects of the levels that were fitted.
    new_levels
        With "conditional", what to do with a level that was not fitted: "error"; "population" to take its
        effects as zero; or "sample" to draw them. Rows of one level share its effects; a missing level is
        one of its own.
    parameters
        Draw the fixed effects too, from their estimated sampling distribution; with "conditional" together
        with the random effects, from their joint distribution given the data. The covariance parameters stay
        at their estimates.

    Returns
    -------
    table
        One row a row used in the fit (or of newdata), columns sim_1 .. sim_n, in the caller's dataframe
        library. Residuals have variance sigma^2 / weight. NaN where a predictor is missing.

    Raises
    ------
    MixwellError
        MW-A02 for another `re` or `new_levels`, MW-A07 for `n` or `seed`, MW-P20 for `new_levels` with
        re="new"; for newdata as `predict`.

    Warns
    -----
    MixwellWarning
        MW-P13 for rows that need a coefficient which was not estimable, MW-P17 when the fit has weights and
        the new rows have none.

    Notes
    -----
    A draw of (beta, b) given the data: take y* = Z b* + e* from the model with beta = 0 and solve for its
    coefficients at the same theta. Their error (-beta_hat*, b* - b_hat*) has the distribution of the error of
    (beta_hat, b_hat).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> draws = m.simulate(2, seed=1)
    >>> list(draws), draws["sim_1"].shape
    (['sim_1', 'sim_2'], (180,))
    >>> bool(m.refit(draws["sim_1"]).optimum.converged)
    True
    """
    from mixwell.resampling.simulate import seed_of  # noqa: PLC0415  (which builds on fits)

    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise error("MW-A07", option="n", expected="a positive whole number", given=n)
    choice("re", re, ("new", "conditional"))
    choice("new_levels", new_levels, ("error", "population", "sample"))
    if re == "new" and new_levels != "error":
        raise error("MW-P20", given=new_levels)
    if not isinstance(parameters, bool):
        raise error("MW-A07", option="parameters", expected="True or False", given=parameters)
    everything = (True,) * len(m.design.random)
    if newdata is None:
        rows, codes = fitted_rows(m, everything), [term.codes for term in m.design.random]
    else:
        unknown = "sample" if re == "new" else new_levels
        rows = new_rows(m, newdata, everything, others=True, weights=True, unknown=unknown)
        codes = _codes(m, rows, newdata, drawn=unknown == "sample")
    announce(rows)
    streams = np.random.SeedSequence(seed_of(seed)).spawn(int(n))
    drawn = {
        f"sim_{i}": _draw(m, rows, codes, np.random.default_rng(stream), re=re, parameters=parameters)
        for i, stream in enumerate(streams, start=1)
    }
    return m.design.frame.native_like(drawn)


def _codes(m: FittedModel, rows: Rows, newdata: Any, *, drawn: bool) -> list[Codes]:
    """Codes of each term in which levels that were not fitted are numbered on, if they are drawn."""
    return [
        m.design.recipe.extended_codes(newdata, at) if drawn and (term.codes < 0).any() else term.codes
        for at, term in enumerate(rows.terms)
        if term is not None
    ]


def _draw(
    m: FittedModel, rows: Rows, codes: list[Codes], rng: np.random.Generator, *, re: str, parameters: bool
) -> Array:
    """One response, shape (n,)."""
    beta, known = np.asarray(m.solution.beta), [np.asarray(b) for b in m.solution.b]
    if parameters and re == "conditional":
        beta, known = _given_the_data(m, rng)
    elif parameters and beta.size:
        root = np.linalg.cholesky(np.asarray(m.solution.vcov_unscaled))
        beta = beta + m.sigma * (root @ rng.standard_normal(beta.size))
    effects = []
    for factor, b, own in zip(m.lambdas, known, codes, strict=True):
        fitted, total = len(b), max(len(b), int(own.max(initial=-1)) + 1)
        fresh = 0 if re == "new" else fitted  # levels from here on are drawn
        new = m.sigma * rng.standard_normal((total - fresh, len(factor))) @ factor.T
        effects.append(np.concatenate([b[:fresh], new]))
    out = _with_codes(rows, codes).predicted(beta, effects)
    errors = m.sigma * rng.standard_normal(rows.n)
    out += errors if rows.weights is None else errors / np.sqrt(rows.weights)
    return out


def _with_codes(rows: Rows, codes: list[Codes]) -> Rows:
    """Return the same rows with other codes."""
    terms = [
        None if term is None else replace(term, codes=own)
        for term, own in zip(rows.terms, codes, strict=True)
    ]
    return replace(rows, terms=tuple(terms))


def _given_the_data(m: FittedModel, rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """Beta and b of each term drawn from their joint distribution given the data."""
    from mixwell.fitted.result import cross_products  # noqa: PLC0415  (which builds on this module)

    design = m.design
    own = [term.codes for term in design.random]
    effects = [
        m.sigma * rng.standard_normal((len(term.levels), len(factor))) @ factor.T
        for term, factor in zip(design.random, m.lambdas, strict=True)
    ]
    plain = replace(fitted_rows(m, (True,) * len(own)), offset=None)
    y = plain.predicted(np.zeros(len(m.kept)), effects)
    errors = m.sigma * rng.standard_normal(m.nobs)
    y += errors if design.weights is None else errors / np.sqrt(design.weights)
    s = cross_products(replace(design, y=y, offset=None)).solve(m.theta, m.is_reml, False)
    beta = np.asarray(m.solution.beta) - np.asarray(s.beta)
    return beta, [
        np.asarray(b) + drawn - np.asarray(predicted)
        for b, drawn, predicted in zip(m.solution.b, effects, s.b, strict=True)
    ]
