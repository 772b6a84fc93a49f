"""The likelihood-ratio test of one model in a larger one, with the p-value that suits what is tested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mixwell.errors import warn
from mixwell.fitted.text import Block as Lines
from mixwell.fitted.text import cells, p_value
from mixwell.inference.boundary_tests import (
    LARGEST,
    Block,
    mixture_tail,
    simulate,
    simulated_tail,
    spectrum,
)
from mixwell.inference.distributions import chi2_tail

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.inference.nesting import Nesting

__all__ = ["RatioTest", "likelihood_ratio", "loadings", "ratio_block"]

_ROUNDING = 1e-7  # of a log-likelihood: a larger model may seem to fit worse by so much

_MEANING = {
    "exact": "exact: p from {n_sim} draws of the statistic's own distribution in these data (seed {seed}).",
    "approximate": "approximate: p from {n_sim} draws of the statistic's distribution (seed {seed}), the "
    "other random effects having the covariance of the smaller model.",
    "bootstrap": "bootstrap: p from {n_sim} responses drawn from the smaller model, both refitted "
    "(seed {seed}).",
    "0.5": "0.5 chi2 + 0.5 chi2: a variance is zero under the hypothesis, hence a mixture of chi-squares.",
    "<=": "<=: several variances are zero under the hypothesis; p is an upper bound over all mixtures.",
    "~": "~: the covariance structure has a parameter that means nothing under the hypothesis; p is rough.",
}


@dataclass(frozen=True, slots=True)
class RatioTest:
    """A likelihood-ratio test of a model in a larger one: statistic, df, p, and where p is from."""

    chisq: float = math.nan
    df: float = math.nan
    p_value: float = math.nan
    method: str | None = None


class _Simulated(Protocol):
    """What says how p-values were simulated."""

    @property
    def n_sim(self) -> int: ...

    @property
    def seed(self) -> int: ...


def likelihood_ratio(
    small: FittedModel,
    large: FittedModel,
    how: Nesting,
    chisq: float,
    *,
    restricted: bool,
    n_sim: int,
    seed: int,
    bootstrapped: bool = False,
) -> RatioTest:
    """Find the p-value of a likelihood-ratio statistic by the method that suits what is tested."""
    if chisq < -_ROUNDING * max(1.0, abs(large.loglik)):
        warn("MW-W10", large=large.formula.text, small=small.formula.text, lower=f"{-chisq:.2g}")
    chisq, df = max(chisq, 0.0), how.fixed + how.random
    if bootstrapped:
        from mixwell.resampling.ratio import bootstrapped_tail  # noqa: PLC0415  (which builds on the fits)

        p, failed = bootstrapped_tail(small, large, chisq, n=n_sim, seed=seed)
        return RatioTest(chisq, df, p, "bootstrap" + (f" ({failed} without a fit)" if failed else ""))
    if how.zeros == 0:
        return RatioTest(chisq, df, float(chi2_tail(chisq, df)), "chi-square")
    others = loadings(small)
    effects = sum(block.n_levels for block in (*(how.tested or ()), *others))
    if how.tested is not None and effects <= LARGEST:
        of = spectrum(large.model_matrix(), how.tested, others, large.design.weights)
        draws = simulate(of, restricted=restricted, fixed=how.fixed, n_sim=n_sim, seed=seed)
        kind = "approximate" if small.is_mixed else "exact"
        method = f"{kind} {'RLRT' if restricted else 'LRT'}"
        return RatioTest(chisq, df, simulated_tail(chisq, draws), method)
    mixture = f"0.5 chi2({df - 1}) + 0.5 chi2({df})"
    one = how.zeros == 1 or how.tested is not None
    method = ("" if one else "<= ") + mixture if how.linear else "~ " + mixture
    return RatioTest(chisq, df, mixture_tail(chisq, df), method)


def loadings(m: FittedModel) -> list[Block]:
    """Z lambda of a fit, one block a column; what adds nothing is left out."""
    blocks = []
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        columns = [np.ones(m.nobs) if column is None else column for column in term.columns]
        for j in range(len(columns)):
            if factor[:, j].any():
                column = sum((factor[i, j] * columns[i] for i in range(len(columns))), np.zeros(m.nobs))
                blocks.append(Block(term.codes, len(term.levels), column))
    return blocks


def ratio_block(title: str, labels: Sequence[str], tests: Sequence[RatioTest], of: _Simulated) -> Lines:
    """Lay out likelihood-ratio tests, with what their methods mean; `of` has n_sim and seed."""
    numbers = cells([test.chisq for test in tests])
    rows = [
        [label, number, f"{test.df:.0f}", p_value(test.p_value), test.method or "-"]
        for label, number, test in zip(labels, numbers, tests, strict=True)
    ]
    methods = [test.method or "" for test in tests]
    said = [
        meaning.format(n_sim=of.n_sim, seed=of.seed)
        for start, meaning in _MEANING.items()
        if any(method.startswith(start) for method in methods)
    ]
    return Lines(title, ("", "chisq", "df", "p", "method"), rows, lines=said)
