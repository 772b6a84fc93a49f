"""Predictions, comparisons and slopes as results: tables, intervals, hypotheses about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, p_value, text
from mixwell.inference.distributions import t_quantile, t_two_sided
from mixwell.inference.statements import read_statement, row_text
from mixwell.marginal.adjust import Adjust, adjusted, of_intervals
from mixwell.marginal.contrasts import PAIRS
from mixwell.marginal.effects import Values
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.inference.wald import Approximation

__all__ = ["Effects"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Effects:
    """Predictions, comparisons or slopes, with standard errors by the delta method.

    Attributes
    ----------
    title, note
        What they are, and how they were made, in words.
    labels
        Columns (r,) that say what each row is.
    estimate, gradient
        The r estimates, and their gradients in the parameters, shape (r, P).
    by
        Covariance of the parameters with a rule for degrees of freedom.
    null
        The value under the hypothesis that the p-values are of; NaN for none.
    level
        Coverage of the confidence intervals.
    limits
        Limits of intervals that are not symmetric, (r,) each; None for symmetric ones.
    adjust, families, means
        Adjustment of p-values and intervals for their number, the rows that are adjusted together (one family
        of all rows if empty), and of how many means a family has the differences.
    """

    title: str
    note: str
    labels: Mapping[str, Any]
    estimate: Array
    gradient: Array
    by: Approximation
    null: float
    level: float
    limits: tuple[Array, Array] | None = None
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict)
    adjust: Adjust = "none"
    families: Sequence[Sequence[int]] = ()
    means: int = 0

    def __len__(self) -> int:
        """Rows."""
        return self.estimate.size

    @property
    def se(self) -> Array:
        """Standard errors, shape (r,)."""
        variance = np.einsum("rp,pq,rq->r", self.gradient, self.by.vcov, self.gradient, optimize=True)
        return np.where(np.isnan(self.estimate), np.nan, np.sqrt(np.maximum(variance, 0.0)))

    @property
    def df(self) -> Array:
        """Degrees of freedom, shape (r,); infinite for normal."""
        df = np.asarray(self.by.df(np.nan_to_num(self.gradient)), dtype=np.float64)
        return np.where(np.isnan(self.estimate), np.nan, df)

    def vcov(self) -> Array:
        """Return the covariance of the estimates, shape (r, r)."""
        out = np.asarray(self.gradient @ self.by.vcov @ self.gradient.T)
        lost = np.isnan(self.estimate)
        out[lost], out[:, lost] = np.nan, np.nan
        return out

    def interval(self, level: float | None = None) -> tuple[Array, Array]:
        """Return the limits of the confidence intervals, (r,) each."""
        if self.limits is not None and level in (None, self.level):
            return self.limits
        se = self.se
        half = np.where(se == 0, 0.0, self._tests(self.level if level is None else level)[2] * se)
        return self.estimate - half, self.estimate + half

    def _tests(self, level: float) -> tuple[Array, Array, Array]:
        """Statistics, p-values, and multipliers of the standard errors in intervals, (r,) each."""
        se, df = self.se, self.df
        null = 0.0 if math.isnan(self.null) else self.null
        t = np.divide(self.estimate - null, se, out=np.full_like(se, np.nan), where=se > 0)
        if self.adjust == "none":
            return t, np.asarray(t_two_sided(t, df)), np.asarray(t_quantile(0.5 + 0.5 * level, df))
        p, c = np.full_like(t, np.nan), np.full_like(t, np.nan)
        covariance = self.vcov()
        for family in self.families or [range(len(self))]:
            own = list(family)
            sd = np.sqrt(np.maximum(np.diag(covariance)[own], 1e-300))
            correlation = covariance[np.ix_(own, own)] / np.outer(sd, sd)
            p[own], c[own] = adjusted(
                self.adjust, t[own], df[own], correlation, means=self.means or len(own), level=level
            )
        return t, p, np.where(se == 0, 0.0, c)

    def table(self) -> Any:
        """Return one row an estimate, in the caller's dataframe library.

        Returns
        -------
        table
            The columns of `labels`, then estimate, std_error, df, with a null value statistic and p_value,
            and lower, upper.
        """
        return self.to_table(self._columns())

    tidy = table

    def _columns(self) -> dict[str, Any]:
        se, df = self.se, self.df
        lower, upper = self.interval()
        columns = dict(self.labels) | {"estimate": self.estimate, "std_error": se, "df": df}
        if not math.isnan(self.null):
            statistic, p, _ = self._tests(self.level)
            columns |= {"statistic": statistic, "p_value": p}
        return columns | {"lower": lower, "upper": upper}

    @checked
    def hypothesis(self, hypothesis: Any, *, adjust: Adjust = "none") -> Effects:
        """Combine the estimates linearly.

        Parameters
        ----------
        hypothesis
            A text about b1, b2, ..., the rows from the first on: "b1 = b2", "b3 - b1 = 2 * b2". Or
            "pairwise" (each row minus each later one), "revpairwise", "sequential" (each minus the one
            before), "reference" (each minus the first). Or a matrix with r columns, one row a combination.
        adjust
            Of p-values and intervals for the number of combinations: "none", "bonferroni", "sidak", "holm",
            "fdr", "mvt", "scheffe", and of all pairs "tukey"; see `contrast`.

        Returns
        -------
        Effects
            Symmetric intervals; the null value is zero.

        Raises
        ------
        MixwellError
            MW-A25 to MW-A27 for a text that cannot be read, MW-A122 for a matrix of another shape, MW-A117
            for Tukey's method with anything but all pairs.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("weight ~ diet", {"weight": [1.0, 2, 4, 5, 8, 9], "diet": list("aabbcc")})
        >>> pairs = m.predictions(newdata="grid").hypothesis("pairwise")
        >>> pairs.labels["hypothesis"], pairs.estimate.round(3).tolist()
        (['b1 - b2', 'b1 - b3', 'b2 - b3'], [-3.0, -7.0, -4.0])
        """
        choice("adjust", adjust, get_args(Adjust))
        rows, sides, names = _combinations(hypothesis, len(self))
        if adjust == "tukey" and not (isinstance(hypothesis, str) and hypothesis in PAIRS):
            raise error("MW-A117", what=repr(hypothesis) if isinstance(hypothesis, str) else "a matrix")
        combined = Values(self.estimate, self.gradient).weighted(rows)
        return Effects(
            f"Hypotheses about: {self.title[0].lower()}{self.title[1:]}",
            self.note,
            {"hypothesis": names},
            combined.value - sides,
            combined.gradient,
            self.by,
            0.0,
            self.level,
            None,
            self.to_table,
            adjust,
            (),
            len(self),
        )

    def _blocks(self) -> list[Block]:
        columns = self._columns()
        n, shown = len(self), 30
        some = slice(0, n if n <= shown + 5 else shown)
        names = [name for name in columns if not (name == "df" and not np.isfinite(columns["df"]).any())]
        short = {"std_error": "se", "p_value": "p", "statistic": "z" if "df" not in names else "t"}
        short |= {"lower": f"lower {100 * self.level:g} %"}
        body = []
        for name in names:
            values = columns[name][some]
            body.append(_shown(name, values))
        lines = [f"{n - shown} more rows in .table()"] if n > shown + 5 else []
        if np.isnan(self.estimate).any():
            lines.append("-: not known; not estimable, or a value is missing.")
        if self.adjust != "none":
            intervals = of_intervals(self.adjust)
            how = (
                self.adjust if intervals == self.adjust else f"p-values {self.adjust}, intervals {intervals}"
            )
            lines.append(f"Adjusted: {how}.")
        rows = [list(row) for row in zip(*body, strict=True)]
        header = [short.get(name, name) for name in names]
        return [Block(self.title, header, rows, left=len(self.labels), lines=[*lines, self.note])]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


def _shown(name: str, values: Any) -> list[str]:
    if name == "p_value":
        return [p_value(p) for p in values.tolist()]
    if name == "df":
        return ["-" if np.isnan(v) else "Inf" if np.isinf(v) else f"{v:.1f}" for v in values]
    if name == "statistic":
        return ["-" if np.isnan(v) else f"{v:.2f}" for v in values]
    if isinstance(values, np.ndarray) and name in ("estimate", "std_error", "lower", "upper"):
        return cells(values.tolist())
    return [f"{v:g}" if isinstance(v, float) else str(v) for v in list(values)]


def _combinations(hypothesis: Any, count: int) -> tuple[Array, Array, list[str]]:
    pairs = {
        "pairwise": [(i, j) for i in range(count) for j in range(i + 1, count)],
        "revpairwise": [(j, i) for i in range(count) for j in range(i + 1, count)],
        "sequential": [(i, i - 1) for i in range(1, count)],
        "reference": [(i, 0) for i in range(1, count)],
    }
    if isinstance(hypothesis, str) and hypothesis in pairs:
        own = pairs[hypothesis]
        rows = np.zeros((len(own), count))
        for at, (i, j) in enumerate(own):
            rows[at, i], rows[at, j] = 1.0, -1.0
        return rows, np.zeros(len(own)), [f"b{i + 1} - b{j + 1}" for i, j in own]
    names = tuple(f"b{i + 1}" for i in range(count))
    texts = [hypothesis] if isinstance(hypothesis, str) else hypothesis
    if isinstance(texts, list | tuple) and texts and all(isinstance(each, str) for each in texts):
        found = [one for each in texts for one in read_statement(each, names, ())]
        return np.array([s.row for s in found]), np.array([s.rhs for s in found]), [s.text for s in found]
    try:
        rows = np.atleast_2d(np.asarray(hypothesis, dtype=np.float64))
    except (TypeError, ValueError):
        rows = np.empty((0, 0))
    if rows.ndim != 2 or rows.shape[1] != count or not np.isfinite(rows).all():
        raise error("MW-A122", count=count, given=np.shape(hypothesis))
    return rows, np.zeros(len(rows)), [row_text(row, 0.0, names).removesuffix(" = 0") for row in rows]
