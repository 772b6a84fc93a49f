"""The doors: a formula and a table in, a fitted model out. The whole pipeline is in `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, get_args

from mixwell.design import build_design
from mixwell.design.frame import Frame
from mixwell.errors import error
from mixwell.fitted.result import FittedModel, cross_products
from mixwell.formula import Formula, parse
from mixwell.inference.diagnosis import announce
from mixwell.options import Control, Method, NaAction, checked, choice

__all__ = ["fit", "glm", "glmer", "lm", "lmer"]

_DEFAULTS = Control()
_NOT_YET = frozenset({"binomial", "poisson", "gamma", "inverse_gaussian", "negative_binomial", "beta"})


@checked
def fit(
    formula: str | Formula,
    data: Any,
    *,
    family: str = "gaussian",
    method: Method = "REML",
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
    control: Control | None = None,
) -> FittedModel:
    """Fit a linear model, with random effects if the formula has any.

    Parameters
    ----------
    formula
        As in lme4: "y ~ x + (x | g)". Covariance structures us(), diag(), cs(), ar1() around a
        random-effects term.
    data
        A pandas, polars or pyarrow table, a dict of arrays, or anything else narwhals reads.
    family
        "gaussian"; others are not here yet.
    method
        "REML" or "ML". Without random effects REML means the classical sigma^2 = RSS / (n - p), and
        `loglik` is the unrestricted log-likelihood, as for R's lm.
    weights
        Prior weights: a column name or one number per row. The residual variance of a row is sigma^2 /
        weight.
    offset
        A known part of the response: a column name or one number per row.
    contrasts
        Coding of factors by column name ("treatment", "sum", "helmert", "poly", "diff", a matrix), or one
        for all.
    na_action
        "drop" rows with missing values, and say how many, or "fail".
    control
        Limits of the search, see `Control`.

    Returns
    -------
    FittedModel
        It prints as a summary with its certificate.

    Raises
    ------
    MixwellError
        A ValueError whose `.code` says what: MW-F.. formula, MW-D.. data, MW-A.. arguments, MW-N.. numerics.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.fit("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> {name: round(value, 3) for name, value in m.fixef.items()}
    {'(Intercept)': 251.405, 'Days': 10.467}
    """
    _check_options(family, method, control)
    control = control or _DEFAULTS
    design = build_design(
        _parsed(formula, data), data, weights=weights, offset=offset, contrasts=contrasts, na_action=na_action
    )
    problem = cross_products(design)
    start = control.start_array()
    if start is not None and start.size != problem.n_theta:
        raise error("MW-A08", what="start", expected=problem.n_theta, given=start.tolist())
    optimum = problem.optimize(method == "REML", start, control.max_evaluations)
    arguments = {
        "data": data,
        "weights": weights,
        "offset": offset,
        "contrasts": contrasts,
        "na_action": na_action,
    }
    return announce(FittedModel(design, method, control, optimum, arguments, problem))


@checked
def lm(
    formula: str | Formula,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
) -> FittedModel:
    """Fit a linear model by least squares: `fit` for a formula without random effects.

    Parameters
    ----------
    formula, data, weights, offset, contrasts, na_action
        As for `fit`.

    Returns
    -------
    FittedModel
        With the classical sigma^2 = RSS / (n - p), and the log-likelihood of R's logLik(lm(...)).

    Raises
    ------
    MixwellError
        MW-A05 when the formula has random effects; otherwise as `fit`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    >>> round(m.sigma, 3), round(m.loglik, 3)
    (47.715, -950.147)
    """
    parsed = _parsed(formula, data)
    if parsed.random:
        raise error("MW-A05", terms=[str(term) for term in parsed.random])
    return fit(parsed, data, weights=weights, offset=offset, contrasts=contrasts, na_action=na_action)


@checked
def lmer(
    formula: str | Formula,
    data: Any,
    *,
    method: Method = "REML",
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
    control: Control | None = None,
) -> FittedModel:
    """Fit a linear mixed model: `fit` for a formula with random effects.

    Parameters
    ----------
    formula, data, method, weights, offset, contrasts, na_action, control
        As for `fit`.

    Returns
    -------
    FittedModel

    Raises
    ------
    MixwellError
        MW-A06 when the formula has no random effects; otherwise as `fit`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"), method="ML")
    >>> round(m.loglik, 4), m.certificate().passed
    (-163.6635, True)
    """
    parsed = _parsed(formula, data)
    if not parsed.random:
        raise error("MW-A06", formula=str(parsed))
    return fit(
        parsed,
        data,
        method=method,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        na_action=na_action,
        control=control,
    )


def glm(formula: str, data: Any, *, family: str = "binomial", **options: Any) -> NoReturn:
    """Fit a generalised linear model. Not here yet: it raises an error that says so.

    Raises
    ------
    MixwellError
        MW-A03, always.
    """
    raise error("MW-A03", function="glm()", family=family)


def glmer(formula: str, data: Any, *, family: str = "binomial", **options: Any) -> NoReturn:
    """Fit a generalised linear mixed model. Not here yet: it raises an error that says so.

    Raises
    ------
    MixwellError
        MW-A03, always.
    """
    raise error("MW-A03", function="glmer()", family=family)


def _parsed(formula: str | Formula, data: Any) -> Formula:
    """Parse a formula; only '.' needs the names of the columns."""
    if isinstance(formula, Formula):
        return formula
    names = Frame.from_data(data, ()).names if isinstance(formula, str) and "." in formula else ()
    return parse(formula, names)


def _check_options(family: str, method: str, control: Control | None) -> None:
    if isinstance(family, str) and family in _NOT_YET:
        raise error("MW-A03", function="fit()", family=family)
    choice("family", family, ("gaussian",))
    choice("method", method, get_args(Method))
    if control is not None and not isinstance(control, Control):
        raise error("MW-A07", option="control", expected="a mixwell.Control", given=control)
