"""Joint tests of the terms of a model by comparisons of marginal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.formula import variables
from mixwell.marginal.contrasts import coefficients
from mixwell.marginal.functions_of_means import joint_test
from mixwell.marginal.reference_grid import Question, averages, read_question, without_rounding
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.marginal.reference_grid import Model

__all__ = ["joint_tests"]

Array = NDArray[np.float64]


@checked
def joint_tests(
    m: Model,
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    ddf: str | None = None,
) -> Any:
    """Test every term of the fixed effects by comparisons of marginal means.

    A main effect is that all marginal means of the factor are equal, an interaction that all differences of
    differences are zero, with equal weights. Without numbers in interactions this is type III; here, numbers
    are at their mean, where type III of `m.anova(3)` has them at zero. The effect of a number is that of one
    unit on either side of its mean.

    Parameters
    ----------
    by
        Factors to have the tests separately for each level of: simple effects.
    at
        Values of variables, as in `emmeans`.
    ddf
        Degrees of freedom, as in `emmeans`.

    Returns
    -------
    table
        Columns of `by`, term, statistic (F, or chi-square over its degrees of freedom), num_df, den_df,
        p_value. Where cells are empty, what is estimable is tested; num_df is smaller, or zero.

    Raises
    ------
    MixwellError
        MW-A115 for a variable that the fixed effects do not have, MW-A119 and A120 for names and levels in
        `at`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("angle ~ recipe * temperature", mw.data.load("cake", "dict"))
    >>> found = m.joint_tests()
    >>> found["term"], found["num_df"].tolist()
    (['recipe', 'temperature', 'recipe:temperature'], [2, 5, 10])
    >>> m.joint_tests(by="recipe")["p_value"].round(4).tolist()
    [0.017, 0.04, 0.0532]
    """
    apart = read_question(m, [], by).by
    terms = [set[str]().union(*map(variables, term.factors)) for term in m.formula.terms]
    order = dict.fromkeys(
        name for term in m.formula.terms for expr in term.factors for name in variables(expr)
    )
    names = [name for name in order if name not in apart]
    found: dict[str, list[Any]] = {name: [] for name in apart}
    columns = ("term", "statistic", "num_df", "den_df", "p_value")
    found |= {name: [] for name in columns}
    for size in range(1, max(map(len, terms), default=0) + 1):
        for own in combinations(names, size):
            if any(set(own) <= term for term in terms):
                _add(m, found, terms, Question(list(own), apart), (at, ddf))
    numbers = {name: np.array(found[name]) for name in columns[1:]}
    return m.design.frame.native_like({**found, **numbers})


def _add(
    m: Model, found: dict[str, list[Any]], terms: list[set[str]], question: Question, options: tuple[Any, Any]
) -> None:
    """Add a row for each level of `by`, if there is anything to test; `options`: at, ddf."""
    at, ddf = options
    # Variables that share no term with these cancel in differences.
    near = set[str]().union(*(term for term in terms if term & set(question.own)))
    means = averages(m, question, at=at, spread=near)
    C = np.ones((1, 1))
    for name in question.own:
        levels = list(dict.fromkeys(means.labels[name]))
        own = coefficients("trt.vs.ctrl", [str(level) for level in levels])  # the rows of anova
        C = np.kron(np.array(list(own.values())).reshape(len(own), len(levels)), C)
    if not C.size:
        return
    count = C.shape[1]
    for start in range(0, len(means.L), count):
        rows = slice(start, start + count)
        test = joint_test(
            m, without_rounding(C, means.L[rows]), C @ means.offset[rows], C @ means.lost[rows], ddf
        )
        for name in question.by:
            found[name].append(means.labels[name][start])
        found["term"].append(":".join(question.own))
        for name in ("statistic", "num_df", "den_df", "p_value"):
            found[name].append(getattr(test, name))
