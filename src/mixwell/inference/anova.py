"""Analysis of variance of the fixed effects: one test a term."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, p_value, text
from mixwell.inference.distributions import chi2_tail
from mixwell.inference.hypotheses import anova_hypotheses
from mixwell.inference.wald import (
    Approximation,
    Constant,
    Ddf,
    Information,
    approximation,
    check_degrees,
    independent,
    joint,
)
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["Anova", "anova", "chosen_approximation", "method_text", "read_type"]

Array = NDArray[np.float64]
Type = Literal[1, 2, 3, "I", "II", "III", "1", "2", "3"]

_TYPES = {"I": 1, "II": 2, "III": 3, "1": 1, "2": 2, "3": 3}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Anova:
    """Tests of the terms of a model; `.table()` has them at full precision.

    Attributes
    ----------
    type, test, method
        "I", "II" or "III"; "F", "chisq" or "lrt"; where the degrees of freedom come from.
    columns
        The table, column by column; see `table`.
    hypotheses
        For each term the matrix L (q, p) of its hypothesis L beta = 0, columns as in `fixef.names`.
    remarks
        What a reader should know, printed under the table.
    """

    type: str
    test: str
    method: str
    columns: Mapping[str, Any]
    hypotheses: Mapping[str, Array]
    remarks: tuple[str, ...] = ()
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict)

    def table(self) -> Any:
        """Return one row a term, in the caller's dataframe library.

        Returns
        -------
        table
            F tests: term, sum_sq, mean_sq, num_df, den_df, statistic, p_value, and for a model without random
            effects a last row for the residuals; no sums of squares with robust standard errors. Chi-square
            tests: term, statistic, df, p_value.
        """
        return self.to_table(dict(self.columns))

    def _block(self) -> Block:
        shown = []
        for name, values in self.columns.items():
            if name == "term":
                shown.append(list(values))
            elif name == "p_value":
                shown.append([p_value(p) for p in values.tolist()])
            elif name in ("num_df", "df"):
                shown.append([str(int(value)) for value in values])
            else:
                shown.append(cells(values.tolist()))
        rows = [list(row) for row in zip(*shown, strict=True)]
        header = ["F" if name == "statistic" and self.test == "F" else name for name in self.columns]
        header = [{"statistic": "chisq", "p_value": "p"}.get(name, name) for name in header]
        return Block(f"Type {self.type} tests, {self.method}", header, rows, lines=self.remarks)

    def __repr__(self) -> str:
        return text([self._block()])

    def _repr_html_(self) -> str:
        return html([self._block()])


@checked
def anova(
    m: FittedModel,
    type: Type = 3,  # noqa: A002 - the name that R gives it
    *,
    ddf: Ddf = "satterthwaite",
    information: Information = "expected",
    test: Literal["F", "chisq"] = "F",
    vcov: str = "model",
    cluster: Any = None,
) -> Anova:
    """Test every term of the fixed part.

    Parameters
    ----------
    type
        3 (or "III"): SAS's hypotheses about equally weighted means, as lmerTest. 2: each term after all terms
        that do not contain it. 1: each term after the earlier ones. A term is contained in another that has
        all its factors, more of them, and the same covariates; so with a covariate x the factor of a * x is
        tested where x is zero. All three give the same results for every contrast coding.
    ddf
        Denominator degrees of freedom: "satterthwaite", "kenward-roger", "residual", "normal". Without random
        effects they are the residual ones.
    information
        With "kenward-roger": "expected" or "observed".
    test
        "F", or "chisq": Wald's chi-square, for large samples.
    vcov, cluster
        "model", or the kind of cluster-robust covariance ("CR2", ...) and its clusters, see `vcov()`.

    Returns
    -------
    Anova
        It prints as a table; `.table()` has the numbers, `.hypotheses` the matrices that were tested.

    Raises
    ------
    MixwellError
        MW-A02 for another type or test, MW-A31 for options that exclude each other.

    Notes
    -----
    sum_sq is F sigma^2 num_df, as in lmerTest. For a model without random effects it is the classical sum of
    squares: type 1 equals R's anova(lm), types 2 and 3 car::Anova (type 3 with sum-to-zero contrasts). As in
    car, type 2 then tests the factor of a * x without a:x, whatever x is.

    With several rows, Satterthwaite's degrees of freedom depend on how the hypothesis is written; it is
    written in treatment coding, as lmerTest does for type 3. Type 1 and 2 hypotheses of a mixed model take no
    account of prior weights, as lmerTest's. Without an intercept the first factor has a mean for every level,
    and its test is that all of them are zero. Where cells are missing, each test is of what can be estimated.

    Examples
    --------
    >>> import mixwell as mw
    >>> cake = mw.data.load("cake", "dict")
    >>> table = mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", cake).anova().table()
    >>> table["term"], table["num_df"].tolist(), table["statistic"].round(3).tolist()
    (['recipe', 'temp', 'recipe:temp'], [2, 1, 2], [0.096, 94.163, 0.042])
    """
    kind = read_type(type)
    choice("test", test, ("F", "chisq"))
    by = chosen_approximation(m, ddf, information, vcov, cluster, chisq=test == "chisq")
    hypotheses = anova_hypotheses(m, kind)
    classical = vcov == "model"
    if test == "chisq":
        columns = _chisq_columns(m, by, hypotheses.rows)
        method = "Wald chi-square" + ("" if classical else f", {by.name}")
    else:
        columns = _f_columns(m, by, hypotheses.rows, sums=classical)
        method = method_text(by.name)
    labels = m.design.term_labels
    tests = dict(zip(labels, hypotheses.rows, strict=True))
    remarks = _remarks(m, as_coded=hypotheses.source == "columns")
    roman = {1: "I", 2: "II", 3: "III"}[kind]
    return Anova(roman, test, method, columns, tests, remarks, m.design.frame.native_like)


def chosen_approximation(
    m: FittedModel, ddf: Ddf, information: Information, vcov: str, cluster: Any, *, chisq: bool = False
) -> Approximation:
    """Return the approximation that the options of `anova` and `test` ask for; refuse those that clash."""
    check_degrees(ddf, information)
    if chisq and ddf not in ("satterthwaite", "normal"):
        advice = "The chi-square test has no denominator degrees of freedom: leave ddf out."
        raise error("MW-A31", option=f"ddf={ddf!r}", other="test='chisq'", advice=advice)
    if isinstance(vcov, str) and vcov == "model":
        if cluster is not None:
            advice = "Name the kind of robust covariance, vcov='CR2', or leave cluster out."
            raise error("MW-A31", option="cluster=", other="vcov='model'", advice=advice)
        return approximation(m, "normal" if chisq else ddf, information)
    if ddf not in ("satterthwaite", "normal"):
        advice = (
            "Robust standard errors have Satterthwaite's degrees of freedom (the default), or ddf='normal'."
        )
        raise error("MW-A31", option=f"ddf={ddf!r}", other=f"vcov={vcov!r}", advice=advice)
    by: Approximation = m._robust(vcov, cluster)
    return Constant(f"{vcov}, normal", by.vcov, math.inf) if chisq or ddf == "normal" else by


def method_text(name: str) -> str:
    """Say in a title where degrees of freedom come from.

    >>> method_text("Satterthwaite"), method_text("residual")
    ("Satterthwaite's degrees of freedom", 'residual degrees of freedom')
    """
    first, comma, rest = name.partition(", ")
    if first in ("Satterthwaite", "Kenward-Roger"):
        return f"{first}'s degrees of freedom{comma}{rest}"
    return f"{first} degrees of freedom" if first == "residual" else name


def read_type(given: object) -> int:
    """Return 1, 2 or 3, which may have been written in other ways."""
    if isinstance(given, str) and given in _TYPES:
        return _TYPES[given]
    if isinstance(given, int | np.integer) and not isinstance(given, bool) and 1 <= given <= 3:
        return int(given)
    raise error("MW-A02", option="type", given=given, allowed=["1", "2", "3", "'I'", "'II'", "'III'"])


def _f_columns(
    m: FittedModel, by: Approximation, hypotheses: Sequence[Array], *, sums: bool
) -> dict[str, Any]:
    beta, sigma2 = m.fixef.values, m.sigma**2
    tests = [joint(by, beta, L) for L in hypotheses]
    # Kenward-Roger scales its F; the sum of squares is that of the Wald statistic itself.
    squares = [sigma2 * float(np.sum(independent(L, L @ beta, by.vcov)[0] ** 2)) for L in hypotheses]
    rows = [
        (label, square if t.num_df else math.nan, t.num_df, t.den_df, t.statistic, t.p_value)
        for label, square, t in zip(m.design.term_labels, squares, tests, strict=True)
    ]
    if sums and not m.is_mixed:
        df = m.nobs - len(m.kept)
        left = sigma2 * (df if m.is_reml else m.nobs)
        rows.append(("Residuals", left, df, math.nan, math.nan, math.nan))
    label, sum_sq, num_df, den_df, statistic, p = zip(*rows, strict=True) if rows else ((),) * 6
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_sq = np.array(sum_sq, dtype=float) / np.array(num_df, dtype=float)
    squared = {"sum_sq": np.array(sum_sq, dtype=float), "mean_sq": mean_sq} if sums else {}
    return {
        "term": list(label),
        **squared,
        "num_df": np.array(num_df, dtype=np.int64),
        "den_df": np.array(den_df, dtype=float),
        "statistic": np.array(statistic, dtype=float),
        "p_value": np.array(p, dtype=float),
    }


def _chisq_columns(m: FittedModel, by: Approximation, hypotheses: Sequence[Array]) -> dict[str, Any]:
    t = [independent(L, L @ m.fixef.values, by.vcov)[0] for L in hypotheses]
    df = np.array([len(each) for each in t], dtype=np.int64)
    statistic = np.array([float(np.sum(each**2)) if len(each) else math.nan for each in t])
    p = np.where(df > 0, chi2_tail(np.nan_to_num(statistic), np.maximum(df, 1)), math.nan)
    return {"term": list(m.design.term_labels), "statistic": statistic, "df": df, "p_value": p}


def _remarks(m: FittedModel, *, as_coded: bool) -> tuple[str, ...]:
    said = []
    if m.dropped:
        one = len(m.dropped) == 1
        said.append(
            f"{', '.join(m.dropped[:6])}{' and more' if len(m.dropped) > 6 else ''} {'is' if one else 'are'} "
            f"not estimable: each test is of what the rows determine of its term."
        )
    if as_coded:
        said.append(
            "The coding of the factors does not span their levels: the tests are of the columns as coded."
        )
    return tuple(said)
