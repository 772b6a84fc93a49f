"""Contrasts of marginal means, with tests and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, html, text
from mixwell.marginal.adjust import Adjust, adjusted, stepwise
from mixwell.marginal.functions_of_means import correlations, examined, joint_test, printed, said
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.marginal.back_transform import Scale
    from mixwell.marginal.reference_grid import Model

__all__ = ["Contrasts"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Contrasts:
    """Linear combinations of means with tests; p-values and intervals have the same adjustment.

    Attributes
    ----------
    model
        The fit.
    labels
        Names of the contrasts, and the levels of `by`.
    by
        Names of the variables that separate families.
    families
        Positions of the contrasts that are adjusted together.
    L, offset, lost
        As of `EMMeans`.
    means
        Number of means in a family.
    scale
        How they are shown: as ratios, if there is a logarithm to be taken back.
    ddf, level, adjust
        As asked for.
    """

    model: Model
    labels: Mapping[str, list[Any]]
    by: tuple[str, ...]
    families: tuple[tuple[int, ...], ...]
    L: Array
    offset: Array
    lost: Array
    means: int
    scale: Scale
    ddf: str | None
    level: float
    adjust: Adjust

    def columns(self) -> dict[str, Any]:
        """Return the labels and estimates (or ratios) with errors, tests and intervals, (r,) each."""
        estimate, se, df, t = examined(self.model, self.L, self.offset, self.lost, self.ddf)
        p, half = np.full(len(t), np.nan), np.full(len(t), np.nan)
        for each in self.families:
            family = list(each)
            correlation = correlations(self.model, self.L[family], self.ddf)
            p[family], c = adjusted(
                self.adjust, t[family], df[family], correlation, means=self.means, level=self.level
            )
            half[family] = np.where(se[family] == 0, 0.0, c * se[family])
        out: dict[str, Any] = dict(self.labels)
        lower, upper = estimate - half, estimate + half
        name = "estimate"
        if self.scale.ratio:
            name, rate = self.scale.ratio, math.log(self.scale.base)
            with np.errstate(over="ignore", invalid="ignore"):  # separated data: infinite ratios are infinite
                estimate, lower, upper = (np.exp(rate * each) for each in (estimate, lower, upper))
                se = rate * estimate * se
        out |= {name: estimate, "std_error": se, "df": df, "statistic": t, "p_value": p}
        return out | {"lower": lower, "upper": upper}

    def table(self) -> Any:
        """Return the contrasts in the caller's dataframe library.

        Returns
        -------
        table
            Columns contrast (or one for each factor of an interaction), those of `by`, estimate (ratio,
            odds_ratio), std_error, df, statistic (that of estimate = 0 or ratio = 1), p_value, lower, upper.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
        >>> m.contrast("recipe").table()["p_value"].round(3).tolist()
        [0.45, 0.429, 0.999]
        """
        return self.model.design.frame.native_like(self.columns())

    def joint(self) -> Any:
        """Test all contrasts of a family together: F, or chi-square over its degrees of freedom.

        Returns
        -------
        table
            Columns of `by`, statistic, num_df, den_df, p_value; a row for each family. Of contrasts that are
            not estimable, those combinations are tested that are; num_df is their number.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
        >>> found = m.contrast("recipe").joint()
        >>> found["num_df"].tolist(), found["p_value"].round(3).tolist()
        ([2], [0.369])
        """
        tests = []
        for each in self.families:
            own = list(each)
            tests.append(joint_test(self.model, self.L[own], self.offset[own], self.lost[own], self.ddf))
        firsts = [family[0] for family in self.families]
        found: dict[str, Any] = {name: [self.labels[name][i] for i in firsts] for name in self.by}
        for name in ("statistic", "num_df", "den_df", "p_value"):
            found[name] = np.array([getattr(test, name) for test in tests])
        return self.model.design.frame.native_like(found)

    @checked
    def equivalence(
        self,
        delta: float,
        *,
        side: Literal["both", "lower", "upper"] = "both",
        adjust: Literal["none", "bonferroni", "sidak", "holm", "fdr"] = "none",
    ) -> Any:
        """Test that contrasts lie within limits (Schuirmann 1987, two one-sided tests).

        Parameters
        ----------
        delta
            Largest difference that does not matter, on the scale of the link: for ratios its logarithm.
        side
            "both": equivalence, within plus or minus delta; "lower": non-inferiority, above -delta; "upper":
            below delta.
        adjust
            Of the p-values, within a family.

        Returns
        -------
        table
            The labels, estimate, std_error, df, statistic, p_value: small where the data show that the
            contrast is within the limits.

        Raises
        ------
        MixwellError
            MW-A07 for a delta that is not positive.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
        >>> m.contrast("recipe").equivalence(5.0)["p_value"].round(4).tolist()
        [0.0022, 0.0024, 0.0]
        """
        from scipy.special import ndtr, stdtr  # noqa: PLC0415

        choice("side", side, ("both", "lower", "upper"))
        if not (isinstance(delta, (int, float)) and math.isfinite(delta) and delta > 0):
            raise error("MW-A07", option="delta", expected="a positive number", given=delta)
        estimate, se, df, _ = examined(self.model, self.L, self.offset, self.lost, self.ddf)
        away = {"both": np.abs(estimate), "lower": -estimate, "upper": estimate}[side]
        t = np.divide(away - delta, se, out=np.full_like(se, np.nan), where=se > 0)
        p = np.where(np.isinf(df), ndtr(t), stdtr(np.where(np.isinf(df), 1.0, df), t))
        for each in self.families:
            p[list(each)] = stepwise(adjust, p[list(each)])
        statistic = -t if side == "lower" else t
        found = {"estimate": estimate, "std_error": se, "df": df, "statistic": statistic, "p_value": p}
        return self.model.design.frame.native_like({**self.labels, **found})

    def _blocks(self) -> list[Block]:
        columns = self.columns()
        lines = [said(self.model, self.ddf, self.level, self.adjust), self.scale.said]
        if not self.scale.ratio and self.scale.link not in ("identity", ""):
            lines.append(f"Differences on the {self.scale.link} scale.")
        if np.isnan(columns["std_error"]).any():
            lines.append("-: not estimable, the data do not determine it.")
        left = len(self.labels)
        return [
            Block(
                "Contrasts",
                *printed(columns, self.labels),
                left,
                [each for each in lines if each],
            )
        ]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())
