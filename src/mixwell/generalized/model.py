"""A fitted generalised linear (mixed) model, by the Laplace approximation, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.bridges import marginaleffects
from mixwell.diagnostics import overdispersion, quantile_residuals
from mixwell.errors import Note, note
from mixwell.families import Family
from mixwell.fitted.values import Covariance, NamedVector, Terms, VarCorr
from mixwell.generalized import (
    anova,
    bootstrap,
    certificate,
    description,
    intervals,
    levels,
    predict,
    prediction_rows,
    profile,
    refit,
    residuals,
    robust,
    separation,
    simulate,
    tables,
)
from mixwell.generalized.limits import limits
from mixwell.generalized.predictors import Predictors, kept_names, laplace_of
from mixwell.generalized.priors import Prior, penalized
from mixwell.inference.second_order import inverse_information
from mixwell.marginal import comparisons, emmeans, explore, predictions, slopes
from mixwell.options import Control
from mixwell.reporting import equation, html, sentences

if TYPE_CHECKING:
    from mixwell._core import Laplace
    from mixwell.design import Design
    from mixwell.formula import Formula
    from mixwell.inference.wald import Approximation
    from mixwell.plots.index import Plots

__all__ = ["GeneralizedModel"]

Array = NDArray[np.float64]

UNKNOWN = 1e30  # variance of a coefficient that the likelihood does not depend on where the search ended
DEPENDENT = 1e-15  # eigenvalues of a scaled information below this are rounding


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedModel:
    """A fitted generalised linear (mixed) model.

    Coefficients: `fixef`, `se`, `vcov()`, `ranef()`, `ranef_covariance()`, `coef()`, `varcorr()`, `theta`,
    `dispersion`, `zi_fixef`, `disp_fixef`, `thresholds`. Likelihood: `loglik`, `aic`, `aicc`, `bic`;
    `deviance`, `null_deviance`, `pearson_chi2`. Rows: `fitted()`, `resid()`, `augment()`, `predict()`,
    `hatvalues()`. Tests: `test()`, `anova()`, `confint()`, `profile()`, `bootstrap()`. Tables: `summary()`,
    `tidy()`, `glance()`. For others to read: `equation()`, `report_text()`, `report()`. Trust:
    `certificate()`, `separation`. What it explains: `r2()`, `icc()`, `variance_partition()`, `repca()`.
    Whether data look like draws from it: `quantile_residuals()`, `overdispersion()`. Drawn: `plot`. The
    log-likelihood holds all constants, so that AIC compares families; without random effects it is exact,
    otherwise the Laplace approximation, or quadrature. Quasi-families have none: it is NaN.

    Examples
    --------
    >>> import mixwell as mw
    >>> table = {"hits": [1, 3, 5, 8], "n": [10, 10, 10, 10], "x": [0.0, 1.0, 2.0, 3.0]}
    >>> m = mw.glm("cbind(hits, n - hits) ~ x", table, family="binomial")
    >>> round(m.fixef["x"], 4), round(m.se["x"], 4)
    (1.1394, 0.3835)
    """

    design: Design
    family: Family
    control: Control
    predictors: Predictors
    core: Mapping[str, Any]
    hessian: Array
    arguments: Mapping[str, Any]
    kept: tuple[int, ...]
    basis: Array = field(default_factory=lambda: np.empty((0, 0)))
    nagq: int = 1
    remarks: tuple[Note, ...] = ()
    prior: Prior | None = None
    handle: Laplace | None = None

    @cached_property
    def laplace(self) -> Laplace:
        """The core's model; made again from the design after unpickling."""
        if self.handle is not None:
            return self.handle
        model = laplace_of(self.design, self.family, self.predictors)
        return model if self.prior is None else penalized(model, self.design, self._names, self.prior)

    # --- what was estimated -----------------------------------------------------------------------------

    @property
    def formula(self) -> Formula:
        """The formula, parsed."""
        return self.design.formula

    @property
    def terms(self) -> Terms:
        """The response, the fixed terms and the random-effects terms, as text."""
        formula = self.design.formula
        fixed = tuple(term.label for term in formula.terms)
        return Terms(self.design.response, formula.intercept, fixed, tuple(map(str, formula.random)))

    @property
    def is_mixed(self) -> bool:
        """Whether the model has random effects."""
        return bool(self.design.random)

    @property
    def nobs(self) -> int:
        """Rows used in the fit."""
        return int(self.design.y.size)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return kept_names(self.design, self.family, self.kept)

    @cached_property
    def fixef(self) -> NamedVector:
        """Fixed-effects estimates of the estimable columns, on the scale of the link."""
        return NamedVector(self._names, np.array(self.core["beta"]))

    @cached_property
    def _covariance(self) -> Array:
        """Joint covariance of (theta of standardised columns, beta, gamma) from the Hessian of -2 loglik."""
        inner = 2.0 * inverse_information(self.hessian)
        t, p = self.theta.size, len(self._names)
        flat = t + np.flatnonzero(np.diag(self.hessian)[t:] <= 0.0)  # no variance is zero but on a boundary
        inner[flat, flat] = UNKNOWN
        change = np.eye(len(inner))
        change[t : t + p, t : t + p] = self.basis
        return change @ inner @ change.T

    vcov = robust.vcov
    _robust = robust.robust

    @cached_property
    def _vcov(self) -> Array:
        if self.is_classical:
            return self._classical
        t, p = self.theta.size, len(self._names)
        return np.array(self._covariance[t : t + p, t : t + p])

    @property
    def is_classical(self) -> bool:
        """Whether this is a generalised linear model of the exponential family with one dispersion."""
        plain = not self.is_mixed and self.family.is_exponential and not self.design.extra
        return plain and self.prior is None

    @property
    def df_residual(self) -> int:
        """Rows with a weight less coefficients."""
        return int(np.count_nonzero(self.weights)) - len(self._names)

    @cached_property
    def pearson_dispersion(self) -> float:
        """Pearson's chi-square over the residual degrees of freedom; one without a dispersion."""
        if not self.family.has_dispersion:
            return 1.0
        return residuals.pearson_chi2(self) / self.df_residual if self.df_residual else math.nan

    @property
    def weights(self) -> Array:
        """Prior weights (n,), ones if there are none; numbers of trials of a binomial response."""
        return np.ones(self.nobs) if self.design.weights is None else self.design.weights

    @property
    def _classical(self) -> Array:
        return np.asarray(self.basis @ self._classical_inner @ self.basis.T)

    @cached_property
    def _classical_inner(self) -> Array:
        information = residuals.working_weights(self)
        X = self.model_matrix() @ self.basis
        product = X.T @ (information[:, None] * X)
        # Rows at infinity, of separated data, have no information left.
        scale = np.maximum(np.sqrt(np.diag(product)), UNKNOWN**-0.5)
        values, vectors = np.linalg.eigh(product / np.outer(scale, scale))
        inverse = (vectors / np.maximum(values, DEPENDENT)) @ vectors.T
        return np.asarray(self.pearson_dispersion * inverse / np.outer(scale, scale))

    @cached_property
    def se(self) -> NamedVector:
        """Standard errors of the fixed effects."""
        return NamedVector(self._names, np.sqrt(np.diag(self._vcov)))

    @cached_property
    def theta(self) -> Array:
        """Covariance parameters of the random effects on the scale of the link, shape (T,)."""
        return np.array(self.core["theta"])

    @cached_property
    def gamma(self) -> Array:
        """Coefficients of the auxiliary predictors; their names are in `predictors.names`."""
        return np.array(self.core["gamma"])

    def _part(self, name: str) -> NamedVector:
        at = [i for i, (part, _) in enumerate(self.predictors.names) if part == name]
        return NamedVector(tuple(self.predictors.names[i][1] for i in at), self.gamma[at])

    @property
    def zi_fixef(self) -> NamedVector:
        """Coefficients of the extra zeros, on the logit scale."""
        return self._part("zi")

    @property
    def disp_fixef(self) -> NamedVector:
        """Coefficients of the dispersion, on the scale of its logarithm (log variance for gaussian)."""
        own = [each.name for each in self.family.auxiliary if each.name != "zi"]
        return self._part(own[0] if own else "")

    @property
    def thresholds(self) -> NamedVector:
        """Thresholds between the categories of an ordinal response."""
        return self._part("threshold")

    @cached_property
    def dispersion(self) -> dict[str, float]:
        """Auxiliary parameters with a single value, on their natural scale: sigma, phi, size, zi, ...

        Estimated by maximum likelihood; phi of a quasi-family by Pearson's statistic.
        """
        if self.family.is_quasi:
            return {"phi": self.pearson_dispersion}
        out = {}
        for each in self.family.auxiliary:
            own = self._part(each.name)
            if own.names == ("(Intercept)",):
                out[each.name] = float(each.natural(own.values[0]))
        return out

    @cached_property
    def lambdas(self) -> tuple[Array, ...]:
        """Covariance factors by term, lower triangular (k, k): Var(b) = lambda lambda'."""
        out, at = [], 0
        for term in self.design.random:
            k = len(term.names)
            structure = "diag" if k == 1 else term.structure
            sds = 1 if term.homogeneous or k == 1 else k
            size = {"us": k * (k + 1) // 2, "diag": sds, "cs": sds + 1, "ar1": sds + 1}[structure]
            own = self.theta[at : at + size]
            at += size
            if structure == "us":
                factor = np.zeros((k, k))
                factor.T[np.triu_indices(k)] = own
            else:
                distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
                rho = {"diag": np.eye(k), "cs": np.where(distance == 0, 1.0, own[-1])}.get(structure)
                rho = own[-1] ** distance if rho is None else rho
                values, vectors = np.linalg.eigh(rho)
                root = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0))).T).R.T
                factor = np.broadcast_to(own[:sds], (k,))[:, None] * root * np.sign(np.diag(root))
            out.append(factor)
        return tuple(out)

    def varcorr(self) -> VarCorr:
        """Return the variances and correlations of the random effects, on the scale of the link."""
        terms = tuple(
            Covariance(term.group, term.names, term.structure, factor @ factor.T)
            for term, factor in zip(self.design.random, self.lambdas, strict=True)
        )
        return VarCorr(terms, math.nan, self.design.frame.native_like)

    # --- likelihood -------------------------------------------------------------------------------------

    @property
    def loglik(self) -> float:
        """Log-likelihood with all constants, by the Laplace approximation if there are random effects.

        NaN for quasi-families, which have none.
        """
        if self.family.is_quasi:
            return math.nan
        return -0.5 * (float(self.core["criterion"]) - self.penalty)

    @property
    def penalty(self) -> float:
        """-2 log prior at the estimates, up to its constant; zero without `prior=`."""
        return float(self.core["penalty"])

    @property
    def npar(self) -> int:
        """Estimated parameters."""
        if self.family.is_quasi:
            return len(self._names) + 1
        return int(self.theta.size) + len(self._names) + int(self.gamma.size)

    @property
    def aic(self) -> float:
        """-2 loglik + 2 npar."""
        return -2 * self.loglik + 2 * self.npar

    @property
    def aicc(self) -> float:
        """AIC with its small-sample correction; infinite when rows do not exceed npar + 1."""
        left = self.nobs - self.npar - 1
        return self.aic + 2 * self.npar * (self.npar + 1) / left if left > 0 else math.inf

    @property
    def bic(self) -> float:
        """-2 loglik + npar log(rows)."""
        return -2 * self.loglik + self.npar * math.log(self.nobs)

    deviance = cached_property(residuals.deviance)
    null_deviance = cached_property(residuals.null_deviance)
    pearson_chi2 = cached_property(residuals.pearson_chi2)

    # --- rows -------------------------------------------------------------------------------------------

    resid = residuals.resid
    augment = residuals.augment
    hatvalues = residuals.hatvalues
    fitted = predict.fitted
    auxiliary = predict.auxiliary
    mode_slopes = cached_property(prediction_rows.mode_slopes)
    predict = predict.predict
    simulate = simulate.simulate
    quantile_residuals = quantile_residuals.quantile_residuals
    overdispersion = overdispersion.overdispersion

    predictions = predictions.predictions
    comparisons = comparisons.comparisons
    emtrends = slopes.emtrends
    joint_tests = emmeans.joint_tests
    contrast = emmeans.contrast
    emmeans = emmeans.emmeans
    slopes = slopes.slopes
    explore = explore.explore

    @property
    def plot(self) -> Plots:
        """The plots of this model: `m.plot.shrinkage()`, ...; see `mixwell.plots.index.Plots`."""
        from mixwell.plots.index import Plots  # noqa: PLC0415 - not needed by those who do not plot

        return Plots(self)

    # --- tests ------------------------------------------------------------------------------------------

    @cached_property
    def approximations(self) -> dict[tuple[str, str], Approximation]:
        """Rules for degrees of freedom that were asked for so far."""
        return {}

    @property
    def fixed_columns(self) -> tuple[Array | None, ...]:
        """The estimable columns of X, each (n,); None stands for ones."""
        columns = self.design.columns
        if self.family.kind == "ordered":
            columns = tuple(column for column in columns if column is not None)
        return tuple(columns[j] for j in self.kept)

    def model_matrix(self) -> Array:
        """Return X (n, p), columns as in `fixef.names`."""
        columns = [np.ones(self.nobs) if c is None else c for c in self.fixed_columns]
        return np.column_stack(columns or [np.empty((self.nobs, 0))])

    @property
    def is_reml(self) -> bool:
        """Whether the criterion is a restricted likelihood: it never is."""
        return False

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of X that are combinations of earlier ones."""
        return tuple(name for name in self.design.names if name not in self._names and name != "(Intercept)")

    @property
    def wald_df(self) -> float:
        """Degrees of freedom of Wald tests: finite where R's glm would estimate a dispersion."""
        return float(self.df_residual) if self.is_classical and self.family.has_dispersion else math.inf

    @property
    def ddf(self) -> str:
        """How these are named in tests: "residual" or "normal"."""
        return "residual" if math.isfinite(self.wald_df) else "normal"

    test = anova.test
    anova = anova.anova
    confint = intervals.confint
    bootstrap = bootstrap.bootstrap
    profile = profile.profile

    # --- tables and trust -------------------------------------------------------------------------------

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Remarks worth reading."""
        notes = [*self.design.notes, *certificate.dropped(self), *self.remarks, *limits(self)]
        notes += certificate.extreme(self)
        return (*notes, *(note(each.code, **each.fields) for each in self.boundary))

    r2 = description.r2
    icc = description.icc
    repca = description.repca
    variance_partition = description.variance_partition
    _null = cached_property(description.null_model)

    ranef = tables.ranef
    ranef_covariance = levels.ranef_covariance
    coef = levels.coef
    tidy = tables.tidy
    report_text = sentences.report_text
    report = html.report
    to_marginaleffects = marginaleffects.to_marginaleffects
    equation = equation.equation
    glance = residuals.glance
    summary = tables.summary
    __repr__ = tables.summary
    _repr_html_ = tables.summary_html
    boundary = cached_property(certificate.boundary)
    separation = cached_property(separation.separation)
    certificate = certificate.certificate

    def save(self, path: str | Path, *, data: bool = True) -> None:
        """Write the fit to a file that `mixwell.load` reads; see `mixwell.saving.save`."""
        from mixwell.saving import save  # noqa: PLC0415  (which builds on this module)

        save(self, path, data=data)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle plain numbers; the core's handle is made again when something needs it."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"handle": None}

    update = refit.update
    refit = refit.refit
