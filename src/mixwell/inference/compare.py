"""Likelihoods side by side: information criteria, and likelihood-ratio tests of nested models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import Note, error, note
from mixwell.fitted.text import Block, html, text
from mixwell.inference.diagnosis import announce
from mixwell.inference.nesting import Nesting, nesting, same_span
from mixwell.inference.ratio_test import RatioTest, likelihood_ratio, ratio_block
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Comparison", "compare", "whole"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """Models side by side, by increasing number of parameters; it prints as a table.

    Attributes
    ----------
    models
        The fits that are compared: refitted by ML where `notes` say so.
    tests
        Of each model against the one before it; the first has none.
    criterion
        "REML" when `loglik` is the restricted log-likelihood, else "ML".
    loglik
        Log-likelihoods, shape (r,).
    notes
        What was refitted, and which neighbours were not tested and why.
    n_sim, seed
        Of the simulated p-values.
    """

    models: tuple[FittedModel, ...]
    tests: tuple[RatioTest, ...]
    criterion: Literal["REML", "ML"]
    loglik: Array
    notes: tuple[Note, ...]
    n_sim: int = field(default=10_000)
    seed: int = field(default=0)

    def table(self) -> Any:
        """Return one row a model at full precision, in the dataframe library of the first model.

        Returns
        -------
        table
            Columns formula, npar, loglik, aic, aicc, bic, delta_aic (to the smallest), weight (Akaike's), and
            of the test against the row before chisq, df, p_value, method.

        Examples
        --------
        >>> import mixwell as mw
        >>> sleep = mw.data.load("sleepstudy", "dict")
        >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", sleep)
        >>> both = mw.compare(m, m.update("~ . - (Days | Subject) + (1 | Subject)")).table()
        >>> both["delta_aic"].round(3).tolist(), both["df"].tolist()
        ([38.837, 0.0], [nan, 2.0])
        """
        columns = self._columns()
        tests: dict[str, Any] = {
            name: np.array([getattr(test, name) for test in self.tests])
            for name in ("chisq", "df", "p_value")
        }
        tests["method"] = [test.method for test in self.tests]
        return self.models[0].design.frame.native_like(columns | tests)

    def _columns(self) -> dict[str, Any]:
        npar = np.array([m.npar for m in self.models])
        n = self.models[0].nobs
        aic = 2 * npar - 2 * self.loglik
        left = n - npar - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            aicc = np.where(left > 0, aic + 2 * npar * (npar + 1) / left, np.inf)
        delta = aic - aic.min()
        weight = np.exp(-0.5 * delta)
        return {
            "formula": [m.formula.text for m in self.models],
            "npar": npar,
            "loglik": self.loglik,
            "aic": aic,
            "aicc": aicc,
            "bic": np.log(n) * npar - 2 * self.loglik,
            "delta_aic": delta,
            "weight": weight / weight.sum(),
        }

    def _blocks(self) -> list[Block]:
        of = self._columns()
        numbers = [str(i + 1) for i in range(len(self.models))]
        by = "REML criteria" if self.criterion == "REML" else "likelihoods"
        names = [[i, formula] for i, formula in zip(numbers, of["formula"], strict=True)]
        blocks = [Block(f"Comparison by {by}, {self.models[0].nobs} rows", rows=names, left=2)]
        fixed = [[f"{value:.2f}" for value in of[name]] for name in ("aic", "aicc", "bic", "delta_aic")]
        shown = [
            numbers,
            [str(each) for each in of["npar"]],
            [f"{value:.3f}" for value in self.loglik],
            *fixed,
            [f"{value:.3f}" for value in of["weight"]],
        ]
        rows = [list(row) for row in zip(*shown, strict=True)]
        header = ("", "npar", "loglik", "AIC", "AICc", "BIC", "delta", "weight")
        blocks.append(Block("Information criteria", header, rows))
        tested = [(i, test) for i, test in enumerate(self.tests) if test.method is not None]
        if tested:
            labels = [f"{i + 1} against {i}" for i, _ in tested]
            blocks.append(ratio_block("Likelihood-ratio tests", labels, [test for _, test in tested], self))
        if self.notes:
            blocks.append(Block("Notes", lines=[f"{code}  {said}" for code, said in self.notes]))
        return blocks

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def compare(
    *models: FittedModel | GeneralizedModel,
    test: Literal["auto", "lrt", "bootstrap", "none"] = "auto",
    refit: bool = True,
    n_sim: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare models fitted to the same rows: AIC, AICc, BIC, and likelihood-ratio tests of neighbours.

    REML criteria are compared when all models were fitted by REML with the same fixed effects; otherwise
    mixed models fitted by REML are first refitted by ML, and a note says so. A model is tested against the
    next smaller one when that is a special case of it, which is checked from their matrices.

    Parameters
    ----------
    models
        Two or more fits. Generalised models of different families can be compared by AIC, not by tests;
        where a variance is zero in the smaller model, their tests have the mixture of chi-squares.
    test
        "auto" tests the neighbours that are nested and says why others are not; "lrt" refuses the others;
        "bootstrap" too, and has p-values from `n_sim` responses drawn from the smaller model, to which both
        are refitted; "none".
    refit
        Refit by ML where that is needed; otherwise refuse.
    n_sim, seed
        Draws of a simulated null distribution, and the seed that determines them.

    Returns
    -------
    Comparison
        By increasing number of parameters. Prints as a table; `.table()` has it at full precision.

    Raises
    ------
    MixwellError
        MW-A10 different rows, MW-A11 different responses or weights, MW-A14 fewer than two models, MW-A18
        something that is no fit, MW-A42 models that are not nested with test="lrt" or "bootstrap", MW-A91
        quasi-families. Without `refit` MW-A04 REML fits with different fixed effects, MW-A12 REML and ML
        mixed, MW-A13 the same fixed effects in another coding.

    Notes
    -----
    The null distribution depends on what is zero under the hypothesis. "chi-square": fixed effects or
    covariances only. "exact RLRT" and "exact LRT": one variance, and no other random effects; simulated from
    the eigenvalues of the design (Crainiceanu and Ruppert 2004). "approximate RLRT" and "approximate LRT":
    one variance beside other random effects; the same with their covariance as estimated in the smaller
    model. "0.5 chi2(k) + 0.5 chi2(k + 1)": a variance and its covariances (Stram and Lee 1994), or one
    variance among more than 1500 random effects. "<= ...": several variances; an upper bound over all the
    mixtures that their information matrix could imply. "~ ...": an ar1() term or a cs() term with several
    variances.

    A likelihood-ratio test of fixed effects is anticonservative in small samples; `anova` and `test` have
    degrees of freedom.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> print(mw.compare(mw.lm("Yield ~ 1", mw.data.load("dyestuff", "dict")), m))
    Comparison by REML criteria, 30 rows
      1  Yield ~ 1
      2  Yield ~ 1 + (1 | Batch)
    <BLANKLINE>
    Information criteria
         npar    loglik     AIC    AICc     BIC  delta  weight
      1     2  -163.012  330.02  330.47  332.83   4.37   0.101
      2     3  -159.827  325.65  326.58  329.86   0.00   0.899
    <BLANKLINE>
    Likelihood-ratio tests
                    chisq  df      p      method
      2 against 1  6.3690   1  0.005  exact RLRT
      exact: p from 10000 draws of the statistic's own distribution in these data (seed 0).
    """
    choice("test", test, ("auto", "lrt", "bootstrap", "none"))
    whole("n_sim", n_sim, 1)
    whole("seed", seed, 0)
    for each in models:
        if not hasattr(each, "design"):
            raise error("MW-A18", kind=type(each).__name__)
    if len(models) < 2:
        raise error("MW-A14", given=len(models))
    for each in models:
        if (family := getattr(each, "family", None)) is not None:
            family.require_likelihood("compare()")
        if getattr(each, "prior", None) is not None:
            raise error("MW-A84", formula=each.formula.text)
    # What is asked of them both kinds of models answer.
    given = cast("tuple[FittedModel, ...]", models)
    for other in given[1:]:
        _same_data(given[0], other)
    fits, restricted, notes = _comparable(given, refit=refit)
    ranked = tuple(sorted(fits, key=lambda m: m.npar))
    loglik = np.array([_restricted(m) if restricted else m.loglik for m in ranked])
    tests = [RatioTest()]
    for i, (small, large) in enumerate(pairwise(ranked)):
        how = nesting(small, large) if test != "none" else Nesting("none was asked for")
        if how.reason:
            texts = [m.formula.text for m in (small, large)]
            if test in ("lrt", "bootstrap"):
                raise error("MW-A42", models=texts, reason=how.reason)
            notes += [note("MW-W08", models=texts, reason=how.reason)] if test == "auto" else []
            tests.append(RatioTest())
            continue
        chisq = 2.0 * float(loglik[i + 1] - loglik[i])
        tests.append(
            likelihood_ratio(
                small,
                large,
                how,
                chisq,
                restricted=restricted,
                n_sim=n_sim,
                seed=seed,
                bootstrapped=test == "bootstrap",
            )
        )
    criterion: Literal["REML", "ML"] = "REML" if restricted else "ML"
    return Comparison(ranked, tuple(tests), criterion, loglik, tuple(notes), n_sim, seed)


# --- which likelihoods can be compared ---------------------------------------------------------------------


def _same_data(first: FittedModel, other: FittedModel) -> None:
    texts = [f"{m.formula.text} ({m.nobs} rows)" for m in (first, other)]
    rows = [
        np.ones(m.design.n_rows, bool) if m.design.rows is None else m.design.rows for m in (first, other)
    ]
    if not np.array_equal(rows[0], rows[1]):
        raise error("MW-A10", models=texts)
    weights = [np.ones(m.nobs) if m.design.weights is None else m.design.weights for m in (first, other)]
    if not np.array_equal(first.design.y, other.design.y) or not np.array_equal(weights[0], weights[1]):
        raise error("MW-A11", models=texts)


def _comparable(models: Sequence[FittedModel], *, refit: bool) -> tuple[list[FittedModel], bool, list[Note]]:
    """Fits whose likelihoods can be compared, whether these are restricted, and notes."""
    if not any(m.is_mixed and m.is_reml for m in models):
        return list(models), False, []
    problem = _problem(models)
    if problem is None:
        return list(models), True, []
    code, reason, texts = problem
    if not refit:
        raise error(code, models=texts)
    changed = [m.formula.text for m in models if m.is_mixed and m.is_reml]
    fits = [_by_ml(m) if m.is_mixed and m.is_reml else m for m in models]
    return fits, False, [note("MW-W09", models=changed, reason=reason)]


def _problem(models: Sequence[FittedModel]) -> tuple[str, str, list[str]] | None:
    """Why restricted likelihoods of these models cannot be compared: code, reason, the two at fault."""
    mixed = [m for m in models if m.is_mixed]
    for other in mixed[1:]:
        if other.method != mixed[0].method:
            texts = [f"{m.formula.text} ({m.method})" for m in (mixed[0], other)]
            return "MW-A12", "others were fitted by ML", texts
    for other in models[1:]:
        texts = [m.formula.text for m in (models[0], other)]
        if _same_fixed(models[0], other):
            continue
        if same_span(models[0].model_matrix(), other.model_matrix()):
            return (
                "MW-A13",
                "the fixed effects are coded differently, and REML criteria depend on that",
                texts,
            )
        return "MW-A04", "the fixed effects differ, and REML criteria are then of different data", texts
    return None


def _same_fixed(first: FittedModel, other: FittedModel) -> bool:
    """Whether X is the same matrix, up to the order of its columns."""
    mine, theirs = (dict(zip(m.fixef.names, m.fixed_columns, strict=True)) for m in (first, other))
    return mine.keys() == theirs.keys() and all(_equal(mine[name], theirs[name]) for name in mine)


def _equal(one: Any, two: Any) -> bool:
    return one is two or (one is not None and two is not None and np.array_equal(one, two))


def _restricted(m: FittedModel) -> float:
    """Restricted log-likelihood, also of a model without random effects."""
    return -0.5 * (m.reml_criterion if m.is_reml else float(m.problem.criterion(m.theta, True)))


def _by_ml(m: FittedModel) -> FittedModel:
    """Fit by ML what was fitted by REML, from the same cross-products."""
    optimum = m.problem.optimize(False, m.control.start_array(), m.control.max_evaluations)
    fitted = replace(m, method="ML", optimum=optimum, handle=m.problem)
    return fitted if optimum.converged else announce(fitted)


def whole(option: str, given: object, least: int) -> None:
    """Refuse an option that is not a whole number from `least` on."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < least:
        raise error("MW-A07", option=option, expected=f"a whole number from {least} on", given=given)
