"""What a fit explains: R2, intraclass correlations, shares of variance, principal components."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, text
from mixwell.fitted.values import NamedVector
from mixwell.inference.diagnosis import rank_of
from mixwell.options import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel

__all__ = [
    "RESIDUAL",
    "PrincipalComponents",
    "RePCA",
    "add_up",
    "icc",
    "mean_variances",
    "principal",
    "r2",
    "reductions",
    "repca",
    "variance_partition",
]

Array = NDArray[np.float64]

RESIDUAL = "residual"


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Variance of the fixed part and of the residuals, and the mean variance of each random-effects term."""

    fixed: float
    random: Array
    residual: float

    @property
    def total(self) -> float:
        return self.fixed + float(self.random.sum()) + self.residual


def _parts(m: FittedModel) -> _Parts:
    linear, sigma2 = _linear(m), float(m.solution.sigma2)
    # Less the first value, so that a constant has a variance of zero and nothing else.
    return _Parts(
        float(np.var(linear - linear[0], ddof=1)),
        sigma2 * mean_variances(m.design.random, m.lambdas),
        sigma2,
    )


def _linear(m: FittedModel) -> Array:
    """X beta without the offset, shape (n,)."""
    return m._fixed_part if m.design.offset is None else m._fixed_part - m.design.offset


def mean_variances(terms: Sequence[RandomDesign], lambdas: Sequence[Array]) -> Array:
    """Mean over the rows of z' lambda lambda' z, shape (T,) (Johnson 2014, equation 11)."""
    out = []
    for term, factor in zip(terms, lambdas, strict=True):
        n, k = term.codes.size, len(term.names)
        scaled = np.zeros((n, k))
        for column, row in zip(term.columns, factor, strict=True):
            scaled += row if column is None else column[:, None] * row
        out.append(np.einsum("nk,nk->", scaled, scaled) / n)
    return np.array(out)


def add_up(terms: Sequence[RandomDesign], values: Array) -> dict[str, float]:
    """Sum values of terms by grouping factor."""
    out: dict[str, float] = {}
    for term, value in zip(terms, values.tolist(), strict=True):
        out[term.group] = out.get(term.group, 0.0) + value
    return out


# --- R2 and ICC -----------------------------------------------------------------------------------------


@checked
def r2(m: FittedModel, *, by_group: bool = False) -> NamedVector:
    """Return the share of variance that the model explains.

    Parameters
    ----------
    by_group
        Return instead how much smaller each variance is than in the model without fixed effects but the
        intercept: 1 - variance / variance without. It may be negative.

    Returns
    -------
    NamedVector
        Of a mixed model "marginal", explained by the fixed effects, and "conditional", by the fixed and the
        random effects together (Nakagawa, Johnson and Schielzeth 2017). Of a model without random effects
        "r2" and "adjusted", as in R's summary.lm; without an intercept they compare with zero, not with the
        mean, and an offset is subtracted from the response first. By group: "residual", then the grouping
        factors.

    Notes
    -----
    The variance of the fixed part is that of X beta over the rows, without an offset. Where random effects
    multiply columns their variance differs from row to row, and its mean over the rows is taken (Johnson
    2014). The residual variance is sigma^2, which is that of a row of weight 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> {name: round(value, 3) for name, value in m.r2().items()}
    {'marginal': 0.279, 'conditional': 0.799}
    """
    if by_group:
        return _reductions(m)
    if not m.is_mixed:
        return _classical(m)
    parts = _parts(m)
    explained = parts.fixed + float(parts.random.sum())
    return NamedVector(("marginal", "conditional"), np.array([parts.fixed, explained]) / parts.total)


def _classical(m: FittedModel) -> NamedVector:
    """R2 and adjusted R2 of least squares; an offset is no part of what is explained."""
    n, p = m.nobs, len(m.kept)
    weights = np.ones(n) if m.design.weights is None else m.design.weights
    linear = _linear(m)
    if m.formula.intercept:
        linear = linear - np.average(linear, weights=weights)
    mss, rss = float(weights @ linear**2), float(weights @ m.resid() ** 2)
    if p == m.formula.intercept:  # nothing but the intercept
        return NamedVector(("r2", "adjusted"), np.zeros(2))
    r_squared = mss / (mss + rss)
    adjusted = 1.0 - (1.0 - r_squared) * (n - m.formula.intercept) / (n - p)
    return NamedVector(("r2", "adjusted"), np.array([r_squared, adjusted]))


def _reductions(m: FittedModel) -> NamedVector:
    """Proportional reduction of each variance against the model with only an intercept, on the same rows."""
    from mixwell.fitted.result import cross_products  # noqa: PLC0415  (it builds on this module)

    terms = m.design.random
    problem = cross_products(replace(m.design, columns=(None,), names=("(Intercept)",), assign=(0,)))
    null = problem.solve(
        problem.optimize(m.is_reml, None, m.control.max_evaluations).theta, m.is_reml, full=False
    )
    without = add_up(
        terms, null.sigma2 * mean_variances(terms, tuple(np.asarray(factor) for factor in null.lambdas))
    )
    left = {RESIDUAL: float(m.solution.sigma2), **add_up(terms, _parts(m).random)}
    return reductions(left, {RESIDUAL: null.sigma2, **without})


def reductions(variances: Mapping[str, float], without: Mapping[str, float]) -> NamedVector:
    """1 - variance / variance without, by name."""
    values = {}
    for name, variance in variances.items():
        if without[name] > 0:
            values[name] = 1.0 - variance / without[name]
        else:  # nothing was there to be reduced
            values[name] = np.nan if variance > 0 else 0.0
    return NamedVector(tuple(values), np.array(list(values.values())))


@checked
def icc(m: FittedModel, *, by_group: bool = False) -> NamedVector:
    """Return intraclass correlations: the share of the random effects in the variance.

    Parameters
    ----------
    by_group
        Return instead one share, adjusted, for each grouping factor; they add up to the adjusted ICC.

    Returns
    -------
    NamedVector
        "adjusted", of the variance that the fixed effects leave, and "unadjusted", of the variance of the
        response with the fixed effects. A variance of zero counts as zero. Variances are those of `r2`.

    Raises
    ------
    MixwellError
        MW-A61 when the model has no random effects.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
    >>> {name: round(value, 3) for name, value in m.icc(by_group=True).items()}
    {'plate': 0.151, 'sample': 0.785}
    """
    _refuse_without_groups(m, "icc()")
    parts = _parts(m)
    random = float(parts.random.sum())
    left = random + parts.residual
    if by_group:
        shares = add_up(m.design.random, parts.random / left)
        return NamedVector(tuple(shares), np.array(list(shares.values())))
    return NamedVector(("adjusted", "unadjusted"), np.array([random / left, random / parts.total]))


@checked
def variance_partition(m: FittedModel) -> Any:
    """Return what the variance of the response consists of, one row a component.

    Returns
    -------
    table
        Columns component ("fixed", "random", "residual"), group, term (missing where there is none),
        variance, and share of the total. Variances are those of `r2`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> table = m.variance_partition()
    >>> dict(zip(table["component"], table["share"].round(3).tolist(), strict=True))
    {'fixed': 0.279, 'random': 0.521, 'residual': 0.201}
    """
    parts, terms = _parts(m), m.design.random
    variances = np.array([parts.fixed, *parts.random, parts.residual])
    return m.design.frame.native_like(
        {
            "component": ["fixed", *["random"] * len(terms), RESIDUAL],
            "group": [None, *(term.group for term in terms), None],
            "term": [None, *(term.text for term in terms), None],
            "variance": variances,
            "share": variances / parts.total,
        }
    )


def _refuse_without_groups(m: FittedModel, owner: str) -> None:
    if not m.is_mixed:
        raise error("MW-A61", owner=owner, formula=str(m.formula))


# --- principal components -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalComponents:
    """Principal components of the random effects of one grouping factor.

    Attributes
    ----------
    group, names
        The grouping factor, and its k effects (of all its terms).
    sd
        Standard deviations of the components, shape (k,), largest first; relative to sigma in a linear model.
    loadings
        Shape (k, k): a column a component, a row an effect; the largest weight of a component is positive.
    dimensions
        Rank of the covariance: how many components the data support.
    """

    group: str
    names: tuple[str, ...]
    sd: Array
    loadings: Array
    dimensions: int

    @property
    def proportion(self) -> Array:
        """Share of each component in the variance, shape (k,); zeros when there is no variance."""
        variance = self.sd**2
        total = float(variance.sum())
        return variance / total if total > 0 else variance

    @property
    def cumulative(self) -> Array:
        """Share of the components up to each, shape (k,)."""
        return np.cumsum(self.proportion)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RePCA:
    """Principal components by grouping factor: `pca["Subject"]`; it prints as a table.

    Attributes
    ----------
    groups
        The components of each grouping factor.
    unit
        What the standard deviations are: "sd / sigma" of a linear model, "sd" where there is no sigma.
    """

    groups: tuple[PrincipalComponents, ...]
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict)
    unit: str = "sd / sigma"

    def __getitem__(self, group: str) -> PrincipalComponents:
        for each in self.groups:
            if each.group == group:
                return each
        raise KeyError(f"'{group}'; grouping factors: {', '.join(each.group for each in self.groups)}")

    def __iter__(self) -> Iterator[PrincipalComponents]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def table(self) -> Any:
        """Return one row a component at full precision.

        Returns
        -------
        table
            Columns group, component (from 1), sd, proportion, cumulative.
        """
        return self.to_table(
            {
                "group": [each.group for each in self.groups for _ in each.names],
                "component": np.array([i + 1 for each in self.groups for i in range(len(each.names))]),
                **{
                    name: np.concatenate([getattr(each, name) for each in self.groups])
                    for name in ("sd", "proportion", "cumulative")
                },
            }
        )

    def _blocks(self) -> list[Block]:
        blocks = []
        for each in self.groups:
            k, sd = len(each.names), cells(each.sd.tolist(), 4)
            shares = np.column_stack([each.proportion, each.cumulative, each.loadings.T])
            rows = [[f"PC{i + 1}", sd[i], *(f"{value:.3f}" for value in shares[i])] for i in range(k)]
            header = ("", self.unit, "proportion", "cumulative", *each.names)
            line = f"{each.dimensions} of {k} dimension{'s' if k > 1 else ''} supported by the data."
            blocks.append(Block(f"Principal components of {each.group}", header, rows, lines=[line]))
        return blocks

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def repca(m: FittedModel) -> RePCA:
    """Return the principal components of the covariance of the random effects, by grouping factor.

    Returns
    -------
    RePCA
        Of each grouping factor the standard deviations of the components relative to sigma, their shares,
        their loadings, and how many dimensions the data support (Bates, Kliegl, Vasishth and Baayen 2018).
        Components depend on the units of the columns, the number of dimensions does not: it is the rank of
        the covariance of the standardised columns.

    Raises
    ------
    MixwellError
        MW-A61 when the model has no random effects.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.repca()
    Principal components of Subject
           sd / sigma  proportion  cumulative  (Intercept)   Days
      PC1      0.9669       0.946       0.946        1.000  0.017
      PC2      0.2309       0.054       1.000       -0.017  1.000
      2 of 2 dimensions supported by the data.
    """
    _refuse_without_groups(m, "repca()")
    ranks = [rank_of(m.optimum.cone[t], m.design.random[t]) for t in range(len(m.design.random))]
    return RePCA(principal(m.design.random, m.lambdas, ranks), m.design.frame.native_like)


def principal(
    terms: Sequence[RandomDesign], lambdas: Sequence[Array], ranks: Sequence[int]
) -> tuple[PrincipalComponents, ...]:
    """Return the components of each grouping factor, from the factors (k, k) and ranks of all terms."""
    found: dict[str, list[int]] = {}
    for t, term in enumerate(terms):
        found.setdefault(term.group, []).append(t)
    out = []
    for group, at in found.items():
        names = tuple(name for t in at for name in terms[t].names)
        factor = np.zeros((len(names), len(names)))
        start = 0
        for t in at:
            k = len(terms[t].names)
            factor[start : start + k, start : start + k] = lambdas[t]
            start += k
        loadings, sd, _ = np.linalg.svd(factor)
        largest = loadings[np.argmax(np.abs(loadings), axis=0), np.arange(len(names))]
        loadings = loadings * np.where(largest < 0, -1.0, 1.0)
        out.append(PrincipalComponents(group, names, sd, loadings, sum(ranks[t] for t in at)))
    return tuple(out)
