"""A fitted generalised linear (mixed) model, by the Laplace approximation, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Laplace, Term
from mixwell.design.contrasts import level_text
from mixwell.design.design import LOUD
from mixwell.errors import MixwellError, Note, error, note
from mixwell.families import Family, link_of, mean_of, slope_of
from mixwell.fitted.text import Block, cells, html, p_value, text
from mixwell.fitted.values import Covariance, NamedVector, VarCorr
from mixwell.inference import anova, linear_tests
from mixwell.inference.certificate import Certificate
from mixwell.inference.checks import Check
from mixwell.inference.diagnosis import dropped_columns, say
from mixwell.inference.distributions import chi2_tail, t_quantile, t_two_sided
from mixwell.inference.hypotheses import containing
from mixwell.inference.second_order import inverse_information
from mixwell.options import Control, checked, choice

if TYPE_CHECKING:
    from mixwell.design import Design
    from mixwell.formula import Formula
    from mixwell.inference.linear_tests import HypothesisTest
    from mixwell.inference.wald import Approximation

__all__ = ["GeneralizedModel", "Predictors", "announce", "laplace_of", "predictors_of"]

Array = NDArray[np.float64]

STATIONARY = 1e-4  # gradient of -2 loglik, in standard errors
MULTIPLIER = 1e-5  # negative eigenvalue of dF/dSigma, relative to its scale
CURVATURE = 1e-6  # smallest eigenvalue of the joint Hessian in scaled parameters
VARIANCE: Mapping[str, Callable[[Array], Array]] = {  # of a mean, for a dispersion of one
    "gaussian": np.ones_like,
    "binomial": lambda mu: mu * (1 - mu),
    "poisson": lambda mu: mu,
    "gamma": np.square,
    "inverse_gaussian": lambda mu: mu**3,
}
SEPARATED = 15.0  # linear predictors of probabilities beyond this, with standard errors
UNKNOWN = 20.0  # beyond that, are coefficients without a finite estimate


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """Auxiliary linear predictors as the core takes them.

    Attributes
    ----------
    columns
        By predictor: its columns as (position of its coefficient, values or None for ones), and a known part.
    names
        Of all coefficients gamma: (auxiliary parameter, column).
    start
        Their values to begin with.
    """

    columns: tuple[tuple[list[tuple[int, Array | None]], Array | None], ...]
    names: tuple[tuple[str, str], ...]
    start: Array


def predictors_of(design: Design, family: Family) -> Predictors:
    """Lay out the auxiliary predictors: intercepts, the columns of dispformula and ziformula, thresholds."""
    weights = np.ones(design.n) if design.weights is None else design.weights
    if family.kind == "ordered":
        return _thresholds(design, family, weights)
    columns: list[tuple[list[tuple[int, Array | None]], Array | None]] = []
    names: list[tuple[str, str]] = []
    start: list[float] = []
    for at, each in enumerate(family.auxiliary):
        source = "zi" if each.name == "zi" else "disp" if at == 0 else ""
        own_names, own = design.extra.get(source, (("(Intercept)",), (None,)))
        first = len(names)
        begin = each.start(design.y, weights)
        columns.append(([(first + j, column) for j, column in enumerate(own)], None))
        names += [(each.name, name) for name in own_names]
        start += [begin if column is None else 0.0 for column in own]
    return Predictors(tuple(columns), tuple(names), np.array(start))


def _thresholds(design: Design, family: Family, weights: Array) -> Predictors:
    """Upper and lower threshold of each row's category: columns of zeros and ones."""
    count, y = len(design.categories), design.y
    labels = [level_text(level) for level in design.categories]
    share = np.cumsum(np.bincount(y.astype(int), weights, count)) / weights.sum()
    start = link_of(family.link, np.clip(share[:-1], 0.01, 0.99))
    upper = [(j, (y == j).astype(np.float64)) for j in range(count - 1)]
    lower = [(j, (y == j + 1).astype(np.float64)) for j in range(count - 1)]
    top, bottom = np.where(y == count - 1, np.inf, 0.0), np.where(y == 0, -np.inf, 0.0)
    names = tuple(("threshold", f"{a}|{b}") for a, b in pairwise(labels))
    return Predictors(((upper, top), (lower, bottom)), names, start)


def laplace_of(design: Design, family: Family, predictors: Predictors) -> Laplace:
    """Hand a design to the core."""
    terms = [
        Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)
        for term in design.random
    ]
    columns = list(design.columns)
    if family.kind == "ordered":  # the thresholds are the intercept
        columns = [column for column in columns if column is not None]
    try:
        return Laplace(
            family.core, design.y, columns, terms, design.weights, design.offset, list(predictors.columns)
        )
    except MixwellError as refusal:
        if refusal.code != "MW-N06":
            raise
        at, column = (int(str(refusal.fields[key])) for key in ("term", "column"))
        named = f"'{design.random[at].names[column]}'"
        raise error("MW-N06", term=str(design.formula.random[at]), column=named) from None


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedModel:
    """A fitted generalised linear (mixed) model.

    Coefficients: `fixef`, `se`, `vcov()`, `ranef()`, `varcorr()`, `theta`, `dispersion`, `zi_fixef`,
    `disp_fixef`, `thresholds`. Likelihood: `loglik`, `aic`, `bic`. Rows: `fitted()`, `predict()`. Tests:
    `test()`, `anova()`. Tables: `summary()`, `tidy()`. Trust: `certificate()`. The log-likelihood holds all
    constants, so that AIC compares families; without random effects it is exact, otherwise the Laplace
    approximation, or quadrature.

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

    # --- what was estimated -----------------------------------------------------------------------------

    @property
    def formula(self) -> Formula:
        """The formula, parsed."""
        return self.design.formula

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
        names = self.design.names
        if self.family.kind == "ordered":
            columns = self.design.columns
            names = tuple(name for name, column in zip(names, columns, strict=True) if column is not None)
        return tuple(names[j] for j in self.kept)

    @cached_property
    def fixef(self) -> NamedVector:
        """Fixed-effects estimates of the estimable columns, on the scale of the link."""
        return NamedVector(self._names, np.array(self.core["beta"]))

    @cached_property
    def _covariance(self) -> Array:
        """Joint covariance of (theta of standardised columns, beta, gamma) from the Hessian of -2 loglik."""
        inner = 2.0 * inverse_information(self.hessian)
        t, p = self.theta.size, len(self._names)
        change = np.eye(len(inner))
        change[t : t + p, t : t + p] = self.basis
        return change @ inner @ change.T

    def vcov(self) -> Array:
        """Return the covariance of the fixed effects, shape (p, p).

        From the joint Hessian of all parameters. Of a generalised linear model of the exponential family
        from the expected information, with the dispersion by Pearson's statistic, as in R's glm.
        """
        if self.is_classical:
            return self._classical
        t, p = self.theta.size, len(self._names)
        return np.array(self._covariance[t : t + p, t : t + p])

    @property
    def is_classical(self) -> bool:
        """Whether this is a generalised linear model of the exponential family with one dispersion."""
        return not self.is_mixed and self.family.name in VARIANCE and not self.design.extra

    @property
    def df_residual(self) -> int:
        """Rows less coefficients."""
        return self.nobs - len(self._names)

    @cached_property
    def pearson_dispersion(self) -> float:
        """Pearson's chi-square over the residual degrees of freedom; one without a dispersion."""
        if not self.family.auxiliary:
            return 1.0
        mu, w = self.predict(), self._weights
        return float(
            np.sum(w * (self.design.y - mu) ** 2 / VARIANCE[self.family.name](mu)) / self.df_residual
        )

    @property
    def _weights(self) -> Array:
        return np.ones(self.nobs) if self.design.weights is None else self.design.weights

    @cached_property
    def _classical(self) -> Array:
        eta = self.predict(type="link")
        mu = mean_of(self.family.link, eta)
        slope = slope_of(self.family.link, eta)
        information = self._weights * slope**2 / VARIANCE[self.family.name](mu)
        X = self.model_matrix() @ self.basis
        inner = np.linalg.inv(X.T @ (information[:, None] * X))
        return np.asarray(self.pearson_dispersion * self.basis @ inner @ self.basis.T)

    @cached_property
    def se(self) -> NamedVector:
        """Standard errors of the fixed effects."""
        return NamedVector(self._names, np.sqrt(np.diag(self.vcov())))

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
        return self._part(self.family.auxiliary[0].name if self.family.auxiliary else "")

    @property
    def thresholds(self) -> NamedVector:
        """Thresholds between the categories of an ordinal response."""
        return self._part("threshold")

    @cached_property
    def dispersion(self) -> dict[str, float]:
        """Auxiliary parameters with a single value, on their natural scale: sigma, phi, size, zi, ..."""
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

    @checked
    def ranef(self, *, condvar: bool = True) -> Any:
        """Return the conditional modes of the random effects, one row each.

        Parameters
        ----------
        condvar
            Add the conditional standard deviations given the parameters, from the curvature at the modes.

        Returns
        -------
        table
            Columns group, level, term, estimate, condsd.
        """
        out: dict[str, list[Any]] = {"group": [], "level": [], "term": []}
        estimates, sds = [np.empty(0)], [np.empty(0)]
        for term, b, variance in zip(self.design.random, self.core["b"], self.core["condvar"], strict=True):
            k = len(term.names)
            out["group"] += [term.group] * (k * len(term.levels))
            out["level"] += [shown for level in term.levels for shown in [level_text(level)] * k]
            out["term"] += list(term.names) * len(term.levels)
            estimates.append(np.asarray(b).ravel())
            sds.append(np.sqrt(np.maximum(np.einsum("jkk->jk", np.asarray(variance)), 0.0)).ravel())
        columns: dict[str, Any] = {**out, "estimate": np.concatenate(estimates)}
        return self.design.frame.native_like(columns | ({"condsd": np.concatenate(sds)} if condvar else {}))

    # --- likelihood -------------------------------------------------------------------------------------

    @property
    def loglik(self) -> float:
        """Log-likelihood with all constants, by the Laplace approximation if there are random effects."""
        return -0.5 * float(self.core["criterion"])

    @property
    def npar(self) -> int:
        """Estimated parameters."""
        return int(self.theta.size) + len(self._names) + int(self.gamma.size)

    @property
    def aic(self) -> float:
        """-2 loglik + 2 npar."""
        return -2 * self.loglik + 2 * self.npar

    @property
    def bic(self) -> float:
        """-2 loglik + npar log(rows)."""
        return -2 * self.loglik + self.npar * math.log(self.nobs)

    # --- rows -------------------------------------------------------------------------------------------

    @checked
    def fitted(self, *, type: Literal["response", "link"] = "response") -> Array:  # noqa: A002
        """Return fitted values with the random effects, shape (n,); shares of a binomial response.

        Parameters
        ----------
        type
            "response": the mean of the family (before extra zeros); "link": the linear predictor.
        """
        return self.predict(type=type)

    @checked
    def predict(
        self,
        newdata: Any = None,
        *,
        type: Literal["response", "link"] = "response",  # noqa: A002
        re: Literal["conditional", "population"] = "conditional",
    ) -> Array:
        """Predict the mean of the family or the linear predictor.

        Parameters
        ----------
        newdata
            A table with the columns of the right-hand side; the rows that were fitted if None. Levels of a
            grouping factor that were not fitted have random effects of zero.
        type
            "response": the mean (before extra zeros), a share for binomial ones; "link": eta.
        re
            "conditional": with the random effects; "population": with random effects of zero.

        Returns
        -------
        array
            Shape (rows,).

        Raises
        ------
        MixwellError
            MW-A02 for other options, MW-A80 for the response of an ordinal model.
        """
        from mixwell.design.frame import Frame  # noqa: PLC0415
        from mixwell.fitted.new_rows import fixed_part, random_part  # noqa: PLC0415

        choice("type", type, ("response", "link"))
        choice("re", re, ("conditional", "population"))
        if self.family.kind == "ordered" and type == "response":
            advice = "Use type='link'; probabilities of categories are not here yet."
            raise error("MW-A80", what="predict(type='response')", family="cumulative", advice=advice)
        design = self.design
        if newdata is None:
            columns, terms, n, offset = design.columns, design.random, design.n, design.offset
        else:
            frame = Frame.from_data(newdata)
            columns, n, offset = design.recipe.fixed(frame), frame.n_rows, design.recipe.offset(frame)
            terms = design.recipe.random(frame) if re == "conditional" else ()
        if self.family.kind == "ordered":
            columns = tuple(column for column in columns if column is not None)
        eta = fixed_part([columns[j] for j in self.kept], self.fixef.values, n)
        if offset is not None:
            eta += offset
        if re == "conditional":
            for term, b in zip(terms, self.core["b"], strict=True):
                eta += random_part(term.codes, term.columns, np.asarray(b))
        return eta if type == "link" else mean_of(self.family.link, eta)

    @checked
    def simulate(
        self, n: int = 1, *, seed: int | None = None, re: Literal["new", "conditional"] = "new"
    ) -> Any:
        """Draw responses from the fitted model.

        Parameters
        ----------
        n
            Number of draws.
        seed
            A whole number; drawn if None. The first draws do not depend on n.
        re
            "new": random effects are drawn, too; "conditional": they stay at their modes.

        Returns
        -------
        table
            Columns sim_1 .. sim_n, one row a row used: shares of the trials for binomial families, positions
            of the categories for ordinal ones. Weights of other families do not matter.

        Raises
        ------
        MixwellError
            MW-A02 for another `re`, MW-A07 for a bad n or seed.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
        >>> list(m.simulate(2, seed=1))
        ['sim_1', 'sim_2']
        """
        from mixwell.fitted.draws import draw  # noqa: PLC0415  (only here)
        from mixwell.resampling.engine import count_of  # noqa: PLC0415
        from mixwell.resampling.simulate import generator, seed_of  # noqa: PLC0415

        choice("re", re, ("new", "conditional"))
        key, count = seed_of(seed), count_of(n)
        columns = {f"sim_{i + 1}": draw(self, generator(key, i), new=re == "new") for i in range(count)}
        return self.design.frame.native_like(columns)

    def auxiliary(self) -> tuple[Array, ...]:
        """Return auxiliary parameters of each row on their natural scale, (n,) each; or thresholds."""
        out = []
        for at, (columns, known) in enumerate(self.predictors.columns):
            values = np.zeros(self.nobs) if known is None else np.array(known)
            for j, column in columns:
                values += self.gamma[j] * (1.0 if column is None else column)
            ordered = self.family.kind == "ordered"
            out.append(values if ordered else np.asarray(self.family.auxiliary[at].natural(values)))
        return tuple(out)

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

    def test(self, *hypotheses: Any, **options: Any) -> HypothesisTest:
        """Test linear hypotheses about the coefficients, written as text: "x = 0", "fb = fc".

        Parameters
        ----------
        hypotheses, options
            As of `FittedModel.test`; tests are z and chi-square, or t and F with residual degrees of freedom
            where a generalised linear model has its dispersion estimated.

        Returns
        -------
        HypothesisTest

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
        >>> round(float(m.test("x = 0.5").table()["p_value"][0]), 3)
        0.487
        """
        return linear_tests.test(self, *hypotheses, ddf=self._ddf, **options)  # type: ignore[arg-type]

    @checked
    def anova(self, type: Literal[2, 3] = 2) -> Any:  # noqa: A002 - the name that R gives it
        """Test every term by Wald's chi-square, as car::Anova does.

        Parameters
        ----------
        type
            2: each term after all that do not contain it, the coefficients of those that do adjusted for by
            their covariance. 3: equally weighted means and slopes, whatever the coding of the factors.

        Returns
        -------
        table
            Columns term, statistic, df, p_value.

        Raises
        ------
        MixwellError
            MW-A02 for another type, MW-A80 for ordinal models and for columns that were dropped.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
        >>> m.anova()["statistic"].round(3).tolist()
        [6.214]
        """
        if type not in (2, 3):
            raise error("MW-A02", option="type", given=type, allowed=["2", "3"])
        if self.family.kind == "ordered" or self.dropped:
            advice = "Use m.test('name = 0') for single coefficients."
            raise error("MW-A80", what="anova()", family=self.family.name, advice=advice)
        if type == 3:
            return anova.anova(self, 3, test="chisq").table()  # type: ignore[arg-type]
        beta, vcov = self.fixef.values, self.vcov()
        columns = {
            term: [i for i, j in enumerate(self.kept) if self.design.assign[j] == term]
            for term in range(1, len(self.design.term_labels) + 1)
        }

        def wald(terms: tuple[int, ...]) -> float:
            at = [i for term in terms for i in columns[term]]
            return float(beta[at] @ np.linalg.solve(vcov[np.ix_(at, at)], beta[at])) if at else 0.0

        statistic, df = [], []
        for term, own in columns.items():
            later = containing(self.design, term, same_covariates=False)
            statistic.append(wald((term, *later)) - wald(later))
            df.append(len(own))
        return self.design.frame.native_like(
            {
                "term": list(self.design.term_labels),
                "statistic": np.array(statistic),
                "df": np.array(df),
                "p_value": chi2_tail(np.array(statistic), np.maximum(np.array(df), 1)),
            }
        )

    @property
    def _ddf(self) -> str:
        return "residual" if math.isfinite(self._df) else "normal"

    # --- tables and trust -------------------------------------------------------------------------------

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Remarks worth reading."""
        notes = [*self.design.notes, *self.remarks]
        for term, factor in zip(self.design.random, self.lambdas, strict=True):
            if not np.any(factor):
                notes.append(note("MW-C04", group=term.group, term=term.text))
        return tuple(notes)

    @checked
    def tidy(self, *, level: float | None = None) -> Any:
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
        estimate, se = self.fixef.values, self.se.values
        with np.errstate(divide="ignore", invalid="ignore"):
            z = estimate / se
        df = self._df
        columns: dict[str, Any] = {
            "term": list(self._names),
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
        return self.design.frame.native_like(columns)

    @property
    def _df(self) -> float:
        """Degrees of freedom of Wald tests."""
        return float(self.df_residual) if self.is_classical and self.family.auxiliary else math.inf

    def _blocks(self) -> list[Block]:
        zeros = f", {self.family.zero}" if self.family.zero else ""
        family = f"{self.family.name} ({self.family.link}){zeros}"
        how = "Laplace approximation" if self.is_mixed else "maximum likelihood"
        if self.nagq > 1:
            how = f"adaptive quadrature, {self.nagq} nodes"
        groups = [f"{term.group} {len(term.levels)} levels" for term in self.design.random]
        lines = [
            f"{self.formula.text}, family {family}",
            "; ".join([f"{self.nobs} rows", *dict.fromkeys(groups)]),
            f"loglik {self.loglik:.4f}, AIC {self.aic:.2f}, BIC {self.bic:.2f}",
        ]
        kind = "Generalised linear mixed model" if self.is_mixed else "Generalised linear model"
        blocks = [Block(f"{kind} fitted by {how}", lines=lines)]
        if self.is_mixed:
            blocks.append(self.varcorr().block())
        with np.errstate(divide="ignore", invalid="ignore"):
            z = self.fixef.values / self.se.values
        rows = zip(
            self._names,
            cells(self.fixef.values.tolist()),
            cells(self.se.values.tolist()),
            [f"{value:.2f}" for value in z],
            [p_value(value) for value in t_two_sided(z, self._df).tolist()],
            strict=True,
        )
        header: tuple[str, ...] = ("term", "estimate", "se", "z" if np.isinf(self._df) else "t", "p")
        blocks.append(Block("Fixed effects", header, [list(row) for row in rows]))
        if self.gamma.size:
            se = np.sqrt(np.diag(self._covariance)[self.theta.size + len(self._names) :])
            values = zip(self.predictors.names, cells(self.gamma.tolist()), cells(se.tolist()), strict=True)
            table = [[part, name, estimate, error_] for (part, name), estimate, error_ in values]
            said = [f"{name} = {value:.5g}" for name, value in self.dispersion.items()]
            header = ("parameter", "term", "estimate", "se")
            blocks.append(Block("Auxiliary", header, table, lines=[", ".join(said)] if said else [], left=2))
        if self.notes:
            blocks.append(Block("Notes", lines=[f"{code}  {said}" for code, said in self.notes]))
        return [*blocks, Block(f"Certificate: {self.certificate().line}")]

    def summary(self) -> str:
        """Return what a reader wants to know, as text."""
        return text(self._blocks())

    __repr__ = summary

    def _repr_html_(self) -> str:
        return html(self._blocks())

    def certificate(self) -> Certificate:
        """Check the optimum: gradient in standard errors, multipliers of the covariances, the joint Hessian.

        Returns
        -------
        Certificate
            One check a line; `.passed`.
        """
        scale, gradient = np.asarray(self.core["scale"]), np.asarray(self.core["gradient"])
        lowest = 0.0
        # With quadrature the derivative in the covariances is not at hand: the gradient must do.
        cones = zip(self.design.random, self.core["cone"], strict=True) if self.nagq == 1 else ()
        for term, (slope, size) in cones:
            # Multipliers of the cone that the structure spans; cs and ar1 have their gradient instead.
            structure = "us" if len(term.names) == 1 else term.structure
            if structure in ("us", "diag"):
                cone = slope if structure == "us" else np.diag(np.diag(slope))
                least = float(np.linalg.eigvalsh(0.5 * (cone + cone.T))[0])
                lowest = min(lowest, least / max(float(np.trace(size)), 1e-300))
        diagonal = np.sqrt(np.maximum(np.abs(np.diag(self.hessian)), 1e-300))
        scaled = self.hessian / np.outer(diagonal, diagonal)
        smallest = float(np.linalg.eigvalsh(scaled)[0]) if scaled.size else 1.0
        steepest = float(np.max(np.abs(gradient * scale), initial=0.0))
        done = (
            Check("stationarity", "outer", "gradient of F in standard errors = 0", steepest, STATIONARY),
            Check("multiplier", "outer", "dF/dSigma is positive semidefinite", max(-lowest, 0.0), MULTIPLIER),
            Check("curvature", "outer", "joint Hessian is positive", max(-smallest, 0.0), CURVATURE),
        )
        return Certificate(done, (), None, bool(self.core["converged"]), self.design.frame.native_like)


def announce(m: GeneralizedModel, dropped: tuple[int, ...]) -> GeneralizedModel:
    """Warn about what would mislead if it went unsaid, and return the fit."""
    said = [each for each in m.design.notes if each.code in LOUD]
    if dropped:
        kept = tuple(j for j in range(len(m.design.columns)) if j not in dropped)
        said.append(dropped_columns(m.design, kept, list(dropped)))
    certificate = m.certificate()
    if not certificate.passed:
        said.append(note("MW-C01", reason=f"{certificate.failed[0]} failed"))
    named = separated(m)
    if named:
        said.append(note("MW-W13", columns=named))
    say(said)
    return m


def separated(m: GeneralizedModel) -> list[str]:
    """Coefficients that run off to infinity because they predict some responses perfectly."""
    if m.family.kind != "binary" or not len(m.fixef):
        return []
    extreme = np.abs(np.asarray(m.core["eta"])) > SEPARATED
    if not extreme.any():
        return []
    return [f"'{name}'" for name, se in m.se.items() if se > UNKNOWN]
