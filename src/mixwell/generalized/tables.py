"""Tables of a fit, and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, p_value, text
from mixwell.generalized.levels import joint_variances
from mixwell.inference.distributions import t_quantile, t_two_sided
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["ranef", "summary", "summary_html", "tidy"]

Array = NDArray[np.float64]


@checked
def ranef(m: GeneralizedModel, *, condvar: bool | Literal["joint"] = True) -> Any:
    """Return the conditional modes of the random effects, one row each.

    Parameters
    ----------
    condvar
        Add the conditional standard deviations given the parameters, from the curvature at the modes.
        "joint": with the uncertainty of all parameters too, as glmmTMB has them; the covariances are in
        `ranef_covariance`.

    Returns
    -------
    table
        Columns group, level, term, estimate, condsd.

    Raises
    ------
    MixwellError
        MW-A07 for another value of `condvar`.
    """
    if not isinstance(condvar, bool) and condvar != "joint":
        raise error("MW-A07", option="condvar", expected="True, False or 'joint'", given=condvar)
    out: dict[str, list[Any]] = {"group": [], "level": [], "term": []}
    estimates, sds = [np.empty(0)], [np.empty(0)]
    for t, (term, b) in enumerate(zip(m.design.random, m.core["b"], strict=True)):
        k = len(term.names)
        out["group"] += [term.group] * (k * len(term.levels))
        out["level"] += [shown for level in term.levels for shown in [level_text(level)] * k]
        out["term"] += list(term.names) * len(term.levels)
        estimates.append(np.asarray(b).ravel())
        if condvar == "joint":
            sds.append(np.sqrt(joint_variances(m, t)).ravel())
        else:
            variances = np.einsum("jkk->jk", np.asarray(m.core["condvar"][t]))
            sds.append(np.sqrt(np.maximum(variances, 0.0)).ravel())
    columns: dict[str, Any] = {**out, "estimate": np.concatenate(estimates)}
    return m.design.frame.native_like(columns | ({"condsd": np.concatenate(sds)} if condvar else {}))


@checked
def tidy(m: GeneralizedModel, *, level: float | None = None) -> Any:
    """Return the fixed effects, one row each, with Wald tests.

    Statistics are z; t of a generalised linear model whose dispersion is estimated, as in R's glm.

    Parameters
    ----------
    level
        Add columns lower and upper with Wald intervals.

    Returns
    -------
    table
        Columns term, estimate, std_error, statistic, p_value.
    """
    estimate, se = m.fixef.values, m.se.values
    with np.errstate(divide="ignore", invalid="ignore"):
        z = estimate / se
    df = m.wald_df
    columns: dict[str, Any] = {
        "term": list(m.fixef.names),
        "estimate": np.array(estimate),
        "std_error": np.array(se),
        "statistic": z,
        "p_value": t_two_sided(z, df),
    }
    if level is not None:
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
            raise error("MW-A49", given=level)
        half = t_quantile(0.5 + 0.5 * level, df) * se
        columns |= {"lower": estimate - half, "upper": estimate + half}
    return m.design.frame.native_like(columns)


def summary(m: GeneralizedModel) -> str:
    """Return what a reader wants to know, as text."""
    return text(_blocks(m))


def summary_html(m: GeneralizedModel) -> str:
    """Return the summary as HTML, for notebooks."""
    return html(_blocks(m))


def _likelihood(m: GeneralizedModel) -> str:
    if m.family.is_quasi:
        phi, df = cells([m.pearson_dispersion])[0], m.df_residual
        return f"phi {phi} (Pearson, {df} degrees of freedom); no likelihood, so no loglik, AIC and BIC"
    return f"loglik {m.loglik:.4f}, AIC {m.aic:.2f}, BIC {m.bic:.2f}"


def _blocks(m: GeneralizedModel) -> list[Block]:
    zeros = f", {m.family.zero}" if m.family.zero else ""
    family = f"{m.family.name} ({m.family.link}){zeros}"
    how = "Laplace approximation" if m.is_mixed else "maximum likelihood"
    how = "quasi-likelihood" if m.family.is_quasi else how
    if m.nagq == 0:
        how = "the fast stage (nagq=0)"
    elif m.nagq > 1:
        how = f"adaptive quadrature, {m.nagq} nodes"
    groups = [f"{term.group} {len(term.levels)} levels" for term in m.design.random]
    lines = [
        f"{m.formula.text}, family {family}",
        "; ".join([f"{m.nobs} rows", *dict.fromkeys(groups)]),
        _likelihood(m),
    ]
    if m.prior is not None:
        how = f"{how}, penalised"
        lines.append(f"prior: {m.prior}")
    kind = "Generalised linear mixed model" if m.is_mixed else "Generalised linear model"
    blocks = [Block(f"{kind} fitted by {how}", lines=lines)]
    if m.is_mixed:
        blocks.append(m.varcorr().block())
    with np.errstate(divide="ignore", invalid="ignore"):
        z = m.fixef.values / m.se.values
    rows = zip(
        m.fixef.names,
        cells(m.fixef.values.tolist()),
        cells(m.se.values.tolist()),
        [f"{value:.2f}" for value in z],
        [p_value(value) for value in t_two_sided(z, m.wald_df).tolist()],
        strict=True,
    )
    header: tuple[str, ...] = ("term", "estimate", "se", "z" if np.isinf(m.wald_df) else "t", "p")
    blocks.append(Block("Fixed effects", header, [list(row) for row in rows]))
    if m.gamma.size and not m.family.is_quasi:
        se = np.sqrt(np.diag(m._covariance)[m.theta.size + len(m.fixef.names) :])
        values = zip(m.predictors.names, cells(m.gamma.tolist()), cells(se.tolist()), strict=True)
        table = [[part, name, estimate, error_] for (part, name), estimate, error_ in values]
        said = [f"{name} = {value:.5g}" for name, value in m.dispersion.items()]
        header = ("parameter", "term", "estimate", "se")
        blocks.append(Block("Auxiliary", header, table, lines=[", ".join(said)] if said else [], left=2))
    if m.notes:
        blocks.append(Block("Notes", lines=[f"{code}  {said}" for code, said in m.notes]))
    return [*blocks, Block(f"Certificate: {m.certificate().line}")]
