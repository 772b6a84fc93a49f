"""The fitted model: frozen numbers, and an index of the functions that read them.

A fit stores four things: the design, the control, where the search ended, and the caller's arguments.
Everything else follows from these and is computed when first asked for, so that making a fit costs no more
than the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Problem, Term
from mixwell.bridges import marginaleffects
from mixwell.diagnostics import quantile_residuals
from mixwell.errors import MixwellError, Note, error, note
from mixwell.fitted import predict, prediction_variance, simulate, tables
from mixwell.fitted.values import Covariance, NamedVector, SparseMatrix, Terms, VarCorr
from mixwell.inference import anova, description, influence, intervals, linear_tests, profile, ranova, robust
from mixwell.inference.certificate import Certificate, certify
from mixwell.inference.diagnosis import (
    ILL_CONDITIONED,
    Boundary,
    announce,
    boundaries,
    conditioning,
    denounce,
    dropped_columns,
)
from mixwell.marginal import comparisons, emmeans, explore, predictions, slopes
from mixwell.options import Control, Method, checked, choice
from mixwell.planning.power import model_power
from mixwell.reporting import equation, html, sentences
from mixwell.resampling import bootstrap, permutation

if TYPE_CHECKING:
    from mixwell._core import Optimum, Solution, Step
    from mixwell.design import Design
    from mixwell.formula import Formula
    from mixwell.inference.wald import Approximation
    from mixwell.plots.index import Plots

__all__ = ["FittedModel", "Optimization", "cross_products"]

Array = NDArray[np.float64]


def cross_products(design: Design) -> Problem:
    """Hand a design to the core, which keeps its cross-products."""
    terms = [
        Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)
        for term in design.random
    ]
    y = design.y if design.offset is None else design.y - design.offset
    try:
        return Problem(y, design.columns, terms, design.weights)
    except MixwellError as refusal:
        if refusal.code != "MW-N06":
            raise
        # The core knows positions, the design their names.
        at, column = (int(str(refusal.fields[key])) for key in ("term", "column"))
        term = design.formula.random[at]
        named = f"'{design.random[at].names[column]}'"
        raise error("MW-N06", term=str(term), column=named) from None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Optimization:
    """How the search went.

    Attributes
    ----------
    evaluations, converged, promised
        Evaluations of the criterion, whether the search ended because nothing was left to gain, and the
        decrease of the criterion that one more Newton step still promises.
    criterion, gradient, hessian
        At the end: -2 log-likelihood (REML or ML), and its derivatives in theta, shapes (T,) and (T, T).
        The Hessian is the average information and the curvature of the covariance structures.
    trace
        One dict an evaluation: evaluation, criterion, gradient_norm, radius, predicted, accepted, kind.
    """

    evaluations: int
    converged: bool
    promised: float
    criterion: float
    gradient: Array
    hessian: Array
    trace: tuple[Step, ...]

    def __repr__(self) -> str:
        end = "converged" if self.converged else "not converged"
        return f"{self.evaluations} evaluations, {end}; one more step promises {self.promised:.1e}"


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel:
    """A fitted linear (mixed) model. It never changes: `refit` and `update` return new ones.

    Coefficients: `fixef`, `se`, `vcov`, `ranef()`, `ranef_covariance()`, `coef()`, `varcorr()`, `theta`,
    `sigma`. Likelihood: `loglik`, `deviance`, `reml_criterion`, `aic`, `aicc`, `bic`, `criterion()`. Rows:
    `fitted()`, `resid()`, `augment()`, `predict()`, `simulate()`, `model_matrix()`. Trust: `certificate()`,
    `optimization`, `notes`. Fixed effects tested: `anova()`, `test()`. Random effects tested: `ranova()`;
    models compared: `mixwell.compare`. For others to read: `equation()`, `report_text()`, `report()`,
    `mixwell.table`. What it explains: `r2()`, `icc()`, `variance_partition()`, `repca()`;
    what it depends on: `influence()`, `hatvalues()`; whether data look like draws from it:
    `quantile_residuals()`. Resampled: `bootstrap()`,
    `permutation_test()`. Drawn: `plot`.
    Tables come in the library of the data that was fitted, at full precision.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.fit("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> round(m.fixef["Days"], 4), round(m.sigma, 4), round(m.reml_criterion, 4)
    (10.4673, 25.5918, 1743.6283)
    """

    design: Design
    method: Method
    control: Control
    optimum: Optimum
    arguments: Mapping[str, Any]
    handle: Problem | None = field(default=None)

    # --- what the core knows ----------------------------------------------------------------------------

    @cached_property
    def problem(self) -> Problem:
        """The core's cross-products; made again from the design after unpickling."""
        return cross_products(self.design) if self.handle is None else self.handle

    @cached_property
    def solution(self) -> Solution:
        """The penalised least-squares solution at theta, as the core returns it."""
        return self.problem.solve(self.optimum.theta, self.is_reml, False)

    @cached_property
    def full_solution(self) -> Solution:
        """The solution with conditional variances and the modes of the columns of X."""
        return self.problem.solve(self.optimum.theta, self.is_reml, True)

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """Positions in the design of the columns of X that are estimable."""
        return tuple(self.problem.kept)

    @property
    def is_reml(self) -> bool:
        """Whether the residual variance (and theta) are REML estimates."""
        return self.method == "REML"

    @property
    def is_mixed(self) -> bool:
        """Whether the model has random effects."""
        return bool(self.design.random)

    @cached_property
    def approximations(self) -> dict[tuple[str, str], Approximation]:
        """Degrees-of-freedom methods that were asked for so far; see `mixwell.inference.wald`."""
        return {}

    # --- coefficients -----------------------------------------------------------------------------------

    @property
    def formula(self) -> Formula:
        """The formula, parsed; `str(m.formula)` is its canonical text."""
        return self.design.formula

    @property
    def terms(self) -> Terms:
        """The response, the fixed terms and the random-effects terms, as text."""
        formula = self.design.formula
        random = tuple(str(term) for term in formula.random)
        fixed = tuple(term.label for term in formula.terms)
        return Terms(self.design.response, formula.intercept, fixed, random)

    @cached_property
    def fixef(self) -> NamedVector:
        """Fixed-effects estimates of the estimable columns."""
        return NamedVector(tuple(self.design.names[j] for j in self.kept), np.array(self.solution.beta))

    vcov = robust.vcov
    _robust = robust.robust

    @cached_property
    def _vcov(self) -> Array:
        return _frozen(self.solution.sigma2 * np.asarray(self.solution.vcov_unscaled))

    @cached_property
    def se(self) -> NamedVector:
        """Standard errors of the fixed effects."""
        return NamedVector(self.fixef.names, np.sqrt(np.diag(self._vcov)))

    @cached_property
    def theta(self) -> Array:
        """Covariance parameters relative to sigma, term after term in the order of the formula, shape (T,).

        Of an unstructured term the lower triangle of lambda column by column; of diag(), cs() and ar1() the
        standard deviations (one if homogeneous), then the correlation where there is one.
        """
        return _frozen(np.array(self.optimum.theta))

    @property
    def sigma(self) -> float:
        """Residual standard deviation; without random effects sqrt(RSS / (n - p)), by ML sqrt(RSS / n)."""
        return math.sqrt(self.solution.sigma2)

    def varcorr(self) -> VarCorr:
        """Return the variances and correlations of the random effects.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> {name: round(sd, 2) for name, sd in m.varcorr()["Subject"].sd.items()}
        {'(Intercept)': 24.74, 'Days': 5.92}
        """
        return self._varcorr

    @cached_property
    def _varcorr(self) -> VarCorr:
        terms = tuple(
            Covariance(term.group, term.names, term.structure, self.solution.sigma2 * (factor @ factor.T))
            for term, factor in zip(self.design.random, self.lambdas, strict=True)
        )
        return VarCorr(terms, self.sigma, self.design.frame.native_like)

    @property
    def lambdas(self) -> tuple[Array, ...]:
        """Relative covariance factors, lower triangular (k, k), by term: Var(b) = sigma^2 lambda lambda'."""
        return tuple(np.asarray(factor) for factor in self.solution.lambdas)

    ranef = tables.ranef
    ranef_covariance = prediction_variance.ranef_covariance
    coef = tables.coef

    # --- likelihood -------------------------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """Rows used in the fit."""
        return int(self.design.y.size)

    @property
    def npar(self) -> int:
        """Estimated parameters: fixed effects, theta and sigma."""
        return len(self.kept) + int(self.theta.size) + 1

    @property
    def df_residual(self) -> int:
        """Rows less parameters; of a model without random effects rows less coefficients."""
        return self.nobs - (self.npar if self.is_mixed else len(self.kept))

    @cached_property
    def deviance(self) -> float:
        """-2 log-likelihood (not restricted) at the estimated theta; what an ML fit minimises."""
        if self.is_mixed and not self.is_reml:
            return float(self.optimum.criterion)
        return float(self.problem.criterion(self.theta, False))

    @property
    def reml_criterion(self) -> float:
        """What a REML fit minimises: -2 restricted log-likelihood. An ML fit has none and says so."""
        if not self.is_reml:
            raise error("MW-A15", formula=str(self.formula))
        return float(self.optimum.criterion)

    @property
    def loglik(self) -> float:
        """Log-likelihood: restricted for a mixed model fitted by REML, otherwise not (as logLik in R)."""
        return -0.5 * (self.reml_criterion if self.is_mixed and self.is_reml else self.deviance)

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

    def criterion(self, theta: Any) -> float:
        """Evaluate the criterion of this fit, -2 log-likelihood (restricted with REML), at another theta.

        Parameters
        ----------
        theta
            As `theta`, shape (T,).

        Raises
        ------
        MixwellError
            MW-A08 when theta has another length or holds something that is not a finite number.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> m.criterion(m.theta) <= m.criterion([0.8])
        True
        """
        try:
            values = np.atleast_1d(np.array(theta, dtype=np.float64))
        except (TypeError, ValueError):
            raise error("MW-A08", what="theta", expected=self.theta.size, given=theta) from None
        if values.shape != self.theta.shape or not np.isfinite(values).all():
            raise error("MW-A08", what="theta", expected=self.theta.size, given=np.asarray(theta).tolist())
        return float(self.problem.criterion(values, self.is_reml))

    # --- rows -------------------------------------------------------------------------------------------

    @cached_property
    def fixed_columns(self) -> tuple[Array | None, ...]:
        """The estimable columns of X, each (n,); None stands for ones."""
        return tuple(self.design.columns[j] for j in self.kept)

    @cached_property
    def _fixed_part(self) -> Array:
        """X beta + offset, shape (n,)."""
        part = predict.fixed_part(self.fixed_columns, np.asarray(self.solution.beta), self.nobs)
        return _frozen(part if self.design.offset is None else part + self.design.offset)

    @cached_property
    def _fitted(self) -> Array:
        out = self._fixed_part.copy()
        for term, b in zip(self.design.random, self.solution.b, strict=True):
            out += predict.random_part(term.codes, term.columns, np.asarray(b))
        return _frozen(out)

    @checked
    def fitted(self, *, align: bool = False) -> Array:
        """Return fitted values with the random effects.

        Parameters
        ----------
        align
            Give one value per row of the data, NaN where a row was dropped, instead of one per row used.

        Returns
        -------
        array
            Shape (n,), or the number of rows of the data.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
        >>> m.fitted()[:2].round(3).tolist()
        [251.405, 261.872]
        """
        return self._aligned(self._fitted, align=align)

    @checked
    def resid(
        self, kind: Literal["response", "pearson", "scaled"] = "response", *, align: bool = False
    ) -> Array:
        """Return residuals.

        Parameters
        ----------
        kind
            "response": y - fitted. "pearson": these times the square root of the weights. "scaled": that
            over sigma.
        align
            Give one value per row of the data, NaN where a row was dropped, instead of one per row used.

        Returns
        -------
        array
            Shape (n,), or the number of rows of the data.

        Raises
        ------
        MixwellError
            MW-A02 for another kind.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> bool(abs(m.resid().mean()) < 1e-9)
        True
        """
        choice("kind", kind, ("response", "pearson", "scaled"))
        residuals = self.design.y - self._fitted
        if kind != "response" and self.design.weights is not None:
            residuals *= np.sqrt(self.design.weights)
        if kind == "scaled":
            residuals /= self.sigma
        return self._aligned(residuals, align=align)

    def _aligned(self, values: Array, *, align: bool) -> Array:
        rows = self.design.rows
        if not align or rows is None:
            return np.array(values)
        out = np.full(self.design.n_rows, np.nan)
        out[rows] = values
        return out

    @overload
    def model_matrix(self, kind: Literal["fixed"] = "fixed") -> Array: ...
    @overload
    def model_matrix(self, kind: Literal["random"]) -> SparseMatrix: ...
    def model_matrix(self, kind: Literal["fixed", "random"] = "fixed") -> Array | SparseMatrix:
        """Return X (estimable columns) or Z.

        Parameters
        ----------
        kind
            "fixed": X as a dense array (n, p), columns as in `fixef.names`. "random": Z as triplets, shape
            (n, q), term after term, level after level, the k columns of a level side by side.

        Raises
        ------
        MixwellError
            MW-A02 for another kind.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> m.model_matrix().shape, m.model_matrix("random").shape
        ((180, 2), (180, 36))
        """
        choice("kind", kind, ("fixed", "random"))
        n = self.nobs
        if kind == "fixed":
            return np.column_stack(
                [np.ones(n) if c is None else c for c in self.fixed_columns] or [np.empty((n, 0))]
            )
        return predict.sparse_z(self.design.random, n)

    augment = tables.augment
    predict = predict.predict
    simulate = simulate.simulate
    quantile_residuals = quantile_residuals.quantile_residuals

    # --- tables and trust -------------------------------------------------------------------------------

    tidy = tables.tidy
    report_text = sentences.report_text
    report = html.report
    to_marginaleffects = marginaleffects.to_marginaleffects
    equation = equation.equation
    glance = tables.glance
    summary = tables.summary
    __repr__ = tables.summary
    _repr_html_ = tables.summary_html

    predictions = predictions.predictions
    comparisons = comparisons.comparisons
    emtrends = slopes.emtrends
    joint_tests = emmeans.joint_tests
    contrast = emmeans.contrast
    emmeans = emmeans.emmeans
    slopes = slopes.slopes
    explore = explore.explore

    anova = anova.anova
    test = linear_tests.test
    ranova = ranova.ranova
    profile = profile.profile
    bootstrap = bootstrap.bootstrap
    power = model_power
    permutation_test = permutation.permutation_test
    confint = intervals.confint

    r2 = description.r2
    icc = description.icc
    repca = description.repca
    variance_partition = description.variance_partition
    hatvalues = influence.hatvalues
    influence = influence.influence

    @property
    def plot(self) -> Plots:
        """The plots of this model: `m.plot.shrinkage()`, ...; see `mixwell.plots.index.Plots`."""
        from mixwell.plots.index import Plots  # noqa: PLC0415 - not needed by those who do not plot

        return Plots(self)

    def certificate(self) -> Certificate:
        """Check this fit against the theorems it rests on, from the rows of the data.

        Returns
        -------
        Certificate
            One check a line, with its residual and tolerance; `.passed`, `.proved_boundary`, `.table()`.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> m.certificate().passed
        True
        """
        return self._certificate

    @cached_property
    def _certificate(self) -> Certificate:
        return denounce(certify(self))

    @cached_property
    def boundary(self) -> tuple[Boundary, ...]:
        """Random-effects terms whose covariance is singular, with what that means."""
        return boundaries(self.design, self.optimum.cone, self.lambdas)

    @cached_property
    def optimization(self) -> Optimization:
        """How the search went: evaluations, convergence, derivatives at the end, and its trace."""
        o = self.optimum
        gradient, hessian = map(_frozen, self.problem.derivatives(self.theta, self.is_reml))
        return Optimization(
            o.evaluations, o.converged, o.promised, o.criterion, gradient, hessian, tuple(o.trace)
        )

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """Columns of X that are combinations of earlier ones; their coefficients are not estimable."""
        return tuple(self.design.names[j] for j in self.problem.dropped)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Remarks worth reading: dropped rows and columns, poorly determined or zero variances."""
        notes = list(self.design.notes)
        if self.dropped:
            notes.append(dropped_columns(self.design, self.kept, self.problem.dropped))
        condition, names = conditioning(self.fixed_columns, self.design.weights, self.fixef.names)
        if condition > ILL_CONDITIONED:
            notes.append(note("MW-C03", condition=f"{condition:.1g}", columns=names))
        notes += [note(b.code, **b.fields) for b in self.boundary]
        return tuple(notes)

    # --- further fits -----------------------------------------------------------------------------------

    def refit(self, y: Any) -> FittedModel:
        """Fit the same model to another response; the table is not read again.

        Parameters
        ----------
        y
            One finite number per row used in the fit, or per row of the data (dropped rows are then
            ignored). It takes the place of the transformed response.

        Returns
        -------
        FittedModel

        Raises
        ------
        MixwellError
            MW-A09 when the length is wrong or a value is not a finite number.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> round(m.refit(2 * m.design.y).sigma / m.sigma, 6)
        2.0
        """
        response = self._new_response(y)
        design = replace(self.design, y=response)
        problem = cross_products(design)
        optimum = problem.optimize(self.is_reml, self.control.start_array(), self.control.max_evaluations)
        arguments = {**self.arguments, "response": _aligned_to(response, design)}
        return announce(replace(self, design=design, optimum=optimum, arguments=arguments, handle=problem))

    def _new_response(self, y: Any) -> Array:
        try:
            kind = np.asarray(y).dtype.kind
            response = np.array(y, dtype=np.float64) if kind in "biufO" else None
        except (TypeError, ValueError):
            response, kind = None, "O"
        if response is None:  # text, dates, complex numbers
            held = "complex numbers" if kind == "c" else "values that are not numbers"
            raise error("MW-A09", reason=f"it holds {held}")
        n, n_rows, rows = self.nobs, self.design.n_rows, self.design.rows
        if response.shape == (n_rows,) and rows is not None:
            response = response[rows]
        if response.shape != (n,):
            lengths = f"{n} rows were used" + (f" of {n_rows}" if n != n_rows else "")
            raise error("MW-A09", reason=f"its shape is {np.shape(y)} but {lengths}")
        if not np.isfinite(response).all():
            at = int(np.flatnonzero(~np.isfinite(response))[0])
            raise error("MW-A09", reason=f"value {at + 1} of those used is {response[at]}")
        if n > 1 and (response == response[0]).all():
            raise error("MW-A09", reason=f"it is constant ({response[0]:g}), so there is nothing to estimate")
        return response

    def update(self, formula: str | None = None, data: Any = None, **changes: Any) -> FittedModel:
        """Fit a changed model: another formula, other data, other arguments of `fit`.

        Parameters
        ----------
        formula
            The change, in which '.' stands for the old side: "~ . - x + (1 | g)".
        data
            Another table with the same columns; the table of this fit if None. The fit keeps a reference to
            the table, not a copy: change a pandas table in place and `update` sees the change, the fit does
            not.
        changes
            Any keyword of `fit`: method, weights, offset, contrasts, na_action, control.

        Returns
        -------
        FittedModel

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> smaller = m.update("~ . - (Days | Subject) + (1 | Subject)", method="ML")
        >>> str(smaller.formula)
        'Reaction ~ 1 + Days + (1 | Subject)'
        """
        from mixwell.formula import update  # noqa: PLC0415
        from mixwell.models import fit  # noqa: PLC0415  (models builds on this module)

        changed = self.formula if formula is None else update(self.formula, formula)
        arguments = {**self.arguments, "method": self.method, "control": self.control, **changes}
        table = arguments.pop("data") if data is None else (arguments.pop("data"), data)[1]
        response = arguments.pop("response", None)
        fitted: FittedModel = fit(changed, table, **arguments)
        # A response that came by refit() stays, unless there are new data or another response was asked for.
        if response is None or data is not None or fitted.design.response != self.design.response:
            return fitted
        return fitted.refit(response if fitted.design.rows is not None else response[: fitted.nobs])

    def save(self, path: str | Path, *, data: bool = True) -> None:
        """Write the fit to a file that `mixwell.load` reads; see `mixwell.saving.save`."""
        from mixwell.saving import save  # noqa: PLC0415  (which builds on this module)

        save(self, path, data=data)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle plain numbers; the core's handle is made again when something needs it."""
        return {
            "design": self.design,
            "method": self.method,
            "control": self.control,
            "optimum": _plain(self.optimum),
            "arguments": self.arguments,
            "handle": None,
            "solution": _plain(self.solution),
            "kept": self.kept,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _aligned_to(values: Array, design: Design) -> Array:
    """Values of the rows used at their places among all rows of the table, NaN elsewhere."""
    if design.rows is None:
        return values
    out = np.full(design.n_rows, np.nan)
    out[design.rows] = values
    return out


def _frozen(values: Any) -> Array:
    array = np.asarray(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _plain(record: Any) -> SimpleNamespace:
    """Copy one of the core's records into one that pickles."""
    return SimpleNamespace(
        **{name: getattr(record, name) for name in dir(record) if not name.startswith("_")}
    )
