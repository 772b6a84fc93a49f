"""Tests of the coefficients: terms one by one, and hypotheses written as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.inference import anova as linear_anova
from mixwell.inference import linear_tests
from mixwell.inference.distributions import chi2_tail
from mixwell.inference.hypotheses import containing
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.inference.linear_tests import HypothesisTest


__all__ = ["anova", "test"]

Array = NDArray[np.float64]


@checked
def anova(m: GeneralizedModel, type: Literal[2, 3] = 2) -> Any:  # noqa: A002 - the name that R gives it
    """Test every term by Wald's chi-square, as car::Anova does.

    Parameters
    ----------
    type
        2: each term after all that do not contain it, the coefficients of those that do adjusted for by
        their covariance. 3: equally weighted means and slopes, whatever the coding of the factors.

    Returns
    -------
    table
        Columns term, statistic, df, p_value.

    Raises
    ------
    MixwellError
        MW-A02 for another type, MW-A80 for ordinal models and for columns that were dropped.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> m.anova()["statistic"].round(3).tolist()
    [6.214]
    """
    if type not in (2, 3):
        raise error("MW-A02", option="type", given=type, allowed=["2", "3"])
    if m.family.kind == "ordered" or m.dropped:
        advice = "Use m.test('name = 0') for single coefficients."
        raise error("MW-A80", what="anova()", family=m.family.name, advice=advice)
    if type == 3:
        return linear_anova.anova(m, 3, test="chisq").table()  # type: ignore[arg-type]
    beta, vcov = m.fixef.values, m.vcov()
    columns = {
        term: [i for i, j in enumerate(m.kept) if m.design.assign[j] == term]
        for term in range(1, len(m.design.term_labels) + 1)
    }

    def wald(terms: tuple[int, ...]) -> float:
        at = [i for term in terms for i in columns[term]]
        return float(beta[at] @ np.linalg.solve(vcov[np.ix_(at, at)], beta[at])) if at else 0.0

    statistic, df = [], []
    for term, own in columns.items():
        later = containing(m.design, term, same_covariates=False)
        statistic.append(wald((term, *later)) - wald(later))
        df.append(len(own))
    return m.design.frame.native_like(
        {
            "term": list(m.design.term_labels),
            "statistic": np.array(statistic),
            "df": np.array(df),
            "p_value": chi2_tail(np.array(statistic), np.maximum(np.array(df), 1)),
        }
    )


def test(m: GeneralizedModel, *hypotheses: Any, **options: Any) -> HypothesisTest:
    """Test linear hypotheses about the coefficients, written as text: "x = 0", "fb = fc".

    Parameters
    ----------
    hypotheses, options
        As of `FittedModel.test`; tests are z and chi-square, or t and F with residual degrees of freedom
        where a generalised linear model has its dispersion estimated.

    Returns
    -------
    HypothesisTest

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> round(float(m.test("x = 0.5").table()["p_value"][0]), 3)
    0.487
    """
    return linear_tests.test(m, *hypotheses, ddf=m.ddf, **options)  # type: ignore[arg-type]
