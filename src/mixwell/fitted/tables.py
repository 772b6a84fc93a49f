"""Tables of a fit: for printing, and at full precision in the caller's dataframe library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.fitted.prediction_variance import joint_variances
from mixwell.fitted.text import Block, cells, html, p_value, text
from mixwell.inference.wald import Approximation, Ddf, Information, approximation, separate
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixwell.design import Design
    from mixwell.fitted.result import FittedModel
    from mixwell.fitted.values import NamedVector

__all__ = [
    "augment",
    "coef",
    "glance",
    "known_group",
    "level_coefficients",
    "ranef",
    "summary",
    "summary_html",
    "tidy",
]

Array = NDArray[np.float64]


# --- for printing ---------------------------------------------------------------------------------------


@checked
def summary(m: FittedModel, *, ddf: Ddf = "satterthwaite", information: Information = "expected") -> str:
    """Return what a reader wants to know about a fit, as text; the last line is from its certificate.

    Parameters
    ----------
    ddf
        Degrees of freedom of the t tests: "satterthwaite", "kenward-roger", "residual" or "normal".
    information
        With "kenward-roger": "expected" (pbkrtest, lmerTest) or "observed" (SAS).

    Returns
    -------
    str
        Formula, data, likelihood, random effects, fixed effects, notes, certificate. Numbers are rounded to
        five significant digits here and only here.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> print(m.summary().splitlines()[0])
    Linear mixed model fitted by REML
    """
    return text(_blocks(m, approximation(m, ddf, information)))


def summary_html(m: FittedModel) -> str:
    """Return the summary as self-contained HTML."""
    return html(_blocks(m, approximation(m)))


def _blocks(m: FittedModel, by: Approximation) -> list[Block]:
    blocks = [_heading(m)]
    if m.is_mixed:
        blocks.append(m.varcorr().block())
    blocks.append(_fixed(m, by))
    if m.notes:
        blocks.append(Block("Notes", lines=[f"{code}  {said}" for code, said in m.notes]))
    return [*blocks, Block(f"Certificate: {m.certificate().line}")]


def _heading(m: FittedModel) -> Block:
    design = m.design
    if m.is_mixed:
        title = f"Linear mixed model fitted by {m.method}"
    else:
        title = "Linear model fitted by least squares" + ("" if m.is_reml else ", residual variance by ML")
    groups = {term.group: f"{term.group} {len(term.levels)} levels" for term in design.random}
    rows = f"{m.nobs} rows" + (f" of {design.n_rows}" if m.nobs != design.n_rows else "")
    extras = ["prior weights"] if design.weights is not None else []
    extras += ["an offset"] if design.offset is not None else []
    likelihood = [f"loglik {m.loglik:.3f}", f"AIC {m.aic:.2f}", f"BIC {m.bic:.2f}"]
    if m.is_mixed and m.is_reml:
        likelihood.insert(0, f"REML criterion {m.reml_criterion:.3f}")
    if not m.is_mixed:
        likelihood.insert(0, f"sigma {cells([m.sigma])[0]} on {m.df_residual} degrees of freedom")
    return Block(
        title, lines=[m.formula.text, "; ".join([rows, *groups.values(), *extras]), ", ".join(likelihood)]
    )


def _fixed(m: FittedModel, by: Approximation) -> Block:
    tests = separate(by, m.fixef.values, np.eye(len(m.kept)))
    normal = bool(np.all(np.isinf(tests.df)))
    columns = [
        m.fixef.names,
        cells(tests.estimate.tolist()),
        cells(tests.se.tolist()),
        [f"{value:.1f}" for value in tests.df],
        [f"{value:.2f}" for value in tests.statistic],
        [p_value(value) for value in tests.p_value.tolist()],
    ]
    header: tuple[str, ...] = ("term", "estimate", "se", "df", "t", "p")
    if normal:
        del columns[3]
        header = ("term", "estimate", "se", "z", "p")
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Block("Fixed effects", header, rows, lines=[f"Degrees of freedom: {by.name}."])


# --- for computing --------------------------------------------------------------------------------------


@checked
def ranef(m: FittedModel, *, condvar: bool | Literal["joint"] = True) -> Any:
    """Return the conditional modes of the random effects, one row each.

    Parameters
    ----------
    condvar
        Add the conditional standard deviations, sqrt(Var(b | y)) with beta and theta taken as known. "joint":
        with the uncertainty of beta too, the standard deviations of b_hat - b; the covariances are in
        `ranef_covariance`.

    Returns
    -------
    table
        Columns group, level (as text; the parts of an interaction joined by ':'), term, estimate, condsd.

    Raises
    ------
    MixwellError
        MW-A07 for another value of `condvar`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> modes = m.ranef()
    >>> modes["level"][0], float(modes["estimate"][0].round(4))
    ('A', -17.6069)
    """
    if not isinstance(condvar, bool) and condvar != "joint":
        raise error("MW-A07", option="condvar", expected="True, False or 'joint'", given=condvar)
    solution = m.full_solution if condvar else m.solution
    out: dict[str, list[Any]] = {"group": [], "level": [], "term": []}
    estimates, sds = [np.empty(0)], [np.empty(0)]
    for t, term in enumerate(m.design.random):
        k = len(term.names)
        out["group"] += [term.group] * (k * len(term.levels))
        out["level"] += [shown for level in term.levels for shown in [level_text(level)] * k]
        out["term"] += list(term.names) * len(term.levels)
        estimates.append(np.asarray(solution.b[t]).ravel())
        if condvar == "joint":
            sds.append(m.sigma * np.sqrt(np.maximum(joint_variances(m, t), 0.0)).ravel())
        elif condvar:
            variances = np.einsum("jkk->jk", np.asarray(solution.condvar_unscaled[t]))
            sds.append(m.sigma * np.sqrt(np.maximum(variances, 0.0)).ravel())
    columns: dict[str, Any] = {**out, "estimate": np.concatenate(estimates)}
    return m.design.frame.native_like(columns | ({"condsd": np.concatenate(sds)} if condvar else {}))


@checked
def coef(m: FittedModel, group: str | None = None) -> Any:
    """Return the coefficients of each level of a grouping factor: fixed effects plus conditional modes.

    Parameters
    ----------
    group
        The grouping factor, "Subject" or "batch:cask"; may be left out when there is only one.

    Returns
    -------
    table
        One row a level: the columns of the grouping factor with their own labels (with a dot before a name
        that is also a coefficient's), then one column a coefficient.

    Raises
    ------
    MixwellError
        MW-A16 when there is no such grouping factor, or several and none was named.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> table = m.coef("Subject")
    >>> table["Subject"][0], float(table["Days"][0].round(4))
    ('308', 19.6663)
    """
    return level_coefficients(m.design, m.fixef, m.solution.b, group)


def level_coefficients(design: Design, fixef: NamedVector, modes: Sequence[Any], group: str | None) -> Any:
    """Return the table of `coef`, from the modes of the terms (J, k) each."""
    group = known_group(design, group)
    mine = [
        (term, np.asarray(b)) for term, b in zip(design.random, modes, strict=True) if term.group == group
    ]
    first = mine[0][0]
    levels = [level if len(first.factor_names) > 1 else (level,) for level in first.levels]
    taken = {*fixef, *(name for term, _ in mine for name in term.names)}
    names = [f".{name}" if name in taken else name for name in first.factor_names]
    columns: dict[str, Any] = {
        name: list(labels) for name, labels in zip(names, zip(*levels, strict=True), strict=True)
    }
    values = {name: np.full(len(levels), value) for name, value in fixef.items()}
    for term, b in mine:
        for j, name in enumerate(term.names):
            values[name] = values.get(name, 0.0) + b[:, j]
    return design.frame.native_like(columns | values)


def known_group(design: Design, group: str | None) -> str:
    """Return the grouping factor that is meant: the only one, if none is named.

    Raises
    ------
    MixwellError
        MW-A16 when there is no such grouping factor, or several and none was named.
    """
    groups = tuple(dict.fromkeys(term.group for term in design.random))
    if group is None and len(groups) == 1:
        return groups[0]
    if group is None or group not in groups:
        raise error("MW-A16", name="None" if group is None else group, available=groups or ("none",))
    return group


@checked
def tidy(
    m: FittedModel,
    effects: Literal["fixed", "random", "all"] = "fixed",
    *,
    ddf: Ddf = "satterthwaite",
    information: Information = "expected",
    level: float | None = None,
) -> Any:
    """Return the parameters of the model, one row each.

    Parameters
    ----------
    effects
        "fixed" coefficients, "random" standard deviations and correlations, or "all".
    ddf, information
        Degrees of freedom of the t tests, see `summary`. Kenward-Roger's standard errors are the adjusted
        ones.
    level
        Add columns lower and upper with confidence intervals of the coefficients from the same tests.

    Returns
    -------
    table
        Columns effect ("fixed" or "random"), group, term, estimate, std_error, df, statistic (t), p_value.
        The last four are missing for random effects; their terms read "sd(Days)" and
        "cor((Intercept), Days)".

    Raises
    ------
    MixwellError
        MW-A02 for another value of `effects` or `ddf`, MW-A20 for Kenward-Roger on an ML fit, MW-A49 for a
        level that is not between 0 and 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> list(m.tidy("random")["term"])
    ['sd((Intercept))', 'sd(Days)', 'cor((Intercept), Days)', 'sd(Residual)']
    >>> m.tidy()["df"].round(3).tolist()
    [17.0, 17.0]
    """
    choice("effects", effects, ("fixed", "random", "all"))
    names = ["effect", "group", "term", "estimate", "std_error", "df", "statistic", "p_value"]
    if level is not None:
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
            raise error("MW-A49", given=level)
        names += ["lower", "upper"]
    rows: list[tuple[Any, ...]] = []
    if effects != "random":
        tests = separate(approximation(m, ddf, information), m.fixef.values, np.eye(len(m.kept)))
        numbers = [tests.estimate, tests.se, tests.df, tests.statistic, tests.p_value]
        numbers += [] if level is None else tests.interval(level)
        rows += [
            ("fixed", None, name, *each)
            for name, *each in zip(m.fixef.names, *(values.tolist() for values in numbers), strict=True)
        ]
    if effects != "fixed":
        missing = [math.nan] * (len(names) - 4)
        rows += [("random", group, name, value, *missing) for group, name, value in _spread(m)]
    columns: dict[str, Any] = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    numeric = {name: np.array(columns[name], dtype=np.float64) for name in names[3:]}
    return m.design.frame.native_like(columns | numeric)


def _spread(m: FittedModel) -> list[tuple[str, str, float]]:
    """Group, term and value of every standard deviation and correlation."""
    found = []
    for term in m.varcorr():
        found += [(term.group, f"sd({name})", value) for name, value in term.sd.items()]
        if term.structure != "diag":
            correlation = term.correlation
            found += [
                (term.group, f"cor({term.names[j]}, {term.names[i]})", float(correlation[i, j]))
                for j in range(len(term.names))
                for i in range(j + 1, len(term.names))
            ]
    return [*found, ("Residual", "sd(Residual)", m.sigma)]


def glance(m: FittedModel) -> Any:
    """Return one row about the whole fit.

    Returns
    -------
    table
        Columns nobs, npar, df_residual, sigma, loglik, deviance, aic, aicc, bic, method, converged.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> float(m.glance()["aic"][0].round(4))
    1755.6283
    """
    numbers = ("nobs", "npar", "df_residual", "sigma", "loglik", "deviance", "aic", "aicc", "bic")
    row: dict[str, Any] = {name: np.array([getattr(m, name)]) for name in numbers}
    return m.design.frame.native_like(row | {"method": [m.method], "converged": [bool(m.optimum.converged)]})


@checked
def augment(m: FittedModel, *, rows: Literal["used", "all"] = "used") -> Any:
    """Return the rows of the data with what the model says about them.

    Parameters
    ----------
    rows
        "used": the rows that were fitted. "all": also the rows that were dropped, with NaN beside them.

    Returns
    -------
    table
        The columns of the data (of a lazy table only those in the formula), then .fitted, .fixed (without
        random effects), .resid and .scaled (residuals over their standard deviation).

    Raises
    ------
    MixwellError
        MW-A02 for another value of `rows`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> list(m.augment())[3:]
    ['.fitted', '.fixed', '.resid', '.scaled']
    """
    choice("rows", rows, ("used", "all"))
    align = rows == "all"
    # After refit() the table's own column is no longer the response of this fit.
    replaced = {m.design.response: m._aligned(m.design.y, align=align)} if "response" in m.arguments else {}
    added: dict[str, Any] = replaced | {
        ".fitted": m.fitted(align=align),
        ".fixed": m._aligned(m._fixed_part, align=align),
        ".resid": m.resid(align=align),
        ".scaled": m.resid("scaled", align=align),
    }
    return m.design.frame.with_columns(added, rows=None if align else m.design.rows)
