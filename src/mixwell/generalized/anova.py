"""Tests of the coefficients: terms one by one, and hypotheses written as text.

A term is tested by two nested sets of constraints on the coefficients: those of the larger model of the test
(empty, or that the terms containing it are out), and these together with its own. Wald's statistic is the
difference of two quadratic forms, the likelihood ratio that of two constrained optima of the same criterion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.generalized.constrained import criterion_of, deviance_ratio, least
from mixwell.inference import linear_tests
from mixwell.inference.anova import Anova, chosen_approximation, read_type
from mixwell.inference.distributions import chi2_tail, f_tail
from mixwell.inference.hypotheses import anova_hypotheses, containing
from mixwell.inference.wald import joint
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.inference.linear_tests import HypothesisTest


__all__ = ["anova", "test"]

Array = NDArray[np.float64]

_INSIDE = 1e-8  # part of a column outside a span, relative to the column, that is rounding
_ROMAN = {1: "I", 2: "II", 3: "III"}
_TITLES = {"chisq": "Wald chi-square", "lrt": "likelihood ratios", "F": "F of deviances"}


@checked
def anova(
    m: GeneralizedModel,
    type: Literal[1, 2, 3, "I", "II", "III"] = 2,  # noqa: A002 - the name that R gives it
    *,
    test: Literal["chisq", "lrt", "F"] = "chisq",
    vcov: str = "model",
    cluster: Any = None,
) -> Anova:
    """Test every term of the fixed part, as car::Anova does, or R's anova.

    Parameters
    ----------
    type
        2 (or "II"): each term after all that do not contain it. 3: equally weighted means and slopes,
        whatever the coding of the factors. 1: each term after the earlier ones.
    test
        "chisq": Wald's chi-square. "lrt": the likelihood ratio, with the model fitted again without the
        term. "F", of generalised linear models with a dispersion: the deviance of a term over its degrees of
        freedom and Pearson's dispersion. With such a dispersion "lrt" is the deviance over the dispersion.
    vcov, cluster
        A robust covariance and its clusters, see `vcov()`: Wald's chi-square with it, or with test="F"
        Hotelling's T^2, for few clusters.

    Returns
    -------
    Anova
        It prints as a table; `.table()` has the numbers (term, statistic, df, p_value; of F tests term,
        num_df, den_df, statistic, p_value), `.hypotheses` the matrices of the Wald tests.

    Raises
    ------
    MixwellError
        MW-A02 for another type or test, MW-A31 for F tests of models without such a dispersion and
        likelihood ratios with a robust covariance, MW-A84 for
        likelihood ratios of a fit with a prior, MW-A108 when a smaller model has no fit.

    Notes
    -----
    Covariances, dispersions, extra zeros and thresholds are estimated again under each hypothesis. Terms of
    `dispformula` and `ziformula` are not tested: compare fits with and without them.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> m.anova().table()["statistic"].round(3).tolist()
    [6.214]
    >>> m.anova(test="lrt").table()["statistic"].round(3).tolist()
    [7.481]
    """
    kind = read_type(type)
    choice("test", test, ("chisq", "lrt", "F"))
    if vcov != "model" or cluster is not None:
        return _robust(m, kind, test, vcov, cluster)
    if test == "F" and math.isinf(m.wald_df):
        given = f"{m.family.name} models{' with random effects' if m.is_mixed else ''}"
        advice = "F tests need a generalised linear model whose dispersion is estimated: use test='lrt'."
        raise error("MW-A31", option="test='F'", other=given, advice=advice)
    if m.prior is not None and test != "chisq":
        raise error("MW-A84", formula=m.formula.text)
    pairs = _pairs(m, kind)
    df = np.array([len(without) - len(within) for within, without in pairs], dtype=np.int64)
    by = _wald if test == "chisq" else _ratio
    statistic = np.where(df > 0, by(m, pairs), math.nan)
    columns: dict[str, Any] = {"term": list(m.design.term_labels)}
    with np.errstate(invalid="ignore", divide="ignore"):
        if test == "F":
            statistic = statistic / df
            p = f_tail(np.nan_to_num(statistic), np.maximum(df, 1), m.wald_df)
            columns |= {"num_df": df, "den_df": np.full(df.size, m.wald_df), "statistic": statistic}
        else:
            p = chi2_tail(np.nan_to_num(statistic), np.maximum(df, 1))
            columns |= {"statistic": statistic, "df": df}
    columns["p_value"] = np.where(np.isfinite(statistic), p, math.nan)
    tested = [_adjusted(m, *pair) for pair in pairs]
    hypotheses = dict(zip(m.design.term_labels, tested, strict=True))
    return Anova(_ROMAN[kind], test, _TITLES[test], columns, hypotheses, (), m.design.frame.native_like)


def _robust(
    m: GeneralizedModel, kind: int, test: Literal["chisq", "lrt", "F"], vcov: str, cluster: Any
) -> Anova:
    """Test the hypotheses of Wald's tests with a robust covariance."""
    if test == "lrt":
        option = f"vcov={vcov!r}" if vcov != "model" else "cluster="
        advice = "A likelihood ratio has no robust covariance: use test='chisq' or test='F'."
        raise error("MW-A31", option=option, other="test='lrt'", advice=advice)
    chisq = test == "chisq"
    by = chosen_approximation(m, "satterthwaite", "expected", vcov, cluster, chisq=chisq)  # type: ignore[arg-type]
    hypotheses = {
        label: _adjusted(m, *pair) for label, pair in zip(m.design.term_labels, _pairs(m, kind), strict=True)
    }
    tests = [joint(by, m.fixef.values, L) for L in hypotheses.values()]
    statistic, df = np.array([each.statistic for each in tests]), np.array([each.num_df for each in tests])
    columns: dict[str, Any] = {"term": list(hypotheses)}
    if chisq:
        columns |= {"statistic": statistic * df, "df": df}
    else:
        columns |= {"num_df": df, "den_df": np.array([each.den_df for each in tests]), "statistic": statistic}
    columns["p_value"] = np.array([each.p_value for each in tests])
    title = f"{_TITLES['chisq']}, {by.name}" if chisq else by.name
    return Anova(_ROMAN[kind], test, title, columns, hypotheses, (), m.design.frame.native_like)


def _pairs(m: GeneralizedModel, kind: int) -> list[tuple[Array, Array]]:
    """By term: rows L with L beta = 0 in the larger model of its test, and in the smaller one."""
    return _type3(m) if kind == 3 else [_nested(m, *_left_out(m, kind, term)) for term in _terms(m)]


def _terms(m: GeneralizedModel) -> range:
    return range(1, len(m.design.term_labels) + 1)


def _type3(m: GeneralizedModel) -> list[tuple[Array, Array]]:
    view: Any = m
    intercept = m.family.kind == "ordered" and any(column is None for column in m.design.columns)
    if intercept:  # which the thresholds have taken the place of
        kept, columns = (0, *(j + 1 for j in m.kept)), (None, *m.fixed_columns)
        view = SimpleNamespace(design=m.design, kept=kept, fixed_columns=columns, is_mixed=m.is_mixed)
    none = np.empty((0, len(m.fixef)))
    return [(none, rows[:, int(intercept) :]) for rows in anova_hypotheses(view, 3).rows]


def _left_out(m: GeneralizedModel, kind: int, term: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Terms that the larger model of a test does without, and the smaller one."""
    within = tuple(_terms(m))[term:] if kind == 1 else containing(m.design, term, same_covariates=False)
    return within, (term, *within)


def _nested(m: GeneralizedModel, within: Sequence[int], without: Sequence[int]) -> tuple[Array, Array]:
    return _constraints(m, within), _constraints(m, without)


def _constraints(m: GeneralizedModel, out: Sequence[int]) -> Array:
    """Rows L (q, p): L beta = 0 is the model without some terms."""
    columns = m.design.columns
    assign = np.asarray(m.design.assign)
    if m.family.kind == "ordered":
        own = [j for j, column in enumerate(columns) if column is not None]
        assign, columns = assign[own], tuple(columns[j] for j in own)
    kept = list(m.kept)
    if not m.dropped:
        return np.eye(len(kept))[np.isin(assign[kept], out)]
    # What was dropped as a combination of columns that are now out has to come back.
    X = m.model_matrix()
    q, r = np.linalg.qr(X)
    left = [
        np.ones(m.nobs) if c is None else c for c, at in zip(columns, assign, strict=True) if at not in out
    ]
    scaled = [column / max(float(np.linalg.norm(column)), 1e-300) for column in left]
    inside = q.T @ np.column_stack([*scaled, np.zeros(m.nobs)])
    vectors, size, _ = np.linalg.svd(inside, full_matrices=True)
    rank = int(np.sum(size > _INSIDE))
    return np.asarray(vectors[:, rank:].T @ r)


# --- statistics -----------------------------------------------------------------------------------------


def _wald(m: GeneralizedModel, pairs: Sequence[tuple[Array, Array]]) -> Array:
    beta, vcov = m.fixef.values, m.vcov()

    def quadratic(L: Array) -> float:
        return float(L @ beta @ np.linalg.solve(L @ vcov @ L.T, L @ beta)) if len(L) else 0.0

    return np.array([quadratic(without) - quadratic(within) for within, without in pairs])


def _ratio(m: GeneralizedModel, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Change of -2 log-likelihood; of the deviance over the dispersion where there is one."""
    evaluate, scaled = criterion_of(m), math.isfinite(m.wald_df)
    found: dict[bytes, float] = {}

    def lowest(L: Array) -> float:
        if not len(L):
            return float(m.core["criterion"])
        key = np.ascontiguousarray(L).tobytes()
        if key not in found:
            found[key] = least(m, evaluate, L, gamma=not scaled)
        return found[key]

    ratio = deviance_ratio(m) if scaled else 1.0
    return np.array([max(lowest(without) - lowest(within), 0.0) * ratio for within, without in pairs])


def _adjusted(m: GeneralizedModel, within: Array, without: Array) -> Array:
    """Combine rows of `without` so that they do not correlate with those of `within`: Wald's hypothesis."""
    if not len(within):
        return without
    across = without @ m.vcov() @ within.T
    vectors, size, _ = np.linalg.svd(across, full_matrices=True)
    rank = int(np.sum(size > _INSIDE * size.max(initial=0.0)))
    return np.asarray(vectors[:, rank:].T @ without)


def test(m: GeneralizedModel, *hypotheses: Any, **options: Any) -> HypothesisTest:
    """Test linear hypotheses about the coefficients, written as text: "x = 0", "fb = fc".

    Parameters
    ----------
    hypotheses, options
        As of `FittedModel.test`; tests are z and chi-square, or t and F with residual degrees of freedom
        where a generalised linear model has its dispersion estimated. With `vcov=` and `cluster=` they are
        robust, see `vcov()`: t, and Hotelling's T^2 jointly, with Satterthwaite's degrees of freedom.

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
    if options.get("vcov", "model") == "model":
        options.setdefault("ddf", m.ddf)
    return linear_tests.test(m, *hypotheses, **options)  # type: ignore[arg-type]
