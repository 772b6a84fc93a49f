"""Permutation tests restricted to what is exchangeable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, html, number, p_value, text
from mixwell.options import checked
from mixwell.resampling import engine, simulate
from mixwell.resampling.clusters import named_codes
from mixwell.resampling.exchange import exchange_of
from mixwell.resampling.progress import Progress
from mixwell.resampling.progress import progress as show_progress

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.fitted.result import FittedModel

__all__ = ["PermutationTest", "permutation_test"]

Array = NDArray[np.float64]

_TIE = 1e-10  # statistics that differ by less, relatively, are equal


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PermutationTest:
    """A permutation test of one term.

    Attributes
    ----------
    term, n, seed
        What was tested, the number of permutations, the seed.
    kind, statistic
        "F" (its score form) or "LRT", and its value for the data as they are.
    replicates
        Its values for permuted data, shape (n,); NaN where there was no fit.
    permuted
        In words, what was exchanged.
    """

    term: str
    n: int
    seed: int
    kind: str
    statistic: float
    replicates: Array
    permuted: str
    model: FittedModel

    @property
    def p_value(self) -> float:
        """(1 + permutations with at least this statistic) / (1 + n)."""
        # Rounding must not decide between equal arrangements; one without a fit counts against the term.
        smaller = self.replicates < self.statistic * (1 - _TIE) - 1e-9
        return float((1 + np.sum(~smaller)) / (1 + self.n))

    @property
    def mc_error(self) -> float:
        """Monte-Carlo standard error of the p-value."""
        return float(np.sqrt(self.p_value * (1 - self.p_value) / self.n))

    def table(self) -> Any:
        """Return one row: term, statistic, n, p_value, mc_error, in the caller's dataframe library."""
        return self.model.design.frame.native_like(
            {
                "term": [self.term],
                "statistic": np.array([self.statistic]),
                "n": np.array([self.n]),
                "p_value": np.array([self.p_value]),
                "mc_error": np.array([self.mc_error]),
            }
        )

    def _blocks(self) -> list[Block]:
        said = f"{self.kind} = {number(self.statistic)}, p = {p_value(self.p_value)}"
        said += f" ({self.n} permutations, Monte-Carlo error {self.mc_error:.2g}, seed {self.seed})"
        return [Block(f"Permutation test of {self.term}", lines=[said, f"Permuted: {self.permuted}"])]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def permutation_test(
    m: FittedModel,
    term: str,
    n: int = 1000,
    *,
    seed: int | None = None,
    within: str | None = None,
    progress: bool = True,
) -> PermutationTest:
    """Test a term by exchanging only what is exchangeable when it has no effect.

    A fixed term: the model is fitted without it, and the score form of the F test is recomputed for permuted
    predictors. A predictor that is constant within clusters is permuted among whole clusters, one that
    varies within clusters is permuted within them; of a predictor that is related to other fixed effects,
    only what these do not explain is permuted (Smith's scheme in Winkler et al. 2014). When its effect varies
    over clusters (random slopes), signs of whole clusters are flipped instead (Hemerik, Goeman & Finos 2020).

    A random term: the model is fitted without it; its residuals are permuted among the rows, and its
    predicted effects among levels, rescaled to the estimated variances (as in Lee & Braun 2012, without
    n x n matrices); the statistic is the likelihood ratio.

    Parameters
    ----------
    term
        A fixed term ("Days"), a random-effects term ("(Days | Subject)"), or its grouping factor.
    n
        Permutations.
    seed
        A whole number; drawn if None, and reported.
    within
        A column: only units of the same level of it are exchanged.
    progress
        Show progress on a terminal after a second.

    Returns
    -------
    PermutationTest
        `.p_value`, `.statistic`, `.replicates`, and `.permuted`, which says what was exchanged.

    Raises
    ------
    MixwellError
        MW-A58 when the model has no such term, MW-A59 when it is part of an interaction, MW-A60 when nothing
        is exchangeable, MW-A54 for a `within` that is no column, MW-A07 for a bad n or seed.

    Examples
    --------
    >>> import mixwell as mw
    >>> cake = mw.data.load("cake", "dict")
    >>> m = mw.lmer("angle ~ recipe + temperature + (1 | recipe:replicate)", cake)
    >>> test = m.permutation_test("temperature", 500, seed=1)
    >>> test.permuted[-56:]
    "it, among rows, within each level of 'recipe:replicate'."
    >>> round(test.p_value, 3)
    0.002
    """
    n, seed = engine.count_of(n), simulate.seed_of(seed)
    labels = m.design.term_labels
    if term in labels:
        return _fixed(m, term, within, n=n, seed=seed, wanted=progress)
    written = [each.text or str(each) for each in m.formula.random]
    full = [str(each) for each in m.formula.random]
    for names in (written, full, [each.group for each in m.design.random]):
        squeezed = [name.replace(" ", "") for name in names]
        if squeezed.count(str(term).replace(" ", "")) == 1:
            at = squeezed.index(str(term).replace(" ", ""))
            return _random(m, at, within, n=n, seed=seed, wanted=progress)
    raise error("MW-A58", name=term, available=[*labels, *written])


def _fixed(
    m: FittedModel, term: str, within: str | None, *, n: int, seed: int, wanted: bool
) -> PermutationTest:
    labels, design = m.design.term_labels, m.design
    parts = set(term.split(":"))
    containing = next((each for each in labels if parts < set(each.split(":"))), None)
    if containing is not None:
        raise error("MW-A59", term=term, containing=containing)
    at = labels.index(term) + 1
    columns = [design.columns[j] for j in m.kept if design.assign[j] == at]
    if not columns:
        reason, advice = "its columns are combinations of those of other terms", "See m.notes."
        raise error("MW-A60", term=term, reason=reason, advice=advice)
    rest = [j for j in m.kept if design.assign[j] != at]
    null = _fit(
        m,
        replace(
            design,
            names=tuple(design.names[j] for j in rest),
            columns=tuple(design.columns[j] for j in rest),
            assign=tuple(design.assign[j] for j in rest),
        ),
    )
    tested = [np.ones(m.nobs) if column is None else column for column in columns]
    exchange = exchange_of(m, null, term, tested, within)
    with show_progress("permutations", n, wanted=wanted) as line:
        replicates = np.concatenate(list(_counted(exchange.replicates(n, seed), line)))
    return PermutationTest(term, n, seed, "F", exchange.observed(), replicates, exchange.text, m)


def _random(
    m: FittedModel, at: int, within: str | None, *, n: int, seed: int, wanted: bool
) -> PermutationTest:
    null = _fit(m, replace(m.design, random=m.design.random[:at] + m.design.random[at + 1 :]))
    blocks = None if within is None else named_codes(m, within)
    draw = simulate.residual(null, replace=False, blocks=blocks)
    with show_progress("permutations", 2 * n, wanted=wanted) as line:
        smaller = engine.refit_drawn(null, draw, n, seed, line)
        larger = engine.refit_drawn(m, draw, n, seed, line)
    observed = null.optimum.criterion - m.optimum.criterion
    replicates = np.maximum(smaller.criterion - larger.criterion, 0.0)
    text = "residuals of the model without the term among rows"
    if within is not None:
        text += f", within each level of '{within}'"
    if null.is_mixed:
        others = ", ".join(dict.fromkeys(f"'{each.group}'" for each in null.design.random))
        text += f", and its predicted effects among levels of {others}; both rescaled to their variances"
    return PermutationTest(
        m.formula.random[at].text or str(m.formula.random[at]),
        n,
        seed,
        "LRT",
        max(float(observed), 0.0),
        replicates,
        f"{text}.",
        m,
    )


def _fit(m: FittedModel, design: Design) -> FittedModel:
    problem = engine.problem_of(design)
    optimum = problem.optimize(m.is_reml, None, m.control.max_evaluations)
    return replace(m, design=design, optimum=optimum, handle=problem)


def _counted(blocks: Iterator[Array], line: Progress) -> Iterator[Array]:
    for block in blocks:
        line.advance(len(block))
        yield block
