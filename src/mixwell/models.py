"""The doors: a formula and a table in, a fitted model out. The pipelines are `_linear` and `_generalized`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from mixwell.design import build_design
from mixwell.design.frame import Frame
from mixwell.errors import error
from mixwell.families import resolve
from mixwell.fitted.result import FittedModel, cross_products
from mixwell.formula import Formula, parse
from mixwell.generalized.fitting import fit_design
from mixwell.generalized.model import GeneralizedModel
from mixwell.generalized.priors import Prior
from mixwell.inference.diagnosis import announce
from mixwell.options import Control, Method, NaAction, checked, choice

__all__ = ["fit", "glm", "glmer", "lm", "lmer"]

_DEFAULTS = Control()


@checked
def fit(
    formula: str | Formula,
    data: Any,
    *,
    family: str = "gaussian",
    link: str | None = None,
    method: Method | None = None,
    ziformula: str | Formula | None = None,
    dispformula: str | Formula | None = None,
    variance: str | None = None,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
    nagq: int | Literal["auto"] = 1,
    prior: Prior | None = None,
    control: Control | None = None,
) -> Any:
    """Fit a linear or generalised linear model, with random effects if the formula has any.

    Parameters
    ----------
    formula
        As in lme4: "y ~ x + (x | g)". Covariance structures us(), diag(), cs(), ar1() around a
        random-effects term.
    data
        A pandas, polars or pyarrow table, a dict of arrays, or anything else narwhals reads.
    family
        "gaussian" fits a linear model; for the others see `glmer`. With another link, dispformula, nagq or
        prior the gaussian one, too, is a generalised model, fitted by ML.
    link, ziformula, dispformula
        Of generalised models.
    variance
        Of quasi-families, see `glm`.
    method
        "REML" (the default) or "ML", of linear models; generalised ones are fitted by ML. Without random
        effects REML means the classical sigma^2 = RSS / (n - p), and `loglik` is the unrestricted
        log-likelihood, as for R's lm.
    weights
        Prior weights: a column name or one number per row. The residual variance of a row is sigma^2 /
        weight; of a generalised model the log-likelihood is multiplied.
    offset
        A known part of the linear predictor: a column name or one number per row.
    contrasts
        Coding of factors by column name ("treatment", "sum", "helmert", "poly", "diff", a matrix), or one
        for all.
    na_action
        "drop" rows with missing values, and say how many, or "fail".
    nagq, prior
        Nodes of quadrature and penalties of generalised models, see `glmer`.
    control
        Limits of the search, see `Control`.

    Returns
    -------
    FittedModel or GeneralizedModel
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
    options = {"weights": weights, "offset": offset, "contrasts": contrasts, "na_action": na_action}
    further = {"zi": ziformula, "disp": dispformula}
    plain = link in (None, "identity") and not any(each is not None for each in (ziformula, dispformula))
    if family == "gaussian" and plain and variance is None and nagq == 1 and prior is None:
        choice("method", method or "REML", get_args(Method))
        return _linear(formula, data, method=method or "REML", control=control, **options)
    if method not in (None, "ML"):
        choice("method", method, get_args(Method))
        advice = (
            "Models with a family, link, dispformula or prior are fitted by maximum likelihood: leave it out."
        )
        raise error("MW-A80", what=f"method={method!r}", family=family, advice=advice)
    return _generalized(
        _parsed(formula, data),
        data,
        family=family,
        link=link,
        variance=variance,
        further=further,
        control=control,
        prior=prior,
        nagq=nagq,
        **options,
    )


def _linear(
    formula: str | Formula, data: Any, *, method: Method, control: Control | None = None, **options: Any
) -> FittedModel:
    """Design, cross-products, search: the pipeline of linear models."""
    _check_control(control)
    control = control or _DEFAULTS
    design = build_design(_parsed(formula, data), data, **options)
    problem = cross_products(design)
    start = control.start_array()
    if start is not None and start.size != problem.n_theta:
        raise error("MW-A08", what="start", expected=problem.n_theta, given=start.tolist())
    optimum = problem.optimize(method == "REML", start, control.max_evaluations)
    return announce(FittedModel(design, method, control, optimum, {"data": data, **options}, problem))


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
    options = {"weights": weights, "offset": offset, "contrasts": contrasts, "na_action": na_action}
    return _linear(parsed, data, method="REML", **options)


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
    choice("method", method, get_args(Method))
    options = {"weights": weights, "offset": offset, "contrasts": contrasts, "na_action": na_action}
    return _linear(parsed, data, method=method, control=control, **options)


@checked
def glm(
    formula: str | Formula,
    data: Any,
    *,
    family: str = "binomial",
    link: str | None = None,
    ziformula: str | Formula | None = None,
    dispformula: str | Formula | None = None,
    variance: str | None = None,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
    prior: Prior | None = None,
    control: Control | None = None,
) -> GeneralizedModel:
    """Fit a generalised linear model by maximum likelihood: `glmer` for a formula without random effects.

    Parameters
    ----------
    formula, data, family, link, ziformula, dispformula, weights, offset, contrasts, na_action, prior, control
        As for `glmer`.

    family
        Also "quasibinomial", "quasipoisson" and "quasi": the estimates of binomial and Poisson models, or of
        the variance asked for, with a dispersion by Pearson's statistic and t and F tests, as in R. There is
        no likelihood: `loglik`, `aic` and `bic` are NaN.
    variance
        Of family="quasi": "constant" (the default), "mu", "mu(1-mu)", "mu^2" or "mu^3".

    Returns
    -------
    GeneralizedModel
        Auxiliary parameters (dispersion) are estimated by maximum likelihood, not by Pearson's statistic.

    Raises
    ------
    MixwellError
        MW-A05 when the formula has random effects, MW-A93 for a variance that is none of these or not of
        "quasi", MW-A94 for a quasi-family with ziformula or dispformula; otherwise as `glmer`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> round(m.fixef["x"], 4), round(m.loglik, 4)
    (0.6931, -5.9088)
    """
    parsed = _parsed(formula, data)
    if parsed.random:
        raise error("MW-A05", terms=[str(term) for term in parsed.random])
    return _generalized(
        parsed,
        data,
        family=family,
        link=link,
        further={"zi": ziformula, "disp": dispformula},
        prior=prior,
        control=control,
        variance=variance,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        na_action=na_action,
    )


@checked
def glmer(
    formula: str | Formula,
    data: Any,
    *,
    family: str = "binomial",
    link: str | None = None,
    ziformula: str | Formula | None = None,
    dispformula: str | Formula | None = None,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: NaAction = "drop",
    nagq: int | Literal["auto"] = 1,
    prior: Prior | None = None,
    control: Control | None = None,
) -> GeneralizedModel:
    """Fit a generalised linear mixed model by the Laplace approximation or quadrature, with all constants.

    Parameters
    ----------
    formula
        As in lme4. The response may be 0/1, true/false, two levels (the second is the success), shares with
        weights= trials, cbind(successes, failures), counts, amounts, or ordered categories.
    data
        As for `fit`.
    family
        "binomial", "betabinomial", "poisson", "nbinom1", "nbinom2", "truncated_poisson", "truncated_nbinom1",
        "truncated_nbinom2", "gamma", "inverse_gaussian", "beta", "tweedie", "t", "gaussian", or "cumulative"
        for ordered categories.
    link
        One of the family's links; the usual one if None.
    ziformula
        Fixed effects of the probability of extra zeros, "~ 1" or "~ x" (logit scale): zero inflation, or a
        hurdle with truncated families.
    dispformula
        Fixed effects of the logarithm of the dispersion (the log variance of gaussian ones).
    weights
        Multiply the log-likelihood of a row; numbers of trials where the response is a share.
    offset, contrasts, na_action, control
        As for `fit`.
    nagq
        Nodes of adaptive Gauss-Hermite quadrature, for one grouping factor with up to three effects; 1 is the
        Laplace approximation. "auto" checks whether that is accurate, says so, and uses 11 nodes if not. 0 is
        the fast stage, as in lme4: coefficients by penalised least squares, less accurate than Laplace.
    prior
        Weakly informative priors as penalties, see `Prior`: for separated data.

    Returns
    -------
    GeneralizedModel
        Standard errors come from the joint Hessian of all parameters.

    Raises
    ------
    MixwellError
        MW-A06 without random effects, MW-A81 where quadrature cannot be used, MW-A76 to MW-A79 for families,
        links and formulas that do not go together, MW-D28 to MW-D30 for responses that the family cannot
        have; otherwise as `fit`.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"y": [0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1], "x": [*range(6)] * 2, "g": [*"aabbccddeeff"]}
    >>> m = mw.glmer("y ~ x + (1 | g)", table, family="binomial")
    >>> m.certificate().passed, round(m.loglik, 4)
    (True, -6.8781)
    """
    parsed = _parsed(formula, data)
    if not parsed.random:
        raise error("MW-A06", formula=str(parsed))
    return _generalized(
        parsed,
        data,
        nagq=nagq,
        family=family,
        link=link,
        further={"zi": ziformula, "disp": dispformula},
        prior=prior,
        control=control,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        na_action=na_action,
    )


def _generalized(
    formula: Formula,
    data: Any,
    *,
    family: str,
    link: str | None,
    further: Mapping[str, str | Formula | None],
    control: Control | None,
    prior: Prior | None = None,
    nagq: int | Literal["auto"] = 1,
    variance: str | None = None,
    **options: Any,
) -> GeneralizedModel:
    """Design, Laplace approximation, search, joint Hessian: the pipeline of generalised models."""
    _check_control(control)
    if nagq != "auto" and (isinstance(nagq, bool) or not isinstance(nagq, int) or not 0 <= nagq <= 100):
        raise error("MW-A07", option="nagq", expected="a whole number from 0 to 100, or 'auto'", given=nagq)
    if prior is not None and not isinstance(prior, Prior):
        raise error("MW-A07", option="prior", expected="a mixwell.Prior", given=prior)
    extra = {name: parse(each) for name, each in further.items() if each is not None}
    chosen = resolve(family, link, extra_zeros="zi" in extra, variance=variance)
    if chosen.is_quasi and (formula.random or extra):
        raise error("MW-A94", family=chosen.name, formula=str(formula))
    if prior is not None:
        chosen.require_likelihood("prior=")
    if "disp" in extra and (not chosen.auxiliary or chosen.auxiliary[0].name == "zi"):
        raise error("MW-A79", what="dispformula", family=chosen.name)
    design = build_design(formula, data, family=chosen, extra=extra, **options)
    arguments = {
        "data": data,
        "family": family,
        "link": link,
        "ziformula": further["zi"],
        "dispformula": further["disp"],
        "variance": variance,
        **options,
    }
    return fit_design(design, chosen, control or _DEFAULTS, arguments, nagq=nagq, prior=prior)


def _parsed(formula: str | Formula, data: Any) -> Formula:
    """Parse a formula; only '.' needs the names of the columns."""
    if isinstance(formula, Formula):
        return formula
    names = Frame.from_data(data, ()).names if isinstance(formula, str) and "." in formula else ()
    return parse(formula, names)


def _check_control(control: Control | None) -> None:
    if control is not None and not isinstance(control, Control):
        raise error("MW-A07", option="control", expected="a mixwell.Control", given=control)
