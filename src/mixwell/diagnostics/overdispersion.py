"""Whether responses vary more than their family says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mixwell.diagnostics.quantile_residuals import quantile_residuals
from mixwell.diagnostics.residual_tests import LEVEL
from mixwell.fitted.text import Block, html, number, p_value, text
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Overdispersion", "overdispersion"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Overdispersion:
    """Variance of the responses over that of the model.

    Attributes
    ----------
    method
        "pearson": Pearson's chi-square over the residual degrees of freedom. "simulation": the variance of
        the residuals over that of simulated ones. "none": the data cannot tell.
    chisq, rdf
        Pearson's chi-square and its degrees of freedom; NaN for the others.
    ratio
        One under the model, more with overdispersion.
    p_value
        Of overdispersion: one-sided.
    advice
        What it means and what to do.
    """

    method: Literal["pearson", "simulation", "none"]
    chisq: float
    ratio: float
    rdf: float
    p_value: float
    advice: str

    def _blocks(self) -> list[Block]:
        if self.method == "none":
            return [Block("Overdispersion", lines=(self.advice,))]
        names, values = ["ratio"], [number(self.ratio, 4)]
        if self.method == "pearson":
            names, values = ["chisq", "df", "ratio"], [number(self.chisq), f"{self.rdf:g}", values[0]]
        return [Block("Overdispersion", (*names, "p"), [(*values, p_value(self.p_value))], 0, (self.advice,))]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def overdispersion(
    m: GeneralizedModel, *, simulations: int = 1000, seed: int | None = None
) -> Overdispersion:
    """Return whether responses vary more than the family says.

    Parameters
    ----------
    simulations, seed
        Of the simulation, see `quantile_residuals`; not used for Pearson's chi-square.

    Returns
    -------
    Overdispersion
        Of poisson and binomial models, and their quasi-families, Pearson's chi-square over the residual
        degrees of freedom (rows less parameters), as of `check_overdispersion` of R's performance (McCullagh
        and Nelder 1989, section 4.5). With random effects residuals are given their modes, which follow the
        data: the ratio is then too small, and `quantile_residuals().dispersion()` finds more. Of other
        counts and shares, and with extra zeros, the dispersion test of `quantile_residuals`. NaN with the
        reason as `advice` for responses of 0 and 1, whose variance follows from their mean, for categories,
        and where the family estimates the whole variance.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 9, 0, 12, 4], "x": [0, 1, 2, 3, 4]}, family="poisson")
    >>> m.overdispersion()
    Overdispersion
       chisq  df  ratio       p
      19.613   3  6.538  <0.001
      overdispersed: use family='nbinom2' or 'nbinom1', or an effect of each row: + (1 | row)
    """
    reason = _untestable(m)
    if reason:
        return Overdispersion("none", math.nan, math.nan, math.nan, math.nan, reason)
    if m.family.distribution in ("poisson", "binomial") and not m.family.zero:
        from mixwell.inference.distributions import chi2_tail  # noqa: PLC0415

        kept = m.weights > 0
        # Of a quasi-family the dispersion itself is what is asked about.
        parameters = len(m.fixef.names) + m.theta.size
        chisq, rdf = float(m.pearson_chi2), float(np.count_nonzero(kept)) - parameters
        ratio = chisq / rdf if rdf > 0 else math.nan
        p = float(chi2_tail(chisq, rdf)) if rdf > 0 else math.nan
        return Overdispersion("pearson", chisq, ratio, rdf, p, _advice(m, p))
    test = quantile_residuals(m, simulations, seed=seed).dispersion("greater")
    return Overdispersion(
        "simulation", math.nan, test.statistic, math.nan, test.p_value, _advice(m, test.p_value)
    )


def _untestable(m: GeneralizedModel) -> str:
    """Say why the data cannot tell, or nothing."""
    family = m.family
    if family.kind == "binary" and np.max(m.weights, initial=0.0) <= 1:
        return (
            "Responses of 0 and 1 cannot be overdispersed: their variance follows from their mean. "
            "Add them up by cluster: m.quantile_residuals(by=...)."
        )
    if family.kind == "ordered":
        return "Categories have no variance that could exceed that of the model."
    if family.kind not in ("binary", "count") and family.distribution != "poisson":
        return f"Family {family.name} estimates its dispersion: there is no variance to exceed."
    return ""


def _advice(m: GeneralizedModel, p: float) -> str:
    if math.isnan(p):
        return "there are no residual degrees of freedom"
    if p >= LEVEL:
        return "no overdispersion found"
    if m.family.is_quasi:
        return "overdispersed, which the standard errors of this quasi-family allow for"
    row = "or an effect of each row: + (1 | row)"
    if m.family.zero:
        return "overdispersed beyond the extra zeros: model these with more predictors, or use another family"
    if m.family.kind == "binary":
        also = "family='betabinomial', " if m.family.name == "binomial" else "predictors of the dispersion "
        return f"overdispersed: use {also}{row}"
    if m.family.name == "poisson":
        return f"overdispersed: use family='nbinom2' or 'nbinom1', {row}"
    if m.family.name == "truncated_poisson":
        return "overdispersed: use family='truncated_nbinom2'"
    return f"overdispersed: use the other negative binomial family, dispformula=, {row}"
