"""Tests of the random effects of one fit: each is left out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixwell.errors import error
from mixwell.fitted.text import Block, html, text
from mixwell.inference.compare import whole
from mixwell.inference.diagnosis import announce
from mixwell.inference.nesting import nesting
from mixwell.inference.ratio_test import RatioTest, likelihood_ratio, ratio_block
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel
    from mixwell.formula import RandomTerm

__all__ = ["RandomTests", "ranova"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RandomTests:
    """Likelihood-ratio tests of the random effects of a fit, one a row; it prints as a table.

    Attributes
    ----------
    model
        The fit.
    terms, reduced, tests
        What was left out, the fit without it, and the test.
    n_sim, seed
        Of the simulated p-values.
    """

    model: FittedModel
    terms: tuple[str, ...]
    reduced: tuple[FittedModel, ...]
    tests: tuple[RatioTest, ...]
    n_sim: int
    seed: int

    def table(self) -> Any:
        """Return one row a random effect at full precision, after a first row for the model as it is.

        Returns
        -------
        table
            Columns term, npar, loglik (restricted after REML) and aic of the model without it, lrt, df,
            p_value, method.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
        >>> m.ranova().table()["lrt"].round(2).tolist()
        [nan, 105.06, 282.4]
        """
        loglik = np.array([_loglik(m, self.model) for m in (self.model, *self.reduced)])
        npar = np.array([m.npar for m in (self.model, *self.reduced)])
        tests = (RatioTest(), *self.tests)
        columns = {
            "term": ["<none>", *self.terms],
            "npar": npar,
            "loglik": loglik,
            "aic": 2 * npar - 2 * loglik,
            "lrt": np.array([test.chisq for test in tests]),
            "df": np.array([test.df for test in tests]),
            "p_value": np.array([test.p_value for test in tests]),
            "method": [test.method for test in tests],
        }
        return self.model.design.frame.native_like(columns)

    def _blocks(self) -> list[Block]:
        title = f"Random effects of {self.model.formula.text}, left out in turn ({self.model.method})"
        return [ratio_block(title, self.terms, self.tests, self)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def ranova(m: FittedModel, *, n_sim: int = 10_000, seed: int = 0) -> RandomTests:
    """Test each random effect by leaving it out, with p-values that know that variances are not negative.

    Parameters
    ----------
    n_sim, seed
        Draws of a simulated null distribution, and the seed that determines them.

    Returns
    -------
    RandomTests
        One test for each slope of a term such as (1 + x | g) that is not part of a higher interaction, then
        without its covariances; one for each column of a term with uncorrelated effects; one for each other
        term as a whole. By the criterion of the fit, REML or ML. `compare` describes the methods.

    Raises
    ------
    MixwellError
        MW-A43 when the model has no random effects.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> print(m.ranova())
    Random effects of Reaction ~ Days + (Days | Subject), left out in turn (REML)
                                     chisq  df       p                     method
      Days in (1 + Days | Subject)  42.837   2  <0.001  0.5 chi2(1) + 0.5 chi2(2)
      0.5 chi2 + 0.5 chi2: a variance is zero under the hypothesis, hence a mixture of chi-squares.
    """
    whole("n_sim", n_sim, 1)
    whole("seed", seed, 0)
    if not m.is_mixed:
        raise error("MW-A43", formula=str(m.formula))
    terms, reduced, tests = [], [], []
    for label, at, gone in _reductions(m):
        small = _without(m, at, gone)
        chisq = 2.0 * (_loglik(m, m) - _loglik(small, m))
        how = nesting(small, m)
        assert not how.reason
        terms.append(label)
        reduced.append(small)
        tests.append(likelihood_ratio(small, m, how, chisq, restricted=m.is_reml, n_sim=n_sim, seed=seed))
    return RandomTests(m, tuple(terms), tuple(reduced), tuple(tests), n_sim, seed)


def _loglik(m: FittedModel, like: FittedModel) -> float:
    """Log-likelihood, restricted if `like` was fitted by REML, also without random effects."""
    return -0.5 * m.reml_criterion if like.is_reml else m.loglik


def _reductions(m: FittedModel) -> Iterator[tuple[str, int, int | None]]:
    """Yield what can be left out: a label, the position of the term, and which of its effects if not all."""
    for at, (term, written) in enumerate(zip(m.design.random, m.formula.random, strict=True)):
        parts = _parts(term, written)
        if not parts:
            yield term.text, at, None
        for label, gone in parts:
            yield f"{label} in {term.text}", at, gone


def _parts(term: RandomDesign, written: RandomTerm) -> list[tuple[str, int]]:
    """Effects that can be left out by themselves: label, and index in `assign`; none for the whole term."""
    present = sorted(set(term.assign))
    if len(present) < 2 or term.homogeneous or term.structure not in ("us", "diag"):
        return []
    labels = ["(Intercept)", *(each.label for each in written.terms)]
    if term.structure == "diag":
        return [(labels[i], i) for i in present]
    if not written.intercept and len(term.names) > len(present):
        return []  # the coding of a factor depends on the terms before it
    factors = [frozenset[Any](), *(frozenset(each.factors) for each in written.terms)]
    return [(labels[i], i) for i in present if i and not any(factors[i] < other for other in factors)]


def _without(m: FittedModel, at: int, gone: int | None) -> FittedModel:
    """Fit without a random-effects term, or one of its effects, to the same rows; no table is read."""
    from mixwell.fitted.result import cross_products  # noqa: PLC0415  (result builds on this module)

    recipe = m.design.recipe
    written, random, plans, levels = [
        [*values] for values in (m.formula.random, m.design.random, recipe.random_plans, recipe.levels)
    ]
    if gone is None:
        del written[at], random[at], plans[at], levels[at]
    else:
        written[at] = _reduced(written[at], gone)
        random[at] = _columns(random[at], gone, written[at])
        plans[at] = tuple(part for i, part in enumerate(plans[at], start=1) if i != gone)
    formula = replace(m.formula, random=tuple(written))
    formula = replace(formula, text=str(formula))
    recipe = replace(recipe, formula=formula, random_plans=tuple(plans), levels=tuple(levels))
    design = replace(m.design, formula=formula, random=tuple(random), recipe=recipe)
    problem = cross_products(design)
    control = replace(m.control, start=None)  # of another length
    optimum = problem.optimize(m.is_reml, None, control.max_evaluations)
    small = replace(m, design=design, control=control, optimum=optimum, handle=problem)
    return small if optimum.converged else announce(small)


def _reduced(term: RandomTerm, gone: int) -> RandomTerm:
    """Leave an effect out of a term as written; 0 is the intercept."""
    terms = tuple(each for i, each in enumerate(term.terms, start=1) if i != gone)
    return replace(term, intercept=term.intercept and gone != 0, terms=terms)


def _columns(term: RandomDesign, gone: int, written: RandomTerm) -> RandomDesign:
    """Leave the columns of one effect out of a term."""
    keep = [j for j, of in enumerate(term.assign) if of != gone]

    def kept(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[j] for j in keep)

    assign = tuple(of - (of > gone > 0) for of in kept(term.assign))
    return replace(term, names=kept(term.names), columns=kept(term.columns), assign=assign, text=str(written))
